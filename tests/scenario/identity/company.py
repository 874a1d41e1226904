# SPDX-License-Identifier: Apache-2.0
"""An authority that is not ours, made with openssl, as a company's own: a root, an intermediate below
it, and leaves with a SPIFFE id. And calls that go on all the while."""
import contextlib
import json
import threading
import time

from machines import run
from mesh import request_text

LEAF = """basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = critical, URI:{id}
"""
CA = """basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""


class Authority:
    """`issue()` gives texts: the chain (leaf, intermediate) and the key, in SEC1 or PKCS#8."""

    def __init__(self, directory, trust_domain="mesh.test"):
        self.dir, self.trust_domain, self.count = directory, trust_domain, 0
        directory.mkdir()
        self.sign("root", None, CA)
        self.sign("intermediate", "root", CA)
        self.root, self.intermediate = self.text("root.crt"), self.text("intermediate.crt")

    def text(self, name):
        return (self.dir / name).read_text()

    def openssl(self, *words):
        return run("openssl", *words, cwd=self.dir).stdout

    def sign(self, name, by, extensions, days=2):
        self.count += 1
        (self.dir / f"{name}.ext").write_text(extensions)
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        subject = f"/CN={name} {self.dir.name}" if by is None or "CA:true" in extensions else "/"
        self.openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        signer = ["-signkey", f"{name}.key"] if by is None else ["-CA", f"{by}.crt", "-CAkey", f"{by}.key"]
        self.openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-set_serial", str(self.count), "-days", str(days),
                     "-extfile", f"{name}.ext", "-out", f"{name}.crt")

    def issue(self, service, pkcs8=False):
        self.sign(service, "intermediate", LEAF.format(id=f"spiffe://{self.trust_domain}/service/{service}"))
        key = self.openssl("pkcs8", "-topk8", "-nocrypt", "-in", f"{service}.key") if pkcs8 else self.text(f"{service}.key")
        return self.text(f"{service}.crt") + self.intermediate, key


class Calls:
    """Calls from web to orders (HTTP) and echo (TCP), on new connections and on kept ones, until it is
    left; then none may have failed. `with Calls(mesh): ...`"""

    def __init__(self, mesh, pairs=(("web", "orders"), ("web", "echo")), pause=0.01):
        self.mesh, self.pairs, self.pause = mesh, pairs, pause
        self.failures, self.count, self.over = [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.go_on, args=pair) for pair in pairs]

    def __enter__(self):
        for caller, to in self.pairs:
            self.mesh.dial(caller, to).sock.close()  # the helper that makes sockets lives as long as who starts it
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if kind is None:
            assert self.failures == [], f"{len(self.failures)} of {self.count}: {self.failures[:10]}\n{self.reasons()}"
            assert self.count > 0

    def reasons(self):
        """What the machines say of calls that did not end well."""
        lines = [f"{node.name} {json.dumps(line)}" for node in self.mesh for line in node.access()
                 if line.get("response_code_details", "NONE") != "NONE" or line.get("response_code", 200) != 200]
        return "\n".join(lines[-10:])

    def call(self, wire, to):
        if self.mesh.service(to).protocol == "http":
            status = wire.send(request_text("GET /echo", to)).reply().status
            assert status == 200, status
        else:
            assert wire.send("abc").exactly(3) == b"abc"

    def go_on(self, caller, to):
        while not self.over.is_set():
            with contextlib.ExitStack() as stack:
                kept = []
                # one over TCP ends with the trust in what its peer has shown at its start
                for _ in range(10 if self.mesh.service(to).protocol == "tcp" else 1000):
                    if self.over.is_set() or not self.attempt(caller, to, stack, kept):
                        break

    def attempt(self, caller, to, stack, kept):
        """A call on the connection that is kept, and one on a connection of its own."""
        try:
            if not kept:
                kept.append(stack.enter_context(self.mesh.dial(caller, to, timeout=10)))
            self.call(kept[0], to)
            with self.mesh.dial(caller, to, timeout=10) as wire:
                self.call(wire, to)
            return True
        except Exception as error:  # noqa: BLE001: whatever it is, a call has failed
            self.failures.append(f"{time.strftime('%H:%M:%S')} {caller} to {to}: {error!r}")
            self.over.wait(0.1)
            return False
        finally:
            self.count += 2
            self.over.wait(self.pause)
