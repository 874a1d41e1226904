/* SPDX-License-Identifier: Apache-2.0 */
/* Limits in force, of a plan that is made by hand: what is granted, to which keys, what is put
 * back, and what holds while the store is away. */
#include "proxy/limiter.h"

#include "base/clock.h"
#include "ledger/lease.h"
#include "proxy/limiter_table.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW (1000 * CLOCK_S)

struct place {
	struct plan plan;
	struct snapshot snapshot;
	struct service service;
	struct workload workload;
	struct limit limits[4], *list[4];
	struct limit_request request;
	struct ledger *ledger;
	struct limiter_verdict verdict;
	uint64_t now_ns;
	int ledger_fd;
};

static void place_init(struct place *p, uint32_t count, const struct limit *limits)
{
	*p = (struct place){.now_ns = NOW, .ledger_fd = -1};
	p->service =
		(struct service){.name = STR("orders"), .limits = p->list, .limit_count = count};
	p->workload.service = &p->service;
	for (uint32_t i = 0; i < count; i++) {
		p->limits[i] = limits[i];
		p->limits[i].index = i;
		p->limits[i].service = &p->service;
		p->limits[i].node_count = limits[i].node_count ? limits[i].node_count : 1;
		p->limits[i].burst = limits[i].burst ? limits[i].burst : limits[i].amount;
		p->list[i] = &p->limits[i];
	}
	p->snapshot = (struct snapshot){.workloads = &p->workload,
		.workload_count = 1,
		.limits = p->limits,
		.limit_count = count};
	p->plan = (struct plan){.snapshot = &p->snapshot, .limit_seed = 5};
	p->request = (struct limit_request){.client = STR("10.0.0.1"), .route = STR("")};
	p->request.asks = (struct route_request){.source_id = STR("spiffe://t/service/web"),
		.is_http = true,
		.method = STR("GET"),
		.path = STR("/"),
		.authority = STR("orders")};
	assert_true(limiters_link(&p->plan, NULL));
}

static void place_open_ledger(struct place *p)
{
	struct err err;
	p->ledger_fd = ledger_create(&err);
	assert_true(p->ledger_fd >= 0);
	assert_int_equal(ledger_map(p->ledger_fd, &p->ledger, &err), 0);
	lease_set_believed(p->ledger, NOW + 1000 * CLOCK_S);
}

static void counts_done(struct limiter_counts *c)
{
	while (c) {
		struct limiter_counts *before = c->before;
		free(c->name);
		free(c);
		c = before;
	}
}

static void place_done(struct place *p)
{
	limiters_done(&p->plan);
	counts_done(p->plan.last_counts);
	ledger_unmap(p->ledger);
	if (p->ledger_fd >= 0)
		close(p->ledger_fd);
}

static bool ask(struct place *p)
{
	struct arena arena;
	arena_init(&arena, 1 << 20);
	assert_true(limiter_ask(
		&p->plan, p->ledger, &p->service, &p->request, &arena, p->now_ns, &p->verdict));
	arena_done(&arena);
	return !p->verdict.refused;
}

static uint32_t asked(struct place *p, uint32_t count)
{
	uint32_t granted = 0;
	for (uint32_t i = 0; i < count; i++)
		granted += ask(p);
	return granted;
}

#define LIMIT(title, requests, ...)                                                      \
	{                                                                                \
		.name = STR(title), .amount = (requests), .window_ms = 1000, __VA_ARGS__ \
	}
#define BY(kind) .parts = {{kind, STR("")}}, .part_count = 1

static void test_what_is_left(void **state)
{
	struct place p;
	place_init(&p, 1, (struct limit[]){LIMIT("first", 4)});
	assert_true(ask(&p));
	assert_ptr_equal(p.verdict.tightest, &p.limits[0]);
	assert_int_equal(p.verdict.quota, 4);
	assert_int_equal(p.verdict.remaining, 3);
	assert_int_equal(p.verdict.reset_ns, CLOCK_S / 4);
	assert_int_equal(asked(&p, 5), 3);
	assert_ptr_equal(p.verdict.refused, &p.limits[0]);
	assert_int_equal(p.verdict.remaining, 0);
	assert_int_equal(p.verdict.retry_ns, CLOCK_S / 4);
	assert_int_equal(p.verdict.reset_ns, CLOCK_S);
	p.now_ns += CLOCK_S / 4;
	assert_int_equal(asked(&p, 5), 1);
	place_done(&p);
}

static void test_keys_have_buckets_of_their_own(void **state)
{
	struct place p;
	char name[32];
	place_init(&p, 1, (struct limit[]){LIMIT("first", 4, BY(LIMIT_BY_PATH))});
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "/%d", i);
		p.request.asks.path = str_of(name);
		assert_int_equal(asked(&p, 6), 4);
	}
	struct limiter_view view;
	assert_true(limiter_look(&p.plan, &p.limits[0], p.now_ns, &view));
	assert_true(view.has_keys);
	assert_int_equal(view.key_count, 200);
	assert_int_equal(view.counts->granted, 800);
	assert_int_equal(view.counts->refused, 400);
	assert_int_equal(view.counts->crowded, 0);
	p.now_ns += CLOCK_S;
	assert_true(limiter_look(&p.plan, &p.limits[0], p.now_ns, &view));
	assert_int_equal(view.key_count, 0);
	place_done(&p);
}

/* All refused by the second: the first has given nothing. */
static void test_what_another_refuses_is_put_back(void **state)
{
	struct place p;
	place_init(&p, 2,
		(struct limit[]){LIMIT("first", 100), LIMIT("second", 4, BY(LIMIT_BY_SOURCE))});
	assert_int_equal(asked(&p, 50), 4);
	assert_ptr_equal(p.verdict.refused, &p.limits[1]);
	struct limiter_view view;
	assert_true(limiter_look(&p.plan, &p.limits[0], p.now_ns, &view));
	assert_true(view.is_known);
	assert_int_equal(view.remaining, 96);
	assert_int_equal(view.counts->refused, 0);
	place_done(&p);
}

static void test_a_shadow_takes_only_what_is_granted(void **state)
{
	struct place p;
	place_init(
		&p, 2, (struct limit[]){LIMIT("first", 4), LIMIT("trial", 2, .is_shadow = true)});
	assert_true(ask(&p) && ask(&p));
	assert_null(p.verdict.shadow);
	assert_true(ask(&p));
	assert_ptr_equal(p.verdict.shadow, &p.limits[1]);
	assert_ptr_equal(p.verdict.tightest, &p.limits[0]);
	assert_int_equal(asked(&p, 10), 1);
	struct limiter_view view;
	assert_true(limiter_look(&p.plan, &p.limits[1], p.now_ns, &view));
	assert_int_equal(view.counts->shadowed, 2);
	assert_int_equal(view.counts->granted, 2);
	place_done(&p);
}

/* --- many keys --- */

static void test_places_are_given_to_others_when_they_are_as_good_as_new(void **state)
{
	const struct limit limit = {.amount = 1, .window_ms = 1000, .burst = 1, .node_count = 1};
	struct limiter *l = limiter_new(&limit, 64, 1);
	struct bucket_taking taking;
	struct bucket_left left;
	uint64_t taken = 0, crowded = 0;
	for (uint64_t key = 1; key <= 200; key++) {
		struct limiter_slot *slot = limiter_find(l, key * 0x9e3779b97f4a7c15ull, NOW);
		crowded += slot == &l->rest;
		taken += bucket_take(&slot->bucket, &l->rate, NOW, &taking, &left) == BUCKET_TAKEN;
	}
	/* each place once, and the one that the others share */
	assert_int_equal(taken, 200 - crowded + 1);
	assert_in_range(crowded, 200 - 64, 200 - 40);
	for (uint64_t key = 1000; key < 1040; key++)
		assert_ptr_not_equal(
			limiter_find(l, key * 0x9e3779b97f4a7c15ull, NOW + 2 * CLOCK_S), &l->rest);
	limiter_free(l);
}

#define THREADS	 4
#define KEYS	 96
#define PER_EACH 30000
struct crowd {
	struct limiter *limiter;
	_Atomic uint64_t clock_ns;
	_Atomic uint64_t granted[KEYS], rest;
};

/* As limiter.c does it. */
static void crowd_take(struct crowd *c, uint32_t key, uint64_t now_ns)
{
	uint64_t hash = (key + 1) * 0x9e3779b97f4a7c15ull;
	for (;;) {
		struct bucket_taking taking;
		struct bucket_left left;
		struct limiter_slot *slot = limiter_find(c->limiter, hash, now_ns);
		bool is_rest = slot == &c->limiter->rest;
		enum bucket_result r =
			bucket_take(&slot->bucket, &c->limiter->rate, now_ns, &taking, &left);
		bool is_still = is_rest || slot->tag == hash;
		if (r == BUCKET_TAKEN && is_still) {
			atomic_fetch_add(is_rest ? &c->rest : &c->granted[key], 1);
			return;
		}
		if (r == BUCKET_EMPTY && is_still)
			return;
		if (r == BUCKET_TAKEN)
			bucket_put_back(&slot->bucket, &taking);
	}
}

static void *crowd_run(void *of)
{
	struct crowd *c = of;
	uint64_t random = (uintptr_t)&random;
	for (int i = 0; i < PER_EACH; i++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t now_ns = atomic_fetch_add(&c->clock_ns, 100);
		crowd_take(c, (uint32_t)(random >> 33) % KEYS, now_ns);
	}
	return NULL;
}

/* Places change hands all the time, and no key gets more than its burst and its pace. */
static void test_exact_over_threads(void **state)
{
	const struct limit limit = {.amount = 20, .window_ms = 10, .burst = 2, .node_count = 1};
	struct crowd *c = calloc(1, sizeof(*c));
	pthread_t threads[THREADS];
	c->limiter = limiter_new(&limit, 64, 1);
	c->clock_ns = NOW;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, c), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	uint64_t most = (c->clock_ns - NOW) / (CLOCK_MS / 2) + 2;
	uint64_t all = 0;
	for (int i = 0; i < KEYS; i++) {
		assert_in_range(c->granted[i], 0, most);
		all += c->granted[i];
	}
	assert_true(all > 64 && c->rest <= most);
	limiter_free(c->limiter);
	free(c);
}

/* --- from one plan to the next --- */

static void test_what_has_not_changed_goes_on(void **state)
{
	struct place p, next;
	place_init(&p, 2, (struct limit[]){LIMIT("first", 4), LIMIT("second", 9)});
	assert_int_equal(asked(&p, 3), 3);
	next = p;
	next.service.limits = next.list;
	next.workload.service = &next.service;
	next.snapshot.workloads = &next.workload;
	next.snapshot.limits = next.limits;
	next.plan = (struct plan){.snapshot = &next.snapshot, .limit_seed = 5};
	for (int i = 0; i < 2; i++) {
		next.limits[i].service = &next.service;
		next.list[i] = &next.limits[i];
	}
	next.limits[1].amount = next.limits[1].burst = 10;
	assert_true(limiters_link(&next.plan, &p.plan));
	limiters_done(&p.plan);
	assert_int_equal(asked(&next, 3), 1);
	struct limiter_view view;
	assert_true(limiter_look(&next.plan, &next.limits[1], next.now_ns, &view));
	assert_int_equal(view.remaining, 9); /* begun anew, and one taken */
	assert_int_equal(view.counts->granted, 4);
	place_done(&next);
}

static void test_of_no_service_here(void **state)
{
	struct place p;
	struct limiter_view view;
	struct service other = {.name = STR("other")};
	place_init(&p, 1, (struct limit[]){LIMIT("first", 4)});
	limiters_done(&p.plan);
	counts_done(p.plan.last_counts);
	p.workload.service = &other;
	assert_true(limiters_link(&p.plan, NULL));
	assert_false(limiter_look(&p.plan, &p.limits[0], p.now_ns, &view));
	assert_null(limiter_counts_of_limit(&p.plan, &p.limits[0]));
	assert_int_equal(asked(&p, 9), 9);
	place_done(&p);
}

/* --- of the whole mesh --- */

#define MESH .scope = LIMIT_MESH, .node_count = 4

static void test_while_the_store_is_away(void **state)
{
	static const struct {
		enum limit_away away;
		uint32_t granted;
	} rows[] = {{LIMIT_AWAY_SHARE, 10}, {LIMIT_AWAY_ALLOW, 100}, {LIMIT_AWAY_DENY, 0}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int with_ledger = 0; with_ledger < 2; with_ledger++) {
			struct place p;
			struct limiter_view view;
			place_init(&p, 1,
				(struct limit[]){LIMIT("first", 40, MESH, .away = rows[i].away)});
			if (with_ledger) {
				place_open_ledger(&p);
				lease_set_believed(p.ledger, 0);
			}
			assert_int_equal(asked(&p, 100), rows[i].granted);
			assert_true(limiter_look(&p.plan, &p.limits[0], p.now_ns, &view));
			assert_int_equal(view.counts->away, 100);
			assert_false(view.is_known || view.has_keys);
			if (rows[i].away == LIMIT_AWAY_DENY)
				assert_true(
					p.verdict.retry_ns > 0 && p.verdict.retry_ns <= CLOCK_S);
			place_done(&p);
		}
	}
}

/* Four machines give two in all a second, though none can give half a token. */
static void test_a_share_of_less_than_one(void **state)
{
	struct place p;
	place_init(&p, 1, (struct limit[]){LIMIT("first", 2, MESH)});
	assert_int_equal(asked(&p, 10), 1);
	p.now_ns += CLOCK_S;
	assert_int_equal(asked(&p, 10), 0);
	p.now_ns += CLOCK_S;
	assert_int_equal(asked(&p, 10), 1);
	place_done(&p);
}

static struct lease_slot granted_slot(struct place *p, uint32_t tokens)
{
	for (uint32_t word = 0; word < LEASE_WORDS; word++) {
		uint64_t bits = lease_take_wanted(p->ledger, word);
		struct lease_slot slot;
		if (bits == 0)
			continue;
		assert_true(
			lease_look(p->ledger, word * 64 + (uint32_t)__builtin_ctzll(bits), &slot));
		uint64_t window = lease_window(p->ledger, p->now_ns, slot.rule.window_ms);
		lease_tell(p->ledger, &slot, window, 0, 0);
		lease_grant(p->ledger, &slot, window, tokens);
		return slot;
	}
	fail_msg("nobody has asked");
	return (struct lease_slot){0};
}

static void test_tokens_of_the_ledger(void **state)
{
	struct place p;
	place_init(&p, 1, (struct limit[]){LIMIT("first", 40, MESH)});
	place_open_ledger(&p);
	assert_true(ask(&p)); /* lent */
	granted_slot(&p, 7);
	assert_int_equal(asked(&p, 30), 7);
	assert_int_equal(p.verdict.quota, 40);
	assert_in_range(p.verdict.retry_ns, 1, CLOCK_S);
	p.now_ns += p.verdict.retry_ns;
	assert_true(ask(&p));
	place_done(&p);
}

/* One token of the first there is, and none of the second: it is there for the next one. */
static void test_tokens_of_the_ledger_are_put_back(void **state)
{
	struct place p;
	place_init(&p, 2,
		(struct limit[]){LIMIT("first", 40, MESH, BY(LIMIT_BY_SOURCE)),
			LIMIT("second", 40, MESH, BY(LIMIT_BY_METHOD))});
	place_open_ledger(&p);
	p.limits[1].amount = 0; /* asked of a ledger, it has nothing to lend */
	assert_false(ask(&p));
	struct lease_slot slot = granted_slot(&p, 5);
	uint64_t window = lease_window(p.ledger, p.now_ns, 1000);
	uint32_t before = lease_hand(p.ledger, &slot, window).tokens;
	assert_false(ask(&p) || ask(&p) || ask(&p));
	assert_ptr_equal(p.verdict.refused, &p.limits[1]);
	assert_int_equal(lease_hand(p.ledger, &slot, window).tokens, before);
	assert_int_equal(lease_hand(p.ledger, &slot, window).lent, 0);
	place_done(&p);
}

static void ask_as(struct place *p, struct str source, struct str path, uint32_t *granted)
{
	p->request.asks.source_id = source;
	p->request.asks.path = path;
	*granted += ask(p);
}

/* What others have asked for is not to be granted. */
static void nothing_wanted(struct place *p)
{
	for (uint32_t word = 0; word < LEASE_WORDS; word++)
		lease_take_wanted(p->ledger, word);
}

/* Two sources, one of which asks ten times as often, of tokens that come window by window; somebody
 * asks with other keys meanwhile. */
static void fair_windows(struct place *p, const struct str *others, uint32_t other_count)
{
	const struct str sources[] = {STR("spiffe://t/service/a"), STR("spiffe://t/service/b")};
	uint32_t got[2] = {0}, got_others = 0;
	for (int window = 0; window < 20; window++) {
		uint32_t before[2] = {got[0], got[1]};
		nothing_wanted(p);
		for (int step = 0; step < 100; step++) {
			for (int i = 0; i < 11; i++)
				ask_as(p, sources[i == 5], STR("/"), &got[i == 5]);
			if (step == 0)
				granted_slot(p, 20);
			for (uint32_t i = 0; i < other_count; i++)
				ask_as(p, STR("spiffe://t/service/c"), others[i], &got_others);
			p->now_ns += 10 * CLOCK_MS;
		}
		if (window > 3)
			assert_in_range(got[1] - before[1] + 1, 8, 14);
		if (window > 3)
			assert_in_range(got[0] - before[0], 8, 13);
	}
}

static void test_fair_shares_of_the_ledger(void **state)
{
	struct place p;
	place_init(&p, 1, (struct limit[]){LIMIT("first", 40, MESH, .is_fair = true)});
	place_open_ledger(&p);
	fair_windows(&p, NULL, 0);
	place_done(&p);
}

/* Nothing is taken from the buckets here while the store answers; yet no key loses its place to the
 * others, of which one has none. */
static void test_fair_shares_of_keys_of_the_ledger(void **state)
{
	const struct str others[] = {STR("/other"), STR("/third")};
	struct place p;
	struct limiter_view view;
	place_init(&p, 1,
		(struct limit[]){LIMIT("first", 40, MESH, .is_fair = true, BY(LIMIT_BY_PATH))});
	place_open_ledger(&p);
	p.plan.limiters[0]->slot_count = 2;
	fair_windows(&p, others, 1);
	assert_true(limiter_look(&p.plan, &p.limits[0], p.now_ns, &view));
	assert_int_equal(view.counts->crowded, 0);
	fair_windows(&p, others, ARRAY_LEN(others));
	assert_true(view.counts->crowded > 0);
	place_done(&p);
}

/* Keys without a place of their own keep their own tokens. */
static void test_crowded_keys_of_the_ledger(void **state)
{
	const struct str paths[] = {STR("/1"), STR("/2"), STR("/3"), STR("/4"), STR("/5")};
	struct place p;
	struct limiter_view view;
	place_init(&p, 1,
		(struct limit[]){LIMIT("first", 40, MESH, .is_fair = true, BY(LIMIT_BY_PATH))});
	place_open_ledger(&p);
	p.plan.limiters[0]->slot_count = 2;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		p.request.asks.path = paths[i];
		nothing_wanted(&p);
		assert_true(ask(&p)); /* lent */
		granted_slot(&p, 20);
		assert_int_equal(asked(&p, 30), i < 2 ? 9 : 20);
	}
	assert_true(limiter_look(&p.plan, &p.limits[0], p.now_ns, &view));
	assert_int_equal(view.counts->crowded, 3 * 21);
	place_done(&p);
}

/* Of copies for mirrors, by machine and mesh, with keys and without, and where keys are crowded. */
static void test_copies_have_buckets_of_their_own(void **state)
{
	const struct limit limits[] = {LIMIT("one", 4), LIMIT("keys", 4, BY(LIMIT_BY_PATH)),
		LIMIT("fair", 4, .is_fair = true),
		LIMIT("mesh", 400, .scope = LIMIT_MESH, .node_count = 100)};
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		for (int is_mirror = 0; is_mirror < 2; is_mirror++) {
			struct place p;
			place_init(&p, 1, &limits[i]);
			p.request.is_mirror = is_mirror;
			assert_int_equal(asked(&p, 9), 4);
			p.request.is_mirror = !is_mirror;
			assert_int_equal(asked(&p, 9), 4);
			p.now_ns += CLOCK_S;
			assert_int_equal(asked(&p, 1), 1);
			place_done(&p);
		}
	}
}

static bool ask_path(struct place *p, int number)
{
	char name[32];
	snprintf(name, sizeof(name), "/%d", number);
	p->request.asks.path = str_of(name);
	return ask(p);
}

/* Without a place of their own, too, they take nothing from others. */
static void test_crowded_copies(void **state)
{
	struct place p;
	int number = 0;
	place_init(&p, 1, (struct limit[]){LIMIT("first", 1, BY(LIMIT_BY_PATH))});
	const struct limiter_counts *counts = limiter_counts_of_limit(&p.plan, &p.limits[0]);
	while (ask_path(&p, number)) /* the first without a place has what there is for such */
		number++;
	assert_int_equal(counts->crowded, 1);
	p.request.is_mirror = true;
	for (int end = number + 1000; counts->crowded == 1 && number < end; number++)
		assert_true(ask_path(&p, number));
	assert_int_equal(counts->crowded, 2);
	place_done(&p);
}

/* A window's end makes the place another's, if it has not begun the next one. */
static void test_places_of_the_ledger_s_keys(void **state)
{
	const struct limit limit = {.amount = 4,
		.window_ms = 1000,
		.burst = 1,
		.node_count = 1,
		.scope = LIMIT_MESH,
		.is_fair = true};
	struct limiter *l = limiter_new(&limit, 2, 1);
	for (uint64_t key = 2; key <= 4; key += 2) {
		struct limiter_slot *slot = limiter_find(l, key, NOW);
		assert_ptr_not_equal(slot, &l->rest);
		limiter_pot_of(l, slot)->window_ends_ns = NOW + key * CLOCK_S;
	}
	assert_ptr_equal(limiter_find(l, 6, NOW), &l->rest);
	assert_ptr_equal(limiter_find(l, 6, NOW + 2 * CLOCK_S - 1), &l->rest);
	assert_ptr_equal(limiter_find(l, 6, NOW + 2 * CLOCK_S), &l->slots[0]);
	assert_ptr_equal(limiter_find(l, 4, NOW + 2 * CLOCK_S), &l->slots[1]);
	limiter_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_left),
		cmocka_unit_test(test_keys_have_buckets_of_their_own),
		cmocka_unit_test(test_what_another_refuses_is_put_back),
		cmocka_unit_test(test_a_shadow_takes_only_what_is_granted),
		cmocka_unit_test(test_places_are_given_to_others_when_they_are_as_good_as_new),
		cmocka_unit_test(test_exact_over_threads),
		cmocka_unit_test(test_what_has_not_changed_goes_on),
		cmocka_unit_test(test_of_no_service_here),
		cmocka_unit_test(test_while_the_store_is_away),
		cmocka_unit_test(test_a_share_of_less_than_one),
		cmocka_unit_test(test_tokens_of_the_ledger),
		cmocka_unit_test(test_tokens_of_the_ledger_are_put_back),
		cmocka_unit_test(test_fair_shares_of_the_ledger),
		cmocka_unit_test(test_fair_shares_of_keys_of_the_ledger),
		cmocka_unit_test(test_crowded_keys_of_the_ledger),
		cmocka_unit_test(test_places_of_the_ledger_s_keys),
		cmocka_unit_test(test_copies_have_buckets_of_their_own),
		cmocka_unit_test(test_crowded_copies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
