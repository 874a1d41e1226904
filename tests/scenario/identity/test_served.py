# SPDX-License-Identifier: Apache-2.0
"""The certificates that the mesh port really serves: looked at all the while, by the machine itself,
which is no traffic, and told when one of those who listen there shows an old one."""
import contextlib
import socket
import ssl
import threading

import pytest
from certified import Certified
from machines import wait_for
from mesh import ECHO, MESH_PORT, ORDERS, STOCK, WEB

LIFETIMES = {"leaf": "12s", "node": "60s"}
CHECKS = "ringmain_tls_checks_total"
FAILURES = "ringmain_tls_handshake_failures_total"


@pytest.fixture(name="mesh")
def certified_mesh():
    with Certified([WEB, ORDERS, STOCK, ECHO], LIFETIMES, workers=2) as mesh:
        yield mesh.start()


class OldListener:
    """One more who listens on a machine's mesh port, as each worker does, with a certificate and key
    as they are now: the kernel gives it its share of the connections, and it knows of no renewal."""

    def __init__(self, node, pair):
        kept = node.machine.dir / "old.pem"
        kept.touch(0o600)
        kept.write_bytes(pair.read_bytes())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(kept)
        self.context.set_alpn_protocols(["ringmain-check/1"])
        self.socket = node.machine.sockets(0)[0]  # root's, as those of the keeper
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(("0.0.0.0", MESH_PORT))
        self.socket.listen(64)
        self.thread = threading.Thread(target=self.show)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def show(self):
        while True:
            try:
                plain = self.socket.accept()[0]
            except OSError:
                return
            plain.settimeout(10)
            with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as secured:
                secured.recv(1)


def test_what_is_served_is_looked_at_and_is_no_traffic(mesh):
    caller, server = mesh["vm-a"], mesh["vm-b"]
    before = mesh.renewed(server, "service/orders")
    wait_for(lambda: mesh.renewed(server, "service/orders") >= before + 2, "two renewals", 60)
    looked = server.metric(CHECKS)
    wait_for(lambda: server.metric(CHECKS) >= looked + 8, "the machine to look at what it serves", 30)
    wait_for(lambda: all((row["served_serial"], row["why"]) == (None, None) for row in mesh.certs(server)), "nothing to be told")
    assert caller.metric(CHECKS) == 0  # nobody is served there
    for node in (caller, server):
        assert node.metric(FAILURES) == 0
        assert node.access() == []


def test_an_old_certificate_that_is_still_served_is_told(mesh):
    node = mesh["vm-b"]
    old = mesh.row(node, "service/orders")["serial"]
    told = f"service/orders: the mesh port ({MESH_PORT}) serves certificate {old}, and not "
    with OldListener(node, mesh.pair(node, "orders")):
        wait_for(lambda: mesh.row(node, "service/orders")["served_serial"] == old, "the old certificate to be found", 60)
        wait_for(lambda: told in node.process.log, "the error in the log")
        shown = node.ringmain("certs", check=False)
        assert shown.returncode == 1 and old in shown.stdout, shown.stdout
        assert 'ringmain_certificate_served_other{identity="service/orders"} 1' in node.admin_get("/metrics")[1]
    wait_for(lambda: mesh.row(node, "service/orders")["served_serial"] is None, "the newest to be served alone", 60)
    wait_for(lambda: "which is in force, again" in node.process.log, "the good news in the log")
    assert node.process.log.count(told) == 1
