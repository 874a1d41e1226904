# SPDX-License-Identifier: Apache-2.0
"""Requests that were made to be read in two ways, and what makes new ones of them.

Denied is /admin and all below it, the method DELETE, the host internal.example and `x-role: admin`; HIDDEN is a request for
that inside another one. A Draft is a request in parts; cases() are those that are written down here, mutated() is a
seeded generator's next one.
"""
from dataclasses import dataclass, replace

HOST = b"shop.example"
HIDDEN = b"GET /admin/hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n"
HIDDEN_DELETE = b"DELETE /public/hidden HTTP/1.1\r\nHost: internal.example\r\nX-Role: admin\r\n\r\n"


@dataclass
class Draft:
    method: bytes = b"GET"
    target: bytes = b"/public/a"
    version: bytes = b"HTTP/1.1"
    hosts: tuple = (HOST,)
    lines: tuple = ()    # further header lines
    body: bytes = b""    # with all of its framing in `lines`
    behind: bytes = b""  # another request, or what looks like one
    end: bytes = b"\r\n"

    def text(self, *tags):
        head = [self.method + b" " + self.target + b" " + self.version, *[b"Host: " + host for host in self.hosts], *self.lines, *tags]
        return self.end.join(head) + self.end * 2 + self.body + self.behind


# --- what is written down ------------------------------------------------------------------------------

PATHS = """
/admin /admin/ /admin/x /admin/x/y /admin?x /admin/?x=/public /Admin /ADMIN /aDmIn/x /admin. /admin.. /admin/. /admin/.. /admin/../admin
/%61dmin /%61%64%6d%69%6e /%41dmin /a%64min/x /admi%6e /admin%2e /admin%20 /admin%09 /admin%0a /admin%0d%0a /admin%00 /admin%00.png
/%2561dmin /%25%36%31dmin /%u0061dmin /%c1%a1dmin /%e0%81%a1dmin /%f0%80%81%a1dmin /admin%c0%af /admin%c0%afx /%c0%afadmin /%ef%bc%8fadmin
/admin%2f /admin%2Fx /%2fadmin /%2F%2Fadmin /admin%252fx /%252fadmin /admin%5c /admin%5Cx /%5cadmin /admin\\x /\\admin \\admin /\\/admin
//admin ///admin /./admin /.//admin //./admin /././admin /%2e/admin /%2E%2f/admin /;/admin /;x=1/admin /admin;x /admin;x/y /admin;/x /admin/;x
/admin;%2fx /admin%3bx /admin%3B/x /admin%3b%2f /admin/%3b /;%61/admin /admin,x /admin&x /admin=x /admin:80 /admin@x /admin~ /admin* /admin!
/public/../admin /public/../admin/x /public/a/../../admin /public/a/b/../../../admin /public/./../admin /public//../admin /public//..//admin
/public/%2e%2e/admin /public/.%2e/admin /public/%2e./admin /public/%2E%2E/admin /public/%2e%2e%2fadmin /public/..%2fadmin /public/..%2Fadmin
/public/..%5cadmin /public/..\\admin /public\\..\\admin /public/%252e%252e/admin /public/%252e%252e%252fadmin /public/..%252fadmin
/public/..;/admin /public/..;x/admin /public/..;x=1/admin /public/%2e%2e;/admin /public/.;/../admin /public/.;x/../admin /public;/../admin
/public;x/../admin /public/;x/../../admin /public/..%3b/admin /public/..%3Bx/admin /public/%2e%2e%3b/admin /public/.%3b/../admin
/public/..%00/admin /public/..%0d/admin /public/..%0a/admin /public/..%09/admin /public/..%20/admin /public/.. /admin /public/..%c0%af/admin
/public/%c0%ae%c0%ae/admin /public/%c0%ae%c0%ae%c0%afadmin /public/%e0%80%ae%e0%80%ae/admin /public/%uff0e%uff0e/admin /public/%ef%bc%8e%ef%bc%8e/admin
/public/.../admin /public/..../admin /public/...//admin /public/..././admin /public/x/..././../admin /public/~/../../admin
/../admin /../../admin /public/../../admin /%2e%2e/admin /..%2fadmin /..;/admin /../public /public/.. /public/../ /public/../public/../admin
/admin#x /#/admin /public#/../admin /public/%23/../../admin /public?/../admin /public?x#/admin /admin#?/public /public/a?b?c /?/admin
/public/a%2 /public/a% /public/a%zz /public/a%2x /public/%g0/admin /public/%-1 /public/%+2f /public/a%0 /%/../admin
/admin/%2e /admin/%2e%2e /admin/%2e%2e/admin /admin/x/%2e%2e /admin/./x /admin//x /admin/////x /admin/x/../y /admin/../admin/../admin/x
/public/admin /public/a/admin /adminx /xadmin /admin-x /admin_x /admins /public/%61dmin /public/../public/a /public/a%2Eb /public /public/ /
/public;x /public/;x /public/a;x /public/a;x/b /public/a%3bx /public%3b /public%2f /public%2fa /public%20/a /Public/a /PUBLIC/a /publicx /public.
/public/%7e /public/%7E /public/a%20b /public/a+b /public/%C3%A9 /public/\xc3\xa9 /public/a|b /public/a"b /public/a<b> /public/a^b /public/{a} /public/a`b
* ** /* admin public/a .. . ./admin ../admin ?x #x ; /.admin /..admin /.admin/../admin
http://shop.example/admin http://shop.example http://shop.example/public/../admin http://shop.example?/admin http://internal.example/public/a
http://INTERNAL.example/public/a http://internal.example./public/a http://internal.example:80/public/a https://internal.example/public/a
HTTP://internal.example/public/a http:internal.example/public/a http:/internal.example/public/a http:///admin http://x@internal.example/public/a
http://internal.example@shop.example/public/a http://shop.example:x/public/a http://shop.example#@internal.example/public http://shop.example\\@internal.example/
http://shop.example//admin http://shop.example/%2e%2e/admin http://[::1]/public/a http://[::1%25eth0]/public/a http://shop.example.:80/public/a
ftp://internal.example/public/a //internal.example/public/a ///internal.example/public/a /public://internal.example /http://internal.example/
internal.example:80 internal.example shop.example:443 /public/http://internal.example/ /public/a:80 urn:admin javascript:admin data:/admin file:///admin
""".split()
PATHS = [path.encode("latin-1") for path in PATHS] + [
    b"/public/a b", b"/public/a\tb", b"/public/a HTTP/1.1 x", b"/admin\t", b" /admin", b"\t/admin", b"/public/\x7f", b"/public/\x01a", b"/public/a\x00",
    b"/public/" + b"a/" * 200 + b"../" * 201 + b"admin", b"/public/" + b"%2e%2e/" * 3 + b"admin", b"/public/" + b"a" * 3000, b"/" + b"./" * 300 + b"admin",
    b"/public/a?" + b"x" * 2000 + b"/../admin", b"/public/a\x85", b"/public/\xa0", b"/\xa0admin", b"/admin\xa0", b"/public/\xff/../../admin"]

METHODS = (b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT PROPFIND MKCOL PURGE M-SEARCH QUERY LINK delete Delete DELETe DELETE1 xDELETE "
           b"DELETE\t GET,DELETE GET\x0bDELETE \x44ELETE\x00 SOURCE LOCK PRI").split(b" ")

HOSTS = (b"internal.example Internal.Example INTERNAL.EXAMPLE internal.example. internal.example.. internal.example:80 internal.example:8080 "
         b"internal.example:0 internal.example:080 internal.example: internal.example:x internal.example.:80 .internal.example internal..example "
         b"x.internal.example internal.example.shop.example internal.example,shop.example shop.example,internal.example user@internal.example "
         b"internal.example@shop.example internal.example/ internal.example/x internal.example\\x internal.example? internal.example# internal%2eexample "
         b"internal%2Eexample internal.example%00 internal.example%20 internal.example;x [internal.example] [::1] [::1]:80 [::1%25eth0] [::ffff:10.0.0.1] "
         b"127.0.0.1 0x7f.1 2130706433 localhost _ - ~ * *.example shop.example. shop.example:1 SHOP.example a.shop.example xn--internal "
         b"internal\xe3\x80\x82example internal.exa\xc2\xadmple \xc2\xa0internal.example internal.example\xa0 http://internal.example").split(b" ")
HOSTS += [b"internal.example shop.example", b"shop.example internal.example", b"", b" ", b"\tinternal.example", b"internal.example\t", b"a" * 300 + b".example",
          b"internal.example\x00", b"internal.example\x0b", b"shop.example\r\n internal.example"]

ROLES = [(b"X-Role: admin",), (b"x-role:admin",), (b"X-ROLE:  admin  ",), (b"X-Role:\tadmin\t",), (b"X-Role: user", b"X-Role: admin"),
         (b"X-Role: admin", b"X-Role: user"), (b"X-Role: user,admin",), (b"X-Role: admin,user",), (b"X-Role: user, admin",), (b"X-Role: admin ,user",),
         (b"X-Role: ,admin",), (b"X-Role: admin,",), (b"X-Role: ,,admin,,",), (b"X-Role: user;admin",), (b'X-Role: "admin"',), (b"X-Role: ADMIN",),
         (b"X_Role: admin",), (b"X-Role: user", b"X_Role: admin"), (b"x_role: admin", b"X-Role: user"), (b"X-Role : admin",), (b" X-Role: admin",),
         (b"X-Role: user", b" admin"), (b"X-Role:", b" admin"), (b"X-Role: user,", b"\tadmin"), (b"X-Role: admin\x0b",), (b"X-Role: \x0cadmin",),
         (b"X-Role: \xa0admin",), (b"X-Role: admin\xa0",), (b"X-Role: \x85admin",), (b"X-Role: admin\x85",), (b"X-Role: \xc2\xa0admin",), (b"X-Role: admin\xc2\x85",),
         (b"X-Role: \xe2\x80\x83admin",), (b"X-Role: \xef\xbb\xbfadmin",), (b"X-Role: user,\xa0admin",), (b"X-Role: adm\xadin",), (b"X-Role: admin\x00",),
         (b"X-Role: ad\x00min",), (b"X-Role: user\x00admin",), (b"X-Role: user\rX-Role: admin",), (b"X-Role: user\nX-Role: admin",), (b"X-Role\x00: admin",),
         (b"X-Role: %61dmin",), (b"X-Role: =?utf-8?q?admin?=",), (b"X-Role", b"X-Role: admin"), (b":X-Role: admin",), (b"X-Role:: admin",), (b"X.Role: admin",),
         (b"Connection: x-role", b"X-Role: admin"), (b"Connection: close, x-role", b"X-Role: user", b"X-Role: admin"), (b"Connection: x-case",),
         (b"X-Role: " + b"user," * 400 + b"admin",), (b"X-Role: user",) * 20 + (b"X-Role: admin",), (b"X-R\xf6le: admin",), (b"X-Role: user\tadmin",),
         (b"X-HTTP-Method-Override: DELETE",), (b"X-Original-URL: /admin",), (b"X-Rewrite-URL: /admin",), (b"X-Forwarded-Host: internal.example",),
         (b"Forwarded: host=internal.example",), (b"X-Forwarded-Prefix: /admin",), (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk"),
         (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13"), (b"Expect: 100-continue",), (b"Expect: 200-ok",),
         (b"Range: bytes=0-1",), (b"TE: trailers, chunked", b"Connection: TE"), (b"Trailer: X-Role",), (b"Proxy-Connection: keep-alive",), (b"Keep-Alive: max=1",)]

CHUNKED = b"0\r\n\r\n"
LENGTHS = [b"5", b"+5", b"-1", b"0x5", b"05", b"0005", b"5 ", b" 5", b"5,5", b"5, 6", b"5\x0b", b"\xa05", b"", b"5_0", b"5e1", b"5.0", b"9223372036854775808",
           b"18446744073709551616", b"18446744073709551621", b"99999999999999999999", b"0", b"1", b"44", b"5;x", b"'5'", b"5\x00", b"\t5\t"]
CODINGS = [b"chunked", b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked", b"chunked\t", b"\x0bchunked", b"chunked\x0c", b"\xa0chunked", b"chunked\xa0", b"xchunked",
           b"chunkedx", b"chunked, chunked", b"chunked,", b",chunked", b"chunked, identity", b"identity", b"identity, chunked", b"gzip, chunked", b"chunked, gzip",
           b"gzip", b"", b" ", b'"chunked"', b"chunked;q=1", b"chunked;", b"chunk", b"chunked\r\n , identity", b"chunke\x00d", b"chunked\x00", b"ch\xfcnked", b"'chunked'",
           b"cow", b"cow, chunked", b"trailers", b"chunked\r\nTransfer-Encoding: x"]
CHUNKS = [b"0\r\n\r\n", b"00\r\n\r\n", b"000000000000000000000\r\n\r\n", b"0;x\r\n\r\n", b"0;x=y\r\n\r\n", b'0;x="\r\n\r\n"\r\n\r\n', b"0\n\n", b"0\r\n\n", b"0\r\r\n\r\n", b"0 \r\n\r\n",
          b" 0\r\n\r\n", b"0x0\r\n\r\n", b"-0\r\n\r\n", b"+0\r\n\r\n", b"\r\n0\r\n\r\n", b"\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n",
          b"5;a\r\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n", b"5\r\r;a\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n0\r\n\r\n", b"5_\r\nhello\r\n0\r\n\r\n", b"0_5\r\nhello\r\n0\r\n\r\n",
          b"ffffffffffffffff\r\nhello", b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"100000005\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nX-Role: admin\r\n\r\n",
          b"0\r\nHost: internal.example\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\nhello", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nx_role: admin\r\n\r\n", b"0\r\nX: y\r\n z\r\n\r\n",
          b"0\r\nX:POST /admin HTTP/1.1\r\n\r\n", b"0\r\n: x\r\n\r\n", b"0\r\nx\r\n\r\n", b"0\r\nX: a\rb\r\n\r\n", b"0\r\nX-Forwarded-Client-Cert: x\r\n\r\n", b"1\r\nZ\r\nQ", b"g\r\n\r\n",
          b"5 ;a\r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n", b"5;" + b"a" * 20000 + b"\r\nhello\r\n0\r\n\r\n", b"2\r\n\r\n\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n"]


def framings():
    """Bodies of which it may be unclear where they end, each with a request behind, or inside."""
    post = Draft(method=b"POST", target=b"/public/post")
    for length in LENGTHS:
        yield replace(post, lines=(b"Content-Length: " + length,), body=b"hello", behind=HIDDEN)
        yield replace(post, lines=(b"Content-Length: " + length, b"Content-Length: 0"), behind=HIDDEN)
        yield replace(post, lines=(b"Content-Length: " + length, b"Transfer-Encoding: chunked"), body=CHUNKED, behind=HIDDEN)
    for coding in CODINGS:
        yield replace(post, lines=(b"Transfer-Encoding: " + coding,), body=CHUNKED, behind=HIDDEN)
        yield replace(post, lines=(b"Transfer-Encoding: " + coding, b"Content-Length: %d" % len(CHUNKED + HIDDEN)), body=CHUNKED, behind=HIDDEN)
        yield replace(post, lines=(b"Content-Length: 4", b"Transfer-Encoding: " + coding), body=b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n" + CHUNKED)
        yield replace(post, lines=(b"Transfer-Encoding: chunked", b"Transfer-Encoding: " + coding), body=CHUNKED, behind=HIDDEN)
        yield replace(post, version=b"HTTP/1.0", lines=(b"Transfer-Encoding: " + coding, b"Connection: keep-alive"), body=CHUNKED, behind=HIDDEN)
    for chunks in CHUNKS:
        yield replace(post, lines=(b"Transfer-Encoding: chunked",), body=chunks, behind=HIDDEN)
    for name in (b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer_Encoding", b"Transfer-Encoding\t", b"X: y\r\nTransfer-Encoding", b"X: y\nTransfer-Encoding", b"X: y\rTransfer-Encoding",
                 b"Transfer\r\n-Encoding", b"Transfer-Encoding\x00", b"Transfer-Encoding\r\n"):
        yield replace(post, lines=(name + b": chunked", b"Content-Length: %d" % len(CHUNKED + HIDDEN)), body=CHUNKED, behind=HIDDEN)
    for name in (b"Content-Length ", b"Content_Length", b" Content-Length", b"Content-Length\x0b", b"Content Length", b"X: y\nContent-Length"):
        yield replace(post, lines=(name + b": %d" % len(HIDDEN),), behind=HIDDEN)
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT"):
        yield replace(post, method=method, lines=(b"Content-Length: %d" % len(HIDDEN),), body=HIDDEN)
        yield replace(post, method=method, lines=(b"Transfer-Encoding: chunked",), body=b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n" + CHUNKED)
    yield replace(post, lines=(b"Content-Length: %d" % len(HIDDEN), b"Expect: 100-continue"), body=HIDDEN)
    yield replace(post, lines=(b"Content-Length: 3",), body=b"abc", behind=b"\r\n" + HIDDEN)
    yield replace(post, lines=(b"Content-Length: 9999",), body=HIDDEN)
    yield replace(post, lines=(b"Connection: Content-Length", b"Content-Length: %d" % len(HIDDEN)), body=HIDDEN)
    yield replace(post, lines=(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked"), body=CHUNKED, behind=HIDDEN)
    yield replace(post, method=b"GET", lines=(b"Upgrade: websocket", b"Connection: Upgrade"), behind=HIDDEN)
    yield replace(post, method=b"GET", lines=(b"Connection: close",), behind=HIDDEN)


VERSIONS = (b"HTTP/1.0 HTTP/1.2 HTTP/2.0 HTTP/0.9 HTTP/1.1.1 HTTP/11 http/1.1 HTTP/1.01 HTTP/1. HTTP/1,1 HTTP/+1.1 RTSP/1.0 ICE/1.0 HTTP/1.1\t "
            b"HTTP/1.1\x00 HTTP\x0b/1.1 HTTP/1.1/admin").split(b" ")


def cases():
    """All that is written down, as drafts."""
    for path in PATHS:
        yield Draft(target=path)
        yield Draft(target=path, version=b"HTTP/1.0")
    for method in METHODS:
        yield Draft(method=method)
    for host in HOSTS:
        yield Draft(hosts=(host,))
        yield Draft(target=b"http://" + host + b"/public/a")
    for hosts in ((), (HOST, HOST), (HOST, b"internal.example"), (b"internal.example", HOST)):
        yield Draft(hosts=hosts)
        yield Draft(hosts=hosts, version=b"HTTP/1.0")
        yield Draft(hosts=hosts, target=b"http://shop.example/public/a")
    for lines in ROLES:
        yield Draft(lines=lines)
        yield Draft(lines=lines, behind=HIDDEN_DELETE)
    yield from framings()
    for version in VERSIONS:
        yield Draft(version=version)
    for end in (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x0b", b"\r\n\x00"):
        yield Draft(end=end)
    for behind in (HIDDEN, HIDDEN_DELETE, b"\r\n" + HIDDEN, b"\n" + HIDDEN, b"\x00" + HIDDEN, b"GET /admin\r\n\r\n", HIDDEN * 3, HIDDEN[:20]):
        yield Draft(behind=behind)


# --- what is made of them ------------------------------------------------------------------------------

TOKENS = [b"/", b"//", b"/./", b"/../", b"/x/../", b"..", b".", b";", b";x", b";x=1", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"%25", b"%252e", b"%252f", b"%00", b"%0a", b"%20",
          b"%3b", b"%3B", b"%3f", b"%23", b"%c0%af", b"%c0%ae", b"%e0%80%af", b"admin", b"/admin", b"/public", b"?", b"#", b"\\", b"@", b":", b"*", b"~", b"&", b"=", b"%61", b"%41",
          b"..;", b"..%3b", b".%2e", b"%2e%2e", b"%7f", b"%80", b"%ff", b"%", b"%2", b"|", b"{", b"}", b"^", b"`", b'"', b"<", b"\xa0", b"\t"]
BYTES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\x0b", b"\x0c", b"\x85", b"\xa0", b"\xff", b":", b",", b";", b"\r\n ", b"0", b"_", b"-"]


def recoded(rng, text):
    """One of its characters as a server might decode it."""
    if not text:
        return text
    at = rng.randrange(len(text))
    c = text[at]
    ways = [b"%%%02x" % c, b"%%%02X" % c, b"%%25%02x" % c, b"%%u%04x" % c, b"%%c%x%%%02x" % (c >> 6 & 1, 0x80 | c & 0x3F), bytes([c]).swapcase()]
    return text[:at] + rng.choice(ways) + text[at + 1:]


def spliced(rng, one, other):
    return one[:rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1):]


def inserted(rng, text, pieces):
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(pieces) + text[at:]


def mutate_target(rng, draft):
    way = rng.randrange(6)
    if way == 0:
        return replace(draft, target=rng.choice(PATHS))
    if way == 1:
        return replace(draft, target=spliced(rng, draft.target, rng.choice(PATHS)) or b"/")
    if way == 2:
        return replace(draft, target=rng.choice((b"/public/", b"/public/a/", b"/admin/", b"/")) + draft.target.lstrip(b"/"))
    if way == 3:
        return replace(draft, target=inserted(rng, draft.target, TOKENS))
    return replace(draft, target=recoded(rng, draft.target))


def mutate_host(rng, draft):
    host = rng.choice(HOSTS)
    way = rng.randrange(5)
    if way == 0:
        return replace(draft, hosts=(host,))
    if way == 1:
        return replace(draft, target=b"http://" + host + (draft.target if draft.target.startswith(b"/") else b"/public"))
    if way == 2:
        return replace(draft, hosts=(recoded(rng, draft.hosts[0]),) if draft.hosts else ())
    if way == 3:
        return replace(draft, hosts=(inserted(rng, draft.hosts[0] if draft.hosts else HOST, [b".", b":80", b"-", b"internal.", b".example", b"_"]),))
    return replace(draft, hosts=draft.hosts + (host,) if rng.random() < 0.3 else ())


def mutate_lines(rng, draft):
    lines = list(draft.lines)
    way = rng.randrange(5)
    if way < 2 or not lines:
        lines[rng.randrange(len(lines) + 1):0] = rng.choice(ROLES)
    elif way == 2:
        lines.append(rng.choice(lines))
    elif way == 3:
        lines[rng.randrange(len(lines))] = inserted(rng, rng.choice(lines), [*BYTES, b"admin", b"user,"])
    else:
        rng.shuffle(lines)
    return replace(draft, lines=tuple(lines))


def mutate_framing(rng, draft):
    framed = rng.choice(FRAMINGS)
    return replace(draft, method=framed.method if rng.random() < 0.8 else draft.method, lines=draft.lines + framed.lines, body=framed.body, behind=framed.behind)


def mutate_rest(rng, draft):
    way = rng.randrange(4)
    if way == 0:
        return replace(draft, method=rng.choice(METHODS))
    if way == 1:
        return replace(draft, version=rng.choice((b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.1", *VERSIONS)))
    return replace(draft, behind=rng.choice((HIDDEN, HIDDEN_DELETE, b"\r\n" + HIDDEN, Draft().text() + HIDDEN, Draft(target=rng.choice(PATHS)).text())))


FRAMINGS = list(framings())
CASES = list(cases())
MUTATIONS = [mutate_target] * 6 + [mutate_host] * 3 + [mutate_lines] * 4 + [mutate_framing] + [mutate_rest] * 2


def mutated(rng):
    """A draft that differs from one of CASES in one to four ways."""
    luck = rng.random()
    draft = rng.choice(CASES) if luck < 0.35 else Draft(target=rng.choice(PATHS)) if luck < 0.5 else Draft()
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        draft = rng.choice(MUTATIONS)(rng, draft)
    return draft


def spoiled(rng, text):
    """Bytes of it, wherever they are, gone, doubled or others."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(text) + 1)
        way = rng.randrange(4)
        if way == 0:
            text = text[:at] + rng.choice(BYTES) + text[at:]
        elif way == 1:
            text = text[:at] + text[at + 1:]
        elif way == 2:
            text = text[:at] + bytes([rng.randrange(256)]) + text[at + 1:]
        else:
            text = text[:at] + text[max(0, at - rng.randrange(40)):at] + text[at:]
    return text
