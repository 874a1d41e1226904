# SPDX-License-Identifier: Apache-2.0
"""What takes part in the bench: the description of a proxy's work that every peer's module in
bench/peers turns into a configuration of its own.

A peer's module has one class, `Peer`:

    name                          "haproxy"
    package                       what brings it: "the Debian package haproxy"
    find() -> path or None        its program on this machine
    version() -> str              such as "2.6.12"
    config(role, spec) -> str     the text of its configuration file, nothing else happens
    command(config_path, directory) -> argv
                                  runs it in the foreground, one worker thread, as long as it is not
                                  signalled; `directory` is its own to write to
"""
from dataclasses import dataclass, field

# Roles. A pair is a client on the caller's machine and a server on the callee's.
PLAIN = "plain"    # plain in, plain out
CLIENT = "client"  # plain in, mutual TLS out
SERVER = "server"  # mutual TLS in, plain out


@dataclass(frozen=True)
class Spec:
    """The work of one proxy process."""
    protocol: str               # "tcp" or "http" (HTTP/1.1, keep-alive on both sides)
    listen: tuple               # (address, port)
    to: list                    # [(address, port), ...]: more than one are balanced
    tls_listen: bool = False    # mutual TLS 1.3: a client without a certificate of `ca` is refused
    tls_to: bool = False        # mutual TLS 1.3: the server is verified against `ca` and `server_name`
    certificate: str = ""       # PEM files: our own chain,
    key: str = ""               # its key,
    bundle: str = ""            # both in one file, for those who want that,
    ca: str = ""                # and whom we trust
    server_name: str = ""       # tls_to: sent as SNI, and a DNS name of the server's certificate
    server_id: str = ""         # tls_to: the SPIFFE id (URI) of the server's certificate
    caller_name: str = ""       # tls_listen: the only caller that is let in, by DNS name (and common name)
    caller_id: str = ""         # or by SPIFFE id, whichever the peer can look at
    resumption: bool = True     # TLS sessions are resumed by tickets
    host: str = ""              # http: the Host that is routed to `to`; others are answered 404
    methods: list = field(default_factory=list)   # http, policy: only these methods, when given,
    path_prefix: str = ""       # and only paths with this prefix; others are answered 403
    connections: int = 64       # so many at once: pools and limits have to hold them
    threads: int = 1

# Both ends of TLS use TLS 1.3 only, AES-128-GCM first, groups X25519 and P-256 in this order, P-256
# certificates with ECDSA and SHA-256.
TLS_CIPHERS = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
TLS_GROUPS = ["X25519", "P-256"]
