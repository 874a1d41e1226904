# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP workloads on two machines talk as if nothing were in between, and are in the mesh."""
import contextlib
import hashlib
import socket
import threading
import time

import pytest
from mesh import (BLOCK, FAMILIES, GUEST, MESH_PORT, ORDERS, PROBE, STOCK, WEB, ScenarioMesh, Wire, at,
                  request_text)

MIB64 = 64 << 20


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, GUEST, ORDERS, STOCK, at(PROBE, protocol="http")]) as mesh:
        yield mesh.start()


@contextlib.contextmanager
def served(mesh):
    """A client's end, and the end of a server that the test plays once the client has sent."""
    class Later(Wire):
        def more(self):
            if not self.sock:
                self.sock, _ = listener.accept()
                self.sock.settimeout(10)
            return super().more()
    with mesh.listen("probe") as listener, mesh.dial("web", "probe") as client, Later(None) as server:
        yield client, server


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("service", ["orders", "stock"])
@pytest.mark.parametrize("caller", ["web", "guest"])
def test_every_pairing_answers(mesh, caller, service, family):
    reply = mesh.call(caller, service, "POST /echo?x=1", body=b"hello", family=family)
    assert (reply.status, reply.json["server"], reply.json["body_bytes"]) == (200, service, 5)


def test_the_server_learns_who_called(mesh):
    for caller in ("web", "guest"):
        headers = dict(mesh.call(caller, "orders").json["headers"])
        named = {name.lower(): value for name, value in headers.items()}["x-forwarded-client-cert"]
        assert f"URI=spiffe://mesh.test/service/{caller}" in named


def test_a_forged_caller_is_thrown_away(mesh):
    forged = "X-Forwarded-Client-Cert: By=x;URI=spiffe://mesh.test/service/admin"
    reply = mesh.call("web", "orders", headers=[forged])
    assert "service/admin" not in reply.body.decode()


def test_host_and_headers_arrive_as_sent(mesh):
    reply = mesh.call("web", "orders", headers=["X-Mixed-Case: a, b", "Cookie: c=1", "Accept: */*"])
    headers = [tuple(h) for h in reply.json["headers"]]
    for header in [("X-Mixed-Case", "a, b"), ("Cookie", "c=1"), ("Accept", "*/*")]:
        assert header in headers
    assert ("host", "orders") in [(name.lower(), value) for name, value in headers]


def test_connection_headers_stay_on_their_connection(mesh):
    reply = mesh.call("web", "orders", headers=["Connection: keep-alive, X-Mine", "X-Mine: 1", "Keep-Alive: 5"])
    names = {name.lower() for name, _ in reply.json["headers"]}
    assert not names & {"x-mine", "keep-alive"}


def test_keep_alive_uses_pooled_connections(mesh):
    opened = mesh["vm-a"].metric("ringmain_upstream_opened_total")
    with mesh.dial("web", "orders") as wire:
        for number in range(50):
            assert wire.send(request_text(f"GET /echo/{number}", "orders")).reply().status == 200
    assert mesh["vm-a"].metric("ringmain_upstream_opened_total") - opened <= 1
    for number in range(10):  # and the pool outlives the caller's connection
        assert mesh.call("web", "orders").status == 200
    assert mesh["vm-a"].metric("ringmain_upstream_opened_total") - opened <= 2


def test_pools_are_not_shared_between_identities(mesh):
    """The same two calls from two callers on one machine: each arrives under its own name."""
    seen = set()
    for _ in range(5):
        for caller in ("web", "guest"):
            text = mesh.call(caller, "orders").body.decode()
            seen.add((caller, "service/web" in text, "service/guest" in text))
    assert seen == {("web", True, False), ("guest", False, True)}


def test_a_connection_for_each_caller_service_and_endpoint():
    """As the wire shows it: a connection for each of them, used again, and by nobody else."""
    with ScenarioMesh([WEB, GUEST, ORDERS, STOCK], workers=1) as mesh:
        mesh.start()

        def wires():
            listed = mesh.lab["vm-b"].run(["ss", "-Htn", "state", "established", f"sport = :{MESH_PORT}"]).stdout
            return {line.split()[3] for line in listed.splitlines()}
        calls = [(caller, service, family) for caller in ("web", "guest") for service in ("orders", "stock")
                 for family in FAMILIES]
        for count, (caller, service, family) in enumerate(calls, 1):
            for _ in range(3):
                assert mesh.call(caller, service, family=family).status == 200
            assert len(wires()) == count
        seen = wires()
        for caller, service, family in reversed(calls):
            assert mesh.call(caller, service, family=family).status == 200
        assert wires() == seen
        assert mesh["vm-a"].metric("ringmain_upstream_opened_total") == len(calls)


def test_chunked_response_with_trailer(mesh):
    reply = mesh.call("web", "orders", "GET /chunked/100", ["TE: trailers"])
    assert reply.body == BLOCK[:1000] * 100
    assert reply.trailers == [("X-Checksum", reply.sha256)]


@pytest.mark.parametrize("service", ["orders", "stock"])
def test_chunked_request_with_trailer(mesh, service):
    with mesh.dial("web", service) as wire:
        wire.send(request_text("POST /echo", service, ["Transfer-Encoding: chunked", "Trailer: X-Sum"]))
        for _ in range(50):
            wire.send(b"3e8\r\n" + BLOCK[:1000] + b"\r\n")
        answer = wire.send("0\r\nX-Sum: 7\r\n\r\n").reply().json
    assert answer["body_bytes"] == 50000
    assert answer["sha256"] == hashlib.sha256(BLOCK[:1000] * 50).hexdigest()
    assert "7" in str(answer["trailers"])


def test_chunks_may_come_byte_by_byte(mesh):
    with mesh.dial("web", "orders") as wire:
        for byte in request_text("POST /echo", "orders", ["Transfer-Encoding: chunked"]) + b"3\r\nabc\r\n0\r\n\r\n":
            wire.send(bytes([byte]))
        assert wire.reply().json["body_bytes"] == 3


def test_head_has_headers_and_no_body(mesh):
    with mesh.dial("web", "orders") as wire:
        reply = wire.send(request_text("HEAD /bytes/1000", "orders")).reply("HEAD")
        assert (reply.status, reply.get("Content-Length"), reply.body) == (200, "1000", b"")
        assert wire.send(request_text("GET /echo", "orders")).reply().status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(mesh, status):
    with mesh.dial("web", "orders") as wire:
        assert wire.send(request_text(f"GET /status/{status}", "orders")).reply().status == status
        assert wire.send(request_text("GET /echo", "orders")).reply().status == 200


@pytest.mark.parametrize("status", [200, 201, 301, 404, 418, 500, 503])
def test_the_servers_status_and_body_arrive(mesh, status):
    reply = mesh.call("web", "orders", f"GET /status/{status}")
    assert (reply.status, reply.body) == (status, b"as asked\n")


def test_early_hints_arrive_first(mesh):
    reply = mesh.call("web", "orders", "GET /early-hints")
    assert [status for status, _ in reply.interim] == [103]
    assert (reply.status, reply.body) == (200, b"after hints\n")


def test_expect_100_continue(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("POST /echo", "orders", ["Expect: 100-continue", "Content-Length: 5"]))
        assert wire.head()[0] == 100
        assert wire.send("hello").reply().json["body_bytes"] == 5


def test_upgrade_carries_raw_bytes_both_ways(mesh):
    key = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    with mesh.dial("web", "orders") as wire:
        reply = wire.send(request_text("GET /upgrade", "orders", key)).reply()
        assert (reply.status, reply.get("Upgrade")) == (101, "websocket")
        for message in (b"\x81\x05hello", BLOCK, b"\r\n\r\n"):
            assert wire.send(message).exactly(len(message)) == message
        assert wire.finish().rest() == b""


def test_connect_is_refused(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
        assert wire.reply("GET").status == 405
    assert b"CONNECT" not in mesh.record("orders")


def test_pipelined_requests_are_answered_in_order(mesh):
    with mesh.dial("web", "orders") as wire:
        paths = [f"/slow/{50 - 5 * n}" if n % 3 == 0 else f"/echo/{n}" for n in range(10)]
        wire.send(b"".join(request_text(f"GET {path}", "orders") for path in paths))
        for path in paths:
            reply = wire.reply()
            assert reply.status == 200
            assert reply.body == b"slow\n" if "slow" in path else reply.json["path"] == path


def test_expectation_that_the_server_refuses(mesh):
    """A final response instead of 100: the body is never sent, and nothing of it is waited for."""
    with served(mesh) as (client, server):
        client.send(request_text("POST /x", "probe", ["Expect: 100-continue", "Content-Length: 5"]))
        assert b"expect: 100-continue" in server.until(b"\r\n\r\n").lower()
        server.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        reply = client.reply()
        assert (reply.status, reply.interim) == (413, [])
        assert client.ended() in ("fin", "reset")  # where the next request would begin is not known


def test_expectation_that_nobody_answers(mesh):
    """The client waits no longer, as it may, and sends the body: it goes through."""
    with served(mesh) as (client, server):
        client.send(request_text("POST /x", "probe", ["Expect: 100-continue", "Content-Length: 5"]))
        server.until(b"\r\n\r\n")
        client.send("hello")
        assert server.exactly(5) == b"hello"
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.reply().status == 200


def test_http_1_0_client_needs_no_host_and_gets_an_end(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send("GET /bytes/1000 HTTP/1.0\r\n\r\n")
        reply = wire.reply()
        assert (reply.status, reply.body) == (200, BLOCK[:1000])
        assert wire.ended() == "fin"
        host, port = mesh.target("orders")
        assert f"\r\nHost: {host}:{port}\r\n".encode() in mesh.record("orders")


def test_http_1_0_client_that_keeps_alive(mesh):
    with mesh.dial("web", "orders") as wire:
        for _ in range(3):
            wire.send("GET /bytes/1000 HTTP/1.0\r\nHost: orders\r\nConnection: keep-alive\r\n\r\n")
            reply = wire.reply()
            assert (reply.status, reply.body) == (200, BLOCK[:1000])
            assert (reply.get("Connection") or "").lower() == "keep-alive"


def test_http_1_0_client_is_spared_interim_responses(mesh):
    with mesh.dial("web", "orders") as wire:
        reply = wire.send("GET /early-hints HTTP/1.0\r\nHost: orders\r\n\r\n").reply()
        assert (reply.status, reply.interim, reply.body) == (200, [], b"after hints\n")


@pytest.mark.parametrize("headers", ["", "Content-Length: 5\r\n"], ids=["until close", "with a length"])
def test_http_1_0_server(mesh, headers):
    with served(mesh) as (client, server):
        client.send(request_text("GET /old", "probe"))
        assert server.until(b"\r\n\r\n").startswith(b"GET /old HTTP/1.1\r\n")
        server.send(f"HTTP/1.0 200 OK\r\n{headers}\r\nhello")
        server.sock.close()
        reply = client.reply()
        assert (reply.status, reply.body) == (200, b"hello")


def test_http_1_0_client_gets_a_body_until_close(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send("GET /chunked/10 HTTP/1.0\r\nHost: orders\r\n\r\n")
        reply = wire.reply()
        assert reply.get("Transfer-Encoding") is None
        assert reply.body == BLOCK[:1000] * 10


def test_response_until_close(mesh):
    reply = mesh.call("web", "orders", "GET /until-close")
    assert (reply.status, reply.body) == (200, BLOCK[:5000])


def test_connection_close_is_honoured(mesh):
    with mesh.dial("web", "orders") as wire:
        assert wire.send(request_text("GET /echo", "orders", ["Connection: close"])).reply().status == 200
        assert wire.ended() == "fin"


def test_a_stream_arrives_while_it_is_made(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /stream/5/200", "orders"))
        wire.head()
        arrivals = []
        for _ in range(5):
            wire.until(b"line ")
            arrivals.append(time.monotonic())
    assert arrivals[-1] - arrivals[0] > 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_large_body_down(mesh, family):
    reply = mesh.call("web", "orders", f"GET /bytes/{MIB64}", family=family, timeout=60)
    assert reply.sha256 == hashlib.sha256(BLOCK * (MIB64 // len(BLOCK))).hexdigest()


@pytest.mark.parametrize("service", ["orders", "stock"])
def test_large_body_up(mesh, service):
    body = BLOCK * (MIB64 // len(BLOCK))
    reply = mesh.call("web", service, "PUT /echo", body=body, timeout=60)
    assert reply.json["body_bytes"] == MIB64
    assert reply.json["sha256"] == hashlib.sha256(body).hexdigest()


def test_many_callers_at_once(mesh):
    wrong = []

    def call_many(number):
        body = str(number).encode() * 100
        with mesh.dial("web", "orders", timeout=30) as wire:
            for _ in range(10):
                answer = wire.send(request_text("POST /echo", "orders", body=body)).reply().json
                if answer["sha256"] != hashlib.sha256(body).hexdigest():
                    wrong.append(number)
    threads = [threading.Thread(target=call_many, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_server_that_dies_without_an_answer(mesh):
    assert mesh.call("web", "orders", "POST /die", body=b"x").status in (502, 503)
    assert mesh.call("web", "orders").status == 200


def test_server_that_dies_midway_is_not_a_clean_end(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /die-midway", "orders"))
        status, _ = wire.head()
        assert status == 200
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.exactly(1000)
    assert mesh.call("web", "orders").status == 200


def test_caller_that_goes_away_frees_the_server(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /slow/300", "orders"))
    time.sleep(0.5)
    assert mesh.call("web", "orders").status == 200


@pytest.mark.parametrize("family", FAMILIES)
def test_curl(mesh, family):
    host, port = mesh.target("orders", family)
    host = f"[{host}]" if family == socket.AF_INET6 else host
    done = mesh.lab["vm-a"].run(["curl", "-sS", "-g", "-d", "hello", "-w", "\n%{http_code}",
                                 f"http://{host}:{port}/echo"], uid=WEB.uid)
    assert done.stdout.endswith("\n200")
