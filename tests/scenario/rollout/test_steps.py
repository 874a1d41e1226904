# SPDX-License-Identifier: Apache-2.0
"""A version that is good goes through all steps; one that is bad goes back by itself, with a reason."""
import pytest
from rollouts import NEW, OLD, STEPS, Calls, Connects, Rollouts


@pytest.fixture(scope="module")
def fleet():
    with Rollouts() as fleet:
        yield fleet.start()


def test_a_good_version_goes_through_all_steps_and_no_call_fails(fleet):
    with Calls(fleet) as calls:
        fleet.roll_out()
        way = fleet.wait_state("done")
        fleet.wait_percent(100)
    assert way == [*(("stepping", i) for i in range(len(STEPS))), ("done", len(STEPS) - 1)]
    assert calls.failed == []
    assert calls.served["v1"] > 100 and calls.served["v2"] > 100
    assert set(fleet.logged(r"rollout of orders: v2 10 % -> 50 %: 10 % was good for .*: v2 served 100\.00 % of \d+, p99 ")) \
        == {"vm-a", "vm-b", "vm-c"}
    with Calls(fleet) as after:
        fleet.wait_percent(100)
    assert set(after.served) <= {"v2"} and after.failed == []


@pytest.mark.parametrize("mode", ["status 500", "reset", "stall", "garbage"])
def test_a_version_that_fails_goes_back(fleet, mode):
    with Calls(fleet), fleet.behaves(NEW, mode):
        fleet.roll_out()
        fleet.wait_state("rolled-back")
        fleet.wait_percent(0)
    assert "v2 served" in fleet.progress()["why"]
    assert fleet.logged(r"rollout of orders: v2 10 % -> 0 %: at 10 % v2 served")
    with Calls(fleet) as after:
        fleet.wait_percent(0)
    assert set(after.served) <= {"v1"} and after.failed == []


def test_a_version_that_is_slow_goes_back(fleet):
    with Calls(fleet, callers=8), fleet.behaves(NEW, "late 300"):
        fleet.roll_out(p99="150ms")
        fleet.wait_state("rolled-back")
    assert "p99 of v2 is" in fleet.progress()["why"]


def test_when_both_are_bad_it_is_held(fleet):
    with Calls(fleet), fleet.behaves(NEW, "cycle 200 500"), fleet.behaves(OLD, "cycle 200 500"):
        fleet.roll_out()
        fleet.wait_state("held")
        assert "both versions are bad" in fleet.progress()["why"]
        fleet.wait_percent(10)
    with Calls(fleet):
        fleet.wait_state("done", timeout=40)


def test_a_retry_that_helps_hides_nothing(fleet):
    groups = fleet.mesh_groups
    retried = {"service": "orders", "rules": [{"retries": {"attempts": 3, "on": ["5xx"]}}]}
    fleet.mesh_groups = lambda: {**groups(), "routes": [retried]}
    try:
        before = fleet["vm-a"].metric("ringmain_retries_total")
        with Calls(fleet), fleet.behaves(NEW, "cycle 500 200"):
            fleet.roll_out()
            fleet.wait_state("rolled-back")
        assert "v2 served" in fleet.progress()["why"]
        assert fleet["vm-a"].metric("ringmain_retries_total") > before
    finally:
        fleet.mesh_groups = groups


def test_opaque_connections_are_judged_by_their_connects(fleet):
    with Connects(fleet) as calls:
        fleet.roll_out("echo")
        way = fleet.wait_state("done", service="echo")
    assert way[-1] == ("done", len(STEPS) - 1) and calls.failed == 0
