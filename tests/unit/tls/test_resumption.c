/* SPDX-License-Identifier: Apache-2.0 */
/* When a session may be resumed, and above all when it may not. */
#include "pair.h"

#include "tls/handshake.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

static struct pair_mesh mesh;
static struct tls_store *store;
static struct tls_sessions *sessions;
static struct pair pair;

static int resumption_setup(void **state)
{
	store = pair_mesh_store(&mesh, 1);
	sessions = tls_sessions_new(16);
	pair_init(&pair, &mesh, TLS_WIRE_BYTES_MIN);
	return 0;
}

static int resumption_teardown(void **state)
{
	pair_done(&pair);
	tls_sessions_free(sessions);
	tls_store_unref(store);
	return 0;
}

/* The server says something, which carries its ticket, and the client reads it. */
static void resumption_ticket(void)
{
	size_t used;
	struct pair_end *s = &pair.ends[PAIR_SERVER];
	assert_int_equal(tls_write(s->tls, (const uint8_t *)"hello", 5, &used), TLS_DONE);
	assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_MORE);
	assert_int_equal(buf_len(&pair.ends[PAIR_CLIENT].plain), 5);
}

static bool resumption_run(
	struct tls_store *client, struct tls_store *server, const struct tls_client_want *want)
{
	pair_start(&pair, client, server, sessions, want);
	assert_true(pair_handshake(&pair));
	bool resumed = tls_resumed(pair.ends[PAIR_CLIENT].tls);
	assert_int_equal(resumed, tls_resumed(pair.ends[PAIR_SERVER].tls));
	/* A resumed handshake needs no signature; a full one needs both. */
	assert_int_equal(pair.ends[PAIR_CLIENT].sign_count, resumed ? 0 : 1);
	assert_int_equal(pair.ends[PAIR_SERVER].sign_count, resumed ? 0 : 1);
	return resumed;
}

/* A full handshake whose ticket stays in the cache. */
static void resumption_first(void)
{
	struct tls_client_want want = pair_want();
	assert_false(resumption_run(store, store, &want));
	resumption_ticket();
	pair_stop(&pair);
}

static void test_resumes(void **state)
{
	struct tls_client_want want = pair_want();
	resumption_first();
	assert_true(resumption_run(store, store, &want));
	struct tls *c = pair.ends[PAIR_CLIENT].tls, *s = pair.ends[PAIR_SERVER].tls;
	assert_true(str_eq(tls_peer_id(c), str_of(pair_ids[PAIR_ORDERS])));
	assert_true(str_eq(tls_peer_id(s), str_of(pair_ids[PAIR_WEB])));
	assert_int_equal(tls_alpn(c), TLS_ALPN_TCP);
	assert_int_equal(tls_alpn(s), TLS_ALPN_TCP);
	assert_int_equal(tls_peer_not_after_s(c), CERTS_NOW + 3600);
	assert_int_equal(tls_peer_not_after_s(s), CERTS_NOW + 3600);
	resumption_ticket();
	pair_stop(&pair);
	assert_true(resumption_run(store, store, &want)); /* by the second ticket */
}

static void test_ticket_serves_once(void **state)
{
	struct tls_client_want want = pair_want();
	resumption_first();
	assert_true(resumption_run(store, store, &want));
	pair_stop(&pair);
	assert_false(resumption_run(store, store, &want));
}

static void test_not_without_cache(void **state)
{
	struct tls_client_want want = pair_want();
	pair_start(&pair, store, store, NULL, &want);
	assert_true(pair_handshake(&pair));
	resumption_ticket();
	pair_stop(&pair);
	assert_false(resumption_run(store, store, &want));
}

static void test_not_for_another_want(void **state)
{
	struct tls_client_want other_identity = pair_want(), other_name = pair_want(),
			       other_ids = pair_want();
	struct str ids[] = {str_of(pair_ids[PAIR_ORDERS]), str_of(pair_ids[PAIR_BILLING])};
	other_identity.identity = str_of(pair_paths[PAIR_BILLING]);
	other_name.server_name = STR("orders2");
	other_ids.server_ids = ids;
	other_ids.server_id_count = 2;
	const struct tls_client_want *wants[] = {&other_identity, &other_name, &other_ids};
	resumption_first();
	for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
		assert_false(resumption_run(store, store, wants[i]));
		pair_stop(&pair);
	}
	struct tls_client_want want = pair_want();
	assert_true(resumption_run(store, store, &want)); /* the ticket was still there */
}

static void test_not_in_another_generation(void **state)
{
	struct tls_client_want want = pair_want();
	struct tls_store *next = pair_mesh_store(&mesh, 2);
	resumption_first();
	assert_false(resumption_run(next, next, &want));
	resumption_ticket();
	pair_stop(&pair);
	assert_false(resumption_run(store, store, &want)); /* the old one is over */
	pair_stop(&pair);
	assert_true(resumption_run(next, next, &want));
	tls_store_unref(next);
}

/* The client would resume; the server is of another generation and cannot open the ticket. */
static void test_server_of_another_generation(void **state)
{
	struct tls_client_want want = pair_want();
	struct tls_store *next = pair_mesh_store(&mesh, 2);
	resumption_first();
	assert_false(resumption_run(store, next, &want));
	tls_store_unref(next);
}

/* The same name is now served by another identity: its key does not open the ticket, and the
 * handshake in full shows the client whom it talks to. */
static void test_ticket_of_another_identity(void **state)
{
	struct tls_client_want want = pair_want();
	struct str ids[] = {str_of(pair_ids[PAIR_ORDERS]), str_of(pair_ids[PAIR_BILLING])};
	want.server_ids = ids;
	want.server_id_count = 2;
	assert_false(resumption_run(store, store, &want));
	resumption_ticket();
	pair_stop(&pair);
	pair.serve = str_of(pair_paths[PAIR_BILLING]);
	assert_false(resumption_run(store, store, &want));
	assert_true(
		str_eq(tls_peer_id(pair.ends[PAIR_CLIENT].tls), str_of(pair_ids[PAIR_BILLING])));
}

/* Even with one ticket key for all, the session id context keeps identities apart. */
static void test_scope_of_another_identity(void **state)
{
	struct tls_client_want want = pair_want();
	struct str ids[] = {str_of(pair_ids[PAIR_ORDERS]), str_of(pair_ids[PAIR_BILLING])};
	want.server_ids = ids;
	want.server_id_count = 2;
	struct tls_identity *orders =
		(struct tls_identity *)store_identity(store, str_of(pair_paths[PAIR_ORDERS]));
	struct tls_identity *billing =
		(struct tls_identity *)store_identity(store, str_of(pair_paths[PAIR_BILLING]));
	EVP_AEAD_CTX *own = billing->ticket_key;
	billing->ticket_key = orders->ticket_key;
	assert_false(resumption_run(store, store, &want));
	resumption_ticket();
	pair_stop(&pair);
	pair.serve = str_of(pair_paths[PAIR_BILLING]);
	assert_false(resumption_run(store, store, &want));
	billing->ticket_key = own;
}

/* The server's certificate has ended: the client does not offer the session. */
static void test_client_drops_expired_session(void **state)
{
	struct tls_client_want want = pair_want();
	resumption_first();
	pair.wall_s = CERTS_NOW + 3600;
	pair_start(&pair, store, store, sessions, &want);
	assert_false(pair_handshake(&pair));
	assert_int_equal(tls_failure(pair.ends[PAIR_CLIENT].tls), TLS_FAILURE_EXPIRED);
}

/* The same, and the server has a newer certificate by now: the handshake in full succeeds. */
static void test_renewed_server(void **state)
{
	struct tls_client_want want = pair_want();
	struct tls_store *server = pair_mesh_store(&mesh, 1);
	struct certs_pair leaf = certs_make(&(struct certs_spec){.issuer = &mesh.middle,
		.until_s = CERTS_NOW + 60,
		.names = {{0x86, str_of(pair_ids[PAIR_ORDERS])}}});
	pair_present(
		server, PAIR_ORDERS, (X509 *[]){leaf.certificate, mesh.middle.certificate, NULL});
	pair.server_key = leaf.key;
	assert_false(resumption_run(store, server, &want));
	resumption_ticket();
	pair_stop(&pair);
	pair_present(server, PAIR_ORDERS,
		(X509 *[]){mesh.leaf[PAIR_ORDERS].certificate, mesh.middle.certificate, NULL});
	pair.server_key = NULL;
	pair.wall_s = CERTS_NOW + 60;
	assert_false(resumption_run(store, server, &want));
	tls_store_unref(server);
	certs_done(&leaf);
}

/* A store of the keeper's secret: `secret` is one byte of it, the rest is the same. */
static struct tls_store *resumption_store(
	const struct pair_mesh *m, uint64_t generation, char secret)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	char text[32] = {secret};
	pair_mesh_bundle(m, &b);
	assert_int_equal(bundle_add(&b, STR("tickets"), STR("secret"),
				 (struct str){text, sizeof(text)}, &err),
		0);
	assert_int_equal(tls_store_new(&b, STR("prod.example"), generation, &s, &err), 0);
	bundle_done(&b);
	return s;
}

/* After a reload or a restart of the server's proxy the tickets are still good, as long as chain,
 * anchors and the keeper's secret are. */
static void test_ticket_outlives_a_generation(void **state)
{
	struct pair_mesh renewed = mesh, distrusted = mesh;
	struct certs_spec leaf = {
		.issuer = &mesh.middle, .names = {{0x86, str_of(pair_ids[PAIR_ORDERS])}}};
	struct certs_spec root = {.subject = "root", .ca = true, .until_s = CERTS_NOW + 100000};
	renewed.leaf[PAIR_ORDERS] = certs_make(&leaf);
	distrusted.root = certs_make(&root);
	const struct {
		const struct pair_mesh *mesh;
		char secret;
		bool resumes;
	} rows[] = {
		{&mesh, 1, true}, {&mesh, 2, false}, {&renewed, 1, false}, {&distrusted, 1, false}};
	struct tls_client_want want = pair_want();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_store *first = resumption_store(&mesh, 1, 1),
				 *next = resumption_store(rows[i].mesh, 2, rows[i].secret);
		assert_false(resumption_run(first, first, &want));
		resumption_ticket();
		pair_stop(&pair);
		pair.server_key = rows[i].mesh->leaf[PAIR_ORDERS].key;
		pair_start(&pair, first, next, sessions, &want);
		/* With other anchors the full handshake that follows fails, as it must. */
		assert_int_equal(pair_handshake(&pair), rows[i].mesh != &distrusted);
		pair.server_key = NULL;
		if (rows[i].mesh != &distrusted)
			assert_int_equal(tls_resumed(pair.ends[PAIR_SERVER].tls), rows[i].resumes);
		pair_stop(&pair);
		tls_sessions_free(sessions);
		sessions = tls_sessions_new(100);
		tls_store_unref(first);
		tls_store_unref(next);
	}
	certs_done(&renewed.leaf[PAIR_ORDERS]);
	certs_done(&distrusted.root);
}

static struct tls_store *resumption_renewed(
	const struct tls_store *before, const struct pair_mesh *m, uint64_t generation, char secret)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	char text[32] = {secret};
	pair_mesh_bundle(m, &b);
	assert_int_equal(bundle_add(&b, STR("tickets"), STR("secret"),
				 (struct str){text, sizeof(text)}, &err),
		0);
	assert_int_equal(tls_store_renew(before, &b, STR("prod.example"), generation, &s, &err), 0);
	bundle_done(&b);
	return s;
}

/* A client whose other identity has been renewed goes on with the sessions that it has; one that
 * has another certificate itself, or other anchors, does not, and shows what it has now. */
static void test_session_outlives_a_renewal_of_others(void **state)
{
	struct pair_mesh rows[4];
	const bool resumes[] = {true, false, true, false};
	struct certs_spec root = {.subject = "root", .ca = true, .until_s = CERTS_NOW + 100000};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = mesh;
	for (int i = 0; i < 2; i++) { /* another one of ours; ourselves */
		enum pair_identity who = i == 0 ? PAIR_BILLING : PAIR_WEB;
		rows[i].leaf[who] = certs_make(&(struct certs_spec){
			.issuer = &mesh.middle, .names = {{0x86, str_of(pair_ids[who])}}});
	}
	rows[3].root = certs_make(&root);
	struct tls_client_want want = pair_want();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_store *first = resumption_renewed(NULL, &mesh, 1, 1),
				 *next = resumption_renewed(first, &rows[i], 2, 1);
		struct str web = str_of(pair_ids[PAIR_WEB]);
		assert_int_equal(tls_store_same_for(first, next, web), resumes[i]);
		assert_false(tls_store_same_for(first, next, STR("spiffe://prod.example/x")));
		assert_false(resumption_run(first, store, &want));
		resumption_ticket();
		pair_stop(&pair);
		tls_store_unref(first); /* what sessions hold on to is shared */
		pair.client_key = rows[i].leaf[PAIR_WEB].key;
		pair_start(&pair, next, store, sessions, &want);
		assert_int_equal(pair_handshake(&pair), i != 3);
		if (i != 3)
			assert_int_equal(tls_resumed(pair.ends[PAIR_SERVER].tls), resumes[i]);
		if (resumes[i])
			assert_int_equal(pair.ends[PAIR_CLIENT].sign_count, 0);
		pair_stop(&pair);
		pair.client_key = NULL;
		tls_store_unref(next);
		tls_sessions_free(sessions);
		sessions = tls_sessions_new(100);
	}
	certs_done(&rows[0].leaf[PAIR_BILLING]);
	certs_done(&rows[1].leaf[PAIR_WEB]);
	certs_done(&rows[3].root);
}

/* A connection under way when its generation ended may still bring a ticket; it is one of its own
 * certificate. */
static void test_tickets_of_two_generations_side_by_side(void **state)
{
	struct pair_mesh renewed = mesh;
	struct tls_client_want want = pair_want();
	renewed.leaf[PAIR_WEB] = certs_make(&(struct certs_spec){
		.issuer = &mesh.middle, .names = {{0x86, str_of(pair_ids[PAIR_WEB])}}});
	struct tls_store *first = resumption_renewed(NULL, &mesh, 1, 1),
			 *next = resumption_renewed(first, &renewed, 2, 1);
	pair.client_key = renewed.leaf[PAIR_WEB].key;
	assert_false(resumption_run(next, store, &want));
	pair_stop(&pair); /* without a ticket */
	pair.client_key = NULL;
	assert_false(resumption_run(first, store, &want));
	resumption_ticket();
	pair_stop(&pair);
	pair.client_key = renewed.leaf[PAIR_WEB].key;
	assert_false(resumption_run(next, store, &want));
	resumption_ticket();
	pair_stop(&pair);
	pair.client_key = NULL;
	assert_true(resumption_run(first, store, &want));
	pair_stop(&pair);
	assert_true(resumption_run(next, store, &want));
	pair_stop(&pair);
	tls_store_unref(first);
	tls_store_unref(next);
	certs_done(&renewed.leaf[PAIR_WEB]);
}

static void test_wrong_secret(void **state)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	pair_mesh_bundle(&mesh, &b);
	assert_int_equal(bundle_add(&b, STR("tickets"), STR("secret"), STR("short"), &err), 0);
	assert_int_equal(tls_store_new(&b, STR("prod.example"), 1, &s, &err), -EINVAL);
	bundle_done(&b);
}

/* Either end that resumes nothing makes every handshake a full one, and a server gives no ticket.
 */
static void test_resume_nothing(void **state)
{
	struct tls_client_want want = pair_want();
	for (int end = 0; end < 2; end++) {
		struct tls_store *nothing = resumption_store(&mesh, 1, 1),
				 *some = resumption_store(&mesh, 1, 1);
		struct tls_store *client = end == PAIR_CLIENT ? nothing : some,
				 *server = end == PAIR_CLIENT ? some : nothing;
		tls_store_resume_nothing(nothing);
		for (int i = 0; i < 3; i++) {
			struct pair_end *s = &pair.ends[PAIR_SERVER];
			size_t used;
			assert_false(resumption_run(client, server, &want));
			assert_int_equal(
				tls_write(s->tls, (const uint8_t *)"x", 1, &used), TLS_DONE);
			if (end == PAIR_SERVER)
				assert_int_equal(buf_len(&s->wire), 1 + 22);
			assert_int_equal(pair_drain(&pair, PAIR_CLIENT), TLS_MORE);
			buf_clear(&pair.ends[PAIR_CLIENT].plain);
			pair_stop(&pair);
		}
		/* It does not take one that it gave before, either. */
		if (end == PAIR_SERVER) {
			assert_false(resumption_run(some, some, &want));
			resumption_ticket();
			pair_stop(&pair);
			assert_false(resumption_run(some, nothing, &want));
			pair_stop(&pair);
		}
		tls_sessions_free(sessions);
		sessions = tls_sessions_new(100);
		tls_store_unref(nothing);
		tls_store_unref(some);
	}
}

static void test_key_has_generation(void **state)
{
	struct tls_client_want want = pair_want();
	struct tls_store *next = pair_mesh_store(&mesh, 2);
	struct sessions_key one = sessions_key_of(store, &want), two = sessions_key_of(next, &want);
	assert_memory_not_equal(one.bytes, two.bytes, sizeof(one.bytes));
	tls_store_unref(next);
}

/* The client's certificate ends before the server's: its ticket is worth nothing after that, and
 * what decides is the certificate that it presents then. */
static void test_server_ignores_ticket_of_expired_client(void **state)
{
	struct tls_client_want want = pair_want();
	struct tls_store *brief = pair_mesh_store(&mesh, 1);
	struct certs_pair leaf = certs_make(&(struct certs_spec){.issuer = &mesh.middle,
		.until_s = CERTS_NOW + 60,
		.names = {{0x86, str_of(pair_ids[PAIR_WEB])}}});
	pair_present(brief, PAIR_WEB, (X509 *[]){leaf.certificate, mesh.middle.certificate, NULL});
	pair.client_key = leaf.key;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(resumption_run(brief, store, &want), i);
		assert_int_equal(tls_peer_not_after_s(pair.ends[PAIR_SERVER].tls), CERTS_NOW + 60);
		resumption_ticket();
		pair_stop(&pair);
	}
	pair.wall_s = CERTS_NOW + 60;
	pair_start(&pair, brief, store, sessions, &want);
	assert_false(pair_handshake(&pair));
	assert_int_equal(tls_failure(pair.ends[PAIR_SERVER].tls), TLS_FAILURE_EXPIRED);
	pair_stop(&pair);
	/* The ticket is spent; a renewed certificate passes in full. */
	pair_present(brief, PAIR_WEB,
		(X509 *[]){mesh.leaf[PAIR_WEB].certificate, mesh.middle.certificate, NULL});
	pair.client_key = NULL;
	assert_false(resumption_run(brief, store, &want));
	tls_store_unref(brief);
	certs_done(&leaf);
}

static void test_cache_is_bounded(void **state)
{
	struct tls_client_want want = pair_want();
	static const char *const names[] = {"a", "b", "c", "d"};
	tls_sessions_free(sessions);
	sessions = tls_sessions_new(3);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		want.server_name = str_of(names[i]);
		assert_false(resumption_run(store, store, &want));
		resumption_ticket();
		pair_stop(&pair);
	}
	for (size_t i = ARRAY_LEN(names); i-- > 0;) {
		want.server_name = str_of(names[i]);
		assert_int_equal(
			resumption_run(store, store, &want), i > 0); /* the oldest is out */
		pair_stop(&pair);
	}
	tls_sessions_free(sessions);
	sessions = tls_sessions_new(0);
	want = pair_want();
	resumption_first();
	assert_false(resumption_run(store, store, &want));
}

/* One busy server does not push out the sessions of the others. */
static void test_cache_shares(void **state)
{
	struct tls_client_want quiet = pair_want(), busy = pair_want();
	quiet.server_name = STR("quiet");
	assert_false(resumption_run(store, store, &quiet));
	resumption_ticket();
	pair_stop(&pair);
	resumption_first();
	struct sessions_key key = sessions_key_of(store, &busy);
	struct sessions_entry entry = sessions_take(sessions, store, &key, CERTS_NOW);
	for (int i = 0; i < 100; i++) {
		SSL_SESSION_up_ref(entry.session);
		sessions_put(sessions, store, &key, entry);
	}
	SSL_SESSION_free(entry.session);
	uint32_t count = 0;
	while ((entry = sessions_take(sessions, store, &key, CERTS_NOW)).session) {
		SSL_SESSION_free(entry.session);
		count++;
	}
	assert_in_range(count, 2, 8);
	assert_true(resumption_run(store, store, &quiet));
}

/* Tickets that the server never made. */
static void test_bad_tickets(void **state)
{
	struct tls_client_want want = pair_want();
	for (size_t len = 1; len < 80; len += 13) {
		resumption_first();
		struct tls *c;
		pair_start(&pair, store, store, sessions, &want);
		c = pair.ends[PAIR_CLIENT].tls;
		/* The client's own cached session with a ticket of another text. */
		struct sessions_entry entry =
			sessions_take(sessions, store, &c->session_key, CERTS_NOW);
		assert_non_null(entry.session);
		uint8_t ticket[80];
		memset(ticket, (int)len, sizeof(ticket));
		assert_true(SSL_SESSION_set_ticket(entry.session, ticket, len));
		sessions_put(sessions, store, &c->session_key, entry);
		assert_true(pair_handshake(&pair));
		assert_false(tls_resumed(c));
		pair_stop(&pair);
	}
}

#define RESUMPTION_TEST(name) \
	cmocka_unit_test_setup_teardown(name, resumption_setup, resumption_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RESUMPTION_TEST(test_resumes),
		RESUMPTION_TEST(test_ticket_serves_once),
		RESUMPTION_TEST(test_not_without_cache),
		RESUMPTION_TEST(test_not_for_another_want),
		RESUMPTION_TEST(test_not_in_another_generation),
		RESUMPTION_TEST(test_server_of_another_generation),
		RESUMPTION_TEST(test_ticket_of_another_identity),
		RESUMPTION_TEST(test_scope_of_another_identity),
		RESUMPTION_TEST(test_client_drops_expired_session),
		RESUMPTION_TEST(test_renewed_server),
		RESUMPTION_TEST(test_ticket_outlives_a_generation),
		RESUMPTION_TEST(test_session_outlives_a_renewal_of_others),
		RESUMPTION_TEST(test_tickets_of_two_generations_side_by_side),
		RESUMPTION_TEST(test_wrong_secret),
		RESUMPTION_TEST(test_resume_nothing),
		RESUMPTION_TEST(test_key_has_generation),
		RESUMPTION_TEST(test_server_ignores_ticket_of_expired_client),
		RESUMPTION_TEST(test_cache_is_bounded),
		RESUMPTION_TEST(test_cache_shares),
		RESUMPTION_TEST(test_bad_tickets),
	};
	pair_mesh_init(&mesh);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	pair_mesh_done(&mesh);
	return failed;
}
