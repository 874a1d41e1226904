# SPDX-License-Identifier: Apache-2.0
"""What is sent again after which failure, how often and where to, with servers that fail on command. What each server has
seen says whether anything was sent twice."""
import collections
import time

import pytest
from machines import wait_for
from served import FAR, NEAR, Served, ask, machine_of

RETRY = {"attempts": 2, "backoff": "1ms"}
WORDS = ("connect-failure", "refused-stream", "reset", "gateway-error", "5xx", "retriable-4xx")
FAILURES = {  # what the server does: the caller's status, and the words by which it is sent again
    "status 500": (500, {"5xx"}),
    "status 502": (502, {"gateway-error", "5xx"}),
    "status 503": (503, {"gateway-error", "5xx"}),
    "status 504": (504, {"gateway-error", "5xx"}),
    "status 409": (409, {"retriable-4xx"}),
    "status 404": (404, set()),
    "status 429": (429, set()),
}
BROKEN = {"reset": (503, {"reset", "5xx"}), "close": (503, {"reset", "5xx"})}
SAID = {FAR: {"gateway-error"}, NEAR: set()}  # besides, of BROKEN: for it another machine's proxy answers 503
# (PATCH where connections break: a PUT that a kept connection has lost is sent once more in any case.)
numbers = iter(range(10000))


@pytest.fixture(scope="module")
def mesh():
    with Served() as mesh:
        yield mesh.start()


def fresh(what="x"):
    """A path that no other request has."""
    return f"/echo/{what}/{next(numbers)}"


def only(mesh, place, *words, **more):
    """All calls go to the endpoint on one machine, and are sent again on these words."""
    retries = {**RETRY, "on": list(words), **more} if words else None
    mesh.set({"split": [{"version": mesh.version(place)}], **({"retries": retries} if retries else {})})


def sent(mesh, method="GET", body=b""):
    """One call: its status, how often the log says that it was tried, and how often servers have seen it."""
    path = fresh(method)
    with mesh.wire() as wire:
        status = ask(wire, f"{method} {path}", body=body).status
    return status, mesh.line(path)["attempts"], mesh.seen(path)


def earn(mesh):
    """What two retries cost of the budget."""
    with mesh.wire() as wire:
        assert [ask(wire).status for _ in range(10)] == [200] * 10


@pytest.mark.parametrize("place", [NEAR, FAR])
@pytest.mark.parametrize("word", WORDS)
def test_sent_again_on(mesh, place, word):
    """Each word with each failure: two more tries where it is one of those, none elsewhere."""
    only(mesh, place, word, any_method=True)
    for mode, (status, words) in {**FAILURES, **BROKEN}.items():
        words = words | SAID[place] if mode in BROKEN else words
        if word in words:
            earn(mesh)
        tries = 3 if word in words else 1
        with mesh.behaves(place, mode):
            got = sent(mesh, "PATCH" if mode in BROKEN else "PUT")
        assert got == (status, tries, tries), (word, mode)


@pytest.mark.parametrize("place", [NEAR, FAR])
def test_never_again_what_may_have_had_effect(mesh, place):
    only(mesh, place, *WORDS)
    for method in ("POST", "PATCH"):
        for mode, (status, _) in {**FAILURES, **BROKEN}.items():
            with mesh.behaves(place, mode):
                assert sent(mesh, method) == (status, 1, 1), (method, mode)
    with mesh.behaves(place, "status 503"):  # a body that has begun to leave is not there any more
        assert sent(mesh, "PUT", b"abc") == (503, 1, 1)
        assert sent(mesh, "POST", b"abc") == (503, 1, 1)


def test_again_in_any_method_when_the_rule_says_so(mesh):
    only(mesh, FAR, *WORDS, any_method=True)
    earn(mesh)
    with mesh.behaves(FAR, "status 503"):
        assert sent(mesh, "POST") == (503, 3, 3)
        assert sent(mesh, "POST", b"abc") == (503, 1, 1)


@pytest.mark.parametrize("word, tries", [("gateway-error", 3), ("5xx", 3), ("reset", 1)])
def test_a_try_that_takes_too_long(mesh, word, tries):
    only(mesh, FAR, word, per_try_timeout="150ms")
    earn(mesh)
    with mesh.behaves(FAR, "stall"):
        path = fresh("slow")
        assert mesh.ask(f"GET {path}").status == 504
    line = mesh.line(path)
    assert (line["attempts"], line["response_code_details"], line["response_flags"]) == (tries, "UPSTREAM_TIMEOUT", "UT")
    assert line["duration"] >= 150 * tries and mesh.seen(path) == tries
    assert mesh.ask(f"GET {fresh()}").status == 200


def test_a_timeout_over_all_tries(mesh):
    mesh.set({"split": [{"version": mesh.version(FAR)}], "timeout": "400ms",
              "retries": {**RETRY, "attempts": 10, "on": ["gateway-error"], "per_try_timeout": "150ms"}})
    earn(mesh)
    with mesh.behaves(FAR, "stall"):
        path = fresh("slow")
        assert mesh.ask(f"GET {path}").status == 504
    assert mesh.line(path)["attempts"] in (2, 3) and mesh.line(path)["duration"] >= 400


def test_what_reached_nobody_is_sent_again_whatever_it_is(mesh):
    """The workload is away, or its whole machine: POST has had no effect either."""
    only(mesh, FAR, "refused-stream", "connect-failure")
    server = mesh.workload("orders", FAR)
    earn(mesh)
    server.stop()
    try:
        status, tries, seen = sent(mesh, "POST")
        assert (status, seen) == (503, 0) and tries >= 3
    finally:
        mesh.serve_one(mesh.service("orders"), mesh.lab[FAR])
    wait_for(lambda: mesh.ask(f"GET {fresh()}").status == 200, "the workload to be back")
    earn(mesh)
    mesh[FAR].stop()
    try:
        path = fresh("away")
        assert mesh.ask(f"POST {path}", body=b"abc").status == 503
        line = mesh.line(path)
        assert line["attempts"] >= 3 and mesh.seen(path) == 0
        assert (line["response_code_details"], line["response_flags"]) == ("UPSTREAM_CONNECT_FAILED", "UF")
    finally:
        mesh[FAR].start()
    wait_for(lambda: mesh.ask(f"GET {fresh()}").status == 200, "the machine to be back")


@pytest.mark.parametrize("mode", ["status 503", "reset", "garbage", "stall"])
def test_again_means_elsewhere(mesh, mode):
    """One of three endpoints fails: whoever meets it is served by another one, and it has seen each request once."""
    rule = {"retries": {**RETRY, "attempts": 1, "on": ["gateway-error", "reset"], "per_try_timeout": "500ms",
                        "any_method": True}}
    mesh.set(rule, settings={"balance": "round_robin", "outlier": {"ejected_percent": 0}})
    with mesh.wire() as wire:  # earns what the budget wants for those that follow
        for _ in range(60):
            assert ask(wire).status == 200
        paths, servers = [fresh("elsewhere") for _ in range(30)], collections.Counter()
        with mesh.behaves("vm-b", mode):
            for path in paths:
                reply = ask(wire, f"PATCH {path}")
                assert reply.status == 200
                servers[machine_of(reply)] += 1
    assert set(servers) == {"vm-a", "vm-c"}
    failed = [path for path in paths if mesh.seen(path, "vm-b")]
    assert len(failed) == 10
    for path in paths:
        again = path in failed
        assert mesh.line(path)["attempts"] == 1 + again
        assert mesh.seen(path) == 1 + again and mesh.seen(path, "vm-b") == again


def test_a_budget_holds_retries_down(mesh):
    """A fifth of the requests, and three a second: not twice the load on what fails under it."""
    mesh.forget()  # nothing is left of what earlier requests have earned
    only(mesh, FAR, "gateway-error", attempts=1)
    before = {name: mesh.mine(name) for name in ("retries_total", "retries_refused_total")}
    path, count = fresh("budget"), 200
    start = time.monotonic()
    with mesh.behaves(FAR, "status 503"), mesh.wire() as wire:
        for _ in range(count):
            assert ask(wire, f"GET {path}").status == 503
    took = time.monotonic() - start
    again, refused = (mesh.mine(name) - value for name, value in before.items())
    assert again + refused == count and mesh.seen(path) == count + again
    assert count / 5 <= again <= count / 5 + 3 + 3 * took + 1, (again, took)
    wait_for(lambda: len(mesh.access_lines("vm-a", path=path)) == count, "their lines")
    tries = collections.Counter(line["attempts"] for line in mesh.access_lines("vm-a", path=path))
    assert tries == {1: refused, 2: again}
