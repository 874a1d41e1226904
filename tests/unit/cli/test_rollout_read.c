/* SPDX-License-Identifier: Apache-2.0 */
/* What `ringmain rollout` reads of a store in memory, and shows of it. */
#include "objects.h"

#include "cli/rollout_read.h"
#include "cli/rollout_show.h"
#include "fake/ring_fake.h"
#include "fake/store_fake.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "ringmain:{prod.example}:" name

struct fixture {
	struct conf_operator conf;
	struct publisher p;
	struct rollouts r;
	struct err err;
};

static void put(const char *service, const char *order)
{
	char key[64], text[512];
	snprintf(key, sizeof(key), "rollout/%s", service);
	snprintf(text, sizeof(text),
		"revision 3\nwho bob\ntime 1764236129\n\nrollouts = ( { service = \"%s\"; from = "
		"\"v1\"; to = \"v2\"; attempt = 3; steps = [ 10, 100 ]; order = \"%s\"; } );\n",
		service, order);
	server_hash_set(KEY("objects"), str_of(key), str_of(text));
	snprintf(key, sizeof(key), KEY("rollout:%s"), service);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 3\nfrom v1\nto v2\nstate stepping\nstep 1\nsince 1000\n"
		    "node vm-a\nwhy 10 % was good\n")};
	assert_true(server_stream_say(key, "1-1", fields, ARRAY_LEN(fields)));
}

static int setup(void **state)
{
	static struct fixture f;
	struct address address;
	struct bundle none;
	fake_init();
	server_init();
	bundle_init(&none);
	assert_true(address_port_parse(STR("10.77.0.100:6379"), &address));
	const struct store_settings settings = {
		.addresses = &address, .address_count = 1, .timeout_ms = 1000};
	f = (struct fixture){.conf.conf.trust_domain = STR("prod.example")};
	f.p = (struct publisher){.command = "ringmain rollout status", .conf = &f.conf};
	assert_int_equal(operator_keys_new(&none, &f.p.keys, &f.err), 0);
	assert_int_equal(client_open(&settings, &f.p.client, &f.err), 0);
	bundle_done(&none);
	put("a", "run");
	put("b", "run");
	put("c", "pause");
	put("d", "abort");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	client_close(f->p.client);
	operator_keys_free(f->p.keys);
	server_cut(NULL);
	server_done();
	fake_done();
	return 0;
}

/* The table, and one with its details. */
static char *shown(const struct rollouts *r, const char *service, bool json)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	assert_true(json ? rollout_show_json(out, r, str_of(service))
			 : rollout_show_status(out, r, str_of(service)));
	fclose(out);
	return text;
}

static void expect_shown(const struct rollouts *r, const char *service, bool json, const char *part)
{
	char *text = shown(r, service, json);
	if (!strstr(text, part))
		fail_msg("no \"%s\" in %s", part, text);
	free(text);
}

static void expect_unread(struct fixture *f, const char *service, const char *key, const char *word)
{
	server_cut(key);
	assert_int_equal(rollout_read_all(&f->p, str_of(service), &f->r, &f->err), 0);
	assert_int_equal(f->r.count, 4);
	for (uint32_t i = 0; i < f->r.count; i++) {
		const struct rollout_known *k = &f->r.all[i];
		bool is_it = str_eq(k->rule.service, str_of(service));
		assert_true(k->is_rule);
		assert_int_equal(k->is_unread, is_it);
		assert_int_equal(k->has_entry, !is_it);
	}
	expect_shown(&f->r, service, false, word);
	expect_shown(&f->r, service, true, "\"problem\":\"the store of the mesh's state: ");
	expect_shown(&f->r, service, false, "how far it is cannot be read: the store");
	rollout_read_done(&f->r);
}

/* A node has written an entry that breaks the connection of whoever reads it: that rollout is not
 * known, and all others are. */
static void test_a_stream_that_breaks_the_connection_is_one_rollouts_trouble(void **state)
{
	struct fixture *f = *state;
	expect_unread(f, "a", KEY("rollout:a"), "unreadable");
	expect_unread(f, "b", KEY("rollout:b"), "unreadable");
	expect_unread(f, "c", KEY("rollout:c"), "unreadable");
	/* the operator's word counts whatever stands there */
	expect_unread(f, "d", KEY("rollout:d"), "aborted");
	server_cut(NULL);
	assert_int_equal(rollout_read_all(&f->p, STR("a"), &f->r, &f->err), 0);
	expect_shown(&f->r, "a", false, "2/2 100 %");
	rollout_read_done(&f->r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_stream_that_breaks_the_connection_is_one_rollouts_trouble, setup,
			teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
