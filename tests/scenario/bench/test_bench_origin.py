# SPDX-License-Identifier: Apache-2.0
"""The origin, as visitors other than our own load meet it."""
import socket

import pytest
from programs import dial, read_all, server

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000


def ask(origin, *pieces):
    """Sends, ends, and returns all that comes."""
    with dial(origin.address) as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def test_pipelined_requests():
    request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    with server("origin", "--protocol=http", "--response-bytes=70000") as origin:
        assert ask(origin, request * 100) == ANSWER * 100
        assert origin.end()["requests"] == 100


@pytest.mark.parametrize("request_text, answers", [
    (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 1),
    (b"GET / HTTP/1.0\r\n\r\n", 1),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 0),
])
def test_the_origin_closes_after(request_text, answers):
    with server("origin", "--protocol=http", "--response-bytes=70000") as origin, dial(origin.address) as client:
        client.sendall(request_text)
        assert read_all(client) == ANSWER * answers


@pytest.mark.parametrize("protocol", ["echo", "http"])
def test_an_end_that_comes_with_the_last_bytes(protocol):
    with server("origin", f"--protocol={protocol}", "--response-bytes=70000") as origin:
        for _ in range(20):
            asked = b"GET / HTTP/1.1\r\n\r\n"
            assert ask(origin, asked) == (asked if protocol == "echo" else ANSWER)


def test_a_visitor_that_reads_late_gets_all_of_its_echo():
    text = bytes(range(256)) * 40000
    with server("origin", "--protocol=echo") as origin, dial(origin.address) as client:
        client.setblocking(False)
        sent = 0
        while sent < len(text):
            try:
                sent += client.send(text[sent:])
            except BlockingIOError:
                break
        client.setblocking(True)
        assert sent > 1 << 20, "the sockets' buffers alone take as much"
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == text[:sent]
