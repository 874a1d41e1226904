# SPDX-License-Identifier: Apache-2.0
"""Certificates of five seconds, renewed two hundred times, and a change of the root in the middle, by
themselves, while calls go on: none fails, each certificate has a key of its own, and what is shown
to peers is the newest."""
import threading

import pytest
from certified import Certified, leaf, pair_text, private_key
from company import Calls
from machines import wait_for
from mesh import DEAF, ECHO, GUEST, MAIL, ORDERS, RESET, SINK, SOURCE, SPRAY, STOCK, WEB, at

SERVICES = [WEB, GUEST, ORDERS, STOCK, ECHO, SINK, SOURCE, *(at(s, "vm-c") for s in (MAIL, DEAF, RESET, SPRAY))]
PAIRS = [("web", "orders"), ("web", "echo"), ("guest", "stock")]
LIFETIMES = {"leaf": "5s", "node": "10s"}
ROTATIONS = 200


class Watcher:
    """Looks all the while at what the keepers have on disk."""

    def __init__(self, mesh):
        self.mesh, self.over, self.seen = mesh, threading.Event(), {}
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def look(self):
        while not self.over.wait(0.1):
            for node in self.mesh:
                for path in (*node.keep.glob("service/*.pem"), node.keep / "node.pem"):
                    text = pair_text(path)
                    self.seen[leaf(text)] = private_key(text)

    @property
    def count(self):
        return len(self.seen)


def rotate_until_done(mesh, step):
    """Repeats a step of a rotation until the authority does it."""
    done = []

    def accepted():
        done[:] = [mesh.authority.rotate(step, check=False)]
        return done[0].returncode == 0
    wait_for(accepted, f"the authority to {step}", 40, every=0.3)


@pytest.mark.seconds(150)
def test_two_hundred_rotations_and_a_new_root_without_a_failed_call():
    with Certified(SERVICES, LIFETIMES, machines=("vm-a", "vm-b", "vm-c")) as mesh:
        mesh.start()
        pids = [(node.process.pid, node.proxy_pid(), node.state_pid()) for node in mesh]
        old_root = (mesh.authority.dir / "root.crt").read_text()
        late = mesh["vm-c"]
        with Calls(mesh, PAIRS) as calls, Watcher(mesh) as watcher:
            wait_for(lambda: watcher.count > 20, "the first renewals", 30)

            # one machine is off: what it does not know yet is not used
            late.stop()
            mesh.authority.rotate("publish", "--root")
            for node in (mesh["vm-a"], mesh["vm-b"]):
                wait_for(lambda: mesh.trust(node)["anchors"] == 2, f"{node.name} to trust both roots")
            refused = mesh.authority.rotate("activate", check=False)
            assert refused.returncode == 1 and "vm-c" in refused.stdout + refused.stderr
            assert "vm-a" not in (refused.stdout + refused.stderr).split("vm-c")[0].split("\n")[-1]
            assert (mesh.authority.dir / "root.crt").read_text() == old_root
            late.start()
            rotate_until_done(mesh, "activate")
            assert (mesh.authority.dir / "root.crt").read_text() != old_root
            rotate_until_done(mesh, "retire")
            for node in mesh:
                wait_for(lambda: mesh.trust(node)["anchors"] == 1, f"{node.name} to forget the old root")
            wait_for(lambda: watcher.count >= ROTATIONS, f"{ROTATIONS} certificates", 80)
            before = calls.count
            wait_for(lambda: calls.count > before + 20, "calls to go on")

            # what is shown is the newest, or was so a moment ago
            for node, service in ((mesh["vm-b"], "orders"), (mesh["vm-b"], "echo"), (mesh["vm-b"], "stock")):
                def newest():
                    shown, _ = mesh.show(service, node, mesh.pair(mesh["vm-a"], "web"))
                    return shown == leaf(pair_text(mesh.pair(node, service)))
                wait_for(newest, f"{node.name} to show the newest certificate of {service}")
        assert len(set(watcher.seen.values())) == watcher.count  # a new key each time
        assert pids[:2] == [(node.process.pid, node.proxy_pid(), node.state_pid()) for node in mesh][:2]
        for node in mesh:
            assert node.metric("ringmain_proxy_restarts_total") == 0
