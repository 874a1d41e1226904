/* SPDX-License-Identifier: Apache-2.0 */
/* An operator's client at a store in memory. */
#include "fake/ring_fake.h"
#include "fake/store_fake.h"
#include "state/client.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct client *client;
	struct err err;
};

static int setup(void **state)
{
	static struct fixture f;
	struct address address;
	fake_init();
	server_init();
	assert_true(address_port_parse(STR("10.77.0.100:6379"), &address));
	const struct store_settings settings = {
		.addresses = &address, .address_count = 1, .timeout_ms = 1000};
	assert_int_equal(client_open(&settings, &f.client, &f.err), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	client_close(f->client);
	server_done();
	fake_done();
	return 0;
}

static int put(struct fixture *f, const char *value)
{
	redisReply *reply = NULL;
	int r = client_say(f->client, &reply, &f->err, "SET", "key", value, NULL);
	freeReplyObject(reply);
	return r;
}

static void lose_connection(void)
{
	server_up(false);
	server_up(true);
}

static void test_a_lost_connection_is_made_anew(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(put(f, "one"), 0);
	lose_connection();
	assert_int_equal(put(f, "two"), 0);
	assert_string_equal(server_get("key"), "two");
}

/* The rest of a transaction must not be carried out by itself. */
static void test_what_is_held_is_not_made_anew(void **state)
{
	struct fixture *f = *state;
	client_hold(f->client);
	assert_int_equal(put(f, "one"), 0);
	lose_connection();
	assert_int_equal(put(f, "two"), -EPIPE);
	assert_non_null(strstr(f->err.text, "lost on the way"));
	assert_int_equal(put(f, "two"), -EPIPE);
	assert_string_equal(server_get("key"), "one");
	client_hold(f->client);
	assert_int_equal(put(f, "three"), 0);
	lose_connection();
	client_let_go(f->client);
	assert_int_equal(put(f, "four"), 0);
	assert_string_equal(server_get("key"), "four");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_lost_connection_is_made_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_is_held_is_not_made_anew, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
