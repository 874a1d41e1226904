# SPDX-License-Identifier: Apache-2.0
"""What attackers have in these tests: whole certificates of the mesh or ones made with its stolen issuer, raw bytes on a
connection that is proven, and servers that answer what they like."""
import contextlib
import ssl
import threading

from mesh import BINARY, MESH_PORT, STRANGER_UID, WEB, Wire, request_text, run
from nodes import config_file_text

NO_ANSWER = (OSError, EOFError)


def mesh_client(mesh, certificate, service="orders", port=8080, alpn="http/1.1", machine="vm-b", name=None):
    """A connection straight to the mesh port of a machine, as somebody makes it who has taken a workload's key:
    no proxy of ours stands before the one that decides. `certificate` is a path without its ending."""
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.check_hostname, options.verify_mode = False, ssl.CERT_NONE
    options.set_alpn_protocols([alpn])
    if certificate:
        options.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")
    plain = mesh.lab["vm-a"].connect(STRANGER_UID, mesh.lab[machine].v4, MESH_PORT)
    return Wire(options.wrap_socket(plain, server_hostname=name or f"{port}.{service}.mesh.test"))


def mesh_status(mesh, certificate, line="GET /public/x", headers=(), **how):
    """The status of a request on such a connection; None: it was refused."""
    service = how.get("service", "orders")
    try:
        with mesh_client(mesh, certificate, **how) as wire:
            return wire.send(request_text(line, service, headers)).reply().status
    except NO_ANSWER:
        return None


def statuses(wire):
    """Of all answers until the connection ends, or there are no more."""
    found = []
    wire.sock.settimeout(1)
    with contextlib.suppress(*NO_ANSWER):
        while True:
            found.append(wire.reply().status)
    return found


def ask(mesh, text, caller="web", to="orders", machine="vm-b"):
    """Sends bytes from beside the server, so that there is one proxy only, and gives the status of the first answer;
    None: there was none. `caller` on that machine."""
    with contextlib.suppress(*NO_ANSWER):
        with mesh.dial(mesh.service(caller).uid, mesh.target(to), machine=machine, timeout=10) as wire:
            return wire.send(text).reply().status
    return None


def get(path="/public/x", *headers, host="orders", method="GET"):
    return request_text(f"{method} {path}", host, headers)


# --- certificates --------------------------------------------------------------------------------------


def certify(mesh, name, san, chain=1, **more):
    """A certificate that the mesh's own issuer has signed, with whatever in it: an attacker who has a service that
    signs what it is asked to. Returns its path without the ending."""
    place = mesh.lab.dir / "forged"
    place.mkdir(exist_ok=True)
    base, issuer = place / name, mesh.ca_dir / "issuer"
    lines = {"subjectAltName": f"critical,{san}", "keyUsage": "critical,digitalSignature", "basicConstraints": "critical,CA:FALSE",
             "extendedKeyUsage": "serverAuth,clientAuth", **more}
    (place / f"{name}.ext").write_text("".join(f"{key}={value}\n" for key, value in lines.items() if value))
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{base}.key")
    run("openssl", "req", "-new", "-key", f"{base}.key", "-subj", "/", "-out", f"{base}.csr")
    run("openssl", "x509", "-req", "-in", f"{base}.csr", "-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key", "-days", "1",
        "-CAcreateserial", "-extfile", f"{base}.ext", "-out", f"{base}.leaf")
    issuer_text = (mesh.ca_dir / "issuer.crt").read_text()
    (place / f"{name}.crt").write_text((place / f"{name}.leaf").read_text() + issuer_text * chain)
    return base


def san_bytes(*names):
    """A subjectAltName of these URIs as openssl takes bytes, whatever is in them."""
    body = b"".join(b"\x86" + bytes([len(name)]) + name for name in names)
    return "DER:" + (b"\x30" + bytes([len(body)]) + body).hex(":")


# --- configurations ------------------------------------------------------------------------------------


def checker(place):
    """Gives `check(more)`: what `ringmain check` says of a mesh of web and orders with more in it: its exit status, and
    its text."""
    run(BINARY, "ca", "init", "--dir", place / "ca", "--trust-domain", "mesh.test")
    run(BINARY, "ca", "issue", "--dir", place / "ca", "--service", "web", "--out", place / "certs")
    (place / "node.conf").write_text(config_file_text({
        "node": {"name": "vm-a", "address": ["10.77.0.1"], "user": "65534"}, "mesh": {"trust_domain": "mesh.test", "files": [str(place / "mesh.conf")]},
        "identity": {"directory": str(place / "certs")}, "workloads": [{"service": "web", "user": "12001"}]}))

    def check(more):
        (place / "mesh.conf").write_text('services: ( { name = "web"; }, { name = "orders"; protocol = "http"; } );\n' + more)
        done = run(BINARY, "check", "-c", place / "node.conf", check=False)
        return done.returncode, done.stdout + done.stderr
    return check


# --- servers -------------------------------------------------------------------------------------------


class Answering:
    """Serves a workload by hand: to each connection, whatever it asks, the bytes in `answer`. `got` is what came."""

    def __init__(self, mesh, name, answer=b""):
        self.listener, self.answer, self.got = mesh.listen(name), answer, []
        self.listener.settimeout(0.1)
        self.is_over = False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
        self.listener.close()

    def run(self):
        while not self.is_over:
            with contextlib.suppress(OSError):
                sock, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock, contextlib.suppress(OSError):
            sock.settimeout(2)
            while part := sock.recv(65536):
                self.got.append(part)
                sock.sendall(self.answer)


def web_certificate(mesh):
    return mesh["vm-a"].certs / WEB.name
