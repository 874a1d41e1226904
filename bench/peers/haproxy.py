# SPDX-License-Identifier: Apache-2.0
"""HAProxy (2.6 is Debian 12's) as a contestant.

HTTP travels as h2 between the machines: a few connections carry the requests of all callers, many in
one TLS record. `Peer(hop="http/1.1")` has one connection for each request in flight instead.

It checks certificates by their DNS name and common name; it cannot look at SPIFFE ids. The caller is
judged once for each connection, method and path for each request.

Measured: microseconds of CPU for a request or connection of the whole pair, least of 3 to 6 interleaved
rounds, on one core of a virtual AMD EPYC (Zen 4), 64 connections, 1 KiB; noise is about 5 %.

    HTTP pair     25.7: h2    45.1: HTTP/1.1    23.9: h2 without the request id and the caller's header
                  with h2 at 1, 8, 256 connections 168, 44, 30; with HTTP/1.1 142, 54, 61
                  no difference: a static verifyhost for the SNI, windows of 1 MiB, 32 or 256 streams to a
                  connection, buffers of 32 or 64 KiB, edge-triggered polling, -dMno-tag, http-no-delay,
                  low-latency scheduling
                  worse: http-reuse safe, which keeps h2 from being shared (61); buffers of 8 KiB do not
                  hold an h2 frame, and fail
    HTTP plain    18.2
    TCP pair      35.0    no difference: buffers of 16 to 128 KiB
    TCP plain      8.0    9.2: with splice-auto
    bulk, pair    us for a MB with 1 and 16 streams; buffers of 16 KiB 1880, 2030; of 32 KiB 1800, 1950;
                  of 64 KiB 1690, 1670; of 128 KiB 1530, 1850
    connections   full handshakes 1620, with tickets that nobody uses 2050; resumed from the session cache
                  1160, by tickets 1340
"""
import re
import shutil
import subprocess

from contest import TLS_CIPHERS, TLS_GROUPS


class Peer:
    name = "haproxy"
    package = "the Debian package haproxy"

    def __init__(self, hop="h2"):
        self.hop = hop  # what HTTP travels as between the two machines: "h2" or "http/1.1"

    def find(self):
        return shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")

    def version(self):
        text = subprocess.run([self.find(), "-v"], capture_output=True, text=True).stdout
        return re.search(r"version (\d+\.\d+\.\d+)", text)[1]

    def config(self, role, spec):
        return "\n".join([*global_lines(spec), *defaults_lines(spec), *frontend_lines(spec, self.hop),
                          *backend_lines(spec, self.hop), ""])

    def command(self, config_path, directory):
        return [self.find(), "-q", "-db", "-f", str(config_path)]


def address(pair):
    return f"{pair[0]}:{pair[1]}"


def global_lines(spec):
    lines = ["global",
             f"    nbthread {spec.threads}",
             f"    maxconn {spec.connections + 256}",
             # Or else connections would stop being kept when a quarter of maxconn is in use.
             "    tune.pool-low-fd-ratio 100",
             "    tune.pool-high-fd-ratio 100"]
    if spec.protocol == "tcp":
        lines.append("    tune.bufsize 65536")
    if not spec.resumption:
        lines.append("    tune.ssl.cachesize 0")
    return lines


def defaults_lines(spec):
    lines = ["defaults",
             f"    mode {spec.protocol}",
             "    timeout connect 5s",
             "    timeout client 1h",
             "    timeout server 1h"]
    if spec.protocol == "http":
        lines += ["    timeout http-request 30s",
                  "    timeout http-keep-alive 1h",
                  "    http-reuse always"]
    return lines


def frontend_lines(spec, hop):
    lines = ["frontend in", f"    bind {address(spec.listen)}{bind_tls(spec, hop)}"]
    if spec.tls_listen:
        lines.append("    tcp-request session set-var(sess.caller) ssl_c_s_dn(cn)")
    if spec.tls_listen and spec.caller_name:
        lines.append(f"    tcp-request session reject unless {{ var(sess.caller) -m str {spec.caller_name} }}")
    if spec.protocol == "tcp":
        return [*lines, "    default_backend service"]
    rules = []
    if spec.methods:
        rules.append(f"{{ method {' '.join(spec.methods)} }}")
    if spec.path_prefix:
        rules.append(f"{{ path_beg {spec.path_prefix} }}")
    if rules:
        lines.append(f"    http-request deny deny_status 403 unless {' '.join(rules)}")
    if spec.tls_listen:
        lines.append("    http-request set-header X-Forwarded-Client-Cert Subject=\"CN=%[var(sess.caller)]\"")
    else:
        lines.append("    http-request set-header X-Request-ID %[uuid] unless { req.hdr(X-Request-ID) -m found }")
    if spec.host:
        lines.append(f"    use_backend service if {{ req.hdr(host) -m str {spec.host} }}")
        lines.append("    default_backend unknown")
    else:
        lines.append("    default_backend service")
    return lines


def bind_tls(spec, hop):
    if not spec.tls_listen:
        return ""
    words = [" ssl", "crt", spec.bundle, "ca-file", spec.ca, "verify required", "ssl-min-ver TLSv1.3",
             "ciphersuites", ":".join(TLS_CIPHERS), "curves", ":".join(TLS_GROUPS), "no-tls-tickets"]
    if spec.protocol == "http":
        words.append(f"alpn {hop}")
    return " ".join(words)


def backend_lines(spec, hop):
    lines = ["backend service"]
    if len(spec.to) > 1:
        lines.append("    balance leastconn")
    for number, to in enumerate(spec.to):
        lines.append(f"    server s{number} {address(to)}{server_tls(spec, hop)}")
    if spec.host:
        lines += ["backend unknown", "    http-request deny deny_status 404"]
    return lines


def server_tls(spec, hop):
    if not spec.tls_to:
        return ""
    # 2.6 has no setting for a client's groups: OpenSSL's are X25519 first, and the callee's bind decides.
    words = [" ssl", "crt", spec.bundle, "ca-file", spec.ca, "verify required", "ssl-min-ver TLSv1.3",
             "ciphersuites", ":".join(TLS_CIPHERS), "sni", f"str({spec.server_name})"]
    if spec.protocol == "http":
        words.append(f"alpn {hop}")
    if not spec.resumption:
        words.append("no-ssl-reuse")
    return " ".join(words)
