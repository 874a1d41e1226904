# SPDX-License-Identifier: Apache-2.0
"""Certificates that are withdrawn before they end, identities that leave a machine, and peers of another
trust domain: what is no longer to be trusted gets no new connection and loses those it has."""
import shutil
from pathlib import Path

import pytest
from certified import Certified
from company import LEAF, Authority, Calls
from machines import wait_for
from mesh import ECHO, GUEST, ORDERS, WEB, at, request_text

FAR = "other.test"
POLICIES = [{"service": "orders", "action": "allow", "from": ["web", "guest", f"spiffe://{FAR}/service/web"]},
            {"service": "echo", "action": "allow", "from": ["web", "guest"]}]


@pytest.fixture(scope="module")
def mesh():
    with Certified([WEB, at(GUEST, "vm-c"), ORDERS, ECHO], machines=("vm-a", "vm-b", "vm-c"), policies=POLICIES,
                   default_policy="deny") as mesh:
        yield mesh.start()


def stolen(mesh, node, service):
    """A copy of what a thief of the machine has: key and chain of a service."""
    copy = Path(mesh.lab.dir) / f"stolen-{service}.pem"
    shutil.copy(mesh.pair(node, service), copy)
    return copy


def serial(mesh, node, service):
    return mesh.row(node, f"service/{service}")["serial"]


def refusals(node):
    return node.metric("ringmain_tls_handshake_failures_total")


def begin_stream(wire, service="orders"):
    """A response that goes on for half a minute."""
    status, _ = wire.send(request_text("GET /stream/600/50", service)).head()
    assert status == 200
    return wire


def cut_off(wire):
    """Reads on. Whether the response ends before its end."""
    text = b""
    try:
        while part := wire.sock.recv(1 << 16):
            text += part
    except ConnectionError:
        pass
    return not text.endswith(b"0\r\n\r\n")


def test_a_revoked_certificate(mesh):
    """New handshakes end with the alert that says so; a kept connection over HTTP/1 and one over TCP end,
    and so does one that has said nothing yet; the service itself has a new certificate soon and goes on."""
    b, a = mesh["vm-b"], mesh["vm-a"]
    copy, old = stolen(mesh, a, "web"), serial(mesh, a, "web")
    assert mesh.show("orders", b, copy)[0]
    with mesh.keep_open("orders", b, copy) as http, mesh.dial("web", "echo") as tcp, \
            mesh.keep_open("echo", b, copy) as silent:
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        assert tcp.send("a").exactly(1) == b"a"
        before = refusals(b)
        mesh.authority.revoke("--serial", old, "--why", "stolen")
        for wire in (http, tcp, silent):
            assert wire.ended(timeout=15) in ("fin", "reset")
        shown, error = mesh.show("orders", b, copy)
        assert shown is None and "REVOKED" in str(error).upper()
        wait_for(lambda: refusals(b) > before, "the refusal to be counted")
        assert mesh.access_lines("vm-b", response_code_details="REVOKED")
    wait_for(lambda: serial(mesh, a, "web") not in (None, old), "a new certificate of web", 20)
    wait_for(lambda: mesh.call("web", "orders").status == 200, "web to go on")
    for node in mesh:
        assert mesh.trust(node)["revoked"] >= 1


def test_a_request_that_runs_ends_with_its_caller(mesh):
    """On a connection of its own, and on one that others share."""
    b, a = mesh["vm-b"], mesh["vm-a"]
    copy, old = stolen(mesh, a, "web"), serial(mesh, a, "web")
    with mesh.keep_open("orders", b, copy) as alone, mesh.dial("web", "orders") as shared:
        begin_stream(alone)
        begin_stream(shared)
        mesh.authority.revoke("--serial", old, "--why", "stolen")
        assert cut_off(alone) and cut_off(shared)
        wait_for(lambda: len(mesh.access_lines("vm-b", response_code_details="PEER_REVOKED", path="/stream/600/50")) == 2,
                 "both to be logged")
    wait_for(lambda: serial(mesh, a, "web") not in (None, old), "a new certificate of web", 20)
    wait_for(lambda: mesh.call("web", "orders").status == 200, "web to go on")


def test_a_request_that_runs_ends_with_its_server(mesh):
    """The caller's machine sees to it."""
    b = mesh["vm-b"]
    old = serial(mesh, b, "orders")
    with mesh.dial("web", "orders") as wire:
        begin_stream(wire)
        mesh.authority.revoke("--serial", old, "--why", "stolen")
        assert cut_off(wire)
        wait_for(lambda: mesh.access_lines("vm-a", response_code_details="PEER_REVOKED"), "it to be logged")
    wait_for(lambda: serial(mesh, b, "orders") not in (None, old), "a new certificate of orders", 20)
    wait_for(lambda: mesh.call("web", "orders").status == 200, "orders to be back")


def test_a_stolen_machine_is_only_that_machine(mesh):
    """Nothing of it is let in, it gets nothing more, and all others go on."""
    b, c = mesh["vm-b"], mesh["vm-c"]
    copy = stolen(mesh, c, "guest")
    wait_for(lambda: mesh.call("guest", "orders").status == 200, "guest to be let in")
    with Calls(mesh):
        with mesh.dial("guest", "echo") as tcp, mesh.keep_open("orders", b, copy) as thief:
            assert tcp.send("a").exactly(1) == b"a"
            assert thief.send(request_text("GET /echo", "orders")).reply().status == 200
            mesh.authority.forbid("vm-c", "--revoke", "--why", "stolen")
            assert tcp.ended(timeout=15) in ("fin", "reset")
            assert thief.ended(timeout=15) in ("fin", "reset")
        wait_for(lambda: mesh.call("guest", "orders").status != 200, "guest to be refused")
        assert mesh.turned_away("guest", "echo")
        shown, error = mesh.show("orders", b, copy)
        assert shown is None and "REVOKED" in str(error).upper()
        assert mesh.authority.ca("token", "vm-c", check=False).returncode != 0


def test_an_identity_that_leaves_its_machine(mesh):
    """Taken out of the configuration: its connections end, and its key is of no use to anybody here."""
    b = mesh["vm-b"]
    with mesh.dial("web", "echo") as tcp, mesh.dial("web", "orders") as http:
        assert tcp.send("a").exactly(1) == b"a"
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        kept = [s for s in mesh.services if s.name == "echo"][0]
        mesh.services.remove(kept)
        try:
            b.write_config()
            b.reload()
            assert tcp.ended(timeout=15) in ("fin", "reset")
            wait_for(lambda: mesh.row(b, "service/echo") is None, "nobody to look after it any more")
            assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        finally:
            mesh.services.append(kept)
            b.write_config()
            b.reload()
    wait_for(lambda: not mesh.turned_away("web", "echo"), "echo to be back", 20)


# --- another trust domain --------------------------------------------------------------------------------


def client_file(authority, name, identity):
    """A file of key and chain that an authority has made for an id."""
    authority.sign(name, "intermediate", LEAF.format(id=identity))
    path = authority.dir / f"{name}.pem"
    path.write_text(authority.text(f"{name}.key") + authority.text(f"{name}.crt") + authority.intermediate)
    return path


def status(mesh, certificate, service="orders"):
    """What a call gets that comes with this certificate; None: no connection."""
    try:
        with mesh.keep_open(service, mesh["vm-b"], certificate) as wire:
            return wire.send(request_text("GET /echo", service)).reply().status
    except (OSError, EOFError):
        return None


def test_another_trust_domain_by_its_own_anchors(mesh):
    """Let in by a policy that names it, and only with its own anchors: each is good for its own ids."""
    far = Authority(mesh.lab.dir / "far", FAR)
    web, guest = (client_file(far, name, f"spiffe://{FAR}/service/{name}") for name in ("web", "guest"))
    ours = client_file(far, "liar", "spiffe://mesh.test/service/web")
    third = client_file(far, "third", "spiffe://third.test/service/web")
    assert status(mesh, web) is None  # nobody knows it yet
    roots = mesh.lab.dir / "far-roots.pem"
    roots.write_text(far.root)
    mesh.authority.ca("federate", FAR, roots)
    b = mesh["vm-b"]
    mesh.groups = {"identity": {"federates": [FAR]}}
    b.write_config()
    b.reload()
    wait_for(lambda: (mesh.trust(b, FAR) or {}).get("anchors"), "the other's anchors", 20)
    wait_for(lambda: status(mesh, web) == 200, "the other's web to be let in")
    assert status(mesh, guest) == 403   # known, and named in no policy
    assert status(mesh, ours) is None   # our ids are for our authority to give
    assert status(mesh, third) is None  # and those of others for theirs
    assert mesh.call("web", "orders").status == 200
    # and withdrawn again
    with mesh.keep_open("orders", b, web) as kept:
        assert kept.send(request_text("GET /echo", "orders")).reply().status == 200
        mesh.groups = {}
        b.write_config()
        b.reload()
        assert kept.ended(timeout=15) in ("fin", "reset")
    assert status(mesh, web) is None
