# SPDX-License-Identifier: Apache-2.0
"""A caller, and machines whose servers fail, stall, reset, answer late or answer what is no HTTP, on command.

vm-a calls; orders is at an address of its own, and served by vm-a itself (version v0), vm-b (v1), vm-c (v2), and more if
there are more machines. What is between them is set by set(), and only on the caller's machine, which is who decides."""
import contextlib
import os
import signal
import socket

from machines import wait_for
from mesh import GUEST, ORDERS, WEB, ScenarioMesh, at, request_text

ADDRESS = 200
NEAR, FAR = "vm-a", "vm-c"
TOLERANT = {"outlier": {"ejected_percent": 0}}  # no endpoint is left out, whatever it does


class Served(ScenarioMesh):
    def __init__(self, on=("vm-a", "vm-b", "vm-c"), services=(), groups=None, callers=("vm-a",), **more):
        machines = list(dict.fromkeys(["vm-a", *on]))
        self.routes, self.settings, self.void = [], TOLERANT, False
        orders = at(ORDERS, *on, own=ADDRESS)
        more = {"policies": [{"service": "orders", "action": "allow", "from": ["web", "guest"]}], "default_policy": "deny", **more}
        super().__init__([at(WEB, *callers), GUEST, orders, *services], machines=machines, groups=groups or {"timeouts": {"connect": "2s"}}, **more)

    def version(self, machine):
        return f"v{self.service('orders').on.index(machine)}"

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            for endpoint, machine in zip(row.get("endpoints", ()), self.service(row["name"]).on):
                endpoint["version"] = f"v{self.service(row['name']).on.index(machine)}"
            if row["name"] == "orders":
                row.update(self.settings)
                if self.void:  # nobody has this address
                    row["endpoints"].append({"address": "10.77.0.250", "port": row["port"], "version": "void"})
        return {**groups, "routes": self.routes} if self.routes else groups

    def set(self, *rules, service="orders", settings=TOLERANT, void=False, node="vm-a"):
        """From now on these rules, and these keys of orders, on one machine."""
        self.routes = [{"service": service, "rules": list(rules)}] if rules else []
        self.settings, self.void = settings, void
        generation = self[node].metric("ringmain_generation")
        self.write_configs()
        self[node].reload()
        wait_for(lambda: self[node].metric("ringmain_generation") > generation, "the new plan")

    def forget(self):
        """The proxy of the caller's machine dies, and with it all that it knew of endpoints, turns and budgets."""
        node = self["vm-a"]
        killed = node.proxy_pid()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: node.proxy_pid() not in (None, killed) and node.ready(), "a new proxy process", 20)

    @contextlib.contextmanager
    def behaves(self, machine, mode):
        """The server of orders on a machine does as http_server.py says, until it is left."""
        path = self.lab[machine].dir / "workloads" / "orders.record.mode"
        fresh = path.with_suffix(".new")
        fresh.write_text(mode)
        fresh.rename(path)
        try:
            yield
        finally:
            path.unlink()

    def seen(self, path, machine=None):
        """How often the servers of orders have seen a request for a path, or one of them."""
        machines = [machine] if machine else self.service("orders").on
        return sum(self.record("orders", m).count(f" {path} HTTP/1.1\r\n".encode()) for m in machines)

    # --- calls to the service's own address --------------------------------------------------------

    def wire(self, caller="web", family=socket.AF_INET, timeout=15):
        return self.dial(caller, self.own("orders", family), timeout=timeout)

    def ask(self, line="GET /echo", caller="web", headers=(), body=b"", host="orders"):
        with self.wire(caller) as wire:
            return ask(wire, line, headers, body, host)

    def mine(self, name):
        """A counter of the caller's proxy."""
        return self["vm-a"].metric(f"ringmain_{name}")

    def line(self, path, **fields):
        """The caller's line of a path in the access log."""
        return self.access_line("vm-a", path=path, **fields)


def ask(wire, line="GET /echo", headers=(), body=b"", host="orders"):
    return wire.send(request_text(line, host, headers, body)).reply(line.split(" ")[0])


def machine_of(reply):
    return reply.json["server"].split("@")[1]
