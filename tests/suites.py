# SPDX-License-Identifier: Apache-2.0
"""Builds and runs the suites for tests/run, which installs the packages first and says how to call.

A suite that cannot run at all (a build that fails, a pytest that crashes, an area without tests)
counts as one failed test, never as nothing.
"""
import argparse
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

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PYTHON = "/usr/bin/python3"
SUITES = ["tidy", "unit", "fuzz", "scenario"]
# Sanitizers make gcc warn of what cannot happen; warnings are errors in the other builds.
SANITIZE = ["-Ddebug=true", "-Doptimization=1", "-Dwerror=false",
            "-Db_sanitize=address,undefined", "-Db_lundef=false"]
FUZZ_SECONDS = 5       # for each target
AREA_SECONDS = 15 * 60  # for each directory of scenarios
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


class Tally:
    def __init__(self):
        self.passed, self.failed, self.names = 0, 0, []

    def add(self, passed, failed_names):
        self.passed += passed
        self.failed += len(failed_names)
        self.names += failed_names


def say(text):
    print(f"== {text}", flush=True)


def call(*command, timeout=None, env=None, quiet=False):
    """Runs a command in a process group of its own; its exit status, or -1 when time ran out. Quiet
    output is shown only when the command fails."""
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
        return -1
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise
    if quiet and process.returncode != 0:
        print(text[-12000:], flush=True)
    return process.returncode


class Builds:
    """Build directories, each made once, when first asked for."""

    def __init__(self):
        self.done = {}

    def get(self, name, options, env=None, only=None):
        """The directory, or None when it does not build. `only`: a pattern of targets to build."""
        if name not in self.done:
            self.done[name] = self.make(BUILD / name, options, env, only)
        return self.done[name]

    @staticmethod
    def make(directory, options, env, only):
        start = time.monotonic()
        if not (directory / "build.ninja").exists():
            if call("meson", "setup", directory, *options, env=env, quiet=True) != 0:
                return None
        targets = []
        if only:
            listed = subprocess.run(["ninja", "-C", str(directory), "-t", "targets", "all"], text=True,
                                    stdout=subprocess.PIPE).stdout
            targets = re.findall(only, listed, re.M)
        if call("ninja", "-C", directory, *targets, quiet=True) != 0:
            return None
        say(f"built {directory.relative_to(ROOT)} in {time.monotonic() - start:.0f} s")
        return directory

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
    status = call(PYTHON, "tests/tidy", *words, "--json", outcome)
    rules = json.loads(outcome.read_text()) if outcome.exists() else {}
    failed = [f"tidy: {name}" for name, ok in rules.items() if not ok]
    if status != 0 and not failed:
        failed = ["tidy did not finish"]
    tally.add(sum(rules.values()), failed)


def meson_suite(builds, tally, suite):
    build = builds.sanitized()
    if not build:
        tally.add(0, [f"{suite}: the sanitized build"])
        return
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    status = call("meson", "test", "-C", build, "--suite", suite, "--no-rebuild", "--print-errorlogs",
                  "--timeout-multiplier", "3", env=SANITIZER_OPTIONS)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    passed = [r for r in rows if r["result"] in ("OK", "EXPECTEDFAIL", "SKIP")]
    failed = [r["name"] for r in rows if r not in passed]
    if not rows or (status != 0 and not failed):
        failed.append(f"{suite}: meson test (exit status {status}, {len(rows)} tests)")
    tally.add(len(passed), failed)


def suite_unit(builds, tally):
    meson_suite(builds, tally, "unit")


def suite_fuzz(builds, tally):
    meson_suite(builds, tally, "fuzz")
    build = builds.fuzzed()
    targets = sorted(p for p in (build / "tests" / "fuzz").glob("fuzz_*")
                     if p.is_file() and os.access(p, os.X_OK)) if build else []
    if not targets:
        tally.add(0, ["fuzz: no targets were built"])
    for target in targets:
        name = target.name.removeprefix("fuzz_")
        found = BUILD / "fuzz" / "found" / name
        found.mkdir(parents=True, exist_ok=True)
        corpora = [d for d in (ROOT / "tests/fuzz/corpus" / name, ROOT / "tests/fuzz/corpus" / target.name)
                   if d.is_dir()]
        say(f"fuzzing {name} for {FUZZ_SECONDS} s")
        status = call(target, f"-max_total_time={FUZZ_SECONDS}", "-print_final_stats=0", "-timeout=10",
                      f"-artifact_prefix={found}/crash-", found, *corpora, timeout=FUZZ_SECONDS + 60,
                      env=SANITIZER_OPTIONS, quiet=True)
        tally.add(status == 0, [] if status == 0 else [f"fuzz: {target.name}"])


def scenario_areas():
    directory = ROOT / "tests" / "scenario"
    return sorted(p.name for p in directory.iterdir() if p.is_dir() and any(p.glob("test_*.py")))


def run_area(area, build, release, tally):
    outcome = BUILD / f"scenario-{area}.xml"
    outcome.unlink(missing_ok=True)
    start = time.monotonic()
    binary = Path("src") / "daemon" / "ringmain"
    env = {"RINGMAIN_BUILD": str(build), "RINGMAIN": str(build / binary), "PYTHONDONTWRITEBYTECODE": "1"}
    if release:
        env["RINGMAIN_RELEASE"] = str(release / binary)
    say(f"scenario/{area}")
    with tempfile.TemporaryDirectory(prefix="ringmain-tests-") as temporary:
        status = call(PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short", "-rfEs",
                      f"--rootdir={ROOT / 'tests' / 'scenario'}", f"--junitxml={outcome}",
                      f"--basetemp={temporary}/pytest", ROOT / "tests" / "scenario" / area,
                      timeout=AREA_SECONDS, env=env)
    passed, failed = read_junit(outcome, area)
    if status not in (0, 1) or (status == 1 and not failed):
        failed.append(f"scenario/{area}: pytest (exit status {status})")
    tally.add(passed, failed)
    say(f"scenario/{area}: {passed} passed, {len(failed)} failed, {time.monotonic() - start:.0f} s")


def read_junit(path, area):
    if not path.exists():
        return 0, []
    passed, failed = 0, []
    for case in xml.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"scenario/{area}: {case.get('name')}")
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed


def suite_scenario(builds, tally, areas=None):
    build, release = builds.sanitized(), builds.release()
    if not build or not release:
        tally.add(0, ["scenario: a build"])
    if not build:
        return
    for area in areas or scenario_areas():
        run_area(area, build, release, tally)


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
    builds, tally, start = Builds(), Tally(), time.monotonic()
    for name in SUITES:
        if name in wanted or (name == "scenario" and areas):
            say(f"suite {name}")
            before = tally.passed, tally.failed
            try:
                if name == "scenario":
                    suite_scenario(builds, tally, None if name in wanted else areas)
                else:
                    globals()[f"suite_{name}"](builds, tally)
            except Exception as error:  # a suite that breaks is a failure, not the end of the others
                tally.add(0, [f"{name}: {error!r}"])
            say(f"suite {name}: {tally.passed - before[0]} passed, {tally.failed - before[1]} failed")
    for name in tally.names:
        print(f"failed: {name}")
    say(f"{time.monotonic() - start:.0f} s in all")
    print(f"{tally.passed} passed, {tally.failed} failed", flush=True)
    sys.exit(1 if tally.failed else 0)


main()
