# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: a good configuration takes effect without touching a connection; a bad one changes nothing
and says why."""
import signal
import threading
import time
from pathlib import Path

import pytest
from machines import process_status, wait_for
from nodes import config_file_text
from mesh import ECHO, GUEST, ORDERS, STOCK, WEB, ScenarioMesh, request_text

ALLOW_WEB = {"service": "orders", "action": "allow", "from": ["web"]}
ALLOW_ECHO = {"service": "echo", "action": "allow", "from": ["web"]}


@pytest.fixture
def mesh():
    with ScenarioMesh([WEB, GUEST, ORDERS, ECHO], policies=[ALLOW_WEB, ALLOW_ECHO], default_policy="deny",
                      workers=2) as mesh:  # each of which has to take the new plan
        yield mesh.start()


def resident_kib(node):
    return int(process_status(node.proxy_pid())["VmRSS"].split()[0])


def reload_all(mesh):
    mesh.write_configs()
    for node in mesh:
        node.reload()


def wait_status(mesh, caller, status):
    wait_for(lambda: mesh.call(caller, "orders").status == status, f"{caller} to get {status}")


def test_a_new_policy_takes_effect(mesh):
    assert mesh.call("guest", "orders").status == 403
    mesh.policies = [dict(ALLOW_WEB, **{"from": ["web", "guest"]}), ALLOW_ECHO]
    reload_all(mesh)
    wait_status(mesh, "guest", 200)
    mesh.policies = [dict(ALLOW_WEB, **{"from": ["guest"]}), ALLOW_ECHO]
    reload_all(mesh)
    wait_status(mesh, "web", 403)


def test_a_new_policy_holds_for_connections_that_are_there(mesh):
    """Those of the client, and those between the proxies, which nothing else would ever end."""
    with mesh.dial("web", "orders") as http:
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        mesh.policies = [ALLOW_ECHO]
        mesh.write_configs()
        mesh["vm-b"].reload()
        wait_for(lambda: http.send(request_text("GET /echo", "orders")).reply().status == 403, "a refusal")


def test_requests_share_connections_after_a_reload(mesh):
    with mesh.dial("web", "orders") as http:
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        reload_all(mesh)
        wait_for(lambda: all(node.metric("ringmain_generation") == 2 for node in mesh), "the new plan")
        for _ in range(10):
            assert http.send(request_text("GET /echo", "orders")).reply().status == 200
    for node in mesh:
        assert node.metric("ringmain_upstream_opened_total") <= 3


def test_a_connection_outlives_its_certificate_and_key(mesh):
    """The keeper forgets old keys: a connection from before must use those of now."""
    with mesh.dial("web", "orders") as http:
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        for number in range(2, 22):
            reload_all(mesh)
            wait_for(lambda: all(node.metric("ringmain_generation") == number for node in mesh), "the new plan")
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200


def test_a_large_mesh_comes_and_goes_under_load(mesh):
    """1,000 services of 10 endpoints and 1,000 policies: no request is lost or refused over it."""
    many = Path(str(mesh.mesh_file) + ".more")
    rows = [{"name": f"s{n:04}", "port": 80, "protocol": "http",
             "endpoints": [{"address": f"10.{80 + k}.{n // 250}.{n % 250 + 1}"} for k in range(10)]}
            for n in range(1000)]
    policies = [{"name": f"p{n:04}", "service": f"s{n:04}", "action": "allow", "from": [f"s{(n + 1) % 1000:04}"],
                 "paths": ["/api/*"]} for n in range(1000)]
    many.write_text(config_file_text({"services": rows, "policies": policies}))
    before = [(resident_kib(node), node.metric("ringmain_loop_slow_turns_total")) for node in mesh]
    with mesh.dial("web", "orders") as http:
        for number, files in enumerate(([mesh.mesh_file, many], [mesh.mesh_file]), 2):
            for node in mesh:
                node.groups = {"mesh": {"files": [str(f) for f in files]}}
                node.write_config()
                node.reload()
            deadline = time.monotonic() + 30
            while any(node.metric("ringmain_generation") != number for node in mesh):
                assert time.monotonic() < deadline
                assert http.send(request_text("GET /echo", "orders")).reply().status == 200
            assert http.send(request_text("GET /echo", "orders")).reply().status == 200
            for node, (kib, slow) in zip(mesh, before):
                print(f"{node.name}: {resident_kib(node)} KiB resident after {kib}, "
                      f"{node.metric('ringmain_loop_slow_turns_total') - slow:.0f} turns beyond 1 ms")


def test_live_connections_are_untouched(mesh):
    with mesh.dial("web", "orders") as http, mesh.dial("web", "echo") as tcp:
        for number in range(5):
            assert http.send(request_text("GET /echo", "orders")).reply().status == 200
            assert tcp.send("x").exactly(1) == b"x"
            reload_all(mesh)
            time.sleep(0.3)
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        assert tcp.send("y").exactly(1) == b"y"


def test_a_new_policy_holds_for_requests_on_old_connections(mesh):
    """The caller's connection and the pooled one behind it stay; what they carry is judged anew,
    and only the machine that judges has to know."""
    with mesh.dial("web", "orders") as wire:
        def status():
            return wire.send(request_text("GET /echo", "orders")).reply().status
        assert status() == 200
        opened = mesh["vm-a"].metric("ringmain_upstream_opened_total")
        mesh.policies = [dict(ALLOW_WEB, **{"from": ["guest"]}), ALLOW_ECHO]
        mesh.write_configs()
        mesh["vm-b"].reload()
        wait_for(lambda: status() == 403, "the new policy")
        assert mesh["vm-a"].metric("ringmain_upstream_opened_total") == opened
        mesh.policies = [ALLOW_WEB, ALLOW_ECHO]
        mesh.write_configs()
        mesh["vm-b"].reload()
        wait_for(lambda: status() == 200, "the old policy")


def test_a_workload_joins_and_leaves(mesh):
    """A service, its workload and its certificate come while everything runs, and go again."""
    with mesh.dial("web", "orders") as http, mesh.dial("web", "echo") as tcp:
        http.send(request_text("GET /echo", "orders")).reply()
        tcp.send("x").exactly(1)
        before = list(mesh.services), list(mesh.policies)
        mesh.services.append(STOCK)
        mesh.policies.append({"service": ["stock"], "action": "allow", "from": ["web"]})
        mesh.policies.append({"service": ["orders"], "action": "allow", "from": ["stock"]})
        mesh.serve_one(STOCK, mesh.lab["vm-b"])
        mesh.write_configs()
        mesh["vm-b"].issue("stock")
        mesh["vm-b"].redirect_up()
        for node in mesh:
            node.reload()

        def status(caller, to):
            try:
                return mesh.call(caller, to, timeout=3).status
            except (OSError, EOFError):
                return None
        wait_for(lambda: status("web", "stock") == 200, "stock to be called")
        wait_for(lambda: status("stock", "orders") == 200, "stock to call")
        names = dict(mesh.call("stock", "orders").json["headers"])
        assert "service/stock" in str(names)
        assert "stock" in [row["service"] for row in mesh["vm-b"].status()["workloads"]]

        mesh.services, mesh.policies = list(before[0]), list(before[1])
        mesh.write_configs()
        mesh["vm-b"].redirect_up()
        for node in mesh:
            node.reload()
        wait_for(lambda: "stock" not in [row["service"] for row in mesh["vm-b"].status()["workloads"]], "its end")
        assert mesh.turned_away(STOCK.uid, "orders", request_text("GET /echo", "orders"), machine="vm-b")
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        assert tcp.send("y").exactly(1) == b"y"


def test_live_connections_obey_the_new_policy(mesh):
    with mesh.dial("web", "orders") as http, mesh.dial("web", "echo") as tcp:
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        assert tcp.send("x").exactly(1) == b"x"
        mesh.policies = [dict(ALLOW_WEB, **{"from": ["guest"]}), dict(ALLOW_ECHO, **{"from": ["guest"]})]
        reload_all(mesh)
        with pytest.raises((EOFError, OSError)):
            tcp.exactly(1)
        assert http.send(request_text("GET /echo", "orders")).reply().status == 403
    line = mesh.access_line("vm-b", path="/echo", response_code=403)
    assert line["response_code_details"] == "POLICY_DENIED"


def test_no_request_fails_while_reloading(mesh):
    end, failed, done = time.monotonic() + 6, [], [0]

    def caller():
        while time.monotonic() < end:
            try:
                status = mesh.call("web", "orders", timeout=5).status
                done[0] += 1
                if status != 200:
                    failed.append(status)
            except (OSError, EOFError) as error:
                failed.append(repr(error))
    mesh.call("web", "orders")
    threads = [threading.Thread(target=caller) for _ in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        reload_all(mesh)
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert failed == []
    assert done[0] > 30


BAD = {
    "syntax": ("policies = (", ["mesh.conf"]),
    "unknown key": ('services = ( { name = "orders"; protocal = "http"; } );', ["mesh.conf:1", "protocal", "protocol"]),
    "wrong type": ('services = ( { name = 7; } );', ["mesh.conf:1", "name"]),
    "unknown service": ('services = ( { name = "orders"; } );\n'
                        'policies = ( { service = "ordres"; action = "allow"; } );', ["mesh.conf:2", "ordres", "orders"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_changes_nothing_and_says_why(mesh, kind):
    text, words = BAD[kind]
    good = mesh.mesh_file.read_text()
    with mesh.dial("web", "echo") as tcp:
        tcp.send("x").exactly(1)
        mesh.mesh_file.write_text(text)
        mesh["vm-b"].reload()
        wait_for(lambda: all(word in mesh["vm-b"].process.log for word in words), f"{words} in the log")
        wait_for(lambda: not mesh["vm-b"].status()["last_reload"]["ok"], "the status to tell of it")
        assert all(word in mesh["vm-b"].status()["last_reload"]["text"] for word in words)
        assert mesh.call("web", "orders").status == 200
        assert mesh.call("guest", "orders").status == 403
        assert tcp.send("y").exactly(1) == b"y"
    mesh.mesh_file.write_text(good)
    mesh["vm-b"].reload()
    wait_for(lambda: mesh["vm-b"].status()["last_reload"]["ok"], "the status to be good again")


@pytest.mark.parametrize("kind", BAD)
def test_check_finds_it_before(mesh, kind):
    text, words = BAD[kind]
    assert mesh["vm-b"].ringmain("check").returncode == 0
    mesh.mesh_file.write_text(text)
    done = mesh["vm-b"].ringmain("check", check=False)
    assert done.returncode == 1
    for word in words:
        assert word in done.stdout + done.stderr


def test_all_errors_are_told_at_once(mesh):
    """By the check and by the status alike, whichever files they are in."""
    node = mesh["vm-b"]
    mesh.mesh_file.write_text('services = ( { name = "a"; protocal = "http"; },\n{ name = "b"; endpoint = ( ); } );')
    node.config.write_text(node.config.read_text() + "\n".join(['limts: { };', 'timeouts: { idel = "1s"; };']))
    last = len(node.config.read_text().splitlines())
    wanted = [f'{mesh.mesh_file}:1: services[0].protocal: unknown key; did you mean "protocol"?',
              f'{mesh.mesh_file}:2: services[1].endpoint: unknown key; did you mean "endpoints"?',
              f'{node.config}:{last - 1}: limts: unknown key; did you mean "limits"?',
              f'{node.config}:{last}: timeouts.idel: unknown key; did you mean "idle"?']
    done = node.ringmain("check", check=False)
    assert done.returncode == 1 and set(wanted) <= set(done.stderr.splitlines())
    node.reload()
    wait_for(lambda: not node.status()["last_reload"]["ok"], "the status to tell of it")
    assert set(wanted) <= set(node.status()["last_reload"]["text"].splitlines())
    table = node.ringmain("status", check=False)
    assert table.returncode == 1
    for line in wanted:
        assert line in table.stdout and line in node.process.log
    assert mesh.call("web", "orders").status == 200


@pytest.mark.parametrize("roots", ["a leaf", "nothing", "no PEM"])
def test_certificates_that_would_be_refused_are_found_before(mesh, roots):
    """The check refuses what the reload refuses; until then the old ones stay in use."""
    node = mesh["vm-b"]
    path = node.certs / "roots.pem"
    good = path.read_text()
    bad = {"a leaf": (node.certs / "orders.crt").read_text(), "nothing": "", "no PEM": "certificate\n"}[roots]
    path.write_text(bad)
    done = node.ringmain("check", check=False)
    assert done.returncode == 1 and "roots" in done.stderr
    node.reload()
    wait_for(lambda: not node.status()["last_reload"]["ok"], "the status to tell of it")
    assert "roots" in node.status()["last_reload"]["text"]
    assert mesh.call("web", "orders").status == 200
    path.write_text(good)
    assert node.ringmain("check").returncode == 0
    node.reload()
    wait_for(lambda: node.status()["last_reload"]["ok"], "the status to be good again")


def test_the_check_names_workloads_without_a_certificate(mesh):
    node = mesh["vm-b"]
    (node.certs / "orders.crt").unlink()
    (node.certs / "orders.key").unlink()
    done = node.ringmain("check")
    assert f"{node.certs}: warning: no certificate for service/orders" in done.stderr.splitlines()
    assert "service/echo" not in done.stderr


def test_a_bad_file_at_the_start_is_refused(mesh):
    mesh["vm-b"].stop()
    mesh.mesh_file.write_text("policies = (")
    mesh["vm-b"].start(wait=False)
    assert mesh["vm-b"].process.wait(10) != 0
    assert "mesh.conf" in mesh["vm-b"].process.log


def test_many_reloads_at_once(mesh):
    """Files that change faster than they are read, half-written ones among them: the last one wins."""
    for number in range(200):
        mesh.policies = [dict(ALLOW_WEB, **{"from": ["guest" if number % 2 else "web"]}), ALLOW_ECHO]
        mesh.write_configs()
        mesh["vm-b"].process.kill(signal.SIGHUP)
        time.sleep(0.005)
    wait_status(mesh, "guest", 200)
    wait_status(mesh, "web", 403)
    assert mesh["vm-b"].process.running
