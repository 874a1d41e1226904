# SPDX-License-Identifier: Apache-2.0
"""The unit files are well-formed and confine what they start."""
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


def test_sysusers_file_is_understood():
    done = run("systemd-sysusers", "--dry-run", str(UNITS / "ringmain.sysusers"))
    assert done.returncode == 0, done.stderr
