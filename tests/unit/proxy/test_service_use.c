/* SPDX-License-Identifier: Apache-2.0 */
/* Plans that come and go in any order, with services that leave and return while calls to them go
 * on, at random, against a plain count for each name. */
#include "proxy/call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NAMES	9
#define PLANS	5
#define HOLDS	40
#define WORKERS 3

struct era { /* one plan, and what it is made of */
	struct plan plan;
	struct snapshot snapshot;
	struct service services[NAMES];
	struct plan_hold hold;
};

struct call_made {
	struct call call;
	struct service_hold hold;
	struct era *era;
	enum breaker_limit limit;
	int name;
};

struct history {
	struct era *eras[PLANS];
	struct era *now;
	struct call_made calls[HOLDS];
	uint32_t counts[NAMES][BREAKER_LIMITS];
	struct metric_values values[WORKERS];
	struct worker workers[WORKERS];
	uint64_t seed;
};

static const char names[NAMES][4] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};

static uint32_t number_below(struct history *h, uint32_t bound)
{
	h->seed = h->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(h->seed >> 33) % bound;
}

static void era_add(struct history *h, struct era *era, int name)
{
	struct snapshot *s = &era->snapshot;
	struct service *service = &s->services[s->service_count];
	service->index = s->service_count++;
	service->name = str_of(names[name]);
	for (int limit = 0; limit < BREAKER_LIMITS; limit++)
		service->breaker[limit] = number_below(h, 5);
	assert_true(snapshot_add_service(s, service));
}

/* The plan before may go as soon as nobody calls under it any more. */
static void plan_comes(struct history *h, uint32_t at)
{
	struct era *era = calloc(1, sizeof(*era));
	assert_non_null(era);
	era->snapshot.services = era->services;
	for (int name = 0; name < NAMES; name++) {
		if (number_below(h, 3) > 0)
			era_add(h, era, name);
	}
	era->plan.snapshot = &era->snapshot;
	era->hold.plan = &era->plan;
	assert_true(service_uses_link(&era->plan, h->now ? &h->now->plan : NULL));
	h->eras[at] = era;
	h->now = era;
}

static void plan_goes(struct history *h, uint32_t at)
{
	struct era *era = h->eras[at];
	service_uses_leave(&era->plan);
	snapshot_done(&era->snapshot);
	free(era);
	h->eras[at] = NULL;
}

static void call_begins(struct history *h, struct call_made *made)
{
	struct era *era = h->eras[number_below(h, PLANS)];
	int name = (int)number_below(h, NAMES);
	enum breaker_limit limit = (enum breaker_limit)number_below(h, BREAKER_LIMITS);
	const struct service *service =
		era ? snapshot_service(&era->snapshot, str_of(names[name])) : NULL;
	if (!service)
		return;
	*made = (struct call_made){.call = {.direction = CALL_OUTBOUND, .hold = &era->hold},
		.era = era,
		.limit = limit,
		.name = name};
	uint32_t max = service->breaker[limit];
	bool fits = max == 0 || h->counts[name][limit] < max;
	struct worker *w = &h->workers[number_below(h, WORKERS)];
	assert_int_equal(service_hold_take(&made->hold, w, &made->call, service, limit), fits);
	h->counts[name][limit] += fits;
}

static void call_ends(struct history *h, struct call_made *made)
{
	service_hold_give(&made->hold, made->limit);
	h->counts[made->name][made->limit]--;
}

static void expect_gauges(const struct history *h)
{
	uint64_t used = 0, counted = 0;
	for (int i = 0; i < WORKERS; i++) {
		const struct metric_values *v = &h->values[i];
		used += v->breaker_connections + v->breaker_pending + v->breaker_requests +
			v->breaker_retries;
	}
	for (int name = 0; name < NAMES; name++) {
		for (int limit = 0; limit < BREAKER_LIMITS; limit++)
			counted += h->counts[name][limit];
	}
	assert_int_equal(used, counted);
}

static void history_step(struct history *h)
{
	struct call_made *made = &h->calls[number_below(h, HOLDS)];
	uint32_t at = number_below(h, PLANS);
	if (number_below(h, 12) == 0 && !h->eras[at])
		plan_comes(h, at);
	else if (number_below(h, 12) == 0 && h->eras[at] && h->eras[at] != h->now)
		plan_goes(h, at); /* calls begun under it outlive it, as they follow the next one */
	else if (made->hold.use)
		call_ends(h, made);
	else
		call_begins(h, made);
	expect_gauges(h);
}

static uint32_t uses_free(struct service_use *use)
{
	uint32_t count = 0;
	while (use) {
		struct service_use *before = use->before;
		assert_int_equal(use->plan_count, 0);
		assert_true(breaker_is_unused(&use->breaker));
		free(use);
		use = before;
		count++;
	}
	return count;
}

static void test_histories(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct history *h = calloc(1, sizeof(*h));
		assert_non_null(h);
		h->seed = seed;
		for (int i = 0; i < WORKERS; i++)
			h->workers[i].values = &h->values[i];
		plan_comes(h, 0);
		for (int i = 0; i < 3000; i++)
			history_step(h);
		for (int i = 0; i < HOLDS; i++) {
			if (h->calls[i].hold.use)
				call_ends(h, &h->calls[i]);
		}
		struct service_use *last = h->now->plan.last_service_use;
		for (uint32_t i = 0; i < PLANS; i++) {
			if (h->eras[i])
				plan_goes(h, i);
		}
		assert_in_range(uses_free(last), 1, NAMES); /* a name has one, whatever happens */
		free(h);
	}
}

/* Names without end: those that nobody knows any more make room for the next. */
static void test_names_do_not_pile_up(void **state)
{
	struct era eras[2] = {0};
	char texts[200][16];
	const struct plan *before = NULL;
	for (int i = 0; i < 200; i++) {
		struct era *era = &eras[i % 2];
		if (i >= 2) {
			service_uses_leave(&era->plan);
			snapshot_done(&era->snapshot);
		}
		*era = (struct era){.snapshot = {.service_count = 1}};
		snprintf(texts[i], sizeof(texts[i]), "s%d", i);
		era->services[0].name = str_of(texts[i]);
		era->snapshot.services = era->services;
		assert_true(snapshot_add_service(&era->snapshot, &era->services[0]));
		era->plan.snapshot = &era->snapshot;
		assert_true(service_uses_link(&era->plan, before));
		before = &era->plan;
	}
	struct service_use *last = before->last_service_use;
	for (int i = 0; i < 2; i++) {
		service_uses_leave(&eras[i].plan);
		snapshot_done(&eras[i].snapshot);
	}
	assert_int_equal(uses_free(last), 2);
}

#define MANY 10000

struct many { /* a plan of very many services */
	struct plan plan;
	struct snapshot snapshot;
	struct service services[MANY];
};

static void many_come(struct many *c, char (*texts)[16], uint32_t count, const struct plan *before)
{
	c->snapshot.services = c->services;
	for (; c->snapshot.service_count < count; c->snapshot.service_count++) {
		struct service *service = &c->services[c->snapshot.service_count];
		service->index = c->snapshot.service_count;
		service->name = str_of(texts[service->index]);
		assert_true(snapshot_add_service(&c->snapshot, service));
	}
	c->plan.snapshot = &c->snapshot;
	assert_true(service_uses_link(&c->plan, before));
}

/* Each has one of its own, and keeps it. */
static void test_very_many_services(void **state)
{
	struct many *plans = calloc(2, sizeof(*plans));
	char(*texts)[16] = calloc(MANY, sizeof(*texts));
	assert_true(plans && texts);
	for (int i = 0; i < MANY; i++)
		snprintf(texts[i], sizeof(texts[i]), "s%d", i);
	many_come(&plans[0], texts, MANY - 10, NULL);
	many_come(&plans[1], texts, MANY, &plans[0].plan);
	for (int i = 0; i < MANY - 10; i++) {
		assert_ptr_equal(plans[1].plan.service_uses[i], plans[0].plan.service_uses[i]);
		assert_int_equal(plans[1].plan.service_uses[i]->plan_count, 2);
	}
	for (int i = MANY - 10; i < MANY; i++)
		assert_int_equal(plans[1].plan.service_uses[i]->plan_count, 1);
	for (int i = 0; i < 2; i++) {
		service_uses_leave(&plans[i].plan);
		snapshot_done(&plans[i].snapshot);
	}
	assert_int_equal(uses_free(plans[1].plan.last_service_use), MANY);
	free(texts);
	free(plans);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
		cmocka_unit_test(test_names_do_not_pile_up),
		cmocka_unit_test(test_very_many_services),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
