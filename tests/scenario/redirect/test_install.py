# SPDX-License-Identifier: Apache-2.0
"""Putting the rules in: running connections go on, half an installation is none, other people's
rules stay."""

import os
import threading
import time

import pytest
from hosts import (IN_PORTS, MESH_PORT, ORDERS, OUT_PORTS, STRANGER, V4, V6, WEB, broken, is_quiet,
                   talks)

BOTH = pytest.mark.parametrize("net", [V4, V6], ids=["v4", "v6"])


def ssh_like(lab, net):
    listener = lab.listen("host", net["host"], 22)
    client = lab.connect(0, net["host"], 22, where="peer")
    return client, lab.arrived([listener])


@BOTH
@pytest.mark.parametrize("tracking", ["idle", "active"])
@pytest.mark.parametrize("first", ["opener", "other"])
def test_running_connections_survive_the_first_installation(lab, net, tracking, first):
    """Tracking that was idle takes the next packet of each for the first of a new connection."""
    if tracking == "active":
        for v in ("", "6"):
            lab.tables("-A", "INPUT", "-m", "conntrack", "--ctstate", "INVALID", "-j", "LOG", version=v)
    pairs = [ssh_like(lab, net)]
    for uid in (0, STRANGER, WEB, ORDERS):
        pairs.append((lab.connect(uid, net["peer"], 80), lab.arrived(lab.remote)))
    pairs.append((lab.connect(0, net["host"], MESH_PORT, where="peer"), lab.arrived(lab.orders)))
    lab.up()
    for opener, other in pairs:
        a, b = (opener, other) if first == "opener" else (other, opener)
        assert talks(a, b)
    assert "spared       2 " in lab.redirect("show", "-c", lab.conf).stdout


def test_a_new_workload_users_connections_are_spared_too(lab):
    lab.configure(workloads=[("orders", ORDERS, MESH_PORT)])
    lab.up()
    earlier = lab.connect(WEB, V4["peer"], 80), lab.arrived(lab.remote)
    later, proxy_end = lab.captured(ORDERS, V4["peer"], 80)
    lab.configure()
    lab.up()
    assert talks(*earlier)
    assert talks(later, proxy_end.sock)
    lab.captured(WEB, V4["peer"], 80)


def test_a_spared_connection_is_forgotten_when_it_has_ended(lab):
    pair = lab.connect(WEB, V4["peer"], 80), lab.arrived(lab.remote)
    lab.up()
    lab.up()
    assert any("--sport" in line for line in lab.ours())
    for end in pair:
        end.close()
    time.sleep(0.1)
    lab.up()
    assert not any("--sport" in line for line in lab.ours())


def test_captured_connections_are_not_taken_for_earlier_ones(captured_lab):
    """After somebody wiped the filter table, what is captured must stay under the guard."""
    captured_lab.captured(WEB, V4["peer"], 80)
    captured_lab.tables("-F")
    captured_lab.tables("-X")
    captured_lab.up()
    assert not any("--sport" in line for line in captured_lab.ours())


def test_putting_up_again_changes_nothing(captured_lab):
    before = captured_lab.ours()
    captured_lab.up()
    assert captured_lab.ours() == before


@BOTH
def test_live_connections_survive_putting_up_again_under_traffic(captured_lab, net):
    lab = captured_lab
    client, conn = lab.captured(WEB, net["peer"], 80)
    problems, stop = [], threading.Event()

    def chat():
        while not stop.is_set():
            if not talks(client, conn.sock):
                problems.append("silence")

    talker = threading.Thread(target=chat)
    talker.start()
    try:
        for _ in range(3):
            lab.up()
            lab.captured(WEB, net["peer"], 80)
    finally:
        stop.set()
        talker.join()
    assert not problems
    assert is_quiet(lab.remote)


def test_every_connection_during_putting_up_again_is_captured(captured_lab):
    lab = captured_lab
    worker = threading.Thread(target=lab.up)
    worker.start()
    count = 0
    while worker.is_alive() or count < 5:
        lab.captured(WEB, V4["peer"], 80)
        count += 1
    worker.join()
    assert is_quiet(lab.remote)


def fake_backend(lab, tmp_path, table):
    """iptables programs that fail on one table of IPv6."""
    for family in ("iptables", "ip6tables"):
        for verb in ("restore", "save"):
            real = f"{family}-{lab.backend}-{verb}"
            fails = f'*"*{table}"*) echo "{real}: line 3 failed: No chain/target/match by that name." >&2; exit 1;;'
            script = tmp_path / f"{family}-broken-{verb}"
            if verb == "save" or family == "iptables":
                script.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
            else:
                script.write_text(f'#!/bin/sh\ntext=$(cat)\ncase "$text" in {fails} esac\n'
                                  f'printf "%s\\n" "$text" | {real} "$@"\n')
            script.chmod(0o755)
    return dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize("table", ["mangle", "nat", "filter"])
def test_a_first_installation_that_fails_leaves_nothing(lab, tmp_path, table):
    env = fake_backend(lab, tmp_path, table)
    done = lab.host.run(lab.program, "redirect", "up", "-c", lab.conf, "--backend", "broken", env=env, check=False)
    assert done.returncode == 1
    assert f"ip6tables-broken-restore, table {table}" in done.stderr
    assert "xt_owner" in done.stderr  # the cure
    assert lab.ours() == []
    assert lab.accepts_marks() == "0" and not os.path.exists(f"{lab.directory}/run/redirect.up")
    lab.connect(WEB, V4["peer"], 80)
    lab.arrived(lab.remote)


def test_a_failing_change_leaves_the_rules_that_stood(captured_lab, tmp_path):
    lab = captured_lab
    env = fake_backend(lab, tmp_path, "mangle")
    done = lab.host.run(lab.program, "redirect", "up", "-c", lab.conf, "--backend", "broken", env=env, check=False)
    assert done.returncode == 1
    for net in (V4, V6):
        lab.captured(WEB, net["peer"], 80)


def test_missing_and_double_hooks_are_put_right(captured_lab):
    lab = captured_lab
    before = lab.ours()
    syn = ["-p", "tcp", "--syn", "-j"]
    lab.tables("-t", "nat", "-D", "OUTPUT", *syn, "RINGMAIN_OUT")
    lab.tables("-t", "mangle", "-A", "OUTPUT", *syn, "RINGMAIN_MARK")
    lab.up()
    assert lab.ours() == before


def test_ours_come_before_foreign_redirections(lab):
    lab.tables("-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "80", "-j", "REDIRECT",
               "--to-ports", "7777")
    lab.up()
    lab.captured(WEB, V4["peer"], 80)
    lab.tables("-t", "nat", "-I", "OUTPUT", "1", "-p", "tcp", "--dport", "81", "-j", "RETURN")
    assert "others stand before it" in lab.redirect("show", "-c", lab.conf, check=False).stdout
    lab.up()
    lab.captured(WEB, V4["peer"], 81)


def test_foreign_rules_stay(lab):
    foreign = [("filter", ["INPUT", "-p", "tcp", "-m", "tcp", "--dport", "1", "-j", "DROP"]),
               ("nat", ["POSTROUTING", "-s", "10.1.0.0/16", "-j", "MASQUERADE"]),
               ("mangle", ["OUTPUT", "-d", "10.2.0.0/16", "-j", "MARK", "--set-xmark", "0x1/0x1"])]
    for table, rule in foreign:
        lab.tables("-t", table, "-A", *rule)
    lab.up()
    lab.up()
    lab.down("--now")
    for table, rule in foreign:
        assert "-A " + " ".join(rule) in lab.save()
    assert lab.ours() == []


def test_two_back_ends_with_rules_are_warned_about(lab):
    other = {"nft": "legacy", "legacy": "nft"}[lab.backend]
    lab.host.run(f"iptables-{other}", "-A", "INPUT", "-p", "udp", "--dport", "1", "-j", "DROP")
    done = lab.up()
    assert f"iptables-{other}-save holds 1 rules of other programs" in done.stderr


def test_rules_move_with_the_back_end(captured_lab):
    lab = captured_lab
    client, conn = lab.captured(WEB, V4["peer"], 80)
    first, lab.backend = lab.backend, {"nft": "legacy", "legacy": "nft"}[lab.backend]
    lab.up()
    assert lab.ours()
    lab.captured(WEB, V4["peer"], 81)
    lab.backend = first
    assert lab.ours() == []


def test_one_port_would_not_be_enough(lab):
    """Why there is a range: with one port the kernel must rewrite a client's port used twice."""
    lab.configure(port_range=1)
    lab.up()
    seen = []
    for port in (80, 81):
        lab.connect(WEB, V4["peer"], port, source_port=40002)
        seen.append(lab.accepted(lab.outbound).peer[1])
    assert seen[0] == 40002 and seen[1] != 40002


def test_marks_stay_with_their_users(lab):
    lab.up()
    before = lab.marks()
    lab.configure(workloads=[("orders", ORDERS, MESH_PORT), ("other", 1200, 0)])
    lab.up()
    after = lab.marks()
    assert after[ORDERS] == before[ORDERS]
    assert after[1200] not in before.values()
    lab.configure()
    lab.up()
    assert {u: m for u, m in lab.marks().items() if u in before} == before


def test_dry_run_prints_what_would_be_applied(lab):
    text = lab.up("--dry-run").stdout
    assert lab.ours() == [] and not os.path.exists(f"{lab.directory}/run/marks")
    for v, number in (("", 4), ("6", 6)):
        files = [part.partition("\n")[2] for part in text.split("# IPv")[1:] if part[0] == str(number)]
        assert len(files) == 3
        for file in files:
            lab.host.run(f"ip{v}tables-{lab.backend}-restore", "--noflush", input=file)
    by_hand = lab.ours()
    lab.up()
    assert lab.ours() == by_hand


def test_without_privilege_it_says_so(lab):
    done = lab.host.run("setpriv", "--reuid", "0", "--bounding-set", "-net_admin", "--inh-caps",
                        "-net_admin", lab.program, "redirect", "up", "--backend", lab.backend, "-c", lab.conf,
                        check=False)
    assert done.returncode == 1
    assert "CAP_NET_ADMIN" in done.stderr or "run it as root" in done.stderr


def test_missing_programs_are_named(lab):
    done = lab.host.run(lab.program, "redirect", "up", "-c", lab.conf, "--backend", "nosuch", check=False)
    assert done.returncode == 1
    assert "iptables-nosuch-save is not in PATH" in done.stderr


def test_a_broken_configuration_changes_nothing(captured_lab):
    lab = captured_lab
    before = lab.ours()
    lab.configure(workloads=[("web", 0, 0)])
    done = lab.up(check=False)
    assert done.returncode == 1 and "root" in done.stderr
    assert lab.ours() == before


def test_unconfirmed_rules_go_again(lab):
    done = lab.host.run(lab.program, "redirect", "up", "-c", lab.conf, "--backend", lab.backend, "--confirm", "1",
                        check=False, stdin=-3)
    assert done.returncode == 1 and "not confirmed" in done.stderr
    assert lab.ours() == []
    lab.host.run(lab.program, "redirect", "up", "-c", lab.conf, "--backend", lab.backend, "--confirm", "5", input="\n")
    assert lab.ours()
