# SPDX-License-Identifier: Apache-2.0
"""Plain text by service and port, and policies on trial: one of them, or all of the mesh."""
import pytest
from machines import wait_for
from mesh import ECHO, GUEST, ORDERS, QUOTES, STOCK, STRANGER_UID, WEB, ScenarioMesh, at

SERVICES = [WEB, GUEST, ORDERS, STOCK, ECHO, QUOTES]
ANYBODY = {"service": "*", "action": "allow", "from": ["anonymous", "*"]}


class Moded(ScenarioMesh):
    """Services have further keys: settings["orders"]."""

    def __init__(self, *args, **more):
        self.settings = {}
        super().__init__(*args, **more)

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            row.update(self.settings.get(row["name"], {}))
        return groups

    def change(self):
        self.write_configs()
        numbers = {node.name: node.metric("ringmain_generation") for node in self}
        for node in self:
            node.reload()
        wait_for(lambda: all(node.metric("ringmain_generation") > numbers[node.name] for node in self), "the new plan")


# --- plain text ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain():
    with Moded(SERVICES, policies=[ANYBODY], default_policy="deny") as mesh:
        mesh.settings = {"orders": {"mtls": "strict"}, "stock": {"mtls": "permissive"},
                         "quotes": {"mtls": "strict", "mtls_ports": [{"port": QUOTES.port, "mtls": "permissive"}]},
                         "echo": {"mtls": "permissive", "mtls_ports": [{"port": ECHO.port, "mtls": "strict"}]}}
        yield mesh.start()


@pytest.mark.parametrize("name, status", [("orders", None), ("stock", 200), ("quotes", 200), ("echo", None)])
def test_who_takes_plain_text(plain, name, status):
    if status is None:
        assert plain.turned_away(STRANGER_UID, name, machine="vm-a")
        assert wait_for(lambda: plain.access_lines("vm-b", destination_service=name), "a line")[-1]["response_code_details"] == "PLAINTEXT"
    else:
        reply = plain.call(STRANGER_UID, name, machine="vm-a")
        assert reply.status == status and "x-forwarded-client-cert" not in reply.body.decode().lower()


@pytest.mark.parametrize("name", ["orders", "stock", "quotes"])
def test_mutual_tls_is_taken_by_all(plain, name):
    assert "URI=spiffe://mesh.test/service/web" in plain.call("web", name).body.decode()


def test_policy_holds_for_plain_text(plain):
    plain.policies = [ANYBODY, {"name": "read-only", "service": "stock", "action": "deny", "not_methods": ["GET"]},
                      {"name": "known", "service": "quotes", "action": "deny", "from": ["anonymous"]}]
    plain.change()
    assert plain.call(STRANGER_UID, "stock", machine="vm-a").status == 200
    assert plain.call(STRANGER_UID, "stock", "POST /echo", body=b"x", machine="vm-a").status == 403
    assert plain.call(STRANGER_UID, "quotes", machine="vm-a").status == 403
    assert plain.call("web", "quotes").status == 200


def test_disabled_goes_in_the_plain(plain):
    """Neither side says who it is: nobody is named to the server."""
    plain.policies = [ANYBODY]
    plain.settings["orders"] = {"mtls": "strict", "mtls_ports": [{"port": ORDERS.port, "mtls": "disabled"}]}
    plain.change()
    before = plain["vm-b"].metric("ringmain_tls_handshakes_total")
    reply = plain.call("web", "orders")
    assert reply.status == 200 and "URI=spiffe" not in reply.body.decode()
    assert plain["vm-b"].metric("ringmain_tls_handshakes_total") == before
    assert plain.access_lines("vm-b", destination_service="orders")[-1]["security"] == "plaintext"


# --- on trial --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trial():
    services = [WEB, GUEST, ORDERS, at(STOCK, "vm-a"), ECHO]
    with Moded(services, policies=[], default_policy="authenticated") as mesh:
        yield mesh.start()


def counted(node, name):
    return node.metric(f"ringmain_policy_{name}_total")


@pytest.mark.parametrize("to, there", [("orders", "vm-b"), ("stock", "vm-a")])
def test_a_policy_on_trial(trial, to, there):
    trial.policies = [{"name": "try", "service": to, "action": "deny", "mode": "audit", "from": ["web"], "paths": ["/echo/no"]}]
    trial.change()
    denied, would = counted(trial[there], "denied"), counted(trial[there], "would_deny")
    assert trial.call("web", to, "GET /echo/no", [f"x-request-id: {to}-1"]).status == 200
    assert trial.call("web", to, "GET /echo/yes", [f"x-request-id: {to}-2"]).status == 200
    assert trial.call("guest", to, "GET /echo/no", [f"x-request-id: {to}-3"]).status == 200
    lines = [trial.access_line(there, request_id=f"{to}-{n}", direction="outbound" if there == "vm-a" else "inbound") for n in (1, 2, 3)]
    assert [line.get("would_deny") for line in lines] == ["try", None, None]
    assert lines[0]["would_deny_where"].startswith(str(trial.mesh_file))
    assert (counted(trial[there], "denied"), counted(trial[there], "would_deny")) == (denied, would + 1)


def test_a_policy_that_only_notes(trial):
    trial.policies = [{"name": "see", "service": "orders", "action": "audit", "methods": ["DELETE"]}]
    trial.change()
    before = counted(trial["vm-b"], "noted")
    assert trial.call("web", "orders", "DELETE /echo", ["x-request-id: noted"]).status == 200
    assert trial.access_line("vm-b", request_id="noted")["policy_noted"] == "see"
    assert counted(trial["vm-b"], "noted") == before + 1


def test_a_mesh_on_trial(trial):
    """Closed to everybody but web at orders, and nobody is refused yet."""
    trial.policies = [{"name": "web", "service": "orders", "action": "allow", "from": ["web"]}]
    trial.default_policy, trial.groups = "deny", {"mesh": {"policy_mode": "audit"}}
    trial.change()
    node = trial["vm-b"]
    denied, would = counted(node, "denied"), counted(node, "would_deny")
    assert trial.call("web", "orders", headers=["x-request-id: all-1"]).status == 200
    assert trial.call("guest", "orders", headers=["x-request-id: all-2"]).status == 200
    with trial.dial("guest", "echo") as wire:
        assert wire.send("abc").finish().rest() == b"abc"
    assert "would_deny" not in trial.access_line("vm-b", request_id="all-1")
    assert trial.access_line("vm-b", request_id="all-2")["would_deny"] == "default"
    assert trial.access_line("vm-b", destination_service="echo", kind="tcp_open")["would_deny"] == "default"
    assert (counted(node, "denied"), counted(node, "would_deny")) == (denied, would + 2)
    # and then in earnest
    trial.groups = {}
    trial.change()
    assert trial.call("guest", "orders").status == 403
    assert trial.turned_away("guest", "echo")
    assert trial.call("web", "orders").status == 200
