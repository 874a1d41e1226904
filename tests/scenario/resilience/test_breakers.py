# SPDX-License-Identifier: Apache-2.0
"""A service that is slow, or says that it has enough: callers are refused at once, each in its way, and come back when they
are wanted. Two workers share each limit."""
import contextlib
import socket
import struct
import time

import pytest
from machines import wait_for
from mesh import ECHO, at, request_text
from served import FAR, NEAR, Served, ask

TOLERANT = {"outlier": {"errors": 0, "connect_errors": 0}}
LIMITS = ("connections", "pending", "requests", "retries")
GRPC = ["Content-Type: application/grpc+proto", "TE: trailers"]
numbers = iter(range(10000))


class Limited(Served):
    """echo, of opaque bytes, has limits of its own."""
    echo = {}

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            if row["name"] == "echo":
                row.update(self.echo)
        return groups

    def limit(self, *rules, echo=None, **breaker):
        self.echo = {"breaker": echo} if echo else {}
        self.set(*rules, settings={**TOLERANT, "breaker": breaker})

    def used(self):
        return tuple(int(self.mine(f"breaker_{limit}")) for limit in LIMITS)

    def refused(self, limit):
        return int(self.mine(f"breaker_{limit}_refused_total"))


@pytest.fixture(scope="module")
def mesh():
    with Limited(services=[at(ECHO, FAR, own=201)], workers=2,
                 policies=[{"services": ["orders", "echo"], "action": "allow", "from": ["web", "guest"]}]) as mesh:
        yield mesh.start()


def fresh(what="x"):
    return f"/echo/{what}/{next(numbers)}"


def only(mesh, place, **more):
    return {"split": [{"version": mesh.version(place)}], **more}


@contextlib.contextmanager
def held(mesh, count, caller="web"):
    """So many requests are under way, at a server that does not answer, until their callers reset them."""
    with contextlib.ExitStack() as stack, mesh.behaves(FAR, "stall"):
        wires = [stack.enter_context(mesh.wire(caller)) for _ in range(count)]
        for wire in wires:
            wire.send(request_text(f"GET {fresh('held')}", "orders"))
            stack.callback(reset, wire)
        yield wires


def reset(wire):
    if wire.sock.fileno() >= 0:
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.sock.close()


def test_requests(mesh):
    """All workers together and exactly so many; who leaves makes room."""
    mesh.limit(only(mesh, FAR, retries={"attempts": 2, "on": ["5xx", "gateway-error"]}), requests=5)
    before, sent_again = mesh.refused("requests"), mesh.mine("retries_total")
    with held(mesh, 5) as wires:
        wait_for(lambda: mesh.used()[2] == 5, "five requests under way")
        path = fresh("late")
        for caller in ("web", "guest") * 4:
            reply = mesh.ask(f"GET {path}", caller)
            assert (reply.status, reply.get("x-ringmain-overloaded")) == (503, "true")
        assert mesh.refused("requests") - before == 8 and mesh.seen(path) == 0
        wait_for(lambda: len(mesh.access_lines("vm-a", path=path, attempts=0, response_flags="UO", response_code=503,
                                               response_code_details="BREAKER_REQUESTS")) == 8, "their lines")
        assert mesh.used()[2] == 5
        reset(wires[0])
        wait_for(lambda: mesh.used()[2] == 4, "one to have gone")
    wait_for(lambda: mesh.used() == (mesh.used()[0], 0, 0, 0), "all of them to have gone")
    assert [mesh.ask(f"GET {fresh()}").status for _ in range(4)] == [200] * 4
    assert mesh.mine("retries_total") == sent_again


def test_opaque_connections(mesh):
    mesh.limit(echo={"connections": 3})
    before = mesh.refused("connections")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(mesh.dial("web", mesh.own("echo"))) for _ in range(3)]
        assert [wire.send("abc").exactly(3) for wire in wires] == [b"abc"] * 3
        assert all(mesh.turned_away("web", mesh.own("echo")) for _ in range(4))
        assert mesh.refused("connections") - before == 4
        assert wires[0].finish().rest() == b""
        wait_for(lambda: not mesh.turned_away("web", mesh.own("echo")), "the next one to be let in")
    assert all(line["response_flags"] == "UO" for line in mesh.access_lines("vm-a", response_code_details="BREAKER_CONNECTIONS"))


def test_whoever_waits_for_a_connection(mesh):
    """A machine that does not answer: only so many wait for it, the rest are told at once."""
    mesh.set({"split": [{"version": "void"}]}, settings={**TOLERANT, "breaker": {"pending": 2}}, void=True)
    before = mesh.refused("pending")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(mesh.wire()) for _ in range(6)]
        for wire in wires:
            wire.send(request_text("GET /", "orders"))
        wait_for(lambda: mesh.refused("pending") - before == 4, "the others to be refused")
        assert mesh.used()[1] == 2
        replies = [wire.reply("GET") for wire in wires]
        assert [reply.status for reply in replies] == [503] * 6
        assert sum(reply.get("x-ringmain-overloaded") == "true" for reply in replies) == 4
    wait_for(lambda: mesh.used()[1] == 0, "nobody to wait any more")


def test_limits_that_change_meanwhile(mesh):
    mesh.limit(only(mesh, FAR))
    with held(mesh, 4):
        wait_for(lambda: mesh.used()[2] == 4, "four requests under way")
        mesh.limit(only(mesh, FAR), requests=4)
        assert mesh.ask().status == 503
        mesh.limit(only(mesh, NEAR), requests=5)
        assert mesh.ask().status == 200
        mesh.limit(only(mesh, NEAR), requests=1)
        assert mesh.ask().status == 503
    wait_for(lambda: mesh.ask().status == 200, "those to have ended")


@pytest.mark.parametrize("place", [NEAR, FAR])
@pytest.mark.parametrize("says", ["503", "429"])
def test_a_server_that_says_when(mesh, place, says):
    """It is not asked again before, and is then; what is longer than allowed is the caller's to know."""
    mesh.limit(only(mesh, place, retries={"attempts": 1, "backoff": "1ms", "on": ["gateway-error", "rate-limited"],
                                          "wait_max": "3s"}))
    path = fresh("wait")
    with mesh.behaves(place, f"says {says} Retry-After 1"), mesh.wire() as wire:
        begun = time.monotonic()
        wire.send(request_text(f"GET {path}", "orders"))
        wait_for(lambda: mesh.seen(path) == 1, "it to be asked")
        assert wire.reply("GET").status == int(says)
        assert time.monotonic() - begun >= 1
    assert mesh.line(path)["attempts"] == 2 and mesh.line(path)["duration"] >= 1000
    for words in (f"says {says} Retry-After 60", f"says {says} Retry-After 9999999999999999999"):
        path = fresh("long")
        with mesh.behaves(place, words):
            reply = mesh.ask(f"GET {path}")
        assert (reply.status, reply.get("retry-after")) == (int(says), words.split()[-1])
        assert mesh.line(path)["attempts"] == 1


def test_callers_of_grpc(mesh):
    """They are told in headers what would be a body for others, whichever machine refuses them."""
    def grpc(line="POST /a.b/C"):
        reply = mesh.ask(line, headers=GRPC)
        assert (reply.status, reply.get("content-type"), reply.body) == (200, "application/grpc+proto", b"")
        assert reply.get("grpc-message")
        return reply.get("grpc-status")

    mesh.limit(only(mesh, FAR), requests=1)
    with held(mesh, 1):
        wait_for(lambda: mesh.used()[2] == 1, "a request under way")
        assert grpc() == "14"
    wait_for(lambda: mesh.used()[2] == 0, "it to have ended")
    server = mesh.workload("orders", FAR)
    server.stop()
    try:
        assert grpc() == "14"  # as the other machine's proxy says
    finally:
        mesh.serve_one(mesh.service("orders"), mesh.lab[FAR])
    wait_for(lambda: mesh.ask().status == 200, "the workload to be back")
    mesh.limit({"fault": {"abort_status": 403}})
    assert grpc() == "7"
    mesh.limit({"respond": {"status": 404, "body": "not here"}})
    assert grpc() == "12"
    mesh.limit(only(mesh, FAR, timeout="300ms"))
    with mesh.behaves(FAR, "stall"):
        assert grpc() == "4"


def test_grpc_is_sent_again_as_it_asks(mesh):
    mesh.limit(only(mesh, FAR, retries={"attempts": 1, "backoff": "1ms", "on": ["gateway-error"], "any_method": True}))
    for value, tries in (("0", 2), ("-1", 1), ("soon", 1), ("100000000", 1)):
        path = fresh("pushback")
        with mesh.behaves(FAR, f"says 503 grpc-retry-pushback-ms {value}"):
            assert mesh.ask(f"POST {path}", headers=GRPC).status == 503
        assert mesh.line(path)["attempts"] == tries, value


def test_paths_by_regular_expressions(mesh):
    mesh.set({"match": {"path_regex": "/echo/[0-9]+(/items)?"}, **only(mesh, NEAR)}, only(mesh, FAR))
    for path, version in (("/echo/7", NEAR), ("/echo/7/items?x=/echo", NEAR), ("/echo/x", FAR), ("/echo/7/", FAR),
                          ("/echo/%37", NEAR), ("/echo/7/items/8", FAR), ("/echo/" + "7" * 4000, NEAR)):
        assert mesh.ask(f"GET {path}").json["server"].endswith(version), path[:40]
    assert "path_regex /echo/[0-9]+(/items)?" in mesh["vm-a"].ringmain("routes", "list").stdout


def test_many_connections_on_one(mesh):
    """Between machines requests travel together: a limit of connections is none of requests."""
    mesh.limit(only(mesh, FAR), connections=2)
    mesh.forget()
    with mesh.wire() as first, mesh.wire() as second:
        for _ in range(5):
            assert ask(first).status == ask(second).status == 200
    assert mesh.used()[0] <= 2
