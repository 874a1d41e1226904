# SPDX-License-Identifier: Apache-2.0
"""nginx (1.22 is Debian 12's) as a contestant.

It speaks HTTP/1.1 to its upstreams and nothing newer, so that is what travels between the machines. It
checks the server by DNS name and the caller by the certificate's subject; it cannot look at SPIFFE ids.

Measured: microseconds of CPU for a request or connection of the whole pair, least of 3 to 6 interleaved
rounds, on one core of a virtual AMD EPYC (Zen 4), 64 connections, 1 KiB; noise is about 5 %.

    HTTP pair     45.5    no difference: without the request id and the caller's header, without policy,
                  proxy_buffering off, a proxy_buffer_size of 4 KiB, epoll_events 64, a smaller pool
                  worse: multi_accept (+4 %), an ssl_buffer_size of 4 KiB (+6 %),
                  proxy_ignore_client_abort (+10 %), postpone_output 0 (+20 %)
                  at 1, 8, 256 connections 136, 55, 61
    HTTP plain    18.1
    TCP pair      35.2    no difference: a proxy_buffer_size of 4 to 64 KiB
    TCP plain     13.0
    bulk, pair    us for a MB with 1 and 16 streams; buffers of 16 KiB 1770, 1990; of 32 KiB 1610, 1910;
                  of 64 KiB 1540, 1940
    connections   full handshakes 1380, 1460 with two tickets that nobody uses
                  resumed 610 from the built-in cache, which one process may use; 830 from a shared one,
                  1060 by one ticket, 1080 by two
"""
import re
import shutil
import subprocess
from pathlib import Path

from contest import TLS_CIPHERS, TLS_GROUPS

MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
FOREVER = "1000000000"


class Peer:
    name = "nginx"
    package = "the Debian packages nginx and libnginx-mod-stream"

    def find(self):
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        return program if program and MODULE.exists() else None

    def version(self):
        text = subprocess.run([self.find(), "-v"], capture_output=True, text=True).stderr
        return re.search(r"nginx/(\d+\.\d+\.\d+)", text)[1]

    def config(self, role, spec):
        inside = stream_lines(spec) if spec.protocol == "tcp" else http_lines(spec)
        return text_of([*main_lines(spec), (spec.protocol == "tcp" and "stream" or "http", inside)])

    def command(self, config_path, directory):
        return [self.find(), "-p", str(directory), "-e", "stderr", "-c", str(config_path)]


def text_of(lines, depth=0):
    """Directives as they are written: a string is one, a pair is a block."""
    indent, text = "    " * depth, ""
    for line in lines:
        if isinstance(line, tuple):
            text += f"{indent}{line[0]} {{\n{text_of(line[1], depth + 1)}{indent}}}\n"
        else:
            text += f"{indent}{line};\n"
    return text


def address(pair):
    return f"{pair[0]}:{pair[1]}"


def main_lines(spec):
    return [*([f"load_module {MODULE}"] if spec.protocol == "tcp" else []),
            "daemon off",
            f"worker_processes {spec.threads}",
            f"worker_rlimit_nofile {4 * spec.connections + 1024}",
            "pid nginx.pid",
            "error_log stderr crit",
            ("events", [f"worker_connections {2 * spec.connections + 128}"])]


def listen(spec, more=""):
    return f"listen {address(spec.listen)}{' ssl' if spec.tls_listen else ''} backlog=8192{more}"


def upstream(spec, more=()):
    balance = ["least_conn"] if len(spec.to) > 1 else []
    servers = [f"server {address(to)} max_fails=0" for to in spec.to]
    return ("upstream service", [*balance, *servers, *more])


def http_lines(spec):
    lines = ["access_log off",
             *[f"{name}_temp_path {name}" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")],
             "client_max_body_size 0",
             "keepalive_timeout 1h", f"keepalive_requests {FOREVER}", "keepalive_time 24h",
             "proxy_http_version 1.1", 'proxy_set_header Connection ""', "proxy_set_header Host $http_host",
             "proxy_read_timeout 5m", "proxy_send_timeout 5m", "proxy_buffer_size 16k", "proxy_buffers 4 16k",
             "proxy_max_temp_file_size 0",
             *named_lines(spec),
             upstream(spec, [f"keepalive {spec.connections}", "keepalive_timeout 1h", "keepalive_time 24h",
                             f"keepalive_requests {FOREVER}"])]
    conditions = policy(spec)
    if conditions:
        words, wanted = " ".join(c[0] for c in conditions), combinations([c[1] for c in conditions])
        lines.append((f'map "{words}" $denied', ["default 1", *[f'"{want}" 0' for want in wanted]]))
    answer = ["proxy_pass " + ("https" if spec.tls_to else "http") + "://service"]
    denial = [("if ($denied)", ["return 403"])] if conditions else []
    paths = [(f"location {spec.path_prefix or '/'}", [*denial, *answer])]
    if spec.path_prefix not in ("", "/"):
        paths.append(("location /", ["return 403"]))
    tls = [*listen_tls(spec), *proxy_tls(spec)]
    if spec.host:
        lines += [*tls, ("server", [listen(spec), f"server_name {spec.host}", *paths]),
                  ("server", [listen_again(spec), "return 404"])]
    else:
        lines += [*tls, ("server", [listen(spec), *paths])]
    return lines


def named_lines(spec):
    """A name for each request, where it begins, and where it ends the name of its caller."""
    if spec.tls_listen:
        return ["proxy_set_header X-Forwarded-Client-Cert 'Subject=\"$ssl_client_s_dn\"'"]
    return [("map $http_x_request_id $id", ["default $http_x_request_id", '"" $request_id']),
            "proxy_set_header X-Request-ID $id"]


def listen_again(spec):
    """The same socket's server for all other hosts."""
    return f"listen {address(spec.listen)}{' ssl' if spec.tls_listen else ''} default_server"


def policy(spec):
    """What is to be looked at in each request, and which values let it in."""
    conditions = []
    if spec.tls_listen and spec.caller_name:
        conditions.append(("$ssl_client_s_dn", [f"CN={spec.caller_name}"]))
    if spec.methods:
        conditions.append(("$request_method", spec.methods))
    return conditions


def combinations(lists):
    if not lists:
        return [""]
    return [f"{one} {rest}".strip() for one in lists[0] for rest in combinations(lists[1:])]


def stream_lines(spec):
    lines = ["proxy_timeout 1h", "proxy_connect_timeout 5s", "proxy_buffer_size 64k",
             *listen_tls(spec), *proxy_tls(spec), upstream(spec)]
    to = "service"
    if spec.tls_listen and spec.caller_name:
        lines.append(("map $ssl_client_s_dn $to", ['default ""', f'"CN={spec.caller_name}" service']))
        to = "$to"
    return [*lines, ("server", [listen(spec), f"proxy_pass {to}", *(["proxy_ssl on"] if spec.tls_to else [])])]


def groups():
    return ":".join({"P-256": "prime256v1"}.get(group, group) for group in TLS_GROUPS)


def listen_tls(spec):
    if not spec.tls_listen:
        return []
    return [f"ssl_certificate {spec.certificate}", f"ssl_certificate_key {spec.key}",
            f"ssl_client_certificate {spec.ca}", "ssl_verify_client on", "ssl_protocols TLSv1.3",
            f"ssl_conf_command Ciphersuites {':'.join(TLS_CIPHERS)}", "ssl_prefer_server_ciphers on",
            f"ssl_ecdh_curve {groups()}", "ssl_session_tickets off", *session_lines(spec)]


def session_lines(spec):
    if not spec.resumption:
        return ["ssl_session_cache off", "ssl_conf_command NumTickets 0"]
    return ["ssl_session_cache builtin", "ssl_session_timeout 1h", "ssl_conf_command NumTickets 1"]


def proxy_tls(spec):
    if not spec.tls_to:
        return []
    return [f"proxy_ssl_certificate {spec.certificate}", f"proxy_ssl_certificate_key {spec.key}",
            f"proxy_ssl_trusted_certificate {spec.ca}", "proxy_ssl_verify on", "proxy_ssl_server_name on",
            f"proxy_ssl_name {spec.server_name}", "proxy_ssl_protocols TLSv1.3",
            f"proxy_ssl_conf_command Ciphersuites {':'.join(TLS_CIPHERS)}",
            f"proxy_ssl_conf_command Groups {groups()}",
            f"proxy_ssl_session_reuse {'on' if spec.resumption else 'off'}"]
