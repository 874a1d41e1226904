# SPDX-License-Identifier: Apache-2.0
"""Operators publish the mesh's objects: apply, get, diff, delete, history, rollback, status --mesh."""
import re

import pytest
from store import Door, Place, of_json

ORDERS = 'services: ( { name = "orders"; port = 8080; protocol = "http"; } );\n'
WEB = 'services: ( { name = "web"; } );\n'
BOTH = 'services: ( { name = "orders"; port = 8080; protocol = "http"; },\n  { name = "web"; } );\n'
RULE = 'policies: (\n  { name = "web-uses-orders"; service = "orders"; action = "allow"; from = "web"; } );\n'
WIDER = RULE.replace('from = "web";', 'from = [ "web", "orders" ];')


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def mesh(place):
    place.apply(BOTH + RULE, "--why", "the first")
    return place


def refused(place, done, *words):
    """Exit status 1, and each of these told."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)


# --- apply -------------------------------------------------------------------------------------------------


def test_rows_become_signed_objects(place):
    done = place.apply(BOTH + RULE, "--why", "the first")
    assert [line.split() for line in done.stdout.splitlines()[:3]] == [
        ["create", "policy/web-uses-orders", f"{place.directory}/x.conf:4"],
        ["create", "service/orders", f"{place.directory}/x.conf:1"],
        ["create", "service/web", f"{place.directory}/x.conf:2"]]
    assert "published as revision 1\n" in done.stdout and done.stderr == ""
    assert sorted(place.objects()) == ["policy/web-uses-orders", "service/orders", "service/web"]
    text = place.objects()["service/orders"]
    assert re.match(r"revision 1\nwho alice\ntime \d+\nsource .*x\.conf:1\n\nservices = \(", text)
    assert place.verify_head("alice")
    assert place.objects_of(1) == place.objects()


def test_the_same_again_is_no_change(mesh):
    before = mesh.everything()
    done = mesh.apply("# a comment\n" + RULE + BOTH.replace("port = 8080; ", "").replace(
        '"orders"; protocol', '"orders"; port = 8080; protocol'))
    assert "unchanged 3\n" in done.stdout and "nothing to change\n" in done.stdout
    assert mesh.everything() == before


def test_a_change_is_one_object(mesh):
    done = mesh.apply(WIDER, name="bob")
    assert "change  policy/web-uses-orders" in done.stdout
    assert "2 in none of the files stay; --prune would take away: service/orders, service/web" in done.stdout
    assert mesh.objects()["policy/web-uses-orders"].startswith("revision 2\nwho bob\n")
    assert mesh.objects()["service/orders"].startswith("revision 1\nwho alice\n")
    assert mesh.verify_head("bob")
    assert mesh.objects_of(2) == mesh.objects()


def test_news_are_published(mesh):
    listener = mesh.redis.__class__(mesh.directory)
    import socket
    listener.file = socket.create_connection(("127.0.0.1", mesh.redis.port)).makefile("rwb")
    listener.ask("SUBSCRIBE", mesh.key("news"))
    mesh.apply(WIDER)
    assert listener.read() == [b"message", mesh.key("news").encode(), b"objects 2"]
    listener.file.close()


def test_a_directory_is_read_in_order(place):
    place.file(RULE, "d/b.conf")
    place.file(BOTH, "d/a.conf")
    place.file("nonsense", "d/ignored.txt")
    done = place.say("apply", "-f", place.directory / "d")
    assert "published as revision 1" in done.stdout and "d/b.conf:2" in done.stdout


def test_a_dry_run_writes_nothing(mesh):
    before = mesh.everything()
    done = mesh.apply(ORDERS + RULE, "--dry-run", "--prune", check=False)
    refused(mesh, done, "web")
    done = mesh.apply(WIDER, "--dry-run")
    assert "change  policy/web-uses-orders" in done.stdout
    assert "nothing was written: a dry run; it would be revision 2" in done.stdout
    assert mesh.everything() == before


def test_prune_takes_away_what_is_in_no_file(mesh):
    done = mesh.apply(ORDERS, "--prune")
    assert "delete  policy/web-uses-orders" in done.stdout and "delete  service/web" in done.stdout
    assert sorted(mesh.objects()) == ["service/orders"]
    assert mesh.verify_head("alice")


def test_prune_leaves_no_name_without_its_service(mesh):
    before = mesh.everything()
    refused(mesh, mesh.apply(WEB + RULE, "--prune", check=False),
            "x.conf:3: policies[0].service: names the service \"orders\", which is to be taken away",
            "nothing was written")
    assert mesh.everything() == before


def test_for_programs(place):
    done = of_json(place.apply(BOTH, "-o", "json"))
    assert done["revision"] == 1 and not done["dry_run"] and done["unchanged"] == 0
    assert [(c["verb"], c["key"]) for c in done["changes"]] == [("create", "service/orders"), ("create", "service/web")]
    done = of_json(place.apply(ORDERS, "-o", "json", "--dry-run"))
    assert done["changes"] == [] and done["revision"] == 0 and done["prunable"] == ["service/web"]


WRONG = {
    "an unknown service": (BOTH + RULE.replace('"web"', '"wbe"'),
                           'x.conf:4: policies[0].from: there is no service "wbe" in the mesh; did you mean "web"?'),
    "a rule without a name": (BOTH + RULE.replace('name = "web-uses-orders"; ', ""),
                              "x.conf:4: policies[0].name: missing: what is published needs a name"),
    "twice the same name": (BOTH + ORDERS.replace("services", "policies"), "x.conf:3: policies[0]"),
    "a broken file": ("services: (", "x.conf:1: syntax error"),
    "an unknown key": (BOTH.replace("port", "prot"), 'x.conf:1: services[0].prot: unknown key; did you mean'),
    "an address of two": ('services: ( { name = "a"; port = 80; endpoints = ( { address = "10.0.0.1"; } ); },\n'
                          '{ name = "b"; port = 80; endpoints = ( { address = "10.0.0.1"; } ); } );',
                          'x.conf:2: services[1].endpoints[0].address: 10.0.0.1:80 is an endpoint of "a" already'),
    "nothing": ("", "there is nothing in the files"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_with_its_line(place, what):
    text, told = WRONG[what]
    refused(place, place.apply(text, check=False), told)
    assert place.everything() == {}


def test_rules_that_decide_nothing_are_warned_of(mesh):
    done = mesh.apply('policies: ( { name = "again"; service = "orders"; action = "allow"; from = "web";\n'
                      'paths = "/x"; } );\n')
    assert ('x.conf:1: warning: policies[0]: decides nothing: "web-uses-orders" allows all of it already, '
            "at policy/web-uses-orders (revision 1)") in done.stderr
    # It stands now, and is not of the next change.
    done = mesh.apply('services: ( { name = "more"; } );')
    assert "note: 1 older problem is not of this change; see: ringmain get --check" in done.stderr
    assert "decides nothing" not in done.stderr
    assert "decides nothing" in mesh.say("get", "--check", check=False).stderr


def test_a_service_that_a_node_tells_of_is_known(place):
    place.node("vm-a", 0, "endpoint billing v1 up 100 10.77.0.1:9000\n")
    place.apply(ORDERS + RULE.replace('"web"', '"billing"'))
    refused(place, place.apply(ORDERS + RULE.replace('"web"', '"biling"'), check=False), 'did you mean "billing"?')


def test_numbers_go_on_after_what_the_nodes_have_seen(place):
    """A store that was emptied has forgotten its revisions; the nodes have not."""
    place.node("vm-a", 41)
    place.node("vm-b", 17)
    place.node("vm-c", 40_000_000)
    done = place.apply(BOTH)
    assert "published as revision 42" in done.stdout
    assert "warning: the node vm-c tells of revision 40000000, which there cannot be" in done.stderr
    assert "warning: nodes have revision 41 in force, and the store has 0: what was published between is lost" \
        in done.stderr
    assert "lost" not in place.apply(BOTH + RULE).stderr


def test_only_on_top_of_what_was_looked_at(mesh):
    refused(mesh, mesh.apply(WIDER, "--if-revision", 2, check=False), "what stands is revision 1, not 2")
    mesh.apply(WIDER, "--if-revision", 1)
    assert mesh.revision() == 2


# --- two at a time -----------------------------------------------------------------------------------------


def through(place, word, *words, before=None, cut=None, text=WIDER):
    door = Door(place.redis.port, word, before, cut)
    try:
        return place.apply(text, *words, port=door.port, check=False)
    finally:
        door.close()


def test_who_is_slower_with_something_else_goes_on_top(mesh):
    done = through(mesh, b"EXEC", before=lambda: mesh.say("apply", "-f", mesh.file(
        'services: ( { name = "billing"; } );', "bob.conf"), name="bob"))
    assert done.returncode == 0 and "published as revision 3" in done.stdout, done
    assert mesh.objects()["service/billing"].startswith("revision 2\nwho bob")
    assert mesh.objects()["policy/web-uses-orders"].startswith("revision 3\nwho alice")
    assert mesh.verify_head("alice") and mesh.objects_of(3) == mesh.objects()


def test_who_is_slower_with_the_same_is_told(mesh):
    done = through(mesh, b"EXEC", before=lambda: mesh.say("apply", "-f", mesh.file(
        RULE.replace("allow", "deny"), "bob.conf"), name="bob"))
    refused(mesh, done, "policy/web-uses-orders was changed meanwhile by bob, revision 2, ")
    assert '"deny"' in mesh.objects()["policy/web-uses-orders"] and mesh.revision() == 2


def test_what_was_as_wished_and_is_not_any_more_is_told(mesh):
    done = through(mesh, b"EXEC", text=WIDER + BOTH, before=lambda: mesh.say("apply", "-f", mesh.file(
        ORDERS.replace("8080", "9090"), "bob.conf"), name="bob"))
    refused(mesh, done, "service/orders was changed meanwhile by bob")


def test_what_was_taken_away_meanwhile_is_told(mesh):
    done = through(mesh, b"EXEC", before=lambda: mesh.say("delete", "policy/web-uses-orders", name="bob"))
    refused(mesh, done, "policy/web-uses-orders was taken away meanwhile by bob, revision 2, ")


def test_what_does_not_fit_any_more_is_checked_again(mesh):
    text = 'policies: ( { name = "new"; service = "orders"; action = "deny"; from = "web"; } );'
    done = through(mesh, b"EXEC", text=text, before=lambda: mesh.say(
        "delete", "policy/web-uses-orders", "service/web", name="bob"))
    refused(mesh, done, 'there is no service "web" in the mesh')
    assert mesh.revision() == 2


def test_prune_takes_away_nothing_unseen(mesh):
    done = through(mesh, b"EXEC", "--prune", text=BOTH + WIDER, before=lambda: mesh.say("apply", "-f", mesh.file(
        'services: ( { name = "billing"; } );', "bob.conf"), name="bob"))
    refused(mesh, done, "service/billing was changed meanwhile by bob")
    assert "service/billing" in mesh.objects()


def test_a_connection_lost_before_the_writing(mesh):
    before = mesh.everything()
    refused(mesh, through(mesh, b"EXEC", cut="before"), "Nothing was written.")
    assert mesh.everything() == before


def test_a_connection_lost_behind_the_writing(mesh):
    done = through(mesh, b"EXEC", cut="after")
    assert done.returncode == 0 and "published as revision 2" in done.stdout, done
    assert mesh.verify_head("alice")


def test_no_store(place):
    place.redis.stop()
    refused(place, place.apply(BOTH, check=False), f"127.0.0.1:{place.redis.port}")
    place.redis.start()


# --- whom to believe ---------------------------------------------------------------------------------------


def replace_head(place, old, new):
    head = place.ask("GET", place.key("head")).decode()
    assert re.search(old, head)
    place.ask("SET", place.key("head"), re.sub(old, new, head, count=1))


TAMPERED = {
    "an object changed": lambda m: m.ask("HSET", m.key("objects"), "service/web",
                                         m.objects()["service/web"].replace("web", "wob")),
    "an object added": lambda m: m.ask("HSET", m.key("objects"), "service/bad",
                                       m.objects()["service/web"].replace("web", "bad")),
    "an object taken away": lambda m: m.ask("HDEL", m.key("objects"), "service/web"),
    "something that is no object": lambda m: m.ask("HSET", m.key("objects"), "service/bad", "nonsense"),
    "all objects gone": lambda m: m.ask("DEL", m.key("objects")),
    "objects of another type": lambda m: (m.ask("DEL", m.key("objects")), m.ask("SET", m.key("objects"), "x")),
    "no head": lambda m: m.ask("DEL", m.key("head")),
    "an empty head": lambda m: m.ask("SET", m.key("head"), ""),
    "a head that is none": lambda m: m.ask("SET", m.key("head"), "nonsense"),
    "a head of another type": lambda m: (m.ask("DEL", m.key("head")), m.ask("RPUSH", m.key("head"), "x")),
    "an unsigned head": lambda m: replace_head(m, "signature .*\n", ""),
    "another revision": lambda m: replace_head(m, "revision 1", "revision 7"),
    "another author": lambda m: replace_head(m, "who alice", "who bob"),
    "another mesh": lambda m: replace_head(m, "mesh [^\n]*", "mesh other.example"),
    "a stream of another type": lambda m: (m.ask("DEL", m.key("changes")), m.ask("SET", m.key("changes"), "x")),
    "a stream that has gone too far": lambda m: m.ask(
        "XADD", m.key("changes"), "18446744073709551615-0", "head", "x", "change", ""),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_store_that_was_tampered_with_is_not_built_upon(mesh, how):
    TAMPERED[how](mesh)
    before = mesh.everything()
    for words in (("apply", "-f", mesh.file(WIDER)), ("delete", "policy/web-uses-orders"), ("rollback", 1)):
        refused(mesh, mesh.say(*words, check=False), "ringmain apply --replace-all")
        assert mesh.everything() == before
    done = mesh.apply(BOTH + WIDER, "--replace-all", "--why", "after the break-in")
    assert "published as revision" in done.stdout
    assert sorted(mesh.objects()) == ["policy/web-uses-orders", "service/orders", "service/web"]
    assert mesh.verify_head("alice")
    assert mesh.say("get").returncode == 0
    mesh.apply(RULE)  # and all goes on as before
    assert mesh.verify_head("alice")


def test_a_stream_that_takes_no_more_is_told(mesh):
    """Its last number is gone from sight, and too high."""
    mesh.ask("XADD", mesh.key("changes"), "MAXLEN", 0, "18446744073709551615-0", "x", "x")
    refused(mesh, mesh.apply(WIDER, check=False), "published, but the stream of changes does not take it")
    assert mesh.verify_head("alice")


def test_the_rights_of_an_operator_are_enough(place):
    password = place.acl("operator", "alice")
    conf = place.conf("alice", groups=f'username = "operator:alice"; password_file = "{password}";')
    place.node("vm-a", 3)
    for words in (("apply", "-f", place.file(BOTH + RULE)), ("delete", "policy/web-uses-orders"), ("rollback", 4),
                  ("apply", "--replace-all", "-f", place.file(BOTH, "both.conf")), ("get",), ("get", "--check"), ("history",)):
        place.run(*words, "-c", conf)
    done = place.run("status", "--mesh", "-c", conf, check=False)
    assert "7 behind" not in done.stdout and "3, 4 behind" in done.stdout and done.stderr == ""


def test_the_rights_of_a_node_are_enough_to_look(mesh):
    password = mesh.acl("node", "vm-a")
    mesh.node("vm-a", 1)
    conf = mesh.directory / "ringmain.conf"
    conf.write_text('node: { name = "vm-a"; address = "10.0.0.1"; };\nmesh: { trust_domain = "prod.example"; };\n'
                    f'state: {{ redis = "127.0.0.1:{mesh.redis.port}"; operators = "{mesh.directory}/alice.pub"; '
                    f'username = "node:vm-a"; password_file = "{password}"; }};\n')
    for words in (("get",), ("history",), ("status", "--mesh")):
        done = mesh.run(*words, "-c", conf)
        assert done.stderr == ""


def test_a_user_without_rights_changes_nothing(mesh):
    mesh.ask("ACL", "SETUSER", "default", "-hset")
    before = mesh.everything()
    refused(mesh, mesh.apply(WIDER, check=False), "the store refuses HSET: NOPERM")
    mesh.ask("ACL", "SETUSER", "default", "+hset")
    mesh.ask("CONFIG", "SET", "maxmemory", 1)
    refused(mesh, mesh.apply(WIDER, check=False), "OOM")
    mesh.ask("CONFIG", "SET", "maxmemory", 0)
    assert mesh.everything() == before


def test_a_stranger_is_not_believed(mesh):
    mesh.operator("mallory", known=False)
    mesh.apply(WIDER, name="mallory")  # who has the store's password, and believes alice
    refused(mesh, mesh.apply(RULE, check=False), "by mallory, is signed with the key ",
            "which is none of the 2 known operators' keys")
    done = mesh.say("get", check=False)
    refused(mesh, done, "not to be believed, and refused by the nodes: revision 2, by mallory")
    assert "mallory × not verified" in mesh.say("history").stdout


def test_without_a_key_nothing_is_published(mesh):
    path = mesh.directory / "reader.conf"
    path.write_text('mesh: { trust_domain = "prod.example"; };\n'
                    f'state: {{ redis = "127.0.0.1:{mesh.redis.port}"; }};\n')
    done = mesh.run("apply", "-f", mesh.file(WIDER), "-c", path, check=False)
    refused(mesh, done, "operator.key is missing in the operator's file")
    done = mesh.run("get", "-c", path)
    assert "service/orders" in done.stdout and "note: not verified, for no operator's key is known" in done.stderr


def test_a_key_that_others_can_read_is_refused(mesh):
    (mesh.directory / "alice").chmod(0o644)
    refused(mesh, mesh.apply(WIDER, check=False), "others than its owner may use it (mode 0644); run: chmod 600")


def test_where_the_operators_file_is_looked_for(mesh):
    refused(mesh, mesh.run("get", check=False), "no operator's file")
    home = mesh.directory / ".config" / "ringmain"
    home.mkdir(parents=True)
    mesh.conf("alice").rename(home / "operator.conf")
    assert "service/orders" in mesh.run("get").stdout


def test_a_nodes_file_will_do_for_reading(mesh):
    path = mesh.directory / "ringmain.conf"
    path.write_text('node: { name = "vm-a"; address = "10.0.0.1"; };\nmesh: { trust_domain = "prod.example"; };\n'
                    f'state: {{ redis = "127.0.0.1:{mesh.redis.port}"; operators = "{mesh.directory}/alice.pub"; }};\n')
    done = mesh.run("get", "-c", path)
    assert "service/orders" in done.stdout and done.stderr == ""
    refused(mesh, mesh.run("delete", "service/web", "-c", path, check=False), "node: unknown key")


# --- get, diff, delete -------------------------------------------------------------------------------------


def test_what_is_got_can_be_applied(mesh):
    text = mesh.say("get", "-o", "conf").stdout
    assert "unchanged 3\nnothing to change" in mesh.apply(text).stdout


def test_get_shows_what_is_asked_for(mesh):
    table = mesh.say("get").stdout.splitlines()
    assert table[0].split() == ["OBJECT", "REVISION", "WHO", "WHEN", "SOURCE"] and len(table) == 4
    assert len(mesh.say("get", "services").stdout.splitlines()) == 3
    assert mesh.say("get", "service/web").stdout == 'services = ( {\n    name = "web";\n  } );\n'
    done = of_json(mesh.say("get", "service/web", "-o", "json"))
    assert done["revision"] == 1 and done["verified"] and done["objects"][0]["key"] == "service/web"
    refused(mesh, mesh.say("get", "service/none", check=False), "there is no service/none")
    assert mesh.say("get", "split", check=False).returncode == 2


def test_diff(mesh):
    before = mesh.everything()
    assert mesh.say("diff", "-f", mesh.file(BOTH + RULE)).stdout == ""
    done = mesh.say("diff", "-f", mesh.file(WIDER + 'services: ( { name = "new"; } );'), check=False)
    assert done.returncode == 1
    assert '-    from = "web";' in done.stdout and '+    from = [ "web", "orders" ];' in done.stdout
    assert '+    name = "new";' in done.stdout and "service/orders" not in done.stdout
    done = mesh.say("diff", "--prune", "-f", mesh.file(ORDERS), check=False)
    assert done.returncode == 1 and '-    name = "web";' in done.stdout
    assert mesh.say("diff", "-f", mesh.file("services: ("), check=False).returncode == 2
    assert mesh.everything() == before


def test_diff_gives_a_terminal_no_orders(mesh):
    mesh.ask("HSET", mesh.key("objects"), "service/web",
             'revision 1\nwho alice\ntime 1\n\n# \x1b]0;taken over\x07\nservices = ( { name = "web"; } );\n')
    done = mesh.say("diff", "-f", mesh.file(BOTH + RULE), check=False)
    assert "taken over" in done.stdout and "\x1b" not in done.stdout and "\x07" not in done.stdout


def test_a_service_in_use_is_not_deleted(mesh):
    before = mesh.everything()
    refused(mesh, mesh.say("delete", "service/orders", check=False),
            'policy/web-uses-orders (revision 1): service: names the service "orders", which is to be taken away')
    mesh.node("vm-a", 1, "endpoint orders v1 up 100 10.77.0.1:8080\n")  # still: the rule would be without its service
    refused(mesh, mesh.say("delete", "service/orders", check=False), "which is to be taken away")
    mesh.ask("DEL", mesh.key("node:vm-a"), mesh.key("lease:vm-a"))
    assert mesh.everything() == before
    done = mesh.say("delete", "service/orders", "policy/web-uses-orders", "--why", "no longer sold")
    assert "delete  policy/web-uses-orders" in done.stdout and "published as revision 2" in done.stdout
    assert list(mesh.objects()) == ["service/web"] and mesh.verify_head("alice")
    refused(mesh, mesh.say("delete", "service/orders", check=False), "there is no service/orders")


# --- history, rollback -------------------------------------------------------------------------------------


@pytest.fixture
def past(mesh):
    """Three revisions: rule, wider rule by bob, rule gone."""
    mesh.apply(WIDER, "--why", "orders calls itself", name="bob")
    mesh.say("delete", "policy/web-uses-orders", "service/web")
    return mesh


def test_history_tells_who_when_what_and_why(past):
    lines = past.say("history").stdout.splitlines()
    assert lines[0].split() == ["REVISION", "WHEN", "WHO", "WHAT", "WHY"]
    assert re.match(r"3 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  alice  delete policy/web-uses-orders, delete service/web$",
                    lines[1])
    assert re.match(r"2 .*  bob +change policy/web-uses-orders +orders calls itself$", lines[2])
    assert re.match(r"1 .*  alice  create policy/web-uses-orders, create service/orders, create service/web"
                    r" +the first$", lines[3])
    assert len(past.say("history", "-n", 1).stdout.splitlines()) == 2
    assert len(past.say("history", "service/web").stdout.splitlines()) == 3
    assert past.say("history", "service/none").stdout == "nothing of it is in the history\n"
    done = of_json(past.say("history", "-o", "json"))["revisions"]
    assert [r["revision"] for r in done] == [3, 2, 1] and all(r["verified"] for r in done)
    assert done[0]["changes"][1] == {"verb": "delete", "key": "service/web"}


def test_rollback_is_a_new_revision(past):
    before = past.everything()
    done = past.say("rollback", 1, "--dry-run")
    assert "create  policy/web-uses-orders" in done.stdout and "it would be revision 4" in done.stdout
    assert past.everything() == before
    past.say("rollback", 1, name="bob")
    assert past.objects() == past.objects_of(1) and past.revision() == 4
    assert past.verify_head("bob")
    assert "back to revision 1" in past.say("history", "-n", 1).stdout
    past.say("rollback", 3)  # and back from there
    assert past.objects() == past.objects_of(3)
    assert "nothing to change" in past.say("rollback", 5).stdout


def test_rollback_is_checked(past):
    past.apply('services: ( { name = "web"; port = 80; endpoints = ( { address = "10.0.0.1"; } ); } );')
    past.apply('services: ( { name = "late"; } ); policies: ( { name = "late"; service = "late"; '
               'action = "deny"; from = "web"; } );')
    past.node("vm-a", 1, "endpoint billing v1 up 100 10.0.0.1:80\n")
    past.say("delete", "service/web", "policy/late")
    refused(past, past.say("rollback", 4, check=False), "service/web (revision 4): ", "10.0.0.1:80 is an endpoint of")


def test_rollback_needs_a_history(past):
    past.ask("XTRIM", past.key("changes"), "MAXLEN", 2)
    refused(past, past.say("rollback", 1, check=False), "the history reaches back to revision 2, not to 1")
    refused(past, past.say("rollback", 9, check=False), "there is no revision 9 yet; the newest is 3")
    assert past.say("rollback", "yesterday", check=False).returncode == 2


def test_rollback_takes_nothing_back_unseen(past):
    door = Door(past.redis.port, b"EXEC", lambda: past.apply('services: ( { name = "billing"; } );', name="bob"))
    done = past.say("rollback", 2, port=door.port, check=False)
    door.close()
    refused(past, done, "bob has published revision 4 meanwhile")
    assert past.revision() == 4


# --- status --mesh -----------------------------------------------------------------------------------------


def test_status_of_the_mesh(mesh):
    mesh.node("vm-a", 1, "endpoint orders v1 up 100 10.77.0.1:8080\nendpoint orders v1 down 100 10.77.0.1:8081\n"
                         "endpoint web - drained 100 10.77.0.1:9000\n")
    done = mesh.say("status", "--mesh")
    assert re.search(r"^revision +1, by alice, ", done.stdout, re.M)
    assert re.search(r"^vm-a +eu-1a +0\.1\.0 +1 +1 +1 +1 +\d+s +well$", done.stdout, re.M), done.stdout
    assert of_json(mesh.say("status", "--mesh", "-o", "json"))["problems"] == 0


def test_who_lags_or_is_silent_is_shown(mesh):
    mesh.apply(WIDER)
    mesh.node("vm-a", 2)
    mesh.node("vm-b", 1)
    mesh.node("vm-c", 2, lease_ms=None)
    mesh.ask("SET", mesh.key("node:vm-d"), "nonsense")
    mesh.ask("SET", mesh.key("node:vm-e"), mesh.ask("GET", mesh.key("node:vm-a")))  # says that it is another
    mesh.ask("RPUSH", mesh.key("node:vm-f"), "x")
    mesh.ask("SET", mesh.key("node:vm-g"), "x" * (10 << 20))
    done = mesh.say("status", "--mesh", check=False)
    assert done.returncode == 1
    assert re.search(r"^vm-b .* 1, 1 behind +\d+s +× lags$", done.stdout, re.M), done.stdout
    assert re.search(r"^vm-c .* ended +× silent$", done.stdout, re.M)
    assert "× vm-b: has not taken revision 2" in done.stdout
    nodes = {n["name"]: n["state"] for n in of_json(mesh.say("status", "--mesh", "-o", "json", check=False))["nodes"]}
    assert nodes == {"vm-a": "well", "vm-b": "lags", "vm-c": "silent", "vm-d": "unreadable", "vm-e": "unreadable",
                     "vm-f": "unreadable", "vm-g": "unreadable"}
    read = int(re.search(rb"total_net_output_bytes:(\d+)", mesh.ask("INFO", "stats"))[1])
    assert read < 1 << 20, "of what is too long only the beginning is read"


def test_status_says_what_the_nodes_refuse(mesh):
    mesh.ask("HDEL", mesh.key("objects"), "service/web")
    done = mesh.say("status", "--mesh", check=False)
    assert done.returncode == 1 and "× the objects in the store are refused by the nodes" in done.stdout
