# SPDX-License-Identifier: Apache-2.0
"""Who is captured and who is not, by user and destination, over both IP versions."""

import socket

import pytest
from hosts import (IN_PORTS, METADATA, MASK, MESH_PORT, ORDERS, OUT_PORTS, PROXY, SHIFT, STRANGER,
                   V4, V6, WEB, is_quiet)

BOTH = pytest.mark.parametrize("net", [V4, V6], ids=["v4", "v6"])


@BOTH
@pytest.mark.parametrize("uid", [WEB, ORDERS])
def test_listed_user_is_captured_with_its_mark(shared_lab, net, uid):
    client, conn = shared_lab.captured(uid, net["peer"], 80)
    assert conn.number == shared_lab.marks()[uid]
    assert conn.wanted == (net["peer"], 80)
    assert conn.port in OUT_PORTS


@BOTH
def test_off_link_destination_is_captured(shared_lab, net):
    _, conn = shared_lab.captured(WEB, net["far"], 80)
    assert conn.wanted == (net["far"], 80)


@BOTH
@pytest.mark.parametrize("uid", [0, STRANGER, PROXY])
def test_other_users_go_directly(shared_lab, net, uid):
    shared_lab.connect(uid, net["peer"], 80)
    shared_lab.arrived([shared_lab.remote[net is V6]])
    assert is_quiet(shared_lab.outbound)


@pytest.mark.parametrize("ip", [V4["host"], "127.0.0.1", "127.0.0.2", V6["host"], "::1"])
@pytest.mark.parametrize("uid", [0, STRANGER, WEB])
def test_local_workload_is_reached_through_the_proxy_by_everybody(shared_lab, ip, uid):
    _, conn = shared_lab.captured(uid, ip, MESH_PORT)
    assert conn.wanted == (ip, MESH_PORT)
    assert conn.number == shared_lab.marks().get(uid, 0)
    assert is_quiet(shared_lab.orders, 0.05)


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_proxy_delivers_to_the_workload(shared_lab, ip):
    shared_lab.connect(PROXY, ip, MESH_PORT)
    shared_lab.arrived([shared_lab.orders[":" in ip]])
    assert is_quiet(shared_lab.outbound, 0.05)


@pytest.mark.parametrize("port", [MESH_PORT - 1, MESH_PORT + 1, 5432])
@pytest.mark.parametrize("ip", ["127.0.0.1", V4["host"], "::1"])
def test_other_local_ports_are_left_alone(shared_lab, ip, port):
    listener = shared_lab.listen("host", ip, port)
    shared_lab.connect(WEB, ip, port)
    shared_lab.arrived([listener])
    listener.close()


@pytest.mark.parametrize("uid", [WEB, STRANGER])
def test_excluded_destination_is_not_captured(shared_lab, uid):
    shared_lab.connect(uid, METADATA, 80)
    shared_lab.arrived([shared_lab.remote[0]])
    assert is_quiet(shared_lab.outbound, 0.05)


@BOTH
def test_peer_machine_reaches_a_workload_through_the_inbound_ports(shared_lab, net):
    shared_lab.connect(0, net["host"], MESH_PORT, where="peer")
    conn = shared_lab.accepted(shared_lab.inbound)
    assert conn.wanted == (net["host"], MESH_PORT)
    assert conn.port in IN_PORTS
    assert conn.number == 0


@BOTH
@pytest.mark.parametrize("port", [22, 5432])
def test_peer_machine_reaches_other_ports_directly(shared_lab, net, port):
    listener = shared_lab.listen("host", net["host"], port)
    shared_lab.connect(0, net["host"], port, where="peer")
    shared_lab.arrived([listener])
    listener.close()
    assert is_quiet(shared_lab.inbound, 0.05)


@pytest.mark.parametrize("where, ip, port", [
    ("host", "127.0.0.1", OUT_PORTS[0]), ("host", "::1", OUT_PORTS[0]),
    ("peer", V4["host"], IN_PORTS[0]), ("peer", V6["host"], IN_PORTS[0])])
def test_direct_dialling_of_a_listener_shows_in_the_original_destination(shared_lab, where, ip, port):
    """So the proxy can refuse it: the wanted address is its own listener."""
    uid = WEB if where == "host" else 0
    shared_lab.connect(uid, ip, port, where=where)
    conn = shared_lab.accepted(shared_lab.outbound + shared_lab.inbound)
    assert conn.wanted == (ip, port)


@pytest.mark.parametrize("uid, forged", [(0, 1), (STRANGER, 1), (WEB, 7)])
def test_a_forged_mark_counts_for_nothing(shared_lab, uid, forged):
    """Processes that may set marks: root, a stranger with CAP_NET_ADMIN, a workload with it."""
    mark = forged << SHIFT
    if uid == WEB:
        client = shared_lab.connect(uid, V4["peer"], 80, mark=mark, keep_privilege=True)
        assert shared_lab.accepted(shared_lab.outbound).number == shared_lab.marks()[WEB]
        return
    more = {"keep_privilege": True} if uid else {}
    shared_lab.connect(uid, V4["peer"], 80, mark=mark, **more)
    shared_lab.arrived([shared_lab.remote[0]])
    shared_lab.connect(uid, "127.0.0.1", MESH_PORT, mark=mark, **more)
    assert shared_lab.accepted(shared_lab.outbound).number == 0


def test_foreign_mark_bits_stay(shared_lab):
    shared_lab.connect(WEB, V4["peer"], 80, mark=0x5, keep_privilege=True)
    conn = shared_lab.accepted(shared_lab.outbound)
    assert conn.mark & ~MASK == 0x5
    assert conn.number == shared_lab.marks()[WEB]


def test_mark_stays_when_the_client_has_closed(shared_lab):
    """Asking the kernel for the client's socket would say root by now."""
    client = shared_lab.connect(WEB, V4["peer"], 80)
    client.sendall(b"bye")
    client.close()
    conn = shared_lab.accepted(shared_lab.outbound)
    assert conn.number == shared_lab.marks()[WEB]
    assert conn.sock.recv(10) == b"bye"


@BOTH
def test_source_ports_used_twice_keep_their_client_address(shared_lab, net):
    """A range of ports takes what one port would have to solve by rewriting the client's port."""
    targets = [(net["peer"], p) for p in (80, 81, 82, 83)]
    for target in targets:
        client = shared_lab.connect(WEB, *target, source_port=40001)
        conn = shared_lab.accepted(shared_lab.outbound)
        assert conn.wanted == target
        assert conn.peer[1] == 40001


def test_under_syn_cookies_nobody_is_recognised(lab):
    """The socket is made from the last packet of the handshake, which carries no mark: that must
    come out as nobody, never as somebody else."""
    lab.up()
    lab.host.run("sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
    _, conn = lab.captured(WEB, V4["peer"], 80)
    assert conn.number == 0
