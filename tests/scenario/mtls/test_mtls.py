# SPDX-License-Identifier: Apache-2.0
"""What crosses the wire is TLS 1.3 with an identity at each end, and nobody without the right one is
talked to."""
import contextlib
import os
import shutil
import signal
import socket
import ssl
import threading
import time

import pytest
from machines import LabError, wait_for
from mesh import (ECHO, FAMILIES, GUEST, MAIL, MESH_PORT, ORDERS, STRANGER_UID, WEB, ScenarioMesh, Wire,
                  capture_streams, request_text, server_hello_version, tls_records)

SECRET = "never-in-the-clear-73c1"
POLICIES = [
    {"service": "orders", "action": "allow", "from": ["web"], "methods": ["GET", "POST"]},
    {"service": "orders", "action": "deny", "paths": ["/admin/*"]},
    {"service": ["echo", "mail"], "action": "allow", "from": ["web"]},
]


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, GUEST, ORDERS, ECHO, MAIL], policies=POLICIES, default_policy="deny") as mesh:
        yield mesh.start()


@contextlib.contextmanager
def own_mesh(**more):
    with ScenarioMesh([WEB, ORDERS, ECHO], **more) as mesh:
        yield mesh


def mesh_client(mesh, certificate=None, alpn="http/1.1", name="8080.orders.mesh.test", source=None):
    """A TLS connection straight to vm-b's mesh port, as a proxy that is not ours would make it.
    `certificate` is the path without its ending."""
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.check_hostname = False
    options.verify_mode = ssl.CERT_NONE
    options.set_alpn_protocols([alpn])
    if certificate:
        options.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")
    plain = mesh.lab["vm-a"].connect(STRANGER_UID, mesh.lab["vm-b"].v4, MESH_PORT)
    return options.wrap_socket(plain, server_hostname=name)


def foreign_call(mesh, **how):
    """A request over such a connection: the status, or None when the connection was refused."""
    try:
        with Wire(mesh_client(mesh, **how)) as wire:
            return wire.send(request_text("GET /foreign", "orders")).reply().status
    except (ssl.SSLError, ConnectionError, EOFError):
        return None


# --- the wire ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_wire_carries_tls_1_3_and_nothing_readable(mesh, family):
    with mesh.capture() as path:
        reply = mesh.call("web", "orders", f"POST /echo/{SECRET}", [f"X-Secret: {SECRET}"],
                          body=SECRET.encode(), family=family)
        assert (reply.status, SECRET in reply.body.decode()) == (200, True)
        with mesh.dial("web", "echo", family) as wire:
            assert wire.send(SECRET).finish().rest() == SECRET.encode()
        with mesh.dial("web", "mail", family) as wire:
            wire.until(b"\r\n")
            wire.send(SECRET + "\r\n").until(b"\r\n")
    raw = path.read_bytes()
    for word in (SECRET, "orders", "HTTP/1.1", "220 mail", "X-Secret"):
        # the server name may be read from a ClientHello; nothing else may
        assert word.encode() not in raw.replace(b"orders.mesh.test", b""), word
    streams = {key: stream for key, stream in capture_streams(path).items() if stream}
    assert streams
    versions = set()
    for (_, source_port, _, port), stream in streams.items():
        assert MESH_PORT in (source_port, port)
        records = tls_records(stream)
        if source_port == MESH_PORT and records and records[0][0] == 22:
            versions.add(server_hello_version(records[0][1]))
    assert versions == {0x0304}


def test_tls_1_2_is_refused(mesh):
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.check_hostname, options.verify_mode = False, ssl.CERT_NONE
    options.maximum_version = ssl.TLSVersion.TLSv1_2
    plain = mesh.lab["vm-a"].connect(STRANGER_UID, mesh.lab["vm-b"].v4, MESH_PORT)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        options.wrap_socket(plain, server_hostname="8080.orders.mesh.test")
    plain.close()


# --- who may connect ---------------------------------------------------------------------------------


def test_a_certificate_of_the_mesh_is_enough_and_is_who_it_says(mesh):
    assert foreign_call(mesh, certificate=mesh["vm-a"].certs / "web") == 200
    assert foreign_call(mesh, certificate=mesh["vm-a"].certs / "guest") == 403


def test_no_certificate(mesh):
    failures = mesh["vm-b"].metric("ringmain_tls_handshake_failures_total")
    assert foreign_call(mesh) is None
    wait_for(lambda: mesh["vm-b"].metric("ringmain_tls_handshake_failures_total") > failures,
             "the failure to be counted")


def test_certificate_of_another_authority(mesh):
    other, out = mesh.lab.dir / "other-ca", mesh.lab.dir / "other-certs"
    out.mkdir(exist_ok=True)
    mesh.ringmain("ca", "init", "--dir", other, "--trust-domain", "mesh.test")
    mesh.ringmain("ca", "issue", "--dir", other, "--service", "web", "--out", out, "--ttl", "24h")
    assert foreign_call(mesh, certificate=out / "web") is None


def test_certificate_of_another_trust_domain(mesh):
    other, out = mesh.lab.dir / "far-ca", mesh.lab.dir / "far-certs"
    out.mkdir(exist_ok=True)
    mesh.ringmain("ca", "init", "--dir", other, "--trust-domain", "elsewhere.test")
    mesh.ringmain("ca", "issue", "--dir", other, "--service", "web", "--out", out, "--ttl", "24h")
    assert foreign_call(mesh, certificate=out / "web") is None


def test_expired_certificate_of_a_caller(mesh):
    out = mesh.lab.dir / "short-certs"
    out.mkdir(exist_ok=True)
    mesh.ringmain("ca", "issue", "--dir", mesh.ca_dir, "--service", "web", "--out", out, "--ttl", "2s")
    assert foreign_call(mesh, certificate=out / "web") == 200
    time.sleep(3)
    assert foreign_call(mesh, certificate=out / "web") is None


@pytest.mark.parametrize("name", ["8080.stock.mesh.test", "9999.orders.mesh.test", "8080.orders.elsewhere.test",
                                  "orders", "vm-b"])
def test_a_name_that_is_not_served_here(mesh, name):
    assert foreign_call(mesh, certificate=mesh["vm-a"].certs / "web", name=name) is None


def test_protocol_of_another_kind_is_refused(mesh):
    assert foreign_call(mesh, certificate=mesh["vm-a"].certs / "web", alpn="ringmain-tcp/1") is None
    assert foreign_call(mesh, certificate=mesh["vm-a"].certs / "web", alpn="smtp") is None


# --- who is talked to --------------------------------------------------------------------------------


def impostor(mesh, certificate):
    """A server on vm-b's mesh port, in the proxy's place, with that certificate; returns its
    listening socket."""
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    options.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")
    options.set_alpn_protocols(["http/1.1"])
    listener = mesh.lab["vm-b"].sockets(0)[0]
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", MESH_PORT))
    listener.listen(8)
    listener.settimeout(10)
    return listener, options


@pytest.mark.parametrize("name,status", [("orders", None), ("echo", 503)])
def test_server_with_another_services_identity_gets_nothing(name, status):
    """A machine that has a good certificate, but of another service."""
    with own_mesh() as mesh:
        mesh.start()
        mesh["vm-b"].stop()
        listener, options = impostor(mesh, mesh["vm-b"].certs / name)
        with mesh.dial("web", "orders") as wire:
            wire.send(request_text(f"GET /{SECRET}", "orders"))
            accepted, _ = listener.accept()
            accepted.settimeout(5)
            got = b""
            with contextlib.suppress(ssl.SSLError, ConnectionError, socket.timeout):
                with options.wrap_socket(accepted, server_side=True) as secured:
                    got = secured.recv(65536)
            if status is None:  # the right identity, for comparison
                assert SECRET.encode() in got
            else:
                assert got == b""
                assert wire.reply().status == status
                line = mesh.access_line("vm-a", response_code=status)
                assert (line["response_code_details"], line["response_flags"]) == ("UNEXPECTED_ID", "UF")
        listener.close()


def test_server_of_another_authority_gets_nothing():
    with own_mesh() as mesh:
        mesh.write_configs()
        mesh.make_identities()
        other = mesh.lab.dir / "other-ca"
        mesh.ringmain("ca", "init", "--dir", other, "--trust-domain", "mesh.test")
        shutil.rmtree(mesh["vm-b"].certs)
        mesh["vm-b"].certs.mkdir()
        for name in ("orders", "echo"):
            mesh.ringmain("ca", "issue", "--dir", other, "--service", name, "--out", mesh["vm-b"].certs, "--ttl", "1h")
        mesh.serve()
        for node in mesh:
            node.redirect_up()
            node.start()
        assert mesh.call("web", "orders").status == 503
        assert mesh.record("orders") == b""


def test_own_certificate_that_has_expired():
    with own_mesh() as mesh:
        mesh.write_configs()
        mesh.make_identities()
        mesh["vm-a"].issue("web", ttl="6s")
        mesh.serve()
        for node in mesh:
            node.redirect_up()
            node.start()
        issued = time.monotonic()
        assert mesh.call("web", "orders").status == 200
        time.sleep(max(0, 8 - (time.monotonic() - issued)))
        assert mesh.turned_away("web", "echo")  # a connection of its own: no pool to ride on
        # a new certificate cures it, without a restart
        mesh["vm-a"].issue("web")
        mesh["vm-a"].reload()

        wait_for(lambda: not mesh.turned_away("web", "echo"), "the new certificate to be used")


# --- policy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller,line,status", [
    ("web", "GET /echo", 200), ("web", "POST /echo", 200),
    ("web", "DELETE /echo", 403), ("guest", "GET /echo", 403),
    ("web", "GET /admin/users", 403), ("web", "GET /x/../admin/users", 403),
    ("web", "GET /%61dmin/users", 403), ("web", "GET //admin/users", 403), ("web", "GET /administration", 200),
])
def test_policy_for_http(mesh, caller, line, status):
    record = mesh.record("orders")
    reply = mesh.call(caller, "orders", line)
    assert reply.status == status
    assert (mesh.record("orders") == record) == (status == 403)


def test_policy_for_tcp(mesh):
    with mesh.dial("web", "echo") as wire:
        assert wire.send("abc").exactly(3) == b"abc"
    assert mesh.turned_away("guest", "echo")


def test_a_refusal_says_why_in_the_log(mesh):
    mesh.call("guest", "orders", "GET /refused-for-the-log")
    line = mesh.access_line("vm-b", path="/refused-for-the-log")
    assert (line["response_code"], line["response_code_details"], line["response_flags"]) == (
        403, "POLICY_DENIED", "UAEX")
    assert line["source_identity"] == "spiffe://mesh.test/service/guest"
    assert line["security"] == "mutual_tls"


# --- life of connections and certificates --------------------------------------------------------------


def test_sessions_are_resumed(mesh):
    before = mesh["vm-b"].metric("ringmain_tls_handshakes_resumed_total")
    for _ in range(5):
        with mesh.dial("web", "echo") as wire:
            assert wire.send("abc").exactly(3) == b"abc"  # a ticket that comes after our end is not kept
    assert mesh["vm-b"].metric("ringmain_tls_handshakes_resumed_total") - before >= 3


def echoed(mesh):
    with mesh.dial("web", "echo") as wire:
        assert wire.send("abc").exactly(3) == b"abc"


def test_tickets_outlive_reload_and_restart():
    with own_mesh() as mesh:
        mesh.start()
        server = mesh["vm-b"]
        echoed(mesh)
        before = server.metric("ringmain_tls_handshakes_resumed_total")
        server.reload()
        echoed(mesh)
        assert server.metric("ringmain_tls_handshakes_resumed_total") == before + 1
        killed = server.proxy_pid()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: server.proxy_pid() not in (None, killed), "a new proxy", 10)
        server.wait_ready()
        echoed(mesh)
        assert server.metric("ringmain_tls_handshakes_resumed_total") == 1


def test_resumption_can_be_switched_off():
    with own_mesh(groups={"identity": {"resumption": False}}) as mesh:
        mesh.start()
        for _ in range(5):
            with mesh.dial("web", "echo") as wire:
                assert wire.send("abc").exactly(3) == b"abc"
        assert mesh["vm-b"].metric("ringmain_tls_handshakes_total") >= 5
        assert mesh["vm-b"].metric("ringmain_tls_handshakes_resumed_total") == 0


def peer_serial(mesh):
    with mesh_client(mesh, certificate=mesh["vm-a"].certs / "web") as secured:
        return secured.getpeercert(binary_form=True)


def test_reload_takes_new_certificates_and_keeps_connections(mesh):
    before = peer_serial(mesh)
    with mesh.dial("web", "orders") as http, mesh.dial("web", "echo") as tcp:
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        assert tcp.send("a").exactly(1) == b"a"
        for node in mesh:
            for service in node.workloads():
                node.issue(service.name)
            node.reload()
        wait_for(lambda: peer_serial(mesh) != before, "the new certificate")
        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
        assert tcp.send("b").exactly(1) == b"b"
    assert mesh.call("web", "orders").status == 200


@pytest.mark.seconds(120)
def test_roots_rotate_by_overlap_without_a_failure():
    """First everybody trusts both roots, then everybody gets a certificate of the new one, then the
    old root goes: one machine after the other, only files, no signal, no restart."""
    with own_mesh(workers=2) as mesh:
        mesh.start()
        pids = [node.proxy_pid() for node in mesh]
        new_ca, old_caller = mesh.lab.dir / "new-ca", mesh.lab.dir / "old-caller"
        mesh.ringmain("ca", "init", "--dir", new_ca, "--trust-domain", mesh.trust_domain)
        shutil.copytree(mesh["vm-a"].certs, old_caller)
        old, new = (mesh.ca_dir / "root.crt").read_text(), (new_ca / "root.crt").read_text()
        done, failed, ended = [0], [], threading.Event()

        def caller():
            while not ended.is_set():
                try:
                    status = mesh.call("web", "orders", timeout=5).status
                    with mesh.dial("web", "echo") as wire:
                        if wire.send("x").exactly(1) != b"x" or status != 200:
                            failed.append(status)
                    done[0] += 1
                except (OSError, EOFError) as error:
                    failed.append(repr(error))

        def taken(node, change):
            generation = node.status()["generation"]
            change(node)
            wait_for(lambda: node.status()["generation"] > generation, "the files to be taken up")

        def trust(text):
            def change(node):
                fresh = node.certs / ".roots.new"
                fresh.write_text(text)
                fresh.rename(node.certs / "roots.pem")
            return change

        def renew(node):
            for service in node.workloads():
                mesh.ringmain("ca", "issue", "--dir", new_ca, "--service", service.name, "--out", node.certs)
        with contextlib.ExitStack() as stack:
            http = stack.enter_context(mesh.dial("web", "orders"))
            tcp = [stack.enter_context(mesh.dial("web", "echo"))]  # one of each certificate
            thread = threading.Thread(target=caller)
            thread.start()
            try:
                (new_ca / "roots.pem").write_text(old + new)  # as its certificates are handed out with
                both = trust(old + new)
                for change in (both, renew, trust(new)):
                    for node in mesh:
                        before = done[0]
                        taken(node, change)
                        assert http.send(request_text("GET /echo", "orders")).reply().status == 200
                        if change == renew and node.name == "vm-b":
                            tcp.append(stack.enter_context(mesh.dial("web", "echo")))
                        for wire in tcp[-1:] if change not in (both, renew) else tcp:
                            assert wire.send("y").exactly(1) == b"y"
                        wait_for(lambda: done[0] > before + 3, "calls to go on")
            finally:
                ended.set()
                thread.join()
                assert tcp[0].ended() in ("fin", "reset")  # nobody trusts its far end any more
        assert failed == []
        assert pids == [node.proxy_pid() for node in mesh]
        assert foreign_call(mesh, certificate=mesh["vm-a"].certs / "web") == 200
        assert foreign_call(mesh, certificate=old_caller / "web") is None


def test_a_key_that_does_not_fit_changes_nothing(mesh):
    """A half-replaced pair is refused as a whole; the old one stays in use."""
    certs = mesh["vm-b"].certs
    key = (certs / "orders.key").read_bytes()
    before = peer_serial(mesh)
    (certs / "orders.key").write_bytes((certs / "echo.key").read_bytes())
    try:
        mesh["vm-b"].reload()
        wait_for(lambda: "orders" in str(mesh["vm-b"].status()) and "fit" in mesh["vm-b"].process.log
                 or "orders.key" in mesh["vm-b"].process.log, "the refusal in the log")
        assert peer_serial(mesh) == before
        assert mesh.call("web", "orders").status == 200
    finally:
        (certs / "orders.key").write_bytes(key)
        mesh["vm-b"].reload()


def test_ca_refuses_to_overwrite_its_root(mesh):
    with pytest.raises(LabError):
        mesh.ringmain("ca", "init", "--dir", mesh.ca_dir, "--trust-domain", "mesh.test")
