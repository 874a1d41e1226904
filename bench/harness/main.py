# SPDX-License-Identifier: Apache-2.0
"""The bench behind bench/run: ringmain against a null relay and against HAProxy, nginx and Envoy.

Reads the arguments, builds, has runner.py take the rounds, writes the results. bench/README.md says how the
figures are to be read.
"""
import argparse
import contextlib
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "harness"), str(ROOT / "bench"), str(ROOT / "conf" / "demo")]
sys.dont_write_bytecode = True

import facts  # noqa: E402
import generators  # noqa: E402
import report  # noqa: E402
import results  # noqa: E402
import table  # noqa: E402
from authority import Authority  # noqa: E402
from contestants import (LARGE, RULES, Direct, LargeRingmain, Null, PeerContestant,  # noqa: E402
                         Ringmain, RuledRingmain)
from machines import LabError, sweep  # noqa: E402
from options import UsageError, add_places, build_release, end_in_order, positive, say  # noqa: E402
from runner import STEAL_MAX, Runner, duration_text  # noqa: E402
from scenarios import CALLER, CONNECT, IDLE, RATE, SATURATE, SCENARIOS, SERVICES  # noqa: E402

PEERS = ("haproxy", "nginx", "envoy")
# Only when asked for. The same peer with HTTP/1.1 between the machines too, as ringmain has it; and ringmain
# with a thousand services, or with few and with very many rules.
PEER_VARIANTS = {"haproxy-h1": "haproxy", "envoy-h1": "envoy"}
VARIANTS = [*PEER_VARIANTS, LARGE, *RULES]
OWN = ("direct", "null", "ringmain")
PROGRAMS = {"ringmain": "src/daemon/ringmain", "load": "bench/load", "origin": "bench/origin", "null": "bench/null"}
FULL = {"rounds": 5, "duration": 2.0, "warmup": 0.5, "idle": 10_000}
QUICK = {"rounds": 2, "duration": 0.5, "warmup": 0.2, "idle": 2_000}
FILES_MAX, FILES_SPARE = 1 << 18, 700


class Bench:
    """What all turns share: programs, certificates, cores, times."""

    def __init__(self, options, build, authority):
        preset = QUICK if options.quick else FULL
        self.quick = options.quick
        self.build = build
        self.authority = authority
        self.cores = facts.cores_choose()
        self.rounds = options.rounds or preset["rounds"]
        self.duration = options.duration or preset["duration"]
        self.warmup = min(preset["warmup"], self.duration)

    def program(self, name):
        return self.build / PROGRAMS[name] if name in PROGRAMS else name


# --- arguments -------------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measures ringmain against a null relay and against the proxies that are "
        "installed here. Without arguments: everything, in less than 30 minutes.",
        epilog="Scenarios: " + ", ".join(SCENARIOS) + ". bench/README.md says what they are and how to read the "
        "figures.")
    parser.add_argument("--quick", action="store_true", help="the main scenarios only, short: less than 3 minutes")
    parser.add_argument("--scenario", metavar="A,B", help="only these scenarios")
    parser.add_argument("--contestants", metavar="A,B", help="only these: " + ", ".join([*OWN, *PEERS]) +
                        "; or " + ", ".join(VARIANTS))
    parser.add_argument("--peers", action="store_true", help="say which peers are here, and what brings the others")
    parser.add_argument("--rounds", type=positive(int), metavar="N", help="turns of each contestant in a scenario")
    parser.add_argument("--duration", type=positive(float), metavar="S", help="seconds of one turn")
    parser.add_argument("--connections", type=positive(int), metavar="N", help="instead of 64, where it is 64")
    parser.add_argument("--report", type=Path, metavar="JSON", help="make the report of a run's file again, beside it")
    add_places(parser)
    return parser.parse_args()


def chosen(text, known, what):
    """The names in "a,b" in the order of `known`; UsageError for one that is unknown."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"there is no {what} {name!r}; there are {', '.join(known)}")
    if not names:
        raise UsageError(f"no {what} is named; there are {', '.join(known)}")
    return [name for name in known if name in names]


def chosen_scenarios(options):
    preset = QUICK if options.quick else FULL
    if options.scenario:
        names = chosen(options.scenario, SCENARIOS, "scenario")
    else:
        names = [name for name, s in SCENARIOS.items() if s.quick or not options.quick]
    return [adjusted(SCENARIOS[name], preset, options.connections) for name in names]


def adjusted(scenario, preset, connections):
    if scenario.kind == IDLE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 3 // 8 - FILES_SPARE
        return replace(scenario, connections=min(preset["idle"], most))
    if connections and scenario.kind in (SATURATE, RATE, CONNECT):
        return replace(scenario, connections=connections)
    return scenario


# --- peers -----------------------------------------------------------------------------------------


def peers():
    return {name: importlib.import_module(f"peers.{name}").Peer() for name in PEERS}


def peer_variant(name):
    peer = importlib.import_module(f"peers.{PEER_VARIANTS[name]}").Peer(hop="http/1.1")
    peer.name = name
    return peer


def peers_show():
    for peer in peers().values():
        path = peer.find()
        say(f"  {peer.name:8} " + (f"{peer.version()}, {path}" if path else f"not here; {peer.package} brings it"))
    for name in generators.KNOWN:
        here = name in generators.found()
        say(f"  {name:8} " + ("for the check of the load generator" if here else
                              f"not here; the Debian package {generators.PACKAGES[name]} brings it"))
    say("bench/install installs what Debian has of these.")


def chosen_contestants(options, bench):
    """ringmain and its measures first; a peer that is missing is left out, and said so, unless it was
    asked for."""
    known = [*OWN, *PEERS, *VARIANTS]
    wanted = chosen(options.contestants, known, "contestant") if options.contestants else [*OWN, *PEERS]
    makers = {"direct": lambda: Direct(bench, "direct"), "null": lambda: Null(bench, "null"),
              "ringmain": lambda: Ringmain(bench), LARGE: lambda: LargeRingmain(bench),
              **{name: lambda name=name: RuledRingmain(bench, name) for name in RULES}}
    contestants = [makers[name]() for name in wanted if name in makers]
    there = peers()
    for name in (name for name in wanted if name not in makers):
        peer = there[name] if name in there else peer_variant(name)
        if peer.find():
            contestants.append(PeerContestant(bench, peer))
        elif options.contestants:
            raise UsageError(f"{name} is not on this machine; {peer.package} brings it")
        else:
            say(f"without {name}, which is not on this machine: {peer.package} brings it")
    return contestants


# --- the whole -------------------------------------------------------------------------------------


def show_outcome(outcome):
    scenario = outcome.scenario
    more = f", {scenario.connections} connections" if scenario.kind in (SATURATE, RATE, CONNECT, IDLE) else ""
    say(f"\n{scenario.name}: {scenario.title}{more}\n")
    for line in table.laid_out(table.outcome_table(outcome)):
        say(line)
    for note in table.notes(outcome):
        say(f"    {note}")


def show_checks(runner):
    if not runner.checks:
        return
    say(f"\nThe load generator against others, {runner.checked_on} in http_mtls_pair at saturation\n")
    for line in table.laid_out(table.checks_table(runner.checks)):
        say(line)


def report_again(path):
    try:
        page = report.render(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"bench/run: {path} is no file of a run, such as bench/results/<time>.json: {error}", file=sys.stderr)
        return 2
    path.with_suffix(".html").write_text(page)
    say(f"written: {path.with_suffix('.html')}")
    return 0


def story(bench, contestants, runner, options, begun):
    """Everything of a run but its figures."""
    return {
        "begun": time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(begun)),
        "seconds": round(time.time() - begun),
        "command": " ".join(["bench/run", *sys.argv[1:]]),
        "quick": options.quick,
        "rounds": bench.rounds, "duration": bench.duration, "warmup": bench.warmup,
        "steal_max": STEAL_MAX,
        "revision": facts.revision(),
        "boringssl": facts.boringssl(bench.build),
        "machine": facts.machine_facts(bench.cores),
        "versions": {c.name: c.version() for c in contestants},
        "checked_on": runner.checked_on,
    }


def run(options):
    scenarios = chosen_scenarios(options)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringmain-bench-")))
        bench = Bench(options, None, None)
        contestants = chosen_contestants(options, bench)
        bench.build = build_release(options.build, PROGRAMS.values())
        begun = time.time()
        bench.authority = Authority(directory, bench.program("ringmain"), [CALLER, *SERVICES])
        if bench.cores.note:
            say(f"note: {bench.cores.note}")
        os.sched_setaffinity(0, bench.cores.load)  # our own little work is not the proxies' business
        for contestant in contestants:
            stack.callback(contestant.close)
            contestant.open()
        runner = Runner(bench, contestants, scenarios)
        say(f"{len(scenarios)} scenarios, {', '.join(c.name for c in contestants)}; {bench.rounds} rounds of "
            f"{bench.duration:g} s: about {duration_text(runner.progress.expected)}")
        runner.run(show_outcome)
        show_checks(runner)
        told = story(bench, contestants, runner, options, begun)
    files = results.write(options.output, told, runner)
    say("\nwritten: " + ", ".join(str(file) for file in files))
    return 1 if any(outcome.failures for outcome in runner.outcomes) else 0


def files_raise():
    """As many open files as there may be: an idle connection takes two of a proxy."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, FILES_MAX), max(hard, FILES_MAX)))
    except ValueError:  # root without that privilege, as in some containers
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    options = arguments()
    if options.peers:
        peers_show()
        return 0
    if options.report:
        return report_again(options.report)
    end_in_order()
    for lab in sweep():
        say(f"removed what an earlier run ({lab}) left behind")
    files_raise()
    try:
        return run(options)
    except UsageError as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2
    except LabError as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nended; everything is taken down, nothing is written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
