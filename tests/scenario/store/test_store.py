# SPDX-License-Identifier: Apache-2.0
"""One connection to a real redis-server, without the rest of ringmain: found in every way that there
is, with passwords and TLS, and through everything that may happen to a server."""
import os
import queue
import signal
import subprocess
import threading
import time

import pytest
from machines import Lab, run, wait_for
from mesh import BUILD

TALK = BUILD / "tests" / "scenario" / "store" / "store_talk"
UID = 12060  # of the servers


class Talk:
    """store_talk in a machine, line by line."""

    def __init__(self, machine, *words):
        self.popen = subprocess.Popen(machine.command([machine.program(TALK), *words]), text=True, bufsize=1,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.popen.stdout:
            self.lines.put(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.popen.poll() is None:
            self.popen.stdin.close()
        try:
            status = self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise
        assert kind or status == 0, f"store_talk ended with {status}"

    def say(self, line):
        self.popen.stdin.write(line + "\n")

    def until(self, start, timeout=20):
        """The next line that begins so."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line \"{start}\" but {self.seen}")
            self.seen.append(line)
            if line.startswith(start):
                return line

    def ask(self, line, answer):
        self.say(line)
        return self.until(answer)


class Servers:
    """redis-servers of one machine, by port."""

    def __init__(self, machine):
        self.machine = machine
        self.processes = {}
        self.dir = machine.dir / "redis"
        self.dir.mkdir(exist_ok=True)
        os.chown(self.dir, UID, UID)

    def at(self, port):
        return f"{self.machine.v4}:{port}"

    def start(self, port, *words, sentinel=None):
        place = self.dir / str(port)
        place.mkdir(exist_ok=True)
        os.chown(place, UID, UID)
        config = place / "redis.conf"
        config.write_text(sentinel or "")
        os.chown(config, UID, UID)
        ports = [] if "--tls-port" in words else ["--port", port]
        common = ["--dir", place, "--daemonize", "no", "--protected-mode", "no"]
        if not sentinel:
            common += ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
        self.processes[port] = self.machine.serve(
            f"redis-{port}", ["redis-server", config, *ports, *common, *words, *(["--sentinel"] if sentinel else [])],
            port, UID)
        return self.at(port)

    def kill(self, port, number=signal.SIGKILL):
        self.processes[port].kill(number)
        if number == signal.SIGKILL:
            self.processes[port].wait()

    def cli(self, port, *words):
        return self.machine.run(["redis-cli", "-p", str(port), *words]).stdout.strip()


@pytest.fixture
def servers():
    with Lab(["vm-r"]) as lab:
        yield Servers(lab["vm-r"])


@pytest.fixture
def machine(servers):
    return servers.machine


def secret(machine, text):
    path = machine.dir / "password"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


# --- plain -------------------------------------------------------------------------------------------


def test_commands_and_their_answers(servers, machine):
    address = servers.start(6379)
    with Talk(machine, address) as talk:
        ready = talk.until("state ready")
        assert ready.split()[2:4] == [address, "1"] and len(ready.split()[4]) == 40
        assert ready.split()[4] in servers.cli(6379, "info", "replication")
        assert talk.ask("SET a hello", "answer 1") == "answer 1 ok OK"
        assert talk.ask("GET a", "answer 2") == "answer 2 ok hello"
        assert talk.ask("INCR a", "answer 3").startswith("answer 3 refused ERR")
        assert "name=store-talk" in servers.cli(6379, "client", "list")


def test_channel(servers, machine):
    address = servers.start(6379)
    with Talk(machine, "--channel", "news", "--timeout", "200", address) as talk:
        talk.until("state ready")
        for text in ("one", "two"):
            servers.cli(6379, "publish", "news", text)
            assert talk.until("push") == f"push {text}"
        before = int(servers.cli(6379, "info", "commandstats").count("cmdstat_ping"))
        wait_for(lambda: "cmdstat_ping" in servers.cli(6379, "info", "commandstats"), "a PING")
        assert before in (0, 1) and "state down" not in " ".join(talk.seen)


def test_killed_and_started_again(servers, machine):
    address = servers.start(6379)
    with Talk(machine, address) as talk:
        talk.until(f"state ready {address} 1")
        servers.kill(6379)
        talk.until(f"state down {address}: ")
        talk.until(f"state down {address}: Connection refused")
        assert talk.ask("GET a", "answer") == "answer 1 unsent"
        servers.start(6379)
        talk.until(f"state ready {address} 2")
        assert talk.ask("GET a", "answer 2") == "answer 2 ok nil"


def test_stalled(servers, machine):
    first, second = servers.start(6379), servers.start(6380)
    with Talk(machine, "--timeout", "300", first, second) as talk:
        talk.until(f"state ready {first} 1")
        servers.kill(6379, signal.SIGSTOP)
        assert talk.ask("GET a", "answer") == "answer 1 lost"
        talk.until(f"state ready {second} 2")
        assert talk.ask("GET a", "answer 2") == "answer 2 ok nil"


def test_replica_and_failover(servers, machine):
    first, second = servers.start(6379), servers.start(6380, "--replicaof", servers.machine.v4, "6379")
    wait_for(lambda: "master_link_status:up" in servers.cli(6380, "info", "replication"), "the replica", 20)
    with Talk(machine, second, first) as talk:
        identity = talk.until(f"state ready {first} 1").split()[4]
        servers.cli(6380, "replicaof", "no", "one")
        servers.cli(6379, "replicaof", machine.v4, "6380")
        assert talk.ask("SET a b", "answer").startswith("answer 1 ")  # READONLY, or the line was cut
        ready = talk.until(f"state ready {second} 2")
        assert ready.split()[4] != identity
        assert talk.ask("SET a b", "answer 2") == "answer 2 ok OK"


# --- passwords ---------------------------------------------------------------------------------------


def test_passwords(servers, machine):
    address = servers.start(6379, "--requirepass", "one-word")
    servers.machine.run(["redis-cli", "-a", "one-word", "acl", "setuser", "vm-a", "on", ">other-word", "~a", "&*",
                         "+get", "+role", "+info", "+client|setname"])
    with Talk(machine, address) as talk:
        talk.until(f"state down {address}: the server asks for a password: set state.username")
    with Talk(machine, "--password", secret(machine, "one-word"), address) as talk:
        talk.until("state ready")
    with Talk(machine, "--user", "vm-a", "--password", secret(machine, "one-word"), address) as talk:
        assert "one-word" not in talk.until(f"state down {address}: wrong password, or no such user")
    with Talk(machine, "--user", "vm-a", "--password", secret(machine, "other-word"), address) as talk:
        talk.until("state ready")
        assert talk.ask("GET a", "answer 1") == "answer 1 ok nil"
        assert talk.ask("SET a b", "answer 2").startswith("answer 2 refused NOPERM")
        assert talk.ask("GET b", "answer 3").startswith("answer 3 refused NOPERM")


# --- TLS ---------------------------------------------------------------------------------------------


class Certificates:
    def __init__(self, machine):
        self.dir = machine.dir / "certs"
        self.make_ca("ca")

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.dir / f"{name}.key"]

    def make_ca(self, name):
        run("openssl", "req", "-x509", *self.new_key(name), "-out", self.dir / f"{name}.pem", "-days", "2",
            "-subj", f"/CN={name}")
        return self.dir / f"{name}.pem"

    def issue(self, name, subjects):
        request, names = self.dir / f"{name}.csr", self.dir / f"{name}.names"
        names.write_text(f"subjectAltName={subjects}\n")
        run("openssl", "req", "-new", *self.new_key(name), "-out", request, "-subj", f"/CN={name}")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.dir / "ca.pem", "-CAkey", self.dir / "ca.key",
            "-set_serial", str(1 + len(list(self.dir.iterdir()))), "-days", "2", "-extfile", names,
            "-out", self.dir / f"{name}.pem")
        (self.dir / f"{name}.key").chmod(0o644)
        return ["--tls-cert-file", self.dir / f"{name}.pem", "--tls-key-file", self.dir / f"{name}.key",
                "--tls-ca-cert-file", self.dir / "ca.pem"]


def test_tls(servers, machine):
    made = Certificates(machine)
    other_ca = made.make_ca("other-ca")
    ca = made.dir / "ca.pem"
    words = made.issue("redis", f"DNS:redis.test,IP:{machine.v4}")
    asks, asks_not = (servers.start(port, "--tls-port", port, "--port", 0, *words, "--tls-auth-clients", auth)
                      for port, auth in ((6379, "yes"), (6380, "no")))
    old = servers.start(6381, "--tls-port", 6381, "--port", 0, *words, "--tls-auth-clients", "no",
                        "--tls-protocols", "TLSv1.2")
    plain = servers.start(6382)
    with Talk(machine, "--ca", ca, asks_not) as talk:
        talk.until("state ready")
        assert talk.ask("SET a b", "answer 1") == "answer 1 ok OK"
    with Talk(machine, "--ca", ca, "--name", "redis.test", asks_not) as talk:
        talk.until("state ready")
    with Talk(machine, "--ca", ca, "--name", "other.test", asks_not) as talk:
        talk.until(f"state down {asks_not}: TLS: the server's certificate is for another name "
                   f"(DNS:redis.test, IP:{machine.v4})")
    with Talk(machine, "--ca", other_ca, asks_not) as talk:
        talk.until(f"state down {asks_not}: TLS: the server's certificate is not of an authority")
    with Talk(machine, "--ca", ca, asks) as talk:
        talk.until(f"state down {asks}: TLS: the server wants a certificate of ours")
    with Talk(machine, "--ca", ca, old) as talk:
        talk.until(f"state down {old}: TLS: the server offers no TLS 1.3")
    with Talk(machine, "--ca", ca, "--timeout", "300", plain) as talk:
        talk.until(f"state down {plain}: TLS: ")
    # A command of an operator's, with a certificate and its key in hand.
    made.issue("operator", "DNS:operator")
    key = made.dir / "operator.key"
    files = ["--ca", ca, "--certificate", made.dir / "operator.pem", "--key", key]
    with Talk(machine, "--client", *files, asks) as talk:
        assert "others than its owner may read it" in talk.until("error")
    key.chmod(0o600)
    with Talk(machine, "--client", *files, asks) as talk:
        talk.until(f"open {asks}")
        assert talk.ask("SET a b", "reply") == "reply OK"


# --- Sentinel ----------------------------------------------------------------------------------------


@pytest.mark.seconds(120)
def test_sentinels(servers, machine):
    first = servers.start(6379)
    second = servers.start(6380, "--replicaof", machine.v4, "6379")
    watch = (f"sentinel monitor mesh {machine.v4} 6379 2\nsentinel down-after-milliseconds mesh 1000\n"
             "sentinel failover-timeout mesh 5000\n")
    sentinels = [servers.start(port, sentinel=watch) for port in (26379, 26380, 26381)]
    wait_for(lambda: "num-other-sentinels\n2" in servers.cli(26379, "sentinel", "master", "mesh")
             and "num-slaves\n1" in servers.cli(26379, "sentinel", "master", "mesh"), "the Sentinels", 40)
    with Talk(machine, "--sentinel", "nobody", *sentinels) as talk:
        assert talk.until("state down").count("this Sentinel knows no primary \"nobody\"") == 3
    with Talk(machine, sentinels[0]) as talk:
        talk.until(f"state down {sentinels[0]}: is a Sentinel: set state.sentinel")
    servers.kill(26379)  # the first that would be asked
    with Talk(machine, "--timeout", "500", "--sentinel", "mesh", *sentinels) as talk:
        talk.until(f"state ready {first} 1")
        assert talk.ask("SET a b", "answer 1") == "answer 1 ok OK"
        servers.kill(6379)
        talk.until(f"state ready {second} 2", 60)
        assert talk.ask("SET a b", "answer 2") == "answer 2 ok OK"


# --- a command's client ------------------------------------------------------------------------------


def test_client(servers, machine):
    address = servers.start(6379, "--requirepass", "one-word")
    with Talk(machine, "--client", "--timeout", "300", servers.at(6380), address) as talk:
        assert f"{servers.at(6380)}: Connection refused; {address}: the server asks for a password" \
            in talk.until("error")
    with Talk(machine, "--client", "--timeout", "300", "--password", secret(machine, "one-word"), address) as talk:
        talk.until(f"open {address}")
        assert talk.ask("RPUSH list a b", "reply") == "reply 2"
        assert talk.ask("LRANGE list 0 -1", "reply") == "reply a b"
        assert talk.ask("GET list", "error").startswith("error WRONGTYPE")
        servers.kill(6379, signal.SIGSTOP)
        assert "no answer within 300 ms" in talk.ask("GET a", "error")
        servers.kill(6379, signal.SIGCONT)
        assert talk.ask("GET a", "reply") == "reply nil"
