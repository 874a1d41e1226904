# SPDX-License-Identifier: Apache-2.0
"""Limits that operators publish: checked before they are, in force on every machine of the service, changed
live, and taken away."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "state"))
from fleet import ALLOW_WEB, Fleet  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ORDERS, WEB, at, request_text  # noqa: E402

LIMIT = {"name": "orders-each", "service": "orders", "requests": 2, "per": "1h", "by": ["source"]}


@pytest.fixture(scope="module")
def fleet():
    with Fleet([WEB, at(ORDERS, "vm-b", "vm-c")], policies=[ALLOW_WEB]) as fleet:
        yield fleet.start()


def publish(fleet, *limits, check=True):
    done = fleet.publish({**fleet.mesh_groups(), "limits": list(limits)}, "--prune", check=check)
    if done.returncode == 0:
        fleet.wait_settled()
    return done


def statuses(fleet, machine, count):
    with fleet.dial("web", fleet.target("orders", machine=machine)) as wire:
        return [wire.send(request_text("GET /echo", "orders")).reply().status for _ in range(count)]


def test_a_published_limit_is_each_machine_s(fleet):
    publish(fleet, LIMIT)
    for machine in ("vm-b", "vm-c"):
        assert statuses(fleet, machine, 3) == [200, 200, 429]
    publish(fleet, {**LIMIT, "requests": 3})
    wait_for(lambda: statuses(fleet, "vm-b", 1) == [200], "the change in force on vm-b")
    assert statuses(fleet, "vm-b", 3) == [200, 200, 429]
    publish(fleet)
    assert statuses(fleet, "vm-c", 9) == [200] * 9


WRONG = {
    "nobody's": ({**LIMIT, "service": "ordres"}, 'limits[0].service: there is no service "ordres" in the mesh; did you mean "orders"?'),
    "by nothing": ({**LIMIT, "by": ["sauce"]}, 'limits[0].by: "sauce" is nothing to tell requests apart by; did you mean "source"?'),
    "too short": ({**LIMIT, "scope": "mesh", "per": "10ms"}, 'limits[0].per: at least 1s for scope "mesh"'),
    "nothing": ({**LIMIT, "requests": 0}, "limits[0].requests: "),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_could_not_work_is_not_published(fleet, what):
    row, said = WRONG[what]
    before = fleet.store_revision()
    done = publish(fleet, row, check=False)
    assert done.returncode != 0 and said in done.stderr and ".conf:" in done.stderr
    assert fleet.store_revision() == before


def test_what_never_acts_is_said(fleet):
    done = publish(fleet, LIMIT, {**LIMIT, "name": "wider", "requests": 9})
    assert 'never refuses anything: "orders-each" has no more for all of it' in done.stderr
    publish(fleet)
