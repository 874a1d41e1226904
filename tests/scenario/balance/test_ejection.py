# SPDX-License-Identifier: Apache-2.0
"""When an endpoint is left out, for how long, how many may be at once, and how it comes back: with servers that fail on
command, and exact counts of what they have seen."""
import collections
import re
import threading

import pytest
from machines import wait_for
from served import Served, ask, machine_of

ON = ("vm-a", "vm-b", "vm-c", "vm-d")
LONG = {"errors": 5, "connect_errors": 3, "ejection": "1m"}
numbers = iter(range(10000))


@pytest.fixture(scope="module")
def standing():
    with Served(ON, groups={"timeouts": {"connect": "1s", "request": "400ms"}}) as mesh:
        for name in ON[1:]:
            mesh[name].groups = {"timeouts": {"request": "5s"}}
        yield mesh.start()


@pytest.fixture
def mesh(standing):
    """All endpoints are in, and have served a call since."""
    standing.set(settings={"balance": "round_robin", "outlier": {"ejected_percent": 0}})
    assert set(ask_many(standing, 8)) == {200} and standing.mine("endpoints_ejected") == 0
    return standing


def rules(mesh, **outlier):
    mesh.set(settings={"balance": "round_robin", "outlier": {**LONG, **outlier}})


def ask_many(mesh, count, path="/echo", method="POST"):
    """POST: what fails is not sent again by anybody."""
    with mesh.wire() as wire:
        return [ask(wire, f"{method} {path}").status for _ in range(count)]


def fresh():
    return f"/echo/e/{next(numbers)}"


def ejected(mesh):
    return mesh.mine("endpoints_ejected")


BAD = {"status 502": 502, "status 503": 503, "status 504": 504, "stall": 504, "reset": 503, "close": 503, "garbage": 502}


@pytest.mark.parametrize("place", ["vm-a", "vm-c"])
@pytest.mark.parametrize("mode", BAD)
def test_five_in_a_row(mesh, mode, place):
    """On the caller's own machine or another one: the sixth call meets nobody who fails."""
    rules(mesh)
    path, ejections = fresh(), mesh.mine("ejections_total")
    with mesh.behaves(place, mode):
        statuses = collections.Counter(ask_many(mesh, 60, path))
        assert statuses == {BAD[mode]: 5, 200: 55}
    assert mesh.seen(path, place) == 5 and ejected(mesh) == mesh.mine("ejections_total") - ejections == 1
    address = mesh.lab[place].v4
    assert f"endpoint {address}:8080 of orders gets no calls for 60 s: they fail" in mesh["vm-a"].process.log
    others = [mesh.seen(path, name) for name in ON if name != place]
    assert sum(others) == 55 and max(others) - min(others) <= 2


@pytest.mark.parametrize("mode", ["status 500", "status 404", "status 429", "late 100"])
def test_what_is_no_error(mesh, mode):
    mesh.forget()
    rules(mesh, errors=1, success_percent=90, success_calls=10)
    path = fresh()
    with mesh.behaves("vm-c", mode):
        ask_many(mesh, 40, path)
    assert mesh.seen(path, "vm-c") == 10 and ejected(mesh) == 0


def test_one_good_answer_begins_anew(mesh):
    rules(mesh)
    path = fresh()
    with mesh.behaves("vm-c", "cycle 503 503 503 503 200"):
        statuses = collections.Counter(ask_many(mesh, 80, path))
    assert mesh.seen(path, "vm-c") == 20 and statuses[503] == 16 and ejected(mesh) == 0


def test_connects_that_fail_are_counted_apart(mesh):
    """Four answers that are errors and two connections that cannot be made are neither five nor three."""
    rules(mesh)
    with mesh.behaves("vm-c", "status 503"):
        assert collections.Counter(ask_many(mesh, 16)) == {503: 4, 200: 12}
    mesh["vm-c"].stop()
    try:
        assert set(ask_many(mesh, 8)) == {200} and ejected(mesh) == 0  # moved on: nothing was sent
        assert set(ask_many(mesh, 4)) == {200} and ejected(mesh) == 1  # the third
        retries = mesh.mine("retries_total")
        assert set(ask_many(mesh, 20)) == {200} and mesh.mine("retries_total") == retries
    finally:
        mesh["vm-c"].start()


def test_a_bad_share_of_ten_seconds(mesh):
    """Never five in a row, but less than 80 %; and with too few calls to tell, nothing."""
    mesh.forget()  # what was a few seconds ago would count
    rules(mesh, errors=0, connect_errors=0, success_percent=80, success_calls=20)
    path = fresh()
    with mesh.behaves("vm-c", "cycle 503 200"):
        ask_many(mesh, 4 * 19, path)
        assert mesh.seen(path, "vm-c") == 19 and ejected(mesh) == 0
        ask_many(mesh, 20, path)
        assert mesh.seen(path, "vm-c") == 20 and ejected(mesh) == 1


def test_a_share_that_is_good_enough(mesh):
    mesh.forget()
    rules(mesh, errors=0, success_percent=75, success_calls=8)
    with mesh.behaves("vm-c", "cycle 200 200 200 503"):
        statuses = collections.Counter(ask_many(mesh, 160))
        assert statuses == {200: 150, 503: 10} and ejected(mesh) == 0


@pytest.mark.parametrize("percent, out", [(100, 3), (50, 2), (25, 1), (1, 1), (0, 0)])
def test_no_more_than_a_share_of_them_and_never_the_last(mesh, percent, out):
    rules(mesh, errors=1, ejected_percent=percent)
    with mesh.behaves("vm-a", "status 503"), mesh.behaves("vm-b", "status 503"), \
            mesh.behaves("vm-c", "status 503"), mesh.behaves("vm-d", "status 503"):
        assert set(ask_many(mesh, 40)) == {503}
        assert ejected(mesh) == out
    path = fresh()
    assert set(ask_many(mesh, 24, path)) == {200}
    assert sorted(mesh.seen(path, name) for name in ON)[:out] == [0] * out
    assert sum(mesh.seen(path, name) > 0 for name in ON) == 4 - out


def test_one_call_is_the_probe_and_each_time_it_is_out_for_longer(mesh):
    """However many call: while it is out it sees nobody, and then one call, until that has told."""
    mesh.forget()  # an ejection of a moment ago would make the first one longer
    rules(mesh, ejection="500ms", ejection_max="1200ms")
    log = len(mesh["vm-a"].process.log)

    def spans():
        return [int(s) for s in re.findall(r"gets no calls for (\d+) s", mesh["vm-a"].process.log[log:])]
    path, over, statuses = fresh(), threading.Event(), collections.Counter()

    def call():
        with mesh.wire() as wire:
            while not over.wait(0.005):
                statuses[ask(wire, f"POST {path}").status] += 1
    mesh.dial("web", mesh.own("orders")).sock.close()  # the helper that makes sockets lives as long as who starts it
    threads = [threading.Thread(target=call) for _ in range(4)]
    with mesh.behaves("vm-c", "status 503"):
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: len(spans()) >= 5, "it to be ejected five times", 30)
        finally:
            over.set()
            for thread in threads:
                thread.join()
    count = len(spans())
    assert statuses[503] == mesh.seen(path, "vm-c")
    # five at first, or those that were under way besides; then one for each time that it was out
    assert 5 <= statuses[503] - (count - 1) <= 8
    assert spans() == [0] + [1] * (count - 1)
    wait_for(lambda: set(ask_many(mesh, 8)) == {200} and ejected(mesh) == 0, "the endpoint to be back", 20)
    back = fresh()
    assert set(ask_many(mesh, 40, back)) == {200} and mesh.seen(back, "vm-c") == 10


def test_others_go_on_as_before(mesh):
    """What one service's endpoint does says nothing of the machine, nor of calls to its own address."""
    rules(mesh, errors=1)
    with mesh.behaves("vm-c", "status 503"):
        ask_many(mesh, 8)
    assert ejected(mesh) == 1
    with mesh.dial("web", mesh.target("orders", machine="vm-c")) as wire:
        reply = ask(wire)
        assert reply.status == 200 and machine_of(reply) == "vm-c"
