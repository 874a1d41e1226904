# SPDX-License-Identifier: Apache-2.0
"""What other proxies and meshes fell for, each against a mesh whose policies it tries to get round.

ROWS is the whole table: the name, what it was there, and the test here. orders has guards before what is denied and is
open to web otherwise; quotes allows web nothing but what it names. guest has a certificate and may do nothing.
"""
import base64
import contextlib
import json
import os
import re
import socket
import stat
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ca"))
import ca_lab  # noqa: E402
from attack import (NO_ANSWER, Answering, ask, certify, checker, get, mesh_client, mesh_status, san_bytes, statuses, web_certificate)
from differential import PUBLIC, ROLE, SITES
from mesh import (CACHE, ECHO, FAMILIES, GUEST, MAIL, ORDERS, PROBE, QUOTES, ROOT, STRANGER_UID, WEB, ScenarioMesh, at,
                  request_text, run, wait_for)
from machines import process_status
from tokens import Key, jwks


def parser_test(name):
    return f"test_{name.lower().replace('-', '_')}_parser"


UNITS, SCENARIOS = ROOT / "tests" / "unit", ROOT / "tests" / "scenario"
ROWS = [
    # --- the table of CVEs ---
    ("CVE-2021-31920", "//, %2F and %5C get round a rule about paths", "test_cve_2021_31920_encoded_slashes"),
    ("CVE-2021-29492", "the same in Envoy", "test_cve_2021_29492_encoded_slashes"),
    ("CVE-2021-39156", "a fragment gets round a rule about paths", "test_cve_2021_39156_fragment"),
    ("CVE-2021-32779", "the same in Envoy", "test_cve_2021_32779_fragment"),
    ("CVE-2021-39155", "Host compared in its letter case, with its port", "test_cve_2021_39155_host_case_and_port"),
    ("CVE-2021-31921", "any service reached by its SNI alone", "test_cve_2021_31921_undeclared_server_name"),
    ("CVE-2026-26308", "several values of a header compared as one", "test_cve_2026_26308_several_values"),
    ("CVE-2021-32777", "only the last value was looked at", "test_cve_2021_32777_every_value_counts"),
    ("CVE-2026-39350", "a dot in a name was that of an expression", "test_cve_2026_39350_names_are_no_expressions"),
    ("CVE-2026-31837", "without its keys, a known default key", "test_cve_2026_31837_no_key_no_token"),
    ("ISTIO-SECURITY-2026-003", "a JWKS URL at an inner address", "test_istio_security_2026_003_inner_key_url"),
    ("CVE-2025-66220", "a NUL in a certificate's name", "test_cve_2025_66220_nul_in_a_name"),
    ("CVE-2026-47778", "an otherName taken for a URI", "test_cve_2026_47778_other_name"),
    ("CVE-2025-64763", "bytes after CONNECT before its answer", "test_cve_2025_64763_bytes_after_connect"),
    ("CVE-2024-23326", "any answer to an Upgrade made a tunnel", "test_cve_2024_23326_upgrade_without_101"),
    ("CVE-2026-47692", "lengths in a PROXY preamble", "test_cve_2026_47692_proxy_preamble"),
    ("CVE-2023-44487", "streams that are reset at once", "test_cve_2023_44487_http2_to_rules_about_requests"),
    ("CVE-2021-32778", "the same, earlier", "test_cve_2021_32778_streams_reset_later"),
    ("CVE-2024-27919", "header blocks without an end", "test_cve_2024_27919_headers_without_an_end"),
    ("CVE-2024-30255", "the same, for its CPU", "test_cve_2024_30255_headers_without_an_end"),
    ("CVE-2026-47774", "cookies that are larger than they look", "test_cve_2026_47774_cookies"),
    ("CVE-2023-35944", "schemes in mixed case", "test_cve_2023_35944_scheme_case"),
    ("CVE-2021-32780", "a server that ends a connection in a strange way", "test_cve_2021_32780_hostile_servers"),
    ("CVE-2026-26311", "callbacks after a reset", "test_cve_2026_26311_resets_at_any_moment"),
    ("CVE-2026-47205", "after the end of a connection", "test_cve_2026_47205_after_the_end"),
    ("CVE-2026-48090", "while draining", "test_cve_2026_48090_while_draining"),
    ("CVE-2023-35942", "in the log", "test_cve_2023_35942_resets_and_the_log"),
    ("CVE-2026-26309", "an escaper that wrote too far", "test_cve_2026_26309_log_of_any_bytes"),
    ("CVE-2026-48706", "names of metrics from peers", "test_cve_2026_48706_names_make_no_series"),
    ("CVE-2024-34363", "a log line that is no JSON", "test_cve_2024_34363_log_is_json"),
    ("CVE-2026-26310", "an IPv6 address with a scope", "test_cve_2026_26310_scoped_address"),
    ("CVE-2026-48042", "JSON in JSON in JSON", "test_cve_2026_48042_nested_json"),
    ("CVE-2026-48044", "a small body that unpacks to a large one", "test_cve_2026_48044_packed_bodies"),
    ("CVE-2026-31838", "debug pages open to anybody", "test_cve_2026_31838_no_debug_port"),
    ("ISTIO-SECURITY-2026-001", "the same, of other tenants", "test_istio_security_2026_001_no_debug_pages_of_others"),
    ("ISTIO-SECURITY-2026-002", "routes for others' hosts", "state/test_access.py::test_a_stolen_node_password_cannot_change"),
    ("ISTIO-SECURITY-2026-006", "an expression that takes all the CPU", "test_istio_security_2026_006_no_unbounded_expression"),
    ("CVE-2022-21679", "an unknown field matched always", "test_cve_2022_21679_unknown_keys"),
    ("CVE-2025-64527", "a crash on the way to get keys", "test_cve_2025_64527_keys_that_do_not_come"),
    ("CVE-2025-53605", "a library that came with the source (GHSA-2gh3-rmm4-6rq5)", "test_cve_2025_53605_nothing_vendored"),
    ("CVE-2025-43915", "a series for each host that was asked for", "test_cve_2025_43915_hosts_make_no_series"),
    ("CVE-2024-40632", "/shutdown by way of a server that fetches", "test_cve_2024_40632_shutdown_through_a_workload"),
    ("CVE-2023-26964", "streams that are reset fill the memory", "test_cve_2023_26964_the_same_stream_reset"),
    ("RUSTSEC-2023-0052", "chains of certificates that take all the CPU", "test_rustsec_2023_0052_long_chain"),
    # --- of the rest of the notes ---
    ("CVE-2025-8671", "streams that a server is made to reset", "test_cve_2025_8671_made_to_reset"),
    ("CVE-2024-28182", "CONTINUATION frames without an end", "test_cve_2024_28182_continuation_without_an_end"),
    ("CVE-2021-32765", "an array from the store, larger than memory", "state/test_connection.py::test_garbage_costs_neither_calls_nor_memory"),
    ("CVE-2024-22017", "a ring from before privileges were dropped", "test_cve_2024_22017_no_ring_with_privileges"),
    # --- of meshes on VMs ---
    ("CVE-2024-10005", "a URL that was not normalised", "test_cve_2024_10005_paths_as_they_come"),
    ("GHSA-chgm-7r52-whjj", "the same", "test_ghsa_chgm_7r52_whjj_paths_as_they_come"),
    ("CVE-2022-40716", "a request for a certificate with several names", "test_cve_2022_40716_request_for_several_names"),
    ("GO-2022-0615", "a health check that followed a redirect", "health/test_health.c::test_a_redirect_is_not_followed"),
    ("GO-2022-0895", "a rule that denies requests allowed them", "test_go_2022_0895_denial_of_requests"),
    ("GHSA-7774", "Host in another letter case", "test_ghsa_7774_host_case"),
    ("CVE-2026-73551", "dot segments with parameters", "test_cve_2026_73551_dot_segments_with_parameters"),
    # --- of parsers, and HAProxy's that were critical ---
    *[(name, text, parser_test(name)) for name, text in (
        ("CVE-2021-22959", "a space before the colon"), ("CVE-2021-22960", "anything in a chunk's extension"),
        ("CVE-2022-32213", "an encoding that is not the last"), ("CVE-2022-32215", "an encoding over two lines"),
        ("CVE-2022-32214", "LF between fields"), ("CVE-2022-35256", "the same again"), ("CVE-2023-30589", "CR between fields"),
        ("CVE-2024-27982", "a space before the first field"), ("CVE-2025-23167", "CR LF CR at the end"),
        ("CVE-2024-22019", "an extension without an end"), ("CVE-2023-25725", "a header without a name"),
        ("CVE-2021-40346", "a header's name longer than its length"), ("CVE-2023-40225", "an empty length passed on"),
        ("CVE-2023-45539", "# in a target"))],
]


def guards(service):
    return [{"service": service, "action": "deny", "paths": ["/admin", "/admin/*"]}, {"service": service, "action": "deny", "methods": ["DELETE"]},
            {"service": service, "action": "deny", "hosts": ["internal.example"]}, {"service": service, "action": "deny", "headers": [ROLE]}]


POLICIES = [
    *guards("orders"), {"service": "orders", "action": "allow", "from": "web"},
    {"service": "quotes", "action": "allow", "from": "web", "paths": PUBLIC, "hosts": [*SITES, "quotes"], "headers": [{**ROLE, "invert": True}]},
    {"service": "echo", "action": "allow", "from": ["spiffe://mesh.test/service/w.b", "spiffe://mesh.test/service/we"]},
    {"service": "probe", "action": "allow", "from": "web"}, {"service": "mail", "action": "allow", "from": "web"},
    {"service": "cache", "action": "deny", "methods": ["DELETE"]}, {"service": "cache", "action": "allow", "from": "web"},
]


class CveMesh(ScenarioMesh):
    before = 0, 0

    def mark(self):
        self.before = len(self.record("orders")), len(self.record("quotes"))

    def records(self):
        """What has reached the servers in this test."""
        return self.record("orders")[self.before[0]:] + self.record("quotes")[self.before[1]:]


@pytest.fixture(scope="module")
def mesh():
    services = [at(WEB, "vm-a", "vm-b"), at(GUEST, "vm-a", "vm-b"), ORDERS, QUOTES, ECHO, CACHE, MAIL, at(PROBE, protocol="http")]
    with CveMesh(services, policies=POLICIES, default_policy="deny") as mesh:
        yield mesh.start()


@pytest.fixture(autouse=True)
def marked(request):
    if "mesh" in request.fixturenames:
        request.getfixturevalue("mesh").mark()


def refused_everywhere(mesh, texts, word=b"/admin"):
    """By both kinds of rules, from beside the server and with a stolen key; nothing of it reaches a server."""
    for text in texts:
        assert ask(mesh, text) in (400, 403), text
        assert ask(mesh, text, to="quotes") in (400, 403), text
        with mesh_client(mesh, web_certificate(mesh)) as wire:
            assert wire.send(text).reply().status in (400, 403), text
    assert word not in mesh.records()
    assert ask(mesh, get()) == 200 and ask(mesh, get(host="quotes"), to="quotes") == 200


# --- the table itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name,test", [(row[0], row[2]) for row in ROWS])
def test_every_row_has_its_test(name, test):
    path, _, function = test.rpartition("::")
    file = Path(__file__) if not path else (SCENARIOS if path.endswith(".py") else UNITS) / path
    assert re.search(rf"^(def|static void) {function}\(", file.read_text(), re.M)
    assert [row[0] for row in ROWS].count(name) == 1 and [row[2] for row in ROWS].count(test) == 1
    assert path or function.startswith(f"test_{name.lower().replace('-', '_')}")


# --- paths ---------------------------------------------------------------------------------------------


def test_cve_2021_31920_encoded_slashes(mesh):
    refused_everywhere(mesh, [get(path) for path in (
        "//admin", "///admin//x", "/%2Fadmin", "/%2fadmin", "/admin%2Fx", "/public/..%2Fadmin", "/%5Cadmin", "/admin%5cx", "/public/..%5c..%5cadmin",
        "/public\\..\\admin", "/\\admin", "/public//../admin", "/./admin")])


def test_cve_2021_29492_encoded_slashes(mesh):
    refused_everywhere(mesh, [get(path) for path in ("/public/..%2f..%2fadmin", "/%2F%2Fadmin", "/admin%2F", "/public%5C..%5Cadmin", "/.%2Fadmin", "/public/%2e%2e%2fadmin/x")])


def test_cve_2021_32779_fragment(mesh):
    refused_everywhere(mesh, [get(path) for path in ("/admin/#", "/admin?x#y", "/public/../admin#z", "/admin/x/y#", "/public/#/../admin")])


def test_cve_2021_39156_fragment(mesh):
    refused_everywhere(mesh, [get(path) for path in ("/admin#x", "/admin#", "/admin/x#/public", "/public/x#/../../admin", "/#/admin", "/admin%23/../../admin")])
    assert ask(mesh, get("/public/x#y")) == 400


def test_cve_2024_10005_paths_as_they_come(mesh):
    refused_everywhere(mesh, [get(path) for path in (
        "/public/../admin", "/public/x/../../admin/y", "/%61dmin", "/%61%64%6d%69%6e", "/public/%2e%2e/admin", "/public/.%2E/admin", "/ADMIN",
        "/Admin/x", "/admin/", "/admin?x=/public", "/admin/../admin", "/admin;x", "/;x/admin", "/admin%3Bx", "/../admin", "/public/../../admin")])


def test_ghsa_chgm_7r52_whjj_paths_as_they_come(mesh):
    refused_everywhere(mesh, [get(path) for path in ("/public/./../admin", "//public/..//admin", "/public/x/%2e%2e/%2E./admin/y", "/%41dmin", "/admin%2e%2e/../admin", "/x/../admin?public")])


def test_cve_2026_73551_dot_segments_with_parameters(mesh):
    refused_everywhere(mesh, [get(path) for path in (
        "/public/..;/admin", "/public/..;x/admin", "/public/..;x=1/admin", "/public/%2e%2e;/admin", "/public/.;/../admin", "/public;x/..;y/admin", "/..;/admin")])


# --- hosts, targets ------------------------------------------------------------------------------------


def test_cve_2021_39155_host_case_and_port(mesh):
    refused_everywhere(mesh, [get(host=host) for host in (
        "internal.example", "Internal.Example", "INTERNAL.EXAMPLE:8080", "internal.example.", "internal.example.:80", "internal.example..")], b"nternal.")
    assert ask(mesh, get(host="SHOP.example:1"), to="quotes") == 200  # nor does it keep out who is meant
    assert ask(mesh, get(host="shopxexample"), to="quotes") == 403


def test_ghsa_7774_host_case(mesh):
    refused_everywhere(mesh, [get(host=host) for host in ("iNTERNAL.eXAMPLE", "internal.EXAMPLE:80", "INTERNAL.example.")], b"nternal.")


@pytest.mark.parametrize("scheme", ["http", "HTTP", "hTTp", "https", "HTTPS", "HttpS"])
def test_cve_2023_35944_scheme_case(mesh, scheme):
    refused_everywhere(mesh, [get(f"{scheme}://shop.example/admin"), get(f"{scheme}://INTERNAL.example/public/x"), get(f"{scheme}://internal.example")])
    assert ask(mesh, get(f"{scheme}://shop.example/public/x", host="internal.example")) == 200
    assert b"internal" not in mesh.records()  # what the target says replaces what Host says


def test_cve_2026_26310_scoped_address(mesh):
    for host in ("[fe80::1%25eth0]", "[fe80::1%eth0]:80", "[::1%25lo]", "[::ffff:1.2.3.4%25x]", "[fe80::1%]", "[" + "f" * 200 + "%25eth0]", "[::1", "[]", "[:::]"):
        assert ask(mesh, get(host=host)) == 400
        assert ask(mesh, get(f"http://{host}/public/x")) == 400
    assert ask(mesh, get(host="[fe80::1]:80")) == 200


def test_cve_2025_64763_bytes_after_connect(mesh):
    for target in ("shop.example:80", "internal.example:8080", "127.0.0.1:8080"):
        text = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + get("/admin/connected")
        with mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") as wire:
            found = statuses(wire.send(text))
        assert found and all(status >= 400 for status in found)
    assert b"connected" not in mesh.records()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
                                    b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"])
def test_cve_2024_23326_upgrade_without_101(mesh, answer):
    """What follows is a request like any other, or nothing: never bytes for the server."""
    upgrade = request_text("GET /public/upgrade", "probe", ["Connection: Upgrade", "Upgrade: websocket"])
    with Answering(mesh, "probe", answer) as server:
        with mesh.dial(WEB.uid, mesh.target("probe"), machine="vm-b") as wire:
            found = statuses(wire.send(upgrade + b"BEHIND THE UPGRADE\r\n\r\n"))
    assert found[0] in (200, 502) and b"BEHIND" not in b"".join(server.got)


# --- headers -------------------------------------------------------------------------------------------


SEVERAL = [["X-Role: user", "X-Role: admin"], ["X-Role: admin", "X-Role: user"], ["X-Role: user,admin"], ["X-Role: admin, user"], ["x-role: user", "X-ROLE: other ,admin"],
           ["X-Role: ,admin"], ["X-Role: admin\xa0"], ["X_Role: admin"], ["Connection: x-role", "X-Role: user", "X-Role: admin"]]


@pytest.mark.parametrize("lines", SEVERAL, ids=str)
def test_cve_2026_26308_several_values(mesh, lines):
    for to in ("orders", "quotes"):
        status = ask(mesh, get("/public/several", *lines), to=to)
        if status == 200:  # then nothing of it got there
            assert b"x-role" not in mesh.records().lower()
        else:
            assert status in (400, 403)
    assert b"admin" not in mesh.records()


def test_cve_2021_32777_every_value_counts(mesh):
    """Policy and server get the same list, whole and in its order."""
    lines = ["X-Role: a", "X-Other: b", "x-role: c", "X-ROLE: d, e"]
    with mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") as wire:
        headers = wire.send(get("/echo/list", *lines)).reply().json["headers"]
    assert [value for name, value in headers if name.lower() == "x-role"] == ["a", "c", "d, e"]


def test_cve_2026_39350_names_are_no_expressions(mesh):
    assert mesh.turned_away("web", "echo")          # "w.b" and "we" are others
    for path in ("/.*", "/pub.ic/x", "/publi", "/public.*"):
        assert ask(mesh, get(path, host="quotes"), to="quotes") == 403
    assert ask(mesh, get("/public/x", host="quotes"), to="quotes") == 200


# --- who calls -----------------------------------------------------------------------------------------


def test_cve_2021_31921_undeclared_server_name(mesh):
    """A name leads to a service of this machine, and there its policy decides, and to nothing else."""
    web, guest = web_certificate(mesh), mesh["vm-a"].certs / "guest"
    assert mesh_status(mesh, web) == 200
    for name in ("8080.other.mesh.test", "8080.orders.other.test", "orders.mesh.test", "8080.orders", "127.0.0.1", "9999.orders.mesh.test", "outbound_.8080_._.orders.mesh.test",
                 "8080.orders.mesh.test.internal.example"):
        assert mesh_status(mesh, web, name=name) in (None, 403, 404, 503)
    assert mesh_status(mesh, guest) == 403
    for service, port in (("quotes", QUOTES.port), ("cache", CACHE.port), ("echo", ECHO.port)):
        assert mesh_status(mesh, guest, service=service, port=port, line="GET /sni") in (None, 403)
    assert b"/sni" not in mesh.records()


def test_cve_2025_66220_nul_in_a_name(mesh):
    web = b"spiffe://mesh.test/service/web"
    assert mesh_status(mesh, certify(mesh, "good", san_bytes(web))) == 200  # so signed, it is one of ours
    for number, name in enumerate([web + b"\0.example", web + b"\0", b"spiffe://mesh.test\0.example/service/web", web + b"%00", b"\0" + web]):
        assert mesh_status(mesh, certify(mesh, f"nul{number}", san_bytes(name))) is None


@pytest.mark.parametrize("san", ["otherName:1.3.6.1.4.1.311.20.2.3;UTF8:spiffe://mesh.test/service/web", "DNS:web.mesh.test", "email:web@mesh.test",
                                 "dirName:name", "RID:1.2.3.4", "IP:10.77.0.1"])
def test_cve_2026_47778_other_name(mesh, san):
    section = {"nsComment": "x\n[name]\nCN=spiffe://mesh.test/service/web"}  # of dirName
    assert mesh_status(mesh, certify(mesh, "other-" + san[:3], san, **section)) is None


def test_cve_2022_40716_several_names(mesh):
    """Whoever has two names is nobody, even where the authority has been talked into both."""
    web, guest = b"spiffe://mesh.test/service/web", b"spiffe://mesh.test/service/guest"
    for number, names in enumerate([(web, guest), (guest, web), (web, web), (web, b"https://mesh.test/"), (b"spiffe://other.test/service/web", web)]):
        assert mesh_status(mesh, certify(mesh, f"two{number}", san_bytes(*names))) is None


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """`ringmain ca serve`, and a machine that may have certificates for web and for guest."""
    directory = ca_lab.Directory(tmp_path_factory.mktemp("authority"), limits="node_per_minute = 10000; node_burst = 1000;")
    directory.allow("vm-a", "web", "guest")
    server = ca_lab.Server(directory)
    directory.machine = ca_lab.Client(directory).join("vm-a")
    yield directory
    server.stop()


def request_with(key, *extensions):
    """A request for a certificate whose extensions are these lines of openssl's."""
    config = key.path.with_suffix(".cnf")
    config.write_text("[req]\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n[ext]\n" + "\n".join(extensions) + "\n")
    made = ca_lab.run("openssl", "req", "-new", "-key", key.path, "-subj", "/CN=any", "-config", config, "-outform", "DER")
    return base64.encodebytes(made.stdout)


def test_cve_2022_40716_request_for_several_names(authority):
    """Not though each of them would be had for the asking, and in whatever form the second comes."""
    client, key = ca_lab.Client(authority), ca_lab.Key(authority.place, "several")
    web, guest = ca_lab.identity("service/web"), ca_lab.identity("service/guest")

    def ask_for(*extensions):
        return client.enroll(request_with(key, *extensions), certificate=authority.machine)
    for name in (web, guest):
        answer = ask_for(f"subjectAltName=URI:{name}")
        assert answer.status == 200
        assert ca_lab.Certificate(key, answer.pem(), authority.place, "single").uris() == [name]
    two = san_bytes(web.encode(), guest.encode())
    for names in (f"URI:{web},URI:{guest}", f"URI:{guest},URI:{web}", f"URI:{web},URI:{web}", f"URI:{web},URI:spiffe://other.example/service/web",
                  f"URI:{web},URI:https://prod.example/", f"URI:{web},DNS:web.example", f"URI:{web},email:web@prod.example", f"URI:{web},IP:10.0.0.1",
                  f"URI:{web},otherName:1.3.6.1.4.1.311.20.2.3;UTF8:{guest}", f"URI:{web},RID:1.2.3.4", two, f"critical,{two}",
                  san_bytes(web.encode() + b"\0" + guest.encode()), san_bytes(web.encode(), b"")):
        assert ask_for(f"subjectAltName={names}").status in (400, 403), names
    for second in (f"2.5.29.17=ASN1:SEQUENCE:both\n[both]\na=IMPLICIT:6,IA5STRING:{guest}", f"issuerAltName=URI:{guest}", "basicConstraints=critical,CA:TRUE",
                   "nameConstraints=critical,permitted;URI:.prod.example"):
        answer = ask_for(f"subjectAltName=URI:{web}", second)
        if answer.status == 200:  # then nothing of it is in what was made
            made = ca_lab.Certificate(key, answer.pem(), authority.place, "second")
            assert made.uris() == [web] and "guest" not in made.field("-text") and "CA:TRUE" not in made.field("-text")
        else:
            assert answer.status in (400, 403), second


def test_rustsec_2023_0052_long_chain(mesh):
    assert mesh_status(mesh, certify(mesh, "long", "URI:spiffe://mesh.test/service/web", chain=100)) is None
    assert mesh_status(mesh, web_certificate(mesh)) == 200


# --- rules ---------------------------------------------------------------------------------------------


def test_go_2022_0895_denial_of_requests(mesh):
    """A rule about requests, of a service whose bytes nobody reads: it denies them all."""
    assert mesh.turned_away("web", "cache", b"PING\r\n")
    assert ask(mesh, get(method="DELETE")) == 403 and ask(mesh, get("/admin")) == 403


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    return checker(tmp_path_factory.mktemp("checked"))


@pytest.mark.parametrize("rule", ['action = "allow"; notHosts = ["x"];', 'action = "permit";', 'action = "allow"; hosts = 5;', 'action = "allow"; paths_regex = "/x";',
                                  'action = "allow"; version = 2;', 'action = "allow"; from = [];', 'action = "deny"; paths = [];', 'action = "allow"; headers = ( { name = "x"; contains = "y"; } );'])
def test_cve_2022_21679_unknown_keys(checked, rule):
    """Never read past: an error here, and a closed service where it comes from the store (test_fail_closed.py)."""
    assert checked('policies: ( { service = "orders"; action = "allow"; hosts = ["x"]; } );\n')[0] == 0
    status, text = checked('policies: ( { service = "orders"; ' + rule + " } );\n")
    assert status == 1 and "policies[0]" in text


ROUTE = 'routes: ( { service = "orders"; rules = ( { match = { path_regex = "%s"; }; split = ( { service = "orders"; } ); } ); } );\n'


def test_istio_security_2026_006_no_unbounded_expression(checked):
    """Policies have none at all; those of routes are linear, and bounded."""
    status, text = checked('policies: ( { service = "orders"; action = "allow"; paths_regex = "/(a+)+$"; } );\n')
    assert status == 1 and "paths_regex" in text
    assert checked(ROUTE % "/(a+)+")[0] == 0
    assert checked(ROUTE % ("((a{1000}){1000}){1000}"))[0] == 1
    assert checked(ROUTE % ("(" * 5000))[0] == 1


# --- what is written down by others --------------------------------------------------------------------


def log_stays_json(mesh, last, paths, agents):
    before = len(mesh["vm-b"].access_path.read_bytes().splitlines())
    for path, agent in zip(paths, agents):
        assert ask(mesh, get(path, f"User-Agent: {agent}", f"X-Request-Id: {agent}")) in (200, 400, 431)
    ask(mesh, get(f"/public/{last}"))
    wait_for(lambda: f"/public/{last}".encode() in mesh["vm-b"].access_path.read_bytes(), "the last line")
    lines = [json.loads(line) for line in mesh["vm-b"].access_path.read_bytes().splitlines()[before:]]
    assert len(lines) == min(len(paths), len(agents)) + 1
    assert all(line["kind"] for line in lines)


def test_cve_2026_26309_log_of_any_bytes(mesh):
    odd = ['/public/"\\x', "/public/" + "%FF" * 400, "/public/{}\x7e|<>", "/public/%0a%0d{\"a\":1}", "/public/" + '"' * 3000, "/public/%s%n%d"]
    agents = ['"\\', "\xff\xfe\x80" * 100, "a\tb", "}\"{", "x" * 7000, "\xc3\x28 \xed\xa0\x80 \xf8"]
    log_stays_json(mesh, "last", odd, agents)


def test_cve_2024_34363_log_is_json(mesh):
    agents = ["\x80", "\xe2\x82", "\xf0\x9f\x98", "\xc0\xaf", "\xff" * 2000]
    log_stays_json(mesh, "last-34363", ["/public/%80", "/public/%c0%af", '/public/"', "/public/%ed%a0%80", "/public/%ff%fe"], agents)


def test_cve_2026_48706_names_make_no_series(mesh):
    for name in ("xxxx48706", "a{b=\"c\"}", "x" * 5000):
        assert ask(mesh, get("/public/x", f"User-Agent: xxxx48706{name}", f"X-Request-Id: xxxx48706{name}", host="xxxx48706.shop.example")) in (200, 400, 431)
    text = mesh["vm-b"].admin_get("/metrics")[1]
    assert "ringmain_" in text and "xxxx" not in text


def test_cve_2025_43915_hosts_make_no_series(mesh):
    def series():
        return sum(map(len, mesh["vm-b"].metrics().values()))
    ask(mesh, get(host="first.example"))
    before = series()
    with mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") as wire:
        for number in range(200):
            wire.send(get(f"/public/{number}", f"User-Agent: a{number}", host=f"h{number}.shop.example", method="GET" if number % 2 else "POST")).reply()
    assert series() - before < 10
    assert "h7.shop.example" not in mesh["vm-b"].admin_get("/metrics")[1]


def test_cve_2026_47774_cookies(mesh):
    for lines in (["Cookie: a=" + "b" * 40000], ["Cookie: a=b"] * 1000, [f"Cookie: {'x' * 400}={'y' * 400}"] * 100):
        assert ask(mesh, get("/admin/cookies", *lines)) in (400, 431)
    assert b"cookies" not in mesh.records()


def headers_do_not_end(mesh, name, lines):
    with mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") as wire:
        wire.send(f"GET /public/{name} HTTP/1.1\r\nHost: orders\r\n")
        wire.send("".join(lines))
        assert wire.reply().status == 431
        assert wire.ended() in ("fin", "reset")
    assert name.encode() not in mesh.records()
    assert ask(mesh, get()) == 200


def test_cve_2024_27919_headers_without_an_end(mesh):
    headers_do_not_end(mesh, "endless", [f"X-{number}: {'z' * 100}\r\n" for number in range(2000)])


def test_cve_2024_30255_headers_without_an_end(mesh):
    headers_do_not_end(mesh, "endless-30255", ["a:\r\n"] * 60000)


# --- what comes in another form ------------------------------------------------------------------------


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and settings


BLOCK = b"\x82\x86\x84\x41\x06orders"  # GET, http, /, :authority
STREAMS = range(1, 400, 2)


def opened(stream):
    return struct.pack(">I", len(BLOCK))[1:] + b"\1\5" + struct.pack(">I", stream) + BLOCK


def reset(stream):
    return b"\0\0\4\3\0" + struct.pack(">II", stream, 8)


def http2_is_not_read(mesh, frames):
    """And so it is not let through to a service whose rules are about requests: no stream of it is ever opened."""
    for dial in (lambda: mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b"), lambda: mesh_client(mesh, web_certificate(mesh))):
        with dial() as wire:  # which is taken: what is refused is what it says
            answer = b""
            with contextlib.suppress(*NO_ANSWER):
                answer = wire.send(PREFACE + frames).rest()
        assert not answer or re.match(rb"HTTP/1.1 (4|5)\d\d", answer)
    with contextlib.suppress(*NO_ANSWER), mesh_client(mesh, web_certificate(mesh), alpn="h2") as wire:
        assert wire.send(PREFACE + frames).rest() == b""
    assert b"PRI" not in mesh.records()
    assert ask(mesh, get()) == 200


def test_cve_2023_44487_http2_to_rules_about_requests(mesh):
    http2_is_not_read(mesh, b"".join(opened(stream) + reset(stream) for stream in STREAMS))


def test_cve_2021_32778_streams_reset_later(mesh):
    http2_is_not_read(mesh, b"".join(map(opened, STREAMS)) + b"".join(map(reset, STREAMS)))


def test_cve_2023_26964_the_same_stream_reset(mesh):
    http2_is_not_read(mesh, opened(1) + reset(1) * 2000)


def frame(kind, flags, stream, body):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def test_cve_2025_8671_made_to_reset(mesh):
    """Each stream is opened well, and then made an error of: nothing to add, too much to add, a priority below itself."""
    errors = [lambda stream: frame(8, 0, stream, bytes(4)), lambda stream: frame(8, 0, stream, b"\x7f\xff\xff\xff") * 2,
              lambda stream: frame(2, 0, stream, struct.pack(">IB", stream, 1)), lambda stream: frame(2, 0, stream, b"x"), lambda stream: frame(0, 0, stream, b"x")]
    for error in errors:
        http2_is_not_read(mesh, b"".join(opened(stream) + error(stream) for stream in STREAMS))


def test_cve_2024_28182_continuation_without_an_end(mesh):
    http2_is_not_read(mesh, frame(1, 1, 1, BLOCK) + frame(9, 0, 1, b"") * 5000)
    http2_is_not_read(mesh, frame(1, 1, 1, BLOCK) + frame(9, 0, 1, b"\0\1a\1b" * 100) * 200)


def test_cve_2026_47692_proxy_preamble(mesh):
    """Where none is configured it is no HTTP; and with whatever lengths, it makes nobody somebody else."""
    sign = b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
    address = bytes([10, 77, 0, 9, 10, 77, 0, 2]) + b"\x10\x00\x1f\x90"
    for tlv in (b"", b"\xd0\xff\xffspiffe://mesh.test/service/web", b"\xd0\x00\x1espiffe://mesh.test/service/web", b"\xd0" * 4000):
        for length in (len(address + tlv), 12, 0, 65535):
            text = sign + struct.pack(">H", length) + address + tlv + get("/admin/preamble")
            assert ask(mesh, text) in (400, None)
            assert ask(mesh, text, caller="guest") in (400, None)
    assert ask(mesh, b"PROXY TCP4 10.77.0.9 10.77.0.2 1 8080\r\n" + get("/admin/preamble")) == 400
    assert b"preamble" not in mesh.records()


def tlv(kind, value, length=None):
    return bytes([kind]) + struct.pack(">H", len(value) if length is None else length) + value


def opened_by_preamble(mesh, tlvs, length=None, end=b""):
    """What mail says on a connection between proxies that begins with this."""
    address = socket.inet_aton("10.77.0.9") + socket.inet_aton("10.77.0.2") + struct.pack(">HH", 4096, MAIL.port)
    length = len(address + tlvs) if length is None else length
    text = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", length) + address + tlvs + end
    with contextlib.suppress(*NO_ANSWER), mesh_client(mesh, web_certificate(mesh), "mail", MAIL.port, alpn="ringmain-tcp/1") as wire:
        return wire.send(text).until(b"\r\n")
    return b""


def test_cve_2026_47692_lengths_between_proxies(mesh):
    """Where there is one before each connection, from whoever has a certificate."""
    name = tlv(2, b"mail")
    for good in (name, name + tlv(0xd0, b"x" * 100), tlv(4, b"") + name):
        assert opened_by_preamble(mesh, good).startswith(b"220 ")
    bad = [tlv(2, b"mail", 5), tlv(2, b"mail", 65535), name + tlv(0xd0, b"x", 2), name + b"\2", name + b"\2\0", name * 2, tlv(2, b""), tlv(2, b"m\0ail"), tlv(2, b"m" * 300)]
    for tlvs in bad:
        assert opened_by_preamble(mesh, tlvs) == b""
    for length in (0, 1, 11, 65535):
        assert opened_by_preamble(mesh, name, length, b"x" * 2000) == b""
    assert opened_by_preamble(mesh, name).startswith(b"220 ")


BODIES = {"zstd": b"\x28\xb5\x2f\xfd" + b"\0" * 64, "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\0" * 64, "br": b"\xce" * 64, "deflate": b"\x78\x9c" + b"\0" * 64}


@pytest.mark.parametrize("coding", BODIES)
def test_cve_2026_48044_packed_bodies(mesh, coding):
    """Bodies are not unpacked: they are so many bytes, and policy does not depend on them."""
    body = BODIES[coding] * 200
    with mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") as wire:
        reply = wire.send(request_text("POST /echo/packed", "orders", [f"Content-Encoding: {coding}"], body)).reply()
        assert (reply.status, reply.json["body_bytes"]) == (200, len(body))
        assert wire.send(request_text("POST /admin/packed", "orders", [f"Content-Encoding: {coding}"], body)).reply().status == 403


# --- servers, ends -------------------------------------------------------------------------------------


HOSTILE = [b"\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\0" + b"\0\0\6\4\0\0\0\0\0\0\3\0\0\0\0",  # GOAWAY, then SETTINGS of no streams
           b"", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
           b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000 + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 200, b"HTTP/1.1 999 No\r\n\r\n", b"\x15\x03\x03\0\2\2\x28",
           b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"]


def test_cve_2021_32780_hostile_servers(mesh):
    with Answering(mesh, "probe") as server:
        for server.answer in HOSTILE:
            with mesh.dial(WEB.uid, mesh.target("probe"), machine="vm-b") as wire:
                wire.send(get("/public/x", "Connection: close", host="probe"))
                assert statuses(wire) in ([], [502]), server.answer  # no answer that is whole, and never two
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        wait_for(lambda: ask(mesh, get(host="probe"), to="probe") == 200, "the server to be good again")


WHOLE = request_text("POST /chunked/5", "orders", ["Connection: keep-alive"], b"x" * 40)


def reset_at(mesh, place):
    with mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") as wire:
        wire.send(WHOLE[:place])
        if place == len(WHOLE):
            wire.more()
        wire.reset()


def test_cve_2026_26311_resets_at_any_moment(mesh):
    """At each byte of a request, and in each part of the answer; the sanitizers see what is used after its end."""
    for place in list(range(1, len(WHOLE), 3)) + [len(WHOLE)]:
        reset_at(mesh, place)
    mesh["vm-b"].reload()
    assert ask(mesh, get()) == 200


def test_cve_2026_47205_after_the_end(mesh):
    for rest in (b"", b"x", WHOLE[:20], WHOLE):
        with mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") as wire:
            assert wire.send(request_text("GET /public/x", "orders", ["Connection: close"])).reply().status == 200
            with contextlib.suppress(*NO_ANSWER):  # it has ended
                wire.send(rest)
            wire.reset()
    assert ask(mesh, get()) == 200


def test_cve_2023_35942_resets_and_the_log(mesh):
    """Of each request there is one line, whole, though its client has gone."""
    for _ in range(20):
        reset_at(mesh, len(WHOLE))
    ask(mesh, get("/public/last-35942"))
    wait_for(lambda: b"/public/last-35942" in mesh["vm-b"].access_path.read_bytes(), "the last line")
    lines = [json.loads(line) for line in mesh["vm-b"].access_path.read_bytes().splitlines()]
    assert sum(line.get("path") == "/chunked/5" for line in lines) >= 20


def test_cve_2026_48090_while_draining(mesh):
    """It ends by itself while clients go away, in each part of a request, and comes again."""
    node = mesh["vm-b"]
    wires = [mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b") for _ in range(8)]
    for number, wire in enumerate(wires):
        wire.send(WHOLE[:1 + number * (len(WHOLE) - 1) // 7])
    stopping = threading.Thread(target=node.stop)
    stopping.start()
    for wire in wires:
        time.sleep(0.1)
        with contextlib.suppress(*NO_ANSWER):
            wire.reset()
    stopping.join(60)
    assert not stopping.is_alive() and not node.process.running
    node.start()
    wait_for(lambda: ask(mesh, get()) == 200, "it to serve again")


# --- what stands open ----------------------------------------------------------------------------------


def own_listeners(mesh, machine):
    """TCP ports that ringmain listens on there."""
    found = set()
    for line in mesh.lab[machine].run(["ss", "-Hltnp"]).stdout.splitlines():
        if "ringmain" in line:
            found.add(int(line.split()[3].rpartition(":")[2]))
    return found


def no_page_answers(mesh, pages):
    ports = own_listeners(mesh, "vm-b")
    assert 15008 in ports
    for port in ports:
        for page in pages:
            text = f"GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            assert mesh.turned_away(WEB.uid, ("127.0.0.1", port), text.encode(), machine="vm-b")


def test_cve_2026_31838_no_debug_port(mesh):
    """Nothing listens but what takes traffic, and that answers no page; the admin socket is a file, closed to workloads."""
    node = mesh["vm-b"]
    no_page_answers(mesh, ("/metrics", "/status", "/config_dump", "/debug/pprof/", "/stats", "/certs", "/readyz"))
    mode = os.stat(node.admin_socket)
    assert stat.S_ISSOCK(mode.st_mode)
    curl = ["curl", "-s", "--max-time", "5", "--unix-socket", node.admin_socket, "http://localhost/status"]
    assert mesh.lab["vm-b"].run(curl).stdout  # as root
    done = mesh.lab["vm-b"].run(curl, uid=WEB.uid, check=False)
    assert done.returncode == 7 and not done.stdout


def test_istio_security_2026_001_no_debug_pages_of_others(mesh):
    no_page_answers(mesh, ("/debug/syncz", "/debug/config_distribution", "/debug/registryz", "/authz", "/routes", "/externals"))


def test_cve_2024_40632_shutdown_through_a_workload(mesh):
    """What a server can be talked into asking, on any port that is there, ends nothing."""
    for port in own_listeners(mesh, "vm-b"):
        for page in ("/shutdown", "/quitquitquit", "/drain", "/admin/shutdown"):
            for uid in (at(ORDERS).uid, 0, STRANGER_UID):
                mesh.turned_away(uid, ("127.0.0.1", port), f"POST {page} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode(), machine="vm-b")
    assert mesh["vm-b"].process.running and mesh["vm-b"].ready() and ask(mesh, get()) == 200


def rings(pid):
    return [link for link in map(os.readlink, Path(f"/proc/{pid}/fd").iterdir()) if "io_uring" in link]


def test_cve_2024_22017_no_ring_with_privileges(mesh):
    """A ring goes on with the privileges of whoever made it: the process that has one never had any."""
    node = mesh["vm-b"]
    privileged, proxy = node.process.popen.pid, node.proxy_pid()
    assert process_status(privileged)["Uid"].split()[0] == "0" and set(process_status(proxy)["Uid"].split()) == {str(node.uid)}
    assert rings(proxy) and not rings(privileged)


def test_cve_2025_53605_nothing_vendored():
    """Every library is Debian's, which watches over it; none came with the source."""
    listed = run("git", "-C", ROOT, "ls-files", check=False).stdout.splitlines()
    assert not [name for name in listed if re.match(r"(subprojects|vendor|third_party|external|node_modules)/", name) or name.endswith((".a", ".so", "go.sum", "package-lock.json"))]
    assert "wrap" not in (ROOT / "meson.build").read_text()


# --- tokens --------------------------------------------------------------------------------------------


def token(header, claims, signature=b"x"):
    def part(value):
        return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=").decode()
    return ".".join(map(part, (header, claims, signature)))


CLAIMS = {"iss": "https://issuer.example", "sub": "ann", "aud": "orders", "exp": 4102444800}
INNER = ["https://169.254.169.254/latest/keys", "https://127.0.0.1:8443/keys", "https://[::1]:8443/keys", "https://localhost:8443/keys", "https://[fe80::1]/keys",
         "https://0x7f.1:8443/keys", "https://2130706433:8443/keys", "https://[::ffff:127.0.0.1]:8443/keys", "https://0.0.0.0:8443/keys"]


class TokenMesh(ScenarioMesh):
    """With issuers whose keys are where they must not be asked for, nowhere, or in no file. 8443 on vm-b counts who comes."""

    def mesh_groups(self):
        urls = [*self.usable, "https://no-such-host.invalid/keys"]
        issuers = [{"name": f"i{number}", "issuer": f"https://{number}.example", "jwks_url": url} for number, url in enumerate(urls)]
        known = {"name": "known", "issuer": "https://known.example"}
        return {**super().mesh_groups(), "issuers": [*issuers, {"name": "corp", "issuer": CLAIMS["iss"]}, known]}

    def told(self, number):
        """Why the keys of that URL are not here."""
        return {row["name"]: row for row in self["vm-b"].status()["issuers"]}[f"i{number}"]["error"]

    def lets_in(self):
        """A good token by the same rule: what is refused here is not refused for another reason."""
        good = self.key.token(iss="https://known.example", aud="orders")
        return ask(self, get("/public/x", f"Authorization: Bearer {good}")) == 200


@pytest.fixture(scope="module")
def token_mesh(checked):
    policies = [{"service": "orders", "action": "allow", "from": "web", "token": {"audiences": ["orders"]}}]
    with TokenMesh([at(WEB, "vm-b"), ORDERS], machines=("vm-b",), policies=policies, default_policy="deny", groups={"tokens": {"refresh": "1s"}}) as mesh:
        mesh.usable = [url for url in INNER if checked(f'issuers: ( {{ name = "i"; issuer = "https://i.example"; jwks_url = "{url}"; }} );\n')[0] == 0]
        mesh.inner = [mesh.lab["vm-b"].sockets(0, family)[0] for family in FAMILIES]
        for sock, host in zip(mesh.inner, ("127.0.0.1", "::1")):
            sock.bind((host, 8443))
            sock.listen(16)
            sock.settimeout(1.5)
        keys = mesh["vm-b"].machine.dir / "jwks"
        keys.mkdir()
        mesh.key = Key(mesh["vm-b"].machine.dir, "k")
        (keys / "known.json").write_text(jwks(mesh.key))
        mesh["vm-b"].groups = {"tokens": {"refresh": "1s", "dir": str(keys)}}
        yield mesh.start()
        for sock in mesh.inner:
            sock.close()


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "None"}, {"alg": "HS256", "kid": "default"}, {"alg": "RS256"}, {"alg": "ES256", "kid": ""},
                                    {"alg": "HS256", "jwk": {"kty": "oct", "k": ""}}, {"alg": "RS256", "jku": "http://127.0.0.1/keys"}, {}], ids=str)
def test_cve_2026_31837_no_key_no_token(token_mesh, header):
    for issuer in (CLAIMS["iss"], "https://0.example", "https://unknown.example"):
        for signature in (b"", b"x", b"\0" * 64, b"\0" * 256):
            assert ask(token_mesh, get("/public/x", f"Authorization: Bearer {token(header, {**CLAIMS, 'iss': issuer}, signature)}")) == 403
    assert token_mesh.record("orders") == b""
    forged = {**CLAIMS, "iss": "https://known.example"}  # whose keys are there
    assert ask(token_mesh, get("/public/x", f"Authorization: Bearer {token({'kid': 'k', **header}, forged)}")) == 403


def test_a_good_token_lets_in(token_mesh):
    """By the rule that all others here are refused by."""
    assert token_mesh.lets_in()


def test_cve_2026_48042_nested_json(token_mesh):
    deep = [b"[" * 6000, b'{"a":' * 2000, b'{"aud":' + b"[" * 3000 + b"]" * 3000 + b"}", b'{"iss":"' + b"\\u0000" * 900 + b'"}']
    for part in deep:
        for words in (token(part, CLAIMS), token({"alg": "ES256"}, part), token(part, part)):
            assert ask(token_mesh, get("/public/x", f"Authorization: Bearer {words}")) in (403, 431)
    assert ask(token_mesh, get()) == 403 and token_mesh["vm-b"].ready()
    assert token_mesh.lets_in()


@pytest.mark.parametrize("url", ["http://issuer.example/keys", "file:///etc/shadow", "https://", "https://user@issuer.example/keys", "gopher://x/", "https://a b/keys", "HTTPS:/x"])
def test_istio_security_2026_003_url_of_another_kind(checked, url):
    status, text = checked(f'issuers: ( {{ name = "i"; issuer = "https://i.example"; jwks_url = "{url}"; }} );\n')
    assert status == 1 and "issuers[0].jwks_url" in text


def test_istio_security_2026_003_inner_key_url(token_mesh):
    """Whoever may write mesh objects does not have a machine ask itself, its neighbours or its cloud."""
    assert token_mesh.usable  # else it is refused before
    for number in range(len(token_mesh.usable)):
        wait_for(lambda: "may not be asked" in token_mesh.told(number), f"{token_mesh.usable[number]} to be refused")
    for sock in token_mesh.inner:
        with pytest.raises(socket.timeout):
            sock.accept()
    for number in range(len(token_mesh.usable) + 1):
        claims = {**CLAIMS, "iss": f"https://{number}.example"}
        assert ask(token_mesh, get("/public/x", f"Authorization: Bearer {token({'alg': 'ES256', 'kid': 'k'}, claims)}")) == 403


def test_cve_2025_64527_keys_that_do_not_come(token_mesh):
    """Tried again and again, and nothing else stops meanwhile."""
    wait_for(lambda: token_mesh.told(len(token_mesh.usable)), "a failure to get them")
    for _ in range(3):
        assert ask(token_mesh, get("/public/x", f"Authorization: Bearer {token({'alg': 'ES256', 'kid': 'missing'}, CLAIMS)}")) == 403
        token_mesh["vm-b"].reload()
    assert token_mesh["vm-b"].ready() and token_mesh["vm-b"].process.running
    assert token_mesh.lets_in()


# --- parsers -------------------------------------------------------------------------------------------


HOST = "Host: orders\r\n"
SMUGGLED = "GET /admin/smuggled HTTP/1.1\r\nHost: orders\r\n\r\n"
PARSED = {
    "CVE-2021-22959": f"POST /public HTTP/1.1\r\n{HOST}Content-Length : 44\r\n\r\n{SMUGGLED}",
    "CVE-2021-22960": f"POST /public HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2 erfrferferf\r\naa\r\n0 rrrr\r\n\r\n{SMUGGLED}",
    "CVE-2022-32213": f"POST /public HTTP/1.1\r\n{HOST}Transfer-Encoding: chunkedchunked\r\n\r\n1\r\na\r\n0\r\n\r\n{SMUGGLED}",
    "CVE-2022-32215": f"POST /public HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n , identity\r\n\r\n1\r\na\r\n0\r\n\r\n{SMUGGLED}",
    "CVE-2022-32214": f"GET /public HTTP/1.1\r\n{HOST}X: abc\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n{SMUGGLED}",
    "CVE-2022-35256": f"GET /public HTTP/1.1\r\n{HOST}X:\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n{SMUGGLED}",
    "CVE-2023-30589": f"POST /public HTTP/1.1\r\n{HOST}X-Abc:\rxTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n{SMUGGLED}",
    "CVE-2024-27982": f"POST /public HTTP/1.1\r\n Content-Length: 44\r\n{HOST}\r\n{SMUGGLED}",
    "CVE-2025-23167": f"POST /public HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\rX\r\n{SMUGGLED}",
    "CVE-2024-22019": f"POST /public HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n1;{'a' * 70000}\r\na\r\n0\r\n\r\n{SMUGGLED}",
    "CVE-2023-25725": f"GET /public HTTP/1.1\r\n{HOST}: hidden\r\nContent-Length: 44\r\n\r\n{SMUGGLED}",
    "CVE-2021-40346": f"POST /public HTTP/1.1\r\n{HOST}Content-Length0{'a' * 255}:\r\nContent-Length: 44\r\n\r\n{SMUGGLED}",
    "CVE-2023-40225": f"POST /public HTTP/1.1\r\n{HOST}Content-Length:\r\nContent-Length: 44\r\n\r\n{SMUGGLED}",
    "CVE-2023-45539": f"GET /public/x.png#/admin HTTP/1.1\r\n{HOST}\r\n",
}


def turned_down(mesh, name):
    for dial in (lambda: mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b"), lambda: mesh_client(mesh, web_certificate(mesh))):
        with dial() as wire:
            found = statuses(wire.send(PARSED[name]))
        assert found and all(status >= 400 for status in found)
    assert b"smuggled" not in mesh.records()
    assert ask(mesh, get()) == 200


def test_cve_2021_22959_parser(mesh):
    turned_down(mesh, "CVE-2021-22959")


def test_cve_2021_22960_parser(mesh):
    turned_down(mesh, "CVE-2021-22960")


def test_cve_2022_32213_parser(mesh):
    turned_down(mesh, "CVE-2022-32213")


def test_cve_2022_32215_parser(mesh):
    turned_down(mesh, "CVE-2022-32215")


def test_cve_2022_32214_parser(mesh):
    turned_down(mesh, "CVE-2022-32214")


def test_cve_2022_35256_parser(mesh):
    turned_down(mesh, "CVE-2022-35256")


def test_cve_2023_30589_parser(mesh):
    turned_down(mesh, "CVE-2023-30589")


def test_cve_2024_27982_parser(mesh):
    turned_down(mesh, "CVE-2024-27982")


def test_cve_2025_23167_parser(mesh):
    turned_down(mesh, "CVE-2025-23167")


def test_cve_2024_22019_parser(mesh):
    turned_down(mesh, "CVE-2024-22019")


def test_cve_2023_25725_parser(mesh):
    turned_down(mesh, "CVE-2023-25725")


def test_cve_2021_40346_parser(mesh):
    """There it is a name like any other: one request, and what looks like another is its body."""
    for dial in (lambda: mesh.dial(WEB.uid, mesh.target("orders"), machine="vm-b"), lambda: mesh_client(mesh, web_certificate(mesh))):
        with dial() as wire:
            assert statuses(wire.send(PARSED["CVE-2021-40346"])) == [200]


def test_cve_2023_40225_parser(mesh):
    turned_down(mesh, "CVE-2023-40225")


def test_cve_2023_45539_parser(mesh):
    turned_down(mesh, "CVE-2023-45539")
