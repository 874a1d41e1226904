# SPDX-License-Identifier: Apache-2.0
"""Endpoints that fail, stall or answer late get fewer calls, or none for a while: real servers, and exact
counts of what they got."""
import signal

import pytest
from mesh import ECHO, ORDERS, WEB, ScenarioMesh, at, request_text
from machines import wait_for

ADDRESSES = {"orders": "10.96.0.1", "echo": "10.96.0.2"}
POLICIES = [{"service": name, "action": "allow", "from": ["web"]} for name in ADDRESSES]
GROUPS = {"timeouts": {"connect": "2s", "request": "1s"}}
LONG = {"outlier": {"ejection": "1m"}}
SHORT = {"outlier": {"ejection": "1s"}}


class BalancedMesh(ScenarioMesh):
    settings = LONG

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            if row["name"] in ADDRESSES:
                row.update(addresses=[ADDRESSES[row["name"]]], port=self.service(row["name"]).port)
                row.update(self.settings)
        return groups

    def start(self, serve=True):
        self.lab["vm-a"].run(["ip", "route", "add", "10.96.0.0/16", "dev", "eth0"])
        return super().start(serve)

    def own(self, name):
        return ADDRESSES[name], self.service(name).port

    def got(self, name, metric="istio_requests_total"):
        """How many calls each machine has got of a service."""
        return {node: self[node].metric(metric, reporter="destination", destination_workload=name)
                for node in ("vm-b", "vm-c")}

    def mine(self, name):
        """A counter of the caller's proxy."""
        return self["vm-a"].metric(f"ringmain_{name}")

    def set(self, settings):
        """The caller's machine follows; nothing is ejected from one setting to the next."""
        generation = self.mine("generation")
        self.settings = settings
        self.write_configs()
        self["vm-a"].reload()
        wait_for(lambda: self.mine("generation") > generation, "the new plan")


@pytest.fixture(scope="module")
def both():
    """Two machines serve, a third one calls."""
    services = [WEB, at(ORDERS, "vm-b", "vm-c"), at(ECHO, "vm-b", "vm-c")]
    with BalancedMesh(services, machines=["vm-a", "vm-b", "vm-c"], policies=POLICIES, default_policy="deny",
                      groups=GROUPS) as mesh:
        yield mesh.start()


@pytest.fixture
def mesh(both):
    """Both endpoints are well, and have taken their share of calls."""
    both.set({"balance": "round_robin", "outlier": {"ejected_percent": 0}})
    assert ask_many(both, 4) == [200] * 4 and [echo(both) for _ in range(4)] == [b"abc"] * 4
    both.set(LONG)
    assert both.mine("endpoints_ejected") == 0
    return both


def ask(wire, path="/echo"):
    return wire.send(request_text(f"GET {path}", "orders")).reply().status


def ask_many(mesh, count, path="/echo"):
    with mesh.dial("web", mesh.own("orders")) as wire:
        return [ask(wire, path) for _ in range(count)]


def echo(mesh):
    with mesh.dial("web", mesh.own("echo")) as wire:
        return wire.send("abc").finish().rest()


def spread(before, after):
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def test_round_robin_is_exact(mesh):
    mesh.set({"balance": "round_robin"})
    before = mesh.got("orders")
    assert ask_many(mesh, 60) == [200] * 60
    assert spread(before, mesh.got("orders")) == {"vm-b": 30, "vm-c": 30}


def test_a_busy_endpoint_gets_nothing_more(mesh):
    """While one of two has a connection open and the other none, the other one gets the next."""
    metric = "istio_tcp_connections_opened_total"
    before = mesh.got("echo", metric)
    with mesh.dial("web", mesh.own("echo")) as held:
        assert held.send("abc").exactly(3) == b"abc"
        busy, = spread(before, mesh.got("echo", metric))
        before = mesh.got("echo", metric)
        for _ in range(20):
            assert echo(mesh) == b"abc"
            wait_for(lambda: mesh["vm-a"].metric("istio_tcp_connections_opened_total", reporter="source")
                     - mesh["vm-a"].metric("istio_tcp_connections_closed_total", reporter="source") == 1,
                     "only the first one to be open")
        assert set(spread(before, mesh.got("echo", metric))) == {"vm-b", "vm-c"} - {busy}


def test_a_dead_server_is_asked_five_times(mesh):
    """Its machine says that it is dead, and the requests go on to the other one."""
    retries, ejections = mesh.mine("retries_total"), mesh.mine("ejections_total")
    mesh.workload("orders", "vm-c").stop()
    try:
        assert ask_many(mesh, 60) == [200] * 60
        assert mesh.mine("retries_total") - retries == 5
        assert mesh.mine("ejections_total") - ejections == 1
        assert mesh.mine("endpoints_ejected") == 1
        address = mesh.lab["vm-c"].v4
        assert f"{address}:8080 of orders gets no calls for 60 s" in mesh["vm-a"].process.log
    finally:
        mesh.serve_one(mesh.service("orders"), mesh.lab["vm-c"])


def test_a_stalled_server_costs_five_requests(mesh):
    server = mesh.workload("orders", "vm-c")
    server.kill(signal.SIGSTOP)
    try:
        statuses = ask_many(mesh, 40)
        assert sorted(statuses) == [200] * 35 + [504] * 5
        assert mesh.mine("endpoints_ejected") == 1
    finally:
        server.kill(signal.SIGCONT)


def test_a_dead_machine_is_dialled_five_times(mesh):
    retries = mesh.mine("retries_total")
    mesh["vm-c"].stop()
    try:
        assert [echo(mesh) for _ in range(40)] == [b"abc"] * 40
        assert mesh.mine("retries_total") - retries == 5
        assert mesh.mine("endpoints_ejected") == 1
    finally:
        mesh["vm-c"].start()


def test_the_last_one_is_not_ejected(mesh):
    """What all answer may be the fault of who asks."""
    ejections = mesh.mine("ejections_total")
    assert ask_many(mesh, 40, "/status/503") == [503] * 40
    assert mesh.mine("ejections_total") - ejections == 1
    before = mesh.got("orders")
    assert ask_many(mesh, 20) == [200] * 20
    assert len(spread(before, mesh.got("orders"))) == 1


def test_errors_of_the_application_are_its_own(mesh):
    ejections = mesh.mine("ejections_total")
    assert ask_many(mesh, 40, "/status/500") == [500] * 40
    assert mesh.mine("ejections_total") == ejections


def test_no_more_calls_than_a_service_may_have(mesh):
    mesh.set({"breaker": {"connections": 2, "requests": 2}})
    refused = mesh.mine("breaker_connections_refused_total")
    with mesh.dial("web", mesh.own("echo")) as first, mesh.dial("web", mesh.own("echo")) as second:
        assert first.send("abc").exactly(3) == second.send("abc").exactly(3) == b"abc"
        assert mesh.turned_away("web", mesh.own("echo"))
        assert ask_many(mesh, 4) == [200] * 4  # another service has its own number
        assert first.finish().rest() == b""
        wait_for(lambda: not mesh.turned_away("web", mesh.own("echo")), "the next one to be let in")
    assert mesh.mine("breaker_connections_refused_total") > refused
    with mesh.dial("web", mesh.own("orders")) as first, mesh.dial("web", mesh.own("orders")) as second:
        for wire in first, second:
            wire.send(request_text("GET /stream/600/100", "orders"))
            assert wire.head()[0] == 200
        assert ask_many(mesh, 3) == [503] * 3
        wait_for(lambda: len(mesh.access_lines("vm-a", response_code_details="BREAKER_REQUESTS", response_code=503,
                                               response_flags="UO")) == 3, "their lines in the log")
    wait_for(lambda: ask_many(mesh, 1) == [200], "those to have ended with their callers")


def test_it_comes_back_by_a_probe(mesh):
    """Calls that would fail are few while it is dead, and once it lives it has its share again."""
    mesh.set(SHORT)
    ejections = mesh.mine("ejections_total")
    mesh.workload("orders", "vm-c").stop()
    try:
        assert ask_many(mesh, 40) == [200] * 40
        wait_for(lambda: ask_many(mesh, 4) == [200] * 4 and mesh.mine("ejections_total") - ejections >= 2,
                 "a probe that failed", timeout=20)
    finally:
        mesh.serve_one(mesh.service("orders"), mesh.lab["vm-c"])
    wait_for(lambda: ask_many(mesh, 4) == [200] * 4 and mesh.mine("endpoints_ejected") == 0,
             "the endpoint to be back", timeout=20)
    before = mesh.got("orders")
    assert ask_many(mesh, 60) == [200] * 60
    assert min(spread(before, mesh.got("orders")).values()) >= 10
