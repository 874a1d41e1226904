# SPDX-License-Identifier: Apache-2.0
"""Destinations that the mesh knows nothing of: refused, let out on trial, or let out, as each workload's
mode says."""
import pytest
from machines import wait_for
from mesh import GUEST, MESH_PORT, ORDERS, WEB, at, request_text
from outside import OutsideMesh


@pytest.fixture(scope="module")
def mesh():
    """web may go anywhere, guest is on trial, orders stays."""
    services = [at(WEB, limits={"unknown": "allow"}), at(GUEST, limits={"unknown": "audit"}), at(ORDERS, "vm-a")]
    with OutsideMesh(services=services) as mesh:
        mesh.start()
        mesh.serve_outside(8000)
        yield mesh


def address_text(ip, port):
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def line_of(mesh, **fields):
    return mesh.access_line("vm-a", **fields)


def test_refused_unless_said_otherwise(mesh):
    assert mesh.turned_away("orders", (mesh.outside.v4, 8000), request_text("GET /refused", "x"))
    line = line_of(mesh, workload="orders", direction="outbound")
    assert line["response_code_details"] == "NO_SERVICE"
    assert (line["upstream_host"], line["security"]) == (None, None)
    assert line["downstream_local_address"] == address_text(mesh.outside.v4, 8000)


@pytest.mark.parametrize("version", ["v4", "v6"])
def test_allowed(mesh, version):
    ip = getattr(mesh.outside, version)
    reply = mesh.ask(8000, "x", address=ip)
    assert reply.status == 200 and reply.json["tls"] is None
    assert mesh["vm-a"].metric("ringmain_unknown_audited_total") == 0
    line = line_of(mesh, workload="web", kind="tcp_open", downstream_local_address=address_text(ip, 8000))
    assert (line["outside"], line["upstream_host"], line["security"]) == ("allowed", address_text(ip, 8000), "none")


def test_on_trial(mesh):
    assert mesh.ask(8000, "x", caller="guest").status == 200
    assert line_of(mesh, workload="guest", kind="tcp_open")["outside"] == "audited"
    assert mesh["vm-a"].metric("ringmain_unknown_audited_total") == 1


def test_the_mesh_stays_the_mesh(mesh):
    """A service is reached as a service, however its caller may leave."""
    assert mesh.call("web", "orders", "GET /echo?inside").status == 200
    line = line_of(mesh, workload="web", path="/echo?inside", direction="outbound")
    assert line["destination_service"] == "orders" and "outside" not in line


@pytest.mark.parametrize("address, device", [("10.9.9.9/32", "lo"), ("fd09::9/128", "lo"), ("10.77.0.211/24", "eth0"),
                                             ("SAME::211/64", "eth0")])
def test_addresses_that_come_later_are_no_way_in(mesh, address, device):
    """This machine gets it after its configuration was read; the last are secondary ones of its network."""
    address = address.replace("SAME", mesh.outside.v6.split("::")[0])
    mesh.lab["vm-a"].ip("addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
    to = (address.split("/")[0], ORDERS.port)
    assert mesh.turned_away("web", to, request_text("GET /echo", "orders"))
    line = line_of(mesh, workload="web", downstream_local_address=address_text(*to))
    assert (line["outside"], line["response_code_details"], line["security"]) == ("allowed", "EXTERNAL_UNRESOLVED", None)


def test_it_is_not_the_size_of_packets_that_tells(mesh):
    """The loopback interface may have the one of any other."""
    mesh.lab["vm-a"].ip("link", "set", "lo", "mtu", "1500")
    try:
        for address, device in (("10.77.0.212/24", "eth0"), ("10.9.9.10/32", "lo")):
            mesh.lab["vm-a"].ip("addr", "add", address, "dev", device)
            to = (address.split("/")[0], ORDERS.port)
            assert mesh.turned_away("web", to, request_text("GET /echo", "orders"))
            line = line_of(mesh, workload="web", downstream_local_address=address_text(*to))
            assert line["response_code_details"] == "EXTERNAL_UNRESOLVED"
        assert mesh.ask(8000, "x").status == 200
    finally:
        mesh.lab["vm-a"].ip("link", "set", "lo", "mtu", "65536")


@pytest.mark.parametrize("port", [MESH_PORT, 15101, 15201])
def test_ports_of_proxies_stay_closed(mesh, port):
    mesh.serve_outside(port)
    assert mesh.turned_away("web", (mesh.outside.v4, port), request_text("GET /", "x"))
