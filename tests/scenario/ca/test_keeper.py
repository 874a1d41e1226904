# SPDX-License-Identifier: Apache-2.0
"""A machine with an authority: the keeper, the state process and the proxy process of one ringmain on
loopback, and a real `ringmain ca serve`."""
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ca_lab import TRUST_DOMAIN, Directory, Server, free_port, run
from mesh import BINARY

CONF = """node: {{ name = "vm-a"; address = "127.0.0.1"; user = "nobody"; admin_socket = "{dir}/admin.sock";
  run_dir = "{dir}"; access_log = "off"; workers = 1; }};
mesh: {{ trust_domain = "{td}"; files = "{dir}/mesh.conf"; }};
identity: {{ ca = "127.0.0.1:{port}"; keep = "{dir}/keep"; refresh = "1s"; }};
listeners: {{ outbound_port = {outbound}; inbound_port = {inbound}; mesh_port = {mesh}; port_range = 1; }};
workloads: ( {{ service = "web"; user = "daemon"; }}, {{ service = "orders"; user = "bin"; port = {port}; }} );
"""
MESH = 'services: ( { name = "orders"; port = 80; protocol = "http"; }, { name = "web"; } );\n'


def soon(what, seconds=40):
    """Waits for it to be true, and gives it."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


class Machine:
    def __init__(self, place, directory):
        self.dir, self.directory, self.count = place / "machine", directory, 0
        self.dir.mkdir(mode=0o755)
        self.conf, self.log_path = self.dir / "ringmain.conf", self.dir / "log"
        self.conf.write_text(CONF.format(dir=self.dir, td=TRUST_DOMAIN, port=directory.ports[0], outbound=free_port(),
                                         inbound=free_port(), mesh=free_port()))
        (self.dir / "mesh.conf").write_text(MESH)
        self.process = None

    def start(self):
        self.process = subprocess.Popen([BINARY, "run", "-c", self.conf], stderr=open(self.log_path, "ab"))
        return self

    def stop(self):
        self.process.terminate()
        status = self.process.wait(20)
        log = self.log_path.read_text()
        assert status == 0 and "Sanitizer" not in log and "runtime error" not in log, log

    def kill(self):
        self.process.kill()
        self.process.wait()

    def join(self):
        token = self.dir / "token"
        token.write_text(self.directory.token("vm-a"))
        token.chmod(0o600)
        print_of = self.directory.fingerprint().decode().split("=")[1].strip().replace(":", "").lower()
        run(BINARY, "join", "--ca-fingerprint", print_of, "--token-file", token, "-c", self.conf)

    def certs(self):
        """By identity; nothing while the proxy process cannot be asked."""
        done = run(BINARY, "certs", "-o", "json", "-c", self.conf, check=False)
        answer = json.loads(done.stdout) if done.stdout else {"certificates": [], "trust": []}
        return {c["identity"]: c for c in answer["certificates"]}, answer["trust"], done.returncode

    def fresh(self):
        """The serial numbers, once all is well."""
        rows, _, status = self.certs()
        well = status == 0 and len(rows) == 3 and all(r["serial"] for r in rows.values())
        return {name: row["serial"] for name, row in rows.items()} if well else None


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="ringmain-keeper-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def directory(place):
    directory = Directory(place, lifetimes='leaf = "60s"; node = "120s"; backdate = "5s";')
    directory.allow("vm-a", "web", "orders")
    return directory


@pytest.fixture
def server(directory):
    server = Server(directory)
    yield server
    server.stop()


@pytest.fixture
def machine(place, directory):
    machine = Machine(place, directory).start()
    yield machine
    machine.stop()


def test_a_machine_that_has_not_joined_serves_says_so_and_takes_it_up(server, machine):
    rows = soon(lambda: machine.certs()[0])
    assert machine.certs()[2] == 1 and "not joined" in rows["service/web"]["why"]
    soon(lambda: "run `ringmain join` as root" in machine.log_path.read_text())
    machine.join()
    soon(machine.fresh)
    assert machine.log_path.read_text().count("proxy process") == 1, "no process was started again"


def test_keys_are_roots_alone(server, machine, directory):
    machine.join()
    soon(machine.fresh)
    keep = machine.dir / "keep"
    for path in [keep, *keep.rglob("*")]:
        mode, owner = path.stat().st_mode & 0o777, path.stat().st_uid
        assert owner == 0 and (mode & 0o077 == 0 or path.suffix == ".pem" and "service" not in path.parts), path
    for path in [keep / "node.pem", *(keep / "service").iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.seconds(120)
def test_certificates_are_renewed_with_new_keys(server, machine):
    machine.join()
    before = soon(machine.fresh)
    key = (machine.dir / "keep/service/web.pem").read_text()
    after = soon(lambda: (now := machine.fresh()) and now["service/web"] != before["service/web"] and now, 60)
    assert after["service/web"] != before["service/web"]
    assert (machine.dir / "keep/service/web.pem").read_text() != key


def test_revoked_certificates_are_known_without_a_restart(server, machine, directory):
    machine.join()
    serials = soon(machine.fresh)
    directory.revoke(serials["service/web"])
    soon(lambda: any(trust["revoked"] == 1 for trust in machine.certs()[1]))


def test_a_killed_keeper_goes_on_with_what_is_kept(server, machine):
    machine.join()
    before = soon(machine.fresh)
    server.process.send_signal(signal.SIGSTOP)  # nobody to ask
    machine.kill()
    (machine.dir / "admin.sock").unlink(missing_ok=True)
    machine.start()
    try:
        soon(lambda: {name: row["serial"] for name, row in machine.certs()[0].items()} == before)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    soon(machine.fresh)
