# SPDX-License-Identifier: Apache-2.0
"""Machines to try ringmain on, all on one computer.

A machine is a network namespace with an IPv4 and an IPv6 address on a common switch (a bridge in a
namespace of its own), a directory, and processes under uids of their own. A lab is a set of
machines. Nothing here touches the computer's own interfaces, rules or sysctls.

A lab is taken down by stop(). What a killed lab leaves behind is found by sweep(): each lab has a
directory under /var/lib/ringmain-lab with its owner's pid and start time in it, and its namespaces carry
the directory's name.
"""
import array
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LABS = Path("/var/lib/ringmain-lab")  # not in /run, where nothing may be executed on many computers
SOCKETMAKER = Path(__file__).with_name("socketmaker.py")
PYTHON = "/usr/bin/python3"
PATIENCE = int(os.environ.get("RINGMAIN_PATIENCE", "1"))
# Of each machine one user is its own, as on a computer of its own: what the kernel counts by user, such as locked
# memory, is not shared by machines, by labs, or with a lab before whose memory is still being freed.
UID_FIRST = 100_000_000
NET_V4 = "10.77.0."
NET_V6 = "fd77::"


class LabError(Exception):
    """Something that had to work did not; the text says what and shows its output."""


def run(*command, timeout=60, check=True, **more):
    """Runs a command to its end; returns the completed process with text output."""
    done = subprocess.run([str(word) for word in command], timeout=timeout, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace", **more)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n"
                       f"{done.stdout}{done.stderr}")
    return done


def wait_for(test, what, timeout=10.0, every=0.05):
    """Polls until test() gives something true and returns it; LabError when time is up, which is later
    when others run beside it."""
    timeout *= PATIENCE
    end = time.monotonic() + timeout
    while True:
        last = test()
        if last:
            return last
        if time.monotonic() > end:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(every)


def process_start(pid):
    """When a process started, in the kernel's ticks; None if there is no such process. Together
    with the pid this names a process for as long as the computer is up."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2:].split()
    return None if fields[0] in "ZX" else fields[19]


def process_children(pid):
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def process_status(pid):
    """/proc/PID/status as a dictionary; empty when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


# --- taking down -----------------------------------------------------------------------------------


def namespaces_of(lab_name):
    listed = run("ip", "netns", "list").stdout.splitlines()
    names = [line.split()[0] for line in listed if line.strip()]
    return [name for name in names if name.startswith(lab_name + "-")]


def namespace_pids(namespace):
    return [int(pid) for pid in run("ip", "netns", "pids", namespace, check=False).stdout.split()]


def namespace_remove(namespace):
    """Ends every process in a namespace, then the namespace."""
    for _ in range(100):
        pids = namespace_pids(namespace)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not pids:
            break
        time.sleep(0.02)
    run("ip", "netns", "del", namespace, check=False)


def lab_remove(directory):
    for namespace in namespaces_of(directory.name):
        namespace_remove(namespace)
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        LABS.rmdir()  # the last lab takes it away


def lab_make(directory):
    """Makes a lab's directory, though another lab may just be taking the common one away."""
    os.umask(0o022)  # other users must read what is made here
    while True:
        LABS.mkdir(mode=0o755, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return directory.mkdir(mode=0o755)


def lab_owned(directory):
    """Whether the process that made a lab lives."""
    try:
        pid, start = (directory / "owner").read_text().split()
        return process_start(pid) == start
    except (FileNotFoundError, ValueError):
        # Made this moment by a run beside this one, or by one that was killed at once: its name has the pid.
        return process_start(int(re.match(r"rm([0-9a-f]+)x", directory.name)[1], 16)) is not None


def sweep():
    """Removes what dead labs left behind. Returns their names."""
    swept = []
    for directory in sorted(LABS.glob("rm[0-9a-f]*x*")) if LABS.is_dir() else []:
        if lab_owned(directory):
            continue
        lab_remove(directory)
        swept.append(directory.name)
    return swept


# --- processes -------------------------------------------------------------------------------------


class Process:
    """A process in a machine, with its output in a file."""

    def __init__(self, machine, name, command, uid=0, env=None, pass_fds=(), stdin=None):
        self.name = name
        self.machine = machine
        self.log_path = machine.dir / "log" / f"{name}.log"
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                machine.command(command, uid), stdout=log, stderr=log, pass_fds=pass_fds,
                stdin=stdin or subprocess.DEVNULL, env=dict(os.environ, **(env or {})), cwd="/")

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def kill(self, number):
        if self.running:
            self.popen.send_signal(number)

    def wait(self, timeout=10):
        return self.popen.wait(timeout)

    def stop(self, number=signal.SIGTERM, timeout=10):
        """Asks the process to end, makes it end after the timeout; returns its exit status."""
        self.kill(number)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


class SocketMaker:
    """Ordinary sockets that belong to a uid in a machine (see socketmaker.py)."""

    def __init__(self, machine, uid):
        self.channel, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [PYTHON, machine.program(SOCKETMAKER), child.fileno()]
        self.process = Process(machine, f"sockets-{uid}", command, uid=uid, pass_fds=(child.fileno(),))
        child.close()
        self.lock = threading.Lock()

    def make(self, family, count=1):
        with self.lock:
            return self.make_locked(family, count)

    def make_locked(self, family, count):
        made = []
        while len(made) < count:
            self.channel.send(b"%d %d" % (family, count - len(made)))
            answer, ancillary, _, _ = self.channel.recvmsg(64, socket.CMSG_SPACE(4 * 253))
            if answer != b"ok":
                raise LabError(f"{self.process.name}: cannot make sockets: {answer!r}")
            for _, _, payload in ancillary:
                numbers = array.array("i")
                numbers.frombytes(payload[:len(payload) - len(payload) % 4])
                made += [socket.socket(fileno=number) for number in numbers]
        return made

    def stop(self):
        self.channel.close()
        self.process.stop()


# --- machines --------------------------------------------------------------------------------------


class Machine:
    def __init__(self, lab, name, number):
        self.lab = lab
        self.name = name
        self.own_uid = UID_FIRST + os.getpid() % 1_000_000 * 1000 + Lab.count % 20 * 50 + number % 50
        self.v4 = f"{NET_V4}{number}"
        self.v6 = f"{NET_V6}{number:x}"
        self.namespace = f"{lab.name}-{name}"
        self.dir = lab.dir / name
        self.processes = []
        self.makers = {}
        for part in ("", "bin", "log", "run", "certs", "sanitizer"):
            (self.dir / part).mkdir(mode=0o755, exist_ok=True)
        (self.dir / "sanitizer").chmod(0o1777)  # written by the unprivileged proxy process
        run("ip", "netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")
        run("ip", "link", "add", "eth0", "netns", self.namespace, "type", "veth",
            "peer", "name", f"port{number}", "netns", lab.switch)
        run("ip", "-n", lab.switch, "link", "set", f"port{number}", "master", "switch", "up")
        self.ip("addr", "add", f"{self.v4}/24", "dev", "eth0")
        self.ip("addr", "add", f"{self.v6}/64", "dev", "eth0", "nodad")
        self.ip("link", "set", "eth0", "up")

    def ip(self, *words):
        return run("ip", "-n", self.namespace, *words)

    def sysctl(self, **values):
        """net__ipv4__tcp_x=1: a double underscore stands for the dot."""
        words = [f"{name.replace('__', '.')}={value}" for name, value in values.items()]
        self.run(["sysctl", "-q", "-w", *words])

    def address(self, family):
        return self.v4 if family == socket.AF_INET else self.v6

    def program(self, path):
        """A copy of a program that every user may run: the original may be in a directory that is
        closed to others, as root's home is."""
        copy = self.dir / "bin" / Path(path).name
        if not copy.exists():
            shutil.copy(path, copy)
            copy.chmod(0o755)
        return copy

    def command(self, command, uid=0):
        """The words that run `command` in this machine under a uid (and the gid of that number),
        with its pid the caller's child and its life bound to the caller's."""
        as_user = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"] if uid else []
        return ["ip", "netns", "exec", self.namespace, "setpriv", *as_user, "--pdeathsig", "KILL",
                "--", *[str(word) for word in command]]

    def run(self, command, uid=0, **more):
        return run(*self.command(command, uid), **more)

    def spawn(self, name, command, uid=0, **more):
        process = Process(self, name, command, uid, **more)
        self.processes.append(process)
        return process

    def sockets(self, uid, family=socket.AF_INET, count=1):
        if uid not in self.makers:
            self.makers[uid] = SocketMaker(self, uid)
        return self.makers[uid].make(family, count)

    def connect(self, uid, host, port, timeout=10, source=None):
        """A connected socket of that uid in this machine."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        s = self.sockets(uid, family)[0]
        s.settimeout(timeout)
        try:
            if source:
                s.bind((source, 0))
            s.connect((host, port))
        except BaseException:
            s.close()
            raise
        return s

    def listening(self, port):
        """Whether something listens on a TCP port here."""
        found = self.run(["ss", "-Hltn", f"sport = :{port}"], check=False).stdout
        return bool(found.strip())

    def wait_listening(self, port, timeout=10):
        wait_for(lambda: self.listening(port), f"port {port} on {self.name}", timeout)

    def serve(self, name, command, port, uid, **more):
        """Starts a server and waits until it listens."""
        process = self.spawn(name, command, uid, **more)
        try:
            self.wait_listening(port)
        except LabError as error:
            raise LabError(f"{error}\n{process.log}") from None
        return process

    def stop(self):
        for maker in self.makers.values():
            maker.stop()
        for process in reversed(self.processes):
            if process.running:
                process.popen.kill()
            process.popen.wait()
        self.makers, self.processes = {}, []


class Lab:
    """Machines on a switch. Use as `with Lab(["vm-a", "vm-b"]) as lab: lab["vm-a"].run(...)`."""

    count = 0

    def __init__(self, machine_names):
        Lab.count += 1
        self.name = f"rm{os.getpid():x}x{Lab.count}"
        self.dir = LABS / self.name
        lab_make(self.dir)
        (self.dir / "owner").write_text(f"{os.getpid()} {process_start(os.getpid())}\n")
        self.switch = f"{self.name}-switch"
        self.machines = {}
        try:
            run("ip", "netns", "add", self.switch)
            run("ip", "-n", self.switch, "link", "add", "switch", "type", "bridge", "mcast_snooping", "0")
            run("ip", "-n", self.switch, "link", "set", "switch", "up")
            for number, name in enumerate(machine_names, 1):
                self.machines[name] = Machine(self, name, number)
        except BaseException:
            self.stop()
            raise

    def __getitem__(self, name):
        return self.machines[name]

    def __iter__(self):
        return iter(self.machines.values())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for machine in self.machines.values():
            machine.stop()
        lab_remove(self.dir)


if __name__ == "__main__":
    if sys.argv[1:] == ["--sweep"]:
        for lab in sweep():
            print(f"swept {lab}")
    else:
        sys.exit("usage: machines.py --sweep")
