# SPDX-License-Identifier: Apache-2.0
"""bench/fleet, as small as can be: nodes agree, learn what changes, load all, come back, are held and
dropped; the figures are there, and nothing of it is left."""
import contextlib
import json
import subprocess
from pathlib import Path

import pytest
from machines import PYTHON, ROOT
from programs import BENCH

NODES, ENDPOINTS, LEASE, HOLD = 30, 4, 2, 8


def fleet(directory, *words, timeout=150):
    """Runs the bench to its end, after which nothing of its session is left."""
    words = [PYTHON, str(ROOT / "bench" / "harness" / "fleet.py"), "--build", str(BENCH.parent), "--output", str(directory),
             *map(str, words)]
    process = subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        shown, said = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert session(process.pid) == []
    return subprocess.CompletedProcess(words, process.returncode, shown, said)


def session(number):
    """The processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == number:
                found.append(stat.parent.name)
    return found


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fleet")
    done = fleet(directory, "--nodes", NODES, "--endpoints", ENDPOINTS, "--services", 40, "--policies", 40, "--seconds", 2,
                 "--rounds", 1, "--lease", LEASE, "--hold", HOLD)
    assert done.returncode == 0, done.stdout + done.stderr
    return {**json.loads((directory / "fleet.json").read_text()), "shown": done.stdout}


def test_table_and_figures(result):
    rows = [line for line in result["shown"].splitlines() if line.startswith("| ")]
    assert len(rows) >= 14 and not any("None" in row for row in rows)
    assert result["options"]["nodes"] == NODES
    steady = result["figures"]["steady"]
    assert steady["redis_clients"] == 2 * NODES + 1
    assert steady["to_redis_bytes_per_node_hour"] > 0 and steady["from_redis_bytes_per_node_hour"] > 0


def test_changes_reach_every_node(result):
    for name in ("endpoint", "picture", "revision"):
        figure = result["figures"][name]
        assert 0 < figure["p50_ms"]["median"] <= figure["p100_ms"]["median"], name


def test_whole_state_is_loaded(result):
    figures = result["figures"]
    assert figures["cold"]["bytes"] > figures["objects"]["object_bytes"]
    assert figures["kick"]["seconds"] > 0 and figures["restart"]["seconds"] > 0
    assert figures["nodes"]["refused"] == 0


def test_killed_node_is_dropped(result):
    assert result["figures"]["kill_one"]["seconds"] > LEASE / 2


def test_mass_disappearance_is_held(result):
    killed = result["figures"]["kill_many"]
    assert killed["nodes"] == NODES * 2 // 5
    assert killed["not_held"] == 0 and killed["first_dropped_seconds"] >= HOLD


def test_usage_is_explained(tmp_path):
    done = fleet(tmp_path, "--nodes", 3)
    assert done.returncode == 2 and "--nodes" in done.stderr
    done = fleet(tmp_path, "--build", tmp_path / "none")
    assert done.returncode == 2 and "fleet is not there" in done.stderr
