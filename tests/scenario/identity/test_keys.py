# SPDX-License-Identifier: Apache-2.0
"""Private keys are in the keeper and nowhere else: the whole memory of the processes that talk to the
network is read, under load, and no key of the machine is found in any form."""
import os
from pathlib import Path

import pytest
from company import Calls
from machines import process_status, wait_for
from memory import areas_with_flags, find, forms, locked_kib, memory
from mesh import BINARY, ECHO, ORDERS, STOCK, WEB, ScenarioMesh

RELEASE = os.environ.get("RINGMAIN_RELEASE", "")
PAIRS = [("web", "orders"), ("web", "echo"), ("web", "stock"), ("web", "orders")]
BINARIES = [pytest.param(RELEASE or BINARY, id="release" if RELEASE else "sanitized")]


@pytest.fixture(scope="module", params=BINARIES)
def mesh(request):
    with ScenarioMesh([WEB, ORDERS, ECHO, STOCK], binary=request.param, stores=["vm-r"], workers=2) as mesh:
        mesh.start()
        wait_for(lambda: mesh["vm-a"].status()["state"]["endpoints"] >= 3, "the machines to know each other")
        yield mesh


def keys(node):
    return {path.stem: path.read_text() for path in node.certs.glob("*.key")}


def test_the_search_finds_what_is_there(mesh):
    """Each form, in a process that has it; and in the keeper the one in which it keeps keys."""
    node = mesh["vm-b"]
    name, pem = next(iter(keys(node).items()))
    for form, text in forms(pem).items():
        code = f"import sys, time; held = bytes.fromhex({text.hex()!r}); print('there', flush=True); time.sleep(60)"
        process = mesh.lab["vm-b"].spawn("holder", ["/usr/bin/python3", "-c", code])
        wait_for(lambda: "there" in process.log, "the process to hold it")
        assert (name, form) in find(process.pid, {name: pem}), form
        process.stop()
        process.log_path.unlink()
    found = find(node.process.pid, keys(node))
    assert {key for key, form in found if form == "big-endian"} == set(keys(node))


def test_no_other_process_has_a_key(mesh):
    """Under load, and with a reload and a new key in between."""
    with Calls(mesh, PAIRS, pause=0.001):
        for _ in range(2):
            for node in mesh:
                held = keys(node)
                for role, pid in node.children().items():
                    assert sum(len(part) for part in memory(pid)) > 1 << 20, "memory could not be read"
                    assert find(pid, held) == set(), role
                generation = node.status()["generation"]
                for service in node.workloads():
                    node.issue(service.name)
                wait_for(lambda: node.status()["generation"] > generation, "the new keys to be in use")
        signed = sum(node.metric("ringmain_signatures_total") for node in mesh)
    assert signed > 0


def test_both_children_are_there_to_be_read(mesh):
    for node in mesh:
        assert set(node.children()) == {"proxy", "state"}


def test_the_keepers_keys_are_locked_and_left_out_of_dumps(mesh):
    node = mesh["vm-b"]
    pid = node.process.pid
    # locked (a sanitizer leaves that out), not dumped, wiped in a forked child
    assert locked_kib(pid) > 0 or not RELEASE
    marked = areas_with_flags(pid, "dd", "wf", *(["lo"] if RELEASE else []))
    assert marked
    scalars = [forms(pem)["big-endian"] for pem in keys(node).values()]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        inside = b""
        for start, end in marked:
            mem.seek(start)
            inside += mem.read(end - start)
    assert all(scalar in inside for scalar in scalars)


def test_no_process_leaves_a_core(mesh):
    for node in mesh:
        for pid in [node.process.pid, *node.children().values()]:
            limits = Path(f"/proc/{pid}/limits").read_text()
            core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
            assert core.split()[4:6] == ["0", "0"]


@pytest.mark.skipif(not RELEASE, reason="a sanitizer must be able to look at itself")
def test_nobody_else_may_look_into_the_children(mesh):
    """Not dumpable: /proc/PID/mem belongs to root, though the process is somebody else's."""
    for node in mesh:
        for pid in node.children().values():
            assert os.stat(f"/proc/{pid}/mem").st_uid == 0
            assert process_status(pid)["Uid"].split()[0] != "0"
