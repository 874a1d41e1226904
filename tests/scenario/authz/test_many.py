# SPDX-License-Identifier: Apache-2.0
"""Ten thousand idle sessions, and a policy that no longer allows most of them: those end, all others stay, and what
goes on beside them does not notice. How long that took is printed."""
import contextlib
import resource
import select
import threading
import time

import pytest
from machines import wait_for
from mesh import ECHO, GUEST, ORDERS, WEB, ScenarioMesh, Wire, at, request_text

SESSIONS = 10_000
ALLOW = [{"name": "callers", "service": ["orders", "echo"], "action": "allow", "from": ["web", "guest"]}]
NO_WEB = {"name": "no-web", "service": ["orders", "echo"], "action": "deny", "from": ["web"]}
REQUEST = request_text("GET /echo/idle", "orders")
BATCH = 200


@pytest.fixture(scope="module")
def mesh():
    """web, guest and orders share a machine, whose one proxy has their sessions; guest calls from another one, too."""
    services = [at(WEB, "vm-a"), at(GUEST, "vm-a", "vm-b"), at(ORDERS, "vm-a"), at(ECHO, "vm-a")]
    groups = {"limits": {"connections_max": 32768, "workload_connections_max": 32768}, "timeouts": {"idle": "10m"}}
    with ScenarioMesh(services, policies=ALLOW, default_policy="deny", workers=2, groups=groups) as mesh:
        for machine in mesh.lab:
            machine.sysctl(net__ipv4__ip_local_port_range="2000 14999", net__core__somaxconn=8192)
        yield mesh.start()


def dial_many(mesh, caller, count):
    """Sessions that have had a request and its answer, and wait for the next."""
    wires = []
    while len(wires) < count:
        more = [Wire(sock) for sock in mesh.lab["vm-a"].sockets(mesh.service(caller).uid, count=min(BATCH, count - len(wires)))]
        for wire in more:
            wire.sock.settimeout(60)
            wire.sock.connect(mesh.target("orders"))
        wires += more
        assert ask_all(more) == {200}
    return wires


def ask_all(wires):
    """The statuses of a request on each of them."""
    found = set()
    for first in range(0, len(wires), BATCH):
        for wire in wires[first:first + BATCH]:
            wire.send(REQUEST)
        found |= {wire.reply().status for wire in wires[first:first + BATCH]}
    return found


@contextlib.contextmanager
def traffic(mesh):
    """Calls of guest without a pause, by new and kept connections, from its other machine and by opaque bytes: none fails."""
    over, failures, counts = threading.Event(), [], {"kept": 0, "new": 0, "bytes": 0}

    def kept():
        with mesh.dial("guest", "orders", machine="vm-b") as wire:
            while not over.is_set():
                assert wire.send(REQUEST).reply().status == 200
                counts["kept"] += 1

    def new():
        while not over.is_set():
            assert mesh.call("guest", "orders", "GET /echo/new").status == 200
            counts["new"] += 1

    def opaque():
        with mesh.dial("guest", "echo", machine="vm-b") as wire:
            while not over.is_set():
                assert wire.send("abc").exactly(3) == b"abc"
                counts["bytes"] += 1

    def work(one):
        try:
            one()
        except Exception as error:
            failures.append(f"{one.__name__}: {error!r}")
    threads = [threading.Thread(target=work, args=(one,)) for one in (kept, new, opaque)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures


class Ends:
    """When each of many sessions ends."""

    def __init__(self, wires):
        self.left = {wire.sock.fileno(): wire for wire in wires}
        self.at, self.how = [], set()
        self.poll = select.epoll()
        for number in self.left:
            self.poll.register(number, select.EPOLLIN)

    def gather(self):
        """Whether all have."""
        for number, _ in self.poll.poll(0.01, maxevents=4096):
            wire = self.left.pop(number)
            self.poll.unregister(number)
            self.at.append(time.monotonic())
            try:
                self.how.add("fin" if wire.sock.recv(1) == b"" else "bytes")
            except ConnectionResetError:
                self.how.add("reset")
        return not self.left


@pytest.mark.seconds(150)
def test_a_policy_ends_those_that_it_does_not_allow(mesh, capsys):
    count = min(SESSIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 2000)  # the proxy has one descriptor for each, and so has the test
    node, began = mesh["vm-a"], time.monotonic()
    refused, allowed = dial_many(mesh, "web", count * 4 // 5), dial_many(mesh, "guest", count // 5)
    opened = time.monotonic() - began
    ends, stays = Ends(refused), Ends(allowed)
    ended_before = node.metric("ringmain_policy_sessions_ended_total")
    with traffic(mesh) as counts:
        wait_for(lambda: all(counts.values()), "the traffic to begin")
        assert not ends.gather() and len(ends.left) == len(refused)
        mesh.policies = [NO_WEB, *ALLOW]
        mesh.write_configs()
        before, began = dict(counts), time.monotonic()
        node.reload()
        wait_for(ends.gather, "the sessions to end", 60, every=0)
        wait_for(lambda: all(counts[what] > before[what] for what in counts), "traffic after the change")
        assert mesh.call("web", "orders", "GET /echo/refused").status == 403
    assert ends.how == {"fin"}
    assert node.metric("ringmain_policy_sessions_ended_total") - ended_before == len(refused)
    assert not stays.at and not stays.poll.poll(0)
    assert ask_all(allowed) == {200}
    with capsys.disabled():
        print(f"\n    of {count} idle sessions (opened in {opened:.1f} s) {len(refused)} ended, the first {1000 * (min(ends.at) - began):.0f} ms, "
              f"the last {1000 * (max(ends.at) - began):.0f} ms after the change was asked for; {len(allowed)} stayed; "
              f"meanwhile {sum(counts.values()) - sum(before.values())} other calls", flush=True)
    for wire in refused + allowed:
        wire.sock.close()
