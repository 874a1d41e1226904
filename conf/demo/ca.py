# SPDX-License-Identifier: Apache-2.0
"""The mesh's own authority on one of the lab's machines: `ringmain ca`, in a directory that belongs to a
user of its own.

    authority = Authority(lab["vm-ca"], binary, "mesh.test")
    authority.make()
    authority.start()
    token = authority.token("vm-a", "web", "orders")
"""
import json
import os
import re
import signal

from machines import LabError, wait_for

USER = 12900
PORT = 8443


class Authority:
    """`lifetimes` and `limits` are those of ca.conf."""

    def __init__(self, machine, binary, trust_domain, lifetimes=None, limits=None):
        self.machine, self.trust_domain = machine, trust_domain
        self.lifetimes, self.limits = lifetimes or {}, limits or {}
        self.dir = machine.dir / "authority"
        self.binary = machine.program(binary)  # its user may not look into every directory
        self.names = []  # under which it is asked, too
        self.process = None
        self.fingerprint = ""

    @property
    def addresses(self):
        """What nodes have as identity.ca."""
        return [f"{self.machine.v4}:{PORT}"]

    def ca(self, command, *words, check=True):
        """One of the authority's commands, as its user."""
        return self.machine.run([self.binary, "ca", command, "--dir", self.dir, *words], uid=USER, check=check)

    def make(self):
        self.dir.mkdir(mode=0o700)
        os.chown(self.dir, USER, USER)
        made = self.ca("init", "--trust-domain", self.trust_domain, "--listen", self.addresses[0],
                       "--listen", f"[{self.machine.v6}]:{PORT}")
        self.fingerprint = re.search(r"SHA-256\s+(\S+)", made.stdout).group(1)
        self.settings()

    def settings(self, lifetimes=None, limits=None):
        """Writes ca.conf anew."""
        self.lifetimes = lifetimes if lifetimes is not None else self.lifetimes
        self.limits = limits if limits is not None else self.limits
        listen = json.dumps([self.addresses[0], f"[{self.machine.v6}]:{PORT}"])
        names = f"names = {json.dumps(self.names)};" if self.names else ""
        groups = [f'authority: {{ trust_domain = "{self.trust_domain}"; listen = {listen}; {names} }};']
        for name, group in (("lifetimes", self.lifetimes), ("limits", self.limits)):
            groups.append(f"{name}: {{ " + " ".join(f"{k} = {json.dumps(v)};" for k, v in group.items()) + " };")
        (self.dir / "ca.conf").write_text("\n".join(groups) + "\n")

    # --- its server ------------------------------------------------------------------------------

    def start(self, wait=True):
        self.process = self.machine.spawn("authority", [self.binary, "ca", "serve", "--dir", self.dir], uid=USER)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        def listening():
            if not self.process.running:
                raise LabError(f"the authority's server ended at its start:\n{self.process.log}")
            return self.machine.listening(PORT)
        wait_for(listening, "the authority to listen", 20)

    def kill(self):
        self.process.stop(signal.SIGKILL)

    def stop(self):
        return self.process.stop()

    def reload(self):
        self.process.kill(signal.SIGHUP)

    # --- its book --------------------------------------------------------------------------------

    def allow(self, node, *identities):
        self.ca("allow", node, *identities)

    def forbid(self, node, *words):
        self.ca("forbid", node, *words)

    def revoke(self, *words):
        return self.ca("revoke", *words)

    def token(self, node, *identities, ttl=None):
        """A join token; the node is registered with these identities."""
        words = ["--identities", ",".join(identities)] if identities else []
        words += ["--ttl", ttl] if ttl else []
        return self.ca("token", node, *words).stdout.split()[-1]

    def rotate(self, *words, check=True):
        return self.ca("rotate", *words, check=check)

    def listed(self, what):
        return json.loads(self.ca("list", what, "-o", "json").stdout)

    def audit(self):
        """The lines of issued.log."""
        path = self.dir / "issued.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def issued(self, identity):
        """How many certificates were issued for an identity."""
        return sum(1 for line in self.audit() if line.get("event") == "issued"
                   and re.search(f"(^|/){re.escape(identity)}$", line.get("identity", "")))
