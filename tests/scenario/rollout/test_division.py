# SPDX-License-Identifier: Apache-2.0
"""How calls are divided while a rollout is under way, before, and after: exactly, for testers, where nobody is, by the
routes that there are, and for a version that nobody has rolled out yet."""
import collections
import json

import pytest
from rollouts import NEW, OLD, VERSIONS, Rollouts
from machines import wait_for
from mesh import request_text

TESTER = ["x-canary: yes"]
PREVIEW = {"headers": [{"name": "x-canary", "exact": "yes"}]}
LONG = "10m"  # no step ends while it is looked at


@pytest.fixture(scope="module")
def fleet():
    with Rollouts() as fleet:
        yield fleet.start()


def versions(fleet, count=100, line="GET /echo", headers=()):
    """Who answers so many requests of one connection, by version."""
    found = collections.Counter()
    with fleet.dial_own("web", "orders") as wire:
        for _ in range(count):
            reply = wire.send(request_text(line, "orders", headers)).reply()
            found[VERSIONS[reply.json["server"].split("@")[1]] if reply.status == 200 else reply.status] += 1
    return dict(found)


def begun(fleet, step=0, **keys):
    """A rollout that stands at its first step, on all nodes."""
    fleet.roll_out(every=LONG, **keys)
    fleet.wait_step(step)
    fleet.wait_percent(fleet.rule["steps"][step])


@pytest.fixture
def routed(fleet):
    """Publishes further objects with each rollout, until the test is over."""
    groups = fleet.mesh_groups

    def more(**lists):
        fleet.mesh_groups = lambda: {**groups(), **lists}
    yield more
    fleet.mesh_groups = groups


@pytest.mark.parametrize("percent", [1, 5, 50])
def test_shares_are_exact(fleet, percent):
    begun(fleet, steps=[percent, 100])
    for _ in range(3):
        assert versions(fleet) == {"v1": 100 - percent, "v2": percent}


def test_testers_get_the_new_version_before_the_first_step_and_nobody_else(fleet):
    fleet.roll_out(every=LONG, order="pause", preview=PREVIEW)
    wait_for(lambda: versions(fleet, 5, headers=TESTER) == {"v2": 5}, "testers to get v2")
    assert versions(fleet) == {"v1": 100}
    assert versions(fleet, 5, headers=["x-canary: no"]) == {"v1": 5}
    # it is begun, and testers stay where they are
    fleet.say("run")
    fleet.wait_step(0)
    fleet.wait_percent(10)
    assert versions(fleet, 20, headers=TESTER) == {"v2": 20}
    assert versions(fleet) == {"v1": 90, "v2": 10}


def test_rules_of_a_route_are_divided_as_they_are(fleet, routed):
    routed(routes=[{"service": "orders", "rules": [
        {"name": "old", "match": {"path": "/echo/old"}, "split": [{"version": "v1", "weight": 3}, {"version": "v2"}]},
        {"name": "edit", "match": {"path_prefix": "/echo/edit"},
         "response_headers": {"set": [{"name": "x-rule", "value": "edit"}]}}]}])
    begun(fleet, steps=[20, 100], preview=PREVIEW)
    assert versions(fleet, 100, "GET /echo/old") == {"v1": 60, "v2": 40}
    assert versions(fleet, 100, "GET /echo/edit") == {"v1": 80, "v2": 20}
    assert versions(fleet, 100, "GET /echo/rest") == {"v1": 80, "v2": 20}
    # what a rule does it does to testers, too
    with fleet.dial_own("web", "orders") as wire:
        reply = wire.send(request_text("GET /echo/edit", "orders", TESTER)).reply()
    assert reply.get("x-rule") == "edit" and VERSIONS[reply.json["server"].split("@")[1]] == "v2"


def test_routes_say_how_they_are_divided(fleet):
    begun(fleet, steps=[25, 100], preview=PREVIEW)
    shown = fleet["vm-a"].ringmain("routes", "list").stdout
    assert "v1 75 %, v2 25 %" in shown and "orders/rollout:preview" in shown
    assert "rollout of orders: v1 → v2, 25 %, step 1/2, stepping: begun" in shown
    explained = fleet["vm-a"].ringmain("routes", "explain", "--from", "web", "--to", "orders").stdout
    assert "orders/rollout decides\n  rollout of orders: v1 → v2, 25 %, step 1/2, stepping: begun" in explained
    told = json.loads(fleet["vm-a"].ringmain("routes", "explain", "--from", "web", "--to", "orders", "-H", "x-canary: yes",
                                             "-o", "json").stdout)
    assert told["rule"] == "orders/rollout:preview"
    assert [(leg["version"], leg["weight"]) for leg in told["split"]] == [("v2", 1)]
    rollout, = told["rollouts"]
    assert rollout["percent"] == rollout["share"] == 25 and rollout["state"] == "stepping" and rollout["steps"] == 2


def test_calls_go_where_somebody_is(fleet):
    begun(fleet, steps=[50, 100], preview=PREVIEW)
    fleet[NEW].ringmain("drain", "orders", "--timeout", "0")
    try:
        wait_for(lambda: versions(fleet, 20) == {"v1": 20}, "all calls to go to v1")
        assert versions(fleet) == {"v1": 100}
        assert "‼ no endpoint of v2 is up: all of its calls go to v1" in fleet["vm-a"].ringmain("routes", "list").stdout
        # but who has asked for v2 is not led to v1
        assert versions(fleet, 3, headers=TESTER) == {"v2": 3}
    finally:
        fleet[NEW].ringmain("drain", "orders", "--undo", "--timeout", "0")
    wait_for(lambda: versions(fleet, 20) == {"v1": 10, "v2": 10}, "both to be called again")
    fleet[OLD].ringmain("drain", "orders", "--timeout", "0")
    try:
        wait_for(lambda: versions(fleet, 20) == {"v2": 20}, "all calls to go to v2")
    finally:
        fleet[OLD].ringmain("drain", "orders", "--undo", "--timeout", "0")
    wait_for(lambda: versions(fleet, 20) == {"v1": 10, "v2": 10}, "both to be called again")


def test_orders_are_in_force_at_once(fleet):
    begun(fleet, steps=[10, 100])
    for order, expected in (("promote", {"v2": 100}), ("abort", {"v1": 100})):
        fleet.say(order)
        wait_for(lambda: versions(fleet, 10) == {next(iter(expected)): 10}, f"{order} to be in force", timeout=5)
        assert versions(fleet) == expected


def test_what_is_over_keeps_others_out_until_it_is_taken_away(fleet):
    fleet.roll_out("orders", **{"from": "v0", "to": "v1", "order": "promote"})
    fleet.wait_state("done")
    wait_for(lambda: versions(fleet, 10) == {"v1": 10}, "v1 alone to be called")
    # v2 runs, and gets nothing
    assert versions(fleet) == {"v1": 100}
    fleet.publish(fleet.mesh_groups(), "--prune")
    wait_for(lambda: set(versions(fleet, 20)) == {"v1", "v2"}, "all versions to be called alike")


def test_by_commands_alone(fleet):
    """From the start to the end, as an operator would: the figures shown are those of the calls that are made."""
    fleet.publish(fleet.mesh_groups(), "--prune")
    done = fleet.operate("rollout", "start", "orders", "--to", "v2", "--steps", "20,100", "--every", LONG, "--calls-min", "20",
                         "--p99", "2s")
    assert "create  rollout/orders" in done.stdout and "follow it: ringmain rollout status orders --watch" in done.stdout
    fleet.rule = {"attempt": json.loads(fleet.operate("rollout", "status", "-o", "json").stdout)["rollouts"][0]["attempt"]}
    fleet.wait_step(0)
    fleet.wait_percent(20)

    def shown():
        assert versions(fleet, 50) == {"v1": 40, "v2": 10}
        one, = json.loads(fleet.operate("rollout", "status", "orders", "-o", "json").stdout)["rollouts"]
        return one if one.get("now", {}).get("to", {}).get("calls", 0) >= 40 else None
    one = wait_for(shown, "calls of v2 to be shown")
    to, old = one["now"]["to"], one["now"]["from"]
    assert 3 * to["calls"] < old["calls"] < 5 * to["calls"] and to["failed"] == old["failed"] == 0
    assert 0 < to["p99_us"] < 2000000
    assert one["now"]["waits_for"].endswith(" of 10m") and one["percent"] == 20 and one["progress"] == "stepping"
    fleet.operate("rollout", "pause", "orders")
    fleet.wait_state("paused")
    assert "paused" in fleet.operate("rollout", "status").stdout
    fleet.operate("rollout", "resume", "orders")
    fleet.wait_step(0)
    fleet.operate("rollout", "promote", "orders")
    fleet.wait_state("done")
    fleet.wait_percent(100)
    assert versions(fleet, 20) == {"v2": 20}
    watched = fleet.operate("rollout", "status", "orders", "--watch")
    assert "promoted" in watched.stdout and "promoted by the operator" in watched.stdout
