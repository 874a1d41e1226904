# SPDX-License-Identifier: Apache-2.0
"""Calls with the same value get the same endpoint, whatever machine they come from, and only those of an
endpoint that is not well go elsewhere."""
import collections
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "state"))
from fleet import ALLOW_ECHO, ALLOW_WEB, Fleet  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ECHO, ORDERS, WEB, at, request_text  # noqa: E402

CALLERS, SERVERS = ("vm-a", "vm-e"), ("vm-b", "vm-c", "vm-d")
SERVICES = [at(WEB, *CALLERS), at(ORDERS, *SERVERS, own=200), at(ECHO, *SERVERS, own=201)]
USERS = [f"user-{i}" for i in range(48)]


@pytest.fixture(scope="module")
def fleet():
    with Fleet(SERVICES, machines=("vm-a", "vm-b", "vm-c", "vm-d", "vm-e"), policies=[ALLOW_WEB, ALLOW_ECHO]) as fleet:
        yield fleet.start()


def balance(fleet, name="orders", **keys):
    """Publishes the services, with these keys for one of them, and waits until that is in force. Nobody is ejected:
    what is proved here is proved call by call."""
    groups = fleet.mesh_groups()
    for row in groups["services"]:
        if row["name"] == name:
            row.update(keys, outlier={"ejected_percent": 0})
    fleet.publish(groups, "--prune")
    fleet.wait_settled()


def asked(fleet, caller, values, header="x-user", line="GET /echo", text="{}"):
    """By which machine each value is served."""
    found = {}
    with fleet.dial("web", fleet.own("orders"), machine=caller) as wire:
        for value in values:
            headers = [f"{header}: {text.format(value)}"] if header else []
            reply = wire.send(request_text(line.format(value), "orders", headers)).reply()
            found[value] = reply.json["server"].split("@")[1] if reply.status == 200 else reply.status
    return found


def healths(fleet, node):
    leg, = explained(fleet, node)["split"]
    return collections.Counter(e["health"] for e in leg["endpoints"] if not e["alternate"])


def explained(fleet, node, *words):
    command = ["routes", "explain", "--from", "web", "--to", "orders", "-o", "json", *words]
    return json.loads(fleet[node].ringmain(*command).stdout)


@pytest.mark.parametrize("way", ["ring_hash", "maglev"])
def test_a_value_has_one_endpoint(fleet, way):
    balance(fleet, balance=way, balance_by="header:x-user")
    first = asked(fleet, "vm-a", USERS)
    assert set(first.values()) == set(SERVERS)
    assert asked(fleet, "vm-e", USERS) == first
    # one is taken out: what it had goes to both others, and the rest stays
    fleet["vm-d"].ringmain("drain", "orders")
    try:
        wait_for(lambda: all(healths(fleet, n)["drained"] == 1 for n in CALLERS), "both callers to know")
        second = asked(fleet, "vm-a", USERS)
        assert {user: second[user] for user in USERS if first[user] != "vm-d"} == {
            user: server for user, server in first.items() if server != "vm-d"}
        assert {second[user] for user in USERS if first[user] == "vm-d"} == {"vm-b", "vm-c"}
        assert asked(fleet, "vm-e", USERS) == second
    finally:
        fleet["vm-d"].ringmain("drain", "orders", "--undo")
    wait_for(lambda: all(healths(fleet, n)["up"] == 3 for n in CALLERS), "it to be back")
    assert asked(fleet, "vm-e", USERS) == first


def test_a_dead_server_s_values_go_on(fleet):
    """Nobody has told that it is dead: a request finds out, and is served by the next endpoint."""
    balance(fleet, balance="ring_hash", balance_by="header:x-user")
    first = asked(fleet, "vm-a", USERS)
    fleet.workload("orders", "vm-c").stop()
    try:
        second = asked(fleet, "vm-a", USERS)
        assert all(server == first[user] for user, server in second.items() if first[user] != "vm-c")
        assert {second[user] for user in USERS if first[user] == "vm-c"} == {"vm-b", "vm-d"}
        assert asked(fleet, "vm-e", USERS) == second
    finally:
        fleet.serve_one(fleet.service("orders"), fleet.lab["vm-c"])


def test_what_has_no_value_is_spread(fleet):
    balance(fleet, balance="maglev", balance_by="header:x-user")
    assert set(asked(fleet, "vm-a", range(40), header=None).values()) == set(SERVERS)


def test_by_cookie_and_by_query(fleet):
    balance(fleet, balance="maglev", balance_by="cookie:who")
    found = asked(fleet, "vm-a", USERS, header="cookie", text="a=1; who={}; b=2")
    assert set(found.values()) == set(SERVERS)
    assert asked(fleet, "vm-e", USERS, header="cookie", text="who={}") == found
    balance(fleet, balance="maglev", balance_by="query:who")
    assert asked(fleet, "vm-e", USERS, header=None, line="GET /echo?a=1&who={}") == found


def test_explain_says_which_one(fleet):
    balance(fleet, balance="ring_hash", balance_by="header:x-user")
    where = asked(fleet, "vm-a", USERS[:3])
    for user, server in where.items():
        leg, = explained(fleet, "vm-a", "-H", f"x-user: {user}")["split"]
        got = [e for e in leg["endpoints"] if e["share"] > 0]
        assert [(e["node"], e["share"]) for e in got] == [(server, 1000000)]
        assert leg["balance"]["has_value"] and leg["balance"]["by"] == "header:x-user"


def opened(fleet):
    return {n: fleet[n].metric("istio_tcp_connections_opened_total", reporter="destination", destination_workload="echo")
            for n in SERVERS}


def echoed(fleet, caller, count=8):
    """Which servers got connections from a caller."""
    before = opened(fleet)
    for _ in range(count):
        with fleet.dial("web", fleet.own("echo"), machine=caller) as wire:
            assert wire.send("abc").finish().rest() == b"abc"
    after = opened(fleet)
    return {n for n in SERVERS if after[n] > before[n]}


def test_connections_by_who_calls(fleet):
    balance(fleet, "echo", balance="maglev", balance_by="source")
    server, = echoed(fleet, "vm-a")
    assert echoed(fleet, "vm-e") == {server}
    balance(fleet, "echo", balance="maglev", balance_by="client")
    assert len(echoed(fleet, "vm-a")) == len(echoed(fleet, "vm-e")) == 1
