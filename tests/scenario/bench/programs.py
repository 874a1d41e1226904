# SPDX-License-Identifier: Apache-2.0
"""The programs of bench/ on loopback, and small servers in Python to set against them."""
import contextlib
import json
import os
import socket
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
BENCH = Path(os.environ.get("RINGMAIN_BUILD", ROOT / "build" / "test")).resolve() / "bench"


def command(name, *words):
    return [str(BENCH / name), *map(str, words)]


class Server:
    """A program that listens: where, and what it said in the end."""

    def __init__(self, name, *words, listen="127.0.0.1:0"):
        self.process = subprocess.Popen(command(name, "--listen", listen, *words), stdout=subprocess.PIPE, text=True)
        self.address = json.loads(self.process.stdout.readline())["listening"]
        self.port = int(self.address.rpartition(":")[2])

    def end(self):
        """What an origin prints when it is told to end."""
        self.process.terminate()
        text, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return json.loads(text)

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=20)


@contextlib.contextmanager
def server(name, *words, **options):
    one = Server(name, *words, **options)
    try:
        yield one
        assert one.process.returncode is not None or one.process.poll() is None, f"{name} has died"
    finally:
        one.kill()


class Load:
    """A run of the load, from the line that says that it measures."""

    def __init__(self, to, protocol, *words, warmup=0, duration=0.5, **options):
        self.process = subprocess.Popen(
            command("load", "--to", to, "--protocol", protocol, f"--warmup={warmup}", f"--duration={duration}", *words),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        self.first = json.loads(self.process.stdout.readline())

    def result(self):
        text, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        lines = text.splitlines()
        assert len(lines) == 1, "exactly one last line"
        return json.loads(lines[0])


def load(to, protocol, *words, **options):
    one = Load(to, protocol, *words, **options)
    assert one.first == {"measuring": True}
    return one.result()


@contextlib.contextmanager
def listening(serve):
    """A server in this process: `serve(connection)` in a thread for each connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threads = []

    def one(connection):
        with connection, contextlib.suppress(OSError):
            serve(connection)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=[connection], daemon=True))
                threads[-1].start()
    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(20)
        for thread in threads:
            thread.join(20)


def dial(address, timeout=30):
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout)


def read_all(connection):
    """Everything until the far end ends."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def refused_address():
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"
