# SPDX-License-Identifier: Apache-2.0
"""A service's own address: calls spread over its endpoints, whatever machine they are on, and move on
from one that does not take them."""
import socket

import pytest
from mesh import (ECHO, FAMILIES, GUEST, ORDERS, STRANGER_UID, WEB, ScenarioMesh, at, request_text)
from machines import wait_for

ADDRESSES = {"orders": ("10.96.0.1", "fd96::1"), "echo": ("10.96.0.2", "fd96::2")}
POLICIES = [{"service": "orders", "action": "allow", "from": ["web"]},
            {"service": "echo", "action": "allow", "from": ["web"]}]
GROUPS = {"timeouts": {"connect": "2s"}}


class BalancedMesh(ScenarioMesh):
    """Its services have addresses of their own, to which the callers' machine has a route."""

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            if row["name"] in ADDRESSES:
                row.update(addresses=list(ADDRESSES[row["name"]]), port=self.service(row["name"]).port)
        return groups

    def start(self, serve=True):
        for option, route in (("-4", "10.96.0.0/16"), ("-6", "fd96::/64")):
            self.lab["vm-a"].run(["ip", option, "route", "add", route, "dev", "eth0"])
        return super().start(serve)

    def own(self, name, family=socket.AF_INET):
        return ADDRESSES[name][FAMILIES.index(family)], self.service(name).port

    def got(self, name, metric="istio_requests_total"):
        """How many calls each machine has got of a service."""
        return {node.name: node.metric(metric, reporter="destination", destination_workload=name)
                for node in self}


def ask(wire, path="/echo"):
    return wire.send(request_text(f"GET {path}", "orders")).reply().status


def spread(before, after):
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


@pytest.fixture(scope="module")
def mesh():
    """Two machines serve, a third one calls."""
    services = [WEB, GUEST, at(ORDERS, "vm-b", "vm-c"), at(ECHO, "vm-b", "vm-c")]
    with BalancedMesh(services, machines=["vm-a", "vm-b", "vm-c"], policies=POLICIES, default_policy="deny",
                      groups=GROUPS) as mesh:
        yield mesh.start()


@pytest.mark.parametrize("family", FAMILIES)
def test_requests_of_one_connection_spread(mesh, family):
    before = mesh.got("orders")
    with mesh.dial("web", mesh.own("orders", family)) as wire:
        assert [ask(wire) for _ in range(60)] == [200] * 60
    shares = spread(before, mesh.got("orders"))
    assert set(shares) == {"vm-b", "vm-c"} and sum(shares.values()) == 60
    assert min(shares.values()) >= 10


@pytest.mark.parametrize("family", FAMILIES)
def test_connections_spread(mesh, family):
    metric = "istio_tcp_connections_opened_total"
    before = mesh.got("echo", metric)
    for _ in range(40):
        with mesh.dial("web", mesh.own("echo", family)) as wire:
            assert wire.send("abc").finish().rest() == b"abc"
    shares = spread(before, mesh.got("echo", metric))
    assert set(shares) == {"vm-b", "vm-c"} and sum(shares.values()) == 40
    assert min(shares.values()) >= 5


def test_the_log_says_which_endpoint(mesh):
    def lines():
        return [line for line in mesh["vm-a"].access() if line.get("path", "").startswith("/echo/logged/")]
    with mesh.dial("web", mesh.own("orders")) as wire:
        assert [ask(wire, f"/echo/logged/{i}") for i in range(20)] == [200] * 20
    wait_for(lambda: len(lines()) == 20, "20 lines")
    assert {line["upstream_host"] for line in lines()} == {
        f"{mesh.lab[name].v4}:15008" for name in ("vm-b", "vm-c")}
    assert {line["downstream_local_address"] for line in lines()} == {"10.96.0.1:8080"}


def test_an_endpoint_by_its_own_address(mesh):
    before = mesh.got("orders")
    with mesh.dial("web", mesh.target("orders", machine="vm-c")) as wire:
        assert [ask(wire) for _ in range(10)] == [200] * 10
    assert spread(before, mesh.got("orders")) == {"vm-c": 10}


def test_policy_still_applies(mesh):
    with mesh.dial("guest", mesh.own("orders")) as wire:
        assert [ask(wire) for _ in range(10)] == [403] * 10
    assert mesh.turned_away("guest", mesh.own("echo"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stranger_gets_nothing(mesh, family):
    """Who is in no mesh is not captured: nothing has the address."""
    with pytest.raises(OSError):
        mesh.dial(STRANGER_UID, mesh.own("orders", family), machine="vm-a", timeout=2)


# From here on machines are taken away, and come back.


def test_a_dead_server_costs_no_request(mesh):
    """Its machine is there, and says that it could not hand the request on."""
    mesh.workload("orders", "vm-c").stop()
    try:
        with mesh.dial("web", mesh.own("orders")) as wire:
            assert [ask(wire) for _ in range(60)] == [200] * 60
        for _ in range(20):
            with mesh.dial("web", mesh.own("orders")) as wire:
                assert ask(wire) == 200
        assert mesh["vm-a"].metric("ringmain_retries_total") > 0
    finally:
        mesh.serve_one(mesh.service("orders"), mesh.lab["vm-c"])


def test_a_dead_proxy_costs_no_call(mesh):
    """Nobody takes the connect: the next endpoint does."""
    mesh["vm-c"].stop()
    try:
        with mesh.dial("web", mesh.own("orders")) as wire:
            assert [ask(wire) for _ in range(60)] == [200] * 60
        for _ in range(20):
            with mesh.dial("web", mesh.own("echo")) as wire:
                assert wire.send("abc").finish().rest() == b"abc"
    finally:
        mesh["vm-c"].start()


def test_a_reload_that_takes_one_out(mesh):
    """Under way, and without a failed request."""
    with mesh.dial("web", mesh.own("orders")) as wire:
        assert [ask(wire) for _ in range(20)] == [200] * 20
        mesh.service("orders").on.remove("vm-c")
        mesh.write_configs()
        generation = mesh["vm-a"].metric("ringmain_generation")
        mesh["vm-a"].reload()
        wait_for(lambda: mesh["vm-a"].metric("ringmain_generation") > generation, "the new plan")
        before = mesh.got("orders")
        assert [ask(wire) for _ in range(20)] == [200] * 20
        assert spread(before, mesh.got("orders")) == {"vm-b": 20}


# --- one of the endpoints on the caller's own machine -----------------------------------------------------


@pytest.fixture(scope="module")
def near():
    services = [WEB, GUEST, at(ORDERS, "vm-a", "vm-b"), at(ECHO, "vm-a", "vm-b")]
    with BalancedMesh(services, policies=POLICIES, default_policy="deny", groups=GROUPS) as mesh:
        yield mesh.start()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_own_machine_takes_its_share(near, family):
    before = near.got("orders")
    with near.dial("web", near.own("orders", family)) as wire:
        for _ in range(60):
            reply = wire.send(request_text("GET /echo", "orders")).reply()
            assert reply.status == 200 and "URI=spiffe://mesh.test/service/web" in reply.body.decode()
    shares = spread(before, near.got("orders"))
    assert set(shares) == {"vm-a", "vm-b"} and min(shares.values()) >= 10


def test_policy_holds_on_the_own_machine(near):
    with near.dial("guest", near.own("orders")) as wire:
        assert [ask(wire) for _ in range(20)] == [403] * 20
    for _ in range(6):
        assert near.turned_away("guest", near.own("echo"))


def test_a_dead_server_on_the_own_machine(near):
    near.workload("orders", "vm-a").stop()
    near.workload("echo", "vm-a").stop()
    with near.dial("web", near.own("orders")) as wire:
        for _ in range(40):
            body = b"a body goes on as well: nothing of it was sent"
            reply = wire.send(request_text("POST /echo", "orders", body=body)).reply()
            assert reply.status == 200
    for _ in range(20):
        with near.dial("web", near.own("echo")) as wire:
            assert wire.send("abc").finish().rest() == b"abc"
