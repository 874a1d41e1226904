/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/load.h"

#include "base/clock.h"
#include <stdlib.h>

/* What is known so long ago counts half. */
#define LOAD_DECAY_NS (10 * CLOCK_S)
/* A failure counts as if it had taken twice what is usual, and no less than this: one that fails at
 * once is not fast. */
#define LOAD_FAILURE_NS	    CLOCK_S
#define LOAD_LATENCY_MAX_NS (60 * CLOCK_S)

/* --- how soon --- */

uint64_t load_latency_ns(const struct load *l, uint64_t now_ns)
{
	uint64_t passed_ns = now_ns - l->latency_at_ns;
	uint64_t halvings = passed_ns / LOAD_DECAY_NS;
	if (!load_is_known(l))
		return 0;
	uint64_t latency_ns = halvings < 64 ? l->latency_ns >> halvings : 0;
	return latency_ns -
	       latency_ns / 2 * (passed_ns % LOAD_DECAY_NS / CLOCK_MS) / (LOAD_DECAY_NS / CLOCK_MS);
}

/* Up at once, down by and by. */
static void load_observe(struct load *l, uint64_t took_ns, uint64_t now_ns)
{
	uint64_t before_ns = load_latency_ns(l, now_ns);
	uint64_t passed_ns = now_ns - l->latency_at_ns;
	if (took_ns > LOAD_LATENCY_MAX_NS)
		took_ns = LOAD_LATENCY_MAX_NS;
	if (took_ns < before_ns)
		took_ns = before_ns - (uint64_t)((unsigned __int128)(before_ns - took_ns) *
						 passed_ns / (LOAD_DECAY_NS + passed_ns));
	l->latency_ns = took_ns;
	l->latency_at_ns = now_ns > 0 ? now_ns : 1;
}

static void load_observe_failure(struct load *l, uint64_t took_ns, uint64_t now_ns)
{
	uint64_t twice_ns = 2 * load_latency_ns(l, now_ns);
	if (took_ns < twice_ns)
		took_ns = twice_ns;
	load_observe(l, took_ns < LOAD_FAILURE_NS ? LOAD_FAILURE_NS : took_ns, now_ns);
}

/* --- slow start --- */

uint32_t load_grown_percent(const struct load *l, uint64_t now_ns)
{
	uint64_t whole_ns = l->crowd->slow_start_ns, age_ns = now_ns - l->up_ns;
	if (l->up_ns == 0 || age_ns >= whole_ns)
		return 100;
	return LOAD_YOUNG_PERCENT +
	       (uint32_t)(age_ns / 1000 * (100 - LOAD_YOUNG_PERCENT) / (whole_ns / 1000));
}

/* One that is new among the others, or that the checks have found well again. */
static void load_count(struct load *l, bool is_counted, uint64_t now_ns)
{
	struct crowd *c = l->crowd;
	if (is_counted && !l->is_counted && c->follow_count > 1)
		l->up_ns = now_ns;
	l->is_counted = is_counted;
	if (is_counted && l->up_ns > 0 && l->up_ns + c->slow_start_ns > c->young_until_ns)
		c->young_until_ns = l->up_ns + c->slow_start_ns;
}

/* --- a call --- */

void load_begin(struct load_call *call, struct load *load, uint64_t now_ns)
{
	*call = (struct load_call){.load = load, .begin_ns = now_ns};
	load->under_way++;
	call->is_probe = outlier_begin(&load->outlier, now_ns);
}

enum outlier_change load_judge(
	struct load_call *call, enum outlier_verdict verdict, uint64_t now_ns)
{
	struct load *l = call->load;
	if (!l || call->is_judged)
		return OUTLIER_STAYS;
	call->is_judged = true;
	bool is_good = verdict == OUTLIER_SERVED || verdict == OUTLIER_CONNECTED;
	if (is_good && call->is_probe)
		l->latency_at_ns = 0; /* what it did before is over */
	if (is_good)
		load_observe(l, now_ns - call->begin_ns, now_ns);
	else
		load_observe_failure(l, now_ns - call->begin_ns, now_ns);
	if (!l->crowd)
		return OUTLIER_STAYS;
	return outlier_judge(&l->outlier, &l->crowd->rules,
		l->is_counted ? &l->crowd->instances : NULL, call->is_probe, verdict, now_ns);
}

void load_silence(struct load_call *call)
{
	if (call->load && call->is_probe)
		outlier_abandon(&call->load->outlier);
	call->is_probe = false;
	call->is_judged = true;
}

void load_let_rest(struct load *l, uint64_t now_ns, uint64_t wait_ns)
{
	l->rest_until_ns = now_ns + (wait_ns < LOAD_REST_MAX_NS ? wait_ns : LOAD_REST_MAX_NS);
}

void load_end(struct load_call *call)
{
	struct load *l = call->load;
	if (!l)
		return;
	if (call->is_probe && !call->is_judged)
		outlier_abandon(&l->outlier);
	ASSERT(l->under_way > 0);
	if (--l->under_way == 0 && !l->crowd)
		free(l);
	*call = (struct load_call){0};
}

/* --- a crowd --- */

struct crowd *crowd_new(struct str name)
{
	struct crowd *c = calloc(1, sizeof(*c) + name.len + 1);
	if (!c)
		return NULL;
	memcpy(c->text, name.at, name.len);
	c->name = (struct str){c->text, name.len};
	map_init(&c->by_address);
	list_init(&c->listed);
	return c;
}

static void crowd_drop(struct crowd *c, struct load *l)
{
	map_remove(&c->by_address, &l->node);
	l->crowd = NULL;
	l->is_counted = false;
	if (l->under_way == 0)
		free(l);
}

/* All that no plan since this count has. */
static void crowd_drop_older(struct crowd *c, uint64_t follow_count)
{
	for (size_t i = 0; i < c->by_address.slot_count; i++) {
		struct map_node *node = c->by_address.slots[i], *next;
		for (; node; node = next) {
			struct load *l = CONTAINER_OF(node, struct load, node);
			next = node->next;
			if (l->follow_count < follow_count)
				crowd_drop(c, l);
		}
	}
}

void crowd_free(struct crowd *c)
{
	if (!c)
		return;
	crowd_drop_older(c, UINT64_MAX);
	map_done(&c->by_address);
	free(c->loads);
	free(c->turns);
	free(c);
}

static uint64_t crowd_hash(const struct address *a)
{
	return hash_bytes(0x6c6f61645f61ull + a->port, a->ip, sizeof(a->ip));
}

static struct load *crowd_load(struct crowd *c, const struct address *a)
{
	uint64_t hash = crowd_hash(a);
	for (struct map_node *n = map_first(&c->by_address, hash); n; n = map_next(n)) {
		struct load *l = CONTAINER_OF(n, struct load, node);
		if (address_equal(&l->address, a))
			return l;
	}
	struct load *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->crowd = c;
	l->address = *a;
	l->follow_count = c->follow_count;
	if (map_add(&c->by_address, &l->node, hash))
		return l;
	free(l);
	return NULL;
}

/* What the checks say of it anew comes first: one that they have found down begins again. */
static void crowd_count(struct crowd *c, const struct service *service, uint64_t now_ns)
{
	c->instances = (struct outlier_crowd){0};
	c->young_until_ns = 0;
	for (uint32_t i = 0; i < c->load_count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		struct load *l = c->loads[i];
		l->follow_count = c->follow_count;
		load_count(l, e->health == ENDPOINT_UP && !e->alternate, now_ns);
		c->instances.count += l->is_counted;
		c->instances.out += l->outlier.state != OUTLIER_IN;
		if (!l->is_counted)
			outlier_release(&l->outlier, &c->instances, now_ns);
	}
	uint32_t max = outlier_out_max(&c->rules, c->instances.count);
	for (uint32_t i = 0; i < c->load_count && c->instances.out > max; i++) {
		if (c->loads[i]->outlier.state != OUTLIER_IN)
			outlier_release(&c->loads[i]->outlier, &c->instances, now_ns);
	}
}

static uint32_t crowd_gcd(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

static void crowd_turn_add(struct load_turn *t, const struct endpoint *e)
{
	if (e->health != ENDPOINT_UP || e->alternate)
		return;
	t->sum += e->weight;
	t->unit = crowd_gcd(e->weight, t->unit);
}

static void crowd_turns(struct crowd *c, const struct service *service)
{
	for (uint32_t i = 0; i < service->endpoint_count; i++)
		crowd_turn_add(&c->turns[0], &service->endpoints[i]);
	for (uint32_t s = 0; s < service->subset_count; s++) {
		const struct subset *subset = &service->subsets[s];
		for (uint32_t i = 0; i < subset->endpoint_count; i++)
			crowd_turn_add(&c->turns[s + 1], subset->endpoints[i]);
	}
}

static void crowd_take_turns(
	struct crowd *c, struct load_turn *turns, uint32_t count, uint64_t random)
{
	for (uint32_t i = 0; i < count; i++) {
		if (i < c->turn_count)
			turns[i].split = c->turns[i].split;
		else
			split_init(&turns[i].split, random + i);
	}
	free(c->turns);
	c->turns = turns;
	c->turn_count = count;
}

static bool crowd_find_loads(
	struct crowd *c, const struct service *service, struct load **ret_loads)
{
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		ret_loads[i] = crowd_load(c, &service->endpoints[i].address);
		if (!ret_loads[i])
			return false;
	}
	return true;
}

bool crowd_follow(struct crowd *c, const struct service *service, uint64_t plan_number,
	uint64_t random, uint64_t now_ns)
{
	uint32_t turn_count = service->subset_count + 1;
	struct load **loads = calloc(service->endpoint_count + 1u, sizeof(*loads));
	struct load_turn *turns = calloc(turn_count, sizeof(*turns));
	if (!loads || !turns || !crowd_find_loads(c, service, loads)) {
		free(loads);
		free(turns);
		return false; /* those that were made are dropped with the next plan */
	}
	free(c->loads);
	c->loads = loads;
	c->load_count = service->endpoint_count;
	c->plan_number = plan_number;
	c->follow_count++;
	c->rules = service->outlier;
	c->slow_start_ns = service->slow_start_ms * CLOCK_MS;
	crowd_take_turns(c, turns, turn_count, random);
	crowd_turns(c, service);
	crowd_count(c, service, now_ns);
	crowd_drop_older(c, c->follow_count);
	return true;
}
