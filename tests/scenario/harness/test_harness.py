# SPDX-License-Identifier: Apache-2.0
"""The harness itself, without ringmain: what a scenario relies on must be true of plain machines."""
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time

import machines
import pytest
from machines import PYTHON, ROOT, Lab, namespaces_of, sweep, wait_for
from mesh import (BLOCK, CACHE, ECHO, FAMILIES, MAIL, ORDERS, RESET, SINK, SOURCE, STOCK, WEB, ScenarioMesh,
                  capture_streams, request_text, server_hello_version, tls_records)
from nodes import config_file_text, metrics_parse


@pytest.fixture(scope="module")
def mesh():
    services = [WEB, ORDERS, STOCK, CACHE, MAIL, ECHO, SOURCE, SINK, RESET]
    with ScenarioMesh(services, plain=True) as mesh:
        yield mesh.start()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("service", ["orders", "stock"])
def test_http_workloads_answer(mesh, service, family):
    reply = mesh.call("web", service, "POST /echo?x=1", body=b"hello", family=family)
    assert (reply.status, reply.json["server"], reply.json["method"]) == (200, service, "POST")
    assert reply.json["body_bytes"] == 5
    assert reply.json["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert reply.json["peer"].removeprefix("::ffff:") == mesh.lab["vm-a"].address(family)


def test_a_socket_belongs_to_its_uid_in_its_machine(mesh):
    with mesh.dial("web", "echo") as wire:
        port = wire.sock.getsockname()[1]
        listed = mesh.lab["vm-a"].run(["ss", "-Htne", f"sport = :{port}"]).stdout
        assert "uid:12001" in listed


def test_the_owner_match_sees_the_uid_of_a_made_socket(mesh):
    machine = mesh.lab["vm-a"]
    rule = ["OUTPUT", "-p", "tcp", "--dport", "7000", "-m", "owner", "--uid-owner", "12001",
            "-j", "REJECT", "--reject-with", "tcp-reset"]
    machine.run(["iptables", "-w", "-I", *rule])
    try:
        with pytest.raises(ConnectionRefusedError):
            mesh.dial("web", "echo")
        mesh.dial(12002, "echo", machine="vm-a").sock.close()
    finally:
        machine.run(["iptables", "-w", "-D", *rule])


def test_http_workload_chunked_with_trailer(mesh):
    reply = mesh.call("web", "orders", "GET /chunked/20")
    assert reply.body == BLOCK[:1000] * 20
    assert reply.trailers == [("X-Checksum", reply.sha256)]


def test_http_workload_reads_chunks_and_trailers(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("POST /echo", "orders", ["Transfer-Encoding: chunked"]))
        wire.send("3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
        answer = wire.reply().json
    assert (answer["body_bytes"], answer["trailers"]) == (5, ["X-T: 1"])


def test_http_workload_interim_upgrade_and_expect(mesh):
    assert [status for status, _ in mesh.call("web", "orders", "GET /early-hints").interim] == [103]
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /upgrade", "orders", ["Connection: Upgrade", "Upgrade: rot13"]))
        assert wire.reply().status == 101
        assert wire.send("raw").exactly(3) == b"raw"
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("POST /echo", "orders", ["Expect: 100-continue", "Content-Length: 2"]))
        assert wire.head()[0] == 100
        assert wire.send("ok").reply().json["body_bytes"] == 2


def test_http_workload_keeps_its_connection(mesh):
    with mesh.dial("web", "orders") as wire:
        for number in range(3):
            assert wire.send(request_text(f"GET /echo/{number}", "orders")).reply().status == 200
    assert mesh.record("orders").count(b"GET /echo/") == 3


def test_tcp_workloads(mesh):
    with mesh.dial("web", "echo") as wire:
        assert wire.send("abc").finish().rest() == b"abc"
    with mesh.dial("web", "mail") as wire:
        assert wire.until(b"\r\n") == b"220 mail ready\r\n"
        assert wire.send("HELO\r\n").until(b"\r\n") == b"250 HELO\r\n"
    with mesh.dial("web", "source") as wire:
        assert wire.rest() == BLOCK * 16
    with mesh.dial("web", "sink") as wire:
        assert wire.send(BLOCK).finish().rest().split()[0] == b"65536"
    with mesh.dial("web", "reset") as wire:
        assert wire.send("x").ended() == "reset"


def test_redis_answers_redis_cli(mesh):
    host, port = mesh.target("cache", socket.AF_INET6)
    done = mesh.lab["vm-a"].run(["redis-cli", "-h", host, "-p", port, "ping"], uid=WEB.uid)
    assert done.stdout.strip() == "PONG"


def test_many_sockets_at_once(mesh):
    made = mesh.lab["vm-a"].sockets(WEB.uid, count=1000)
    assert len({s.fileno() for s in made}) == 1000
    for s in made:
        s.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_capture_shows_the_bytes_of_both_directions(mesh, family):
    with mesh.capture() as path:
        with mesh.dial("web", "echo", family) as wire:
            port = wire.sock.getsockname()[1]
            assert wire.send(b"visible" * 3000).finish().rest() == b"visible" * 3000
    streams = capture_streams(path)
    here, there = mesh.lab["vm-a"].address(family), mesh.lab["vm-b"].address(family)
    assert streams[(here, port, there, 7000)] == b"visible" * 3000
    assert streams[(there, 7000, here, port)] == b"visible" * 3000
    with pytest.raises(ValueError):
        tls_records(streams[(here, port, there, 7000)])


def test_tls_version_is_read_from_a_server_hello():
    extensions = b"\x00\x2b\x00\x02\x03\x04"
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x13\x01\x00" + len(extensions).to_bytes(2, "big") + extensions
    hello = b"\x02" + len(body).to_bytes(3, "big") + body
    record = b"\x16\x03\x03" + len(hello).to_bytes(2, "big") + hello
    (kind, found), = tls_records(record)
    assert (kind, server_hello_version(found)) == (22, 0x0304)


def test_configuration_text():
    text = config_file_text({"node": {"name": "a", "n": 2, "flag": True, "list": ["x", "y"]},
                             "services": [{"name": "s"}, {"name": "t"}]})
    assert text == ('node = { name = "a"; n = 2; flag = true; list = [ "x", "y" ]; };\n'
                    'services = (\n\t{ name = "s"; },\n\t{ name = "t"; } );\n')


def test_metrics_text_is_understood():
    samples = metrics_parse('# HELP a b\na_total{x="1",y="q\\"u,o"} 3\nb 2.5\n')
    assert samples == {"a_total": [({"x": "1", "y": 'q\\"u,o'}, 3.0)], "b": [({}, 2.5)]}


def test_a_workload_runs_a_program_out_of_a_closed_directory(mesh, tmp_path):
    """As when all this was cloned into root's home."""
    tmp_path.chmod(0o700)
    script = tmp_path / "whoami.py"
    script.write_text("import os; print(os.getuid())\n")
    machine = mesh.lab["vm-a"]
    assert machine.run([PYTHON, machine.program(script)], uid=WEB.uid).stdout == f"{WEB.uid}\n"


def test_a_lab_is_readable_whatever_the_callers_umask():
    before = os.umask(0o077)
    try:
        with Lab(["alone"]) as lab:
            assert lab["alone"].run(["cat", lab.dir / "owner"], uid=WEB.uid).stdout
    finally:
        os.umask(before)


def test_what_is_counted_by_user_is_not_shared_by_machines():
    """Rings are locked memory, which newer kernels count by user: a proxy's is each machine's own."""
    uids = []
    for _ in range(2):
        with Lab(["one", "two"]) as lab:
            uids += [machine.own_uid for machine in lab]
    assert len(set(uids)) == 4


def test_stop_leaves_nothing_behind():
    with Lab(["one", "two", "three"]) as lab:
        server = lab["three"].serve("http", [PYTHON, "-m", "http.server", "8000"], 8000, 12001)
        lab["one"].connect(12002, lab["three"].v4, 8000).close()
        # one that has left its parent, as daemons do
        lab["two"].run(["sh", "-c", "sleep 600 >/dev/null 2>&1 &"])
        assert namespaces_of(lab.name)
    assert not server.running
    assert not namespaces_of(lab.name)
    assert not lab.dir.exists()


@pytest.fixture
def own_labs(tmp_path, monkeypatch):
    """A place for labs that no other run sweeps meanwhile."""
    monkeypatch.setattr(machines, "LABS", tmp_path)
    return tmp_path


def test_the_next_run_sweeps_what_a_killed_one_left(own_labs):
    script = ("import sys, time, pathlib; sys.path.insert(0, sys.argv[1]); import machines\n"
              "machines.LABS = pathlib.Path(sys.argv[2])\n"
              "lab = machines.Lab(['one']); lab['one'].spawn('sleep', ['sleep', '600'], 12001)\n"
              "print(lab.name, flush=True); time.sleep(600)")
    child = subprocess.Popen([PYTHON, "-c", script, str(ROOT / "conf" / "demo"), str(own_labs)],
                             stdout=subprocess.PIPE, text=True)
    name = child.stdout.readline().strip()
    assert sweep() == []  # its owner is alive
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert sweep() == [name]
    assert not namespaces_of(name)
    assert not (own_labs / name).exists()


def test_a_lab_that_is_being_made_is_not_swept(own_labs):
    """Another run may be between a lab's directory and the note whose it is."""
    fresh, dead = own_labs / f"rm{os.getpid():x}x77", own_labs / "rm7ffffffex1"
    for directory in (fresh, dead):
        directory.mkdir()
    assert sweep() == [dead.name]
    (fresh / "owner").write_text("")
    assert sweep() == []
    assert fresh.is_dir()
