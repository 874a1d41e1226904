# SPDX-License-Identifier: Apache-2.0
"""What the tests of the mesh's state are written with: a fleet of three machines and a Redis, calls
that go on all the while, and other nodes that are there in the store only.

vm-a calls; vm-b and vm-c serve orders, at an address of the service's own; each says who it is."""
import collections
import contextlib
import json
import socket
import threading
import time
from pathlib import Path

from machines import wait_for
from mesh import ECHO, GUEST, ORDERS, WEB, ScenarioMesh, Wire, at, request_text
from stores import ReplyError

CALLED = at(ORDERS, "vm-b", "vm-c", own=200)
TCP = at(ECHO, "vm-b", "vm-c", own=201)
SERVICES = [WEB, GUEST, CALLED, TCP]
ALLOW_WEB = {"name": "web-uses-orders", "service": "orders", "action": "allow", "from": ["web"]}
ALLOW_ECHO = {"name": "web-uses-echo", "service": "echo", "action": "allow", "from": ["web"]}
ALLOW_GUEST = {"name": "guest-uses-orders", "service": "orders", "action": "allow", "from": ["guest"]}
STATE = {"lease": "2s", "timeout": "500ms", "resync": "30s", "hold_percent": 100}
MACHINES = ("vm-a", "vm-b", "vm-c")


class Fleet(ScenarioMesh):
    """Everybody denies what no policy allows, and the store's pace is a test's, not a fleet's."""

    def __init__(self, services=SERVICES, machines=MACHINES, stores=("vm-r",), state=None, groups=None, **more):
        more = {"default_policy": "deny", "policies": [ALLOW_WEB, ALLOW_ECHO], **more}
        groups = {**(groups or {}), "state": {**STATE, **(state or {})}}
        super().__init__(services, machines=machines, stores=stores, groups=groups, **more)

    def start(self, serve=True):
        super().start(serve)
        self.wait_settled()
        return self

    # --- how the nodes stand -----------------------------------------------------------------------

    def view(self, node):
        """What a node's status says of the store and of the mesh's state."""
        return json.loads(self[node].admin_get("/status")[1])["state"]

    def views(self, *nodes):
        return [self.view(node.name) for node in self if node.process and node.process.running
                and (not nodes or node.name in nodes)]

    def endpoint_count(self):
        return sum(len(s.on) for s in self.services if s.port)

    def key(self, name):
        return f"ringmain:{{{self.trust_domain}}}:{name}"

    def store_revision(self):
        head = self.redis.ask("GET", self.key("head"))
        if head is None:
            return 0
        return int(next(line for line in head.decode().splitlines() if line.startswith("revision ")).split()[1])

    def wait_settled(self, timeout=20, endpoints=None):
        """Until every node is connected, has the store's revision, and knows all endpoints."""
        def settled():
            revision = self.store_revision()
            wanted = self.endpoint_count() if endpoints is None else endpoints
            return all(view["connected"] and view["revision"] == revision and view["endpoints"] >= wanted
                       and not view["why"] for view in self.views())
        try:
            wait_for(settled, "the fleet to settle", timeout)
        except Exception as error:
            raise type(error)(f"{error}: {json.dumps(self.views(), indent=1)}") from None

    def wait_view(self, node, what, test, timeout=10):
        """Until a node's view of the state passes a test; how long that took, and the view."""
        start, last = time.monotonic(), {}

        def good():
            last.clear()
            last.update(self.view(node))
            return test(last)
        try:
            wait_for(good, f"{node} to say {what}", timeout, every=0.02)
        except Exception as error:
            raise type(error)(f"{error}: {json.dumps(last, indent=1)}") from None
        return time.monotonic() - start, dict(last)

    # --- calls to a service's own address ----------------------------------------------------------

    def dial_own(self, caller, name, family=socket.AF_INET, timeout=10):
        return self.dial(caller, self.own(name, family), timeout=timeout)

    def call_own(self, caller="web", name="orders", line="GET /echo", **more):
        with self.dial_own(caller, name, **more) as wire:
            wire.send(request_text(line, name))
            return wire.reply(line.split(" ")[0])

    def call_at(self, machine, caller="web"):
        """A call to the endpoint of orders on a machine, and to no other."""
        with self.dial(caller, self.target("orders", machine=machine)) as wire:
            return wire.send(request_text("GET /echo", "orders")).reply()

    def served_by(self, count=20, caller="web"):
        """Who answers so many calls: {"orders@vm-b": 11, ...}."""
        found = collections.Counter()
        with self.dial_own(caller, "orders") as wire:
            for _ in range(count):
                reply = wire.send(request_text("GET /echo", "orders")).reply()
                found[reply.json["server"] if reply.status == 200 else reply.status] += 1
        return found

    def wait_served_by(self, *names, timeout=10, count=20):
        """Until calls are answered by these, all of them and nobody else; how long that took. An endpoint that is busy
        with a call of somebody else's gets none meanwhile, so once is not enough to find all."""
        start = time.monotonic()
        wanted = {f"orders@{name}" for name in names}
        wait_for(lambda: set(self.served_by(count)) == wanted, f"calls to be served by {wanted}", timeout, every=0.01)
        return time.monotonic() - start

    # --- nodes that are there in the store only ----------------------------------------------------

    def ghost(self, name, endpoints=(), seconds=None):
        """A node's record and lease, written as it would; each time as after a new start of it.
        `endpoints`: "orders v1 up 100 10.77.0.99:8080"."""
        start, number = time.time_ns(), 1
        lines = ["ringmain 1", f"node {name}", f"start {start}", f"number {number}", "version 0.1.0", "revision 1",
                 *(f"endpoint {endpoint}" for endpoint in endpoints)]
        with self.redis.connect() as lab:
            lab.ask("SET", self.key(f"node:{name}"), "\n".join(lines) + "\n")
            expiry = ("PX", int(seconds * 1000)) if seconds else ()
            lab.ask("SET", self.key(f"lease:{name}"), f"{start} {number}", *expiry)
            lab.ask("PUBLISH", self.key("news"), f"node {name}")

    def ghosts_remove(self, *names):
        with self.redis.connect() as lab:
            for name in names:
                lab.ask("DEL", self.key(f"lease:{name}"))
                lab.ask("DEL", self.key(f"node:{name}"))
                lab.ask("PUBLISH", self.key("news"), f"node {name}")


class Load:
    """Calls without pause from some callers, over kept and new connections; leaving it says whether
    any has failed. `with Load(fleet) as load: ...`"""

    def __init__(self, fleet, callers=3, pause=0.01, caller="web", tcp=True):
        self.fleet, self.pause, self.caller = fleet, pause, caller
        self.failures, self.servers, self.count = [], collections.Counter(), 0
        self.over = threading.Event()
        works = [self.http] * callers + ([self.opaque] if tcp else [])
        self.threads = [threading.Thread(target=work) for work in works]

    def __enter__(self):
        self.fleet.call_own(self.caller)
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if kind is None:
            assert self.failures == [], f"{len(self.failures)} of {self.count}: {self.failures[:10]}"
            assert self.count >= 20

    def attempt(self, what, work):
        start = time.monotonic()
        try:
            work()
        except Exception as error:
            self.failures.append(f"{time.strftime('%H:%M:%S')} after {time.monotonic() - start:.2f} s: {what}: {error!r}")
            self.over.wait(0.1)
        self.count += 1
        self.over.wait(self.pause)

    def http(self):
        while not self.over.is_set():
            held = []

            def request():
                if not held:
                    held.append(self.fleet.dial_own(self.caller, "orders"))
                reply = held[0].send(request_text("GET /echo", "orders")).reply()
                assert reply.status == 200, f"{reply.status} {reply.body[:100]}"
                self.servers[reply.json["server"]] += 1
            for _ in range(10):
                before = len(self.failures)
                self.attempt("HTTP", request)
                if self.over.is_set() or len(self.failures) > before:
                    break
            for wire in held:
                wire.sock.close()

    def opaque(self):
        def exchange():
            with self.fleet.dial_own(self.caller, "echo") as wire:
                assert wire.send(b"twelve bytes").exactly(12) == b"twelve bytes"
        while not self.over.is_set():
            self.attempt("TCP", exchange)

    def more(self, count=30, timeout=15):
        """Waits for so many further calls."""
        target = self.count + count
        wait_for(lambda: self.count >= target, f"{count} more calls", timeout)


# --- what a newer version has published --------------------------------------------------------------------


@contextlib.contextmanager
def newer_operator(fleet, **words):
    """Of a later ringmain, with keys or kinds that those on the nodes do not have: ours, in other words of the same
    length."""
    ours, newer = fleet.binary, fleet.lab.dir / "newer-ringmain"
    program = Path(ours).read_bytes()
    for word, newer_word in words.items():
        old = f"\0{word}\0".encode()
        assert old in program and len(word) == len(newer_word)
        program = program.replace(old, f"\0{newer_word}\0".encode())
    newer.unlink(missing_ok=True)
    newer.write_bytes(program)
    newer.chmod(0o755)
    fleet.binary = newer
    try:
        yield
    finally:
        fleet.binary = ours


def echoes(fleet):
    with fleet.dial_own("web", "echo") as wire:
        return wire.send(b"ping").exactly(4) == b"ping"


# --- Redis is away ----------------------------------------------------------------------------------------


def closed_to_guest(fleet):
    """Also when a picture is only just on its way to the proxies: soon, and then for good."""
    def closed():
        return all(fleet.call_at(machine, "guest").status == 403 for machine in ("vm-b", "vm-c"))
    wait_for(closed, "orders to be closed to guest", 3)
    return all(closed() for _ in range(5))


def wait_lost(fleet, *nodes):
    for node in nodes or ("vm-a", "vm-b", "vm-c"):
        fleet.wait_view(node, "that the store is not there", lambda v: not v["connected"] and v["why"])


def kill(fleet):
    fleet.redis.save("now")
    fleet.redis.kill()
    wait_lost(fleet)


def revive(fleet):
    fleet.redis.start()  # from what was saved


@contextlib.contextmanager
def outage(fleet):
    kill(fleet)
    try:
        yield
    finally:
        revive(fleet)
        fleet.wait_settled(30)


def age(view):
    """How long ago the picture was last known to be the store's, in seconds."""
    return view["age_s"]


def log_of(fleet, node):
    return fleet[node].process.log


__all__ = ["ALLOW_ECHO", "ALLOW_GUEST", "ALLOW_WEB", "CALLED", "Fleet", "Load", "MACHINES", "ReplyError", "SERVICES",
           "STATE", "TCP", "Wire", "age", "closed_to_guest", "echoes", "kill", "log_of", "newer_operator", "outage", "revive", "wait_lost"]
