# SPDX-License-Identifier: Apache-2.0
"""The watch: sees other programs' changes within five seconds, mends or reports them, and rests
after `down`."""

import signal
import time

import pytest
from hosts import MESH_PORT, ORDERS, V4, WEB, broken, talks, wait_until


def started(lab, interval="200ms"):
    p = lab.watch("--interval", interval)
    assert wait_until(lambda: lab.state()["state"] == "in place")
    return p


def ended(p):
    p.send_signal(signal.SIGTERM)
    _, log = p.communicate(timeout=5)
    assert p.returncode == 0
    return log


@pytest.mark.parametrize("table, words", [
    ("nat", ["-F"]), ("filter", ["-F", "OUTPUT"]), ("mangle", ["-F", "RINGMAIN_MARK"]),
    ("nat", ["-I", "PREROUTING", "-p", "tcp", "-j", "RETURN"]), ("filter", ["-F", "RINGMAIN_ENTRY"])])
def test_a_change_is_mended_within_five_seconds(captured_lab, table, words):
    lab = captured_lab
    before = lab.ours()
    p = started(lab, "2s" if "OUTPUT" in words else "200ms")  # 2s is what it does unasked
    live = lab.captured(WEB, V4["peer"], 80)
    lab.tables("-t", table, *words)
    assert wait_until(lambda: lab.state()["mended_count"] == 1, 5)
    state = lab.state()
    assert state["state"] == "mended" and f"IPv4 {table}" in state["detail"]
    assert lab.ours() == before
    assert talks(live[0], live[1].sock)
    lab.captured(WEB, V4["peer"], 81)
    assert wait_until(lambda: lab.state()["state"] == "in place", 5)
    log = ended(p)
    assert log.count("rules are mended") == 1


def test_a_lost_sysctl_is_mended(captured_lab):
    lab = captured_lab
    started(lab)
    lab.host.run("sysctl", "-qw", "net.ipv4.tcp_fwmark_accept=0")
    assert wait_until(lambda: lab.state()["mended_count"] == 1, 5)
    assert lab.accepts_marks() == "1"


def test_connections_opened_past_the_mesh_end_with_the_mend(captured_lab):
    lab = captured_lab
    started(lab)
    for table in ("filter", "nat"):
        lab.tables("-t", table, "-F")
    past = lab.connect(WEB, V4["peer"], 80)
    lab.arrived(lab.remote)
    assert wait_until(lambda: lab.state()["mended_count"] >= 1, 5)
    assert broken(past)


def test_with_drift_report_a_change_is_only_reported(lab):
    lab.configure(extra='redirect: { drift = "report"; };')
    lab.up()
    p = started(lab)
    lab.tables("-t", "nat", "-F", "OUTPUT")
    assert wait_until(lambda: lab.state()["state"] == "drifted", 5)
    since = lab.state()["since"]
    time.sleep(0.6)
    state = lab.state()
    assert state["since"] == since and state["last_check"] > since
    assert state["mended_count"] == 0
    assert not any("-A OUTPUT" in x and "RINGMAIN_OUT" in x for x in lab.save().splitlines())
    lab.up()
    assert wait_until(lambda: lab.state()["state"] == "in place", 5)
    assert ended(p).count("rules are drifted") == 1


def test_down_wins_over_the_watch(captured_lab):
    lab = captured_lab
    started(lab)
    lab.down("--now")
    assert wait_until(lambda: lab.state()["state"] == "absent", 5)
    time.sleep(0.6)
    assert lab.ours() == []
    lab.up()
    assert wait_until(lambda: lab.state()["state"] == "in place", 5)


def test_a_changed_configuration_is_taken_up_on_sighup(lab):
    lab.configure(workloads=[("orders", ORDERS, MESH_PORT)])
    lab.up()
    p = started(lab)
    earlier = lab.connect(WEB, V4["peer"], 80), lab.arrived(lab.remote)
    lab.configure()
    p.send_signal(signal.SIGHUP)
    assert wait_until(lambda: WEB in lab.marks() and any(f"--uid-owner {WEB} -g" in x for x in lab.ours()))
    assert talks(*earlier)
    lab.captured(WEB, V4["peer"], 80)
    rules = lab.ours()
    lab.configure(workloads=[("web", 0, 0)])  # refused: root
    p.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert p.poll() is None and lab.ours() == rules
    assert "mended_count" in lab.state() and lab.state()["mended_count"] == 0


def test_two_programs_that_want_the_first_place_do_not_fight_for_ever(captured_lab, backend):
    if backend == "legacy":
        pytest.skip("the same for both")
    lab = captured_lab
    p = started(lab)
    for n in range(1, 6):
        lab.tables("-t", "nat", "-F", "OUTPUT")
        assert wait_until(lambda: lab.state()["mended_count"] == n, 5)
    lab.tables("-t", "nat", "-F", "OUTPUT")
    assert wait_until(lambda: "find the program" in lab.state()["detail"], 5)
    assert lab.state()["state"] == "drifted" and lab.state()["mended_count"] == 5


def test_show_says_what_is_captured(captured_lab):
    import json
    lab = captured_lab
    lab.captured(WEB, V4["peer"], 80)
    text = lab.redirect("show", "-c", lab.conf).stdout
    assert "rules        in place" in text and "15001-15004" in text
    web = next(line.split() for line in text.splitlines() if line.startswith("web"))
    assert web == ["web", str(WEB), str(WEB), str(lab.marks()[WEB]), "-", "1", "0"]
    lab.tables("-t", "nat", "-F", "OUTPUT")
    done = lab.redirect("show", "-c", lab.conf, "-o", "json", check=False)
    assert done.returncode == 1
    state = json.loads(done.stdout)
    assert state["state"] == "drifted" and "no jump to RINGMAIN_OUT" in state["detail"]
    assert state["workloads"][0]["opened"] == 1
    lab.down("--now")
    assert json.loads(lab.redirect("show", "-c", lab.conf, "-o", "json", check=False).stdout)["state"] == "absent"
