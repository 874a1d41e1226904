# SPDX-License-Identifier: Apache-2.0
"""The users of conf/redis.acl: a node can say what it has to say, and nothing else. Whoever stole a
node's password tries to change a policy, another node's endpoints, the stream of changes, the server."""
import os
import subprocess

import pytest
from machines import ROOT, Lab
from stores import Redis, ReplyError, Users

MESH = "mesh.test"
ROOT_KEY = f"ringmain:{{{MESH}}}:"
HEAD, OBJECTS, CHANGES = (ROOT_KEY + name for name in ("head", "objects", "changes"))
NEWS = ROOT_KEY + "news"
NODE_COMMANDS = {"get", "getrange", "scan", "pttl", "hgetall", "xrange", "xrevrange", "set", "del", "pexpire", "publish",
                 "mget", "incrby", "decrby", "xadd", "subscribe", "unsubscribe", "multi", "exec", "ping", "time", "role", "info", "client|setname"}
OPERATOR_COMMANDS = NODE_COMMANDS - {"del", "pexpire", "mget", "incrby", "decrby", "subscribe", "unsubscribe"} | {
    "hget", "hmget", "hset", "hdel", "xadd", "watch", "unwatch", "discard"}
WITHOUT_RIGHTS = {"auth", "hello", "quit", "reset"}  # what a server lets everybody say


def node_key(name):
    return ROOT_KEY + "node:" + name


def lease_key(name):
    return ROOT_KEY + "lease:" + name


def figures_key(name):
    return ROOT_KEY + "figures:" + name


TOKENS, ROLLOUT = ROOT_KEY + "tokens:0123456789abcdef0123456789abcdef:881", ROOT_KEY + "rollout:orders"


@pytest.fixture(scope="module")
def redis():
    with Lab(["vm-r"]) as lab:
        users = Users(lab.dir / "passwords", MESH, nodes=["vm-a", "vm-b"], operators=["alice"])
        # so that it is the user's rights that refuse these, and nothing else
        settings = {"enable-debug-command": "yes", "enable-module-command": "yes"}
        yield Redis(lab["vm-r"], users, settings=settings).start()


@pytest.fixture
def filled(redis):
    """A mesh with two nodes and a policy, and something of somebody else's."""
    with redis.connect() as lab:
        lab.ask("FLUSHALL")
        lab.ask("SET", HEAD, "the head of revision 7")
        lab.ask("HSET", OBJECTS, "policy/web-uses-orders", "deny", "service/orders", "port 8080")
        for number in range(1, 8):
            lab.ask("XADD", CHANGES, f"{number}-0", "head", "a head", "change", "a change")
        for name in ("vm-a", "vm-b"):
            lab.ask("SET", node_key(name), f"the record of {name}")
            lab.ask("SET", lease_key(name), "1 1", "PX", 600000)
        lab.ask("SET", "somebody:else", "x")
    return redis


def as_node(redis, name="vm-a"):
    return redis.connect(f"node:{name}", redis.users.password(f"node-{name}"))


def as_operator(redis, name="alice"):
    return redis.connect(f"operator:{name}", redis.users.password(f"operator-{name}"))


def contents(redis):
    """Every key with what is in it and when it expires."""
    with redis.connect() as lab:
        return {key: (lab.ask("DUMP", key), lab.ask("PEXPIRETIME", key)) for key in lab.ask("KEYS", "*")}


def refused(connection, *words):
    try:
        answer = connection.ask(*words)
    except ReplyError as error:
        assert str(error).startswith("NOPERM"), (words, error)
        return True
    return pytest.fail(f"{words} was carried out: {answer!r}")


# --- what a node needs ---------------------------------------------------------------------------------


def test_a_node_reads_the_whole_mesh(filled):
    with as_node(filled) as node:
        assert node.ask("GET", HEAD) == b"the head of revision 7"
        assert node.ask("HGETALL", OBJECTS)[0] == b"policy/web-uses-orders"
        assert len(node.ask("XRANGE", CHANGES, "3-0", "+", "COUNT", 100)) == 5
        assert [node.ask("GETRANGE", node_key(name), 0, 65536) for name in ("vm-a", "vm-b", "vm-c")] == [
            b"the record of vm-a", b"the record of vm-b", b""]
        assert node.ask("GETRANGE", lease_key("vm-a"), 0, 79) == b"1 1"
        assert node.ask("PTTL", lease_key("vm-c")) == -2
        cursor, keys = b"0", []
        while True:
            cursor, some = node.ask("SCAN", cursor, "MATCH", ROOT_KEY + "node:*", "COUNT", 100)
            keys += some
            if cursor == b"0":
                break
        assert sorted(keys) == [node_key("vm-a").encode(), node_key("vm-b").encode()]


def test_a_node_writes_its_record_and_renews_its_lease(filled):
    with as_node(filled) as node:
        assert node.ask("SET", node_key("vm-a"), "a new record") == b"OK"
        assert node.ask("SET", lease_key("vm-a"), "1 2", "PX", 5000, "GET") == b"1 1"
        assert node.ask("PEXPIRE", node_key("vm-a"), 60000) == 1
        assert node.ask("MULTI") == b"OK"
        assert node.ask("SET", node_key("vm-a"), "another") == b"QUEUED"
        assert node.ask("SET", lease_key("vm-a"), "1 3", "PX", 5000) == b"QUEUED"
        assert node.ask("EXEC") == [b"OK", b"OK"]
        assert node.ask("DEL", node_key("vm-a"), lease_key("vm-a")) == 2


def test_any_node_takes_tokens(filled):
    with as_node(filled, "vm-a") as one, as_node(filled, "vm-b") as other:
        assert one.ask("SET", TOKENS, 0, "PX", 60000, "NX") == b"OK"
        assert other.ask("SET", TOKENS, 0, "PX", 60000, "NX") is None
        assert [node.ask("INCRBY", TOKENS, 5) for node in (one, other)] == [5, 10]
        assert other.ask("DECRBY", TOKENS, 2) == 8 and one.ask("GET", TOKENS) == b"8"
        assert one.ask("PEXPIRE", TOKENS, 60000) == 1


def test_any_node_carries_a_rollout_on_by_ids_that_only_rise(filled):
    with as_node(filled, "vm-a") as one, as_node(filled, "vm-b") as other:
        assert one.ask("XADD", ROLLOUT, "7-0", "is", "x") == b"7-0"
        assert other.ask("XADD", ROLLOUT, "8-0", "is", "x") == b"8-0"
        with pytest.raises(ReplyError, match="equal or smaller"):
            one.ask("XADD", ROLLOUT, "7-1", "is", "overtaken")
        assert len(one.ask("XREVRANGE", ROLLOUT, "+", "-", "COUNT", 1)) == 1


def test_a_node_tells_its_own_figures_and_reads_all(filled):
    with as_node(filled, "vm-a") as one, as_node(filled, "vm-b") as other:
        assert one.ask("SET", figures_key("vm-a"), "some", "PX", 60000) == b"OK"
        assert other.ask("MGET", figures_key("vm-a"), figures_key("vm-b")) == [b"some", None]
        assert refused(other, "SET", figures_key("vm-a"), "others")


def test_a_node_hears_and_tells_the_news(filled):
    with as_node(filled, "vm-a") as teller, as_node(filled, "vm-b") as hearer:
        assert hearer.ask("SUBSCRIBE", NEWS) == [b"subscribe", NEWS.encode(), 1]
        assert teller.ask("PUBLISH", NEWS, "node vm-a") == 1
        assert hearer.reply() == [b"message", NEWS.encode(), b"node vm-a"]
        assert hearer.ask("PING") == [b"pong", b""]


def test_a_node_learns_what_the_server_is(redis):
    with as_node(redis) as node:
        assert node.ask("ROLE")[0] == b"master"
        assert b"master_replid:" in node.ask("INFO", "replication")
        assert len(node.ask("TIME")) == 2
        assert node.ask("CLIENT", "SETNAME", "ringmain-vm-a") == b"OK"


# --- what a stolen password is good for ------------------------------------------------------------------

OTHERS = node_key("vm-b"), lease_key("vm-b")
MINE = node_key("vm-a")
SCRIPT = "return redis.call('SET', KEYS[1], 'x')"
ATTACKS = {
    "a policy": [
        ("HSET", OBJECTS, "policy/web-uses-orders", "allow"), ("HDEL", OBJECTS, "policy/web-uses-orders"),
        ("HSETNX", OBJECTS, "policy/new", "allow"), ("HINCRBY", OBJECTS, "n", 1), ("DEL", OBJECTS),
        ("UNLINK", OBJECTS), ("SET", OBJECTS, "x"), ("EXPIRE", OBJECTS, 1), ("SET", HEAD, "a head of mine"),
        ("SET", HEAD, "x", "GET"), ("GETSET", HEAD, "x"), ("GETDEL", HEAD), ("GETEX", HEAD, "EX", 1),
        ("APPEND", HEAD, "x"), ("SETRANGE", HEAD, 0, "x"), ("DEL", HEAD), ("PEXPIRE", HEAD, 1),
        ("MSET", MINE, "x", HEAD, "x"), ("MSETNX", HEAD, "x"), ("DEL", MINE, HEAD)],
    "policy, by what counts tokens": [
        ("INCRBY", HEAD, 1), ("DECRBY", HEAD, 1), ("INCRBY", OBJECTS, 1), ("XADD", HEAD, "1-1", "x", "x"),
        ("XADD", OBJECTS, "1-1", "x", "x"), ("RENAME", TOKENS, HEAD), ("COPY", TOKENS, OBJECTS, "REPLACE"),
        ("INCRBY", ROOT_KEY + "tokens", 1), ("SET", ROOT_KEY + "token:x", 1), ("SET", ROOT_KEY + "rollouts", 1),
        ("INCRBY", "ringmain:{other.test}:tokens:x:1", 1), ("INCR", TOKENS), ("INCRBYFLOAT", TOKENS, "0.5"),
        ("GETSET", TOKENS, 0), ("XTRIM", ROLLOUT, "MAXLEN", 0), ("XDEL", ROLLOUT, "7-0"), ("XSETID", ROLLOUT, "9-9")],
    "another node's figures": [
        (word, figures_key("vm-b"), *rest) for word, *rest in (
            ("SET", "x"), ("INCRBY", 1), ("DEL",), ("PEXPIRE", 1), ("XADD", "1-1", "x", "x"))],
    "another node's endpoints": [
        attack for key in OTHERS for attack in (
            ("SET", key, "x"), ("SET", key, "x", "PX", 1), ("SETEX", key, 1, "x"), ("SETNX", key, "x"),
            ("DEL", key), ("UNLINK", key), ("EXPIRE", key, 1), ("PEXPIREAT", key, 1), ("PERSIST", key),
            ("APPEND", key, "x"), ("SETBIT", key, 1, 1), ("GETDEL", key), ("GETEX", key, "PX", 1),
            ("INCR", key), ("PFADD", key, "x"), ("LPUSH", key, "x"))],
    "another node's endpoints, by way of a key of its own": [
        attack for key in (*OTHERS, HEAD, OBJECTS) for attack in (
            ("RENAME", MINE, key), ("RENAME", key, MINE), ("RENAMENX", MINE, key), ("COPY", MINE, key, "REPLACE"),
            ("RESTORE", key, 0, "x", "REPLACE"), ("BITOP", "NOT", key, MINE), ("SORT", MINE, "STORE", key),
            ("PFMERGE", key, MINE), ("SMOVE", MINE, key, "x"), ("LMOVE", MINE, key, "LEFT", "LEFT"),
            ("MOVE", key, 1), ("MIGRATE", "10.77.0.1", 6379, key, 0, 100))],
    "a node that looks like it": [
        ("SET", node_key("vm-a2"), "x"), ("SET", node_key("vm-"), "x"), ("SET", node_key("VM-A"), "x"),
        ("SET", lease_key("vm-c"), "x"), ("SET", node_key("vm-a") + ":more", "x"),
        ("SET", "ringmain:{other.test}:node:vm-a", "x"), ("GET", "ringmain:{other.test}:head")],
    "the stream of changes": [
        ("XADD", CHANGES, "8-0", "head", "x", "change", "x"), ("XADD", CHANGES, "MAXLEN", 0, "*", "x", "x"),
        ("XDEL", CHANGES, "7-0"), ("XTRIM", CHANGES, "MAXLEN", 0), ("XSETID", CHANGES, "9999-0"),
        ("XGROUP", "CREATE", CHANGES, "mine", "0"), ("XREADGROUP", "GROUP", "mine", "me", "STREAMS", CHANGES, ">"),
        ("XAUTOCLAIM", CHANGES, "mine", "me", 0, "0"), ("DEL", CHANGES), ("SET", CHANGES, "x"), ("EXPIRE", CHANGES, 1)],
    "everything": [
        ("FLUSHALL",), ("FLUSHDB", "ASYNC"), ("SWAPDB", 0, 1), ("SELECT", 1), ("KEYS", "*"), ("RANDOMKEY",),
        ("DEBUG", "SLEEP", 60), ("DEBUG", "FLUSHALL"), ("SHUTDOWN", "NOSAVE"), ("BGSAVE",), ("SAVE",), ("BGREWRITEAOF",),
        ("FAILOVER",), ("REPLICAOF", "10.77.0.9", 6379), ("SLAVEOF", "NO", "ONE"), ("PSYNC", "?", -1), ("SYNC",),
        ("REPLCONF", "listening-port", 1), ("CLUSTER", "RESET"), ("MODULE", "LOAD", "/tmp/x.so"), ("MONITOR",)],
    "the server's configuration": [
        ("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "GET", "*"), ("CONFIG", "REWRITE"), ("CONFIG", "RESETSTAT"),
        ("ACL", "SETUSER", "node:vm-a", "allkeys", "allcommands"), ("ACL", "LIST"), ("ACL", "LOAD"),
        ("ACL", "GETUSER", "node:vm-b"), ("ACL", "WHOAMI"), ("ACL", "DELUSER", "operator:alice"),
        ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", 60000), ("CLIENT", "NO-EVICT", "on"),
        ("CLIENT", "TRACKING", "on", "BCAST"), ("SLOWLOG", "GET"), ("LATENCY", "RESET"), ("MEMORY", "PURGE")],
    "scripts": [
        ("EVAL", SCRIPT, 1, OBJECTS), ("EVAL", SCRIPT, 1, MINE), ("EVAL", "return redis.call('FLUSHALL')", 0),
        ("EVAL_RO", "return redis.call('GET', KEYS[1])", 1, HEAD), ("EVALSHA", "0" * 40, 1, HEAD),
        ("SCRIPT", "LOAD", SCRIPT), ("SCRIPT", "FLUSH"), ("SCRIPT", "KILL"), ("FCALL", "f", 1, HEAD),
        ("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() end)"),
        ("FUNCTION", "FLUSH"), ("FUNCTION", "KILL")],
    "channels": [
        ("SUBSCRIBE", "somebody:else"), ("SUBSCRIBE", NEWS, "somebody:else"), ("SUBSCRIBE", "__sentinel__:hello"),
        ("PSUBSCRIBE", "*"), ("PSUBSCRIBE", NEWS), ("SSUBSCRIBE", NEWS), ("SPUBLISH", NEWS, "x"),
        ("PUBLISH", "somebody:else", "x"), ("PUBLISH", "__sentinel__:hello", "x"),
        ("PUBLISH", "ringmain:{other.test}:news", "x"), ("PUBSUB", "CHANNELS")],
    "what is somebody else's": [
        ("GET", "somebody:else"), ("SET", "somebody:else", "y"), ("MGET", HEAD, "somebody:else"), ("DEL", "somebody:else"),
        ("OBJECT", "ENCODING", "somebody:else"), ("BLPOP", "somebody:else", 0), ("WAIT", 1, 0)],
}


@pytest.mark.parametrize("aim", ATTACKS)
def test_a_stolen_node_password_cannot_change(filled, aim):
    before = contents(filled)
    with filled.connect() as witness:
        witness.ask("PSUBSCRIBE", "*")
        for words in ATTACKS[aim]:
            with as_node(filled) as thief:
                assert refused(thief, *words)
        assert filled.process.running
        assert contents(filled) == before
        filled.ask("PUBLISH", "the:end", "of this test")
        assert witness.reply()[2] == b"the:end", "the thief was heard"


def test_a_stolen_node_password_cannot_fill_the_others_with_bytes(filled):
    """Rights say nothing of sizes; proto-max-bulk-len does."""
    with as_node(filled) as thief:
        assert thief.ask("SET", MINE, b"x" * (15 << 20)) == b"OK"
        thief.sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$%d\r\n" % (17 << 20))
        with pytest.raises(ReplyError, match="invalid bulk length"):
            thief.reply()


@pytest.mark.parametrize("words", [("HSET", OBJECTS, "policy/x", "allow"), ("SET", HEAD, "x"), ("SET", OTHERS[0], "x"),
                                   ("XADD", CHANGES, "8-0", "head", "x"), ("FLUSHALL",), ("CONFIG", "GET", "*")])
def test_a_transaction_gives_no_further_rights(filled, words):
    before = contents(filled)
    with as_node(filled) as thief:
        thief.ask("MULTI")
        assert thief.ask("SET", MINE, "x") == b"QUEUED"
        assert refused(thief, *words)
        with pytest.raises(ReplyError, match="EXECABORT"):
            thief.ask("EXEC")
    assert contents(filled) == before


def allowed_commands(redis, user):
    """The commands of the server that a user may give, whatever their keys."""
    with redis.connect() as lab:
        found = set()
        for command in lab.ask("COMMAND"):
            names = [(command[0].decode(), command[1])] if not command[9] else [
                (sub[0].decode(), sub[1]) for sub in command[9]]
            for name, arity in names:
                words = name.split("|") + ["1"] * max(0, abs(arity) - len(name.split("|")))
                try:
                    answer = lab.ask("ACL", "DRYRUN", user, *words)
                except ReplyError as error:
                    answer = str(error).encode()
                if b"to run the" not in answer:
                    found.add(name)
        return found - WITHOUT_RIGHTS


@pytest.mark.parametrize("user, expected", [("node:vm-a", NODE_COMMANDS), ("operator:alice", OPERATOR_COMMANDS)])
def test_no_command_more_than_the_template_says(redis, user, expected):
    assert allowed_commands(redis, user) == expected


# --- the other users ---------------------------------------------------------------------------------------


def test_an_operator_publishes_objects(filled):
    with as_operator(filled) as operator:
        assert operator.ask("WATCH", HEAD) == b"OK"
        assert operator.ask("GET", HEAD) == b"the head of revision 7"
        operator.ask("MULTI")
        operator.ask("HSET", OBJECTS, "policy/new", "allow")
        operator.ask("HDEL", OBJECTS, "policy/web-uses-orders")
        operator.ask("XADD", CHANGES, "MAXLEN", "~", 1000, "8-0", "head", "h", "change", "c")
        operator.ask("SET", HEAD, "the head of revision 8")
        operator.ask("PUBLISH", NEWS, "objects 8")
        assert operator.ask("EXEC") == [1, 1, b"8-0", b"OK", 0]
        assert len(operator.ask("XREVRANGE", CHANGES, "+", "-", "COUNT", 2)) == 2
        assert operator.ask("GET", node_key("vm-a")) == b"the record of vm-a"


def test_an_operators_password_cannot_change(filled):
    before = contents(filled)
    with as_operator(filled) as thief:
        for words in [("SET", node_key("vm-a"), "x"), ("DEL", node_key("vm-a")), ("SET", lease_key("vm-a"), "x"),
                      ("DEL", HEAD), ("XTRIM", CHANGES, "MAXLEN", 0), ("XDEL", CHANGES, "7-0"), ("FLUSHALL",),
                      ("CONFIG", "SET", "maxmemory", 1), ("ACL", "LIST"), ("EVAL", SCRIPT, 1, HEAD),
                      ("SET", "somebody:else", "x"), ("PUBLISH", "somebody:else", "x"), ("REPLICAOF", "NO", "ONE")]:
            assert refused(thief, *words)
    assert contents(filled) == before


def test_nobody_comes_in_without_a_password(filled):
    with filled.connect("node:vm-a", filled.users.password("node-vm-a")) as connection:
        connection.ask("RESET")  # to the default user, who is nobody
        for words in (("GET", HEAD), ("SET", MINE, "x"), ("PING",), ("ACL", "WHOAMI")):
            with pytest.raises(ReplyError, match="NOAUTH|NOPERM"):
                connection.ask(*words)
    for user, password in (("node:vm-a", filled.users.password("node-vm-b")), ("node:vm-a", ""), ("default", ""),
                           ("node:vm-c", "x"), ("replica", filled.users.password("node-vm-a"))):
        with pytest.raises(ReplyError, match="WRONGPASS"):
            filled.connect(user, password or "-").sock.close()


def test_the_other_servers_users_read_nothing(filled):
    for user in ("replica", "sentinel"):
        with filled.connect(user, filled.users.password(user)) as connection:
            for words in (("GET", HEAD), ("SET", HEAD, "x"), ("HGETALL", OBJECTS), ("CONFIG", "SET", "maxmemory", 1)):
                assert refused(connection, *words)


# --- conf/redis-acl ------------------------------------------------------------------------------------------


def redis_acl(*words):
    return subprocess.run([ROOT / "conf" / "redis-acl", *map(str, words)], text=True, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_same_call_gives_the_same_line(tmp_path):
    first = redis_acl("-d", tmp_path / "p", MESH, "node", "vm-a", "vm-b")
    assert first.returncode == 0 and len(first.stdout.splitlines()) == 2
    assert redis_acl("-d", tmp_path / "p", MESH, "node", "vm-a", "vm-b").stdout == first.stdout
    files = sorted((tmp_path / "p").iterdir())
    assert [f.name for f in files] == ["node-vm-a.password", "node-vm-b.password"]
    passwords = [f.read_text() for f in files]
    assert all(os.stat(f).st_mode & 0o777 == 0o600 for f in files)
    assert len(passwords[0]) == 64 and passwords[0] != passwords[1]
    assert not any(password in first.stdout for password in passwords)


@pytest.mark.parametrize("name", ["*", "vm-*", "vm-?", "[a-z]", "vm\\a", "vm a", "vm-a\nuser x on", "", "é", "a" * 64,
                                  "../vm-a", "vm:a", "&x", "~*"])
def test_names_that_would_be_patterns_are_refused(tmp_path, name):
    for words in ((MESH, "node", "vm-a", name), (MESH, "operator", name)):
        done = redis_acl("-d", tmp_path / "p", *words)
        assert done.returncode == 1 and done.stdout == "" and "name" in done.stderr or "longer" in done.stderr
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("mesh", ["*", "mesh.*", "Mesh.test", "a}:*"])
def test_a_mesh_that_would_be_a_pattern_is_refused(tmp_path, mesh):
    done = redis_acl("-d", tmp_path / "p", mesh, "node", "vm-a")
    assert done.returncode == 1 and done.stdout == "" and done.stderr


def test_an_empty_or_short_password_file_gives_no_line(tmp_path):
    for text in ("", "secret"):
        (tmp_path / "node-vm-a.password").write_text(text)
        done = redis_acl("-d", tmp_path, MESH, "node", "vm-a")
        assert done.returncode == 1 and done.stdout == "" and "shorter" in done.stderr


def test_how_it_is_called(tmp_path):
    for words in ((), ("-d", tmp_path), ("-d", tmp_path, MESH), (MESH, "node", "vm-a"), ("-d", tmp_path, MESH, "node"),
                  ("-d", tmp_path, MESH, "default", "x"), ("-d", tmp_path, MESH, "nobody"), ("-x",)):
        done = redis_acl(*words)
        assert done.returncode == 2 and done.stdout == "" and "usage" in done.stderr
