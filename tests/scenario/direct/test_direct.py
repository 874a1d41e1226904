# SPDX-License-Identifier: Apache-2.0
"""Nobody gets anywhere by dialling the proxy's own ports, or a service around its proxy: every
listener, by every address, by every kind of caller."""
import socket
import time

import pytest
from machines import wait_for
from mesh import (ECHO, FAMILIES, GUEST, INBOUND_PORT, MESH_PORT, ORDERS, OUTBOUND_PORT, STOCK, STRANGER_UID, WEB,
                  ScenarioMesh, at, request_text)

PORTS = {"outbound": OUTBOUND_PORT, "outbound, last": OUTBOUND_PORT + 15, "inbound": INBOUND_PORT,
         "inbound, last": INBOUND_PORT + 15, "mesh": MESH_PORT}
CALLERS = {"web": WEB.uid, "a server's own uid": at(ORDERS).uid, "stranger": STRANGER_UID, "root": 0}
POLICIES = [{"service": ["orders", "echo"], "action": "allow", "from": ["*"]},
            {"service": "stock", "action": "allow", "from": ["*", "anonymous"]}]


@pytest.fixture(scope="module")
def mesh():
    """web and orders on both machines; stock takes plain text too."""
    services = [at(WEB, "vm-a", "vm-b"), GUEST, at(ORDERS, "vm-a", "vm-b"),
                at(STOCK, "vm-a", "vm-b", mtls="permissive"), ECHO]
    with ScenarioMesh(services, policies=POLICIES, default_policy="deny") as mesh:
        yield mesh.start()


def outcome(mesh, uid, machine, host, port, path):
    """What a plain request to an address brings: "refused", "closed", or the status."""
    try:
        with mesh.dial(uid, (host, port), machine=machine, timeout=5) as wire:
            wire.send(request_text(f"GET {path}", "orders"))
            first = wire.sock.recv(1)
            if first in (b"", b"\x15"):  # nothing, or a TLS alert
                return "closed"
            wire.held = first
            return wire.reply().status
    except ConnectionRefusedError:
        return "refused"
    except ConnectionError:
        return "closed"
    except socket.timeout:
        return "silent"


def local_addresses(machine):
    return {"v4": machine.v4, "v6": machine.v6, "loopback v4": "127.0.0.1", "loopback v6": "::1"}


@pytest.mark.parametrize("address", ["v4", "v6", "loopback v4", "loopback v6"])
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("port", PORTS)
def test_own_listeners(mesh, port, caller, address):
    host = local_addresses(mesh.lab["vm-a"])[address]
    assert outcome(mesh, CALLERS[caller], "vm-a", host, PORTS[port], "/direct") in ("refused", "closed")
    assert b"/direct" not in mesh.record("orders", "vm-a") + mesh.record("orders", "vm-b")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("port", PORTS)
def test_listeners_of_another_machine(mesh, port, caller, family):
    host = mesh.lab["vm-b"].address(family)
    assert outcome(mesh, CALLERS[caller], "vm-a", host, PORTS[port], "/direct") in ("refused", "closed")
    assert b"/direct" not in mesh.record("orders", "vm-b")


def test_direct_dials_are_counted(mesh):
    before = mesh["vm-b"].metric("ringmain_direct_dials_refused_total")
    for port in (OUTBOUND_PORT, INBOUND_PORT):
        outcome(mesh, STRANGER_UID, "vm-b", "127.0.0.1", port, "/direct")
    wait_for(lambda: mesh["vm-b"].metric("ringmain_direct_dials_refused_total") >= before + 2, "the count")


@pytest.mark.parametrize("address", ["v4", "v6", "loopback v4", "loopback v6"])
@pytest.mark.parametrize("caller", ["stranger", "root"])
def test_local_caller_without_an_identity(mesh, caller, address):
    machine = mesh.lab["vm-b"]
    host = local_addresses(machine)[address]
    before = mesh["vm-b"].metric("ringmain_unattributed_total")
    assert outcome(mesh, CALLERS[caller], "vm-b", host, ORDERS.port, "/unknown") in ("refused", "closed")
    assert b"/unknown" not in mesh.record("orders", "vm-b")
    wait_for(lambda: mesh["vm-b"].metric("ringmain_unattributed_total") > before, "the count")
    # the permissive service takes it, by a policy that allows the nameless
    assert outcome(mesh, CALLERS[caller], "vm-b", host, STOCK.port, "/unknown") == 200


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_text_from_another_machine(mesh, family):
    host = mesh.lab["vm-b"].address(family)
    assert outcome(mesh, STRANGER_UID, "vm-a", host, ORDERS.port, "/plain") in ("refused", "closed")
    assert b"/plain" not in mesh.record("orders", "vm-b")
    assert outcome(mesh, STRANGER_UID, "vm-a", host, STOCK.port, "/plain") == 200


def test_plain_text_refusal_says_why(mesh):
    outcome(mesh, STRANGER_UID, "vm-a", mesh.lab["vm-b"].v4, ORDERS.port, "/plain")
    wait_for(lambda: mesh.access_lines("vm-b", response_code_details="PLAINTEXT"), "the line in the log")


def test_a_forged_identity_in_plain_text_is_thrown_away(mesh):
    with mesh.dial(STRANGER_UID, (mesh.lab["vm-b"].v4, STOCK.port), machine="vm-a") as wire:
        forged = ["X-Forwarded-Client-Cert: URI=spiffe://mesh.test/service/web"]
        reply = wire.send(request_text("GET /forged", "stock", forged)).reply()
    assert (reply.status, "service/web" in reply.body.decode()) == (200, False)


def test_a_tls_client_hello_to_a_captured_port_is_no_way_in(mesh):
    hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
    assert mesh.turned_away(STRANGER_UID, (mesh.lab["vm-b"].v4, ORDERS.port), hello, machine="vm-a")


def test_workload_dialling_outside_the_mesh_is_refused(mesh):
    """No service of the mesh, and not listed as passthrough: nothing leaves."""
    server = mesh.lab["vm-b"].sockets(STRANGER_UID)[0]
    server.bind((mesh.lab["vm-b"].v4, 9999))
    server.listen(1)
    server.settimeout(1)
    assert mesh.turned_away("web", (mesh.lab["vm-b"].v4, 9999), machine="vm-a")
    with pytest.raises(socket.timeout):
        server.accept()
    server.close()


def test_short_lived_callers_keep_their_names(mesh):
    """Callers that connect, send and close at once: who they were is known all the same."""
    for number in range(20):
        with mesh.dial("web", "orders", machine="vm-a") as wire:
            wire.send(request_text(f"GET /brief/{number}", "orders", ["Connection: close"])).finish()
    time.sleep(1)
    lines = [line for line in mesh["vm-a"].access() if str(line.get("path")).startswith("/brief/")]
    assert len(lines) == 20
    assert {line["source_identity"] for line in lines} == {"spiffe://mesh.test/service/web"}
