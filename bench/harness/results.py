# SPDX-License-Identifier: Apache-2.0
"""From samples to rows: one row for each scenario and contestant, a figure's median over the rounds with
`_min` and `_max` beside it."""
import json
import time
from dataclasses import asdict

import report
from stats import ratios, spread
from table import markdown

# The figures of a row, in the order in which they are written.
FIGURES = ["cpu_us_per_request", "requests_per_second", "p50_us", "p99_us", "p999_us", "rss_kb", "gbit_per_second",
           "cpu_us_per_mb", "rss_idle_kb", "bytes_per_connection", "proxy_busy", "load_busy", "late_max_us"]
# What contestants are compared by, best known first.
COMPARED = ["cpu_us_per_request", "cpu_us_per_mb", "bytes_per_connection", "requests_per_second", "gbit_per_second",
            "p50_us", "p99_us"]


class Outcome:
    """All samples of one scenario: for each contestant one per round, None for a round that failed."""

    def __init__(self, scenario, contestants, rate=None):
        self.scenario = scenario
        self.rate = rate
        self.samples = {name: [] for name in contestants}
        self.thrown_away = {name: 0 for name in contestants}
        self.failures = {}  # contestant: what it said

    def add(self, name, sample, thrown_away=0):
        self.samples[name].append(sample)
        self.thrown_away[name] += thrown_away

    def fail(self, name, text):
        self.failures.setdefault(name, text)
        self.samples[name].append(None)

    def figures(self, name, figure):
        """A contestant's figure, round by round."""
        return [getattr(sample, figure) if sample else None for sample in self.samples[name]]

    def median(self, name, figure):
        return spread(self.figures(name, figure))[0]

    def ratio(self, name, other, figure):
        """(median, min, max) of the ratio of two contestants' figures, round by round."""
        return spread(ratios(self.figures(name, figure), self.figures(other, figure)))

    def percentiles(self, name):
        """The curve of the round whose p99 is the median one, or nearest above it."""
        samples = sorted((s for s in self.samples[name] if s and s.percentiles), key=lambda s: s.p99_us)
        return samples[len(samples) // 2].percentiles if samples else []

    def parts(self, name):
        samples = [s for s in self.samples[name] if s]
        return {part: rounded(spread([s.parts.get(part) for s in samples])[0])
                for part in (samples[0].parts if samples else {})}

    def row(self, name):
        row = {"scenario": self.scenario.name, "contestant": name}
        for figure in FIGURES:
            for suffix, value in zip(("", "_min", "_max"), spread(self.figures(name, figure))):
                row[figure + suffix] = rounded(value)
        samples = [s for s in self.samples[name] if s]
        row["rounds"] = len(samples)
        row["rounds_repeated"] = self.thrown_away[name]
        row["steal_max"] = rounded(max((s.steal for s in samples), default=None))
        row["errors"] = sum(s.errors for s in samples)
        row["rate"] = self.rate
        row["parts"] = self.parts(name)
        row["ratios"] = self.ratios(name)
        row["failure"] = self.failures.get(name)
        return row

    def ratios(self, name):
        """{other: {figure: [median, min, max]}} for every figure that both have."""
        found = {}
        for other in self.samples:
            pairs = {figure: self.ratio(name, other, figure) for figure in COMPARED} if other != name else {}
            pairs = {figure: [rounded(v) for v in three] for figure, three in pairs.items() if three[0] is not None}
            if pairs:
                found[other] = pairs
        return found


def rounded(value):
    """Four digits are more than such figures can hold."""
    return None if value is None else float(f"{value:.4g}") if isinstance(value, float) else value


def rows(outcomes):
    return [outcome.row(name) for outcome in outcomes for name in outcome.samples]


# --- files ----------------------------------------------------------------------------------------


def document(story, runner):
    """All that is known of a run, as the file of its time holds it."""
    return {
        "run": story,
        "scenarios": {o.scenario.name: asdict(o.scenario) for o in runner.outcomes},
        "results": rows(runner.outcomes),
        "curves": {o.scenario.name: {name: o.percentiles(name) for name in o.samples} for o in runner.outcomes},
        "checks": {name: [asdict(sample) for sample in samples] for name, samples in runner.checks.items()},
        "samples": {o.scenario.name: {name: [sample and dict(asdict(sample), percentiles=None) for sample in samples]
                                      for name, samples in o.samples.items()} for o in runner.outcomes},
    }


def write(directory, story, runner):
    """Writes the files of a run, the figures before the page; returns their paths. latest.json holds the rows alone."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = document(story, runner)
    stamp = time.strftime("%Y%m%dT%H%M%S")
    rows_text = "[\n" + ",\n".join(json.dumps(row) for row in whole["results"]) + "\n]\n"
    written = [put(directory, f"{stamp}.json", json.dumps(whole) + "\n"), put(directory, "latest.json", rows_text)]
    page = report.render(whole)
    return [*written, put(directory, f"{stamp}.html", page), put(directory, "latest.html", page),
            put(directory, "latest.md", markdown(whole))]


def put(directory, name, text):
    path = directory / name
    path.write_text(text)
    return path
