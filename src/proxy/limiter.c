/* SPDX-License-Identifier: Apache-2.0 */
/* What a request must get past, and in which order: first all limits of this machine, then those of
 * the whole mesh; what was taken is put back when one of them refuses. Then those that only look
 * on. */
#include "limiter.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/limit_id.h"
#include "limiter_table.h"

struct limiter_try {
	const struct limit *limit;
	struct limiter *of;
	struct str key;
	uint64_t hash;
	struct limiter_slot *slot;
	struct bucket_taking taking;
	struct share_taking share;
	struct ledger_limit_rule rule; /* of a token that the ledger gave */
	bool is_mirror;
	bool has_token, has_share, has_lease;
	uint64_t quota, remaining, reset_ns, retry_ns;
};

struct limiter_asked {
	struct ledger *ledger;
	uint64_t now_ns;
	struct str source_id;
	struct limiter_try tries[LIMITS_PER_SERVICE];
	uint32_t try_count;
};

/* --- which limits, which keys --- */

static bool limiter_key(
	struct limiter_try *t, const struct limit_request *request, struct arena *arena)
{
	size_t len = limit_key_bytes(t->limit, request);
	char *text = arena_take(arena, len + 1);
	if (!text)
		return false;
	t->key = (struct str){text, limit_key_write(t->limit, request, text)};
	t->hash = hash_bytes(t->of->seed, t->key.at, t->key.len);
	t->hash += t->hash == 0;
	return true;
}

static bool limiter_gather(struct limiter_asked *a, const struct plan *plan,
	const struct service *service, const struct limit_request *request, struct arena *arena)
{
	for (uint32_t i = 0; i < service->limit_count; i++) {
		const struct limit *limit = service->limits[i];
		struct limiter *of = plan->limiters[limit->index];
		if (!of || a->try_count == LIMITS_PER_SERVICE ||
			!limit_matches(plan->snapshot, limit, request))
			continue;
		struct limiter_try *t = &a->tries[a->try_count++];
		*t = (struct limiter_try){
			.limit = limit, .of = of, .is_mirror = request->is_mirror};
		if (!limiter_key(t, request, arena))
			return false;
	}
	return true;
}

static void limiter_place(struct limiter_try *t, uint64_t now_ns)
{
	struct limiter *of = t->of;
	bool is_alone = of->slot_count == 1; /* no keys */
	t->slot = is_alone && t->is_mirror ? &of->copies : limiter_find(of, t->hash, now_ns);
	if (t->slot == &of->rest && t->is_mirror)
		t->slot = &of->copies;
}

/* It shares a bucket with all other keys that found no place. */
static bool limiter_is_crowded(const struct limiter_try *t)
{
	return t->of->slot_count > 1 && (t->slot == &t->of->rest || t->slot == &t->of->copies);
}

/* --- fair shares --- */

static void limiter_pot_turn(
	struct limiter_pot *pot, const struct limit *limit, uint64_t ends_ns, uint64_t now_ns)
{
	uint64_t before_ns = atomic_load_explicit(&pot->window_ends_ns, memory_order_relaxed);
	uint32_t base = limit->amount / limit->node_count, next = base ? base : 1;
	if (now_ns < before_ns ||
		!atomic_compare_exchange_strong_explicit(&pot->window_ends_ns, &before_ns, ends_ns,
			memory_order_acq_rel, memory_order_relaxed))
		return;
	uint32_t granted = atomic_exchange_explicit(&pot->granted, 0, memory_order_relaxed);
	bool was_spent = atomic_exchange_explicit(&pot->is_spent, false, memory_order_relaxed);
	if (before_ns > 0 && was_spent && granted > 0)
		next = granted;
	else if (before_ns > 0 && granted + granted / 4 > next)
		next = granted + granted / 4;
	if (next > limit->amount)
		next = limit->amount;
	atomic_store_explicit(&pot->expected, next, memory_order_relaxed);
}

/* In nanoseconds for a token, so that what members hold stays the same when it changes. */
static struct bucket_rate limiter_pot_rate(const struct limiter_pot *pot, const struct limit *limit)
{
	uint64_t window_ns = limit->window_ms * CLOCK_MS;
	uint32_t expected = atomic_load_explicit(&pot->expected, memory_order_relaxed);
	uint64_t cost = window_ns / (expected ? expected : 1);
	return (struct bucket_rate){.ticks = 1, .cost = cost ? cost : 1, .depth = window_ns};
}

/* Whether it is this source's turn, of a bucket that has `there` left. */
static bool limiter_take_share(const struct limiter_asked *a, struct limiter_try *t,
	struct limiter_pot *pot, const struct bucket_rate *rate, uint64_t there)
{
	uint64_t source = hash_bytes(t->of->seed, a->source_id.at, a->source_id.len);
	struct share_member *m =
		limiter_member(t->of, pot, rate, source + (source == 0), a->now_ns);
	t->has_share = share_take(&pot->share, rate, m, there, a->now_ns, &t->share);
	if (t->has_share)
		return true;
	uint64_t others = share_count(&pot->share, rate, a->now_ns);
	t->retry_ns = rate->cost * others / rate->ticks;
	return false;
}

static void limiter_put_share_back(struct limiter_try *t)
{
	if (t->has_share)
		share_put_back(&t->share);
	t->has_share = false;
}

/* --- of this machine --- */

static void limiter_left(struct limiter_try *t, const struct bucket_left *left)
{
	t->quota = t->of->quota;
	t->remaining = left->remaining;
	t->reset_ns = left->full_ns;
	if (t->retry_ns < left->next_ns)
		t->retry_ns = left->next_ns;
}

static bool limiter_take_fair(const struct limiter_asked *a, struct limiter_try *t)
{
	struct limiter_pot *pot = limiter_pot_of(t->of, t->slot);
	struct bucket_rate rate = t->of->rate;
	struct bucket_left left = bucket_look(&t->slot->bucket, &t->of->rate, a->now_ns);
	if (!pot)
		return true;
	if (t->limit->scope == LIMIT_MESH)
		rate = limiter_pot_rate(pot, t->limit);
	if (limiter_take_share(a, t, pot, &rate, left.remaining))
		return true;
	limiter_left(t, &left);
	return false;
}

/* The place may become another key's until the token is taken: then it was not that key's. */
static bool limiter_is_still(const struct limiter_try *t)
{
	return t->of->slot_count == 1 || limiter_is_crowded(t) ||
	       atomic_load_explicit(&t->slot->tag, memory_order_acquire) == t->hash;
}

static void limiter_count_crowded(const struct limiter_try *t)
{
	if (limiter_is_crowded(t))
		atomic_fetch_add_explicit(&t->of->counts->crowded, 1, memory_order_relaxed);
}

static bool limiter_take_here(const struct limiter_asked *a, struct limiter_try *t)
{
	for (;;) {
		struct bucket_left left;
		limiter_place(t, a->now_ns);
		if (!limiter_take_fair(a, t))
			return false;
		enum bucket_result r =
			bucket_take(&t->slot->bucket, &t->of->rate, a->now_ns, &t->taking, &left);
		if (r == BUCKET_TAKEN && limiter_is_still(t)) {
			limiter_left(t, &left);
			t->has_token = true;
			break;
		}
		limiter_put_share_back(t);
		if (r == BUCKET_EMPTY && limiter_is_still(t)) {
			limiter_left(t, &left);
			return false;
		}
		if (r == BUCKET_TAKEN)
			bucket_put_back(&t->slot->bucket, &t->taking);
		else
			limiter_await(t->of);
	}
	limiter_count_crowded(t);
	return true;
}

static bool limiter_is_there(const struct limiter_asked *a, struct limiter_try *t)
{
	limiter_place(t, a->now_ns);
	struct bucket_left left = bucket_look(&t->slot->bucket, &t->of->rate, a->now_ns);
	limiter_left(t, &left);
	return left.remaining > 0;
}

/* --- of the whole mesh --- */

static bool limiter_without_store(const struct limiter_asked *a, struct limiter_try *t,
	enum limit_away away, uint64_t reset_ns)
{
	uint64_t window_ns = t->limit->window_ms * CLOCK_MS;
	atomic_fetch_add_explicit(&t->of->counts->away, 1, memory_order_relaxed);
	if (away == LIMIT_AWAY_SHARE)
		return limiter_take_here(a, t);
	t->quota = t->limit->amount;
	t->remaining = away == LIMIT_AWAY_ALLOW ? t->limit->amount : 0;
	t->reset_ns = t->retry_ns = reset_ns ? reset_ns : window_ns;
	return away == LIMIT_AWAY_ALLOW;
}

/* The pot of a fair one, with its window reckoned; false: another source's turn. A key without a
 * place of its own has its own tokens all the same: who comes first is served first. */
static bool limiter_mesh_share(
	const struct limiter_asked *a, struct limiter_try *t, struct limiter_pot **ret_pot)
{
	struct limiter_pot *pot = NULL;
	*ret_pot = NULL;
	if (!t->limit->is_fair)
		return true;
	limiter_place(t, a->now_ns);
	if (limiter_is_crowded(t))
		return true;
	pot = *ret_pot = limiter_pot_of(t->of, t->slot);
	if (!pot)
		return true;
	limiter_pot_turn(pot, t->limit, a->now_ns + t->limit->window_ms * CLOCK_MS, a->now_ns);
	struct bucket_rate rate = limiter_pot_rate(pot, t->limit);
	uint32_t granted = atomic_load_explicit(&pot->granted, memory_order_relaxed);
	uint32_t expected = atomic_load_explicit(&pot->expected, memory_order_relaxed);
	t->quota = t->limit->amount;
	uint64_t ends_ns = atomic_load_explicit(&pot->window_ends_ns, memory_order_relaxed);
	t->reset_ns = ends_ns > a->now_ns ? ends_ns - a->now_ns : 0;
	return limiter_take_share(a, t, pot, &rate, expected > granted ? expected - granted : 0);
}

static void limiter_mesh_told(struct limiter_pot *pot, bool is_taken)
{
	if (pot && is_taken)
		atomic_fetch_add_explicit(&pot->granted, 1, memory_order_relaxed);
	else if (pot)
		atomic_store_explicit(&pot->is_spent, true, memory_order_relaxed);
}

static bool limiter_take_mesh(const struct limiter_asked *a, struct limiter_try *t)
{
	struct limiter_pot *pot;
	struct ledger_left left = {0};
	enum ledger_taken taken = LEDGER_AWAY;
	if (!limiter_mesh_share(a, t, &pot))
		return false;
	if (a->ledger) {
		t->rule = (struct ledger_limit_rule){
			.id = ledger_limit_id(str_of(t->of->definition), t->key),
			.amount = t->limit->amount,
			.window_ms = t->limit->window_ms};
		taken = ledger_limit_take(a->ledger, &t->rule, a->now_ns, &left);
	}
	uint64_t reset_ns = left.reset_ns > a->now_ns ? left.reset_ns - a->now_ns : 0;
	if (taken == LEDGER_AWAY || taken == LEDGER_FULL) {
		limiter_put_share_back(t);
		return limiter_without_store(
			a, t, taken == LEDGER_FULL ? LIMIT_AWAY_SHARE : t->limit->away, reset_ns);
	}
	limiter_mesh_told(pot, taken == LEDGER_TAKEN);
	t->quota = t->limit->amount;
	t->remaining = left.remaining;
	t->reset_ns = reset_ns;
	t->has_lease = taken == LEDGER_TAKEN;
	if (t->has_lease) {
		limiter_count_crowded(t);
		return true;
	}
	/* the store has more, which is not here yet: it takes a moment, not the rest of the window
	 */
	t->retry_ns = left.remaining > 0 && reset_ns > CLOCK_S ? CLOCK_S : reset_ns;
	limiter_put_share_back(t);
	return false;
}

static bool limiter_take(const struct limiter_asked *a, struct limiter_try *t)
{
	return t->limit->scope == LIMIT_MESH ? limiter_take_mesh(a, t) : limiter_take_here(a, t);
}

/* --- all of them --- */

static bool limiter_is_of(const struct limiter_try *t, enum limit_scope scope)
{
	return !t->limit->is_shadow && t->limit->scope == scope;
}

/* Nothing is taken where it can be seen before that one has nothing. */
static struct limiter_try *limiter_look_all(struct limiter_asked *a)
{
	uint32_t in_force = 0;
	for (uint32_t i = 0; i < a->try_count; i++)
		in_force += !a->tries[i].limit->is_shadow;
	for (uint32_t i = 0; i < a->try_count && in_force > 1; i++) {
		struct limiter_try *t = &a->tries[i];
		if (limiter_is_of(t, LIMIT_LOCAL) && !t->limit->is_fair && !limiter_is_there(a, t))
			return t;
	}
	return NULL;
}

static struct limiter_try *limiter_take_all(struct limiter_asked *a, enum limit_scope scope)
{
	for (uint32_t i = 0; i < a->try_count; i++) {
		if (limiter_is_of(&a->tries[i], scope) && !limiter_take(a, &a->tries[i]))
			return &a->tries[i];
	}
	return NULL;
}

static void limiter_put_all_back(struct limiter_asked *a)
{
	for (uint32_t i = 0; i < a->try_count; i++) {
		struct limiter_try *t = &a->tries[i];
		if (t->has_token)
			bucket_put_back(&t->slot->bucket, &t->taking);
		if (t->has_lease)
			ledger_limit_put_back(a->ledger, &t->rule, a->now_ns);
		t->has_token = t->has_lease = false;
		limiter_put_share_back(t);
	}
}

static void limiter_count(_Atomic uint64_t *count)
{
	atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

static void limiter_say(struct limiter_verdict *v, const struct limiter_try *t)
{
	v->tightest = t->limit;
	v->quota = t->quota;
	v->remaining = t->remaining < t->quota ? t->remaining : t->quota;
	v->reset_ns = t->reset_ns;
}

static void limiter_granted(struct limiter_asked *a, struct limiter_verdict *v)
{
	for (uint32_t i = 0; i < a->try_count; i++) {
		struct limiter_try *t = &a->tries[i];
		if (t->limit->is_shadow)
			continue;
		limiter_count(&t->of->counts->granted);
		if (!v->tightest || t->remaining < v->remaining ||
			(t->remaining == v->remaining && t->reset_ns > v->reset_ns))
			limiter_say(v, t);
	}
	for (uint32_t i = 0; i < a->try_count; i++) {
		struct limiter_try *t = &a->tries[i];
		if (!t->limit->is_shadow)
			continue;
		bool is_taken = limiter_take(a, t);
		limiter_count(is_taken ? &t->of->counts->granted : &t->of->counts->shadowed);
		if (!is_taken && !v->shadow)
			v->shadow = t->limit;
	}
}

bool limiter_ask(const struct plan *plan, struct ledger *ledger, const struct service *service,
	const struct limit_request *request, struct arena *arena, uint64_t now_ns,
	struct limiter_verdict *ret_verdict)
{
	struct limiter_asked a; /* most of it stays unused */
	*ret_verdict = (struct limiter_verdict){0};
	a.ledger = ledger;
	a.now_ns = now_ns;
	a.source_id = request->asks.source_id;
	a.try_count = 0;
	if (!limiter_gather(&a, plan, service, request, arena))
		return false;
	struct limiter_try *refused = limiter_look_all(&a);
	if (!refused)
		refused = limiter_take_all(&a, LIMIT_LOCAL);
	if (!refused)
		refused = limiter_take_all(&a, LIMIT_MESH);
	if (!refused) {
		limiter_granted(&a, ret_verdict);
		return true;
	}
	limiter_put_all_back(&a);
	limiter_count(&refused->of->counts->refused);
	ret_verdict->refused = refused->limit;
	limiter_say(ret_verdict, refused);
	ret_verdict->remaining = 0;
	ret_verdict->retry_ns = refused->retry_ns;
	return true;
}
