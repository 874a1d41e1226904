# SPDX-License-Identifier: Apache-2.0
"""Whatever loses its redirection is reset before a byte of it leaves the machine."""

import pytest
from hosts import MESH_PORT, ORDERS, PROXY, STRANGER, V4, V6, WEB, broken, is_quiet, talks

BOTH = pytest.mark.parametrize("net", [V4, V6], ids=["v4", "v6"])
SECRET = b"plaintext-that-must-not-leave"


def flush_tracking(lab):
    lab.host.run("conntrack", "-F", check=False)
    lab.host.run("conntrack", "-F", "-f", "ipv6", check=False)


def flush_nat(lab):
    for v in ("", "6"):
        lab.tables("-t", "nat", "-F", version=v)


@BOTH
def test_a_lost_tracking_entry_leaks_nothing(captured_lab, net):
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    assert talks(client, conn.sock)
    counter = lab.count_payload(SECRET)
    flush_tracking(lab)
    assert broken(client, SECRET)
    assert counter.count() == 0
    counter.done()


@BOTH
def test_new_connections_are_refused_while_redirection_is_missing(captured_lab, net):
    lab = captured_lab
    flush_nat(lab)
    for uid in (WEB, ORDERS):
        with pytest.raises(ConnectionRefusedError):
            lab.connect(uid, net["peer"], 80)
    for uid in (0, STRANGER, PROXY):
        lab.connect(uid, net["peer"], 80)
        lab.arrived(lab.remote)


@BOTH
@pytest.mark.parametrize("where, uid", [("host", STRANGER), ("host", 0), ("peer", 0)])
def test_a_workloads_port_is_closed_while_redirection_is_missing(captured_lab, net, where, uid):
    """Otherwise a flush would open a way around the policies of the service."""
    lab = captured_lab
    flush_nat(lab)
    with pytest.raises(ConnectionRefusedError):
        lab.connect(uid, net["host"], MESH_PORT, where=where)
    lab.connect(PROXY, "127.0.0.1", MESH_PORT)
    lab.arrived(lab.orders)


@BOTH
def test_live_connections_lose_no_secret_when_the_nat_rules_go(captured_lab, net):
    """With the last NAT rule the kernel may stop translating; which it does depends on what else
    uses NAT. Either the connection goes on, translated, or it is reset; nothing leaves."""
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    counter = lab.count_payload(SECRET)
    for v in ("", "6"):
        lab.tables("-t", "nat", "-F", version=v)
        lab.tables("-t", "nat", "-X", version=v)
    client.settimeout(0.5)
    try:
        client.sendall(SECRET)
        client.recv(1)
    except OSError:
        pass
    assert counter.count() == 0
    counter.done()


@BOTH
def test_what_a_closed_client_left_unsent_does_not_leave(captured_lab, net):
    """Its packets have no owner any more, so no rule about users matches them."""
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    counter = lab.count_payload(SECRET)
    client.setblocking(False)
    try:
        while True:
            client.send(SECRET * 1000)
    except BlockingIOError:
        pass
    client.close()
    for v in ("", "6"):
        lab.tables("-t", "nat", "-F", version=v)
        lab.tables("-t", "nat", "-X", version=v)
    conn.sock.settimeout(0.5)
    try:
        while conn.sock.recv(1 << 20):
            pass
    except OSError:
        pass
    assert counter.count() == 0
    counter.done()


@BOTH
def test_a_listed_users_other_service_answers_a_peer(captured_lab, net):
    lab = captured_lab
    listener = lab.listen("host", net["host"], 5432, WEB)
    client = lab.connect(0, net["host"], 5432, where="peer")
    assert talks(client, lab.arrived([listener]))
    listener.close()


def test_a_restarted_unit_stays_captured(captured_lab, tmp_path):
    """Rules go by user: the control group that a service manager makes anew does not matter."""
    import os
    import signal

    for base in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(f"{base}/cgroup.procs"):
            break
    else:
        pytest.skip("no unified control groups")
    group = f"{base}/{captured_lab.host.name}"
    for _ in range(2):
        try:
            os.mkdir(group)
        except OSError as e:
            pytest.skip(f"control groups cannot be made here: {e}")
        pid = os.fork()
        if pid == 0:
            try:
                with open(f"{group}/cgroup.procs", "w") as f:
                    f.write(str(os.getpid()))
                captured_lab.connect(WEB, V4["peer"], 80)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        assert captured_lab.accepted(captured_lab.outbound).number == captured_lab.marks()[WEB]
        os.rmdir(group)
