# SPDX-License-Identifier: Apache-2.0
"""Two machines as network namespaces, and sockets that any user on them has opened.

A socket belongs to the namespace and to the user that made it, whoever holds it later. So a child
goes into the namespace, becomes the user, opens or connects the socket and passes it back: the test
itself then reads, writes and accepts on it. The kernel's owner match sees the child's user.
"""

import array
import ctypes
import itertools
import json
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import time

PROXY, WEB, ORDERS, STRANGER = 4242, 1234, 1235, 4711  # uids; none needs an account
MASK, SHIFT = 0x00FF0000, 16
MESH_PORT = 9000  # of the service "orders"
OUT_PORTS, IN_PORTS = range(15001, 15005), range(15101, 15105)
SO_ORIGINAL_DST = 80
CLONE_NEWNET = 0x40000000
V4 = {"host": "10.91.0.1", "peer": "10.91.0.2", "far": "10.92.0.9"}
V6 = {"host": "fd91::1", "peer": "fd91::2", "far": "fd92::9"}
METADATA = "169.254.169.254"

libc = ctypes.CDLL(None, use_errno=True)
numbers = itertools.count()


def family_of(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def run(*command, check=True, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Machine:
    """One namespace."""

    def __init__(self, role):
        self.name = f"rmr-{os.getpid()}-{next(numbers)}-{role}"
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def done(self):
        run("ip", "netns", "del", self.name, check=False)

    def run(self, *command, **more):
        return run("ip", "netns", "exec", self.name, *command, **more)

    def child(self, uid, work):
        """Runs work() there as the user; returns its sockets (if any) and what else it returned."""
        here, there = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                with open(f"/run/netns/{self.name}") as namespace:
                    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                if uid:
                    os.setgroups([])
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                made = work()
                sockets = [made] if isinstance(made, socket.socket) else []
                answer = pickle.dumps(None if sockets else made)
                fds = array.array("i", [s.fileno() for s in sockets])
                there.sendmsg([answer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
            except BaseException as problem:
                there.sendmsg([pickle.dumps(problem)])
            finally:
                os._exit(0)
        there.close()
        answer, ancillary, _, _ = here.recvmsg(1 << 20, socket.CMSG_SPACE(16))
        here.close()
        os.waitpid(pid, 0)
        for _, _, fds in ancillary:
            number = array.array("i", fds[:4])[0]
            return socket.socket(fileno=number)
        result = pickle.loads(answer)
        if isinstance(result, BaseException):
            raise result
        return result

    def listen(self, ip, port, uid=0):
        def work():
            s = socket.socket(family_of(ip))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in ip:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            s.bind((ip, port))
            s.listen(512)
            return s

        return self.child(uid, work)

    def connect(self, uid, ip, port, mark=None, source_port=0, timeout=3, keep_privilege=False):
        """A connected socket of the user. With keep_privilege it is root's that marks it and then
        gives itself away, which the owner match does not fall for."""

        def work():
            s = socket.socket(family_of(ip))
            s.settimeout(timeout)
            if mark is not None:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            if source_port:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("::" if ":" in ip else "0.0.0.0", source_port))
            s.connect((ip, port))
            return s

        s = self.child_with_net_admin(uid, work) if keep_privilege else self.child(uid, work)
        s.settimeout(timeout)
        return s

    def child_with_net_admin(self, uid, work):
        """As child(), for a user that holds CAP_NET_ADMIN and may thus set marks."""
        cap_net_admin = 12

        def become():
            PR_SET_KEEPCAPS = 8
            libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            header = struct.pack("Ii", 0x20080522, 0)
            bit = 1 << cap_net_admin
            data = struct.pack("IIIIII", bit, bit, 0, 0, 0, 0)
            if libc.syscall(126, header, data) != 0:  # capset on x86-64
                raise OSError(ctypes.get_errno(), "capset")
            return work()

        return self.child(0, become)


class Accepted:
    """A connection as the stand-in for the proxy has it."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(3)
        self.mark = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
        self.number = (self.mark & MASK) >> SHIFT
        self.port = sock.getsockname()[1]
        self.peer = sock.getpeername()[:2]
        if sock.family == socket.AF_INET:
            raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            self.wanted = (socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack("!H", raw[2:4])[0])
        else:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            self.wanted = (socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0])


def accept(listeners, timeout=3):
    ready, _, _ = select.select(listeners, [], [], timeout)
    assert ready, "nobody connected"
    return ready[0].accept()[0]


def is_quiet(listeners, timeout=0.2):
    return not select.select(listeners, [], [], timeout)[0]


class Lab:
    """A machine with captured workloads and a stand-in for the proxy, and a peer it can reach."""

    def __init__(self, directory, cli, backend="nft"):
        self.directory, self.program, self.backend = str(directory), cli, backend
        self.processes, self.sockets = [], []
        self.host, self.peer = Machine("host"), Machine("peer")
        try:
            self.connect_machines()
            self.serve()
        except BaseException:
            self.done()
            raise
        self.configure()

    def connect_machines(self):
        h, p = self.host, self.peer
        run("ip", "link", "add", "up0", "netns", h.name, "type", "veth", "peer", "name", "up0",
            "netns", p.name)
        for machine, role, other, n in ((h, "host", "peer", 1), (p, "peer", "host", 2)):
            machine.run("ip", "link", "set", "up0", "address", f"02:00:00:00:00:0{n}")
            machine.run("ip", "addr", "add", V4[role] + "/24", "dev", "up0")
            machine.run("ip", "addr", "add", V6[role] + "/64", "dev", "up0", "nodad")
            machine.run("ip", "link", "set", "up0", "up")
            # Known neighbours: finding them takes a second on a fresh link.
            machine.run("ip", "neigh", "add", V6[other], "lladdr", f"02:00:00:00:00:0{3 - n}", "dev", "up0")
        p.run("ip", "addr", "add", V4["far"] + "/32", "dev", "lo")
        p.run("ip", "addr", "add", METADATA + "/32", "dev", "lo")
        p.run("ip", "addr", "add", V6["far"] + "/128", "dev", "lo", "nodad")
        h.run("ip", "route", "add", "default", "via", V4["peer"])
        h.run("ip", "-6", "route", "add", "default", "via", V6["peer"])

    def serve(self):
        self.outbound = [self.listen("host", ip, p, PROXY) for ip in ("127.0.0.1", "::1")
                         for p in OUT_PORTS]
        self.inbound = [self.listen("host", ip, p, PROXY) for ip in ("0.0.0.0", "::")
                        for p in IN_PORTS]
        self.orders = [self.listen("host", ip, MESH_PORT, ORDERS) for ip in ("0.0.0.0", "::")]
        # What the peer serves; nothing but uncaptured connections arrives there.
        self.remote = [self.listen("peer", ip, 80) for ip in ("0.0.0.0", "::")]

    def listen(self, where, ip, port, uid=0):
        s = getattr(self, where).listen(ip, port, uid)
        self.sockets.append(s)
        return s

    def connect(self, uid, ip, port, where="host", **more):
        s = getattr(self, where).connect(uid, ip, port, **more)
        self.sockets.append(s)
        return s

    def accepted(self, listeners):
        s = accept(listeners)
        self.sockets.append(s)
        return Accepted(s)

    def arrived(self, listeners):
        """A connection that was not captured, at its own destination."""
        s = accept(listeners)
        s.settimeout(3)
        self.sockets.append(s)
        return s

    def captured(self, uid, ip, port, **more):
        """Connects and finds the connection at the outbound ports."""
        client = self.connect(uid, ip, port, **more)
        return client, self.accepted(self.outbound)

    def configure(self, extra="", workloads=None, port_range=len(OUT_PORTS)):
        rows = workloads or [("web", WEB, 0), ("orders", ORDERS, MESH_PORT)]
        text = ",\n".join(
            f'  {{ service = "{name}"; user = "{uid}";' + (f" port = {port};" if port else "") + " }"
            for name, uid, port in rows)
        with open(os.path.join(self.directory, "mesh.conf"), "w") as f:
            f.write("services: (\n" + ",\n".join(
                f'  {{ name = "{name}"; port = {port or 80}; }}' for name, _, port in rows) + " );\n")
        self.conf = os.path.join(self.directory, "ringmain.conf")
        with open(self.conf, "w") as f:
            f.write(f'node: {{ name = "host"; address = "{V4["host"]}"; user = "{PROXY}"; '
                    f'run_dir = "{self.directory}/run"; }};\n'
                    'mesh: { trust_domain = "test.example"; files = [ "mesh.conf" ]; };\n'
                    f"listeners: {{ outbound_port = {OUT_PORTS[0]}; inbound_port = {IN_PORTS[0]}; "
                    f"port_range = {port_range}; }};\n{extra}\n"
                    f"workloads: (\n{text} );\n")

    def redirect(self, *words, check=True):
        return self.host.run(self.program, "redirect", words[0], "--backend", self.backend, *words[1:], check=check)

    def up(self, *words, **more):
        return self.redirect("up", "-c", self.conf, *words, **more)

    def down(self, *words, **more):
        return self.redirect("down", "--run-dir", f"{self.directory}/run", *words, **more)

    def tables(self, *words, version="", **more):
        """iptables of the back end under test: tables("-t", "nat", "-F")."""
        return self.host.run(f"ip{version}tables-{self.backend}", *words, **more)

    def save(self, version=""):
        return self.host.run(f"ip{version}tables-{self.backend}-save").stdout

    def ours(self):
        return [line for v in ("", "6") for line in self.save(v).splitlines() if "RINGMAIN_" in line]

    def watch(self, *words):
        p = subprocess.Popen(["ip", "netns", "exec", self.host.name, self.program, "redirect", "watch", "--backend",
                              self.backend, "-c", self.conf, *words], stderr=subprocess.PIPE, text=True)
        self.processes.append(p)
        return p

    def state(self):
        try:
            with open(f"{self.directory}/run/redirect.json") as f:
                return json.load(f)
        except FileNotFoundError:
            return {"state": None}

    def accepts_marks(self):
        return self.host.run("sysctl", "-n", "net.ipv4.tcp_fwmark_accept").stdout.strip()

    def marks(self):
        with open(f"{self.directory}/run/marks") as f:
            return {int(u): int(m) for u, m in (line.split() for line in f)}

    def count_payload(self, pattern):
        """Counts packets that reach the peer with these bytes in them."""
        return PayloadCounter(self.peer, pattern)

    def done(self):
        for p in self.processes:
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
            try:
                p.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.communicate()
        for s in self.sockets:
            s.close()
        self.host.done()
        self.peer.done()


class PayloadCounter:
    """A packet socket on the peer's link: what it sees has left the machine."""

    def __init__(self, machine, pattern):
        self.pattern = pattern

        def work():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind(("up0", 0))
            return s

        self.sock = machine.child(0, work)
        self.sock.setblocking(False)

    def count(self, seconds=0.3):
        end, found = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                break
            try:
                found += self.pattern in self.sock.recv(65536)
            except BlockingIOError:
                pass
        return found

    def done(self):
        self.sock.close()


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def broken(sock, text=b"x"):
    """Sends and reads; True when the connection was reset or aborted."""
    try:
        sock.sendall(text)
        sock.settimeout(1)
        return sock.recv(1) == b""
    except (ConnectionError, BrokenPipeError):
        return True
    except (TimeoutError, socket.timeout):
        return False


def talks(a, b):
    """Both directions work."""
    a.sendall(b"ping")
    b.settimeout(3)
    a.settimeout(3)
    if b.recv(4) != b"ping":
        return False
    b.sendall(b"pong")
    return a.recv(4) == b"pong"
