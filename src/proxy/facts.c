/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/facts.h"

#include "base/arena.h"
#include "base/map.h"
#include "jwt/jwt.h"
#include "mesh/external.h"
#include <stdatomic.h>
#include <stdlib.h>

#define FACTS_BYTES_MAX	  (32u << 20)
#define FACTS_ISSUERS_MAX 64 /* of each kind */

struct facts {
	atomic_uint refs;
	struct arena arena;
	uint64_t fingerprint; /* of all that plans see */
	struct facts_host *hosts;
	uint32_t host_count;
	struct facts_keys *issuers;
	uint32_t issuer_count;
};

struct facts_keys {
	struct facts_issuer is;
	struct jwk_set *keys; /* ours */
};

/* --- hosts --- */

/* The next line of a text, which gets shorter by it. */
static struct str facts_line(struct str *text)
{
	const char *end = text->len > 0 ? memchr(text->at, '\n', text->len) : NULL;
	struct str line = {text->at, end ? (size_t)(end - text->at) : text->len};
	size_t used = line.len + (end != NULL);
	*text = (struct str){text->at + used, text->len - used};
	return line;
}

static bool facts_add_host(struct facts *f, const struct bundle_item *item)
{
	struct facts_host *host = &f->hosts[f->host_count];
	struct str text = item->text;
	host->name = arena_str(&f->arena, item->name);
	host->addresses =
		arena_take(&f->arena, EXTERNAL_HOST_ADDRESSES_MAX * sizeof(*host->addresses));
	if (!host->name.at || !host->addresses)
		return false;
	while (text.len > 0 && host->address_count < EXTERNAL_HOST_ADDRESSES_MAX) {
		struct str line = facts_line(&text);
		if (address_parse(line, &host->addresses[host->address_count]))
			host->address_count++;
	}
	if (host->address_count > 0)
		f->host_count++;
	return true;
}

static bool facts_add_hosts(struct facts *f, const struct bundle *outside)
{
	const struct bundle_item *item = NULL;
	f->hosts = arena_take(&f->arena, EXTERNAL_HOSTS_MAX * sizeof(*f->hosts));
	if (!f->hosts)
		return false;
	while (f->host_count < EXTERNAL_HOSTS_MAX && (item = bundle_next(outside, "host", item))) {
		f->hosts[f->host_count] = (struct facts_host){0};
		if (!facts_add_host(f, item))
			return false;
		f->fingerprint = hash_bytes(f->fingerprint, item->name.at, item->name.len);
		f->fingerprint = hash_bytes(f->fingerprint, item->text.at, item->text.len);
	}
	return true;
}

const struct facts_host *facts_host(const struct facts *f, struct str name)
{
	for (uint32_t i = 0; f && i < f->host_count; i++) {
		if (str_eq(f->hosts[i].name, name))
			return &f->hosts[i];
	}
	return NULL;
}

/* --- keys --- */

/* "1764270000 0 why". What is not so is not known. */
static void facts_read_state(struct str text, struct facts_issuer *ret)
{
	uint64_t *const numbers[] = {&ret->fetched_s, &ret->failing_s};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		const char *end = text.len > 0 ? memchr(text.at, ' ', text.len) : NULL;
		if (!end || !str_to_u64((struct str){text.at, (size_t)(end - text.at)}, numbers[i]))
			return;
		text = (struct str){end + 1, text.len - (size_t)(end - text.at) - 1};
	}
	ret->why = text;
}

static void facts_mark(struct facts *f, struct str part)
{
	f->fingerprint = hash_bytes(f->fingerprint + part.len, part.at, part.len);
}

/* `keys`: the text of a set; empty: there is none. False: out of memory. */
static bool facts_add_keys(struct facts *f, struct facts_issuer is, struct str keys)
{
	struct facts_keys *k = &f->issuers[f->issuer_count];
	struct err err = {.text = ""};
	*k = (struct facts_keys){.is = is};
	if (keys.len > 0 && jwk_set_new(keys, &k->keys, &err) < 0 && is.why.len == 0)
		is.why = str_of(err.text);
	k->is.keys = k->keys;
	k->is.name = arena_str(&f->arena, is.name);
	k->is.url = arena_str(&f->arena, is.url);
	k->is.why = arena_str(&f->arena, is.why);
	f->issuer_count++;
	facts_mark(f, is.name);
	facts_mark(f, is.url);
	facts_mark(f, keys);
	return k->is.name.at && k->is.url.at && k->is.why.at;
}

/* Those that were fetched. Without a URL they would stand for those of a file, which are not the
 * state process's to give. */
static bool facts_add_fetched(struct facts *f, const struct bundle *outside)
{
	const struct bundle_item *of = NULL;
	while (f->issuer_count < FACTS_ISSUERS_MAX && (of = bundle_next(outside, "jwks-of", of))) {
		if (of->text.len == 0)
			continue;
		const struct bundle_item *state = bundle_find(outside, "jwks-state", of->name);
		const struct bundle_item *keys = bundle_find(outside, "jwks", of->name);
		struct facts_issuer is = {.name = of->name, .url = of->text};
		if (state)
			facts_read_state(state->text, &is);
		if (!facts_add_keys(f, is, keys ? keys->text : STR_NONE))
			return false;
	}
	return true;
}

/* Those of files. */
static bool facts_add_files(struct facts *f, const struct bundle *b)
{
	const struct bundle_item *item = NULL;
	while (f->issuer_count < 2 * FACTS_ISSUERS_MAX && (item = bundle_next(b, "jwks", item))) {
		if (!facts_add_keys(f, (struct facts_issuer){.name = item->name}, item->text))
			return false;
	}
	return true;
}

static bool facts_add_issuers(struct facts *f, const struct bundle *b, const struct bundle *outside)
{
	f->issuers = arena_take(&f->arena, 2 * FACTS_ISSUERS_MAX * sizeof(*f->issuers));
	return f->issuers && (!outside || facts_add_fetched(f, outside)) && facts_add_files(f, b);
}

bool facts_issuer_at(const struct facts *f, uint32_t index, struct facts_issuer *ret)
{
	if (!f || index >= f->issuer_count)
		return false;
	*ret = f->issuers[index].is;
	return true;
}

const struct jwk_set *facts_keys(const struct facts *f, const struct issuer *issuer)
{
	for (uint32_t i = 0; f && i < f->issuer_count; i++) {
		const struct facts_issuer *is = &f->issuers[i].is;
		if (str_eq(is->name, issuer->name) && str_eq(is->url, issuer->url))
			return is->keys;
	}
	return NULL;
}

/* --- life --- */

struct facts *facts_new(const struct bundle *b, const struct bundle *outside)
{
	struct facts *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	atomic_store(&f->refs, 1);
	arena_init(&f->arena, FACTS_BYTES_MAX);
	f->fingerprint = 1;
	bool ok = (!outside || facts_add_hosts(f, outside)) && facts_add_issuers(f, b, outside);
	if (ok)
		return f;
	facts_unref(f);
	return NULL;
}

struct facts *facts_ref(struct facts *f)
{
	atomic_fetch_add(&f->refs, 1);
	return f;
}

void facts_unref(struct facts *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) > 1)
		return;
	for (uint32_t i = 0; i < f->issuer_count; i++)
		jwk_set_free(f->issuers[i].keys);
	arena_done(&f->arena);
	free(f);
}

bool facts_same(const struct facts *a, const struct facts *b)
{
	return a->fingerprint == b->fingerprint;
}

/* --- what is wanted --- */

/* Whose addresses are declared is not looked up; "*.example.com" is no name that could be. */
static int facts_want_hosts(const struct external *e, struct bundle *b, struct err *err)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < e->host_count && e->address_count == 0; i++) {
		if (e->hosts[i].at[0] != '*' && !bundle_find(b, "host", e->hosts[i]))
			r = bundle_add(b, STR("host"), e->hosts[i], STR(""), err);
	}
	return r;
}

int facts_wanted(const struct snapshot *s, struct bundle *b, struct err *err)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < s->external_count; i++)
		r = facts_want_hosts(&s->externals[i], b, err);
	for (uint32_t i = 0; r == 0 && i < s->issuer_count; i++) {
		const struct issuer *issuer = &s->issuers[i];
		if (issuer->url.len > 0)
			r = bundle_add(b, STR("jwks"), issuer->name, issuer->url, err);
	}
	return r;
}
