# SPDX-License-Identifier: Apache-2.0
"""conf/demo/install, with stand-ins for apt and dpkg: what it asks for and what it leaves."""
import os
import signal
import subprocess

import pytest
from machines import ROOT, wait_for

STAND_INS = {
    "dpkg-query": "[ -e {dir}/all-installed ] && echo install ok installed",
    "apt-cache": "[ $2 != libllhttp-dev ] || [ -e {dir}/debian-13 ]",
    "apt-get": """case $1 in
update) exit 0 ;;
esac
echo $* >{dir}/asked
cat /usr/sbin/policy-rc.d >{dir}/policy-meanwhile
while [ -e {dir}/slow ]; do sleep 0.05; done
[ ! -e {dir}/broken ] || {{ echo no such package; exit 100; }}""",
}


class Apt:
    """A directory with the stand-ins, and the place of /usr/sbin in a mount namespace."""

    def __init__(self, directory):
        self.dir = directory
        self.policy = directory / "sbin" / "policy-rc.d"
        for part in ("bin", "sbin", "tmp"):
            (directory / part).mkdir()
        for name, body in STAND_INS.items():
            path = directory / "bin" / name
            path.write_text("#!/bin/sh\n" + body.format(dir=directory) + "\n")
            path.chmod(0o755)

    def start(self):
        script = f'mount --bind {self.dir}/sbin /usr/sbin && exec {ROOT}/conf/demo/install "$@"'
        return subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", "build", "run", "test"],
            env=dict(os.environ, PATH=f"{self.dir}/bin:/usr/bin:/bin", TMPDIR=str(self.dir / "tmp")),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def run(self):
        process = self.start()
        text, _ = process.communicate(timeout=20)
        return process.returncode, text

    def asked(self):
        path = self.dir / "asked"
        return path.read_text().split() if path.exists() else []

    def left(self):
        return [p.name for part in ("sbin", "tmp") for p in (self.dir / part).iterdir()]


@pytest.fixture
def apt(tmp_path):
    return Apt(tmp_path)


@pytest.mark.parametrize("debian, llhttp, other", [(12, "node-llhttp", "libllhttp-dev"),
                                                   (13, "libllhttp-dev", "node-llhttp")])
def test_installs_what_this_debian_calls_it(apt, debian, llhttp, other):
    if debian == 13:
        (apt.dir / "debian-13").touch()
    status, text = apt.run()
    assert status == 0
    assert llhttp in apt.asked() and other not in apt.asked()
    assert llhttp in text
    assert "exit 101" in (apt.dir / "policy-meanwhile").read_text()  # no server starts meanwhile
    assert apt.left() == []


def test_installs_nothing_when_all_is_there(apt):
    (apt.dir / "all-installed").touch()
    assert apt.run() == (0, "")
    assert apt.asked() == []


def test_shows_why_it_failed(apt):
    (apt.dir / "broken").touch()
    status, text = apt.run()
    assert status == 1
    assert text.endswith("no such package\n")
    assert apt.left() == []


def test_keeps_a_policy_of_the_machines_own(apt):
    apt.policy.write_text("#!/bin/sh\nexit 0\n")
    assert apt.run()[0] == 0
    assert apt.policy.read_text() == "#!/bin/sh\nexit 0\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaves_nothing_when_interrupted(apt, number):
    (apt.dir / "slow").touch()
    process = apt.start()
    wait_for(apt.asked, "apt-get")
    os.killpg(process.pid, number)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert apt.left() == []


@pytest.mark.parametrize("all_installed", [False, True])
def test_takes_away_what_a_killed_one_left(apt, all_installed):
    (apt.dir / "slow").touch()
    process = apt.start()
    wait_for(apt.asked, "apt-get")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert apt.policy.exists()
    (apt.dir / "slow").unlink()
    if all_installed:
        (apt.dir / "all-installed").touch()
    assert apt.run()[0] == 0
    assert not apt.policy.exists()
