# SPDX-License-Identifier: Apache-2.0
"""What tests/run says at its end: the counts, and before them what each failure said, for all that is kept of a
long run is often its end."""
import base64
import sys

from machines import ROOT

sys.path.insert(0, str(ROOT / "tests"))
import lanes  # noqa: E402
import suites  # noqa: E402
from suites import Failure, Tally  # noqa: E402

REPORT = """\
#4266	REDUCE cov: 6984 ft: 16346 corp: 274/344Kb lim: 7922 exec/s: 69 rss: 424Mb L: 64/7922
../../src/conf/build.c:345:27: runtime error: applying zero offset to null pointer
    #0 0x55b44c1bd683 in conf_build /src/conf/build.c:345:27
==7== ERROR: libFuzzer: deadly signal
"""


def fuzzed(tmp_path, monkeypatch, content):
    """A target that prints a report and keeps `content` as its input, as libFuzzer does."""
    monkeypatch.setattr(suites, "BUILD", tmp_path)
    (tmp_path / "report").write_text(REPORT + "frame\n" * 100 + f"Test unit written to {tmp_path}/crash-1\n")
    (tmp_path / "crash-1").write_bytes(content)
    target, tally = tmp_path / "fuzz_thing", Tally()
    target.write_text(f"#!/bin/sh\ncat {tmp_path}/report >&2\nexit 77\n")
    target.chmod(0o755)
    lanes.run([suites.fuzz_job(target, tally)], ROOT)
    return tally


def test_a_failed_fuzz_target_says_why_and_on_what(tmp_path, monkeypatch, capsys):
    content = bytes(range(256)) * 4
    tally = fuzzed(tmp_path, monkeypatch, content)
    assert (tally.passed, [failure.name for failure in tally.failures]) == (0, ["fuzz: fuzz_thing"])
    first, *others, last = tally.failures[0].said.splitlines()
    assert "runtime error: applying zero offset" in first and len(others) < suites.SAID_LINES
    name, told = last.split(": ")
    assert name == "crash-1, 1024 bytes" and base64.b64decode(told) == content
    capsys.readouterr()
    suites.tell(tally.failures[0])
    assert capsys.readouterr().out == f"-- failed: fuzz: fuzz_thing\n{tally.failures[0].said}\n"


def test_a_large_input_is_only_named(tmp_path, monkeypatch):
    tally = fuzzed(tmp_path, monkeypatch, bytes(suites.INPUT_BYTES_MAX + 1))
    assert tally.failures[0].said.endswith("crash-1, 4097 bytes")


def test_of_a_long_text_the_end_is_said_and_of_a_long_line_the_beginning():
    text = "\n".join(f"{number} " + "x" * 1000 for number in range(100))
    lines = suites.last_of(text).splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(85, 100)]
    assert {len(line) for line in lines} == {suites.SAID_LINE_MAX}
    assert suites.fault_of(text) == suites.last_of(text)


def test_a_failed_scenario_is_told_with_its_trace(tmp_path):
    (tmp_path / "out.xml").write_text("<testsuites><testsuite><testcase name='test_good'/><testcase name='test_bad'>"
                                      "<failure message='m'>test_x.py:3: in test_bad\nE   assert 1 == 2</failure>"
                                      "</testcase></testsuite></testsuites>")
    assert suites.read_junit(tmp_path / "out.xml", "http") == (
        1, [Failure("scenario/http: test_bad", "test_x.py:3: in test_bad\nE   assert 1 == 2")])
