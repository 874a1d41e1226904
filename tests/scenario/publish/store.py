# SPDX-License-Identifier: Apache-2.0
"""A Redis of the test's own on loopback, operators with keys, and a door in front of it that can be slammed."""
import base64
import hashlib
import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

from mesh import BINARY

ROOT = Path(__file__).resolve().parents[3]

MESH = "prod.example"
PREFIX = f"ringmain:{{{MESH}}}:"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Redis:
    """`ask` speaks the protocol; a reply that is an error is raised."""

    def __init__(self, directory):
        self.directory, self.port = directory, free_port()
        self.process = self.file = None

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)],
            stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try:
                self.file = socket.create_connection(("127.0.0.1", self.port)).makefile("rwb")
                break
            except OSError:
                assert time.monotonic() < end, "redis-server does not answer"
                time.sleep(0.02)

    def stop(self):
        self.file.close()
        self.process.kill()
        self.process.wait()

    def ask(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self.file.flush()
        return self.read()

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return self.file.read(int(rest) + 2)[:-2]


class Door:
    """Passes bytes on to the store. Before the first command with `word` is passed on, `before` is called;
    `cut` then ends the connection: "before" it is passed on, or "after" it was answered."""

    def __init__(self, port, word, before=None, cut=None):
        self.target, self.word, self.before, self.cut = port, word, before, cut
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_used = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                down, _ = self.listener.accept()
            except OSError:
                return
            up = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pass_down, args=(up, down), daemon=True).start()
            threading.Thread(target=self.pass_up, args=(down, up), daemon=True).start()

    def pass_up(self, down, up):
        while chunk := self.receive(down):
            if not self.is_used and self.word in chunk:
                self.is_used = True
                if self.before:
                    self.before()
                if self.cut == "after":
                    self.silent = down
                    up.sendall(chunk)
                    time.sleep(0.3)
                if self.cut:
                    break
            up.sendall(chunk)
        for s in (down, up):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pass_down(self, up, down):
        while chunk := self.receive(up):
            if getattr(self, "silent", None) is not down:
                down.sendall(chunk)

    @staticmethod
    def receive(s):
        try:
            return s.recv(65536)
        except OSError:
            return b""

    def close(self):
        self.listener.close()


class Place:
    """A directory with a store and what operators need."""

    def __init__(self, directory):
        self.directory = directory
        self.redis = Redis(directory)
        self.known = []  # operators whom the others believe
        self.redis.start()
        for name in ("alice", "bob"):
            self.operator(name)

    def operator(self, name, known=True):
        self.run("operator", "new", self.directory / name)
        if known:
            self.known.append(name)

    def acl(self, role, name):
        """The rights that conf/redis.acl gives; the file with the password."""
        done = subprocess.run([ROOT / "conf" / "redis-acl", "-d", self.directory / "passwords", MESH, role, name],
                              text=True, capture_output=True, check=True)
        self.ask("ACL", "SETUSER", *done.stdout.split()[1:])
        return self.directory / "passwords" / f"{role}-{name}.password"

    def conf(self, name, port=None, groups=""):
        path = self.directory / f"{name}.{port or 'direct'}.conf"
        keys = ", ".join(f'"{self.directory / k}.pub"' for k in self.known if k != name)
        path.write_text(
            f'mesh: {{ trust_domain = "{MESH}"; }};\n'
            f'state: {{ redis = "127.0.0.1:{port or self.redis.port}"; operators = [ {keys} ]; timeout = "3s"; {groups} }};\n'
            f'operator: {{ key = "{self.directory / name}"; name = "{name}"; }};\n')
        return path

    def run(self, *words, check=True):
        environment = {k: v for k, v in os.environ.items() if k != "RINGMAIN_OPERATOR_CONF"}
        environment["HOME"] = str(self.directory)
        done = subprocess.run([BINARY, *map(str, words)], text=True, capture_output=True, timeout=60, env=environment)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def say(self, *words, name="alice", port=None, check=True):
        return self.run(*words, "-c", self.conf(name, port), check=check)

    def file(self, text, name="x.conf"):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def apply(self, text, *words, **more):
        return self.say("apply", "-f", self.file(text), *words, **more)

    # --- the store -------------------------------------------------------------------------------

    def key(self, name):
        return PREFIX + name

    def ask(self, *words):
        return self.redis.ask(*words)

    def revision(self):
        head = self.ask("GET", self.key("head"))
        return int(next(line for line in head.decode().splitlines() if line.startswith("revision "))[9:]) if head else 0

    def everything(self):
        """All that the store holds, to compare."""
        keys = sorted(self.ask("KEYS", "*"))
        return {key: self.ask("DUMP", key) for key in keys}

    def objects(self):
        words = self.ask("HGETALL", self.key("objects"))
        return {k.decode(): v.decode() for k, v in zip(words[::2], words[1::2])}

    def objects_of(self, revision):
        """Those of a revision, by the change of each entry of the stream: another reading of its format."""
        objects = {}
        for entry_id, fields in self.ask("XRANGE", self.key("changes"), "-", "+"):
            if int(entry_id.split(b"-")[0]) > revision:
                break
            rest = fields[fields.index(b"change") + 1]
            while rest:
                line, rest = rest.split(b"\n", 1)
                verb, key, length, before = line.split(b" ")
                length, before = int(length), int(before)
                if verb == b"put":
                    objects[key.decode()] = rest[:length].decode()
                else:
                    del objects[key.decode()]
                rest = rest[length + before + 1:]
        return objects

    def node(self, name, revision, endpoints="", lease_ms=60000):
        record = (f"ringmain 1\nnode {name}\nstart 1\nnumber 1\nzone eu-1a\nversion 0.1.0\nrevision {revision}\n"
                  + endpoints)
        self.ask("SET", self.key(f"node:{name}"), record)
        if lease_ms:
            self.ask("SET", self.key(f"lease:{name}"), "1 1", "PX", lease_ms)

    def verify_head(self, name):
        """By OpenSSL, and the digest by Python: another reading of what a head is."""
        head = self.ask("GET", self.key("head"))
        signed, signature = head.split(b"signature ")
        (self.directory / "signed").write_bytes(signed)
        (self.directory / "signature").write_bytes(base64.b64decode(signature))
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", self.directory / f"{name}.pub",
                               "-rawin", "-in", self.directory / "signed", "-sigfile", self.directory / "signature"],
                              capture_output=True)
        whole = hashlib.sha256()
        for key, text in sorted(self.objects().items()):
            whole.update(hashlib.sha256(key.encode() + b"\0" + text.encode()).digest())
        return done.returncode == 0 and f"digest {whole.hexdigest()}\n".encode() in signed

    def close(self):
        self.redis.stop()


def of_json(done):
    return json.loads(done.stdout)
