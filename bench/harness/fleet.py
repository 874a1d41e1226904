# SPDX-License-Identifier: Apache-2.0
"""The bench behind bench/fleet: many nodes' state rooms, in the processes of bench/fleet.d, against one
real redis-server on loopback.

Three processes are the fleet: 40 % of the nodes, which are killed in the end, one node, which is killed
before, and the rest. All their clocks are the machine's monotonic one, so that what one began the
others can time.
"""
import argparse
import contextlib
import json
import os
import queue
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "harness")]
sys.dont_write_bytecode = True

import facts  # noqa: E402
from options import UsageError, add_places, build_release, end_in_order, positive, say  # noqa: E402

PROGRAM = "bench/fleet.d/fleet"
MESH = "bench.example"
HOUR = 3600
HOLD_PERCENT = 30  # 40 % of the nodes at once are more than that
RESYNC_DEFAULT = 300  # seconds: state.resync
TIMEOUT = 60  # seconds: state.timeout. Hundreds of nodes wait for one core: that is not the store's slowness


class BenchError(Exception):
    """The fleet did not do what was waited for."""


def step(text):
    print(f"  {text:52}", end="", flush=True)


def told(text):
    print(text, flush=True)


# --- Redis -----------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Redis:
    """A redis-server as a distribution sets it up, but that it only writes to disk when told to."""

    def __init__(self, directory, cores):
        self.directory, self.cores = directory, cores
        self.port = free_port()
        self.process = None

    def start(self):
        words = ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", self.directory, "--maxclients", "30000", "--tcp-backlog", "4096", "--daemonize", "no"]
        log = open(self.directory / "redis.log", "a")
        self.process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log,
                                        preexec_fn=lambda: os.sched_setaffinity(0, self.cores))
        log.close()
        end = time.monotonic() + 30
        while self.ask("PING", check=False) != "PONG":
            if self.process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"redis-server does not come up: {(self.directory / 'redis.log').read_text()[-1000:]}")
            time.sleep(0.02)

    def ask(self, *words, check=True):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, words)], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if check and done.returncode != 0:
            raise BenchError(f"redis-cli {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    def info(self):
        lines = (line.partition(":") for line in self.ask("INFO", "everything").splitlines())
        return {name: value.strip() for name, _, value in lines}

    def cpu_ns(self):
        """Of all its threads, by the scheduler's account."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def restart(self):
        """With what it knows; returns how long nobody answered."""
        self.ask("SAVE")
        begun = time.monotonic()
        self.ask("SHUTDOWN", "NOSAVE", check=False)
        self.process.wait(timeout=30)
        self.start()
        return time.monotonic() - begun

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


@dataclass
class Spent:
    """What Redis did in a while."""
    seconds: float
    cpu_ns: int
    bytes_in: int
    bytes_out: int
    commands: int


class Account:
    def __init__(self, redis):
        self.redis = redis
        self.begin = self.now()

    def now(self):
        info = self.redis.info()
        return (time.monotonic(), self.redis.cpu_ns(), int(info["total_net_input_bytes"]),
                int(info["total_net_output_bytes"]), int(info["total_commands_processed"]))

    def spent(self):
        return Spent(*(now - then for now, then in zip(self.now(), self.begin)))


# --- nodes -----------------------------------------------------------------------------------------


class Swarm:
    """A process with some of the nodes."""

    def __init__(self, bench, name, first, count, endpoints=None, observers=1, pace=0):
        self.name, self.first, self.count = name, first, count
        self.log = open(bench.directory / f"{name}.log", "a")
        o = bench.options
        words = [bench.program, "run", "--redis", f"127.0.0.1:{bench.redis.port}", "--mesh", MESH,
                 "--operators", bench.key.with_suffix(".pub"), "--first", first, "--count", count,
                 "--endpoints", o.endpoints if endpoints is None else endpoints, "--services", o.services,
                 "--observers", observers, "--pace", pace, "--lease", o.lease, "--resync", o.resync,
                 "--timeout", TIMEOUT, "--hold", o.hold, "--hold-percent", HOLD_PERCENT]
        self.process = subprocess.Popen([str(word) for word in words], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log,
                                        preexec_fn=lambda: os.sched_setaffinity(0, bench.cores.load))
        self.answers = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.begun_ns = self.answer("begun")["at_ns"]

    def read(self):
        for line in self.process.stdout:
            self.answers.put(json.loads(line))
        self.answers.put({"event": "over"})

    def answer(self, event, timeout=30):
        try:
            answer = self.answers.get(timeout=timeout)
        except queue.Empty:
            raise BenchError(f"the nodes of {self.name} do not answer") from None
        if answer["event"] != event:
            raise BenchError(f"the nodes of {self.name}: {answer}, and not {event}; see their log")
        return answer

    def ask(self, text, event="done"):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.answer(event)

    def view(self):
        return self.ask("view", "view")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def quit(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            pass
        self.kill()


@dataclass
class Reached:
    """When the nodes came to be as waited for: seconds since what began it."""
    seconds: list
    missing: int

    def at(self, percent):
        if not self.seconds or percent == 100 and self.missing:
            return None
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, (len(ordered) * percent + 99) // 100 - 1)]


class Waiting:
    """All nodes of some processes are waited for, from before what is to be timed."""

    def __init__(self, swarms, timeout, of_each=None, **wish):
        self.swarms, self.timeout, self.of_each = swarms, timeout, of_each
        self.wish = " ".join(f"{name}={value}" for name, value in wish.items())
        for swarm in swarms:
            swarm.ask(f"wait {timeout} {self.wish}")

    def reached(self, since_ns):
        times = []
        for swarm in self.swarms:
            times += swarm.answer("waited", self.timeout + 60)["at_ns"][:self.of_each]
        return Reached([(at - since_ns) / 1e9 for at in times if at], times.count(0))

    def all(self, since_ns):
        reached = self.reached(since_ns)
        if reached.missing:
            views = {swarm.name: swarm.view() for swarm in self.swarms}
            raise BenchError(f"{reached.missing} nodes were not {self.wish} within {self.timeout} s: {views}")
        return reached


# --- what is measured --------------------------------------------------------------------------------


def spread(values):
    """Median, least, most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def percentiles(runs):
    """Of several changes: each percentile's median, least and most, in ms."""
    return {f"p{percent}_ms": {k: round(v * 1000, 1) for k, v in spread([run.at(percent) for run in runs]).items()}
            for percent in (50, 99, 100)}


class Bench:
    def __init__(self, options, program, directory):
        self.options, self.program, self.directory = options, program, directory
        self.cores = facts.cores_choose()
        self.redis = Redis(directory, self.cores.proxy)
        self.key = directory / "operator"
        self.revision = 0
        self.swarms = []
        self.figures = {}
        self.patience = 60 + options.nodes // 4

    def close(self):
        for swarm in self.swarms:
            swarm.kill()
        self.redis.stop()

    def run_program(self, *words):
        done = subprocess.run([str(self.program), *map(str, words)], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise BenchError(f"fleet {words[0]}: {done.stderr}")
        return done.stdout

    def publish(self):
        self.revision += 1
        return json.loads(self.run_program(
            "publish", "--redis", f"127.0.0.1:{self.redis.port}", "--mesh", MESH, "--key", self.key,
            "--services", self.options.services, "--policies", self.options.policies, "--revision", self.revision))

    def swarm(self, *words, **options):
        one = Swarm(self, *words, **options)
        self.swarms.append(one)
        return one

    def drop(self, swarm, end):
        self.swarms.remove(swarm)
        end(swarm)

    def wait(self, timeout=None, of_each=None, **wish):
        return Waiting(self.swarms, timeout or self.patience, of_each, **wish)

    @property
    def endpoints(self):
        return sum(swarm.count for swarm in self.swarms) * self.options.endpoints

    # --- the stages ----------------------------------------------------------------------------------

    def begin(self):
        step("redis-server, the mesh's objects")
        self.redis.start()
        self.run_program("operator", "--key", self.key)
        published = self.publish()
        self.figures["objects"] = {"count": self.options.services + self.options.policies, **published}
        told(f"{published['object_bytes'] / 1e6:.2f} MB, written in "
             f"{(published['done_ns'] - published['sent_ns']) / 1e6:.0f} ms")

    def join(self):
        o = self.options
        step(f"{o.nodes} nodes join, {o.pace} in a second")
        part = max(1, o.nodes * 2 // 5)
        account = Account(self.redis)
        self.one = self.swarm("one", 0, 1)
        self.part = self.swarm("part", 1, part, pace=max(1, o.pace * 2 // 5))
        self.rest = self.swarm("rest", 1 + part, o.nodes - 1 - part, pace=max(1, o.pace * 3 // 5))
        reached = self.wait(nodes=o.nodes, endpoints=self.endpoints, revision=self.revision).all(self.one.begun_ns)
        spent = account.spent()
        self.figures["join"] = {"seconds": round(reached.at(100), 1), "redis_cpu_s": round(spent.cpu_ns / 1e9, 2),
                                "redis_bytes_out": spent.bytes_out}
        told(f"all know all after {reached.at(100):.1f} s")

    def settle(self):
        """What a change has left behind is over."""
        time.sleep(min(2.5, self.options.lease / 3))

    def steady(self):
        o = self.options
        step(f"nothing changes for {o.seconds:g} s")
        self.settle()
        resyncs = sum(s.view()["resyncs"] for s in self.swarms)
        account = Account(self.redis)
        time.sleep(o.seconds)
        spent = account.spent()
        info = self.redis.info()
        resyncs = sum(s.view()["resyncs"] for s in self.swarms) - resyncs
        per_hour = HOUR / spent.seconds / o.nodes
        self.figures["steady"] = {
            "seconds": round(spent.seconds, 1), "resyncs": resyncs,
            "redis_cpu_percent": round(100 * spent.cpu_ns / 1e9 / spent.seconds, 2),
            "redis_commands_per_second": round(spent.commands / spent.seconds),
            "redis_used_memory": int(info["used_memory"]), "redis_rss": int(info["used_memory_rss"]),
            "redis_clients": int(info["connected_clients"]),
            "to_redis_bytes_per_node_hour": round(spent.bytes_in * per_hour),
            "from_redis_bytes_per_node_hour": round(spent.bytes_out * per_hour)}
        told(f"Redis: {self.figures['steady']['redis_cpu_percent']} % of a core, "
             f"{int(info['used_memory']) / 1e6:.1f} MB")

    def changes(self, name, title, acts, **how):
        """Times each of `acts`, pairs of what is done, which returns when it began, and what to wait for."""
        step(title)
        runs, cpu_ms, sent = [], [], []
        for act, wish in acts:
            self.settle()
            account = Account(self.redis)
            waiting = self.wait(**how, **wish())
            runs.append(waiting.all(act()))
            spent = account.spent()
            quiet = self.figures["steady"]["redis_cpu_percent"] / 100 * spent.seconds
            cpu_ms.append(max(0, spent.cpu_ns / 1e9 - quiet) * 1000)
            sent.append(spent.bytes_out)
        figure = self.figures[name] = {
            **percentiles(runs), "changes": len(runs), "redis_cpu_ms": round(statistics.median(cpu_ms), 1),
            "from_redis_bytes": round(statistics.median(sent))}
        told(" / ".join(f"{figure[p]['median']:.0f}" for p in ("p50_ms", "p99_ms", "p100_ms")) +
             " ms: 50 / 99 / 100 %")

    def alternately(self, on, off):
        node = self.rest
        return [(lambda: node.ask(on[0])["at_ns"], on[1]), (lambda: node.ask(off[0])["at_ns"], off[1])] * \
            self.options.rounds

    def endpoint(self):
        self.changes("endpoint", "an endpoint comes, and goes", self.alternately(
            ("extra 0 on", lambda: {"endpoints": self.endpoints + 1}),
            ("extra 0 off", lambda: {"endpoints": self.endpoints})))

    def health(self):
        """Only observers have a picture to look at: the first node of each process."""
        self.changes("picture", "an endpoint turns, until three proxies have it", self.alternately(
            ("health 1 down", lambda: {"down": 1}), ("health 1 up", lambda: {"down": 0})), of_each=1)

    def objects(self):
        self.changes("revision", "a revision of the mesh's objects", [
            (lambda: self.publish()["sent_ns"], lambda: {"revision": self.revision + 1})] * self.options.rounds)

    def cold(self):
        """A node that knows nothing: until it knows all."""
        step("a further node, which knows nothing, loads all")
        seconds, loaded = [], []
        for number in range(3):
            one = Swarm(self, "further", self.options.nodes + number, 1, endpoints=0)
            reached = Waiting([one], self.patience, endpoints=self.endpoints, revision=self.revision).all(one.begun_ns)
            seconds.append(reached.at(100) * 1000)
            loaded.append(one.view()["bytes_in"])
            one.quit()
        self.figures["cold"] = {"ms": {k: round(v, 1) for k, v in spread(seconds).items()},
                                "bytes": round(statistics.median(loaded))}
        told(f"{statistics.median(seconds):.0f} ms, {statistics.median(loaded) / 1e6:.2f} MB")
        self.settle()

    def storm(self, name, title, act):
        """All connections go at once: until everybody has asked anew and agrees."""
        step(title)
        self.settle()
        account = Account(self.redis)
        begun_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        act()
        reached = self.wait(agreed=wall_ns, endpoints=self.endpoints).all(begun_ns)
        # Their looks at each other go on for a moment after they agree with the store on its objects.
        time.sleep(4)
        spent = Spent(0, self.redis.cpu_ns(), 0, 0, 0) if name == "restart" else account.spent()
        self.figures[name] = {"seconds_p50": round(reached.at(50), 2), "seconds": round(reached.at(100), 2),
                              "redis_cpu_s": round(spent.cpu_ns / 1e9, 2),
                              "from_redis_bytes_per_node": round(spent.bytes_out / self.options.nodes) or None}
        told(f"{reached.at(50):.1f} s for half, {reached.at(100):.1f} s for all")

    def kick(self):
        for kind in ("normal", "pubsub"):
            self.redis.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def kill_one(self):
        step("one node is killed, until all have dropped it")
        self.drop(self.one, Swarm.kill)
        begun_ns = time.monotonic_ns()
        reached = self.wait(timeout=self.patience + 4 * self.options.lease, endpoints=self.endpoints).all(begun_ns)
        self.figures["kill_one"] = {"seconds_p50": round(reached.at(50), 1), "seconds": round(reached.at(100), 1)}
        told(f"{reached.at(50):.1f} s for half, {reached.at(100):.1f} s for all")

    def kill_many(self):
        o = self.options
        gone = self.part.count
        step(f"{gone} nodes are killed at once, until all hold 80 %")
        begun_ns = time.monotonic_ns()
        self.drop(self.part, Swarm.kill)
        # The first may be dropped before it shows how many they are.
        held = self.wait(timeout=4 * o.lease + 5, held=gone * 8 // 10).reached(begun_ns)
        told(f"{held.at(50):.1f} s for half, {held.at(100):.1f} s for all" if not held.missing else
             f"{held.missing} nodes did not")
        step(f"  ... and until they are dropped after {o.hold:g} s")
        dropped = self.wait(timeout=self.patience + o.hold + 6 * o.lease, endpoints=self.endpoints).all(begun_ns)
        self.figures["kill_many"] = {"nodes": gone, "not_held": held.missing,
                                     "held_seconds": None if held.missing else round(held.at(100), 1),
                                     "first_dropped_seconds": round(min(dropped.seconds), 1),
                                     "dropped_seconds": round(dropped.at(100), 1), "hold_seconds": o.hold}
        told(f"{min(dropped.seconds):.1f} s the first, {dropped.at(100):.1f} s the last")

    def finish(self):
        views = [swarm.view() for swarm in self.swarms]
        nodes = sum(swarm.count for swarm in self.swarms)
        self.figures["nodes"] = {
            "refused": sum(view["refused"] for view in views),
            "rss_kb_per_node": round(sum(view["rss_max_kb"] for view in views) / nodes)}

    def run(self):
        self.begin()
        self.join()
        self.steady()
        self.endpoint()
        self.health()
        self.objects()
        self.cold()
        self.storm("kick", "all connections are cut at once", self.kick)
        self.storm("restart", "Redis starts anew, with what it had", self.redis.restart)
        self.finish()
        self.kill_one()
        self.kill_many()
        return self.figures


# --- the table -----------------------------------------------------------------------------------------


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def convergence(figure):
    return " / ".join(number(figure[p]["median"]) for p in ("p50_ms", "p99_ms", "p100_ms")) + \
        f" ms (all: {number(figure['p100_ms']['min'])} to {number(figure['p100_ms']['max'])})"


def killed_text(figure):
    held = f"held by all after {figure['held_seconds']} s" if not figure["not_held"] else \
        f"not held by {number(figure['not_held'])}"
    return f"{held}, dropped after {figure['first_dropped_seconds']} to {figure['dropped_seconds']} s " \
        f"(state.hold: {figure['hold_seconds']:g} s)"


def table(figures):
    """Rows of what, figure."""
    steady, kick, cold = figures["steady"], figures["kick"], figures["cold"]
    resync = kick["from_redis_bytes_per_node"]
    return [
        ("Redis, nothing changes: CPU", f"{steady['redis_cpu_percent']} % of a core, "
         f"{number(steady['redis_commands_per_second'])} commands/s"),
        ("Redis: memory", f"{steady['redis_used_memory'] / 1e6:.1f} MB used, {steady['redis_rss'] / 1e6:.1f} MB resident, "
         f"{number(steady['redis_clients'])} connections"),
        ("per node and hour, nothing changes", f"{steady['to_redis_bytes_per_node_hour'] / 1e6:.2f} MB to Redis, "
         f"{steady['from_redis_bytes_per_node_hour'] / 1e6:.2f} MB from it"),
        ("... and one more look at everything (each state.resync)", f"{resync / 1e3:.0f} kB, "
         f"{resync * HOUR / RESYNC_DEFAULT / 1e6:.2f} MB an hour"),
        ("an endpoint comes or goes: 50 / 99 / 100 % of nodes know", convergence(figures["endpoint"])),
        ("... what it costs Redis", f"{figures['endpoint']['redis_cpu_ms']} ms CPU, "
         f"{figures['endpoint']['from_redis_bytes'] / 1e6:.2f} MB"),
        ("an endpoint turns: three nodes' proxies have it",
         f"{number(figures['picture']['p100_ms']['median'])} ms"),
        ("a revision of objects: in force on 50 / 99 / 100 %", convergence(figures["revision"])),
        ("... what it costs Redis", f"{figures['revision']['redis_cpu_ms']} ms CPU"),
        ("a node that knows nothing loads all", f"{number(cold['ms']['median'])} ms, {cold['bytes'] / 1e6:.2f} MB"),
        ("all connections cut at once: 50 / 100 % agree again", f"{kick['seconds_p50']} / {kick['seconds']} s, "
         f"{kick['redis_cpu_s']} s CPU of Redis"),
        ("Redis starts anew, with its objects: the same", f"{figures['restart']['seconds_p50']} / "
         f"{figures['restart']['seconds']} s"),
        ("one node is killed: 50 / 100 % have dropped it", f"{figures['kill_one']['seconds_p50']} / "
         f"{figures['kill_one']['seconds']} s"),
        (f"{number(figures['kill_many']['nodes'])} nodes are killed at once", killed_text(figures["kill_many"])),
    ]


def table_lines(rows):
    return ["| | |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)]


# --- the whole -----------------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench/fleet", description="How a mesh of many nodes fares with one real Redis, on loopback. "
        "bench/README.md says how to read the figures.")
    parser.add_argument("--nodes", type=positive(int), default=1000, metavar="N")
    parser.add_argument("--endpoints", type=positive(int), default=20, metavar="N", help="of each node")
    parser.add_argument("--services", type=positive(int), default=1000, metavar="N")
    parser.add_argument("--policies", type=positive(int), default=1000, metavar="N")
    parser.add_argument("--seconds", type=positive(float), default=60, metavar="S", help="in which nothing changes")
    parser.add_argument("--rounds", type=positive(int), default=5, metavar="N", help="of each change")
    parser.add_argument("--pace", type=positive(int), default=50, metavar="N", help="nodes that join in a second")
    parser.add_argument("--lease", type=positive(float), default=15, metavar="S", help="state.lease")
    parser.add_argument("--resync", type=positive(float), default=RESYNC_DEFAULT, metavar="S", help="state.resync")
    parser.add_argument("--hold", type=positive(float), default=60, metavar="S", help="state.hold")
    add_places(parser)
    options = parser.parse_args()
    if options.nodes < 10:
        parser.error("--nodes: at least 10")
    return options


def files_raise(nodes):
    """Two connections of each node, at both ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * nodes + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UsageError(f"{nodes} nodes need {wanted} open files, and there may be {hard} (ulimit -n)")


def write(options, bench, begun):
    version = bench.redis.info()["redis_version"] if bench.redis.process.poll() is None else ""
    result = {
        "begun": time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(begun)), "seconds": round(time.time() - begun),
        "command": " ".join(["bench/fleet", *sys.argv[1:]]), "revision": facts.revision(),
        "redis": version, "processor": facts.cpuinfo("model name"), "processors": os.cpu_count(),
        "kernel": os.uname().release,
        "options": {name: getattr(options, name) for name in
                    ("nodes", "endpoints", "services", "policies", "rounds", "lease", "resync", "hold")},
        "figures": bench.figures}
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "fleet.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def run(options):
    begun = time.time()
    program = build_release(options.build, [PROGRAM], [PROGRAM]) / PROGRAM
    for name in ("redis-server", "redis-cli"):
        if not shutil.which(name):
            raise UsageError(f"{name} is not here: conf/demo/install run")
    files_raise(options.nodes)
    with tempfile.TemporaryDirectory(prefix="ringmain-fleet-") as directory:
        bench = Bench(options, program, Path(directory))
        if bench.cores.note:
            say(f"note: {bench.cores.note}")
        try:
            bench.run()
            path = write(options, bench, begun)
        finally:
            bench.close()
    say()
    for line in table_lines(table(bench.figures)):
        say(line)
    say(f"\nwritten: {path}")
    return 0


def main():
    options = arguments()
    end_in_order()
    try:
        return run(options)
    except (UsageError, BenchError) as error:
        print(f"\nbench/fleet: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
