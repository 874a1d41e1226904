# SPDX-License-Identifier: Apache-2.0
"""What is missing denies. ROWS is the list of what may be missing, with the test that shows the refusal, here or where the
thing has its other tests; beside it what others let pass that was not as it should be (ztunnel's own list)."""
import contextlib
import re
import ssl

import pytest
from attack import NO_ANSWER, Answering, ask, certify, checker, get, mesh_status, web_certificate
from mesh import (CACHE, ECHO, GUEST, MESH_PORT, ORDERS, PROBE, QUOTES, ROOT, STOCK, STRANGER_UID, WEB, ScenarioMesh, at,
                  request_text, wait_for)
from tokens import Key, jwks

HERE, MISSING = "scenario/attack/test_fail_closed.py::", "unit/mesh/test_policy_missing.c::"
ROWS = [
    ("any policy", HERE + "test_no_policy"),
    ("the service or the caller that a policy names", HERE + "test_policy_for_nobody_who_exists"),
    ("what is in a list", HERE + "test_empty_lists"),
    ("sense in an entry", HERE + "test_entries_that_say_nothing"),
    ("knowledge of a key, an action or a version, in a file", "scenario/attack/test_cves.py::test_cve_2022_21679_unknown_keys"),
    ("the same in what is published", "unit/conf/test_records.c::test_a_policy_that_cannot_be_read_closes_its_services"),
    ("the store, at the first start", HERE + "test_store_that_is_away_at_the_first_start"),
    ("anything in the store", HERE + "test_store_that_is_empty_at_the_first_start"),
    ("the last known state, while the store is away", "scenario/state/test_restart.py::test_without_a_good_snapshot_a_node_denies_and_says_why"),
    ("a policy that the store has lost", "scenario/state/test_outage.py::test_an_empty_redis_takes_nothing_from_anybody"),
    ("a service that is no longer published", "scenario/state/test_objects.py::test_a_service_that_is_no_longer_published_is_closed"),
    ("trust anchors", HERE + "test_no_trust_anchors"),
    ("a part of the trust anchors", HERE + "test_trust_anchors_cut_short"),
    ("a list of revoked certificates that can be read", HERE + "test_list_of_revoked_certificates_that_cannot_be_read"),
    ("one that is not over its time, where that is asked for", "unit/tls/test_revoked.c::test_stale"),
    ("one of its issuer, where others are known", "unit/tls/test_revoked.c::test_missing"),
    ("keys of an issuer", "scenario/attack/test_cves.py::test_cve_2026_31837_no_key_no_token"),
    ("a token", HERE + "test_no_token"),
    ("a token that is still good", MISSING + "test_nothing_is_allowed_by_what_is_missing"),
    ("Host", HERE + "test_no_host"),
    ("a header", HERE + "test_no_header"),
    ("a request, of a service with rules about requests", HERE + "test_bytes_that_are_no_request"),
    ("an identity, of a caller elsewhere", HERE + "test_caller_without_identity"),
    ("a certificate, of a caller here", HERE + "test_caller_whose_certificate_is_gone"),
    ("knowledge of a trust domain", HERE + "test_caller_of_an_unknown_trust_domain"),
    ("a trust domain that was known", "scenario/identity/test_revocation.py::test_another_trust_domain_by_its_own_anchors"),
    ("an end of a handshake", HERE + "test_handshake_that_does_not_go_on"),
    ("the caller's address", MISSING + "test_nothing_is_allowed_by_what_is_missing"),
    ("the port", MISSING + "test_what_is_missing_is_denied"),
    ("room for one connection more", "scenario/limits/test_limits.py::test_connections_of_one_workload"),
    ("descriptors", "scenario/limits/test_limits.py::test_running_out_of_descriptors"),
    ("memory for the index of policies", MISSING + "test_nothing_is_allowed_by_what_is_missing"),
    ("a proof of what a header says of the caller", HERE + "test_caller_by_header"),
    ("the same, in what is counted and logged", HERE + "test_caller_by_header_in_log_and_metrics"),
    ("enforcement of rules about requests on bytes", "scenario/attack/test_cves.py::test_go_2022_0895_denial_of_requests"),
]


@pytest.mark.parametrize("what,test", ROWS, ids=[row[0] for row in ROWS])
def test_every_row_has_its_test(what, test):
    path, _, function = test.partition("::")
    text = (ROOT / "tests" / path).read_text()
    assert re.search(rf"^(def|static void) {function}\(", text, re.M)


NOBODY = ["spiffe://mesh.test/service/ghost", "spiffe://mesh.test/service/we", "spiffe://nowhere.test/*", "shop/*", "10.77.0.0/16"]
POLICIES = [
    {"service": "orders", "action": "allow", "from": "web", "hosts": ["orders"]},
    {"service": "orders", "action": "allow", "from": "web", "paths": "/team/*", "headers": [{"name": "x-team", "exact": "a"}]},
    {"service": "orders", "action": "allow", "from": "web", "paths": "/open/*"},
    {"service": "orders", "action": "deny", "paths": "/open/*", "headers": [{"name": "x-key", "exact": "k", "invert": True}]},
    {"service": "quotes", "action": "allow", "from": "web", "token": {}},
    {"service": "stock", "action": "allow", "from": ["*", "192.168.0.0/16"]},
    {"service": "echo", "action": "allow", "from": NOBODY},
    {"service": "probe", "action": "allow", "from": "web", "methods": ["GET", "POST"]},
]


class FailMesh(ScenarioMesh):
    """With an issuer whose keys are a file."""

    def mesh_groups(self):
        return {**super().mesh_groups(), "issuers": [{"name": "staff", "issuer": "https://id.example"}]}


@pytest.fixture(scope="module")
def mesh():
    """cache has no policy; stock takes plain text; what probe speaks is to be found out."""
    services = [at(WEB, "vm-a", "vm-b"), at(GUEST, "vm-a", "vm-b"), ORDERS, QUOTES, at(STOCK, mtls="permissive"), CACHE, ECHO, at(PROBE, protocol="detect")]
    with FailMesh(services, policies=POLICIES, default_policy="deny", groups={"timeouts": {"handshake": "1s"}}) as mesh:
        for node in mesh:
            keys = node.machine.dir / "jwks"
            keys.mkdir()
            mesh.key = Key(node.machine.dir, "k") if node.machine.name == "vm-a" else mesh.key
            (keys / "staff.json").write_text(jwks(mesh.key))
            node.groups = {**node.groups, "tokens": {"dir": str(keys)}}
        yield mesh.start()


# --- policies ------------------------------------------------------------------------------------------


def test_no_policy(mesh):
    assert mesh.turned_away("web", "cache", b"PING\r\n")
    assert mesh.turned_away("guest", "cache", b"PING\r\n")


def test_policy_for_nobody_who_exists(mesh):
    for caller in ("web", "guest"):
        assert mesh.turned_away(caller, "echo")


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What is said of a policy of orders with more in it."""
    check = checker(tmp_path_factory.mktemp("checked"))
    return lambda more: check(f'policies: ( {{ service = "orders"; {more} }} );\n')


LISTS = ["from", "not_from", "ports", "not_ports", "methods", "not_methods", "paths", "not_paths", "hosts", "not_hosts"]


@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize("name", [*LISTS, "headers"])
def test_empty_lists(checked, action, name):
    """Else a list that lost its last entry would ask for nothing."""
    for text in ("[ ]", "( )"):
        status, said = checked(f'action = "{action}"; {name} = {text};')
        assert status == 1 and name in said


ODD = ['from = "10.0.0.0/33"', 'from = "10.0.0.256"', 'from = "10.0.0.0/"', 'from = "10.0.0.0/8x"', 'from = "::/129"', 'from = "spiffe://"', 'from = "spiffe:///x"',
       'from = "SPIFFE://mesh.test/service/web"', 'from = "we*"', 'from = "*/web"', 'from = "shop/*/web"', 'from = "nobody-here"', 'from = ""', 'from = ["web", ""]', "ports = 0",
       "ports = 65536", "ports = -1", "ports = 4294975376L", 'ports = "8080"', 'methods = ""', 'methods = "get"', 'methods = "GET POST"', 'paths = "admin"', 'paths = ""', 'paths = "/a/../b"',
       'paths = "/%2fadmin"', 'paths = "/a*b"', 'paths = "/{x"', 'hosts = "A.example"', 'hosts = "a.example:80"', 'hosts = "a.example."', 'hosts = ""', 'hosts = "a*.example"',
       'headers = ( { exact = "x"; } )', 'headers = ( { name = ""; exact = "x"; } )', 'headers = ( { name = "x"; } )', 'headers = ( { name = "x_y"; exact = "z"; } )',
       'mode = "off"', 'mode = 0', 'token = ( )', 'token = { issuers = [ ]; }', 'token = { audience = "x"; }', 'token = { claims = ( { name = "a"; } ); }']


@pytest.mark.parametrize("entry", ODD)
def test_entries_that_say_nothing(checked, entry):
    """None is passed over, or cut to what fits."""
    assert checked('action = "allow"; from = "web"; ports = 8080;')[0] == 0
    status, said = checked(f'action = "allow"; {entry};')
    assert status == 1 and "policies[0]" in said


# --- requests ------------------------------------------------------------------------------------------


def test_no_host(mesh):
    assert ask(mesh, get("/x")) == 200
    for text in (b"GET /x HTTP/1.0\r\n\r\n", b"GET /x HTTP/1.0\r\nHost:\r\n\r\n", b"GET /x HTTP/1.1\r\n\r\n", b"GET /x HTTP/1.0\r\nX-Forwarded-Host: orders\r\n\r\n"):
        assert ask(mesh, text) in (400, 403)
        with mesh.dial("web", "orders") as wire:
            assert wire.send(text).reply().status in (400, 403)


def test_no_header(mesh):
    assert ask(mesh, get("/team/x", "X-Team: a", host="h")) == 200
    for lines in ([], ["X-Team:"], ["X-Team: A"], ["X-Team: a", "X-Team: b"], ["X-Team: a,b"]):
        assert ask(mesh, get("/team/x", *lines, host="h")) == 403
    assert ask(mesh, get("/open/x", "X-Key: k", host="h")) == 200
    for lines in ([], ["X-Key:"], ["X-Key: l"], ["X-Key: k", "X-Key: l"], ["X-Key: l,k"]):
        assert ask(mesh, get("/open/x", *lines, host="h")) == 403


def test_no_token(mesh):
    for lines in ([], ["Authorization:"], ["Authorization: Bearer"], ["Authorization: Bearer x"], ["Authorization: Bearer a.b.c"], ["Authorization: Basic d2ViOng="],
                  ["X-Ringmain-Token: x"], ["Cookie: token=x"]):
        assert ask(mesh, get("/x", *lines, host="quotes"), to="quotes") == 403
    # and by the same rule one is let in
    assert ask(mesh, get("/x", f"Authorization: Bearer {mesh.key.token()}", host="quotes"), to="quotes") == 200


BYTES = {"nonsense": b"\1\2\3\4\r\n\r\n", "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", "tls": b"\x16\x03\x01\0\5\1\0\0\1\0", "text": b"hello\r\n" * 3, "redis": b"*1\r\n$4\r\nPING\r\n",
         "http 0.9": b"GET /x\r\n", "rtsp": b"OPTIONS * RTSP/1.0\r\n\r\n", "a method of no list": b"BREW /x HTTP/1.1\r\nHost: probe\r\n\r\n", "zeros": b"\0" * 100}


@pytest.mark.parametrize("kind", BYTES)
def test_bytes_that_are_no_request(mesh, kind):
    """Neither where HTTP is expected, nor where it is to be found out."""
    with Answering(mesh, "probe") as server:
        for to in ("orders", "probe"):
            answer = b""
            with contextlib.suppress(*NO_ANSWER):
                with mesh.dial(WEB.uid, mesh.target(to), machine="vm-b") as wire:
                    wire.send(BYTES[kind]).finish()
                    answer = wire.rest()
            assert answer == b"" or re.match(rb"HTTP/1\.1 (4|5)\d\d", answer)
    assert server.got == []


# --- who calls -----------------------------------------------------------------------------------------


def test_caller_without_identity(mesh):
    """To a service that takes plain text, and that any identity may call; and to one that takes none."""
    for to in ("stock", "orders", "cache"):
        first = request_text("GET /plain", to)
        assert mesh.turned_away(STRANGER_UID, to, first, machine="vm-a") or ask_plain(mesh, to, "vm-a") == 403
        assert mesh.turned_away(STRANGER_UID, to, first, machine="vm-b") or ask_plain(mesh, to, "vm-b") == 403
    assert mesh_status(mesh, None) is None
    assert mesh.call("web", "stock").status == 200


def ask_plain(mesh, to, machine):
    with mesh.dial(STRANGER_UID, mesh.target(to), machine=machine) as wire:
        return wire.send(request_text("GET /plain", to)).reply().status


def test_caller_by_header(mesh):
    """What it says of itself is thrown away, in whatever name."""
    web = "spiffe://mesh.test/service/web"
    for line in (f"X-Forwarded-Client-Cert: URI={web}", f"x-forwarded-client-cert: By=x;URI={web}", f"X-Ringmain-Source: {web}", f"X-SPIFFE-ID: {web}", "Forwarded: for=10.77.0.1",
                 "X-Forwarded-For: 192.168.1.1", "X-Envoy-Internal: true", "X-Real-IP: 192.168.1.1"):
        assert ask(mesh, get("/x", line), caller="guest") == 403
        with mesh.dial(STRANGER_UID, mesh.target("stock"), machine="vm-a") as wire:
            assert wire.send(request_text("GET /x", "stock", [line])).reply().status == 403
    reply = mesh.call("web", "orders", "GET /x", ["X-Forwarded-Client-Cert: URI=spiffe://mesh.test/service/guest"])
    assert [value for name, value in reply.json["headers"] if name.lower() == "x-forwarded-client-cert"] == [f"By=spiffe://mesh.test/service/orders;URI={web}"]


def test_caller_by_header_in_log_and_metrics(mesh):
    """Labels come from certificates and configuration."""
    lines = ["Baggage: k8s.cluster.name=liar,k8s.deployment.name=liar,service.name=liar", "X-Forwarded-Network: liar", "X-Envoy-Peer-Metadata: liar",
             "X-Envoy-Peer-Metadata-Id: liar", "X-Envoy-Downstream-Service-Cluster: liar", "L5d-Client-Id: liar", "X-Ringmain-Source: liar"]
    assert mesh.call("web", "orders", "GET /by-header", lines).status == 200
    assert ask(mesh, get("/by-header", *lines)) == 200
    for node in ("vm-a", "vm-b"):
        wait_for(lambda: mesh.access_lines(node, path="/by-header"), "a line of it")
        text = mesh[node].admin_get("/metrics")[1] + "".join(map(str, mesh.access_lines(node, path="/by-header")))
        assert "liar" not in text and 'source_workload="web"' in text


def test_caller_of_an_unknown_trust_domain(mesh):
    """Whoever has signed it; and the same name in one that is known is somebody else."""
    good = certify(mesh, "known", "URI:spiffe://mesh.test/service/web")
    assert mesh_status(mesh, good, line="GET /x") == 200
    for number, name in enumerate(["spiffe://other.test/service/web", "spiffe://mesh.test.other/service/web", "spiffe://mesh/service/web", "spiffe://MESH.test/service/web",
                                   "spiffe://mesh.test:1/service/web", "spiffe://mesh.test", "spiffe://mesh.test/"]):
        assert mesh_status(mesh, certify(mesh, f"unknown{number}", f"URI:{name}"), line="GET /x") is None
    for number, name in enumerate(["service/web/x", "service/Web", "ns/service/web", "web", "service"]):
        assert mesh_status(mesh, certify(mesh, f"path{number}", f"URI:spiffe://mesh.test/{name}"), line="GET /x") in (403, None)


def test_handshake_that_does_not_go_on(mesh):
    """Its time is over by itself, at every stage, and nothing was sent for it."""
    hello = mesh_hello()
    for text in (b"", hello[:1], hello[:5], hello[:100], hello):
        with mesh.dial(STRANGER_UID, (mesh.lab["vm-b"].v4, MESH_PORT), machine="vm-a") as wire:
            wire.send(text)
            assert wire.ended(timeout=10) in ("fin", "reset")
    assert mesh_status(mesh, web_certificate(mesh), line="GET /x") == 200


def mesh_hello():
    """A ClientHello that is good as far as it goes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.check_hostname, options.verify_mode = False, ssl.CERT_NONE
    options.set_alpn_protocols(["http/1.1"])
    session = options.wrap_bio(incoming, outgoing, server_hostname="8080.orders.mesh.test")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


# --- identities and their anchors ----------------------------------------------------------------------


@pytest.fixture
def own_mesh():
    with ScenarioMesh([at(WEB, "vm-a", "vm-b"), ORDERS, ECHO], policies=[{"service": ["orders", "echo"], "action": "allow", "from": "web"}], default_policy="deny") as mesh:
        yield mesh


def start_again(mesh, why=None):
    """Starts it with what is there now: until it is ready, or until it has said why it is not."""
    node = mesh["vm-b"]
    node.stop()
    said = node.process.log.count(why) if why else 0
    node.start(wait=why is None)
    if why:
        wait_for(lambda: node.process.log.count(why) > said, f"it to say {why}")
        assert not node.ready()


def refused(mesh):
    return mesh.turned_away("web", "orders", get("/x")) or ask_far(mesh) in (403, 502, 503)


def ask_far(mesh):
    with mesh.dial("web", "orders") as wire:
        return wire.send(get("/x")).reply().status


def test_no_trust_anchors(own_mesh):
    mesh = own_mesh.start()
    assert ask_far(mesh) == 200
    roots = mesh["vm-b"].certs / "roots.pem"
    roots.unlink()
    start_again(mesh, "roots.pem: No such file or directory")
    assert refused(mesh) and mesh.turned_away("web", "echo")
    roots.write_text("")
    start_again(mesh, "roots.pem: no certificate in it")
    assert refused(mesh)


def test_trust_anchors_cut_short(own_mesh):
    """While it runs, those that are known hold; at a start none is made of a part."""
    mesh = own_mesh.start()
    roots = mesh["vm-b"].certs / "roots.pem"
    whole = roots.read_text()
    for text in (whole[:len(whole) // 2], whole[:-10], whole.replace("BEGIN", "BEGUN"), "\0" * 100):
        roots.write_text(text)
        before = mesh["vm-b"].process.log.count("reload refused")
        mesh["vm-b"].reload()
        wait_for(lambda: mesh["vm-b"].process.log.count("reload refused") > before, "the part to be refused")
        assert ask_far(mesh) == 200  # by what it has
    for text in (whole[:-10], whole + whole[:len(whole) // 2]):  # a whole one, and a part
        roots.write_text(text)
        start_again(mesh, "not a configuration to start with")
        assert refused(mesh)
    roots.write_text(whole)
    start_again(mesh)
    wait_for(lambda: ask_far(mesh) == 200, "it to serve again")


def test_list_of_revoked_certificates_that_cannot_be_read(own_mesh):
    mesh = own_mesh.start()
    (mesh["vm-b"].certs / "crl.pem").write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    start_again(mesh, "crl.pem: ")
    assert refused(mesh)


def test_caller_whose_certificate_is_gone(own_mesh):
    """To another machine it cannot prove who it is; on its own, where nobody asks for a certificate, it is nobody either."""
    mesh = own_mesh.start()
    assert ask_far(mesh) == 200 and ask(mesh, get("/x")) == 200
    for node in ("vm-a", "vm-b"):
        for path in mesh[node].certs.glob("web.*"):
            path.unlink()
        mesh[node].stop()
        mesh[node].start(wait=False)  # it is there, without web
        wait_for(lambda: mesh[node].admin_socket.exists() and "no certificate for service/web" in (mesh[node].status()["not_ready"] or ""), f"{node} to miss it")
    assert refused(mesh) and mesh.turned_away("web", "echo")
    wait_for(lambda: ask(mesh, get("/x")) is None and mesh.access_lines("vm-b", response_code_details="NO_IDENTITY"), "a refusal")
    assert mesh.turned_away(WEB.uid, "echo", machine="vm-b")


# --- the store -----------------------------------------------------------------------------------------


class Unpublished(ScenarioMesh):
    """Nobody has published anything."""

    def publish(self, *_, **__):
        pass


SERVICES = [at(WEB, "vm-a", "vm-b"), at(ORDERS, own=200), at(ECHO, own=201)]


def nobody_gets_in(mesh):
    """By the service's own address or its machine's, from beside it or afar, by the mesh port with a whole certificate."""
    for name, first in (("orders", get("/unpublished")), ("echo", b"x")):
        for target in (mesh.target(name), mesh.own(name)):
            for machine in ("vm-a", "vm-b"):
                answer = b""
                with contextlib.suppress(*NO_ANSWER):
                    with mesh.dial(WEB.uid, target, machine=machine, timeout=2) as wire:
                        answer = wire.send(first).sock.recv(100)
                assert answer == b"" or re.match(rb"HTTP/1\.1 (403|503)", answer)
    assert mesh_status(mesh, web_certificate(mesh)) in (None, 403, 503)
    assert mesh.record("orders") == b""


def start_unready(mesh, with_store=True):
    """Without waiting for more than that the processes are there: they need not be ready."""
    mesh.serve()
    mesh.write_configs()
    if with_store:
        mesh.redis.start()
    for name in mesh.operators:
        mesh.operator_new(name)
    mesh.make_identities()
    for node in mesh:
        node.write_config()
        node.redirect_up()
        node.start(wait=False)
    wait_for(mesh["vm-b"].admin_socket.exists, "the admin socket")


def test_store_that_is_empty_at_the_first_start():
    with Unpublished(SERVICES, stores=["vm-r"], default_policy="authenticated") as mesh:
        start_unready(mesh)
        nobody_gets_in(mesh)


def test_store_that_is_away_at_the_first_start():
    with Unpublished(SERVICES, stores=["vm-r"], default_policy="authenticated") as mesh:
        start_unready(mesh, with_store=False)
        nobody_gets_in(mesh)
