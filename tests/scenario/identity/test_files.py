# SPDX-License-Identifier: Apache-2.0
"""Certificates that other programs put into a directory: each in its own layout and at its own pace.
They are taken up by themselves, as a whole or not at all, while calls go on."""
import os
import shutil
import ssl
import time

import pytest
from company import Authority, Calls
from machines import wait_for
from mesh import ECHO, MESH_PORT, ORDERS, STRANGER_UID, WEB, ScenarioMesh


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, ORDERS, ECHO]) as mesh:
        yield mesh.start()


@pytest.fixture(scope="module")
def company(mesh):
    """The company's own authority, which all machines trust beside the mesh's."""
    company = Authority(mesh.lab.dir / "company")
    ours = (mesh.ca_dir / "roots.pem").read_text()
    for node in mesh:
        replace(node.certs / "roots.pem", ours + company.root)
    wait_for(lambda: all(node.status()["generation"] > 1 for node in mesh), "the anchors to be taken up")
    return company


def replace(path, text, mode=0o644):
    """As careful programs write: beside it, and then in its place."""
    fresh = path.with_name(f".{path.name}.tmp")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.rename(path)


def shown(mesh, service="orders"):
    """The certificate that vm-b really shows for a service; None when it shows none."""
    port = mesh.service(service).port
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.check_hostname, options.verify_mode = False, ssl.CERT_NONE
    options.set_alpn_protocols(["http/1.1" if service == "orders" else "ringmain-tcp/1"])
    options.load_cert_chain(mesh["vm-a"].certs / "web.crt", mesh["vm-a"].certs / "web.key")
    plain = mesh.lab["vm-a"].connect(STRANGER_UID, mesh.lab["vm-b"].v4, MESH_PORT)
    try:
        with options.wrap_socket(plain, server_hostname=f"{port}.{service}.mesh.test") as secured:
            return secured.getpeercert(binary_form=True)
    except (ssl.SSLError, ConnectionError):
        return None


def first_der(chain):
    return ssl.PEM_cert_to_DER_cert(chain[:chain.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n")


def wait_shown(mesh, chain, service="orders"):
    wait_for(lambda: shown(mesh, service) == first_der(chain), f"the new certificate of {service}")


def last_reload(mesh):
    last = mesh["vm-b"].status()["last_reload"]
    return {**last, "text": last["text"] or ""}


def wait_good(mesh):
    wait_for(lambda: last_reload(mesh)["ok"], "the status to be good")


def clear(mesh, service="orders"):
    certs = mesh["vm-b"].certs
    for path in (certs / f"{service}.crt", certs / f"{service}.key", certs / f"{service}.pem"):
        path.unlink(missing_ok=True)
    shutil.rmtree(certs / service, ignore_errors=True)


# --- the writers ---------------------------------------------------------------------------------------


def step_ca(certs, name, chain, key):
    """`step ca renew` writes key and chain one after the other, each as a whole."""
    replace(certs / f"{name}.key", key, 0o600)
    replace(certs / f"{name}.crt", chain)


def vault_agent(certs, name, chain, key):
    """A template of Vault agent: all in one file."""
    replace(certs / f"{name}.pem", key + chain, 0o600)


def csi_driver(certs, name, chain, key, anchors=""):
    """cert-manager's csi driver and Kubernetes secrets: a new directory, and a link that is swapped."""
    place = certs / name
    place.mkdir(exist_ok=True)
    version = place / f"..{time.time_ns()}"
    version.mkdir()
    for file, text in (("tls.crt", chain), ("tls.key", key), ("ca.crt", anchors)):
        if text:
            (version / file).write_text(text)
            (version / file).chmod(0o600)
    old = os.readlink(place / "..data") if (place / "..data").is_symlink() else None
    (place / "..data_tmp").symlink_to(version.name)
    (place / "..data_tmp").rename(place / "..data")
    for file in ("tls.crt", "tls.key", "ca.crt"):
        if not (place / file).is_symlink() and (version / file).exists():
            (place / file).symlink_to(f"..data/{file}")
    if old:
        shutil.rmtree(place / old)


def spiffe_helper(certs, name, chain, key, anchors=""):
    """spiffe-helper writes in place, chain first."""
    place = certs / name
    place.mkdir(exist_ok=True)
    for file, text, mode in (("svid.pem", chain, 0o644), ("svid_key.pem", key, 0o600), ("bundle.pem", anchors, 0o644)):
        if text:
            (place / file).touch(mode)
            (place / file).write_text(text)


WRITERS = [step_ca, vault_agent, csi_driver, spiffe_helper]


@pytest.mark.parametrize("write", WRITERS, ids=[w.__name__ for w in WRITERS])
def test_each_writer_is_understood_and_renewed(mesh, company, write):
    """From the layout before to this one, and then a renewal with a key in the other form, with calls
    all the while."""
    certs = mesh["vm-b"].certs
    with Calls(mesh):
        for pkcs8 in (False, True):
            chain, key = company.issue("orders", pkcs8)
            if not pkcs8:
                clear(mesh)  # one identity stands in one place
            write(certs, "orders", chain, key)
            wait_shown(mesh, chain)
        wait_good(mesh)


def test_anchors_may_come_with_the_identities():
    """No roots.pem at all: every identity brings the same anchors."""
    with ScenarioMesh([WEB, ORDERS, ECHO]) as mesh:
        mesh.write_configs()
        company = Authority(mesh.lab.dir / "company")
        for node in mesh:
            for service in node.workloads():
                csi_driver(node.certs, service.name, *company.issue(service.name), company.root)
        mesh.serve()
        for node in mesh:
            node.redirect_up()
            node.start()
        assert mesh.call("web", "orders").status == 200

        # one brings others: what is in force stays, and both files are named
        node, other = mesh["vm-b"], Authority(mesh.lab.dir / "other")
        with Calls(mesh):
            csi_driver(node.certs, "echo", *company.issue("echo"), company.root + other.root)
            wait_for(lambda: "other trust anchors" in last_reload(mesh)["text"], "the status to tell of it")
            assert "what is in force stays" in node.process.log
            csi_driver(node.certs, "orders", *company.issue("orders"), other.root + company.root)
            wait_good(mesh)


# --- half-written --------------------------------------------------------------------------------------


def test_key_and_two_seconds_later_the_chain(mesh, company):
    """As a script does it. Until both are there the old pair is shown, the others are renewed, and
    log and status name the file."""
    node, certs = mesh["vm-b"], mesh["vm-b"].certs
    clear(mesh)
    chain, key = company.issue("orders")
    with Calls(mesh):
        step_ca(certs, "orders", chain, key)
        wait_shown(mesh, chain)
        new_chain, new_key = company.issue("orders")
        replace(certs / "orders.key", new_key, 0o600)
        echo_chain, echo_key = company.issue("echo")
        step_ca(certs, "echo", echo_chain, echo_key)
        wait_shown(mesh, echo_chain, "echo")
        wait_for(lambda: "orders.key: not the key" in last_reload(mesh)["text"], "the status to name the file")
        assert "the certificate in force stays" in last_reload(mesh)["text"]
        assert "orders.key: not the key" in node.process.log
        assert shown(mesh) == first_der(chain)
        replace(certs / "orders.crt", new_chain)
        wait_shown(mesh, new_chain)
        wait_good(mesh)


def test_a_slow_writer(mesh, company):
    """Chain and key in place, in pieces, each longer than ringmain needs to notice: no piece is used.
    One of the pieces is a whole leaf without its intermediate."""
    certs = mesh["vm-b"].certs
    clear(mesh)
    chain, key = company.issue("orders")
    step_ca(certs, "orders", chain, key)
    wait_shown(mesh, chain)
    wait_good(mesh)
    new_chain, new_key = company.issue("orders")
    leaf_end = new_chain.index("-----END CERTIFICATE-----\n") + len("-----END CERTIFICATE-----\n")
    pieces = [new_chain[:200], new_chain[200:leaf_end], new_chain[leaf_end:leaf_end + 300], new_chain[leaf_end + 300:]]
    with Calls(mesh):
        with open(certs / "orders.key", "w") as key_file:
            key_file.write(new_key)
        with open(certs / "orders.crt", "w") as chain_file:
            for number, piece in enumerate(pieces):
                before = mesh["vm-b"].status()["generation"]
                chain_file.write(piece)
                chain_file.flush()
                if number < len(pieces) - 1:
                    wait_for(lambda: mesh["vm-b"].status()["generation"] > before, "the piece to be looked at")
                    wait_for(lambda: "orders.crt" in last_reload(mesh)["text"], "the status, told a moment later")
                    assert not last_reload(mesh)["ok"]
                    assert shown(mesh) == first_der(chain)
        wait_shown(mesh, new_chain)
        wait_good(mesh)


def test_a_key_that_others_may_read(mesh, company):
    certs = mesh["vm-b"].certs
    clear(mesh)
    chain, key = company.issue("orders")
    step_ca(certs, "orders", chain, key)
    wait_shown(mesh, chain)
    new_chain, new_key = company.issue("orders")
    with Calls(mesh):
        replace(certs / "orders.key", new_key, 0o640)
        replace(certs / "orders.crt", new_chain)
        wait_for(lambda: "chmod 600" in last_reload(mesh)["text"], "the status to say what is to be done")
        assert shown(mesh) == first_der(chain)
        (certs / "orders.key").chmod(0o600)
        wait_shown(mesh, new_chain)


def test_what_stayed_outlives_the_proxy_process(mesh, company):
    """A proxy process that is started anew has the pair that stayed, not the half-written one, and
    the status still says so."""
    node, certs = mesh["vm-b"], mesh["vm-b"].certs
    clear(mesh)
    chain, key = company.issue("orders")
    step_ca(certs, "orders", chain, key)
    wait_shown(mesh, chain)
    wait_good(mesh)
    (certs / "orders.crt").write_text("")
    wait_for(lambda: not last_reload(mesh)["ok"], "the status to tell of it")
    killed = node.proxy_pid()
    os.kill(killed, 9)
    wait_for(lambda: node.proxy_pid() not in (None, killed) and node.ready(), "a new proxy process")
    assert shown(mesh) == first_der(chain)
    assert "orders.crt" in wait_for(lambda: last_reload(mesh)["text"], "the status to tell of it again")
    (certs / "orders.crt").write_text(chain)
    wait_good(mesh)


def test_an_identity_that_is_removed(mesh, company):
    """Both files gone: that is no half-written pair."""
    certs = mesh["vm-b"].certs
    clear(mesh, "echo")
    wait_for(lambda: mesh.turned_away("web", "echo"), "the identity to be gone")
    assert mesh.call("web", "orders").status == 200
    chain, key = company.issue("echo")
    vault_agent(certs, "echo", chain, key)
    wait_shown(mesh, chain, "echo")
    clear(mesh, "echo")
    step_ca(certs, "echo", *company.issue("echo"))
