# SPDX-License-Identifier: Apache-2.0
"""A change of the root, and of the issuer after it, while the authority's server runs: what its clients see of each step."""
import re
import ssl
import time

import pytest
from ca_lab import EST, Client, Directory, Key, Server, connect, get, identity, read_answer, run


@pytest.fixture
def directory(tmp_path):
    directory = Directory(tmp_path, lifetimes='leaf = "30s"; node = "60s"; backdate = "1s";',
                          limits="node_per_minute = 10000; node_burst = 1000;")
    directory.allow("vm-a", "web")
    directory.allow("vm-off", "web")
    return directory


@pytest.fixture
def server(directory):
    server = Server(directory)
    yield server
    server.stop()


def rotate(directory, *words, check=True):
    return directory.ca("rotate", *words, check=check)


def anchors(answer):
    return answer.pem().count(b"BEGIN CERTIFICATE")


def shown(directory, roots):
    """Whether a client that has these anchors only believes the server."""
    tls = ssl.create_default_context(cafile=roots)
    try:
        with connect(directory, tls=tls):
            return True
    except ssl.SSLCertVerificationError:
        return False


def until(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def copy(directory, name, to):
    path = directory.place / to
    path.write_bytes((directory.dir / name).read_bytes())
    return path


def test_server_goes_through_a_change_of_root(directory, server):
    client = Client(directory)
    node = client.join("vm-a")
    off = client.join("vm-off")
    old_root = copy(directory, "root.crt", "old-root.pem")
    etag = client.cacerts().fields["etag"]
    with connect(directory, node) as live:
        rotate(directory, "publish", "--root")
        new_root = copy(directory, "next-root.crt", "new-root.pem")
        two = client.cacerts(certificate=node, fields=[f"If-None-Match: {etag}"])
        assert two.status == 200 and anchors(two) == 2 and two.fields["etag"] != etag
        refused = rotate(directory, "activate", check=False)
        assert refused.returncode == 1 and b"vm-a" in refused.stderr and b"vm-off" in refused.stderr
        client.cacerts(certificate=node, fields=[f"If-None-Match: {two.fields['etag']}"])
        refused = rotate(directory, "activate", check=False)
        assert b"vm-off" in refused.stderr and b"vm-a " not in refused.stderr
        assert shown(directory, old_root) and not shown(directory, new_root)
        directory.revoke(off.serial())
        rotate(directory, "activate")
        until(lambda: shown(directory, new_root))
        assert not shown(directory, old_root)
        # whoever was connected stays so, with a certificate of the old issuer
        live.sendall(get("crls"))
        assert read_answer(live).status == 200
    assert client.ask(EST + "crls").pem().count(b"BEGIN X509 CRL") == 2  # the old issuer's, too
    request = Key(directory.place, "next").request(identity("node/vm-a"))
    renewed = client.enroll(request, "simplereenroll", certificate=node)
    assert renewed.status == 200
    refused = rotate(directory, "retire", check=False)
    assert refused.returncode == 1 and b"vm-a" in refused.stderr
    directory.revoke(node.serial())
    done = rotate(directory, "retire").stdout.decode()
    assert re.search(r"hold nothing now.*: vm-off\n", done) and "join --again" in done
    one = client.cacerts()
    assert anchors(one) == 1 and one.fields["etag"] not in (etag, two.fields["etag"])
    # a machine that was off has the old root only; with the new one's fingerprint it joins again
    with pytest.raises(ConnectionError, match="curl: 60"):
        client.ask(EST + "cacerts", "--cacert", str(old_root))
    fingerprint = directory.fingerprint().decode().split("=")[1].strip().replace(":", "").lower()
    assert f"SHA-256 {fingerprint}" in directory.ca("list").stdout.decode()
    assert client.join("vm-off", name="again").uris() == [identity("node/vm-off")]
    # and once more: only the issuer this time, which nobody has to wait for
    before = run("openssl", "x509", "-in", directory.dir / "issuer.crt", "-noout", "-serial").stdout
    rotate(directory, "publish")
    rotate(directory, "abort")
    rotate(directory, "publish")
    rotate(directory, "activate")
    after = run("openssl", "x509", "-in", directory.dir / "issuer.crt", "-noout", "-serial").stdout
    assert before != after
    assert client.cacerts().fields["etag"] == one.fields["etag"]
    until(lambda: shown(directory, new_root))
    assert client.join("vm-off", name="third").uris() == [identity("node/vm-off")]


def test_two_servers_see_a_step_that_was_cut_off(directory, server):
    """What a process has begun and not ended, the next one that looks ends: here, a server."""
    client = Client(directory)
    client.join("vm-a")
    rotate(directory, "publish", "--root")
    new_root = copy(directory, "next-root.crt", "new-root.pem")
    rotation = directory.dir / "rotation"
    rotation.write_text(rotation.read_text().replace("published", "activating"))
    until(lambda: shown(directory, new_root))
    assert rotation.read_text().startswith("activated root ")
    assert client.join("vm-a", name="after").uris() == [identity("node/vm-a")]
