# SPDX-License-Identifier: Apache-2.0
"""Checks of a workload, made on its own machine, decide whether it gets calls at the service's
address; and an operator takes workloads and machines out without anybody noticing."""
import signal
import time

import pytest
from fleet import Fleet, Load
from machines import wait_for

CHECK = {"interval": "200ms", "timeout": "500ms", "unhealthy_after": 2, "healthy_after": 2}


class Checked(Fleet):
    """The checks alone decide: no endpoint is left out because calls to it failed, which may be seen sooner than by a check,
    and lasts for longer."""

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            if row["name"] in ("orders", "echo"):
                row["outlier"] = {"ejected_percent": 0}
        return groups


@pytest.fixture(scope="module")
def standing():
    with Checked() as fleet:
        yield fleet.start()


@pytest.fixture
def fleet(standing):
    for node in standing:
        if not node.process.running:
            node.start()
        if node.more:
            node.more = {}
            node.write_config()
            node.reload()
    standing.wait_settled()
    standing.wait_served_by("vm-b", "vm-c")
    return standing


def checked(fleet, **check):
    """vm-c's orders with a check."""
    node = fleet["vm-c"]
    node.more["orders"] = {"health": {**CHECK, **check}}
    node.write_config()
    node.reload()
    wait_for(lambda: "generation" in fleet["vm-c"].admin_get("/status")[1], "the status")
    time.sleep(0.5)
    fleet.wait_served_by("vm-b", "vm-c")


def own_health(fleet, name="orders"):
    """What vm-c says of its own endpoint: up, down, drained."""
    return next(row["health"] for row in fleet.view("vm-c")["own"] if row["service"] == name)


def sick_file(fleet):
    return fleet.lab["vm-c"].dir / "workloads" / "orders.record.sick"


def test_an_http_check_that_answers_an_error(fleet):
    checked(fleet, http="/healthz")
    with Load(fleet) as load:
        load.more()
        sick_file(fleet).touch()
        try:
            fleet.wait_served_by("vm-b")
            assert own_health(fleet) == "down"
            assert " down " in fleet.redis.ask("GET", fleet.key("node:vm-c")).decode()
            load.more()
        finally:
            sick_file(fleet).unlink()
        fleet.wait_served_by("vm-b", "vm-c")
        assert own_health(fleet) == "up"
        load.more()


def test_one_bad_answer_is_not_enough(fleet):
    checked(fleet, http="/healthz", unhealthy_after=20, interval="300ms")
    sick_file(fleet).touch()
    try:
        time.sleep(1)
        assert own_health(fleet) == "up"
    finally:
        sick_file(fleet).unlink()


@pytest.mark.parametrize("check", [{"http": "/healthz"}, {"tcp": True}], ids=["http", "tcp"])
def test_a_server_that_is_gone_gets_no_calls(fleet, check):
    checked(fleet, **check)
    fleet.workload("orders", "vm-c").stop(signal.SIGKILL)
    try:
        wait_for(lambda: own_health(fleet) == "down", "the check to find it down")
        fleet.wait_served_by("vm-b")
        with Load(fleet) as load:
            load.more()
        assert load.servers["orders@vm-c"] == 0
    finally:
        fleet.serve_one(fleet.service("orders"), fleet.lab["vm-c"])
    fleet.wait_served_by("vm-b", "vm-c")


def test_a_server_that_hangs_gets_no_calls(fleet):
    """It accepts, and never answers: only the HTTP check sees that."""
    checked(fleet, http="/healthz")
    fleet.workload("orders", "vm-c").kill(signal.SIGSTOP)
    try:
        fleet.wait_view("vm-c", "that orders is down",
                        lambda v: any(row["health"] == "down" for row in v["own"]), 10)
        fleet.wait_view("vm-a", "nothing wrong", lambda v: v["connected"])
        wait_for(lambda: " down " in fleet.redis.ask("GET", fleet.key("node:vm-c")).decode(), "the record to say so")
        time.sleep(1)  # the others have heard
        assert set(fleet.served_by()) == {"orders@vm-b"}
    finally:
        fleet.workload("orders", "vm-c").kill(signal.SIGCONT)
    fleet.wait_served_by("vm-b", "vm-c")


def test_a_program_that_checks(fleet):
    mark = fleet.lab["vm-c"].dir / "workloads" / "closed"
    checked(fleet, command=["/usr/bin/test", "!", "-e", str(mark)])
    with Load(fleet) as load:
        mark.touch()
        try:
            fleet.wait_served_by("vm-b")
        finally:
            mark.unlink()
        fleet.wait_served_by("vm-b", "vm-c")
        load.more()


def test_a_program_that_never_ends_counts_as_a_failure(fleet):
    node = fleet["vm-c"]
    node.more["orders"] = {"health": {**CHECK, "command": ["/usr/bin/sleep", "60"]}}
    node.write_config()
    node.reload()
    fleet.wait_served_by("vm-b")
    listed = fleet.lab["vm-c"].run(["pgrep", "-c", "-f", "^/usr/bin/sleep 60$"], check=False).stdout
    assert int(listed) <= 3, "programs that ran out of time are left behind"


def test_when_none_is_well_one_is_called_all_the_same(fleet):
    """The checks may be what is broken."""
    for name in ("vm-b", "vm-c"):
        fleet[name].more["orders"] = {"health": {**CHECK, "http": "/status/500"}}
        fleet[name].write_config()
        fleet[name].reload()
    for name in ("vm-b", "vm-c"):
        wait_for(lambda: " down " in fleet.redis.ask("GET", fleet.key(f"node:{name}")).decode(), f"{name} to be down")
    time.sleep(1)
    with Load(fleet) as load:
        load.more()


# --- ahead of maintenance ----------------------------------------------------------------------------------


def drain(fleet, *words, node="vm-c"):
    return fleet[node].ringmain("drain", *words)


def test_a_workload_is_drained_for_maintenance_without_a_failed_request(fleet):
    with Load(fleet) as load:
        load.more()
        drain(fleet, "orders")
        drain(fleet, "echo")
        fleet.wait_served_by("vm-b")
        assert own_health(fleet) == "drained"
        load.more()
        before = load.servers["orders@vm-c"]
        for name in ("orders", "echo"):
            fleet.workload(name, "vm-c").stop(signal.SIGTERM)
        load.more(60)
        assert load.servers["orders@vm-c"] == before
        for name in ("orders", "echo"):
            fleet.serve_one(fleet.service(name), fleet.lab["vm-c"])
        drain(fleet, "orders", "--undo")
        drain(fleet, "echo", "--undo")
        fleet.wait_served_by("vm-b", "vm-c")
        load.more()


def test_a_node_is_drained_and_restarted_without_a_failed_request(fleet):
    with Load(fleet) as load:
        load.more()
        drain(fleet)
        fleet.wait_served_by("vm-b")
        load.more()
        assert fleet["vm-c"].stop() == 0
        load.more()
        fleet["vm-c"].start()
        time.sleep(1)
        assert set(fleet.served_by()) == {"orders@vm-b"}, "what was drained comes back by itself"
        drain(fleet, "--undo")
        fleet.wait_served_by("vm-b", "vm-c")
        load.more()


def test_what_is_drained_still_serves_who_dials_it(fleet):
    drain(fleet, "orders")
    try:
        fleet.wait_served_by("vm-b")
        assert fleet.call_at("vm-c").status == 200
    finally:
        drain(fleet, "orders", "--undo")
    fleet.wait_served_by("vm-b", "vm-c")


def test_draining_what_is_not_here_is_an_error(fleet):
    done = fleet["vm-c"].ringmain("drain", "nosuch", check=False)
    assert done.returncode == 1 and "nosuch" in done.stderr
    assert fleet["vm-a"].ringmain("drain", "orders", check=False).returncode == 1
