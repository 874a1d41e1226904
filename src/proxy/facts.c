/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/facts.h"

#include "base/arena.h"
#include "base/map.h"
#include <stdatomic.h>
#include <stdlib.h>

#define FACTS_BYTES_MAX		 (32u << 20)
#define FACTS_HOSTS_MAX		 256
#define FACTS_HOST_ADDRESSES_MAX 8

struct facts {
	atomic_uint refs;
	struct arena arena;
	uint64_t fingerprint; /* of all that plans see */
	struct facts_host *hosts;
	uint32_t host_count;
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
		arena_take(&f->arena, FACTS_HOST_ADDRESSES_MAX * sizeof(*host->addresses));
	if (!host->name.at || !host->addresses)
		return false;
	while (text.len > 0 && host->address_count < FACTS_HOST_ADDRESSES_MAX) {
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
	f->hosts = arena_take(&f->arena, FACTS_HOSTS_MAX * sizeof(*f->hosts));
	if (!f->hosts)
		return false;
	while (f->host_count < FACTS_HOSTS_MAX && (item = bundle_next(outside, "host", item))) {
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

/* --- life --- */

struct facts *facts_new(const struct bundle *b, const struct bundle *outside)
{
	struct facts *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	atomic_store(&f->refs, 1);
	arena_init(&f->arena, FACTS_BYTES_MAX);
	f->fingerprint = 1;
	bool ok = !outside || facts_add_hosts(f, outside);
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
	arena_done(&f->arena);
	free(f);
}

bool facts_same(const struct facts *a, const struct facts *b)
{
	return a->fingerprint == b->fingerprint;
}

/* --- what is wanted --- */

int facts_wanted(const struct snapshot *s, struct bundle *b, struct err *err)
{
	return 0;
}
