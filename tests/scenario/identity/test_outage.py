# SPDX-License-Identifier: Apache-2.0
"""An authority that is away for long, a machine that was off for longer than its certificate holds, and
clocks that differ: traffic goes on as long as anything holds, it is seen, and all is well again by
itself."""
import json
import signal

from certified import Certified
from company import Calls
from machines import wait_for
from mesh import ECHO, ORDERS, WEB, at


def level_of(log, word):
    """The levels of the log lines with this word: {"warning", "error"}."""
    return {line.split(":")[0] for line in log.splitlines() if word in line}


def ends_first(mesh):
    """The workload's certificate that ends before all others: its machine and its identity."""
    rows = [(row["expires_in_s"], node.name, row["identity"]) for node in mesh for row in mesh.certs(node)
            if row["identity"].startswith("service/")]
    return mesh[min(rows)[1]], min(rows)[2]


def test_an_authority_that_is_away():
    """Beyond several renewals: failing, then ending, in the table, the metrics and ever louder in the
    log; calls go on; it comes back, and all is fresh without a hand."""
    with Certified([WEB, ORDERS, ECHO], {"leaf": "32s", "node": "90s"}) as mesh:
        mesh.start()
        with Calls(mesh) as calls:
            mesh.authority.kill()
            # the others, which were issued later, hold for as long as this one
            node, identity = ends_first(mesh)

            def row(state):
                found = mesh.row(node, identity)
                return found if found and found["state"] == state else None
            failing = wait_for(lambda: row("failing"), "the renewal to fail", 30)
            assert failing["why"] and failing["failed"] >= 1 and failing["expires_in_s"] > 0
            assert node.metric("ringmain_certificate_failures", identity=identity) >= 1
            assert "warning" in level_of(node.process.log, f"{identity}: ")
            done = node.ringmain("certs", check=False)
            assert done.returncode == 1 and "failing" in done.stdout and "×" in done.stdout
            wait_for(lambda: row("ending"), "the end to come near", 30)
            wait_for(lambda: "error" in level_of(node.process.log, f"{identity}: "), "the log to say it louder", 20)
            before = calls.count
            mesh.authority.start()
            wait_for(lambda: all(r["state"] in ("fresh", "due") for n in mesh for r in mesh.certs(n))
                     and mesh.renewed(node, identity) > failing["renewed"], "all to be fresh again", 20)
            wait_for(lambda: calls.count > before + 10, "calls to go on")
        wait_for(lambda: node.ringmain("certs", check=False).returncode == 0, "all to be well")
        assert node.metric("ringmain_certificate_failures", identity=identity) == 0


def expired_machine(mesh, node):
    """Stops a machine's ringmain until its own certificate is over."""
    node.stop()
    text = (node.keep / "node.pem").read_text()
    place = mesh.lab.dir / "node.pem"
    place.write_text(text)
    place.chmod(0o600)
    wait_for(lambda: mesh.lab[node.name].run(["openssl", "x509", "-in", place, "-noout", "-checkend", "0"], check=False).returncode == 1,
             "the machine's own certificate to end", 30)


def test_a_machine_that_was_off_for_long():
    """Its own certificate has expired: it comes back without a hand while the authority's policy allows;
    not when its registration is gone, and then a new token is what helps."""
    lifetimes = {"leaf": "4s", "node": "6s", "comeback": "1h"}
    with Certified([WEB, ORDERS, at(ECHO, "vm-b")], lifetimes) as mesh:
        mesh.start()
        node = mesh["vm-b"]
        expired_machine(mesh, node)
        node.start()
        mesh.wait_certified(node)
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "orders to be back")

        expired_machine(mesh, node)
        mesh.authority.forbid(node.name)
        node.start(wait=False)
        wait_for(lambda: (mesh.row(node, f"node/{node.name}") or {}).get("failed"), "the refusal", 20)
        assert mesh.row(node, f"node/{node.name}")["state"] == "expired"
        assert "is not registered" in node.ringmain("certs", check=False).stdout
        assert mesh.call("web", "orders").status != 200
        node.join("--again")  # registers it again, too
        mesh.wait_certified(node)
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "orders to be back")


def test_a_machine_that_may_not_come_back():
    """The same with a policy that wants a new token of whoever was away for too long."""
    with Certified([WEB, ORDERS], {"leaf": "3s", "node": "4s", "comeback": "0s"}) as mesh:
        mesh.start()
        node = mesh["vm-b"]
        expired_machine(mesh, node)
        node.start(wait=False)
        wait_for(lambda: (mesh.row(node, f"node/{node.name}") or {}).get("failed"), "the refusal", 20)
        assert mesh.call("web", "orders").status != 200
        node.join("--again")
        mesh.wait_certified(node)
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "orders to be back")


def test_a_new_service_while_the_authority_is_away():
    """The workload that is new waits; those that are there go on; then it is certified."""
    with Certified([WEB, ORDERS, ECHO]) as mesh:
        mesh.start()
        node = mesh["vm-b"]
        mesh.authority.kill()
        (node.keep / "service" / "echo.pem").unlink()
        node.stop(signal.SIGTERM)
        node.start(wait=False)  # after a reboot: the authority is away, and one certificate is missing
        wait_for(lambda: mesh.status_of("web", "orders") == 200, "orders, whose certificate is on the disk", 20)
        assert mesh.turned_away("web", "echo")
        assert json.loads(node.admin_get("/certs")[1])["identities_missing"]
        mesh.authority.start()
        wait_for(lambda: not mesh.turned_away("web", "echo"), "echo", 30)
        wait_for(node.ready, "the machine to be ready")
