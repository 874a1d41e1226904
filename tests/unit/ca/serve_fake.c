/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_fake.h"

#include "tls/tls.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
	char id[128];
	bool expired;
	const char *refused;
	struct tls_store *stuck;
	uint32_t ref_count;
} fake;

void serve_fake_client(const char *id, bool expired, const char *refused)
{
	snprintf(fake.id, sizeof(fake.id), "%s", id);
	fake.expired = expired;
	fake.refused = refused;
}

void serve_fake_stuck(struct tls_store *store)
{
	fake.stuck = store;
}

/* --- in the place of serve_tls.c --- */

struct serve_material *serve_material_ref(struct serve_material *m)
{
	fake.ref_count++;
	return m;
}

void serve_material_unref(struct serve_material *m)
{
	fake.ref_count--;
}

bool serve_secure(struct serve_material *m, struct conn *c)
{
	struct tls *t = fake.stuck ? tls_server_new(fake.stuck, &c->wire) : NULL;
	if (t)
		conn_secure(c, t);
	return true;
}

void serve_need(struct serve_material *m, struct conn *c)
{
}

const char *serve_client(const struct serve_material *now, const struct conn *c, int64_t now_s,
	struct authority_client *ret_client)
{
	*ret_client = (struct authority_client){.id = str_of(fake.id), .expired = fake.expired};
	return fake.refused;
}

const char *serve_shake_failure(const struct conn *c)
{
	return NULL;
}

/* --- the authority --- */

static int fake_copy(struct str text, struct str *ret_text)
{
	*ret_text = (struct str){strndup(text.at, text.len), text.len};
	return 0;
}

static void fake_keep(char *text, size_t size, struct str value)
{
	snprintf(text, size, STR_FMT, STR_ARG(value));
}

int authority_enroll(struct authority *a, const struct authority_client *client, struct str request,
	int64_t now_s, struct str *ret_chain, uint32_t *ret_retry_s, struct err *err)
{
	a->enroll_count++;
	fake_keep(a->last.id, sizeof(a->last.id), client->id);
	fake_keep(a->last.user, sizeof(a->last.user), client->user);
	fake_keep(a->last.password, sizeof(a->last.password), client->password);
	fake_keep(a->last.address, sizeof(a->last.address), client->address);
	a->last.expired = client->expired;
	a->last.request_len = request.len;
	const char *number = strrchr(a->last.address, '.');
	size_t used = strlen(a->order);
	snprintf(a->order + used, sizeof(a->order) - used, "%d ",
		number ? (int)strtol(number + 1, NULL, 10) : 0);
	*ret_retry_s = a->retry_s;
	if (a->outcome == 0)
		return fake_copy(a->chain, ret_chain);
	(void)err_set(err, EPERM, "because of\nthis");
	return a->outcome;
}

int authority_anchors(struct authority *a, struct str label, struct str *ret_pem, char ret_etag[72],
	struct err *err)
{
	if (a->failure)
		return err_set(err, -a->failure, "disk trouble");
	if (label.len && !str_eq(label, STR("other.example")))
		return err_set(err, ENOENT, "no such label");
	snprintf(ret_etag, 72, SERVE_FAKE_ETAG);
	return fake_copy(a->chain, ret_pem);
}

int authority_crls(
	struct authority *a, int64_t now_s, struct str *ret_pem, char ret_etag[72], struct err *err)
{
	if (a->failure)
		return err_set(err, -a->failure, "disk trouble");
	snprintf(ret_etag, 72, SERVE_FAKE_CRL_ETAG);
	return fake_copy(a->crls, ret_pem);
}

int authority_seen(struct authority *a, struct str node, bool is_crls, struct str etag,
	int64_t now_s, struct err *err)
{
	a->seen_count++;
	fake_keep(a->seen.node, sizeof(a->seen.node), node);
	fake_keep(a->seen.etag, sizeof(a->seen.etag), etag);
	a->seen.is_crls = is_crls;
	return 0;
}
