/* SPDX-License-Identifier: Apache-2.0 */
/* Every bad certificate of the table against the rules alone, and in a handshake from either side:
 * presented by a client to our server, and by a server to our client, with the reason that our end
 * gives and the alert that the other one is sent. Then whatever else may be wrong with a handshake.
 *
 * Elsewhere: what a session that is resumed may and may not be (test_resumption.c), messages after
 * the handshake, among them those of renegotiation, and unknown records, among them heartbeats
 * (test_record.c), and a client that stalls (proxy/test_session.c). */
#include "matrix.h"
#include "rogue.h"

#include "tls/verify.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

#define MATRIX_MADE_MAX 101
#define MATRIX_SENT_MAX 101
/* What our end may have read before it refuses, of however much is sent. */
#define MATRIX_BYTES_MAX (128u << 10)

static struct pair_mesh mesh;
static struct certs_pair foreign;
static struct tls_store *store;

/* --- what is presented --- */

struct matrix_chain {
	struct certs_pair made[MATRIX_MADE_MAX]; /* the leaf is the last one */
	size_t made_count;
	CRYPTO_BUFFER *sent[MATRIX_SENT_MAX];
	size_t sent_count;
};

static const struct certs_pair *matrix_make(
	struct matrix_chain *c, struct certs_spec spec, const struct certs_pair *issuer)
{
	assert_true(c->made_count < MATRIX_MADE_MAX);
	spec.issuer = issuer;
	c->made[c->made_count] = certs_make(&spec);
	return &c->made[c->made_count++];
}

static void matrix_send(struct matrix_chain *c, X509 *certificate)
{
	assert_true(c->sent_count < MATRIX_SENT_MAX);
	c->sent[c->sent_count++] = certs_buffer(certificate);
}

static void matrix_send_leaf(struct matrix_chain *c, const struct certs_spec *leaf)
{
	c->sent[c->sent_count++] = certs_sent(c->made[c->made_count - 1].certificate, leaf);
}

static const struct certs_pair *matrix_authority(
	struct matrix_chain *c, const char *name, const struct certs_pair *issuer)
{
	return matrix_make(c, (struct certs_spec){.subject = name, .ca = true}, issuer);
}

/* A leaf with so many authorities above it, leaf first or with the last two of them swapped. */
static void matrix_build_line(
	struct matrix_chain *c, const struct matrix_row *row, size_t count, bool shuffled)
{
	const struct certs_pair *issuer = &mesh.root;
	char name[32];
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "line %zu", i);
		struct certs_spec spec = {.subject = name, .ca = true, .padding = 100};
		issuer = matrix_make(c, spec, issuer);
	}
	matrix_make(c, row->leaf, issuer);
	matrix_send_leaf(c, &row->leaf);
	for (size_t i = 0; i < count; i++)
		matrix_send(c, c->made[shuffled ? i : count - 1 - i].certificate);
}

static void matrix_build_path_length(struct matrix_chain *c, const struct matrix_row *row)
{
	struct certs_spec narrow = {.subject = "narrow", .ca = true, .path_len_plus_1 = 1};
	const struct certs_pair *first = matrix_make(c, narrow, &mesh.root);
	const struct certs_pair *second = matrix_authority(c, "below", first);
	matrix_make(c, row->leaf, second);
	matrix_send_leaf(c, &row->leaf);
	matrix_send(c, second->certificate);
	matrix_send(c, first->certificate);
}

/* The foreign root's certificate of the intermediate comes first, and leads nowhere. */
static void matrix_build_crossed(struct matrix_chain *c, const struct matrix_row *row)
{
	X509 *crossed = X509_dup(mesh.middle.certificate);
	assert_true(X509_set_issuer_name(crossed, X509_get_subject_name(foreign.certificate)) &&
		    X509_sign(crossed, foreign.key, EVP_sha256()));
	matrix_make(c, row->leaf, &mesh.middle);
	matrix_send_leaf(c, &row->leaf);
	matrix_send(c, crossed);
	matrix_send(c, mesh.middle.certificate);
	X509_free(crossed);
}

static void matrix_build_cycle(struct matrix_chain *c, const struct matrix_row *row)
{
	const struct certs_pair *a = matrix_authority(c, "a", NULL);
	const struct certs_pair *b = matrix_authority(c, "b", a);
	const struct certs_pair *a_by_b = matrix_authority(c, "a", b);
	matrix_make(c, row->leaf, b);
	matrix_send_leaf(c, &row->leaf);
	for (int i = 0; i < 3; i++) {
		matrix_send(c, b->certificate);
		matrix_send(c, a_by_b->certificate);
	}
}

static void matrix_build_mebibyte(struct matrix_chain *c, const struct matrix_row *row)
{
	struct certs_spec large = {.subject = "large", .ca = true, .padding = 33000};
	const struct certs_pair *issuer = matrix_make(c, large, &mesh.root);
	matrix_make(c, row->leaf, issuer);
	matrix_send_leaf(c, &row->leaf);
	for (int i = 0; i < 32; i++)
		matrix_send(c, issuer->certificate);
}

/* A leaf of `issuer`, and the issuer's certificate, if it is sent. */
static void matrix_build_pair(struct matrix_chain *c, const struct matrix_row *row,
	const struct certs_pair *issuer, const struct certs_pair *sent)
{
	matrix_make(c, row->leaf, issuer);
	matrix_send_leaf(c, &row->leaf);
	if (sent)
		matrix_send(c, sent->certificate);
}

static const struct certs_pair *matrix_issuer(
	struct matrix_chain *c, const struct matrix_row *row, const struct certs_pair *root)
{
	struct certs_spec spec = row->issuer;
	spec.subject = "issuer";
	return matrix_make(c, spec, root);
}

static void matrix_build(struct matrix_chain *c, const struct matrix_row *row)
{
	const struct certs_pair *issuer;
	switch (row->shape) {
	case MATRIX_LEAF:
		matrix_build_pair(c, row, &mesh.middle, &mesh.middle);
		break;
	case MATRIX_ALONE:
		matrix_build_pair(c, row, &mesh.middle, NULL);
		break;
	case MATRIX_SELF:
		matrix_build_pair(c, row, NULL, NULL);
		break;
	case MATRIX_UNDER:
		issuer = matrix_issuer(c, row, &mesh.root);
		matrix_build_pair(c, row, issuer, issuer);
		break;
	case MATRIX_FOREIGN:
		issuer = matrix_authority(c, "root", NULL);
		issuer = matrix_issuer(c, row, issuer);
		matrix_build_pair(c, row, issuer, issuer);
		break;
	case MATRIX_STRANGER:
		issuer = matrix_authority(c, "middle", NULL);
		matrix_build_pair(c, row, issuer, &mesh.middle);
		break;
	case MATRIX_SEVERAL:
	case MATRIX_SHUFFLED:
		matrix_build_line(c, row, 3, row->shape == MATRIX_SHUFFLED);
		break;
	case MATRIX_PATH_LENGTH:
		matrix_build_path_length(c, row);
		break;
	case MATRIX_CROSSED:
		matrix_build_crossed(c, row);
		break;
	case MATRIX_CYCLE:
		matrix_build_cycle(c, row);
		break;
	case MATRIX_NINE:
		matrix_build_line(c, row, STORE_CHAIN_COUNT_MAX, false);
		break;
	case MATRIX_HUNDRED:
		matrix_build_line(c, row, 99, false);
		break;
	case MATRIX_MEBIBYTE:
		matrix_build_mebibyte(c, row);
		break;
	}
}

static void matrix_chain_done(struct matrix_chain *c)
{
	for (size_t i = 0; i < c->made_count; i++)
		certs_done(&c->made[i]);
	for (size_t i = 0; i < c->sent_count; i++)
		CRYPTO_BUFFER_free(c->sent[i]);
	*c = (struct matrix_chain){0};
}

/* --- who judges --- */

static void matrix_add(struct bundle *b, const char *kind, const char *name, char *text)
{
	struct err err;
	assert_int_equal(bundle_add(b, str_of(kind), str_of(name), str_of(text), &err), 0);
	free(text);
}

/* Our mesh, a foreign trust domain, and one of which nobody is to be trusted. */
static struct tls_store *matrix_store(char *list)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	pair_mesh_bundle(&mesh, &b);
	matrix_add(&b, "roots", "other.example", certs_pem((X509 *[]){foreign.certificate, NULL}));
	matrix_add(&b, "roots", "empty.example", strdup("\n"));
	if (list)
		matrix_add(&b, "crl", "prod.example", list);
	if (tls_store_new(&b, STR("prod.example"), 1, &s, &err) < 0)
		fail_msg("%s", err.text);
	bundle_done(&b);
	return s;
}

static struct tls_store *matrix_judge(const struct matrix_row *row, X509 *leaf)
{
	struct certs_list list = {.issuer = &mesh.middle, .more_count = 5};
	if (row->list == MATRIX_NO_LIST)
		return tls_store_ref(store);
	if (row->list == MATRIX_LISTS_LEAF || row->list == MATRIX_OLD_LISTS_LEAF)
		list.revoked[0] = leaf;
	if (row->list == MATRIX_LISTS_ISSUER) {
		list.issuer = &mesh.root;
		list.revoked[0] = mesh.middle.certificate;
	}
	if (row->list >= MATRIX_OLD_HOLDS_ON)
		list.until_s = CERTS_NOW;
	struct tls_store *s = matrix_store(certs_list_pem(&list));
	tls_store_refuse_stale_crls(s, row->list == MATRIX_OLD_REFUSED);
	return s;
}

/* --- the table --- */

static void matrix_try_rules(
	const struct matrix_row *row, struct tls_store *judge, const struct matrix_chain *c)
{
	STACK_OF(CRYPTO_BUFFER) *chain = sk_CRYPTO_BUFFER_new_null();
	struct verify_peer peer = {0};
	for (size_t i = 0; i < c->sent_count; i++)
		sk_CRYPTO_BUFFER_push(chain, c->sent[i]);
	/* Twice: the second time it may be known. */
	for (int i = 0; i < 2; i++) {
		enum tls_failure got = verify_chain(judge, chain, CERTS_NOW, &peer);
		if (got != row->failure)
			fail_msg("%s: %s, not %s", row->name, tls_failure_name(got),
				tls_failure_name(row->failure));
		if (!got)
			assert_string_equal(peer.id, pair_ids[PAIR_WEB]);
		free(peer.id);
		peer.id = NULL;
	}
	sk_CRYPTO_BUFFER_free(chain);
}

static void matrix_try_handshake(const struct matrix_row *row, struct tls_store *judge,
	const struct matrix_chain *c, int end)
{
	struct rogue rogue = {.chain = c->sent,
		.chain_count = c->sent_count,
		.key = c->made[c->made_count - 1].key,
		.wall_s = CERTS_NOW};
	struct rogue_end got = rogue_meet(&mesh, judge, &rogue, end);
	if (got.done != !row->failure || got.failure != row->failure || got.alert != row->alert)
		fail_msg("%s, by the %s: %s, alert %d, not %s, %d", row->name,
			end == PAIR_CLIENT ? "client" : "server", tls_failure_name(got.failure),
			got.alert, tls_failure_name(row->failure), row->alert);
	assert_true(got.bytes < MATRIX_BYTES_MAX);
}

static void test_matrix(void **state)
{
	static struct matrix_chain chain;
	for (size_t i = 0; i < matrix_row_count; i++) {
		const struct matrix_row *row = &matrix_rows[i];
		matrix_build(&chain, row);
		struct tls_store *judge =
			matrix_judge(row, chain.made[chain.made_count - 1].certificate);
		if (row->way != MATRIX_WIRE_ONLY)
			matrix_try_rules(row, judge, &chain);
		for (int end = 0; end < 2 && row->way != MATRIX_RULES_ONLY; end++)
			matrix_try_handshake(row, judge, &chain, end);
		tls_store_unref(judge);
		matrix_chain_done(&chain);
	}
}

/* --- handshakes --- */

enum matrix_ends { MATRIX_BOTH, MATRIX_CLIENTS, MATRIX_SERVERS };

static void test_handshakes(void **state)
{
	static const struct {
		const char *name;
		enum rogue_trick trick;
		enum matrix_ends ends;
		enum tls_failure failure;
		int alert;
	} rows[] = {
		{"honest", ROGUE_HONEST, MATRIX_BOTH, TLS_FAILURE_NONE, 0},
		{"another key", ROGUE_WRONG_KEY, MATRIX_BOTH, TLS_FAILURE_PROTOCOL,
			SSL_AD_DECRYPT_ERROR},
		{"other bytes signed", ROGUE_WRONG_BYTES, MATRIX_BOTH, TLS_FAILURE_PROTOCOL,
			SSL_AD_DECRYPT_ERROR},
		{"no signature", ROGUE_NO_SIGNATURE, MATRIX_BOTH, TLS_FAILURE_PROTOCOL,
			SSL_AD_DECRYPT_ERROR},
		{"no certificate", ROGUE_NO_CERTIFICATE, MATRIX_CLIENTS, TLS_FAILURE_NO_CERTIFICATE,
			SSL_AD_CERTIFICATE_REQUIRED},
		{"TLS 1.2 client", ROGUE_TLS_1_2, MATRIX_CLIENTS, TLS_FAILURE_PROTOCOL,
			SSL_AD_PROTOCOL_VERSION},
		/* It is the server that says so here. */
		{"TLS 1.2 server", ROGUE_TLS_1_2, MATRIX_SERVERS, TLS_FAILURE_ALERT, 0},
		{"compression", ROGUE_COMPRESSION, MATRIX_CLIENTS, TLS_FAILURE_PROTOCOL,
			SSL_AD_ILLEGAL_PARAMETER},
		/* Neither can open what the other one sends from here on. */
		{"another transcript", ROGUE_CHANGED_HELLO, MATRIX_CLIENTS, TLS_FAILURE_PROTOCOL,
			0},
	};
	CRYPTO_BUFFER *chain[] = {certs_buffer(mesh.leaf[PAIR_WEB].certificate),
		certs_buffer(mesh.middle.certificate)};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int end = 0; end < 2; end++) {
			if ((rows[i].ends == MATRIX_CLIENTS && end != PAIR_CLIENT) ||
				(rows[i].ends == MATRIX_SERVERS && end != PAIR_SERVER))
				continue;
			struct rogue rogue = {.chain = chain,
				.chain_count = ARRAY_LEN(chain),
				.key = mesh.leaf[PAIR_WEB].key,
				.trick = rows[i].trick,
				.wall_s = CERTS_NOW};
			struct rogue_end got = rogue_meet(&mesh, store, &rogue, end);
			if (got.failure != rows[i].failure || got.alert != rows[i].alert ||
				got.done != !rows[i].failure)
				fail_msg("%s, end %d: %s, alert %d, not %s, %d", rows[i].name, end,
					tls_failure_name(got.failure), got.alert,
					tls_failure_name(rows[i].failure), rows[i].alert);
		}
	}
	CRYPTO_BUFFER_free(chain[0]);
	CRYPTO_BUFFER_free(chain[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_handshakes),
	};
	pair_mesh_init(&mesh);
	foreign = certs_make(&(struct certs_spec){.subject = "other root", .ca = true});
	store = matrix_store(NULL);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tls_store_unref(store);
	certs_done(&foreign);
	pair_mesh_done(&mesh);
	return failed;
}
