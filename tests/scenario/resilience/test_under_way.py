# SPDX-License-Identifier: Apache-2.0
"""How much may be under way to a service at once, and what becomes of what is beyond; how long who wants to be asked later is
left alone; and what retries a service may have."""
import time

import pytest
from machines import wait_for
from mesh import ECHO, at, request_text
from served import FAR, NEAR, TOLERANT, Served, ask

TCP = at(ECHO, "vm-b", own=201)
GAUGES = ("breaker_connections", "breaker_pending", "breaker_requests", "breaker_retries")


class Broken(Served):
    """echo has what orders has."""

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            if row["name"] == "echo":
                row.update({key: value for key, value in self.settings.items() if key == "breaker"})
        return groups


@pytest.fixture(scope="module")
def mesh():
    policies = [{"service": name, "action": "allow", "from": ["web", "guest"]} for name in ("orders", "echo")]
    with Broken(services=[TCP], policies=policies, workers=2, groups={"timeouts": {"connect": "1s"}}) as mesh:
        yield mesh.start()


def limit(mesh, place=FAR, settings=None, rule=None, **breaker):
    mesh.set({"split": [{"version": mesh.version(place)}], **(rule or {})}, settings={**TOLERANT, "breaker": breaker, **(settings or {})})


def held(mesh, count, caller="web", line="GET /stream/600/50"):
    """Calls that go on: each has its answer's beginning."""
    wires = [mesh.wire(caller).send(request_text(line, "orders")) for _ in range(count)]
    assert [wire.head()[0] for wire in wires] == [200] * count
    return wires


def let_go(mesh, wires):
    for wire in wires:
        wire.reset()
    wait_for(lambda: mesh.mine("breaker_requests") == 0, "all to have ended")


@pytest.mark.parametrize("place", [NEAR, FAR])
def test_requests(mesh, place):
    """Of all workers together, and of all callers: exactly so many; the rest is told at once, is sent to nobody, and is no fault of an
    endpoint."""
    limit(mesh, place, requests=6)
    refused, path = mesh.mine("breaker_requests_refused_total"), f"/echo/refused/{place}"
    wires = held(mesh, 4) + held(mesh, 2, "guest")
    try:
        assert mesh.mine("breaker_requests") == 6
        for caller in ("web", "guest"):
            for _ in range(5):
                reply = mesh.ask(f"GET {path}", caller=caller)
                assert (reply.status, reply.get("x-ringmain-overloaded")) == (503, "true")
        assert mesh.mine("breaker_requests_refused_total") - refused == 10 and mesh.seen(path) == 0
        wires.pop().reset()
        wait_for(lambda: mesh.ask("GET /echo/again").status == 200, "room for one")
    finally:
        let_go(mesh, wires)
    lines = wait_for(lambda: mesh.access_lines("vm-a", path=path), "lines of them")
    assert {(line["response_code_details"], line["response_flags"]) for line in lines} == {("BREAKER_REQUESTS", "UO")}
    assert mesh.mine("ejections_total") == 0


def test_connections_of_opaque_bytes(mesh):
    limit(mesh, connections=3)
    wires = []
    try:
        for _ in range(3):
            wires.append(mesh.dial("web", mesh.own("echo")))
            assert wires[-1].send(b"abc").exactly(3) == b"abc"
        for caller in ("web", "guest"):
            assert mesh.turned_away(caller, mesh.own("echo"))
        assert all(wire.send(b"def").exactly(3) == b"def" for wire in wires)
        wires.pop().sock.close()
        wait_for(lambda: not mesh.turned_away("guest", mesh.own("echo")), "room for one")
    finally:
        for wire in wires:
            wire.sock.close()
    assert mesh.ask().status == 200


def test_an_idle_connection_makes_room(mesh):
    """Callers one after the other, each with connections of its own identity: nobody is refused for those that nobody uses."""
    limit(mesh, NEAR, connections=2)
    for turn in range(12):
        wait_for(lambda: mesh.ask(caller=("web", "guest")[turn % 2]).status == 200, "room", 5)


def test_pending(mesh):
    """Nobody has the endpoint's address: so many wait for a connection, and those beyond are told at once."""
    mesh.set({"split": [{"version": "void"}]}, settings={**TOLERANT, "breaker": {"pending": 2}}, void=True)
    waiting = [mesh.wire(caller).send(request_text("GET /echo/pending", "orders")) for caller in ("web", "guest")]
    wait_for(lambda: mesh.mine("breaker_pending") == 2, "two to wait", 5, every=0.01)
    start = time.monotonic()
    reply = mesh.ask("GET /echo/refused/pending")
    assert (reply.status, reply.get("x-ringmain-overloaded")) == (503, "true") and time.monotonic() - start < 30
    assert mesh.line("/echo/refused/pending")["response_code_details"] == "BREAKER_PENDING"
    assert [wire.reply().status for wire in waiting] == [503, 503]
    assert mesh.mine("breaker_pending") == 0


def test_retries(mesh):
    """One is being sent again: the failure of the next is its answer."""
    rule = {"retries": {"attempts": 1, "on": ["gateway-error"], "backoff": "1ms", "per_try_timeout": "700ms"}}
    limit(mesh, rule=rule, retries=1)
    refused = mesh.mine("breaker_retries_refused_total")
    with mesh.behaves(FAR, "stall"):
        waiting = [mesh.wire().send(request_text(f"GET /echo/retries/{n}", "orders")) for n in range(4)]
        assert [wire.reply().status for wire in waiting] == [504] * 4
    attempts = sorted(mesh.line(f"/echo/retries/{n}")["attempts"] for n in range(4))
    assert attempts == [1, 1, 1, 2] and mesh.mine("breaker_retries_refused_total") - refused == 3


def test_all_is_given_back(mesh):
    """Whatever became of it: callers that go, servers that fail, plans that come."""
    limit(mesh, requests=8, connections=8, pending=8, retries=8)
    for mode in ("stall", "reset", "garbage", "midway", "status 503", "close"):
        with mesh.behaves(FAR, mode):
            wires = [mesh.wire().send(request_text(f"{method} /echo/x", "orders")) for method in ("GET", "POST") * 4]
            time.sleep(0.1)
            limit(mesh, requests=8, connections=8, pending=8, retries=8)
            for wire in wires:
                wire.reset()
    wait_for(lambda: not any(mesh.mine(name) for name in GAUGES[1:]), "all to be given back")
    limit(mesh, requests=1)
    wait_for(lambda: mesh.ask().status == 200, "the one that may be")


def test_retry_budget_of_a_service(mesh):
    """Exactly as many as it says: none, or so many percent and no others."""
    rule = {"retries": {"attempts": 1, "on": ["gateway-error"], "backoff": "1ms"}}
    for percent, per_second, wanted in ((0, 0, 0), (50, 0, 50), (100, 0, 100)):
        mesh.forget()
        limit(mesh, rule=rule, settings={"retry_budget": {"percent": percent, "per_second": per_second}})
        path = f"/echo/budget/{percent}"
        with mesh.behaves(FAR, "status 503"), mesh.wire() as wire:
            assert [ask(wire, f"GET {path}").status for _ in range(100)] == [503] * 100
        assert mesh.seen(path) == 100 + wanted


# --- who wants to be asked later ------------------------------------------------------------------------------


def test_a_server_that_says_when_is_not_asked_before(mesh):
    rule = {"retries": {"attempts": 1, "on": ["gateway-error"], "backoff": "1ms"}}
    limit(mesh, rule=rule)
    with mesh.behaves(FAR, "busy 1"):
        assert mesh.ask("GET /echo/later").status == 200
    line = mesh.line("/echo/later")
    assert line["attempts"] == 2 and line["duration"] >= 1000


@pytest.mark.parametrize("more", [{"retries": {"wait_max": "500ms"}}, {"timeout": "700ms"}])
def test_when_that_is_too_long_its_answer_is_passed_on(mesh, more):
    """Longer than the rule waits, or than the request may take."""
    retries = {"attempts": 1, "on": ["gateway-error"], "backoff": "1ms", **more.get("retries", {})}
    limit(mesh, rule={**more, "retries": retries})
    path = f"/echo/passed/{'timeout' in more}"
    with mesh.behaves(FAR, "busy 5"):
        reply = mesh.ask(f"GET {path}")
    assert (reply.status, reply.get("Retry-After")) == (503, "5")
    assert mesh.line(path)["attempts"] == 1 and mesh.seen(path) == 1
