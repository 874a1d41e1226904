# SPDX-License-Identifier: Apache-2.0
"""Certificates that renew themselves at an authority of another make (tests/fake/est_server.py), which answers
with what RFC 7030 allows and with what it does not, while calls go on of which none may fail."""
import json
import sys
import time

import pytest
from company import Calls
from machines import ROOT, wait_for
from mesh import ECHO, ORDERS, WEB, ScenarioMesh

PORT = 8443
LIFETIME_S = 8


class Other:
    """Stands where a mesh has its authority."""

    def __init__(self, machine, trust_domain):
        self.machine, self.trust_domain, self.dir = machine, trust_domain, machine.dir / "other"
        self.addresses = [f"{machine.v4}:{PORT}"]
        self.tokens, self.allowed = {}, {}

    def make(self):
        self.dir.mkdir()
        (self.dir / "lifetime").write_text(str(LIFETIME_S))

    def start(self):
        self.server = self.machine.spawn("est", [sys.executable, ROOT / "tests/fake/est_server.py", "--dir", self.dir,
                                                 "--listen", self.addresses[0], "--trust-domain", self.trust_domain])
        wait_for(lambda: "ready" in self.server.log, "the other authority", 20)

    def stop(self):
        self.server.stop()

    @property
    def fingerprint(self):
        return self.machine.run(["openssl", "x509", "-in", self.dir / "root.crt", "-noout", "-fingerprint",
                                 "-sha256"]).stdout.strip().split("=")[1]

    def token(self, node, *services):
        self.tokens[node] = f"token-of-{node}"
        self.allowed[node] = [f"service/{service}" for service in services]
        (self.dir / "tokens.json").write_text(json.dumps(self.tokens))
        (self.dir / "allowed.json").write_text(json.dumps(self.allowed))
        return self.tokens[node]

    def command(self, word):
        (self.dir / "command").write_text(word)

    def requests(self, part):
        log = self.dir / "requests.log"
        rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [row for row in rows if part in row["path"]]

    def given(self):
        return sum(row["status"] == 200 for row in self.requests("enroll"))


@pytest.fixture(scope="module")
def mesh():
    mesh = ScenarioMesh([WEB, ORDERS, ECHO], ca="vm-ca")
    with mesh:
        mesh.authority = Other(mesh.lab["vm-ca"], mesh.trust_domain)
        yield mesh.start()


def wait_for_renewals(mesh, count):
    goal = mesh.authority.given() + count
    wait_for(lambda: mesh.authority.given() >= goal, f"{count} renewals", 60)


def test_renewing_while_calls_go_on(mesh):
    with Calls(mesh):
        wait_for_renewals(mesh, 20)
    assert mesh.authority.requests("simplereenroll")


@pytest.mark.parametrize("kind", ["leaf-only", "ber"])
def test_answers_of_another_form(mesh, kind):
    with Calls(mesh):
        mesh.authority.command(kind)
        wait_for_renewals(mesh, 8)
    mesh.authority.command("")


@pytest.mark.parametrize("kind", ["wrong-id", "wrong-key", "wrong-issuer", "expired", "garbage", "truncated", "busy", "pending"])
def test_bad_answers_cost_nothing(mesh, kind):
    with Calls(mesh):
        before = len(mesh.authority.requests("enroll"))
        mesh.authority.command(kind)
        wait_for(lambda: len(mesh.authority.requests("enroll")) > before + 2, "bad answers", 20)
        mesh.authority.command("")
        wait_for_renewals(mesh, 5)


def test_away_and_back(mesh):
    with Calls(mesh):
        wait_for_renewals(mesh, 2)
        mesh.authority.stop()
        time.sleep(1)  # shorter than half of a life: nothing ends
        mesh.authority.start()
        wait_for_renewals(mesh, 5)
