# SPDX-License-Identifier: Apache-2.0
"""Every kind of change while calls go on: in force on all machines, no call lost by it, and open connections stay."""
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "state"))
from fleet import ALLOW_ECHO, ALLOW_GUEST, ALLOW_WEB, Fleet, Load  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ECHO, GUEST, ORDERS, WEB, at, request_text  # noqa: E402

SERVICES = [WEB, GUEST, at(ORDERS, "vm-a", "vm-b", "vm-c", own=200), at(ECHO, "vm-b", "vm-c", own=201)]
VERSIONS = {"vm-a": "v0", "vm-b": "v1", "vm-c": "v2"}


def split(**weights):
    return {"split": [{"version": version, "weight": weight} for version, weight in weights.items()]}


def orders(**settings):
    """The service with other settings."""
    return {"services": [{"name": "orders", "protocol": "http", "port": 8080, "address": ["10.77.0.200", "fd77::c8"], **settings}]}


def route(*rules):
    return {"routes": [{"service": "orders", "rules": list(rules)}]}


CHANGES = {
    "a first route": route(split(v1=90, v2=10)),
    "other weights": route(split(v1=10, v2=90)),
    "a rule before it": route({"match": {"path": "/echo/x"}, **split(v0=1)}, split(v1=1, v2=1)),
    "a timeout": route({"timeout": "5s", **split(v1=1, v2=1)}),
    "retries": route({"retries": {"attempts": 2, "on": ["gateway-error", "reset"]}, **split(v1=1, v2=1)}),
    "headers": route({"request_headers": {"add": [{"name": "x-a", "value": "b"}]}, **split(v1=1, v2=1)}),
    "a fault": route({"fault": {"delay": "1ms", "delay_percent": 10}, **split(v1=1, v2=1)}),
    "sticky": route({"sticky": {"source": True}, **split(v1=1, v2=1)}),
    "another balancing": orders(balance="round_robin"),
    "a limit": orders(balance="round_robin", breaker={"requests": 500}),
    "another limit": orders(balance="peak_ewma", breaker={"requests": 400, "connections": 300}),
    "ejection": orders(outlier={"errors": 3, "ejection": "1s"}),
    "a slow start": orders(slow_start="5s"),
    "a policy": {"policies": [{"name": "nobody-deletes", "service": "orders", "action": "deny", "methods": ["DELETE"]}]},
}


@pytest.fixture(scope="module")
def fleet():
    with Fleet(SERVICES, policies=[ALLOW_WEB, ALLOW_ECHO, ALLOW_GUEST]) as fleet:
        for name, version in VERSIONS.items():
            fleet[name].more = {s: {"version": version} for s in ("orders", "echo") if name != "vm-a" or s == "orders"}
        yield fleet.start()


def wait_in_force(fleet):
    """Until each node's proxy has what the store has."""
    revision = fleet.store_revision()
    wait_for(lambda: all(view["revision"] == revision for view in fleet.views()), "all nodes to have it", every=0.005)


def test_no_call_is_lost_by_any_change(fleet, capsys):
    took = {}
    with Load(fleet) as load, fleet.dial_own("web", "orders") as wire, fleet.dial_own("web", "echo") as opaque:
        assert opaque.send(b"abc").exactly(3) == b"abc"
        for name, groups in CHANGES.items():
            fleet.publish(groups)
            start = time.monotonic()
            wait_in_force(fleet)
            took[name] = time.monotonic() - start
            load.more(20)
            assert wire.send(request_text("GET /echo", "orders")).reply().status == 200
            assert opaque.send(b"def").exactly(3) == b"def"
        for name in ("route/orders", "policy/nobody-deletes"):
            fleet.operate("delete", name)
        fleet.wait_settled()
        load.more(30)
        assert wire.send(request_text("GET /echo", "orders")).reply().status == 200
    with capsys.disabled():
        print(f"\n    {len(CHANGES)} changes, {load.count} calls, none lost; each on all nodes after {max(took.values()):.2f} s at most, "
              f"{sorted(took.values())[len(took) // 2]:.2f} s mostly", end="")


def test_a_change_is_in_force_for_the_next_call(fleet):
    """Not only known: the connection that is open goes by it."""
    with fleet.dial_own("web", "orders") as wire:
        for number in range(12):
            version = ("v0", "v1", "v2")[number % 3]
            fleet.publish(route({"name": f"r{number}", **split(**{version: 1})}))
            def lead():
                reply = wire.send(request_text("GET /echo", "orders")).reply()
                assert reply.status == 200
                return VERSIONS[reply.json["server"].split("@")[1]] == version
            wait_for(lead, f"calls to go to {version}", every=0.01)
            assert lead()
    fleet.operate("delete", "route/orders")
    fleet.wait_settled()


def test_a_limit_that_changes_holds_for_what_comes_next(fleet):
    """What is under way stays; beyond a smaller limit nothing joins it; and a larger one lets in at once."""
    def limit(count):
        fleet.publish(orders(breaker={"requests": count}))
        fleet.wait_settled()

    def status():
        return fleet.call_own().status
    limit(0)
    wires = [fleet.dial_own("web", "orders") for _ in range(4)]
    try:
        for wire in wires:
            wire.send(request_text("GET /stream/600/100", "orders"))
            assert wire.head()[0] == 200
        limit(2)
        assert [status() for _ in range(5)] == [503] * 5
        assert all(wire.more() for wire in wires)
        limit(5)
        assert [status() for _ in range(5)] == [200] * 5
        limit(4)
        assert status() == 503
        limit(0)
        assert status() == 200
    finally:
        for wire in wires:
            wire.sock.close()


def test_a_version_that_is_replaced_under_load(fleet):
    """As an operator does it, again and again: off the version, its workload becomes another one, a share of the calls to that."""
    fleet.publish(route(split(v1=1)))
    fleet.wait_settled()
    with Load(fleet) as load:
        for version in ("v3", "v4", "v2"):
            fleet["vm-c"].more["orders"] = {"version": version}
            fleet["vm-c"].write_config()
            fleet["vm-c"].reload()
            wait_for(lambda: f"endpoint orders {version} " in fleet.redis.ask("GET", fleet.key("node:vm-c")).decode(), "the record to say so")
            fleet.publish(route(split(v1=1, **{version: 1})))
            fleet.wait_settled()
            load.servers.clear()
            load.more(40)
            assert set(load.servers) == {"orders@vm-b", "orders@vm-c"}
            fleet.publish(route(split(v1=1)))
            fleet.wait_settled()
        fleet.operate("delete", "route/orders")
        fleet.wait_settled()
        load.more()
