# SPDX-License-Identifier: Apache-2.0
"""The command line as an operator meets it: help, wrong words, broken files."""
import subprocess

import pytest
from mesh import BINARY

COMMANDS = ["run", "check", "status", "certs", "routes", "authz", "limits", "drain", "apply", "get", "diff", "delete", "history", "rollback",
            "operator", "redirect", "ca"]


def call(*words):
    return subprocess.run([BINARY, *words], text=True, capture_output=True, timeout=20)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = call(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"usage: ringmain {command}" in done.stdout
    assert f"\n  {command} " in call("help").stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("verb", ["init", "issue", "allow", "forbid", "token", "revoke", "list", "federate", "rotate"])
def test_every_command_of_the_authority_explains_itself(verb):
    done = call("ca", verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"usage: ringmain ca {verb}" in done.stdout
    assert f"\n  {verb} " in call("ca", "--help").stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


WRONG = {
    "": "ringmain: a service mesh",
    "stat": 'ringmain: no command "stat"; did you mean "status"?',
    "run extra": "ringmain run: an argument too many",
    "check --nonsense": "ringmain check: unrecognized option '--nonsense'",
    "check extra": "ringmain check: an argument too many",
    "status -o xml": 'ringmain status: -o: table or json, not "xml"',
    "status --mesh --socket x": "ringmain status: --mesh asks the store, not a socket",
    "certs extra": 'ringmain certs: an argument too many, "extra"',
    "limits": "ringmain limits: list?",
    "limits list -o xml": 'ringmain limits list: -o: table or json, not "xml"',
    "routes sideways": 'ringmain routes: list or explain, not "sideways"',
    "routes list --from web": "ringmain routes list: --from is not for this command",
    "authz check --to orders": "ringmain authz check: --from is missing: who calls?",
    "authz check --from web --to x --offline --socket y": "ringmain authz check: --offline asks no socket",
    "authz why": "ringmain authz why: which request? its id is in the access log and in x-request-id",
    "apply": "ringmain apply: -f is missing: which files?",
    "apply x.conf": 'ringmain apply: an argument too many, "x.conf"; files are given with -f',
    "apply -f x --if-revision old": 'ringmain apply: --if-revision: a number, not "old"',
    "apply -f x -o conf": 'ringmain apply: -o: one of: table json; not "conf"',
    "apply -f x --check": "ringmain apply: there is no --check here",
    "get orders": 'ringmain get: "orders": the kinds are: service, policy, issuer, route, limit, rollout, external',
    "get service/a/b": 'ringmain get: KIND/NAME, not "service/a/b"',
    "delete": "ringmain delete: what? KIND/NAME...",
    "delete orders": 'ringmain delete: "orders" is not KIND/NAME',
    "delete split/x": 'ringmain delete: "split/x": the kinds are: service, policy, issuer, route, limit, rollout, external',
    "diff": "ringmain diff: -f is missing: which files?",
    "history orders": 'ringmain history: KIND/NAME, not "orders"',
    "rollback": "ringmain rollback: to which revision? ringmain history has the numbers",
    "operator": "ringmain operator: new FILE",
    "drain Orders": 'ringmain drain: "Orders" is no service\'s name',
    "drain --timeout soon": 'ringmain drain: --timeout: 30s, 5m or 1h, not "soon"',
    "redirect": "ringmain redirect: up, down, show or watch?",
    "redirect sideways": 'ringmain redirect: up, down, show or watch, not "sideways"',
    "redirect up --confirm soon": "ringmain redirect: --confirm: seconds, 1 to 3600",
    "redirect watch --interval 0s": "ringmain redirect: --interval: a time such as 2s, at least 100ms",
    "redirect show --backend ../x": 'ringmain redirect: --backend: auto, nft or legacy, not "../x"',
    "ca": "ringmain ca: which command?",
    "ca isue": 'ringmain ca: there is no command "isue"',
    "ca init --dir /tmp": "ringmain ca init: --trust-domain is missing",
    "ca issue --dri x": "ringmain ca issue: unrecognized option '--dri'",
    "ca issue --dir x --ttl 5 --node x": "ringmain ca issue: --node is not for this command",
    "ca allow": "ringmain ca allow: an argument is missing",
    "ca list a b": 'ringmain ca list: an argument too many: "b"',
    "ca list everything": 'ringmain ca list: nodes, certificates or tokens, not "everything"',
    "ca list -o xml": 'ringmain ca list: -o: table or json, not "xml"',
    "ca token vm-a --ttl soon": "ringmain ca token: --ttl: a number and s, m, h or d, such as 10m",
    "ca revoke": "ringmain ca revoke: one of --node, --identity and --serial",
    "ca revoke --node a --serial b": "ringmain ca revoke: one of --node, --identity and --serial",
    "ca federate a": "ringmain ca federate: either a file of roots, or --remove",
    "ca rotate back": 'ringmain ca rotate: status, publish, activate, retire or abort, not "back"',
    "ca rotate activate --root": "ringmain ca rotate: activate takes no such option",
    "ca issue --dir x --out y --service Web_":
        "ringmain ca issue: --service: lower-case letters, digits and '-', at most 63",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_words_are_told_in_two_lines(line):
    done = call(*line.split())
    assert done.returncode == 2
    if not line:
        assert done.stdout.startswith(WRONG[line])
        return
    told = done.stderr.splitlines()
    program = told[0].split(":")[0]
    assert told == [WRONG[line], f'Try "{program} --help".'] and done.stdout == ""


def test_check_counts_what_is_wrong(tmp_path):
    conf = tmp_path / "ringmain.conf"
    conf.write_text('node: { nam = "a"; };\n')
    done = call("check", "-c", str(conf))
    assert done.returncode == 1 and done.stdout == ""
    errors = done.stderr.splitlines()
    assert f'{conf}:1: node.nam: unknown key; did you mean "name"?' in errors
    assert errors[-1] == f"{len(errors) - 1} errors"
    done = call("check", "-c", str(tmp_path / "none"))
    assert done.returncode == 1 and done.stderr == f"{tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize("line", ["status", "drain orders", "authz list", "authz check --from a --to b", "routes list",
                                  "limits list"])
def test_no_other_proxy_is_asked_than_was_named(tmp_path, line):
    done = call(*line.split(), "-c", str(tmp_path / "none"))
    assert done.returncode in (1, 2) and done.stdout == ""
    assert done.stderr.endswith(f": {tmp_path}/none: No such file or directory\n")
    broken = tmp_path / "broken.conf"
    broken.write_text(f'node: {{ admin_socket = "{tmp_path}/admin.sock"; }};\nmesh: {{ nonsense\n')
    done = call(*line.split(), "-c", str(broken))
    assert f"{tmp_path}/admin.sock" in done.stderr


def test_check_reads_what_the_state_process_would_get(tmp_path):
    conf, password, operator = (tmp_path / name for name in ("ringmain.conf", "password", "operator.pub"))
    conf.write_text('node: { name = "a"; address = "127.0.0.1"; user = "nobody"; };\n'
                    f'mesh: {{ trust_domain = "x.y"; }};\nidentity: {{ directory = "{tmp_path}"; }};\n'
                    f'state: {{ redis = "127.0.0.1:6379"; password_file = "{password}"; operators = ["{operator}"]; }};\n')

    def complaint():
        done = call("check", "-c", str(conf))
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]
    assert complaint() == f"{password}: No such file or directory"
    password.write_text("secret\n")
    password.chmod(0o644)
    assert complaint().endswith(f"run: chmod 600 {password}")
    password.chmod(0o600)
    operator.write_text("nonsense")
    assert str(operator) in complaint() and "no public key" in complaint()


def test_check_prints_the_reference():
    done = call("check", "--reference")
    assert done.returncode == 0
    assert "| `request` | duration | `\"0s\"` |" in done.stdout
