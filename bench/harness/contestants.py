# SPDX-License-Identifier: Apache-2.0
"""Who is measured, and how each is set up.

Every contestant has two machines of its own (network namespaces, conf/demo/machines.py), so that no
rule, port or closing connection of one can touch another. Its proxies are started for one scenario
and stay up, idle, while the others have their turn: an idle proxy costs the others nothing, and a
fresh one has no history. What all have in common: the caller's connections are captured by a
redirect in the caller's machine, whoever captures them.
"""
import contextlib
import os
import shutil
import subprocess

from authority import TRUST_DOMAIN, dns_name, spiffe_id
from contest import CLIENT, PLAIN, SERVER, Spec
from machines import Lab, LabError, process_children, process_start, wait_for
from nodes import Mesh, Service
from scenarios import CALLER, CALLER_UID, HOST, METHODS, PAIR, PATH_PREFIX, PAYLOAD_BYTES, SAME, SERVICES

LARGE = "ringmain-large"
RULES = {"ringmain-rules-10": 10, "ringmain-rules-10000": 10_000}
SERVICE_COUNT, ENDPOINT_COUNT = 1000, 10  # of a large mesh, and as many policies as services
MACHINES = ("vm-a", "vm-b")
CAPTURE_PORT, TLS_PORT = 15001, 15443
# Many connections in a short time: enough ports, short memories of closed connections.
SYSCTLS = {"net__ipv4__ip_local_port_range": "16000 65000", "net__core__somaxconn": 8192,
           "net__ipv4__tcp_max_syn_backlog": 8192, "net__ipv4__tcp_tw_reuse": 1}
TRACKING = {"net__netfilter__nf_conntrack_tcp_timeout_time_wait": 2,
            "net__netfilter__nf_conntrack_tcp_timeout_close": 2}
LIMITS_MAX = {"connections_max": 65536, "workload_connections_max": 65536}


@contextlib.contextmanager
def pinned(cores):
    """Whoever is started in here runs on these cores, and so do its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def family(pid):
    """A process and all its descendants."""
    pids = [pid]
    for one in pids:
        pids += process_children(one)
    return pids


class Contestant:
    """`bench` brings the programs, the certificates and the cores: see main.py."""
    proxies = True  # whether anything stands in between

    def __init__(self, bench, name):
        self.bench = bench
        self.name = name
        self.lab = None
        self.origin = None
        self.started = []

    def version(self):
        return ""

    # --- life --------------------------------------------------------------------------------------

    def make_lab(self):
        return Lab(MACHINES)

    def open(self):
        self.lab = self.make_lab()
        for machine in self.lab:
            machine.sysctl(**SYSCTLS)

    def close(self):
        if self.lab:
            self.lab.stop()
            self.lab = None

    def start(self, scenario):
        with pinned(self.bench.cores.origin):
            self.start_origin(scenario)
        with pinned(self.bench.cores.proxy):
            self.start_proxies(scenario)
        for machine in self.lab:
            for name, value in TRACKING.items():  # only there once something tracks connections
                with contextlib.suppress(LabError):
                    machine.sysctl(**{name: value})

    def stop(self):
        self.stop_proxies()
        for process in [*self.started, self.origin]:
            if process:
                process.stop(timeout=2)
        self.started, self.origin = [], None
        for machine in self.lab:
            machine.processes.clear()

    def callee(self, scenario):
        """The machine of the origin."""
        return self.lab["vm-a" if scenario.layout == SAME else "vm-b"]

    def start_origin(self, scenario):
        service, machine = SERVICES[scenario.service], self.callee(scenario)
        command = [machine.program(self.bench.program("origin")), "--listen", f"0.0.0.0:{service.port}",
                   "--protocol", service.name, "--response-bytes", PAYLOAD_BYTES]
        self.origin = machine.serve(f"origin-{service.name}", command, service.port, service.uid)

    def start_proxies(self, scenario):
        pass

    def stop_proxies(self):
        pass

    # --- for those with proxies of one kind ------------------------------------------------------------

    def capture(self, scenario):
        """The caller's connections to the service go to CAPTURE_PORT of its machine."""
        rules = ["iptables", "-w", "-t", "nat"]
        machine, service = self.lab["vm-a"], SERVICES[scenario.service]
        machine.run([*rules, "-F", "OUTPUT"])
        machine.run([*rules, "-A", "OUTPUT", "-p", "tcp", "-d", self.callee(scenario).v4, "--dport", service.port,
                     "-m", "owner", "--uid-owner", CALLER_UID, "-j", "REDIRECT", "--to-ports", CAPTURE_PORT])

    def spawn(self, machine, name, command, port):
        process = machine.serve(name, command, port, 0)
        self.started.append(process)

    # --- figures ---------------------------------------------------------------------------------------

    def parts(self):
        """The proxies' processes: {what it is: [pid, ...]}."""
        return {process.name: family(process.pid) for process in self.started}

    def logs(self):
        """The last words of its processes, for a message of what went wrong."""
        return "\n".join(f"{process.name}: {process.log[-1000:]}" for process in self.started if process.log.strip())

    def load_command(self, scenario, program, words):
        machine = self.lab["vm-a"]
        return machine.command([machine.program(program), *words], CALLER_UID)

    def target(self, scenario):
        return f"{self.callee(scenario).v4}:{SERVICES[scenario.service].port}"


class Direct(Contestant):
    """Nobody in between: what the load and the origin alone can do."""
    proxies = False


class Null(Contestant):
    """The minimal relay: the floor. As many hops as ringmain has, and not a byte looked at."""

    def start_proxies(self, scenario):
        self.capture(scenario)
        a, b = self.lab["vm-a"], self.lab["vm-b"]
        port = SERVICES[scenario.service].port
        entry = ("127.0.0.1", CAPTURE_PORT)
        if scenario.layout == PAIR:
            self.relay(b, "server", (b.v4, TLS_PORT), ("127.0.0.1", port))
            self.relay(a, "client", entry, (b.v4, TLS_PORT))
        else:
            callee = "127.0.0.1" if scenario.layout == SAME else b.v4
            self.relay(a, "proxy", entry, (callee, port))

    def relay(self, machine, name, listen, to):
        command = [machine.program(self.bench.program("null")), "--listen", "%s:%d" % listen, "--to", "%s:%d" % to]
        self.spawn(machine, name, command, listen[1])


class PeerContestant(Contestant):
    """HAProxy, nginx, Envoy: a module of bench/peers says how each is configured."""

    def __init__(self, bench, peer):
        super().__init__(bench, peer.name)
        self.peer = peer

    def version(self):
        return self.peer.version()

    def start_proxies(self, scenario):
        self.capture(scenario)
        entry = ("127.0.0.1", CAPTURE_PORT)
        if scenario.layout in (PAIR, SAME):
            callee = self.callee(scenario)
            between = (callee.v4, TLS_PORT)
            self.proxy(callee, "server", SERVER, self.server_spec(scenario, between))
            self.proxy(self.lab["vm-a"], "client", CLIENT, self.client_spec(scenario, entry, between))
        else:
            self.proxy(self.lab["vm-a"], "proxy", PLAIN, self.plain_spec(scenario, entry))

    def proxy(self, machine, name, role, spec):
        directory = machine.dir / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        config = directory / f"{self.name}.conf"
        config.write_text(self.peer.config(role, spec))
        self.spawn(machine, name, self.peer.command(config, directory), spec.listen[1])

    def common(self, scenario):
        service = SERVICES[scenario.service]
        more = {"host": HOST} if service.protocol == "http" else {}
        return {"protocol": service.protocol, "connections": scenario.connections,
                "resumption": scenario.resumption, **more}

    def credentials(self, service):
        authority = self.bench.authority
        return {"certificate": str(authority.path(service, "crt")), "key": str(authority.path(service, "key")),
                "bundle": str(authority.path(service, "pem")), "ca": str(authority.root)}

    def plain_spec(self, scenario, listen):
        port = SERVICES[scenario.service].port
        return Spec(listen=listen, to=[(self.callee(scenario).v4, port)], **self.common(scenario))

    def client_spec(self, scenario, listen, to):
        service = scenario.service
        return Spec(listen=listen, to=[to], tls_to=True, server_name=dns_name(service), server_id=spiffe_id(service),
                    **self.credentials(CALLER), **self.common(scenario))

    def server_spec(self, scenario, listen):
        service = SERVICES[scenario.service]
        policy = {"methods": METHODS, "path_prefix": PATH_PREFIX} if service.protocol == "http" else {}
        return Spec(listen=listen, to=[("127.0.0.1", service.port)], tls_listen=True, caller_name=dns_name(CALLER),
                    caller_id=spiffe_id(CALLER), **self.credentials(service.name), **policy, **self.common(scenario))


class Ringmain(Contestant):
    """As it runs in earnest: keeper and proxy, the rules of `ringmain redirect`, mesh files, metrics."""
    mesh_kind = Mesh

    def __init__(self, bench, name="ringmain"):
        super().__init__(bench, name)
        self.mesh = None
        self.nodes = []

    def version(self):
        return subprocess.run([str(self.bench.program("ringmain")), "version"], text=True,
                              stdout=subprocess.PIPE).stdout.strip().removeprefix("ringmain ")

    def make_lab(self):
        self.mesh = self.mesh_kind([], binary=self.bench.program("ringmain"), trust_domain=TRUST_DOMAIN, default_policy="deny")
        return self.mesh.lab

    def start_proxies(self, scenario):
        service = SERVICES[scenario.service]
        callee = self.callee(scenario)
        plain = scenario.layout not in (PAIR, SAME)
        self.mesh.services = [
            Service(CALLER, CALLER_UID, ["vm-a"]),
            Service(service.name, service.uid, [callee.name], service.port, service.protocol,
                    server_first=service.name == "source", mtls="disabled" if plain else "strict")]
        self.mesh.policies = self.policies(service)
        self.mesh.groups = self.settings(scenario)
        self.nodes = [self.mesh["vm-a"], self.mesh["vm-b"]][:2 if scenario.layout == PAIR else 1]
        self.mesh.write_configs()
        for node in self.nodes:
            self.identities(node)
            node.redirect_up()
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()

    def policies(self, service):
        rule = {"service": service.name, "action": "allow", "from": [CALLER]}
        if service.protocol == "http":
            rule.update(methods=METHODS, paths=[PATH_PREFIX + "*"])
        return [rule]

    @staticmethod
    def settings(scenario):
        groups = {"node": {"access_log": "off"}, "timeouts": {"drain": "0s"}}
        if scenario.connections > 1024:
            groups["limits"] = LIMITS_MAX
        if not scenario.resumption:
            groups["identity"] = {"resumption": False}
        return groups

    def identities(self, node):
        for workload in node.workloads():
            for suffix in ("crt", "key"):
                shutil.copy(self.bench.authority.path(workload.name, suffix), node.certs)
        shutil.copy(self.bench.authority.root, node.certs / "roots.pem")

    def stop_proxies(self):
        for node in self.nodes:
            node.stop(timeout=5)
            node.redirect_down()
            for path in node.certs.iterdir():
                path.unlink()
        self.nodes = []

    def parts(self):
        found = {}
        for node in self.nodes:
            side = {"vm-a": "client", "vm-b": "server"}[node.name] if len(self.nodes) == 2 else "proxy"
            found[side] = [node.proxy_pid()]
            found[f"{side} keeper"] = [node.process.pid]
        return found

    def logs(self):
        return "\n".join(node.process.log[-1000:] for node in self.nodes)


class LargeMesh(Mesh):
    """A mesh in which the services that are called are a few among very many."""

    def mesh_groups(self):
        groups = super().mesh_groups()
        names = [f"other-{number}" for number in range(SERVICE_COUNT)]
        groups["services"] += [
            {"name": name, "protocol": "http", "endpoints": [
                {"address": f"10.{100 + i}.{number // 250}.{number % 250 + 1}", "port": 8080}
                for i in range(ENDPOINT_COUNT)]}
            for number, name in enumerate(names)]
        groups["policies"] = [{"service": name, "action": "allow", "from": [CALLER], "methods": METHODS,
                               "paths": [PATH_PREFIX + "*"]} for name in names] + groups["policies"]
        return groups


class LargeRingmain(Ringmain):
    """The same with a thousand services of ten endpoints, and a thousand policies."""
    mesh_kind = LargeMesh

    def __init__(self, bench):
        super().__init__(bench, LARGE)


class RuledRingmain(Ringmain):
    """The same with so many rules about the service that is called, which have to do with other callers, paths, hosts
    and methods; the one that lets the caller in comes last."""

    def __init__(self, bench, name):
        super().__init__(bench, name)
        self.rule_count = RULES[name]

    def policies(self, service):
        return [self.other(service, number) for number in range(self.rule_count - 1)] + super().policies(service)

    @staticmethod
    def other(service, number):
        team, application = f"team-{number // 5 % 97}", f"app-{number // 5 % 1009}"
        rules = (
            {"action": "allow", "from": [f"{team}/{application}"], "paths": [f"/api/v1/thing-{number}/*", "/health"]},
            {"action": "allow", "from": [f"{team}/*"], "methods": ["GET"], "paths": [f"/api/v1/thing-{number}/{{id}}"]},
            {"action": "deny", "methods": ["DELETE"], "paths": [f"/{{tenant}}/thing-{number}"]},
            {"action": "allow", "from": ["*"], "hosts": [f"tenant-{number}.bench"], "paths": [PATH_PREFIX + "*"]},
            {"action": "deny", "from": [f"{team}/{application}"], "paths": [f"/admin/{number}/*"]},
        )
        return {"service": service.name, **rules[number % len(rules)]}
