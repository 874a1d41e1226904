# SPDX-License-Identifier: Apache-2.0
"""From no policies at all to default-deny: traffic on trial, what `ringmain authz suggest` makes of it, and the same
traffic with that in force."""
import pytest
from machines import wait_for
from mesh import ECHO, GUEST, ORDERS, WEB, ScenarioMesh
from nodes import config_file_text

DONE = [("web", "GET /echo/a"), ("web", "GET /echo/items/17"), ("web", "GET /echo/items/18/parts"), ("web", "POST /echo/a"),
        ("guest", "GET /echo/a"), ("guest", "GET /echo/b?page=2")]
ALIKE = [("web", "GET /echo/items/99"), ("guest", "GET /echo/b")]
NOT_DONE = [("guest", "POST /echo/a"), ("web", "DELETE /echo/a"), ("web", "GET /echo/b"), ("guest", "GET /echo/items/17"),
            ("web", "GET /echo"), ("web", "GET /echo/items/17/parts/1")]


class Learning(ScenarioMesh):
    def change(self, text, mode):
        """These policies, as text, from now on."""
        self.groups = {"mesh": {"policy_mode": mode}}
        self.write_configs()
        groups = self.mesh_groups()
        groups.pop("policies", None)
        self.mesh_file.write_text(config_file_text(groups) + text)
        before = {node.name: node.status()["generation"] for node in self}
        for node in self:
            node.reload()
        for node in self:
            wait_for(lambda: node.status()["generation"] > before[node.name], f"a new generation on {node.name}")

    def status_of(self, caller, line):
        return self.call(caller, "orders", line).status


@pytest.fixture(scope="module")
def mesh():
    with Learning([WEB, GUEST, ORDERS, ECHO], policies=[], default_policy="deny", workers=2) as mesh:
        mesh.start()
        mesh.change("policies: ();\n", "audit")
        for caller, line in DONE:
            assert mesh.status_of(caller, line) == 200
        with mesh.dial("web", "echo") as wire:
            assert wire.send("abc").finish().rest() == b"abc"
        mesh.suggested = mesh["vm-b"].ringmain("authz", "suggest").stdout
        yield mesh


def test_what_is_suggested_is_short_and_tells_how_it_came(mesh):
    head = [line for line in mesh.suggested.splitlines() if line.startswith("#")]
    assert head[0].startswith("# Allows what this machine's workloads were asked since 20")
    assert head[1].startswith(f"# {len(DONE) + 1} requests and connections, of 7 kinds.") and len(head) == 2
    assert '"/echo/items/{id}"' in mesh.suggested and "/17" not in mesh.suggested and "page" not in mesh.suggested
    assert mesh.suggested.count("name = ") <= 5
    assert mesh["vm-b"].ringmain("authz", "suggest", "echo").stdout.count("name = ") == 1
    assert "name = " not in mesh["vm-a"].ringmain("authz", "suggest").stdout


def test_a_service_that_is_not_there(mesh):
    done = mesh["vm-b"].ringmain("authz", "suggest", "nobody", check=False)
    assert done.returncode == 1 and 'no service "nobody"' in done.stderr


def test_with_it_in_force_the_same_passes_and_nothing_else(mesh):
    mesh.change(mesh.suggested, "enforce")
    for caller, line in DONE + ALIKE:
        assert mesh.status_of(caller, line) == 200, (caller, line)
    for caller, line in NOT_DONE:
        assert mesh.status_of(caller, line) == 403, (caller, line)
    with mesh.dial("web", "echo") as wire:
        assert wire.send("abc").finish().rest() == b"abc"
    assert mesh.turned_away("guest", "echo")
