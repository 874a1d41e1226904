# SPDX-License-Identifier: Apache-2.0
"""The demo behind conf/demo/run: two machines, seven plain programs, one mesh.

    vm-a: web and batch call others             vm-b: orders (Python), stock (Go), cache (Redis),
                                                       mail (speaks first); orders calls stock too;
                                                       quotes is on both, in two versions
    vm-r: the Redis of the mesh's state: an operator publishes services and policies there, the
          machines tell of their workloads and find each other's
    vm-ca: the mesh's authority, where vm-a and vm-b have joined with a token each; it gives them
          the certificates of their workloads, which last some seconds here, and renews them

With --standalone there is neither: services, endpoints and policies are in a file that both machines
have, and certificates were made by hand.

Shows who called whom, as which identity, encrypted or on the machine, how fast; what is refused;
what somebody on the wire would see; that certificates renew themselves while calls go on, and a new
version of a service takes over step by step, and one that fails goes back by itself; and that the mesh does without
Redis and authority for a while. Shares its machines and workloads with
the tests.
"""
import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / "build" / "release"
os.environ.setdefault("RINGMAIN_BUILD", str(RELEASE))
sys.path.insert(0, str(ROOT / "tests" / "scenario"))
import mesh as scenario  # noqa: E402
from ca import USER as CA_USER  # noqa: E402
from machines import LabError, sweep, wait_for  # noqa: E402
from mesh import CACHE, GUEST, MAIL, MESH_PORT, ORDERS, QUOTES, STOCK, STRANGER_UID, WEB, at, request_text  # noqa: E402

BATCH = at(GUEST, name="batch")
SERVICES = [WEB, BATCH, at(ORDERS, own=200), STOCK, CACHE, MAIL]
VERSIONED = at(QUOTES, "vm-b", "vm-a", own=201)  # with a store only: v1 on vm-b, v2 on vm-a
POLICIES = [
    {"name": "to-orders", "service": "orders", "action": "allow", "from": ["web"], "methods": ["GET", "POST"]},
    {"name": "to-stock", "service": "stock", "action": "allow", "from": ["web", "orders"]},
    {"name": "to-cache-and-mail", "service": ["cache", "mail"], "action": "allow", "from": ["web"]},
]
TO_QUOTES = {"name": "to-quotes", "service": "quotes", "action": "allow", "from": ["web"]}
STATUS_SECONDS = 15  # until all is well again
WITHOUT_REDIS_SECONDS = 4  # longer than a lease
LIFETIMES = {"leaf": "20s", "node": "60s"}  # so short that renewing can be watched
SECRET = "order-4711-for-alice"  # travels in every kind of call; must not be seen on the wire
TRUST_DOMAIN = "demo.ringmain"
V4, V6 = scenario.FAMILIES


def say(text=""):
    print(text, flush=True)


def build():
    """The release binary; only ninja when it was configured before."""
    if not (RELEASE / "build.ninja").exists():
        say("building ringmain (release) ...")
        steps = [["meson", "setup", str(RELEASE), "-Dbuildtype=release", "-Dtests=false",
                  "-Dwerror=false"]]  # another compiler than ours may warn of more
    else:
        steps = []
    for step in [*steps, ["ninja", "-C", str(RELEASE)]]:
        done = subprocess.run(step, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise LabError(f"{' '.join(step)} failed:\n{done.stdout[-4000:]}")
    return RELEASE / "src" / "daemon" / "ringmain"


class Quotes:
    """Web's calls to quotes, some at once, until they are stopped."""

    def __init__(self, mesh):
        self.mesh, self.count, self.failed = mesh, 0, 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.call, daemon=True) for _ in range(3)]

    def start(self):
        self.mesh.dial("web", self.mesh.own("quotes")).sock.close()  # who makes sockets outlives the threads
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self

    def call(self):
        while not self.over.wait(0.01):
            try:
                with self.mesh.dial("web", self.mesh.own("quotes")) as wire:
                    for _ in range(10):
                        self.failed += wire.send(request_text("GET /echo", "quotes")).reply().status != 200
                        self.count += 1
                        if self.over.wait(0.01):
                            break
            except (OSError, EOFError):
                self.failed += 1


class Demo:
    def __init__(self, mesh):
        self.mesh = mesh
        self.failures = []
        self.rows = []

    # --- calls ---------------------------------------------------------------------------------

    def url(self, service, family, path, own=False):
        host, port = self.mesh.own(service, family) if own else self.mesh.target(service, family)
        return f"http://{f'[{host}]' if family == V6 else host}:{port}{path}"

    def curl(self, service, family, path="/echo", method="GET", uid=WEB.uid, machine="vm-a", own=False):
        """Two requests on one connection; the status, and how long the second took in ms."""
        url = self.url(service, family, f"{path}?{SECRET}", own)
        done = self.mesh.lab[machine].run(
            ["curl", "-sS", "-g", "-m", "5", "-X", method, "-o", "/dev/null", "-o", "/dev/null",
             "-w", "%{http_code} %{time_total}\n", url, url], uid=uid, check=False)
        lines = done.stdout.split("\n")
        status, seconds = lines[1 if len(lines) > 2 else 0].split()
        return status if status != "000" else "no connection", float(seconds) * 1000

    def redis(self, family, uid=WEB.uid):
        host, port = self.mesh.target("cache", family)
        done = self.mesh.lab["vm-a"].run(["redis-cli", "-h", host, "-p", port, "set", "order", SECRET], uid=uid,
                                         check=False)
        return "OK" if done.stdout.strip() == "OK" else "no connection", 0  # mostly redis-cli's own start

    def mail(self, family):
        with self.mesh.dial("web", "mail", family) as wire:
            wire.until(b"\r\n")
            start = time.monotonic()
            wire.send(f"HELO {SECRET}\r\n").until(b"\r\n")
            return "250", (time.monotonic() - start) * 1000

    def plain(self, uid, machine, host, port):
        """A plain request past the mesh: its status, or that it was refused."""
        try:
            with self.mesh.dial(uid, (host, port), machine=machine, timeout=5) as wire:
                wire.send(request_text("GET /past-the-mesh", "orders"))
                return str(wire.reply().status), 0
        except (OSError, EOFError):
            return "no connection", 0

    # --- the table -----------------------------------------------------------------------------

    def row(self, caller, called, how, expected, call):
        before = {node.name: len(node.access()) for node in self.mesh}
        try:
            answer, took = call()
        except (LabError, OSError, EOFError) as error:
            answer, took = str(error).splitlines()[0][:40], 0
        ok = answer == expected
        if not ok:
            self.failures.append(f"{caller} to {called} ({how}): {answer}, not {expected}")
        line = self.access_after(before)
        self.rows.append((caller, called, how, answer, self.identity(line), self.way(line),
                          f"{took:.1f} ms" if took and ok else "", "" if ok else "UNEXPECTED"))

    def access_after(self, before):
        """The last line that the callee's machine wrote about the call, or else the caller's."""
        end = time.monotonic() + 1
        while time.monotonic() < end:
            lines = {node.name: node.access()[before[node.name]:] for node in self.mesh}
            for name in ("vm-b", "vm-a"):
                if lines[name] and (name == "vm-b" or time.monotonic() > end - 0.5):
                    return lines[name][-1]
            time.sleep(0.02)
        return {}

    @staticmethod
    def identity(line):
        return (line.get("source_identity") or "none").removeprefix(f"spiffe://{TRUST_DOMAIN}/")

    @staticmethod
    def way(line):
        refused = line.get("response_code_details") or "NONE"
        if refused != "NONE" and refused.isupper():
            return refused
        return {"mutual_tls": "mutual TLS", "local": "on the machine"}.get(line.get("security"), "plain text")

    def table(self, title, heads):
        """What has no heading stands at the end of a row and is seldom there."""
        rows = [heads, *([cell or "-" for cell in row[:len(heads)]] for row in self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
        rows.insert(1, ["-" * width for width in widths])
        say(f"\n{title}\n")
        for row, notes in zip(rows, ["", "", *(row[-1] for row in self.rows)]):
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            say(("  " + "  ".join([*cells, notes])).rstrip())
        self.rows = []

    def allowed(self):
        for family, name in ((V4, "IPv4"), (V6, "IPv6")):
            self.row("web", "orders", f"curl, {name}", "200", lambda: self.curl("orders", family))
            self.row("web", "orders", f"curl, its own {name}", "200", lambda: self.curl("orders", family, own=True))
            self.row("web", "stock", f"curl, {name}", "200", lambda: self.curl("stock", family))
            self.row("web", "cache", f"redis-cli, {name}", "OK", lambda: self.redis(family))
            self.row("web", "mail", f"socket, {name}", "250", lambda: self.mail(family))
        self.row("orders", "stock", "curl, same machine", "200",
                 lambda: self.curl("stock", V4, uid=ORDERS.uid, machine="vm-b"))
        self.table("What the policies allow:",
                   ("caller", "called", "by", "answer", "identity", "carried by", "took"))

    def refused(self):
        b = self.mesh.lab["vm-b"]
        self.row("batch", "orders", "curl", "403", lambda: self.curl("orders", V4, uid=BATCH.uid))
        self.row("web", "orders", "curl -X DELETE", "403", lambda: self.curl("orders", V4, method="DELETE"))
        self.row("batch", "cache", "redis-cli", "no connection", lambda: self.redis(V4, BATCH.uid))
        self.row("a stranger", "orders", "on its machine", "no connection",
                 lambda: self.plain(STRANGER_UID, "vm-b", b.v4, ORDERS.port))
        self.row("a stranger", "orders", "plain, from vm-a", "no connection",
                 lambda: self.plain(STRANGER_UID, "vm-a", b.v4, ORDERS.port))
        self.row("a stranger", "the mesh port", "without a certificate", "no connection",
                 lambda: self.plain(STRANGER_UID, "vm-a", b.v6, MESH_PORT))
        self.table("What is refused:", ("caller", "called", "by", "answer", "identity", "why"))
        words = ("--from", "batch", "--to", "orders", "--method", "GET", "--path", "/hello")
        done = self.mesh["vm-b"].ringmain("authz", "check", *words, check=False)
        say("\nWhich rule says so, asked on vm-b: ringmain authz check " + " ".join(words) + "\n\n"
            + "".join(f"  {line}\n" for line in done.stdout.splitlines()).rstrip())
        if done.returncode != 1:
            self.failures.append("authz check does not refuse batch")

    # --- the wire ------------------------------------------------------------------------------

    def wire(self, path):
        # what goes to Redis and to the authority meanwhile is another wire
        ours = {address for name in ("vm-a", "vm-b") for address in (self.mesh.lab[name].v4, self.mesh.lab[name].v6)}
        streams = {key: stream for key, stream in scenario.capture_streams(path).items()
                   if stream and {key[0], key[2]} <= ours}
        connections = {frozenset([key[:2], key[2:]]) for key in streams}
        versions, foreign = set(), 0
        for (_, source_port, _, port), stream in streams.items():
            if MESH_PORT not in (source_port, port):
                foreign += 1
                continue
            with contextlib.suppress(ValueError):
                records = scenario.tls_records(stream)
                if source_port == MESH_PORT and records and records[0][0] == 22:
                    versions.add(scenario.server_hello_version(records[0][1]))
        raw = path.read_bytes()
        seen = SECRET.encode() in raw
        say(f"\nWhat the wire between the machines carried: {len(connections)} connections, "
            f"{'NOT all' if foreign else 'all'} to port {MESH_PORT},")
        say(f"{'all' if versions == {0x0304} else 'NOT all'} TLS 1.3. The text \"{SECRET}\", which was in "
            f"every call, {'CAN BE READ' if seen else 'cannot be read'} there.")
        if foreign or seen or versions != {0x0304}:
            self.failures.append("the wire carried something other than TLS 1.3")

    # --- the store -----------------------------------------------------------------------------

    def together(self):
        """All machines have what was published, and know each other's endpoints."""
        views = [self.state(name) for name in ("vm-a", "vm-b")]
        return (all(v["connected"] and v["revision"] == v["store_revision"] > 0 and not v["why"] for v in views)
                and len({v["endpoints"] for v in views}) == 1 and views[0]["endpoints"] > 0
                and self.mesh["vm-a"].ringmain("status", "--mesh", check=False).returncode == 0)

    def published(self):
        wait_for(self.together, "the machines to have what was published", 20)
        say("\nWhat alice, an operator, has published, and what the machines tell of themselves:\n")
        for words in (["history"], ["get"]):
            done = self.mesh.operate(*words)
            say("".join(f"  {line}\n" for line in done.stdout.splitlines()))
        done = self.mesh["vm-a"].ringmain("status", "--mesh", check=False)
        say("".join(f"  {line}\n" for line in done.stdout.splitlines()).rstrip())
        if done.returncode != 0:
            self.failures.append(f"ringmain status --mesh: exit status {done.returncode}: {done.stderr.strip()}")

    def state(self, node="vm-a"):
        return json.loads(self.mesh[node].admin_get("/status")[1])["state"]

    # --- certificates --------------------------------------------------------------------------

    def certificates(self, node="vm-b"):
        rows = json.loads(self.mesh[node].admin_get("/certs")[1])["certificates"]
        return {row["identity"]: row for row in rows}

    def calls_until(self, test):
        """Web calls others until test(): how many calls, and which of them failed."""
        failed, count = [], 0
        calls = [lambda: self.curl("orders", V4, own=True)[0] == "200", lambda: self.curl("stock", V6)[0] == "200",
                 lambda: self.redis(V4)[0] == "OK", lambda: self.mail(V4)[0] == "250",
                 lambda: self.curl("orders", V4, uid=BATCH.uid)[0] == "403"]
        while not test():
            try:
                if not calls[count % len(calls)]():
                    failed.append(count)
            except (LabError, OSError, EOFError):
                failed.append(count)
            count += 1
        return count, failed

    def rotation(self):
        """Every certificate of vm-b is replaced while web calls on."""
        def told():
            rows = {name: row for name, row in self.certificates().items() if name.startswith("service/")}
            return rows if rows and all(row["serial"] for row in rows.values()) else None
        before = wait_for(told, "vm-b to say which certificates are in force")  # a moment after they are
        end = time.monotonic() + 60

        def replaced():
            now = self.certificates()
            return time.monotonic() > end or all(now[name]["serial"] != row["serial"] for name, row in before.items())
        count, failed = self.calls_until(replaced)
        done = self.mesh["vm-b"].ringmain("certs", check=False)
        say(f"\nvm-a and vm-b joined the authority of vm-ca with a token each. Certificates last {LIFETIMES['leaf']} here (1h\n"
            f"unless said otherwise) and are renewed at half of it, with a new key each time. While web made {count} calls,\n"
            f"{len(failed) or 'none'} of which failed, all of vm-b's were replaced:\n")
        after = self.certificates()
        for name in sorted(before):
            say(f"  {name:16} {before[name]['serial'][:12]}...  ->  {after[name]['serial'][:12]}...")
        say("\nvm-b, ringmain certs:\n\n" + "".join(f"  {line}\n" for line in done.stdout.splitlines()).rstrip())
        if failed or not replaced() or time.monotonic() > end or done.returncode != 0:
            self.failures.append(f"{len(failed)} of {count} calls failed while certificates were renewed; ringmain certs: "
                                 f"exit status {done.returncode}")

    # --- a new version -------------------------------------------------------------------------

    def rollout(self):
        """How far that of quotes is, as operators see it."""
        return json.loads(self.mesh.operate("rollout", "status", "quotes", "-o", "json").stdout)["rollouts"][0]

    def rollout_start(self, version):
        """Web calls all the while."""
        calls = Quotes(self.mesh).start()
        self.mesh.operate("rollout", "start", "quotes", "--to", version, "--steps", "10,50,100", "--every", "2s",
                          "--calls-min", "20", "--why", f"{version} of quotes")
        return calls

    def rollout_end(self, calls, version, state):
        """Until it is over: what vm-a's log says of it."""
        try:
            wait_for(lambda: self.rollout()["state"] == state, f"the rollout of {version} to be {state}", 45)
        except LabError as error:
            self.failures.append(f"{error}: {json.dumps(self.rollout())}")
        time.sleep(0.3)  # some calls more
        calls.stop()
        mark = "rollout of quotes: "
        lines = [line.split(mark, 1)[1] for line in self.mesh["vm-a"].process.log.splitlines() if mark in line]
        return [line for line in lines if line.startswith(f"{version} ") or line.startswith(state)]

    def good_version(self, calls):
        lines = self.rollout_end(calls, "v2", "done")
        say(f"\nMeanwhile v2 of quotes, on vm-a, took over from v1, on vm-b: 10 % of the calls, 50 %, then all, each step for 2 s\n"
            f"at least and judged by what callers see. Of {calls.count} calls that web made {calls.failed or 'none'} failed:\n")
        say("\n".join(f"  {line}" for line in lines))
        if calls.failed:
            self.failures.append(f"{calls.failed} of {calls.count} calls to quotes failed while v2 took over")

    def bad_version(self):
        """v3 comes to vm-b, and every third call to it fails."""
        b = self.mesh["vm-b"]
        b.more = {"quotes": {"version": "v3"}}
        b.write_config()
        b.reload()
        key = f"ringmain:{{{TRUST_DOMAIN}}}:node:vm-b"
        wait_for(lambda: b"quotes v3 up" in (self.mesh.redis.ask("GET", key) or b""), "v3 of quotes to be known", 10)
        (b.machine.dir / "workloads" / "quotes.record.mode").write_text("cycle 200 200 500")
        start = time.monotonic()
        calls = self.rollout_start("v3")
        lines = self.rollout_end(calls, "v3", "rolled-back")
        say(f"\nThen v3 came to vm-b, which answers every third call with 500. {time.monotonic() - start:.1f} s after it was begun in the same way\n"
            f"all calls were with v2 again; of {calls.count} calls {calls.failed} had failed:\n")
        say("\n".join(f"  {line}" for line in lines))
        done = self.mesh.operate("rollout", "list", check=False)
        say("\nringmain rollout list:\n\n" + "".join(f"  {line}\n" for line in done.stdout.splitlines()).rstrip())

    def without_redis(self):
        """Redis and the authority die while web calls on and on."""
        mesh = self.mesh
        mesh.redis.save("now")
        mesh.redis.kill()
        mesh.authority.kill()
        end = time.monotonic() + WITHOUT_REDIS_SECONDS
        count, failed = self.calls_until(lambda: time.monotonic() > end)
        state = self.state()
        say(f"\nThen Redis and the authority were killed. For {WITHOUT_REDIS_SECONDS} s, longer than a lease, web went on calling: {count} calls, "
            f"{len(failed) or 'none'} failed.\nWhat vm-a knew was {state['age_s']} s old by then.", )
        if failed or state["connected"]:
            self.failures.append(f"{len(failed)} of {count} calls failed without Redis and authority")
        mesh.authority.start()
        mesh.redis.start()
        start = time.monotonic()
        wait_for(lambda: all(self.state(name)["connected"] and not self.state(name)["why"] for name in ("vm-a", "vm-b")),
                 "the machines to find Redis again", 30)
        say(f"Both came back, and within {time.monotonic() - start:.1f} s the machines were there again.")

    def show(self):
        if self.mesh.redis:
            self.published()
        with self.mesh.capture("vm-a") as path:
            self.allowed()
        self.wire(path)
        self.refused()
        calls = self.rollout_start("v2") if self.mesh.redis else None
        if self.mesh.authority:
            self.rotation()
        if self.mesh.redis:
            self.good_version(calls)
            self.bad_version()
            self.without_redis()
        b = self.mesh["vm-b"]
        # what failed without the authority is tried again soon after it is back
        end = time.monotonic() + STATUS_SECONDS
        while (done := b.ringmain("status", check=False)).returncode != 0 and time.monotonic() < end:
            time.sleep(0.5)
        if done.returncode != 0:
            self.failures.append(f"ringmain status: exit status {done.returncode}: {(done.stdout + done.stderr).strip()}")


def look_around(mesh):
    say("\nEverything is up until Ctrl-C. To look around, in another terminal:\n")
    for node in mesh:
        say(f"  ip netns exec {node.machine.namespace} {mesh.binary} status -c {node.config}")
    a, b = mesh["vm-a"], mesh["vm-b"]
    host, port = mesh.target("orders")
    enter = f"ip netns exec {a.machine.namespace}"
    say(f"  ip netns exec {b.machine.namespace} {mesh.binary} redirect show -c {b.config}")
    say(f"  {enter} setpriv --reuid {WEB.uid} --regid {WEB.uid} --clear-groups curl -i http://{host}:{port}/echo")
    say(f"  {enter} setpriv --reuid {BATCH.uid} --regid {BATCH.uid} --clear-groups curl -i http://{host}:{port}/echo")
    say(f"  curl -s --unix-socket {b.admin_socket} http://localhost/metrics | grep istio_requests_total")
    say(f"  tail -f {b.access_path}")
    say(f"  cat {a.config} {mesh.mesh_file}")
    if mesh.authority:
        authority = mesh.authority
        run_ca = (f"ip netns exec {authority.machine.namespace} setpriv --reuid {CA_USER} --regid {CA_USER} --clear-groups "
                  f"{authority.binary} ca")
        say(f"  ip netns exec {b.machine.namespace} {mesh.binary} certs -c {b.config}")
        say(f"  {run_ca} list --dir {authority.dir}")
        say(f"  {run_ca} rotate --dir {authority.dir} publish --root      # then: activate, retire")
        say(f"  {run_ca} revoke --dir {authority.dir} --identity web")
    if mesh.redis:
        operator = f"ip netns exec {mesh.redis.machine.namespace} {mesh.binary}"
        say(f"  {operator} history -c {mesh.operator_config()}")
        say(f"  {operator} apply -f {mesh.mesh_file} -c {mesh.operator_config()}      # after a change to it")
        say(f"  {operator} rollout status quotes -c {mesh.operator_config()}")
        say(f"  redis-cli -s {mesh.redis.socket} --user lab --pass {mesh.redis.users.LAB[1]}")
        say(f"  ip netns exec {b.machine.namespace} {mesh.binary} drain orders -c {b.config}")


def ended(number, _frame):
    raise SystemExit(128 + number)


def main():
    parser = argparse.ArgumentParser(prog="conf/demo/run")
    parser.add_argument("--once", action="store_true", help="check everything and end")
    parser.add_argument("--standalone", action="store_true", help="without Redis: all that is known is in files")
    options = parser.parse_args()
    once = options.once
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)  # so that everything is taken down
    for lab in sweep():
        say(f"removed what an earlier run ({lab}) left behind")
    try:
        binary = build()
        say(f"starting two machines, their workloads, {'certificates' if options.standalone else 'Redis, the authority'}, ringmain ...")
        services, policies = (SERVICES, POLICIES) if options.standalone else ([*SERVICES, VERSIONED], [*POLICIES, TO_QUOTES])
        with scenario.ScenarioMesh(services, binary=binary, policies=policies, default_policy="deny",
                                   trust_domain=TRUST_DOMAIN, stores=() if options.standalone else ("vm-r",),
                                   ca=None if options.standalone else "vm-ca", lifetimes=LIFETIMES) as mesh:
            for name, version in (("vm-a", "v2"), ("vm-b", "v1")):
                mesh[name].more = {"quotes": {"version": version}}
            mesh.start()
            demo = Demo(mesh)
            demo.show()
            if demo.failures:
                say()
                for failure in demo.failures:
                    say(f"failed: {failure}")
                for title, text in mesh.report():
                    say(f"--- {title}\n{text}")
            else:
                say("\nAll as it should be.")
            if not once:
                look_around(mesh)
                signal.pause()
            return 1 if demo.failures else 0
    except KeyboardInterrupt:
        say("\ntaken down")
        return 0
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


sys.exit(main())
