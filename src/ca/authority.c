/* SPDX-License-Identifier: Apache-2.0 */
/* One authority open on its directory, and enrolment: prove, admit, limit, read the request, judge,
 * write down, sign. Cheap steps come first, so that who has nothing to show costs little, and what
 * is signed is written down before it is given out. */
#include "authority_inside.h"

#include "base/log.h"
#include "issue.h"
#include "keys/file.h"
#include "nodes.h"
#include "request.h"
#include "rotate.h"
#include "tls/spiffe.h"
#include "token.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#define AUTHORITY_REFUSALS_PER_MINUTE 60

/* How much one registered node may ask for. */
struct authority_node {
	struct map_node in_map;
	struct rate_bucket bucket;
	char name[64];
};

static int authority_sweep(struct authority *a, struct err *err)
{
	int r = folder_lock(&a->folder, err);
	if (r < 0)
		return r;
	folder_sweep(&a->folder);
	folder_unlock(&a->folder);
	return 0;
}

int authority_open(const char *dir, struct authority **ret_authority, struct err *err)
{
	struct authority *a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(err, ENOMEM, "out of memory");
	map_init(&a->nodes);
	int r = folder_open(dir, &a->folder, err);
	if (r == 0)
		r = authority_refresh(a, err);
	if (r == 0)
		r = authority_sweep(a, err);
	if (r < 0)
		authority_close(a);
	else
		*ret_authority = a;
	return r;
}

static void authority_forget_nodes(struct authority *a)
{
	for (size_t i = 0; i < a->nodes.slot_count; i++) {
		struct map_node *next;
		for (struct map_node *n = a->nodes.slots[i]; n; n = next) {
			next = n->next;
			free(CONTAINER_OF(n, struct authority_node, in_map));
		}
	}
	map_done(&a->nodes);
	map_init(&a->nodes);
}

void authority_close(struct authority *a)
{
	if (!a)
		return;
	authority_forget_nodes(a);
	conf_ca_free(a->settings);
	conf_registration_free(a->registration);
	issuer_done(&a->issuer);
	ledger_done(&a->revoked);
	file_text_free(a->server_chain);
	file_text_free(a->server_key);
	folder_close(&a->folder);
	free(a);
}

const struct conf_ca *authority_settings(const struct authority *a)
{
	return a->settings;
}

/* --- what is on disk --- */

/* Broken ones are not taken: those before them hold on, if there are any. */
static int authority_refresh_settings(struct authority *a, struct err *err)
{
	struct conf_ca *settings;
	if (!folder_changed(&a->folder, "ca.conf", &a->settings_stamp))
		return a->settings ? 0 : -EINVAL;
	int r = book_settings(&a->folder, &settings, &a->settings_why);
	if (r < 0 && a->settings)
		return 0;
	if (r < 0)
		return err_set(err, -r, "%s", a->settings_why.text);
	a->settings_why = (struct err){""};
	conf_ca_free(a->settings);
	a->settings = settings;
	a->server_renew_s = 0; /* it may have other names now */
	return 0;
}

/* A broken registration says nothing about who may have what: so nobody gets anything. */
static void authority_refresh_registration(struct authority *a)
{
	if (!folder_changed(&a->folder, "registration.conf", &a->registration_stamp) &&
		a->registration)
		return;
	conf_registration_free(a->registration);
	a->registration = NULL;
	authority_forget_nodes(a);
	if (book_registration(&a->folder, &a->registration, &a->registration_why) < 0)
		a->registration = NULL;
}

static int authority_refresh_issuer(struct authority *a, struct err *err)
{
	struct issuer issuer;
	if (!folder_changed(&a->folder, "issuer.crt", &a->issuer_stamp) && a->issuer.signer.cert)
		return 0;
	int r = rotate_settle(&a->folder, err);
	if (r == 0)
		r = issuer_load(&a->folder, "issuer", &issuer, err);
	if (r == 0 && !str_eq(str_of(issuer.trust_domain), a->settings->trust_domain)) {
		r = err_set(err, EINVAL,
			"%s: issuer.crt is of trust domain \"%s\", ca.conf of \"" STR_FMT "\"",
			a->folder.dir, issuer.trust_domain, STR_ARG(a->settings->trust_domain));
		issuer_done(&issuer);
	}
	if (r < 0) {
		a->issuer_stamp = (struct folder_stamp){0};
		return r;
	}
	issuer_done(&a->issuer);
	a->issuer = issuer;
	return 0;
}

static int authority_refresh_revoked(struct authority *a, struct err *err)
{
	struct ledger revoked;
	struct folder_stamp before = a->revoked_stamp;
	if (!folder_changed(&a->folder, "revoked", &a->revoked_stamp) && a->revoked.rows)
		return 0;
	int r = ledger_read_revoked(&a->folder, &revoked, err);
	if (r < 0) {
		a->revoked_stamp = before;
		return r;
	}
	ledger_done(&a->revoked);
	a->revoked = revoked;
	return 0;
}

int authority_refresh(struct authority *a, struct err *err)
{
	int r = folder_lock(&a->folder, err);
	if (r < 0)
		return r;
	r = authority_refresh_settings(a, err);
	authority_refresh_registration(a);
	if (r == 0)
		r = authority_refresh_issuer(a, err);
	if (r == 0)
		r = authority_refresh_revoked(a, err);
	folder_unlock(&a->folder);
	return r;
}

/* --- who asks --- */

/* How far it came. */
enum authority_stage {
	AUTHORITY_ASKING,   /* it may cost us nothing yet */
	AUTHORITY_ADMITTED, /* counted against its node's rate */
};

struct authority_asked {
	struct authority *a;
	enum authority_stage stage;
	const struct authority_client *client;
	struct str client_request; /* DER */
	struct issue_client proved;
	struct token token; /* ISSUE_TOKEN */
	struct request request;
	int64_t now_s;
	struct str chain;
};

static int authority_standing(struct authority_asked *q, struct err *err)
{
	const struct authority_client *c = q->client;
	struct authority *a = q->a;
	q->proved.standing = c->expired ? ISSUE_OVER : ISSUE_GOOD;
	if (ledger_find(&a->revoked, c->serial)) {
		q->proved.standing = ISSUE_REVOKED;
		return 0;
	}
	if (!c->expired)
		return 0;
	/* When it ended, the index knows; what is not in it was not issued here. */
	struct ledger index;
	int r = ledger_read_index(&a->folder, &index, err);
	if (r < 0)
		return r;
	const struct ledger_row *row = ledger_find(&index, c->serial);
	int64_t comeback_s = (int64_t)(a->settings->comeback_ms / 1000);
	if (row && comeback_s > 0 && q->now_s <= row->end_s + comeback_s &&
		str_eq(row->identity, q->proved.identity))
		q->proved.standing = ISSUE_EXPIRED;
	ledger_done(&index);
	return 0;
}

/* A token, when one is given: who shows both wants to join again. */
static int authority_prove(struct authority_asked *q, struct err *err)
{
	const struct authority_client *c = q->client;
	struct err ignored;
	if (!address_port_parse(c->address, &q->proved.address))
		q->proved.address.family = 0;
	if (c->password.len > 0 || c->user.len > 0) {
		q->proved.proof = ISSUE_TOKEN;
		q->proved.node = c->user;
		if (!conf_node_name_valid(c->user) ||
			token_find(&q->a->folder, c->user, c->password, q->now_s, &q->token,
				&ignored) < 0)
			q->proved.proof = ISSUE_BAD_TOKEN;
		return 0;
	}
	if (c->id.len == 0)
		return 0;
	q->proved.proof = ISSUE_CERTIFICATE;
	if (!spiffe_parse(c->id, &q->proved.trust_domain, &q->proved.identity))
		q->proved.trust_domain = q->proved.identity = STR("");
	return authority_standing(q, err);
}

static struct str authority_node_name(const struct authority_asked *q)
{
	if (q->proved.proof == ISSUE_CERTIFICATE)
		return issue_node(q->proved.identity);
	return conf_node_name_valid(q->proved.node) ? q->proved.node : STR("");
}

/* --- how often --- */

static struct authority_node *authority_find_node(struct authority *a, struct str name)
{
	uint64_t hash = hash_bytes(0, name.at, name.len);
	for (struct map_node *n = map_first(&a->nodes, hash); n; n = map_next(n)) {
		struct authority_node *node = CONTAINER_OF(n, struct authority_node, in_map);
		if (str_eq(str_of(node->name), name))
			return node;
	}
	struct authority_node *node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	snprintf(node->name, sizeof(node->name), STR_FMT, STR_ARG(name));
	if (!map_add(&a->nodes, &node->in_map, hash)) {
		free(node);
		return NULL;
	}
	return node;
}

static int authority_limit(struct authority_asked *q, uint32_t *ret_retry_s, struct err *err)
{
	const struct conf_ca *c = q->a->settings;
	int64_t now_ms = q->now_s * 1000;
	struct authority_node *node = authority_find_node(q->a, authority_node_name(q));
	if (!node)
		return err_set(err, ENOMEM, "out of memory");
	struct rate of_node = {c->node_per_minute, c->node_burst};
	struct rate of_all = {(uint64_t)c->all_per_second * 60, c->all_per_second};
	if (!rate_take(&node->bucket, of_node, now_ms, ret_retry_s)) {
		err_set(err, EAGAIN, "node \"%s\" asks for more than %u certificates a minute",
			node->name, c->node_per_minute);
		return AUTHORITY_TOO_MANY;
	}
	if (!rate_take(&q->a->all, of_all, now_ms, ret_retry_s)) {
		err_set(err, EAGAIN, "the authority is asked for too much; ask again later");
		return AUTHORITY_BUSY;
	}
	return 0;
}

/* --- making --- */

static int authority_record(struct authority_asked *q, X509 *leaf, struct err *err)
{
	char serial[CERT_SERIAL_TEXT];
	if (!cert_serial_text(leaf, serial))
		return err_set(err, EINVAL, "the certificate has no serial number");
	struct ledger_row row = {.serial = str_of(serial),
		.end_s = cert_not_after(leaf),
		.issuer = str_of(q->a->issuer.key_id),
		.node = authority_node_name(q),
		.identity = q->request.identity};
	struct ledger_event event = {.event = "issued",
		.node = row.node,
		.identity = row.identity,
		.serial = row.serial,
		.issuer = row.issuer,
		.until_s = row.end_s,
		.address = q->client->address};
	int r = ledger_add_issued(&q->a->folder, &row, err);
	return r < 0 ? r : ledger_audit(&q->a->folder, q->now_s, &event, err);
}

static int authority_chain(struct authority_asked *q, X509 *leaf, struct err *err)
{
	struct str pem = STR_NONE;
	char *chain = NULL;
	int len = -1;
	if (cert_pem(leaf, &pem) == 0)
		len = asprintf(&chain, "%s%s", pem.at, q->a->issuer.chain.at);
	file_text_free(pem);
	if (len < 0)
		return err_set(err, ENOMEM, "out of memory");
	q->chain = (struct str){chain, (size_t)len};
	return 0;
}

static int authority_make(struct authority_asked *q, struct err *err)
{
	const struct conf_ca *c = q->a->settings;
	bool is_node = str_starts(q->request.identity, STR("node/"));
	struct cert_life life = {.now_s = q->now_s,
		.lifetime_s = (int64_t)((is_node ? c->node_ms : c->leaf_ms) / 1000),
		.backdate_s = (int64_t)(c->backdate_ms / 1000)};
	char id[CERT_ID_MAX];
	X509 *leaf = NULL;
	/* From what was judged, never from what the request says. */
	snprintf(id, sizeof(id), "spiffe://" STR_FMT "/" STR_FMT, STR_ARG(c->trust_domain),
		STR_ARG(q->request.identity));
	int r = cert_leaf_new(q->request.key, str_of(id), &q->a->issuer.signer, life, &leaf, err);
	if (r == -EKEYEXPIRED)
		return err_set(err, EKEYEXPIRED,
			"%s: issuer.crt has expired; make a new issuer: ringmain ca rotate publish",
			q->a->folder.dir);
	if (r == 0)
		r = authority_chain(q, leaf, err);
	if (r == 0)
		r = authority_record(q, leaf, err);
	X509_free(leaf);
	return r;
}

/* Binds the token before anything is signed: then two keys never get a certificate by one token,
 * however the calls fall. */
static int authority_use_token(struct authority_asked *q, struct err *err)
{
	if (q->proved.proof != ISSUE_TOKEN)
		return 0;
	int r = token_use(&q->a->folder, &q->token, q->request.key_hash, err);
	if (r != -EBUSY && r != -ENOENT)
		return r;
	err_set(err, EBUSY, "the join token was used already, by another key");
	return AUTHORITY_UNKNOWN;
}

static int authority_answer(struct authority_asked *q, uint32_t *ret_retry_s, struct err *err)
{
	struct authority *a = q->a;
	struct str trust_domain = a->settings->trust_domain;
	int r = authority_prove(q, err);
	if (r == 0)
		r = issue_admit(a->registration, trust_domain, &q->proved, err);
	if (r == 0)
		r = authority_limit(q, ret_retry_s, err);
	if (r == 0)
		q->stage = AUTHORITY_ADMITTED;
	if (r == 0)
		r = request_read(q->client_request, &q->request, err);
	if (r == 0)
		r = issue_judge(a->registration, trust_domain, &q->proved, q->request.trust_domain,
			q->request.identity, err);
	if (r == 0)
		r = authority_use_token(q, err);
	return r ? r : authority_make(q, err);
}

/* Who is not counted yet must not fill the disk: neither who has proved nothing, nor a certificate
 * that is revoked or of a workload. */
static void authority_audit_refusal(struct authority_asked *q, int refusal, const struct err *why)
{
	struct rate rate = {AUTHORITY_REFUSALS_PER_MINUTE, AUTHORITY_REFUSALS_PER_MINUTE};
	uint32_t wait_s;
	struct err ignored;
	if (q->stage == AUTHORITY_ASKING &&
		!rate_take(&q->a->refusals, rate, q->now_s * 1000, &wait_s))
		return;
	struct ledger_event event = {.event = "refused",
		.node = authority_node_name(q),
		.identity = q->request.identity,
		.serial = q->client->serial,
		.address = q->client->address,
		.status = refusal,
		.why = str_of(why->text)};
	if (ledger_audit(&q->a->folder, q->now_s, &event, &ignored) < 0)
		log_warning("ca", "%s", ignored.text);
}

int authority_enroll(struct authority *a, const struct authority_client *client, struct str request,
	int64_t now_s, struct str *ret_chain, uint32_t *ret_retry_s, struct err *err)
{
	struct authority_asked q = {
		.a = a, .client = client, .client_request = request, .now_s = now_s};
	/* From the look at what is revoked until the certificate is written down: a revocation that
	 * came in between would not have seen it. */
	int r = folder_lock(&a->folder, err);
	if (r < 0)
		return r;
	r = authority_refresh(a, err);
	if (r == 0 && !a->registration)
		r = err_set(err, EINVAL, "%s", a->registration_why.text);
	if (r == 0)
		r = authority_answer(&q, ret_retry_s, err);
	if (r > 0)
		authority_audit_refusal(&q, r, err);
	folder_unlock(&a->folder);
	request_done(&q.request);
	if (r == 0)
		*ret_chain = q.chain;
	else
		file_text_free(q.chain);
	return r;
}

/* --- what is seen --- */

int authority_seen(struct authority *a, struct str node, bool is_crls, struct str etag,
	int64_t now_s, struct err *err)
{
	struct str trust_domain, identity;
	/* The name, or the whole SPIFFE id. */
	if (spiffe_parse(node, &trust_domain, &identity))
		node = issue_node(identity);
	int r = folder_lock(&a->folder, err);
	if (r < 0)
		return r;
	r = authority_refresh(a, err);
	if (r == 0 && a->registration && conf_registered_find(a->registration, node))
		r = nodes_show(&a->folder, node, is_crls, etag, now_s, err);
	folder_unlock(&a->folder);
	return r;
}
