# SPDX-License-Identifier: Apache-2.0
"""bench/run itself, as short as can be: it measures, writes what it promises, and leaves nothing behind."""
import html.parser
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from machines import LABS, PYTHON, ROOT, process_children, process_status, wait_for
from mesh import BUILD

RELEASE = os.environ.get("RINGMAIN_RELEASE", "")
PROGRAMS = Path(RELEASE).parents[2] if RELEASE and os.path.exists(RELEASE) else BUILD
FIGURES = ["cpu_us_per_request", "requests_per_second", "p50_us", "p99_us", "p999_us", "rss_kb", "gbit_per_second"]
VOID = {"meta", "br", "hr", "img", "link"}


def bench(*words):
    return [PYTHON, str(ROOT / "bench" / "harness" / "main.py"), "--build", str(PROGRAMS), *map(str, words)]


def run(*words, timeout=80):
    """Runs the bench to its end, after which nothing of it is left."""
    process = subprocess.Popen(bench(*words), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        shown, said = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert labs_of(process) == []
    return subprocess.CompletedProcess(words, process.returncode, shown, said)


def measured(directory, *words):
    """The rows and the report of a run that has to succeed."""
    done = run("--duration", "0.3", "--rounds", "1", "--output", directory, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((directory / "latest.json").read_text()), (directory / "latest.html").read_text(), done.stdout


class Checker(html.parser.HTMLParser):
    """Whether every element that begins ends, and what the page would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.fetched = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def labs_of(process):
    """The labs that a process made and did not take away; other runs on this computer have theirs."""
    return [path.name for path in LABS.glob(f"rm{process.pid:x}x*")] if LABS.is_dir() else []


def test_a_short_run_writes_rows_and_a_report(tmp_path):
    rows, page, shown = measured(tmp_path, "--scenario", "http_plain", "--contestants", "direct,ringmain")
    assert [(row["scenario"], row["contestant"]) for row in rows] == [
        ("http_plain", "direct"), ("http_plain", "ringmain")]
    for row in rows:
        assert {figure + end for figure in FIGURES for end in ("", "_min", "_max")} <= set(row)
        assert row["errors"] == 0 and row["failure"] is None
        assert row["requests_per_second"] > 0 and row["p50_us"] <= row["p99_us"] <= row["p999_us"]
        assert row["gbit_per_second"] is None
    direct, ringmain = rows
    assert direct["cpu_us_per_request"] is None and direct["rss_kb"] is None
    assert 0 < ringmain["cpu_us_per_request"] and ringmain["rss_kb"] > 1000
    assert set(ringmain["parts"]) == {"proxy", "proxy keeper"}
    assert "http_plain" in shown and "ringmain" in shown
    checker = Checker()
    checker.feed(page)
    assert checker.open == [] and checker.fetched == [] and "svg" in checker.seen
    assert '<table class="all">' in page and "{" not in page.partition("</style>")[2]
    assert "url(" not in page and "@import" not in page


@pytest.mark.seconds(120)
def test_every_kind_of_scenario_has_its_figure(tmp_path):
    scenarios = "tcp_mtls_pair_rate50,bulk_1,handshakes_full,idle_mtls"
    # few connections: a busy computer shakes hands on 64 for longer than the whole turn lasts
    words = ("--quick", "--connections", "8", "--scenario", scenarios, "--contestants", "null,ringmain")
    rows, page, _ = measured(tmp_path, *words)
    figures = {(row["scenario"], row["contestant"]): row for row in rows}
    assert all(row["failure"] is None and row["errors"] == 0 for row in rows), rows
    for name in ("null", "ringmain"):
        assert figures["tcp_mtls_pair_rate50", name]["rate"] > 0
        assert figures["bulk_1", name]["gbit_per_second"] > 0
        assert figures["bulk_1", name]["cpu_us_per_request"] is None
        assert figures["handshakes_full", name]["requests_per_second"] > 0
        assert figures["idle_mtls", name]["bytes_per_connection"] > 0
        assert figures["idle_mtls", name]["requests_per_second"] is None
    assert figures["handshakes_full", "ringmain"]["parts"]["server keeper"] > 1  # every handshake is signed
    assert "Latency at fixed rates" in page and "Memory" in page


def test_what_is_wrong_with_the_arguments_is_said(tmp_path):
    for words, said in ((("--scenario", "http_pair"), "there are tcp_plain"), (("--contestants", "squid"), "there are direct"),
                        (("--build", tmp_path), "ringmain is not there: build it")):
        done = run("--output", tmp_path, *words)
        assert done.returncode == 2 and said in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_peers_are_listed_with_what_brings_them():
    done = run("--peers")
    assert done.returncode == 0
    for name in ("haproxy", "nginx", "envoy", "wrk", "h2load"):
        assert name in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_takes_everything_down(tmp_path, number):
    words = ("--scenario", "tcp_plain", "--contestants", "null,ringmain", "--duration", "30", "--output", tmp_path)
    process = subprocess.Popen(bench(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(lambda: children_named(process.pid, "load"), "the load", 30)
        process.send_signal(number)
        shown, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode != 0, shown
    assert labs_of(process) == [] and list(tmp_path.iterdir()) == []


def children_named(pid, name):
    return [child for child in process_children(pid) if process_status(child).get("Name") == name]


def test_a_killed_run_is_swept_by_the_next(tmp_path):
    words = ("--scenario", "tcp_plain", "--contestants", "ringmain", "--duration", "30", "--output", tmp_path)
    process = subprocess.Popen(bench(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: labs_of(process), "a lab", 30)
    time.sleep(0.5)
    assert labs_of(process) != []
    process.kill()  # it takes down nothing; if another run has not swept already, the next one does
    process.wait()
    measured(tmp_path, "--scenario", "tcp_plain", "--contestants", "direct")
    assert labs_of(process) == []
