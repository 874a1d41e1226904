# SPDX-License-Identifier: Apache-2.0
"""Another policy, and what runs and waits meanwhile: ended where it is refused now, and never touched where it is not.
How long that took is printed."""
import socket
import time

import pytest
from machines import wait_for
from mesh import BLOCK, ECHO, GUEST, ORDERS, WEB, ScenarioMesh, at, request_text

ALLOW = [{"name": "callers", "service": ["orders", "echo"], "action": "allow", "from": ["web", "guest"]}]
NO_WEB = {"name": "no-web", "service": ["orders", "echo"], "action": "deny", "from": ["web"]}
# who is called: over the mesh, and on the caller's own machine
HTTP = pytest.mark.parametrize("there", ["vm-b", "vm-a"], ids=["over the mesh", "same machine"])


@pytest.fixture(scope="module")
def mesh():
    services = [WEB, GUEST, at(ORDERS, "vm-a", "vm-b"), at(ECHO, "vm-a", "vm-b")]
    with ScenarioMesh(services, policies=ALLOW, default_policy="deny", workers=2) as mesh:
        yield mesh.start()


@pytest.fixture(autouse=True)
def as_before(mesh):
    yield
    change(mesh)


def change(mesh, *policies):
    """Returns when all workers of all nodes have it; and when that began."""
    mesh.policies = [*policies, *ALLOW]
    mesh.write_configs()
    numbers = {node.name: node.metric("ringmain_generation") for node in mesh}
    began = time.monotonic()
    for node in mesh:
        node.reload()
    wait_for(lambda: all(node.metric("ringmain_generation") > numbers[node.name] for node in mesh), "the new plan", every=0.01)
    return began


def dial(mesh, caller, there, **more):
    return mesh.dial(caller, mesh.target("orders", machine=there), **more)


def ended(wire, began, what, capsys):
    """How a connection ends, and says when."""
    how = wire.ended(timeout=20)
    with capsys.disabled():
        print(f"\n{what}: {how} {1000 * (time.monotonic() - began):.0f} ms after the change was asked for")
    return how


@HTTP
def test_an_idle_session_ends(mesh, there, capsys):
    with dial(mesh, "web", there) as wire, dial(mesh, "guest", there) as other:
        assert wire.send(request_text("GET /echo/idle", "orders")).reply().status == 200
        assert other.send(request_text("GET /echo/idle", "orders")).reply().status == 200
        before = mesh[there].metric("ringmain_policy_sessions_ended_total")
        began = change(mesh, NO_WEB)
        wait_for(lambda: mesh[there].metric("ringmain_policy_sessions_ended_total") > before, "the session to end", every=0.01)
        if there == "vm-a":  # else what ends is the session that the caller's proxy has on its behalf
            assert ended(wire, began, "an idle session on its own machine", capsys) == "fin"
        else:
            assert wire.send(request_text("GET /echo/idle", "orders")).reply().status == 403
        assert other.send(request_text("GET /echo/other", "orders")).reply().status == 200


@HTTP
def test_a_session_ends_for_the_path_that_it_asked(mesh, there):
    """Requests of one caller follow each other on one channel between the proxies: the other one is another's."""
    with dial(mesh, "web", there) as wire, dial(mesh, "guest", there) as other:
        assert wire.send(request_text("GET /echo/secret", "orders")).reply().status == 200
        assert other.send(request_text("GET /echo/public", "orders")).reply().status == 200
        before = mesh[there].metric("ringmain_policy_sessions_ended_total")
        change(mesh, {"name": "secret", "service": "orders", "action": "deny", "paths": ["/echo/secret"]})
        wait_for(lambda: mesh[there].metric("ringmain_policy_sessions_ended_total") == before + 1, "one session to end", every=0.01)
        assert other.send(request_text("GET /echo/public", "orders")).reply().status == 200
        assert other.send(request_text("GET /echo/secret", "orders")).reply().status == 403


@HTTP
def test_a_download_under_way_is_cut(mesh, there, capsys):
    with dial(mesh, "web", there) as wire:
        wire.send(request_text("GET /stream/100000/10", "orders")).until(b"line 3\n")
        began = change(mesh, NO_WEB)
        assert ended(wire, began, f"a download from {there}", capsys) == "reset"
    line = wait_for(lambda: mesh.access_lines(there, path="/stream/100000/10", response_code_details="POLICY_DENIED"), "its line")[-1]
    assert line["policy"] == "no-web" and line["policy_where"].startswith(str(mesh.mesh_file))


@HTTP
def test_a_request_that_has_no_answer_yet(mesh, there):
    with dial(mesh, "web", there) as wire:
        wire.send(request_text("GET /slow/60000", "orders"))
        wait_for(lambda: b"/slow/60000" in mesh.record("orders", there), "the request to arrive")
        change(mesh, NO_WEB)
        assert wire.reply().status == 403


@HTTP
def test_an_upload_under_way_is_cut(mesh, there):
    with dial(mesh, "web", there) as wire:
        wire.send(f"PUT /echo/upload/{there} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + 1000 * "x")
        wait_for(lambda: f"/echo/upload/{there}".encode() in mesh.record("orders", there), "its head to arrive")
        change(mesh, NO_WEB)
        assert wire.reply().status == 403
        assert wire.ended(timeout=20) in ("fin", "reset")


@pytest.mark.parametrize("machine", ["vm-a", "vm-b"])
def test_live_tcp_is_closed(mesh, machine, capsys):
    address = mesh.target("echo", machine=machine)
    with mesh.dial("web", address) as wire, mesh.dial("guest", address) as other:
        assert wire.send("abc").exactly(3) == b"abc"
        assert other.send("abc").exactly(3) == b"abc"
        began = change(mesh, NO_WEB)
        assert ended(wire, began, f"opaque bytes to {machine}", capsys) == "reset"
        assert other.send("def").exactly(3) == b"def"


@HTTP
def test_a_websocket_is_closed(mesh, there, capsys):
    with dial(mesh, "web", there) as wire:
        wire.send(request_text("GET /upgrade", "orders", ["Connection: upgrade", "Upgrade: websocket"]))
        assert wire.reply().status == 101
        assert wire.send("abc").exactly(3) == b"abc"
        began = change(mesh, {"name": "ws", "service": "orders", "action": "deny", "paths": ["/upgrade"]})
        assert ended(wire, began, f"a websocket to {there}", capsys) == "reset"


@HTTP
def test_what_is_allowed_comes_whole_over_many_changes(mesh, there):
    size = 64 * len(BLOCK)
    with dial(mesh, "web", there, timeout=60) as wire:
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.send(request_text(f"GET /bytes/{size}", "orders"))
        assert wire.head()[0] == 200
        got = b""
        for number in range(20):
            change(mesh, {"name": f"n{number}", "service": ["orders", "echo"], "action": "deny",
                          **({"from": ["guest"]} if number % 2 else {"paths": ["/other/*"]})})
            got += wire.exactly(size // 32)
        got += wire.exactly(size - len(got))
    assert got == BLOCK * 64
