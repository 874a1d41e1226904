# SPDX-License-Identifier: Apache-2.0
"""The certificates of the bench: one authority, one P-256 certificate for each service, the same for
every contestant. Each has a SPIFFE id for those who look at that, and a DNS name for the others."""
from machines import run

TRUST_DOMAIN = "bench"
DAYS = 2
EXTENSIONS = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = URI:{id}, DNS:{name}
"""


def dns_name(service):
    return f"{service}.{TRUST_DOMAIN}"


def spiffe_id(service):
    return f"spiffe://{TRUST_DOMAIN}/service/{service}"


class Authority:
    def __init__(self, directory, ringmain, services):
        self.dir = directory
        self.root = directory / "ca" / "root.crt"
        run(ringmain, "ca", "init", "--dir", directory / "ca", "--trust-domain", TRUST_DOMAIN)
        for service in services:
            self.issue(service)

    def path(self, service, suffix):
        """A service's .crt, .key, or .pem with both."""
        return self.dir / f"{service}.{suffix}"

    def issue(self, service):
        extensions, request = self.path(service, "ext"), self.path(service, "csr")
        extensions.write_text(EXTENSIONS.format(id=spiffe_id(service), name=dns_name(service)))
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256",
            "-subj", f"/CN={dns_name(service)}", "-keyout", self.path(service, "key"), "-out", request)
        run("openssl", "x509", "-req", "-sha256", "-in", request, "-CA", self.root, "-CAkey", self.dir / "ca" / "root.key",
            "-days", DAYS, "-extfile", extensions, "-out", self.path(service, "crt"))
        both = self.path(service, "pem")
        both.touch(0o600)
        both.write_text(self.path(service, "crt").read_text() + self.path(service, "key").read_text())
        self.path(service, "key").chmod(0o600)
