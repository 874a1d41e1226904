/* SPDX-License-Identifier: Apache-2.0 */
/* The worker remembers what became of a token, good or bad, by its SHA-256: a good one until it
 * expires, a bad one as long as it is used. All is forgotten with the plan, so that a key, an
 * issuer or an audience that has gone is gone at once. */
#include "tokens.h"

#include "base/map.h"
#include "call.h"
#include "jwt/jwt.h"
#include "mesh/issuer.h"
#include "proxy/facts.h"
#include "worker_private.h"
#include <openssl/sha.h>
#include <stdlib.h>

#define TOKENS_KEPT_MAX	  512 /* of a shelf; good ones are up to some 20 KiB each */
#define TOKENS_LEFT_MAX_S 1000000000

struct tokens_kept {
	struct map_node node;
	struct list used; /* in its shelf */
	uint8_t digest[SHA256_DIGEST_LENGTH];
	struct str header; /* the plan's: of its issuer */
	struct jwt *jwt;   /* NULL: it is no good one */
	struct policy_token token;
	uint64_t until_s;
	uint64_t bad_from_s; /* without `jwt`: nothing is known of what it was before */
};

struct tokens_shelf {
	struct list used; /* the one that was asked for last at the end */
	uint32_t count;
};

/* Bad ones come in whatever number a caller likes: they displace their like, and no good one. */
struct tokens {
	uint64_t plan_number; /* all are as under this one */
	struct map by_digest;
	struct tokens_shelf good, bad;
};

/* --- in a head --- */

static struct str tokens_bearer(struct str value)
{
	struct str scheme = STR("bearer");
	if (value.len <= scheme.len || !str_eq_nocase((struct str){value.at, scheme.len}, scheme) ||
		(value.at[scheme.len] != ' ' && value.at[scheme.len] != '\t'))
		return STR_NONE;
	return str_trim((struct str){value.at + scheme.len, value.len - scheme.len});
}

/* Whether it is the first issuer that has this header. */
static bool tokens_is_first(const struct snapshot *s, uint32_t index)
{
	for (uint32_t i = 0; i < index; i++) {
		if (str_eq_nocase(s->issuers[i].header, s->issuers[index].header))
			return false;
	}
	return true;
}

/* Adds what is in the headers of one name. Returns how many such headers there are: of two nobody
 * knows which is read, whatever is in them. */
static uint32_t tokens_look(
	const struct http_head *head, const struct issuer *issuer, struct tokens_carried *carried)
{
	bool is_bearer = str_eq_nocase(issuer->header, STR(ISSUER_TOKEN_HEADER));
	uint32_t count = 0;
	for (uint16_t i = 0; i < head->header_count; i++) {
		const struct http_header *h = &head->headers[i];
		if (!str_eq_nocase(h->name, issuer->header))
			continue;
		count++;
		carried->text = is_bearer ? tokens_bearer(h->value) : str_trim(h->value);
		carried->header = issuer->header;
	}
	return count;
}

/* Another scheme's credentials are not ours to keep from the workload. */
static bool tokens_is_kept_back(const struct snapshot *s, const struct http_header *h)
{
	for (uint32_t i = 0; i < s->issuer_count; i++) {
		const struct issuer *issuer = &s->issuers[i];
		if (issuer->is_forwarded || !str_eq_nocase(h->name, issuer->header))
			continue;
		if (!str_eq_nocase(h->name, STR(ISSUER_TOKEN_HEADER)) ||
			tokens_bearer(h->value).len > 0)
			return true;
	}
	return false;
}

/* Out of memory it is taken off, and cannot be put back. */
static void tokens_strip(const struct snapshot *s, struct http_head *head, struct arena *arena,
	struct tokens_carried *carried)
{
	uint16_t kept = 0, count = 0;
	for (uint16_t i = 0; i < head->header_count; i++)
		count += tokens_is_kept_back(s, &head->headers[i]);
	if (count == 0)
		return;
	carried->removed = arena_take(arena, count * sizeof(*carried->removed));
	for (uint16_t i = 0; i < head->header_count; i++) {
		const struct http_header h = head->headers[i];
		if (!tokens_is_kept_back(s, &h))
			head->headers[kept++] = h;
		else if (carried->removed)
			carried->removed[carried->removed_count++] = h;
	}
	head->header_count = kept;
}

bool tokens_put_back(
	const struct tokens_carried *carried, struct http_head *head, struct arena *arena)
{
	for (uint16_t i = 0; i < carried->removed_count; i++) {
		const struct http_header *h = &carried->removed[i];
		struct str name = arena_str(arena, h->name), value = arena_str(arena, h->value);
		if (!name.at || !value.at || !http_header_add(head, name, value))
			return false;
	}
	return true;
}

static bool tokens_copy(struct arena *arena, struct str *text)
{
	if (text->len > 0)
		*text = arena_str(arena, *text);
	return text->len == 0 || text->at;
}

/* The call may be under an older one. */
static bool tokens_are_asked(const struct call *c, const struct plan *plan)
{
	if (c->way != CALL_WAY_LOCAL) /* of a call to the outside there is no service at all */
		return false;
	const struct service *service =
		c->hold->plan == plan ? c->service
				      : snapshot_service(plan->snapshot, c->service->name);
	return service && policy_asks_token(service);
}

void tokens_take(struct worker *w, const struct call *c, const struct plan *plan,
	struct http_head *head, struct arena *arena, struct tokens_carried *carried)
{
	const struct snapshot *s = plan->snapshot;
	uint32_t count = 0;
	if (carried->is_looked_at || !tokens_are_asked(c, plan))
		return;
	*carried = (struct tokens_carried){
		.is_looked_at = true, .judged_s = (uint64_t)worker_wall_s(w)};
	for (uint32_t i = 0; i < s->issuer_count; i++) {
		if (tokens_is_first(s, i))
			count += tokens_look(head, &s->issuers[i], carried);
	}
	if (count != 1)
		carried->text = carried->header = STR_NONE;
	if (!tokens_copy(arena, &carried->text) || !tokens_copy(arena, &carried->header))
		carried->text = carried->header = STR_NONE;
	tokens_strip(s, head, arena, carried);
}

bool tokens_are_in(const struct call *c, struct str header)
{
	const struct plan *plan = c->hold->plan;
	const struct snapshot *s = plan->snapshot;
	bool is_one = false;
	for (uint32_t i = 0; i < s->issuer_count; i++)
		is_one = is_one || str_eq_nocase(header, s->issuers[i].header);
	return is_one && tokens_are_asked(c, plan);
}

/* --- what is remembered --- */

static struct tokens_shelf *tokens_shelf_of(struct tokens *t, const struct tokens_kept *k)
{
	return k->jwt ? &t->good : &t->bad;
}

static void tokens_forget(struct tokens *t, struct tokens_kept *k)
{
	map_remove(&t->by_digest, &k->node);
	list_remove(&k->used);
	tokens_shelf_of(t, k)->count--;
	jwt_free(k->jwt);
	free(k);
}

static void tokens_forget_first(struct tokens *t, struct tokens_shelf *shelf)
{
	tokens_forget(t, CONTAINER_OF(shelf->used.next, struct tokens_kept, used));
}

static void tokens_forget_all(struct tokens *t)
{
	while (!list_empty(&t->good.used))
		tokens_forget_first(t, &t->good);
	while (!list_empty(&t->bad.used))
		tokens_forget_first(t, &t->bad);
}

void tokens_free(struct tokens *t)
{
	if (!t)
		return;
	tokens_forget_all(t);
	map_done(&t->by_digest);
	free(t);
}

/* Of this plan; NULL: out of memory. */
static struct tokens *tokens_of(struct worker *w, const struct plan *plan)
{
	struct tokens *t = w->tokens;
	if (!t) {
		t = w->tokens = calloc(1, sizeof(*t));
		if (!t)
			return NULL;
		map_init(&t->by_digest);
		list_init(&t->good.used);
		list_init(&t->bad.used);
	}
	if (t->plan_number != plan->number)
		tokens_forget_all(t);
	t->plan_number = plan->number;
	return t;
}

static uint64_t tokens_hash(const uint8_t digest[SHA256_DIGEST_LENGTH])
{
	uint64_t hash;
	memcpy(&hash, digest, sizeof(hash));
	return hash;
}

static struct tokens_kept *tokens_find(struct tokens *t, const uint8_t digest[SHA256_DIGEST_LENGTH])
{
	struct map_node *node = map_first(&t->by_digest, tokens_hash(digest));
	for (; node; node = map_next(node)) {
		struct tokens_kept *k = CONTAINER_OF(node, struct tokens_kept, node);
		if (memcmp(k->digest, digest, sizeof(k->digest)) == 0)
			return k;
	}
	return NULL;
}

/* In its shelf, as the one that was asked for last. False: out of memory. */
static bool tokens_shelve(struct tokens *t, struct tokens_kept *k)
{
	struct tokens_shelf *shelf = tokens_shelf_of(t, k);
	if (!map_add(&t->by_digest, &k->node, tokens_hash(k->digest)))
		return false;
	if (shelf->count == TOKENS_KEPT_MAX)
		tokens_forget_first(t, shelf);
	list_add_last(&shelf->used, &k->used);
	shelf->count++;
	return true;
}

/* --- verifying --- */

/* Whose it is, it says itself; that it is so, the keys of that issuer. */
static enum jwt_failure tokens_verify(
	const struct plan *plan, uint64_t now_s, struct str text, struct tokens_kept *k)
{
	enum jwt_failure failure = jwt_read(text, &k->jwt);
	if (failure != JWT_NONE)
		return failure;
	const struct issuer *issuer = issuer_of(plan->snapshot, jwt_claimed_issuer(k->jwt));
	const struct jwk_set *keys = issuer ? facts_keys(plan->facts, issuer) : NULL;
	if (!keys)
		return issuer ? JWT_KEY : JWT_ISSUER;
	const struct jwt_rules rules = {.issuer = issuer->issuer,
		.audiences = issuer->audiences,
		.audience_count = issuer->audience_count,
		.leeway_s = issuer->leeway_s};
	failure = jwt_verify(k->jwt, keys, &rules, now_s);
	if (failure != JWT_NONE)
		return failure;
	k->token = jwt_token(k->jwt);
	k->token.issuer = issuer->name;
	k->header = issuer->header;
	k->until_s = jwt_expires_s(k->jwt) + issuer->leeway_s;
	return JWT_NONE;
}

/* What it is now; NULL: out of memory, or it may be otherwise the next time, and is asked again
 * then. */
static struct tokens_kept *tokens_judge(const struct plan *plan, uint64_t now_s, struct str text,
	const uint8_t digest[SHA256_DIGEST_LENGTH])
{
	struct tokens_kept *k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	memcpy(k->digest, digest, sizeof(k->digest));
	enum jwt_failure failure = tokens_verify(plan, now_s, text, k);
	if (failure != JWT_NONE) {
		jwt_free(k->jwt);
		k->jwt = NULL;
	}
	k->bad_from_s = failure == JWT_EXPIRED ? now_s : 0;
	if (failure != JWT_EARLY && failure != JWT_MEMORY)
		return k;
	free(k);
	return NULL;
}

static struct tokens_kept *tokens_ask(struct worker *w, struct tokens *t, const struct plan *plan,
	uint64_t now_s, struct str text)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256((const uint8_t *)text.at, text.len, digest);
	struct tokens_kept *k = tokens_find(t, digest);
	if (k && !k->jwt && now_s < k->bad_from_s) {
		tokens_forget(t, k);
		k = NULL;
	}
	if (k) {
		list_remove(&k->used);
		list_add_last(&tokens_shelf_of(t, k)->used, &k->used);
		return k;
	}
	metric_add(&w->values->tokens_verified_total, 1);
	k = tokens_judge(plan, now_s, text, digest);
	if (k && tokens_shelve(t, k))
		return k;
	if (k)
		jwt_free(k->jwt);
	free(k);
	return NULL;
}

const struct policy_token *tokens_verified(
	struct worker *w, const struct plan *plan, struct tokens_carried *carried)
{
	if (carried->text.len == 0 || carried->text.len > JWT_BYTES_MAX)
		return NULL;
	struct tokens *t = tokens_of(w, plan);
	const struct tokens_kept *k =
		t ? tokens_ask(w, t, plan, carried->judged_s, carried->text) : NULL;
	carried->until_s = 0;
	/* The token of one issuer is not taken where those of another are carried. */
	if (!k || !k->jwt || carried->judged_s >= k->until_s ||
		!str_eq_nocase(k->header, carried->header))
		return NULL;
	carried->until_s = k->until_s;
	return &k->token;
}

uint64_t tokens_end_ns(const struct worker *w, const struct tokens_carried *carried)
{
	uint64_t now_s = (uint64_t)worker_wall_s(w);
	uint64_t left_s = carried->until_s > now_s ? carried->until_s - now_s : 0;
	if (carried->until_s == 0 || left_s > TOKENS_LEFT_MAX_S)
		return UINT64_MAX;
	return w->loop.now_ns + left_s * CLOCK_S;
}

bool tokens_end(const struct worker *w, struct tokens_carried *carried)
{
	uint64_t now_s = (uint64_t)worker_wall_s(w);
	if (carried->until_s == 0 || now_s < carried->until_s)
		return false;
	carried->until_s = 0;
	carried->judged_s = now_s;
	return true;
}
