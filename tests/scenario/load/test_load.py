# SPDX-License-Identifier: Apache-2.0
"""Many connections at once: ten thousand idle ones over mutual TLS beside a thousand busy ones. Runs
the release build when there is one, so that the figures mean something; prints them."""
import json
import os
import resource
import subprocess

import pytest
from machines import process_status
from mesh import BINARY, MESH_PORT, WEB, ScenarioMesh, Service, go_program

IDLE, BUSY, SECONDS = 10_000, 1_000, 10
FAST = Service("fast", 12014, port=8090)  # the load client's own server
RELEASE = os.environ.get("RINGMAIN_RELEASE", "")


@pytest.fixture(scope="module")
def mesh():
    binary = RELEASE if RELEASE and os.path.exists(RELEASE) else BINARY
    groups = {"limits": {"connections_max": 65536, "workload_connections_max": 65536},
              "timeouts": {"idle": "10m"}}
    with ScenarioMesh([WEB, FAST], binary=binary, groups=groups) as mesh:
        for machine in mesh.lab:
            machine.sysctl(net__ipv4__ip_local_port_range="2000 14999", net__core__somaxconn=8192,
                           net__ipv4__tcp_max_syn_backlog=8192)
        mesh.lab["vm-b"].serve("fast", [go_program("goload"), "-serve", f":{FAST.port}"], FAST.port, FAST.uid)
        yield mesh.start(serve=False)


def resident_kib(node):
    return int(process_status(node.proxy_pid())["VmRSS"].split()[0])


def load(mesh, uid, *words):
    """Starts the load client on vm-a; returns it and gives its figures at finish()."""
    machine = mesh.lab["vm-a"]
    return subprocess.Popen(machine.command([machine.program(go_program("goload")), *words], uid),
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.seconds(200)
def test_idle_and_busy_connections_at_once(mesh, capsys):
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    idle = min(IDLE, soft - 2000)  # descriptors: the server's proxy holds one for each
    assert mesh.call("web", "fast").status == 200
    before = resident_kib(mesh["vm-b"])
    host = mesh.lab["vm-b"].v4
    certificate = mesh["vm-a"].certs / "web"
    idlers = load(mesh, 0, "-tls", f"{host}:{MESH_PORT}", "-name", "8090.fast.mesh.test",
                  "-certificate", certificate, "-idle-count", idle, "-hold")
    try:
        assert idlers.stderr.readline().strip() == "idle", idlers.stderr.read()
        held = resident_kib(mesh["vm-b"])
        busy = load(mesh, WEB.uid, "-busy", f"{host}:{FAST.port}", "-busy-count", BUSY, "-seconds", SECONDS)
        busy_out, _ = busy.communicate(timeout=120)
        figures = json.loads(busy_out)
    finally:
        idle_out, _ = idlers.communicate(timeout=90)  # which ends its input, and so its wait
    idle_figures = json.loads(idle_out)
    with capsys.disabled():
        print(f"\n    {idle_figures['idle_opened']} idle connections over mutual TLS: "
              f"{(held - before) / max(1, idle_figures['idle_opened']):.1f} KiB resident each; beside them "
              f"{BUSY} busy ones: {figures['busy_requests'] / SECONDS:.0f} requests/s, "
              f"p50 {figures['busy_p50_ms']:.1f} ms, p99 {figures['busy_p99_ms']:.1f} ms", flush=True)
    assert (idle_figures["idle_opened"], idle_figures["idle_failed"]) == (idle, 0), idle_figures
    assert idle_figures["idle_lost"] == 0, idle_figures
    assert figures["busy_failed"] == 0, figures
    assert figures["busy_requests"] > BUSY
    for node in mesh:  # those that are not busy for a moment are kept, not closed and made again
        assert node.metric("ringmain_upstream_opened_total") < 1.2 * BUSY
    assert (held - before) / idle < 64, "an idle connection holds more than 64 KiB"
