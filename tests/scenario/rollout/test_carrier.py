# SPDX-License-Identifier: Apache-2.0
"""Who carries a rollout on: any node, one at a time. When it is gone another does, and no step is passed over; what the
store loses is put back."""
import os
import signal
import time

import pytest
from machines import wait_for
from rollouts import STEPS, Calls, Rollouts

WAY = [*(("stepping", i) for i in range(len(STEPS))), ("done", len(STEPS) - 1)]


@pytest.fixture(scope="module")
def standing():
    with Rollouts() as fleet:
        yield fleet.start()


@pytest.fixture
def fleet(standing):
    standing.wait_settled()
    return standing


def begin(fleet, **keys):
    """At its first step, with calls going on; the node that carries it on, and its term."""
    fleet.roll_out(**{"every": "4s", **keys})
    fleet.wait_step(0)
    return fleet.carrying(), fleet.term()


def assert_whole(way):
    """No step was passed over, and none was gone back to."""
    assert way == WAY[WAY.index(way[0]):], way


def test_another_carries_on_when_one_is_killed(fleet):
    with Calls(fleet):
        node, term = begin(fleet)
        os.kill(fleet.state_process(node), signal.SIGKILL)
        assert_whole(fleet.wait_state("done", timeout=60))
    assert fleet.term() > term  # the same node in a new life, or another


def test_the_overtaken_cannot_write(fleet):
    with Calls(fleet):
        node, term = begin(fleet, every="5s")
        pid = fleet.state_process(node)
        os.kill(pid, signal.SIGSTOP)
        try:
            others = [n for n in ("vm-a", "vm-b", "vm-c") if n != node]
            fleet.wait_progress("another to carry it on", lambda p: p["node"] in others)
            assert fleet.term() == term + 1
        finally:
            os.kill(pid, signal.SIGCONT)
        assert_whole(fleet.wait_state("done", timeout=60))
        assert fleet.term() == term + 1 or fleet.carrying() != node


def test_it_goes_on_without_the_node_that_is_cut_off(fleet):
    with Calls(fleet):
        node, term = begin(fleet)
        others = [n for n in ("vm-a", "vm-b", "vm-c") if n != node]
        machine = fleet.lab[node]
        block = ["OUTPUT", "-p", "tcp", "--dport", fleet.redis.port, "-j", "DROP"]
        machine.run(["iptables", "-w", "-I", *block])
        try:
            fleet.wait_progress("another to carry it on", lambda p: p["node"] in others, timeout=40)
            if node == "vm-a":  # who alone sees calls, and cannot tell of them: nothing is judged meanwhile
                step = fleet.progress()["step"]
                time.sleep(6)
                assert (fleet.progress()["state"], fleet.progress()["step"]) == ("stepping", step)
            elif node == "vm-b":  # vm-c takes all of v2 along: its calls are those of before, until it is back
                assert_whole(fleet.wait_state("done", timeout=60))
        finally:
            machine.run(["iptables", "-w", "-D", *block])
        fleet.wait_state("done", timeout=60)
        fleet.wait_settled(30)
        fleet.wait_percent(100, timeout=20)
    assert fleet.term() > term


def test_it_stays_while_the_store_is_away_and_goes_on(fleet):
    with Calls(fleet) as calls:
        begin(fleet, every="2s")
        fleet.wait_step(1)
        fleet.wait_percent(STEPS[1])
        fleet.redis.save("now")
        fleet.redis.kill()
        assert_stays(fleet, STEPS[1], 5)
        fleet.redis.start()
        assert_whole(fleet.wait_state("done", timeout=60))
    assert calls.failed == []


def assert_stays(fleet, percent, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert {fleet.percent(n) for n in ("vm-a", "vm-b", "vm-c")} == {percent}
        time.sleep(0.2)


def test_a_stream_that_is_gone_is_put_back(fleet):
    with Calls(fleet) as calls:
        begin(fleet, every="3s")
        fleet.wait_step(1)
        fleet.wait_percent(STEPS[1])
        fleet.redis.ask("DEL", fleet.key("rollout:orders"))
        way = fleet.wait_state("done", timeout=60)
        assert way[0] == ("stepping", 1)
        assert_whole(way)
    assert calls.failed == []


def test_a_store_that_is_empty_gets_it_back(fleet):
    """In the middle of it: it stays where it is until an operator has published again, and goes on from there."""
    with Calls(fleet) as calls:
        begin(fleet, every="3s")
        fleet.wait_step(1)
        fleet.wait_percent(STEPS[1])
        fleet.redis.restart_empty()
        assert_stays(fleet, STEPS[1], 3)
        fleet.say("run")
        way = fleet.wait_state("done", timeout=60)
        assert way[0] == ("stepping", 1)
        assert_whole(way)
    assert calls.failed == []


def test_what_is_over_does_not_begin_anew(fleet):
    """All that the store knew is lost, and the nodes are started anew besides."""
    with Calls(fleet):
        begin(fleet, every="1s")
        fleet.wait_state("done", timeout=40)
        fleet.wait_percent(100)
    time.sleep(3)  # it is kept on disk soon
    for node in fleet:
        node.stop()
    fleet.redis.restart_empty()
    for node in fleet:
        node.start()
    fleet.wait_percent(100, timeout=15)
    wait_for(lambda: all(fleet.redis.ask("EXISTS", fleet.key(f"lease:{n.name}")) for n in fleet),
             "the nodes to tell which revision they have", 15)
    fleet.say("run")
    fleet.wait_settled(30)
    assert_stays(fleet, 100, 4)
    assert fleet.progress()["state"] == "done"
