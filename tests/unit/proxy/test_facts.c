/* SPDX-License-Identifier: Apache-2.0 */
/* What the state process tells of the world outside is taken for no more than it may be. */
#include "proxy/facts.h"

#include "jwt/jwt.h"
#include "mesh/external.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEY(id)                                                    \
	"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"" id "\"," \
	"\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"
#define KEYS_1 "{\"keys\":[" KEY("1") "]}"
#define KEYS_2 "{\"keys\":[" KEY("1") "," KEY("2") "]}"
#define URL    "https://sso.example.com/keys"

struct fixture {
	struct bundle files, outside;
	struct facts *facts;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	bundle_init(&f->files);
	bundle_init(&f->outside);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	facts_unref(f->facts);
	bundle_done(&f->files);
	bundle_done(&f->outside);
	free(f);
	return 0;
}

static void add(struct bundle *b, const char *kind, const char *name, const char *text)
{
	struct err err;
	assert_int_equal(bundle_add(b, str_of(kind), str_of(name), str_of(text), &err), 0);
}

static void build(struct fixture *f)
{
	facts_unref(f->facts);
	f->facts = facts_new(&f->files, &f->outside);
	assert_non_null(f->facts);
}

/* How many keys there are of an issuer whose keys come from there. */
static uint32_t keys_of(const struct fixture *f, const char *name, const char *url)
{
	const struct issuer issuer = {.name = str_of(name), .url = str_of(url)};
	const struct jwk_set *keys = facts_keys(f->facts, &issuer);
	return keys ? jwk_set_count(keys) : 0;
}

static void keeps_keys_of_files_and_of_urls_apart(void **state)
{
	struct fixture *f = *state;
	add(&f->files, "jwks", "staff", KEYS_1);
	add(&f->outside, "jwks-of", "sso", URL);
	add(&f->outside, "jwks", "sso", KEYS_2);
	build(f);
	assert_int_equal(keys_of(f, "staff", ""), 1);
	assert_int_equal(keys_of(f, "sso", URL), 2);
	assert_int_equal(keys_of(f, "staff", URL), 0);
	assert_int_equal(keys_of(f, "sso", ""), 0);
}

/* Whoever took the state process over has keys of its own. */
static void does_not_take_keys_of_a_file_from_outside(void **state)
{
	struct fixture *f = *state;
	struct facts_issuer is;
	add(&f->files, "jwks", "staff", KEYS_1);
	add(&f->outside, "jwks-of", "staff", "");
	add(&f->outside, "jwks-of", "absent", "");
	add(&f->outside, "jwks", "staff", KEYS_2);
	add(&f->outside, "jwks", "absent", KEYS_2);
	build(f);
	assert_int_equal(keys_of(f, "staff", ""), 1);
	assert_int_equal(keys_of(f, "absent", ""), 0);
	assert_true(facts_issuer_at(f->facts, 0, &is));
	assert_false(facts_issuer_at(f->facts, 1, &is));
}

static void has_no_keys_of_an_earlier_url(void **state)
{
	struct fixture *f = *state;
	add(&f->outside, "jwks-of", "sso", URL);
	add(&f->outside, "jwks", "sso", KEYS_1);
	build(f);
	assert_int_equal(keys_of(f, "sso", URL "2"), 0);
	assert_int_equal(keys_of(f, "sso", "https://sso.example.com/key"), 0);
}

static void takes_the_first_of_a_name(void **state)
{
	struct fixture *f = *state;
	add(&f->files, "jwks", "staff", KEYS_2);
	add(&f->files, "jwks", "staff", KEYS_1);
	add(&f->outside, "jwks-of", "sso", URL);
	add(&f->outside, "jwks-of", "sso", URL);
	add(&f->outside, "jwks", "sso", KEYS_1);
	add(&f->outside, "jwks", "sso", KEYS_2);
	add(&f->outside, "host", "db.example.com", "10.0.0.1\n");
	add(&f->outside, "host", "db.example.com", "10.0.0.2\n");
	build(f);
	assert_int_equal(keys_of(f, "staff", ""), 2);
	assert_int_equal(keys_of(f, "sso", URL), 1);
	const struct facts_host *host = facts_host(f->facts, STR("db.example.com"));
	char text[ADDRESS_TEXT_MAX];
	assert_non_null(host);
	assert_int_equal(host->address_count, 1);
	assert_string_equal(address_ip_text(&host->addresses[0], text), "10.0.0.1");
}

/* More addresses than are taken of one host. */
static void add_host(struct bundle *b, const char *name)
{
	char text[(EXTERNAL_HOST_ADDRESSES_MAX + 1) * ADDRESS_TEXT_MAX];
	size_t len = 0;
	for (int i = 0; i <= EXTERNAL_HOST_ADDRESSES_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "10.0.0.%d\n", i + 1);
	add(b, "host", name, text);
}

/* However many there are: the files' have their own room. */
static void bounds_what_it_takes(void **state)
{
	struct fixture *f = *state;
	struct facts_issuer is;
	char name[32];
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "i%d", i);
		add(&f->outside, "jwks-of", name, URL);
		add(&f->outside, "jwks", name, KEYS_1);
		add_host(&f->outside, name);
	}
	add(&f->files, "jwks", "staff", KEYS_1);
	build(f);
	assert_int_equal(keys_of(f, "i63", URL), 1);
	assert_int_equal(keys_of(f, "i64", URL), 0);
	assert_int_equal(keys_of(f, "staff", ""), 1);
	assert_true(facts_issuer_at(f->facts, 64, &is));
	assert_false(facts_issuer_at(f->facts, 65, &is));
	assert_non_null(facts_host(f->facts, STR("i255")));
	assert_null(facts_host(f->facts, STR("i256")));
	assert_int_equal(
		facts_host(f->facts, STR("i0"))->address_count, EXTERNAL_HOST_ADDRESSES_MAX);
}

static void leaves_out_what_makes_no_sense(void **state)
{
	struct fixture *f = *state;
	struct facts_issuer is;
	add(&f->outside, "jwks-of", "sso", URL);
	add(&f->outside, "jwks", "sso", "{\"keys\":[]}");
	add(&f->outside, "jwks-state", "sso", "x y z");
	add(&f->outside, "host", "none", "");
	add(&f->outside, "host", "some", "nonsense\n10.0.0.1\n\n\n");
	build(f);
	assert_int_equal(keys_of(f, "sso", URL), 0);
	assert_true(facts_issuer_at(f->facts, 0, &is));
	assert_true(is.why.len > 0);
	assert_int_equal(is.fetched_s, 0);
	assert_null(facts_host(f->facts, STR("none")));
	assert_int_equal(facts_host(f->facts, STR("some"))->address_count, 1);
}

static void tells_news_from_the_same_again(void **state)
{
	struct fixture *f = *state;
	struct bundle other;
	add(&f->outside, "jwks-of", "sso", URL);
	add(&f->outside, "jwks", "sso", KEYS_1);
	build(f);
	struct facts *again = facts_new(&f->files, &f->outside);
	assert_true(facts_same(f->facts, again));
	facts_unref(again);
	bundle_init(&other);
	add(&other, "jwks-of", "sso", URL);
	add(&other, "jwks", "sso", KEYS_2);
	again = facts_new(&f->files, &other);
	assert_false(facts_same(f->facts, again));
	facts_unref(again);
	bundle_done(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			keeps_keys_of_files_and_of_urls_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(
			does_not_take_keys_of_a_file_from_outside, setup, teardown),
		cmocka_unit_test_setup_teardown(has_no_keys_of_an_earlier_url, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_the_first_of_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_what_it_takes, setup, teardown),
		cmocka_unit_test_setup_teardown(leaves_out_what_makes_no_sense, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_news_from_the_same_again, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
