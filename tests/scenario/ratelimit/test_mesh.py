# SPDX-License-Identifier: Apache-2.0
"""Limits of a whole mesh: four machines serve orders, a fifth calls each of them as hard as it can,
and all together let through what one limit says. What got through is counted at the workloads."""
import collections
import itertools
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "state"))
from fleet import ALLOW_WEB, Fleet  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import GUEST, ORDERS, WEB, at, request_text  # noqa: E402

SERVING = "vm-b", "vm-c", "vm-d", "vm-e"
AMOUNT, SECONDS, WINDOWS = 800, 2, 5
AWAY_SHARE, AWAY_ALLOW, AWAY_DENY = ({"name": f"when-away-{word}", "service": "orders", "requests": 8, "per": "1h", "scope": "mesh",
                                      "when_away": word, "match": {"path_prefix": f"/echo/{word}"}}
                                     for word in ("share", "allow", "deny"))
LIMITS = [{"name": "all-of-it", "service": "orders", "requests": AMOUNT, "per": f"{SECONDS}s", "scope": "mesh", "when_away": "share",
           "match": {"path_prefix": "/echo/load"}},
          {"name": "few", "service": "orders", "requests": 8, "per": "1h", "scope": "mesh", "by": ["header:X-Key"],
           "match": {"path_prefix": "/echo/few"}},
          AWAY_SHARE, AWAY_ALLOW, AWAY_DENY]
KEYS = itertools.count()


class LimitedFleet(Fleet):
    def mesh_groups(self):
        return {**super().mesh_groups(), "limits": LIMITS}

    def call_on(self, machine, path, *headers):
        with self.dial("web", self.target("orders", machine=machine)) as wire:
            return wire.send(request_text(f"GET {path}", "orders", headers)).reply()

    def statuses(self, path, count, machines=SERVING, *headers):
        """Of so many calls on each of the machines, by status."""
        return collections.Counter(self.call_on(machine, path, *headers).status for machine in machines for _ in range(count))

    def served(self, path):
        """Calls that reached a workload."""
        return sum(self.record("orders", machine).count(f"GET {path}".encode()) for machine in SERVING)

    def numbers(self):
        """What the store has of windows: {key: number}, without those of nobody."""
        with self.redis.connect() as lab:
            keys = lab.ask("KEYS", self.key("tokens:*"))
            return {key.decode().rpartition("tokens:")[2]: int(lab.ask("GET", key) or 0) for key in keys}

    def wait_in_force(self):
        """Until each machine is in touch with the store: a call of a key of its own is not when_away's to decide."""
        def in_force(machine):
            before = self.away("few", machine)
            self.call_on(machine, "/echo/few", f"X-Key: begin-{next(KEYS)}")
            return self.away("few", machine) == before
        for machine in SERVING:
            wait_for(lambda: in_force(machine), f"limits to be kept up on {machine}", 20)

    def away(self, limit, machine="vm-b"):
        return self[machine].metric("ringmain_rate_limit_away_total", limit=limit)


class Flood:
    """One caller for each serving machine, in batches, without pause."""

    def __init__(self, fleet, machines=SERVING, path="/echo/load", batch=20):
        self.fleet, self.path, self.batch = fleet, path, batch
        self.over = threading.Event()
        self.granted, self.failures = collections.Counter(), []  # by second of the wall clock, which is the store's
        self.by_machine, self.last = collections.Counter(), {}
        self.threads = [threading.Thread(target=self.work, args=(machine,)) for machine in machines]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def work(self, machine):
        text = request_text(f"GET {self.path}", "orders") * self.batch
        while not self.over.is_set():
            try:
                with self.fleet.dial("web", self.fleet.target("orders", machine=machine), timeout=15) as wire:
                    while not self.over.is_set():
                        wire.send(text)
                        for _ in range(self.batch):
                            self.note(machine, wire.reply())
            except Exception as error:  # a machine whose proxy is killed
                self.failures.append(f"{machine}: {error!r}")
                self.over.wait(0.05)

    def note(self, machine, reply):
        now = time.time()
        self.last[machine] = now
        if reply.status == 200:
            self.granted[int(now // SECONDS)] += 1
            self.by_machine[machine] += 1
        elif reply.status != 429:
            self.failures.append(f"{machine}: {reply.status} {reply.body[:80]}")

    def whole_windows(self, count):
        """Waits for so many whole windows from now on; what was granted in each."""
        first = int(time.time() // SECONDS) + 1
        time.sleep((first + count) * SECONDS - time.time() + 0.2)
        return [self.granted[first + i] for i in range(count)]

    def wait_answers(self, machines=SERVING):
        since = time.time()
        wait_for(lambda: all(self.last.get(machine, 0) > since for machine in machines), "answers from all machines", 10)


@pytest.fixture(scope="module")
def standing():
    with LimitedFleet([WEB, GUEST, at(ORDERS, *SERVING, own=200)], machines=("vm-a", *SERVING),
                      policies=[ALLOW_WEB],
                      state={"lease": "10s", "hold_percent": 100}) as fleet:
        yield fleet.start()


@pytest.fixture
def fleet(standing):
    standing.wait_settled()
    standing.wait_in_force()
    return standing


def show(capsys, text):
    with capsys.disabled():
        print(f"\n    {text}", flush=True)


@pytest.mark.seconds(90)
def test_four_machines_under_full_load_let_through_what_one_limit_says(fleet, capsys):
    served = fleet.served("/echo/load")
    commands = fleet.redis.info("stats")["total_commands_processed"]
    with Flood(fleet) as flood:
        flood.wait_answers()
        found = flood.whole_windows(WINDOWS)
        numbers = fleet.numbers()
    commands = int(fleet.redis.info("stats")["total_commands_processed"]) - int(commands)
    assert flood.failures == []
    # exactly what the callers saw reached the workloads, and the store never granted more
    assert fleet.served("/echo/load") - served == sum(flood.granted.values())
    assert max(numbers.values()) <= AMOUNT
    show(capsys, f"of {AMOUNT} in {SECONDS} s: {found}; {commands / (WINDOWS + 1) / SECONDS:.0f} commands a second of 4 machines")
    for granted in found:
        assert granted <= AMOUNT * 1.02
    assert sum(found) >= 0.95 * WINDOWS * AMOUNT
    assert min(flood.by_machine.values()) >= 0.05 * sum(flood.by_machine.values())


def test_few_tokens_are_for_all_machines_together(fleet):
    """8 an hour: whoever asks where, not more than 8, but for what those who know nothing yet lend."""
    key = f"X-Key: {next(KEYS)}"
    found = collections.Counter()
    for _ in range(6):
        found += fleet.statuses("/echo/few", 1, SERVING, key)
        time.sleep(0.1)
    assert found[200] + found[429] == 24 and 5 <= found[200] <= 8 + len(SERVING)


def test_no_call_waits_for_redis(fleet):
    """Redis is stopped in the middle of everything, and stays so until calls have been answered."""
    with Flood(fleet) as flood:
        flood.wait_answers()
        fleet.redis.freeze()
        try:
            for _ in range(20):
                flood.wait_answers()
            wait_for(lambda: all(fleet.away("all-of-it", machine) > 0 for machine in SERVING), "when_away to hold", 10)
            flood.wait_answers()
        finally:
            fleet.redis.thaw()
    assert flood.failures == []


@pytest.mark.seconds(90)
def test_while_redis_is_gone_each_limit_does_what_it_says(fleet):
    fleet.redis.kill()
    try:
        for machine in SERVING:
            for limit in (AWAY_SHARE, AWAY_ALLOW, AWAY_DENY):
                name = limit["name"]
                wait_for(lambda: fleet.call_on(machine, limit["match"]["path_prefix"]) and fleet.away(name, machine) > 0,
                         f"{name} on {machine}", 10)
        for machine in SERVING:
            assert set(fleet.statuses("/echo/allow", 20, [machine])) == {200}
            assert set(fleet.statuses("/echo/deny", 5, [machine])) == {429}
            found = fleet.statuses("/echo/share", 20, [machine])
            assert found[200] <= 8 / len(SERVING) and found[200] + found[429] == 20
    finally:
        fleet.redis.start()
    fleet.publish()
    fleet.wait_in_force()  # until the last one is, it gives its share beside what the others share
    with Flood(fleet) as flood:
        flood.wait_answers()
        found = flood.whole_windows(3)
    assert max(found) <= AMOUNT * 1.02 and sum(found) >= 0.9 * 3 * AMOUNT


@pytest.mark.seconds(60)
def test_an_emptied_redis_costs_a_window_at_most(fleet):
    with Flood(fleet) as flood:
        flood.wait_answers()
        with fleet.redis.connect() as lab:
            for key in lab.ask("KEYS", fleet.key("tokens:*")):
                lab.ask("DEL", key)
        found = flood.whole_windows(3)
    assert flood.failures == []
    # the first whole one may have been taken from ahead, when the numbers of that went, too
    assert found[0] <= AMOUNT * 2.02 and max(found[1:]) <= AMOUNT * 1.02 and sum(found) >= 0.95 * 3 * AMOUNT


@pytest.mark.seconds(60)
def test_a_machine_that_dies_with_tokens_costs_its_share_of_one_window(fleet):
    with Flood(fleet) as flood:
        flood.wait_answers()
        fleet["vm-e"].process.kill(signal.SIGKILL)
        found = flood.whole_windows(3)
        fleet["vm-e"].start()
    assert max(found) <= AMOUNT * 1.02 and sum(found[1:]) >= 0.95 * 2 * AMOUNT


def test_a_new_proxy_and_a_new_state_process_go_on_with_the_limit(fleet):
    key = f"X-Key: {next(KEYS)}"
    found = fleet.statuses("/echo/few", 12, ["vm-b"], key)
    assert found[429] > 0
    for pid in (fleet["vm-b"].proxy_pid, fleet["vm-b"].state_pid):
        before = pid()
        Path(f"/proc/{before}").exists()
        fleet.lab["vm-b"].run(["kill", "-9", str(before)])
        wait_for(lambda: pid() not in (None, before), "a new process", 10)
        found += fleet.statuses("/echo/few", 4, ["vm-b"], key)
    assert found[200] <= 8 + 3, "the limit began anew"
