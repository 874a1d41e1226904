# SPDX-License-Identifier: Apache-2.0
"""The lab's Redis, without ringmain: what the scenarios of a fleet do to it must really happen."""
import contextlib
import socket
import time

import pytest
from machines import Lab, wait_for
from stores import Certificates, Redis, ReplyError, Resp, Sentinel, Users

WRITE = ("SET", "ringmain:{mesh.test}:node:vm-a", "x")
READ = ("GET", "ringmain:{mesh.test}:node:vm-a")


@pytest.fixture(scope="module")
def lab():
    with Lab(["vm-a", "vm-r", "vm-s"]) as lab:
        lab.users = Users(lab.dir / "passwords", "mesh.test", ["vm-a"], ["alice"])
        yield lab


@pytest.fixture
def redis(lab):
    redis = Redis(lab["vm-r"], lab.users).start()
    redis.ask("FLUSHALL")
    yield redis
    if redis.process.running:
        redis.stop()


def over_the_wire(lab, redis, timeout=2):
    return Resp(lab["vm-a"].connect(0, redis.machine.v4, redis.port, timeout), "node:vm-a",
                lab.users.password("node-vm-a"))


def test_a_node_reaches_it_as_its_user(lab, redis):
    with over_the_wire(lab, redis) as node:
        assert node.ask(*WRITE) == b"OK" and node.ask(*READ) == b"x"


def test_a_killed_one_refuses_connections_and_comes_back_with_what_was_saved(lab, redis):
    redis.ask(*WRITE)
    redis.save("now")
    redis.ask("SET", "lost", "x")
    redis.kill()
    with pytest.raises(ConnectionRefusedError):
        over_the_wire(lab, redis)
    redis.start()
    assert redis.ask("KEYS", "*") == [WRITE[1].encode()]


def test_an_emptied_one_is_empty_and_an_old_dump_is_old(redis):
    redis.ask("SET", "old", "x")
    redis.save("old")
    redis.ask("SET", "new", "x")
    identity = redis.info("replication")["master_replid"]
    redis.restart_empty()
    assert redis.ask("DBSIZE") == 0 and redis.info("replication")["master_replid"] != identity
    redis.restore("old")
    assert redis.ask("KEYS", "*") == [b"old"]


def test_one_that_is_cut_off_says_nothing(lab, redis):
    with over_the_wire(lab, redis) as node:
        redis.cut()
        with pytest.raises(socket.timeout):
            node.ask("PING")
        with pytest.raises(socket.timeout):
            over_the_wire(lab, redis, 0.5)
        assert redis.ask("PING") == b"PONG"
        redis.mend()
        node.sock.settimeout(10)
        assert node.reply() == b"PONG"


def test_a_frozen_one_answers_late(lab, redis):
    with over_the_wire(lab, redis) as node:
        redis.freeze()
        with pytest.raises(socket.timeout):
            node.ask("PING")
        redis.thaw()
        assert node.reply() == b"PONG"


def test_a_full_one_and_one_that_cannot_save_refuse_writes(lab, redis):
    redis.ask(*WRITE)
    for begin, end, error in ((redis.fill, redis.empty_out, "OOM"),
                              (redis.fail_to_save, redis.save_again, "MISCONF")):
        begin()
        with over_the_wire(lab, redis) as node:
            assert node.ask(*READ) == b"x"
            with pytest.raises(ReplyError, match=error):
                node.ask(*WRITE)
            end()
            assert node.ask(*WRITE) == b"OK"


def test_users_are_lost_and_come_back(lab, redis):
    with over_the_wire(lab, redis) as node:
        redis.lose_users("node:vm-a")
        with pytest.raises((EOFError, ReplyError, ConnectionError)):
            node.ask("PING")
    with pytest.raises(ReplyError, match="WRONGPASS"):
        over_the_wire(lab, redis)
    redis.ask("ACL", "LOAD")
    over_the_wire(lab, redis).sock.close()


def test_sentinels_fail_over_to_the_replica(lab, redis):
    redis.ask(*WRITE)
    replica = Redis(lab["vm-s"], lab.users, primary=redis).start()
    replica.wait_in_step()
    with pytest.raises(ReplyError, match="READONLY"):
        replica.ask(*WRITE)
    sentinels = [Sentinel(lab["vm-s"], lab.users, redis, number).start() for number in range(3)]
    for sentinel in sentinels:
        sentinel.wait_ready(others=2)
    password = lab.users.password("finder")
    with Resp(lab["vm-a"].connect(0, lab["vm-s"].v4, sentinels[1].port), "finder", password) as finder:
        assert finder.ask("SENTINEL", "get-master-addr-by-name", "ringmain") == [redis.machine.v4.encode(), b"6379"]
        for words in (("SENTINEL", "REMOVE", "ringmain"), ("SENTINEL", "MASTERS"), ("SENTINEL", "CONFIG", "GET", "*"), ("SHUTDOWN",)):
            with pytest.raises(ReplyError, match="NOPERM"):
                finder.ask(*words)
    redis.kill()
    wait_for(lambda: sentinels[0].answered() == replica.address, "the failover", 15)
    assert replica.ask("ROLE")[0] == b"master" and replica.ask(*READ) == b"x"
    redis.start()

    def follows():
        with contextlib.suppress(OSError, EOFError):  # it drops its clients when it becomes a replica
            return redis.ask("ROLE")[0] == b"slave"
    wait_for(follows, "the old primary to follow", 20)
    assert "NOPERM" not in "".join(s.process.log for s in (*sentinels, redis, replica))


def test_certificates_name_their_server(lab):
    authority = Certificates(lab.dir / "store-authority")
    certificate = authority.issue("redis", "DNS:redis.test", f"IP:{lab['vm-r'].v4}")
    redis = Redis(lab["vm-r"], lab.users, name="secure", port=6380, certificate=certificate, authority=authority).start()
    check = ["openssl", "s_client", "-connect", redis.address, "-CAfile", authority.ca, "-verify_return_error", "-brief"]
    start = time.monotonic()
    for words, good in ((["-verify_hostname", "redis.test"], True), (["-verify_ip", lab["vm-r"].v4], True),
                        (["-verify_hostname", "other.test"], False), (["-tls1_2"], False)):
        done = lab["vm-a"].run([*check, *words], check=False)
        assert (done.returncode == 0) == good, (words, done.stderr)
    assert time.monotonic() - start < 20
    redis.stop()
