# SPDX-License-Identifier: Apache-2.0
"""`ringmain join` at an authority of another make: Python's http.server and ssl, and openssl."""
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mesh import BINARY

TOKEN = "swordfish"
EST_SERVER = Path(__file__).resolve().parents[2] / "fake/est_server.py"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Other:
    """The other authority's server, and a machine's files."""

    def __init__(self, place):
        self.place, self.dir, self.port = place, place / "authority", free_port()
        self.process = subprocess.Popen([sys.executable, EST_SERVER, "--dir", self.dir, "--listen", f"127.0.0.1:{self.port}"],
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        (self.dir / "tokens.json").write_text(json.dumps({"vm-a": TOKEN}))
        (place / "mesh.conf").write_text('services: ( { name = "orders"; port = 80; } );')
        self.token = place / "token"
        self.token.write_text(f"{TOKEN}\n")
        self.token.chmod(0o600)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def command(self, word):
        (self.dir / "command").write_text(word)

    def fingerprint(self):
        return subprocess.run(["openssl", "x509", "-in", self.dir / "root.crt", "-noout", "-fingerprint", "-sha256"],
                              capture_output=True, check=True, text=True).stdout.strip().split("=")[1]

    def requests(self):
        log = self.dir / "requests.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def join(self, machine, *words, fingerprint=None, port=None):
        keep, conf = self.place / f"{machine}.keep", self.place / f"{machine}.conf"
        conf.write_text(f"""
            node: {{ name = "vm-a"; address = "10.77.0.1"; user = "daemon"; }};
            mesh: {{ trust_domain = "prod.example"; files = [ "{self.place}/mesh.conf" ]; }};
            identity: {{ ca = "127.0.0.1:{port or self.port}"; keep = "{keep}"; }};
            workloads: ( {{ service = "orders"; user = "nobody"; }} );""")
        done = subprocess.run([BINARY, "join", "--ca-fingerprint", fingerprint or self.fingerprint(), "--token-file", self.token,
                               "-c", conf, *words], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr, keep


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    other = Other(tmp_path_factory.mktemp("join"))
    yield other
    other.stop()


@pytest.fixture(autouse=True)
def well(other):
    other.command("")


def leads_to_root(other, keep):
    return subprocess.run(["openssl", "verify", "-CAfile", keep / "roots.pem", "-untrusted", keep / "node.pem", keep / "node.pem"],
                          capture_output=True, text=True)


@pytest.mark.parametrize("kind", ["", "leaf-only", "ber"])
def test_joins(other, kind):
    other.command(kind)
    status, text, keep = other.join(f"good-{kind}")
    assert status == 0, text
    assert "joined: this machine is spiffe://prod.example/node/vm-a" in text
    assert (keep / "node.pem").stat().st_mode & 0o777 == 0o600
    assert leads_to_root(other, keep).returncode == 0
    assert (keep / "node.pem").read_text().count("BEGIN CERTIFICATE") == 2
    assert (keep / "crls.pem").exists()


def test_joined_already(other):
    status, text, _ = other.join("already")
    assert status == 0, text
    before = len(other.requests())
    status, text, _ = other.join("already")
    assert status == 0 and "has joined already" in text
    assert len(other.requests()) == before
    status, text, _ = other.join("already", "--again")
    assert status == 0 and "joined: " in text


def test_wrong_fingerprint(other):
    before = len(other.requests())
    status, text, keep = other.join("wrong", fingerprint="ab" * 32)
    assert status == 1 and "nothing was sent" in text
    assert other.fingerprint().replace(":", "").lower() in text
    assert [r["path"] for r in other.requests()[before:]] == ["/.well-known/est/cacerts"]
    assert not (keep / "roots.pem").exists()


@pytest.mark.parametrize("command, why", [
    ("wrong-id", "is for spiffe://prod.example/service/somebody-else and not for spiffe://prod.example/node/vm-a"),
    ("wrong-key", "is for another key"),
    ("wrong-issuer", "does not lead to a trust anchor"),
    ("expired", "has expired already"),
    ("garbage", "no certificate"),
    ("html", "no EST server?"),
    ("redirect", "refuses (302)"),
    ("truncated", "the connection was cut"),
])
def test_what_is_no_answer_is_not_kept(other, command, why):
    other.command(command)
    status, text, keep = other.join(command)
    assert status == 1 and why in text, text
    assert not (keep / "node.pem").exists()
    other.command("")
    assert other.join(command)[0] == 0


def test_waits_for_approval(other):
    """The token is sent again and again, until somebody has said yes."""
    other.command("pending")
    threading.Timer(2, other.command, [""]).start()
    status, text, _ = other.join("pending")
    assert status == 0 and "waiting: " in text and "(202)" in text, text


def test_refusals(other):
    other.token.write_text("guessed\n")
    status, text, _ = other.join("refused")
    assert status == 1 and "refuses (401): who are you?" in text and "ringmain ca token" in text
    other.token.write_text(f"{TOKEN}\n")
    other.token.chmod(0o644)
    status, text, _ = other.join("refused")
    assert status == 1 and "chmod 600" in text
    other.token.chmod(0o600)
    status, text, _ = other.join("refused", port=free_port())
    assert status == 1 and "Connection refused" in text
