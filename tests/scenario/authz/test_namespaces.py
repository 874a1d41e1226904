# SPDX-License-Identifier: Apache-2.0
"""Identities of paths of their own: two services in the namespace shop, one outside of it, one of a federated
trust domain. Who is let in by namespace, by path, by trust domain; what an identity that is changed leaves."""
import json
import ssl
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "identity"))
from certified import Certified  # noqa: E402
from company import LEAF, Authority  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ECHO, GUEST, ORDERS, WEB, ScenarioMesh, at, request_text  # noqa: E402

FAR = "other.test"
SHOP_WEB, SHOP_ORDERS = at(WEB, identity="shop/web"), at(ORDERS, identity="shop/orders")
SERVICES = [SHOP_WEB, SHOP_ORDERS, at(ECHO, identity="shop/deep/echo"), GUEST]


def allow(path, *callers, service="orders"):
    """A rule, named after what it is about."""
    name = f"{service}{path or ''}".replace("/", "-")
    row = {"name": name, "service": service, "action": "allow", "from": list(callers)}
    return {**row, "paths": [path]} if path else row


POLICIES = [
    allow("/namespace", "shop/*"),
    allow("/path", "service/guest"),
    allow("/name", "web"),
    allow("/ours", "spiffe://mesh.test/*"),
    allow("/far", f"spiffe://{FAR}/*"),
    allow("/far/namespace", f"spiffe://{FAR}/shop/*"),
    allow("/any", "*"),
    allow(None, "shop/*", service="echo"),
]


def client_file(authority, name, identity):
    """A file of key and chain that an authority has made for an id."""
    authority.sign(name, "intermediate", LEAF.format(id=identity))
    path = authority.dir / f"{name}.pem"
    path.write_text(authority.text(f"{name}.key") + authority.text(f"{name}.crt") + authority.intermediate)
    return path


class Namespaces(Certified):
    """vm-b trusts the anchors of another trust domain, whose callers come with files of their own."""

    def start(self, serve=True):
        super().start(serve)
        self.far = Authority(self.lab.dir / "far", FAR)
        self.callers = {name: client_file(self.far, name, f"spiffe://{FAR}/{path}")
                        for name, path in (("far-web", "shop/web"), ("far-guest", "service/guest"))}
        # what the other authority signs for our own trust domain is nobody's
        self.callers["liar"] = client_file(self.far, "liar", "spiffe://mesh.test/shop/web")
        roots = self.lab.dir / "far-roots.pem"
        roots.write_text(self.far.root)
        self.authority.ca("federate", FAR, roots)
        self["vm-b"].groups = {"identity": {"federates": [FAR]}}
        self.put("vm-b")
        wait_for(lambda: (self.trust(self["vm-b"], FAR) or {}).get("anchors"), "the other's anchors", 20)
        wait_for(lambda: self.ask("far-web", "/any") == 200, "the other's web to be let in", 20)
        return self

    def put(self, *names):
        """Writes mesh and node files anew, and reloads; until they are in force."""
        nodes = [self[name] for name in names or self.nodes]
        before = {node.name: node.metric("ringmain_generation") for node in nodes}
        self.write_configs()
        for node in nodes:
            node.reload()
        for node in nodes:
            wait_for(lambda: node.metric("ringmain_generation") > before[node.name], f"{node.name} to reload")

    def ask(self, caller, path, service="orders"):
        """What a call gets; None: no connection."""
        try:
            if caller not in self.callers:
                return self.call(caller, service, f"GET {path}").status
            with self.keep_open(service, self["vm-b"], self.callers[caller]) as wire:
                return wire.send(request_text(f"GET {path}", service)).reply().status
        except (OSError, EOFError) as error:
            print(f"{caller} to {service}{path}: {error!r}")
            return None

    def kept(self, node, name):
        return self[node].keep / "identity" / name


@pytest.fixture(scope="module")
def mesh():
    with Namespaces(SERVICES, policies=POLICIES, default_policy="deny") as mesh:
        yield mesh.start()


LET_IN = {
    "/namespace": ["web"],
    "/path": ["guest"],
    "/name": ["web"],
    "/ours": ["web", "guest"],
    "/far": ["far-web", "far-guest"],
    "/far/namespace": ["far-web"],
    "/any": ["web", "guest", "far-web", "far-guest"],
    "/none": [],
}


@pytest.mark.parametrize("path", LET_IN)
def test_who_is_let_in(mesh, path):
    for caller in ("web", "guest", "far-web", "far-guest"):
        assert mesh.ask(caller, path) == (200 if caller in LET_IN[path] else 403), caller
    assert mesh.ask("liar", path) is None


def test_bytes_are_let_in_by_namespace(mesh):
    with mesh.dial("web", "echo") as wire:
        assert wire.send("abc").exactly(3) == b"abc"
    assert mesh.turned_away("guest", "echo")


def test_ids_are_shown_whole(mesh):
    web, orders = "spiffe://mesh.test/shop/web", "spiffe://mesh.test/shop/orders"
    headers = {k.lower(): v for k, v in mesh.call("web", "orders", "GET /namespace").json["headers"]}
    assert headers["x-forwarded-client-cert"] == f"By={orders};URI={web}"
    for node in ("vm-a", "vm-b"):
        line = wait_for(lambda: mesh.access_lines(node, path="/namespace", source_identity=web), "its line")[-1]
        assert line["destination_identity"] == orders
        assert mesh[node].metric("istio_requests_total", source_principal=web, destination_principal=orders,
                                 source_workload="web", destination_workload="orders") > 0
    line = wait_for(lambda: mesh.access_lines("vm-b", path="/far", response_code=200), "its line")[-1]
    assert line["source_identity"].startswith(f"spiffe://{FAR}/")
    assert {w["service"]: w["identity"] for w in mesh["vm-a"].status()["workloads"]} == {
        "web": "shop/web", "guest": "service/guest"}
    assert {r["identity"] for r in mesh.certs(mesh["vm-b"])} == {"shop/orders", "shop/deep/echo", "node/vm-b"}
    assert "shop/orders" in mesh["vm-b"].ringmain("certs").stdout


def test_the_authority_gives_what_is_registered(mesh):
    """The path, and no service of the same name; files are named after the whole of it."""
    given = {row["identity"] for row in mesh.authority.listed("certificates")}
    assert given == {"shop/web", "service/guest", "shop/orders", "shop/deep/echo", "node/vm-a", "node/vm-b"}
    assert {n["name"]: sorted(n["identities"]) for n in mesh.authority.listed("nodes")["nodes"]} == {
        "vm-a": ["service/guest", "shop/web"], "vm-b": ["shop/deep/echo", "shop/orders"]}
    assert "shop/web guest" in mesh.authority.ca("list").stdout or "guest shop/web" in mesh.authority.ca("list").stdout
    assert mesh.kept("vm-a", "shop+web.pem").exists() and mesh.kept("vm-b", "shop+deep+echo.pem").exists()
    assert (mesh["vm-a"].keep / "service" / "guest.pem").exists()


def test_revoked_by_its_path(mesh):
    serial = mesh.row(mesh["vm-a"], "shop/web")["serial"]
    mesh.authority.revoke("--identity", "shop/web")
    wait_for(lambda: mesh.row(mesh["vm-a"], "shop/web")["serial"] not in ("", serial), "a new certificate", 30)
    wait_for(lambda: mesh.ask("web", "/namespace") == 200, "the new one to be let in", 20)


def test_a_default_is_our_own_trust_domain(mesh):
    """Neither a service's default nor the mesh's lets federated callers in."""
    try:
        for groups in ({"services": [{"default_policy": "authenticated"}]}, {}):
            mesh.policies = [allow(None, "shop/*", service="echo")]
            mesh.default_policy = "deny" if groups else "authenticated"
            mesh.mesh_groups = lambda: with_default(Namespaces.mesh_groups(mesh), bool(groups))
            mesh.put()
            assert [mesh.ask(c, "/x") for c in ("web", "guest", "far-web", "far-guest")] == [200, 200, 403, 403]
    finally:
        del mesh.mesh_groups
        mesh.policies, mesh.default_policy = POLICIES, "deny"
        mesh.put()


def with_default(groups, is_there):
    for row in groups["services"] if is_there else []:
        if row["name"] == "orders":
            row["default_policy"] = "authenticated"
    return groups


def test_an_identity_that_is_changed(mesh):
    """By a reload: a new certificate, nothing of what was made with the one before goes on, and policy
    sees who it is now."""
    shop, front = "spiffe://mesh.test/shop/web", "spiffe://mesh.test/front/web"
    both = Namespaces.mesh_groups(mesh)
    for row in both["services"]:
        if row["name"] == "web":
            row.update(identity="front/web", identities=["shop/web"])
    mesh.mesh_groups = lambda: both
    mesh.put()
    assert mesh.ask("web", "/name") == 200  # it may be either
    mesh.authority.allow("vm-a", "front/web")
    with mesh.dial("web", "echo") as bytes_, mesh.dial("web", "orders") as kept:
        assert bytes_.send("abc").exactly(3) == b"abc"
        assert kept.send(request_text("GET /namespace", "orders")).reply().status == 200
        mesh["vm-a"].more = {"web": {"identity": "front/web"}}
        mesh.put("vm-a")
        assert bytes_.ended(timeout=15) in ("fin", "reset")
        wait_for(lambda: (mesh.row(mesh["vm-a"], "front/web") or {}).get("serial"), "the new certificate", 20)
        assert mesh.row(mesh["vm-a"], "shop/web") is None
        wait_for(lambda: mesh.ask("web", "/name") == 200, "calls under the new one", 20)
        # a connection from before, on its workload's side: each request is asked for anew
        headers = dict(kept.send(request_text("GET /name", "orders")).reply().json["headers"])
        named = {k.lower(): v for k, v in headers.items()}["x-forwarded-client-cert"]
        assert named.endswith(f"URI={front}")
        assert kept.send(request_text("GET /namespace", "orders")).reply().status == 403
    assert mesh.turned_away("web", "echo")  # in shop it is no more
    for status, identity in ((200, shop), (403, front)):
        wait_for(lambda: mesh.access_lines("vm-b", path="/namespace", response_code=status, source_identity=identity),
                 "the other machine to have seen it")


def served(mesh, service="orders"):
    """The id that vm-b shows for a service."""
    shown, error = mesh.show(service, mesh["vm-b"], mesh.callers["far-web"])
    assert shown, error
    path = mesh.lab.dir / "shown.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(shown))
    return mesh.far.openssl("x509", "-in", path, "-noout", "-ext", "subjectAltName").split("URI:")[-1].strip()


def test_a_server_that_is_changed(mesh):
    """Callers take the new one as soon as it is among the service's, and the one before no longer when it is not."""
    assert served(mesh) == "spiffe://mesh.test/shop/orders"
    both = mesh.mesh_groups()
    row = next(r for r in both["services"] if r["name"] == "orders")
    row.update(identity="front/orders", identities=["shop/orders"])
    mesh.mesh_groups = lambda: both
    mesh.put()
    assert mesh.ask("guest", "/path") == 200
    mesh.authority.allow("vm-b", "front/orders")
    with mesh.keep_open("orders", mesh["vm-b"], mesh.callers["far-web"]) as old:
        assert old.send(request_text("GET /any", "orders")).reply().status == 200
        mesh["vm-b"].more = {"orders": {"identity": "front/orders"}}
        mesh.put("vm-b")
        assert old.ended(timeout=15) in ("fin", "reset")  # it was told another name
    wait_for(lambda: mesh.ask("guest", "/path") == 200, "calls under the new one", 20)
    assert served(mesh) == "spiffe://mesh.test/front/orders"
    del row["identities"]
    mesh.put()
    assert mesh.ask("guest", "/path") == 200


# --- files, and what does not agree ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files():
    with ScenarioMesh([SHOP_WEB, SHOP_ORDERS], policies=[allow(None, "shop/*")], default_policy="deny") as mesh:
        yield mesh.start()


def test_certificates_from_files(files):
    assert (files["vm-a"].certs / "shop+web.crt").exists()
    reply = files.call("web", "orders")
    assert dict(reply.json["headers"])["x-forwarded-client-cert"].endswith("URI=spiffe://mesh.test/shop/web")


def test_files_that_do_not_agree(files):
    """An error that says where, and a reload changes nothing."""
    node = files["vm-b"]
    try:
        node.more = {"orders": {"identity": "service/orders"}}
        node.write_config()
        checked = node.ringmain("check", check=False)
        assert checked.returncode == 1
        assert '"service/orders" is none that the service "orders" may have: it is "shop/orders"' in checked.stderr
        node.reload()
        wait_for(lambda: not (json.loads(node.admin_get("/status")[1])["last_reload"] or {"ok": True})["ok"],
                 "the reload to be refused")
        assert files.call("web", "orders").status == 200
    finally:
        node.more = {}
        node.write_config()


@pytest.fixture
def fleet():
    with ScenarioMesh([SHOP_WEB, SHOP_ORDERS], stores=["vm-r"], policies=[allow(None, "shop/*")],
                      default_policy="deny") as mesh:
        yield mesh.start()


def test_what_is_published_does_not_agree(fleet):
    """A workload goes on being what its own machine's file says; as a server of that service it is refused, and
    says so, until the two agree again."""
    node = fleet["vm-b"]
    told = fleet.mesh_groups()
    wait_for(lambda: fleet.status_of("web", "orders") == 200, "a call")
    row = next(r for r in told["services"] if r["name"] == "orders")
    row["identity"] = "shop/pay"
    fleet.publish(told)

    def workload():
        return json.loads(node.admin_get("/status")[1])["workloads"][0]
    wait_for(lambda: workload()["refused"], "the object to be taken")
    assert workload()["identity"] == "shop/orders"
    assert [i["identity"] for i in node.status()["identities"]] == ["shop/orders"]
    wait_for(lambda: fleet.turned_away("web", "orders", request_text("GET /echo", "orders"))
             or fleet.call("web", "orders").status >= 500, "the call to be refused")
    assert "the identity shop/orders is none that the service orders may have" in node.admin_get("/readyz")[1]
    assert '"shop/orders" is none that the service "orders" may have ("shop/pay"' in node.process.log
    shown = node.ringmain("status", check=False)
    assert shown.returncode == 1 and "× shop/orders" in shown.stdout
    row["identity"] = "shop/orders"
    fleet.publish(told)
    wait_for(lambda: not workload()["refused"], "the object to be taken")
    wait_for(lambda: fleet.call("web", "orders").status == 200, "a call")


def test_two_services_of_one_identity_are_not_published(fleet):
    told = fleet.mesh_groups()
    told["services"].append({"name": "pay", "identity": "shop/orders"})
    refused = fleet.publish(told, check=False)
    assert refused.returncode == 1
    assert '"shop/orders" is the identity of "orders" already' in refused.stderr
