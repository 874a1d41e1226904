# SPDX-License-Identifier: Apache-2.0
"""Redis on the machines of a lab: servers, replicas, Sentinels, with the users of conf/redis.acl, with
or without TLS, and everything that may happen to them.

    redis = Redis(lab["vm-r"], users=Users(lab.dir / "passwords", "mesh.test", nodes=["vm-a"]))
    redis.start()
    redis.ask("SET", "key", "value")

Debian 12 has Redis 7.0; a newer one or Valkey will do.
"""
import contextlib
import shutil
import signal
import socket

from machines import ROOT, LabError, Process, run, wait_for

REDIS_UID = 12050
REDIS_PORT, SENTINEL_PORT = 6379, 26379
PRIMARY = "ringmain"  # the name that the Sentinels know the primary by


class ReplyError(Exception):
    """An error reply; its text begins with a word such as NOPERM."""


class Resp:
    """A connection that speaks the protocol of Redis (RESP2); replies are bytes, int, list or None."""

    def __init__(self, sock, user=None, password=None):
        self.sock = sock
        self.held = b""
        if user:
            self.ask("AUTH", user, password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def more(self):
        part = self.sock.recv(1 << 18)
        if not part:
            raise EOFError("the server closed the connection")
        self.held += part

    def line(self):
        while b"\r\n" not in self.held:
            self.more()
        line, self.held = self.held.split(b"\r\n", 1)
        return line

    def reply(self):
        line = self.line()
        kind, text = line[:1], line[1:]
        if kind == b"+":
            return text
        if kind == b"-":
            raise ReplyError(text.decode(errors="replace"))
        if kind == b":":
            return int(text)
        if kind == b"$":
            count = int(text)
            if count < 0:
                return None
            while len(self.held) < count + 2:
                self.more()
            bulk, self.held = self.held[:count], self.held[count + 2:]
            return bulk
        if kind == b"*":
            return None if int(text) < 0 else [self.element() for _ in range(int(text))]
        raise LabError(f"no reply of Redis: {line!r}")

    def element(self):
        """A reply within another: an error there is a value, as in that of EXEC."""
        try:
            return self.reply()
        except ReplyError as error:
            return error

    def ask(self, *words):
        self.send(*words)
        return self.reply()


class Users:
    """The ACL users of a mesh's Redis, made by conf/redis-acl, and one called `lab` that may do
    everything, for the lab itself."""

    LAB = ("lab", "the-password-of-the-lab")

    def __init__(self, passwords, mesh, nodes=(), operators=()):
        self.passwords = passwords
        self.mesh = mesh
        self.nodes, self.operators = list(nodes), list(operators)

    def make(self, *words):
        return run(ROOT / "conf" / "redis-acl", "-d", self.passwords, self.mesh, *words).stdout

    def text(self):
        lines = [self.make("default"), f"user {self.LAB[0]} reset on >{self.LAB[1]} ~* &* +@all\n"]
        lines += [self.make(kind) for kind in ("replica", "sentinel")]
        lines += [self.make(kind, *names) for kind, names in (("node", self.nodes), ("operator", self.operators))
                  if names]
        return "".join(lines)

    def sentinel_text(self):
        return "".join([self.make("default"), f"user {self.LAB[0]} reset on >{self.LAB[1]} ~* &* +@all\n",
                        self.make("peer"), self.make("finder")])

    def password_file(self, user):
        """Of node-vm-a, operator-alice, replica, finder."""
        path = self.passwords / f"{user}.password"
        if not path.exists():
            self.make(*user.split("-", 1))
        return path

    def password(self, user):
        return self.password_file(user).read_text()


class Certificates:
    """An authority for the servers of a store, made with openssl: nothing to do with the mesh's."""

    def __init__(self, directory):
        self.dir = directory
        self.dir.mkdir(exist_ok=True)
        self.ca = self.dir / "ca.pem"
        self.openssl("req", "-x509", *self.new_key("ca"), "-out", self.ca, "-days", "2", "-subj", "/CN=store authority")

    @staticmethod
    def openssl(*words):
        return run("openssl", *words)

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.dir / f"{name}.key"]

    def issue(self, name, *subjects):
        """A certificate for subjects such as DNS:redis.test and IP:10.77.0.3; its path, the key's beside it."""
        request, made, names = (self.dir / f"{name}.{end}" for end in ("csr", "pem", "names"))
        names.write_text(f"subjectAltName={','.join(subjects)}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self.openssl("req", "-new", *self.new_key(name), "-out", request, "-subj", f"/CN={name}")
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.dir / "ca.key", "-set_serial",
                     abs(hash((name, subjects))) % (1 << 60) + 1, "-days", "2", "-extfile", names, "-out", made)
        made.with_suffix(".key").chmod(0o644)  # the server is no root, and this is a lab
        return made


class Server:
    """What a redis-server and a Sentinel have in common: a process, a configuration, a socket."""

    def __init__(self, machine, name, port, users, certificate=None, authority=None):
        self.machine, self.name, self.port, self.users = machine, name, port, users
        self.certificate, self.authority = certificate, authority
        self.dir = machine.dir / name
        self.dir.mkdir(mode=0o755, exist_ok=True)
        shutil.chown(self.dir, REDIS_UID, REDIS_UID)
        self.conf = self.dir / "redis.conf"
        self.socket = self.dir / "redis.sock"  # reached from outside the namespace, links down or not
        self.process = None

    @property
    def address(self):
        return f"{self.machine.v4}:{self.port}"

    def common(self):
        ports = {"port": self.port}
        if self.certificate:
            ports = {"port": 0, "tls-port": self.port, "tls-cert-file": self.certificate,
                     "tls-key-file": self.certificate.with_suffix(".key"), "tls-ca-cert-file": self.authority.ca,
                     "tls-auth-clients": "no", "tls-protocols": "TLSv1.3", "tls-replication": "yes"}
        return {**ports, "bind": "*", "protected-mode": "no", "dir": self.dir, "daemonize": "no", "logfile": '""',
                "unixsocket": self.socket, "unixsocketperm": "777", "aclfile": self.dir / "users.acl",
                "proto-max-bulk-len": "16mb"}

    def write(self, settings, lines=()):
        text = "".join(f"{key} {value}\n" for key, value in {**self.common(), **settings}.items())
        self.conf.write_text(text + "".join(f"{line}\n" for line in lines))
        (self.dir / "users.acl").write_text(self.acl())
        for path in (self.conf, self.dir / "users.acl"):
            shutil.chown(path, REDIS_UID, REDIS_UID)

    def launch(self, *words):
        self.socket.unlink(missing_ok=True)
        self.process = Process(self.machine, self.name, ["redis-server", self.conf, *words], uid=REDIS_UID)
        self.machine.processes.append(self.process)
        try:
            wait_for(self.answers, f"{self.name} on {self.machine.name} to answer")
        except LabError as error:
            raise LabError(f"{error}\n{self.process.log[-3000:]}") from None

    def answers(self):
        if not self.process.running:
            raise LabError(f"{self.name} on {self.machine.name} ended at its start")
        try:
            return self.ask("PING") == b"PONG"
        except (OSError, EOFError, ReplyError):
            return False

    # --- talking to it ---------------------------------------------------------------------------

    def connect(self, user=None, password=None, timeout=15):
        """A connection as one of its users, or as the lab's own."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        try:
            s.connect(str(self.socket))
            return Resp(s, *((user, password) if user else Users.LAB))
        except BaseException:
            s.close()
            raise

    def ask(self, *words):
        with self.connect() as connection:
            return connection.ask(*words)

    def info(self, section):
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    # --- what may happen to it -------------------------------------------------------------------

    def stop(self):
        """In an orderly way; nothing is saved."""
        with contextlib.suppress(OSError, EOFError, ReplyError):
            self.ask("SHUTDOWN", "NOSAVE")
        self.process.stop()

    def kill(self):
        self.process.kill(signal.SIGKILL)
        self.process.wait()

    def freeze(self):
        self.process.kill(signal.SIGSTOP)

    def thaw(self):
        self.process.kill(signal.SIGCONT)

    def cut(self):
        """What comes over the wire is dropped, as by a broken switch; nobody is told."""
        self.machine.run(["iptables", "-w", "-I", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", self.port, "-j", "DROP"])

    def mend(self):
        self.machine.run(["iptables", "-w", "-D", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", self.port, "-j", "DROP"])


class Redis(Server):
    """A redis-server; on disk only what save() is asked for."""

    def __init__(self, machine, users, name="redis", port=REDIS_PORT, primary=None, settings=None, **more):
        super().__init__(machine, name, port, users, **more)
        self.primary = primary  # of a replica: the Redis that it follows at its start
        self.settings = settings or {}
        self.dump = self.dir / "dump.rdb"

    def acl(self):
        return self.users.text()

    def start(self):
        settings = {"save": '""', "appendonly": "no", "repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0",
                    "masteruser": "replica", "masterauth": self.users.password("replica")}
        if self.primary:
            settings["replicaof"] = f"{self.primary.machine.v4} {self.primary.port}"
        self.write({**settings, **self.settings})
        self.launch()
        return self

    def restart_empty(self):
        """All is lost, as when a disk is new."""
        self.stop()
        self.dump.unlink(missing_ok=True)
        self.start()

    def save(self, name):
        """A dump of now under a name, for restore()."""
        self.ask("SAVE")
        shutil.copy(self.dump, self.dir / f"{name}.rdb")

    def restore(self, name):
        """Starts anew from an older dump."""
        self.stop()
        shutil.copy(self.dir / f"{name}.rdb", self.dump)
        shutil.chown(self.dump, REDIS_UID, REDIS_UID)
        self.start()

    def fill(self):
        """No memory is left: what writes is refused, what reads is answered."""
        self.ask("CONFIG", "SET", "maxmemory", 1)

    def empty_out(self):
        self.ask("CONFIG", "SET", "maxmemory", 0)

    def fail_to_save(self):
        """As with a full disk: a Redis that cannot save takes no writes."""
        self.dir.chmod(0o555)
        shutil.chown(self.dir, 0, 0)
        self.ask("CONFIG", "SET", "save", "3600 1000000")
        self.ask("BGSAVE")
        wait_for(lambda: self.info("persistence")["rdb_last_bgsave_status"] == "err", "saving to fail")

    def save_again(self):
        self.dir.chmod(0o755)
        shutil.chown(self.dir, REDIS_UID, REDIS_UID)
        self.ask("CONFIG", "SET", "save", "")
        self.ask("BGSAVE")
        wait_for(lambda: self.info("persistence")["rdb_last_bgsave_status"] == "ok", "saving to work")

    def lose_users(self, *names):
        """As when a server comes up without its ACL file; ACL LOAD brings them back."""
        self.ask("ACL", "DELUSER", *names)

    def promote(self):
        """A replica becomes a primary, without its primary's consent."""
        self.ask("REPLICAOF", "NO", "ONE")

    def follow(self, primary):
        self.ask("REPLICAOF", primary.machine.v4, primary.port)

    def wait_in_step(self, timeout=10):
        """Until this replica is connected and has what its primary has."""
        def in_step():
            info = self.info("replication")
            return (info.get("master_link_status") == "up"
                    and info["master_repl_offset"] == self.primary.info("replication")["master_repl_offset"])
        wait_for(in_step, f"{self.name} on {self.machine.name} to be in step", timeout)


class Sentinel(Server):
    """One of the Sentinels that watch a primary."""

    def __init__(self, machine, users, primary, number=0, quorum=2, **more):
        super().__init__(machine, f"sentinel-{number}", SENTINEL_PORT + number, users, **more)
        self.primary, self.quorum = primary, quorum

    def acl(self):
        return self.users.sentinel_text()

    def start(self):
        lines = [f"sentinel monitor {PRIMARY} {self.primary.machine.v4} {self.primary.port} {self.quorum}",
                 f"sentinel auth-user {PRIMARY} sentinel",
                 f"sentinel auth-pass {PRIMARY} {self.users.password('sentinel')}",
                 f"sentinel down-after-milliseconds {PRIMARY} 1000", f"sentinel failover-timeout {PRIMARY} 3000",
                 "sentinel sentinel-user peer", f"sentinel sentinel-pass {self.users.password('peer')}"]
        self.write({}, lines)
        self.launch("--sentinel")
        return self

    def answered(self):
        """Address and port of the primary, as this Sentinel sees it."""
        host, port = self.ask("SENTINEL", "get-master-addr-by-name", PRIMARY)
        return f"{host.decode()}:{int(port)}"

    def wait_ready(self, others, timeout=15):
        """Until it knows so many other Sentinels and a replica: before, it cannot fail over."""
        def ready():
            found = self.ask("SENTINEL", "MASTER", PRIMARY)
            facts = dict(zip(found[::2], found[1::2]))
            return int(facts[b"num-other-sentinels"]) >= others and int(facts[b"num-slaves"]) >= 1
        wait_for(ready, f"{self.name} to know the others", timeout)
