# SPDX-License-Identifier: Apache-2.0
"""The unit files are well-formed and confine what they start."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

UNITS = pathlib.Path(__file__).resolve().parents[3] / "systemd"
SERVICES = sorted(p.name for p in UNITS.glob("*.service"))
EXPOSURE_MAX = 2.4


@pytest.fixture
def units(tmp_path):
    """Copies of all units whose program exists, wherever ringmain is or is not installed."""
    for path in UNITS.iterdir():
        if path.suffix in (".service", ".target"):
            text = path.read_text().replace("/usr/bin/ringmain", "/bin/true")
            (tmp_path / path.name).write_text(text)
    return tmp_path


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", SERVICES + ["ringmain-ready.target"])
def test_unit_verifies_without_a_word(units, name):
    done = run("systemd-analyze", "verify", "--man=no", str(units / name))
    ours = [line for line in done.stderr.splitlines() if "ringmain" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_unit_is_confined(units, name):
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=%d" % (EXPOSURE_MAX * 10),
               "--no-pager", str(units / name))
    level = [line for line in done.stdout.splitlines() if "Overall exposure level" in line]
    print(level[0] if level else done.stdout + done.stderr)
    assert level
    assert float(re.search(r": ([\d.]+)", level[0])[1]) <= EXPOSURE_MAX
    assert done.returncode == 0


def test_rings_are_not_bounded_by_the_limit_of_locked_memory():
    """Each worker locks some hundred KiB; a large machine has as many workers as processors."""
    assert "LimitMEMLOCK=infinity" in (UNITS / "ringmain.service").read_text().splitlines()


@pytest.mark.parametrize("name", ["notify-reload.conf", "workload.conf"])
def test_drop_in_verifies(units, name):
    drop_in = units / ("ringmain.service.d" if name == "notify-reload.conf" else "app.service.d")
    drop_in.mkdir()
    shutil.copy(UNITS / name, drop_in / name)
    unit = "ringmain.service"
    if name == "workload.conf":
        unit = "app.service"
        (units / unit).write_text("[Service]\nExecStart=/bin/true\n")
    version = int(run("systemd-analyze", "--version").stdout.split()[1])
    if name == "notify-reload.conf" and version < 253:
        pytest.skip("Type=notify-reload came with systemd 253")
    done = run("systemd-analyze", "verify", "--man=no", str(units / unit))
    assert done.returncode == 0, done.stderr
    assert "ringmain" not in done.stderr


@pytest.fixture
def graph(units):
    """What systemd itself makes of our units and a workload's, both ends of each dependency:
    {unit: {"After": {other, ...}, ...}}."""
    (units / "app.service.d").mkdir()
    shutil.copy(UNITS / "workload.conf", units / "app.service.d")
    (units / "app.service").write_text("[Service]\nExecStart=/bin/true\n")
    names = ["app.service", "ringmain-ready.target", *SERVICES]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(units / name for name in names)],
        capture_output=True, text=True, timeout=60,
        env=dict(os.environ, SYSTEMD_LOG_LEVEL="debug", SYSTEMD_UNIT_PATH=f"{units}:"))
    assert "ordering cycle" not in done.stderr
    found, unit = {}, {}
    for line in done.stdout.splitlines():
        if start := re.search(r"-> Unit (\S+):$", line):
            unit = found[start[1]] = {}
        elif member := re.match(r"\t+(\w+): (\S+)", line):
            unit.setdefault(member[1], set()).add(member[2])
    return found


def before(graph, name):
    """All that has to be started before it, in one step or several."""
    seen, queue = set(), [name]
    while queue:
        for other in graph.get(queue.pop(), {}).get("After", set()) - seen:
            seen.add(other)
            queue.append(other)
    return seen


def test_rules_stand_before_anything_talks(graph):
    assert "network-pre.target" in graph["ringmain-redirect.service"]["Before"]
    assert "network-pre.target" in graph["ringmain-redirect.service"]["Wants"]
    assert "ringmain-redirect.service" in before(graph, "ringmain.service")
    assert {"ringmain-redirect.service", "ringmain.service"} <= before(graph, "app.service")
    assert {"ringmain-redirect.service", "ringmain-ready.target"} <= graph["app.service"]["Wants"]


def test_a_workload_does_not_start_without_rules(graph):
    assert graph["app.service"]["AssertPathExists"] == {"/run/ringmain/redirect.up"}


def test_stopping_the_rules_or_the_proxy_stops_no_workload(graph):
    for name in ("ringmain-redirect.service", "ringmain.service", "ringmain-ready.target"):
        for kind in ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"):
            assert "app.service" not in graph[name].get(kind, set()), f"{name} {kind}"


def test_rules_stay_when_the_proxy_stops(graph):
    for kind in ("Requires", "Requisite", "BindsTo", "PartOf", "StopPropagatedFrom"):
        assert "ringmain.service" not in graph["ringmain-redirect.service"].get(kind, set())


@pytest.mark.parametrize("name", ["ringmain.sysusers", "ringmain-ca.sysusers"])
def test_sysusers_file_is_understood(name):
    done = run("systemd-sysusers", "--dry-run", str(UNITS / name))
    assert done.returncode == 0, done.stderr
