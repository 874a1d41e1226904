# SPDX-License-Identifier: Apache-2.0
"""What operators publish is in force on all nodes; what they did not sign never is."""
import contextlib
import re
import threading
import time

import pytest
from fleet import ALLOW_ECHO, ALLOW_GUEST, ALLOW_WEB, Fleet, echoes, log_of, newer_operator
from machines import wait_for
from nodes import config_file_text

POLICIES = [ALLOW_WEB, ALLOW_ECHO]


@pytest.fixture(scope="module")
def standing():
    with Fleet(state={"resync": "1s"}) as fleet:
        fleet.operators = ["alice", "bob"]
        fleet.users.operators = ["alice", "bob", "mallory"]  # who has a password, and a key that nobody knows
        fleet.start()
        fleet.operator_new("mallory")
        yield fleet


@pytest.fixture
def fleet(standing):
    standing.policies = POLICIES
    standing.publish(None, "--prune")
    standing.wait_settled()
    return standing


def answers(fleet, web, guest):
    return all(fleet.call_at(m).status == web and fleet.call_at(m, "guest").status == guest for m in ("vm-b", "vm-c"))


def test_a_policy_is_in_force_on_all_nodes(fleet, capsys):
    assert answers(fleet, 200, 403)
    published = time.monotonic()
    fleet.publish({"policies": [ALLOW_GUEST]})
    done = time.monotonic()
    wait_for(lambda: answers(fleet, 200, 200), "guest to be let in", every=0.01)
    with capsys.disabled():
        print(f"\n    a policy was published in {done - published:.2f} s and in force on both machines "
              f"{time.monotonic() - done:.2f} s later", flush=True)
    fleet.operate("delete", "policy/guest-uses-orders")
    wait_for(lambda: answers(fleet, 200, 403), "guest to be kept out again")
    assert all(view["why"] == "" for view in fleet.views())


def test_what_looks_like_a_mistake_is_logged_once_and_shown(fleet):
    before = len(log_of(fleet, "vm-b"))
    fleet.publish({"policies": [{"name": "closed", "service": "orders", "action": "deny"}]})
    wait_for(lambda: "closed" in log_of(fleet, "vm-b")[before:], "the log to tell of it")
    shown = fleet["vm-b"].ringmain("status", check=False).stdout
    assert 'never allows anything for "orders": "closed" denies everybody' in shown, shown
    fleet.publish({"policies": [ALLOW_GUEST]})  # another picture, and another mistake
    fleet.wait_settled()
    wait_for(lambda: "guest-uses-orders" in log_of(fleet, "vm-b")[before:], "the log to tell of that")
    lines = [line for line in log_of(fleet, "vm-b")[before:].splitlines() if "denies everybody" in line]
    assert len(lines) == len(set(lines)) == 2, lines
    fleet.publish(None, "--prune")
    fleet.wait_settled()
    assert "denies everybody" not in fleet["vm-b"].ringmain("status", check=False).stdout


def test_a_service_that_is_no_longer_published_is_closed(fleet):
    """Its endpoints are still there: without an object it is nobody's to call."""
    fleet.publish({"services": [{"name": "web"}, {"name": "guest"}, {"name": "echo", "protocol": "tcp", "port": 7000}],
                   "policies": [ALLOW_ECHO]}, "--prune")

    def closed():
        try:
            return fleet.call_at("vm-b").status == 403
        except (OSError, EOFError):
            return True
    wait_for(closed, "orders to be closed where it runs")
    wait_for(lambda: fleet.turned_away("web", fleet.own("orders"), timeout=1), "its own address to be nobody's on the caller's machine")


def test_a_dry_run_changes_nothing(fleet):
    before = fleet.redis.ask("GET", fleet.key("head"))
    done = fleet.publish({"policies": [ALLOW_GUEST]}, "--dry-run")
    assert "guest-uses-orders" in done.stdout
    assert fleet.redis.ask("GET", fleet.key("head")) == before


def test_what_does_not_fit_the_mesh_is_not_published(fleet):
    before = fleet.redis.ask("GET", fleet.key("head"))
    for wrong in ({"policies": [{"name": "x", "service": "ordres", "action": "allow", "from": ["web"]}]},
                  {"services": [{"name": "orders", "protocol": "carrier-pigeon"}]}):
        done = fleet.publish(wrong, check=False)
        assert done.returncode == 1
        assert re.search(r"mesh\.conf:\d+: ", done.stdout + done.stderr), done
    assert fleet.redis.ask("GET", fleet.key("head")) == before


def test_two_operators_publish_and_history_says_who(fleet):
    fleet.publish({"policies": [ALLOW_GUEST]}, name="bob")
    wait_for(lambda: answers(fleet, 200, 200), "bob's policy")
    fleet.operate("delete", "policy/guest-uses-orders", name="alice")
    wait_for(lambda: answers(fleet, 200, 403), "alice's deletion")
    text = fleet.operate("history").stdout
    assert "alice" in text and "bob" in text and "guest-uses-orders" in text
    fleet.operate("rollback", str(fleet.store_revision() - 1), name="bob")
    wait_for(lambda: answers(fleet, 200, 200), "the policy to be back")


def test_operators_at_the_same_time_lose_nothing_of_each_other(fleet):
    """Each adds policies of its own, one after the other, and is either told of a conflict or heard."""
    added, lock = [], threading.Lock()

    def publisher(name):
        path = fleet.lab.dir / f"{name}.objects.conf"
        for number in range(5):
            policy = f"{name}-{number}"
            path.write_text(config_file_text({"policies": [
                {"name": policy, "service": "orders", "action": "deny", "from": ["guest"]}]}))
            if fleet.operate("apply", "-f", path, name=name, check=False).returncode == 0:
                with lock:
                    added.append(policy)
    threads = [threading.Thread(target=publisher, args=(name,)) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = fleet.redis.ask("HKEYS", fleet.key("objects"))
    assert {f"policy/{policy}".encode() for policy in added} <= set(keys)
    assert len(added) >= 5
    fleet.wait_settled()


# --- what a newer version has published ------------------------------------------------------------------

def test_a_policy_that_nodes_cannot_read_closes_its_service_and_holds_up_nothing(fleet):
    before = len(log_of(fleet, "vm-b"))
    with newer_operator(fleet, not_hosts="in_season"):
        fleet.publish({"policies": [{"name": "summer", "service": "orders", "action": "allow", "from": ["web"],
                                     "in_season": ["summer.example"]}]})
    wait_for(lambda: answers(fleet, 403, 403), "orders to be closed")
    fleet.wait_settled()  # no picture was refused
    assert echoes(fleet)
    told = 'cannot be read, so everything is denied at "orders": in_season: unknown key'
    assert told in log_of(fleet, "vm-b")[before:]
    assert told in fleet["vm-b"].ringmain("status", check=False).stdout
    shown = fleet["vm-b"].ringmain("authz", "list", "orders", check=False).stdout
    assert "summer cannot be read here, so it denies everything: in_season: unknown key" in shown, shown
    # Our own operator neither publishes such a one nor is kept from publishing others.
    done = fleet.publish({"policies": [{"name": "autumn", "service": "orders", "action": "allow",
                                        "in_season": ["autumn.example"]}]}, check=False)
    assert done.returncode != 0 and "in_season: unknown key" in done.stderr
    fleet.publish({"policies": [{"name": "no-guest", "service": "echo", "action": "deny", "from": ["guest"]}]})
    fleet.wait_settled()
    fleet["vm-b"].stop()
    fleet["vm-b"].start()
    fleet.wait_settled()
    assert answers(fleet, 403, 403)  # as it was before it stopped
    fleet.operate("delete", "policy/summer")
    wait_for(lambda: answers(fleet, 200, 403), "orders to be open again")
    fleet.wait_settled()
    assert "cannot be read" not in fleet["vm-b"].ringmain("status", check=False).stdout


# --- what nobody signed ----------------------------------------------------------------------------------

def head_change(old, new):
    def change(fleet):
        head = fleet.redis.ask("GET", fleet.key("head"))
        changed = re.sub(old, new, head, count=1)
        assert changed != head
        fleet.redis.ask("SET", fleet.key("head"), changed)
    return change


def other_digit(found):
    return b"digest " + (b"1" if found[1] == b"0" else b"0")


def next_revision(found):
    return b"revision %d" % (int(found[1]) + 1)


def object_change(fleet):
    key, field = fleet.key("objects"), "policy/web-uses-orders"
    text = fleet.redis.ask("HGET", key, field)
    changed = text.replace(b'"web"', b'"guest"')
    assert changed != text
    fleet.redis.ask("HSET", key, field, changed)


def object_added(fleet):
    text = fleet.redis.ask("HGET", fleet.key("objects"), "policy/web-uses-orders")
    changed = text.replace(b'"web"', b'"guest"').replace(b"web-uses-orders", b"guest-uses-orders")
    fleet.redis.ask("HSET", fleet.key("objects"), "policy/guest-uses-orders", changed)


def object_added_with_revision(fleet):
    """As a thief with an operator's password would: all of it, but for the signature."""
    object_added(fleet)
    head_change(rb"revision (\d+)", next_revision)(fleet)
    head = fleet.redis.ask("GET", fleet.key("head"))
    revision = re.search(rb"revision (\d+)", head)[1]
    fleet.redis.ask("XADD", fleet.key("changes"), revision + b"-0", "head", head, "change", "")
    fleet.redis.ask("PUBLISH", fleet.key("news"), b"objects " + revision)


def signed_by_a_stranger(fleet):
    """mallory may write to the store, but her key is on no node."""
    fleet.publish({"policies": [ALLOW_GUEST]}, name="mallory")


def old_revision(fleet):
    """A true head with its objects, but one that was replaced since: a policy that let guest in."""
    fleet.publish({"policies": [ALLOW_GUEST]})
    with fleet.redis.connect() as lab:
        head, objects = lab.ask("GET", fleet.key("head")), lab.ask("HGETALL", fleet.key("objects"))
        wait_for(lambda: answers(fleet, 200, 200), "guest to be let in")
        fleet.operate("delete", "policy/guest-uses-orders")
        wait_for(lambda: answers(fleet, 200, 403), "guest to be kept out")
        lab.ask("DEL", fleet.key("objects"))
        lab.ask("HSET", fleet.key("objects"), *objects)
        lab.ask("SET", fleet.key("head"), head)


FORGERIES = {
    "no signature": head_change(rb"signature .*\n", b""),
    "another revision": head_change(rb"revision (\d+)", next_revision),
    "another digest": head_change(rb"digest (.)", other_digit),
    "another signature": head_change(rb"signature ....", b"signature AAAA"),
    "another author": head_change(rb"who alice", b"who bob"),
    "another mesh": head_change(rb"mesh [^\n]+", b"mesh other.test"),
    "nonsense": lambda fleet: fleet.redis.ask("SET", fleet.key("head"), "nonsense"),
    "empty": lambda fleet: fleet.redis.ask("SET", fleet.key("head"), ""),
    "another type": lambda fleet: (fleet.redis.ask("DEL", fleet.key("head")),
                                   fleet.redis.ask("RPUSH", fleet.key("head"), "x")),
    "no head": lambda fleet: fleet.redis.ask("DEL", fleet.key("head")),
    "an added object with a revision": object_added_with_revision,
    "signed by a stranger": signed_by_a_stranger,
    "an old revision": old_revision,
}
UNDER_A_GOOD_HEAD = {  # read by a node that knows nothing yet only: the others have what the head was signed for
    "a changed object": object_change,
    "an added object": object_added,
    "a removed object": lambda fleet: fleet.redis.ask("HDEL", fleet.key("objects"), "service/orders"),
    "no objects": lambda fleet: fleet.redis.ask("DEL", fleet.key("objects")),
}


def copy_of(lab, fleet):
    return {name: lab.ask("DUMP", fleet.key(name)) for name in ("head", "objects", "changes")}


def put_back(lab, fleet, copy):
    lab.ask("DEL", *(fleet.key(name) for name in copy))
    for name, dump in copy.items():
        lab.ask("RESTORE", fleet.key(name), 0, dump)


def forget(fleet, name):
    """A node starts without its last known state."""
    fleet[name].stop()
    for path in fleet[name].state_dir.iterdir():
        path.unlink()
    fleet[name].start(wait=False)
    wait_for(fleet[name].admin_socket.exists, "the admin socket")


@pytest.mark.parametrize("forgery", FORGERIES)
def test_refused_and_the_last_good_stays(fleet, forgery):
    with fleet.redis.connect() as lab:
        before = copy_of(lab, fleet)
        logged = {node.name: len(log_of(fleet, node.name)) for node in fleet}
        try:
            FORGERIES[forgery](fleet)
            lab.ask("PUBLISH", fleet.key("news"), "objects 1")
            for node in fleet:
                _, view = fleet.wait_view(node.name, "why it does not take this", lambda v: v["why"] != "")
                assert view["revision"] > 0
            assert answers(fleet, 200, 403)
            assert fleet.call_own().status == 200 and fleet.call_own("guest").status == 403
            why = fleet.view("vm-b")["why"]
            done = fleet["vm-b"].ringmain("status", check=False)
            assert done.returncode == 1 and why[:40] in done.stdout + done.stderr
            assert why[:40] in log_of(fleet, "vm-b")[logged["vm-b"]:]
        finally:
            put_back(lab, fleet, before)
    fleet.publish({"policies": [dict(ALLOW_WEB, methods=["GET"])]})  # newer than all that was seen
    fleet.wait_settled()
    assert answers(fleet, 200, 403)


@pytest.mark.parametrize("forgery", UNDER_A_GOOD_HEAD)
def test_objects_that_the_head_was_not_signed_for_are_taken_by_nobody(fleet, forgery):
    with fleet.redis.connect() as lab:
        before = copy_of(lab, fleet)
        try:
            UNDER_A_GOOD_HEAD[forgery](fleet)
            forget(fleet, "vm-c")
            _, view = fleet.wait_view("vm-c", "why", lambda v: v["why"] != "")
            assert view["revision"] == 0
            for caller in ("web", "guest"):
                with contextlib.suppress(OSError, EOFError):
                    assert fleet.call_at("vm-c", caller).status in (403, 502, 503)
            assert fleet.call_at("vm-b").status == 200 and fleet.call_at("vm-b", "guest").status == 403
        finally:
            put_back(lab, fleet, before)
            fleet["vm-c"].wait_ready()
    fleet.wait_settled()
    assert answers(fleet, 200, 403)


def test_an_operator_repairs_what_a_stranger_broke(fleet):
    signed_by_a_stranger(fleet)
    fleet.wait_view("vm-b", "why", lambda v: v["why"] != "")
    assert "--replace-all" in fleet.publish(None, "--prune", check=False).stderr
    fleet.publish(None, "--replace-all")
    fleet.wait_settled()
    assert answers(fleet, 200, 403)


def test_a_node_without_operators_keys_takes_nothing(fleet):
    """It would otherwise have to believe anybody."""
    node = fleet["vm-c"]
    node.groups = {"state": {"operators": [f"{fleet.operator_key('mallory')}.pub"]}}
    try:
        node.write_config()
        forget(fleet, "vm-c")
        _, view = fleet.wait_view("vm-c", "why", lambda v: v["why"] != "")
        assert view["revision"] == 0
        with contextlib.suppress(OSError, EOFError):
            assert fleet.call_at("vm-c").status in (403, 502, 503)
    finally:
        node.groups = {}
        node.write_config()
        node.reload()
    fleet.wait_settled()
    wait_for(lambda: fleet.call_at("vm-c").status == 200, "orders to be open again")
