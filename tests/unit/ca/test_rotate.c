/* SPDX-License-Identifier: Apache-2.0 */
/* Rotations step by step, their refusals, and a crash at each write of each step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../src/ca/rotate.h"
#include "keys/cert.h"
#include "realm.h"
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ORDERS "spiffe://" REALM_TD "/service/orders"
#define VM_A   "spiffe://" REALM_TD "/node/vm-a"

static void shell(const char *format, const char *a, const char *b)
{
	char line[1000];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(line, sizeof(line), format, a, b);
#pragma GCC diagnostic pop
	if (system(line) != 0)
		fail_msg("%s", line);
}

static bool has(struct realm *r, const char *name)
{
	char inner[200];
	snprintf(inner, sizeof(inner), "ca/%s", name);
	return access(place_path(&r->place, inner), F_OK) == 0;
}

static STACK_OF(X509) * certs_of(struct realm *r, const char *name)
{
	char *text = realm_read(r, name);
	STACK_OF(X509) *list = cert_list_from_pem(str_of(text));
	free(text);
	assert_non_null(list);
	return list;
}

static size_t count_of(struct realm *r, const char *name)
{
	STACK_OF(X509) *list = certs_of(r, name);
	size_t count = sk_X509_num(list);
	sk_X509_pop_free(list, X509_free);
	return count;
}

/* Whether a chain leads to one of the anchors that are published. */
static bool verifies(struct realm *r, const STACK_OF(X509) * chain)
{
	STACK_OF(X509) *roots = certs_of(r, "roots.pem");
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *verify = X509_STORE_CTX_new();
	for (size_t i = 0; i < sk_X509_num(roots); i++)
		assert_true(X509_STORE_add_cert(store, sk_X509_value(roots, i)));
	assert_true(X509_STORE_CTX_init(
		verify, store, sk_X509_value(chain, 0), (STACK_OF(X509) *)(uintptr_t)chain));
	bool ok = X509_verify_cert(verify) == 1;
	X509_STORE_CTX_free(verify);
	X509_STORE_free(store);
	sk_X509_pop_free(roots, X509_free);
	return ok;
}

/* The machine shows what is published now. */
static void show(struct realm *r, const char *node)
{
	struct str pem;
	struct err err;
	char etag[72];
	assert_int_equal(authority_anchors(r->authority, STR_NONE, &pem, etag, &err), 0);
	free((char *)(uintptr_t)pem.at);
	assert_int_equal(
		authority_seen(r->authority, str_of(node), false, str_of(etag), r->now_s, &err), 0);
}

static struct realm_answer get(struct realm *r, X509 *node, const char *id)
{
	struct authority_client client = realm_client(node, r->now_s);
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(r, &client, key, id);
	EVP_PKEY_free(key);
	if (a.result != 0)
		fail_msg("%s", a.err.text);
	return a;
}

static void a_root_is_changed_by_overlap(void **state)
{
	struct realm r;
	char text[4096];
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct realm_answer old = get(&r, node, ORDERS);
	assert_int_equal(realm_run(&r, "rotate --dir DIR activate"), 1);
	assert_int_equal(realm_run(&r, "rotate --dir DIR retire"), 1);
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish --root"), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish --root"), 1);
	assert_int_equal(count_of(&r, "roots.pem"), 2);
	/* The machine has not shown that it has both. */
	assert_int_equal(realm_run(&r, "rotate --dir DIR activate"), 1);
	assert_int_equal(realm_run_text(&r, "rotate --dir DIR", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "activate waits for 1 of 1 machines"));
	show(&r, VM_A);
	assert_int_equal(realm_run_text(&r, "rotate --dir DIR status", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "activate may be run"));
	assert_int_equal(realm_run(&r, "rotate --dir DIR activate"), 0);

	struct realm_answer new = get(&r, node, ORDERS);
	X509 *old_issuer = sk_X509_value(old.chain, 1), *new_issuer = sk_X509_value(new.chain, 1);
	assert_int_not_equal(X509_cmp(old_issuer, new_issuer), 0);
	assert_true(verifies(&r, old.chain) && verifies(&r, new.chain));
	assert_int_equal(realm_run(&r, "rotate --dir DIR abort"), 1);
	/* Certificates of the old issuer hold still. */
	assert_int_equal(realm_run(&r, "rotate --dir DIR retire"), 1);
	assert_int_equal(count_of(&r, "roots.pem"), 2);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --node vm-a"), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR retire"), 0);
	assert_int_equal(count_of(&r, "roots.pem"), 1);
	assert_true(verifies(&r, new.chain));
	assert_false(verifies(&r, old.chain));
	assert_false(has(&r, "rotation") || has(&r, "next-issuer.key") || has(&r, "old-root.crt"));
	assert_int_equal(realm_run_text(&r, "rotate --dir DIR", text, sizeof(text)), 0);
	assert_non_null(strstr(text, "no rotation is under way"));
	realm_answer_done(&old);
	realm_answer_done(&new);
	X509_free(node);
	realm_done(&r);
}

static void an_issuer_is_changed_below_its_root(void **state)
{
	struct realm r;
	struct str pem;
	struct err err;
	char etag[72], *end;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct realm_answer old = get(&r, node, ORDERS);
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish"), 0);
	/* Its revocation list is there before it signs. */
	assert_int_equal(authority_crls(r.authority, r.now_s, &pem, etag, &err), 0);
	end = strstr(pem.at, "END X509 CRL");
	assert_true(end && strstr(end + 1, "END X509 CRL"));
	free((char *)(uintptr_t)pem.at);
	assert_int_equal(realm_run(&r, "rotate --dir DIR activate"), 0);
	struct realm_answer new = get(&r, node, ORDERS);
	assert_int_equal(count_of(&r, "roots.pem"), 1);
	assert_int_not_equal(X509_cmp(sk_X509_value(old.chain, 1), sk_X509_value(new.chain, 1)), 0);
	assert_true(verifies(&r, old.chain) && verifies(&r, new.chain));
	/* The old one's list goes on. */
	assert_int_equal(authority_crls(r.authority, r.now_s, &pem, etag, &err), 0);
	end = strstr(pem.at, "END X509 CRL");
	assert_true(end && strstr(end + 1, "END X509 CRL"));
	free((char *)(uintptr_t)pem.at);
	assert_int_equal(realm_run(&r, "rotate --dir DIR retire"), 1);
	assert_int_equal(realm_run(&r, "rotate --dir DIR retire --force"), 0);
	realm_answer_done(&old);
	realm_answer_done(&new);
	X509_free(node);
	realm_done(&r);
}

static void a_rotation_is_taken_back(void **state)
{
	struct realm r;
	realm_init(&r, "");
	char *before = realm_read(&r, "roots.pem");
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish --root"), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR abort"), 0);
	char *after = realm_read(&r, "roots.pem");
	assert_string_equal(before, after);
	assert_false(has(&r, "rotation") || has(&r, "next-issuer.key") || has(&r, "next-root.crt"));
	free(before);
	free(after);
	realm_done(&r);
}

static void the_roots_key_may_be_elsewhere(void **state)
{
	struct realm r;
	char line[300];
	realm_init(&r, "");
	shell("cd %s && mkdir -m 700 away && mv ca/root.key away/", r.place.dir, "");
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish"), 1);
	snprintf(line, sizeof(line), "rotate --dir DIR publish --root-dir %s/away", r.place.dir);
	assert_int_equal(realm_run(&r, line), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR activate"), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR retire"), 0);
	/* A new root's key goes there, too, under a name of its own, and is found there. */
	snprintf(line, sizeof(line), "rotate --dir DIR publish --root --root-dir %s/away",
		r.place.dir);
	assert_int_equal(realm_run(&r, line), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR activate"), 0);
	assert_int_equal(realm_run(&r, "rotate --dir DIR retire"), 0);
	snprintf(line, sizeof(line), "rotate --dir DIR publish --root-dir %s/away", r.place.dir);
	assert_int_equal(realm_run(&r, line), 0);
	shell("cd %s && test $(ls root*.key next-root* 2>/dev/null | wc -l) = 0", r.dir, "");
	realm_done(&r);
}

/* --- crashes --- */

/* A step of a rotation, as the files that it writes one after the other. */
struct step {
	const char *before; /* command that leads to it */
	const char *run;    /* the step */
	const char *phase;  /* what `rotation` says while it is under way */
	const char *writes[8];
};

/* The first `count` files of the step are as they are after it, the others as before. */
static void crash_after(struct realm *r, const struct step *s, size_t count)
{
	char line[600];
	shell("cd %s && rm -rf ca && cp -a before ca", r->place.dir, "");
	for (size_t i = 0; i < count; i++) {
		snprintf(line, sizeof(line),
			"cd %s && mkdir -p -m 700 ca/old && for f in $(cd before; ls -d %s "
			"2>/dev/null; cd "
			"../after; ls -d %s 2>/dev/null); do if test -e after/$f; then cp -p "
			"after/$f "
			"ca/$f; else rm -f ca/$f; fi; done",
			r->place.dir, s->writes[i], s->writes[i]);
		shell("%s", line, "");
	}
	realm_write(r, "rotation", s->phase);
}

static void tree(struct realm *r, const char *name, char text[4096])
{
	char line[400];
	/* Not who wrote what when, nor lists of revocation, nor the lock. */
	snprintf(line, sizeof(line),
		"cd %s/%s && find . -type f ! -name lock ! -name issued.log ! -name rotation ! "
		"-path "
		"'./crls/*' ! -path './nodes/*' | sort | xargs sha256sum; cut -d' ' -f1,2 rotation "
		"2>/dev/null",
		r->place.dir, name);
	FILE *out = popen(line, "r");
	assert_non_null(out);
	size_t len = fread(text, 1, 4095, out);
	text[len] = '\0';
	pclose(out);
}

static void survives_crashes(const struct step *s)
{
	struct realm r;
	struct err err;
	char want[4096], got[4096];
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	for (const char *line = s->before; line[0]; line += strlen(line) + 1)
		assert_int_equal(realm_run(&r, line), 0);
	authority_close(r.authority);
	shell("cd %s && cp -a ca before", r.place.dir, "");
	assert_int_equal(realm_run(&r, s->run), 0);
	shell("cd %s && cp -a ca after", r.place.dir, "");
	tree(&r, "after", want);
	for (size_t count = 0; count == 0 || s->writes[count - 1]; count++) {
		crash_after(&r, s, count);
		/* The next who comes, a server or a command, ends what was begun. */
		if (authority_open(r.dir, &r.authority, &err) != 0)
			fail_msg("after %zu writes of \"%s\": %s", count, s->run, err.text);
		struct realm_answer a = get(&r, node, VM_A);
		assert_true(verifies(&r, a.chain));
		realm_answer_done(&a);
		authority_close(r.authority);
		shell("cd %s && cp -p before/index ca/index", r.place.dir, "");
		assert_int_equal(realm_run_text(&r, "rotate --dir DIR", got, sizeof(got)), 0);
		tree(&r, "ca", got);
		if (strcmp(got, want) != 0)
			fail_msg("after %zu writes of \"%s\":\n%s\nnot\n%s", count, s->run, got,
				want);
	}
	assert_int_equal(authority_open(r.dir, &r.authority, &err), 0);
	X509_free(node);
	realm_done(&r);
}

/* Before `rotation` says it, a publish has changed nothing, whatever lies about. */
static void a_publish_that_was_cut_off_is_done_again(void **state)
{
	struct realm r;
	realm_init(&r, "");
	realm_write(&r, "next-issuer.key", "half");
	realm_write(&r, "next-root.crt", "half");
	X509 *node = realm_join(&r, "vm-a");
	assert_int_equal(count_of(&r, "roots.pem"), 1);
	assert_int_equal(realm_run(&r, "rotate --dir DIR publish --root"), 0);
	assert_int_equal(count_of(&r, "roots.pem"), 2);
	X509_free(node);
	realm_done(&r);
}

static void a_crash_in_any_step_is_made_good(void **state)
{
	static const char publish[] = "rotate --dir DIR publish --root\0";
	static const char activate[] =
		"rotate --dir DIR publish --root\0rotate --dir DIR activate --force\0";
	static const char activate_issuer[] =
		"rotate --dir DIR publish\0rotate --dir DIR activate --force\0";
	static const struct step steps[] = {
		{publish, "rotate --dir DIR activate --force", "activating root 1\n",
			{"old/*.key", "old/*.crt", "issuer.key", "issuer.crt", "old-root.crt",
				"root.crt"}},
		{"rotate --dir DIR publish\0", "rotate --dir DIR activate", "activating issuer 1\n",
			{"old/*.key", "old/*.crt", "issuer.key", "issuer.crt"}},
		{activate, "rotate --dir DIR retire --force", "retiring root 1\n",
			{"roots.pem", "old/*.key", "old/*.crt", "old-root.crt"}},
		{activate_issuer, "rotate --dir DIR retire --force", "retiring issuer 1\n",
			{"old/*.key", "old/*.crt"}},
		{publish, "rotate --dir DIR abort", "aborting root 1\n",
			{"roots.pem", "next-issuer.key", "next-issuer.crt", "next-root.crt"}},
	};
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		survives_crashes(&steps[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_root_is_changed_by_overlap),
		cmocka_unit_test(an_issuer_is_changed_below_its_root),
		cmocka_unit_test(a_rotation_is_taken_back),
		cmocka_unit_test(the_roots_key_may_be_elsewhere),
		cmocka_unit_test(a_publish_that_was_cut_off_is_done_again),
		cmocka_unit_test(a_crash_in_any_step_is_made_good),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
