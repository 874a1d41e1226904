# SPDX-License-Identifier: Apache-2.0
"""What the tests of rollouts are written with: vm-a calls; v1 of orders and of echo runs on vm-b, v2 on vm-c, where it
does as it is told. Steps are short; how far a rollout is is read where the nodes read it, in the store's stream."""
import collections
import contextlib
import re
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "state"))
from fleet import ALLOW_ECHO, ALLOW_WEB, Fleet  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ECHO, ORDERS, WEB, at, request_text  # noqa: E402

VERSIONS = {"vm-b": "v1", "vm-c": "v2"}
OLD, NEW = "vm-b", "vm-c"
STEPS = [10, 50, 100]
TOLERANT = {"outlier": {"ejected_percent": 0}}  # what fails goes on being called


class Rollouts(Fleet):
    def __init__(self, **more):
        services = [WEB, at(ORDERS, OLD, NEW, own=200), at(ECHO, OLD, NEW, own=201)]
        groups = {"timeouts": {"request": "1s"}, **more.pop("groups", {})}
        super().__init__(services, policies=[ALLOW_WEB, ALLOW_ECHO], groups=groups, **more)
        self.rule, self.attempts = None, collections.Counter()

    def start(self, serve=True):
        for name, version in VERSIONS.items():
            self[name].more = {s: {"version": version} for s in ("orders", "echo")}
        super().start(serve)
        self.call_own()  # who makes sockets for the caller is to outlive the threads of a test
        return self

    def mesh_groups(self):
        groups = super().mesh_groups()
        for row in groups["services"]:
            if row["name"] == "orders":
                row.update(TOLERANT)
        return groups

    # --- what operators say ------------------------------------------------------------------------

    def roll_out(self, service="orders", attempt=None, **keys):
        """Publishes a rollout from v1 to v2, a new attempt unless one is named; the only one that there is then."""
        if attempt is None:
            self.attempts[service] += 1
        self.rule = {"service": service, "from": "v1", "to": "v2", "attempt": attempt or self.attempts[service],
                     "steps": STEPS, "every": "2s", "success": 99, "calls_min": 20, **keys}
        self.publish({**self.mesh_groups(), "rollouts": [self.rule]}, "--prune")

    def say(self, order):
        """The operator's word for the rollout that there is."""
        self.rule = {**self.rule, "order": order}
        self.publish({**self.mesh_groups(), "rollouts": [self.rule]}, "--prune")

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

    # --- how far it is -----------------------------------------------------------------------------

    def entry(self, service="orders"):
        """The id of the stream's last entry, and what it says; ("0-0", {}) when there is none."""
        with self.redis.connect() as lab:
            entries = lab.ask("XREVRANGE", self.key(f"rollout:{service}"), "+", "-", "COUNT", "1")
        if not entries:
            return "0-0", {}
        words = [w.decode() for w in entries[0][1]]
        text = dict(zip(words[::2], words[1::2]))["progress"]
        return entries[0][0].decode(), dict(line.split(" ", 1) for line in text.splitlines() if " " in line)

    def term(self, service="orders"):
        return int(self.entry(service)[0].split("-")[0])

    def progress(self, service="orders"):
        return self.entry(service)[1]

    def wait_progress(self, what, test, service="orders", timeout=30):
        """Until what the stream says of this attempt passes a test; the states and steps on the way, in order."""
        way = []

        def good():
            said = self.progress(service)
            if said.get("attempt") != str(self.rule["attempt"]):
                return None
            here = (said["state"], int(said["step"]))
            if not way or way[-1] != here:
                way.append(here)
            return test(said) and said
        try:
            wait_for(good, what, timeout, every=0.05)
        except Exception as error:
            raise type(error)(f"{error}: {way} {self.progress(service)}") from None
        return way

    def wait_step(self, step, state="stepping", **more):
        return self.wait_progress(f"step {step}, {state}",
                                  lambda p: p["state"] == state and int(p["step"]) == step, **more)

    def wait_state(self, state, **more):
        return self.wait_progress(state, lambda p: p["state"] == state, **more)

    def percent(self, node, service="orders"):
        """What a node's proxy does."""
        return self[node].metric("ringmain_rollout_percent", service=service)

    def wait_percent(self, percent, service="orders", timeout=5, nodes=None):
        nodes = nodes or [n.name for n in self if n.process and n.process.running]
        wait_for(lambda: all(self.percent(n, service) == percent for n in nodes),
                 f"{percent} % at {nodes}", timeout, every=0.02)

    def carrying(self, service="orders"):
        return self.progress(service)["node"]

    def logged(self, text):
        return [node.name for node in self if node.process and re.search(text, node.process.log)]

    def state_process(self, node):
        """The pid of a node's state process."""
        return self[node].children()["state"]


class Calls:
    """Calls to orders from some callers at once, until it is left: who answered, and what failed."""

    def __init__(self, fleet, callers=4, pause=0.005, line="GET /echo", timeout=10):
        self.fleet, self.pause, self.line, self.timeout = fleet, pause, line, timeout
        self.served, self.failed = collections.Counter(), []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(callers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def run(self):
        while not self.over.is_set():
            try:
                with self.fleet.dial_own("web", "orders", timeout=self.timeout) as wire:
                    for _ in range(20):
                        self.one(wire)
                        if self.over.wait(self.pause):
                            break
            except (OSError, EOFError) as error:
                self.failed.append((time.monotonic(), repr(error)))

    def one(self, wire):
        reply = wire.send(request_text(self.line, "orders")).reply()
        if reply.status == 200 and reply.body.startswith(b"{"):
            self.served[VERSIONS[reply.json["server"].split("@")[1]]] += 1
        elif reply.status == 200:  # as it was told to answer, not saying who it is
            self.served["?"] += 1
        else:
            self.failed.append((time.monotonic(), reply.status))


class Connects:
    """The same for echo, a connection each."""

    def __init__(self, fleet, callers=4, pause=0.01):
        self.fleet, self.pause, self.failed, self.count = fleet, pause, 0, 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(callers)]

    __enter__, __exit__ = Calls.__enter__, Calls.__exit__

    def run(self):
        while not self.over.is_set():
            try:
                with self.fleet.dial_own("web", "echo") as wire:
                    assert wire.send(b"twelve bytes").exactly(12) == b"twelve bytes"
                    self.count += 1
            except (OSError, EOFError):
                self.failed += 1
            self.over.wait(self.pause)
