# SPDX-License-Identifier: Apache-2.0
"""ringmain on the machines of a lab: configuration files, certificates, the keeper, the redirect.

    services = [Service("web", uid=12001, on=["vm-a"]),
                Service("orders", uid=12002, on=["vm-b"], port=8080)]
    with Mesh(services) as mesh:
        mesh.start()

makes two machines on which the plain servers and clients of these uids are in one mesh. So far each
is standalone, with the mesh's objects in a file. With `stores=["vm-r"]` there is a third machine with
Redis, to which an operator publishes the objects, and where the nodes find each other. With
`ca="vm-ca"` certificates come from an authority there, and renew themselves; they are files else.
"""
import http.client
import json
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

from ca import Authority
from machines import NET_V4, NET_V6, ROOT, Lab, LabError, Process, process_children, process_status, run, wait_for
from stores import PRIMARY, Redis, Users



@dataclass
class Service:
    """One service of the mesh and the workload behind it on each machine in `on`."""
    name: str
    uid: int
    on: list = field(default_factory=lambda: ["vm-b"])
    port: int = 0  # 0: calls others, serves nothing
    protocol: str = "http"
    server_first: bool = False
    mtls: str = "strict"
    limits: dict = field(default_factory=dict)  # further keys of the workload
    own: int = 0  # the last number of the service's own address; 0: it has none
    identity: str = ""  # the path of its identity, if not that of its name

    @property
    def path(self):
        return self.identity or f"service/{self.name}"


def config_text(value, depth=0):
    """A Python value as libconfig text: dict = group, list of dicts = list, other list = array."""
    if value == []:
        return "( )"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "(\n" + ",\n".join("\t" * (depth + 1) + config_text(v, depth + 1) for v in value) + " )"
    if isinstance(value, list):
        return "[ " + ", ".join(config_text(v) for v in value) + " ]"
    body = " ".join(f"{key} = {config_text(v, depth + 1)};" for key, v in value.items())
    return "{ " + body + " }"


def config_file_text(groups):
    return "".join(f"{key} = {config_text(value)};\n" for key, value in groups.items())


def merged(base, more):
    """Groups of `more` over those of `base`, key by key."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key].update(value)
        else:
            result[key] = value
    return result


class UnixHttp(http.client.HTTPConnection):
    def __init__(self, path, timeout=15):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Node:
    """ringmain on one machine."""

    def __init__(self, mesh, machine):
        self.mesh = mesh
        self.machine = machine
        self.name = machine.name
        self.uid = machine.own_uid  # of the unprivileged processes; an installation makes a user for them
        self.config = machine.dir / "ringmain.conf"
        self.certs = machine.dir / "certs"
        self.keep = machine.dir / "keep"  # with an authority: the keeper's own keys and certificates
        self.run_dir = machine.dir / "run"
        self.admin_socket = self.run_dir / "admin.sock"
        self.access_path = machine.dir / "log" / "access.log"
        self.state_dir = machine.dir / "state"
        self.process = None
        self.groups = {}  # over what write_config() makes of itself
        self.more = {}    # by service: further keys of its workload on this machine

    # --- configuration -------------------------------------------------------------------------

    def workloads(self):
        return [s for s in self.mesh.services if self.name in s.on]

    def config_groups(self):
        workloads = []
        for s in self.workloads():
            row = {"service": s.name, "user": str(s.uid)}
            if s.identity:
                row["identity"] = s.identity
            if s.port:
                row.update(port=s.port, protocol=s.protocol)
            workloads.append({**row, **s.limits, **self.more.get(s.name, {})})
        groups = {
            "node": {"name": self.name, "address": [self.machine.v4, self.machine.v6],
                     "user": str(self.uid), "workers": self.mesh.workers, "admin_socket": str(self.admin_socket),
                     "run_dir": str(self.run_dir), "access_log": str(self.access_path)},
            "mesh": {"trust_domain": self.mesh.trust_domain,
                     "default_policy": self.mesh.default_policy},
            "identity": self.identity_group(),
            "workloads": workloads,
        }
        if self.mesh.redis:
            groups["state"] = self.state_group()
        else:
            groups["mesh"]["files"] = [str(self.mesh.mesh_file)]
        return merged(merged(groups, self.mesh.groups), self.groups)

    def identity_group(self):
        if not self.mesh.authority:
            return {"directory": str(self.certs)}
        return {"ca": self.mesh.authority.addresses, "keep": str(self.keep), "refresh": "1s"}

    def state_group(self):
        return {**self.mesh.store_keys(), "username": f"node:{self.name}",
                "password_file": str(self.mesh.users.password_file(f"node-{self.name}")),
                "operators": [f"{self.mesh.operator_key(name)}.pub" for name in self.mesh.operators], "dir": str(self.state_dir),
                "lease": "3s", "timeout": "1s"}

    def write_config(self):
        self.config.write_text(config_file_text(self.config_groups()))

    def issue(self, service, ttl="24h"):
        """Files for a service, by name, or for the path of an identity."""
        path = next((s.identity for s in self.workloads() if s.name == service and s.identity), service)
        self.mesh.ringmain("ca", "issue", "--dir", self.mesh.ca_dir, "--identity" if "/" in path else "--service", path,
                           "--out", self.certs, "--ttl", ttl)

    def token_file(self):
        """A new join token from the authority, for this machine with the services that it has."""
        path = self.machine.dir / "token"
        path.touch(0o600)
        path.write_text(self.mesh.authority.token(self.name, *(s.identity or s.name for s in self.workloads())) + "\n")
        return path

    def join_command(self, *words):
        authority = self.mesh.authority
        return ["join", "--ca", authority.addresses[0], "--ca-fingerprint", authority.fingerprint, *words]

    def join(self, *words, token=None, check=True):
        return self.ringmain(*self.join_command("--token-file", token or self.token_file(), *words), check=check)

    # --- life ----------------------------------------------------------------------------------

    def ringmain(self, *words, **more):
        """Runs one of ringmain's commands in the machine, with its configuration."""
        return self.machine.run([self.mesh.binary, *words, "-c", self.config],
                                env=self.environment(), **more)

    def environment(self):
        place = self.machine.dir / "sanitizer" / "report"
        common = f"abort_on_error=1:disable_coredump=0:log_path={place}:print_stacktrace=1"
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                # the sandboxed proxy may not trace itself, which the leak check needs; and freed
                # memory that is kept to catch late use must not look like a leak to the tests
                "ASAN_OPTIONS": f"{common}:detect_leaks=0:quarantine_size_mb=16",
                "UBSAN_OPTIONS": f"{common}:halt_on_error=1"}

    def redirect_up(self):
        self.ringmain("redirect", "up")

    def redirect_down(self):
        self.ringmain("redirect", "down", "--now")

    def start(self, wait=True):
        self.process = Process(self.machine, "ringmain", [self.mesh.binary, "run", "-c", self.config],
                               env=self.environment())
        self.machine.processes.append(self.process)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=20):
        def ready():
            if not self.process.running:
                raise LabError(f"ringmain on {self.name} ended at its start:\n{self.process.log}")
            return self.ready()
        try:
            wait_for(ready, f"ringmain on {self.name} to be ready", timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.process.log}") from None

    def wait_certified(self, timeout=20):
        """Until all its workloads have a certificate."""
        def missing():
            return json.loads(self.admin_get("/certs")[1])["identities_missing"]
        wait_for(lambda: not missing(), f"{self.name} to have its certificates", timeout)

    def ready(self):
        try:
            return self.admin_get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self, number=signal.SIGTERM, timeout=15):
        return self.process.stop(number, timeout)

    def reload(self):
        """Asks for a reload; returns at once."""
        self.process.kill(signal.SIGHUP)

    def children(self):
        """The keeper's unprivileged children: {"proxy": pid, "state": pid}."""
        found = {}
        for pid in process_children(self.process.pid):
            if process_status(pid).get("Uid", "0").split()[0] == str(self.uid):
                found[process_role(pid)] = pid
        return found

    def proxy_pid(self):
        """The unprivileged process that carries the traffic."""
        return self.children().get("proxy")

    def state_pid(self):
        """The one that speaks with the store."""
        return self.children().get("state")

    # --- looking at it -------------------------------------------------------------------------

    def admin_get(self, path, method="GET"):
        """Status and text of an admin page."""
        connection = UnixHttp(self.admin_socket)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metrics(self):
        """Every sample of /metrics as {name: [(labels, value)]}."""
        return metrics_parse(self.admin_get("/metrics")[1])

    def metric(self, name, **labels):
        """Sum of a metric's samples that have these labels; 0 when there are none."""
        return sum(value for have, value in self.metrics().get(name, [])
                   if all(have.get(k) == v for k, v in labels.items()))

    def status(self):
        return json.loads(self.ringmain("status", "-o", "json", check=False).stdout)

    def access(self):
        """The access log's lines so far."""
        if not self.access_path.exists():
            return []
        lines = self.access_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def process_role(pid):
    """The word behind "ringmain" on its command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return words[1].decode(errors="replace") if len(words) > 1 else ""


def metrics_parse(text):
    """Prometheus text to {name: [(labels, value)]}; a line that is none raises ValueError."""
    samples = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name_and_labels, value = line.rsplit(" ", 1)
        name, _, rest = name_and_labels.partition("{")
        labels = labels_parse(rest[:-1]) if rest else {}
        samples.setdefault(name, []).append((labels, float(value)))
    return samples


def labels_parse(text):
    labels, at = {}, 0
    while at < len(text):
        equals = text.index('="', at)
        end = equals + 2
        while text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        labels[text[at:equals].lstrip(",")] = text[equals + 2:end]
        at = end + 1
    return labels


class Mesh:
    """A lab with ringmain on each of its machines."""

    def __init__(self, services, machines=("vm-a", "vm-b"), binary=None, policies=(), groups=None,
                 default_policy="authenticated", trust_domain="mesh.test", workers=1, stores=(), ca=None, lifetimes=None):
        self.services = list(services)
        self.policies = list(policies)
        self.groups = groups or {}  # over every node's configuration
        self.default_policy = default_policy
        self.trust_domain = trust_domain
        self.workers = workers
        self.binary = str(binary or ROOT / "build" / "release" / "src" / "daemon" / "ringmain")
        self.lab = Lab(dict.fromkeys([*machines, *stores, *([ca] if ca else [])]))
        self.ca_dir = self.lab.dir / "ca"
        self.mesh_file = self.lab.dir / "mesh.conf"
        self.nodes = {name: Node(self, self.lab[name]) for name in machines}
        self.operators = ["alice"]  # whom the nodes believe
        self.users = Users(self.lab.dir / "passwords", trust_domain, machines, self.operators)
        self.redis = Redis(self.lab[stores[0]], self.users) if stores else None
        self.sentinels = []
        self.authority = Authority(self.lab[ca], self.binary, trust_domain, lifetimes) if ca else None

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(self.nodes.values())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def ringmain(self, *words, **more):
        return run(self.binary, *words, **more)

    def mesh_groups(self):
        services = []
        for s in self.services:
            row = {"name": s.name}
            if s.identity:
                row["identity"] = s.identity
            if s.port:
                row.update(protocol=s.protocol, mtls=s.mtls)
            if s.port and not self.redis:  # with a store, the nodes tell of their endpoints themselves
                row["endpoints"] = [{"address": [self.lab[m].v4, self.lab[m].v6], "port": s.port} for m in s.on]
            if s.own:
                row.update(address=[f"{NET_V4}{s.own}", f"{NET_V6}{s.own:x}"], port=s.port)
            if s.server_first:
                row["server_first"] = True
            services.append(row)
        groups = {"services": services}
        if self.policies:
            groups["policies"] = self.policies
        return groups

    def write_configs(self):
        self.mesh_file.write_text(config_file_text(self.mesh_groups()))
        for node in self:
            node.write_config()

    def make_identities(self):
        """An authority, and on each machine the certificates of the services that run there, and no
        other: it is asked for them by the machines that have joined, or they are written as files."""
        if self.authority:
            self.authority.make()
            self.authority.start()
            for node in self:
                node.join()
            return
        self.ringmain("ca", "init", "--dir", self.ca_dir, "--trust-domain", self.trust_domain)
        for node in self:
            for service in node.workloads():
                node.issue(service.name)

    # --- the store -------------------------------------------------------------------------------

    def store_keys(self):
        """Where the store is, for the `state` of nodes and operators."""
        keys = {"redis": [self.redis.address]}
        if self.redis.authority:
            keys["tls_ca"] = str(self.redis.authority.ca)
        if self.sentinels:
            keys.update(redis=[s.address for s in self.sentinels], sentinel=PRIMARY, sentinel_username="finder",
                        sentinel_password_file=str(self.users.password_file("finder")))
        return keys

    def operator_new(self, name):
        """A key pair for somebody who publishes."""
        self.operator_key(name).parent.mkdir(exist_ok=True)
        self.ringmain("operator", "new", self.operator_key(name))

    def operator_key(self, name):
        return self.lab.dir / "operators" / name

    def operator_config(self, name="alice"):
        """A file that says where the store is, as whom to come, and whose key signs."""
        groups = {
            "mesh": {"trust_domain": self.trust_domain},
            "state": {**self.store_keys(), "username": f"operator:{name}",
                      "password_file": str(self.users.password_file(f"operator-{name}")),
                      "operators": [f"{self.operator_key(known)}.pub" for known in self.operators]},
            "operator": {"name": name, "key": str(self.operator_key(name))},
        }
        path = self.lab.dir / "operators" / f"{name}.conf"
        path.write_text(config_file_text(groups))
        return path

    def operate(self, *words, name="alice", check=True):
        """A command of an operator, where the store runs."""
        return self.redis.machine.run([self.binary, *words, "-c", self.operator_config(name)], check=check)

    def publish(self, groups=None, *words, **more):
        """Applies mesh objects: those given, or those of the mesh."""
        self.mesh_file.write_text(config_file_text(groups or self.mesh_groups()))
        return self.operate("apply", "-f", self.mesh_file, *words, **more)

    # --- life ------------------------------------------------------------------------------------

    def start(self):
        """Everything up: files, identities, capture, proxies. Capture comes first, as on a real
        machine at boot, so that nothing can slip by."""
        self.write_configs()
        self.make_identities()
        if self.redis:
            if not (self.redis.process and self.redis.process.running):
                self.redis.start()
            for name in self.operators:
                self.operator_new(name)
            self.publish()
        for node in self:
            node.redirect_up()
        for node in self:
            node.start(wait=False)
        for node in self:
            node.wait_ready()
        for node in self if self.authority else []:
            node.wait_certified()

    def stop(self):
        self.lab.stop()
