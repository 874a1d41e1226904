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

/* --- sets --- */

bool load_set_panics(const struct load_set *s, uint32_t panic_percent)
{
	uint64_t well = s->up_count - s->out_count, all = (uint64_t)s->up_count + s->down_count;
	return all > 0 && well * 100 < all * panic_percent;
}

/* The sets that an endpoint is one of: the service's and its subset's, each as a whole and in part.
 */
static uint32_t load_sets_of(const struct load *l, struct load_set *ret_sets[4])
{
	enum load_part part = l->is_near ? LOAD_NEAR : LOAD_FAR;
	uint32_t count = 0;
	ret_sets[count++] = crowd_set(l->crowd, 0, LOAD_ALL);
	ret_sets[count++] = crowd_set(l->crowd, 0, part);
	if (l->subset > 0) {
		ret_sets[count++] = crowd_set(l->crowd, l->subset, LOAD_ALL);
		ret_sets[count++] = crowd_set(l->crowd, l->subset, part);
	}
	return count;
}

/* It has so many more calls, or less; or is out, or in again. */
static void load_tell_sets(const struct load *l, int calls, int out)
{
	struct load_set *sets[4];
	if (!l->crowd || l->is_gone)
		return;
	uint32_t count = load_sets_of(l, sets);
	for (uint32_t i = 0; i < count; i++) {
		sets[i]->under_way += (uint32_t)calls;
		if (out == 0)
			continue;
		sets[i]->out_count += (uint32_t)out;
		sets[i]->out_weight += (uint64_t)(int64_t)out * l->weight;
	}
}

/* --- a call --- */

void load_begin(struct load_call *call, struct load *load, uint64_t now_ns)
{
	*call = (struct load_call){.load = load, .begin_ns = now_ns};
	load->under_way++;
	load->crowd->under_way++;
	load_tell_sets(load, 1, 0);
	call->probe_number = outlier_begin(&load->outlier, &load->crowd->rules, now_ns);
}

void load_sent(struct load_call *call, uint64_t now_ns)
{
	call->begin_ns = now_ns;
}

enum outlier_change load_judge(
	struct load_call *call, enum outlier_verdict verdict, uint64_t now_ns)
{
	struct load *l = call->load;
	if (!l || call->is_judged)
		return OUTLIER_STAYS;
	call->is_judged = true;
	bool is_good = verdict == OUTLIER_SERVED || verdict == OUTLIER_CONNECTED;
	if (is_good && call->probe_number)
		l->latency_at_ns = 0; /* what it did before is over */
	if (is_good)
		load_observe(l, now_ns - call->begin_ns, now_ns);
	else
		load_observe_failure(l, now_ns - call->begin_ns, now_ns);
	if (!l->crowd || !l->is_counted)
		return OUTLIER_STAYS;
	bool was_in = l->outlier.state == OUTLIER_IN;
	enum outlier_change change = outlier_judge(&l->outlier, &l->crowd->rules,
		&l->crowd->instances, call->probe_number != 0, verdict, now_ns);
	bool is_in = l->outlier.state == OUTLIER_IN;
	if (was_in != is_in)
		load_tell_sets(l, 0, is_in ? -1 : 1);
	return change;
}

void load_silence(struct load_call *call)
{
	if (call->load && call->probe_number)
		outlier_abandon(&call->load->outlier, call->probe_number);
	call->probe_number = 0;
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
	if (call->probe_number && !call->is_judged)
		outlier_abandon(&l->outlier, call->probe_number);
	ASSERT(l->under_way > 0);
	l->under_way--;
	if (l->crowd)
		l->crowd->under_way--;
	load_tell_sets(l, -1, 0);
	if (l->under_way == 0 && l->crowd && l->is_gone)
		map_remove(&l->crowd->by_address, &l->node);
	if (l->under_way == 0 && (!l->crowd || l->is_gone))
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

/* Its calls are still the service's. What was known of it is not, should it come back. */
static void crowd_drop(struct crowd *c, struct load *l)
{
	l->is_gone = true;
	l->is_counted = false;
	l->outlier = (struct outlier){0};
	l->latency_at_ns = l->up_ns = 0;
	if (l->under_way > 0)
		return;
	map_remove(&c->by_address, &l->node);
	free(l);
}

/* What to do with those that it has. */
static void crowd_each(struct crowd *c, void (*visit)(struct crowd *c, struct load *l))
{
	for (size_t i = 0; i < c->by_address.slot_count; i++) {
		struct map_node *node = c->by_address.slots[i], *next;
		for (; node; node = next) {
			next = node->next;
			visit(c, CONTAINER_OF(node, struct load, node));
		}
	}
}

static void crowd_drop_old(struct crowd *c, struct load *l)
{
	if (l->follow_count < c->follow_count && !l->is_gone)
		crowd_drop(c, l);
}

static void crowd_leave(struct crowd *c, struct load *l)
{
	l->crowd = NULL;
	if (l->under_way == 0)
		free(l);
}

void crowd_free(struct crowd *c)
{
	if (!c)
		return;
	crowd_each(c, crowd_leave);
	map_done(&c->by_address);
	free(c->loads);
	free(c->sets);
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

/* Mostly each is where it was, or as far behind the one before it as it was. */
static bool crowd_find_loads(
	struct crowd *c, const struct service *service, struct load **ret_loads)
{
	uint32_t at = 0;
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		const struct address *a = &service->endpoints[i].address;
		struct load *l = at < c->load_count ? c->loads[at] : NULL;
		if (!l || !address_equal(&l->address, a))
			l = crowd_load(c, a);
		if (!l)
			return false;
		at = l->index + 1;
		ret_loads[i] = l;
	}
	return true;
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
		l->is_gone = false;
		l->index = i;
		l->weight = e->weight;
		l->is_near = e->is_near;
		l->subset = 0;
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

/* --- sets of a crowd --- */

static uint32_t crowd_gcd(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

static void crowd_set_add(struct load_set *s, const struct endpoint *e, const struct load *l)
{
	s->under_way += l->under_way;
	if (e->alternate)
		return;
	s->weight += e->weight;
	s->down_count += e->health == ENDPOINT_DOWN;
	if (e->health != ENDPOINT_UP)
		return;
	s->up_count++;
	s->sum += e->weight;
	s->unit = crowd_gcd(e->weight, s->unit);
	if (l->outlier.state == OUTLIER_IN)
		return;
	s->out_count++;
	s->out_weight += e->weight;
}

static void crowd_fill_sets(struct crowd *c, const struct service *service)
{
	for (uint32_t s = 0; s < service->subset_count; s++) {
		const struct subset *subset = &service->subsets[s];
		for (uint32_t i = 0; i < subset->endpoint_count; i++)
			c->loads[subset->endpoints[i] - service->endpoints]->subset = s + 1;
	}
	for (uint32_t i = 0; i < c->load_count; i++) {
		struct load_set *sets[4];
		uint32_t count = load_sets_of(c->loads[i], sets);
		for (uint32_t k = 0; k < count; k++)
			crowd_set_add(sets[k], &service->endpoints[i], c->loads[i]);
	}
}

static void crowd_take_sets(struct crowd *c, struct load_set *sets, uint32_t count, uint64_t random)
{
	for (uint32_t i = 0; i < count; i++) {
		if (i < c->set_count)
			sets[i].split = c->sets[i].split;
		else
			split_init(&sets[i].split, random + i);
	}
	free(c->sets);
	c->sets = sets;
	c->set_count = count;
}

static bool crowd_rules_equal(const struct outlier_rules *a, const struct outlier_rules *b)
{
	return a->errors == b->errors && a->connect_errors == b->connect_errors &&
	       a->success_percent == b->success_percent && a->success_calls == b->success_calls &&
	       a->ejection_ms == b->ejection_ms && a->ejection_max_ms == b->ejection_max_ms &&
	       a->ejected_percent == b->ejected_percent;
}

bool crowd_is_same(const struct crowd *c, const struct service *service)
{
	return c->follow_count > 0 && c->fingerprint != 0 &&
	       c->fingerprint == service->fingerprint && c->load_count == service->endpoint_count &&
	       c->set_count == (service->subset_count + 1) * LOAD_PARTS &&
	       c->slow_start_ns == service->slow_start_ms * CLOCK_MS &&
	       crowd_rules_equal(&c->rules, &service->outlier);
}

bool crowd_follow(struct crowd *c, const struct service *service, uint64_t plan_number,
	uint64_t random, uint64_t now_ns)
{
	if (crowd_is_same(c, service)) {
		c->plan_number = plan_number;
		return true;
	}
	uint32_t set_count = (service->subset_count + 1) * LOAD_PARTS;
	struct load **loads = calloc(service->endpoint_count + 1u, sizeof(*loads));
	struct load_set *sets = calloc(set_count, sizeof(*sets));
	if (!loads || !sets || !crowd_find_loads(c, service, loads)) {
		free(loads);
		free(sets);
		return false; /* those that were made are dropped with the next plan */
	}
	free(c->loads);
	c->loads = loads;
	c->load_count = service->endpoint_count;
	c->plan_number = plan_number;
	c->fingerprint = service->fingerprint;
	c->follow_count++;
	c->rules = service->outlier;
	c->slow_start_ns = service->slow_start_ms * CLOCK_MS;
	crowd_count(c, service, now_ns);
	crowd_take_sets(c, sets, set_count, random);
	crowd_fill_sets(c, service);
	if (c->by_address.count > c->load_count)
		crowd_each(c, crowd_drop_old);
	return true;
}
