# SPDX-License-Identifier: Apache-2.0
"""When callers are told to come back who are refused by a limit of the whole mesh."""
import collections
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "state"))
from fleet import ALLOW_WEB, Fleet  # noqa: E402
from machines import wait_for  # noqa: E402
from mesh import ORDERS, WEB, at, request_text  # noqa: E402

AMOUNT = 400
LIMITS = [{"name": "each", "service": "orders", "requests": AMOUNT, "per": "1d", "scope": "mesh", "by": ["header:X-Key"]}]


class LimitedFleet(Fleet):
    def mesh_groups(self):
        return {**super().mesh_groups(), "limits": LIMITS}

    def burst(self, key, count):
        """So many calls of a key, all at once on one connection: their replies."""
        with self.dial_own("web", "orders") as wire:
            wire.send(request_text("GET /echo", "orders", [f"X-Key: {key}"]) * count)
            return [wire.reply() for _ in range(count)]


@pytest.fixture(scope="module")
def fleet():
    with LimitedFleet([WEB, at(ORDERS, "vm-b", own=200)], machines=("vm-a", "vm-b"), policies=[ALLOW_WEB]) as fleet:
        yield fleet.start()


def test_a_moment_while_there_is_more_and_else_the_rest_of_the_window(fleet):
    """A key that is new here has next to nothing yet: what the store has for it comes in a moment. Only when all is spent is it
    the end of the window that it has to wait for."""
    def kept_up():
        before = fleet["vm-b"].metric("ringmain_rate_limit_away_total")
        fleet.burst("begin", 1)
        return fleet["vm-b"].metric("ringmain_rate_limit_away_total") == before
    wait_for(kept_up, "the limit to be kept up", 20)
    replies = fleet.burst("new", 200)
    found = collections.Counter((reply.status, reply.get("Retry-After")) for reply in replies)
    assert found[429, "1"] > 0 and set(found) == {(200, None), (429, "1")}, found
    granted = found[200, None]

    def all_spent():
        nonlocal granted
        replies = fleet.burst("new", 50)
        granted += sum(reply.status == 200 for reply in replies)
        return all(reply.status == 429 and int(reply.get("Retry-After")) > 1 for reply in replies)
    wait_for(all_spent, "all of it to be spent", 20)
    assert granted == AMOUNT
