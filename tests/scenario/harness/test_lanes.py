# SPDX-License-Identifier: Apache-2.0
"""How tests/run runs areas side by side: none disturbs another, and all end with it."""
import signal
import subprocess
import sys

import pytest
from machines import PYTHON, ROOT, wait_for

sys.path.insert(0, str(ROOT / "tests"))
import lanes  # noqa: E402
from lanes import Job, choose  # noqa: E402


def job(name, script, ended=lambda job: None, **more):
    return Job(name, ["sh", "-c", script], ended, **more)


def names(jobs):
    return [one.name for one in jobs]


def test_jobs_run_beside_each_other_as_long_as_their_shares_fit():
    waiting = [job("long", "", share=0.8), job("wide", "", share=2), job("small", "", share=0.4), job("other", "", share=0.9)]
    running = []
    while one := choose(waiting, running, cores=2):
        waiting.remove(one)
        running.append(one)
    assert names(running) == ["long", "small"]
    assert choose(waiting, [], cores=2).name == "wide", "one that is too wide for all runs alone"


def test_output_is_shown_whole_when_a_job_ends(capfd, tmp_path):
    """Two that wait for each other: they do run at once."""
    meet = "touch {0}/{1}; for i in 1 2 3; do echo {1}$i; done; until [ -e {0}/{2} ]; do sleep 0.02; done; echo {1}4"
    ended = []
    lanes.run([job("a", meet.format(tmp_path, "a", "b"), ended.append, share=0.5, timeout=60),
               job("b", meet.format(tmp_path, "b", "a"), ended.append, share=0.5, timeout=60)], ROOT, cores=1)
    assert sorted(names(ended)) == ["a", "b"] and all(one.process.returncode == 0 for one in ended)
    shown = capfd.readouterr().out
    for name in ("a", "b"):
        assert f"-- {name}\n{name}1\n{name}2\n{name}3\n{name}4\n" in shown


def test_no_job_meets_anothers_port(tmp_path):
    script = ("import socket, sys, time, pathlib\n"
              "s = socket.create_server(('127.0.0.1', 4711)); d = pathlib.Path(sys.argv[1])\n"
              "(d / sys.argv[2]).touch()\n"
              "while len(list(d.iterdir())) < 2: time.sleep(0.02)")
    ended = []
    lanes.run([Job(name, [PYTHON, "-c", script, tmp_path, name], ended.append, share=0.1, timeout=60, network=True)
               for name in "ab"], ROOT)
    assert [one.process.returncode for one in ended] == [0, 0]


def test_a_job_whose_time_is_out_is_killed_and_the_others_go_on(capfd):
    ended = []
    lanes.run([job("stuck", "sleep 600 & wait", ended.append, share=0.1, timeout=1),
               job("good", "exit 3", ended.append, share=0.1, timeout=60)], ROOT)
    assert {one.name: one.process.returncode for one in ended} == {"stuck": -1, "good": 3}
    assert "killed after 1 s: stuck" in capfd.readouterr().out
    stuck = next(one for one in ended if one.name == "stuck")
    wait_for(lambda: not group(stuck.process.pid), "its group to end")


def group(number):
    """The processes of a process group."""
    return subprocess.run(["pgrep", "-g", str(number)], stdout=subprocess.PIPE, text=True).stdout.split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_jobs(tmp_path, number):
    script = ("import signal, sys; sys.path.insert(0, sys.argv[1]); import lanes\n"
              "for n in (signal.SIGTERM, signal.SIGINT): signal.signal(n, signal.default_int_handler)\n"
              "lanes.run([lanes.Job(n, ['sh', '-c', f'echo $$ >{sys.argv[2]}/{n}; sleep 600 & wait'], print, share=0.1)"
              " for n in ('a', 'b')], '/')")
    runner = subprocess.Popen([PYTHON, "-c", script, str(ROOT / "tests"), str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_for(lambda: len([p for p in tmp_path.iterdir() if p.read_text().strip()]) == 2, "both jobs")
    groups = [p.read_text().strip() for p in tmp_path.iterdir()]
    assert all(group(one) for one in groups)
    runner.send_signal(number)
    assert runner.wait(60) != 0
    wait_for(lambda: [group(one) for one in groups] == [[], []], "all of them to end")


def test_a_processor_that_was_used_is_counted():
    ended = []
    lanes.run([Job("busy", [PYTHON, "-c", "import time\nwhile time.process_time() < 0.5: pass"], ended.append, timeout=60)], ROOT)
    assert ended[0].cpu >= 0.5


def test_every_cost_is_of_a_file_or_area_that_is_there():
    import suites
    jobs = {name for area in suites.scenario_areas() for name in suites.scenario_jobs(area)}
    assert set(suites.COSTS) - jobs == set()
