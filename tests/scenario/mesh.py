# SPDX-License-Identifier: Apache-2.0
"""What scenario tests are written with: a mesh with workloads, clients that are plain sockets of a
uid in a machine, captures of the wire, and a report of everything when a test fails.

    with ScenarioMesh([WEB, ORDERS]) as mesh:
        mesh.start()
        reply = mesh.call("web", "orders", "GET /echo")

The machines themselves are conf/demo/machines.py, the ringmain on them conf/demo/nodes.py: the demo
and the tests run the same thing.
"""
import contextlib
import functools
import hashlib
import json
import os
import re
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "conf" / "demo"))
from machines import NET_V4, NET_V6, PYTHON, ROOT, LabError, run, wait_for  # noqa: E402
from nodes import Mesh, Service  # noqa: E402

WORKLOADS = HERE / "workloads"
BUILD = Path(os.environ.get("RINGMAIN_BUILD", ROOT / "build" / "test")).resolve()
BINARY = Path(os.environ.get("RINGMAIN", BUILD / "src" / "daemon" / "ringmain")).resolve()
WORKERS = int(os.environ.get("RINGMAIN_WORKERS", "1"))  # of each proxy, unless a test says its own
BLOCK = bytes((i * 7 + (i >> 8) * 13) & 0xFF for i in range(65536))  # as the workloads send it

# The workloads of the tests. Ports and uids are fixed: each lab has namespaces of its own.
WEB = Service("web", 12001, ["vm-a"])
ORDERS = Service("orders", 12002, port=8080)
STOCK = Service("stock", 12003, port=8081)
CACHE = Service("cache", 12004, port=6379, protocol="tcp")
MAIL = Service("mail", 12005, port=2525, protocol="tcp", server_first=True)
ECHO = Service("echo", 12006, port=7000, protocol="tcp")
SOURCE = Service("source", 12007, port=7001, protocol="tcp", server_first=True)
SINK = Service("sink", 12008, port=7002, protocol="tcp")
RESET = Service("reset", 12009, port=7003, protocol="tcp")
DEAF = Service("deaf", 12010, port=7004, protocol="tcp")
SPRAY = Service("spray", 12011, port=7005, protocol="tcp", server_first=True)
GUEST = Service("guest", 12012, ["vm-a"])  # a second caller beside web
QUOTES = Service("quotes", 12014, port=8082)  # HTTP, too: for two versions of something
PROBE = Service("probe", 12013, port=7100, protocol="tcp")  # the test itself serves it: mesh.listen()
STRANGER_UID = 12099                       # on every machine, in no mesh
MESH_PORT, OUTBOUND_PORT, INBOUND_PORT = 15008, 15201, 15101
FAMILIES = (socket.AF_INET, socket.AF_INET6)

LIVE = []  # meshes that are up, for the report of a failed test


def at(service, *machines, **changes):
    """A service of above, on other machines or otherwise changed."""
    return replace(service, on=list(machines) or service.on, **changes)


# --- workloads ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def go_program(name, directory=WORKLOADS):
    """Builds one of the Go workloads, once; standard library only."""
    target = BUILD / "go" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, GO111MODULE="off", GOTOOLCHAIN="local", CGO_ENABLED="0",
               GOCACHE=str(BUILD / "go" / "cache"), HOME=str(BUILD / "go"))
    run("/usr/bin/go", "build", "-o", target, ".", cwd=directory / name, env=env, timeout=300)
    return target


def workload_command(service, machine):
    port = str(service.port)
    if service.name in ("orders", "quotes"):
        record = machine.dir / "workloads" / f"{service.name}.record"
        name = f"{service.name}@{machine.name}" if len(service.on) > 1 else service.name
        return [PYTHON, machine.program(WORKLOADS / "http_server.py"), port, name, record]
    if service.name == "stock":
        return [machine.program(go_program("gohttp")), port, "stock"]
    if service.name == "cache":
        return ["redis-server", "--port", port, "--bind", "0.0.0.0", "::", "--protected-mode", "no",
                "--save", "", "--appendonly", "no", "--dir", "/"]
    behaviour = "banner" if service.name == "mail" else service.name
    return [PYTHON, machine.program(WORKLOADS / "tcp_server.py"), behaviour, port]


# --- the wire as a client sees it ----------------------------------------------------------------------


@dataclass
class Reply:
    status: int
    headers: list
    body: bytes = b""
    trailers: list = field(default_factory=list)
    interim: list = field(default_factory=list)  # 1xx heads before it: (status, headers)

    def get(self, name):
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def sha256(self):
        return hashlib.sha256(self.body).hexdigest()


class Wire:
    """A connected socket with a buffer, for talking HTTP or anything else byte by byte."""

    def __init__(self, sock):
        self.sock = sock
        self.held = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        return self

    def finish(self):
        """Half-closes: nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def more(self):
        part = self.sock.recv(1 << 18)
        self.held += part
        return part

    def take(self, count):
        taken, self.held = self.held[:count], self.held[count:]
        return taken

    def until(self, mark):
        while mark not in self.held:
            if not self.more():
                raise EOFError(f"the connection ended before {mark!r}; held {self.held[:200]!r}")
        return self.take(self.held.index(mark) + len(mark))

    def exactly(self, count):
        parts, have = [self.take(count)], 0
        have = len(parts[0])
        while have < count:
            part = self.sock.recv(min(1 << 18, count - have))
            if not part:
                raise EOFError(f"the connection ended after {have} of {count} bytes")
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def rest(self):
        """Everything until the peer half-closes."""
        parts = [self.take(len(self.held))]
        while part := self.sock.recv(1 << 18):
            parts.append(part)
        return b"".join(parts)

    def ended(self, timeout=2):
        """How the connection ends now: "fin", "reset", or "open" when it does not in that time."""
        self.sock.settimeout(timeout)
        try:
            while self.sock.recv(1 << 16):
                pass
            return "fin"
        except ConnectionResetError:
            return "reset"
        except socket.timeout:
            return "open"

    def head(self):
        lines = self.until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        return status, [tuple(line.split(": ", 1)) for line in lines[1:]]

    def reply(self, method="GET"):
        interim = []
        status, headers = self.head()
        while 100 <= status < 200 and status != 101:
            interim.append((status, headers))
            status, headers = self.head()
        reply = Reply(status, headers, interim=interim)
        if method == "HEAD" or status in (101, 204, 304) or (method == "CONNECT" and status == 200):
            return reply
        if "chunked" in (reply.get("Transfer-Encoding") or "").lower():
            self.chunks(reply)
        elif reply.get("Content-Length") is not None:
            reply.body = self.exactly(int(reply.get("Content-Length")))
        else:
            reply.body = self.rest()
        return reply

    def chunks(self, reply):
        parts = []
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            parts.append(self.exactly(size))
            self.exactly(2)
        reply.body = b"".join(parts)
        while (line := self.until(b"\r\n")) != b"\r\n":
            reply.trailers.append(tuple(line.decode("latin-1").strip().split(": ", 1)))


def request_text(line, host, headers=(), body=b""):
    """A request as bytes: "GET /x" or "POST /y", Host, further header lines, the body."""
    lines = [f"{line} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


# --- meshes --------------------------------------------------------------------------------------------


class ScenarioMesh(Mesh):
    """A mesh of test workloads. `plain` leaves ringmain out: same workloads, same clients."""

    def __init__(self, services, plain=False, binary=None, **more):
        if not plain and not Path(binary or BINARY).exists():
            raise LabError(f"{binary or BINARY} is not there: build it, or set RINGMAIN")
        super().__init__(services, binary=binary or BINARY, **{"workers": WORKERS, **more})
        self.plain = plain
        self.seen_reports = set()
        self.capture_count = 0
        LIVE.append(self)

    def start(self, serve=True):
        if serve:
            self.serve()
        if not self.plain:
            super().start()
        return self

    def stop(self):
        if self in LIVE:
            LIVE.remove(self)
        super().stop()

    def serve(self):
        for service in self.services:
            for machine in service.on if service.port and service.name != "probe" else []:
                self.serve_one(service, self.lab[machine])

    def serve_one(self, service, machine):
        directory = machine.dir / "workloads"
        directory.mkdir(exist_ok=True)
        directory.chmod(0o1777)
        return machine.serve(service.name, workload_command(service, machine), service.port, service.uid)

    def service(self, name):
        return next(s for s in self.services if s.name == name)

    def workload(self, name, machine=None):
        """The process of a service on its first, or on that machine."""
        machine = self.lab[machine or self.service(name).on[0]]
        return [p for p in machine.processes if p.name == name][-1]

    def listen(self, name, family=socket.AF_INET):
        """A listening socket of the service's uid on its machine, for the test to serve itself."""
        service = self.service(name)
        listener = self.lab[service.on[0]].sockets(service.uid, family)[0]
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", service.port))
        listener.listen(64)
        listener.settimeout(15)
        return listener

    def record(self, name, machine=None):
        """The raw heads that reached the recording HTTP workload."""
        machine = self.lab[machine or self.service(name).on[0]]
        path = machine.dir / "workloads" / f"{name}.record"
        return path.read_bytes() if path.exists() else b""

    def target(self, name, family=socket.AF_INET, machine=None):
        """Address and port of a service."""
        service = self.service(name)
        return self.lab[machine or service.on[0]].address(family), service.port

    def own(self, name, family=socket.AF_INET):
        """A service's own address, and its port."""
        service = self.service(name)
        return (f"{NET_V4}{service.own}" if family == socket.AF_INET else f"{NET_V6}{service.own:x}"), service.port

    def dial(self, caller, to, family=socket.AF_INET, machine=None, timeout=15):
        """A connection from a workload (by service name, or a uid on `machine`) to a service."""
        service = self.service(caller) if isinstance(caller, str) else None
        source = self.lab[machine or service.on[0]]
        host, port = self.target(to, family) if isinstance(to, str) else to
        return Wire(source.connect(service.uid if service else caller, host, port, timeout))

    def call(self, caller, to, line="GET /echo", headers=(), body=b"", **more):
        """One HTTP request on a connection of its own."""
        with self.dial(caller, to, **more) as wire:
            wire.send(request_text(line, to, headers, body))
            return wire.reply(line.split(" ")[0])

    def status_of(self, caller, to, **more):
        """The status that such a request gets; None while nobody answers, as before its machine knows the service."""
        try:
            return self.call(caller, to, **more).status
        except (ConnectionError, EOFError):
            return None

    def turned_away(self, caller, to, first=b"x", **more):
        """Whether a caller gets nothing: refused, reset, or ended without a byte."""
        try:
            with self.dial(caller, to, **more) as wire:
                return wire.send(first).sock.recv(1) == b""
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    # --- looking at it ---------------------------------------------------------------------------

    def access_lines(self, node, **fields):
        return [line for line in self[node].access()
                if all(line.get(k) == v for k, v in fields.items())]

    def access_line(self, node, timeout=5, **fields):
        """Waits for the access log line with these values, and returns it; exactly one must match."""
        def matching():
            return self.access_lines(node, **fields)
        found = wait_for(matching, f"a line with {fields} in the access log of {node}", timeout)
        if len(found) > 1:
            raise LabError(f"{len(found)} lines with {fields} in the access log of {node}: {found}")
        return found[0]

    @contextlib.contextmanager
    def capture(self, machine="vm-a"):
        """Records what crosses the machine's wire; gives the file's path, complete on leaving."""
        machine = self.lab[machine]
        self.capture_count += 1
        path = machine.dir / "log" / f"wire-{self.capture_count}.pcap"
        process = machine.spawn(path.stem, ["tcpdump", "-i", "eth0", "-s", "0", "-U", "--immediate-mode",
                                            "-Z", "root", "-w", path, "tcp"])
        wait_for(lambda: "listening on" in process.log, "tcpdump to listen")
        try:
            yield path
        finally:
            time.sleep(0.3)  # what is still on its way to the file
            process.stop(signal.SIGINT)

    def sanitizer_reports(self):
        """New complaints of sanitizers and assertions since the last look."""
        found = []
        for node in self:
            for path in (node.machine.dir / "sanitizer").iterdir():
                if path not in self.seen_reports:
                    self.seen_reports.add(path)
                    found.append(path.read_text(errors="replace"))
            log = node.process.log if node.process else ""
            for match in re.finditer(r".*(assertion failed|Sanitizer|runtime error).*", log):
                key = (node.name, match.start())
                if key not in self.seen_reports:
                    self.seen_reports.add(key)
                    found.append(log[match.start():match.start() + 4000])
        return found

    def report(self):
        """Everything a failed test should show."""
        parts = []
        for node in self:
            if node.process:
                parts.append((f"{node.name}: ringmain's log", node.process.log[-6000:]))
            with contextlib.suppress(Exception):
                parts.append((f"{node.name}: status", json.dumps(node.status(), indent=1)[:4000]))
            with contextlib.suppress(Exception):
                lines = node.access_path.read_text(errors="replace").splitlines()
                parts.append((f"{node.name}: access log", "\n".join(lines[-15:])))
            with contextlib.suppress(Exception):
                metrics = [line for line in node.admin_get("/metrics")[1].splitlines()
                           if not line.startswith("#") and not line.endswith(" 0") and "_bucket" not in line]
                parts.append((f"{node.name}: metrics", "\n".join(metrics[:80])))
        return parts


# --- captures ------------------------------------------------------------------------------------------


def capture_streams(path):
    """A capture as {(source ip, port, destination ip, port): the bytes of that direction}."""
    raw, at_byte, segments = Path(path).read_bytes(), 24, {}
    while at_byte + 16 <= len(raw):
        length = struct.unpack_from("<I", raw, at_byte + 8)[0]
        frame = raw[at_byte + 16:at_byte + 16 + length]
        at_byte += 16 + length
        ethertype, packet = struct.unpack_from(">H", frame, 12)[0], frame[14:]
        if ethertype == 0x0800:
            start, end = (packet[0] & 15) * 4, struct.unpack_from(">H", packet, 2)[0]
            ips = [socket.inet_ntop(socket.AF_INET, packet[i:i + 4]) for i in (12, 16)]
        elif ethertype == 0x86DD:
            start, end = 40, 40 + struct.unpack_from(">H", packet, 4)[0]
            ips = [socket.inet_ntop(socket.AF_INET6, packet[i:i + 16]) for i in (8, 24)]
        else:
            continue
        tcp = packet[start:end]
        source_port, port, sequence = struct.unpack_from(">HHI", tcp)
        flow = segments.setdefault((ips[0], source_port, ips[1], port), {"first": None, "parts": {}})
        if tcp[13] & 2:  # SYN
            flow["first"] = (sequence + 1) & 0xFFFFFFFF
        payload = tcp[(tcp[12] >> 4) * 4:]
        if payload:
            flow["parts"].setdefault(sequence, payload)
            if len(payload) > len(flow["parts"][sequence]):
                flow["parts"][sequence] = payload
    return {key: stream_join(flow) for key, flow in segments.items()}


def stream_join(flow):
    parts, joined = flow["parts"], b""
    first = flow["first"] if flow["first"] is not None else min(parts, default=0)
    for sequence in sorted(parts, key=lambda s: (s - first) & 0xFFFFFFFF):
        offset = (sequence - first) & 0xFFFFFFFF
        if offset <= len(joined):
            joined += parts[sequence][len(joined) - offset:]
    return joined


def tls_records(stream):
    """The TLS records of one direction as (content type, body); ValueError when it is no TLS."""
    records, at_byte = [], 0
    while at_byte + 5 <= len(stream):
        kind, version, length = struct.unpack_from(">BHH", stream, at_byte)
        if kind not in (20, 21, 22, 23) or version not in (0x0301, 0x0303) or length > 16640:
            raise ValueError(f"no TLS record at byte {at_byte}: {stream[at_byte:at_byte + 16]!r}")
        records.append((kind, stream[at_byte + 5:at_byte + 5 + length]))
        at_byte += 5 + length
    return records


def server_hello_version(hello):
    """The negotiated version in a ServerHello: 0x0304 for TLS 1.3."""
    at_byte = 4 + 2 + 32
    at_byte += 1 + hello[at_byte] + 2 + 1  # session id, cipher suite, compression
    end = at_byte + 2 + struct.unpack_from(">H", hello, at_byte)[0]
    at_byte += 2
    while at_byte < end:
        kind, length = struct.unpack_from(">HH", hello, at_byte)
        if kind == 43:
            return struct.unpack_from(">H", hello, at_byte + 4)[0]
        at_byte += 4 + length
    return struct.unpack_from(">H", hello, 4)[0]
