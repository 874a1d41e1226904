# SPDX-License-Identifier: Apache-2.0
"""The primary is another one: promoted by hand or by Sentinels, with writes that were lost."""
import time

import pytest
from fleet import ALLOW_GUEST, Fleet, Load
from machines import wait_for
from stores import Certificates, Redis, Sentinel


def with_replica(sentinels=0, tls=False):
    fleet = Fleet(stores=("vm-r", "vm-s"), state={"resync": "3s"})
    here, there = {}, {}
    if tls:
        authority = Certificates(fleet.lab.dir / "store-authority")
        here, there = ({"authority": authority, "certificate": authority.issue(machine.name, f"IP:{machine.v4}")}
                       for machine in (fleet.lab["vm-r"], fleet.lab["vm-s"]))
    fleet.redis = Redis(fleet.lab["vm-r"], fleet.users, **here)
    fleet.replica = Redis(fleet.lab["vm-s"], fleet.users, primary=fleet.redis, **there)
    fleet.sentinels = [Sentinel(fleet.lab["vm-r"], fleet.users, fleet.redis, number, **here) for number in range(sentinels)]
    if not sentinels:
        fleet.groups["state"]["redis"] = [fleet.redis.address, fleet.replica.address]
    return fleet


def start(fleet):
    """The servers first: nobody can ask Sentinels that are not there."""
    fleet.redis.start()
    fleet.replica.start()
    fleet.replica.wait_in_step()
    for sentinel in fleet.sentinels:
        sentinel.start()
    for sentinel in fleet.sentinels:
        sentinel.wait_ready(len(fleet.sentinels) - 1)
    fleet.start()
    return fleet


@pytest.fixture
def fleet():
    with with_replica() as fleet:
        yield start(fleet)


@pytest.fixture
def watched():
    with with_replica(sentinels=3) as fleet:
        yield start(fleet)


@pytest.fixture
def secured():
    """Servers and Sentinels speak TLS only, to each other too."""
    with with_replica(sentinels=3, tls=True) as fleet:
        yield start(fleet)


def connected_to(fleet, server):
    for node in fleet:
        fleet.wait_view(node.name, f"that it is connected to {server.address}",
                        lambda v: v["connected"] and v["store"] == server.address, 20)


def lose_writes(fleet):
    """The replica hears no more of its primary; then an operator publishes."""
    fleet.redis.machine.run(["iptables", "-w", "-I", "OUTPUT", "-d", fleet.replica.machine.v4, "-p", "tcp",
                             "--sport", fleet.redis.port, "-j", "DROP"])
    fleet.publish({"policies": [ALLOW_GUEST]})
    fleet.wait_settled()
    wait_for(lambda: fleet.call_own("guest").status == 200, "the policy")


def primary_now(fleet, server):
    fleet.redis = server  # for the operator, and what the tests ask


def test_a_replica_promoted_by_hand_after_losing_writes(fleet):
    with Load(fleet) as load:
        load.more()
        lose_writes(fleet)
        revision = fleet.view("vm-a")["revision"]
        fleet.redis.kill()
        fleet.replica.promote()
        connected_to(fleet, fleet.replica)
        primary_now(fleet, fleet.replica)
        for node in fleet:
            fleet.wait_view(node.name, "that the store went back", lambda v: v["why"])
        time.sleep(3)  # more than a lease
        assert all(view["revision"] == revision for view in fleet.views())
        assert all(view["endpoints"] == fleet.endpoint_count() for view in fleet.views())
        assert fleet.call_own("guest").status == 200
        load.more()
        fleet.publish(None, "--prune")
        fleet.wait_settled()
        assert fleet.call_own("guest").status == 403
        load.more()


def test_a_primary_that_becomes_a_replica_is_left(fleet):
    """Connections to it stay, but it takes no more writes: READONLY."""
    connected_to(fleet, fleet.redis)
    with Load(fleet) as load:
        load.more()
        fleet.replica.promote()
        fleet.redis.follow(fleet.replica)
        connected_to(fleet, fleet.replica)
        primary_now(fleet, fleet.replica)
        fleet.wait_settled()
        for node in fleet:
            wait_for(lambda: (fleet.replica.ask("PTTL", fleet.key(f"lease:{node.name}"))) > 0, "a lease at the new one")
        load.more()


def test_a_replica_is_never_taken_for_the_primary(fleet):
    for node in fleet:
        node.groups = {"state": {"redis": [fleet.replica.address]}}
        node.write_config()
        node.reload()
    for node in fleet:
        _, view = fleet.wait_view(node.name, "that this is no primary", lambda v: not v["connected"] and v["why"])
        assert fleet.replica.address in view["why"]
    assert fleet.call_own().status == 200


@pytest.mark.seconds(120)
def test_sentinels_fail_over(watched, capsys):
    fleet = watched
    connected_to(fleet, fleet.redis)
    with Load(fleet) as load:
        load.more()
        lose_writes(fleet)
        killed = time.monotonic()
        old = fleet.redis
        old.kill()
        connected_to(fleet, fleet.replica)
        took = time.monotonic() - killed
        primary_now(fleet, fleet.replica)
        assert fleet.call_own("guest").status == 200
        fleet.publish(None, "--prune")
        fleet.wait_settled()
        assert fleet.call_own("guest").status == 403
        # the old primary comes back, for a moment as a primary with an older state: nobody falls for it
        old.machine.run(["iptables", "-w", "-F", "OUTPUT"])
        old.start()
        load.more(100)
        connected_to(fleet, fleet.replica)
        assert fleet.call_own("guest").status == 403
        load.more()
    with capsys.disabled():
        print(f"\n    {load.count} calls, none failed; all nodes were at the new primary {took:.1f} s after the old one died",
              flush=True)


def test_a_sentinel_that_is_gone_is_not_missed(watched):
    fleet = watched
    fleet.sentinels[0].kill()
    for node in fleet:
        node.stop()
        node.start()
    connected_to(fleet, fleet.redis)
    fleet.wait_settled()
    assert fleet.call_own().status == 200


@pytest.mark.seconds(120)
def test_sentinels_fail_over_with_tls(secured):
    fleet = secured
    connected_to(fleet, fleet.redis)
    with Load(fleet) as load:
        load.more()
        fleet.publish({"policies": [ALLOW_GUEST]})
        fleet.wait_settled()
        fleet.replica.wait_in_step()
        old = fleet.redis
        old.kill()
        connected_to(fleet, fleet.replica)
        primary_now(fleet, fleet.replica)
        fleet.wait_settled()
        assert fleet.call_own("guest").status == 200
        fleet.publish(None, "--prune")  # an operator finds it by the same Sentinels
        fleet.wait_settled()
        wait_for(lambda: fleet.call_own("guest").status == 403, "guest to be kept out")
        old.start()
        load.more(100)
        connected_to(fleet, fleet.replica)
        load.more()
    for server in (fleet.replica, *fleet.sentinels):
        assert "NOPERM" not in server.process.log


def test_a_sentinel_of_another_authority_is_refused(secured):
    """It names the address that was dialled, but nobody who is trusted says so."""
    fleet, node = secured, secured["vm-b"]
    other = Certificates(fleet.lab.dir / "other-authority")
    machine = fleet.lab["vm-s"]
    false = Sentinel(machine, fleet.users, fleet.redis, 7, authority=other, certificate=other.issue("false", f"IP:{machine.v4}"))
    false.write({}, [])
    false.launch("--sentinel")
    with Load(fleet, callers=1) as load:
        node.groups = {"state": {"redis": [false.address]}}
        node.write_config()
        node.reload()
        _, view = fleet.wait_view("vm-b", "why", lambda v: not v["connected"] and "certificate" in v["why"])
        assert false.address in view["why"]
        assert view["loaded"] and view["endpoints"] == fleet.endpoint_count()
        shown = node.ringmain("status", check=False)
        assert shown.returncode == 1 and false.address in shown.stdout
        assert fleet.call_own("guest").status == 403
        load.more()
        # beside good ones it is passed over
        node.groups = {"state": {"redis": [false.address, *(s.address for s in fleet.sentinels)]}}
        node.write_config()
        node.reload()
        connected_to(fleet, fleet.redis)
        load.more()
