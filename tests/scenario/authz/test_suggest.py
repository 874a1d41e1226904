# SPDX-License-Identifier: Apache-2.0
"""From no policies at all to default-deny: traffic on trial, what `ringmain authz suggest` makes of it on each machine,
and the same traffic with that in force: as files of the mesh, and published."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "state"))
from fleet import Fleet  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ECHO, GUEST, ORDERS, WEB, ScenarioMesh, at  # noqa: E402

# two machines see different things
DONE = {"vm-b": [("web", "GET /echo/a"), ("web", "GET /echo/items/17"), ("web", "GET /echo/items/18/parts"), ("web", "POST /echo/a"),
                 ("guest", "GET /echo/a"), ("guest", "GET /echo/b?page=2"),
                 ("web", "GET /echo/of/2f9c4c1e-77aa-4f0e-9d5e-0d7b0c5a3f11")],
        "vm-c": [("guest", "PUT /echo/c"), ("web", "GET /echo/a")]}
ALIKE = [("web", "GET /echo/items/99"), ("guest", "GET /echo/b"), ("web", "GET /echo/of/0")]
NOT_DONE = [("guest", "POST /echo/a"), ("web", "DELETE /echo/a"), ("web", "GET /echo/b"), ("guest", "GET /echo/items/17"), ("web", "PUT /echo/c"),
            ("web", "GET /echo"), ("web", "GET /echo/items/17/parts/1"), ("web", "GET /echo/items"), ("web", "GET /echo/a/")]
SERVICES = [WEB, GUEST, at(ORDERS, "vm-b", "vm-c"), ECHO]
MACHINES = ("vm-a", "vm-b", "vm-c")


class Learning:
    """Before anything is suggested: whoever has an identity may do everything, on trial."""
    files = ()

    def learn(self):
        for machine in DONE:
            for caller, line in DONE[machine]:
                assert self.status_of(caller, line, machine) == 200
        with self.dial("web", "echo") as wire:
            assert wire.send("abc").finish().rest() == b"abc"
        self.suggested = {node.name: node.ringmain("authz", "suggest").stdout for node in self}
        for name, text in self.suggested.items():
            (self.lab.dir / f"seen-{name}.conf").write_text(text)

    def suggestions(self):
        return [self.lab.dir / f"seen-{name}.conf" for name in DONE]

    def mode(self, mode):
        self.groups = {**self.groups, "mesh": {"policy_mode": mode}}

    def reload(self):
        for node in self:
            node.write_config()
            assert node.ringmain("check").returncode == 0
        before = {node.name: node.status()["generation"] for node in self}
        for node in self:
            node.reload()
        for node in self:
            wait_for(lambda: node.status()["generation"] > before[node.name], f"a new generation on {node.name}")

    def status_of(self, caller, line, machine):
        with self.dial(caller, self.target("orders", machine=machine)) as wire:
            wire.send(f"{line} HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\n\r\n")
            return wire.reply().status


class Files(Learning, ScenarioMesh):
    def enforce(self):
        for node in self:
            node.groups = {"mesh": {"files": [str(self.mesh_file), *map(str, self.suggestions())]}}
        self.mode("enforce")
        self.reload()


class Published(Learning, Fleet):
    def enforce(self):
        for path in self.suggestions():
            self.operate("apply", "-f", path)
        self.wait_settled()
        self.mode("enforce")
        self.reload()


@pytest.fixture(scope="module", params=[Files, Published], ids=["in files", "published"])
def mesh(request):
    with request.param(SERVICES, machines=MACHINES, policies=[], default_policy="deny", workers=2, groups={"mesh": {"policy_mode": "audit"}}) as mesh:
        mesh.start()
        mesh.learn()
        yield mesh


def test_what_is_suggested_is_short_and_tells_how_it_came(mesh):
    text = mesh.suggested["vm-b"]
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[0].startswith("# Allows what this machine's workloads were asked since 20")
    assert head[1].startswith("# 8 requests and connections, of 8 kinds.") and len(head) == 2
    assert '"/echo/items/{id}"' in text and '"/echo/of/{id}"' in text and "/17" not in text and "2f9c" not in text and "page" not in text
    assert text.count("name = ") == 4  # GET /echo/a of both, and the rest of each; and echo
    assert mesh["vm-b"].ringmain("authz", "suggest", "echo").stdout.count("name = ") == 1
    assert "name = " not in mesh.suggested["vm-a"]


def test_a_service_that_is_not_there(mesh):
    done = mesh["vm-b"].ringmain("authz", "suggest", "nobody", check=False)
    assert done.returncode == 1 and 'no service "nobody"' in done.stderr


def test_with_it_in_force_the_same_passes_and_nothing_else(mesh):
    """On both machines, whichever saw it."""
    assert mesh.status_of(*NOT_DONE[0], "vm-b") == 200  # it is a trial still
    mesh.enforce()
    for machine in DONE:
        for caller, line in [*DONE["vm-b"], *DONE["vm-c"], *ALIKE]:
            assert mesh.status_of(caller, line, machine) == 200, (caller, line)
        for caller, line in NOT_DONE:
            assert mesh.status_of(caller, line, machine) == 403, (caller, line)
    with mesh.dial("web", "echo") as wire:
        assert wire.send("abc").finish().rest() == b"abc"
    assert mesh.turned_away("guest", "echo")
