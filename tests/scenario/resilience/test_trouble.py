# SPDX-License-Identifier: Apache-2.0
"""Servers that fail, stall, reset, answer late or answer what is no HTTP: what a caller gets without any rule about it, and
what the access log says of it."""
import pytest
from served import FAR, NEAR, Served, ask

GROUPS = {"timeouts": {"connect": "2s", "request": "700ms"}}
TROUBLE = {  # what the server does: what the caller gets, and the caller's log: reason and flag of NEAR, of FAR
    "status 503": (503, ("NONE", "-"), ("NONE", "-")),
    "status 500": (500, ("NONE", "-"), ("NONE", "-")),
    "close": (503, ("UPSTREAM_CLOSED", "UC"), ("NONE", "-")),
    "reset": (503, ("UPSTREAM_CLOSED", "UC"), ("NONE", "-")),
    "garbage": (502, ("NOT_HTTP", "UPE"), ("NONE", "-")),
    "stall": (504, ("UPSTREAM_TIMEOUT", "UT"), ("UPSTREAM_TIMEOUT", "UT")),
    "late 100": (200, ("NONE", "-"), ("NONE", "-")),
}


@pytest.fixture(scope="module")
def mesh():
    with Served(groups=GROUPS) as mesh:
        mesh["vm-c"].groups = {"timeouts": {"request": "5s"}}
        yield mesh.start()


@pytest.fixture(scope="module", params=[NEAR, FAR])
def place(request, mesh):
    """All calls go to the caller's own machine, or to another one."""
    mesh.set({"split": [{"version": mesh.version(request.param)}]})
    return request.param


@pytest.mark.parametrize("mode", TROUBLE)
def test_a_server_that_does(mesh, place, mode):
    status, *told = TROUBLE[mode]
    path = f"/echo/{place}/{mode.replace(' ', '/')}"
    # a POST: a GET that a kept connection has lost would be sent once more
    with mesh.wire() as wire:
        with mesh.behaves(place, mode):
            assert ask(wire, f"POST {path}").status == status
        # and the connection is none the worse for it: the next answer is that of the next request
        reply = ask(wire, f"GET {path}/next")
        assert (reply.status, reply.json["path"]) == (200, f"{path}/next")
    line = mesh.line(path)
    assert (line["response_code"], line["attempts"]) == (status, 1)
    assert (line["response_code_details"], line["response_flags"]) == told[place == FAR]
    assert line["destination_version"] == mesh.version(place)
    assert line["upstream_host"] == (f"{mesh.lab[FAR].v4}:15008" if place == FAR else "127.0.0.1:8080")
    assert mesh.seen(path) == 1
    if place == FAR and mode != "stall":  # the reason is known there
        there = mesh.access_line(FAR, path=path)
        assert (there["response_code"], there["response_code_details"], there["response_flags"]) == (status, *told[0])


def test_an_answer_that_breaks_off(mesh, place):
    path = f"/echo/{place}/midway"
    with mesh.behaves(place, "midway"), mesh.wire() as wire:
        with pytest.raises((EOFError, ConnectionResetError)):
            ask(wire, f"GET {path}")
    line = mesh.line(path)
    assert (line["response_code"], line["response_code_details"], line["response_flags"]) == (200, "UPSTREAM_ABORTED", "UC")
    assert mesh.seen(path) == 1


def test_a_body_is_not_sent_twice(mesh, place):
    path = f"/echo/{place}/body"
    with mesh.behaves(place, "reset"):
        assert mesh.ask(f"POST {path}", body=b"a" * 100000).status == 503
    assert mesh.line(path)["attempts"] == 1 and mesh.seen(path) == 1
