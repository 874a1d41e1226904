# SPDX-License-Identifier: Apache-2.0
"""Nodes find each other's workloads through the store: new, changed, gone."""
import signal
import time

import pytest
from fleet import ALLOW_ECHO, ALLOW_WEB, Fleet, Load, log_of
from machines import process_status, wait_for
from mesh import FAMILIES, STOCK, at


@pytest.fixture(scope="module")
def standing():
    with Fleet(state={"resync": "3s"}) as fleet:
        yield fleet.start()


@pytest.fixture
def fleet(standing):
    for node in standing:
        if not (node.process and node.process.running):
            node.start()
    standing.wait_settled()
    standing.wait_served_by("vm-b", "vm-c")
    return standing


def say(capsys, text):
    with capsys.disabled():
        print(f"\n    {text}", flush=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_services_own_address_reaches_its_endpoints(fleet, family):
    for _ in range(10):
        assert fleet.call_own(family=family).status == 200
        with fleet.dial_own("web", "echo", family) as wire:
            assert wire.send(b"x").exactly(1) == b"x"
    fleet.wait_served_by("vm-b", "vm-c", count=40)


def test_an_endpoints_own_address_reaches_just_that_one(fleet):
    for machine in ("vm-b", "vm-c"):
        for _ in range(5):
            assert fleet.call_at(machine).json["server"] == f"orders@{machine}"


def test_policy_holds_for_endpoints_that_were_discovered(fleet):
    for _ in range(5):
        assert fleet.call_own("guest").status == 403


def test_a_node_that_leaves_is_gone_and_one_that_comes_is_found(fleet, capsys):
    before = fleet.view("vm-a")["endpoints"]
    stop = time.monotonic()
    fleet["vm-c"].stop()
    fleet.wait_view("vm-a", "that vm-c has left", lambda v: v["endpoints"] == before - 2, 5)
    left = time.monotonic() - stop
    assert b"\nendpoint " not in fleet.redis.ask("GET", fleet.key("node:vm-c"))
    assert set(fleet.served_by()) == {"orders@vm-b"}
    fleet["vm-c"].start()
    found = fleet.wait_served_by("vm-b", "vm-c")
    say(capsys, f"a node that stopped was out of the mesh after {left:.2f} s; "
                f"one that came got calls {found:.2f} s after it was ready")


def test_leaving_costs_no_request(fleet):
    with Load(fleet, tcp=False) as load:
        load.more()
        fleet["vm-c"].stop()
        load.more()
        assert set(fleet.served_by()) == {"orders@vm-b"}
        fleet["vm-c"].start()
        fleet.wait_served_by("vm-b", "vm-c")
        load.more()


def test_a_changed_weight_and_version_are_told(fleet, capsys):
    node = fleet["vm-c"]
    node.more["orders"] = {"version": "v2", "weight": 1000}
    fleet["vm-b"].more["orders"] = {"version": "v1", "weight": 1}
    try:
        fleet.write_configs()
        fleet["vm-b"].reload()
        node.reload()
        told = time.monotonic()
        wait_for(lambda: fleet.served_by(50)["orders@vm-c"] >= 48, "nearly all calls to go to vm-c")
        took = time.monotonic() - told
        record = fleet.redis.ask("GET", fleet.key("node:vm-c")).decode()
        assert " v2 up 1000 " in record, record
        say(capsys, f"a changed weight was in force after {took:.2f} s")
    finally:
        node.more, fleet["vm-b"].more = {}, {}
        fleet.write_configs()
        fleet["vm-b"].reload()
        node.reload()
    wait_for(lambda: 10 < fleet.served_by(60)["orders@vm-b"] < 50, "calls to be shared evenly")


def stock_answers(fleet):
    try:
        return fleet.call("web", "stock").status
    except ConnectionError:
        return None  # refused


def test_a_workload_that_is_added_by_a_reload_is_found(fleet):
    """Its service needs not be published yet: until it is, and a policy says so, nobody may call it."""
    stock = at(STOCK, "vm-c")
    before = fleet.view("vm-a")["endpoints"]
    fleet.serve_one(stock, fleet.lab["vm-c"])
    fleet["vm-c"].issue("stock")
    fleet.services.append(stock)
    try:
        fleet["vm-c"].write_config()
        fleet["vm-c"].redirect_up()
        fleet["vm-c"].reload()
        fleet.wait_view("vm-a", "the new endpoint", lambda v: v["endpoints"] == before + 1)
        assert stock_answers(fleet) is None
        fleet.publish(dict(fleet.mesh_groups(), policies=[
            ALLOW_WEB, ALLOW_ECHO, {"name": "stock", "service": "stock", "action": "allow", "from": ["web"]}]))
        wait_for(lambda: stock_answers(fleet) == 200, "stock to be open")
    finally:
        fleet.services.remove(stock)
        fleet["vm-c"].write_config()
        fleet["vm-c"].reload()
        fleet["vm-c"].redirect_up()
        fleet.publish(None, "--prune")
    fleet.wait_view("vm-a", "that it is gone", lambda v: v["endpoints"] == before)


def test_news_that_were_missed_are_found_all_the_same(fleet):
    """Hints on the channel are only hints: a record that changes without one is seen, too."""
    record = fleet.redis.ask("GET", fleet.key("node:vm-c")).decode()
    assert "endpoint orders" in record
    before = fleet.view("vm-a")["endpoints"]
    lines = [f"endpoint orders - up 1 10.77.0.{last}:8080" for last in (91, 92)]
    text = "\n".join(["ringmain 1", "node ghost-1", "start 1", "number 1", *lines]) + "\n"
    with fleet.redis.connect() as lab:
        lab.ask("SET", fleet.key("node:ghost-1"), text)
        lab.ask("SET", fleet.key("lease:ghost-1"), "1 1", "PX", 4000)
    fleet.wait_view("vm-a", "the ghost's endpoints", lambda v: v["endpoints"] == before + 2, 10)
    fleet.wait_view("vm-a", "that the ghost is gone", lambda v: v["endpoints"] == before, 20)


def test_a_node_that_dies_is_gone_after_its_lease(fleet, capsys):
    before = fleet.view("vm-a")["endpoints"]
    died = time.monotonic()
    children = fleet["vm-c"].children()
    fleet["vm-c"].process.kill(signal.SIGKILL)
    fleet["vm-c"].process.wait()
    for pid in children.values():
        wait_for(lambda: not process_status(pid) or "Z" in process_status(pid)["State"], "the children's end")
    # until the lease ends, calls that find nobody there go to another endpoint
    for _ in range(10):
        assert fleet.call_own().status == 200
    fleet.wait_view("vm-a", "that vm-c is gone", lambda v: v["endpoints"] == before - 2, 10)
    gone = time.monotonic() - died
    assert set(fleet.served_by()) == {"orders@vm-b"}
    say(capsys, f"a node that died was out of the mesh after {gone:.2f} s, with a lease of 2 s")


MALFORMED = {
    "empty": "",
    "nonsense": "nonsense",
    "of another node": "ringmain 1\nnode vm-b\nstart 1\nnumber 1\n",
    "of a version to come": "ringmain 99\n",
    "too long": "x" * 200_000,
    "a wrong address": "ringmain 1\nnode ghost-2\nstart 1\nnumber 1\nendpoint orders - up 1 999.1.1.1:80\n",
    "too many endpoints": "ringmain 1\nnode ghost-2\nstart 1\nnumber 1\n" + "endpoint o - up 1 10.1.1.1:1\n" * 2000,
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_record_hurts_nobody_else(fleet, what):
    """Whoever has a node's password may write anything into that node's record."""
    before = fleet.view("vm-a")
    with fleet.redis.connect() as lab:
        lab.ask("SET", fleet.key("node:ghost-2"), MALFORMED[what])
        lab.ask("SET", fleet.key("lease:ghost-2"), "1 1", "PX", 2500)
        lab.ask("PUBLISH", fleet.key("news"), "node ghost-2")
    with Load(fleet, callers=1) as load:
        load.more()
        for node in ("vm-b", "vm-c"):
            fleet.wait_view(node, "the same endpoints",
                            lambda v: v["connected"] and v["endpoints"] == fleet.endpoint_count(), 25)
        if MALFORMED[what]:  # an empty one is none
            fleet.wait_view("vm-a", "that a record was refused", lambda v: v["refused"] > before["refused"])
    fleet.redis.ask("DEL", fleet.key("node:ghost-2"))
    fleet.redis.ask("DEL", fleet.key("lease:ghost-2"))


def test_a_huge_record_cuts_nobody_off(fleet, capsys):
    """Of a stolen node: it is not even read whole, so that it costs the others nothing."""
    node = fleet["vm-a"]
    before = fleet.endpoint_count()
    reconnects, read = node.metric("ringmain_state_reconnects_total"), node.metric("ringmain_state_bytes_total", direction="in")
    with fleet.redis.connect() as lab:
        lab.ask("SET", fleet.key("node:ghost-3"), b"x" * (10 << 20))
        lab.ask("SET", fleet.key("lease:ghost-3"), "1 1", "PX", 60000)
        lab.ask("SET", fleet.key("lease:ghost-5"), b"1" * (10 << 20), "PX", 60000)
        for name in ("ghost-3", "ghost-5"):
            lab.ask("PUBLISH", fleet.key("news"), f"node {name}")
    try:
        wait_for(lambda: "the record of node ghost-3 is refused: longer than a record may be" in log_of(fleet, "vm-a"),
                 "the log to name it")
        fleet.ghost("ghost-4", ["orders - up 1 10.77.0.93:8080"], seconds=30)
        took, _ = fleet.wait_view("vm-a", "the other ghost", lambda v: v["connected"] and v["endpoints"] == before + 1, 10)
        say(capsys, f"beside a record of 10 MB another node's was there after {took:.2f} s")
        assert node.metric("ringmain_state_reconnects_total") == reconnects
        assert node.metric("ringmain_state_bytes_total", direction="in") - read < 1 << 20
    finally:
        fleet.ghosts_remove("ghost-3", "ghost-4", "ghost-5")
    fleet.wait_view("vm-a", "that it is gone", lambda v: v["endpoints"] == before, 20)
