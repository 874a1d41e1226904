# SPDX-License-Identifier: Apache-2.0
"""Who may call depends on the end user's token, and on nothing in it that its issuer did not sign."""
import time

import pytest
from machines import wait_for
from mesh import ORDERS, WEB, ScenarioMesh
from tokens import Issuer, Key, jwks

ALLOW = {"name": "users", "service": "orders", "action": "allow", "from": ["web"],
         "token": {"issuers": ["staff"], "claims": [{"name": "groups", "exact": "shop"}]}}


class TokenMesh(ScenarioMesh):
    """With issuers among the mesh's objects."""

    def __init__(self, issuers, policies=(ALLOW,), **more):
        self.issuers = issuers
        super().__init__([WEB, ORDERS], policies=policies, default_policy="deny", **more)

    def mesh_groups(self):
        return {**super().mesh_groups(), "issuers": self.issuers}

    def status_of(self, token, headers=()):
        headers = [*headers, f"Authorization: Bearer {token}"] if token else list(headers)
        return self.call("web", "orders", headers=headers).status

    def wait_status(self, status, token, timeout=15):
        wait_for(lambda: self.status_of(token) == status, f"the answer {status}", timeout, every=0.2)

    def told(self, node="vm-b"):
        """How it stands with the issuers there."""
        return {row["name"]: row for row in self[node].status().get("issuers", [])}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def mesh(place):
    """The keys of "staff" are a file on each machine."""
    staff = {"name": "staff", "issuer": "https://id.example", "audiences": ["orders", "stock"]}
    partner = {"name": "partner", "issuer": "https://partner.example", "header": "x-partner-token", "forward": False}
    open_to = {"name": "open", "service": "orders", "action": "allow", "from": ["web"], "paths": ["/echo/partner"],
               "token": {"issuers": ["partner"]}}
    with TokenMesh([staff, partner], [ALLOW, open_to]) as mesh:
        mesh.key, mesh.other = Key(place, "one"), Key(place, "other", rsa=True)
        for node in mesh:
            keys = node.machine.dir / "jwks"
            keys.mkdir()
            (keys / "staff.json").write_text(jwks(mesh.key))
            (keys / "partner.json").write_text(jwks(mesh.other))
            node.groups = {"tokens": {"dir": str(keys)}}
        yield mesh.start()


def good(mesh, **more):
    return mesh.key.token(**{"aud": "orders", "groups": ["x", "shop"], **more})


def test_a_good_token_lets_in_and_none_does_not(mesh):
    assert mesh.status_of(good(mesh)) == 200
    assert mesh.status_of(None) == 403
    assert mesh.status_of("") == 403
    assert mesh.status_of("x.y.z") == 403


def test_claims_audience_and_time_count(mesh):
    now = int(time.time())
    assert mesh.status_of(good(mesh, aud=["y", "stock"])) == 200
    assert mesh.status_of(good(mesh, aud="mail")) == 403
    assert mesh.status_of(good(mesh, aud=None)) == 403
    assert mesh.status_of(good(mesh, groups=["x"])) == 403
    assert mesh.status_of(good(mesh, groups=None)) == 403
    assert mesh.status_of(good(mesh, exp=now - 60)) == 403
    assert mesh.status_of(good(mesh, exp=None)) == 403
    assert mesh.status_of(good(mesh, nbf=now + 600)) == 403
    assert mesh.status_of(good(mesh, iss="https://id.example/")) == 403


def test_claims_are_those_that_were_signed(mesh):
    """Neither headers nor the token of another key, nor one that nobody has signed, can add to them."""
    assert mesh.status_of(None, ["groups: shop", "x-jwt-claim-groups: shop"]) == 403
    assert mesh.status_of(good(mesh, groups=["x"]), ["groups: shop"]) == 403
    assert mesh.status_of(mesh.other.token(aud="orders", groups="shop")) == 403
    assert mesh.status_of(mesh.other.token({"kid": "one"}, aud="orders", groups="shop")) == 403
    head, _, signature = good(mesh, groups=["x"]).split(".")
    claims = good(mesh).split(".")[1]
    assert mesh.status_of(f"{head}.{claims}.{signature}") == 403
    assert mesh.status_of(f"{head}.{claims}.") == 403
    assert mesh.status_of(good(mesh) + "=") == 403


def test_two_tokens_are_none(mesh):
    token = good(mesh)
    assert mesh.status_of(token, [f"Authorization: Bearer {token}"]) == 403
    assert mesh.status_of(token, ["Authorization: Basic eDp5"]) == 403
    assert mesh.status_of(token, [f"x-partner-token: {token}"]) == 403
    assert mesh.status_of(token, ["x-other: 1"]) == 200


def test_an_issuers_tokens_come_in_its_own_header(mesh):
    theirs = mesh.other.token(iss="https://partner.example")
    line = "GET /echo/partner"
    assert mesh.call("web", "orders", line, [f"x-partner-token: {theirs}"]).status == 200
    assert mesh.call("web", "orders", line, [f"x-partner-token: Bearer {theirs}"]).status == 403
    assert mesh.call("web", "orders", line, [f"Authorization: Bearer {theirs}"]).status == 403
    assert mesh.call("web", "orders", line, [f"x-partner-token: {good(mesh)}"]).status == 403


def test_the_workload_gets_the_header_only_when_it_is_forwarded(mesh):
    token, theirs = good(mesh), mesh.other.token(iss="https://partner.example")
    reply = mesh.call("web", "orders", "GET /echo/partner", [f"x-partner-token: {theirs}"])
    assert (reply.status, theirs in reply.body.decode()) == (200, False)
    reply = mesh.call("web", "orders", headers=[f"Authorization: Bearer {token}"])
    assert (reply.status, token in reply.body.decode()) == (200, True)


def test_a_reload_brings_new_keys(mesh, place):
    fresh = Key(place, "fresh")
    token = fresh.token(aud="orders", groups="shop")
    assert mesh.status_of(token) == 403
    path = mesh["vm-b"].machine.dir / "jwks" / "staff.json"
    try:
        path.write_text(jwks(fresh))
        mesh["vm-b"].reload()
        mesh.wait_status(200, token)
        assert mesh.status_of(good(mesh)) == 403  # the old one is gone
    finally:
        path.write_text(jwks(mesh.key))
        mesh["vm-b"].reload()
        mesh.wait_status(200, good(mesh))


def test_status_tells_of_issuers(mesh):
    staff = mesh.told()["staff"]
    assert (staff["keys"], staff["error"], staff["url"]) == (1, "", "")


# --- keys by https -----------------------------------------------------------------------------------


@pytest.fixture
def served(place, tmp_path):
    """Keys come from a server, which is not there yet."""
    mesh = TokenMesh([], machines=("vm-a", "vm-b", "vm-c"))
    try:
        mesh.issuer = Issuer(mesh.lab["vm-c"])
        mesh.issuers = [{"name": "staff", "issuer": "https://id.example", "jwks_url": mesh.issuer.url}]
        ca = mesh.lab.dir / "issuer-ca.pem"
        ca.write_bytes(mesh.issuer.ca.read_bytes())
        mesh.groups = {"tokens": {"ca": str(ca), "refresh": "1s"}}
        mesh.key = Key(tmp_path, "one")
        mesh.issuer.publish(mesh.key)
        yield mesh
    finally:
        mesh.stop()


def token_of(key):
    return key.token(groups="shop")


def test_keys_are_fetched_and_outlive_their_server(served, tmp_path):
    served.start()
    token = token_of(served.key)
    wait_for(lambda: served.told().get("staff", {}).get("error"), "the server to be missed")
    assert served.status_of(token) == 403  # no key, no token
    served.issuer.start()
    served.wait_status(200, token)
    # a new key beside the old one, then instead of it
    second = Key(tmp_path, "two", rsa=True)
    served.issuer.publish(served.key, second)
    served.wait_status(200, token_of(second))
    assert served.status_of(token) == 200
    served.issuer.publish(second)
    served.wait_status(403, token)
    # what is no key set, and a server that is away, change nothing
    (served.issuer.dir / "keys.json").write_text("{}")
    wait_for(lambda: "JWK Set" in served.told()["staff"]["error"], "the bad set to be told")
    assert served.status_of(token_of(second)) == 200
    served.issuer.stop()
    wait_for(lambda: "JWK Set" not in served.told()["staff"]["error"], "the failure to be told")
    assert served.status_of(token_of(second)) == 200
    staff = served.told()["staff"]
    assert (staff["keys"], staff["failing_since"] > 0, staff["fetched"] > 0) == (1, True, True)


def test_a_new_proxy_and_a_new_state_process_know_the_keys(served):
    served.issuer.start()
    served.start()
    token = token_of(served.key)
    served.wait_status(200, token)
    served.issuer.stop()
    node = served["vm-b"]
    before = node.proxy_pid()
    node.machine.run(["kill", "-9", before])
    wait_for(lambda: node.proxy_pid() not in (None, before) and node.ready(), "another proxy process")
    served.wait_status(200, token)
    before = node.state_pid()
    node.machine.run(["kill", "-9", before])
    wait_for(lambda: node.state_pid() not in (None, before), "another state process")
    wait_for(lambda: served.told()["staff"]["error"], "the server to be missed")
    assert served.status_of(token) == 200


@pytest.mark.parametrize("url", ["https://127.0.0.1:9443/keys", "https://localhost:9443/keys",
                                 "https://169.254.169.254/latest/meta-data", "https://[::1]:9443/keys",
                                 "https://[::ffff:127.0.0.1]:9443/keys", "https://0.0.0.0:9443/keys",
                                 "https://[fe80::1]:9443/keys"])
def test_this_machine_and_its_link_are_not_asked(served, url):
    served.issuers[0]["jwks_url"] = url
    served.start()
    wait_for(lambda: "may not be asked" in served.told().get("staff", {}).get("error", ""), "the address to be refused")
    assert served.status_of(token_of(served.key)) == 403


def test_a_redirect_is_not_followed(served):
    served.issuers[0]["jwks_url"] = served.issuer.url.replace("/keys", "/moved")
    served.issuer.start()
    served.start()
    wait_for(lambda: "302" in served.told().get("staff", {}).get("error", ""), "the redirect to be told")
    assert set(served.issuer.asked()) == {"/moved"}
    assert served.status_of(token_of(served.key)) == 403


def test_a_server_without_a_good_certificate_has_no_keys(served):
    served.groups["tokens"].pop("ca")
    served.issuer.start()
    served.start()
    wait_for(lambda: "certificate" in served.told().get("staff", {}).get("error", "").lower(), "the certificate to be refused")
    assert served.issuer.asked() == []
    assert served.status_of(token_of(served.key)) == 403
