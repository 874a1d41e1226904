# SPDX-License-Identifier: Apache-2.0
"""Every condition that a rule may have, each with requests that it matches and requests that it does not: a rule's match,
what it matches, what it does not. Those it matches go to v2, the others to v1, on connections that are kept."""
import pytest
from served import Served, ask, machine_of


def get(path="/echo", *headers, host="orders", method="GET"):
    return dict(line=f"{method} {path}", headers=headers, host=host)


def field(kind, **condition):
    return {kind: [condition]}


CASES = {
    "path": (dict(path="/echo/a"), [get("/echo/a"), get("/echo/a?q"), get("/echo//a"), get("/echo/b/../a"), get("/echo/%61")],
             [get("/echo/a/"), get("/echo/ab"), get("/echo/A"), get("/echo")]),
    "paths": (dict(paths=["/echo/a", "/echo/b"]), [get("/echo/a"), get("/echo/b")], [get("/echo/c")]),
    "path_prefix": (dict(path_prefix="/echo/a"), [get("/echo/a"), get("/echo/a/"), get("/echo/a/b?c"), get("/echo/x/../a/b")],
                    [get("/echo/ab"), get("/echo"), get("/a/echo/a"), get("/echo/a/../b")]),
    "path_template": (dict(path_template="/echo/{id}/items"), [get("/echo/7/items"), get("/echo/x%20y/items")],
                      [get("/echo/items"), get("/echo/7/8/items"), get("/echo/7/items/9")]),
    "path_template_rest": (dict(path_template="/echo/{id}/*"), [get("/echo/7/a"), get("/echo/7/a/b/c")], [get("/echo/7")]),
    "path_regex": (dict(path_regex="/echo/[0-9]+(/.*)?"), [get("/echo/7"), get("/echo/42/x/y?z"), get("/echo//7")],
                   [get("/echo/x"), get("/echo/7x"), get("/echo"), get("/x/echo/7")]),
    "path_regexes": (dict(path_regexes=["/echo/a|/echo/b", "/echo/.*[.]png"]), [get("/echo/a"), get("/echo/b"), get("/echo/x/y.png")],
                     [get("/echo/ab"), get("/echo/xpng"), get("/echo/x.png2")]),
    "any_kind_of_path": (dict(path="/echo/a", path_prefix="/echo/b", path_template="/echo/{x}/c"),
                         [get("/echo/a"), get("/echo/b/d"), get("/echo/e/c")], [get("/echo/e/d")]),
    "method": (dict(method="DELETE"), [get(method="DELETE")], [get(), get(method="PUT")]),
    "methods": (dict(methods=["PUT", "PATCH"]), [get(method="PUT"), get(method="PATCH")], [get(), get(method="POST")]),
    "host": (dict(host="a.example"), [get(host="a.example"), get(host="A.EXAMPLE:8080")], [get(host="b.example"), get(host="a.a.example")]),
    "hosts_below": (dict(hosts=["*.example.com", "other.example"]), [get(host="a.example.com"), get(host="a.b.example.com:1"),
                                                                    get(host="other.example")],
                    [get(host="example.com"), get(host="xexample.com"), get(host="a.other.example")]),
    "header_exact": (field("headers", name="X-User", exact="ann"), [get("/echo", "x-user: ann"), get("/echo", "X-USER: bob", "x-user: ann")],
                     [get(), get("/echo", "x-user: Ann"), get("/echo", "x-user: anna"), get("/echo", "x-user: bob, ann")]),
    "header_prefix": (field("headers", name="x-user", prefix="an"), [get("/echo", "x-user: ann")], [get(), get("/echo", "x-user: ban")]),
    "header_suffix": (field("headers", name="x-user", suffix="@a.example"), [get("/echo", "x-user: b@a.example")],
                      [get(), get("/echo", "x-user: b@a.example.com")]),
    "header_present": (field("headers", name="x-user", present=True), [get("/echo", "x-user: "), get("/echo", "x-user: y")], [get()]),
    "header_absent": (field("headers", name="x-user", present=False), [get()], [get("/echo", "x-user: "), get("/echo", "X-User: y")]),
    "header_not_exact": (field("headers", name="x-user", exact="ann", invert=True), [get(), get("/echo", "x-user: bob")],
                         [get("/echo", "x-user: ann"), get("/echo", "x-user: bob", "x-user: ann")]),
    "header_not_prefix": (field("headers", name="x-user", prefix="an", invert=True), [get(), get("/echo", "x-user: bob")],
                          [get("/echo", "x-user: ann")]),
    "two_headers": (dict(headers=[dict(name="a", exact="1"), dict(name="b", exact="2")]), [get("/echo", "a: 1", "b: 2")],
                    [get("/echo", "a: 1"), get("/echo", "b: 2"), get("/echo", "a: 2", "b: 1")]),
    "query_exact": (field("query", name="v", exact="a b"), [get("/echo?v=a+b"), get("/echo?x=1&v=a%20b&y"), get("/echo?v=c&v=a%20b")],
                    [get(), get("/echo?v=ab"), get("/echo?V=a+b"), get("/echo?w=v=a+b")]),
    "query_prefix": (field("query", name="v", prefix="a"), [get("/echo?v=abc")], [get("/echo?v=bc"), get("/echo?av=a")]),
    "query_suffix": (field("query", name="v", suffix="c"), [get("/echo?v=abc")], [get("/echo?v=cb")]),
    "query_present": (field("query", name="v", present=True), [get("/echo?v"), get("/echo?v="), get("/echo?%76=1")], [get(), get("/echo?w")]),
    "query_absent": (field("query", name="v", present=False), [get(), get("/echo?w=v")], [get("/echo?v")]),
    "query_not": (field("query", name="v", exact="1", invert=True), [get(), get("/echo?v=2")], [get("/echo?v=1"), get("/echo?v=2&v=1")]),
    "cookie_exact": (field("cookies", name="u", exact="1"), [get("/echo", "Cookie: a=2; u=1"), get("/echo", "Cookie: a=2", "Cookie: u=1")],
                     [get(), get("/echo", "Cookie: u=2"), get("/echo", "Cookie: U=1"), get("/echo", "Cookie: a=u=1")]),
    "cookie_prefix": (field("cookies", name="u", prefix="1"), [get("/echo", "Cookie: u=12")], [get("/echo", "Cookie: u=21")]),
    "cookie_suffix": (field("cookies", name="u", suffix="1"), [get("/echo", "Cookie: u=21")], [get("/echo", "Cookie: u=12")]),
    "cookie_present": (field("cookies", name="u", present=True), [get("/echo", "Cookie: u=")], [get(), get("/echo", "Cookie: uu=1")]),
    "cookie_absent": (field("cookies", name="u", present=False), [get(), get("/echo", "Cookie: v=1")], [get("/echo", "Cookie: v=1; u=1")]),
    "cookie_not": (field("cookies", name="u", exact="1", invert=True), [get(), get("/echo", "Cookie: u=2")], [get("/echo", "Cookie: u=1")]),
    "all_of_it": (dict(path_prefix="/echo/all", method="PUT", host="a.example", headers=[dict(name="h", exact="1")],
                       query=[dict(name="q", exact="2")], cookies=[dict(name="c", exact="3")], **{"from": "web"}),
                  [get("/echo/all/x?q=2", "h: 1", "Cookie: c=3", host="a.example", method="PUT")],
                  [get("/echo/al/x?q=2", "h: 1", "Cookie: c=3", host="a.example", method="PUT"),
                   get("/echo/all/x?q=2", "h: 1", "Cookie: c=3", host="a.example"),
                   get("/echo/all/x?q=2", "h: 1", "Cookie: c=3", method="PUT"),
                   get("/echo/all/x?q=2", "h: 2", "Cookie: c=3", host="a.example", method="PUT"),
                   get("/echo/all/x?q=3", "h: 1", "Cookie: c=3", host="a.example", method="PUT"),
                   get("/echo/all/x?q=2", "h: 1", "Cookie: c=4", host="a.example", method="PUT")]),
}
SOURCES = {  # from: who matches
    "a_service": ("guest", {"guest"}),
    "an_id": ("spiffe://mesh.test/service/web", {"web"}),
    "anybody_with_an_identity": ("*", {"web", "guest"}),
    "nobody_without": ("anonymous", set()),
    "one_of_several": (["web", "guest"], {"web", "guest"}),
}


@pytest.fixture(scope="module")
def mesh():
    with Served() as mesh:
        yield mesh.start()


def goes_to(wire, request):
    reply = ask(wire, **request)
    assert reply.status == 200, (request, reply)
    return machine_of(reply)


@pytest.mark.parametrize("what", CASES)
def test_a_rule_with(mesh, what):
    match, matching, others = CASES[what]
    mesh.set({"name": "wanted", "match": match, "split": [{"version": "v2"}]}, {"name": "rest", "split": [{"version": "v1"}]})
    with mesh.wire() as wire:
        assert [goes_to(wire, r) for r in matching] == ["vm-c"] * len(matching)
        assert [goes_to(wire, r) for r in others] == ["vm-b"] * len(others)
        assert [goes_to(wire, r) for r in matching] == ["vm-c"] * len(matching)


@pytest.mark.parametrize("what", SOURCES)
def test_a_rule_about_callers(mesh, what):
    source, matching = SOURCES[what]
    mesh.set({"match": {"from": source}, "split": [{"version": "v2"}]}, {"split": [{"version": "v1"}]})
    for caller in ("web", "guest"):
        with mesh.wire(caller) as wire:
            assert goes_to(wire, get()) == ("vm-c" if caller in matching else "vm-b")


def test_the_log_names_the_rule(mesh):
    mesh.set({"name": "first", "match": {"path": "/echo/logged"}, "split": [{"version": "v2"}]}, {"match": {"path": "/echo/by-place"}})
    for path, name, version in (("/echo/logged", "orders/first", "v2"), ("/echo/by-place", "orders/rules[1]", None), ("/echo/none", None, None)):
        assert mesh.ask(f"GET {path}").status == 200
        line = mesh.line(path)
        assert line["route_name"] == name and line["destination_version"] in ([version] if version else ["v0", "v1", "v2"])
        assert line["response_code_details"] == "NONE" and line["attempts"] == 1
