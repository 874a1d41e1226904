# SPDX-License-Identifier: Apache-2.0
"""One turn of one contestant: makes the load, reads what the kernel counted meanwhile."""
import contextlib
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from machines import LabError, process_status
from scenarios import BULK, CONNECT, HOST, IDLE, PATH, PAYLOAD_BYTES, RATE, SERVICES
from stats import busy_share, steal_share

STAT_NAMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
HOLD_SECONDS = 1.0   # idle connections are looked at after this long
PATIENCE = 60        # seconds beyond the turn's own until a load is given up


@dataclass
class Sample:
    """What one turn gave; None where its kind of scenario has no such figure."""
    requests_per_second: float = None
    cpu_us_per_request: float = None
    p50_us: float = None
    p99_us: float = None
    p999_us: float = None
    gbit_per_second: float = None
    cpu_us_per_mb: float = None
    rss_kb: float = None
    rss_idle_kb: float = None                  # before the first connection
    bytes_per_connection: float = None         # of resident memory, in each proxy on the way
    errors: int = 0
    first_error: str = None
    steal: float = 0.0                         # share of busy time
    proxy_busy: float = 0.0                    # share of the proxies' core
    load_busy: float = 0.0                     # share of the load's core
    late_max_us: float = None                  # how late the generator itself was
    percentiles: list = field(default_factory=list)
    parts: dict = field(default_factory=dict)  # {process: its part of the first figure in CPU or memory}


# --- readings -------------------------------------------------------------------------------------


def read_stat():
    """{"cpu": {...}, "cpu0": {...}, ...}: ticks since the start of the computer."""
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0].startswith("cpu"):
            found[words[0]] = dict(zip(STAT_NAMES, map(int, words[1:])))
    return found


def cores_sum(stat, cores):
    return {name: sum(stat[f"cpu{core}"][name] for core in cores) for name in STAT_NAMES}


def cpu_ns(pid):
    """What all threads of a process have run so far; 0 when it is gone."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended, others have not
                total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    return total


def rss_kb(pid):
    return int(process_status(pid).get("VmRSS", "0 kB").split()[0])


@dataclass
class Reading:
    cpu: dict
    stat: dict
    at: float


def read_now(parts):
    cpu = {name: sum(map(cpu_ns, pids)) for name, pids in parts.items()}
    return Reading(cpu, read_stat(), time.monotonic())


def memory(parts):
    return {name: sum(map(rss_kb, pids)) for name, pids in parts.items()}


# --- the load -------------------------------------------------------------------------------------


class Load:
    """The generator's process, line by line."""

    def __init__(self, command, seconds):
        self.end = time.monotonic() + seconds + PATIENCE
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, cwd="/")
        self.held = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def line(self):
        """The next line as JSON; LabError when there is none, with what it complained about."""
        while b"\n" not in self.held:
            left = self.end - time.monotonic()
            ready = select.select([self.process.stdout], [], [], max(0, left))[0]
            part = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not part:
                raise LabError(self.complaint("took too long" if not ready else "ended without a result"))
            self.held += part
        line, _, self.held = self.held.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            raise LabError(f"the load printed {line[:200]!r}, which is no JSON") from None

    def complaint(self, what):
        self.process.kill()
        words = self.process.stderr.read().decode(errors="replace").strip()
        return f"the load {what}" + (f": {words[-500:]}" if words else "")


def load_words(scenario, target, duration, warmup, rate):
    service = SERVICES[scenario.service]
    words = ["--to", target, "--protocol", service.name, "--connections", scenario.connections]
    if service.name == "http":
        words += ["--host", HOST, "--path", PATH, "--response-bytes", PAYLOAD_BYTES]
    if service.name == "echo":
        words += ["--request-bytes", PAYLOAD_BYTES]
    if scenario.kind == IDLE:
        return [*words, "--hold"]
    words += ["--duration", duration, "--warmup", warmup]
    if scenario.kind == CONNECT:
        words += ["--per-connection", 1]
    if scenario.kind == RATE:
        words += ["--rate", round(rate)]
    return words


# --- turns ----------------------------------------------------------------------------------------


def take_turn(bench, contestant, scenario, rate=None):
    """One sample of a contestant that has been started for the scenario."""
    words = load_words(scenario, contestant.target(scenario), bench.duration, bench.warmup, rate)
    command = contestant.load_command(scenario, bench.program("load"), words)
    with Load(command, bench.duration + bench.warmup) as load:
        if scenario.kind == IDLE:
            return idle_turn(bench, contestant, scenario, load)
        return busy_turn(bench, contestant, scenario, load)


def busy_turn(bench, contestant, scenario, load):
    parts = contestant.parts()
    load.line()  # warm-up is over
    before = read_now(parts)
    result = load.line()
    after = read_now(parts)
    sample = Sample(errors=result["errors"], first_error=result.get("first_error"),
                    late_max_us=result.get("late_max_us"))
    disturbance(bench, sample, before, after)
    sample.rss_kb = sum(memory(parts).values()) or None
    spent = {name: (after.cpu[name] - before.cpu[name]) / 1000 for name in parts}
    if scenario.kind == BULK:
        read_bulk(sample, result, spent)
    else:
        read_requests(sample, result, spent)
    return sample


def disturbance(bench, sample, before, after):
    sample.steal = steal_share(before.stat["cpu"], after.stat["cpu"])
    for name, cores in (("proxy_busy", bench.cores.proxy), ("load_busy", bench.cores.load)):
        setattr(sample, name, busy_share(cores_sum(before.stat, cores), cores_sum(after.stat, cores)))


def trouble(result):
    return f"; {result['errors']} errors, the first: {result.get('first_error')}" if result["errors"] else ""


def read_requests(sample, result, spent):
    requests = result["requests"]
    if not requests:
        raise LabError(f"not one request was answered{trouble(result)}")
    sample.requests_per_second = result["requests_per_second"]
    sample.p50_us, sample.p99_us, sample.p999_us = (result[name] for name in ("p50_us", "p99_us", "p999_us"))
    sample.percentiles = result.get("percentiles", [])
    if spent:
        sample.parts = {name: us / requests for name, us in spent.items()}
        sample.cpu_us_per_request = sum(sample.parts.values())


def read_bulk(sample, result, spent):
    count = result["bytes_in"] + result["bytes_out"]
    if not count:
        raise LabError(f"not one byte came{trouble(result)}")
    sample.gbit_per_second = count * 8 / result["seconds"] / 1e9
    if spent:
        sample.parts = {name: us / (count / 1e6) for name, us in spent.items()}
        sample.cpu_us_per_mb = sum(sample.parts.values())


def idle_turn(bench, contestant, scenario, load):
    parts = contestant.parts()
    idle, before = memory(parts), read_stat()
    held = load.line().get("holding", 0)
    time.sleep(HOLD_SECONDS)
    full, after = memory(parts), read_stat()
    load.process.stdin.close()
    result = load.line()
    if held < scenario.connections:
        raise LabError(f"only {held} of {scenario.connections} connections were opened{trouble(result)}")
    sample = Sample(errors=result["errors"], first_error=result.get("first_error"), rss_kb=sum(full.values()), rss_idle_kb=sum(idle.values()))
    sample.steal = steal_share(before["cpu"], after["cpu"])
    sample.parts = {name: (full[name] - idle[name]) * 1024 / held for name in parts}
    sides = sum(1 for name in parts if "keeper" not in name)
    sample.bytes_per_connection = sum(sample.parts.values()) / sides
    return sample
