/* SPDX-License-Identifier: Apache-2.0 */
/* A service whose endpoints answer as they like, with a clock of its own, and whose plan changes
 * under calls in progress. */
#include "balance/load.h"

#include "balance/pick.h"
#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ENDPOINTS_MAX 8
#define START_NS      (1000 * CLOCK_S)

struct place {
	struct service service;
	struct endpoint endpoints[ENDPOINTS_MAX];
	uint64_t sums[ENDPOINTS_MAX];
	struct crowd *crowd;
	uint64_t now_ns, seed, plan_number;
	uint32_t counts[ENDPOINTS_MAX]; /* by the last byte of the address */
	enum pick_way way;		/* of the last pick */
};

static uint64_t rnd(struct place *p)
{
	uint64_t z = p->seed += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static uint32_t number_of(const struct endpoint *e)
{
	return e->address.port;
}

static void place_add(struct place *p, uint16_t number, uint32_t weight)
{
	p->endpoints[p->service.endpoint_count++] = (struct endpoint){
		.service = &p->service, .address = {.family = 4, .port = number}, .weight = weight};
}

static void place_follow(struct place *p)
{
	uint64_t sum = 0;
	p->service.endpoints = p->endpoints;
	p->service.up_sums = p->sums;
	for (uint32_t i = 0; i < p->service.endpoint_count; i++) {
		const struct endpoint *e = &p->endpoints[i];
		sum += e->health == ENDPOINT_UP && !e->alternate ? e->weight : 0;
		p->sums[i] = sum;
	}
	assert_true(crowd_follow(p->crowd, &p->service, ++p->plan_number, rnd(p), p->now_ns));
}

static void place_init(struct place *p, enum balance balance, const uint32_t *weights, size_t count)
{
	*p = (struct place){.now_ns = START_NS,
		.seed = 7,
		.crowd = crowd_new(STR("orders")),
		.service = {.balance = balance,
			.outlier = {.errors = 5,
				.connect_errors = 5,
				.success_calls = 100,
				.ejection_ms = 30000,
				.ejection_max_ms = 300000,
				.ejected_percent = 50}}};
	assert_non_null(p->crowd);
	for (size_t i = 0; i < count; i++)
		place_add(p, (uint16_t)i, weights[i]);
	place_follow(p);
}

static const struct endpoint *place_pick(struct place *p)
{
	struct pick pick = {
		.service = &p->service, .crowd = p->crowd, .now_ns = p->now_ns, .random = rnd(p)};
	const struct endpoint *e = pick_endpoint(&pick, &p->way);
	assert_non_null(e);
	p->counts[number_of(e)]++;
	return e;
}

static struct load *place_load(struct place *p, const struct endpoint *e)
{
	return p->crowd->loads[e - p->endpoints];
}

/* One call from its choice to its end. */
static const struct endpoint *place_call(
	struct place *p, enum outlier_verdict verdict, uint64_t took_ns)
{
	struct load_call call;
	const struct endpoint *e = place_pick(p);
	load_begin(&call, place_load(p, e), p->now_ns);
	p->now_ns += took_ns;
	load_judge(&call, verdict, p->now_ns);
	load_end(&call);
	return e;
}

static void assert_near(uint32_t got, double expected, double off)
{
	if (got < expected - off || got > expected + off)
		fail_msg("%u instead of %.0f", got, expected);
}

/* --- with nothing to do the shares are those of the weights --- */

static void test_weights_of_all(void **state)
{
	static const uint32_t weights[] = {100, 300, 50, 550};
	for (int balance = BALANCE_LEAST_REQUEST; balance <= BALANCE_RANDOM; balance++) {
		struct place p;
		place_init(&p, balance, weights, ARRAY_LEN(weights));
		for (int i = 0; i < 40000; i++)
			place_call(&p, OUTLIER_SERVED, 5 * CLOCK_MS + rnd(&p) % CLOCK_MS);
		for (size_t i = 0; i < ARRAY_LEN(weights); i++)
			assert_near(p.counts[i], weights[i] * 40.0, 1200);
		crowd_free(p.crowd);
	}
}

/* Any 20 in a row have each endpoint as often as its weight says. */
static void test_round_robin_is_exact(void **state)
{
	static const uint32_t weights[] = {100, 300, 50, 550};
	struct place p;
	uint32_t last[1000];
	place_init(&p, BALANCE_ROUND_ROBIN, weights, ARRAY_LEN(weights));
	for (size_t i = 0; i < ARRAY_LEN(last); i++) {
		last[i] = number_of(place_pick(&p));
		for (size_t e = 0; i >= 19 && e < ARRAY_LEN(weights); e++) {
			uint32_t got = 0;
			for (size_t k = i - 19; k <= i; k++)
				got += last[k] == e;
			assert_int_equal(got, weights[e] / 50);
		}
	}
	crowd_free(p.crowd);
}

/* Its turn goes on under a plan that changes nothing. */
static void test_round_robin_outlives_a_plan(void **state)
{
	static const uint32_t weights[] = {100, 100, 100};
	struct place p;
	place_init(&p, BALANCE_ROUND_ROBIN, weights, ARRAY_LEN(weights));
	for (int i = 0; i < 300; i++) {
		place_pick(&p);
		place_follow(&p);
	}
	for (size_t i = 0; i < ARRAY_LEN(weights); i++)
		assert_int_equal(p.counts[i], 100);
	crowd_free(p.crowd);
}

/* --- by what there is to do --- */

static void test_least_request_leaves_the_busy_alone(void **state)
{
	static const uint32_t weights[] = {100, 100, 100};
	struct load_call held[3] = {{0}};
	struct place p;
	place_init(&p, BALANCE_LEAST_REQUEST, weights, ARRAY_LEN(weights));
	for (size_t i = 0; i < 3; i++)
		load_begin(&held[i], p.crowd->loads[0], p.now_ns);
	for (int i = 0; i < 3000; i++)
		place_call(&p, OUTLIER_SERVED, CLOCK_MS);
	assert_int_equal(p.counts[0], 0); /* in two different ones there is always a better one */
	for (size_t i = 0; i < 3; i++)
		load_end(&held[i]);
	for (int i = 0; i < 3000; i++)
		place_call(&p, OUTLIER_SERVED, CLOCK_MS);
	assert_near(p.counts[0], 1000, 150);
	crowd_free(p.crowd);
}

/* With many calls at once each endpoint has its weight's share of them under way. */
static void test_least_request_fills_by_weight(void **state)
{
	static const uint32_t weights[] = {100, 400};
	struct load_call calls[500];
	struct place p;
	place_init(&p, BALANCE_LEAST_REQUEST, weights, ARRAY_LEN(weights));
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		load_begin(&calls[i], place_load(&p, place_pick(&p)), p.now_ns);
	assert_near(p.crowd->loads[0]->under_way, 100, 5);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		load_end(&calls[i]);
	crowd_free(p.crowd);
}

static void test_peak_ewma_prefers_the_fast(void **state)
{
	static const uint32_t weights[] = {100, 100, 100};
	struct place p;
	place_init(&p, BALANCE_PEAK_EWMA, weights, ARRAY_LEN(weights));
	for (int i = 0; i < 3000; i++) {
		struct load_call call;
		const struct endpoint *e = place_pick(&p);
		load_begin(&call, place_load(&p, e), p.now_ns);
		p.now_ns += (number_of(e) == 0 ? 400 : 5) * CLOCK_MS;
		load_judge(&call, OUTLIER_SERVED, p.now_ns);
		load_end(&call);
	}
	/* it is looked at again when what is known of it has aged */
	assert_in_range(p.counts[0], 1, 100);
	crowd_free(p.crowd);
}

/* One that fails at once is not fast. */
static void test_peak_ewma_failures_are_slow(void **state)
{
	static const uint32_t weights[] = {100, 100, 100};
	struct place p;
	place_init(&p, BALANCE_PEAK_EWMA, weights, ARRAY_LEN(weights));
	p.service.outlier.errors = 0;
	place_follow(&p);
	for (int i = 0; i < 3000; i++) {
		struct load_call call;
		const struct endpoint *e = place_pick(&p);
		bool fails = number_of(e) == 0;
		load_begin(&call, place_load(&p, e), p.now_ns);
		p.now_ns += fails ? 1000 : 20 * CLOCK_MS;
		load_judge(&call, fails ? OUTLIER_ERROR : OUTLIER_SERVED, p.now_ns);
		load_end(&call);
	}
	assert_in_range(p.counts[0], 1, 60);
	crowd_free(p.crowd);
}

static void test_latency_peaks_and_ages(void **state)
{
	static const uint32_t weights[] = {100};
	struct place p;
	place_init(&p, BALANCE_PEAK_EWMA, weights, 1);
	struct load *l = p.crowd->loads[0];
	place_call(&p, OUTLIER_SERVED, 200 * CLOCK_MS);
	assert_int_equal(load_latency_ns(l, p.now_ns), 200 * CLOCK_MS);
	place_call(&p, OUTLIER_SERVED, CLOCK_MS);
	assert_in_range(load_latency_ns(l, p.now_ns), 190 * CLOCK_MS, 200 * CLOCK_MS);
	assert_in_range(load_latency_ns(l, p.now_ns + 10 * CLOCK_S), 95 * CLOCK_MS, 100 * CLOCK_MS);
	place_call(&p, OUTLIER_UNREACHABLE, 0);
	assert_true(load_latency_ns(l, p.now_ns) >= CLOCK_S);
	crowd_free(p.crowd);
}

/* To connect is no answer that is late. */
static void test_latency_is_without_the_connecting(void **state)
{
	static const uint32_t weights[] = {100};
	struct load_call call;
	struct place p;
	place_init(&p, BALANCE_PEAK_EWMA, weights, 1);
	struct load *l = p.crowd->loads[0];
	load_begin(&call, l, p.now_ns);
	p.now_ns += 200 * CLOCK_MS;
	load_sent(&call, p.now_ns);
	p.now_ns += 2 * CLOCK_MS;
	(void)load_judge(&call, OUTLIER_SERVED, p.now_ns);
	assert_int_equal(load_latency_ns(l, p.now_ns), 2 * CLOCK_MS);
	load_end(&call);
	crowd_free(p.crowd);
}

/* --- slow start --- */

/* Of so many calls at this moment. */
static uint32_t share_of(struct place *p, uint16_t number, int calls)
{
	uint32_t before = p->counts[number];
	for (int i = 0; i < calls; i++)
		place_pick(p);
	return p->counts[number] - before;
}

static void test_a_new_one_starts_slowly(void **state)
{
	static const uint32_t weights[] = {100, 100, 100, 100};
	static const enum balance ways[] = {BALANCE_ROUND_ROBIN, BALANCE_RANDOM};
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct place p;
		place_init(&p, ways[i], weights, ARRAY_LEN(weights));
		p.service.slow_start_ms = 100000;
		place_follow(&p);
		assert_near(share_of(&p, 0, 8000), 2000, 150);
		place_add(&p, 4, 100);
		p.now_ns += CLOCK_S;
		place_follow(&p);
		assert_near(share_of(&p, 4, 8000), 8000 * 0.1 / 4.1, 60);
		p.now_ns += 50 * CLOCK_S;
		place_follow(&p); /* which does not begin it anew */
		assert_near(share_of(&p, 4, 8000), 8000 * 0.55 / 4.55, 120);
		p.now_ns += 50 * CLOCK_S;
		assert_near(share_of(&p, 4, 8000), 8000 / 5.0, 150);
		/* down, and up again */
		p.endpoints[0].health = ENDPOINT_DOWN;
		place_follow(&p);
		p.endpoints[0].health = ENDPOINT_UP;
		place_follow(&p);
		assert_near(share_of(&p, 0, 8000), 8000 * 0.1 / 4.1, 60);
		assert_near(share_of(&p, 4, 8000), 8000 / 4.1, 200);
		crowd_free(p.crowd);
	}
}

/* It may be drawn twice as often as others then, being the less busy one of each pair. */
static void test_a_new_one_starts_slowly_with_the_least(void **state)
{
	static const uint32_t weights[] = {100, 100, 100, 100};
	struct load_call calls[800];
	struct place p;
	place_init(&p, BALANCE_LEAST_REQUEST, weights, ARRAY_LEN(weights));
	for (size_t i = 0; i < ARRAY_LEN(calls) / 2; i++)
		load_begin(&calls[i], place_load(&p, place_pick(&p)), p.now_ns);
	p.service.slow_start_ms = 100000;
	place_add(&p, 4, 100);
	place_follow(&p);
	for (size_t i = ARRAY_LEN(calls) / 2; i < ARRAY_LEN(calls); i++)
		load_begin(&calls[i], place_load(&p, place_pick(&p)), p.now_ns);
	assert_in_range(p.counts[4], 1, 40);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		load_end(&calls[i]);
	crowd_free(p.crowd);
}

/* --- ejection --- */

static void test_an_outlier_gets_nothing_but_its_probe(void **state)
{
	static const uint32_t weights[] = {100, 100, 100, 100};
	for (int balance = BALANCE_LEAST_REQUEST; balance <= BALANCE_RANDOM; balance++) {
		struct place p;
		place_init(&p, balance, weights, ARRAY_LEN(weights));
		while (p.crowd->instances.out == 0) {
			const struct endpoint *e = place_pick(&p);
			struct load_call call;
			load_begin(&call, place_load(&p, e), p.now_ns);
			load_judge(&call, number_of(e) == 2 ? OUTLIER_ERROR : OUTLIER_SERVED,
				p.now_ns += CLOCK_MS);
			load_end(&call);
		}
		uint32_t before = p.counts[2];
		if (balance != BALANCE_PEAK_EWMA)
			assert_int_equal(before, 5);
		for (int i = 0; i < 1000; i++)
			place_call(&p, OUTLIER_SERVED, CLOCK_MS);
		assert_int_equal(p.counts[2], before);
		/* the time is over: one call, until it has told */
		p.now_ns += 31 * CLOCK_S;
		struct load_call probe = {0};
		for (int i = 0; i < 1000; i++) {
			const struct endpoint *e = place_pick(&p);
			struct load_call call;
			load_begin(&call, place_load(&p, e), p.now_ns);
			if (number_of(e) == 2)
				probe = call;
			else
				load_end(&call);
		}
		assert_int_equal(p.counts[2], before + 1);
		assert_true(probe.probe_number != 0);
		assert_int_equal(load_judge(&probe, OUTLIER_SERVED, p.now_ns), OUTLIER_BACK);
		load_end(&probe);
		for (int i = 0; i < 1000; i++)
			place_call(&p, OUTLIER_SERVED, CLOCK_MS);
		assert_true(p.counts[2] > before + 100);
		crowd_free(p.crowd);
	}
}

/* A call that is to tell nothing is no probe, whatever becomes of it: the next one is. */
static void test_a_silent_call_tells_nothing(void **state)
{
	static const uint32_t weights[] = {100, 100};
	struct place p;
	place_init(&p, BALANCE_RANDOM, weights, ARRAY_LEN(weights));
	struct load *l = p.crowd->loads[0];
	struct load_call call;
	for (int i = 0; i < 20; i++) {
		load_begin(&call, l, p.now_ns);
		load_silence(&call);
		assert_int_equal(load_judge(&call, OUTLIER_ERROR, p.now_ns), OUTLIER_STAYS);
		assert_int_equal(l->under_way, 1);
		load_end(&call);
	}
	assert_int_equal(p.crowd->instances.out, 0);
	assert_false(load_is_known(l));
	while (p.crowd->instances.out == 0) {
		load_begin(&call, l, p.now_ns);
		load_judge(&call, OUTLIER_ERROR, p.now_ns);
		load_end(&call);
	}
	p.now_ns += 31 * CLOCK_S;
	struct load_call silent, probe;
	load_begin(&silent, l, p.now_ns);
	load_silence(&silent);
	load_begin(&probe, l, p.now_ns);
	assert_true(probe.probe_number != 0);
	assert_int_equal(load_judge(&silent, OUTLIER_SERVED, p.now_ns), OUTLIER_STAYS);
	load_end(&silent);
	assert_int_equal(load_judge(&probe, OUTLIER_SERVED, p.now_ns), OUTLIER_BACK);
	load_end(&probe);
	crowd_free(p.crowd);
}

/* It has asked for no retries for a while: they go elsewhere while there is an elsewhere, first
 * tries do not, and it is not ejected. */
static void test_one_that_rests(void **state)
{
	struct place p;
	static const uint32_t weights[] = {100, 100, 100};
	place_init(&p, BALANCE_RANDOM, weights, 3);
	const struct endpoint *e = p.endpoints;
	load_let_rest(p.crowd->loads[0], p.now_ns, 2 * CLOCK_S);
	uint32_t first = 0, again = 0, later = 0, last = 0;
	for (int i = 0; i < 300; i++) {
		const struct endpoint *tried[] = {&e[1], &e[2]};
		struct pick pick = {.service = &p.service,
			.crowd = p.crowd,
			.tried = tried,
			.now_ns = p.now_ns,
			.random = rnd(&p)};
		first += pick_endpoint(&pick, &p.way) == &e[0];
		pick.tried_count = 1;
		again += pick_endpoint(&pick, &p.way) == &e[0];
		pick.now_ns += 2 * CLOCK_S;
		later += pick_endpoint(&pick, &p.way) == &e[0];
		pick.now_ns = p.now_ns;
		pick.tried_count = 2;
		last += pick_endpoint(&pick, &p.way) == &e[0];
	}
	assert_in_range(first, 60, 140);
	assert_int_equal(again, 0);
	assert_in_range(later, 100, 200);
	assert_in_range(last, 60, 140); /* all are alike then */
	assert_int_equal(p.crowd->instances.out, 0);
	load_let_rest(p.crowd->loads[0], p.now_ns, UINT64_MAX);
	assert_int_equal(p.crowd->loads[0]->rest_until_ns, p.now_ns + LOAD_REST_MAX_NS);
	crowd_free(p.crowd);
}

/* Who leaves takes no call along, and may come back. */
static void test_calls_to_those_that_left_are_counted(void **state)
{
	static const uint32_t weights[] = {100, 100};
	struct load_call calls[3];
	struct place p;
	place_init(&p, BALANCE_RANDOM, weights, 2);
	for (size_t i = 0; i < 3; i++)
		load_begin(&calls[i], p.crowd->loads[i > 0], p.now_ns);
	p.service.endpoint_count = 1;
	place_follow(&p);
	assert_int_equal(p.crowd->under_way, 3);
	load_end(&calls[2]);
	assert_int_equal(p.crowd->under_way, 2);
	p.service.endpoint_count = 2;
	place_follow(&p);
	assert_int_equal(p.crowd->under_way, 2);
	assert_int_equal(p.crowd->loads[1]->under_way, 1);
	p.service.endpoint_count = 1;
	place_follow(&p);
	load_end(&calls[1]);
	assert_int_equal(p.crowd->by_address.count, 1);
	load_end(&calls[0]);
	assert_int_equal(p.crowd->under_way, 0);
	crowd_free(p.crowd);
}

/* A plan in which nothing of it is new costs nothing, and changes nothing. */
static void test_the_same_again(void **state)
{
	static const uint32_t weights[] = {100, 200};
	struct place p;
	place_init(&p, BALANCE_RANDOM, weights, 2);
	p.service.fingerprint = 7;
	assert_false(crowd_is_same(p.crowd, &p.service));
	place_follow(&p);
	assert_true(crowd_is_same(p.crowd, &p.service));
	uint64_t followed = p.crowd->follow_count;
	place_follow(&p);
	assert_int_equal(p.crowd->follow_count, followed);
	assert_int_equal(p.crowd->plan_number, p.plan_number);
	p.service.outlier.errors++;
	assert_false(crowd_is_same(p.crowd, &p.service));
	place_follow(&p);
	p.service.fingerprint = 8;
	assert_false(crowd_is_same(p.crowd, &p.service));
	crowd_free(p.crowd);
}

/* --- plans come and go under calls in progress --- */

#define CALLS 64

struct history {
	struct place place;
	struct load_call calls[CALLS];
};

static void history_change(struct history *h)
{
	struct place *p = &h->place;
	p->service.endpoint_count = 0;
	uint32_t first = (uint32_t)(rnd(p) % ENDPOINTS_MAX);
	uint32_t count = (uint32_t)(rnd(p) % (ENDPOINTS_MAX + 1));
	for (uint32_t i = 0; i < count; i++) {
		place_add(
			p, (uint16_t)((first + i) % ENDPOINTS_MAX), 1 + (uint32_t)(rnd(p) % 1000));
		struct endpoint *e = &p->endpoints[i];
		e->health = rnd(p) % 4 ? ENDPOINT_UP : rnd(p) % 3;
		e->alternate = rnd(p) % 6 == 0;
	}
	p->service.balance = rnd(p) % 4;
	p->service.slow_start_ms = (uint32_t)(rnd(p) % 3 * 20000);
	p->service.outlier.ejected_percent = (uint32_t)(rnd(p) % 101);
	place_follow(p);
	/* those that are here, and those that have left with calls to them */
	assert_true(p->crowd->by_address.count >= count);
}

static bool history_has_healthy(const struct place *p)
{
	for (uint32_t i = 0; i < p->service.endpoint_count; i++) {
		const struct endpoint *e = &p->endpoints[i];
		if (e->health == ENDPOINT_UP && !e->alternate &&
			outlier_takes(&p->crowd->loads[i]->outlier, p->now_ns))
			return true;
	}
	return false;
}

static void history_call(struct history *h, struct load_call *call)
{
	struct place *p = &h->place;
	load_end(call); /* abandoned, maybe, as calls are */
	if (p->service.endpoint_count == 0)
		return;
	bool is_healthy = history_has_healthy(p);
	const struct endpoint *e = place_pick(p);
	struct load *l = place_load(p, e);
	if (is_healthy) {
		assert_int_equal(e->health, ENDPOINT_UP);
		assert_false(e->alternate);
		assert_true(outlier_takes(&l->outlier, p->now_ns));
	}
	load_begin(call, l, p->now_ns);
}

static void history_check(const struct history *h)
{
	const struct crowd *c = h->place.crowd;
	uint32_t out = 0, known = 0, under_way = 0, left = 0;
	for (size_t i = 0; i < CALLS; i++) {
		known += h->calls[i].load && h->calls[i].load->crowd;
		left += h->calls[i].load && h->calls[i].load->is_gone;
	}
	for (uint32_t i = 0; i < c->load_count; i++) {
		out += c->loads[i]->outlier.state != OUTLIER_IN;
		under_way += c->loads[i]->under_way;
	}
	assert_int_equal(out, c->instances.out);
	assert_int_equal(known, under_way + left);
	assert_int_equal(known, c->under_way);
	assert_int_equal(crowd_set(c, 0, LOAD_ALL)->under_way, under_way);
	assert_int_equal(crowd_set(c, 0, LOAD_ALL)->out_count, out);
	assert_int_equal(
		crowd_set(c, 0, LOAD_NEAR)->under_way + crowd_set(c, 0, LOAD_FAR)->under_way,
		under_way);
	assert_true(out <= outlier_out_max(&c->rules, c->instances.count));
}

static void test_histories(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct history h = {.calls = {{0}}};
		static const uint32_t weights[] = {100, 200};
		place_init(&h.place, BALANCE_RANDOM, weights, 2);
		h.place.seed = seed;
		for (int step = 0; step < 3000; step++) {
			struct load_call *call = &h.calls[rnd(&h.place) % CALLS];
			h.place.now_ns += rnd(&h.place) % CLOCK_S;
			if (rnd(&h.place) % 100 == 0)
				history_change(&h);
			else if (rnd(&h.place) % 2)
				load_judge(call,
					rnd(&h.place) % 8 ? OUTLIER_ERROR : rnd(&h.place) % 4,
					h.place.now_ns);
			else
				history_call(&h, call);
			history_check(&h);
		}
		for (size_t i = 0; i < CALLS; i += 2)
			load_end(&h.calls[i]);
		crowd_free(h.place.crowd); /* before the last calls end */
		for (size_t i = 0; i < CALLS; i++)
			load_end(&h.calls[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_weights_of_all),
		cmocka_unit_test(test_round_robin_is_exact),
		cmocka_unit_test(test_round_robin_outlives_a_plan),
		cmocka_unit_test(test_least_request_leaves_the_busy_alone),
		cmocka_unit_test(test_least_request_fills_by_weight),
		cmocka_unit_test(test_peak_ewma_prefers_the_fast),
		cmocka_unit_test(test_peak_ewma_failures_are_slow),
		cmocka_unit_test(test_latency_peaks_and_ages),
		cmocka_unit_test(test_latency_is_without_the_connecting),
		cmocka_unit_test(test_a_new_one_starts_slowly),
		cmocka_unit_test(test_a_new_one_starts_slowly_with_the_least),
		cmocka_unit_test(test_an_outlier_gets_nothing_but_its_probe),
		cmocka_unit_test(test_a_silent_call_tells_nothing),
		cmocka_unit_test(test_one_that_rests),
		cmocka_unit_test(test_calls_to_those_that_left_are_counted),
		cmocka_unit_test(test_the_same_again),
		cmocka_unit_test(test_histories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
