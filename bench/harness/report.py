# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file that needs nothing else, light or dark as its reader likes."""
import re
from html import escape
from pathlib import Path

import charts
from scenarios import BULK, CONNECT, IDLE, RATE, SATURATE
from table import COLUMNS, FLOOR, OURS, RATIO_OF, checks_table_of, figure_name, number, spread_text

STYLE = Path(__file__).with_name("report.css")
KIND_ORDER = [SATURATE, RATE, BULK, CONNECT, IDLE]


class Page:
    """The results of a run, looked up by scenario and contestant."""

    def __init__(self, document):
        self.run = document["run"]
        self.scenarios = document["scenarios"]
        self.curves = document["curves"]
        self.checks = document["checks"]
        self.rows = {}
        for row in document["results"]:
            self.rows.setdefault(row["scenario"], {})[row["contestant"]] = row

    def of_kind(self, *kinds):
        return [scenario for name, scenario in self.scenarios.items() if scenario["kind"] in kinds]

    def contestants(self):
        seen = {}
        for rows in self.rows.values():
            seen.update(dict.fromkeys(rows))
        return list(seen)

    def bars(self, scenario, figure, unit, scale=1.0, parts=False):
        rows = []
        for name, row in self.rows[scenario["name"]].items():
            three = [row[figure + suffix] for suffix in ("", "_min", "_max")]
            if three[0] is not None:
                pieces = row["parts"] if parts else {}
                rows.append((name, *(value * scale for value in three), pieces))
        return charts.bars(rows, f"{scenario['title']}: {unit}", unit) if rows else ""


# --- pieces ------------------------------------------------------------------------------------------


def panel(title, chart, note=""):
    if not chart:
        return ""
    more = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<figure><figcaption>{escape(title)}</figcaption>{chart}{more}</figure>'


def section(title, intro, panels):
    body = "".join(panels)
    if not body:
        return ""
    return f"<section><h2>{escape(title)}</h2><p>{intro}</p><div class=\"panels\">{body}</div></section>"


def micro(text):
    """A terminal may lack the letter."""
    return re.sub(r"\bus\b", "µs", text)


def table_of(rows, kind=""):
    head, *body = rows
    html = "<tr>" + "".join(f"<th>{escape(micro(cell))}</th>" for cell in head) + "</tr>"
    for row in body:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        html += f'<tr><th class="c-{escape(row[0])}">{escape(row[0])}</th>{cells}</tr>'
    return f'<div class="wide"><table class="{kind}">{html}</table></div>'


def three(row, figure):
    return [row[figure + suffix] for suffix in ("", "_min", "_max")]


# --- sections ----------------------------------------------------------------------------------------


def summary(page):
    """One line for each scenario: the figure that its contestants are compared by."""
    names = page.contestants()
    head = "".join(f'<th class="c-{escape(name)}">{escape(name)}</th>' for name in names)
    html = f'<tr><th>scenario</th><th class="unit">figure</th>{head}</tr>'
    for scenario in page.of_kind(*KIND_ORDER):
        found, figure = page.rows[scenario["name"]], RATIO_OF[scenario["kind"]]
        html += (f'<tr><th title="{escape(scenario["title"], True)}">{escape(scenario["name"])}</th>'
                 f'<td class="unit">{escape(micro(figure_name(scenario["kind"])))}</td>')
        html += "".join(f'<td class="{best(page, scenario, name)}">'
                        f'{number(found[name][figure]) if name in found else "-"}</td>' for name in names)
        html += "</tr>"
    return (f'<section><h2>At a glance</h2><p>Medians over the rounds; less is better in every line. The best proxy '
            f'of a line is marked: neither <em>direct</em> nor <em>null</em> is one.</p>'
            f'<div class="wide"><table class="glance">{html}</table></div></section>')


def best(page, scenario, name):
    figure, rows = RATIO_OF[scenario["kind"]], page.rows[scenario["name"]]
    values = {n: row[figure] for n, row in rows.items() if n not in ("direct", FLOOR) and row[figure] is not None}
    return "best" if values and name in values and values[name] == min(values.values()) else ""


def ratio_section(page):
    rows = []
    for scenario in page.of_kind(*KIND_ORDER):
        ours = page.rows[scenario["name"]].get(OURS)
        figure = RATIO_OF[scenario["kind"]]
        points = [(other, *found[figure]) for other, found in (ours["ratios"] if ours else {}).items()
                  if figure in found and other != "direct"]
        rows.append((scenario["name"], points))
    chart = charts.ratios(rows, "ringmain against each of the others")
    return section("ringmain against the others",
                   "ringmain's figure divided by the other's, taken round by round: the point is the median, the line "
                   "reaches from the least to the most. Left of 1 ringmain needs less. The figure is the one of the "
                   "table above.", [f'<figure class="whole">{chart}</figure>'] if chart else [])


def cpu_section(page):
    panels = [panel(s["title"], page.bars(s, "cpu_us_per_request", "µs", parts=True), busy_note(page, s))
              for s in page.of_kind(SATURATE)]
    return section("CPU per request",
                   "Processor time of all proxies on the way, from the scheduler's own account, for one request at "
                   "saturation. Where a bar has shades, full is the proxy on the caller's side, lighter the one on the "
                   "callee's, faint are ringmain's keepers.", panels)


def busy_note(page, scenario):
    rows = page.rows[scenario["name"]].values()
    idle = [f"{row['contestant']} {row['proxy_busy']:.0%}" for row in rows
            if row["cpu_us_per_request"] and row["proxy_busy"] is not None and row["proxy_busy"] < 0.9]
    return "The proxies' core was not full, so requests per second say less: " + ", ".join(idle) if idle else ""


def rate_section(page):
    panels = [panel(s["title"], page.bars(s, "requests_per_second", "/s")) for s in page.of_kind(SATURATE)]
    return section("Requests per second at saturation",
                   "Closed loop, one request in flight on each connection; all proxies of a contestant share one core.",
                   panels)


def latency_section(page):
    panels = []
    for scenario in page.of_kind(RATE):
        rate = next((row["rate"] for row in page.rows[scenario["name"]].values() if row["rate"]), None)
        panels.append(panel(f"{scenario['title']}: {number(rate)} requests/s",
                            charts.curves(page.curves[scenario["name"]], scenario["title"])))
    return section("Latency at fixed rates",
                   "Open loop: requests fall due at a constant rate whatever the answers do, and count from when they "
                   "were due, so that no slow answer hides the requests behind it. The curve of each contestant's "
                   "middle round.", panels)


def bulk_section(page):
    panels = []
    for scenario in page.of_kind(BULK):
        panels.append(panel(scenario["title"], page.bars(scenario, "gbit_per_second", "Gbit/s")))
        panels.append(panel(f"{scenario['title']}: CPU", page.bars(scenario, "cpu_us_per_mb", "µs/MB", parts=True)))
    return section("Bulk transfer", "Bytes from the origin to the caller, as many as will go.", panels)


def connect_section(page):
    panels = []
    for scenario in page.of_kind(CONNECT):
        panels.append(panel(scenario["title"], page.bars(scenario, "requests_per_second", "/s")))
        panels.append(panel(f"{scenario['title']}: CPU", page.bars(scenario, "cpu_us_per_request", "µs", parts=True)))
    return section("New connections", "A TCP connection for each exchange of 1 KB, "
                   "each with a mutual TLS connection of its own between the proxies.", panels)


def memory_section(page):
    panels = []
    for scenario in page.of_kind(IDLE):
        panels.append(panel(f"{scenario['title']}: {number(scenario['connections'])}",
                            page.bars(scenario, "bytes_per_connection", "bytes"),
                            "Resident memory for one connection through one proxy."))
        panels.append(panel(f"{scenario['title']}: with none open", page.bars(scenario, "rss_idle_kb", "MB", 1 / 1024),
                            "All processes of all proxies on the way."))
    return section("Memory", "Resident memory of the processes. Every connection has had one exchange.", panels)


def check_section(page):
    if not page.checks:
        return ""
    return (f"<section><h2>The load generator against others</h2><p>{escape(page.run['checked_on'])} in "
            "http_mtls_pair at saturation, under our generator and under those that everybody knows. When they agree, "
            "what is measured is the proxy.</p>" + table_of(checks_table_of(page.checks)) + "</section>")


def figures_section(page):
    body = ""
    for scenario in page.of_kind(*KIND_ORDER):
        columns = COLUMNS[scenario["kind"]]
        rows = [["", *(c[0] for c in columns), "errors", "rounds", "steal"]]
        for name, row in page.rows[scenario["name"]].items():
            cells = [spread_text(three(row, figure), scale) for _, figure, scale, _ in columns]
            steal = f"{row['steal_max']:.1%}" if row["steal_max"] is not None else "-"
            repeated = f" + {row['rounds_repeated']}" if row["rounds_repeated"] else ""
            rows.append([name, *cells, str(row["errors"]), f"{row['rounds']}{repeated}", steal])
        heading = f"{escape(scenario['title'])} <code>{escape(scenario['name'])}</code>"
        body += f"<h3>{heading}</h3>" + table_of(rows, "all")
        failures = [f"{name}: {row['failure']}" for name, row in page.rows[scenario["name"]].items() if row["failure"]]
        body += "".join(f'<pre class="failure">{escape(text)}</pre>' for text in failures)
    return ("<section><h2>All figures</h2><details><summary>Median, and least to most over the rounds; rounds that "
            f"were repeated because of steal behind a plus</summary>{body}"
            "</details></section>")


def story_section(page):
    run = page.run
    rows = [("command", run["command"]), ("begun", f"{run['begun']}, took {run['seconds'] / 60:.1f} minutes"),
            ("rounds", f"{run['rounds']} of {run['duration']:g} s after {run['warmup']:g} s of warm-up, contestants "
             f"in turn within each; repeated when others took more than {run['steal_max']:.0%} of the time"),
            ("ringmain", f"{run['revision']}, with BoringSSL: {run['boringssl']}"),
            *((name, version) for name, version in run["versions"].items() if version and name != OURS),
            *run["machine"].items()]
    html = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return f'<section><h2>How, and on what</h2><div class="wide"><table class="facts">{html}</table></div></section>'


# --- the page ----------------------------------------------------------------------------------------


def render(document):
    page = Page(document)
    run = page.run
    legend = "".join(f'<span class="c-{escape(name)}"><i></i><b>{escape(name)}</b></span>' for name in page.contestants())
    sections = [summary, ratio_section, cpu_section, rate_section, latency_section, bulk_section, connect_section,
                memory_section, check_section, figures_section, story_section]
    body = "".join(make(page) for make in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>ringmain bench, {escape(run['begun'])}</title>
<style>{STYLE.read_text()}</style></head>
<body><header><h1>ringmain bench</h1>
<p>{escape(run['begun'])} · {escape(run['machine']['processor'])} · {escape(run['machine']['kernel'])} ·
revision {escape(run['revision'])}{' · quick run' if run['quick'] else ''}</p></header>
<nav>{legend}</nav><main>{body}</main></body></html>
"""

