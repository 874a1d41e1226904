/* SPDX-License-Identifier: Apache-2.0 */
/* A service under traffic, in virtual time: callers that try again, endpoints that fail and
 * recover, and all that stands between them at once: choice, ejection, budget and breaker. What
 * holds at every moment, over random histories. */
#include "balance/breaker.h"
#include "balance/budget.h"
#include "balance/pick.h"
#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ENDPOINTS 6
#define CALLS_MAX 40 /* that the breaker lets be under way */
#define SLOTS	  (2 * CALLS_MAX)
#define TRIES_MAX 3
#define START_NS  (1000 * CLOCK_S)

#define BUDGET_SHARE 20 /* percent */
#define BUDGET_FREE  3	/* a second */

enum mood { WELL, ILL, UNREACHABLE, FLAKY, MOODS };

struct request {
	struct load_call call;
	const struct endpoint *tried[TRIES_MAX];
	uint32_t tried_count;
	uint64_t end_ns; /* 0: none */
	enum outlier_verdict verdict;
};

struct traffic {
	struct service service;
	struct endpoint endpoints[ENDPOINTS];
	uint64_t sums[ENDPOINTS];
	enum mood moods[ENDPOINTS];
	struct crowd *crowd;
	struct budget budget;
	struct breaker breaker;
	struct request requests[SLOTS];
	uint64_t now_ns, seed, plan_number;
	uint32_t counts[ENDPOINTS]; /* calls that each has got */
	uint32_t under_way, request_count, retry_count, refused_count, failed_count;
};

static uint64_t rnd(struct traffic *t)
{
	uint64_t z = t->seed += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void traffic_follow(struct traffic *t)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < ENDPOINTS; i++) {
		sum += t->endpoints[i].health == ENDPOINT_UP ? t->endpoints[i].weight : 0;
		t->sums[i] = sum;
	}
	t->service.fingerprint = rnd(t);
	assert_true(crowd_follow(t->crowd, &t->service, ++t->plan_number, rnd(t), t->now_ns));
}

static void traffic_init(struct traffic *t, enum balance balance, uint64_t seed)
{
	*t = (struct traffic){.now_ns = START_NS,
		.seed = seed,
		.crowd = crowd_new(STR("orders")),
		.service = {.balance = balance,
			.endpoints = t->endpoints,
			.endpoint_count = ENDPOINTS,
			.up_sums = t->sums,
			.outlier = {.errors = 5,
				.connect_errors = 5,
				.success_percent = 70,
				.success_calls = 20,
				.ejection_ms = 3000,
				.ejection_max_ms = 12000,
				.ejected_percent = 50}}};
	assert_non_null(t->crowd);
	for (uint32_t i = 0; i < ENDPOINTS; i++)
		t->endpoints[i] = (struct endpoint){.service = &t->service,
			.address = {.family = 4, .port = (uint16_t)(i + 1)},
			.weight = 100 * (1 + i % 3)};
	traffic_follow(t);
}

static void traffic_done(struct traffic *t)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		load_end(&t->requests[i].call);
	crowd_free(t->crowd);
}

/* --- one try --- */

static bool traffic_is_tried(const struct request *r, const struct endpoint *e)
{
	for (uint32_t i = 0; i < r->tried_count; i++) {
		if (r->tried[i] == e)
			return true;
	}
	return false;
}

static bool traffic_is_good(
	const struct traffic *t, const struct request *r, const struct endpoint *e)
{
	const struct load *l = t->crowd->loads[e - t->endpoints];
	return e->health == ENDPOINT_UP && outlier_takes(&l->outlier, t->now_ns) &&
	       !traffic_is_tried(r, e);
}

static enum outlier_verdict traffic_verdict(struct traffic *t, enum mood mood)
{
	switch (mood) {
	case WELL:
		return OUTLIER_SERVED;
	case ILL:
		return OUTLIER_ERROR;
	case UNREACHABLE:
		return OUTLIER_UNREACHABLE;
	case FLAKY:
		return rnd(t) % 2 ? OUTLIER_ERROR : OUTLIER_SERVED;
	case MOODS:
		break;
	}
	return OUTLIER_SERVED;
}

/* Nobody who is ejected, down or was tried gets it while somebody else is there. */
static void traffic_try(struct traffic *t, struct request *r)
{
	bool is_somebody_good = false;
	for (uint32_t i = 0; i < ENDPOINTS; i++)
		is_somebody_good |= traffic_is_good(t, r, &t->endpoints[i]);
	struct pick pick = {.service = &t->service,
		.tried = r->tried,
		.tried_count = r->tried_count,
		.crowd = t->crowd,
		.worker_count = 1,
		.now_ns = t->now_ns,
		.random = rnd(t)};
	enum pick_way way;
	const struct endpoint *e = pick_endpoint(&pick, &way);
	assert_non_null(e);
	assert_true(!is_somebody_good || traffic_is_good(t, r, e));
	uint32_t i = (uint32_t)(e - t->endpoints);
	load_begin(&r->call, t->crowd->loads[i], t->now_ns);
	t->counts[i]++;
	r->tried[r->tried_count++] = e;
	r->verdict = traffic_verdict(t, t->moods[i]);
	uint64_t most_ns = r->verdict == OUTLIER_UNREACHABLE ? CLOCK_MS : 80 * CLOCK_MS;
	r->end_ns = t->now_ns + 1 + rnd(t) % most_ns;
}

static void traffic_check(const struct traffic *t)
{
	const struct crowd *c = t->crowd;
	uint32_t out = 0, under_way = 0;
	for (uint32_t i = 0; i < ENDPOINTS; i++) {
		out += c->loads[i]->outlier.state != OUTLIER_IN;
		under_way += c->loads[i]->under_way;
	}
	assert_int_equal(out, c->instances.out);
	assert_true(out <= outlier_out_max(&c->rules, c->instances.count));
	assert_int_equal(under_way, t->under_way);
	assert_true(t->under_way <= CALLS_MAX);
	uint64_t passed_ns = t->now_ns - START_NS;
	assert_true(100 * (uint64_t)t->retry_count <=
		    100 * BUDGET_FREE + passed_ns / (CLOCK_S / (100 * BUDGET_FREE)) +
			    (uint64_t)BUDGET_SHARE * t->request_count);
}

/* --- what happens --- */

static void traffic_arrive(struct traffic *t)
{
	struct request *r = t->requests;
	t->request_count++;
	budget_request(&t->budget, BUDGET_SHARE, t->now_ns);
	if (!breaker_take(&t->breaker, BREAKER_REQUESTS, CALLS_MAX)) {
		assert_int_equal(
			t->under_way, CALLS_MAX); /* nobody is refused while there is room */
		t->refused_count++;
		return;
	}
	while (r->end_ns != 0)
		r++;
	*r = (struct request){0};
	t->under_way++;
	traffic_try(t, r);
}

static void traffic_end(struct traffic *t, struct request *r)
{
	bool failed = r->verdict == OUTLIER_ERROR || r->verdict == OUTLIER_UNREACHABLE;
	load_judge(&r->call, r->verdict, t->now_ns);
	load_end(&r->call);
	if (failed && r->tried_count < TRIES_MAX &&
		budget_retry(&t->budget, BUDGET_FREE, t->now_ns)) {
		t->retry_count++;
		traffic_try(t, r);
		return;
	}
	t->failed_count += failed;
	t->under_way--;
	r->end_ns = 0;
	breaker_give(&t->breaker, BREAKER_REQUESTS);
}

static struct request *traffic_next(struct traffic *t)
{
	struct request *next = NULL;
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct request *r = &t->requests[i];
		if (r->end_ns != 0 && (!next || r->end_ns < next->end_ns))
			next = r;
	}
	return next;
}

/* So many requests, one in `pause_ns` on average. */
static void traffic_run(struct traffic *t, uint32_t count, uint64_t pause_ns)
{
	uint64_t arrival_ns = t->now_ns;
	while (count > 0) {
		struct request *r = traffic_next(t);
		if (r && r->end_ns <= arrival_ns) {
			t->now_ns = r->end_ns;
			traffic_end(t, r);
		} else {
			t->now_ns = arrival_ns;
			traffic_arrive(t);
			arrival_ns += rnd(t) % (2 * pause_ns);
			count--;
		}
		traffic_check(t);
	}
}

static void traffic_idle(struct traffic *t)
{
	struct request *r;
	while ((r = traffic_next(t))) {
		t->now_ns = r->end_ns;
		traffic_end(t, r);
		traffic_check(t);
	}
}

/* --- what holds --- */

static void test_whatever_happens(void **state)
{
	uint32_t retries = 0, refused = 0, ejected = 0;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct traffic t;
		traffic_init(&t, seed % 4, seed);
		for (int turn = 0; turn < 60; turn++) {
			uint32_t i = (uint32_t)(rnd(&t) % ENDPOINTS);
			t.moods[i] = rnd(&t) % MOODS;
			if (rnd(&t) % 4 == 0)
				t.endpoints[i].health = rnd(&t) % 3;
			traffic_follow(&t);
			traffic_run(&t, 150, (rnd(&t) % 3 ? 5 : 1) * CLOCK_MS);
			ejected += t.crowd->instances.out;
			if (rnd(&t) % 8 == 0)
				t.now_ns += rnd(&t) % (20 * CLOCK_S);
		}
		retries += t.retry_count;
		refused += t.refused_count;
		traffic_done(&t);
	}
	assert_true(retries > 1000 && refused > 1000 && ejected > 100); /* it was about something */
}

/* Of six one is ill. Once it is out, in all the time until it is well again it gets its probes
 * alone, and no caller fails for long. */
static void test_who_is_ill_gets_probes_alone(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct traffic t;
		traffic_init(&t, seed % 4, seed);
		uint32_t i = (uint32_t)(seed % ENDPOINTS);
		traffic_run(&t, 500, 5 * CLOCK_MS);
		traffic_idle(&t);
		assert_int_equal(t.failed_count, 0);
		t.moods[i] = seed % 2 ? ILL : UNREACHABLE;
		uint32_t before = t.counts[i], failed = t.failed_count;
		traffic_run(&t, 12000, 5 * CLOCK_MS); /* a minute */
		traffic_idle(&t);
		uint32_t got = t.counts[i] - before;
		/* 5 in a row, and what was under way then; after 3, 6, 9, 12, 12 and 12 seconds a
		 * probe */
		assert_true(got <= 5 + CALLS_MAX + 7);
		/* peak_ewma leaves it alone before that */
		assert_true(got >= 5 + 5 || t.service.balance == BALANCE_PEAK_EWMA);
		assert_int_equal(t.failed_count, failed); /* they were all served elsewhere */
		t.moods[i] = WELL;
		traffic_run(&t, 3000, 5 * CLOCK_MS);
		assert_int_equal(t.crowd->instances.out, 0);
		traffic_done(&t);
	}
}

/* After the worst there is, all is as it should be: nobody is out, and shares are those of the
 * weights. */
static void test_shares_come_back(void **state)
{
	for (uint64_t seed = 1; seed <= 24; seed++) {
		struct traffic t;
		enum balance balance = seed % 4;
		traffic_init(&t, balance, seed);
		for (uint32_t i = 0; i < ENDPOINTS; i++)
			t.moods[i] = rnd(&t) % MOODS;
		traffic_run(&t, 4000, 5 * CLOCK_MS);
		for (uint32_t i = 0; i < ENDPOINTS; i++)
			t.moods[i] = WELL;
		traffic_run(&t, 12000, 5 * CLOCK_MS);
		assert_int_equal(t.crowd->instances.out, 0);
		uint32_t before[ENDPOINTS];
		memcpy(before, t.counts, sizeof(before));
		traffic_run(&t, 12000, 5 * CLOCK_MS);
		for (uint32_t i = 0; i < ENDPOINTS; i++) {
			uint32_t got = t.counts[i] - before[i];
			uint32_t wanted = 12000 / 12 * (1 + i % 3);
			uint32_t room = balance == BALANCE_ROUND_ROBIN ? 2 : wanted / 5 + 60;
			assert_in_range(got + room, wanted, wanted + 2 * room);
		}
		traffic_done(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whatever_happens),
		cmocka_unit_test(test_who_is_ill_gets_probes_alone),
		cmocka_unit_test(test_shares_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
