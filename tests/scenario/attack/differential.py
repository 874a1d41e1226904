# SPDX-License-Identifier: Apache-2.0
"""What policy takes a request to be against what real servers take it to be.

Python, Go, Node and nginx stand behind one proxy, each three times, with the same things denied in three ways (STYLES). Each
server writes down how it reads what reaches it (backends/); whatever it reads in any of its ways as something that is
denied is a bypass. And it has to have got what the proxy's access log says, request by request, and no more.

    differential --count 100000 --seed 1      mutations, each sent to all four (RINGMAIN: the binary; default build/release)
    differential --count 0                    what corpus.py has written down
    differential --only go/narrow ...         one server in one style
"""
import argparse
import contextlib
import json
import os
import random
import re
import select
import socket
import ssl
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import corpus  # noqa: E402
from mesh import MESH_PORT, PYTHON, STRANGER_UID, WEB, ScenarioMesh, Service, at, go_program  # noqa: E402

PROGRAMS = HERE / "backends"
BACKENDS = ("python", "go", "node", "nginx")
SERVER = "vm-b"  # a caller on the same machine has one proxy between itself and the server, which then gets its very bytes
BURST = 64       # connections at a time
PATIENCE_S = 8   # for the answers on one

# --- what is denied --------------------------------------------------------------------------------------

ROLE = {"name": "x-role", "exact": "admin"}
ADMIN = ["/admin", "/admin/*"]
PUBLIC = ["/public", "/public/*"]
METHODS = ["GET", "HEAD", "POST"]
SITES = ["shop.example", "*.shop.example"]


def guarded(service):
    """All is allowed, and guards stand before what is not."""
    return [{"service": service, "action": "deny", "paths": ADMIN}, {"service": service, "action": "deny", "methods": ["DELETE"]},
            {"service": service, "action": "deny", "hosts": ["internal.example"]}, {"service": service, "action": "deny", "headers": [ROLE]},
            {"service": service, "action": "allow", "from": "web"}]


def narrow(service):
    """Only what is wanted is allowed."""
    return [{"service": service, "action": "allow", "from": "web", "paths": PUBLIC, "methods": METHODS, "hosts": SITES,
             "headers": [{**ROLE, "invert": True}]}]


def excepted(service):
    """All is allowed but what is not."""
    return [{"service": service, "action": "allow", "from": "web", "not_paths": ADMIN, "not_methods": ["DELETE"],
             "not_hosts": ["internal.example"], "headers": [{**ROLE, "invert": True}]}]


def site(host):
    """A host as the most careless server would compare it."""
    return re.sub(r":\d*$", "", host.strip().lower()).rstrip(".")


def below(path, places):
    return any(path == place or path.startswith(place + "/") for place in places)


def denied(view):
    """Why a server may have reached what is denied; None: in no reading of its own."""
    for path in [*view["paths"], *view.get("places", [])]:
        if below(path, ["/admin"]):
            return f"path {path}"
    if view["method"].strip().upper() == "DELETE":
        return "method DELETE"
    for host in view["hosts"]:
        if site(host) == "internal.example":
            return f"host {host}"
    for role in view["roles"]:
        if "admin" in (part.strip() for part in role.split(",")):
            return f"x-role {role}"
    return None


def outside(view):
    """The same for the narrow rule: what is none of what it allows."""
    for path in view["paths"]:
        if path and not below(path, ["/public"]):
            return f"path {path}"
    if view["method"] not in METHODS:
        return f"method {view['method']}"
    for host in view["hosts"]:
        if host and site(host) != "shop.example" and not site(host).endswith(".shop.example"):
            return f"host {host}"
    return denied(view)


STYLES = {"guarded": (guarded, denied), "narrow": (narrow, outside), "excepted": (excepted, denied)}
PAIRS = [(backend, style) for backend in BACKENDS for style in STYLES]


# --- the machines ----------------------------------------------------------------------------------------


def service_of(backend, style):
    number = PAIRS.index((backend, style))
    return Service(f"{backend}-{style}", 12100 + number, [SERVER], port=9100 + number)


class Field(ScenarioMesh):
    """The servers on one machine; web, who calls, there and on another one."""

    def __init__(self, pairs=None, **more):
        self.pairs = pairs or PAIRS
        services = {pair: service_of(*pair) for pair in self.pairs}
        policies = [rule for (_, style), service in services.items() for rule in STYLES[style][0](service.name)]
        super().__init__([at(WEB, "vm-a", SERVER), *services.values()], policies=policies, default_policy="deny", **more)
        for machine in self.lab:
            machine.sysctl(net__ipv4__tcp_tw_reuse=1, net__ipv4__ip_local_port_range="10000 65000", net__core__somaxconn=4096)
        self.ends = {pair: End(self, pair, service) for pair, service in services.items()}
        self.read_bytes = 0

    def serve_one(self, service, machine):
        directory = machine.dir / "workloads" / service.name
        directory.mkdir(parents=True, exist_ok=True)
        os.chown(directory, service.uid, service.uid)
        machine.serve(service.name, command_of(service, machine, directory), service.port, service.uid)

    def forwarded(self):
        """What the server's proxy has sent on since the last look, by service: what it took each request to be."""
        found, path = {}, self[SERVER].access_path
        with open(path, "rb") as file:
            file.seek(self.read_bytes)
            text = file.read()
        whole = text[:text.rindex(b"\n") + 1] if b"\n" in text else b""
        self.read_bytes += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            entry = json.loads(line)
            if entry["attempts"]:
                found.setdefault(entry["destination_service"], []).append(entry)
        return found


def command_of(service, machine, directory):
    backend, port, log = service.name.split("-")[0], str(service.port), directory / "views"
    if backend == "python":
        return [PYTHON, machine.program(PROGRAMS / "python_view.py"), port, log]
    if backend == "go":
        return [machine.program(go_program("go_view", PROGRAMS)), port, log]
    if backend == "node":
        return ["/usr/bin/node", machine.program(PROGRAMS / "node_view.js"), port, log]
    config = directory / "nginx.conf"
    text = (PROGRAMS / "nginx_view.conf").read_text()
    config.write_text(text.replace("PORT", port).replace("LOG", str(log)).replace("DIR", str(directory)))
    return ["/usr/sbin/nginx", "-e", "stderr", "-c", config]


class End:
    """One of the servers, with what it has seen."""

    def __init__(self, field, pair, service):
        self.field, self.name, self.service = field, "/".join(pair), service
        self.judge = STYLES[pair[1]][1]
        self.log = field.lab[SERVER].dir / "workloads" / service.name / "views"
        self.read_bytes = 0

    def views(self):
        """What it has seen since the last look."""
        if not self.log.exists():
            return []
        with open(self.log, "rb") as file:
            file.seek(self.read_bytes)
            text = file.read()
        whole = text[:text.rindex(b"\n") + 1] if b"\n" in text else b""
        self.read_bytes += len(whole)
        return [json.loads(line.decode("latin-1")) for line in whole.split(b"\n") if line]


# --- talking ---------------------------------------------------------------------------------------------


class Talk:
    """One connection: all of it is sent, then our side is closed, then all is read."""

    def __init__(self, index, sock, address, text):
        self.index, self.sock, self.out, self.got = index, sock, text, []
        self.end = time.monotonic() + PATIENCE_S
        self.hung = False
        sock.setblocking(False)
        sock.connect_ex(address)

    def turn(self, events):
        """Does what can be done; true when it is over."""
        try:
            if self.out and events & select.EPOLLOUT:
                self.out = self.out[self.sock.send(self.out):]
                if not self.out:
                    self.sock.shutdown(socket.SHUT_WR)
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                part = self.sock.recv(65536)
                self.got.append(part)
                return not part
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False


def talk(machine, uid, address, texts):
    """Sends each text on a connection of its own; gives the answers, None where there was no end to them."""
    replies, queue, running, spare = [None] * len(texts), list(enumerate(texts)), {}, []
    queue.reverse()
    with select.epoll() as poll:
        while queue or running:
            while queue and len(running) < BURST:
                spare = spare or machine.sockets(uid, socket.AF_INET, min(200, len(queue)))
                one = Talk(queue[-1][0], spare.pop(), address, queue.pop()[1])
                running[one.sock.fileno()] = one
                poll.register(one.sock, select.EPOLLIN | select.EPOLLOUT)
            over = [number for number, events in poll.poll(0.5) if running[number].turn(events)]
            for number, one in running.items():
                if not one.out:
                    poll.modify(number, select.EPOLLIN)
                if time.monotonic() > one.end and number not in over:
                    one.hung = True
                    over.append(number)
            for number in over:
                one = running.pop(number)
                replies[one.index] = None if one.hung else b"".join(one.got)
                poll.unregister(number)
                one.sock.close()
    for sock in spare:
        sock.close()
    return replies


def read_all(sock, incoming, secured):
    """What comes until the end, in clear."""
    got = []
    while part := sock.recv(65536):
        incoming.write(part)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while text := secured.read(65536):
                got.append(text)
    return b"".join(got)


def talk_secured(field, end, text):
    """The same straight to the mesh port, as somebody who has stolen web's key: the end of our side comes by TLS, too."""
    options = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.check_hostname, options.verify_mode = False, ssl.CERT_NONE
    options.set_alpn_protocols(["http/1.1"])
    options.load_cert_chain(field["vm-a"].certs / "web.crt", field["vm-a"].certs / "web.key")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = options.wrap_bio(incoming, outgoing, server_hostname=f"{end.service.port}.{end.service.name}.{field.trust_domain}")
    with field.lab["vm-a"].connect(STRANGER_UID, field.lab[SERVER].v4, MESH_PORT, timeout=PATIENCE_S) as sock, contextlib.suppress(ConnectionError):
        for step in (secured.do_handshake, lambda: secured.write(text), secured.unwrap):
            while True:
                try:
                    step()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    if step == secured.unwrap:
                        break  # sent; what is still to come is the answer
                    incoming.write(sock.recv(65536))
        sock.sendall(outgoing.read())
        try:
            return read_all(sock, incoming, secured)
        except TimeoutError:
            return None
    return b""


# --- comparing -------------------------------------------------------------------------------------------


class Findings:
    """What was counted, and what should not be."""

    def __init__(self):
        self.sent, self.seen, self.forwarded = Counter(), Counter(), Counter()
        self.statuses = {}
        self.bad = []

    def add(self, kind, end, why, detail="", text=b""):
        self.bad.append((kind, end.name, why, f"{detail}\n    {text[:1500]!r}"))

    def report(self):
        """The first of each kind, and how many there are."""
        kinds, firsts = Counter(), {}
        for kind, name, why, detail in self.bad:
            key = kind, name, why[:80]
            kinds[key] += 1
            firsts.setdefault(key, detail)
        return "\n".join(f"{kind}: {name}: {why} ({kinds[kind, name, why]} times) {firsts[kind, name, why][:2500]}"
                         for kind, name, why in firsts)

    def summary(self):
        for name in self.sent:
            statuses = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses[name].items()))
            yield f"{name}: {self.sent[name]} sent, {self.forwarded[name]} forwarded, {self.seen[name]} seen; {statuses}"


def expected(end, entry, view):
    """Whether what policy saw is what the server read: the same method, bytes of the target, and host."""
    return (entry["method"] == view["method"] and begins(view["target"], entry["path"])
            and any(begins(host, entry["authority"]) for host in view["hosts"]))


def begins(whole, logged):
    """The access log cuts what is long."""
    return whole == logged or (len(logged) > 200 and whole.startswith(logged.rstrip("….")))


def gather(field, end):
    """What the server has seen and what the proxy says it has sent, once both are complete."""
    views, entries, still = [], [], 0
    while still < 6:
        more_views, more_entries = end.views(), field.forwarded().get(end.service.name, [])
        views += more_views
        entries += more_entries
        still = 0 if more_views or more_entries else still + 1
        if still and matching(views, entries) and still > 1:
            break
        time.sleep(0.03)
    return views, entries


def refused(entry):
    """The server itself found it bad, or its end never came: it may have seen it or not."""
    return not 200 <= entry["response_code"] < 400


def matching(views, entries):
    return sum(not refused(e) for e in entries) == sum(not is_refusal(v) for v in views)


def is_refusal(view):
    return view.get("status", 200) >= 400  # nginx writes these down, too


def compare(field, end, texts, replies, findings):
    views, entries = gather(field, end)
    by_case = {b"c%dz" % index: text for index, text in enumerate(texts)}
    findings.sent[end.name] += len(texts)
    findings.seen[end.name] += len(views)
    findings.forwarded[end.name] += len(entries)
    for index, reply in enumerate(replies):
        inspect_reply(end, index, reply, texts[index], findings)
    for view in views:
        why = None if is_refusal(view) else end.judge(view)
        if why:
            findings.add("BYPASS", end, why, json.dumps(view), by_case.get((view["case"] or "").encode("latin-1"), b""))
    entries_by_id = {}
    for entry in entries:
        entries_by_id.setdefault(entry["request_id"], []).append(entry)
    for view in views:
        told = [e for e in entries_by_id.get(view["id"], []) if expected(end, e, view)]
        if told:
            entries_by_id[view["id"]].remove(told[0])
        elif not is_refusal(view):
            findings.add("SEEN AND NOT SENT SO", end, "", json.dumps(view), by_case.get((view["case"] or "").encode("latin-1"), b""))
    for entry in (e for rest in entries_by_id.values() for e in rest if not refused(e)):
        findings.add("SENT AND NOT SEEN", end, "", json.dumps(entry))


def inspect_reply(end, index, reply, text, findings):
    counts = findings.statuses.setdefault(end.name, Counter())
    if reply is None:
        findings.add("NO END", end, f"in {PATIENCE_S} s", text=text)
        return
    status = re.match(rb"HTTP/1\.1 (\d{3})", reply)
    counts[status[1].decode() if status else "none"] += 1
    for line in re.findall(rb"\r\nX-Case: ([^\r]*)", reply):
        if any(mark not in text for mark in re.findall(rb"c\d+z", line)):
            findings.add("ANSWER OF ANOTHER", end, "", f"case {index} got {line!r}", text)


def texts_of(drafts, rng):
    return [spoil_some(rng, draft.text(b"X-Case: c%dz" % index)) for index, draft in enumerate(drafts)]


def spoil_some(rng, text):
    return corpus.spoiled(rng, text) if rng and rng.random() < 0.12 else text


def run_drafts(field, end, drafts, rng, findings):
    """Of a hundred 2 with a stolen key, 23 through two proxies, the others from the server's own machine."""
    texts = texts_of(drafts, rng)
    address, stolen, far = (field.lab[SERVER].v4, end.service.port), len(texts) // 50, len(texts) // 4
    replies = [talk_secured(field, end, text) for text in texts[:stolen]]
    replies += talk(field.lab["vm-a"], WEB.uid, address, texts[stolen:far])
    replies += talk(field.lab[SERVER], WEB.uid, address, texts[far:])
    compare(field, end, texts, replies, findings)


ROUND = 700  # requests between two comparisons


def run(field, count, seed, findings, tell=lambda text: None, backends=BACKENDS):
    """What is written down if `count` is 0; so many mutations else, the same for each backend, its styles in turn."""
    rng = random.Random(seed)
    # once from each end, so that each comes from the server's own machine
    rounds = [corpus.CASES, corpus.CASES[::-1]] if count == 0 else [min(ROUND, count - i) for i in range(0, count, ROUND)]
    for number, some in enumerate(rounds):
        drafts = some if isinstance(some, list) else [corpus.mutated(rng) for _ in range(some)]
        for backend in backends:
            ends = [end for (name, _), end in field.ends.items() if name == backend]
            for end in ends if count == 0 else ends[number % len(ends):][:1] if ends else []:
                run_drafts(field, end, drafts, random.Random(seed + number) if count else None, findings)
                tell(f"{number + 1}/{len(rounds)} {end.name}: {findings.sent[end.name]} sent, {findings.forwarded[end.name]} forwarded, "
                     f"{len(findings.bad)} findings")


def main():
    parser = argparse.ArgumentParser(prog="differential", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", metavar="SERVER/STYLE")
    options = parser.parse_args()
    pairs = [tuple(name.split("/")) for name in options.only] if options.only else None
    findings, start = Findings(), time.monotonic()
    told = 0

    def tell(text):
        nonlocal told
        for kind, name, why, detail in findings.bad[told:told + 5]:
            print(f"  {kind}: {name}: {why} {detail[:1500]}")
        told = len(findings.bad)
        print(text, flush=True)
    with Field(pairs) as field:
        field.start()
        run(field, options.count, options.seed, findings, tell)
    print(*findings.summary(), findings.report(), sep="\n")
    print(f"{sum(findings.sent.values())} sent in {time.monotonic() - start:.0f} s, {len(findings.bad)} findings")
    sys.exit(1 if findings.bad else 0)


if __name__ == "__main__":
    main()
