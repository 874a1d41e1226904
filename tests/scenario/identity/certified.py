# SPDX-License-Identifier: Apache-2.0
"""A mesh whose machines have joined an authority, with lifetimes of seconds."""
import contextlib
import json
import re
import ssl
import time

from machines import wait_for
from mesh import MESH_PORT, STRANGER_UID, ScenarioMesh, Wire, request_text

LIMITS = {"node_per_minute": 100000, "node_burst": 10000}


class Certified(ScenarioMesh):
    def __init__(self, services, lifetimes=None, limits=LIMITS, **more):
        super().__init__(services, ca="vm-ca", lifetimes=lifetimes, **more)
        self.authority.limits = limits

    def start(self, serve=True):
        super().start(serve)
        self.wait_certified()
        return self

    def wait_certified(self, *nodes, timeout=30):
        """Until each identity of these, or all machines has a certificate in force."""
        def certified(node):
            wanted = {s.path for s in node.workloads()} | {f"node/{node.name}"}
            return wanted <= {r["identity"] for r in self.certs(node) if r["serial"]}
        for node in nodes or [n for n in self if n.process]:
            wait_for(lambda: certified(node), f"{node.name} to have its certificates", timeout)

    def certs(self, node):
        with contextlib.suppress(OSError, ValueError):
            return json.loads(node.admin_get("/certs")[1])["certificates"]
        return []

    def row(self, node, identity):
        return next((r for r in self.certs(node) if r["identity"] == identity), None)

    def trust(self, node, trust_domain=None):
        rows = json.loads(node.admin_get("/certs")[1])["trust"]
        return next((r for r in rows if r["trust_domain"] == (trust_domain or self.trust_domain)), None)

    def renewed(self, node, identity):
        row = self.row(node, identity)
        return row["renewed"] if row else 0

    def pair(self, node, service):
        """The file of key and chain that the keeper has for a service."""
        return node.keep / "service" / f"{service}.pem"

    def secured(self, service, node, certificate, machine="vm-a"):
        """A TLS connection straight to a machine's mesh port, as somebody with that file of key and
        chain makes it: a thief of it, say."""
        options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        options.check_hostname, options.verify_mode = False, ssl.CERT_NONE
        options.set_alpn_protocols(["http/1.1" if self.service(service).protocol == "http" else "ringmain-tcp/1"])
        options.load_cert_chain(certificate)
        plain = self.lab[machine].connect(STRANGER_UID, node.machine.v4, MESH_PORT)
        return options.wrap_socket(plain, server_hostname=f"{self.service(service).port}.{service}.{self.trust_domain}")

    def show(self, service, node, certificate):
        """A handshake with a machine: (the certificate that it shows, None), or (None, the error)."""
        try:
            with self.secured(service, node, certificate) as secured:
                shown = secured.getpeercert(binary_form=True)
                secured.settimeout(3)
                secured.send(request_text("GET /echo", service))
                secured.recv(1)  # TLS 1.3: a client learns of its refusal with the first bytes
                return shown, None
        except (ssl.SSLError, OSError) as error:
            return None, error

    def keep_open(self, service, node, certificate):
        """Such a connection, to be used as any other."""
        return Wire(self.secured(service, node, certificate))


def pair_text(path):
    """The keeper's file of key and chain that is there now. What it takes the place of is overwritten, also for somebody who
    is just reading it: who finds no pair looks again."""
    for _ in range(100):
        text = path.read_text()
        if "-----END PRIVATE KEY-----" in text and "-----END CERTIFICATE-----" in text and "\0" not in text:
            break
        time.sleep(0.01)
    return text


def leaf(pem):
    """The first certificate of a PEM text, as DER."""
    block = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.S).group()
    return ssl.PEM_cert_to_DER_cert(block)


def private_key(pem):
    return re.search(r"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----", pem, re.S).group()
