# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to Redis, traffic goes on with the last known state, not one request fails, and
nothing that was closed is open afterwards."""
import time

import pytest
from fleet import Fleet, Load, age, closed_to_guest, kill, log_of, revive, wait_lost
from machines import process_status, wait_for
from stores import Redis

LONGER_THAN_A_LEASE = 3.0


@pytest.fixture(scope="module")
def standing():
    with Fleet(state={"resync": "3s"}) as fleet:
        yield fleet.start()


@pytest.fixture
def fleet(standing):
    if not standing.redis.process.running:
        standing.redis.start()
    standing.publish(None, "--prune")
    standing.wait_settled()
    return standing


def resident_kib(pid):
    return int(process_status(pid)["VmRSS"].split()[0])


def wait_why(fleet, *nodes):
    for node in nodes or ("vm-a", "vm-b", "vm-c"):
        fleet.wait_view(node, "why", lambda v: v["why"])


def cut(fleet):
    fleet.redis.cut()
    wait_lost(fleet)


def freeze(fleet):
    fleet.redis.freeze()
    wait_lost(fleet)
    time.sleep(8)


def refusing(begin):
    """Redis answers, and takes no writes."""
    def begun(fleet):
        begin(fleet.redis)
        wait_why(fleet, "vm-b", "vm-c")
    return begun


def lock_out(fleet):
    fleet.redis.lose_users(*(f"node:{node.name}" for node in fleet))
    wait_lost(fleet)


OUTAGES = {
    "killed": (kill, revive),
    "cut off": (cut, lambda fleet: fleet.redis.mend()),
    "slow": (freeze, lambda fleet: fleet.redis.thaw()),
    "full": (refusing(Redis.fill), lambda fleet: fleet.redis.empty_out()),
    "unable to save": (refusing(Redis.fail_to_save), lambda fleet: fleet.redis.save_again()),
    "without the nodes' users": (lock_out, lambda fleet: fleet.redis.ask("ACL", "LOAD")),
}


@pytest.mark.seconds(120)
@pytest.mark.parametrize("outage", OUTAGES)
def test_no_request_fails_while_redis_is(fleet, outage, capsys):
    begin, end = OUTAGES[outage]
    endpoints = fleet.view("vm-a")["endpoints"]
    kib = [resident_kib(node.state_pid()) for node in fleet]
    with Load(fleet) as load:
        load.more()
        begin(fleet)
        try:
            time.sleep(LONGER_THAN_A_LEASE)
            for view in fleet.views():
                assert view["loaded"] and view["endpoints"] == endpoints
            fleet.wait_served_by("vm-b", "vm-c")
            assert closed_to_guest(fleet)
            load.more()
        finally:
            end(fleet)
        mended = time.monotonic()
        fleet.wait_settled(30)
        took = time.monotonic() - mended
        load.more()
        for view in fleet.views():
            assert view["endpoints"] == endpoints
    for node, before in zip(fleet, kib):
        assert resident_kib(node.state_pid()) < before + 32768
    with capsys.disabled():
        print(f"\n    {load.count} calls while Redis was {outage}, none failed; all were in step again {took:.1f} s after",
              flush=True)


def test_the_states_age_grows_and_is_shown(fleet):
    assert age(fleet.view("vm-b")) < 5
    fleet.redis.freeze()
    try:
        wait_lost(fleet, "vm-b")
        first = age(fleet.view("vm-b"))
        fleet.wait_view("vm-b", "its age", lambda v: age(v) > first + 1)
        assert fleet["vm-b"].metric("ringmain_state_age_seconds") > first
        assert fleet["vm-b"].metric("ringmain_state_connected") == 0
        done = fleet["vm-b"].ringmain("status", check=False)
        assert done.returncode == 1 and fleet.redis.address in done.stdout
        assert fleet["vm-b"].ready(), "a node that serves is ready, store or not"
    finally:
        fleet.redis.thaw()
    fleet.wait_settled()
    fleet.wait_view("vm-b", "a small age", lambda v: age(v) < 2)
    assert fleet["vm-b"].metric("ringmain_state_connected") == 1


def test_the_log_says_once_that_the_store_is_gone_and_back(fleet):
    before = len(log_of(fleet, "vm-b"))
    kill(fleet)
    time.sleep(LONGER_THAN_A_LEASE)
    revive(fleet)
    fleet.wait_settled()
    lines = log_of(fleet, "vm-b")[before:].splitlines()
    about = [line for line in lines if fleet.redis.address in line]
    assert 2 <= len(about) <= 12, "\n".join(lines)


# --- data loss ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["emptied", "flushed"])
def test_an_empty_redis_takes_nothing_from_anybody(fleet, loss):
    revision = fleet.view("vm-a")["revision"]
    with Load(fleet) as load:
        load.more()
        if loss == "emptied":
            fleet.redis.restart_empty()
        else:
            fleet.redis.ask("FLUSHALL")
        for node in fleet:
            fleet.wait_view(node.name, "that the objects are gone", lambda v: v["connected"] and v["why"])
        # the nodes tell of themselves again, without being asked
        for node in fleet:
            wait_for(lambda: fleet.redis.ask("EXISTS", fleet.key(f"node:{node.name}"), fleet.key(f"lease:{node.name}")) == 2,
                     f"{node.name} to be there again")
        time.sleep(LONGER_THAN_A_LEASE)
        for view in fleet.views():
            assert view["revision"] == revision
            assert view["endpoints"] == fleet.endpoint_count()
        assert closed_to_guest(fleet)
        load.more()
        # an operator publishes once more, from files: taken, though the store has forgotten the number
        fleet.publish()
        fleet.wait_settled()
        assert fleet.view("vm-a")["revision"] > revision
        assert closed_to_guest(fleet)
        load.more()


def test_an_old_dump_brings_nothing_back(fleet):
    """The dump is of a time when guest was let in, and web was not."""
    fleet.publish({"policies": [{"name": "old", "service": "orders", "action": "allow", "from": ["guest"]}]})
    wait_for(lambda: fleet.call_own("guest").status == 200, "the old policy")
    fleet.redis.save("old")
    fleet.publish(None, "--prune")
    fleet.wait_settled()
    revision = fleet.view("vm-a")["revision"]
    assert closed_to_guest(fleet)
    with Load(fleet) as load:
        load.more()
        fleet.redis.restore("old")
        for node in fleet:
            fleet.wait_view(node.name, "that the store went back", lambda v: v["connected"] and v["why"])
        time.sleep(LONGER_THAN_A_LEASE)
        assert closed_to_guest(fleet)
        assert all(view["revision"] == revision for view in fleet.views())
        load.more()
        fleet.publish(None, "--prune")
        fleet.wait_settled()
        assert closed_to_guest(fleet)
        load.more()
