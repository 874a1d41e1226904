# SPDX-License-Identifier: Apache-2.0
"""Our load generator against two that everybody knows: at saturation all must find the same proxy, as
many requests a second and the same CPU for each."""
import re
import shutil
import subprocess

from machines import LabError
from measure import Sample, disturbance, read_now, take_turn
from scenarios import HOST, PATH

KNOWN = ("wrk", "h2load")
PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client"}
UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


def found():
    return [name for name in KNOWN if shutil.which(name)]


def words(name, connections, seconds, url):
    if name == "wrk":
        return ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {HOST}", url]
    return ["--h1", "-t1", f"-c{connections}", f"-D{seconds}", "-H", f":authority: {HOST}", url]


def microseconds(text):
    number, unit = re.match(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS[unit]


def read_output(name, text):
    """(requests, requests per second, p50, p99), None where it does not say; ValueError."""
    try:
        if refused := re.search(r"Non-2xx or 3xx responses: (\d+)|, ([1-9]\d*) failed", text):
            raise ValueError(f"{name}: {refused[0].strip(', ')}")
        if name == "wrk":
            requests = int(re.search(r"(\d+) requests in", text)[1])
            rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1])
            p50, p99 = (microseconds(re.search(rf"^\s*{percent}%\s+(\S+)", text, re.M)[1]) for percent in (50, 99))
            return requests, rate, p50, p99
        requests = int(re.search(r"status codes: (\d+) 2xx", text)[1])
        rate = float(re.search(r"finished in [^,]+, ([\d.]+) req/s", text)[1])
        return requests, rate, None, None
    except TypeError:
        raise ValueError(f"{name} printed what is not understood:\n{text[-1000:]}") from None


def take_turn_with(bench, contestant, scenario, name):
    """A sample as take_turn() gives it, made by another generator. It has no warm-up of its own: its
    connections are part of what is counted."""
    if name == "load":
        return take_turn(bench, contestant, scenario)
    seconds = max(1, round(bench.duration))
    url = f"http://{contestant.target(scenario)}{PATH}"
    command = contestant.load_command(scenario, shutil.which(name), words(name, scenario.connections, seconds, url))
    parts = contestant.parts()
    before = read_now(parts)
    try:
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=2 * seconds + 10)
    except subprocess.TimeoutExpired:
        raise LabError(f"{name} did not end") from None
    after = read_now(parts)
    if done.returncode != 0:
        raise LabError(f"{name}: exit status {done.returncode}\n{done.stdout[-1000:]}")
    try:
        requests, rate, p50, p99 = read_output(name, done.stdout)
    except ValueError as error:
        raise LabError(str(error)) from None
    sample = Sample(requests_per_second=rate, p50_us=p50, p99_us=p99)
    disturbance(bench, sample, before, after)
    spent = sum(after.cpu[part] - before.cpu[part] for part in parts) / 1000
    sample.cpu_us_per_request = spent / max(1, requests)
    return sample
