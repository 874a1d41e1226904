# SPDX-License-Identifier: Apache-2.0
"""How exact a split is: over any calls in a row, over connections that are kept and new ones, from one plan to the next, with
several workers, after a restart; and who stays with its leg."""
import collections

import pytest
from mesh import ECHO, at
from served import Served, ask, machine_of

TCP = at(ECHO, "vm-a", "vm-b", "vm-c", own=201)
POLICIES = [{"service": "orders", "action": "allow", "from": ["web", "guest"]},
            {"service": "echo", "action": "allow", "from": ["web", "guest"]}]


@pytest.fixture(scope="module")
def mesh():
    with Served(services=[TCP], policies=POLICIES) as mesh:
        yield mesh.start()


def split(**weights):
    return {"split": [{"version": version, "weight": weight} for version, weight in weights.items()]}


def versions(mesh, wire, count, **request):
    """Which version answers so many calls on a connection, in order."""
    order = []
    for _ in range(count):
        reply = ask(wire, **request)
        assert reply.status == 200
        order.append(mesh.version(machine_of(reply)))
    return order


def expect_exact(order, weights):
    """Any calls in a row, as many as the weights' sum: exactly the weights."""
    length = sum(weights.values())
    assert len(order) >= length
    for first in range(len(order) - length + 1):
        assert collections.Counter(order[first:first + length]) == weights, first


def test_any_thousand_calls_in_a_row(mesh):
    """Weights that have nothing in common but one: each 1,000 in a row are exact, on one kept connection."""
    weights = {"v0": 501, "v1": 333, "v2": 166}
    mesh.set(split(**weights))
    with mesh.wire() as wire:
        expect_exact(versions(mesh, wire, 1300), weights)


def test_percents_are_exact_in_each_hundred(mesh):
    """And so in each thousand, whatever connections they come on: kept ones, new ones, of two callers."""
    weights = {"v1": 90, "v2": 10}
    mesh.set(split(**weights))
    order = []
    with mesh.wire() as first, mesh.wire("guest") as second:
        for turn in range(150):
            order += versions(mesh, first, 1 + turn % 3) + versions(mesh, second, 1)
            if turn % 3 == 0:
                with mesh.wire() as fresh:
                    order += versions(mesh, fresh, 1)
    expect_exact(order, {"v1": 9, "v2": 1})


def test_a_leg_without_weight_gets_nothing_and_one_with_all_gets_all(mesh):
    mesh.set(split(v0=0, v1=100, v2=0))
    with mesh.wire() as wire:
        assert set(versions(mesh, wire, 50)) == {"v1"}


def test_weights_that_change_are_exact_from_the_next_call_on(mesh):
    with mesh.wire() as wire:
        for percent in (0, 1, 10, 50, 99, 100):
            mesh.set(split(v1=100 - percent, v2=percent))
            order = versions(mesh, wire, 100)
            assert collections.Counter(order) == +collections.Counter(v1=100 - percent, v2=percent)


def test_plans_that_change_something_else_do_not_disturb_it(mesh):
    weights = {"v1": 7, "v2": 3}
    rule, order = split(**weights), []
    with mesh.wire() as wire:
        for turn in range(8):
            # other keys of the service, an endpoint more or less, and a rule behind it
            mesh.set(rule, {"match": {"path": f"/never/{turn}"}, "respond": {"status": 404}}, void=turn % 2 == 0,
                     settings={"outlier": {"ejected_percent": 0}, "breaker": {"requests": 1000 + turn}})
            order += versions(mesh, wire, 13)
    expect_exact(order, weights)


def test_each_rule_has_its_own_turn(mesh):
    mesh.set({"match": {"path_prefix": "/echo/a"}, **split(v1=1, v2=1)}, {"match": {"path_prefix": "/echo/b"}, **split(v1=3, v2=1)},
             split(v0=1, v2=1))
    orders = collections.defaultdict(list)
    with mesh.wire() as wire:
        for number in range(120):
            path = ("/echo/a", "/echo/b", "/echo/c")[number * number % 3 if number % 4 else 2]
            orders[path] += versions(mesh, wire, 1, line=f"GET {path}")
    expect_exact(orders["/echo/a"], {"v1": 1, "v2": 1})
    expect_exact(orders["/echo/c"], {"v0": 1, "v2": 1})
    if len(orders["/echo/b"]) >= 4:
        expect_exact(orders["/echo/b"], {"v1": 3, "v2": 1})


def test_connections_of_opaque_bytes_are_exact_too(mesh):
    def opened():
        return {f"v{i}": mesh[name].metric("istio_tcp_connections_opened_total", reporter="destination", destination_workload="echo")
                for i, name in enumerate(TCP.on)}
    mesh.set(split(v0=2, v1=5, v2=3), service="echo")
    before = opened()
    for _ in range(100):
        with mesh.dial("web", mesh.own("echo")) as wire:
            assert wire.send(b"abc").finish().rest() == b"abc"
    assert {version: count - before[version] for version, count in opened().items()} == {"v0": 20, "v1": 50, "v2": 30}


def test_opaque_bytes_by_who_calls(mesh):
    mesh.set({"match": {"from": "guest"}, "split": [{"version": "v2"}]},
             {"match": {"from": "spiffe://mesh.test/service/web"}, "split": [{"version": "v1"}]}, service="echo")
    for caller, place in (("web", "vm-b"), ("guest", "vm-c")):
        before = mesh[place].metric("istio_tcp_connections_opened_total", reporter="destination", destination_workload="echo")
        for _ in range(5):
            with mesh.dial(caller, mesh.own("echo")) as wire:
                assert wire.send(b"abc").finish().rest() == b"abc"
        assert mesh[place].metric("istio_tcp_connections_opened_total", reporter="destination",
                                  destination_workload="echo") - before == 5


# --- who stays ------------------------------------------------------------------------------------------------


STICKY = {"header": ({"header": "x-user"}, "X-User: {}"), "cookie": ({"cookie": "user"}, "Cookie: a=b; user={}; c=d")}


@pytest.mark.parametrize("kind", STICKY)
def test_the_same_value_has_the_same_leg(mesh, kind):
    """On every connection, whoever calls, and after a restart; and with more for v2 nobody leaves it."""
    sticky, line = STICKY[kind]

    def legs(count=40):
        found = {}
        for caller in ("web", "guest"):
            with mesh.wire(caller) as wire:
                for user in range(count):
                    got, = versions(mesh, wire, 1, headers=[line.format(user)])
                    assert found.setdefault(user, got) == got
        return found
    mesh.set({**split(v1=50, v2=50), "sticky": sticky})
    before = legs()
    assert 8 <= collections.Counter(before.values())["v1"] <= 32
    mesh.forget()
    assert legs() == before
    mesh.set({**split(v1=20, v2=80), "sticky": sticky})
    after = legs()
    assert all(after[user] == "v2" for user, leg in before.items() if leg == "v2")
    assert collections.Counter(after.values())["v2"] > collections.Counter(before.values())["v2"]
    with mesh.wire() as wire:  # without a value calls take turns, exactly
        expect_exact(versions(mesh, wire, 20), {"v1": 1, "v2": 4})


def test_a_value_has_the_same_leg_from_every_machine():
    with Served(callers=("vm-a", "vm-b")) as mesh:
        mesh.start()
        for node in ("vm-a", "vm-b"):
            mesh.set({**split(v0=30, v1=40, v2=30), "sticky": {"header": "x-user"}}, node=node)
        found = {}
        for machine in ("vm-a", "vm-b"):
            with mesh.dial("web", mesh.own("orders"), machine=machine) as wire:
                found[machine] = [versions(mesh, wire, 1, headers=[f"X-User: {user}"]) for user in range(40)]
        assert found["vm-a"] == found["vm-b"] and len({str(leg) for leg in found["vm-a"]}) == 3


def test_opaque_bytes_of_a_caller_stay_with_a_leg(mesh):
    def opened():
        return [mesh[name].metric("istio_tcp_connections_opened_total", reporter="destination", destination_workload="echo")
                for name in TCP.on]
    mesh.set({**split(v0=1, v1=1, v2=1), "sticky": {"source": True}}, service="echo")
    for caller in ("web", "guest"):
        before = opened()
        for _ in range(9):
            with mesh.dial(caller, mesh.own("echo")) as wire:
                assert wire.send(b"abc").finish().rest() == b"abc"
        assert sorted(b - a for a, b in zip(before, opened())) == [0, 0, 9]


def test_a_caller_has_its_leg_by_its_identity(mesh):
    mesh.set({**split(v0=1, v1=1, v2=1), "sticky": {"source": True}})
    for caller in ("web", "guest"):
        found = set()
        for _ in range(4):
            with mesh.wire(caller) as wire:
                found |= set(versions(mesh, wire, 5))
        assert len(found) == 1


# --- restarts and workers -------------------------------------------------------------------------------------


def test_after_a_restart(mesh):
    """Where the order begins is chance; from there on it is exact, so that 1,000 calls over a restart are off by one at most."""
    mesh.set(split(v1=90, v2=10))
    with mesh.wire() as wire:
        before = versions(mesh, wire, 333)
    mesh.forget()
    with mesh.wire() as wire:
        after = versions(mesh, wire, 667)
    for order in (before, after):
        expect_exact(order, {"v1": 9, "v2": 1})
    assert 99 <= (before + after).count("v2") <= 101


def test_several_workers():
    """Each has its own order, so that all calls together are off by less than two for each worker."""
    workers, weights = 3, {"v0": 50, "v1": 30, "v2": 20}
    with Served(workers=workers) as mesh:
        mesh.start()
        mesh.set(split(**weights))
        found = collections.Counter()
        wires = [mesh.wire() for _ in range(20)]
        try:
            for turn in range(50):
                for wire in wires:
                    found.update(versions(mesh, wire, 1))
        finally:
            for wire in wires:
                wire.sock.close()
        assert sum(found.values()) == 1000
        for version, weight in weights.items():
            assert abs(found[version] - 10 * weight) < 2 * workers, found
