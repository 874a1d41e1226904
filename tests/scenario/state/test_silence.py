# SPDX-License-Identifier: Apache-2.0
"""Many nodes that fall silent at once: more likely the store's fault than theirs. And reconnects that
do not come all at once."""
import time

import pytest
from fleet import Fleet, Load
from machines import wait_for

GHOSTS = [f"ghost-{number}" for number in range(20)]


@pytest.fixture(scope="module")
def fleet():
    with Fleet(state={"hold_percent": 30, "hold": "8s", "resync": "2s"}) as fleet:
        yield fleet.start()


@pytest.fixture
def ghosts(fleet):
    """Twenty nodes with an endpoint each, of a service that is not called."""
    fleet.wait_settled()
    for number, name in enumerate(GHOSTS):
        fleet.ghost(name, [f"stock - up 100 10.77.0.{100 + number}:8081"])
    before = fleet.endpoint_count()
    for node in fleet:
        fleet.wait_view(node.name, "the ghosts", lambda v: v["endpoints"] == before + len(GHOSTS))
    yield GHOSTS
    fleet.ghosts_remove(*GHOSTS)
    for node in fleet:
        fleet.wait_view(node.name, "that the ghosts have left", lambda v: v["endpoints"] == before, 30)


def test_a_few_that_fall_silent_are_gone(fleet, ghosts):
    before = fleet.view("vm-a")["endpoints"]
    for name in ghosts[:3]:
        fleet.redis.ask("PEXPIRE", fleet.key(f"lease:{name}"), 300)
    _, view = fleet.wait_view("vm-a", "that three are gone", lambda v: v["endpoints"] == before - 3, 20)
    assert view["held"] == 0


def test_many_that_fall_silent_at_once_are_kept_for_a_while(fleet, ghosts):
    before = fleet.view("vm-a")["endpoints"]
    with fleet.redis.connect() as lab:
        lab.ask("MULTI")
        for name in ghosts[:15]:
            lab.ask("PEXPIRE", fleet.key(f"lease:{name}"), 300)
        lab.ask("EXEC")
    _, view = fleet.wait_view("vm-a", "that it keeps them", lambda v: v["held"] > 0)
    start = time.monotonic()
    assert view["endpoints"] == before
    assert fleet["vm-a"].ringmain("status", check=False).stdout.count("fell silent") >= 1
    # some come back: they are held no longer
    for name in ghosts[:5]:
        fleet.ghost(name, [f"stock - up 100 10.77.0.{100 + ghosts.index(name)}:8081"])
    fleet.wait_view("vm-a", "that it has waited long enough", lambda v: v["endpoints"] < before, 25)
    assert time.monotonic() - start > 4
    fleet.wait_view("vm-a", "that those who came back are there", lambda v: v["endpoints"] == before - 10)


def test_one_that_says_farewell_is_gone_whatever_others_do(fleet, ghosts):
    """A record without endpoints is no silence."""
    before = fleet.view("vm-a")["endpoints"]
    for name in ghosts[:15]:
        fleet.ghost(name, [])
    _, view = fleet.wait_view("vm-a", "that they have left", lambda v: v["endpoints"] == before - 15, 3)
    assert view["held"] == 0


def test_nodes_come_back_one_after_the_other(fleet, capsys):
    """After an outage, each waits for a time of chance before it asks again."""
    with Load(fleet) as load:
        fleet.redis.save("now")
        fleet.redis.kill()
        load.more(60)
        time.sleep(2)
        fleet.redis.start()
        seen, start = {}, time.monotonic()

        def look():
            for line in fleet.redis.ask("CLIENT", "LIST").decode().splitlines():
                fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
                if fields.get("user", "").startswith("node:"):
                    seen.setdefault((fields["user"], fields["id"]), time.monotonic() - start)
            return len({user for user, _ in seen}) == 3
        wait_for(look, "all nodes to come back", 30, every=0.01)
        fleet.wait_settled()
    times = sorted(min(t for (user, _), t in seen.items() if user == name) for name in {user for user, _ in seen})
    with capsys.disabled():
        print(f"\n    nodes came back after {', '.join(f'{t:.2f}' for t in times)} s", flush=True)
    assert len(times) == 3 and times[-1] - times[0] > 0.005
