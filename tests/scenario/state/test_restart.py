# SPDX-License-Identifier: Apache-2.0
"""Our own processes end and begin while Redis is away, and with what is kept on disk."""
import contextlib
import os
import signal
import time

import pytest
from fleet import ALLOW_WEB, Fleet, Load, closed_to_guest, log_of, outage
from machines import wait_for


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


def test_a_new_proxy_process_has_the_mesh_of_the_old_one(fleet):
    with outage(fleet):
        for name in ("vm-a", "vm-b"):
            before = fleet[name].proxy_pid()
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: fleet[name].proxy_pid() not in (None, before), "a new proxy")
            fleet[name].wait_ready()
        wait_for(lambda: fleet.call_own().status == 200, "calls")
        assert closed_to_guest(fleet)
        fleet.wait_served_by("vm-b", "vm-c")


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
        fleet.wait_served_by("vm-b", "vm-c")
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
