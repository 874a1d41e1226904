# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong leaves one line in the access log of the machine where it went wrong, with one
reason and its flag, and none when nothing did."""
import contextlib
import ssl
import time

import pytest
from machines import wait_for
from mesh import (ECHO, GUEST, INBOUND_PORT, MESH_PORT, ORDERS, PROBE, RESET, STRANGER_UID, WEB, ScenarioMesh, at,
                  request_text)

DOWN = at(PROBE, name="down", uid=12020, port=7101, protocol="http")  # nobody serves it
POLICIES = [{"service": ["orders", "echo", "reset", "down"], "action": "allow", "from": ["web"]}]
TIMEOUTS = {"header": "500ms", "handshake": "500ms", "idle": "1s", "request": "700ms", "stream_idle": "5s"}


@pytest.fixture(scope="module")
def mesh():
    class Mesh(ScenarioMesh):
        def serve(self):
            for service in (ORDERS, ECHO, RESET):
                self.serve_one(service, self.lab["vm-b"])
    with Mesh([WEB, GUEST, ORDERS, ECHO, RESET, DOWN], policies=POLICIES, default_policy="deny",
              groups={"timeouts": TIMEOUTS}) as mesh:
        mesh["vm-b"].groups = {"timeouts": {"idle": "10s"}}  # so that it is vm-a that gives up
        yield mesh.start()


def http(line="GET /echo", caller="web", to="orders", headers=()):
    def deed(mesh):
        with contextlib.suppress(EOFError, ConnectionError):
            mesh.call(caller, to, line, headers)
    return deed


def raw(text, caller="web", to="orders", machine=None, wait=True):
    """Sends that and stays until the end comes, or goes at once."""
    def deed(mesh):
        target = to(mesh) if callable(to) else to
        with contextlib.suppress(ConnectionError):
            with mesh.dial(caller, target, machine=machine, timeout=5) as wire:
                wire.send(text)
                if wait:
                    wire.rest()
                else:
                    time.sleep(0.2)
                    wire.reset()
    return deed


def place(machine, port):
    return lambda mesh: (mesh.lab[machine].v4, port)


def without_certificate(mesh):
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.check_hostname, options.verify_mode = False, ssl.CERT_NONE
    options.set_alpn_protocols(["http/1.1"])
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        plain = mesh.lab["vm-a"].connect(STRANGER_UID, mesh.lab["vm-b"].v4, MESH_PORT)
        with options.wrap_socket(plain, server_hostname="8080.orders.mesh.test") as secured:
            secured.recv(1)


REQUEST = request_text("GET /echo", "orders")
# name, what is done, the machine that says so, its reason and flag
FAILURES = [
    ("policy, a request", http(caller="guest"), "vm-b", "POLICY_DENIED", "UAEX"),
    ("policy, a connection", raw("x", "guest", "echo"), "vm-b", "POLICY_DENIED", "UAEX"),
    ("bad request", raw("GET /x HTTP/1.1\r\n\r\n"), "vm-a", "HOST", "DPE"),
    ("bad path", http("GET /../x"), "vm-a", "PATH_INVALID", "DPE"),
    ("no head in time", raw("GET /"), "vm-a", "HEADER_TIMEOUT", "DT"),
    ("no answer in time", http("GET /slow/3000"), "vm-a", "UPSTREAM_TIMEOUT", "UT"),
    ("nobody listens", http(to="down"), "vm-b", "UPSTREAM_CONNECT_FAILED", "UF"),
    ("server goes before its answer", http("POST /die"), "vm-b", "UPSTREAM_CLOSED", "UC"),
    ("server goes in its answer", http("GET /die-midway"), "vm-b", "UPSTREAM_ABORTED", "UC"),
    ("caller goes", raw(request_text("GET /slow/500", "orders"), wait=False), "vm-a", "DOWNSTREAM_CLOSED", "DC"),
    ("connection without movement", raw("x", to="echo"), "vm-a", "IDLE_TIMEOUT", "SI"),
    ("server resets", raw("x", to="reset"), "vm-b", "UPSTREAM_RESET", "UR"),
    ("nobody that is known", raw(REQUEST, STRANGER_UID, machine="vm-b"), "vm-b", "UNATTRIBUTED", "UAEX"),
    ("plain text", raw(REQUEST, STRANGER_UID, machine="vm-a"), "vm-b", "PLAINTEXT", "UAEX"),
    ("outside the mesh", raw("x", to=place("vm-b", 9999)), "vm-a", "NO_SERVICE", "NR"),
    ("a proxy port", raw("x", STRANGER_UID, place("vm-b", INBOUND_PORT), "vm-b"), "vm-b", "DIRECT_DIAL", "NR"),
    ("no certificate", without_certificate, "vm-b", "NO_CERTIFICATE", "UAEX"),
    ("no handshake", raw("\x16", STRANGER_UID, place("vm-b", MESH_PORT), "vm-a"), "vm-b", "HANDSHAKE_TIMEOUT", "DT"),
]


def closing_lines(mesh, node, since):
    return [line for line in mesh[node].access()[since:] if line["kind"] != "tcp_open"]


@pytest.mark.parametrize("name,deed,node,reason,flag", FAILURES, ids=[row[0] for row in FAILURES])
def test_a_failure_has_one_line_with_its_reason(mesh, name, deed, node, reason, flag):
    since = len(mesh[node].access())
    deed(mesh)
    wait_for(lambda: closing_lines(mesh, node, since), "the line")
    time.sleep(0.3)  # for a second one
    lines = closing_lines(mesh, node, since)
    assert [(line["response_code_details"], line["response_flags"]) for line in lines] == [(reason, flag)]


def test_success_has_no_reason(mesh):
    since = {node.name: len(node.access()) for node in mesh}
    assert mesh.call("web", "orders").status == 200
    with mesh.dial("web", "echo") as wire:
        assert wire.send("x").finish().rest() == b"x"
    for node in since:
        lines = wait_for(lambda: (found := closing_lines(mesh, node, since[node]))[1:] and found, "both lines")
        assert [(line["response_code_details"], line["response_flags"]) for line in lines] == [("NONE", "-")] * 2
