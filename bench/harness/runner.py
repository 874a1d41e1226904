# SPDX-License-Identifier: Apache-2.0
"""The rounds: every contestant has its turn in every round, so that whatever changes on the machine
changes for all of them."""
import sys
import time
from dataclasses import replace

import generators
from machines import LabError
from measure import take_turn
from results import Outcome
from scenarios import IDLE, SATURATE, SCENARIOS
from stats import rotated, slowest, undisturbed

STEAL_MAX = 0.01      # of busy time; a round with more is repeated,
REPEATS_MAX = 2       # but not for ever
START_SECONDS = 0.6   # guesses for the first estimate of the time that is left
TURN_SECONDS = 0.25
IDLE_SECONDS = 1.5    # and a second for each 2000 connections
REPEATS_SHARE = 0.2   # of all turns: so many may be repeats
IDLE_ROUNDS_MAX = 3
CHECKED = "http_mtls_pair"  # where the generators are compared
CHECK_ROUNDS_MAX = 3


class Progress:
    """What is being done and how long it will take still, on one line of a terminal."""

    def __init__(self, expected):
        self.begun = time.monotonic()
        self.expected = expected  # seconds, all of it
        self.done = 0.0           # of those
        self.live = sys.stdout.isatty()

    def left(self):
        spent = time.monotonic() - self.begun
        pace = spent / self.done if self.done > 5 else 1.0
        return max(0.0, (self.expected - self.done) * pace)

    def show(self, text):
        if self.live:
            share = min(0.99, self.done / self.expected if self.expected else 0)
            print(f"\r\033[K[{share:4.0%}] {text}, {duration_text(self.left())} left", end="", flush=True)

    def clear(self):
        if self.live:
            print("\r\033[K", end="", flush=True)

    def say(self, text=""):
        self.clear()
        print(text, flush=True)


def duration_text(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def rounds_of(bench, scenario):
    return min(bench.rounds, 1 if bench.quick else IDLE_ROUNDS_MAX) if scenario.kind == IDLE else bench.rounds


def seconds_of(bench, scenario, contestants):
    """What a scenario will take, roughly."""
    turn = bench.duration + bench.warmup + TURN_SECONDS
    if scenario.kind == IDLE:
        turn = IDLE_SECONDS + scenario.connections / 2000
    seconds = len(contestants) * (START_SECONDS + rounds_of(bench, scenario) * turn)
    if scenario.name == CHECKED:
        seconds += len(generators.found()) * min(bench.rounds, CHECK_ROUNDS_MAX) * turn
    return seconds


class Runner:
    def __init__(self, bench, contestants, scenarios):
        self.bench = bench
        self.contestants = contestants
        self.scenarios = scenarios
        self.outcomes = []
        self.checks = {}  # generator: samples
        self.checked_on = None
        self.progress = Progress(sum(seconds_of(bench, s, self.fit(s)) for s in scenarios))
        self.repeats_left = round(REPEATS_SHARE * sum(rounds_of(bench, s) * len(self.fit(s)) for s in scenarios))

    def fit(self, scenario):
        """Memory can only be measured of something."""
        return [c for c in self.contestants if c.proxies or scenario.kind != IDLE]

    def outcome(self, name):
        return next((o for o in self.outcomes if o.scenario.name == name), None)

    def run(self, done):
        """Everything; calls done(outcome) after each scenario."""
        for number, scenario in enumerate(self.scenarios, 1):
            if not self.progress.live:
                self.progress.say(f"[{number}/{len(self.scenarios)}] {scenario.name}, "
                                  f"{duration_text(self.progress.left())} left")
            outcome = self.run_scenario(scenario)
            self.outcomes.append(outcome)
            self.progress.clear()
            done(outcome)

    def rate(self, scenario):
        """What the slowest proxy can do, times the scenario's share. Measured now if it was not before."""
        if not scenario.base:
            return None
        outcome = self.outcome(scenario.base)
        if not outcome:
            self.progress.show(f"{scenario.name}: finding the rate")
            base = replace(SCENARIOS[scenario.base], connections=scenario.connections)
            outcome = self.rounds(base, 1)
        proxies = [c.name for c in self.contestants if c.proxies] or [c.name for c in self.contestants]
        return slowest([outcome.median(name, "requests_per_second") for name in proxies], scenario.share)

    def run_scenario(self, scenario):
        before, expected = self.progress.done, seconds_of(self.bench, scenario, self.fit(scenario))
        outcome = self.rounds(scenario, rounds_of(self.bench, scenario), self.rate(scenario))
        self.progress.done = before + expected
        return outcome

    def rounds(self, scenario, count, rate=None):
        contestants = self.fit(scenario)
        outcome = Outcome(scenario, [c.name for c in contestants], rate)
        if scenario.base and rate is None:
            for contestant in contestants:
                outcome.fail(contestant.name, f"{scenario.base} gave no rate")
            return outcome
        try:
            if scenario.kind != IDLE:
                self.start_all(scenario, contestants, outcome)
            for number in range(count):
                for contestant in rotated(contestants, number):
                    self.progress.show(f"{scenario.name}, round {number + 1} of {count}, {contestant.name}")
                    self.turn(scenario, contestant, outcome, rate)
            if scenario in self.scenarios:
                self.check(scenario, contestants, outcome)
        finally:
            for contestant in contestants:
                contestant.stop()
        return outcome

    def start_all(self, scenario, contestants, outcome):
        for contestant in contestants:
            self.progress.show(f"{scenario.name}, starting {contestant.name}")
            self.start(scenario, contestant, outcome)
            self.progress.done += START_SECONDS

    @staticmethod
    def start(scenario, contestant, outcome):
        try:
            contestant.start(scenario)
        except (LabError, OSError) as error:
            outcome.failures[contestant.name] = f"did not start: {error}"

    def turn(self, scenario, contestant, outcome, rate):
        """One round of one contestant. Memory is measured of a process that has done nothing yet."""
        begun = time.monotonic()
        if scenario.kind == IDLE:
            self.start(scenario, contestant, outcome)
        if contestant.name in outcome.failures:
            outcome.fail(contestant.name, "")
            return
        repeats = 0 if scenario.kind == IDLE else min(REPEATS_MAX, self.repeats_left)
        try:
            sample, thrown_away = undisturbed(
                lambda: take_turn(self.bench, contestant, scenario, rate), STEAL_MAX, repeats)
            self.repeats_left -= thrown_away
            outcome.add(contestant.name, sample, thrown_away)
        except LabError as error:
            outcome.fail(contestant.name, f"{error}\n{contestant.logs()}".strip())
        if scenario.kind == IDLE:
            contestant.stop()
        self.progress.done += time.monotonic() - begun

    # --- the generators ----------------------------------------------------------------------------

    def check(self, scenario, contestants, outcome):
        """The same proxy once more under each generator, ours among them."""
        able = [c for c in contestants if c.proxies and c.name not in outcome.failures]
        if scenario.name != CHECKED or not able or self.checks or not generators.found():
            return
        contestant = next((c for c in able if c.name == "ringmain"), able[0])
        self.checked_on = contestant.name
        names = ["load", *generators.found()]
        self.checks = {name: [] for name in names}
        for number in range(min(self.bench.rounds, CHECK_ROUNDS_MAX)):
            for name in rotated(names, number):
                self.progress.show(f"{scenario.name}, {contestant.name} under {name}")
                try:
                    sample = generators.take_turn_with(self.bench, contestant, scenario, name)
                    self.checks[name].append(sample)
                except LabError as error:
                    self.progress.say(f"    {error}")
