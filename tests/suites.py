# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the suites for tests/run, which installs the packages first and says how to call.

A suite that cannot run at all (a build that fails, a pytest that crashes, an area without tests)
counts as one failed test, never as nothing.
"""
import argparse
import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import NamedTuple

import lanes
from lanes import Job

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PYTHON = "/usr/bin/python3"
SUITES = ["tidy", "unit", "fuzz", "scenario"]
# Sanitizers make gcc warn of what cannot happen; warnings are errors in the other builds.
SANITIZE = ["-Ddebug=true", "-Doptimization=1", "-Dwerror=false",
            "-Db_sanitize=address,undefined", "-Db_lundef=false"]
FUZZ_SECONDS = 5       # for each target
JOB_SECONDS = 15 * 60  # for each job of scenarios
PATIENCE = 2           # tests' limits of time are so many times as long: other tests run beside them
# What runs on its own in the scenarios, an area or a file of one: about how many seconds it takes on a quiet
# computer, and how much of a processor meanwhile. Of an area that has a file here each file is on its own.
COSTS = {
    "authz/test_tokens": (60, 0.4),
    "attack/test_cves": (28, 0.5),
    "attack/test_differential": (40, 0.9),
    "attack/test_fail_closed": (40, 0.4),
    "authz/test_explain": (30, 0.5),
    "authz/test_live": (30, 0.5),
    "authz/test_many": (8, 0.9),
    "authz/test_modes": (12, 0.6),
    "authz/test_suggest": (10, 0.6),
    "authz/test_agreement": (10, 0.6),
    "authz/test_namespaces": (60, 0.5),
    "balance/test_balance": (14, 0.4),
    "balance/test_ejection": (40, 0.3),
    "balance/test_kinds": (15, 0.4),
    "balance/test_outliers": (14, 0.4),
    "balance/test_values": (30, 0.4),
    "balance/test_zones": (40, 0.4),
    "bench/test_bench_load": (20, 0.6),
    "bench/test_bench_null": (9, 1),
    "bench/test_bench_origin": (1, 1),
    "bench/test_fleet": (40, 0.3),
    "bench/test_peers": (22, 0.7),
    "bench/test_run": (25, 0.8),
    "bench/test_statistics": (1, 1),
    "ca": (45, 0.5),
    "commands": (2, 1),
    "detect": (9, 0.3),
    "direct": (15, 1),
    "harness": (45, 0.4),
    "http": (10, 1),
    "identity/test_files": (50, 0.4),
    "identity/test_join": (5, 0.5),
    "identity/test_keys": (20, 0.6),
    "identity/test_kill": (55, 0.4),
    "identity/test_other_authority": (50, 0.4),
    "identity/test_outage": (65, 0.3),
    "identity/test_revocation": (18, 0.5),
    "identity/test_rotation": (40, 0.8),
    "identity/test_served": (20, 0.4),
    "limits": (45, 0.4),
    "load": (25, 1),
    "local": (2, 0.8),
    "mtls": (35, 0.5),
    "observability": (30, 0.3),
    "outbound/test_external": (14, 0.5),
    "outbound/test_published": (8, 0.4),
    "outbound/test_unknown": (4, 0.5),
    "process": (60, 0.5),
    "publish": (30, 0.5),
    "ratelimit/test_local": (35, 0.5),
    "ratelimit/test_mesh": (110, 0.8),
    "ratelimit/test_told": (8, 0.4),
    "ratelimit/test_published": (8, 0.5),
    "redirect/test_capture": (13, 0.4),
    "redirect/test_down": (35, 0.5),
    "redirect/test_guard": (18, 0.5),
    "redirect/test_install": (28, 0.7),
    "redirect/test_watch": (30, 0.4),
    "reload": (45, 0.6),
    "resilience/test_breakers": (20, 0.5), "resilience/test_retries": (20, 0.6),
    "resilience/test_timeouts": (18, 0.3),
    "resilience/test_trouble": (6, 0.8), "resilience/test_under_way": (20, 0.5),
    "rollout/test_carrier": (140, 0.4),
    "rollout/test_commands": (25, 0.5),
    "rollout/test_division": (40, 0.4),
    "rollout/test_orders": (45, 0.4),
    "rollout/test_steps": (80, 0.4),
    "routes/test_edits": (20, 0.6),
    "routes/test_live": (25, 0.5),
    "routes/test_matches": (10, 0.4),
    "routes/test_mirror": (30, 0.4),
    "routes/test_routes": (22, 0.3),
    "routes/test_splits": (20, 0.6),
    "state/test_access": (2, 0.8),
    "state/test_connection": (75, 0.3),
    "state/test_discovery": (43, 0.3),
    "state/test_failover": (60, 0.4),
    "state/test_health": (35, 0.3),
    "state/test_objects": (55, 0.3),
    "state/test_outage": (110, 0.3),
    "state/test_restart": (90, 0.3),
    "state/test_silence": (50, 0.2),
    "state/test_unreadable": (14, 0.4),
    "store": (13, 0.3),
    "systemd": (1, 1),
    "tcp": (3, 0.8),
}
COST_UNKNOWN = 60, 0.5
FUZZ_SHARE = 0.8       # at a lower priority than all else
SAID_LINES = 15        # of what a failure said, once more at the end; of each so many characters:
SAID_LINE_MAX = 300
INPUT_BYTES_MAX = 4096  # an input that a fuzz target fails on is shown, too, unless it is larger
FAULT = re.compile(r"runtime error: |ERROR: |assertion failed|\[  ERROR   \]")  # a sanitizer's, ours, cmocka's
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


class Failure(NamedTuple):
    name: str
    said: str = ""  # the lines to read first


class Tally:
    def __init__(self):
        self.passed, self.failures = 0, []

    def add(self, passed, failures):
        self.passed += passed
        self.failures += failures


def say(text):
    print(f"== {text}", flush=True)


def clipped(lines):
    return "\n".join(line[:SAID_LINE_MAX] for line in lines)


def last_of(text):
    return clipped(text.rstrip().splitlines()[-SAID_LINES:])


def fault_of(text):
    """What a sanitizer, an assertion or a test in C complains of first, with what follows."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if FAULT.search(line)), None)
    return last_of(text) if first is None else clipped(lines[first:first + SAID_LINES])


def tell(failure):
    """Once more: of a long run often only the end is kept."""
    print(f"-- failed: {failure.name}\n{failure.said}".rstrip(), flush=True)


def call(*command, timeout=None, env=None, quiet=False):
    """Runs a command in a process group of its own; its exit status, or -1 when time ran out, and what it
    said. Quiet output is shown only when the command fails; other goes to the terminal, and is not kept."""
    output = subprocess.PIPE if quiet else None
    process = subprocess.Popen([str(w) for w in command], cwd=ROOT, start_new_session=True, text=True,
                               errors="replace", env=dict(os.environ, **(env or {})), stdout=output,
                               stderr=subprocess.STDOUT if quiet else None)
    try:
        text, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        say(f"killed after {timeout} s: {command[0]}")
        return -1, text or ""
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise
    if quiet and process.returncode != 0:
        print(text[-12000:], flush=True)
    return process.returncode, text or ""


class Builds:
    """Build directories, each made once, when first asked for. `said`: by the last that did not build."""

    def __init__(self):
        self.done, self.said = {}, ""

    def get(self, name, options, env=None, only=None):
        """The directory, or None when it does not build. `only`: a pattern of targets to build."""
        if name not in self.done:
            self.done[name] = self.make(BUILD / name, options, env, only)
        return self.done[name]

    def make(self, directory, options, env, only):
        start = time.monotonic()
        if not (directory / "build.ninja").exists():
            if not self.command("meson", "setup", directory, *options, env=env):
                return None
        targets = []
        if only:
            listed = subprocess.run(["ninja", "-C", str(directory), "-t", "targets", "all"], text=True,
                                    stdout=subprocess.PIPE).stdout
            targets = re.findall(only, listed, re.M)
        if not self.command("ninja", "-C", directory, *targets):
            return None
        say(f"built {directory.relative_to(ROOT)} in {time.monotonic() - start:.0f} s")
        return directory

    def command(self, *command, env=None):
        status, text = call(*command, env=env, quiet=True)
        if status != 0:
            self.said = last_of(text)
        return status == 0

    def sanitized(self):
        return self.get("test", SANITIZE)

    def release(self):
        return self.get("release", ["-Dbuildtype=release", "-Dtests=false"])

    def fuzzed(self):
        return self.get("fuzz", [*SANITIZE, "-Dfuzz=true", "-Dc_args=-fsanitize=fuzzer-no-link"],
                        {"CC": "clang", "CXX": "clang++"}, only=r"^(tests/fuzz/fuzz_\w+): ")


# --- the suites --------------------------------------------------------------------------------------


def suite_tidy(builds, tally):
    build = builds.sanitized()
    outcome = BUILD / "tidy.json"
    outcome.unlink(missing_ok=True)
    words = ["--build", build] if build else []
    outcome.parent.mkdir(exist_ok=True)
    status, _ = call(PYTHON, "tests/tidy", *words, "--json", outcome)
    rules = json.loads(outcome.read_text()) if outcome.exists() else {}
    failed = [Failure(f"tidy: {name}", last_of("\n".join(places))) for name, places in rules.items() if places]
    if status != 0 and not failed:
        failed = [Failure("tidy did not finish")]
    tally.add(sum(not places for places in rules.values()), failed)


def meson_suite(builds, tally, suite):
    build = builds.sanitized()
    if not build:
        tally.add(0, [Failure(f"{suite}: the sanitized build", builds.said)])
        return
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    status, _ = call("meson", "test", "-C", build, "--suite", suite, "--no-rebuild", "--print-errorlogs",
                     "--timeout-multiplier", "3", env=SANITIZER_OPTIONS)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    passed = [r for r in rows if r["result"] in ("OK", "EXPECTEDFAIL", "SKIP")]
    failed = [Failure(r["name"], fault_of(r.get("stdout", "") + r.get("stderr", ""))) for r in rows if r not in passed]
    if not rows or (status != 0 and not failed):
        failed.append(Failure(f"{suite}: meson test (exit status {status}, {len(rows)} tests)"))
    tally.add(len(passed), failed)


def suite_unit(builds, tally):
    meson_suite(builds, tally, "unit")


def fuzz_input(text):
    """The input that a target failed on, to be made a file again by base64 -d."""
    shown = []
    for path in map(Path, re.findall(r"Test unit written to (\S+)", text)):
        content = path.read_bytes() if path.exists() else b""
        shown.append(f"{path.name}, {len(content)} bytes" + (
            f": {base64.b64encode(content).decode()}" if len(content) <= INPUT_BYTES_MAX else ""))
    return "\n".join(shown)


def fuzz_job(target, tally):
    name = target.name.removeprefix("fuzz_")
    found = BUILD / "fuzz" / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    corpora = [d for d in (ROOT / "tests/fuzz/corpus" / name, ROOT / "tests/fuzz/corpus" / target.name)
               if d.is_dir()]

    def ended(job):
        ok, text = job.process.returncode == 0, job.text()
        say(f"fuzzed {name}")
        tally.add(ok, [] if ok else [Failure(f"fuzz: {target.name}", f"{fault_of(text)}\n{fuzz_input(text)}")])
    return Job(f"fuzz {name}", ["nice", "-n", "10", target, f"-max_total_time={FUZZ_SECONDS}", "-print_final_stats=0", "-timeout=10",
                                f"-artifact_prefix={found}/crash-", found, *corpora], ended, share=FUZZ_SHARE,
               seconds=FUZZ_SECONDS,
               timeout=FUZZ_SECONDS * PATIENCE + 60, env=SANITIZER_OPTIONS, quiet=True)


def suite_fuzz(builds, tally):
    meson_suite(builds, tally, "fuzz")
    build = builds.fuzzed()
    targets = sorted(p for p in (build / "tests" / "fuzz").glob("fuzz_*")
                     if p.is_file() and os.access(p, os.X_OK)) if build else []
    if not targets:
        tally.add(0, [Failure("fuzz: no targets were built", builds.said)])
    return [fuzz_job(target, tally) for target in targets]


def scenario_areas():
    directory = ROOT / "tests" / "scenario"
    return sorted(p.name for p in directory.iterdir() if p.is_dir() and any(p.glob("test_*.py")))


def scenario_jobs(area):
    """What runs on its own: an area, or its files when COSTS has them."""
    files = sorted(p.stem for p in (ROOT / "tests" / "scenario" / area).glob("test_*.py"))
    return [f"{area}/{name}" for name in files] if any(c.startswith(f"{area}/") for c in COSTS) else [area]


def scenario_job(name, build, release, directory, tally):
    outcome = BUILD / f"scenario-{name.replace('/', '-')}.xml"
    outcome.unlink(missing_ok=True)
    binary = Path("src") / "daemon" / "ringmain"
    env = {"RINGMAIN_BUILD": str(build), "RINGMAIN": str(build / binary), "PYTHONDONTWRITEBYTECODE": "1",
           "RINGMAIN_PATIENCE": str(PATIENCE)}
    if release:
        env["RINGMAIN_RELEASE"] = str(release / binary)
    path = ROOT / "tests" / "scenario" / (f"{name}.py" if "/" in name else name)
    temporary = Path(directory) / name.replace("/", "-")
    temporary.mkdir()

    def ended(job):
        passed, failed = read_junit(outcome, name)
        status = job.process.returncode
        if status not in (0, 1) or (status == 1 and not failed):
            failed.append(Failure(f"scenario/{name}: pytest (exit status {status})", last_of(job.text())))
        tally.add(passed, failed)
        say(f"scenario/{name}: {passed} passed, {len(failed)} failed, {job.elapsed():.0f} s, "
            f"{job.cpu:.0f} s of a processor")
    seconds, share = COSTS.get(name, COST_UNKNOWN)
    return Job(f"scenario/{name}", [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short", "-rfEs",
                                    f"--rootdir={ROOT / 'tests' / 'scenario'}", f"--junitxml={outcome}",
                                    f"--basetemp={temporary}/pytest", path],
               ended, share=share, seconds=seconds, timeout=JOB_SECONDS, env=env, network=True)


def read_junit(path, area):
    try:
        cases = list(xml.parse(path).getroot().iter("testcase"))
    except (FileNotFoundError, xml.ParseError):
        return 0, []
    passed, failed = 0, []
    for case in cases:
        wrong = [e.text or "" for e in (case.find("failure"), case.find("error")) if e is not None]
        if wrong:
            failed.append(Failure(f"scenario/{area}: {case.get('name')}", last_of("\n".join(wrong))))
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed


def suite_scenario(builds, tally, areas, directory):
    build, release = builds.sanitized(), builds.release()
    if not build or not release:
        tally.add(0, [Failure("scenario: a build", builds.said)])
    if not build:
        return []
    return [scenario_job(name, build, release, directory, tally) for area in areas for name in scenario_jobs(area)]


def jobs_of(suite, builds, tally, areas, directory):
    """Runs a suite; what of it can run beside others is returned."""
    try:
        if suite == "scenario":
            return suite_scenario(builds, tally, areas, directory)
        return globals()[f"suite_{suite}"](builds, tally) or []
    except Exception as error:  # a suite that breaks is a failure, not the end of the others
        tally.add(0, [Failure(f"{suite}: {error!r}")])
        return []


def main():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--suite", action="append", metavar="NAME",
                        help="tidy, unit, fuzz, scenario, or scenario/<area>; all when not given")
    wanted = parser.parse_args().suite or SUITES
    areas = [w.split("/", 1)[1] for w in wanted if w.startswith("scenario/")]
    unknown = [w for w in wanted if w not in SUITES and w.split("/", 1)[-1] not in scenario_areas()]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)} and "
                     + ", ".join(f"scenario/{a}" for a in scenario_areas()))
    builds, start, suites = Builds(), time.monotonic(), {name: Tally() for name in SUITES}
    for number in (signal.SIGTERM, signal.SIGINT):  # SIGINT too: a shell's background commands ignore it, and so would tests
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="ringmain-tests-") as directory:
        jobs = []
        for name in SUITES:
            if name in wanted or (name == "scenario" and areas):
                say(f"suite {name}")
                jobs += jobs_of(name, builds, suites[name], scenario_areas() if name in wanted else areas, directory)
        if jobs:
            say(f"{len(jobs)} jobs on {lanes.CORES} processors")
            try:
                lanes.run(jobs, ROOT)
            except Exception as error:
                suites["scenario"].add(0, [Failure(f"jobs side by side: {error!r}")])
    failures = [failure for tally in suites.values() for failure in tally.failures]
    for failure in failures:
        tell(failure)
    for name, tally in suites.items():
        if tally.passed or tally.failures:
            say(f"suite {name}: {tally.passed} passed, {len(tally.failures)} failed")
    for failure in failures:
        print(f"failed: {failure.name}")
    passed, failed = sum(tally.passed for tally in suites.values()), len(failures)
    say(f"{time.monotonic() - start:.0f} s in all")
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
