/* SPDX-License-Identifier: Apache-2.0 */
/* Live connections when a new plan comes into force, and when a peer's certificate ends. */
#include "far.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
#define UPGRADE(path) \
	"GET " path " HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHED \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
#define STREAM "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
#define LEAF_S 3600 /* what is left of a leaf's life when a lab starts */

#define DENY_ALL "policies: ( { name = \"nobody\"; service = \"*\"; action = \"deny\"; },\n"

#define DENY_2                                                                                   \
	"policies: ( { name = \"nobody\"; service = \"*\"; action = \"deny\"; paths = [ \"/2\" " \
	"]; },\n"

static struct lab lab;
static struct certs_pair other_root;

static void start(uint32_t machine_count, const char *node)
{
	lab_start(&lab, &(struct lab_options){.machine_count = machine_count, .node = node});
}

static void replan(uint32_t machine, const char *from, const char *to)
{
	lab.edits[0] = (struct lab_edit){from, to};
	lab_replan(&lab, machine, NULL);
	lab_pump(&lab);
}

/* Somewhere in the log: the near proxy may have tried again. */
static void expect_logged(uint32_t machine, const char *reason)
{
	const struct access_queue *log = &lab.machines[machine].log;
	for (uint32_t i = 0; i < log->count; i++) {
		if (strcmp(log->entries[i].details, reason) == 0)
			return;
	}
	fail_msg("no line says %s", reason);
}

/* --- requests on live connections --- */

static void test_policy_holds_for_the_next_request(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	replan(0, "policies: (", DENY_2);
	lab_say(&lab, client, GET("/2"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	assert_string_equal(lab_last(&lab, 0)->policy, "nobody");
	lab_expect_lacks(lab_got(&lab, LAB_SHOP, 0), "/2");
	/* a refusal by policy is no reason to hang up, and the next plan allows again */
	replan(0, NULL, NULL);
	lab_say(&lab, client, GET("/3"));
	lab_expect_holds(lab_got(&lab, LAB_SHOP, 0), "GET /3 ");
	lab_finish(&lab);
}

static void test_policy_holds_for_the_next_request_of_the_mesh(void **state)
{
	start(2, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	replan(1, "policies: (", DENY_2);
	lab_say(&lab, client, GET("/2"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	lab_expect_reason(&lab, 1, "POLICY_DENIED");
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 1);
	lab_expect_lacks(lab_got(&lab, LAB_ORDERS, 0), "/2");
	lab_finish(&lab);
}

static void test_a_request_in_progress_goes_on(void **state)
{
	start(2, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	replan(1, "policies: (", DENY_2);
	replan(0, NULL, NULL);
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	lab_expect_holds(client, "\r\n\r\nx");
	lab_expect_reason(&lab, 1, "NONE");
	lab_finish(&lab);
}

static void test_old_plans_are_let_go_of(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	for (uint32_t i = 0; i < 3; i++) {
		replan(0, NULL, NULL);
		lab_say(&lab, client, GET("/2"));
		lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	}
	for (uint32_t i = 0; i + 1 < lab.machines[0].plan_count; i++)
		assert_int_equal(atomic_load(&lab.machines[0].plans[i]->holder_count), 0);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 1);
	assert_int_equal(lab_use(&lab, 0, LAB_SHOP), 1);
	lab_finish(&lab);
}

/* What is in progress at it is what `ringmain drain` waits for. */
static void test_a_workload_that_comes_back_is_still_at_work(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	replan(0, " { service = \"shop\"; user = \"shop\"; port = 8081; },\n", "");
	replan(0, NULL, NULL);
	assert_int_equal(lab_serving_count(&lab, 0, LAB_SHOP), 1);
	assert_int_equal(lab_use(&lab, 0, LAB_SHOP), 1);
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	lab_expect_holds(client, "\r\n\r\nx");
	assert_int_equal(lab_serving_count(&lab, 0, LAB_SHOP), 0);
	assert_int_equal(lab_use(&lab, 0, LAB_SHOP), 1);
	lab_finish(&lab);
}

/* The number of a mark may be given to another user; who called doesn't change by that. */
static void test_the_caller_stays_who_it_was(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	lab.marks[LAB_WEB] = LAB_BILLING;
	lab.marks[LAB_BILLING] = LAB_WEB;
	replan(0, NULL, NULL);
	lab_say(&lab, client, GET("/2"));
	struct str got = fake_peer_received(lab_got(&lab, LAB_SHOP, 0));
	const char *second = memmem(got.at, got.len, "GET /2", 6);
	assert_non_null(second);
	assert_non_null(memmem(second, got.len - (size_t)(second - got.at),
		"URI=spiffe://prod.example/service/web\r\n", 39));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	assert_string_equal(lab_last(&lab, 0)->source, "spiffe://prod.example/service/web");
	lab_finish(&lab);
}

static void test_a_caller_that_left_the_mesh(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	replan(0, "{ service = \"web\"; user = \"web\"; },", "");
	assert_true(fake_peer_saw_end(client));
	assert_int_equal(lab_alive(&lab, 0, TASK_CARRIER), 1); /* a pooled one */
	assert_int_equal(lab_values(&lab, 0)->policy_sessions_ended_total, 1);
	lab_finish(&lab);
}

static void test_a_service_that_is_gone(void **state)
{
	start(2, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	replan(1, "{ service = \"orders\"; user = \"orders\"; port = 8080; },", "");
	lab_say(&lab, client, GET("/2"));
	expect_logged(1, "NO_SERVICE");
	lab_expect_lacks(lab_got(&lab, LAB_ORDERS, 0), "/2");
	lab_finish(&lab);
}

static void test_another_protocol_ends_the_connection(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	replan(0, "port = 8081; protocol = \"http\"", "port = 8081; protocol = \"tcp\"");
	lab_say(&lab, client, GET("/2"));
	lab_expect_reason(&lab, 0, "PROTOCOL_MISMATCH");
	assert_false(fake_is_open(client));
	lab_finish(&lab);
}

/* --- opaque bytes --- */

static void expect_cut(int client, uint32_t machine, const char *reason)
{
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, machine, reason);
	assert_int_equal(lab_alive(&lab, machine, TASK_TUNNEL), 0);
}

static void test_a_tunnel_ends_when_policy_denies_it(void **state)
{
	start(2, NULL);
	int near = lab_ask(&lab, LAB_WEB, LAB_CACHE, "1"),
	    client = lab_ask(&lab, LAB_WEB, LAB_LEDGER, "1");
	lab_expect_received(lab_got(&lab, LAB_CACHE, 0), "1");
	lab_expect_received(lab_got(&lab, LAB_LEDGER, 0), "1");
	replan(0, NULL, NULL);
	replan(1, NULL, NULL);
	lab_say(&lab, near, "2");
	lab_say(&lab, client, "2");
	lab_expect_received(lab_got(&lab, LAB_CACHE, 0), "12");
	lab_expect_received(lab_got(&lab, LAB_LEDGER, 0), "12");
	replan(1, "policies: (", DENY_ALL);
	expect_cut(client, 1, "POLICY_DENIED");
	replan(0, "policies: (", DENY_ALL);
	expect_cut(near, 0, "POLICY_DENIED");
	lab_finish(&lab);
}

/* Its endpoint is still told of: calls there would now be another proxy's to judge, this one is
 * nobody's. */
static void test_a_tunnel_ends_when_its_workload_leaves(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_CACHE, "1");
	lab_expect_received(lab_got(&lab, LAB_CACHE, 0), "1");
	replan(0, " { service = \"cache\"; user = \"cache\"; port = 6379; },\n", "");
	expect_cut(client, 0, "NO_SERVICE");
	lab_finish(&lab);
}

static void test_plain_text_ends_when_it_is_no_longer_taken(void **state)
{
	start(1, NULL);
	int client = lab_dial_plain(&lab, LAB_LOOSE);
	lab_say(&lab, client, "1");
	lab_expect_received(lab_got(&lab, LAB_LOOSE, 0), "1");
	replan(0, "mtls = \"permissive\"", "mtls = \"strict\"");
	expect_cut(client, 0, "PLAINTEXT");
	lab_finish(&lab);
}

static void test_a_websocket_ends_when_policy_denies_it(void **state)
{
	start(1, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, UPGRADE("/ws?x"));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), SWITCHED);
	replan(0, "policies: (",
		"policies: ( { name = \"other\"; service = \"shop\"; action = "
		"\"deny\"; paths = [ \"/other\" ]; },\n");
	lab_say(&lab, client, "ping");
	lab_expect_holds(lab_got(&lab, LAB_SHOP, 0), "\r\n\r\nping");
	replan(0, "policies: (",
		"policies: ( { name = \"ws\"; service = \"shop\"; action = "
		"\"deny\"; paths = [ \"/ws\" ]; },\n");
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 0);
	lab_finish(&lab);
}

/* Its head was let in under the plan before, its bytes come under the one that denies them. */
static void test_a_websocket_that_is_denied_before_it_begins(void **state)
{
	for (uint32_t machine_count = 1; machine_count <= 2; machine_count++) {
		enum lab_workload to = machine_count == 1 ? LAB_SHOP : LAB_ORDERS;
		uint32_t there = machine_count - 1;
		start(machine_count, NULL);
		int client = lab_ask(&lab, LAB_WEB, to, UPGRADE("/ws"));
		lab_say(&lab, lab_got(&lab, to, 0), "HTTP/1.1 103 Early Hints\r\n\r\n");
		replan(there, "policies: (", DENY_ALL);
		lab_say(&lab, lab_got(&lab, to, 0), "HTTP/1.1 103 Early Hints\r\n\r\n");
		lab_say(&lab, lab_got(&lab, to, 0), SWITCHED);
		lab_say(&lab, client, "ping");
		lab_expect_lacks(lab_got(&lab, to, 0), "ping");
		lab_expect_lacks(client, "HTTP/1.1 101 ");
		assert_int_equal(lab_alive(&lab, there, TASK_EXCHANGE), 0);
		lab_expect_reason(&lab, there, "POLICY_DENIED");
		lab_finish(&lab);
	}
}

/* --- trust --- */

static void test_a_root_that_is_gone_ends_what_it_vouched_for(void **state)
{
	for (uint32_t machine = 0; machine < 2; machine++) {
		start(2, NULL);
		int tcp = lab_ask(&lab, LAB_WEB, LAB_LEDGER, "1"),
		    http = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
		lab.root = &other_root;
		replan(machine, NULL, NULL);
		expect_cut(tcp, machine, "PEER_UNTRUSTED");
		lab_say(&lab, http, GET("/2"));
		lab_expect_lacks(lab_got(&lab, LAB_ORDERS, 0), "/2");
		/* the near proxy has let its pool go and dials anew, the far one refuses */
		expect_logged(machine, machine == 0 ? "CHAIN" : "PEER_UNTRUSTED");
		lab_finish(&lab);
	}
}

/* The caller's machine, and the service's. */
static void test_an_identity_that_is_gone_ends_what_was_its(void **state)
{
	for (uint32_t machine = 0; machine < 2; machine++) {
		start(2, NULL);
		int tcp = lab_ask(&lab, LAB_WEB, LAB_LEDGER, "1"),
		    http = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
		lab.identities = LAB_IDENTITIES_GONE;
		replan(machine, NULL, NULL);
		expect_cut(tcp, machine, "NO_IDENTITY");
		/* and no pooled connection is used on */
		lab_say(&lab, http, GET("/2"));
		lab_expect_lacks(lab_got(&lab, LAB_ORDERS, 0), "/2");
		expect_logged(machine, "NO_IDENTITY");
		lab.identities = LAB_IDENTITIES;
		lab_finish(&lab);
	}
}

/* Calls that stay on the machine, where nobody asks for a certificate: worth what the other machine
 * would take it for. */
static void expect_nobody_here(enum lab_workload from)
{
	static const enum lab_workload to[] = {LAB_CACHE, LAB_SHOP};
	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		assert_true(fake_peer_saw_reset(lab_ask(&lab, from, to[i], GET("/1"))));
		lab_expect_reason(&lab, 0, "NO_IDENTITY");
		assert_string_equal(lab_last(&lab, 0)->source, "");
	}
}

static void test_a_name_in_the_node_file_proves_nothing_here(void **state)
{
	start(1, NULL);
	expect_nobody_here(LAB_NOCERT);
	assert_int_equal(lab_served(&lab, LAB_CACHE, 0), -1);
	assert_int_equal(lab_served(&lab, LAB_SHOP, 0), -1);
	/* where anybody may come, it is anybody */
	lab_ask(&lab, LAB_NOCERT, LAB_LOOSE, "1");
	lab_expect_received(lab_got(&lab, LAB_LOOSE, 0), "1");
	lab_finish(&lab);
}

static void test_a_name_in_the_node_file_matches_no_rule_here(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {
		{"\"anonymous\", \"*\"", "\"nocert\", \"web\""}};
	lab_start(&lab, &(struct lab_options){.edits = edits});
	assert_true(fake_peer_saw_reset(lab_ask(&lab, LAB_NOCERT, LAB_LOOSE, "1")));
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	lab_ask(&lab, LAB_WEB, LAB_LOOSE, "1");
	lab_expect_received(lab_got(&lab, LAB_LOOSE, 0), "1");
	lab_finish(&lab);
}

/* Taken back, revoked, or of a root that has gone: what runs on the machine ends, and what is
 * idle. */
static void test_what_stays_here_ends_with_its_callers_certificate(void **state)
{
	struct certs_list list = {.issuer = &lab_mesh_certs()->middle,
		.revoked = {lab_mesh_certs()->leaf[PAIR_WEB].certificate}};
	char *pem = certs_list_pem(&list);
	for (uint32_t i = 0; i < 3; i++) {
		start(1, NULL);
		int tcp = lab_ask(&lab, LAB_WEB, LAB_CACHE, "1"),
		    runs = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1")),
		    idle = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/2"));
		lab_say(&lab, lab_got(&lab, LAB_SHOP, 1), OK);
		lab_expect_holds(idle, "200 OK");
		lab.identities = i == 0 ? LAB_IDENTITIES_GONE : LAB_IDENTITIES;
		lab.list = i == 1 ? pem : NULL;
		lab.root = i == 2 ? &other_root : NULL;
		replan(0, NULL, NULL);
		assert_true(fake_peer_saw_reset(tcp));
		lab_expect_holds(runs, "HTTP/1.1 503 ");
		assert_true(fake_peer_saw_end(idle));
		expect_nobody_here(LAB_WEB);
		lab.identities = LAB_IDENTITIES;
		lab.list = NULL;
		lab.root = NULL;
		replan(0, NULL, NULL);
		lab_ask(&lab, LAB_WEB, LAB_CACHE, "2");
		lab_expect_received(lab_got(&lab, LAB_CACHE, 1), "2");
		lab_finish(&lab);
	}
	free(pem);
}

/* Without any news of it: the next request is refused. */
static void test_a_certificate_that_runs_out_here(void **state)
{
	struct certs_pair web = certs_make(&(struct certs_spec){.issuer = &lab_mesh_certs()->middle,
		.names = {{0x86, str_of(pair_ids[PAIR_WEB])}},
		.until_s = CERTS_NOW + 60});
	start(1, NULL);
	lab.web = &web;
	replan(0, NULL, NULL);
	int http = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	lab_run(&lab, 59 * CLOCK_S);
	lab_say(&lab, http, GET("/2"));
	lab_expect_holds(lab_got(&lab, LAB_SHOP, 0), "GET /2 ");
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	lab_run(&lab, 2 * CLOCK_S);
	lab_say(&lab, http, GET("/3"));
	lab_expect_holds(http, "HTTP/1.1 503 ");
	expect_nobody_here(LAB_WEB);
	lab.web = NULL;
	lab_finish(&lab);
	certs_done(&web);
}

static void test_a_renewed_certificate_cuts_nothing(void **state)
{
	for (uint32_t machine = 0; machine < 2; machine++) {
		start(2, NULL);
		int tcp = lab_ask(&lab, LAB_WEB, LAB_LEDGER, "1"),
		    http = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
		lab.identities = LAB_IDENTITIES_RENEWED;
		replan(machine, NULL, NULL);
		lab_say(&lab, tcp, "2");
		lab_expect_received(lab_got(&lab, LAB_LEDGER, 0), "12");
		lab_say(&lab, http, GET("/2"));
		lab_expect_holds(lab_got(&lab, LAB_ORDERS, 0), "GET /2 ");
		/* on the connection of before: the certificate is the same */
		assert_int_equal(lab_values(&lab, 0)->pool_reused_total, 1);
		lab.identities = LAB_IDENTITIES;
		lab_finish(&lab);
	}
}

/* What was opened with the certificate of before is not for who shows another one now. */
static void test_a_renewed_certificate_has_a_pool_of_its_own(void **state)
{
	struct certs_pair web = certs_make(&(struct certs_spec){.issuer = &lab_mesh_certs()->middle,
		.names = {{0x86, str_of(pair_ids[PAIR_WEB])}}});
	start(2, NULL);
	int http = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	lab.web = &web;
	replan(0, NULL, NULL);
	lab_say(&lab, http, GET("/2"));
	assert_int_equal(lab_values(&lab, 0)->pool_reused_total, 0);
	lab.web = NULL;
	lab_finish(&lab);
	certs_done(&web);
}

/* Who calls, and who is called. */
static void test_a_revoked_certificate_ends_what_it_stood_for(void **state)
{
	static const enum pair_identity revoked[] = {PAIR_ORDERS, PAIR_WEB};
	for (uint32_t machine = 0; machine < 2; machine++) {
		struct certs_list list = {.issuer = &lab_mesh_certs()->middle,
			.revoked = {lab_mesh_certs()->leaf[revoked[machine]].certificate}};
		char *pem = certs_list_pem(&list);
		start(2, NULL);
		int http = lab_ask(&lab, LAB_WEB, LAB_ORDERS, UPGRADE("/ws"));
		lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), SWITCHED);
		lab_say(&lab, http, "ping");
		lab_expect_holds(lab_got(&lab, LAB_ORDERS, 0), "\r\n\r\nping");
		lab.list = pem;
		replan(machine, NULL, NULL);
		assert_true(fake_peer_saw_reset(http));
		lab_expect_reason(&lab, machine, "PEER_REVOKED");
		lab_finish(&lab);
		free(pem);
	}
}

/* --- requests that run --- */

enum loss { LOSS_REVOKED, LOSS_ROOT, LOSS_IDENTITY, LOSS_NONE };

/* Seen from one machine: its peer is revoked or trusted no more, it has lost its identity, or it
 * has a renewed one. */
static void lose(uint32_t machine, enum loss loss)
{
	static const enum pair_identity peers[] = {PAIR_ORDERS, PAIR_WEB};
	struct certs_list list = {.issuer = &lab_mesh_certs()->middle,
		.revoked = {lab_mesh_certs()->leaf[peers[machine]].certificate}};
	char *pem = certs_list_pem(&list);
	if (loss == LOSS_REVOKED)
		lab.list = pem;
	if (loss == LOSS_ROOT)
		lab.root = &other_root;
	if (loss == LOSS_IDENTITY)
		lab.identities = LAB_IDENTITIES_GONE;
	if (loss == LOSS_NONE)
		lab.identities = LAB_IDENTITIES_RENEWED;
	replan(machine, NULL, NULL);
	lab.identities = LAB_IDENTITIES;
	free(pem);
}

static const struct {
	enum loss loss;
	const char *reason;
} losses[] = {
	{LOSS_REVOKED, "PEER_REVOKED"},
	{LOSS_ROOT, "PEER_UNTRUSTED"},
	{LOSS_IDENTITY, "NO_IDENTITY"},
};

/* On shared connections, and without. */
static void start_sharing(bool share)
{
	const struct lab_edit edits[LAB_EDITS_MAX] = {
		[1] = {"trust_domain = \"prod.example\";", "trust_domain = \"prod.example\"; "
							   "channels = false;"}};
	lab_start(&lab, &(struct lab_options){.machine_count = 2, .edits = share ? NULL : edits});
}

static void test_a_running_response_ends_with_trust(void **state)
{
	for (uint32_t i = 0; i < 4 * ARRAY_LEN(losses); i++) {
		uint32_t machine = i & 1;
		if (losses[i / 4].loss == LOSS_ROOT)
			continue; /* see below */
		start_sharing(i & 2);
		int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), STREAM);
		lab_expect_holds(client, "1\r\na\r\n");
		lose(machine, losses[i / 4].loss);
		assert_true(fake_peer_saw_reset(client));
		lab_expect_reason(&lab, machine, losses[i / 4].reason);
		assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 0);
		assert_int_equal(lab_alive(&lab, 1, TASK_EXCHANGE), 0);
		lab_finish(&lab);
	}
}

/* And one that has no response yet is told. */
static void test_a_request_that_waits_ends_with_trust(void **state)
{
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t machine = i & 1;
		start_sharing(i & 2);
		int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		lab_got(&lab, LAB_ORDERS, 0);
		lose(machine, LOSS_REVOKED);
		lab_expect_holds(client, machine == 0 ? "HTTP/1.1 503 " : "HTTP/1.1 403 ");
		lab_expect_holds(client, "revoked");
		expect_logged(machine, "PEER_REVOKED");
		assert_int_equal(lab_alive(&lab, 1, TASK_EXCHANGE), 0);
		lab_finish(&lab);
	}
}

static void test_a_running_response_outlives_a_renewal(void **state)
{
	for (uint32_t i = 0; i < 4; i++) {
		start_sharing(i & 2);
		int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), STREAM);
		lose(i & 1, LOSS_NONE);
		lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), "1\r\nb\r\n0\r\n\r\n");
		lab_expect_holds(client, "1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
		lab_expect_reason(&lab, i & 1, "NONE");
		lab_finish(&lab);
	}
}

/* Roots are rotated while requests run: what was let in goes on, and is the last there. */
static void test_a_running_request_outlives_a_root(void **state)
{
	for (uint32_t i = 0; i < 8; i++) {
		bool waits = i & 4;
		start_sharing(i & 2);
		int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		int server = lab_got(&lab, LAB_ORDERS, 0);
		if (!waits)
			lab_say(&lab, server, STREAM);
		lose(i & 1, LOSS_ROOT);
		lab_say(&lab, server, waits ? OK : "1\r\nb\r\n0\r\n\r\n");
		lab_expect_holds(client, waits ? "\r\n\r\nx" : "1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
		lab_expect_reason(&lab, i & 1, "NONE");
		assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
		assert_int_equal(lab_alive(&lab, 0, TASK_TRUNK), 0);
		assert_int_equal(lab_alive(&lab, 1, TASK_TRUNK), 0);
		lab_finish(&lab);
	}
}

/* The root goes during the handshake: nothing is sent to a server that is trusted no more. Another
 * connection is asked for, where it has to show what it is as all others do. */
static void test_no_request_is_sent_after_its_root(void **state)
{
	for (uint32_t i = 0; i < 2; i++) {
		start_sharing(i);
		lab.machines[1].signing = LAB_SILENT;
		int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
		lose(0, LOSS_ROOT);
		lab.machines[1].signing = LAB_SIGNS;
		lab_pump(&lab);
		lab_expect_holds(client, "HTTP/1.1 503 ");
		lab_expect_reason(&lab, 0, "CHAIN");
		lab_finish(&lab);
	}
}

/* Its idle channels, those with a request, and the connection itself. */
static void test_a_shared_connection_ends_with_its_peer(void **state)
{
	start(2, NULL);
	int idle = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	int first = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/2"));
	int second = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/3"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 1), STREAM);
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 2), STREAM);
	lab_expect_holds(idle, "\r\n\r\nx");
	assert_int_equal(lab_alive(&lab, 1, TASK_TRUNK), 1);
	lose(1, LOSS_REVOKED);
	assert_true(fake_peer_saw_reset(first));
	assert_true(fake_peer_saw_reset(second));
	assert_int_equal(lab_alive(&lab, 1, TASK_TRUNK), 0);
	lab_finish(&lab);
}

/* The handshake is done, and nothing has come since. */
static void test_a_silent_connection_ends_with_its_peer(void **state)
{
	for (uint32_t i = 0; i < ARRAY_LEN(losses); i++) {
		struct far far;
		start(2, NULL);
		far_dial(&far, &lab, 1, "7000.billing.prod.example", TLS_ALPN_TCP,
			"spiffe://prod.example/service/billing");
		assert_true(far_handshake(&far));
		lab_pump(&lab);
		lose(1, LOSS_NONE);
		assert_int_equal(lab_alive(&lab, 1, TASK_SESSION), 1);
		lose(1, losses[i].loss);
		assert_int_equal(lab_alive(&lab, 1, TASK_SESSION), 0);
		lab_expect_reason(&lab, 1, losses[i].reason);
		far_done(&far);
		lab_finish(&lab);
	}
}

static void test_a_root_that_goes_during_the_handshake(void **state)
{
	struct far far;
	start(2, NULL);
	far_dial(&far, &lab, 1, "7000.billing.prod.example", TLS_ALPN_TCP,
		"spiffe://prod.example/service/billing");
	lab.machines[1].signing = LAB_SILENT;
	assert_false(far_handshake(&far));
	lab.root = &other_root;
	replan(1, NULL, NULL);
	lab.machines[1].signing = LAB_SIGNS;
	assert_true(far_handshake(&far));
	lab_pump(&lab);
	lab_expect_reason(&lab, 1, "PEER_UNTRUSTED");
	far_done(&far);
	lab_finish(&lab);
}

/* --- the end of a certificate --- */

static void test_an_idle_connection_ends_with_the_certificate(void **state)
{
	start(2, "timeouts: { idle = \"2h\"; pool_idle = \"2h\"; };\n");
	int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
	lab_run(&lab, (LEAF_S - 1) * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 1, TASK_CARRIER), 2);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
	lab_run(&lab, CLOCK_S);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
	assert_int_equal(lab_alive(&lab, 0, TASK_CARRIER), 1); /* the caller's, plain */
	assert_int_equal(lab_alive(&lab, 1, TASK_CARRIER), 1); /* the pooled one to orders, plain */
	assert_true(fake_is_open(client));
	lab_finish(&lab);
}

/* The wall clock jumps: no timer knows. */
static void test_no_request_after_the_certificate(void **state)
{
	start(2, NULL);
	lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	struct far far;
	far_dial(&far, &lab, 1, "8080.orders.prod.example", TLS_ALPN_HTTP1,
		"spiffe://prod.example/service/orders");
	assert_true(far_handshake(&far));
	lab_pump(&lab);
	fake_set_wall((CERTS_NOW + LEAF_S) * CLOCK_S);
	far_send(&far, GET("/2"), strlen(GET("/2")));
	lab_pump(&lab);
	lab_expect_reason(&lab, 1, "PEER_EXPIRED");
	struct str answer = far_received(&far);
	assert_true(lab_holds_text(answer, "HTTP/1.1 403 "));
	assert_true(lab_holds_text(answer, "Connection: close\r\n"));
	lab_expect_lacks(lab_got(&lab, LAB_ORDERS, 0), "/2");
	far_done(&far);
	lab_finish(&lab);
}

static void test_no_pooled_connection_after_the_certificate(void **state)
{
	start(2, NULL);
	int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	fake_set_wall((CERTS_NOW + LEAF_S) * CLOCK_S);
	lab_say(&lab, client, GET("/2"));
	assert_int_equal(lab_values(&lab, 0)->pool_reused_total, 0);
	lab_expect_reason(&lab, 0, "EXPIRED"); /* of a new handshake */
	lab_finish(&lab);
}

static void test_a_response_outlives_the_certificate(void **state)
{
	start(2, "timeouts: { stream_idle = \"2h\"; };\n");
	int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_run(&lab, (LEAF_S + 1) * CLOCK_S);
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	lab_expect_holds(client, "\r\n\r\nx");
	lab_expect_reason(&lab, 1, "NONE");
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
	lab_finish(&lab);
}

static void test_a_tunnel_ends_with_the_certificate(void **state)
{
	start(2, "timeouts: { idle = \"24h\"; expired = \"0s\"; };\n");
	int near = lab_ask(&lab, LAB_WEB, LAB_CACHE, "1"),
	    client = lab_ask(&lab, LAB_WEB, LAB_LEDGER, "1");
	lab_run(&lab, (LEAF_S - 1) * CLOCK_S);
	lab_say(&lab, client, "2");
	lab_expect_received(lab_got(&lab, LAB_LEDGER, 0), "12");
	lab_run(&lab, CLOCK_S);
	lab_expect_reason(&lab, 0, "PEER_EXPIRED");
	assert_true(fake_peer_saw_reset(client));
	assert_int_equal(lab_alive(&lab, 1, TASK_TUNNEL), 0);
	lab_say(&lab, near, "2"); /* no certificate in it */
	lab_expect_received(lab_got(&lab, LAB_CACHE, 0), "12");
	lab_finish(&lab);
}

static void test_a_tunnel_may_be_given_more_time(void **state)
{
	start(2, "timeouts: { idle = \"24h\"; expired = \"1m\"; };\n");
	int client = lab_ask(&lab, LAB_WEB, LAB_LEDGER, "1");
	lab_run(&lab, (LEAF_S + 59) * CLOCK_S);
	replan(0, NULL, NULL);
	lab.root = &other_root; /* still another matter */
	lab_say(&lab, client, "2");
	lab_expect_received(lab_got(&lab, LAB_LEDGER, 0), "12");
	lab_run(&lab, CLOCK_S);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "PEER_EXPIRED");
	lab_finish(&lab);
}

static void test_a_websocket_ends_with_the_certificate(void **state)
{
	start(2, "timeouts: { idle = \"24h\"; expired = \"0s\"; };\n");
	int client = lab_ask(&lab, LAB_WEB, LAB_ORDERS, UPGRADE("/ws"));
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), SWITCHED);
	lab_run(&lab, (LEAF_S - 1) * CLOCK_S);
	lab_say(&lab, client, "ping");
	lab_expect_holds(lab_got(&lab, LAB_ORDERS, 0), "\r\n\r\nping");
	lab_run(&lab, CLOCK_S);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "PEER_EXPIRED");
	assert_int_equal(lab_alive(&lab, 1, TASK_EXCHANGE), 0);
	lab_finish(&lab);
}

static int setup(void **state)
{
	other_root = certs_make(&(struct certs_spec){
		.subject = "other", .ca = true, .until_s = CERTS_NOW + 100000});
	return lab_group_setup(state);
}

static int teardown(void **state)
{
	certs_done(&other_root);
	return lab_group_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy_holds_for_the_next_request),
		cmocka_unit_test(test_policy_holds_for_the_next_request_of_the_mesh),
		cmocka_unit_test(test_a_request_in_progress_goes_on),
		cmocka_unit_test(test_old_plans_are_let_go_of),
		cmocka_unit_test(test_a_workload_that_comes_back_is_still_at_work),
		cmocka_unit_test(test_the_caller_stays_who_it_was),
		cmocka_unit_test(test_a_caller_that_left_the_mesh),
		cmocka_unit_test(test_a_service_that_is_gone),
		cmocka_unit_test(test_another_protocol_ends_the_connection),
		cmocka_unit_test(test_a_tunnel_ends_when_policy_denies_it),
		cmocka_unit_test(test_a_tunnel_ends_when_its_workload_leaves),
		cmocka_unit_test(test_plain_text_ends_when_it_is_no_longer_taken),
		cmocka_unit_test(test_a_websocket_ends_when_policy_denies_it),
		cmocka_unit_test(test_a_websocket_that_is_denied_before_it_begins),
		cmocka_unit_test(test_a_root_that_is_gone_ends_what_it_vouched_for),
		cmocka_unit_test(test_an_identity_that_is_gone_ends_what_was_its),
		cmocka_unit_test(test_a_name_in_the_node_file_proves_nothing_here),
		cmocka_unit_test(test_a_name_in_the_node_file_matches_no_rule_here),
		cmocka_unit_test(test_what_stays_here_ends_with_its_callers_certificate),
		cmocka_unit_test(test_a_certificate_that_runs_out_here),
		cmocka_unit_test(test_a_renewed_certificate_cuts_nothing),
		cmocka_unit_test(test_a_renewed_certificate_has_a_pool_of_its_own),
		cmocka_unit_test(test_a_revoked_certificate_ends_what_it_stood_for),
		cmocka_unit_test(test_a_running_response_ends_with_trust),
		cmocka_unit_test(test_a_request_that_waits_ends_with_trust),
		cmocka_unit_test(test_a_running_response_outlives_a_renewal),
		cmocka_unit_test(test_a_running_request_outlives_a_root),
		cmocka_unit_test(test_no_request_is_sent_after_its_root),
		cmocka_unit_test(test_a_shared_connection_ends_with_its_peer),
		cmocka_unit_test(test_a_silent_connection_ends_with_its_peer),
		cmocka_unit_test(test_a_root_that_goes_during_the_handshake),
		cmocka_unit_test(test_an_idle_connection_ends_with_the_certificate),
		cmocka_unit_test(test_no_request_after_the_certificate),
		cmocka_unit_test(test_no_pooled_connection_after_the_certificate),
		cmocka_unit_test(test_a_response_outlives_the_certificate),
		cmocka_unit_test(test_a_tunnel_ends_with_the_certificate),
		cmocka_unit_test(test_a_tunnel_may_be_given_more_time),
		cmocka_unit_test(test_a_websocket_ends_with_the_certificate),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
