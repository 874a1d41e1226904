# SPDX-License-Identifier: Apache-2.0
"""What is measured: one table. Names are those of the results.

A layout says where the proxies stand:

    plain   caller -> proxy (vm-a)                 ->          origin (vm-b)      plain text throughout
    pair    caller -> proxy (vm-a) -> mutual TLS -> proxy (vm-b) -> origin (vm-b)
    same    caller -> one pass of ringmain, or a sidecar pair with mutual TLS -> origin, all on vm-a
"""
from dataclasses import dataclass

PLAIN, PAIR, SAME = "plain", "pair", "same"
# Kinds: how load is made, and what the figure is.
SATURATE = "saturate"        # closed loop on kept connections: CPU per request, requests per second
RATE = "rate"                # open loop at a constant rate: latency
BULK = "bulk"                # streams: Gbit/s
CONNECT = "connect"          # a connection for each exchange: connections per second
IDLE = "idle"                # connections that do nothing: memory


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    kind: str
    layout: str
    service: str             # of SERVICES: who is called
    connections: int = 64
    resumption: bool = True
    base: str = ""           # RATE: the scenario whose slowest contestant sets the rate
    share: float = 0         # RATE: and how much of it
    quick: bool = False      # part of --quick


@dataclass(frozen=True)
class Service:
    """What the origins serve: the same everywhere."""
    name: str
    protocol: str            # "http" or "tcp", as proxies see it
    port: int
    uid: int


SERVICES = {s.name: s for s in (
    Service("echo", "tcp", 7001, 12002),
    Service("http", "http", 7002, 12003),
    Service("source", "tcp", 7003, 12004),
)}
CALLER, CALLER_UID = "web", 12001
HOST, PATH_PREFIX, PATH, METHODS = "http.bench", "/api/", "/api/item", ["GET"]
PAYLOAD_BYTES = 1024


def rated(base, title, service, quick=False):
    return [Scenario(f"{base}_rate{percent}", f"{title}, at {percent} % of the slowest one's saturation", RATE, PAIR,
                     service, base=base, share=percent / 100, quick=quick and percent == 70)
            for percent in (50, 70)]


SCENARIOS = {s.name: s for s in (
    Scenario("tcp_plain", "TCP relay, plain", SATURATE, PLAIN, "echo", quick=True),
    Scenario("tcp_mtls_pair", "TCP, mutual TLS between two machines", SATURATE, PAIR, "echo", quick=True),
    Scenario("http_plain", "HTTP/1.1, plain", SATURATE, PLAIN, "http"),
    Scenario("http_mtls_pair", "HTTP/1.1, mutual TLS between two machines, policy on", SATURATE, PAIR, "http",
             quick=True),
    Scenario("same_machine", "HTTP/1.1 on one machine, policy on", SATURATE, SAME, "http", quick=True),
    *rated("tcp_mtls_pair", "TCP, mutual TLS between two machines", "echo"),
    *rated("http_mtls_pair", "HTTP/1.1, mutual TLS between two machines", "http", quick=True),
    Scenario("bulk_1", "Bulk transfer over mutual TLS, 1 stream", BULK, PAIR, "source", connections=1, quick=True),
    Scenario("bulk_16", "Bulk transfer over mutual TLS, 16 streams", BULK, PAIR, "source", connections=16),
    Scenario("handshakes_full", "New connections, full handshakes", CONNECT, PAIR, "echo", resumption=False),
    Scenario("handshakes_resumed", "New connections, resumed sessions", CONNECT, PAIR, "echo", quick=True),
    Scenario("idle_plain", "Idle connections, plain", IDLE, PLAIN, "echo", connections=10_000),
    Scenario("idle_mtls", "Idle connections, mutual TLS between two machines", IDLE, PAIR, "echo",
             connections=10_000, quick=True),
)}
