# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to Redis, traffic goes on with the last known state, not one request fails, and
nothing that was closed is open afterwards."""
import contextlib
import os
import signal
import time

import pytest
from fleet import ALLOW_ECHO, ALLOW_WEB, Fleet, Load, age, log_of
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


def closed_to_guest(fleet):
    """Also when a picture is only just on its way to the proxies: soon, and then for good."""
    def closed():
        return all(fleet.call_at(machine, "guest").status == 403 for machine in ("vm-b", "vm-c"))
    wait_for(closed, "orders to be closed to guest", 3)
    return all(closed() for _ in range(5))


def resident_kib(pid):
    return int(process_status(pid)["VmRSS"].split()[0])


def wait_lost(fleet, *nodes):
    for node in nodes or ("vm-a", "vm-b", "vm-c"):
        fleet.wait_view(node, "that the store is not there", lambda v: not v["connected"] and v["why"])


def wait_why(fleet, *nodes):
    for node in nodes or ("vm-a", "vm-b", "vm-c"):
        fleet.wait_view(node, "why", lambda v: v["why"])


def kill(fleet):
    fleet.redis.save("now")
    fleet.redis.kill()
    wait_lost(fleet)


def revive(fleet):
    fleet.redis.start()  # from what was saved


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
            assert set(fleet.served_by()) == {"orders@vm-b", "orders@vm-c"}
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


# --- our own processes meanwhile -----------------------------------------------------------------------------


@contextlib.contextmanager
def outage(fleet):
    kill(fleet)
    try:
        yield
    finally:
        revive(fleet)
        fleet.wait_settled(30)


def test_a_new_proxy_process_has_the_mesh_of_the_old_one(fleet):
    with outage(fleet):
        for name in ("vm-a", "vm-b"):
            before = fleet[name].proxy_pid()
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: fleet[name].proxy_pid() not in (None, before), "a new proxy")
            fleet[name].wait_ready()
        wait_for(lambda: fleet.call_own().status == 200, "calls")
        assert closed_to_guest(fleet)
        assert set(fleet.served_by()) == {"orders@vm-b", "orders@vm-c"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP])
def test_the_death_of_the_state_process_touches_no_traffic(fleet, number):
    time.sleep(2)  # the keeper has heard of it
    with Load(fleet) as load:
        load.more()
        before = fleet["vm-b"].state_pid()
        os.kill(before, number)
        wait_for(lambda: fleet["vm-b"].state_pid() not in (None, before), "a new state process", 30)
        load.more()
        fleet.wait_settled(30)
        load.more()


def test_a_reload_during_the_outage(fleet):
    with outage(fleet), Load(fleet) as load:
        for node in fleet:
            node.reload()
        load.more()
        assert closed_to_guest(fleet)


def test_a_node_that_starts_during_the_outage_has_its_last_known_state(fleet):
    with outage(fleet):
        fleet["vm-b"].stop()
        fleet["vm-a"].process.kill(signal.SIGKILL)
        fleet["vm-a"].process.wait()
        wait_for(lambda: not fleet["vm-a"].admin_socket.exists() or not fleet["vm-a"].ready(), "the end")
        for name in ("vm-a", "vm-b"):
            fleet[name].start()
        for name in ("vm-a", "vm-b"):
            _, view = fleet.wait_view(name, "a picture", lambda v: v["loaded"])
            assert not view["connected"] and view["endpoints"] == fleet.endpoint_count()
        assert set(fleet.served_by()) == {"orders@vm-b", "orders@vm-c"}
        assert closed_to_guest(fleet)


# --- the last known state on disk ----------------------------------------------------------------------------


def snapshots(fleet, node="vm-b"):
    """The files of the last known state, the newest first."""
    return [path for path in (fleet[node].state_dir / "state", fleet[node].state_dir / "state.old") if path.exists()]


def two_snapshots(fleet):
    """Makes sure that there is a newest one and one before."""
    newest = fleet["vm-b"].state_dir / "state"
    for methods in (["GET", "POST"], ["GET"]):
        written = newest.stat().st_mtime_ns if newest.exists() else 0
        fleet.publish({"policies": [dict(ALLOW_WEB, methods=methods)]})
        wait_for(lambda: newest.exists() and newest.stat().st_mtime_ns != written, "a snapshot")
    return wait_for(lambda: snapshots(fleet) if len(snapshots(fleet)) == 2 else None, "two snapshots")


DAMAGE = {
    "torn": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "of zeros": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "one bit changed": lambda path: path.write_bytes(
        (lambda b: b[:len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1:])(path.read_bytes())),
    "something else": lambda path: path.write_text("not a snapshot at all\n" * 100),
}


def test_a_damaged_snapshot_is_refused_and_the_one_before_is_used(fleet):
    two_snapshots(fleet)
    with outage(fleet):
        for damage, damaged in DAMAGE.items():
            fleet["vm-b"].stop()
            newest, older = snapshots(fleet)[:2]
            good = newest.read_bytes(), older.read_bytes()
            damaged(newest)
            before = len(log_of(fleet, "vm-b"))
            fleet["vm-b"].start()
            _, view = fleet.wait_view("vm-b", "a picture", lambda v: v["loaded"])
            assert view["revision"] > 0, damage
            assert "kept state is refused" in log_of(fleet, "vm-b")[before:], damage
            assert fleet.call_at("vm-b").status == 200 and fleet.call_at("vm-b", "guest").status == 403
            fleet["vm-b"].stop()
            for path, content in zip((older, newest), reversed(good)):
                path.write_bytes(content)
            fleet["vm-b"].start()


def test_without_a_good_snapshot_a_node_denies_and_says_why(fleet):
    two_snapshots(fleet)
    with outage(fleet):
        fleet["vm-b"].stop()
        for path in snapshots(fleet):
            DAMAGE["torn"](path)
        fleet["vm-b"].start(wait=False)
        wait_for(lambda: fleet["vm-b"].admin_socket.exists(), "the admin socket")
        _, view = fleet.wait_view("vm-b", "why", lambda v: v["why"] and not v["loaded"])
        for caller in ("web", "guest"):
            with contextlib.suppress(OSError, EOFError):
                assert fleet.call_at("vm-b", caller).status in (403, 502, 503)
        assert fleet["vm-b"].ringmain("status", check=False).returncode == 1
    assert fleet.call_at("vm-b").status == 200


def test_nobody_else_may_read_what_is_kept(fleet):
    for path in two_snapshots(fleet):
        assert path.stat().st_mode & 0o077 == 0
