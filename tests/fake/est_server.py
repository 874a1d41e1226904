#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An EST server (RFC 7030) that shares nothing with ours: Python's http.server and ssl, and the openssl command.

    est_server.py --dir DIR --listen 127.0.0.1:8443 [--trust-domain TD]

makes an authority in DIR unless there is one (root.crt, issuer.crt) and serves until it is killed. It says "ready"
on standard output. What it does with requests stands in files of DIR that may change at any time:

    tokens.json        {"vm-a": "secret"}: who may have node/vm-a by HTTP Basic
    allowed.json       {"vm-a": ["service/orders"]}: what a machine with the certificate of node/vm-a may have
    command            how simpleenroll and simplereenroll are answered, see COMMANDS; absent: well
    lifetime           seconds; absent: 3600
    requests.log       one line of JSON for each request, written by the server
"""
import argparse
import base64
import http.server
import json
import re
import socketserver
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "leaf-only": "the certificate without its issuer, as RFC 7030 4.2.3 has it",
    "ber": "PKCS#7 in BER with indefinite lengths",
    "pending": "202 and Retry-After: 1",
    "busy": "503 and Retry-After: 1",
    "wrong-id": "a certificate for another service",
    "wrong-key": "a certificate for a key of the server's",
    "wrong-issuer": "a certificate of an authority that nobody knows",
    "garbage": "base64 of nothing",
    "html": "a page, as from a proxy in between",
    "redirect": "302 to another server",
    "truncated": "half of an answer",
    "expired": "a certificate that is over",
}
EST = re.compile(r"^/\.well-known/est/(?:([A-Za-z0-9._~-]+)/)?(cacerts|simpleenroll|simplereenroll|crls)$")


def openssl(*words, cwd, input=None):
    done = subprocess.run(["openssl", *map(str, words)], cwd=cwd, input=input, capture_output=True, timeout=30)
    if done.returncode != 0:
        raise ValueError(done.stderr.decode(errors="replace"))
    return done.stdout


class Authority:
    """A root and an issuer below it, made and used with openssl."""

    def __init__(self, directory, trust_domain, host):
        self.dir, self.trust_domain = Path(directory), trust_domain
        if (self.dir / "issuer.crt").exists():
            return
        self.dir.mkdir(exist_ok=True, parents=True)
        ca = ("basicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign, cRLSign\n"
              f"subjectKeyIdentifier = hash\nsubjectAltName = URI:spiffe://{trust_domain}\n")
        for name, by in (("root", None), ("issuer", "root"), ("stranger", None)):
            self.make(name, by, f"/CN={name} of another maker", ca)
        kind = "IP" if re.match(r"^[0-9.]+$", host) else "DNS"
        self.make("server", "issuer", "/CN=est", "basicConstraints = critical, CA:false\nkeyUsage = critical, "
                  f"digitalSignature\nextendedKeyUsage = serverAuth\nsubjectAltName = {kind}:{host}\n")
        (self.dir / "server.chain").write_bytes(self.read("server.crt") + self.read("issuer.crt"))
        (self.dir / "index.txt").touch()
        (self.dir / "crlnumber").write_text("01\n")
        (self.dir / "ca.cnf").write_text("[ca]\ndefault_ca = c\n[c]\ndatabase = index.txt\ncrlnumber = crlnumber\n"
                                         "default_md = sha256\ndefault_crl_days = 1\npolicy = p\nunique_subject = no\n"
                                         "new_certs_dir = .\nserial = serial\n[p]\n")

    def read(self, name):
        return (self.dir / name).read_bytes()

    def setting(self, name, otherwise):
        try:
            return (self.dir / name).read_text().strip()
        except FileNotFoundError:
            return otherwise

    def make(self, name, by, subject, extensions):
        (self.dir / f"{name}.ext").write_text(extensions)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key", cwd=self.dir)
        openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr", cwd=self.dir)
        signer = ["-CA", f"{by}.crt", "-CAkey", f"{by}.key"] if by else ["-signkey", f"{name}.key"]
        openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-set_serial", time.time_ns(), "-days", 3650,
                "-extfile", f"{name}.ext", "-out", f"{name}.crt", cwd=self.dir)

    def requested(self, der):
        """The path of the only id that a request is for; its signature has been checked."""
        text = openssl("req", "-inform", "DER", "-noout", "-text", "-verify", cwd=self.dir, input=der).decode()
        ids = re.findall(rf"URI:spiffe://{re.escape(self.trust_domain)}/(\S+?),?$", text, re.MULTILINE)
        if len(ids) != 1 or "DNS:" in text:
            raise ValueError("not exactly one id of this trust domain")
        return ids[0]

    def issue(self, der, path, command):
        """PEM: the leaf. `openssl ca` signs, for its dates are to the second."""
        now = time.time() - (7200 if command == "expired" else 0)
        life = int(self.setting("lifetime", "3600"))
        by = "stranger" if command == "wrong-issuer" else "issuer"
        path = "service/somebody-else" if command == "wrong-id" else path
        with tempfile.TemporaryDirectory(dir=self.dir) as place:
            place = Path(place)
            if command == "wrong-key":
                openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "k", cwd=place)
                der = openssl("req", "-new", "-key", "k", "-subj", "/", "-outform", "DER", cwd=place)
            (place / "csr").write_bytes(openssl("req", "-inform", "DER", cwd=place, input=der))
            (place / "index.txt").touch()
            (place / "serial").write_text(f"{time.time_ns():032x}\n")
            (place / "ca.cnf").write_text(self.read("ca.cnf").decode() + "[x]\nbasicConstraints = critical, CA:false\n"
                                          "keyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth, clientAuth\n"
                                          f"subjectAltName = critical, URI:spiffe://{self.trust_domain}/{path}\n")
            openssl("ca", "-batch", "-config", "ca.cnf", "-extensions", "x", "-in", "csr", "-out", "crt", "-notext",
                    "-cert", self.dir.resolve() / f"{by}.crt", "-keyfile", self.dir.resolve() / f"{by}.key",
                    "-subj", "/", "-startdate", stamp(now - 60), "-enddate", stamp(now + life), cwd=place)
            return (place / "crt").read_bytes()

    def pack(self, pem):
        """DER of a certs-only PKCS#7."""
        with tempfile.NamedTemporaryFile(dir=self.dir) as certificates:
            certificates.write(pem)
            certificates.flush()
            return openssl("crl2pkcs7", "-nocrl", "-certfile", certificates.name, "-outform", "DER", cwd=self.dir)

    def crls(self):
        openssl("ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "issuer.key", "-cert", "issuer.crt", "-out",
                "issuer.crl", cwd=self.dir)
        return openssl("crl2pkcs7", "-in", "issuer.crl", "-outform", "DER", cwd=self.dir)


def stamp(seconds):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds))


def indefinite(der):
    """The same with indefinite lengths outside: SEQUENCE { OID, [0] { SEQUENCE … } } (X.690 8.1.3.6)."""
    def content(at):
        length = der[at + 1]
        return at + 2 + (length & 0x7f if length & 0x80 else 0)
    start = content(0)
    oid_end = content(start) + der[start + 1]
    inner = content(oid_end)
    return (b"\x30\x80" + der[start:oid_end] + b"\xa0\x80" + b"\x30\x80" + der[content(inner):] + b"\0\0" * 3)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    authority = None

    def log_message(self, *_):
        pass

    def note(self, status):
        with open(self.authority.dir / "requests.log", "a") as log:
            log.write(json.dumps({"method": self.command, "path": self.path, "status": status, "node": self.node(),
                                  "etag": self.headers.get("If-None-Match")}) + "\n")

    def answer(self, status, body=b"", kind=None, **headers):
        self.note(status)
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def give(self, der, kind="certs-only", **headers):
        text = base64.encodebytes(der)
        self.answer(200, text, f"application/pkcs7-mime; smime-type={kind}", Content_Transfer_Encoding="base64", **headers)

    def node(self):
        """The name of the machine whose certificate was shown, or None."""
        shown = self.connection.getpeercert() or {}
        prefix = f"spiffe://{self.authority.trust_domain}/node/"
        names = [value for kind, value in shown.get("subjectAltName", ()) if kind == "URI" and value.startswith(prefix)]
        return names[0][len(prefix):] if len(names) == 1 else None

    def joins_as(self):
        value = self.headers.get("Authorization", "")
        if not value.startswith("Basic "):
            return None
        name, _, token = base64.b64decode(value[6:]).decode().partition(":")
        return name if json.loads(self.authority.setting("tokens.json", "{}")).get(name) == token else None

    def may(self, path):
        node = self.node() or self.joins_as()
        if node is None:
            return 401
        allowed = json.loads(self.authority.setting("allowed.json", "{}")).get(node, [])
        return 200 if path == f"node/{node}" or (self.node() and path in allowed) else 403

    def do_GET(self):
        match = EST.match(self.path)
        if not match or match[2] not in ("cacerts", "crls"):
            self.answer(404)
        elif match[2] == "crls":
            self.give(self.authority.crls(), "crls-only")
        elif self.headers.get("If-None-Match") == '"anchors-1"':
            self.answer(304, ETag='"anchors-1"')
        else:
            pem = self.authority.read("issuer.crt") + self.authority.read("root.crt")
            self.give(self.authority.pack(pem), ETag='"anchors-1"')

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match = EST.match(self.path)
        if not match or not match[2].startswith("simple"):
            self.answer(404)
            return
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True)
            path = self.authority.requested(der)
        except ValueError as error:
            self.answer(400, str(error).encode()[:200], "text/plain")
            return
        status = self.may(path)
        if status == 401:
            self.answer(401, b"who are you?\n", "text/plain", WWW_Authenticate='Basic realm="est"')
        elif status == 403:
            self.answer(403, f"{path} is not for you\n".encode(), "text/plain")
        else:
            self.enroll(der, path, self.authority.setting("command", ""))

    def enroll(self, der, path, command):
        if command == "pending":
            self.answer(202, Retry_After="1")
        elif command == "busy":
            self.answer(503, b"later\n", "text/plain", Retry_After="1")
        elif command == "html":
            self.answer(200, b"<html>log in</html>", "text/html")
        elif command == "redirect":
            self.answer(302, Location="https://127.0.0.1:1/.well-known/est/simpleenroll")
        elif command == "garbage":
            self.give(b"this is no PKCS#7")
        else:
            leaf = self.authority.issue(der, path, command)
            der = self.authority.pack(leaf + (b"" if command == "leaf-only" else self.authority.read("issuer.crt")))
            if command == "truncated":
                self.note(200)
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime\r\nContent-Length: 5000\r\n\r\n"
                                 + base64.b64encode(der)[:400])
                self.close_connection = True
            else:
                self.give(indefinite(der) if command == "ber" else der)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def __init__(self, address, authority):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self.tls.load_cert_chain(authority.dir / "server.chain", authority.dir / "server.key")
        self.tls.load_verify_locations(authority.dir / "root.crt")
        self.tls.verify_mode = ssl.CERT_OPTIONAL
        super().__init__(address, type("EstHandler", (Handler,), {"authority": authority}))

    def get_request(self):
        connection, address = super().get_request()
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dir", required=True)
    options.add_argument("--listen", required=True)
    options.add_argument("--trust-domain", default="prod.example")
    chosen = options.parse_args()
    host, _, port = chosen.listen.rpartition(":")
    server = Server((host, int(port)), Authority(chosen.dir, chosen.trust_domain, host))
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
