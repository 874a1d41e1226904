# SPDX-License-Identifier: Apache-2.0
"""The bench's configurations of HAProxy, nginx and Envoy do what ringmain is compared with: mutual TLS
1.3 with the same cipher, group and certificates, routing, policy, kept connections, resumption as asked.

Each runs as the bench runs it, on a machine of its own. A peer that is not installed is skipped."""
import concurrent.futures
import contextlib
import json
import re
import shutil
import ssl
import sys
import threading
from types import SimpleNamespace

import pytest
from machines import ROOT, Lab, wait_for
from mesh import BINARY, BUILD, Wire, request_text

sys.path[:0] = [str(ROOT / "bench" / "harness"), str(ROOT / "bench")]
from authority import Authority, dns_name, spiffe_id  # noqa: E402
from contest import CLIENT, PLAIN, SERVER, TLS_CIPHERS, Spec  # noqa: E402
from peers import envoy, haproxy, nginx  # noqa: E402

HOST, PREFIX, PATH = "orders.example", "/api/", "/api/items/1"
ENTRY, HOP, ORIGIN = 15001, 15443, 8080  # the caller's proxy, the callee's proxy, the callee
CHECK = {"haproxy": ["-c"], "nginx": ["-t"], "envoy": ["--mode", "validate"]}
ROLES = [PLAIN, CLIENT, SERVER]


@pytest.fixture(scope="module", params=[haproxy, nginx, envoy], ids=["haproxy", "nginx", "envoy"])
def peer(request):
    found = request.param.Peer()
    if not found.find():
        pytest.skip(f"{found.name} is not here; {found.package} brings it")
    return found


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), BINARY, ["web", "orders", "stranger"])


@pytest.fixture
def machine():
    with Lab(["vm-a"]) as lab:
        yield lab["vm-a"]


class Stage:
    """A machine with an origin behind a peer's proxies."""

    def __init__(self, machine, peer, authority):
        self.machine = machine
        self.peer = peer
        self.authority = authority

    def credentials(self, service):
        path = self.authority.path
        return {"certificate": str(path(service, "crt")), "key": str(path(service, "key")),
                "bundle": str(path(service, "pem")), "ca": str(self.authority.root)}

    def spec(self, role, protocol, **changes):
        fields = {"protocol": protocol, "listen": ("127.0.0.1", HOP if role == SERVER else ENTRY),
                  "to": [("127.0.0.1", HOP if role == CLIENT else ORIGIN)],
                  "host": HOST if protocol == "http" else ""}
        if role == CLIENT:
            fields.update(tls_to=True, server_name=dns_name("orders"), server_id=spiffe_id("orders"),
                          **self.credentials("web"))
        if role == SERVER:
            fields.update(tls_listen=True, caller_name=dns_name("web"), caller_id=spiffe_id("web"),
                          **self.credentials("orders"))
        if role == SERVER and protocol == "http":
            fields.update(methods=["GET", "POST"], path_prefix=PREFIX)
        return Spec(**dict(fields, **changes))

    def command(self, role, spec):
        directory = self.machine.dir / role
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        config = directory / f"{self.peer.name}.conf"
        config.write_text(self.peer.config(role, spec))
        return self.peer.command(config, directory)

    def start(self, role, protocol, **changes):
        spec = self.spec(role, protocol, **changes)
        return self.machine.serve(role, self.command(role, spec), spec.listen[1], 0)

    def origin(self, protocol):
        command = [self.machine.program(BUILD / "bench" / "origin"), "--listen", f"127.0.0.1:{ORIGIN}",
                   "--protocol", protocol, "--response-bytes", "1024"]
        return self.machine.serve("origin", command, ORIGIN, 0)

    def start_pair(self, protocol, **changes):
        self.origin("http" if protocol == "http" else "echo")
        self.start(SERVER, protocol, **changes)
        self.start(CLIENT, protocol, **changes)

    def connect(self, port=ENTRY):
        return self.machine.connect(0, "127.0.0.1", port)

    def ask(self, start_line=f"GET {PATH}", host=HOST):
        """One request on a connection of its own; the reply."""
        with Wire(self.connect()) as wire:
            return wire.send(request_text(start_line, host)).reply()

    def hop_ports(self):
        """The callers' ports of all connections between the two proxies, those that are closed included."""
        lines = self.machine.run(["ss", "-Htan", f"dport = :{HOP}"]).stdout.splitlines()
        return {line.split()[3] for line in lines}

    def openssl(self, *words):
        """What a TLS client of OpenSSL says about its connection to the callee's proxy."""
        done = self.machine.run(["openssl", "s_client", "-connect", f"127.0.0.1:{HOP}", "-brief",
                                 "-CAfile", self.authority.root, "-ciphersuites", ":".join(TLS_CIPHERS),
                                 *words], check=False, input="")
        return done.stdout + done.stderr

    def certificate(self, service):
        return ["-cert", self.authority.path(service, "crt"), "-key", self.authority.path(service, "key")]


@pytest.fixture
def stage(machine, peer, authority):
    return Stage(machine, peer, authority)


# --- configurations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("protocol", ["tcp", "http"])
def test_the_peer_takes_its_configuration(stage, protocol, role):
    for changes in ({}, {"resumption": False}, {"connections": 10_000},
                    {"to": [("127.0.0.1", 8080), ("127.0.0.1", 8081)]}):
        command = stage.command(role, stage.spec(role, protocol, **changes)) + CHECK[stage.peer.name]
        done = stage.machine.run(command, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_peer_says_its_version(peer):
    assert re.fullmatch(r"\d+\.\d+\.\d+", peer.version())


# --- requests ----------------------------------------------------------------------------------------


def test_a_request_passes_the_pair(stage):
    stage.start_pair("http")
    reply = stage.ask()
    assert (reply.status, len(reply.body)) == (200, 1024)
    assert stage.ask(f"POST {PATH}").status == 200
    assert stage.ask(host="other.example").status == 404
    assert stage.ask(f"DELETE {PATH}").status == 403
    assert stage.ask("GET /admin").status == 403


def test_a_request_passes_the_plain_proxy(stage):
    stage.origin("http")
    stage.start(PLAIN, "http")
    assert stage.ask().status == 200
    assert stage.ask(host="other.example").status == 404


def heads_of(listener, count):
    """Answers that many requests, each on a connection of its own; their heads."""
    heads = []
    while len(heads) < count:
        sock, _ = listener.accept()
        sock.settimeout(10)
        with Wire(sock) as wire:
            heads.append(wire.until(b"\r\n\r\n").decode().lower())
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return heads


def test_the_callee_learns_who_called_and_the_request_has_a_name(stage):
    stage.start(SERVER, "http")
    stage.start(CLIENT, "http")
    with stage.machine.sockets(0)[0] as listener, concurrent.futures.ThreadPoolExecutor(1) as pool:
        listener.bind(("127.0.0.1", ORIGIN))
        listener.listen(4)
        listener.settimeout(10)
        heads = pool.submit(heads_of, listener, 2)
        assert [stage.ask().status, stage.ask().status] == [200, 200]
        ids = [re.search(r"\r\nx-request-id: *([0-9a-f-]{32,})\r\n", head)[1] for head in heads.result(10)]
        for head in heads.result():
            caller = re.search(r"\r\nx-forwarded-client-cert: *(.*)\r\n", head)[1]
            assert dns_name("web") in caller or spiffe_id("web") in caller
            assert f"\r\nhost: {HOST}\r\n" in head and head.startswith(f"get {PATH} http/1.1")
    assert ids[0] != ids[1]


def exchange(sock, text=b"are you there?"):
    sock.sendall(text)
    back = b""
    while len(back) < len(text):
        part = sock.recv(100)
        assert part, f"only {back!r} came back"
        back += part
    assert back == text


def test_bytes_pass_the_pair_and_the_plain_proxy(stage):
    stage.start_pair("tcp")
    with stage.connect() as sock:
        exchange(sock)
    stage.start(PLAIN, "tcp", listen=("127.0.0.1", 15002))
    with stage.connect(15002) as sock:
        exchange(sock)


def test_connections_between_the_proxies_are_kept(stage):
    stage.start_pair("http")
    for _ in range(20):
        assert stage.ask().status == 200
    assert len(stage.hop_ports()) <= 2


@pytest.mark.parametrize("count", [64, 300])
def test_many_requests_at_once_pass_the_pair(stage, count):
    stage.start_pair("http", connections=count)
    load = [stage.machine.program(BUILD / "bench" / "load"), "--to", f"127.0.0.1:{ENTRY}", "--protocol", "http",
            "--host", HOST, "--path", PATH, "--connections", count, "--duration", "1", "--warmup", "0.5"]
    figures = json.loads(stage.machine.run(load).stdout.splitlines()[-1])
    assert figures["errors"] == 0 and figures["requests"] > 0, figures
    assert figures["connections_opened"] == 0, "a caller's connection was not kept"
    assert len(stage.hop_ports()) <= count, "connections between the proxies were not kept"


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["tcp", "http"])
def test_the_callee_negotiates_what_ringmain_negotiates(stage, protocol):
    stage.origin("echo")
    stage.start(SERVER, protocol)
    told = stage.openssl(*stage.certificate("web"))
    for line in ("Protocol version: TLSv1.3", "Ciphersuite: TLS_AES_128_GCM_SHA256", "Server Temp Key: X25519",
                 f"Peer certificate: CN = {dns_name('orders')}", "Verification: OK"):
        assert line in told, told
    assert "Protocol version" not in stage.openssl("-tls1_2", *stage.certificate("web"))


class Callee(threading.Thread):
    """Plays the callee's proxy: an echo over TLS that notes which connections brought anything."""

    def __init__(self, stage, service="orders"):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(stage.authority.path(service, "crt"), stage.authority.path(service, "key"))
        self.context.load_verify_locations(stage.authority.root)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = stage.machine.sockets(0)[0]
        self.listener.bind(("127.0.0.1", HOP))
        self.listener.listen(16)
        self.handshakes = 0
        self.seen = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(2)
        self.join(5)
        self.listener.close()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(10)
            with contextlib.suppress(OSError), sock, self.context.wrap_socket(sock, server_side=True) as tls:
                self.serve(tls)
            self.handshakes += 1

    def serve(self, tls):
        part = tls.recv(100)
        if part:
            self.seen.append(SimpleNamespace(id=dict(tls.getpeercert()["subjectAltName"])["URI"],
                                             resumed=tls.session_reused))
        while part:
            tls.sendall(part)
            part = tls.recv(100)


def test_the_caller_negotiates_what_ringmain_negotiates(stage):
    callee = stage.machine.spawn("callee", [
        "openssl", "s_server", "-accept", f"127.0.0.1:{HOP}", "-brief", "-rev", "-groups", "X25519", "-Verify", "2",
        "-verify_return_error", "-CAfile", stage.authority.root, *stage.certificate("orders")])
    stage.machine.wait_listening(HOP)
    stage.start(CLIENT, "tcp")
    with stage.connect() as sock:
        sock.sendall(b"desserts\n")
        assert sock.recv(100) == b"stressed\n"
    for line in ("Protocol version: TLSv1.3", "Ciphersuite: TLS_AES_128_GCM_SHA256", "Supported groups: x25519:",
                 f"Peer certificate: CN = {dns_name('web')}", "Verification: OK"):
        assert line in callee.log, callee.log


def test_the_caller_tells_nothing_to_a_service_that_it_did_not_call(stage):
    with Callee(stage, service="stranger") as callee:
        stage.start(CLIENT, "tcp")
        with stage.connect() as sock, contextlib.suppress(ConnectionError):
            sock.sendall(b"are you there?")
            assert sock.recv(100) == b""
        wait_for(lambda: callee.handshakes > 0, "the handshake to end")
    assert callee.seen == []


def test_only_the_caller_that_is_named_is_let_in(stage, tmp_path):
    other = Authority(tmp_path, BINARY, ["web"])
    stage.origin("echo")
    stage.start(SERVER, "tcp")
    assert echoes(stage, "web")
    assert not echoes(stage, None)
    assert not echoes(stage, "web", other)
    assert not echoes(stage, "stranger")


def test_only_the_caller_that_is_named_gets_an_answer(stage, tmp_path):
    other = Authority(tmp_path, BINARY, ["web"])
    stage.origin("http")
    stage.start(SERVER, "http")
    assert answer(stage, stage.certificate("web")) == "200"
    assert answer(stage, []) != "200"
    assert answer(stage, ["-cert", other.path("web", "crt"), "-key", other.path("web", "key")]) != "200"
    assert answer(stage, stage.certificate("stranger")) != "200"


def tls_client(stage, service="web", authority=None):
    context = ssl.create_default_context(cafile=stage.authority.root)
    if service:
        authority = authority or stage.authority
        context.load_cert_chain(authority.path(service, "crt"), authority.path(service, "key"))
    return context


def tls_dial(stage, context, session=None):
    return context.wrap_socket(stage.connect(HOP), server_hostname=dns_name("orders"), session=session)


def echoes(stage, service, authority=None):
    """Whether bytes come back from the callee's proxy to a client with this certificate."""
    try:
        with tls_dial(stage, tls_client(stage, service, authority)) as tls:
            exchange(tls)
    except (OSError, AssertionError):
        return False
    return True


def answer(stage, certificate):
    """The status of a request straight to the callee's proxy, "000" when there is none."""
    words = [f"-{word}" if str(word).startswith("-") else word for word in certificate]
    return stage.machine.run([
        "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", "--http2", *words,
        "--cacert", stage.authority.root, "--resolve", f"{dns_name('orders')}:{HOP}:127.0.0.1", "-H", f"Host: {HOST}",
        f"https://{dns_name('orders')}:{HOP}{PATH}"], check=False).stdout


@pytest.mark.parametrize("resumption", [True, False])
def test_the_caller_resumes_sessions_as_asked(stage, resumption):
    with Callee(stage) as callee:
        stage.start(CLIENT, "tcp", resumption=resumption)
        for _ in range(6):
            with stage.connect() as sock:
                exchange(sock)
    resumed = [one.resumed for one in callee.seen[-5:]]
    assert resumed == [resumption] * 5, resumed


@pytest.mark.parametrize("resumption", [True, False])
def test_the_callee_resumes_sessions_as_asked(stage, resumption):
    stage.origin("echo")
    stage.start(SERVER, "tcp", resumption=resumption)
    context, session, resumed = tls_client(stage), None, []
    for _ in range(3):
        with tls_dial(stage, context, session) as tls:
            exchange(tls)
            resumed.append(tls.session_reused)
            session = tls.session
    assert resumed == [False, resumption, resumption]
