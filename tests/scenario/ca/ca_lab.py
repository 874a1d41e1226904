# SPDX-License-Identifier: Apache-2.0
"""An authority's directory, its servers on loopback, and clients made of curl, openssl and Python's ssl: other
implementations than ours, all of them."""
import base64
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

from mesh import BINARY

TRUST_DOMAIN = "prod.example"
EST = "/.well-known/est/"
COMPLAINTS = re.compile(r"Sanitizer|runtime error|assertion failed")


def run(*command, input=None, check=True):
    done = subprocess.run([str(word) for word in command], input=input, capture_output=True, timeout=30)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}: {done.stdout!r} {done.stderr!r}")
    return done


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def identity(path):
    return f"spiffe://{TRUST_DOMAIN}/{path}"


class Directory:
    """An authority as `ringmain ca` makes it, with settings of our own."""

    def __init__(self, place, ports=1, lifetimes="", limits=""):
        self.dir = place / "authority"
        self.place = place
        self.ports = [free_port() for _ in range(ports)]
        self.lifetimes, self.limits = lifetimes, limits
        self.ca("init", "--trust-domain", TRUST_DOMAIN)
        self.settings(self.ports)
        self.roots = self.dir / "roots.pem"

    def settings(self, ports):
        listen = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
        (self.dir / "ca.conf").write_text(
            f'authority: {{ trust_domain = "{TRUST_DOMAIN}"; listen = [{listen}]; names = ["localhost"]; }};\n'
            f"lifetimes: {{ {self.lifetimes} }};\nlimits: {{ {self.limits} }};\n")

    def ca(self, verb, *words, check=True):
        return run(BINARY, "ca", verb, "--dir", self.dir, *words, check=check)

    def allow(self, node, *identities):
        self.ca("allow", node, *identities)

    def token(self, node):
        return self.ca("token", node).stdout.decode().strip()

    def revoke(self, serial):
        self.ca("revoke", "--serial", serial)

    def fingerprint(self):
        return run("openssl", "x509", "-in", self.dir / "root.crt", "-noout", "-fingerprint", "-sha256").stdout


class Server:
    """One `ringmain ca serve`, which has said that it is ready."""

    def __init__(self, directory, name="server", port=None, **process):
        self.log_path = directory.place / f"{name}.log"
        notify = directory.place / f"{name}.notify"
        notify.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(notify))
        notify.chmod(0o666)
        self.notify.settimeout(0.2)
        listen = ["--listen", f"127.0.0.1:{port}"] if port else []
        self.process = subprocess.Popen(
            [BINARY, "ca", "serve", "--dir", directory.dir, *listen], stdout=subprocess.DEVNULL,
            stderr=open(self.log_path, "ab"), env=dict(os.environ, NOTIFY_SOCKET=str(notify)),
            **process)
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_ready(self):
        end = time.monotonic() + 20
        while True:
            try:
                if b"READY=1" in self.notify.recv(4096):
                    return
            except TimeoutError:
                over = time.monotonic() > end or self.process.poll() is not None
                assert not over, f"not ready: {self.log()}"

    def log(self):
        return self.log_path.read_text()

    def wait_log(self, text, seconds=15, count=1):
        end = time.monotonic() + seconds
        while self.log().count(text) < count:
            assert time.monotonic() < end, f"no {text!r} in the log:\n{self.log()}"
            time.sleep(0.02)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)
        self.wait_ready()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.notify.close()

    def stop(self):
        """Ends it as the service manager does."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.notify.close()
        log = self.log()
        assert not COMPLAINTS.search(log), log
        assert status in (0, -signal.SIGKILL), log


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:300]!r}"

    def pem(self):
        return run("openssl", "pkcs7", "-inform", "DER", "-print_certs", input=base64.b64decode(self.body)).stdout


class Key:
    """A key and the requests that are made with it."""

    def __init__(self, place, name):
        self.path = place / f"{name}.key"
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path)

    def request(self, *uris, extra=()):
        """In base64, as the body of a request."""
        names = ",".join([f"URI:{uri}" for uri in uris] + list(extra))
        words = ["-addext", f"subjectAltName={names}"] if names else []
        return base64.encodebytes(run("openssl", "req", "-new", "-key", self.path, "-subj", "/CN=any", *words,
                                      "-outform", "DER").stdout)


class Certificate:
    def __init__(self, key, chain, place, name):
        self.key = key
        self.path = place / f"{name}.crt"
        self.path.write_bytes(chain)

    def field(self, *words):
        return run("openssl", "x509", "-in", self.path, "-noout", *words).stdout.decode().strip()

    def serial(self):
        return self.field("-serial").split("=")[1].lower()

    def end(self):
        return ssl.cert_time_to_seconds(self.field("-enddate").split("=")[1])

    def uris(self):
        return re.findall(r"URI:(\S+?)(?:,|\s|$)", self.field("-ext", "subjectAltName"))


class Client:
    """curl."""

    def __init__(self, directory, port=None):
        self.directory, self.place = directory, directory.place
        self.port = port or directory.ports[0]

    def ask(self, path, *words, body=None, certificate=None, fields=(), user=None):
        command = ["curl", "-sS", "--tlsv1.3", "-i", "-m", "20", "--cacert", self.directory.roots]
        if certificate:
            command += ["--cert", certificate.path, "--key", certificate.key.path]
        for field in fields:
            command += ["-H", field]
        if user:
            command += ["-u", user]
        if body is not None:
            command += ["-H", "Content-Type: application/pkcs10", "--data-binary", "@-"]
        done = run(*command, *words, f"https://127.0.0.1:{self.port}{path}", input=body, check=False)
        if done.returncode != 0:
            raise ConnectionError(f"curl: {done.returncode}: {done.stderr.decode()}")
        return parse(done.stdout)

    def cacerts(self, *words, label="", **more):
        return self.ask(EST + label + "cacerts", *words, **more)

    def enroll(self, request, operation="simpleenroll", **more):
        return self.ask(EST + operation, body=request, **more)

    def join(self, node, key=None, token=None, name=None):
        """A node's first certificate."""
        key = key or Key(self.place, name or node)
        token = token or self.directory.token(node)
        answer = self.enroll(key.request(identity(f"node/{node}")), user=f"{node}:{token}")
        assert answer.status == 200, answer
        return Certificate(key, answer.pem(), self.place, name or node)


def parse(text):
    """One HTTP answer, after interim ones."""
    head, _, body = text.partition(b"\r\n\r\n")
    while re.match(rb"HTTP/1\.1 1\d\d", head):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), fields, body)


def context(directory, certificate=None):
    c = ssl.create_default_context(cafile=directory.roots)
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    if certificate:
        c.load_cert_chain(certificate.path, certificate.key.path)
    return c


def connect(directory, certificate=None, port=None, tls=None):
    """A TLS connection in the test's own hands."""
    plain = socket.create_connection(("127.0.0.1", port or directory.ports[0]), timeout=20)
    return (tls or context(directory, certificate)).wrap_socket(plain, server_hostname="localhost")


def read_answer(s):
    text = b""
    while b"\r\n\r\n" not in text:
        piece = s.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {text!r}")
        text += piece
    answer = parse(text)
    while len(answer.body) < int(answer.fields.get("content-length", 0)):
        piece = s.recv(65536)
        if not piece:
            raise ConnectionError("closed within a body")
        answer.body += piece
    return answer


def post(path, body, *fields):
    lines = [f"POST {EST}{path} HTTP/1.1", "Host: ca", "Content-Type: application/pkcs10",
             f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def get(path, *fields):
    return "\r\n".join([f"GET {EST}{path} HTTP/1.1", "Host: ca", *fields, "", ""]).encode()


def basic(node, token):
    return "Authorization: Basic " + base64.b64encode(f"{node}:{token}".encode()).decode()
