# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG text. Colours come from the page: class "c-<contestant>" sets `color`."""
import math
from html import escape

from table import number

WIDTH = 560
LABEL, VALUE = 84, 128   # beside the bars: the name to the left, the figure to the right
ROW = 24


def svg(height, body, title, width=WIDTH):
    return (f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(title, True)}">'
            f"<title>{escape(title)}</title>{body}</svg>")


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


# --- bars -------------------------------------------------------------------------------------------


def bars(rows, title, unit=""):
    """Horizontal bars. A row is (contestant, median, min, max, parts): what processes the figure is made of,
    as {process: its part}, or nothing."""
    rows = [row for row in rows if row[1] is not None]
    top = max((row[3] for row in rows), default=0) or 1
    room = WIDTH - LABEL - VALUE
    pieces = []
    for place, row in enumerate(rows):
        y = place * ROW
        pieces.append(bar(row, y, room / top, unit))
    return svg(len(rows) * ROW + 4, "".join(pieces), title)


def bar(row, y, scale, unit):
    name, median, least, most, parts = row
    parts = {part: share for part, share in sorted(parts.items()) if share > 0} or {"": 1}
    x, body = float(LABEL), []
    for part, share in parts.items():
        length = share / sum(parts.values()) * median * scale
        body.append(f'<rect x="{x:.1f}" y="{y + 4}" width="{max(length, 0.8):.1f}" height="{ROW - 9}" '
                    f'class="fill" opacity="{shade(part)}"/>')
        x += length
    if most > least:
        middle = y + ROW / 2 - 0.5
        ends = LABEL + least * scale, LABEL + most * scale
        body.append(line(ends[0], middle, ends[1], middle, "whisker"))
        body += [line(end, middle - 3, end, middle + 3, "whisker") for end in ends]
    hover = f"{name}: {number(median)} {unit}, {number(least)} to {number(most)} over the rounds"
    at = LABEL + max(median, most) * scale + 7
    return (f'<g class="c-{name}"><title>{escape(hover)}</title>{text(LABEL - 8, y + 16, name, "name", "end")}'
            + "".join(body) + text(at, y + 16, f"{number(median)} {unit}".strip(), "figure") + "</g>")


def shade(part):
    """The caller's side is full, the callee's lighter, a keeper faint."""
    return 0.4 if "keeper" in part else 0.68 if part == "server" else 1


# --- latency ----------------------------------------------------------------------------------------

TICKS = [50, 90, 99, 99.9, 99.99]
PLOT = {"left": 56, "right": 84, "top": 10, "bottom": 32, "height": 300}


def percentile_place(percent):
    """Each further nine takes as much room as the one before."""
    return -math.log10(max(1e-5, 1 - percent / 100))


def time_text(us):
    return f"{us:g} µs" if us < 1000 else f"{us / 1000:g} ms" if us < 1e6 else f"{us / 1e6:g} s"


def decades(least, most):
    """1, 2, 5, 10 ... around a range."""
    marks = [digit * 10 ** power for power in range(0, 9) for digit in (1, 2, 5)]
    low = max((m for m in marks if m <= least), default=marks[0])
    high = min((m for m in marks if m >= most), default=marks[-1])
    return [m for m in marks if low <= m <= high]


def curves(of, title):
    """Latency by percentile, both axes logarithmic. `of`: {contestant: [[percent, us], ...]}."""
    of = {name: [(p, us) for p, us in points if p <= TICKS[-1] and us > 0] for name, points in of.items()}
    of = {name: points for name, points in of.items() if points}
    if not of:
        return ""
    marks = decades(min(us for points in of.values() for _, us in points),
                    max(us for points in of.values() for _, us in points))
    height = PLOT["height"]
    right, bottom = WIDTH - PLOT["right"], height - PLOT["bottom"]
    wide, tall = right - PLOT["left"], bottom - PLOT["top"]
    last, low, high = percentile_place(TICKS[-1]), math.log10(marks[0]), math.log10(marks[-1])

    def place(percent, us):
        return (PLOT["left"] + percentile_place(percent) / last * wide,
                bottom - (math.log10(us) - low) / max(high - low, 1e-9) * tall)

    body = []
    for mark in marks:
        y = place(0, mark)[1]
        body.append(line(PLOT["left"], y, right, y, "grid"))
        if str(mark)[0] == "1" or len(marks) < 8:
            body.append(text(PLOT["left"] - 6, y + 4, time_text(mark), "axis", "end"))
    for tick in TICKS:
        x = place(tick, marks[0])[0]
        body.append(line(x, PLOT["top"], x, bottom, "grid"))
        body.append(text(x, bottom + 16, f"{tick:g} %", "axis", "middle"))
    ends = []
    for name, points in of.items():
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(p, us) for p, us in points))
        ends.append((place(*points[-1]), name))
        body.append(f'<g class="c-{name}"><title>{escape(name)}</title>'
                    f'<polyline points="{path}" class="curve k-{name}"/></g>')
    body += end_labels(ends, bottom)
    return svg(height, "".join(body), title)


def end_labels(ends, bottom):
    """Names beside the ends of the lines, moved apart where they would meet."""
    labels, y = [], -1e9
    ends = sorted(ends, key=lambda end: end[0][1])
    overhang = len(ends) * 13
    for number_of, ((x, wanted), name) in enumerate(ends):
        y = max(y + 13, min(wanted, bottom - overhang + 13 * (number_of + 1)))
        labels.append(f'<g class="c-{name}">{line(x + 2, wanted, x + 9, y, "leader")}'
                      f'{text(x + 12, y + 4, name, "series")}</g>')
    return labels


# --- ratios -----------------------------------------------------------------------------------------

RATIO_MARKS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 4, 6, 8]


def ratios(rows, title, width=1120):
    """Points with their spread on a logarithmic axis. A row is (heading, [(contestant, median, min, max)])."""
    rows = [row for row in rows if row[1]]
    values = [v for _, points in rows for point in points for v in point[1:]]
    if not values:
        return ""
    low = max((m for m in RATIO_MARKS if m <= min(values) and m < 1), default=RATIO_MARKS[0])
    high = min((m for m in RATIO_MARKS if m >= max(values) and m > 1), default=RATIO_MARKS[-1])
    left, right, step = 190, width - 100, 15

    def place(value):
        inside = min(max(value, low), high)
        return left + math.log(inside / low) / math.log(high / low) * (right - left)

    heights = [len(points) * step + 16 for _, points in rows]
    bottom = sum(heights)
    body = [line(place(m), 4, place(m), bottom, "one" if m == 1 else "grid") for m in RATIO_MARKS if low <= m <= high]
    body += [text(place(m), bottom + 18, f"{m:g}", "axis", "middle") for m in RATIO_MARKS if low <= m <= high]
    y = 0
    for (heading, points), height in zip(rows, heights):
        body.append(line(0, y, right, y, "grid"))
        body.append(text(0, y + height / 2 + 4, heading, "name"))
        for place_in_row, point in enumerate(points):
            body.append(ratio_point(point, y + 8 + step * (place_in_row + 0.5), place))
        y += height
    return svg(bottom + 26, "".join(body), title, width)


def ratio_point(point, y, place):
    name, median, least, most = point
    hover = f"ringmain / {name}: {number(median)}, {number(least)} to {number(most)} over the rounds"
    x = place(median)
    words = f"{number(median)}  {name}"
    return (f'<g class="c-{name}"><title>{escape(hover)}</title>{line(place(least), y, place(most), y, "range")}'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="fill"/>'
            f'{text(place(most) + 9, y + 4, words, "figure")}</g>')
