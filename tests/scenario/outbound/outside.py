# SPDX-License-Identifier: Apache-2.0
"""The world outside of the mesh: a machine on which no ringmain runs, its servers, and an authority
whose certificates they have."""
import ssl
from pathlib import Path

from machines import PYTHON, run, wait_for
from mesh import WORKLOADS, GUEST, WEB, ScenarioMesh, Wire, request_text

OUTSIDE_UID = 12300
CA = "basicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n"
LEAF = """basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""


class Authority:
    def __init__(self, directory, name):
        self.dir, self.name, self.count = directory, name, 0
        directory.mkdir(exist_ok=True)
        self.sign(name, None, CA)
        self.root = self.dir / f"{name}.crt"

    def sign(self, name, by, extensions, days=2):
        self.count += 1
        place = self.dir / name
        place.with_suffix(".ext").write_text(extensions)
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{place}.key")
        Path(f"{place}.key").chmod(0o644)  # servers run as users of their own
        run("openssl", "req", "-new", "-key", f"{place}.key", "-subj", f"/CN={name}", "-out", f"{place}.csr")
        signer = ["-CA", f"{self.dir / by}.crt", "-CAkey", f"{self.dir / by}.key"] if by else ["-signkey", f"{place}.key"]
        run("openssl", "x509", "-req", "-in", f"{place}.csr", *signer, "-set_serial", self.count, "-days", days,
            "-extfile", f"{place}.ext", "-out", f"{place}.crt")
        return f"{place}.crt", f"{place}.key"

    def server(self, name, *names, days=2):
        return self.sign(name, self.name, LEAF.format(names=", ".join(f"DNS:{n}" for n in names)), days)


class OutsideMesh(ScenarioMesh):
    """A mesh of one machine, vm-a, and beside it vm-o: the world outside."""

    def __init__(self, externals=(), unknown=None, services=(WEB, GUEST), roots=True, **more):
        super().__init__(list(services), machines=("vm-a", "vm-o"), **more)
        del self.nodes["vm-o"]
        self.externals, self.hosts = list(externals), {}
        self.outside = self.lab["vm-o"]
        self.outside.sysctl(net__ipv4__ip_unprivileged_port_start=0)
        self.authority_outside = Authority(self.lab.dir / "outside", "root")
        self.stranger = Authority(self.lab.dir / "outside", "stranger")
        self["vm-a"].groups = {"redirect": {"unknown": unknown}} if unknown else {}
        self["vm-a"].groups["outside"] = {"directory": str(self.lab.dir / "outside-pem")}
        if roots:
            self["vm-a"].groups["outside"]["roots"] = str(self.authority_outside.root)

    def mesh_groups(self):
        groups = super().mesh_groups()
        return {**groups, "externals": self.externals} if self.externals else groups

    def reload(self, externals):
        """Other externals from now on."""
        node, before = self["vm-a"], self["vm-a"].status()["generation"]
        self.externals = externals
        self.write_configs()
        node.reload()
        wait_for(lambda: node.status()["generation"] > before, "the new configuration")

    def serve_outside(self, port, *files):
        return self.outside.serve(f"outside-{port}", [PYTHON, self.outside.program(WORKLOADS / "outside_server.py"),
                                                      port, *files], port, OUTSIDE_UID)

    def named(self, hosts):
        """What /etc/hosts of vm-a says, for processes that start from now on."""
        place = Path("/etc/netns") / self.lab["vm-a"].namespace
        place.mkdir(parents=True, exist_ok=True)
        (place / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))

    def stop(self):
        super().stop()
        place = Path("/etc/netns") / self.lab["vm-a"].namespace
        if place.exists():
            (place / "hosts").unlink(missing_ok=True)
            place.rmdir()

    # --- clients -----------------------------------------------------------------------------------

    def ask(self, port, host, caller="web", address=None, path="/"):
        """One request in the plain."""
        with self.dial(caller, (address or self.outside.v4, port)) as wire:
            wire.send(request_text(f"GET {path}", host))
            return wire.reply()

    def greet(self, port, name, caller="web", address=None, root=None, check=True):
        """A TLS connection of the workload's own, verified by it alone."""
        context = ssl.create_default_context(cafile=str(root or self.authority_outside.root))
        if not check:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with self.dial(caller, (address or self.outside.v4, port)) as wire:
            with context.wrap_socket(wire.sock, server_hostname=name) as sock:
                tls = Wire(sock)
                tls.send(request_text("GET /tls", name or "none"))
                return tls.reply()
