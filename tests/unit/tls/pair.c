/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include "tls/store.h"
#include <openssl/digest.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

const char *const pair_paths[] = {"service/web", "service/orders", "service/billing"};
const char *const pair_ids[] = {"spiffe://prod.example/service/web",
	"spiffe://prod.example/service/orders", "spiffe://prod.example/service/billing"};

void pair_mesh_init(struct pair_mesh *m)
{
	m->root = certs_make(
		&(struct certs_spec){.subject = "root", .ca = true, .until_s = CERTS_NOW + 100000});
	m->middle = certs_make(&(struct certs_spec){
		.subject = "middle", .issuer = &m->root, .ca = true, .until_s = CERTS_NOW + 50000});
	for (int i = 0; i < PAIR_IDENTITY_COUNT; i++)
		m->leaf[i] = certs_make(&(struct certs_spec){
			.issuer = &m->middle, .names = {{0x86, str_of(pair_ids[i])}}});
}

void pair_mesh_done(struct pair_mesh *m)
{
	certs_done(&m->root);
	certs_done(&m->middle);
	for (int i = 0; i < PAIR_IDENTITY_COUNT; i++)
		certs_done(&m->leaf[i]);
}

static void pair_add(struct bundle *b, const char *kind, const char *name, char *text)
{
	struct err err;
	ASSERT(bundle_add(b, str_of(kind), str_of(name), str_of(text), &err) == 0);
	free(text);
}

void pair_mesh_bundle(const struct pair_mesh *m, struct bundle *b)
{
	bundle_init(b);
	pair_add(b, "roots", "prod.example", certs_pem((X509 *[]){m->root.certificate, NULL}));
	for (int i = 0; i < PAIR_IDENTITY_COUNT; i++) {
		char number[] = {(char)('1' + i), '\0'};
		pair_add(b, "chain", pair_paths[i],
			certs_pem((X509 *[]){m->leaf[i].certificate, m->middle.certificate, NULL}));
		pair_add(b, "key", pair_paths[i], strdup(number));
	}
}

struct tls_store *pair_mesh_store(const struct pair_mesh *m, uint64_t generation)
{
	struct bundle b;
	struct err err;
	struct tls_store *s = NULL;
	pair_mesh_bundle(m, &b);
	if (tls_store_new(&b, STR("prod.example"), generation, &s, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	ASSERT(s);
	bundle_done(&b);
	return s;
}

void pair_present(struct tls_store *s, enum pair_identity identity, X509 *const *chain)
{
	struct tls_identity *found =
		(struct tls_identity *)store_identity(s, str_of(pair_paths[identity]));
	while (found->chain_count > 0)
		CRYPTO_BUFFER_free(found->chain[--found->chain_count]);
	for (; *chain; chain++)
		found->chain[found->chain_count++] = certs_buffer(*chain);
}

void pair_init(struct pair *p, const struct pair_mesh *m, uint32_t block_bytes)
{
	memset(p, 0, sizeof(*p));
	p->mesh = m;
	p->serve = str_of(pair_paths[PAIR_ORDERS]);
	p->alpn_mask = 1u << TLS_ALPN_TCP;
	p->wall_s = CERTS_NOW;
	for (int i = 0; i < 2; i++) {
		struct pair_end *e = &p->ends[i];
		buf_pool_init(&e->pool, block_bytes, 4);
		buf_init(&e->wire, &e->pool);
		buf_init(&e->plain, &e->pool);
	}
}

struct tls_client_want pair_want(void)
{
	static struct str ids[1];
	ids[0] = str_of(pair_ids[PAIR_ORDERS]);
	return (struct tls_client_want){.identity = str_of(pair_paths[PAIR_WEB]),
		.server_name = STR("orders"),
		.alpn = TLS_ALPN_TCP,
		.server_ids = ids,
		.server_id_count = 1};
}

void pair_start(struct pair *p, struct tls_store *client, struct tls_store *server,
	struct tls_sessions *sessions, const struct tls_client_want *want)
{
	struct pair_end *c = &p->ends[PAIR_CLIENT], *s = &p->ends[PAIR_SERVER];
	c->tls = tls_client_new(client, sessions, want, &c->wire);
	s->tls = tls_server_new(server, &s->wire);
	ASSERT(c->tls && s->tls);
	c->result = s->result = TLS_MORE;
	c->sign_count = s->sign_count = 0;
}

bool pair_carry(struct pair *p, int from)
{
	struct pair_end *source = &p->ends[from], *sink = &p->ends[!from];
	if (buf_len(&source->wire) == 0)
		return false;
	if (sink->result == TLS_FAILED) { /* nobody reads there any more */
		buf_consume(&source->wire, buf_len(&source->wire));
		return true;
	}
	if (tls_input_left(sink->tls) > 0)
		return false;
	size_t n = buf_len(&source->wire);
	if (n > sizeof(sink->input))
		n = sizeof(sink->input);
	if (p->chunk > 0 && n > p->chunk)
		n = p->chunk;
	memcpy(sink->input, buf_at(&source->wire), n);
	buf_consume(&source->wire, n);
	tls_input(sink->tls, sink->input, n);
	return true;
}

void pair_sign(struct pair *p, int end)
{
	struct pair_end *e = &p->ends[end];
	const struct tls_sign_request *request = tls_sign_request(e->tls);
	EVP_PKEY *other = end == PAIR_SERVER ? p->server_key : p->client_key;
	EVP_PKEY *key = other ? other : p->mesh->leaf[request->key_number - 1].key;
	uint8_t signature[128];
	size_t len = sizeof(signature);
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	ASSERT(request->algorithm == 0x0403);
	ASSERT(EVP_DigestSignInit(digest, NULL, EVP_sha256(), NULL, key) &&
		EVP_DigestSign(digest, signature, &len, request->bytes, request->len));
	EVP_MD_CTX_free(digest);
	e->sign_count++;
	tls_sign_done(e->tls, signature, e->refuse_signature ? 0 : len);
}

static void pair_turn(struct pair *p, int end)
{
	struct pair_end *e = &p->ends[end];
	e->result = tls_handshake(e->tls, p->wall_s);
	if (e->result == TLS_NAME)
		tls_server_choose(e->tls, p->serve, p->alpn_mask);
	else if (e->result == TLS_SIGN)
		pair_sign(p, end);
}

static bool pair_ended(enum tls_result result)
{
	return result == TLS_DONE || result == TLS_FAILED;
}

bool pair_handshake(struct pair *p)
{
	struct pair_end *c = &p->ends[PAIR_CLIENT], *s = &p->ends[PAIR_SERVER];
	for (int i = 0; i < 100000; i++) {
		bool moved = pair_carry(p, PAIR_SERVER);
		enum tls_result before[2] = {c->result, s->result};
		if (!pair_ended(c->result))
			pair_turn(p, PAIR_CLIENT);
		moved |= pair_carry(p, PAIR_CLIENT);
		if (!pair_ended(s->result))
			pair_turn(p, PAIR_SERVER);
		if (pair_ended(c->result) && pair_ended(s->result))
			break;
		if (moved || i == 0 || before[0] != c->result || before[1] != s->result ||
			c->result == TLS_SIGN || s->result == TLS_SIGN)
			continue;
		/* Nothing moves any more: one has given up without a word. */
		if (!pair_ended(c->result))
			tls_input_eof(c->tls);
		if (!pair_ended(s->result))
			tls_input_eof(s->tls);
	}
	if (s->result == TLS_FAILED && c->result == TLS_DONE)
		c->result =
			pair_drain(p, PAIR_CLIENT); /* its certificate is judged after its end */
	return c->result == TLS_DONE && s->result == TLS_DONE;
}

enum tls_result pair_drain(struct pair *p, int end)
{
	struct pair_end *e = &p->ends[end];
	for (;;) {
		enum tls_result result = tls_read(e->tls, &e->plain);
		if (result != TLS_DONE && result != TLS_MORE)
			return result;
		if (result == TLS_MORE && !pair_carry(p, !end))
			return result;
	}
}

void pair_stop(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		struct pair_end *e = &p->ends[i];
		tls_free(e->tls);
		e->tls = NULL;
		buf_clear(&e->wire);
		buf_clear(&e->plain);
	}
}

void pair_done(struct pair *p)
{
	pair_stop(p);
	for (int i = 0; i < 2; i++)
		buf_pool_done(&p->ends[i].pool);
}
