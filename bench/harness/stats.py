# SPDX-License-Identifier: Apache-2.0
"""What is made of the figures of several rounds. Pure: no clock, no file.

A round gives each contestant one figure; rounds are paired by their number, so that a ratio compares
what was measured within seconds of each other.
"""
import statistics


def spread(values):
    """(median, min, max) of the values that there are; three times None without any."""
    there = [value for value in values if value is not None]
    if not there:
        return None, None, None
    return statistics.median(there), min(there), max(there)


def ratios(ours, theirs):
    """Ours over theirs, round by round; None where a round lacks one of the two."""
    return [mine / other if mine is not None and other else None for mine, other in zip(ours, theirs)]


def steal_share(before, after):
    """The part of the busy time between two readings of /proc/stat's first line that somebody else on
    the same hardware took. A reading is {"user": ticks, ...}."""
    gone = {name: after[name] - before[name] for name in after}
    busy = sum(gone.values()) - gone["idle"] - gone["iowait"]
    return gone["steal"] / busy if busy > 0 else 0.0


def busy_share(before, after):
    """The part of the time between two readings that the processors were not idle."""
    gone = {name: after[name] - before[name] for name in after}
    whole = sum(gone.values())
    return 1 - (gone["idle"] + gone["iowait"]) / whole if whole > 0 else 0.0


def undisturbed(measure, limit, repeats):
    """Calls measure() until it gives a sample with no more steal than `limit`, at most 1 + repeats times.

    Returns the least disturbed sample and how many were thrown away. A sample has a member `steal`.
    """
    samples = [measure()]
    while samples[-1].steal > limit and len(samples) <= repeats:
        samples.append(measure())
    return min(samples, key=lambda sample: sample.steal), len(samples) - 1


def rotated(items, by):
    """The items in the same circle, begun elsewhere: nobody is always first."""
    items = list(items)
    by %= max(1, len(items))
    return items[by:] + items[:by]


def slowest(rates, share):
    """That share of the lowest of the rates, to three digits; None without any."""
    there = [rate for rate in rates if rate]
    return float(f"{min(there) * share:.3g}") if there else None
