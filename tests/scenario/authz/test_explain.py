# SPDX-License-Identifier: Apache-2.0
"""`ringmain authz`: who may do what, by which rule, and what became of a request, asked on both machines of a
call. Each answer about a request is held against what such a request gets."""
import json
import shlex

import pytest
from machines import wait_for
from mesh import ECHO, GUEST, ORDERS, STOCK, WEB, ScenarioMesh, at
from nodes import config_file_text

RULES = [
    {"name": "web-reads", "service": "orders", "action": "allow", "from": ["web"], "methods": ["GET"]},
    {"name": "guest-sees-a", "service": "orders", "action": "allow", "from": ["guest"], "paths": ["/echo/a/*"],
     "headers": [{"name": "x-team", "exact": "blue"}]},
    {"name": "no-admin", "service": "orders", "action": "deny", "paths": ["/echo/admin/*"]},
    {"name": "trial", "service": "orders", "action": "deny", "mode": "audit", "from": ["web"], "paths": ["/echo/old"]},
    {"name": "seen", "service": "orders", "action": "audit", "from": ["*"], "paths": ["/echo/seen"]},
    {"name": "echo-for-web", "service": "echo", "action": "allow", "from": ["web"]},
]
SPOILED = {"name": "none-any-more", "service": "orders", "action": "deny", "from": ["web"]}


class PolicedMesh(ScenarioMesh):
    def rules(self, rules):
        """These are the rules from now on, on all machines."""
        self.policies = list(rules)
        self.mesh_file.write_text(config_file_text(self.mesh_groups()))
        before = {node.name: node.status()["generation"] for node in self}
        for node in self:
            node.reload()
        for node in self:
            wait_for(lambda: node.status()["generation"] > before[node.name], f"a new generation on {node.name}")

    def authz(self, node, line, status=None):
        done = self[node].ringmain("authz", *shlex.split(line), check=False)
        assert status is None or done.returncode == status, done
        return done

    def authz_json(self, node, line):
        done = self.authz(node, line + " -o json")
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def mesh():
    services = [WEB, GUEST, at(ORDERS, "vm-b"), at(STOCK, "vm-b", mtls="permissive"), at(ECHO, "vm-b")]
    with PolicedMesh(services, policies=RULES, workers=2) as mesh:
        yield mesh.start()


CALLS = {  # caller, request, further headers; who decides
    "by the allow rule": ("web", "GET /echo/x", [], "web-reads"),
    "another method": ("web", "DELETE /echo/x", [], "default"),
    "a guard": ("web", "GET /echo/admin/x", [], "no-admin"),
    "as the path is sent on": ("web", "GET /echo/x/..//admin/y", [], "no-admin"),
    "with a query": ("guest", "GET /echo/a/x?y=z", ["X-Team: blue"], "guest-sees-a"),
    "without the header": ("guest", "GET /echo/a/x", [], "default"),
    "another value": ("guest", "GET /echo/a/x", ["X-Team: red"], "default"),
    "one of two values": ("guest", "GET /echo/a/x", ["X-Team: blue", "X-Team: red"], "default"),
    "on trial": ("web", "GET /echo/old", [], "web-reads"),
}


def asked(caller, line, headers):
    method, path = line.split(" ")
    words = ["--from", caller, "--to", "orders", "--method", method, "--path", path]
    return shlex.join(["check", *words, *(w for h in headers for w in ("-H", h))])


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("node", ["vm-a", "vm-b"])
def test_what_is_said_is_what_is_done(mesh, node, what):
    caller, line, headers, policy = CALLS[what]
    exit_status, said = mesh.authz_json(node, asked(caller, line, headers))
    reply = mesh.call(caller, "orders", line, headers)
    assert reply.status == (200 if said["allowed"] else 403), (said, reply)
    assert exit_status == (0 if said["allowed"] else 1)
    assert said["policy"] == policy and said["from"].endswith(f"/service/{caller}")
    written = next((rule for rule in said["rules"] if rule["name"] == policy), None)
    assert said["where"] == (written["where"] if written else "mesh.default_policy")
    assert said["here"] == (node == "vm-b")


def test_check_reads_well(mesh):
    text = mesh.authz("vm-a", "check --from web --to orders --path /echo/x/../old", 0).stdout
    assert "GET /echo/old of orders (host orders), port 8080\n" in text
    assert "the path was /echo/x/../old" in text
    where = mesh.authz_json("vm-b", "check --from web --to orders")[1]["where"]
    assert where.startswith("mesh.conf:") or "/mesh.conf:" in where
    assert f"\nallowed by web-reads ({where})\n" in text
    assert "‼ it would be refused by trial (" in text and "that is on trial" in text
    assert "the service has no workload here: its own machines decide" in text
    rows = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line and line[0].isalpha()}
    assert "allow decides" in rows["web-reads"]
    assert "wants from guest; it is spiffe://" in rows["guest-sees-a"]
    assert "wants paths /echo/admin/*; it is /echo/old" in rows["no-admin"]
    assert 'deny, on trial matches, but is on trial (mode = "audit")' in rows["trial"]
    text = mesh.authz("vm-b", "check --from guest --to orders --method PUT", 1).stdout
    assert "× refused by default (mesh.default_policy)" in text and "but an allow rule names the service" in text
    assert "no workload here" not in text


def test_check_says_what_is_refused_before_any_rule(mesh):
    for path in ("/echo%2fadmin", "/echo/..;x/y", "/../x", "/echo/%zz", "*"):
        done = mesh.authz("vm-b", f"check --from web --to orders --path '{path}'", 1)
        assert "× refused with 400, whatever the rules say" in done.stdout, done
        assert mesh.call("web", "orders", f"GET {path}").status == 400
    text = mesh.authz("vm-b", "check --from anonymous --to orders", 1).stdout
    assert 'mtls = "strict", and it comes in plain text' in text
    text = mesh.authz("vm-b", "check --from anonymous --to stock", 1).stdout
    assert "mtls" not in text and "which lets in nobody without an identity" in text
    text = mesh.authz("vm-b", "check --from web --to orders --tcp", 1).stdout
    assert "these are opaque bytes, and " in text and "asks for what only HTTP has" in text
    assert mesh.authz_json("vm-b", "check --from web --to echo --tcp")[1]["policy"] == "echo-for-web"


WRONG = {
    "": "check, why",
    "chek": 'not "chek"',
    "check --from web": "--to is missing: which service?",
    "check --to orders": "--from is missing: who calls?",
    "check --from web --to orders --tcp --path /": "opaque bytes have no",
    "check --from web --to nobody": 'no service "nobody" is known here',
    "check --from 'web/*' --to orders": "many callers",
    "check --from 10.0.0.0/8 --to orders": "which address of",
    "check --from web --to orders --port 99999": "1 to 65535",
    "check --from web --to orders --client nowhere": "an address",
    "check --from web --to orders --claim x": "no claim",
    "check --from web --to orders -H x": "is no header",
    "check --from web --to orders -H x_team:blue": '"x_team" is no name that a proxy would let through',
    "check --from web --to orders -H 'Connection: x-team'": "is the proxies' own, and no rule sees it",
    "check --from web --to orders -H Host:a": "give the host as host",
    "check --from web --to orders --method get": '"get" is none that a proxy would let through',
    "check --from web --to orders --method CONNECT": "is none that a proxy would let through",
    "check --from web --to orders --method GET --method PUT": "--method is there twice",
    "check --from web --from guest --to orders": "--from is there twice",
    "check --from '' --to orders": "--from: nothing stands behind it",
    "check --from web --to ordes": 'no service "ordes" is known here; did you mean "orders"?',
    "list ''": "the service is empty",
    "why ''": "the id is empty",
    "check --from web --to orders --socket /nowhere": "there is no admin socket at /nowhere",
    "why": "which request?",
    "list --from web": "--from is not for this command",
    "list orders echo": 'an argument too many, "echo"',
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_questions(mesh, line):
    done = mesh.authz("vm-a", line, 2)
    assert WRONG[line] in done.stderr and done.stdout == "", done


@pytest.mark.parametrize("line", ["--help", "check --help", "why -h", "list --help"])
def test_help(mesh, line):
    done = mesh.authz("vm-a", line, 0)
    assert "usage: ringmain authz check --from CALLER" in done.stdout and done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_caller_that_is_misspelt_is_told(mesh):
    text = mesh.authz("vm-b", "check --from wbe --to orders", 1).stdout
    assert '‼ no service "wbe" is known here: judged as the identity of that name; did you mean "web"?\n' in text


@pytest.mark.parametrize("method", ["get", "TRACE", "CONNECT", "FOO"])
def test_methods_that_are_no_question_are_no_request(mesh, method):
    assert mesh.call("web", "orders", f"{method} /echo/x").status in (400, 405, 501)


def test_list_has_the_rules_as_they_count(mesh):
    listed = mesh.authz_json("vm-b", "list orders")[1]
    assert [(r["from"], r["name"]) for r in listed["rules"]] == [
        (None, "no-admin"), ("guest", "guest-sees-a"), ("web", "trial"), ("web", "web-reads"), ("*", "seen")]
    assert listed["default"] == "deny" and listed["mtls"] == "strict" and listed["here"]
    text = mesh.authz("vm-a", "list orders", 0).stdout
    lines = text.splitlines()
    assert lines[0] == "orders, mtls strict, no workload here"
    assert lines[2].split() == ["FROM", "ACTION", "WHEN", "RULE", "WHERE"]
    assert lines[3].split()[:5] == ["everybody", "deny", "paths", "/echo/admin/*", "no-admin"]
    assert lines[4].split()[:5] == ["guest", "allow", "paths", "/echo/a/*", "guest-sees-a"]
    assert lines[5].split() == ["and", "header", "x-team", "exact", '"blue"']
    assert lines[-1].split() == ["whoever", "is", "left", "refused", *"(mesh.default_policy is".split(), '"authenticated",',
                                 *"but allow rules name the service)".split()]
    services = {s["service"]: s for s in mesh.authz_json("vm-a", "list")[1]["services"]}
    assert {n: services["orders"][n] for n in ("allow", "deny", "audit", "on_trial")} == {
        "allow": 2, "deny": 2, "audit": 1, "on_trial": 1}
    assert services["stock"]["mtls"] == "permissive" and services["stock"]["allow"] == 0
    assert "orders" in mesh.authz("vm-a", "list", 0).stdout
    assert mesh.authz("vm-a", "list nobody", 1).stderr == \
        'ringmain authz list: the proxy answers 404: no service "nobody" is known here\n'


def test_why_a_request_was_refused(mesh):
    header = "X-Request-Id: a request of the test"
    assert mesh.call("guest", "orders", "PUT /echo/x?secret=1", [header]).status == 403
    word = "'a request of the test'"
    there = mesh.authz("vm-b", f"why {word}", 0).stdout
    assert "PUT /echo/x of orders (host orders), port 8080\n" in there and "secret" not in there
    assert "/service/guest at " in there
    assert "× refused by default (mesh.default_policy)\n" in there and "POLICY_DENIED" in there
    here = mesh.authz("vm-a", f"why {word}", 0).stdout
    assert f"sent to the machine at {mesh.lab['vm-b'].v4}:" in here
    assert "which decides" in here and "answered 403" in here
    said = mesh.authz_json("vm-b", f"why {word}")[1]["decisions"]
    assert len(said) == 1 and said[0]["refused"] and said[0]["here"] and not said[0]["is_old"]


def test_why_a_request_was_let_in(mesh):
    for line, more in (("GET /echo/x", "allowed by web-reads ("), ("GET /echo/old", "it would have been refused by trial ("),
                       ("GET /echo/seen", "noted by seen (")):
        reply = mesh.call("web", "orders", line, [f"X-Request-Id: let-in{line.replace(' ', '')}"])
        assert reply.status == 200
        assert more in mesh.authz("vm-b", f"why let-in{line.replace(' ', '')}", 0).stdout
    assert "sent to the machine at" in mesh.authz("vm-a", "why let-inGET/echo/x", 0).stdout


def test_why_of_opaque_bytes(mesh):
    assert mesh.turned_away("guest", "echo")
    line = mesh.access_line("vm-b", destination_service="echo", response_code_details="POLICY_DENIED")
    text = mesh.authz("vm-b", f"why {line['conn_id']}", 0).stdout
    assert "opaque bytes to echo, port 7000\n" in text and "× refused by default (" in text


def test_why_of_nothing_that_is_known(mesh):
    text = mesh.authz("vm-b", "why nothing", 1).stdout
    assert 'nothing is known here of "nothing"' in text and "what was refused or told is known since 20" in text
    assert "grep 'nothing'" in text
    assert mesh.authz_json("vm-b", "why nothing")[1]["decisions"] == []


def test_why_tells_what_it_would_be_now(mesh):
    assert mesh.call("web", "orders", "GET /echo/x", ["X-Request-Id: before"]).status == 200
    assert mesh.call("guest", "orders", "GET /echo/b", ["X-Request-Id: was-refused"]).status == 403
    mesh.rules([*RULES, SPOILED])
    try:
        text = mesh.authz("vm-b", "why before", 0).stdout
        assert "allowed by web-reads (" in text and "Now it would be:\n" in text
        assert "× refused by none-any-more (" in text.split("Now it would be:")[1]
        assert mesh.authz_json("vm-b", "why before")[1]["decisions"][0]["now"]["allowed"] is False
        assert "its headers and token were not kept" in text
    finally:
        mesh.rules(RULES)
    text = mesh.authz("vm-b", "why was-refused", 0).stdout
    assert "× refused by default (" in text.split("Now it would be:")[1]


def test_a_policy_is_tried_before_it_is_applied(mesh, tmp_path):
    """--offline, with the files of a machine that were changed and not read again."""
    conf = mesh["vm-b"].config
    before = mesh.mesh_file.read_text()
    groups = mesh.mesh_groups()
    mesh.mesh_file.write_text(config_file_text({**groups, "policies": [*RULES, SPOILED]}))
    try:
        done = mesh.authz("vm-b", f"check --from web --to orders --offline -c {conf}", 1)
        assert "× refused by none-any-more (" in done.stdout, done
        assert mesh.authz("vm-b", "check --from web --to orders", 0).stdout.count("none-any-more") == 0
        text = mesh.authz("vm-b", f"list orders --offline -c {conf}", 0).stdout
        assert "‼ web-reads never decides about web, whom another rule refuses" in text
        mesh.mesh_file.write_text("nonsense")
        done = mesh.authz("vm-b", f"check --from web --to orders --offline -c {conf}", 2)
        assert done.stdout == "" and "mesh.conf:1" in done.stderr
    finally:
        mesh.mesh_file.write_text(before)
