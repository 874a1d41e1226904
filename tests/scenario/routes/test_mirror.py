# SPDX-License-Identifier: Apache-2.0
"""Copies of requests for a mirror: exactly so many, and whatever the mirror does the caller gets what it gets without one."""
import itertools

import pytest
from machines import wait_for
from mesh import STOCK, at
from served import Served, ask

MARK = b"\r\nx-ringmain-mirror: 1\r\n"
SERVICE, MIRROR = "vm-b", "vm-c"
numbers = itertools.count()


@pytest.fixture(scope="module")
def mesh():
    with Served(services=[at(STOCK, "vm-b")], groups={"timeouts": {"connect": "2s", "mirror": "4s"}}) as mesh:
        yield mesh.start()


def mirrored(mesh, percent=100, **more):
    mesh.set({"split": [{"version": mesh.version(SERVICE)}],
              "mirror": [{"version": mesh.version(MIRROR), "percent": percent}], **more})


def fresh(what="m"):
    """A path that no other request has."""
    return f"/echo/{what}/{next(numbers)}"


def copies(mesh, path, machine=MIRROR):
    """How many of the requests for a path that a server has seen were copies."""
    heads = mesh.record("orders", machine).split(b"\r\n\r\n")
    return sum(f" {path} HTTP/1.1\r\n".encode() in head and MARK in head + b"\r\n" for head in heads)


def settled(mesh):
    """No copy is under way any more."""
    wait_for(lambda: mesh.mine("mirrors_active") == 0, "the copies to end")


def mirror_lines(mesh, path, node="vm-a"):
    return [line for line in mesh.access_lines(node, path=path) if line.get("mirror")]


def test_a_share_is_copied_exactly(mesh):
    mirrored(mesh, 10)
    path = fresh()
    with mesh.wire() as wire:  # of one worker, therefore
        for _ in range(100):
            assert ask(wire, f"GET {path}").json["server"] == f"orders@{SERVICE}"
    settled(mesh)
    wait_for(lambda: len(mirror_lines(mesh, path)) == 10, "the copies' lines")
    assert copies(mesh, path) == mesh.seen(path, MIRROR) == 10
    assert mesh.seen(path, SERVICE) == 100 and copies(mesh, path, SERVICE) == 0


def test_a_copy_is_told_apart(mesh):
    """By its mark, in both machines' logs, and in series of their own."""
    mirrored(mesh)
    path, version = fresh("told"), mesh.version(MIRROR)
    ends = {"vm-a": {"destination_version": version}, MIRROR: {}}  # that one is told no version of its own
    normal = {node: mesh[node].metric("istio_requests_total", **labels) for node, labels in ends.items()}
    with mesh.wire() as wire:
        reply = ask(wire, f"PUT {path}", ["x-ringmain-mirror: spoofed", "traceparent: 00-1-2-01"], b"abc")
    assert "x-ringmain-mirror" not in {name.lower() for name, *_ in reply.json["headers"]}
    settled(mesh)
    for node, labels in ends.items():
        line = wait_for(lambda: mirror_lines(mesh, path, node), f"the copy's line of {node}")[0]
        assert (line["destination_service"], line["response_code"]) == ("orders", 200)
        assert line["source_identity"].endswith("/service/web")
        assert mesh[node].metric("istio_requests_total", **labels) == normal[node]
        assert mesh[node].metric("ringmain_mirrored_requests_total", **labels) >= 1
    assert copies(mesh, path) == 1
    head = next(h for h in mesh.record("orders", MIRROR).split(b"\r\n\r\n") if path.encode() in h)
    assert b"traceparent: 00-1-2-01" in head and b"spoofed" not in head
    assert b"/service/web" in head  # who called, as at the service
    assert len([line for line in mesh.access_lines("vm-a", path=path) if not line.get("mirror")]) == 1


def exchange(mesh, path):
    """What a caller gets of some requests, byte for byte but for what differs from one to the next in any case."""
    got = []
    head = ["X-Request-Id: same", "traceparent: 00-1-2-01"]
    with mesh.wire() as wire:
        for line, body in ((f"GET {path}", b""), (f"POST {path}", b"b" * 50000), (f"POST {path}", b"c" * 300000),
                           ("GET /chunked/20", b""), ("GET /bytes/200000", b""), ("GET /status/503", b""), ("HEAD /bytes/9", b""),
                           (f"DELETE {path}", b"")):
            reply = ask(wire, line, head, body)
            got.append((reply.status, [row for row in reply.headers if row[0].lower() != "date"], reply.body, reply.trailers))
    return got


@pytest.fixture(scope="module")
def without(mesh):
    mesh.set({"split": [{"version": mesh.version(SERVICE)}]})
    return exchange(mesh, "/echo/same")


MODES = ["status 500", "stall", "late 1000", "close", "reset", "midway", "garbage"]


@pytest.mark.parametrize("mode", MODES)
def test_what_a_mirror_does_is_not_seen(mesh, without, mode):
    mirrored(mesh)
    failed = mesh.mine("retries_total"), mesh.mine("ejections_total")
    with mesh.behaves(MIRROR, mode):
        assert exchange(mesh, "/echo/same") == without
        settled(mesh)
    assert (mesh.mine("retries_total"), mesh.mine("ejections_total")) == failed


def test_a_mirror_that_is_away(mesh, without):
    """Nobody has its address."""
    mesh.set({"split": [{"version": mesh.version(SERVICE)}], "mirror": [{"version": "void"}]}, void=True)
    assert exchange(mesh, "/echo/same") == without
    settled(mesh)


def test_a_mirror_that_does_not_let_the_caller_in(mesh):
    """Policy is about the caller, at the mirror as at the service."""
    mesh.set({"split": [{"version": mesh.version(SERVICE)}], "mirror": [{"service": "stock"}]})
    path = fresh("denied")
    assert mesh.ask(f"GET {path}").status == 200
    line = wait_for(lambda: mirror_lines(mesh, path), "the copy's line")[0]
    assert (line["response_code"], line["destination_service"]) == (403, "stock")


def test_to_the_caller_s_own_machine(mesh):
    mesh.set({"split": [{"version": mesh.version(SERVICE)}], "mirror": [{"version": mesh.version("vm-a")}]})
    path = fresh("near")
    with mesh.wire() as wire:
        for _ in range(5):
            assert ask(wire, f"POST {path}", body=b"x" * 20000).json["server"] == f"orders@{SERVICE}"
    settled(mesh)
    wait_for(lambda: copies(mesh, path, "vm-a") == 5, "five copies")


def test_only_whole_requests_are_copied(mesh):
    """A caller that goes in the middle of its request, and a body that is too long."""
    mirrored(mesh)
    cut, large = mesh.mine("mirrors_cut_total"), mesh.mine("mirrors_large_total")
    path = fresh("half")
    wire = mesh.wire().send(f"POST {path} HTTP/1.1\r\nHost: orders\r\nContent-Length: 1000\r\n\r\nabc")
    wait_for(lambda: mesh.seen(path, SERVICE), "the service to have its head")
    wire.reset()
    wait_for(lambda: mesh.mine("mirrors_cut_total") == cut + 1, "the copy to be given up")
    path = fresh("long")
    assert mesh.ask(f"POST {path}", body=b"x" * 65537).json["body_bytes"] == 65537
    assert mesh.mine("mirrors_large_total") == large + 1
    path = fresh("kept")
    assert mesh.ask(f"POST {path}", body=b"x" * 65536).json["body_bytes"] == 65536
    wait_for(lambda: copies(mesh, path) == 1, "the copy of one that is not")
    assert b"/half/" not in mesh.record("orders", MIRROR) and b"/long/" not in mesh.record("orders", MIRROR)


def test_a_stalled_mirror_holds_nothing_up(mesh):
    """Not a new plan, nor the end of the proxy beyond its own time."""
    mirrored(mesh)
    with mesh.behaves(MIRROR, "stall"):
        with mesh.wire() as wire:
            assert ask(wire, f"GET {fresh()}").status == 200
        assert mesh.mine("mirrors_active") == 1
        mirrored(mesh, 50)
        mesh["vm-a"].stop()
    mesh["vm-a"].start()
    assert mesh.ask().status == 200
