# SPDX-License-Identifier: Apache-2.0
"""Two workloads of one machine: one pass through the proxy, no wire, no cryptography, and the same
policy as between machines."""
import pytest
from mesh import (ECHO, FAMILIES, GUEST, MAIL, ORDERS, STRANGER_UID, WEB, ScenarioMesh, at, capture_streams,
                  request_text)

POLICIES = [{"service": "orders", "action": "allow", "from": ["web"]},
            {"service": "echo", "action": "allow", "from": ["web"]},
            {"service": "mail", "action": "allow", "from": ["*"]}]


@pytest.fixture(scope="module")
def mesh():
    services = [WEB, GUEST, at(ORDERS, "vm-a"), at(ECHO, "vm-a"), at(MAIL, "vm-a")]
    with ScenarioMesh(services, machines=["vm-a"], policies=POLICIES, default_policy="deny") as mesh:
        yield mesh.start()


def addresses(mesh):
    return [mesh.lab["vm-a"].v4, mesh.lab["vm-a"].v6, "127.0.0.1", "::1"]


@pytest.mark.parametrize("number", range(4), ids=["v4", "v6", "loopback v4", "loopback v6"])
def test_http_by_every_local_address(mesh, number):
    with mesh.dial("web", (addresses(mesh)[number], ORDERS.port)) as wire:
        text = wire.send(request_text("GET /echo", "orders")).reply().body.decode()
    assert "URI=spiffe://mesh.test/service/web" in text


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp(mesh, family):
    with mesh.dial("web", "echo", family) as wire:
        assert wire.send("abc").finish().rest() == b"abc"
    with mesh.dial("web", "mail", family) as wire:
        assert wire.until(b"\r\n") == b"220 mail ready\r\n"


def test_nothing_crosses_the_wire(mesh):
    with mesh.capture("vm-a") as path:
        assert mesh.call("web", "orders").status == 200
        with mesh.dial("web", "echo") as wire:
            assert wire.send("abc").finish().rest() == b"abc"
    assert capture_streams(path) == {}


def test_no_cryptography(mesh):
    names = ("ringmain_tls_handshakes_total", "ringmain_signatures_total")
    assert mesh.call("web", "orders").status == 200
    assert [mesh["vm-a"].metric(name) for name in names] == [0, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_policy_holds_for_http(mesh, family):
    assert mesh.call("guest", "orders", "GET /denied", family=family).status == 403
    assert b"/denied" not in mesh.record("orders")


def test_policy_holds_for_tcp(mesh):
    assert mesh.turned_away("guest", "echo")


@pytest.mark.parametrize("number", range(4), ids=["v4", "v6", "loopback v4", "loopback v6"])
def test_a_stranger_cannot_reach_the_server_around_the_proxy(mesh, number):
    target = addresses(mesh)[number], ORDERS.port
    assert mesh.turned_away(STRANGER_UID, target, request_text("GET /stranger", "orders"), machine="vm-a")
    assert b"/stranger" not in mesh.record("orders")


def test_one_line_and_both_reports(mesh):
    assert mesh.call("web", "orders", "GET /echo/once").status == 200
    line = mesh.access_line("vm-a", path="/echo/once")
    assert (line["security"], line["response_code"]) == ("local", 200)
    labels = dict(source_workload="web", destination_workload="orders", response_code="200")
    for reporter in ("source", "destination"):
        assert mesh["vm-a"].metric("istio_requests_total", reporter=reporter, **labels) >= 1


def test_own_service_may_be_called_by_itself(mesh):
    """A workload that dials its own port goes the same way; policy has not allowed it here."""
    assert mesh.call("orders", "orders", "GET /self").status == 403
