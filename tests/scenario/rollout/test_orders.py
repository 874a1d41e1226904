# SPDX-License-Identifier: Apache-2.0
"""The operator's word comes before all figures, and it is in force at once; so does the testers' way in."""
import collections
import re
import time

import pytest
from machines import wait_for
from rollouts import NEW, STEPS, VERSIONS, Calls, Rollouts

from mesh import request_text


@pytest.fixture(scope="module")
def fleet():
    with Rollouts() as fleet:
        yield fleet.start()


def versions(fleet, count=20, headers=()):
    """Who answers so many requests of one connection."""
    found = collections.Counter()
    with fleet.dial_own("web", "orders") as wire:
        for _ in range(count):
            reply = wire.send(request_text("GET /echo", "orders", headers)).reply()
            found[VERSIONS[reply.json["server"].split("@")[1]] if reply.status == 200 else reply.status] += 1
    return dict(found)


def test_paused_it_stays_and_resumed_it_goes_on(fleet):
    with Calls(fleet) as calls:
        fleet.roll_out(every="1s")
        fleet.wait_step(1)
        fleet.say("pause")
        fleet.wait_state("paused")
        step = fleet.progress()["step"]
        percent = STEPS[int(step)]
        fleet.wait_percent(percent)
        time.sleep(4)  # more than the step's time, with good figures
        assert fleet.progress()["state"] == "paused" and fleet.progress()["step"] == step
        assert {fleet.percent(n.name) for n in fleet} == {percent}
        fleet.say("run")
        fleet.wait_state("done")
    assert calls.failed == []


def test_promoted_all_calls_get_the_new_version_at_once(fleet):
    with Calls(fleet) as calls:
        fleet.roll_out(every="60s")
        fleet.wait_step(0)
        fleet.say("promote")
        fleet.wait_percent(100)
        assert versions(fleet) == {"v2": 20}
        fleet.wait_state("done")
        assert fleet.progress()["why"] == "promoted by the operator"
    assert calls.failed == []


def test_aborted_all_calls_get_the_old_version_at_once(fleet):
    with Calls(fleet) as calls:
        fleet.roll_out(every="60s")
        fleet.wait_step(0)
        fleet.say("abort")
        fleet.wait_percent(0)
        assert versions(fleet) == {"v1": 20}
        fleet.wait_state("rolled-back")
    assert calls.failed == []
    wait_for(lambda: fleet["vm-a"].metric("ringmain_rollout_state", service="orders", state="rolled-back") == 1,
             "the metrics to say so", 5)
    shown = fleet["vm-a"].ringmain("status", check=False).stdout
    assert re.search(r"^orders +v1 +v2 +0 % +1 of 3 +rolled-back \(the operator: abort\)$", shown, re.M), shown
    assert "the rollout of orders to v2 is rolled back: aborted by the operator" in shown, shown


def test_blue_green_and_at_once_back(fleet, capsys):
    """One step: all calls change over, and return when the operator says so, also after it is done."""
    with Calls(fleet) as calls:
        fleet.roll_out(steps=[100], every="1s", order="pause")
        time.sleep(2)
        assert versions(fleet) == {"v1": 20}  # paused before it has begun
        fleet.say("run")
        fleet.wait_state("done")
        assert versions(fleet) == {"v2": 20}
        said = time.monotonic()
        fleet.say("abort")
        published = time.monotonic()
        fleet.wait_percent(0)
        back = time.monotonic()
        assert versions(fleet) == {"v1": 20}
        fleet.wait_state("rolled-back")
    with capsys.disabled():
        print(f"\n    the way back was published in {published - said:.2f} s and in force on all machines "
              f"{back - published:.2f} s later", flush=True)
    assert calls.failed == []


def test_a_preview_gets_the_new_version_before_the_first_step(fleet):
    fleet.roll_out(order="pause", preview={"headers": [{"name": "x-preview", "exact": "yes"}]})
    fleet.wait_settled()  # it may have been 0 % before
    fleet.wait_percent(0)
    assert versions(fleet) == {"v1": 20}
    assert versions(fleet, headers=["X-Preview: yes"]) == {"v2": 20}
    assert versions(fleet, headers=["X-Preview: no"]) == {"v1": 20}


def test_a_bad_version_that_was_promoted_stays_promoted(fleet):
    """What an operator says is not for figures to undo; he is told, by metrics and the log of calls."""
    with Calls(fleet), fleet.behaves(NEW, "status 500"):
        fleet.roll_out(every="60s", order="promote")
        fleet.wait_state("done")
        time.sleep(3)
        fleet.wait_percent(100)
        assert fleet.progress()["state"] == "done"
    fleet.say("abort")
    fleet.wait_percent(0)


def test_a_rollout_that_is_deleted_leaves_the_calls_to_all_versions(fleet):
    fleet.roll_out(order="abort")
    fleet.wait_percent(0)
    fleet.publish(None, "--prune")
    fleet.wait_settled()
    assert set(versions(fleet, 40)) == {"v1", "v2"}
    assert fleet["vm-a"].metric("ringmain_rollout_state", service="orders") == 0
