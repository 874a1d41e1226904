# SPDX-License-Identifier: Apache-2.0
"""Limits that each machine of a service keeps by itself: who is refused, what callers are told, and
that nothing else changes. Most limits are for an hour, so that nothing comes in during a test."""
import collections
import itertools
import json
import socket
import threading
import time

import pytest
from machines import wait_for
from mesh import ECHO, GUEST, NET_V4, ORDERS, STRANGER_UID, WEB, ScenarioMesh, at, request_text
from nodes import config_file_text

NUMBERS = itertools.count()
HOUR = {"service": "orders", "per": "1h"}


class LimitedMesh(ScenarioMesh):
    limits, routes, named = (), (), ()

    def mesh_groups(self):
        groups = super().mesh_groups()
        if self.limits:
            groups["limits"] = list(self.limits)
        if self.routes:
            groups["routes"] = list(self.routes)
        return groups

    def start(self, serve=True):
        self.lab["vm-a"].run(["ip", "route", "add", f"{NET_V4}200", "dev", "eth0"])
        return super().start(serve)

    def reload(self):
        """Reads its files on all machines; the answers, as soon as everything is in force."""
        self.mesh_file.write_text(config_file_text(self.mesh_groups()))
        before = {node.name: node.status()["generation"] for node in self}
        for node in self:
            node.reload()
        for node in self:
            wait_for(lambda: node.status()["generation"] > before[node.name], f"a new generation on {node.name}")

    def limit(self, *limits, routes=()):
        """These are all the limits, and routes, from now on."""
        self.limits, self.routes = [{"name": f"limit-{next(NUMBERS)}", **row} for row in limits], routes
        self.named = [row["name"] for row in self.limits]  # another name each time: counts go by it
        self.reload()


@pytest.fixture(scope="module")
def mesh():
    services = [WEB, GUEST, at(ORDERS, "vm-b", own=200), ECHO]
    with LimitedMesh(services, workers=2) as mesh:
        yield mesh.start()


@pytest.fixture(scope="module")
def local_mesh():
    services = [WEB, at(ORDERS, "vm-a", mtls="permissive"), ECHO]
    with LimitedMesh(services) as mesh:
        yield mesh.start()


def call(mesh, caller="web", line="GET /echo", headers=(), **more):
    return mesh.call(caller, "orders", line, headers, **more)


def statuses(mesh, count, *args, **more):
    return [call(mesh, *args, **more).status for _ in range(count)]


def rate_limit(reply):
    return tuple(int(reply.get(f"RateLimit-{name}")) for name in ("Limit", "Remaining", "Reset"))


def counted(mesh, name, index=0, node="vm-b"):
    return mesh[node].metric(name, limit=mesh.named[index])


# --- what callers are told -----------------------------------------------------------------------------------


def test_a_request_too_many_is_answered_429(mesh):
    mesh.limit({**HOUR, "requests": 3, "body": "come back later"})
    for left in (2, 1, 0):
        reply = call(mesh)
        assert reply.status == 200 and rate_limit(reply)[:2] == (3, left)
        assert 1200 * (3 - left) - 30 <= rate_limit(reply)[2] <= 1200 * (3 - left)
    assert reply.get("Retry-After") is None
    served = mesh.record("orders").count(b"GET /echo")
    refused = call(mesh, headers=["X-Request-Id: too-many"])
    assert refused.status == 429 and refused.body == b"come back later\n" and rate_limit(refused)[:2] == (3, 0)
    assert 1150 <= int(refused.get("Retry-After")) <= 1200 and 3550 <= rate_limit(refused)[2] <= 3600
    assert mesh.record("orders").count(b"GET /echo") == served
    line = mesh.access_line("vm-b", request_id="too-many")
    assert (line["response_code"], line["response_flags"], line["response_code_details"]) == (429, "RL", "RATE_LIMITED")
    assert line["limit_name"] == mesh.named[0] and line["upstream_host"] is not None
    assert mesh.access_line("vm-a", request_id="too-many")["response_code"] == 429
    assert counted(mesh, "ringmain_rate_limited_total") == 1
    assert mesh["vm-b"].metric("istio_requests_total", reporter="destination", response_flags="RL") == 1


def test_a_connection_goes_on_after_a_refusal(mesh):
    mesh.limit({**HOUR, "requests": 1})
    with mesh.dial("web", "orders") as wire:
        found = [wire.send(request_text("GET /echo", "orders")).reply().status for _ in range(4)]
        assert found == [200, 429, 429, 429]
        assert wire.send(request_text("HEAD /echo", "orders")).reply("HEAD").status == 429
        reply = wire.send(request_text("POST /echo", "orders", body=b"x" * 1000)).reply()
        assert reply.status == 429 and reply.body.startswith(b"more is asked")


def test_tokens_come_back_with_time(mesh):
    mesh.limit({"service": "orders", "requests": 4, "per": "2s", "burst": 1})
    assert call(mesh).status == 200
    refused = call(mesh)
    assert refused.status == 429 and refused.get("Retry-After") == "1" and rate_limit(refused)[:2] == (1, 0)
    wait_for(lambda: call(mesh).status == 200, "a token")


def test_grpc_callers_are_told_in_grpc(mesh):
    mesh.limit({**HOUR, "requests": 1})
    headers = ["Content-Type: application/grpc+proto"]
    assert call(mesh, line="POST /echo", headers=headers, body=b"12345").status == 200
    refused = call(mesh, line="POST /echo", headers=headers, body=b"12345")
    assert (refused.status, refused.get("grpc-status"), refused.get("Content-Type")) == (200, "8", "application/grpc+proto")
    assert int(refused.get("Retry-After")) > 3500 and refused.body == b""


def test_without_a_limit_nothing_is_said(mesh):
    mesh.limit()
    reply = call(mesh)
    assert reply.status == 200 and not [n for n, _ in reply.headers if n.lower().startswith("ratelimit")]


# --- whose tokens ----------------------------------------------------------------------------------------------


def test_by_source(mesh):
    mesh.limit({**HOUR, "requests": 2, "by": ["source"]})
    assert statuses(mesh, 3, "web") == [200, 200, 429]
    assert statuses(mesh, 3, "guest") == [200, 200, 429]


def test_by_header(mesh):
    mesh.limit({**HOUR, "requests": 1, "by": ["header:X-Key"]})

    def one(*values):
        return call(mesh, headers=[f"X-Key: {v}" for v in values]).status

    assert [one("a"), one("a"), one("b"), one("b")] == [200, 429, 200, 429]
    # one that has none is one of its own, the same as an empty one
    assert [one(), one(), one("")] == [200, 429, 429]
    # several are one value, however they are divided
    assert [one("a", "b"), one("a,b"), one("b", "a")] == [200, 429, 200]


def test_by_several_at_once(mesh):
    mesh.limit({**HOUR, "requests": 1, "by": ["source", "method", "path", "cookie:s"]})
    asked = [("web", "GET /echo/a", ()), ("guest", "GET /echo/a", ()), ("web", "PUT /echo/a", ()),
             ("web", "GET /echo/b", ()), ("web", "GET /echo/a", ("Cookie: x=1; s=2",))]
    assert [call(mesh, who, line, headers).status for who, line, headers in asked] == [200] * 5
    assert [call(mesh, who, line, headers).status for who, line, headers in asked] == [429] * 5
    assert call(mesh, "web", "GET /echo/%61?query=aside").status == 429


def test_by_route(mesh):
    rules = [{"name": "canary", "match": {"path_prefix": "/echo/canary"}}, {"name": "rest", "match": {"path_prefix": "/echo"}}]
    mesh.limit({**HOUR, "requests": 2, "by": ["route"]}, routes=[{"service": "orders", "rules": rules}])

    def one(line, *headers, to=None):
        with mesh.dial("web", to or mesh.own("orders")) as wire:
            return wire.send(request_text(line, "orders", headers)).reply().status

    assert [one("GET /echo/canary") for _ in range(3)] == [200, 200, 429]
    assert [one("GET /echo/1") for _ in range(3)] == [200, 200, 429]
    # what callers say of it themselves is not believed, and does not come through
    assert one("GET /echo/canary", "x-ringmain-route: orders/rest") == 429
    assert [one("GET /echo", "x-ringmain-route: orders/canary", to="orders") for _ in range(3)] == [200, 200, 429]
    assert b"x-ringmain-route" not in mesh.record("orders").lower()


def test_only_what_matches_counts(mesh):
    mesh.limit({**HOUR, "requests": 1, "match": {"methods": ["POST"], "path_prefix": "/echo/a", "from": ["web"]}})
    assert call(mesh, line="POST /echo/a").status == 200
    assert call(mesh, line="POST /echo/a").status == 429
    assert statuses(mesh, 3, line="GET /echo/a") == statuses(mesh, 3, line="POST /echo/b") == [200] * 3
    assert statuses(mesh, 3, "guest", "POST /echo/a") == [200] * 3


def test_all_limits_must_have_something_left(mesh):
    mesh.limit({**HOUR, "requests": 10}, {**HOUR, "requests": 2, "by": ["source"]})
    replies = [call(mesh, "web") for _ in range(5)]
    assert [r.status for r in replies] == [200, 200, 429, 429, 429]
    assert [rate_limit(r)[:2] for r in replies[:3]] == [(2, 1), (2, 0), (2, 0)]  # the tightest counts
    # what one has refused, none has taken: of ten there are eight
    assert statuses(mesh, 3, "guest") == [200, 200, 429]
    found = json.loads(mesh["vm-b"].admin_get("/limits")[1])["limits"]
    assert [(row["name"], row["granted"], row["refused"]) for row in found] == [(mesh.named[0], 4, 0), (mesh.named[1], 4, 4)]
    assert found[0]["remaining"] == 6 and found[1]["keys"] == 2
    wait_for(lambda: len(mesh.access_lines("vm-b", limit_name=mesh.named[1])) == 4, "lines of refusals")


def test_many_keys_share_what_there_is_room_for(mesh):
    """More keys than places: the others have one bucket together, and that is counted."""
    mesh.limit({**HOUR, "requests": 1, "by": ["header:X-Key"], "fair": True})  # a fair one has 1024 places
    with mesh.dial("web", "orders") as wire:
        for first in range(0, 2000, 50):
            keys = range(first, first + 50)
            wire.send(b"".join(request_text("GET /echo", "orders", [f"X-Key: {k}"]) for k in keys))
            found = [wire.reply().status for _ in keys]
            assert set(found) <= {200, 429}
    granted = counted(mesh, "ringmain_rate_limit_granted_total")
    assert 600 <= granted <= 1025 and counted(mesh, "ringmain_rate_limit_crowded_total") == 1


# --- what it leaves alone --------------------------------------------------------------------------------------


def test_a_shadow_refuses_nothing(mesh):
    mesh.limit({**HOUR, "requests": 2, "shadow": True})
    replies = [call(mesh, headers=[f"X-Request-Id: shadow-{i}"]) for i in range(5)]
    assert [r.status for r in replies] == [200] * 5 and replies[-1].get("RateLimit-Limit") is None
    assert mesh.access_line("vm-b", request_id="shadow-4")["shadow_limit_name"] == mesh.named[0]
    assert "shadow_limit_name" not in mesh.access_line("vm-b", request_id="shadow-1")
    assert counted(mesh, "ringmain_rate_limit_shadowed_total") == 3


def test_retries_do_not_multiply(mesh):
    """A refusal is no failure of the endpoint: it is not tried again, and nobody is ejected."""
    retries = {"attempts": 5, "on": ["5xx", "gateway-error", "reset", "refused-stream", "connect-failure", "retriable-4xx"]}
    mesh.limit({**HOUR, "requests": 1}, routes=[{"service": "orders", "rules": [{"retries": retries}]}])
    before = counted(mesh, "ringmain_rate_limited_total")
    with mesh.dial("web", mesh.own("orders")) as wire:
        found = [wire.send(request_text("GET /echo", "orders")).reply().status for _ in range(21)]
    assert found == [200] + [429] * 20
    assert counted(mesh, "ringmain_rate_limited_total") - before == 20
    assert mesh["vm-a"].metric("ringmain_ejections_total") == 0


def test_opaque_connections(mesh):
    mesh.limit({"service": "echo", "requests": 2, "per": "1h", "by": ["source"]})
    with mesh.dial("web", "echo") as a, mesh.dial("web", "echo") as b:
        assert a.send("one").exactly(3) == b"one" and b.send("two").exactly(3) == b"two"
        assert mesh.turned_away("web", "echo") and mesh.turned_away("web", "echo")
        assert a.send("still").exactly(5) == b"still"
        with mesh.dial("guest", "echo") as c:
            assert c.send("other").exactly(5) == b"other"
    lines = wait_for(lambda: mesh.access_lines("vm-b", limit_name=mesh.named[0], destination_service="echo"), "lines")
    assert {line["response_code_details"] for line in lines} == {"RATE_LIMITED"} and len(lines) == 2


# --- every way in ------------------------------------------------------------------------------------------------


def test_callers_of_the_same_machine(local_mesh):
    local_mesh.limit({**HOUR, "requests": 2, "by": ["source", "route"]})
    assert [local_mesh.call("web", "orders").status for _ in range(3)] == [200, 200, 429]
    line = local_mesh.access_line("vm-a", response_code=429)
    assert line["security"] == "local" and line["limit_name"] == local_mesh.named[0]


def test_callers_in_the_plain(local_mesh):
    local_mesh.policies = [{"service": "orders", "action": "allow", "from": ["anonymous", "*"]}]
    local_mesh.limit({**HOUR, "requests": 2, "by": ["source", "client"]})

    def one():
        with local_mesh.dial(STRANGER_UID, "orders", machine="vm-b") as wire:
            return wire.send(request_text("GET /echo", "orders")).reply().status

    assert [one() for _ in range(3)] == [200, 200, 429]
    assert local_mesh.call("web", "orders").status == 200


# --- under load ----------------------------------------------------------------------------------------------------


def run_all(*works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_exact_over_several_workers(mesh):
    """Both workers of vm-b take from one bucket, however the connections fall to them."""
    mesh.limit({**HOUR, "requests": 150}, {**HOUR, "requests": 70, "by": ["header:X-Key"]})
    found = collections.Counter()
    lock = threading.Lock()

    def caller(index):
        key = index % 4
        with mesh.dial("web" if index % 2 else "guest", "orders") as wire:
            for _ in range(40):
                status = wire.send(request_text("GET /echo", "orders", [f"X-Key: {key}"])).reply().status
                with lock:
                    found[key, status] += 1

    run_all(*(lambda i=i: caller(i) for i in range(12)))
    granted = [found[key, 200] for key in range(4)]
    assert sum(granted) == 150 and max(granted) <= 70
    assert sum(found.values()) == 480


class Demand:
    """A caller that asks so many times a second, on some connections, until it is stopped."""

    def __init__(self, mesh, caller, pace, connections=2):
        self.mesh, self.caller, self.pace = mesh, caller, pace / connections
        self.statuses = collections.Counter()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(connections)]

    def run(self):
        with self.mesh.dial(self.caller, "orders") as wire:
            due = time.monotonic()
            while not self.ending.is_set():
                self.statuses[wire.send(request_text("GET /echo", "orders")).reply().status] += 1
                due = max(due + 1 / self.pace, time.monotonic() - 0.2)
                time.sleep(max(0, due - time.monotonic()))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def test_fair_shares(mesh):
    """Of forty a second, one that wants twenty-five and one that wants ten times as many get twenty each; what
    the one does not want the other gets."""
    mesh.limit({"service": "orders", "requests": 40, "burst": 10, "fair": True})
    with Demand(mesh, "web", 200) as greedy:
        time.sleep(1)
        with Demand(mesh, "guest", 28) as modest:
            time.sleep(1)
            start = greedy.statuses[200], modest.statuses[200], modest.statuses.total()
            time.sleep(5)
            end = greedy.statuses[200], modest.statuses[200], modest.statuses.total()
        greedy_got, modest_got, modest_asked = (b - a for a, b in zip(start, end))
        assert modest_asked > modest_got and greedy_got + modest_got <= 40 * 5.5 + 10
        assert modest_got >= 0.8 * min(modest_asked, greedy_got + 1), (greedy_got, modest_got, modest_asked)
    assert greedy.statuses[429] > 0


def test_a_change_is_in_force_without_a_lost_request(mesh):
    mesh.limit({**HOUR, "requests": 5})
    with Demand(mesh, "web", 200, 4) as demand:
        wait_for(lambda: demand.statuses[429] > 20, "refusals")
        assert demand.statuses[200] == 5
        mesh.limit({**HOUR, "requests": 100000})
        refused = demand.statuses[429]
        wait_for(lambda: demand.statuses[200] > 100, "answers")
        assert demand.statuses[429] - refused <= 8  # those that were under way
        mesh.limit({**HOUR, "requests": 100000}, {**HOUR, "requests": 1, "match": {"from": ["guest"]}})
        wait_for(lambda: demand.statuses[200] > 200, "more answers")
        mesh.limit()
        wait_for(lambda: demand.statuses[200] > 300, "answers without a limit")
    assert set(demand.statuses) == {200, 429}


def test_what_has_not_changed_goes_on(mesh):
    mesh.limit({**HOUR, "name": "same", "requests": 3})
    assert statuses(mesh, 2) == [200, 200]
    mesh.limit({**HOUR, "name": "same", "requests": 3}, {**HOUR, "requests": 9, "by": ["source"]})
    assert statuses(mesh, 2) == [200, 429]


def test_limits_are_listed(mesh):
    mesh.limit({**HOUR, "requests": 3, "match": {"method": "GET"}}, {**HOUR, "requests": 5, "by": ["source"], "shadow": True})
    statuses(mesh, 4)
    text = mesh["vm-b"].ringmain("limits", "list").stdout
    rows = [line.split() for line in text.splitlines()]
    assert rows[0][:2] == ["LIMIT", "SERVICE"] and rows[1][0] == mesh.named[0] and rows[2][0] == mesh.named[1]
    assert "3 per 1h" in text and "0 of 3" in text and "shadow" in text
    other = mesh["vm-a"].ringmain("limits", "list", "orders").stdout
    assert "elsewhere" in other and mesh.named[0] in other
    assert mesh["vm-b"].ringmain("limits", "list", "echo").stdout == "no limits\n"
    words = ["routes", "explain", "--from", "web", "--to", "orders", "--method"]
    assert f"{mesh.named[0]}, {mesh.named[1]}: limits that leg 1 counts for" in mesh["vm-a"].ringmain(*words, "GET").stdout
    assert f"\n{mesh.named[1]}: limits that leg 1" in mesh["vm-a"].ringmain(*words, "PUT").stdout
