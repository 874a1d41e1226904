# SPDX-License-Identifier: Apache-2.0
"""Services outside of the mesh: by the name that is asked for, at an address that the operators say, with
TLS of the workload's or of the proxy's."""
import ssl

import pytest
from machines import wait_for
from mesh import capture_streams, request_text
from outside import OutsideMesh

ELSEWHERE = "10.77.0.200"  # where nobody is


def externals_of(address):
    def origin(name, port, **more):
        return {"name": name, "host": f"{name}.example", "port": 80, "tls": "originate", "port_tls": port,
                "address": address, **more}
    return [
        {"name": "payments", "hosts": ["api.payments.example"], "port": 443, "address": address, "from": ["web"]},
        {"name": "plain", "host": "plain.example", "ports": [80, 8000], "tls": "none", "address": address},
        {"name": "private", "host": "private.example", "port": 8000, "tls": "none", "address": address,
         "from": ["guest"]},
        origin("good", 8443), origin("expired", 8444), origin("wrong", 8445), origin("untrusted", 8446),
        origin("old", 8447), origin("older", 8448), origin("other", 8446, ca="corp"), origin("lacking", 8443, ca="nowhere"),
        {"name": "rows", "port": 9000, "tls": "originate", "port_tls": 8443, "sni": "good.example",
         "address": address, "from": ["web"]},
        {"name": "found", "host": "found.example", "port": 8000, "tls": "none"},
        {"name": "rebound", "host": "rebound.example", "port": 8000, "tls": "none"},
    ]


@pytest.fixture(scope="module")
def mesh():
    with OutsideMesh() as mesh:
        mesh.externals = externals_of(mesh.outside.v4)
        mesh.externals.append({"name": "pair", "host": "pair.example", "port": 8000, "tls": "none",
                               "addresses": [ELSEWHERE, mesh.outside.v6]})
        (mesh.lab.dir / "outside-pem").mkdir()
        (mesh.lab.dir / "outside-pem" / "corp.pem").write_text(mesh.stranger.root.read_text())
        mesh.named({"found.example": mesh.outside.v4, "rebound.example": "127.0.0.1"})
        good = mesh.authority_outside
        mesh.serve_outside(443, *good.server("payments", "api.payments.example"))
        mesh.serve_outside(8443, *good.server("good", "good.example"))
        mesh.serve_outside(8444, *good.server("expired", "expired.example", days=-1))
        mesh.serve_outside(8445, *good.server("wrong", "right.example"))
        mesh.serve_outside(8446, *mesh.stranger.server("untrusted", "untrusted.example", "other.example"))
        mesh.serve_outside(8447, *good.server("old", "old.example"), "ECDHE+AESGCM")
        mesh.serve_outside(8448, *good.server("older", "older.example"), "ECDHE-ECDSA-AES128-SHA")
        mesh.serve_outside(8000)
        yield mesh.start()


# --- the workload's own TLS ------------------------------------------------------------------------


def test_passthrough_end_to_end(mesh):
    reply = mesh.greet(443, "api.payments.example")
    assert reply.json["tls"] == "TLSv1.3" and reply.json["sni"] == "api.payments.example"
    line = mesh.access_line("vm-a", destination_service="payments", kind="tcp_open")
    assert line["requested_server_name"] == "api.payments.example" and line["outside"] == "external"
    assert line["security"] == "passthrough"


def test_the_dialled_address_does_not_matter(mesh):
    """The workload says that it is api.payments.example where nobody is: we know better."""
    assert mesh.greet(443, "api.payments.example", address=ELSEWHERE).json["sni"] == "api.payments.example"


@pytest.mark.parametrize("name", ["other.payments.example", "payments.example", "orders", None])
def test_other_names_are_refused(mesh, name):
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        mesh.greet(443, name, check=False)


def test_who_may(mesh):
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        mesh.greet(443, "api.payments.example", caller="guest")
    line = mesh.access_line("vm-a", workload="guest", destination_service="payments")
    assert line["response_code_details"] == "EXTERNAL_DENIED"


# --- requests ----------------------------------------------------------------------------------------


def test_each_request_is_judged_by_its_host(mesh):
    with mesh.dial("web", (mesh.outside.v4, 8000)) as wire:
        for host, status in (("plain.example", 200), ("private.example", 403), ("nobody.example", 403),
                             ("127.0.0.1", 403), ("plain.example:8000", 200)):
            wire.send(request_text("GET /judged", host))
            reply = wire.reply()
            assert reply.status == status, host
            if status == 200:
                assert reply.json["host"] == host
    assert mesh.ask(8000, "private.example", caller="guest").status == 200


def test_another_address_is_tried(mesh):
    """The one that was dialled is declared, and silent."""
    assert mesh.ask(8000, "pair.example", address=ELSEWHERE).json["host"] == "pair.example"
    line = mesh.access_line("vm-a", authority="pair.example")
    assert (line["attempts"], line["upstream_host"]) == (2, f"[{mesh.outside.v6}]:8000")


def test_a_host_that_is_looked_up(mesh):
    def found():
        return mesh.ask(8000, "found.example").status == 200
    wait_for(found, "the host to be looked up")
    assert mesh.ask(8000, "found.example", address=ELSEWHERE).json["host"] == "found.example"


def known_at(mesh, name):
    """What `externals list` says of where an external is."""
    shown = mesh["vm-a"].ringmain("externals", "list").stdout
    return [line for line in shown.splitlines() if line.startswith(f"{name} ")][0].split()[-1]


def test_a_host_that_leads_back_here(mesh):
    wait_for(lambda: known_at(mesh, "rebound") == "127.0.0.1", "the host to be looked up")
    reply = mesh.ask(8000, "rebound.example")
    assert reply.status == 503
    line = mesh.access_line("vm-a", authority="rebound.example")
    assert line["response_code_details"] == "EXTERNAL_UNRESOLVED"


# --- TLS of the proxy's -------------------------------------------------------------------------------


def test_tls_begins_at_the_proxy(mesh):
    with mesh.dial("web", (ELSEWHERE, 80)) as wire:
        for number in (1, 2):  # on one connection, there, too
            wire.send(request_text("GET /secret", "good.example"))
            said = wire.reply().json
            assert (said["tls"], said["sni"], said["alpn"]) == ("TLSv1.3", "good.example", "http/1.1")
            assert said["host"] == "good.example" and said["number"] == number
            assert "x-forwarded-client-cert" not in said["headers"]
    wait_for(lambda: mesh.access_lines("vm-a", authority="good.example", security="tls",
                                       destination_service="good", path="/secret"), "the line")


def test_a_server_of_tls_1_2(mesh):
    with mesh.dial("web", (ELSEWHERE, 80)) as wire:
        for number in (1, 2):
            wire.send(request_text("GET /secret", "old.example"))
            said = wire.reply().json
            assert (said["tls"], said["sni"], said["number"]) == ("TLSv1.2", "old.example", number)


def test_tls_for_bytes_of_any_kind(mesh):
    """What the workload sends is not looked at; where it goes is said by the address."""
    with mesh.dial("web", (mesh.outside.v4, 9000)) as wire:
        wire.send("ANY bytes\r\n\r\n")
        said = wire.reply().json
        assert (said["tls"], said["sni"], said["line"], said["host"]) == ("TLSv1.3", "good.example", "ANY bytes", None)
    assert mesh.turned_away("guest", (mesh.outside.v4, 9000))


@pytest.mark.parametrize("host, details", [
    ("expired", "EXPIRED"), ("wrong", "NAME"), ("untrusted", "CHAIN"), ("older", "ALERT"),
    ("lacking", "EXTERNAL_NO_ROOTS")])
def test_servers_that_do_not_prove_their_name(mesh, host, details):
    reply = mesh.ask(80, f"{host}.example")
    assert reply.status == 503
    line = mesh.access_line("vm-a", authority=f"{host}.example")
    assert (line["response_code_details"], line["security"]) == (details, None)


def test_authorities_of_its_own(mesh):
    assert mesh.ask(80, "other.example").json["sni"] == "other.example"


def test_what_lacks_authorities_is_said(mesh):
    assert "lacking" in mesh["vm-a"].process.log


def test_nothing_in_the_plain_on_the_wire(mesh):
    with mesh.capture() as path:
        assert mesh.ask(80, "good.example", path="/only-for-the-server").status == 200
    streams = capture_streams(path)
    assert any(key[3] == 8443 for key in streams)
    assert all(b"only-for-the-server" not in stream for stream in streams.values())


def test_what_is_known_is_shown(mesh):
    shown = mesh["vm-a"].ringmain("externals", "list").stdout
    rows = {line.split()[0]: line for line in shown.splitlines() if line}
    assert "api.payments.example" in rows["payments"] and "passthrough" in rows["payments"]
    assert mesh.outside.v4 in rows["found"] and "no roots" in rows["lacking"]
    assert "refuse" in rows["web"]


# --- changes ------------------------------------------------------------------------------------------


def test_taking_it_away_ends_what_is_open(mesh):
    with mesh.dial("web", (mesh.outside.v4, 443)) as wire:
        context = ssl.create_default_context(cafile=str(mesh.authority_outside.root))
        with context.wrap_socket(wire.sock, server_hostname="api.payments.example") as sock:
            sock.sendall(request_text("GET /open", "api.payments.example"))
            assert sock.recv(1)
            kept = mesh.externals
            mesh.reload([e for e in kept if e["name"] != "payments"])
            sock.settimeout(5)
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                while sock.recv(1 << 16):
                    pass
                raise EOFError
    mesh.reload(kept)
    assert mesh.greet(443, "api.payments.example").status == 200
