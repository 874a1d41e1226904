# SPDX-License-Identifier: Apache-2.0
"""Routes that operators publish: which rule a call goes by, where it leads, what is changed on the way."""
import collections
import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "state"))
from fleet import ALLOW_ECHO, ALLOW_GUEST, ALLOW_WEB, Fleet, Load  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ECHO, GUEST, ORDERS, STOCK, WEB, at, request_text  # noqa: E402

SERVICES = [WEB, GUEST, at(ORDERS, "vm-a", "vm-b", "vm-c", own=200), at(ECHO, "vm-b", "vm-c", own=201),
            at(STOCK, "vm-b", own=202)]
VERSIONS = {"vm-a": "v0", "vm-b": "v1", "vm-c": "v2"}
ALLOW_STOCK = {"name": "web-uses-stock", "service": "stock", "action": "allow", "from": ["web"]}
DENY_ADMIN = {"name": "no-admin", "service": "orders", "action": "deny", "paths": ["/echo/admin/*"]}


def to(version, **more):
    return {"split": [{"version": version}], **more}


def by(version, **match):
    return to(version, match=match)


@pytest.fixture(scope="module")
def fleet():
    policies = [ALLOW_WEB, ALLOW_ECHO, ALLOW_GUEST, ALLOW_STOCK, DENY_ADMIN]
    with Fleet(SERVICES, policies=policies) as fleet:
        for name, version in VERSIONS.items():
            fleet[name].more = {s: {"version": version} for s in ("orders", "echo") if name != "vm-a" or s == "orders"}
        yield fleet.start()


def route(fleet, *rules, service="orders"):
    """Publishes a route, the only one that there is then, and waits until it is in force."""
    fleet.publish({**fleet.mesh_groups(), "routes": [{"service": service, "rules": list(rules)}]}, "--prune")
    fleet.wait_settled()


def ask(wire, line="GET /echo", host="orders", headers=(), body=b""):
    return wire.send(request_text(line, host, headers, body)).reply(line.split(" ")[0])


def versions(fleet, count, **request):
    """Who answers so many requests of one connection, by version."""
    found = collections.Counter()
    with fleet.dial_own("web", "orders") as wire:
        for _ in range(count):
            reply = ask(wire, **request)
            found[VERSIONS[reply.json["server"].split("@")[1]] if reply.status == 200 else reply.status] += 1
    return dict(found)


# --- where calls go -------------------------------------------------------------------------------------------


def test_weights_are_exact(fleet):
    route(fleet, {"split": [{"version": "v1", "weight": 90}, {"version": "v2", "weight": 10}]})
    for _ in range(3):
        assert versions(fleet, 100) == {"v1": 90, "v2": 10}
    lines = wait_for(lambda: fleet.access_lines("vm-a", route_name="orders/rules[0]"), "lines of the rule")
    line = lines[-1]
    assert line["destination_version"] in ("v1", "v2") and line["destination_service"] == "orders"
    by_version = {v: fleet["vm-a"].metric("istio_requests_total", reporter="source", destination_workload="orders",
                                          destination_version=v) for v in ("v0", "v1", "v2")}
    assert by_version["v1"] == 9 * by_version["v2"] >= 270 and by_version["v0"] == 0


def test_the_caller_s_own_machine_takes_part(fleet):
    route(fleet, {"split": [{"version": v} for v in ("v0", "v1", "v2")]})
    assert versions(fleet, 30) == {"v0": 10, "v1": 10, "v2": 10}
    with fleet.dial_own("web", "orders", socket.AF_INET6) as wire:
        assert all(ask(wire).status == 200 for _ in range(6))


MATCHES = {  # a rule's match, a request that it matches, one that it does not
    "path": (dict(path="/echo/exact"), dict(line="GET /echo/%65xact?a=b"), dict(line="GET /echo/exact/")),
    "path_prefix": (dict(path_prefix="/echo/pre"), dict(line="GET /echo//pre/x"), dict(line="GET /echo/prefix")),
    "path_template": (dict(path_template="/echo/t/{id}/*"), dict(line="GET /echo/t/7/a/b"), dict(line="GET /echo/t/7")),
    "method": (dict(path="/echo/method", methods=["PUT", "DELETE"]), dict(line="DELETE /echo/method"),
               dict(line="GET /echo/method")),
    "host": (dict(host="*.example.com"), dict(host="A.example.com:8080"), dict(host="example.com")),
    "header": (dict(headers=[{"name": "x-user", "suffix": "@example.com"}]), dict(headers=["X-User: a@example.com"]),
               dict(headers=["X-User: a@example.org"])),
    "no header": (dict(path="/echo/nothing", headers=[{"name": "x-user", "present": False}]), dict(line="GET /echo/nothing"),
                  dict(line="GET /echo/nothing", headers=["X-User: a"])),
    "query": (dict(query=[{"name": "v", "exact": "a b"}]), dict(line="GET /echo?x=1&v=a%20b"), dict(line="GET /echo?v=ab")),
    "cookie": (dict(cookies=[{"name": "beta", "exact": "1"}]), dict(headers=["Cookie: a=2; beta=1"]),
               dict(headers=["Cookie: beta=2"])),
}


@pytest.fixture(scope="module")
def matching(fleet):
    route(fleet, *[dict(by("v2", **match), name=name.replace(" ", "-")) for name, (match, _, _) in MATCHES.items()],
          dict(by("v0", **{"from": "guest"})), to("v1"))
    return fleet


@pytest.mark.parametrize("what", MATCHES)
def test_a_rule_matches_by(matching, what):
    _, request, other = MATCHES[what]
    assert versions(matching, 3, **request) == {"v2": 3}
    named = f"orders/{what.replace(' ', '-')}"
    wait_for(lambda: len(matching.access_lines("vm-a", route_name=named)) == 3, f"lines of {named}")
    assert versions(matching, 3, **other) == {"v1": 3}


def explain(fleet, *words, check=True, **request):
    """What vm-a says of a request such as ask() sends."""
    method, path = request.get("line", "GET /echo").split(" ")
    words = [*words, *(word for line in request.get("headers", ()) for word in ("-H", line))]
    return fleet["vm-a"].ringmain("routes", "explain", "--from", "web", "--to", "orders", "--method", method, "--path", path,
                                  "--host", request.get("host", "orders"), *words, check=check)


@pytest.mark.parametrize("what", MATCHES)
def test_explain_names_the_rule_that_a_request_goes_by(matching, what):
    _, request, other = MATCHES[what]
    name = f"orders/{what.replace(' ', '-')}"
    found = json.loads(explain(matching, "-o", "json", **request).stdout)
    assert found["rule"] == name and found["rules"][-1] == {"name": name, "matches": True}
    assert [leg["version"] for leg in found["split"]] == ["v2"]
    found = json.loads(explain(matching, "-o", "json", **other).stdout)
    assert found["rule"] == "orders/rules[10]"
    missed = {r["name"]: (r.get("missed"), r.get("wanted")) for r in found["rules"]}
    assert missed[name][0] == what.replace("no ", "").split("_")[0], missed


def test_a_rule_matches_by_who_calls(matching):
    assert matching.call_own("guest").json["server"] == "orders@vm-a"
    assert matching.call_own("web").json["server"] == "orders@vm-b"


def test_what_no_rule_matches_goes_on_as_without(fleet):
    route(fleet, by("v2", path="/echo/v2"))
    assert set(versions(fleet, 60)) == set(VERSIONS.values())
    assert versions(fleet, 3, line="GET /echo/v2") == {"v2": 3}


def test_to_another_service(fleet):
    route(fleet, {"match": {"path_prefix": "/echo/stock"}, "split": [{"service": "stock"}]}, to("v1"))
    with fleet.dial_own("web", "orders") as wire:
        assert ask(wire, "GET /echo/stock").json["server"] == "stock"
        assert ask(wire).json["server"] == "orders@vm-b"
        assert ask(wire, "GET /echo/stock").status == 200
    # what lets callers in to orders says nothing of stock
    assert fleet.call_own("guest", line="GET /echo/stock").status == 403


def test_a_caller_stays_with_its_version(fleet):
    route(fleet, {"split": [{"version": "v1"}, {"version": "v2"}], "sticky": {"cookie": "user"}})
    found = {user: set(versions(fleet, 4, headers=[f"Cookie: a=b; user={user}"])) for user in range(12)}
    assert all(len(got) == 1 for got in found.values()) and set().union(*found.values()) == {"v1", "v2"}
    assert versions(fleet, 10) == {"v1": 5, "v2": 5}
    # more for v2 takes nobody away from it
    route(fleet, {"split": [{"version": "v1", "weight": 1}, {"version": "v2", "weight": 3}], "sticky": {"cookie": "user"}})
    for user, got in found.items():
        if got == {"v2"}:
            assert versions(fleet, 2, headers=[f"Cookie: user={user}"]) == {"v2": 2}


def test_tcp_by_weight_and_by_who_calls(fleet):
    def opened():
        return [fleet[name].metric("istio_tcp_connections_opened_total", reporter="destination",
                                   destination_workload="echo") for name in ("vm-b", "vm-c")]

    def spread(count, caller="web"):
        before = opened()
        for _ in range(count):
            with fleet.dial_own(caller, "echo") as wire:
                assert wire.send(b"abc").finish().rest() == b"abc"
        return [b - a for a, b in zip(before, opened())]
    route(fleet, {"split": [{"version": "v1", "weight": 3}, {"version": "v2", "weight": 1}]}, service="echo")
    assert spread(20) == [15, 5]
    route(fleet, by("v2", **{"from": "web"}), to("v1"), service="echo")
    assert spread(5) == [0, 5]


# --- what is changed on the way -------------------------------------------------------------------------------


def test_headers_are_changed(fleet):
    route(fleet, to("v2", request_headers={"remove": ["x-gone"], "set": [{"name": "x-set", "value": "new"}],
                                           "add": [{"name": "x-add", "value": "2"}]},
                    response_headers={"remove": ["Server-Name"], "set": [{"name": "x-by", "value": "route"}]}))
    with fleet.dial_own("web", "orders") as wire:
        reply = ask(wire, headers=["X-Gone: 1", "X-Set: old", "X-Add: 1", "x-set: older", "X-Stays: yes"])
    got = [(name.lower(), value) for name, value in reply.json["headers"]]
    assert [v for n, v in got if n == "x-set"] == ["new"] and [v for n, v in got if n == "x-add"] == ["1", "2"]
    assert "x-gone" not in dict(got) and dict(got)["x-stays"] == "yes"
    assert reply.get("X-By") == "route" and reply.get("Server-Name") is None


def test_policy_sees_what_was_rewritten(fleet):
    for version in ("v0", "v2"):  # judged by the caller's own proxy, and by another machine's
        route(fleet, {"match": {"path_prefix": "/old"}, "rewrite": {"prefix": "/echo", "host": "new.example"},
                      **to(version)}, to(version))
        with fleet.dial_own("web", "orders") as wire:
            answer = ask(wire, f"GET /old/{version}?q=1").json
            assert answer["path"] == f"/echo/{version}?q=1" and ["Host", "new.example"] in answer["headers"]
            assert ask(wire, "GET /old/admin/x").status == 403
            assert ask(wire, "GET /echo/admin/x").status == 403
        fleet.access_line("vm-a", path=f"/old/{version}?q=1", authority="orders")
        served = "vm-a" if version == "v0" else "vm-c"
        assert served == "vm-a" or fleet.access_line(served, path=f"/echo/{version}?q=1", authority="new.example")


def test_redirects_and_answers(fleet):
    route(fleet, {"match": {"path_prefix": "/old"}, "redirect": {"prefix": "/echo/new", "status": 308}},
          {"match": {"path": "/away"}, "redirect": {"scheme": "https", "host": "other.example"}},
          {"match": {"path_prefix": "/tea"}, "respond": {"status": 418, "body": "no coffee"},
           "response_headers": {"set": [{"name": "x-kind", "value": "pot"}]}}, to("v1"))
    with fleet.dial_own("guest", "orders") as wire:
        reply = ask(wire, "GET /old/x?y=1")
        assert (reply.status, reply.get("Location")) == (308, "/echo/new/x?y=1")
        assert ask(wire, "GET /away").get("Location") == "https://other.example/away"
        reply = ask(wire, "GET /tea")
        assert (reply.status, reply.body, reply.get("x-kind")) == (418, b"no coffee", "pot")
        assert ask(wire, "HEAD /tea").get("Content-Length") == "9"
        assert ask(wire, "GET /echo").status == 200
    line = fleet.access_line("vm-a", path="/tea", method="GET")
    assert line["route_name"] == "orders/rules[2]" and line["upstream_host"] is None


def test_a_timeout(fleet):
    route(fleet, by("v1", path="/slow/700") | {"timeout": "200ms"}, to("v1"))
    assert fleet.call_own(line="GET /slow/700").status == 504
    line = fleet.access_line("vm-a", path="/slow/700", route_name="orders/rules[0]")
    assert (line["response_code_details"], line["response_flags"]) == ("UPSTREAM_TIMEOUT", "UT")
    assert fleet.call_own(line="GET /slow/500").status == 200


def test_retries_find_an_endpoint_that_works(fleet):
    """One version fails: callers do not notice, as long as not too much of it has to be tried again."""
    route(fleet, {"retries": {"on": ["gateway-error"], "backoff": "1ms"}})
    sick = fleet.lab["vm-b"].dir / "workloads" / "orders.record.sick"
    sick.write_text("")

    def tried_again():
        assert fleet.call_own(line="GET /healthz").status == 200
        time.sleep(0.2)
        return [line for line in fleet.access_lines("vm-a", path="/healthz") if line["attempts"] > 1]
    try:
        line = wait_for(tried_again, "a call that was tried again", 60)[0]
        assert line["response_code"] == 200 and line["route_name"] == "orders/rules[0]"
        assert fleet["vm-a"].metric("ringmain_retries_total") >= 1
    finally:
        sick.unlink()


def test_what_may_have_had_effect_is_not_sent_twice(fleet):
    route(fleet, to("v2", retries={"on": ["reset", "gateway-error"], "backoff": "1ms"}))
    assert fleet.call_own(line="GET /die/1").status == 503
    assert fleet.access_line("vm-a", path="/die/1")["attempts"] == 3
    assert fleet.call_own(line="POST /die/2").status == 503
    assert fleet.access_line("vm-a", path="/die/2")["attempts"] == 1
    with fleet.dial_own("web", "orders") as wire:
        assert ask(wire, "PUT /die/3", body=b"abc").status == 503
    assert fleet.access_line("vm-a", path="/die/3")["attempts"] == 1


# --- while it runs --------------------------------------------------------------------------------------------


def test_no_call_fails_while_weights_change(fleet):
    def weights(v1, v2):
        return {"split": [{"version": "v1", "weight": v1}, {"version": "v2", "weight": v2}]}
    route(fleet, weights(1, 0))
    with Load(fleet) as load:
        for step in (1, 5, 25, 50, 75, 100):
            fleet.publish({"routes": [{"service": "orders", "rules": [weights(100 - step, step)]}]})
            load.more(15)
        fleet.wait_settled()
        load.servers.clear()
        load.more()
        assert set(load.servers) == {"orders@vm-c"}
        fleet.operate("delete", "route/orders")
        fleet.wait_settled()
        load.more()
    assert len(load.servers) == 3


def test_an_open_connection_follows_a_new_route(fleet):
    route(fleet, to("v1"))
    with fleet.dial_own("web", "orders") as wire, fleet.dial_own("web", "echo") as opaque:
        assert ask(wire).json["server"] == "orders@vm-b"
        assert opaque.send(b"abc").exactly(3) == b"abc"
        fleet.publish({"routes": [{"service": "orders", "rules": [to("v2")]},
                                  {"service": "echo", "rules": [to("v1")]}]})
        fleet.wait_settled()
        assert ask(wire).json["server"] == "orders@vm-c"
        assert opaque.send(b"def").exactly(3) == b"def"


def test_a_version_that_goes_away(fleet):
    """A route that leads nowhere harms nobody else."""
    fleet.ghost("vm-x", ["orders v9 up 100 10.77.0.99:8080"])
    route(fleet, by("v9", path="/echo/v9"), to("v1"))
    fleet.ghosts_remove("vm-x")
    wait_for(lambda: fleet.view("vm-a")["endpoints"] == fleet.endpoint_count(), "v9 to be gone")
    with fleet.dial_own("web", "orders") as wire:
        assert ask(wire, "GET /echo/v9").status == 503
        assert ask(wire).json["server"] == "orders@vm-b"
    line = fleet.access_line("vm-a", path="/echo/v9")
    assert (line["response_code_details"], line["response_flags"]) == ("ROUTE_NO_VERSION", "UH")
    # and nothing keeps others from publishing meanwhile
    done = fleet.publish({"services": [{"name": "later"}]})
    assert "older problem" in done.stderr


# --- faults ---------------------------------------------------------------------------------------------------


def test_faults_are_exact_and_told(fleet):
    route(fleet, {"name": "broken", "match": {"path": "/echo/fault"}, "fault": {"delay": "300ms", "delay_percent": 25,
                                                                             "abort_status": 429, "abort_percent": 10}})
    before = {name: fleet["vm-a"].metric(f"ringmain_faults_{name}_total") for name in ("delayed", "aborted")}
    statuses = collections.Counter()
    with fleet.dial_own("web", "orders") as wire:
        for _ in range(40):
            statuses[ask(wire, "GET /echo/fault").status] += 1
        assert ask(wire).status == 200
    assert statuses == {200: 36, 429: 4}
    assert {name: fleet["vm-a"].metric(f"ringmain_faults_{name}_total") - before[name] for name in before} == \
        {"delayed": 10, "aborted": 4}
    wait_for(lambda: len(fleet.access_lines("vm-a", path="/echo/fault")) == 40, "their lines")
    lines = fleet.access_lines("vm-a", path="/echo/fault")
    flags = collections.Counter((line["response_code"], line["response_flags"], line["response_code_details"]) for line in lines)
    assert flags[429, "FI", "FAULT_INJECTED"] == 4
    assert 6 <= flags[200, "DI", "DELAY_INJECTED"] <= 10 and all(line["route_name"] == "orders/broken" for line in lines)
    assert all(line["duration"] >= 300 for line in lines if line["response_flags"] == "DI")
    told = explain(fleet, line="GET /echo/fault").stdout
    assert "trouble made on purpose: delay 300ms for 25 %, abort with 429 for 10 %" in told


# --- explaining -----------------------------------------------------------------------------------------------


def test_explain_tells_the_whole_way(fleet):
    route(fleet, by("v1", path_prefix="/echo/old"),
          {"name": "canary", "split": [{"version": "v1", "weight": 9}, {"version": "v2", "weight": 1}], "sticky": {"cookie": "u"},
           "rewrite": {"host": "inside"}, "timeout": "2s", "retries": {"attempts": 2, "on": ["reset", "5xx"]}})
    told = explain(fleet, "-H", "Cookie: u=7", line="GET /echo/x?a=b").stdout
    for part in ("GET /echo/x?a=b of orders (host orders)\nfrom spiffe://", "/service/web\n",
                 "  orders/rules[0]  no       wants path_prefix /echo/old; it is /echo/x\n  orders/canary    yes      -\n",
                 "orders/canary decides\n  the host becomes inside\n  at most 2s until a response begins\n"
                 "  after a failure 2 more tries on reset or 5xx\n  stays with a leg by cookie u\n  its value \"7\" has leg ",
                 "\n1    orders   v1       9       90 %   1 up of 1  allowed by web-uses-orders (policy/web-uses-orders@",
                 "\n2    orders   v2       1       10 %   1 up of 1  allowed by web-uses-orders (policy/web-uses-orders@"):
        assert part in told, (part, told)
    leg = int(told.split("has leg ")[1].split()[0])
    assert versions(fleet, 3, headers=["Cookie: u=7"]) == {f"v{leg}": 3}
    rows = [line.replace(" (also)", "").split() for line in told.split("\n") if ":8080" in line]
    assert {(row[0], row[2], row[3], row[5]) for row in rows} == {("1", "up", "v1", "vm-b"), ("2", "up", "v2", "vm-c")}, told


def test_explain_shows_what_would_be_refused(fleet):
    route(fleet, to("v1", match={"path": "/echo/x"}, rewrite={"path": "/echo/admin/y"}))
    done = explain(fleet, line="GET /echo/x", check=False)
    assert done.returncode == 1 and "× denied by no-admin" in done.stdout, done
    assert ask(fleet.dial_own("web", "orders"), "GET /echo/x").status == 403
    done = explain(fleet, line="GET /echo/z")
    assert "no rule matches" in done.stdout and "allowed by web-uses-orders" in done.stdout
    done = fleet["vm-a"].ringmain("routes", "explain", "--from", "guest", "--to", "stock", check=False)
    assert done.returncode == 1 and "there is no route" in done.stdout and "× denied by" in done.stdout
    listed = fleet["vm-b"].ringmain("routes", "list", "orders").stdout
    assert "orders/rules[0]  path /echo/x  v1 100 %" in listed
    assert fleet["vm-b"].ringmain("routes", "list", "echo").stdout == "no routes\n"
    done = fleet["vm-a"].ringmain("routes", "explain", "--from", "web", "--to", "nobody", check=False)
    assert done.returncode == 1 and 'no service "nobody" is known here' in done.stderr
    for words, told in ((("routes",), "list or explain?"), (("routes", "explain", "--to", "orders"), "--from is missing"),
                        (("routes", "list", "--from", "web"), "--from is not for this command"),
                        (("routes", "explain", "--from", "web", "--to", "echo", "--tcp", "--path", "/"), "opaque bytes have no")):
        done = fleet["vm-a"].ringmain(*words, check=False)
        assert done.returncode == 2 and told in done.stderr, done


# --- under change ---------------------------------------------------------------------------------------------


def legs_in_force(fleet, node):
    routes = json.loads(fleet[node].admin_get("/routes?service=orders")[1])["routes"]
    return [(leg["version"], leg["weight"]) for leg in routes[0]["rules"][0]["split"]]


def shift(fleet, weight):
    fleet.publish({"routes": [{"service": "orders", "rules": [
        {"split": [{"version": "v1", "weight": 1000 - weight}, {"version": "v2", "weight": weight}]}]}]})
    return [("v1", 1000 - weight), ("v2", weight)]


def test_a_hundred_changes_a_second_do_not_hurt(fleet, capsys):
    """Nodes tell of themselves a hundred times a second, and an operator shifts weights as fast as he can:
    no request fails, connections stay, and what was published last is in force everywhere."""
    changes = 400

    def tell():
        start = time.monotonic()
        for number in range(changes):
            fleet.ghost("vm-x", [f"stock v9 up {1 + number} 10.77.0.99:{9000 + number % 7}"])
            time.sleep(max(0.0, start + (number + 1) / 100 - time.monotonic()))
        rates.append(changes / (time.monotonic() - start))
    rates, shifts = [], 0
    shift(fleet, 1)
    fleet.wait_settled()
    with Load(fleet) as load, fleet.dial_own("web", "orders") as wire, fleet.dial_own("web", "echo") as opaque:
        assert ask(wire).status == 200 and opaque.send(b"abc").exactly(3) == b"abc"
        teller = threading.Thread(target=tell)
        teller.start()
        while teller.is_alive():
            shifts += 1
            shift(fleet, shifts % 999 + 1)
            assert ask(wire).status == 200 and opaque.send(b"def").exactly(3) == b"def"
        teller.join()
        wanted = shift(fleet, 1000)
        published = time.monotonic()
        wait_for(lambda: all(legs_in_force(fleet, node) == wanted for node in VERSIONS), "the last weights on all nodes")
        took = time.monotonic() - published
        assert ask(wire).json["server"] == "orders@vm-c" and opaque.send(b"ghi").exactly(3) == b"ghi"
        load.more()
    fleet.ghosts_remove("vm-x")
    with capsys.disabled():
        print(f"\n    {changes} changes of nodes at {rates[0]:.0f} a second and {shifts} of routes, "
              f"{load.count} calls, none failed; the last in force on all nodes {took:.2f} s after it was published", end="")


# --- publishing -----------------------------------------------------------------------------------------------


WRONG = {
    "an unknown version": ([to("v3")], 'rules[0].split[0].version: no endpoint of "orders" has the version "v3"; there are "v'),
    "an unknown service": ([{"split": [{"service": "ordres"}]}], 'split[0].service: there is no service "ordres" in the mesh; '
                           'did you mean "orders"?'),
    "an unknown key": ([{"match": {"pth": "/"}}], 'match.pth: unknown key; did you mean "path"?'),
    "another protocol": ([{"split": [{"service": "echo"}]}], 'split[0].service: "echo" speaks tcp, and "orders" http'),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_not_published(fleet, what):
    rules, told = WRONG[what]
    before = fleet.redis.ask("GET", fleet.key("head"))
    done = fleet.publish({"routes": [{"service": "orders", "rules": rules}]}, check=False)
    assert done.returncode == 1 and told in done.stderr and "mesh.conf:" in done.stderr, done
    assert fleet.redis.ask("GET", fleet.key("head")) == before


def test_a_leg_without_weight_may_come_first(fleet):
    rules = [{"split": [{"version": "v1", "weight": 100}, {"version": "v3", "weight": 0}]}, to("v2")]
    done = fleet.publish({"routes": [{"service": "orders", "rules": rules}]})
    assert 'warning: routes[0].rules[0].split[1].version: no endpoint of "orders" has the version "v3"' in done.stderr
    assert 'warning: routes[0].rules[1]: never matches: "orders/rules[0]" before it matches all of it' in done.stderr


def test_commands_know_routes(fleet):
    route(fleet, to("v1"))
    assert 'version = "v1"' in fleet.operate("get", "route/orders", "-o", "conf").stdout
    assert "route/orders" in fleet.operate("get").stdout
    fleet.publish({"routes": [{"service": "orders", "rules": [to("v2")]}]})
    assert "route/orders" in fleet.operate("history", "route/orders").stdout
    done = fleet.operate("delete", "service/orders", "policy/web-uses-orders", "policy/guest-uses-orders", "policy/no-admin",
                         check=False)
    assert done.returncode == 1 and "which is to be taken away" in done.stderr
    fleet.mesh_file.write_text('routes: ( { service = "orders"; rules = ( { split = ( { version = "v1"; } ); } ); } );\n')
    assert '+            version = "v1";' in fleet.operate("diff", "-f", fleet.mesh_file, check=False).stdout
    fleet.operate("delete", "route/orders")
    assert "route/orders" not in fleet.operate("get").stdout
