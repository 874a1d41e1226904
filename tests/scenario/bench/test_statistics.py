# SPDX-License-Identifier: Apache-2.0
"""What the bench makes of the figures of several rounds."""
import sys
from types import SimpleNamespace

import pytest
from machines import ROOT

sys.path[:0] = [str(ROOT / "bench" / "harness"), str(ROOT / "bench")]
import charts  # noqa: E402
from generators import read_output  # noqa: E402
from measure import Sample  # noqa: E402
from results import Outcome, rounded  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from stats import busy_share, ratios, rotated, slowest, spread, steal_share, undisturbed  # noqa: E402
from table import laid_out, number, outcome_table  # noqa: E402

NAMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def reading(**ticks):
    return dict.fromkeys(NAMES, 0) | ticks


def samples_of(*steals):
    left = list(steals)
    return lambda: SimpleNamespace(steal=left.pop(0))


def test_spread_is_median_least_and_most():
    assert spread([3, 1, 2]) == (2, 1, 3)
    assert spread([4, 1]) == (2.5, 1, 4)
    assert spread([None, 5, None]) == (5, 5, 5)
    assert spread([None]) == spread([]) == (None, None, None)


def test_ratios_are_taken_round_by_round():
    """Whatever slows a whole round down must not show in the ratio."""
    assert ratios([10, 20, 40], [20, 40, 80]) == [0.5, 0.5, 0.5]
    assert ratios([1, None, 3, 4], [2, 2, None, 0]) == [0.5, None, None, None]


def test_steal_is_a_share_of_the_busy_time():
    before, after = reading(user=100, idle=1000), reading(user=190, idle=2000, steal=10)
    assert steal_share(before, after) == pytest.approx(0.1)
    assert steal_share(before, before) == 0
    assert busy_share(before, after) == pytest.approx(100 / 1100)
    assert busy_share(before, before) == 0


def test_a_disturbed_round_is_repeated():
    assert undisturbed(samples_of(0.0, 0.5), 0.01, 2) == (SimpleNamespace(steal=0.0), 0)
    assert undisturbed(samples_of(0.5, 0.01, 0.3), 0.01, 2) == (SimpleNamespace(steal=0.01), 1)


def test_repeats_are_bounded_and_the_least_disturbed_round_counts():
    assert undisturbed(samples_of(0.5, 0.2, 0.3, 0.0), 0.01, 2) == (SimpleNamespace(steal=0.2), 2)
    assert undisturbed(samples_of(0.5, 0.0), 0.01, 0) == (SimpleNamespace(steal=0.5), 0)


def test_nobody_is_always_first():
    assert [rotated("abc", by)[0] for by in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated("abc", 2)) == ["a", "b", "c"]
    assert rotated([], 3) == []


def test_the_rate_comes_from_the_slowest():
    assert slowest([20000, 10003, None], 0.7) == 7000
    assert slowest([None, 0], 0.5) is None


def outcome_of(**figures):
    """An outcome with rounds of CPU per request for each contestant; None is a failed round."""
    outcome = Outcome(SCENARIOS["http_plain"], figures)
    for name, values in figures.items():
        for value in values:
            if value is None:
                outcome.fail(name, "it broke")
            else:
                outcome.add(name, Sample(cpu_us_per_request=value, steal=0.02, errors=1, parts={"proxy": value}), 1)
    return outcome


def test_a_row_has_medians_with_least_and_most_and_nulls():
    row = outcome_of(ringmain=[3.0, 1.0, 2.0], null=[1.0, 1.0, 1.0]).row("ringmain")
    assert (row["scenario"], row["contestant"]) == ("http_plain", "ringmain")
    assert [row[f"cpu_us_per_request{end}"] for end in ("", "_min", "_max")] == [2, 1, 3]
    for figure in ("requests_per_second", "p50_us", "p99_us", "p999_us", "rss_kb", "gbit_per_second"):
        assert [row[f"{figure}{end}"] for end in ("", "_min", "_max")] == [None, None, None]
    assert (row["errors"], row["rounds"], row["rounds_repeated"], row["steal_max"]) == (3, 3, 3, 0.02)
    assert row["parts"] == {"proxy": 2}
    assert row["ratios"]["null"]["cpu_us_per_request"] == [2, 1, 3]


def test_a_failed_round_leaves_the_others():
    outcome = outcome_of(ringmain=[4.0, None, 8.0], null=[2.0, 2.0, 2.0])
    row = outcome.row("ringmain")
    assert (row["rounds"], row["failure"], row["cpu_us_per_request"]) == (2, "it broke", 6)
    assert row["ratios"]["null"]["cpu_us_per_request"] == [3, 2, 4]


def test_a_contestant_that_never_ran_is_a_row_of_nulls():
    row = outcome_of(ringmain=[None, None], null=[1.0, 1.0]).row("ringmain")
    assert (row["rounds"], row["cpu_us_per_request"], row["ratios"]) == (0, None, {})


def test_table_of_an_outcome():
    lines = laid_out(outcome_table(outcome_of(direct=[1.0], null=[2.0, 2.0], ringmain=[3.0, 5.0])))
    assert lines[0].split()[-4:] == ["null", "ringmain", "/", "it"]
    assert lines[1].split()[0] == "direct" and lines[1].split()[-2:] == ["-", "-"]
    assert lines[3].split() == ["ringmain", "4.00", "(3.00-5.00)", "-", "-", "-", "-", "2.00", "-"]


@pytest.mark.parametrize("value, text", [
    (None, "-"), (0, "0"), (0.4123, "0.41"), (4.126, "4.13"), (41.26, "41.3"), (412.6, "413"), (41260.2, "41 260")])
def test_numbers_have_three_digits_that_matter(value, text):
    assert number(value) == text


def test_rounded():
    assert (rounded(123456.7), rounded(None), rounded(7)) == (123500, None, 7)


@pytest.mark.parametrize("values", [(85.0, 20.0, 170.0), (0.001, 0.0005, 0.002), (1, 1, 1), (0.5, 0.01, 90.0)])
def test_ratios_of_any_size_are_drawn(values):
    assert charts.ratios([("tcp_plain", [("null", *values)])], "ratios").count("<circle") == 1


def test_charts_of_nothing_are_nothing():
    assert charts.ratios([("tcp_plain", [])], "ratios") == charts.curves({"null": []}, "latency") == ""


@pytest.mark.parametrize("points", [[[50, 5.0]], [[0, 80.0], [50, 80.0], [100, 80.0]], [[0, 1.0], [99.9, 9e8]]])
def test_latencies_of_any_size_are_drawn(points):
    assert charts.curves({"null": points, "ringmain": points}, "latency").count("<polyline") == 2


WRK = """  Latency Distribution
     50%    2.71ms
     75%    3.10ms
     90%    3.90ms
     99%    6.95ms
  45847 requests in 2.00s, 46.57MB read
Requests/sec:  22923.50
"""
H2LOAD = """finished in 1.01s, 13356.00 req/s, 13.57MB/s
requests: 13356 total, 13420 started, 13356 done, 13356 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 13356 2xx, 0 3xx, 0 4xx, 0 5xx
"""


def test_other_generators_are_understood():
    assert read_output("wrk", WRK) == (45847, 22923.5, 2710, 6950)
    assert read_output("h2load", H2LOAD) == (13356, 13356, None, None)


@pytest.mark.parametrize("name, text", [
    ("wrk", WRK + "  Non-2xx or 3xx responses: 17\n"), ("h2load", H2LOAD.replace("0 failed", "10 failed")),
    ("wrk", "unable to connect"), ("h2load", "")])
def test_other_generators_errors_are_no_figures(name, text):
    with pytest.raises(ValueError):
        read_output(name, text)
