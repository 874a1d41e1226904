# SPDX-License-Identifier: Apache-2.0
"""What is too long: a whole request, a try, a connect, a pause in the middle; and which reason the access log has for it."""
import pytest
from mesh import ECHO, at
from served import FAR, NEAR, TOLERANT, Served, ask, machine_of

GROUPS = {"timeouts": {"connect": "400ms", "request": "1500ms", "stream_idle": "1s"}}
TCP = at(ECHO, "vm-b", "vm-c", own=201)


@pytest.fixture(scope="module")
def mesh():
    policies = [{"service": name, "action": "allow", "from": ["web"]} for name in ("orders", "echo")]
    with Served(services=[TCP], groups=GROUPS, policies=policies) as mesh:
        for name in ("vm-b", "vm-c"):
            mesh[name].groups = {"timeouts": {"request": "20s", "stream_idle": "20s"}}
        yield mesh.start()


def all_to(mesh, place, **rule):
    mesh.set({"split": [{"version": mesh.version(place)}], **rule})


@pytest.mark.parametrize("place", [NEAR, FAR])
@pytest.mark.parametrize("timeout, least", [("300ms", 300), ("0s", 1000)])
def test_a_request_without_an_answer(mesh, place, timeout, least):
    """The rule's own time, or that of the node; with an idle one below it, whichever comes first."""
    all_to(mesh, place, timeout=timeout)
    path = f"/echo/{place}/{timeout}"
    with mesh.behaves(place, "stall"):
        assert mesh.ask(f"POST {path}").status == 504
    line = mesh.line(path)
    assert (line["response_code"], line["response_code_details"], line["response_flags"]) == (504, "UPSTREAM_TIMEOUT", "UT")
    assert least <= line["duration"] and line["attempts"] == 1 and line["upstream_host"]


@pytest.mark.parametrize("place", [NEAR, FAR])
def test_an_answer_that_is_late_is_nobody_else_s(mesh, place):
    """It comes after its request was answered 504: the next request on that connection, and on others, gets its own."""
    all_to(mesh, place, timeout="200ms")
    with mesh.wire() as wire:
        with mesh.behaves(place, "late 500"):
            assert ask(wire, f"GET /echo/{place}/late").status == 504
        for number in range(30):
            reply = ask(wire, f"GET /echo/{place}/mine/{number}")
            assert (reply.status, reply.json["path"]) == (200, f"/echo/{place}/mine/{number}")


def test_within_the_time_nothing_happens(mesh):
    all_to(mesh, FAR, timeout="800ms")
    with mesh.behaves(FAR, "late 200"):
        assert mesh.ask().status == 200


@pytest.mark.parametrize("place", [NEAR, FAR])
def test_a_pause_in_the_middle_of_an_answer(mesh, place):
    all_to(mesh, place)
    with mesh.wire() as wire, pytest.raises((EOFError, ConnectionResetError)):
        ask(wire, "GET /stream/3/2500")
    line = mesh.line("/stream/3/2500", destination_version=mesh.version(place))
    assert line["response_code"] == 200 and line["response_code_details"] in ("UPSTREAM_TIMEOUT", "IDLE_TIMEOUT")
    assert line["duration"] >= 1000


def test_a_long_answer_that_moves_is_not_too_long(mesh):
    all_to(mesh, FAR, timeout="300ms")
    assert mesh.ask("GET /stream/9/200").body.endswith(b"line 8\n")  # the timeout is until it begins


def test_an_endpoint_that_does_not_answer_the_connect(mesh):
    """Nobody has its address. Alone, it is a 503; among others the call moves on, whatever its method."""
    mesh.set({"split": [{"version": "void"}]}, void=True)
    assert mesh.ask("POST /echo/void").status == 503
    line = mesh.line("/echo/void")
    assert (line["response_code_details"], line["response_flags"]) == ("UPSTREAM_CONNECT_TIMEOUT", "UF,UT")
    assert line["upstream_host"].startswith("10.77.0.250:") and line["destination_version"] == "void"
    assert line["duration"] >= 400
    mesh.set(settings={**TOLERANT, "balance": "round_robin"}, void=True)
    with mesh.wire() as wire:
        replies = [ask(wire, f"POST /echo/moved/{number}") for number in range(8)]
    assert {reply.status for reply in replies} == {200} and {machine_of(r) for r in replies} <= {"vm-a", "vm-b", "vm-c"}
    attempts = [mesh.line(f"/echo/moved/{number}")["attempts"] for number in range(8)]
    assert sorted(attempts) == [1] * 6 + [2] * 2


def test_a_timeout_covers_the_connect_too(mesh):
    mesh.set({"split": [{"version": "void"}], "timeout": "150ms"}, void=True)
    assert mesh.ask("GET /echo/covered").status == 504
    assert mesh.line("/echo/covered")["response_code_details"] == "UPSTREAM_TIMEOUT"
