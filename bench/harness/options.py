# SPDX-License-Identifier: Apache-2.0
"""What the benches have in common: arguments, the release build, how they end."""
import argparse
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"


class UsageError(Exception):
    """The caller can do something about it: the text says what."""


def say(text=""):
    print(text, flush=True)


def positive(kind):
    def read(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text}: more than 0 is needed")
        return value
    read.__name__ = "number"
    return read


def add_places(parser):
    parser.add_argument("--build", type=Path, metavar="DIR", help="a build that there is, instead of building")
    parser.add_argument("--output", type=Path, metavar="DIR", default=RESULTS, help="where results are written")


def build_release(given, programs, targets=()):
    """The directory of a release build with these programs in it; what is given is taken as it is."""
    build = given.resolve() if given else ROOT / "build" / "release"
    if not given:
        say("building (release) ...")
        steps = [["ninja", "-C", str(build), *targets]]
        if not (build / "build.ninja").exists():
            steps.insert(0, ["meson", "setup", str(build), "-Dbuildtype=release", "-Dtests=false", "-Dwerror=false"])
        for words in steps:
            done = subprocess.run(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                raise UsageError(f"{' '.join(words)} failed:\n{done.stdout[-4000:]}")
    for program in programs:
        if not (build / program).exists():
            raise UsageError(f"{build / program} is not there: build it with `ninja -C {build}`, or leave --build out")
    return build


def end_in_order():
    """By a signal as by Ctrl-C: everything is taken down."""
    def ended(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
