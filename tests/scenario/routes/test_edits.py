# SPDX-License-Identifier: Apache-2.0
"""What rules change on the way and answer by themselves, with all that a server and a caller see of it."""
import collections
import contextlib

import pytest
from machines import wait_for
from mesh import request_text
from served import FAR, NEAR, Served, ask


@pytest.fixture(scope="module")
def mesh():
    with Served() as mesh:
        yield mesh.start()


def to(mesh, place, **rule):
    mesh.set({"split": [{"version": mesh.version(place)}], **rule})


def values(headers, name):
    return [value for have, value in headers if have.lower() == name]


def named(**headers):
    return [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]


@pytest.mark.parametrize("place", [NEAR, FAR])
def test_headers_of_requests(mesh, place):
    to(mesh, place, request_headers={"remove": ["x-gone", "X-Both"], "set": named(x_set="new", x_both="again"),
                                     "add": named(x_add="2", x_fresh="3")})
    sent = ["X-Gone: 1", "x-gone: 2", "X-Set: old", "x-set: older", "X-Both: 1", "X-Add: 1", "X-Stays: yes, no"]
    for body in (b"", b"some body"):
        got = mesh.ask("POST /echo", headers=sent, body=body).json
        assert got["body_bytes"] == len(body)
        found = {name: values(got["headers"], name) for name in ("x-gone", "x-set", "x-both", "x-add", "x-fresh", "x-stays")}
        assert found == {"x-gone": [], "x-set": ["new"], "x-both": ["again"], "x-add": ["1", "2"], "x-fresh": ["3"],
                         "x-stays": ["yes, no"]}


@pytest.mark.parametrize("place", [NEAR, FAR])
@pytest.mark.parametrize("line", ["GET /echo", "GET /chunked/3", "GET /status/204", "GET /status/500", "HEAD /bytes/10", "GET /early-hints"])
def test_headers_of_responses(mesh, place, line):
    """Of every kind of answer: the body is the same as ever."""
    to(mesh, place, response_headers={"remove": ["server-name"], "set": named(x_set="new"), "add": named(x_add="1", server_name="none")})
    with mesh.wire() as wire:
        for _ in range(2):
            reply = ask(wire, line)
            assert values(reply.headers, "server-name") == ["none"]
            assert values(reply.headers, "x-set") == ["new"] and values(reply.headers, "x-add") == ["1"]
            if "chunked" in line:
                assert len(reply.body) == 3000 and reply.trailers


REWRITES = {  # the rule: what is asked for, and what the server sees
    "a prefix": ({"match": {"path_prefix": "/old"}, "rewrite": {"prefix": "/echo/new"}},
                 {"/old": "/echo/new", "/old/": "/echo/new/", "/old/a/b?c=/old": "/echo/new/a/b?c=/old", "/old/%20x": "/echo/new/%20x"}),
    "a prefix to the root": ({"match": {"path_prefix": "/gone"}, "rewrite": {"prefix": "/"}}, {"/gone/echo": "/echo", "/gone/echo?q": "/echo?q"}),
    "a path": ({"match": {"path": "/old/x"}, "rewrite": {"path": "/echo/fixed"}}, {"/old/x": "/echo/fixed", "/old/x?q=1": "/echo/fixed?q=1"}),
    "a host": ({"rewrite": {"host": "inside.example"}}, {"/echo/h": "/echo/h"}),
}


@pytest.mark.parametrize("place", [NEAR, FAR])
@pytest.mark.parametrize("what", REWRITES)
def test_rewriting(mesh, place, what):
    rule, paths = REWRITES[what]
    to(mesh, place, **rule)
    host = rule["rewrite"].get("host", "orders")
    with mesh.wire() as wire:
        for asked, seen in paths.items():
            got = ask(wire, f"GET {asked}").json
            assert got["path"] == seen and values(got["headers"], "host") == [host]
    # the caller's log has what was asked for, the service's what it became
    asked, seen = next(iter(paths.items()))
    assert wait_for(lambda: mesh.access_lines("vm-a", path=asked, authority="orders"), "the caller's line")
    if place == FAR:
        assert wait_for(lambda: mesh.access_lines(FAR, path=seen, authority=host), "the service's line")


REDIRECTS = {  # the redirect: status and Location of GET /old/a?b=c at host orders
    "a prefix": ({"prefix": "/new"}, 302, "/new/a?b=c"),
    "a path": ({"path": "/x", "status": 301}, 301, "/x?b=c"),
    "a host": ({"host": "other.example", "status": 307}, 307, "http://other.example/old/a?b=c"),
    "a scheme": ({"scheme": "https", "status": 308}, 308, "https://orders/old/a?b=c"),
    "all": ({"scheme": "https", "host": "other.example:8443", "prefix": "/", "status": 303}, 303, "https://other.example:8443/a?b=c"),
}


@pytest.mark.parametrize("what", REDIRECTS)
def test_redirecting(mesh, what):
    redirect, status, location = REDIRECTS[what]
    mesh.set({"name": "moved", "match": {"path_prefix": "/old"}, "redirect": redirect})
    before = mesh.seen("/old/a?b=c")
    with mesh.wire() as wire:
        for method, body in (("GET", b""), ("HEAD", b""), ("POST", b"abc")):
            reply = ask(wire, f"{method} /old/a?b=c", body=body)
            assert (reply.status, reply.get("Location"), reply.body) == (status, location, b"")
        assert reply.get("Connection") == "close"  # a body that nobody wants is not waited for
    assert mesh.ask().status == 200
    assert mesh.seen("/old/a?b=c") == before
    line = wait_for(lambda: mesh.access_lines("vm-a", route_name="orders/moved", response_code=status), "its line")[0]
    assert (line["upstream_host"], line["response_code_details"], line["destination_version"]) == (None, "NONE", None)


@pytest.mark.parametrize("status, body", [(200, "well"), (204, ""), (404, ""), (503, "a long answer " * 40)])
def test_responding(mesh, status, body):
    mesh.set({"name": "own", "match": {"path": "/own"}, "respond": {"status": status, **({"body": body} if body else {})},
              "response_headers": {"add": named(x_by="route")}})
    with mesh.wire() as wire:
        for method, sent in (("GET", b""), ("DELETE", b""), ("PUT", b"abc" * 1000)):
            reply = ask(wire, f"{method} /own", body=sent)
            assert (reply.status, reply.body.decode(), reply.get("x-by")) == (status, body, "route")
    assert mesh.seen("/own") == 0


def test_a_long_body_that_nobody_wants(mesh):
    """Whoever sends one gets the answer, and no reset before it, however much is still under way."""
    mesh.set({"match": {"path": "/own"}, "respond": {"status": 403, "body": "no"}})
    for size in (3000, 70000, 1000000):
        for _ in range(10):
            with mesh.wire() as wire:
                with contextlib.suppress(ConnectionError):  # that it is not read to its end may be noticed
                    wire.send(request_text("PUT /own", "orders", body=bytes(size)))
                reply = wire.reply()
                assert (reply.status, reply.body, reply.get("Connection")) == (403, b"no", "close")


@pytest.mark.parametrize("percent", [1, 33, 50, 99, 100])
def test_faults_by_exact_percentages(mesh, percent):
    """Over kept and new connections: exactly so many of each hundred are aborted, and reach nobody."""
    path = f"/echo/abort/{percent}"
    mesh.set({"match": {"path": path}, "fault": {"abort_status": 418, "abort_percent": percent}})
    statuses = []
    with mesh.wire() as wire:
        for turn in range(100):
            statuses.append(ask(wire, f"POST {path}").status)
            statuses.append(mesh.ask(f"GET {path}").status if turn % 4 == 0 else ask(wire, f"GET {path}").status)
        assert ask(wire).status == 200
    for first in range(101):
        assert collections.Counter(statuses[first:first + 100])[418] == percent
    assert mesh.seen(path) == 200 - 2 * percent
    wait_for(lambda: len(mesh.access_lines("vm-a", path=path)) == 200, "their lines")
    told = collections.Counter((line["response_code"], line["response_code_details"], line["response_flags"])
                               for line in mesh.access_lines("vm-a", path=path))
    assert told == +collections.Counter({(418, "FAULT_INJECTED", "FI"): 2 * percent, (200, "NONE", "-"): 200 - 2 * percent})


def test_delays_by_exact_percentages(mesh):
    mesh.set({"fault": {"delay": "200ms", "delay_percent": 20}})
    with mesh.wire() as wire:
        for _ in range(40):
            assert ask(wire, "GET /echo/delay").status == 200
    wait_for(lambda: len(mesh.access_lines("vm-a", path="/echo/delay")) == 40, "their lines")
    lines = mesh.access_lines("vm-a", path="/echo/delay")
    late = [line for line in lines if line["response_flags"] == "DI"]
    assert len(late) == 8 and all(line["duration"] >= 200 and line["response_code_details"] == "DELAY_INJECTED" for line in late)


def test_a_delay_beyond_the_timeout(mesh):
    mesh.set({"timeout": "100ms", "fault": {"delay": "2s"}})
    assert mesh.ask("GET /echo/never").status == 504
    line = mesh.line("/echo/never")
    assert line["response_code_details"] == "UPSTREAM_TIMEOUT" and line["duration"] < 2000 and mesh.seen("/echo/never") == 0
