# SPDX-License-Identifier: Apache-2.0
"""Calls stay in their zone as long as it can bear them; and what happens when too few endpoints are well."""
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "state"))
from fleet import ALLOW_ECHO, ALLOW_WEB, Fleet  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ECHO, ORDERS, WEB, at, request_text  # noqa: E402

SERVERS = ("vm-b", "vm-c", "vm-d")
SERVICES = [at(WEB, "vm-a", "vm-e"), at(ORDERS, *SERVERS, own=200), at(ECHO, *SERVERS, own=201)]
ZONES = {"vm-a": "eu", "vm-b": "eu", "vm-c": "us", "vm-d": "us", "vm-e": "asia"}


@pytest.fixture(scope="module")
def fleet():
    with Fleet(SERVICES, machines=tuple(ZONES), policies=[ALLOW_WEB, ALLOW_ECHO]) as fleet:
        for name, zone in ZONES.items():
            fleet[name].groups = {"node": {"zone": zone}}
        yield fleet.start()


def balance(fleet, **keys):
    """Publishes orders and echo with these keys; who was ejected before is so no more."""
    if "outlier" in keys:
        balance(fleet)
    else:
        keys["outlier"] = {"ejected_percent": 0}
    groups = fleet.mesh_groups()
    for row in groups["services"]:
        if row["name"] != "web":
            row.update(keys)
    fleet.publish(groups, "--prune")
    fleet.wait_settled()


def ask(fleet, count, caller="vm-a", path="/echo"):
    """Who serves so many requests of a caller."""
    found = []
    with fleet.dial("web", fleet.own("orders"), machine=caller) as wire:
        for _ in range(count):
            reply = wire.send(request_text(f"GET {path}", "orders")).reply()
            found.append(reply.json["server"].split("@")[1] if reply.status == 200 else reply.status)
    return found


def drain(fleet, node, word="drain"):
    fleet[node].ringmain("drain", "orders", *(["--undo"] if word == "undrain" else []))
    wait_for(lambda: all(e["health"] == ("drained" if word == "drain" else "up")
                         for caller in ("vm-a", "vm-e") for e in explain(fleet, caller)["endpoints"]
                         if e["node"] == node), f"{node} to be known as {word}ed")


def explain(fleet, caller="vm-a"):
    command = ["routes", "explain", "--from", "web", "--to", "orders", "-o", "json"]
    leg, = json.loads(fleet[caller].ringmain(*command, check=False).stdout)["split"]
    return leg


def choices(fleet, path):
    """Of the requests for a path, when all of them are in the log."""
    return [line["endpoint_choice"] for line in fleet["vm-a"].access() if line.get("path") == path]


def test_the_own_zone_first(fleet):
    balance(fleet, zones="prefer")
    assert set(ask(fleet, 30, path="/echo/near")) == {"vm-b"}
    assert set(ask(fleet, 30, "vm-e")) == set(SERVERS)  # in whose zone there is none
    wait_for(lambda: choices(fleet, "/echo/near") == ["own-zone"] * 30, "what the log says of it")
    shares = {e["node"]: e["share"] for e in explain(fleet)["endpoints"] if not e["alternate"]}
    assert shares == {"vm-b": 1000000, "vm-c": 0, "vm-d": 0}


def test_other_zones_when_the_own_one_is_not_well(fleet):
    balance(fleet, zones="prefer")
    before = fleet["vm-a"].metric("ringmain_picks_other_zone_total")
    drain(fleet, "vm-b")
    try:
        assert set(ask(fleet, 30, path="/echo/far")) == {"vm-c", "vm-d"}
        assert fleet["vm-a"].metric("ringmain_picks_other_zone_total") - before == 30
        wait_for(lambda: choices(fleet, "/echo/far") == ["other-zone"] * 30, "what the log says of it")
        assert explain(fleet)["balance"]["choice"] == "other-zone"
    finally:
        drain(fleet, "vm-b", "undrain")
    assert set(ask(fleet, 30)) == {"vm-b"}


def test_other_zones_when_the_own_one_is_busy(fleet):
    """It may have two connections under way, and then twice as many for its weight as the others."""
    balance(fleet, zones="prefer", zone_calls=2)
    wires = []
    metric = "istio_tcp_connections_opened_total"
    before = {n: fleet[n].metric(metric, reporter="destination", destination_workload="echo") for n in SERVERS}
    try:
        for _ in range(8):
            wires.append(fleet.dial("web", fleet.own("echo"), machine="vm-a"))
            assert wires[-1].send("abc").exactly(3) == b"abc"
        got = {n: fleet[n].metric(metric, reporter="destination", destination_workload="echo") - before[n] for n in SERVERS}
        assert got["vm-b"] == 4 and got["vm-c"] == got["vm-d"] == 2
    finally:
        for wire in wires:
            wire.sock.close()


def test_strict_never_leaves_the_zone(fleet):
    balance(fleet, zones="strict")
    assert set(ask(fleet, 20)) == {"vm-b"}
    assert ask(fleet, 3, "vm-e") == [503] * 3
    wait_for(lambda: len(fleet.access_lines("vm-e", response_code_details="NO_ENDPOINT")) == 3, "their lines in the log")
    drain(fleet, "vm-b")
    try:
        assert set(ask(fleet, 20)) == {"vm-b"}
    finally:
        drain(fleet, "vm-b", "undrain")


# --- who is ejected, and panic --------------------------------------------------------------------------------


def eject(fleet):
    """The servers of vm-c and vm-d are dead; calls go on until both are known for it."""
    for name in ("vm-c", "vm-d"):
        fleet.workload("orders", name).stop()
    wait_for(lambda: ask(fleet, 20) and len(ejected(fleet)) == 2, "both to be ejected")


def ejected(fleet):
    return {e["endpoint"]: e for e in fleet["vm-a"].status()["ejected"]}


def revive(fleet):
    for name in ("vm-c", "vm-d"):
        fleet.serve_one(fleet.service("orders"), fleet.lab[name])


def test_the_ejected_are_named(fleet):
    balance(fleet, outlier={"ejection": "1m", "ejected_percent": 100, "errors": 2})
    eject(fleet)
    try:
        found = ejected(fleet)
        assert set(found) == {f"{fleet.lab[n].v4}:8080" for n in ("vm-c", "vm-d")}
        assert {e["why"] for e in found.values()} == {"errors in a row"}
        text = fleet["vm-a"].ringmain("status", check=False).stdout
        assert f"{fleet.lab['vm-c'].v4}:8080" in text and "errors in a row" in text
        by_node = {e["node"]: e for e in explain(fleet)["endpoints"] if not e["alternate"]}
        assert by_node["vm-b"]["share"] == 1000000 and "ejected" not in by_node["vm-b"]
        assert by_node["vm-c"]["share"] == 0 and 0 < by_node["vm-c"]["ejected"]["left_ms"] <= 60000
        assert by_node["vm-b"]["latency_us"] > 0
        text = fleet["vm-a"].ringmain("routes", "explain", "--from", "web", "--to", "orders").stdout
        assert "‼ ejected by 1 worker for" in text
        assert set(ask(fleet, 20)) == {"vm-b"}
    finally:
        revive(fleet)


def test_panic_calls_all(fleet):
    balance(fleet, outlier={"ejection": "1m", "ejected_percent": 100, "errors": 2, "connect_errors": 2}, panic=50)
    before = fleet["vm-a"].metric("ringmain_picks_panic_total")
    assert fleet["vm-a"].metric("ringmain_services_in_panic") == 0
    for name in ("vm-c", "vm-d"):
        fleet.workload("orders", name).stop()
    try:
        wait_for(lambda: set(ask(fleet, 20)) and fleet["vm-a"].metric("ringmain_services_in_panic") == 1,
                 "two of three to be ejected")
    finally:
        revive(fleet)
    assert explain(fleet)["balance"]["choice"] == "panic"
    assert "calls to orders go to all endpoints" in fleet["vm-a"].process.log
    # those that were ejected serve again, and get their share without a probe
    assert set(ask(fleet, 60, path="/echo/panic")) == set(SERVERS)
    assert fleet["vm-a"].metric("ringmain_picks_panic_total") - before >= 60
    wait_for(lambda: choices(fleet, "/echo/panic") == ["panic"] * 60, "what the log says of it")


def test_calls_under_way_are_told(fleet):
    balance(fleet, breaker={"requests": 5})
    with fleet.dial("web", fleet.own("orders"), machine="vm-a") as wire:
        wire.send(request_text("GET /stream/600/100", "orders"))
        assert wire.head()[0] == 200
        leg = explain(fleet)
        assert leg["balance"]["calls"] == 1 and leg["balance"]["requests_max"] == 5
        assert sum(e["calls"] for e in leg["endpoints"]) == 1
        assert leg["balance"]["workers"] == leg["balance"]["workers_answered"]
