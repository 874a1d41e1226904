# SPDX-License-Identifier: Apache-2.0
"""The load generator against its origin: what it counts is what happened, and errors are errors."""
import resource
import subprocess
import time

import pytest
from programs import Load, Server, command, dial, listening, load, read_all, refused_address, server

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"


def assert_in_flight(counted, seen, connections):
    """What the origin has seen is what the load counted, but for exchanges cut off by the end."""
    assert 0 <= seen - counted <= connections


def test_counts_requests_and_bytes(tmp_path):
    with server("origin", "--protocol=http", "--response-bytes=3000") as origin:
        result = load(origin.address, "http", "--connections=8", "--response-bytes=3000")
        seen = origin.end()
    assert result["requests"] > 100 and result["errors"] == 0
    assert result["connections_opened"] == 8
    assert_in_flight(result["requests"], seen["requests"], 8)
    answer = len(HEAD % 3000) + 3000
    assert result["requests"] * answer <= result["bytes_in"] <= (result["requests"] + 8) * answer
    assert result["bytes_out"] == seen["bytes_in"]
    assert result["requests_per_second"] == pytest.approx(result["requests"] / result["seconds"], rel=1e-3)


def test_bodies_of_requests_are_drained():
    with server("origin", "--protocol=http") as origin:
        result = load(origin.address, "http", "--connections=4", "--request-bytes=100000")
        seen = origin.end()
    assert result["requests"] > 20 and result["errors"] == 0
    assert_in_flight(result["requests"], seen["requests"], 4)
    assert result["bytes_out"] >= result["requests"] * 100000


def test_host_and_path_are_sent():
    heads = []

    def serve(connection):
        heads.append(connection.recv(4096))
        connection.sendall(HEAD % 0)
        read_all(connection)
    with listening(serve) as address:
        load(address, "http", "--host=orders", "--path=/a?b=c")
    assert heads == [b"GET /a?b=c HTTP/1.1\r\nHost: orders\r\n\r\n"]


@pytest.mark.parametrize("size", [1, 200, 1000000])
def test_echo_of(size):
    with server("origin", "--protocol=echo") as origin:
        result = load(origin.address, "echo", "--connections=4", f"--request-bytes={size}")
        seen = origin.end()
    assert result["requests"] > 10 and result["errors"] == 0
    assert result["requests"] * size <= result["bytes_in"] <= (result["requests"] + 4) * size
    assert seen["connections"] == 4


@pytest.mark.parametrize("protocol, here, there", [("sink", "bytes_out", "bytes_in"), ("source", "bytes_in", "bytes_out")])
def test_streams_count_bytes(protocol, here, there):
    with server("origin", f"--protocol={protocol}") as origin:
        result = load(origin.address, protocol, "--connections=3")
        seen = origin.end()
    assert result["errors"] == 0 and result["connections_opened"] == 3
    assert result[here] > 1 << 20
    unread = abs(result[here] - seen[there])
    assert unread < 3 * (32 << 20), "what is in the sockets' buffers"


def test_percentiles_are_in_order():
    with server("origin", "--protocol=http") as origin:
        result = load(origin.address, "http", "--connections=8")
    us = [result[key] for key in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
    assert us == sorted(us) and us[0] > 0
    points = result["percentiles"]
    assert points[0][0] == 0 and points[-1] == [100, result["max_us"]]
    assert points == sorted(points) and [p[1] for p in points] == sorted(p[1] for p in points)
    assert points[0][1] <= result["mean_us"] <= result["max_us"]


def test_the_rate_is_kept():
    with server("origin", "--protocol=http") as origin:
        result = load(origin.address, "http", "--connections=4", "--rate=1000", duration=1)
    # every exchange that fell due is accounted for: answered, or not yet
    due = result["seconds"] * 1000
    assert abs(result["requests"] + result["unanswered"] - due) <= 2
    assert result["requests"] > 0 and result["errors"] == 0


def test_a_stall_shows_though_few_requests_are_in_flight():
    """Two connections, so only two requests are ever stuck in the stall. In the open loop all that
    fell due meanwhile are late, and must be seen to be; the closed loop does not even send them."""
    words = ["--protocol=http", "--stall-ms=400", "--stall-every-ms=1000"]
    with server("origin", *words) as origin:
        opened = load(origin.address, "http", "--connections=2", "--rate=200", duration=3)
    with server("origin", *words) as origin:
        closed = load(origin.address, "http", "--connections=2", duration=3)
    # A stall of 400 ms in each second: 40 % of the time is in one, and a tenth of all wait >= 300 ms.
    assert opened["p90_us"] > 200000
    assert closed["p90_us"] < 200000
    assert closed["max_us"] > 400000, "it did stall"


def test_an_overloaded_server_shows():
    """More falls due than can be answered: the wait grows, and what is left is counted."""
    def serve(connection):
        while connection.recv(4096):
            time.sleep(0.05)
            connection.sendall(HEAD % 0)
    with listening(serve) as address:
        result = load(address, "http", "--rate=100", duration=1)
    assert 0 < result["requests"] <= 21
    assert result["unanswered"] >= 75
    assert result["max_us"] > 500000


def test_connections_are_renewed():
    with server("origin", "--protocol=http") as origin:
        result = load(origin.address, "http", "--connections=4", "--per-connection=3", duration=0.5)
        seen = origin.end()
    assert result["errors"] == 0 and result["requests"] > 30
    assert result["connections_opened"] == pytest.approx(result["requests"] / 3, abs=5)
    assert abs(seen["connections"] - result["connections_opened"]) <= 4


def test_an_announced_close_is_no_error():
    def serve(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    with listening(serve) as address:
        result = load(address, "http")
    assert result["errors"] == 0
    assert result["requests"] > 2
    assert abs(result["connections_opened"] - result["requests"]) <= 1


@pytest.mark.parametrize("answer, trouble", [
    (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", "status 503"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "3 bytes"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "after the end"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "closed"),
    (b"nonsense\r\n", "no HTTP"),
    (b"", "closed"),
])
def test_any_other_answer_is_an_error(answer, trouble):
    def serve(connection):
        connection.recv(4096)
        connection.sendall(answer)
    with listening(serve) as address:
        result = load(address, "http", "--response-bytes=2", duration=0.3)
    assert result["requests"] == 0
    assert result["errors"] > 0
    assert trouble in result["first_error"]


def test_wrong_bytes_of_an_echo_are_an_error():
    def serve(connection):
        while text := connection.recv(4096):
            connection.sendall(text.replace(b"B", b"C"))
    with listening(serve) as address:
        result = load(address, "echo", duration=0.3)
    assert result["requests"] == 0 and result["errors"] > 0
    assert "other bytes" in result["first_error"]


@pytest.mark.parametrize("words", [[], ["--rate=100"]])
def test_nobody_there(words):
    result = load(refused_address(), "http", "--connections=3", *words, duration=0.3)
    assert result["requests"] == 0 and result["connections_opened"] == 0
    assert result["errors"] >= 3
    assert result["first_error"] == "Connection refused"
    # a refusal costs a pause, so that it is counted, but not the load's whole time
    assert result["errors"] < 3 * 0.3 / 0.01 + 10


def test_an_origin_that_dies_and_comes_back():
    origin = Server("origin", "--protocol=http")
    run = Load(origin.address, "http", "--connections=4", duration=3)
    time.sleep(0.5)
    origin.kill()
    time.sleep(0.5)
    with server("origin", "--protocol=http", listen=origin.address) as again:
        result = run.result()
        seen = again.end()
    assert result["errors"] >= 4, "what was in flight, and refused dials"
    assert result["connections_opened"] == 8
    assert seen["requests"] > 0 and result["requests"] > seen["requests"]


def test_an_origin_that_closes_at_once():
    with listening(lambda connection: None) as address:
        result = load(address, "http", "--connections=3", duration=0.3)
    assert result["requests"] == 0
    assert 3 <= result["errors"] < 3 * 0.3 / 0.01 + 10


def test_an_origin_that_never_answers_does_not_hang_the_load():
    with listening(read_all) as address:
        begun = time.monotonic()
        result = load(address, "http", "--connections=2", duration=0.5)
    assert time.monotonic() - begun < 20
    assert result["requests"] == 0 and result["unanswered"] == 2


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_idle_connections_are_held():
    with server("origin", "--protocol=http") as origin:
        run = Load(origin.address, "http", "--connections=500", "--hold", preexec_fn=few_files)
        assert run.first == {"holding": 500}
        with dial(origin.address) as other:
            other.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 200"
        result = run.result()
        seen = origin.end()
    assert result["requests"] == 1000, "one when they were opened, one in the end"
    assert result["errors"] == 0
    assert seen["connections"] == 501


def test_held_connections_that_die_are_errors():
    origin = Server("origin", "--protocol=echo")
    run = Load(origin.address, "echo", "--connections=50", "--hold")
    assert run.first == {"holding": 50}
    origin.kill()
    result = run.result()
    assert result["requests"] == 50
    assert result["errors"] == 50


@pytest.mark.parametrize("name, words, problem", [
    ("load", [], "--to and --protocol"),
    ("load", ["--to=1.2.3.4:5", "--protocol=ftp"], "http, echo, sink or source"),
    ("load", ["--to=nonsense", "--protocol=http"], "an address with a port"),
    ("load", ["--to=1.2.3.4:5", "--protocol=http", "--connections=0"], '--connections: "0"'),
    ("load", ["--to=1.2.3.4:5", "--protocol=http", "--duration=-1"], '--duration: "-1"'),
    ("load", ["--to=1.2.3.4:5", "--protocol=sink", "--rate=5"], "for exchanges"),
    ("load", ["--to=1.2.3.4:5", "--protocol=echo", "--path=/"], "for http"),
    ("load", ["--to=1.2.3.4:5", "--protocol=http", "more"], '"more"'),
    ("origin", [], "--listen and --protocol"),
    ("origin", ["--listen=127.0.0.1:0", "--protocol=http", "--stall-ms=5"], "go together"),
    ("origin", ["--listen=127.0.0.1:99999", "--protocol=http"], "an address with a port"),
    ("null", ["--listen=127.0.0.1:0"], "--listen and --to"),
    ("null_epoll", ["--listen=127.0.0.1:0", "--to=127.0.0.1:0"], "--to: an address"),
])
def test_a_wrong_command_line_is_told(name, words, problem):
    done = subprocess.run(command(name, *words), capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert problem in done.stderr and "--help" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("name", ["load", "origin", "null", "null_epoll"])
def test_help(name):
    done = subprocess.run(command(name, "--help"), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stderr == ""
    assert "usage:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
