/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/page.h"

#include "base/assert.h"
#include "json_check.h"
#include "mesh/external.h"
#include "proxy/facts.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sample sample;
static struct process_watch process;
static const struct page_source source = {&sample.proxy, &process, SAMPLE_NOW_NS};

static int setup(void **state)
{
	sample_init(&sample);
	process_watch_init(&process, sample.proxy.start_wall_ns);
	return 0;
}

static int teardown(void **state)
{
	sample_done(&sample);
	process_watch_done(&process);
	return 0;
}

static struct page_response ask(const char *method, const char *path, bool is_unix)
{
	struct page_response r;
	const struct page_request request = {
		.method = str_of(method),
		.path = str_of(path),
		.host = STR("localhost:15000"),
		.accept = STR("*/*"),
		.is_unix = is_unix,
	};
	page_answer(&source, &request, &r);
	return r;
}

static void assert_has(const struct page_response *r, const char *part)
{
	if (!memmem(r->body, r->body_len, part, strlen(part))) {
		print_error("missing: %s\nin:\n%.*s\n", part, (int)r->body_len, r->body);
		fail();
	}
}

static void every_route_and_method(void **state)
{
	static const struct {
		const char *method, *path;
		bool is_unix;
		uint16_t status;
		const char *allow;
	} rows[] = {
		{"GET", "/", false, 200, NULL}, {"GET", "/metrics", false, 200, NULL},
		{"HEAD", "/metrics", false, 200, NULL}, {"GET", "/livez", false, 200, NULL},
		{"GET", "/healthz", false, 200, NULL}, {"GET", "/readyz?verbose", false, 200, NULL},
		{"GET", "/status", true, 200, NULL}, {"GET", "/status", false, 403, NULL},
		{"GET", "/config_dump", true, 200, NULL}, {"GET", "/config_dump", false, 403, NULL},
		{"GET", "/certs", true, 200, NULL}, {"GET", "/certs", false, 403, NULL},
		{"GET", "/routes", true, 200, NULL}, {"GET", "/routes", false, 403, NULL},
		{"GET", "/routes/explain", true, 400, NULL},
		{"GET", "/routes/explain", false, 403, NULL},
		{"GET", "/externals", true, 200, NULL}, {"GET", "/externals", false, 403, NULL},
		{"GET", "/listeners", true, 200, NULL}, {"GET", "/listeners", false, 403, NULL},
		{"GET", "/version", false, 200, NULL}, {"GET", "/nothing", false, 404, NULL},
		{"GET", "", false, 404, NULL}, {"GET", "/statuses", false, 404, NULL},
		{"POST", "/status", true, 405, "GET, HEAD"},
		{"OPTIONS", "/status", false, 405, "GET, HEAD"},
		{"GET", "/reload", true, 405, "POST"}, {"HEAD", "/drain", true, 405, "POST"},
		{"POST", "/reload", false, 403, NULL}, {"POST", "/drain", false, 403, NULL},
		{"GET", "/endpoints/drain", true, 405, "POST"},
		{"POST", "/endpoints/drain", false, 403, NULL},
		{"POST", "/endpoints/undrain", false, 403, NULL},
		{"POST", "/endpoints/drain", true, 409, NULL}, /* standalone */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct page_response r = ask(rows[i].method, rows[i].path, rows[i].is_unix);
		if (r.status != rows[i].status)
			print_error("%s %s: %u\n", rows[i].method, rows[i].path, r.status);
		assert_int_equal(r.status, rows[i].status);
		assert_int_equal(!r.allow, !rows[i].allow);
		if (r.allow)
			assert_string_equal(r.allow, rows[i].allow);
		assert_non_null(r.type);
		assert_true(r.body_len > 0);
		page_response_done(&r);
	}
	assert_false(sample.proxy.reload_asked);
	assert_false(sample.proxy.drain_asked);
}

static void changes_are_asked_for_on_the_unix_socket(void **state)
{
	struct page_response r = ask("POST", "/drain", true);
	assert_int_equal(r.status, 202);
	assert_true(sample.proxy.drain_asked);
	page_response_done(&r);
	r = ask("POST", "/reload", true);
	assert_true(r.await_reload);
	assert_true(sample.proxy.reload_asked);
	page_response_done(&r);
}

static void reload_answers_with_its_outcome(void **state)
{
	struct page_response r;
	sample.proxy.reload_wall_ns = SAMPLE_NOW_NS - 1;
	assert_false(page_reloaded(&source, SAMPLE_NOW_NS, false, &r));
	assert_true(page_reloaded(&source, SAMPLE_NOW_NS, true, &r));
	assert_int_equal(r.status, 202);
	page_response_done(&r);
	sample.proxy.reload_wall_ns = SAMPLE_NOW_NS + 1;
	strcpy(sample.proxy.reload_text, "ringmain.conf:3: nope");
	assert_true(page_reloaded(&source, SAMPLE_NOW_NS, false, &r));
	assert_int_equal(r.status, 409);
	assert_has(&r, "ringmain.conf:3: nope\n");
	page_response_done(&r);
	sample.proxy.reload_ok = true;
	sample.proxy.reload_text[0] = 0;
	assert_true(page_reloaded(&source, SAMPLE_NOW_NS, false, &r));
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "reloaded: generation 3 is in force\n");
	page_response_done(&r);
}

static void hosts(void **state)
{
	static const struct {
		const char *host;
		bool loopback;
	} rows[] = {
		{"localhost", true},
		{"LOCALHOST:15000", true},
		{"127.0.0.1", true},
		{"127.0.0.1:1", true},
		{"[::1]", true},
		{"[::1]:15000", true},
		{"", false},
		{"localhost.evil.example", false},
		{"localhost:", false},
		{"localhost:x", false},
		{"evil.example:15000", false},
		{"127.0.0.1.evil.example", false},
		{"127.0.0.2", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(page_host_is_loopback(str_of(rows[i].host)), rows[i].loopback);
}

static void foreign_host_is_refused_on_tcp_only(void **state)
{
	struct page_request request = {
		.method = STR("GET"), .path = STR("/status"), .host = STR("evil.example")};
	struct page_response r;
	page_answer(&source, &request, &r);
	assert_int_equal(r.status, 403);
	page_response_done(&r);
	request.is_unix = true;
	page_answer(&source, &request, &r);
	assert_int_equal(r.status, 200);
	page_response_done(&r);
}

static void metric_formats(void **state)
{
	static const struct {
		const char *accept;
		bool openmetrics;
	} rows[] = {
		{"", false},
		{"*/*", false},
		{"text/plain", false},
		{"application/openmetrics-text", true},
		{"application/openmetrics-text;version=1.0.0;q=0.5,"
		 "application/openmetrics-text;version=0.0.1;q=0.4,"
		 "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
			true},
		{"text/plain;q=0.9, application/openmetrics-text;q=0.5", false},
		{"text/plain;q=0.5, Application/OpenMetrics-Text; q=0.75", true},
		{"application/openmetrics-text;q=0", false},
		{"application/openmetrics-text;q=x", false},
		{"application/openmetrics-textual", false},
		{",,;q=,", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
			page_wants_openmetrics(str_of(rows[i].accept)), rows[i].openmetrics);
}

static void metrics_page(void **state)
{
	struct page_response r = ask("GET", "/metrics", false);
	assert_string_equal(r.type, "text/plain; version=0.0.4; charset=utf-8");
	assert_has(&r,
		"\nringmain_certificate_expiry_timestamp_seconds{identity=\"service/orders\"} "
		"1795467000\n");
	assert_has(&r, "\nringmain_generation 3\n");
	assert_has(&r, "\nringmain_build_info{version=\"" RINGMAIN_VERSION "\"} 1\n");
	page_response_done(&r);
	const struct page_request request = {.method = STR("GET"),
		.path = STR("/metrics"),
		.accept = STR("application/openmetrics-text"),
		.is_unix = true};
	page_answer(&source, &request, &r);
	assert_string_equal(r.type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
	assert_string_equal(r.body + r.body_len - 6, "# EOF\n");
	page_response_done(&r);
}

static void certificates_of_files_are_told_as_far_as_they_can_be(void **state)
{
	struct page_response r = ask("GET", "/certs", true);
	assert_has(&r, "\"certificates\":[{\"identity\":\"service/orders\",\"state\":\"fresh\","
		       "\"source\":\"files\",\"serial\":\"0a:1b\",\"served_serial\":null,");
	assert_has(&r, "\"renews_in_s\":null,");
	page_response_done(&r);
	sample.identities[0].not_after_s = SAMPLE_NOW_S + 100;
	sample.identity_count = 1;
	r = ask("GET", "/certs", true);
	assert_has(&r, "\"identity\":\"service/orders\",\"state\":\"ending\",");
	assert_has(&r, "\"identity\":\"service/web\",\"state\":\"missing\",");
	assert_has(&r, "\"why\":\"the directory has none\"");
	page_response_done(&r);
}

static void certificates_of_an_authority_are_told_with_what_comes_next(void **state)
{
	sample_enroll(&sample);
	struct page_response r = ask("GET", "/certs", true);
	assert_has(&r, "\"identity\":\"node/vm-a\",\"state\":\"fresh\",\"source\":\"ca\","
		       "\"serial\":\"77aa\",\"served_serial\":null,");
	assert_has(&r, "\"expires_in_s\":3000,\"renews_in_s\":1200,\"renewed\":4,\"failed\":0,"
		       "\"why\":null}");
	assert_has(&r, "\"state\":\"ending\",\"source\":\"ca\",\"serial\":\"0a1b\","
		       "\"served_serial\":\"0a0a\",");
	assert_has(&r, "\"failed\":9,\"why\":\"connection refused\"}");
	assert_has(&r, "\"trust\":[{\"trust_domain\":\"prod.example\",\"anchors\":2,"
		       "\"expires_in_s\":86400,\"crls\":1,\"revoked\":3,"
		       "\"crl_next_update_in_s\":550,\"crl_age_s\":50,\"asks_in_s\":30,"
		       "\"failed\":2,\"why\":\"no route\"}],\"clock_skew_s\":-7");
	page_response_done(&r);
}

static void what_is_not_renewed_is_told_before_it_ends(void **state)
{
	sample_enroll(&sample);
	struct page_response r = ask("GET", "/readyz", false);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "ready\ndegraded: the certificate of service/orders is not "
				    "renewed: connection refused\n"
				    "degraded: the mesh port serves another certificate of "
				    "service/orders than the one in force\n");
	page_response_done(&r);
}

static void a_revoked_certificate_is_told(void **state)
{
	sample_enroll(&sample);
	struct wire_certificate *row = NULL;
	for (uint32_t i = 0; i < sample.proxy.identities.row_count && !row; i++) {
		if (strcmp(sample.proxy.identities.rows[i].identity, "service/orders") == 0)
			row = &sample.proxy.identities.rows[i];
	}
	assert_non_null(row);
	uint32_t before = row->state;
	row->state = WIRE_CERTIFICATE_REVOKED;
	struct page_response r = ask("GET", "/readyz", false);
	assert_has(&r, "degraded: the certificate of service/orders has been revoked: ");
	page_response_done(&r);
	r = ask("GET", "/certs", true);
	assert_has(&r, "\"identity\":\"service/orders\",\"state\":\"revoked\",");
	page_response_done(&r);
	row->state = before;
}

static void metrics_tell_of_certificates(void **state)
{
	sample_enroll(&sample);
	struct page_response r = ask("GET", "/metrics", false);
	assert_has(&r, "\nringmain_certificate_expiry_timestamp_seconds{identity=\"node/vm-a\"} "
		       "1795467000\n");
	assert_has(&r, "\nringmain_certificate_renewals_total{identity=\"node/vm-a\"} 4\n");
	assert_has(&r, "\nringmain_certificate_failures{identity=\"service/orders\"} 9\n");
	assert_has(&r, "\nringmain_certificate_served_other{identity=\"service/orders\"} 1\n");
	assert_has(&r, "\nringmain_certificate_served_other{identity=\"node/vm-a\"} 0\n");
	assert_has(&r, "\nringmain_clock_skew_seconds -7\n");
	assert_has(&r, "\nringmain_crl_age_seconds{trust_domain=\"prod.example\"} 50\n");
	assert_has(&r, "\nringmain_crl_entries{trust_domain=\"prod.example\"} 3\n");
	page_response_done(&r);
}

static void json_pages_are_valid(void **state)
{
	static const char *const paths[] = {
		"/status", "/config_dump", "/certs", "/listeners", "/externals", "/version"};
	for (int with_plan = 1; with_plan >= 0; with_plan--) {
		if (!with_plan)
			sample.proxy.plan = NULL;
		for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
			struct page_response r = ask("GET", paths[i], true);
			if (r.status == 200) {
				assert_string_equal(r.type, "application/json");
				assert_true(json_valid(r.body, r.body_len));
			} else {
				assert_false(with_plan);
			}
			page_response_done(&r);
		}
	}
}

static void status_page(void **state)
{
	metric_add(&metrics_values(sample.metrics[0])->unattributed_total, 2);
	metric_add(&metrics_values(sample.metrics[1])->unattributed_total, 1);
	struct page_response r = ask("GET", "/status", true);
	assert_has(&r, "\"version\":\"" RINGMAIN_VERSION "\",\"node\":\"vm-a\","
		       "\"trust_domain\":\"prod.example\",");
	assert_has(&r, "\"start_time\":\"2026-11-23T18:00:00.000Z\",\"uptime_s\":7200,"
		       "\"restart_count\":0,\"workers\":2,\"generation\":3,\"ready\":true,"
		       "\"not_ready\":null,\"draining\":false,\"last_reload\":null,");
	assert_has(&r, "{\"identity\":\"service/orders\","
		       "\"id\":\"spiffe://prod.example/service/orders\",\"serial\":\"0a:1b\","
		       "\"not_before\":\"2026-11-23T19:50:00.000Z\","
		       "\"not_after\":\"2026-11-23T20:50:00.000Z\",\"lifetime_s\":3600,"
		       "\"expires_in_s\":3000}");
	assert_has(&r, "\"identities_missing\":[],");
	assert_has(&r, "{\"kind\":\"outbound\",\"address\":\"127.0.0.1:15101\",\"worker\":1},"
		       "{\"kind\":\"mesh\",\"address\":\"10.77.0.1:15008\",\"worker\":0},"
		       "{\"kind\":\"admin\",\"address\":\"/run/ringmain/admin.sock\"}]");
	assert_has(&r, "{\"service\":\"orders\",\"identity\":\"service/orders\","
		       "\"refused\":false,\"version\":\"v1\",\"user\":\"orders\","
		       "\"uid\":1001,\"mark\":1,\"port\":8080,\"protocol\":\"http\","
		       "\"mtls\":\"strict\",\"deliver\":\"127.0.0.1:8080\",\"serving\":3}");
	assert_has(&r, "\"unattributed_total\":3,");
	page_response_done(&r);
	sample.proxy.reload_wall_ns = SAMPLE_NOW_NS;
	strcpy(sample.proxy.reload_text, "line 1\nline \"2\"");
	r = ask("GET", "/status", true);
	assert_has(&r, "\"last_reload\":{\"time\":\"2026-11-23T20:00:00.000Z\",\"ok\":false,"
		       "\"text\":\"line 1\\u000aline \\\"2\\\"\"}");
	page_response_done(&r);
}

static void config_page(void **state)
{
	struct page_response r = ask("GET", "/config_dump", true);
	assert_has(&r, "\"default_policy\":\"deny\",\"policy_mode\":\"enforce\","
		       "\"services\":[{\"name\":\"orders\","
		       "\"identity\":\"service/orders\","
		       "\"ids\":[\"spiffe://prod.example/service/orders\"],"
		       "\"protocol\":\"http\",\"server_first\":false,\"mtls\":\"strict\","
		       "\"mtls_ports\":[{\"port\":9100,\"mtls\":\"disabled\"}],"
		       "\"default_policy\":\"mesh\",\"endpoints\":[{\"address\":\"10.77.0.1:8080\","
		       "\"version\":\"v1\","
		       "\"local\":true},{\"address\":\"10.77.0.2:8080\",\"version\":null,"
		       "\"local\":false}],\"policies\":[\"policies[0]\"]}");
	assert_has(&r, "\"policies\":[{\"name\":\"policies[0]\",\"where\":\"mesh.conf:1\","
		       "\"action\":\"allow\",\"mode\":\"enforce\",\"from\":[\"web\"],"
		       "\"not_from\":null,\"ports\":null,\"methods\":null,\"paths\":null,"
		       "\"hosts\":null,\"not_ports\":null,\"not_methods\":null,"
		       "\"not_paths\":null,\"not_hosts\":null,\"headers\":[],"
		       "\"token\":null}]");
	assert_has(&r,
		"\"routes\":[{\"service\":\"orders\",\"rules\":[{\"name\":\"orders/canary\","
		"\"action\":\"forward\",\"split\":[{\"service\":\"orders\",\"version\":\"v1\","
		"\"weight\":90},{\"service\":null,\"version\":null,\"weight\":10}],"
		"\"mirror\":[]}]}]");
	assert_has(&r, "\"local_addresses\":[\"10.77.0.1\"],\"passthrough\":[\"10.99.0.0/16\"]}");
	page_response_done(&r);
	sample.proxy.plan = NULL;
	r = ask("GET", "/config_dump", true);
	assert_int_equal(r.status, 503);
	page_response_done(&r);
}

static void externals_page(void **state)
{
	struct str hosts[] = {STR("found.example"), STR("*.cdn.example")};
	uint32_t ports[] = {443};
	struct address_range ranges[2];
	struct source from[] = {{.entry = STR("web")}, {.entry = STR("web")}};
	assert_true(address_range_parse(STR("198.51.101.0/24"), &ranges[0]) &&
		    address_range_parse(STR("198.51.100.9"), &ranges[1]));
	struct external externals[] = {{.name = STR("found"),
					       .hosts = hosts,
					       .host_count = 2,
					       .ports = ports,
					       .port_count = 1,
					       .where = STR("o.conf:1")},
		{.index = 1,
			.name = STR("made"),
			.hosts = hosts + 1,
			.host_count = 1,
			.ports = ports,
			.port_count = 1,
			.from = from,
			.from_count = 2,
			.tls = EXTERNAL_ORIGINATE,
			.addresses = ranges,
			.address_count = 2}};
	struct tls_store *none[2] = {NULL, NULL};
	sample.snapshot.externals = externals;
	sample.snapshot.external_count = 2;
	sample.plan.outside_tls = none;
	struct bundle outside;
	struct err err;
	bundle_init(&outside);
	assert_int_equal(bundle_add(&outside, STR("host"), STR("found.example"),
				 STR("198.51.100.7\n2001:db8::7"), &err),
		0);
	sample.plan.facts = facts_new(&outside, &outside);
	bundle_done(&outside);
	struct page_response r = ask("GET", "/externals", true);
	assert_has(&r, "{\"name\":\"found\",\"hosts\":[\"found.example\",\"*.cdn.example\"],"
		       "\"ports\":[443],\"tls\":\"passthrough\",\"from\":[],\"addresses\":[],"
		       "\"looked_up\":[\"198.51.100.7\",\"2001:db8::7\"],"
		       "\"where\":\"o.conf:1\"}");
	assert_has(&r, "\"tls\":\"originate\",\"sni\":null,\"ca\":null,\"has_roots\":false,"
		       "\"from\":[\"web\"],\"addresses\":[\"198.51.101.0/24\","
		       "\"198.51.100.9\"],\"looked_up\":[]");
	assert_has(&r, "\"unknown\":[{\"workload\":\"orders\",\"user\":\"orders\","
		       "\"mode\":\"refuse\"}");
	page_response_done(&r);
	facts_unref(sample.plan.facts);
	sample.plan.facts = NULL;
}

static void assert_not_ready(const char *why)
{
	struct page_response r = ask("GET", "/readyz", false);
	assert_int_equal(r.status, 503);
	assert_has(&r, why);
	page_response_done(&r);
}

static void readiness(void **state)
{
	struct page_response r = ask("GET", "/readyz", false);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "ready\n");
	page_response_done(&r);

	sample.identities[0].not_after_s = SAMPLE_NOW_S;
	assert_not_ready("the certificate of service/orders has expired\n");
	sample.identity_count = 1;
	assert_not_ready("no certificate for service/web\n");
	sample_join(&sample);
	sample.proxy.mesh.has_picture = false;
	assert_not_ready("the mesh's state has not been seen yet\n");
	sample.conf.state.redis_count = 0;
	sample.proxy.draining = true;
	assert_not_ready("draining\n");
	sample.proxy.listener_count = 0;
	assert_not_ready("no listening sockets\n");
	sample.proxy.plan = NULL;
	assert_not_ready("no configuration in force\n");
}

static void assert_lacks(const struct page_response *r, const char *part)
{
	assert_null(memmem(r->body, r->body_len, part, strlen(part)));
}

static void status_of_the_state(void **state)
{
	struct page_response r = ask("GET", "/status", true);
	assert_has(&r, "\"state\":{\"mode\":\"standalone\"}");
	assert_has(&r, "\"warnings\":[],\"warning_count\":0");
	assert_has(&r, "\"serving\":3}");
	page_response_done(&r);

	sample_join(&sample);
	r = ask("GET", "/status", true);
	assert_true(json_valid(r.body, r.body_len));
	assert_has(&r,
		"\"state\":{\"mode\":\"redis\",\"lease_s\":15,\"silent_s\":1,\"connected\":true,"
		"\"told\":false,\"loaded\":true,\"store\":\"10.77.0.10:6379\",\"revision\":41,"
		"\"store_revision\":42,\"age_s\":7,\"nodes\":4,\"endpoints\":20,"
		"\"objects\":9,\"held\":1,\"refused\":5,\"reconnects\":6,\"resyncs\":8,\"limits_"
		"away\":true,"
		"\"why\":\"object service/orders: not signed\",\"not_taken\":\"\","
		"\"drain_failed\":\"\",\"own\":["
		"{\"service\":\"orders\",\"health\":\"up\",\"drained\":false,\"why\":\"\"},"
		"{\"service\":\"orders\",\"health\":\"down\",\"drained\":false,"
		"\"why\":\"refused\"},"
		"{\"service\":\"web\",\"health\":\"drained\",\"drained\":true,\"why\":\"\"}]}");
	page_response_done(&r);

	/* Never agreed; and what comes from another process may not end where it should. */
	struct wire_state_view *view = &sample.proxy.mesh.view;
	view->view.agreed_wall_ns = 0;
	view->own_count = 1000;
	view->own[0].health = 77;
	memset(view->own[0].service, 'x', sizeof(view->own[0].service));
	memset(view->view.why, 'y', sizeof(view->view.why));
	strcpy(sample.proxy.mesh.refused_text, "mesh:service/orders:3: nope");
	r = ask("GET", "/status", true);
	assert_true(json_valid(r.body, r.body_len));
	assert_has(&r, "\"age_s\":null");
	assert_has(&r, "\"not_taken\":\"mesh:service/orders:3: nope\"");
	page_response_done(&r);
}

static void warnings_are_the_first_ones_and_their_number(void **state)
{
	char text[1000] = "policy/a@4:1: \"x\" never allows anything\n";
	for (int i = 0; i < 29; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "line %d\n", i);
	sample.proxy.plan->warnings = text;
	struct page_response r = ask("GET", "/status", true);
	sample.proxy.plan->warnings = NULL;
	assert_true(json_valid(r.body, r.body_len));
	assert_has(
		&r, "\"warnings\":[\"policy/a@4:1: \\\"x\\\" never allows anything\",\"line 0\",");
	assert_has(&r, "\"line 18\"],\"warning_count\":30");
	page_response_done(&r);
}

static void metrics_of_the_state(void **state)
{
	struct page_response r = ask("GET", "/metrics", true);
	assert_lacks(&r, "ringmain_state_");
	page_response_done(&r);
	sample_join(&sample);
	r = ask("GET", "/metrics", true);
	assert_has(&r, "\nringmain_state_connected 1\n");
	assert_has(&r, "\nringmain_state_age_seconds 7\n");
	assert_has(&r, "\nringmain_state_revision 41\n");
	assert_has(&r, "\nringmain_state_store_revision 42\n");
	assert_has(&r, "\nringmain_state_nodes 4\n");
	assert_has(&r, "\nringmain_state_endpoints 20\n");
	assert_has(&r, "\nringmain_state_held_nodes 1\n");
	assert_has(&r, "\nringmain_state_refused_total 7\n");
	assert_has(&r, "\nringmain_state_reconnects_total 6\n");
	assert_has(&r, "\nringmain_state_resyncs_total 8\n");
	assert_has(&r, "\nringmain_state_limits_away 1\n");
	assert_has(&r, "\nringmain_state_tokens_total 700\n");
	assert_has(&r, "\nringmain_state_token_commands_total 30\n");
	assert_has(&r, "\nringmain_state_tokens_refused_total 3\n");
	assert_has(&r, "\nringmain_state_bytes_total{direction=\"out\"} 2000\n");
	assert_has(&r, "ringmain_endpoint_health{service=\"orders\",health=\"up\"} 1\n"
		       "ringmain_endpoint_health{service=\"orders\",health=\"down\"} 1\n"
		       "ringmain_endpoint_health{service=\"orders\",health=\"drained\"} 0\n"
		       "ringmain_endpoint_health{service=\"web\",health=\"up\"} 0\n"
		       "ringmain_endpoint_health{service=\"web\",health=\"down\"} 0\n"
		       "ringmain_endpoint_health{service=\"web\",health=\"drained\"} 1\n");
	page_response_done(&r);

	/* Never agreed: as old as the process. */
	sample.proxy.mesh.view.view.agreed_wall_ns = 0;
	r = ask("GET", "/metrics", true);
	assert_has(&r, "\nringmain_state_age_seconds 7200\n");
	page_response_done(&r);
}

static void assert_answers(const char *path, uint16_t status, const char *part)
{
	struct page_response r = ask("POST", path, true);
	assert_int_equal(r.status, status);
	assert_has(&r, part);
	page_response_done(&r);
}

static void endpoints_are_taken_out_by_service_or_all(void **state)
{
	assert_answers("/endpoints/drain", 409, "standalone");
	sample_join(&sample);
	assert_answers("/endpoints/drain?service=orders", 202, "asked for");
	assert_answers("/endpoints/undrain", 202, "asked for");
	assert_int_equal(sample.proxy.take_out_count, 2);
	assert_string_equal(sample.proxy.take_outs[0].service, "orders");
	assert_int_equal(sample.proxy.take_outs[0].back, 0);
	assert_string_equal(sample.proxy.take_outs[1].service, "");
	assert_int_equal(sample.proxy.take_outs[1].back, 1);

	/* What is not understood is not taken for "all". */
	assert_answers("/endpoints/drain?servcie=orders", 400, "?service=NAME");
	assert_answers("/endpoints/drain?service=", 400, "?service=NAME");
	assert_answers("/endpoints/drain?", 400, "?service=NAME");
	assert_answers("/endpoints/drain?service=orders&x=1", 400, "?service=NAME");
	assert_answers("/endpoints/drain?service=web", 404, "serves web"); /* has no port */
	assert_answers("/endpoints/drain?service=other", 404, "serves other");
	for (int i = 0; i < 6; i++)
		assert_answers("/endpoints/drain", 202, "asked for");
	assert_answers("/endpoints/drain", 503, "too many");
	assert_int_equal(sample.proxy.take_out_count, PROXY_TAKE_OUTS_MAX);
}

static void index_lists_the_pages(void **state)
{
	struct page_response r = ask("GET", "/", false);
	assert_has(&r, "\nGET   /metrics             Prom");
	assert_has(&r, "\nPOST  /drain             * ");
	assert_has(&r, "\nPOST  /endpoints/undrain * ");
	page_response_done(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_route_and_method),
		TEST(changes_are_asked_for_on_the_unix_socket),
		TEST(reload_answers_with_its_outcome),
		TEST(hosts),
		TEST(foreign_host_is_refused_on_tcp_only),
		TEST(metric_formats),
		TEST(metrics_page),
		TEST(certificates_of_files_are_told_as_far_as_they_can_be),
		TEST(certificates_of_an_authority_are_told_with_what_comes_next),
		TEST(what_is_not_renewed_is_told_before_it_ends),
		TEST(a_revoked_certificate_is_told),
		TEST(metrics_tell_of_certificates),
		TEST(json_pages_are_valid),
		TEST(status_page),
		TEST(config_page),
		TEST(externals_page),
		TEST(status_of_the_state),
		TEST(warnings_are_the_first_ones_and_their_number),
		TEST(metrics_of_the_state),
		TEST(endpoints_are_taken_out_by_service_or_all),
		TEST(readiness),
		TEST(index_lists_the_pages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
