# SPDX-License-Identifier: Apache-2.0
"""Figures as text: the tables of the terminal, and what the report shares with them."""
from dataclasses import asdict

from scenarios import BULK, CONNECT, IDLE, RATE, SATURATE
from stats import spread

OURS, FLOOR, NOBODY = "ringmain", "null", "direct"
# Contestants that differ in one thing: what it costs is said beside the table.
PAIRS = [("ringmain-rules-10000", "ringmain-rules-10")]


def number(value, scale=1.0):
    """Three digits that matter: 0.412, 41.2, 4 120."""
    if value is None:
        return "-"
    value *= scale
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{max(0, 2 - len(str(int(abs(value)))) + 1)}f}"


def spread_text(three, scale=1.0):
    """Median and, when there is more than one round, what it lies between."""
    median, least, most = three
    if median is None:
        return "-"
    if least == most:
        return number(median, scale)
    return f"{number(median, scale)} ({number(least, scale)}-{number(most, scale)})"


# For each kind: (heading, figure, scale, whether with its spread), and the figure that ratios are of.
COLUMNS = {
    SATURATE: [("CPU us/request", "cpu_us_per_request", 1, True), ("requests/s", "requests_per_second", 1, True),
               ("p50 us", "p50_us", 1, False), ("p99 us", "p99_us", 1, False), ("RSS MB", "rss_kb", 1 / 1024, False)],
    RATE: [("p50 us", "p50_us", 1, True), ("p99 us", "p99_us", 1, True), ("p99.9 us", "p999_us", 1, True),
           ("CPU us/request", "cpu_us_per_request", 1, False)],
    BULK: [("Gbit/s", "gbit_per_second", 1, True), ("CPU us/MB", "cpu_us_per_mb", 1, True)],
    CONNECT: [("connections/s", "requests_per_second", 1, True), ("CPU us/connection", "cpu_us_per_request", 1, True),
              ("p50 us", "p50_us", 1, False), ("p99 us", "p99_us", 1, False)],
    IDLE: [("bytes/connection", "bytes_per_connection", 1, True), ("RSS MB, none open", "rss_idle_kb", 1 / 1024, True),
           ("RSS MB, all open", "rss_kb", 1 / 1024, False)],
}
RATIO_OF = {SATURATE: "cpu_us_per_request", RATE: "p99_us", BULK: "cpu_us_per_mb", CONNECT: "cpu_us_per_request",
            IDLE: "bytes_per_connection"}


def outcome_table(outcome):
    """Rows of cells; the first is the heading."""
    kind = outcome.scenario.kind
    of = RATIO_OF[kind]
    heads = ["", *(column[0] for column in COLUMNS[kind])]
    others = [name for name in outcome.samples if name not in (OURS, NOBODY)]
    has_floor, has_ours = FLOOR in outcome.samples, OURS in outcome.samples and others
    heads += ["/ null"] * has_floor + ["ringmain / it"] * bool(has_ours)
    rows = [heads]
    for name in outcome.samples:
        row = [name, *(cell(outcome, name, column) for column in COLUMNS[kind])]
        if has_floor:
            row.append(number(outcome.ratio(name, FLOOR, of)[0]) if name != NOBODY else "-")
        if has_ours:
            row.append(spread_text(outcome.ratio(OURS, name, of)) if name in others else "-")
        rows.append(row)
    return rows


def cell(outcome, name, column):
    _, figure, scale, with_spread = column
    three = spread(outcome.figures(name, figure))
    return spread_text(three, scale) if with_spread else number(three[0], scale)


def laid_out(rows):
    """Lines of text: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def notes(outcome):
    """What a reader of the table must know besides."""
    found = [f"{name}: FAILED: {text}" for name, text in outcome.failures.items()]
    for name, samples in outcome.samples.items():
        errors = sum(s.errors for s in samples if s)
        if errors:
            first = next((s.first_error for s in samples if s and s.first_error), "unknown")
            found.append(f"{name}: {errors} errors, the first: {first}")
        steal = max((s.steal for s in samples if s), default=0)
        if outcome.thrown_away[name]:
            found.append(f"{name}: {outcome.thrown_away[name]} rounds repeated because of steal; "
                         f"at most {steal:.1%} is left")
    for much, little in PAIRS:
        if much in outcome.samples and little in outcome.samples:
            figure = RATIO_OF[outcome.scenario.kind]
            found.append(f"{much} / {little}, {figure_name(outcome.scenario.kind)}: "
                         f"{spread_text(outcome.ratio(much, little, figure))}")
    if outcome.rate:
        found.insert(0, f"at {number(outcome.rate)} requests/s for everybody")
    return found


FIGURE_NAMES = {"cpu_us_per_request": "CPU us per request", "p99_us": "p99, us", "cpu_us_per_mb": "CPU us per MB",
                "bytes_per_connection": "bytes per connection"}


def figure_name(kind):
    """What contestants are compared by in a kind of scenario, in words."""
    name = FIGURE_NAMES[RATIO_OF[kind]]
    return name.replace("request", "connection") if kind == CONNECT else name


def markdown(document):
    """The main figure of each scenario as the table of bench/README.md."""
    by_scenario, names = {}, {}
    for row in document["results"]:
        by_scenario.setdefault(row["scenario"], {})[row["contestant"]] = row
        names[row["contestant"]] = None
    lines = ["| scenario | figure | " + " | ".join(names) + " | ringmain / null |", "|---|---|" + "---:|" * (len(names) + 1)]
    for scenario, rows in by_scenario.items():
        kind = document["scenarios"][scenario]["kind"]
        figure = RATIO_OF[kind]
        floor = rows.get(OURS, {}).get("ratios", {}).get(FLOOR, {}).get(figure)
        cells = [number(rows[name][figure]) if name in rows else "-" for name in names]
        cells.append(spread_text(floor) if floor else "-")
        lines.append(f"| `{scenario}` | {figure_name(kind)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def checks_table(checks):
    return checks_table_of({name: [asdict(sample) for sample in samples] for name, samples in checks.items()})


def checks_table_of(checks):
    """The generators' agreement: each against ours, by the medians. `checks`: {generator: [sample as a dictionary]}."""
    rows = [["", "requests/s", "/ ours", "CPU us/request", "/ ours", "p50 us", "p99 us"]]
    medians = {name: {figure: spread([s[figure] for s in samples])[0] for figure in
                      ("requests_per_second", "cpu_us_per_request", "p50_us", "p99_us")}
               for name, samples in checks.items()}
    ours = medians["load"]
    for name, figures in medians.items():
        row = [name]
        for figure in ("requests_per_second", "cpu_us_per_request"):
            share = figures[figure] / ours[figure] if figures[figure] and ours[figure] else None
            row += [number(figures[figure]), number(share)]
        rows.append([*row, number(figures["p50_us"]), number(figures["p99_us"])])
    return rows
