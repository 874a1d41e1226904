/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MESH STR("prod.example")

/* Text of a head, a name of a line of it, and what stands there instead. */
static struct str replace(struct arena *arena, const char *text, const char *name, const char *with)
{
	const char *line = strstr(text, name);
	assert_non_null(line);
	const char *end = strchr(line, '\n') + 1;
	const struct str parts[] = {
		{text, (size_t)(line - text)}, str_of(with), {end, strlen(end)}};
	return arena_join(arena, parts, 3);
}

static int verify(struct str text, const struct operator_keys *keys, struct err *err)
{
	struct head head = {0};
	*err = (struct err){0};
	int r = head_verify(text, MESH, keys, &head, err);
	assert_int_equal(r < 0, err->text[0] != '\0');
	assert_int_equal(r == 0, head.revision != 0);
	return r;
}

static void test_known_head_verifies(void **state)
{
	struct operator_keys *keys = known_keys();
	struct object_set set;
	struct head head;
	struct err err;
	known_set(&set);
	assert_int_equal(operator_keys_count(keys), 1);
	assert_int_equal(head_verify(STR(KNOWN_SIGNED), MESH, keys, &head, &err), 0);
	assert_int_equal(head.revision, 41);
	assert_int_equal(head.time_s, 1764236129);
	assert_int_equal(head.count, 2);
	assert_true(str_eq(head.who, STR("alice")));
	assert_true(str_eq(head.why, STR("raise the limit of orders")));
	assert_string_equal(head.key_id, KNOWN_KEY_ID);
	assert_true(head_fits(&head, &set));
	object_set_remove(&set, STR("policy/web"));
	assert_false(head_fits(&head, &set));
	object_set_done(&set);
	operator_keys_free(keys);
}

static void test_signing_gives_the_known_head(void **state)
{
	struct operator_key *key = known_key();
	struct object_set set;
	struct arena arena;
	struct head head = {.mesh = MESH,
		.revision = 41,
		.time_s = 1764236129,
		.who = STR("alice"),
		.why = STR("raise the limit of orders")};
	known_set(&set);
	head_set(&head, &set);
	arena_init(&arena, 65536);
	struct str text = head_sign(&arena, &head, key);
	assert_string_equal(text.at, KNOWN_SIGNED);
	assert_string_equal(operator_key_id(key), KNOWN_KEY_ID);
	arena_done(&arena);
	object_set_done(&set);
	operator_key_free(key);
}

static void test_without_a_reason(void **state)
{
	struct operator_key *key = known_key();
	struct operator_keys *keys = known_keys();
	struct arena arena;
	struct err err;
	struct head head = {.mesh = MESH, .revision = 1, .who = STR("bob")}, again;
	arena_init(&arena, 65536);
	struct str text = head_sign(&arena, &head, key);
	assert_int_equal(head_verify(text, MESH, keys, &again, &err), 0);
	assert_int_equal(again.why.len, 0);
	assert_null(strstr(text.at, "why"));
	arena_done(&arena);
	operator_keys_free(keys);
	operator_key_free(key);
}

static void test_every_bit_counts(void **state)
{
	struct operator_keys *keys = known_keys();
	char text[] = KNOWN_SIGNED;
	struct err err;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			text[i] = (char)(text[i] ^ (1 << bit));
			assert_true(verify((struct str){text, sizeof(text) - 1}, keys, &err) < 0);
			text[i] = (char)(text[i] ^ (1 << bit));
		}
		assert_true(verify((struct str){text, i}, keys, &err) < 0);
	}
	assert_int_equal(verify(str_of(text), keys, &err), 0);
	operator_keys_free(keys);
}

static void test_every_field_is_signed(void **state)
{
	static const char *const rows[][2] = {{"mesh", "mesh other.example\n"},
		{"revision", "revision 42\n"}, {"time", "time 1764236130\n"}, {"who", "who bob\n"},
		{"why", "why lower it\n"}, {"why", ""}, {"count", "count 3\n"},
		{"digest", "digest "
			   "a6e29b0b6444261356b17c57c7b7a2016b8bc9a00ef04448840af22a1a81ec8c\n"},
		{"key", "key 0000000000000000\n"}, {"signature", ""}, {"signature", "signature \n"},
		{"signature",
			"signature P8KmZWAmKD0rJ6uo9C/G026gdcF2/wpKRIANIIaTgRnjltUsxkj8SDX93gI8G1JA"
			"/g2rTVaf37Xa4aZMnyaIAw==\n"}};
	struct operator_keys *keys = known_keys();
	struct arena arena;
	struct err err;
	arena_init(&arena, 65536);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
			verify(replace(&arena, KNOWN_SIGNED, rows[i][0], rows[i][1]), keys, &err),
			-EACCES);
	assert_int_equal(verify(STR(KNOWN_HEAD), keys, &err), -EACCES);
	assert_non_null(strstr(err.text, "not signed"));
	arena_done(&arena);
	operator_keys_free(keys);
}

static void test_malformed_heads(void **state)
{
	static const char *const rows[][2] = {{"ringmain-head", ""},
		{"ringmain-head", "ringmain-head 2\n"}, {"mesh", ""}, {"mesh", "mesh \n"},
		{"revision", ""}, {"revision", "revision 0\n"}, {"revision", "revision 041\n"},
		{"revision", "revision +41\n"}, {"revision", "revision 41 \n"},
		{"revision", "revision 41\nrevision 41\n"}, {"time", ""}, {"who", ""},
		{"who", "who \n"}, {"who", "who a b\n"}, {"why", "why \n"}, {"why", "why a\tb\n"},
		{"count", ""}, {"count", "count 100001\n"}, {"digest", ""},
		{"digest", "digest 00\n"},
		{"digest", "digest "
			   "A6e29b0b6444261356b17c57c7b7a2016b8bc9a00ef04448840af22a1a81ec8d\n"},
		{"key", ""}, {"key", "key 0\n"}, {"count", "colour blue\ncount 2\n"},
		{"signature", "signature x\nand more\n"}, {"signature", "more\n"}};
	struct operator_keys *keys = known_keys();
	struct arena arena;
	struct err err;
	arena_init(&arena, 65536);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str text = replace(&arena, KNOWN_SIGNED, rows[i][0], rows[i][1]);
		struct head head;
		assert_int_equal(verify(text, keys, &err), -EBADMSG);
		assert_int_equal(head_parse(text, &head, &err), -EBADMSG);
	}
	assert_int_equal(verify(STR(""), keys, &err), -EBADMSG);
	arena_done(&arena);
	operator_keys_free(keys);
}

static struct operator_keys *keys_of(const char *text, struct err *err)
{
	struct operator_keys *keys = NULL;
	struct bundle b;
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("operator"), STR("x.pub"), str_of(text), err), 0);
	int r = operator_keys_new(&b, &keys, err);
	assert_int_equal(r < 0, keys == NULL);
	bundle_done(&b);
	return keys;
}

static void test_unusable_operator_keys_are_named(void **state)
{
	static const char rsa_less[] =
		"-----BEGIN PUBLIC KEY-----\n"
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP"
		"40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";
	struct err err;
	assert_null(keys_of("", &err));
	assert_non_null(strstr(err.text, "x.pub: no public key"));
	assert_null(keys_of("nonsense", &err));
	assert_null(keys_of(KNOWN_PRIVATE, &err));
	assert_non_null(strstr(err.text, "a private key"));
	assert_null(keys_of(rsa_less, &err));
	assert_non_null(strstr(err.text, "not an Ed25519 key"));
	struct operator_keys *keys = keys_of(KNOWN_PUBLIC KNOWN_PUBLIC, &err);
	assert_int_equal(operator_keys_count(keys), 1);
	operator_keys_free(keys);
}

static void test_nobody_is_believed_without_keys(void **state)
{
	struct operator_keys *keys = NULL;
	struct bundle b;
	struct err err;
	bundle_init(&b);
	assert_int_equal(operator_keys_new(&b, &keys, &err), 0);
	assert_int_equal(verify(STR(KNOWN_SIGNED), keys, &err), -EACCES);
	struct operator_key *key = known_key();
	assert_true(operator_keys_add(keys, key));
	assert_true(operator_keys_add(keys, key));
	assert_int_equal(operator_keys_count(keys), 1);
	assert_int_equal(verify(STR(KNOWN_SIGNED), keys, &err), 0);
	operator_key_free(key);
	operator_keys_free(keys);
	bundle_done(&b);
}

static void test_a_new_pair_signs_and_verifies(void **state)
{
	char dir[] = "/tmp/ringmain-pair-XXXXXX", path[64], public_path[80];
	struct operator_key *key = NULL;
	struct operator_keys *keys = NULL;
	struct bundle b;
	struct arena arena;
	struct stat st;
	struct err err;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/alice.key", dir);
	snprintf(public_path, sizeof(public_path), "%s.pub", path);
	assert_int_equal(operator_key_new(path, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(operator_key_new(path, &err), -EEXIST);
	assert_int_equal(operator_key_load(path, &key, &err), 0);
	bundle_init(&b);
	assert_int_equal(bundle_add_file(&b, STR("operator"), public_path, &err), 0);
	assert_int_equal(operator_keys_new(&b, &keys, &err), 0);
	arena_init(&arena, 65536);
	struct head head = {.mesh = MESH, .revision = 1, .who = STR("alice")};
	struct str text = head_sign(&arena, &head, key);
	assert_int_equal(verify(text, keys, &err), 0);
	struct operator_keys *others = known_keys();
	assert_int_equal(verify(text, others, &err), -EACCES);
	assert_non_null(strstr(err.text, "none of the 1 known"));
	operator_keys_free(others);
	arena_done(&arena);
	operator_keys_free(keys);
	operator_key_free(key);
	bundle_done(&b);
	unlink(path);
	assert_int_equal(operator_key_new(path, &err), -EEXIST); /* the public one stands */
	assert_int_equal(access(path, F_OK), -1);
	unlink(public_path);
	rmdir(dir);
}

static void test_unusable_private_keys(void **state)
{
	static const char *const texts[] = {"", "nonsense", KNOWN_PUBLIC,
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n-----END ENCRYPTED PRIVATE KEY-----"
		"\n"};
	char path[] = "/tmp/ringmain-key-XXXXXX";
	struct operator_key *key = NULL;
	struct err err;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_true(pwrite(fd, texts[i], strlen(texts[i]), 0) >= 0);
		assert_int_equal(operator_key_load(path, &key, &err), -EINVAL);
	}
	assert_true(pwrite(fd, KNOWN_PRIVATE, sizeof(KNOWN_PRIVATE) - 1, 0) > 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(operator_key_load(path, &key, &err), -EACCES);
	assert_non_null(strstr(err.text, "chmod 600"));
	assert_int_equal(operator_key_load("/tmp", &key, &err), -EINVAL);
	unlink(path);
	assert_int_equal(operator_key_load(path, &key, &err), -ENOENT);
	assert_null(key);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_head_verifies),
		cmocka_unit_test(test_signing_gives_the_known_head),
		cmocka_unit_test(test_without_a_reason),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_every_field_is_signed),
		cmocka_unit_test(test_malformed_heads),
		cmocka_unit_test(test_unusable_operator_keys_are_named),
		cmocka_unit_test(test_nobody_is_believed_without_keys),
		cmocka_unit_test(test_a_new_pair_signs_and_verifies),
		cmocka_unit_test(test_unusable_private_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
