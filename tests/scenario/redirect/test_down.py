# SPDX-License-Identifier: Apache-2.0
"""Taking the rules out: drain first, the guard last, no configuration, nothing of a captured
connection leaves in plain text."""


import threading
import time

import pytest
from hosts import (METADATA, MESH_PORT, ORDERS, STRANGER, V4, V6, WEB, broken, is_quiet, talks,
                   wait_until)

BOTH = pytest.mark.parametrize("net", [V4, V6], ids=["v4", "v6"])
SECRET = b"plaintext-that-must-not-leave"


class Going:
    """`down` at work in the background."""

    def __init__(self, lab, *words):
        self.thread = threading.Thread(target=lambda: setattr(self, "done", lab.down(*words)))
        self.started = time.monotonic()
        self.thread.start()
        # Unhooked, but the chains are there: the drain has begun.
        assert wait_until(lambda: not any("-A OUTPUT" in line and "RINGMAIN_OUT" in line
                                          for line in lab.ours()))

    def join(self):
        self.thread.join()
        self.seconds = time.monotonic() - self.started
        return self.done


@BOTH
def test_captured_connections_are_ended_before_the_rules_go(captured_lab, net):
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    local, _ = lab.captured(STRANGER, net["host"], MESH_PORT)
    inbound = lab.connect(0, net["host"], MESH_PORT, where="peer")
    lab.accepted(lab.inbound)
    counter = lab.count_payload(SECRET)
    done = lab.down("--now")
    assert "rules removed" in done.stdout
    assert lab.ours() == []
    for end in (client, local, inbound):
        assert broken(end, SECRET)
    assert counter.count() <= 1  # the peer machine's own, to the captured port
    counter.done()


@BOTH
def test_nothing_leaves_when_rules_go_under_a_sending_client(captured_lab, net):
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    counter, stop = lab.count_payload(SECRET), threading.Event()

    def pour():
        try:
            while not stop.is_set():
                client.sendall(SECRET)
                conn.sock.recv(65536)
        except OSError:
            pass

    pourer = threading.Thread(target=pour)
    pourer.start()
    try:
        lab.down("--drain-timeout", "300ms")
        assert counter.count() == 0
    finally:
        stop.set()
        pourer.join()
    counter.done()


@BOTH
def test_during_the_drain_old_connections_work_and_new_ones_go_directly(captured_lab, net):
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    going = Going(lab, "--drain-timeout", "20s")
    assert talks(client, conn.sock)
    direct = lab.connect(WEB, net["peer"], 80)
    arrived = lab.arrived(lab.remote)
    assert talks(direct, arrived)
    inbound = lab.connect(0, net["host"], MESH_PORT, where="peer")
    assert talks(inbound, lab.arrived(lab.orders))
    assert talks(client, conn.sock)
    client.close()
    conn.sock.close()
    assert going.join().returncode == 0
    assert going.seconds < 5
    assert talks(direct, arrived)
    assert lab.ours() == []


@BOTH
def test_during_the_drain_the_guard_still_holds_for_captured_connections(captured_lab, net):
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    assert talks(client, conn.sock)
    counter = lab.count_payload(SECRET)
    going = Going(lab, "--drain-timeout", "1s")
    lab.host.run("conntrack", "-F", "-f", "ipv6" if net is V6 else "ipv4", check=False)
    assert broken(client, SECRET)
    assert counter.count() == 0
    counter.done()
    going.join()


@BOTH
def test_an_application_whose_proxy_end_is_gone_leaks_nothing(captured_lab, net):
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    conn.sock.close()
    time.sleep(0.1)
    counter = lab.count_payload(SECRET)
    lab.down("--now")
    assert broken(client, SECRET)
    assert counter.count() == 0
    counter.done()


@BOTH
def test_what_was_never_captured_goes_on(lab, net):
    pairs = [(lab.connect(WEB, net["peer"], 80), lab.arrived(lab.remote))]  # older than the rules
    lab.up()
    pairs.append((lab.connect(STRANGER, net["peer"], 80), lab.arrived(lab.remote)))
    if net is V4:
        pairs.append((lab.connect(WEB, METADATA, 80), lab.arrived(lab.remote)))
    listener = lab.listen("host", net["host"], 5432, WEB)
    pairs.append((lab.connect(0, net["host"], 5432, where="peer"), lab.arrived([listener])))
    lab.down("--now")
    for a, b in pairs:
        assert talks(a, b)


def test_it_needs_no_configuration_and_no_notes(captured_lab):
    lab = captured_lab
    done = lab.host.run(lab.program, "redirect", "down", "--now", "--backend", lab.backend, "--run-dir",
                        "/nonexistent/ringmain")
    assert done.returncode == 0
    assert lab.ours() == []


def test_it_finds_the_rules_in_either_back_end(captured_lab):
    lab = captured_lab
    lab.host.run(lab.program, "redirect", "down", "--now", "--run-dir", f"{lab.directory}/run")
    assert lab.ours() == []


@pytest.mark.parametrize("table, words", [
    ("nat", ["-F", "OUTPUT"]), ("filter", ["-F", "OUTPUT"]), ("mangle", ["-F"]), ("nat", ["-F"]),
    ("filter", ["-F"])])
def test_after_a_foreign_flush(captured_lab, table, words):
    lab = captured_lab
    for v in ("", "6"):
        lab.tables("-t", table, *words, version=v)
    assert lab.down("--now").returncode == 0
    assert lab.ours() == []
    lab.connect(WEB, V4["peer"], 80)
    lab.arrived(lab.remote)


def test_after_everything_of_ours_was_wiped(captured_lab):
    lab = captured_lab
    for v in ("", "6"):
        for table in ("nat", "mangle", "filter"):
            lab.tables("-t", table, "-F", version=v)
            lab.tables("-t", table, "-X", version=v)
    assert "no rules to remove" in lab.down().stdout
    assert lab.accepts_marks() == "0"


def test_twice(captured_lab):
    captured_lab.down("--now")
    assert "no rules to remove" in captured_lab.down("--now").stdout


@pytest.mark.parametrize("before", ["0", "1"])
def test_the_sysctl_gets_its_old_value_back(lab, before):
    lab.host.run("sysctl", "-qw", f"net.ipv4.tcp_fwmark_accept={before}")
    lab.up()
    lab.up()
    assert lab.accepts_marks() == "1"
    lab.down("--now")
    assert lab.accepts_marks() == before


@pytest.mark.parametrize("words", [[], ["sideways"], ["up", "--nonsense"],
                                   ["down", "--drain-timeout", "soon"], ["up", "--backend", "../x"]])
def test_wrong_usage_is_status_2(lab, words):
    assert lab.host.run(lab.program, "redirect", *words, check=False).returncode == 2
