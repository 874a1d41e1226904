# SPDX-License-Identifier: Apache-2.0
"""`ringmain authz check` and the data path, about requests that nobody has chosen by hand: what one says is what the
other does."""
import collections
import json
import os
import random
import shlex

import pytest
from mesh import GUEST, ORDERS, QUOTES, STOCK, STRANGER_UID, WEB, at, request_text
from test_explain import PolicedMesh

SEED = int(os.environ.get("AGREEMENT_SEED", "7"))
COUNT = int(os.environ.get("AGREEMENT_COUNT", "60"))
METHODS = ["GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "PURGE"]
PARTS = ["echo", "admin", "Admin", "ADMIN", "a", "b", "7", "admin;x=1", ";a", "a%3Bb", "%61dmin", "%2561dmin", "admin.", "admin%20",
         ".", "", "admin%3Fx", "{id}", "*", "%C3%A9", "a,b", "a+b", "~", "x" * 40]
BAD_PARTS = ["..", "..", "a%2Fb", "..;", "a%", "%252e%252e", ".;x", "%5Ca", "%2525252525252525252561"]
HOSTS = ["orders", "ORDERS", "orders.", "orders:8080", "admin.example", "Admin.Example.:80", "eu.admin.example", "10.0.0.1", "[::1]",
         "127.1", "2130706433", "a_b.example", "a~b.example", "[::ffff:10.0.0.1]:80", "a..b", "a@b"]
HEADERS = ["x-team: a", "X-Team: b", "x-team: a, b", "x-team:", "x-team: A", "X-TEAM:  a ", "x-other: a", "x-team: a,,b", "x-tean: a"]
SOURCES = ["web", "guest", "shop/*", "*", "anonymous", "10.0.0.0/8", "10.99.0.0/16", "0.0.0.0/0", "service/*", "spiffe://mesh.test/*"]
PATHS = ["/admin", "/admin/*", "/echo/*", "/{id}/b", "/echo/{id}", "/a/b", "*", "/{id}/{other}/*", "/%C3%A9"]


def rule(dice, number):
    some = {"name": f"r{number}", "service": dice.choice(["orders", "stock", "quotes", "*"]),
            "action": dice.choice(["allow", "allow", "deny", "audit"])}
    if dice.random() < 0.7:
        some["from"] = dice.sample(SOURCES, dice.randint(1, 3))
    if dice.random() < 0.2:
        some["not_from"] = [dice.choice(SOURCES)]
    if some["action"] != "audit" and dice.random() < 0.2:
        some["mode"] = "audit"
    for key, words in (("paths", PATHS), ("methods", METHODS), ("hosts", ["orders", "admin.example", "*.example", "10.0.0.1"])):
        if dice.random() < 0.35:
            some[key if dice.random() < 0.7 else f"not_{key}"] = sorted(set(dice.choices(words, k=dice.randint(1, 2))))
    if dice.random() < 0.25:
        some["headers"] = [dice.choice([{"name": "x-team", "exact": "a"}, {"name": "x-team", "present": False},
                                        {"name": "x-team", "prefix": "b"}, {"name": "X-Team", "exact": "a", "invert": True}])]
    if dice.random() < 0.1:
        some["ports"] = [dice.choice([ORDERS.port, 9999])]
    return some


def question(dice):
    parts = dice.choices(PARTS, k=dice.randint(0, 4))
    if dice.random() < 0.15:
        parts.insert(dice.randint(0, len(parts)), dice.choice(BAD_PARTS))
    path = "/" + "/".join(parts) if dice.random() < 0.97 else "*"
    headers = dice.choices(HEADERS, k=dice.choice([0, 0, 1, 1, 2, 3]))
    host = dice.choice(HOSTS) if dice.random() < 0.5 else "orders"
    return {"to": dice.choice(["orders", "stock", "quotes"]), "method": dice.choice(METHODS), "path": path, "host": host, "headers": headers}


@pytest.fixture(scope="module")
def mesh():
    services = [at(WEB, "vm-a", "vm-b"), GUEST, at(ORDERS, "vm-b"), at(STOCK, "vm-b", mtls="permissive"), at(QUOTES, "vm-b")]
    with PolicedMesh(services, policies=[], workers=1) as mesh:
        yield mesh.start()


CALLERS = [("web", "vm-a"), ("web", "vm-b"), ("guest", "vm-a"), (STRANGER_UID, "vm-a"), (STRANGER_UID, "vm-b")]


def said_of(mesh, caller, machine, q):
    words = ["check", "--from", caller if isinstance(caller, str) else "anonymous", "--to", q["to"], "--method", q["method"],
             "--client", mesh.lab[machine].v4, "--path", q["path"], "--host", q["host"], *(w for h in q["headers"] for w in ("-H", h))]
    done = mesh.authz("vm-b", shlex.join(words + ["-o", "json"]))
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def done_with(mesh, caller, machine, q, name):
    """What the service's machine wrote of it; what the caller got, where it wrote nothing."""
    try:
        with mesh.dial(caller, q["to"], machine=machine) as wire:
            headers = [*q["headers"], f"X-Request-Id: {name}"]
            wire.send(request_text(f"{q['method']} {q['path']}", q["host"], headers))
            reply = wire.reply(q["method"])
    except (ConnectionError, EOFError):
        return "turned away", None
    if reply.status == 400 and not mesh.access_lines("vm-b", request_id=name, response_code_details="NONE"):
        return "bad", None
    line = mesh.access_line("vm-b", request_id=name)
    return ("refused" if line["response_code_details"] == "POLICY_DENIED" else "let in"), line["policy"]


def expected_of(exit_status, said):
    if exit_status == 2:
        return "bad", None
    kinds = {"path": "bad", "mtls": "turned away", "none": "let in" if said["allowed"] else "refused"}
    return kinds[said["barrier"]], said["policy"] if said["barrier"] == "none" else None


def test_what_is_said_is_what_is_done(mesh):
    dice = random.Random(SEED)
    told = collections.Counter()
    for number in range(COUNT):
        if number % 20 == 0:
            rules = [rule(dice, n) for n in range(dice.randint(1, 12))]
            mesh.rules(rules)
        (caller, machine), q = dice.choice(CALLERS), question(dice)
        exit_status, said = said_of(mesh, caller, machine, q)
        expected = expected_of(exit_status, said)
        done = done_with(mesh, caller, machine, q, f"{SEED}-{number}")
        if done[0] == "turned away" and expected[0] == "bad" and caller == STRANGER_UID:
            continue  # nobody has read it
        assert done == expected, (SEED, number, caller, machine, q, said, rules)
        told[done[0]] += 1
    print(told)
    assert len(told) == 4
