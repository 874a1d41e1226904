# SPDX-License-Identifier: Apache-2.0
"""Objects of every kind that a newer version has published and nodes cannot read (policies: test_objects.py): what they
protected is closed, what they did is not done, nothing else is held up, and status says so."""
import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "attack"))
from attack import mesh_status, web_certificate  # noqa: E402
from fleet import ALLOW_ECHO, ALLOW_GUEST, ALLOW_WEB, CALLED, TCP, Fleet, echoes, log_of, newer_operator  # noqa: E402
from machines import PYTHON, wait_for  # noqa: E402
from mesh import GUEST, WEB, WORKLOADS, at, request_text  # noqa: E402
from tokens import Key, jwks  # noqa: E402

OUTSIDE_PORT, OUTSIDE_UID = 8000, 12300
TOKEN_RULE = {"name": "users", "service": "orders", "action": "allow", "from": ["guest"], "paths": ["/echo/token"], "token": {"issuers": ["staff"]}}


class Several(Fleet):
    """orders is v1 on vm-b and v2 on vm-c; the keys of an issuer are a file; beside the store is a server of nobody's,
    and who is outside is refused."""

    def start(self, serve=True):
        self.key_of_staff = Key(self.lab.dir, "k")
        for node in self:
            keys = node.machine.dir / "jwks"
            keys.mkdir()
            (keys / "staff.json").write_text(jwks(self.key_of_staff))
            node.groups = {"tokens": {"dir": str(keys)}, "redirect": {"unknown": "refuse"}}
        for name, version in (("vm-b", "v1"), ("vm-c", "v2")):
            self[name].more = {"orders": {"version": version}}
        self.outside = self.redis.machine
        self.outside.serve("outside", [PYTHON, self.outside.program(WORKLOADS / "outside_server.py"), OUTSIDE_PORT], OUTSIDE_PORT, OUTSIDE_UID)
        return super().start(serve)

    def row(self, service):
        return next(row for row in self.mesh_groups()["services"] if row["name"] == service)

    def said(self):
        return self["vm-b"].ringmain("status", check=False).stdout


@pytest.fixture(scope="module")
def standing():
    with Several([WEB, at(GUEST, identity="shop/guest"), CALLED, TCP], policies=[ALLOW_WEB, ALLOW_ECHO, {**ALLOW_GUEST, "paths": ["/echo"]}]) as fleet:
        yield fleet.start()


@pytest.fixture
def fleet(standing):
    standing.publish(None, "--prune")
    standing.wait_settled()
    yield standing


# --- what may be asked of it -----------------------------------------------------------------------------


def status_at(machine, caller="web", headers=(), path="/echo"):
    def status(fleet):
        with contextlib.suppress(OSError, EOFError), fleet.dial(caller, fleet.target("orders", machine=machine)) as wire:
            return wire.send(request_text(f"GET {path}", "orders", headers)).reply().status
        return "closed"
    return status


def by_both(fleet):
    """By its caller's proxy; and by the service's own, asked by somebody with a stolen key."""
    return status_at("vm-b")(fleet), mesh_status(fleet, web_certificate(fleet))


def by_token(fleet):
    return status_at("vm-b", "guest", [f"Authorization: Bearer {fleet.key_of_staff.token()}"], "/echo/token")(fleet)


def by_route(fleet):
    return fleet.call_own().status


def third(fleet):
    """Of three calls to one machine, the last one's."""
    return [status_at("vm-b")(fleet) for _ in range(3)][-1]


def versions(fleet):
    return set(fleet.served_by(40))


def outside(fleet):
    with contextlib.suppress(OSError, EOFError), fleet.dial("web", (fleet.outside.v4, OUTSIDE_PORT), timeout=5) as wire:
        return wire.send(request_text("GET /", "plain.example")).reply().status
    return "closed"


# --- by kind: the key of ours that is new in theirs; the object, of two versions; what is asked, and how that goes with the
# object as we read it, and when we cannot; what is said of it then ------------------------------------------


def service_row(name):
    return lambda fleet, **keys: {"services": [{**fleet.row(name), **keys}]}


def made(list_name, **row):
    return lambda fleet, **keys: {list_name: [{**row, **keys}]}


def route(fleet, **keys):
    return {"routes": [{"service": "orders", "rules": [{"name": "tea", **(keys or {"respond": {"status": 418}})}]}]}


def external(fleet, **keys):
    return {"externals": [{"name": "plain", "host": "plain.example", "port": OUTSIDE_PORT, "tls": "none", "address": fleet.outside.v4, **keys}]}


CLOSED = "cannot be read, so everything is denied at"
LEFT = "cannot be read, so it is left out"
KINDS = {
    "service": ("service/orders", "slow_start", {"hard_start": "10s"}, service_row("orders"), by_both, (200, 200), ("closed", 403), f'{CLOSED} "orders": '),
    "a caller's service": ("service/guest", "slow_start", {"hard_start": "10s"}, service_row("guest"), status_at("vm-c", "guest"), 200, 403, f'{CLOSED} "guest": '),
    "route": ("route/orders", "respond", {"rejoice": {"status": 418}}, route, by_route, 418, 200, f"{LEFT}, and calls go as if there were none: "),
    "limit": ("limit/two", "shadow", {"sunset": False}, made("limits", name="two", service="orders", requests=2, per="1h"), third, 429, 200,
              f"{LEFT}, AND NOTHING IS LIMITED BY IT: "),
    "rollout": ("rollout/orders", "calls_min", {"calls_few": 50},
                made("rollouts", service="orders", **{"from": "v1"}, to="v2", steps=[10, 100], every="1h", order="promote"), versions, {"orders@vm-c"}, {"orders@vm-b", "orders@vm-c"},
                f"{LEFT}, and no calls are led to the new version by it: "),
    "external": ("external/plain", "port_tls", {"port_ssl": 8443, "tls": "originate"}, external, outside, 200, "closed", f"{LEFT}, and nothing is let out by it: "),
    "issuer": ("issuer/staff", "leeway", {"margin": "1s"}, made("issuers", name="staff", issuer="https://id.example"), by_token, 200, 403,
               f"{LEFT}, and no token of it is good: "),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_nodes_cannot_read(fleet, kind):
    key, ours, newer, objects, ask, readable, unreadable, told = KINDS[kind]
    newer_key = next(iter(newer))
    fleet.publish(objects(fleet))
    if kind == "issuer":
        fleet.publish({"policies": [TOKEN_RULE]})
    wait_for(lambda: ask(fleet) == readable, f"it to be in force: {readable}")
    before = {node.name: len(log_of(fleet, node.name)) for node in fleet}
    with newer_operator(fleet, **{ours: newer_key}):
        fleet.publish(objects(fleet, **newer))
    wait_for(lambda: ask(fleet) == unreadable, f"it to be {unreadable}")
    wait_for(lambda: all(view["revision"] == fleet.store_revision() for view in fleet.views()), "the picture to be taken")
    assert ask(fleet) == unreadable
    for node in fleet:
        assert key in fleet[node.name].ringmain("status", check=False).stdout
        wait_for(lambda: f"{told}" in log_of(fleet, node.name)[before[node.name]:], f"the log of {node.name} to tell of it")
    assert told in fleet.said() and f"{newer_key}: unknown key" in fleet.said()
    # others go on, and follow what changes
    assert echoes(fleet)
    fleet.publish({"policies": [{"name": "no-echo", "service": "echo", "action": "deny", "from": ["web"]}]})
    wait_for(lambda: fleet.turned_away("web", fleet.own("echo")), "another change to be in force")
    assert ask(fleet) == unreadable
    # it is mended by taking it away, or by an object that can be read
    fleet.operate("delete", "policy/no-echo")
    fleet.publish(objects(fleet))
    wait_for(lambda: ask(fleet) == readable, "it to be in force again")
    fleet.wait_settled()
    assert "cannot be read" not in fleet.said() and echoes(fleet)


def test_an_object_of_a_kind_that_nodes_do_not_know(fleet):
    """It is left out, which is said; all others hold, and follow what changes. Our own operator's prune takes it away."""
    fleet.publish({"limits": [{"name": "two", "service": "orders", "requests": 2, "per": "1h"}]})
    wait_for(lambda: third(fleet) == 429, "the limit")
    with newer_operator(fleet, limit="quota", limits="quotas"):
        fleet.publish({"quotas": [{"name": "three", "service": "orders", "requests": 3, "per": "1h"}]})
    wait_for(lambda: "quota/three" in fleet.said(), "it to be told of")
    fleet.wait_settled()
    assert LEFT in fleet.said() and fleet["vm-b"].ringmain("status", check=False).returncode == 0
    assert third(fleet) == 429 and echoes(fleet)
    fleet.publish({"policies": [{"name": "no-echo", "service": "echo", "action": "deny", "from": ["web"]}]})
    wait_for(lambda: fleet.turned_away("web", fleet.own("echo")), "another change to be in force")
    fleet.publish(None, "--prune")
    wait_for(lambda: "quota/three" not in fleet.said(), "it to be gone")
