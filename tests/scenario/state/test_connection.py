# SPDX-License-Identifier: Apache-2.0
"""Who is at the other end: a server that proves to be the store, a node that proves to be itself;
and what is not Redis at all."""
import contextlib
import os
import socket
import threading
import time

import pytest
from fleet import Fleet, Load
from machines import process_status, wait_for
from stores import REDIS_UID, Certificates, Redis


@pytest.fixture(scope="module")
def standing():
    """Over TLS, as it should be where the wire is not one's own."""
    fleet = Fleet()
    with fleet:
        fleet.store_authority = Certificates(fleet.lab.dir / "store-authority")
        machine = fleet.lab["vm-r"]
        certificate = fleet.store_authority.issue("redis", "DNS:redis.test", f"IP:{machine.v4}")
        fleet.redis = Redis(machine, fleet.users, certificate=certificate, authority=fleet.store_authority)
        yield fleet.start()


@pytest.fixture
def fleet(standing):
    if not standing.redis.process.running:
        standing.redis.start()
    for node in standing:
        if node.groups:
            node.groups = {}
            node.write_config()
            node.reload()
    standing.wait_settled(30)
    return standing


def with_state(fleet, node="vm-b", **keys):
    fleet[node].groups = {"state": keys}
    fleet[node].write_config()
    fleet[node].reload()


def keeps_what_it_knows(fleet, *words, node="vm-b"):
    """It is not connected, says why, and serves as before."""
    with Load(fleet, callers=1) as load:
        load.more()
        _, view = fleet.wait_view(node, "why", lambda v: not v["connected"] and all(w in v["why"].lower() for w in words))
        assert view["loaded"] and view["endpoints"] == fleet.endpoint_count()
        done = fleet[node].ringmain("status", check=False)
        assert done.returncode == 1 and any(w in (done.stdout + done.stderr).lower() for w in words)
        load.more()
    assert fleet.call_at("vm-b", "guest").status == 403


def test_all_is_encrypted(fleet):
    with fleet.capture("vm-b") as path:
        fleet.publish({"policies": [{"name": "seen", "service": "orders", "action": "deny", "from": ["guest"]}]})
        fleet.wait_settled()
    raw = path.read_bytes()
    for text in (b"AUTH", b"ringmain:{", fleet.users.password("node-vm-b").encode(), b"policy/seen"):
        assert text not in raw
    fleet.operate("delete", "policy/seen")


def test_a_wrong_password(fleet):
    path = fleet.lab.dir / "wrong.password"
    path.write_text("not the password of anybody")
    path.chmod(0o600)
    with_state(fleet, password_file=str(path))
    keeps_what_it_knows(fleet, "wrong password")


def test_another_nodes_password(fleet):
    """A node's user may write its own record only, so one that says it is another is of no use."""
    with_state(fleet, username="node:vm-c", password_file=str(fleet.users.password_file("node-vm-c")))
    fleet.wait_view("vm-b", "why", lambda v: "NOPERM" in v["why"])
    assert fleet.call_own().status == 200


def test_a_certificate_of_another_name(fleet):
    with_state(fleet, tls_name="other.test")
    keeps_what_it_knows(fleet, "another name")


def test_a_certificate_with_the_right_name(fleet):
    with_state(fleet, tls_name="redis.test")
    fleet.wait_view("vm-b", "that it is connected", lambda v: v["connected"] and not v["why"])


def test_a_certificate_of_another_authority(fleet):
    other = Certificates(fleet.lab.dir / "other-authority")
    with_state(fleet, tls_ca=str(other.ca))
    keeps_what_it_knows(fleet, "certificate")


def test_a_certificate_of_the_mesh_itself_is_no_stores(fleet):
    """A workload of the mesh, with a good certificate, at the store's address."""
    with_state(fleet, tls_ca=str(next(fleet["vm-b"].certs.glob("*.pem"), fleet.store_authority.ca)), tls_name="other.test")
    fleet.wait_view("vm-b", "why", lambda v: not v["connected"] and v["why"])


def test_a_server_without_tls(fleet):
    fleet.redis.save("now")
    fleet.redis.kill()
    plain = Redis(fleet.lab["vm-r"], fleet.users, name="plain")
    plain.start()
    try:
        keeps_what_it_knows(fleet, "tls")
        assert "AUTH" not in plain.process.log
    finally:
        plain.stop()
        fleet.redis.start()


def test_a_server_that_asks_for_a_certificate(fleet):
    """It is shown one, signed for by the keeper: the key is in no process that speaks to the server."""
    mine = fleet.store_authority.issue("vm-b", "DNS:vm-b.test")
    mine.with_suffix(".key").chmod(0o600)
    with_state(fleet, tls_certificate=str(mine), tls_key=str(mine.with_suffix(".key")))
    with fleet.redis.connect() as lab:
        lab.ask("CONFIG", "SET", "tls-auth-clients", "yes")
        try:
            lab.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            lab.ask("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
            fleet.wait_view("vm-c", "why it is not let in", lambda v: not v["connected"] and "certificate" in (v["why"] or ""))
            fleet.wait_view("vm-b", "that it is let in", lambda v: v["connected"] and not v["why"])
        finally:
            lab.ask("CONFIG", "SET", "tls-auth-clients", "no")


def test_one_that_comes_late_to_a_password_change(fleet):
    """The password is changed on both sides, the server's first: no traffic is lost meanwhile."""
    path = fleet.users.password_file("node-vm-b")
    old = path.read_text()
    with Load(fleet, callers=1) as load:
        fleet.redis.ask("ACL", "SETUSER", "node:vm-b", "resetpass", ">a-new-password-of-vm-b")
        fleet.redis.ask("CLIENT", "KILL", "USER", "node:vm-b")
        fleet.wait_view("vm-b", "why", lambda v: not v["connected"] and "wrong password" in v["why"])
        path.write_text("a-new-password-of-vm-b")
        fleet["vm-b"].reload()
        fleet.wait_view("vm-b", "that it is connected", lambda v: v["connected"])
        load.more()
    path.write_text(old)
    fleet.redis.ask("ACL", "LOAD")
    fleet["vm-b"].reload()


# --- what is not Redis -----------------------------------------------------------------------------------------


def resident_kib(pid):
    return int(process_status(pid)["VmRSS"].split()[0])


class Impostor:
    """Something at the store's address: each connection meets the next of some ways to answer."""

    def __init__(self, fleet, answers):
        self.answers, self.connections, self.over = answers, 0, threading.Event()
        self.listener = fleet.lab["vm-r"].sockets(REDIS_UID, socket.AF_INET)[0]
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", 6379))
        self.listener.listen(64)
        self.threads = [threading.Thread(target=self.accept)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.listener.close()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            answer = self.answers[self.connections % len(self.answers)]
            self.connections += 1
            self.threads.append(threading.Thread(target=self.serve, args=(s, answer)))
            self.threads[-1].start()

    def serve(self, s, answer):
        s.settimeout(0.2)
        with s, contextlib.suppress(ConnectionError):
            end = time.monotonic() + 30
            while not self.over.is_set() and time.monotonic() < end:
                try:
                    heard = s.recv(65536)
                except socket.timeout:
                    continue
                if not heard:
                    return
                for part in answer(heard):  # some do not end
                    if self.over.is_set():
                        return
                    self.send(s, part)

    def send(self, s, part):
        while part and not self.over.is_set():
            with contextlib.suppress(socket.timeout):
                part = part[s.send(part):]


def endless(head):
    def answer(_):
        yield head
        while True:
            yield b"x" * 65536
    return answer


def polite_until_asked(then):
    """Greets as a primary does, and answers what comes then with `then`."""
    role = b"*3\r\n$6\r\nmaster\r\n:1\r\n*0\r\n"
    info = b"# Replication\r\nrole:master\r\nmaster_replid:" + b"0123456789" * 4 + b"\r\n"
    greetings = {b"AUTH": b"+OK\r\n", b"CLIENT": b"+OK\r\n", b"HELLO": b"-ERR unknown command\r\n", b"PING": b"+PONG\r\n",
                 b"ROLE": role, b"INFO": b"$%d\r\n%s\r\n" % (len(info), info),
                 b"SUBSCRIBE": b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"}

    def answer(heard):
        words = [word for word in heard.split(b"\r\n") if word and word[:1] not in b"*$"]
        for word in words:
            if word.upper() in greetings:
                yield greetings[word.upper()]
            elif word.upper() in (b"GET", b"MGET", b"SET", b"HGETALL", b"SCAN", b"XRANGE", b"TIME", b"MULTI", b"STRLEN",
                                  b"GETRANGE"):
                yield from then()
    return answer


def repeated(part):
    def then():
        while True:
            yield part
    return then


GARBAGE = {
    "random bytes": lambda _: [os.urandom(4096)],
    "a web server": lambda _: [b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"],
    "silence": lambda _: [],
    "an endless bulk": endless(b"$1099511627776\r\n"),
    "an endless line": endless(b"+"),
    "a huge array": lambda _: [b"*2147483647\r\n"] + [b":1\r\n" * 10000] * 100,
    "arrays in arrays": lambda _: [b"*1\r\n" * 100000],
    "a negative length": lambda _: [b"$-9223372036854775808\r\n", b"*-7\r\n"],
    "errors": lambda _: [b"-ERR no\r\n" * 100],
    "loading for ever": lambda _: [b"-LOADING Redis is loading the dataset in memory\r\n"],
    "too many answers": lambda _: [b"+OK\r\n" * 10000],
    "a good greeting, then an endless bulk": polite_until_asked(repeated(b"$1099511627776\r\n" + b"x" * 65536)),
    "a good greeting, then big integers": polite_until_asked(repeated(b":9223372036854775807\r\n")),
    "a good greeting, then nulls": polite_until_asked(lambda: [b"$-1\r\n"]),
    "a good greeting, then an endless scan": polite_until_asked(
        lambda: [b"*2\r\n$1\r\n7\r\n*1000\r\n" + b"".join(b"$20\r\n%020d\r\n" % n for n in range(1000))]),
    "a good greeting, then nothing": polite_until_asked(lambda: []),
}


@pytest.fixture(scope="module")
def plain():
    with Fleet() as fleet:
        yield fleet.start()


@pytest.mark.parametrize("some", range(4))
def test_garbage_costs_neither_calls_nor_memory(plain, some):
    fleet = plain
    names = list(GARBAGE)[some::4]
    if not fleet.redis.process.running:
        fleet.redis.start()
    fleet.wait_settled(30)
    pids = {node.name: node.state_pid() for node in fleet}
    before = {name: resident_kib(pid) for name, pid in pids.items()}
    with Load(fleet, callers=1) as load:
        fleet.redis.save("now")
        fleet.redis.kill()
        with Impostor(fleet, [GARBAGE[name] for name in names]) as impostor:
            most = dict(before)

            def all_met():
                for name, pid in pids.items():
                    most[name] = max(most[name], resident_kib(pid))
                return impostor.connections > 2 * len(names)
            wait_for(all_met, f"connections to meet {names}", 40)
            for view in fleet.views():
                assert view["loaded"] and view["endpoints"] == fleet.endpoint_count()
            for name in pids:
                assert most[name] - before[name] < 65536, f"the state process of {name} grew: {most} from {before} KiB"
            load.more()
            assert fleet.call_at("vm-b", "guest").status == 403
        fleet.redis.start()
        fleet.wait_settled(30)
        load.more()
    assert pids == {node.name: node.state_pid() for node in fleet}, "a state process died"
