# SPDX-License-Identifier: Apache-2.0
"""The processes: the proxy is a prisoner, its death is a hiccup, its end is orderly, and it keeps
nothing of those who left."""
import base64
import json
import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from machines import process_children, process_status, wait_for
from mesh import BLOCK, ECHO, ORDERS, SPRAY, WEB, ScenarioMesh, request_text

SERVICES = [WEB, ORDERS, ECHO, SPRAY]
WORKERS = 2  # always: these tests are about what workers have in common, their process


@pytest.fixture
def mesh():
    yield from started_mesh()


@pytest.fixture
def forgetful():
    """Its pools keep nothing for longer than a second."""
    yield from started_mesh(pool_idle="1s")


def started_mesh(**timeouts):
    groups = {"timeouts": {"drain": "3s", **timeouts}}
    with ScenarioMesh(SERVICES, groups=groups, workers=WORKERS) as mesh:
        yield mesh.start()


def fd_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    return int(process_status(pid)["VmRSS"].split()[0])


def calls_again(mesh, timeout=10):
    def works():
        try:
            return mesh.call("web", "orders", timeout=3).status == 200
        except (OSError, EOFError):
            return False
    wait_for(works, "calls to work again", timeout)


def test_the_proxy_process_has_no_privileges(mesh):
    for node in mesh:
        pid = node.proxy_pid()
        status = process_status(pid)
        assert set(status["Uid"].split()) == {str(node.uid)}
        assert str(0) not in status["Gid"].split()
        assert status["Groups"].strip() == ""
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        limits = Path(f"/proc/{pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]


def test_a_standalone_machine_has_one_child_and_no_store(mesh):
    """Without state.redis there is no state process, nothing to drain from, and nothing said of it."""
    node = mesh["vm-b"]
    assert mesh.call("web", "orders").status == 200
    assert process_children(node.process.pid) == [node.proxy_pid()]
    assert json.loads(node.admin_get("/status")[1])["state"] == {"mode": "standalone"}
    assert "ringmain_state_" not in node.admin_get("/metrics")[1]
    done = node.ringmain("drain", "orders", check=False)
    assert done.returncode == 1 and "standalone" in done.stderr
    assert mesh.call("web", "orders").status == 200


def private_scalars(node):
    """The secret numbers of its key files, as bytes: in RFC 5915 the octets behind the version."""
    found = []
    for path in node.certs.glob("*.key"):
        der = base64.b64decode("".join(path.read_text().splitlines()[1:-1]))
        start = der.index(b"\x02\x01\x01\x04\x20") + 5
        found.append(der[start:start + 32])
    return found


def places_of(pid, needles):
    """The mappings of a process that hold one of them: {first address: times}."""
    found = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, flags = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if not flags.startswith("rw") or end - start > 1 << 30 or "[v" in line:
                continue
            try:
                memory.seek(start)
                held = memory.read(end - start)
            except (OSError, ValueError):
                continue
            count = sum(held.count(needle) for needle in needles)
            if count:
                found[start] = count
    return found


def test_no_private_key_in_the_proxy_process(mesh):
    """Its memory holds no key, neither as in the files nor as a number."""
    mesh.call("web", "orders")
    needles = private_scalars(mesh["vm-b"])
    for path in mesh["vm-b"].certs.glob("*.key"):
        lines = path.read_text().splitlines()
        needles += [lines[2].encode(), lines[1][20:60].encode()]
    needles += [needle[::-1] for needle in needles]
    assert len(needles) >= 8
    assert places_of(mesh["vm-b"].proxy_pid(), needles) == {}


def test_keys_are_left_out_of_core_files(mesh):
    """The keeper holds each key in one place, which no core file would show; nor may it leave one."""
    node = mesh["vm-b"]
    mesh.call("web", "orders")
    scalars = private_scalars(node)
    places = places_of(node.process.pid, scalars)
    assert sum(places.values()) == len(scalars) and len(places) == 1
    smaps = Path(f"/proc/{node.process.pid}/smaps").read_text()
    of_keys = smaps[smaps.index(f"{next(iter(places)):x}-"):]
    assert "dd" in re.search(r"VmFlags: (.*)", of_keys)[1].split()
    limits = Path(f"/proc/{node.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)


def test_every_worker_carries_connections(mesh):
    """The kernel spreads new connections over the workers' listening sockets, and each worker's
    are served, logged and counted like the other's."""
    for _ in range(40):
        assert mesh.call("web", "orders").status == 200
        with mesh.dial("web", "echo") as wire:
            assert wire.send("x").exactly(1) == b"x"
    for node, reporter in (("vm-a", "source"), ("vm-b", "destination")):
        lines = wait_for(lambda: [line for line in mesh[node].access() if line["kind"] == "tcp_close"][39:], "the lines")
        assert lines
        workers = {line["conn_id"] >> 48 for line in mesh[node].access()}
        assert workers == set(range(WORKERS))
        assert mesh[node].metric("istio_requests_total", reporter=reporter, response_code="200") == 40
    for pid in (node.proxy_pid() for node in mesh):
        assert len(os.listdir(f"/proc/{pid}/task")) >= WORKERS + 1


@pytest.mark.seconds(120)
def test_killed_under_load_refuses_nobody(mesh):
    """kill -9 of the proxy, three times, while callers connect without pause: connections wait for
    the next proxy, none is refused."""
    end, refused, connected, answered = time.monotonic() + 9, [], [0], [0]

    def caller():
        while time.monotonic() < end:
            try:
                with mesh.dial("web", "orders", timeout=8) as wire:
                    connected[0] += 1
                    if wire.send(request_text("GET /echo", "orders")).reply().status == 200:
                        answered[0] += 1
            except ConnectionRefusedError as error:
                refused.append(str(error))
            except (OSError, EOFError):
                pass  # it was in the dying proxy's hands
    mesh.call("web", "orders")
    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for name in ("vm-a", "vm-b", "vm-a"):
        time.sleep(2)
        before = mesh[name].proxy_pid()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: mesh[name].proxy_pid() not in (None, before), "a new proxy", 10)
    for thread in threads:
        thread.join()
    assert refused == []
    assert connected[0] > 20 and answered[0] > 20
    calls_again(mesh)


def test_the_keeper_restarts_the_proxy_again_and_again(mesh):
    node = mesh["vm-b"]
    for _ in range(4):
        before = node.proxy_pid()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: node.proxy_pid() not in (None, before), "a new proxy", 15)
        node.wait_ready()
        calls_again(mesh)
    assert node.process.running


def test_the_proxy_ends_with_its_keeper(mesh):
    node = mesh["vm-b"]
    pid = node.proxy_pid()
    os.kill(node.process.pid, signal.SIGKILL)
    wait_for(lambda: process_status(pid).get("State", "Z").startswith("Z"), "the proxy's end")


def test_without_a_proxy_nothing_goes_out_in_the_clear(mesh):
    """The keeper is gone and the rules stand: a workload gets an error, never a plain connection."""
    mesh["vm-a"].stop()
    with mesh.capture() as path:
        with pytest.raises((OSError, EOFError)):
            mesh.call("web", "orders", "GET /in-the-clear", timeout=3)
    assert b"in-the-clear" not in path.read_bytes()
    assert b"in-the-clear" not in mesh.record("orders")


def test_drain_finishes_what_was_begun(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /slow/1500", "orders"))
        time.sleep(0.3)
        mesh["vm-a"].process.kill(signal.SIGTERM)
        reply = wire.reply()
        assert (reply.status, reply.body) == (200, b"slow\n")
    assert mesh["vm-a"].process.wait(10) == 0


def test_drain_ends_by_its_timeout(mesh):
    with mesh.dial("web", "spray") as wire:  # never ends by itself
        wire.exactly(1000)
        start = time.monotonic()
        mesh["vm-a"].process.kill(signal.SIGTERM)
        assert mesh["vm-a"].process.wait(15) == 0
        assert 2 < time.monotonic() - start < 10


def test_drain_tells_http_callers_to_close(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /slow/800", "orders"))
        time.sleep(0.2)
        mesh["vm-a"].process.kill(signal.SIGTERM)
        reply = wire.reply()
        assert reply.status == 200 and (reply.get("Connection") or "").lower() == "close"
        assert wire.ended(3) in ("fin", "reset")


def random_deed(mesh, rng):
    """A caller that ends in one of many ways, at a point of chance."""
    deed = rng.choice(["http", "echo", "spray", "half", "head"])
    try:
        with mesh.dial("web", {"http": "orders", "head": "orders", "half": "echo"}.get(deed, deed), timeout=3) as wire:
            if deed in ("http", "head"):
                text = request_text("GET /bytes/300000", "orders")
                wire.send(text[:rng.randrange(1, len(text))] if deed == "head" else text)
                if deed == "http":
                    wire.exactly(rng.randrange(1, 300000))
            elif deed in ("echo", "half"):
                wire.send(BLOCK[:rng.randrange(1, 65536)])
                wire.finish() if deed == "half" else wire.exactly(1)
            else:
                wire.exactly(rng.randrange(1, 200000))
            time.sleep(rng.random() * 0.02)
            if rng.random() < 0.5:
                wire.reset()
    except (OSError, EOFError):
        pass


def all_ended(mesh):
    """No connection of any kind is open, and no channel on a shared one."""
    return all(node.metric(name) == 0 for node in mesh
               for name in ("ringmain_connections_active", "ringmain_channels_active"))


@pytest.mark.seconds(150)
def test_nothing_is_kept_of_those_who_left(forgetful):
    """Callers and servers killed at random points: every connection ends, the pooled ones by their
    timeout, each descriptor comes back, and memory does not grow from one round to the next."""
    mesh, rng = forgetful, random.Random(20)
    pids, resident = [node.proxy_pid() for node in mesh], []
    time.sleep(0.2)  # in which the connection that asked whether it was ready closes
    descriptors = [fd_count(pid) for pid in pids]
    calls_again(mesh)
    for number in range(4):
        for _ in range(120):
            random_deed(mesh, rng)
        for name in ("orders", "echo"):
            mesh.workload(name).stop(signal.SIGKILL)
            random_deed(mesh, rng)
            mesh.serve_one(mesh.service(name), mesh.lab["vm-b"])
        wait_for(lambda: all_ended(mesh), "connections to end", 20)
        wait_for(lambda: all(fd_count(pid) <= count for pid, count in zip(pids, descriptors)),
                 f"no more than {descriptors} descriptors")
        resident.append([resident_kib(pid) for pid in pids])
    assert pids == [node.proxy_pid() for node in mesh], "a proxy died"
    for kib in resident[2:]:
        for now, first in zip(kib, resident[1]):
            assert now <= first + 32768, resident
