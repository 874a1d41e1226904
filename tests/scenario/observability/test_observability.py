# SPDX-License-Identifier: Apache-2.0
"""What operators see: series under the names that their dashboards know, one log line per request
with one reason, a status that tells the state."""
import contextlib
import json
import time

import pytest
from machines import wait_for
from mesh import ECHO, GUEST, ORDERS, STRANGER_UID, WEB, ScenarioMesh, request_text

POLICIES = [{"service": ["orders", "echo"], "action": "allow", "from": ["web"]}]
ISTIO_LABELS = {"reporter", "source_workload", "source_principal", "destination_workload",
                "destination_principal", "destination_service", "request_protocol", "response_code",
                "response_flags", "connection_security_policy"}


@pytest.fixture(scope="module")
def mesh():
    with ScenarioMesh([WEB, GUEST, ORDERS, ECHO], policies=POLICIES, default_policy="deny") as mesh:
        mesh.start()
        for _ in range(10):
            mesh.call("web", "orders", "POST /echo/counted", body=b"x" * 100)
        mesh.call("guest", "orders", "GET /denied")
        for _ in range(3):
            with mesh.dial("web", "echo") as wire:
                wire.send("hello").finish().rest()
        time.sleep(0.5)
        yield mesh


def test_requests_are_counted_at_both_ends(mesh):
    labels = dict(source_workload="web", destination_workload="orders", response_code="200")
    assert mesh["vm-a"].metric("istio_requests_total", reporter="source", **labels) == 10
    assert mesh["vm-b"].metric("istio_requests_total", reporter="destination", **labels) == 10
    assert mesh["vm-a"].metric("istio_requests_total", reporter="destination", **labels) == 0


def test_request_series_have_the_labels_that_dashboards_use(mesh):
    # the source does not report how it was secured, as in Istio: only the destination knows
    for node, reporter, policy in (("vm-a", "source", "unknown"), ("vm-b", "destination", "mutual_tls")):
        samples = mesh[node].metrics()["istio_requests_total"]
        labels = next(have for have, _ in samples if have["reporter"] == reporter and have["response_code"] == "200")
        assert ISTIO_LABELS <= set(labels)
        assert labels["source_principal"].endswith("mesh.test/service/web")
        assert labels["destination_principal"].endswith("mesh.test/service/orders")
        assert labels["connection_security_policy"] == policy
        assert labels["request_protocol"] == "http"
        assert all(value != "" for value in labels.values())


def test_refusals_are_counted_by_their_flag(mesh):
    assert mesh["vm-b"].metric("istio_requests_total", source_workload="guest", response_code="403",
                               response_flags="UAEX") == 1


def test_durations_and_sizes_are_histograms(mesh):
    metrics = mesh["vm-a"].metrics()
    labels = dict(reporter="source", source_workload="web", destination_workload="orders", response_code="200")
    for name in ("istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"):
        assert mesh["vm-a"].metric(name + "_count", **labels) == 10
        buckets = [(have["le"], value) for have, value in metrics[name + "_bucket"]
                   if all(have.get(k) == v for k, v in labels.items())]
        assert buckets[-1] == ("+Inf", 10)
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert mesh["vm-a"].metric("istio_request_bytes_sum", **labels) >= 1000


def test_tcp_is_counted_at_both_ends(mesh):
    for node, reporter in (("vm-a", "source"), ("vm-b", "destination")):
        labels = dict(reporter=reporter, destination_workload="echo")
        assert mesh[node].metric("istio_tcp_connections_opened_total", **labels) == 3
        assert mesh[node].metric("istio_tcp_connections_closed_total", **labels) == 3
        assert mesh[node].metric("istio_tcp_received_bytes_total", **labels) == 15
        assert mesh[node].metric("istio_tcp_sent_bytes_total", **labels) == 15


def test_exposition_formats(mesh):
    from nodes import UnixHttp
    for accept, kind, end in (("text/plain", "text/plain; version=0.0.4", ""),
                              ("application/openmetrics-text", "application/openmetrics-text", "# EOF\n")):
        connection = UnixHttp(mesh["vm-a"].admin_socket)
        connection.request("GET", "/metrics", headers={"Accept": accept})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        assert response.getheader("Content-Type").startswith(kind)
        assert text.endswith(end)
        typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        assert {"ringmain_connections_total", "istio_requests_total"} & typed or end


def test_nothing_a_peer_writes_becomes_a_label(mesh):
    mesh.call("web", "orders", "GET /very-own-path", ["Host: very-own-host", "User-Agent: very-own-agent"])
    text = mesh["vm-a"].admin_get("/metrics")[1] + mesh["vm-b"].admin_get("/metrics")[1]
    assert "very-own" not in text


def test_one_log_line_per_request_on_each_machine(mesh):
    mesh.call("web", "orders", "POST /echo/one-line", ["User-Agent: tester/1"], body=b"12345")
    for node, direction in (("vm-a", "outbound"), ("vm-b", "inbound")):
        line = mesh.access_line(node, path="/echo/one-line")  # exactly one
        assert line["direction"] == direction
        assert (line["method"], line["response_code"], line["protocol"]) == ("POST", 200, "http")
        assert line["source_identity"] == "spiffe://mesh.test/service/web"
        assert line["destination_service"] == "orders"
        assert line["security"] == "mutual_tls"
        assert line["user_agent"] == "tester/1"
        assert line["bytes_received"] >= 5 and line["bytes_sent"] > 0
        assert line["response_flags"] == "-"
        assert line["duration_ns"] > 0


def test_both_lines_have_one_request_id(mesh):
    mesh.call("web", "orders", "GET /echo/same-id")
    ids = {mesh.access_line(node, path="/echo/same-id")["request_id"] for node in ("vm-a", "vm-b")}
    assert len(ids) == 1 and ids != {None}
    mesh.call("web", "orders", "GET /echo/own-id", ["X-Request-Id: mine-7"])
    assert mesh.access_line("vm-b", path="/echo/own-id")["request_id"] == "mine-7"


def test_a_caller_cannot_forge_a_log_line(mesh):
    with mesh.dial("web", "orders") as wire:
        wire.send(request_text("GET /echo/quoted", "orders", ['User-Agent: a"b\\c\x80']))
        assert wire.reply().status == 200
    assert mesh.access_line("vm-b", path="/echo/quoted")["user_agent"].startswith('a"b\\c')


def test_tcp_connections_have_an_opening_and_a_closing_line(mesh):
    before = len(mesh.access_lines("vm-b", destination_service="echo"))
    with mesh.dial("web", "echo") as wire:
        wire.send("hello").exactly(5)
        wait_for(lambda: len(mesh.access_lines("vm-b", destination_service="echo")) == before + 1, "the opening")
    lines = wait_for(lambda: mesh.access_lines("vm-b", destination_service="echo")[before:][1:], "the closing")
    assert lines[0]["kind"] == "tcp_close" and lines[0]["bytes_received"] == 5
    assert lines[0]["response_flags"] == "-"


def test_signatures_in_queries_are_not_logged(mesh):
    mesh.call("web", "orders", "GET /echo/signed?a=1&X-Amz-Signature=5ec2e7")
    lines = wait_for(lambda: [x for x in mesh["vm-b"].access() if str(x.get("path")).startswith("/echo/signed")], "it")
    assert "5ec2e7" not in json.dumps(lines) and "REDACTED" in lines[0]["path"]


def test_status(mesh):
    for node in mesh:
        status = node.status()
        text = json.dumps(status)
        assert node.name in text and "mesh.test" in text
        for service in node.workloads():
            assert service.name in text
        plain = node.ringmain("status")
        assert node.name in plain.stdout


def test_status_tells_what_an_operator_asks_for(mesh):
    """Identities and when they end, listeners, callers that nobody knows, the last reload."""
    node = mesh["vm-b"]
    unknown = node.status()["counters"]["unattributed_total"]
    assert mesh.turned_away(STRANGER_UID, "orders", request_text("GET /", "orders"), machine="vm-b")
    status = wait_for(lambda: (now := node.status())["counters"]["unattributed_total"] == unknown + 1 and now, "it")
    identities = {row["identity"]: row for row in status["identities"]}
    assert set(identities) == {"service/orders", "service/echo"}
    for row in identities.values():
        assert row["id"] == f"spiffe://mesh.test/{row['identity']}" and row["serial"]
        assert row["lifetime_s"] >= 86400 and 80000 < row["expires_in_s"] <= 86400
        assert row["not_before"] < row["not_after"]
    assert status["identities_missing"] == []
    kinds = [row["kind"] for row in status["listeners"]]
    assert kinds.count("outbound") == kinds.count("inbound") == 2 * 16 * mesh.workers
    assert kinds.count("mesh") >= 2 and kinds.count("admin") == 1
    assert status["last_reload"]["ok"] and status["last_reload"]["time"] and status["ready"]
    table = node.ringmain("status").stdout
    for words in ("service/orders", "service/echo", "15008", "15201", "no known caller", "in force since"):
        assert words in table, words


def test_the_clients_own_address_is_known_at_the_far_end(mesh):
    """By the preamble that goes before the bytes of a TCP connection."""
    with mesh.dial("web", "echo") as wire:
        client = "%s:%d" % wire.sock.getsockname()
        wire.send("x").exactly(1)
        target = "%s:%d" % mesh.target("echo")
        for node in ("vm-a", "vm-b"):
            wait_for(lambda: mesh.access_lines(node, downstream_remote_address=client,
                                               downstream_local_address=target), f"{client} in the log of {node}")


def test_status_tells_of_the_redirect_rules(mesh):
    """In place, mended after somebody flushed them, taken down; and when nobody looks any more."""
    node = mesh["vm-a"]

    def redirect():
        return (node.status()["redirect"] or {"state": "unwatched"})["state"]

    def table():
        done = node.ringmain("status", check=False)
        return done.returncode, done.stdout
    assert redirect() == "unwatched"
    watch = node.machine.spawn("watch", [mesh.binary, "redirect", "watch", "-c", node.config, "--interval", "200ms"],
                               env=node.environment())
    wait_for(lambda: redirect() == "in place", "the watch to have looked")
    assert table()[0] == 0 and "rules in place" in table()[1]
    node.machine.run(["iptables", "-w", "-t", "nat", "-F", "OUTPUT"])
    wait_for(lambda: node.status()["redirect"]["mended_count"] == 1, "the flush to be mended", 5)
    assert mesh.call("web", "orders").status == 200
    assert "mended 1 time" in table()[1]
    wait_for(lambda: redirect() == "in place", "quiet again")
    node.redirect_down()
    wait_for(lambda: redirect() == "absent", "the status to tell of it")
    assert "workloads talk past the mesh" in table()[1]
    node.redirect_up()
    wait_for(lambda: redirect() == "in place", "the rules to stand again")
    watch.stop()
    wait_for(lambda: "has not looked for" in table()[1], "the status to miss the watch", 40)


def test_status_tells_of_rules_that_are_not_to_be_mended():
    with ScenarioMesh([WEB, ORDERS], groups={"redirect": {"drift": "report"}}) as mesh:
        mesh.start()
        node = mesh["vm-a"]
        node.machine.spawn("watch", [mesh.binary, "redirect", "watch", "-c", node.config, "--interval", "200ms"],
                           env=node.environment())
        wait_for(lambda: (node.status()["redirect"] or {}).get("state") == "in place", "the watch to have looked")
        node.machine.run(["iptables", "-w", "-t", "nat", "-F", "OUTPUT"])
        wait_for(lambda: node.status()["redirect"]["state"] == "drifted", "the drift to be told", 5)
        done = node.ringmain("status", check=False)
        assert done.returncode == 1 and "RINGMAIN_OUT" in done.stdout


def test_status_without_a_proxy_is_a_problem_found(mesh):
    node = mesh["vm-a"]
    moved = node.admin_socket.with_suffix(".away")
    node.admin_socket.rename(moved)
    try:
        done = node.ringmain("status", check=False)
        assert done.returncode == 1 and done.stderr
    finally:
        moved.rename(node.admin_socket)


@pytest.mark.parametrize("path,status", [("/healthz", 200), ("/readyz", 200), ("/no-such-page", 404)])
def test_health_pages(mesh, path, status):
    assert mesh["vm-a"].admin_get(path)[0] == status


def test_tcp_port_of_the_admin_shows_three_pages_and_takes_no_order():
    with ScenarioMesh([WEB, ORDERS], groups={"node": {"admin_tcp": "127.0.0.1:15000"}}) as mesh:
        mesh.start()

        def ask(method, path):
            done = mesh.lab["vm-a"].run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", method,
                                         f"http://127.0.0.1:15000{path}"], uid=STRANGER_UID)
            return int(done.stdout)
        assert [ask("GET", path) for path in ("/metrics", "/healthz", "/readyz")] == [200] * 3
        for method, path in (("GET", "/status"), ("GET", "/certs"), ("POST", "/reload"), ("POST", "/drain")):
            assert ask(method, path) in (403, 404, 405)
        assert mesh.call("web", "orders").status == 200
        with pytest.raises(ConnectionRefusedError):
            mesh.lab["vm-b"].connect(STRANGER_UID, mesh.lab["vm-a"].v4, 15000)


def test_admin_socket_is_for_root_and_its_group(mesh):
    mode = mesh["vm-a"].admin_socket.stat().st_mode & 0o777
    assert mode == 0o660
    with contextlib.suppress(Exception):
        done = mesh.lab["vm-a"].run(["curl", "-sS", "--unix-socket", mesh["vm-a"].admin_socket,
                                     "http://localhost/metrics"], uid=WEB.uid, check=False)
        assert done.returncode != 0
