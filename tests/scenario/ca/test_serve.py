# SPDX-License-Identifier: Apache-2.0
"""`ringmain ca serve`: certificates for machines, asked for with curl, openssl and Python."""
import base64
import email.utils
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from ca_lab import (EST, Certificate, Client, Directory, Key, Server, basic, connect, context, get, identity, parse, post,
                    read_answer, run)
from mesh import BINARY

NOBODY = 65534


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = Directory(tmp_path_factory.mktemp("ca"), limits="node_per_minute = 10000; node_burst = 1000;")
    for node in ("vm-a", "vm-b"):
        directory.allow(node, "web" if node == "vm-a" else "orders")
    return directory


@pytest.fixture(scope="module")
def server(directory):
    server = Server(directory)
    yield server
    server.stop()


@pytest.fixture
def client(directory, server):
    return Client(directory)


@pytest.fixture(scope="module")
def vm_a(directory, server):
    return Client(directory).join("vm-a")


@pytest.fixture
def own(tmp_path):
    """Makes authorities that a test has for itself, and stops their servers."""
    servers = []

    def make(*args, **more):
        directory = Directory(tmp_path, *args, **more)
        directory.allow("vm-a", "web")
        return directory

    def serve(directory, *args):
        servers.append(Server(directory, f"server-{len(servers)}", *args))
        return servers[-1]
    make.serve = serve
    yield make
    for server in servers:
        server.stop()


# --- what is published -------------------------------------------------------------------------------


def test_anchors_without_a_certificate_and_their_fingerprint(client, directory):
    """As a machine that knows nothing but the fingerprint: it may not trust the connection yet."""
    answer = client.cacerts("-k")
    assert answer.status == 200
    assert answer.fields["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    path = directory.place / "cacerts.pem"
    path.write_bytes(answer.pem())
    assert run("openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256").stdout == directory.fingerprint()


def test_server_is_known_by_the_anchors_and_only_by_its_names(client, directory, tmp_path):
    assert client.cacerts().status == 200
    with connect(directory) as s:
        s.sendall(get("cacerts"))
        assert read_answer(s).status == 200
        assert s.version() == "TLSv1.3"
    with pytest.raises(ConnectionError):
        client.ask(EST + "cacerts", "--resolve", f"other.example:{client.port}:127.0.0.1", "--url",
                   f"https://other.example:{client.port}{EST}cacerts", "--fail-early")
    stranger = tmp_path / "stranger.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x", "-out", stranger)
    with pytest.raises(ConnectionError):
        client.cacerts("--cacert", stranger)


def test_dates_and_tags(client):
    answer = client.cacerts()
    date = email.utils.parsedate_to_datetime(answer.fields["date"])
    assert abs(date.timestamp() - time.time()) < 5
    again = client.cacerts(fields=[f"If-None-Match: {answer.fields['etag']}"])
    assert again.status == 304 and again.body == b"" and again.fields["etag"] == answer.fields["etag"]


def test_revocation_lists_are_readable_by_openssl(client):
    answer = client.ask(EST + "crls")
    assert answer.status == 200
    text = run("openssl", "pkcs7", "-inform", "DER", "-print_certs", "-text", input=base64.b64decode(answer.body)).stdout
    assert b"Certificate Revocation List" in text
    assert client.ask(EST + "crls", fields=[f"If-None-Match: {answer.fields['etag']}"]).status == 304


def test_other_domains_anchors_have_a_label(client, directory, tmp_path):
    other = tmp_path / "other.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
        "-subj", "/CN=other", "-out", other, "-addext", "subjectAltName=URI:spiffe://other.example",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    (directory.dir / "federation").mkdir(mode=0o700, exist_ok=True)
    (directory.dir / "federation" / "other.example.pem").write_bytes(other.read_bytes())
    answer = client.cacerts(label="other.example/")
    assert answer.status == 200
    assert b"CN = other" in answer.pem()
    assert client.cacerts(label="third.example/").status == 404


@pytest.mark.parametrize("words, path, status", [
    ([], "/", 404), ([], EST + "csrattrs", 404), (["-X", "POST"], EST + "cacerts", 405), ([], EST + "simpleenroll", 405),
    (["-d", "x=y"], EST + "simpleenroll", 415), (["-I"], EST + "cacerts", 200), (["-X", "PATCH"], "/", 404)])
def test_what_is_not_offered(client, words, path, status):
    assert client.ask(path, *words).status == status


# --- joining -----------------------------------------------------------------------------------------


def test_token_gets_the_nodes_certificate(client, directory, server):
    key = Key(directory.place, "joining")
    token = directory.token("vm-a")
    certificate = client.join("vm-a", key, token, "joining")
    assert certificate.uris() == [identity("node/vm-a")]
    run("openssl", "verify", "-CAfile", directory.roots, "-untrusted", certificate.path, certificate.path)
    server.wait_log(f"issued {identity('node/vm-a')}, serial {certificate.serial()}, to token for vm-a")
    assert token not in server.log()


def test_lost_answer_burns_nothing_and_a_second_key_gets_nothing(client, directory, server):
    key, token = Key(directory.place, "lost"), directory.token("vm-a")
    request = key.request(identity("node/vm-a"))
    issued = f"issued {identity('node/vm-a')}"
    before = server.log().count(issued)
    s = connect(directory)
    s.sendall(post("simpleenroll", request, basic("vm-a", token)))
    server.wait_log(issued, count=before + 1)
    s.close()
    assert client.enroll(request, user=f"vm-a:{token}").status == 200
    assert client.enroll(key.request(identity("node/vm-a")), user=f"vm-a:{token}").status == 200
    thief = Key(directory.place, "thief")
    answer = client.enroll(thief.request(identity("node/vm-a")), user=f"vm-a:{token}")
    assert answer.status in (401, 403), answer


@pytest.mark.parametrize("user, node, status", [
    (None, "vm-a", 401), ("vm-a:wrong", "vm-a", 401), ("vm-b:{token}", "vm-b", 401), ("vm-a:{token}", "vm-b", 403),
    ("vm-z:{token}", "vm-a", 401)])
def test_token_of_nobody_and_of_another(client, directory, user, node, status):
    token = directory.token("vm-a")
    answer = client.enroll(Key(directory.place, "nobody").request(identity(f"node/{node}")),
                           user=user and user.format(token=token))
    assert answer.status == status, answer
    assert answer.fields["content-type"].startswith("text/plain") and answer.body.strip()
    assert ("www-authenticate" in answer.fields) == (status == 401)


def test_request_that_is_none(client, directory):
    user = f"vm-a:{directory.token('vm-a')}"
    body = Key(directory.place, "none").request(identity("node/vm-a"))
    for broken in (b"", b"AAAA", body[:-40], b"-----BEGIN CERTIFICATE REQUEST-----\n" + body, b"\xff" * 100):
        assert client.enroll(broken, user=user).status == 400
    assert client.enroll(b"A" * 20000, user=user).status == 413
    forged = bytearray(base64.b64decode(body))
    forged[-1] ^= 1
    assert client.enroll(base64.encodebytes(bytes(forged)), user=user).status == 400


# --- renewing ----------------------------------------------------------------------------------------


def test_node_renews_itself_and_gets_its_workloads(client, directory, vm_a, server):
    for path, operation in (("node/vm-a", "simplereenroll"), ("service/web", "simpleenroll")):
        key = Key(directory.place, path.replace("/", "-"))
        answer = client.enroll(key.request(identity(path)), operation, certificate=vm_a)
        assert answer.status == 200, answer
        certificate = Certificate(key, answer.pem(), directory.place, path.replace("/", "-"))
        assert certificate.uris() == [identity(path)]
        server.wait_log(f"issued {identity(path)}, serial {certificate.serial()}, to {identity('node/vm-a')}")


def test_anothers_identity_and_extra_names_are_refused(client, directory, vm_a, server):
    key = Key(directory.place, "greedy")
    wanted = [([identity("service/orders")], ()), ([identity("node/vm-b")], ()), (["spiffe://other.example/service/web"], ()),
              ([identity("service/web"), identity("service/orders")], ()), ([identity("service/web")], ("DNS:web.example",)),
              ([identity("service/web")], ("IP:10.0.0.1",)), ([], ("DNS:web.example",))]
    for uris, extra in wanted:
        answer = client.enroll(key.request(*uris, extra=extra), certificate=vm_a)
        assert answer.status in (400, 403), (uris, extra, answer)
    server.wait_log(f"refused {identity('node/vm-a')}: 403:")


def test_workloads_certificate_asks_for_nothing(client, directory, vm_a):
    key = Key(directory.place, "web")
    web = Certificate(key, client.enroll(key.request(identity("service/web")), certificate=vm_a).pem(), directory.place, "web")
    answer = client.enroll(key.request(identity("service/web")), "simplereenroll", certificate=web)
    assert answer.status == 403, answer


def test_strangers_certificate_is_no_proof(client, directory, tmp_path):
    key = Key(tmp_path, "stranger")
    path = tmp_path / "stranger.crt"
    run("openssl", "req", "-x509", "-key", key.path, "-subj", "/CN=x", "-addext",
        f"subjectAltName=URI:{identity('node/vm-a')}", "-out", path)
    stranger = Certificate(key, path.read_bytes(), tmp_path, "stranger")
    with pytest.raises(ConnectionError):
        client.enroll(key.request(identity("node/vm-a")), certificate=stranger)


def wait_for(moment):
    time.sleep(max(0, moment - time.time()))


def test_expired_certificate_comes_back_for_a_while(own):
    directory = own(lifetimes='leaf = "2s"; node = "4s"; comeback = "6s"; backdate = "1s";')
    own.serve(directory)
    client = Client(directory)
    node = client.join("vm-a")
    key = Key(directory.place, "next")
    end = node.end()
    wait_for(end + 0.5)
    back = client.enroll(key.request(identity("node/vm-a")), "simplereenroll", certificate=node)
    assert back.status == 200, back
    assert client.enroll(key.request(identity("service/web")), certificate=node).status == 403
    wait_for(end + 7.5)  # whole seconds count
    late = client.enroll(key.request(identity("node/vm-a")), "simplereenroll", certificate=node)
    assert late.status == 403, late
    assert b"token" in late.body


def test_revoked_certificate_is_refused_on_live_connections_and_new_ones(client, directory, server):
    node = client.join("vm-b", name="revoked")
    request = Key(directory.place, "revoked-next").request(identity("node/vm-b"))
    with connect(directory, node) as live:
        live.sendall(post("simplereenroll", request))
        assert read_answer(live).status == 200
        directory.revoke(node.serial())
        live.sendall(post("simplereenroll", request))
        assert read_answer(live).status == 403
        end = time.monotonic() + 15
        while True:
            try:
                answer = client.enroll(request, "simplereenroll", certificate=node)
                assert answer.status == 403
            except ConnectionError:
                break
            assert time.monotonic() < end
            time.sleep(0.2)
        live.sendall(post("simplereenroll", request))
        assert read_answer(live).status == 403
    server.wait_log("no TLS: a certificate of the chain has been revoked")


def test_what_a_node_has_in_force_is_seen(client, directory, vm_a):
    answer = client.cacerts(certificate=vm_a)
    assert client.cacerts(certificate=vm_a, fields=[f"If-None-Match: {answer.fields['etag']}"]).status == 304
    listed = {row["name"]: row for row in json.loads(directory.ca("list", "-o", "json").stdout)["nodes"]}
    assert listed["vm-a"]["anchors_current"] and listed["vm-a"]["seen"] > 0
    assert not listed["vm-b"]["anchors_current"]


def test_too_many_requests_are_told_when_to_come_back(own):
    directory = own(limits="node_per_minute = 1; node_burst = 2;")
    own.serve(directory)
    client = Client(directory)
    node = client.join("vm-a")
    request = Key(directory.place, "many").request(identity("service/web"))
    statuses = []
    while 429 not in statuses and len(statuses) < 5:
        answer = client.enroll(request, certificate=node)
        statuses.append(answer.status)
    assert statuses[-1] == 429 and statuses[0] == 200
    assert int(answer.fields["retry-after"]) > 0


def test_runs_without_any_privilege(request):
    """As the unit starts it: a user who owns the directory and nothing else."""
    place = Path(tempfile.mkdtemp(prefix="ringmain-ca-"))
    try:
        place.chmod(0o755)
        directory = Directory(place)
        directory.allow("vm-a", "web")
        for path in (directory.dir, *directory.dir.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        server = Server(directory, user=NOBODY, group=NOBODY, extra_groups=[])
        request.addfinalizer(server.kill)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert "\nNoNewPrivs:\t1\n" in status and "\nCapEff:\t0000000000000000\n" in status
        assert "Max core file size        0                    0" in Path(f"/proc/{server.process.pid}/limits").read_text()
        Client(directory).join("vm-a", token=own_token(directory))
        server.stop()
    finally:
        shutil.rmtree(place)


def own_token(directory):
    """As its user does it: what root writes there would be root's."""
    done = subprocess.run([BINARY, "ca", "token", "--dir", directory.dir, "vm-a"], capture_output=True, check=True, user=NOBODY,
                          group=NOBODY, extra_groups=[])
    return done.stdout.decode().strip()


# --- several, and restarts ---------------------------------------------------------------------------


def test_two_servers_on_one_directory(own):
    directory = own(ports=2)
    first, second = (own.serve(directory, port) for port in directory.ports)
    clients = [Client(directory, port) for port in directory.ports]
    key, token = Key(directory.place, "vm-a"), directory.token("vm-a")
    request = key.request(identity("node/vm-a"))
    assert clients[0].enroll(request, user=f"vm-a:{token}").status == 200
    node = Certificate(key, clients[1].enroll(request, user=f"vm-a:{token}").pem(), directory.place, "vm-a")
    thief = Key(directory.place, "thief").request(identity("node/vm-a"))
    assert clients[1].enroll(thief, user=f"vm-a:{token}").status in (401, 403)
    assert clients[0].cacerts().fields["etag"] == clients[1].cacerts().fields["etag"]
    assert clients[0].ask(EST + "crls").fields["etag"] == clients[1].ask(EST + "crls").fields["etag"]
    web = Key(directory.place, "web").request(identity("service/web"))
    assert [c.enroll(web, certificate=node).status for c in clients] == [200, 200]
    first.kill()
    assert clients[1].enroll(web, certificate=node).status == 200


def test_restart_in_the_middle(own):
    directory = own()
    server = own.serve(directory)
    client = Client(directory)
    node = client.join("vm-a")
    request = Key(directory.place, "web").request(identity("service/web"))
    half = post("simpleenroll", request)
    with connect(directory, node) as s:
        s.sendall(half[:-20])
        server.process.send_signal(signal.SIGTERM)
        server.wait_log("ending")
        s.sendall(half[-20:])
        answer = read_answer(s)
        assert answer.status == 200 and answer.fields["connection"] == "close"
    server.stop()
    with pytest.raises(ConnectionError):
        client.cacerts()
    again = own.serve(directory)
    assert client.enroll(request, certificate=node).status == 200
    again.kill()
    own.serve(directory)
    assert client.enroll(request, certificate=node).status == 200


def test_an_address_that_is_just_being_given_up(directory):
    """The sockets of a server that was killed outlive it for a moment: the kernel has them in a ring yet."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        threading.Timer(0.5, taken.close).start()
        server = Server(directory, "after", port)
        server.stop()
        assert taken.fileno() == -1


def test_settings_are_read_again_and_bad_ones_are_not_taken(own):
    directory = own(ports=2)
    first, second = directory.ports
    directory.settings([first])
    server = own.serve(directory)
    node = Client(directory).join("vm-a")
    assert Client(directory, first).cacerts().status == 200
    directory.settings([first, second])
    server.reload()
    with connect(directory, port=first) as live:
        assert Client(directory, second).cacerts().status == 200
        directory.settings([second])
        server.reload()
        with pytest.raises(ConnectionError):
            Client(directory, first).cacerts()
        live.sendall(get("cacerts"))
        assert read_answer(live).status == 200
    conf = directory.dir / "ca.conf"
    conf.write_text("nonsense = {")
    server.reload()
    server.wait_log("the settings before it hold on")
    web = Key(directory.place, "web").request(identity("service/web"))
    assert Client(directory, second).enroll(web, certificate=node).status == 200
    assert directory.ca("serve", "--check", check=False).returncode == 1
    directory.settings([second])
    assert directory.ca("serve", "--check").returncode == 0
    server.reload()
    assert Client(directory, second).cacerts().status == 200


# --- the hostile and the many ------------------------------------------------------------------------


def test_garbage_on_the_port(client, directory):
    for text in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 5000, bytes(range(256)) * 20):
        with socket.create_connection(("127.0.0.1", directory.ports[0]), timeout=20) as s:
            s.sendall(text)
            try:
                while s.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    with connect(directory) as s:
        s.sendall(b"\x00\x01 nonsense\r\n\r\n")
        assert read_answer(s).status == 400
    assert client.cacerts().status == 200


def test_old_versions_of_tls_are_refused(client):
    with pytest.raises(ConnectionError):
        client.cacerts("--tls-max", "1.2", "--tlsv1.2")


def test_slow_clients_and_half_open_ones_do_not_hold_others_up(client, directory):
    slow = [connect(directory) for _ in range(10)]
    for s in slow:
        s.sendall(b"POST " + EST.encode() + b"simpleenroll HTTP/1.1\r\nHost: ca\r\nContent-Length: 1000\r\n\r\nA")
    mute = [socket.create_connection(("127.0.0.1", directory.ports[0])) for _ in range(20)]
    assert client.cacerts().status == 200
    for s in slow + mute:
        s.close()


def test_one_address_has_so_many_handshakes_and_no_more(client, directory):
    """All of them are ours here: those beyond the limit are closed at once, and it ends with the others."""
    mute = [socket.create_connection(("127.0.0.1", directory.ports[0]), timeout=20) for _ in range(40)]
    for s in mute[32:]:
        assert s.recv(1) == b""
    for s in mute:
        s.close()
    end = time.monotonic() + 15
    while True:
        try:
            assert client.cacerts().status == 200
            return
        except ConnectionError:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_few_files_are_enough_for_the_authority(own):
    """Connections that ask for nothing take neither the place of others nor the files that issuing needs."""
    directory = own()
    server = Server(directory, "few", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160)))
    held = []
    try:
        for _ in range(200):
            held.append(connect(directory))
            held[-1].sendall(b"G")
        assert Client(directory).join("vm-a").uris() == [identity("node/vm-a")]
        server.wait_log("at most 64 connections")
    finally:
        for connection in held:
            connection.close()
        server.stop()


def test_two_hundred_connections(directory, server, vm_a):
    tls = context(directory, vm_a)
    request = Key(directory.place, "many").request(identity("service/web"))
    conns = []
    for _ in range(200):
        conns.append(connect(directory, tls=tls))
        conns[-1].sendall(post("simpleenroll", request))
    serials = set()
    for s in conns:
        answer = read_answer(s)
        assert answer.status == 200, answer
        serials.add(bytes(answer.body))
        s.close()
    assert len(serials) == 200


def test_one_connection_many_requests(directory, server):
    with connect(directory) as s:
        for _ in range(50):
            s.sendall(get("cacerts"))
            assert read_answer(s).status == 200
        s.sendall(get("crls") + get("cacerts", "Connection: close"))
        text = b""
        while piece := s.recv(65536):
            text += piece
        assert text.count(b"HTTP/1.1 200 OK") == 2
        assert parse(text).fields["content-type"].endswith("crls-only")
