# SPDX-License-Identifier: Apache-2.0
"""Operators begin rollouts, stop them and look at them. How far one is, this test writes into the store itself,
as the node that carries it on would."""
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mesh import BINARY

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "publish"))
from store import Door, Place, of_json  # noqa: E402

SERVICES = ('services: ( { name = "orders"; port = 8080; protocol = "http"; address = "10.96.0.1"; },\n'
            '  { name = "web"; } );\n')


def endpoint(version, port, service="orders"):
    return f"endpoint {service} {version} up 100 10.77.0.1:{port}\n"


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.apply(SERVICES)
    place.node("vm-a", 1, endpoint("v1", 8080) + endpoint("v2", 8081))
    yield place
    place.close()


def rollout(place, *words, **more):
    return place.say("rollout", *words, **more)


def refused(place, done, *words):
    assert done.returncode == 1, (done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def state(place, service="orders"):
    one, = of_json(rollout(place, "status", service, "-o", "json"))["rollouts"]
    return one


def now_ms(place):
    seconds, micros = place.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def progress(place, name, step, why="1 % was good for 1m: v2 served 100.00 % of 300, p99 12ms", since_ms=61000, **more):
    """An entry as vm-a would write it."""
    one = state(place)
    facts = {"attempt": one["attempt"], "from": one["from"], "to": one["to"], **more}
    text = (f"rollout 1\nattempt {facts['attempt']}\nfrom {facts['from']}\nto {facts['to']}\nstate {name}\n"
            f"step {step - 1}\nsince {now_ms(place) - since_ms}\nnode vm-a\nwhy {why}\n")
    place.ask("XADD", place.key("rollout:orders"), "*", "progress", text, "time", now_ms(place))


def figures(place, why="12 of 50 calls, 41s of 1m", node="vm-a"):
    one = state(place)
    place.ask("SET", place.key(f"figures:{node}"),
              f"figures 1\nrollout orders {one['attempt']}\nto 300 2 20=300\nfrom 9000 9 18=9000\n"
              f"judged {one.get('step', 1) - 1} 41000\njudged-to 12 1 183000\njudged-from 230 0 9400\nwhy {why}\n")


# --- start -------------------------------------------------------------------------------------------------


def test_start_publishes_a_signed_object(place):
    done = rollout(place, "start", "orders", "--to", "v2", "--steps", "1,50,100", "--every", "30s", "--success", "99.5",
                   "--p99", "300ms", "--calls-min", "20", "--preview", "x-canary: yes", "--preview", "x-team")
    assert "create  rollout/orders" in done.stdout and done.stderr == "", (done.stdout, done.stderr)
    assert place.verify_head("alice")
    text = place.objects()["rollout/orders"]
    for line in ('service = "orders";', 'from = "v1";', 'to = "v2";', "steps = [ 1, 50, 100 ];", 'every = "30s";',
                 'success = "99.5";', 'p99 = "300ms";', "calls_min = 20;", 'name = "x-canary";', 'exact = "yes";',
                 'name = "x-team";', "present = true;"):
        assert line in text, (line, text)
    assert "order" not in text.replace("orders", "")
    history = of_json(place.say("history", "-n", "1", "-o", "json"))["revisions"][0]
    assert history["why"] == "rollout of orders: v1 to v2"
    one = state(place)
    assert one["state"] == "waiting" and one["percent"] == 0 and one["steps"] == [1, 50, 100]
    assert one["success_tenths"] == 995


def test_dry_run_writes_nothing(place):
    before = place.everything()
    done = rollout(place, "start", "orders", "--to", "v2", "--dry-run")
    assert "create  rollout/orders" in done.stdout
    assert place.everything() == before


def test_the_version_that_calls_leave_is_found_or_asked_for(place):
    place.node("vm-b", 1, endpoint("v3", 8082))
    done = rollout(place, "start", "orders", "--to", "v3", check=False)
    refused(place, done, "--from is missing: which version do the calls leave? Nodes tell of these of orders: v1, v2, v3")
    rollout(place, "start", "orders", "--to", "v2", "--from", "v1")
    progress(place, "done", 5)
    refused(place, rollout(place, "start", "orders", "--to", "v2", check=False),
            "all calls of orders go to v2 already, by the rollout that is over; with --from VERSION they would go there first")
    # where all calls are by now
    rollout(place, "start", "orders", "--to", "v3")
    assert state(place)["from"] == "v2"


def test_a_version_that_nobody_has_is_refused_unless_held(place):
    done = rollout(place, "start", "orders", "--to", "v9", "--from", "v1", check=False)
    refused(place, done, "no endpoint of orders has the version v9; there are: v1, v2. Start its workloads first, or give --hold")
    done = rollout(place, "start", "orders", "--to", "v9", "--from", "v1", "--hold")
    assert 'no endpoint of "orders" has the version "v9"' in done.stderr
    assert state(place)["order"] == "pause" and state(place)["state"] == "on hold"
    shown = rollout(place, "status", "orders").stdout
    assert "before the first step; ringmain rollout resume orders" in shown


@pytest.mark.parametrize("words, said", [
    (["--steps", "1,x"], '--steps: numbers such as 1,5,25,50,100, not "1,x"'),
    (["--steps", "5,1,100"], "rollouts[0].steps: 1 is not above 5"),
    (["--steps", "5,50"], "rollouts[0].steps: the last is 50: a rollout ends with 100"),
    (["--every", "soon"], "rollouts[0].every: expected a duration"),
    (["--success", "101"], "rollouts[0].success: 101 is out of range, 0 to 100"),
    (["--p99", "1h"], "rollouts[0].p99: 1h is out of range, 0s to 5s"),
    (["--calls-min", "x"], '--calls-min: a number, not "x"'),
    (["--preview", "host: x"], 'rollouts[0].preview.headers[0].name: "host" is the proxies\' own'),
    (["--from", "v2"], 'rollouts[0].to: "v2" is what it comes from'),
])
def test_what_is_wrong_is_named_and_not_written(place, words, said):
    before = place.everything()
    refused(place, rollout(place, "start", "orders", "--to", "v2", *words, check=False), said)
    assert place.everything() == before


def test_a_service_that_there_is_not(place):
    done = rollout(place, "start", "ordres", "--to", "v2", "--from", "v1", "--hold", check=False)
    refused(place, done, 'there is no service "ordres" in the mesh; did you mean "orders"?')


def test_one_at_a_time(place):
    rollout(place, "start", "orders", "--to", "v2")
    progress(place, "stepping", 2)
    done = rollout(place, "start", "orders", "--to", "v2", check=False)
    refused(place, done, "orders is under way from v1 to v2, at step 2 of 5; promote or abort it first")


def test_every_start_is_another_attempt(place):
    rollout(place, "start", "orders", "--to", "v2")
    first = state(place)["attempt"]
    progress(place, "rolled-back", 2, why="at 5 % v2 served 70.00 % of 20")
    rollout(place, "start", "orders", "--to", "v2")
    again = state(place)
    # what is known of the first is nothing to the second
    assert again["attempt"] > first and again["state"] == "waiting" and again["percent"] == 0
    # nor is it when the object was taken away between
    progress(place, "done", 5)
    place.say("delete", "rollout/orders")
    rollout(place, "start", "orders", "--to", "v2")
    assert state(place)["attempt"] > again["attempt"]


# --- orders ------------------------------------------------------------------------------------------------


def test_orders_change_nothing_but_the_order(place):
    rollout(place, "start", "orders", "--to", "v2", "--p99", "300ms", "--preview", "x-canary: yes")
    progress(place, "stepping", 3)
    whole = place.objects()["rollout/orders"].split("\n\n")[1]
    for verb, order, percent in (("pause", "pause", 25), ("resume", "run", 25), ("promote", "promote", 100),
                                 ("abort", "abort", 0)):
        done = rollout(place, verb, "orders", "--why", f"to see {verb}")
        assert "change  rollout/orders" in done.stdout, done.stdout
        one = state(place)
        assert one["order"] == order and one["percent"] == percent
        text = place.objects()["rollout/orders"].split("\n\n")[1]
        assert re.sub(r'\n *order = "[a-z]*";', "", text) == whole
        assert of_json(place.say("history", "-n", "1", "-o", "json"))["revisions"][0]["why"] == f"to see {verb}"
    assert place.verify_head("alice")


def test_an_order_given_twice_is_said_to_stand(place):
    rollout(place, "start", "orders", "--to", "v2")
    rollout(place, "pause", "orders")
    before = place.everything()
    assert rollout(place, "pause", "orders").stdout == "the rollout of orders is paused already\n"
    assert place.everything() == before


def test_what_is_over_is_not_paused_or_resumed(place):
    rollout(place, "start", "orders", "--to", "v2")
    progress(place, "rolled-back", 2, why="at 5 % v2 served 70.00 % of 20")
    for verb in ("pause", "resume"):
        refused(place, rollout(place, verb, "orders", check=False),
                "the rollout of orders is over (rolled-back: at 5 % v2 served 70.00 % of 20); begin another one")
    rollout(place, "promote", "orders")
    refused(place, rollout(place, "pause", "orders", check=False), "the rollout of orders is over")


def test_resume_of_one_that_is_held_says_how(place):
    rollout(place, "start", "orders", "--to", "v2")
    progress(place, "held", 2, why="both versions are bad: v2 served 60.00 % of 50, wanted 99.0 %; v1 61.00 % of 900")
    assert "is held, and goes on by itself when that clears up" in rollout(place, "resume", "orders").stdout


def test_orders_to_what_there_is_not(place):
    refused(place, rollout(place, "abort", "orders", check=False),
            "orders has no rollout; `ringmain rollout start orders --to VERSION` begins one")


def test_two_operators_do_not_overwrite_each_other(place):
    rollout(place, "start", "orders", "--to", "v2")
    door = Door(place.redis.port, b"WATCH", before=lambda: rollout(place, "pause", "orders", name="bob"))
    try:
        done = rollout(place, "promote", "orders", port=door.port, check=False)
    finally:
        door.close()
    refused(place, done, "rollout/orders was changed meanwhile by bob, revision 3")
    assert state(place)["order"] == "pause"


def test_another_object_may_change_meanwhile(place):
    rollout(place, "start", "orders", "--to", "v2")
    door = Door(place.redis.port, b"EXEC",
                before=lambda: place.apply('services: ( { name = "stock"; } );\n', name="bob"))
    try:
        rollout(place, "promote", "orders", port=door.port)
    finally:
        door.close()
    assert state(place)["order"] == "promote" and "service/stock" in place.objects()


# --- looking -----------------------------------------------------------------------------------------------


def test_status_says_how_far_and_why(place):
    rollout(place, "start", "orders", "--to", "v2", "--success", "99.5", "--p99", "300ms")
    progress(place, "stepping", 2)
    figures(place)
    done = rollout(place, "status", "orders")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["SERVICE", "VERSIONS", "STATE", "STEP", "FOR", "CARRIED", "BY"]
    assert re.match(r"orders   v1 → v2   stepping  2/5 5 %  1m \ds  vm-a", lines[1]), lines[1]
    assert "    why: 1 % was good for 1m: v2 served 100.00 % of 300, p99 12ms" in lines
    assert "    now: 12 of 50 calls, 41s of 1m" in lines
    words = [line.split() for line in lines]
    assert ["v2", "(new)", "12", "1", "91.66", "%", "183ms"] in words
    assert ["v1", "(old)", "230", "0", "100.00", "%", "9.4ms"] in words
    assert ["v2", "(wanted)", "50", "-", "99.50", "%", "300ms"] in words
    one = state(place)
    assert one["now"]["to"] == {"calls": 12, "failed": 1, "p99_us": 183000}
    assert one["step"] == 2 and one["node"] == "vm-a" and one["progress"] == "stepping"


def test_what_was_rolled_back_says_why(place):
    rollout(place, "start", "orders", "--to", "v2")
    progress(place, "rolled-back", 2, why="at 5 % v2 served 70.00 % of 20, wanted 99.0 %; v1 100.00 % of 380")
    shown = rollout(place, "status").stdout
    assert "× rolled-back" in shown and "2/5 0 %" in shown
    assert "why: at 5 % v2 served 70.00 % of 20, wanted 99.0 %; v1 100.00 % of 380" in shown
    assert "IN THIS STEP" not in shown


def test_nothing_to_show(place):
    assert rollout(place, "status").stdout == "no rollouts\n"
    assert rollout(place, "list").stdout == "no rollouts\n"
    refused(place, rollout(place, "status", "orders", check=False), "orders has no rollout")
    assert of_json(rollout(place, "list", "-o", "json"))["rollouts"] == []


def test_list_has_all_of_them(place):
    place.apply('services: ( { name = "stock"; port = 9000; address = "10.96.0.2"; } );\n')
    place.node("vm-b", 2, endpoint("v1", 9000, "stock") + endpoint("v2", 9001, "stock"))
    rollout(place, "start", "stock", "--to", "v2")
    rollout(place, "start", "orders", "--to", "v2", "--hold")
    lines = rollout(place, "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["SERVICE", "orders", "stock"]
    assert "on hold" in lines[1] and "waiting" in lines[2]


@pytest.mark.parametrize("text", [b"", b"rollout 1\n", b"\xff\x00\n" * 40, b"rollout 1\nattempt 1\nstate mad\n", b"x" * 100000])
def test_nonsense_in_the_store_is_as_nothing(place, text):
    rollout(place, "start", "orders", "--to", "v2")
    place.ask("XADD", place.key("rollout:orders"), "*", "progress", text)
    assert state(place)["state"] == "waiting"
    place.ask("DEL", place.key("rollout:orders"))
    progress(place, "stepping", 1)
    place.ask("SET", place.key("figures:vm-a"), text)
    assert "vm-a has told nothing lately" in rollout(place, "status").stdout
    place.ask("DEL", place.key("rollout:orders"), place.key("figures:vm-a"))
    place.ask("SET", place.key("rollout:orders"), "of another type")
    assert state(place)["state"] == "waiting"


def test_what_no_operator_has_signed_is_said(place):
    rollout(place, "start", "orders", "--to", "v2")
    text = place.ask("HGET", place.key("objects"), "rollout/orders")
    place.ask("HSET", place.key("objects"), "rollout/orders", text.replace(b'"v2"', b'"v1"', 1))
    refused(place, rollout(place, "status", check=False), "the objects in the store are refused by the nodes:")
    before = place.everything()
    refused(place, rollout(place, "promote", "orders", check=False), "what stands in the store is not to be built upon")
    assert place.everything() == before


def test_watch_ends_with_it(place):
    rollout(place, "start", "orders", "--to", "v2")
    progress(place, "stepping", 2)
    watch = subprocess.Popen([BINARY, "rollout", "status", "orders", "--watch", "-c", place.conf("alice")], text=True,
                             stdout=subprocess.PIPE)
    assert watch.stdout.readline().startswith("SERVICE")
    progress(place, "rolled-back", 2, why="at 5 % v2 served 70.00 % of 20")
    out, _ = watch.communicate(timeout=30)
    assert watch.returncode == 1 and "rolled-back" in out
    progress(place, "done", 5)
    assert rollout(place, "status", "orders", "--watch").returncode == 0


# --- the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, said", [
    ("", "ringmain rollout: start, status, list, pause, resume, promote or abort?"),
    ("begin orders", "ringmain rollout: start, status, list, pause, resume, promote or abort?"),
    ("start", "ringmain rollout start: of which service?"),
    ("start orders", "ringmain rollout start: --to is missing: which version do the calls come to?"),
    ("pause", "ringmain rollout pause: of which service?"),
    ("pause orders --to v2", "ringmain rollout pause: there is no --to here"),
    ("status --hold", "ringmain rollout status: there is no --hold here"),
    ("status a b", 'ringmain rollout status: an argument too many, "b"'),
    ("list orders", 'ringmain rollout list: an argument too many, "orders"'),
    ("status -o xml", 'ringmain rollout status: -o: table or json, not "xml"'),
    ("status --watch -o json", "ringmain rollout status: --watch is for people; ask again for JSON"),
])
def test_wrong_usage(tmp_path, words, said):
    done = subprocess.run([BINARY, "rollout", *words.split()], text=True, capture_output=True)
    assert done.returncode == 2 and done.stderr.splitlines()[0] == said, done.stderr


def test_help_names_every_option(tmp_path):
    shown = subprocess.run([BINARY, "rollout", "--help"], text=True, capture_output=True, check=True).stdout
    for option in ("--to", "--from", "--steps", "--every", "--success", "--p99", "--calls-min", "--preview", "--hold",
                   "--watch", "--dry-run", "--why", "--output", "--config"):
        assert option in shown
    assert max(len(line) for line in shown.splitlines()) <= 100
