/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of end users in requests: what a worker remembers of them and for how long, and who gets
 * the header that they came in. */
#include "lab.h"
#include "unit/jwt/maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(headers) "GET / HTTP/1.1\r\nHost: h\r\n" headers "\r\n"

static const char objects[] =
	"issuers: ( { name = \"staff\"; issuer = \"https://staff\"; leeway = \"0s\"; },\n"
	" { name = \"partner\"; issuer = \"https://partner\"; header = \"x-partner\"; "
	"forward = false; } );\n"
	"policies: ( { name = \"tokens\"; service = [ \"shop\", \"orders\" ]; action = \"allow\"; "
	"from = [ \"web\" ]; token = { }; } );\n";

static struct lab lab;
static struct maker maker, other;

static int setup(void **state)
{
	maker_init(&maker);
	maker_init(&other);
	return lab_group_setup(state);
}

static int teardown(void **state)
{
	maker_done(&maker);
	maker_done(&other);
	return lab_group_teardown(state);
}

/* For all issuers. */
static void keys_of(const struct maker *m)
{
	static char set[2000];
	static const char *keys[] = {"staff", set, "partner", set, NULL};
	snprintf(set, sizeof(set), "{\"keys\":[%s]}", maker_jwk(m, MAKER_ED25519, ""));
	lab.keys = keys;
}

static void replan(void)
{
	for (uint32_t i = 0; i < lab.machine_count; i++)
		lab_replan(&lab, i, NULL);
	lab_pump(&lab);
}

static void start(const char *more, enum lab_serving serving, const struct lab_edit *edits)
{
	static char text[4000];
	snprintf(text, sizeof(text), "%s%s", objects, more);
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.objects = text,
				.serving = serving,
				.edits = edits,
				.seed = 1});
	keys_of(&maker);
	replan();
}

static const char *token_of(const char *issuer, const char *more, int ends_s)
{
	return maker_token(&maker, MAKER_ED25519, "EdDSA", "{\"alg\":\"EdDSA\"}",
		maker_text("{\"iss\":\"https://%s\",\"sub\":\"ann\",\"exp\":%lld%s}", issuer,
			(long long)CERTS_NOW + ends_s, more));
}

static void say(int fd, const char *text)
{
	fake_peer_forget(fd);
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

static int ask(enum lab_workload to, const char *headers)
{
	int client = lab_dial(&lab, LAB_WEB, to);
	say(client, maker_text(GET("%s"), headers));
	return client;
}

static bool is_let_in(const char *token)
{
	int client = ask(LAB_SHOP, maker_text("Authorization: Bearer %s\r\n", token));
	struct str got = fake_peer_received(client);
	if (!lab_holds_text(got, "HTTP/1.1 200 "))
		lab_expect_holds(client, "HTTP/1.1 403 ");
	return lab_holds_text(got, "HTTP/1.1 200 ");
}

/* --- what is remembered --- */

static void test_a_good_one_ends_though_it_is_remembered(void **state)
{
	start("", LAB_HTTP, NULL);
	const char *token = token_of("staff", "", 60);
	assert_true(is_let_in(token));
	assert_true(is_let_in(token));
	lab_run(&lab, 59 * CLOCK_S);
	assert_true(is_let_in(token));
	lab_run(&lab, 2 * CLOCK_S);
	assert_false(is_let_in(token));
	lab_finish(&lab);
}

static void test_one_that_is_early_is_asked_again(void **state)
{
	char more[64];
	start("", LAB_HTTP, NULL);
	snprintf(more, sizeof(more), ",\"nbf\":%lld", (long long)CERTS_NOW + 30);
	char *token = strdup(token_of("staff", more, 600));
	assert_false(is_let_in(token));
	assert_false(is_let_in(token));
	lab_run(&lab, 31 * CLOCK_S);
	assert_true(is_let_in(token));
	free(token);
	lab_finish(&lab);
}

/* And the other way round: what has gone is gone at once. */
static void test_new_keys_make_a_bad_one_good(void **state)
{
	start("", LAB_HTTP, NULL);
	char *token = strdup(token_of("staff", "", 600));
	keys_of(&other);
	replan();
	assert_false(is_let_in(token));
	assert_false(is_let_in(token));
	keys_of(&maker);
	replan();
	assert_true(is_let_in(token));
	keys_of(&other);
	replan();
	assert_false(is_let_in(token));
	free(token);
	lab_finish(&lab);
}

/* More than are remembered: each is still judged by itself. */
static void test_however_many_there_are(void **state)
{
	start("", LAB_HTTP, NULL);
	char *token = strdup(token_of("staff", "", 600));
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	assert_true(is_let_in(token));
	for (int i = 0; i < 1100; i++) {
		bool is_good = i % 100 == 99;
		say(client, maker_text(GET("Authorization: Bearer %s%d\r\n"),
				    is_good ? "" : "a.b.c", i));
		lab_expect_holds(client, "HTTP/1.1 403 ");
		if (is_good)
			assert_true(is_let_in(token));
	}
	assert_true(is_let_in(token));
	free(token);
	lab_finish(&lab);
}

/* --- what is not verified --- */

static uint64_t verified(void)
{
	return atomic_load(&lab_values(&lab, 0)->tokens_verified_total);
}

/* Who may nothing whatever a token says, or all of it, makes nobody verify one. */
static void test_one_that_cannot_count_is_not_verified(void **state)
{
	static const struct {
		const char *more;
		bool is_verified;
		const char *policy; /* NULL: let in */
	} rows[] = {
		{"{ name = \"open\"; service = \"shop\"; action = \"allow\"; from = [ \"web\" ]; "
		 "token = { }; }",
			true, "default"},
		{"{ name = \"open\"; service = \"shop\"; action = \"allow\"; from = [ \"any\" ]; "
		 "token = { }; }",
			false, "default"},
		{"{ name = \"open\"; service = \"shop\"; action = \"allow\"; paths = [ \"/x\" ]; "
		 "token = { }; }",
			false, "default"},
		{"{ name = \"open\"; service = \"shop\"; action = \"allow\"; token = { }; }, { "
		 "name = \"shut\"; service = \"shop\"; action = \"deny\"; methods = [ \"GET\" ]; }",
			false, "shut"},
		{"{ name = \"open\"; service = \"shop\"; action = \"allow\"; token = { }; }, { "
		 "name = \"all\"; service = \"shop\"; action = \"allow\"; from = [ \"web\" ]; }",
			false, NULL},
		{"{ name = \"seen\"; service = \"shop\"; action = \"audit\"; token = { }; }, { "
		 "name = \"all\"; service = \"shop\"; action = \"allow\"; from = [ \"web\" ]; }",
			true, NULL},
	};
	static char text[1000], token[64];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(text, sizeof(text),
			"issuers: ( { name = \"staff\"; issuer = \"https://staff\"; } );\n"
			"policies: ( %s );\n",
			rows[i].more);
		lab_start(&lab, &(struct lab_options){.objects = text, .serving = LAB_HTTP});
		for (int k = 0; k < 3; k++) {
			snprintf(token, sizeof(token), "a.b.c%d", k);
			assert_int_equal(is_let_in(token), !rows[i].policy);
			assert_string_equal(
				lab_last(&lab, 0)->policy, rows[i].policy ? rows[i].policy : "all");
		}
		assert_int_equal(verified(), rows[i].is_verified ? 3 : 0);
		lab_finish(&lab);
	}
}

static void test_bad_ones_displace_no_good_one(void **state)
{
	start("", LAB_HTTP, NULL);
	char *token = strdup(token_of("staff", "", 600));
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	assert_true(is_let_in(token));
	for (int i = 0; i < 600; i++) {
		say(client, maker_text(GET("Authorization: Bearer a.b.c%d\r\n"), i));
		lab_expect_holds(client, "HTTP/1.1 403 ");
	}
	assert_true(is_let_in(token));
	assert_int_equal(verified(), 601);
	free(token);
	lab_finish(&lab);
}

/* --- while a request runs --- */

static void test_a_tunnel_ends_with_its_token(void **state)
{
	start("", LAB_BY_HAND, NULL);
	int client = ask(LAB_SHOP,
		maker_text(
			"Authorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
			token_of("staff", "", 60)));
	int server = lab_served(&lab, LAB_SHOP, 0);
	say(server, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
		    "Upgrade\r\n\r\n");
	lab_expect_holds(client, "101 ");
	lab_run(&lab, 58 * CLOCK_S);
	replan(); /* for all that it has not changed */
	say(client, "still here");
	lab_expect_holds(server, "still here");
	lab_run(&lab, 3 * CLOCK_S);
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	lab_finish(&lab);
}

/* Whatever plan comes meanwhile: it has the token that it came with, unless its keys have gone. */
static void test_a_request_that_runs_keeps_its_token(void **state)
{
	start("", LAB_BY_HAND, NULL);
	char *token = strdup(token_of("staff", "", 10));
	int client = ask(LAB_SHOP, maker_text("Authorization: Bearer %s\r\n", token));
	int server = lab_served(&lab, LAB_SHOP, 0);
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	lab_run(&lab, 11 * CLOCK_S);
	/* no more for anybody else */
	lab_expect_holds(
		ask(LAB_SHOP, maker_text("Authorization: Bearer %s\r\n", token)), "HTTP/1.1 403 ");
	replan();
	lab_expect_holds(
		ask(LAB_SHOP, maker_text("Authorization: Bearer %s\r\n", token)), "HTTP/1.1 403 ");
	say(server, "c");
	replan();
	say(server, "d");
	lab_expect_holds(client, "abcd");
	free(token);
	lab_finish(&lab);
}

/* --- in a head --- */

static void test_two_are_none(void **state)
{
	start("", LAB_HTTP, NULL);
	char *staff = strdup(token_of("staff", "", 600));
	char *partner = strdup(token_of("partner", "", 600));
	const char *const rows[] = {
		maker_text(
			"Authorization: Bearer %s\r\nAuthorization: Bearer %s\r\n", staff, staff),
		maker_text("Authorization: Bearer %s\r\nX-Partner: %s\r\n", staff, partner),
		maker_text("Authorization: Basic x\r\nX-Partner: %s\r\n", partner),
		maker_text("X-Partner: %s\r\nX-Partner: x\r\n", partner),
		maker_text("Authorization: Bearer %s\r\n", partner), /* in another's header */
		maker_text("X-Partner: %s\r\n", staff), "Authorization: Bearer\r\n", ""};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		lab_expect_holds(ask(LAB_SHOP, rows[i]), "HTTP/1.1 403 ");
	lab_expect_holds(ask(LAB_SHOP, maker_text("X-Partner: %s\r\n", partner)), "HTTP/1.1 200 ");
	lab_expect_holds(ask(LAB_SHOP, maker_text("Authorization: bearer\t %s\r\n", staff)),
		"HTTP/1.1 200 ");
	free(staff);
	free(partner);
	lab_finish(&lab);
}

static void test_a_workload_gets_what_is_forwarded_only(void **state)
{
	start("", LAB_BY_HAND, NULL);
	ask(LAB_SHOP, maker_text("X-Partner: %s\r\nx-other: 1\r\n", token_of("partner", "", 600)));
	lab_expect_holds(lab_served(&lab, LAB_SHOP, 0), "x-other: 1");
	lab_expect_lacks(lab_served(&lab, LAB_SHOP, 0), "artner");
	ask(LAB_SHOP, maker_text("Authorization: Bearer %s\r\n", token_of("staff", "", 600)));
	lab_expect_holds(lab_served(&lab, LAB_SHOP, 1), "Authorization: Bearer ");
	lab_finish(&lab);
}

/* A tab is as good as a blank: for us, and for who must not get it. */
static void test_a_tab_hides_nothing(void **state)
{
	start("", LAB_BY_HAND, NULL);
	lab.objects =
		"issuers: ( { name = \"staff\"; issuer = \"https://staff\"; forward = false; } );\n"
		"policies: ( { name = \"tokens\"; service = \"shop\"; action = \"allow\"; from = "
		"[ \"web\" ]; token = { }; } );\n";
	replan();
	ask(LAB_SHOP, maker_text("Authorization: Bearer\t%s\r\n", token_of("staff", "", 600)));
	lab_expect_holds(lab_served(&lab, LAB_SHOP, 0), "GET / ");
	lab_expect_lacks(lab_served(&lab, LAB_SHOP, 0), "uthorization");
	lab_finish(&lab);
}

static void test_trailers_carry_none(void **state)
{
	start("", LAB_BY_HAND, NULL);
	const char *token = token_of("staff", "", 600);
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	say(client, maker_text("POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
			       "Transfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3\r\nabc\r\n",
			    token));
	say(client, "0\r\nX-Partner: t\r\nX-Sum: 9\r\n\r\n");
	int server = lab_served(&lab, LAB_SHOP, 0);
	lab_expect_holds(server, "X-Sum: 9");
	lab_expect_lacks(server, "artner");
	lab_finish(&lab);
}

/* --- a workload here, and then another machine --- */

static int ask_orders(const char *headers)
{
	struct address a = lab_address_of(LAB_OWN_ORDERS);
	a.port = 8080;
	int client = lab_dial_address(&lab, LAB_WEB, &a);
	say(client, maker_text(GET("%s"), headers));
	return client;
}

static void test_a_copy_for_another_machine_has_the_token(void **state)
{
	start("routes: ( { service = \"orders\"; rules = ( { split = ( { version = \"v1\"; } ); "
	      "mirror = ( { version = \"v2\"; } ); } ); } );\n",
		LAB_HTTP, lab_two_versions);
	int client = ask_orders(maker_text("X-Partner: %s\r\n", token_of("partner", "", 600)));
	lab_run(&lab, CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 200 ");
	lab_expect_lacks(lab_served(&lab, LAB_SHOP, 0), "artner");
	assert_true(lab_served(&lab, LAB_ORDERS, 0) >= 0);
	lab_expect_holds(lab_served(&lab, LAB_ORDERS, 0), "GET / ");
	lab_expect_lacks(lab_served(&lab, LAB_ORDERS, 0), "artner");
	lab_finish(&lab);
}

static void test_another_try_on_another_machine_has_the_token(void **state)
{
	unsigned tried = 0;
	start("routes: ( { service = \"orders\"; rules = ( { retries = { backoff = \"10ms\"; "
	      "on = [ \"5xx\" ]; }; } ); } );\n",
		LAB_BY_HAND, lab_two_versions);
	for (int i = 0; i < 20 && tried == 0; i++) {
		int client =
			ask_orders(maker_text("X-Partner: %s\r\n", token_of("partner", "", 600)));
		int server = lab_served(&lab, LAB_SHOP, 0);
		if (server < 0) {
			fake_peer_close(client);
			lab_pump(&lab);
			continue;
		}
		int there = lab_served(&lab, LAB_ORDERS, 0);
		if (there >= 0)
			fake_peer_forget(there);
		say(server, "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n");
		lab_run(&lab, CLOCK_S);
		uint32_t last = 0;
		while (lab_served(&lab, LAB_ORDERS, last + 1) >= 0)
			last++;
		there = lab_served(&lab, LAB_ORDERS, last);
		assert_true(there >= 0);
		lab_expect_holds(there, "GET / ");
		lab_expect_lacks(there, "artner");
		tried++;
	}
	assert_int_equal(tried, 1);
	lab_finish(&lab);
}

/* Asked again with the token that it was let in with, which is not in its head any more. */
static void test_a_running_copy_has_its_token(void **state)
{
	static const char *const names[] = {"partner", "staff"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		start("routes: ( { service = \"orders\"; rules = ( { split = ( { version = "
		      "\"v1\"; } ); mirror = ( { version = \"v1\"; } ); } ); } );\n",
			LAB_BY_HAND, lab_two_versions);
		(void)ask_orders(
			maker_text("%s %s\r\n", i == 0 ? "X-Partner:" : "Authorization: Bearer",
				token_of(names[i], "", 600)));
		int copy = lab_served(&lab, LAB_SHOP, 1);
		assert_true(copy >= 0);
		replan();
		replan();
		assert_true(fake_is_open(copy));
		/* and ends when it is no good one any more */
		keys_of(&other);
		replan();
		assert_false(fake_is_open(copy));
		lab_finish(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_one_ends_though_it_is_remembered),
		cmocka_unit_test(test_one_that_is_early_is_asked_again),
		cmocka_unit_test(test_new_keys_make_a_bad_one_good),
		cmocka_unit_test(test_however_many_there_are),
		cmocka_unit_test(test_one_that_cannot_count_is_not_verified),
		cmocka_unit_test(test_bad_ones_displace_no_good_one),
		cmocka_unit_test(test_a_tunnel_ends_with_its_token),
		cmocka_unit_test(test_a_request_that_runs_keeps_its_token),
		cmocka_unit_test(test_two_are_none),
		cmocka_unit_test(test_a_workload_gets_what_is_forwarded_only),
		cmocka_unit_test(test_a_tab_hides_nothing),
		cmocka_unit_test(test_trailers_carry_none),
		cmocka_unit_test(test_a_copy_for_another_machine_has_the_token),
		cmocka_unit_test(test_another_try_on_another_machine_has_the_token),
		cmocka_unit_test(test_a_running_copy_has_its_token),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
