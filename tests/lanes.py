# SPDX-License-Identifier: Apache-2.0
"""Runs jobs side by side for tests/suites.py, as many as the processors can carry.

Most scenarios wait most of the time, for leases and time-outs. So each job has a share: how much of a
processor it takes while it runs. Jobs run beside each other as long as their shares fit on the
processors; the longest begin first. What a job prints is shown whole when it ends.
"""
import os
import signal
import subprocess
import tempfile
import time

CORES = len(os.sched_getaffinity(0))
END_SECONDS = 20  # for the jobs to take down what they made when a run is interrupted
# A loopback of its own: no two jobs meet on a port.
OWN_NETWORK = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


class Job:
    """A command in a process group of its own. `share` of a processor, about so many `seconds` long (only
    the order comes from it), killed after `timeout` seconds; `ended(job)` is told that it ended. With a
    `network` of its own it must be root's."""

    def __init__(self, name, command, ended, share=1.0, seconds=0, timeout=None, env=None, quiet=False, network=False):
        self.name, self.ended, self.network = name, ended, network
        self.command = [str(word) for word in (*(OWN_NETWORK if network else ()), *command)]
        self.share, self.seconds, self.timeout = share, seconds, timeout
        self.env, self.quiet = env or {}, quiet
        self.process = None

    def start(self, cwd, shown):
        """`shown`: what it prints goes straight to the terminal, because no other job runs."""
        self.begun = time.monotonic()
        self.output = None if shown and not self.quiet else tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command, cwd=cwd, start_new_session=True, env=dict(os.environ, **self.env),
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT if self.output else None)

    def kill(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def poll(self):
        """Its exit status, -1 when its time ran out, None while it runs."""
        pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
        late = self.timeout is not None and self.elapsed() > self.timeout
        if not pid and not late:
            return None
        if not pid:
            self.kill(signal.SIGKILL)
            _, _, used = os.wait4(self.process.pid, 0)
        self.process.returncode = -1 if late else os.waitstatus_to_exitcode(status)
        self.cpu = used.ru_utime + used.ru_stime
        return self.process.returncode

    def elapsed(self):
        return time.monotonic() - self.begun

    def text(self):
        """All that it printed, if it was kept."""
        if not self.output:
            return ""
        self.output.seek(0)
        return self.output.read().decode(errors="replace")


def netns_prepare():
    """The first namespace of a computer mounts the directory of all: not by two jobs at once."""
    name = f"ringmain-first-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=False)
    subprocess.run(["ip", "netns", "del", name], check=False)


def choose(waiting, running, cores):
    """Of the jobs that wait, longest first, one that fits beside those that run; None when there is none."""
    free = cores - sum(job.share for job in running)
    for job in waiting:
        if not running or job.share <= free + 1e-9:
            return job
    return None


def run(jobs, cwd, cores=CORES):
    """Runs all jobs; each one's `ended` is called when it ends. An interrupt ends them all."""
    if any(job.network for job in jobs):
        netns_prepare()
    waiting, running = sorted(jobs, key=lambda job: -job.seconds), []
    try:
        while waiting or running:
            while job := choose(waiting, running, cores):
                waiting.remove(job)
                job.start(cwd, shown=len(jobs) == 1)
                running.append(job)
            time.sleep(0.05)
            for job in [job for job in running if job.poll() is not None]:
                running.remove(job)
                report(job)
    except BaseException:
        end(running)
        raise


def report(job):
    status, text = job.process.returncode, job.text()
    if text and not (job.quiet and status == 0):
        print(f"-- {job.name}\n{text[-200000:]}", end="" if text.endswith("\n") else "\n", flush=True)
    if status == -1:
        print(f"== killed after {job.timeout} s: {job.name}", flush=True)
    job.ended(job)


def end(running):
    """As Ctrl-C would: pytest takes its machines down. Then without asking, and with all that they left."""
    asked = list(running)
    for job in asked:
        job.kill(signal.SIGINT)
    limit = time.monotonic() + END_SECONDS
    while running and time.monotonic() < limit:
        time.sleep(0.05)
        running = [job for job in running if job.poll() is None]
    for job in asked:
        job.kill(signal.SIGKILL)
    for job in running:
        job.process.wait()
