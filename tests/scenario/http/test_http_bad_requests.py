# SPDX-License-Identifier: Apache-2.0
"""Requests that are not valid HTTP are answered by the proxy beside their caller, and nothing of
them reaches the server: what two parsers could read in two ways is never passed on."""
import pytest
from mesh import ORDERS, WEB, ScenarioMesh, request_text

HOST = "Host: orders\r\n"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: orders\r\n\r\n"

# name, bytes, statuses that are right
BAD = [
    ("no version", "GET /bad\r\n\r\n", {400, 505}),
    ("binary", "\x00\x01\x02\x03\r\n\r\n", {400}),
    ("unknown version", f"GET /bad HTTP/3.0\r\n{HOST}\r\n", {400, 505}),
    ("unknown method", f"FROB /bad HTTP/1.1\r\n{HOST}\r\n", {400, 501}),
    ("lower-case method", f"get /bad HTTP/1.1\r\n{HOST}\r\n", {400, 501}),
    ("no host", "GET /bad HTTP/1.1\r\n\r\n", {400}),
    ("two hosts", f"GET /bad HTTP/1.1\r\n{HOST}Host: other\r\n\r\n", {400}),
    ("host with a space", "GET /bad HTTP/1.1\r\nHost: a b\r\n\r\n", {400}),
    ("target without a slash", f"GET bad HTTP/1.1\r\n{HOST}\r\n", {400}),
    ("target with a space", f"GET /b ad HTTP/1.1\r\n{HOST}\r\n", {400, 505}),
    ("target with an encoded slash", f"GET /a%2Fbad HTTP/1.1\r\n{HOST}\r\n", {400}),
    ("target above the root", f"GET /../../bad HTTP/1.1\r\n{HOST}\r\n", {400}),
    ("long target", f"GET /{'b' * 20000} HTTP/1.1\r\n{HOST}\r\n", {414, 431}),
    ("large headers", f"GET /bad HTTP/1.1\r\n{HOST}X: {'x' * 40000}\r\n\r\n", {431}),
    ("many headers", f"GET /bad HTTP/1.1\r\n{HOST}" + "X: 1\r\n" * 1000 + "\r\n", {431}),
    ("space before the colon", f"GET /bad HTTP/1.1\r\n{HOST}X : 1\r\n\r\n", {400}),
    ("folded header", f"GET /bad HTTP/1.1\r\n{HOST}X: 1\r\n 2\r\n\r\n", {400}),
    ("header without a colon", f"GET /bad HTTP/1.1\r\n{HOST}nonsense\r\n\r\n", {400}),
    ("zero byte in a header", f"GET /bad HTTP/1.1\r\n{HOST}X: a\x00b\r\n\r\n", {400}),
    ("bare carriage return in a header", f"GET /bad HTTP/1.1\r\n{HOST}X: a\rb\r\n\r\n", {400}),
    ("line ends of LF alone", "GET /bad HTTP/1.1\nHost: orders\n\n", {400}),
    ("length and chunked", f"POST /bad HTTP/1.1\r\n{HOST}Content-Length: 5\r\n"
     f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}", {400}),
    ("chunked and length", f"POST /bad HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n"
     f"Content-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}", {400}),
    ("two lengths", f"POST /bad HTTP/1.1\r\n{HOST}Content-Length: 0\r\nContent-Length: 44\r\n\r\n{SMUGGLED}", {400}),
    ("length with a sign", f"POST /bad HTTP/1.1\r\n{HOST}Content-Length: +5\r\n\r\nhello", {400}),
    ("negative length", f"POST /bad HTTP/1.1\r\n{HOST}Content-Length: -1\r\n\r\n", {400}),
    ("length in hexadecimal", f"POST /bad HTTP/1.1\r\n{HOST}Content-Length: 0x5\r\n\r\nhello", {400}),
    ("length beyond 64 bits", f"POST /bad HTTP/1.1\r\n{HOST}Content-Length: 99999999999999999999\r\n\r\n", {400, 413}),
    ("empty length", f"POST /bad HTTP/1.1\r\n{HOST}Content-Length: \r\n\r\n{SMUGGLED}", {400}),
    ("unknown encoding", f"POST /bad HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip\r\n\r\n", {400, 501}),
    ("chunked twice", f"POST /bad HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("chunked not last", f"POST /bad HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", {400, 501}),
    ("encoding of another name", f"POST /bad HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    ("encoding with HTTP/1.0", f"POST /bad HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    ("unknown expectation", f"POST /bad HTTP/1.1\r\n{HOST}Expect: miracles\r\nContent-Length: 0\r\n\r\n", {417}),
    ("TLS on a plain port", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n", {400}),
]


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, ORDERS]) as mesh:
        yield mesh.start()


@pytest.mark.parametrize("name,text,statuses", BAD, ids=[row[0] for row in BAD])
def test_bad_request_is_answered_and_goes_no_further(mesh, name, text, statuses):
    with mesh.dial("web", "orders") as wire:
        reply = wire.send(text).reply()
        assert reply.status in statuses
        assert wire.ended() in ("fin", "reset")  # what follows could mean anything
    record = mesh.record("orders")
    assert not any(word in record for word in (b"/bad", b" bad HTTP", b"smuggled"))
    assert mesh.call("web", "orders", "GET /fine").status == 200


@pytest.mark.parametrize("chunk", ["xyz\r\n", "-1\r\n", "ffffffffffffffff1\r\n", "3\r\nabcd\r\n", "3\nabc\n", "\r\n"])
def test_malformed_chunk_ends_the_request(mesh, chunk):
    """The head was fine and is on its way already; the server never sees a whole request."""
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("POST /echo", "orders", ["Transfer-Encoding: chunked"]))
        wire.send("1\r\nx\r\n" + chunk + "0\r\n\r\n" + SMUGGLED)
        try:
            assert wire.reply().status in (400, 413)
        except (EOFError, ConnectionResetError):
            pass
        assert wire.ended() in ("fin", "reset")
    assert b"smuggled" not in mesh.record("orders")
    assert mesh.call("web", "orders", "GET /fine").status == 200


def test_good_request_before_a_bad_one_is_answered(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /echo/good", "orders") + b"GET /bad HTTP/1.1\r\n\r\n")
        assert wire.reply().json["path"] == "/echo/good"
        assert wire.reply().status == 400


def test_path_is_normalised_for_policy_and_server_alike(mesh):
    reply = mesh.call("web", "orders", "GET /a/./b/../%65cho//x?q=%2F..")
    assert reply.json["path"] == "/a/echo/x?q=%2F.."
