# SPDX-License-Identifier: Apache-2.0
"""Tokens of end users, made with openssl: keys, JWK Sets, signed JWTs; and an issuer that serves its
keys over https with a certificate of an authority of its own."""
import base64
import json
import subprocess
import time

from machines import run


def base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Key:
    """A P-256 or RSA key with an id."""

    def __init__(self, directory, kid, rsa=False):
        self.path = directory / f"{kid}.pem"
        self.kid = kid
        self.algorithm = "RS256" if rsa else "ES256"
        kind = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if rsa else \
            ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        run("openssl", "genpkey", *kind, "-out", self.path)

    def jwk(self):
        if self.algorithm == "RS256":
            text = run("openssl", "rsa", "-in", self.path, "-noout", "-modulus").stdout
            modulus = bytes.fromhex(text.strip().split("=")[1])
            return {"kty": "RSA", "kid": self.kid, "use": "sig", "n": base64url(modulus), "e": "AQAB"}
        der = subprocess.run(["openssl", "ec", "-in", self.path, "-pubout", "-outform", "DER"],
                             capture_output=True, check=True).stdout
        return {"kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256",
                "x": base64url(der[-64:-32]), "y": base64url(der[-32:])}

    def sign(self, text):
        raw = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.path], input=text.encode(),
                             capture_output=True, check=True).stdout
        return raw if self.algorithm == "RS256" else raw_signature(raw)

    def token(self, header=None, **claims):
        """A good token unless told otherwise; a claim that is None is left out."""
        now = int(time.time())
        claims = {"iss": "https://id.example", "sub": "ann", "exp": now + 600, "iat": now, **claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **(header or {})}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{base64url(self.sign(text))}"


def raw_signature(der):
    """Two numbers of 32 bytes, of SEQUENCE { INTEGER, INTEGER }."""
    numbers, at = b"", 2
    for _ in range(2):
        length = der[at + 1]
        numbers += der[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + length
    return numbers


def jwks(*keys):
    return json.dumps({"keys": [key.jwk() for key in keys]})


SERVER = '''
import http.server, pathlib, ssl, sys
directory, address, port = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

class Keys(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with (directory / "asked").open("a") as log:
            log.write(self.path + "\\n")
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", f"https://id.example:{port}/keys")
            self.end_headers()
            return
        body = (directory / "keys.json").read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

options = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
options.load_cert_chain(directory / "server.pem", directory / "server.key")
server = http.server.ThreadingHTTPServer((address, port), Keys)
server.socket = options.wrap_socket(server.socket, server_side=True)
server.serve_forever()
'''


class Issuer:
    """Its https server, on a machine of the lab."""
    PORT = 9443

    def __init__(self, machine):
        self.machine = machine
        self.dir = machine.dir / "issuer"
        self.dir.mkdir()
        self.ca = self.dir / "ca.pem"
        self.process = None
        self.url = f"https://{machine.v4}:{self.PORT}/keys"
        self.make_certificates()
        (self.dir / "server.py").write_text(SERVER)

    def make_certificates(self):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", self.dir / "ca.key", "-out", self.ca, "-subj", "/CN=authority of the issuer",
            "-addext", "basicConstraints=critical,CA:TRUE")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", self.dir / "server.key", "-out", self.dir / "server.pem", "-subj", "/CN=id.example",
            "-addext", f"subjectAltName=IP:{self.machine.v4},DNS:id.example",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-CA", self.ca, "-CAkey", self.dir / "ca.key")

    def publish(self, *keys):
        path = self.dir / "keys.json"
        path.with_suffix(".new").write_text(jwks(*keys))
        path.with_suffix(".new").rename(path)

    def start(self):
        self.process = self.machine.serve(
            "issuer", ["/usr/bin/python3", self.dir / "server.py", self.dir, self.machine.v4, self.PORT], self.PORT, 0)

    def stop(self):
        self.process.stop()

    def asked(self):
        path = self.dir / "asked"
        return path.read_text().split() if path.exists() else []
