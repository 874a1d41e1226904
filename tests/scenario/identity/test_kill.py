# SPDX-License-Identifier: Apache-2.0
"""kill -9 of everything that has part in joining and renewing, at each step of it: what is left is a state
from which the next start goes on by itself, and traffic that need not notice does not."""
import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest
from ca import PORT
from certified import Certified, leaf, pair_text, private_key
from company import Calls
from machines import wait_for
from mesh import ECHO, ORDERS, WEB


class Stall:
    """Stands between a machine and the authority and passes on so many bytes of each direction: what
    comes behind them is lost with the connection when it is killed; `hold` says of each part of the
    authority's that it is not to be passed on. `seen` is when it is there."""

    def __init__(self, mesh, node, up=None, down=None, hold=None):
        self.hold = hold
        self.target, self.limits = (mesh.authority.machine.v4, PORT), {"up": up, "down": down}
        self.node, self.seen, self.over = node, threading.Event(), threading.Event()
        self.listener = node.machine.sockets(0)[0]
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((node.machine.v4, 0))
        self.listener.listen(16)
        self.address = f"{node.machine.v4}:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = self.node.machine.sockets(0)[0]
                far.connect(self.target)
                for source, sink, name in ((near, far, "up"), (far, near, "down")):
                    threading.Thread(target=self.pump, args=(source, sink, name), daemon=True).start()

    def pump(self, source, sink, name):
        left = self.limits[name]
        with contextlib.suppress(OSError):
            while part := source.recv(65536 if left is None else max(1, min(65536, left))):
                left = None if left is None else left - len(part)
                if (left is not None and left <= 0) or (name == "down" and self.hold and self.hold()):
                    self.seen.set()
                    self.over.wait(30)
                    return
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    def stop(self):
        self.over.set()
        self.listener.close()


# The bytes after which an answer or a request no longer comes: in the handshake, in the request, in the answer.
STEPS = [("up", 100), ("down", 100), ("up", 700), ("down", 1200), ("up", 1300), ("down", 2600), ("down", 3400)]


def lonely():
    """Nothing runs yet but the authority."""
    mesh = Certified([WEB, ORDERS])
    mesh.serve()
    mesh.write_configs()
    mesh.authority.names = [mesh["vm-a"].machine.v4]  # where the one in between is asked
    mesh.authority.make()
    mesh.authority.start()
    return mesh


@pytest.fixture(scope="module")
def joining():
    with lonely() as mesh:
        yield mesh


def fresh(node):
    """As a machine that never joined."""
    subprocess.run(["rm", "-rf", node.keep], check=True)


@pytest.mark.parametrize("direction,count", STEPS)
def test_join_killed_on_its_way(joining, direction, count):
    """By kill -9 while a part of what is said is still to come: the same token and key do the next time."""
    mesh, node = joining, joining["vm-a"]
    fresh(node)
    token = node.token_file()
    stall = Stall(mesh, node, **{direction: count})
    words = ["join", "--ca", stall.address, "--ca-fingerprint", mesh.authority.fingerprint, "--token-file", token]
    process = node.machine.spawn("join", [mesh.binary, *words, "-c", node.config], env=node.environment())
    try:
        wait_for(lambda: stall.seen.is_set() or not process.running, "the step")
        process.kill(signal.SIGKILL)
        process.wait()
    finally:
        stall.stop()
    pending = [private_key(p.read_text()) for p in node.keep.glob("node.pem.next")] if node.keep.exists() else []
    node.join(token=token)
    assert leaf((node.keep / "node.pem").read_text())
    if pending:
        assert private_key((node.keep / "node.pem").read_text()) == pending[0]
    assert not list(node.keep.glob("*.next")) and not list(node.keep.glob("*.new-*"))


def test_the_authority_killed_while_it_is_joined(joining):
    """At some moment of many: the next try of the same join does it, and another key may not."""
    mesh, node = joining, joining["vm-b"]
    for number in range(6):
        fresh(node)
        token = node.token_file()
        words = node.join_command("--token-file", token)
        process = node.machine.spawn("join", [mesh.binary, *words, "-c", node.config], env=node.environment())
        time.sleep(random.Random(number).uniform(0, 0.15))
        mesh.authority.kill()
        process.wait(30)
        mesh.authority.start()
        node.join(token=token)
        assert leaf((node.keep / "node.pem").read_text())
    assert mesh.authority.ca("list", "nodes").returncode == 0


# --- renewing --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mesh():
    with Certified([WEB, ORDERS, ECHO], {"leaf": "10s", "node": "20s"}) as mesh:
        yield mesh.start()


def renewed_again(mesh, node, count=1, timeout=40):
    """Until each identity of a machine has a new certificate, so many times."""
    for _ in range(count):
        before = {path: leaf(pair_text(path)) for path in node.keep.glob("**/*.pem") if "service" in str(path)}
        wait_for(lambda: all(path.exists() and leaf(pair_text(path)) != old for path, old in before.items()),
                 f"{node.name} to renew", timeout)


def moments(seed, count):
    """Waits that fall into every part of a renewal, the same in each run."""
    spread = random.Random(seed)
    return [spread.uniform(0, 5) for _ in range(count)]


@pytest.mark.parametrize("role", ["state", "authority"])
def test_killed_while_it_renews(mesh, role):
    """Nobody's traffic depends on these two for as long as a certificate holds. Who dies again soon after
    its start is started again later and later, so not too often."""
    node = mesh["vm-b"]
    with Calls(mesh):
        for wait in moments(role, 3):
            time.sleep(wait)
            if role == "authority":
                mesh.authority.kill()
                mesh.authority.start()
            else:
                killed = node.state_pid()
                os.kill(killed, signal.SIGKILL)
                wait_for(lambda: node.state_pid() not in (None, killed), "a new state process")
        renewed_again(mesh, node)
    assert node.proxy_pid() and not list(node.keep.glob("**/*.new-*"))


def test_the_proxy_killed_while_it_renews(mesh):
    """Its connections are gone with it; the next one has the newest certificates."""
    node = mesh["vm-b"]
    for wait in moments("proxy", 3):
        time.sleep(wait)
        killed = node.proxy_pid()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: node.proxy_pid() not in (None, killed) and node.ready(), "a new proxy process", 20)
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "orders to be back", 20)
    renewed_again(mesh, node)


def test_the_keeper_killed_while_it_renews(mesh):
    """All of ringmain is gone with it, at whatever it was writing; its next start goes on."""
    node = mesh["vm-b"]
    for wait in moments("keeper", 3):
        time.sleep(wait)
        node.process.stop(signal.SIGKILL)
        wait_for(lambda: not node.machine.listening(15008), "its children to end")
        for path in (node.keep / "node.pem", *node.keep.glob("service/*.pem")):
            assert leaf(path.read_text()) and private_key(path.read_text())
            assert path.stat().st_mode & 0o777 == 0o600
        node.start()
        mesh.wait_certified(node)
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "orders to be back", 20)
    renewed_again(mesh, node)
    assert not list(node.keep.glob("**/*.new-*"))


def test_a_lost_answer_is_asked_for_again_with_the_same_key():
    """The authority has signed, and its answer never comes, and all is killed: the same key is certified
    when asked for again."""
    with Certified([WEB, ORDERS], {"leaf": "6s", "node": "60s"}) as mesh:
        node = mesh["vm-b"]
        mesh.authority.names = [node.machine.v4]
        mesh.start()
        before = []
        stall = Stall(mesh, node, hold=lambda: mesh.authority.issued("service/orders") > before[0])
        before.append(mesh.authority.issued("service/orders") + 1)
        node.groups = {"identity": {"ca": [stall.address]}}
        node.write_config()
        node.reload()
        try:
            wait_for(stall.seen.is_set, "an answer to be lost", 30)
            node.process.stop(signal.SIGKILL)
        finally:
            stall.stop()
        key = private_key((node.keep / "service" / "orders.pem.next").read_text())
        node.groups = {}
        node.write_config()
        node.start()
        path = node.keep / "service" / "orders.pem"
        wait_for(lambda: private_key(pair_text(path)) == key, "orders to have that key", 20, every=0.01)
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "orders to be back", 20)
