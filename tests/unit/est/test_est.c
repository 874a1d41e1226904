/* SPDX-License-Identifier: Apache-2.0 */
/* The vectors were made by OpenSSL's command line (vectors/make). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "est/est.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct vectors {
	const char *directory;
};

static char *vector_read(void **state, const char *name)
{
	const struct vectors *v = *state;
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", v->directory, name);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	char *text = calloc(1, 65536);
	assert_true(fread(text, 1, 65535, file) > 0);
	fclose(file);
	return text;
}

static void str_free(struct str s)
{
	free((void *)(uintptr_t)s.at);
}

static void assert_text(struct str s, const char *want)
{
	assert_int_equal(s.len, strlen(want));
	assert_memory_equal(s.at, want, s.len);
	assert_int_equal(s.at[s.len], '\0');
}

/* --- paths --- */

static void test_paths(void **state)
{
	static const struct {
		enum est_operation operation;
		const char *label, *path;
	} rows[] = {
		{EST_CACERTS, "", "/.well-known/est/cacerts"},
		{EST_ENROLL, "", "/.well-known/est/simpleenroll"},
		{EST_REENROLL, "", "/.well-known/est/simplereenroll"},
		{EST_CRLS, "", "/.well-known/est/crls"},
		{EST_CACERTS, "other.example", "/.well-known/est/other.example/cacerts"},
		{EST_ENROLL, "a-b_c~1", "/.well-known/est/a-b_c~1/simpleenroll"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char path[512];
		enum est_operation operation;
		struct str label;
		assert_true(est_path(rows[i].operation, str_of(rows[i].label), path, sizeof(path)));
		assert_string_equal(path, rows[i].path);
		assert_int_equal(est_path_parse(str_of(path), &operation, &label), 0);
		assert_int_equal(operation, rows[i].operation);
		assert_true(str_eq(label, str_of(rows[i].label)));
	}
}

static void test_paths_that_are_none(void **state)
{
	static const char *const paths[] = {"", "/", "/.well-known/est", "/.well-known/est/",
		"/.well-known/est//cacerts", "/.well-known/est/a/b/cacerts",
		"/.well-known/est/cacerts/", "/.well-known/est/cacerts/cacerts",
		"/.well-known/est/csrattrs/cacerts", "/.well-known/est/../cacerts",
		"/.well-known/est/./cacerts", "/.well-known/est/a%2fb/cacerts",
		"/.well-known/est/a b/cacerts", "/.well-known/est/fullcmc",
		"/.well-known/est/CACERTS", "/.well-known/est/cacerts?x", "/x/est/cacerts"};
	char long_label[EST_LABEL_MAX + 2], small[24], path[1024];
	enum est_operation operation;
	struct str label;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		assert_int_equal(est_path_parse(str_of(paths[i]), &operation, &label), -ENOENT);
	assert_false(est_path(EST_CACERTS, STR("a/b"), path, sizeof(path)));
	assert_false(est_path(EST_CACERTS, STR("crls"), path, sizeof(path)));
	assert_false(est_path(EST_CACERTS, STR(""), small, sizeof(small)));
	memset(long_label, 'a', sizeof(long_label));
	struct str fits = {long_label, EST_LABEL_MAX}, too_long = {long_label, EST_LABEL_MAX + 1};
	assert_true(est_path(EST_CACERTS, fits, path, sizeof(path)));
	assert_false(est_path(EST_CACERTS, too_long, path, sizeof(path)));
}

/* --- answers --- */

static void test_certificates_of_openssl(void **state)
{
	static const char *const names[] = {"chain.body", "chain-crlf.body", "chain-one-line.body",
		"chain-ber.body", "both.body"};
	char *want = vector_read(state, "chain.pem");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *body = vector_read(state, names[i]);
		struct str pem;
		struct err err;
		if (est_certificates_read(str_of(body), &pem, &err) < 0)
			fail_msg("%s: %s", names[i], err.text);
		assert_text(pem, want);
		str_free(pem);
		free(body);
	}
	free(want);
}

static void test_crls_of_openssl(void **state)
{
	static const char *const names[] = {"crl.body", "both.body"};
	char *want = vector_read(state, "crl.pem");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *body = vector_read(state, names[i]);
		struct str pem;
		struct err err;
		assert_int_equal(est_crls_read(str_of(body), &pem, &err), 0);
		assert_text(pem, want);
		str_free(pem);
		free(body);
	}
	free(want);
}

/* Byte for byte what OpenSSL writes: the order is kept. */
static void test_written_as_openssl_does(void **state)
{
	char *chain = vector_read(state, "chain.pem"), *crl = vector_read(state, "crl.pem");
	char *chain_body = vector_read(state, "chain-one-line.body");
	struct str body, again;
	struct err err;
	assert_int_equal(est_certificates(str_of(chain), &body, &err), 0);
	size_t used = 0;
	for (size_t i = 0; i < body.len; i++) {
		if (body.at[i] != '\n')
			assert_int_equal(body.at[i], chain_body[used++]);
		else
			assert_true(i == body.len - 1 || (i + 1) % 65 == 0);
	}
	assert_int_equal(used, strlen(chain_body));
	str_free(body);
	assert_int_equal(est_crls(str_of(crl), &body, &err), 0);
	assert_int_equal(est_crls_read(body, &again, &err), 0);
	assert_text(again, crl);
	str_free(body);
	str_free(again);
	free(chain);
	free(crl);
	free(chain_body);
}

/* The leaf may be the one that sorts behind its issuer. */
static void test_order_is_kept_both_ways(void **state)
{
	char *chain = vector_read(state, "chain.pem");
	char *second = strstr(chain + 1, "-----BEGIN"), *turned = calloc(1, 2 * strlen(chain));
	snprintf(turned, 2 * strlen(chain), "%s%.*s", second, (int)(second - chain), chain);
	struct str body, again;
	struct err err;
	assert_int_equal(est_certificates(str_of(turned), &body, &err), 0);
	assert_int_equal(est_certificates_read(body, &again, &err), 0);
	assert_text(again, turned);
	str_free(body);
	str_free(again);
	free(turned);
	free(chain);
}

static void assert_no_certificates(const char *body, size_t len, const char *why)
{
	struct str pem = STR("untouched");
	struct err err = {{0}};
	assert_int_equal(est_certificates_read((struct str){body, len}, &pem, &err), -EBADMSG);
	assert_non_null(strstr(err.text, why));
	assert_true(str_eq(pem, STR("untouched")));
}

static void test_answers_refused(void **state)
{
	char *body = vector_read(state, "chain-one-line.body");
	char *crl = vector_read(state, "crl.body"), *pem = vector_read(state, "chain.pem");
	size_t len = strlen(body), big_len = EST_BODY_BYTES_MAX + 4;
	assert_no_certificates("", 0, "empty");
	assert_no_certificates("\r\n \t", 4, "empty");
	assert_no_certificates(body, len - 1, "multiple of four");
	assert_no_certificates(body, len - 4, "PKCS#7");
	assert_no_certificates("AAA=AAAA", 8, "padding");
	assert_no_certificates("AAA\0", 4, "none of it");
	assert_no_certificates("AAAA", 4, "PKCS#7");
	assert_no_certificates(crl, strlen(crl), "without any certificate");
	assert_no_certificates(pem, strlen(pem), "PEM where");
	/* bytes behind it; the DER's length is not a multiple of three by the padding */
	char *behind = calloc(1, big_len + 8);
	snprintf(behind, big_len, "%s", body);
	memcpy(strchr(behind, '=') ? strchr(behind, '=') : behind + len, "AAAAAA==", 8);
	size_t behind_len = strlen(behind) & ~(size_t)3;
	assert_no_certificates(behind, behind_len, "bytes behind it");
	memset(behind, 'A', big_len);
	assert_no_certificates(behind, big_len, "more than 1048576");
	free(behind);
	free(body);
	free(crl);
	free(pem);
}

static void test_texts_refused(void **state)
{
	char *chain = vector_read(state, "chain.pem"), *crl = vector_read(state, "crl.pem");
	struct str body = STR("untouched");
	struct err err;
	size_t one = (size_t)(strstr(chain + 1, "-----BEGIN") - chain);
	assert_int_equal(est_certificates(STR_NONE, &body, &err), -EBADMSG);
	assert_int_equal(est_certificates(STR("nothing\n"), &body, &err), -EBADMSG);
	assert_int_equal(est_certificates(str_of(crl), &body, &err), -EBADMSG);
	assert_int_equal(est_crls(str_of(chain), &body, &err), -EBADMSG);
	assert_int_equal(
		est_certificates((struct str){chain, strlen(chain) - 40}, &body, &err), -EBADMSG);
	char *many = calloc(EST_CERTIFICATES_MAX + 1, one + 1);
	for (size_t i = 0; i < EST_CERTIFICATES_MAX; i++)
		memcpy(many + i * one, chain, one);
	struct str full = {many, EST_CERTIFICATES_MAX * one};
	assert_int_equal(est_certificates(full, &body, &err), 0);
	str_free(body);
	body = STR("untouched");
	memcpy(many + full.len, chain, one);
	full.len += one;
	assert_int_equal(est_certificates(full, &body, &err), -EMSGSIZE);
	assert_true(str_eq(body, STR("untouched")));
	free(many);
	free(chain);
	free(crl);
}

/* --- requests --- */

static void test_requests(void **state)
{
	char *body = vector_read(state, "request.body");
	struct str der, again = STR("untouched");
	struct err err;
	assert_int_equal(est_request_read(str_of(body), &der, &err), 0);
	assert_int_equal(est_request(der, &again, &err), 0);
	struct str der_again;
	assert_int_equal(est_request_read(again, &der_again, &err), 0);
	assert_true(str_eq(der, der_again));
	str_free(again);
	str_free(der_again);

	again = STR("untouched");
	char *longer = calloc(1, der.len + 1);
	memcpy(longer, der.at, der.len);
	assert_int_equal(est_request((struct str){longer, der.len + 1}, &again, &err), -EBADMSG);
	assert_int_equal(est_request((struct str){longer, der.len - 1}, &again, &err), -EBADMSG);
	assert_int_equal(est_request(STR_NONE, &again, &err), -EBADMSG);
	free(longer);
	longer = calloc(1, EST_REQUEST_BYTES_MAX + 1);
	memset(longer, 'A', EST_REQUEST_BYTES_MAX + 1);
	assert_int_equal(est_request((struct str){longer, EST_REQUEST_BYTES_MAX + 1}, &again, &err),
		-EMSGSIZE);
	assert_int_equal(
		est_request_read((struct str){longer, EST_REQUEST_BYTES_MAX + 1}, &again, &err),
		-EBADMSG);
	assert_int_equal(
		est_request_read((struct str){longer, EST_REQUEST_BYTES_MAX}, &again, &err),
		-EBADMSG);
	assert_true(str_eq(again, STR("untouched")));
	free(longer);
	str_free(der);
	free(body);
}

/* --- credentials --- */

static void test_basic(void **state)
{
	struct str value, name, password, memory;
	struct err err;
	(void)state;
	assert_int_equal(est_basic(STR("Aladdin"), STR("open sesame"), &value, &err), 0);
	assert_text(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="); /* RFC 7617 2 */
	assert_int_equal(est_basic_read(value, &name, &password, &memory, &err), 0);
	assert_true(str_eq(name, STR("Aladdin")) && str_eq(password, STR("open sesame")));
	str_free(memory);
	str_free(value);
	assert_int_equal(
		est_basic_read(STR("bASIC   YTpiOmM="), &name, &password, &memory, &err), 0);
	assert_true(str_eq(name, STR("a")) && str_eq(password, STR("b:c")));
	str_free(memory);
	assert_int_equal(est_basic(STR(""), STR(""), &value, &err), 0);
	assert_int_equal(est_basic_read(value, &name, &password, &memory, &err), 0);
	assert_true(name.len == 0 && password.len == 0);
	str_free(memory);
	str_free(value);
}

static void test_basic_refused(void **state)
{
	static const char *const values[] = {"", "Basic", "Basic ", "BasicYTpi", "Bearer YTpi",
		"Basic YWI=", "Basic YQ", "Basic YTpi YTpi", "Basic YToK", "Basic YTo\nYTo",
		"Basic ====", "Digest a"};
	struct str value = STR("untouched"), name, password, memory;
	struct err err;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		assert_int_equal(est_basic_read(str_of(values[i]), &name, &password, &memory, &err),
			-EBADMSG);
	char large[4096];
	memset(large, 'A', sizeof(large));
	memcpy(large, "Basic ", 6);
	assert_int_equal(
		est_basic_read((struct str){large, sizeof(large)}, &name, &password, &memory, &err),
		-EBADMSG);
	assert_int_equal(est_basic(STR("a:b"), STR("c"), &value, &err), -EINVAL);
	assert_int_equal(est_basic(STR("a"), STR("c\n"), &value, &err), -EINVAL);
	assert_int_equal(
		est_basic(STR("a"), (struct str){large, sizeof(large)}, &value, &err), -EINVAL);
	assert_true(str_eq(value, STR("untouched")));
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_paths_that_are_none),
		cmocka_unit_test(test_certificates_of_openssl),
		cmocka_unit_test(test_crls_of_openssl),
		cmocka_unit_test(test_written_as_openssl_does),
		cmocka_unit_test(test_order_is_kept_both_ways),
		cmocka_unit_test(test_answers_refused),
		cmocka_unit_test(test_texts_refused),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_basic),
		cmocka_unit_test(test_basic_refused),
	};
	struct vectors vectors = {argc > 1 ? argv[1] : "vectors"};
	struct CMUnitTest with[ARRAY_LEN(tests)];
	for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
		with[i] = tests[i];
		with[i].initial_state = &vectors;
	}
	return cmocka_run_group_tests_name("est", with, NULL, NULL);
}
