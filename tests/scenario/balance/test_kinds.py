# SPDX-License-Identifier: Apache-2.0
"""Which endpoint a call gets, by each kind of balancing, with servers of different weight, speed and age."""
import collections

import pytest
from machines import wait_for
from served import Served, ask, machine_of

ON = ("vm-a", "vm-b", "vm-c")
CALM = {"outlier": {"ejected_percent": 0}}


class Weighted(Served):
    weights = {}  # by machine

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            if row["name"] == "orders":
                for endpoint, machine in zip(row["endpoints"], ON):
                    endpoint["weight"] = self.weights.get(machine, 100)
        return groups

    def by(self, balance, weights=None, **settings):
        self.weights = weights or {}
        self.set(settings={**CALM, "balance": balance, **settings})

    def spread(self, count):
        """Who answers so many calls, one after the other, in order."""
        with self.wire() as wire:
            return [machine_of(ask(wire)) for _ in range(count)]


@pytest.fixture(scope="module")
def mesh():
    with Weighted(groups={"timeouts": {"connect": "1s", "request": "5s"}}) as mesh:
        yield mesh.start()


def test_round_robin_goes_by_weight_exactly(mesh):
    mesh.by("round_robin", {"vm-a": 100, "vm-b": 300, "vm-c": 200})
    order = mesh.spread(60)
    for first in range(55):
        assert collections.Counter(order[first:first + 6]) == {"vm-a": 1, "vm-b": 3, "vm-c": 2}


@pytest.mark.parametrize("balance", ["least_request", "random"])
def test_shares_are_those_of_the_weights(mesh, balance):
    """By chance: 600 calls of which a third, a half and a sixth are expected, give or take six standard deviations."""
    mesh.forget()
    mesh.by(balance, {"vm-a": 100, "vm-b": 300, "vm-c": 200})
    found = collections.Counter(mesh.spread(600))
    for machine, wanted, room in (("vm-a", 100, 55), ("vm-b", 300, 74), ("vm-c", 200, 70)):
        assert abs(found[machine] - wanted) <= room, found


def test_least_request_leaves_who_is_busy_alone(mesh):
    """vm-c does not answer: the one call that it has keeps all others away from it."""
    mesh.forget()
    mesh.by("least_request")
    with mesh.behaves("vm-c", "stall"):
        waiting = []
        try:
            while not mesh.seen("/waiting", "vm-c"):
                wire = mesh.wire().send(b"GET /waiting HTTP/1.1\r\nHost: orders\r\n\r\n")
                waiting.append(wire)
                wait_for(lambda: mesh.seen("/waiting") >= len(waiting), "a server to have it")
            with mesh.wire() as wire:
                answers = [machine_of(ask(wire)) for _ in range(60)]
            assert answers.count("vm-a") + answers.count("vm-b") == 60
        finally:
            for wire in waiting:
                wire.sock.close()


def test_peak_ewma_prefers_who_answers_sooner(mesh):
    mesh.forget()
    mesh.by("peak_ewma")
    with mesh.behaves("vm-c", "late 150"):
        mesh.spread(20)  # so much is to be learnt
        found = collections.Counter(mesh.spread(90))
    assert found["vm-c"] <= 20, found  # drawn with itself it would still be called: one time of nine
    # and round_robin does not care
    mesh.by("round_robin")
    with mesh.behaves("vm-c", "late 20"):
        assert collections.Counter(mesh.spread(30)) == {machine: 10 for machine in ON}


def test_a_new_endpoint_begins_slowly(mesh):
    """Known ones share at once; who joins gets a tenth at first, and its whole share once the time is over."""
    mesh.forget()
    on = mesh.service("orders").on
    on.remove("vm-c")
    mesh.by("random", slow_start="20s")
    assert set(mesh.spread(40)) == {"vm-a", "vm-b"}
    on.append("vm-c")
    mesh.by("random", slow_start="20s")
    young = collections.Counter(mesh.spread(200))
    assert 0 < young["vm-c"] <= 45, young  # a third would be 67
    mesh.by("random")
    grown = collections.Counter(mesh.spread(200))
    assert grown["vm-c"] >= 40, grown
