# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP workloads on two machines talk as if nothing were in between, and are in the mesh."""
import hashlib
import socket
import threading
import time

import pytest
from mesh import BLOCK, FAMILIES, GUEST, ORDERS, STOCK, WEB, ScenarioMesh, request_text

MIB64 = 64 << 20


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, GUEST, ORDERS, STOCK]) as mesh:
        yield mesh.start()


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
