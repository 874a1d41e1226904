/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker knows of the endpoints of a service from its own calls to them: how many are under
 * way, how soon they answer, whether they fail. Each worker by itself. Pure but for memory, which
 * is taken when a plan comes, never for a call.
 *
 * A crowd is all endpoints of one service. It follows the plans: an endpoint's figures are kept by
 * its address as long as it is one of the service's. Calls to one that has left are counted until
 * they end. */
#pragma once

#include "balance/outlier.h"
#include "balance/split.h"
#include "base/list.h"

struct load {
	struct map_node node; /* in crowd.by_address */
	struct crowd *crowd;  /* NULL: the crowd is gone; it goes with its last call */
	struct address address;
	uint64_t follow_count;	 /* of the crowd, when it was last seen in a plan */
	bool is_gone;		 /* no endpoint any more: there are calls to it */
	uint32_t index;		 /* among the endpoints of that plan */
	uint32_t weight, subset; /* the subset: 0 none, else 1 + its index */
	bool is_near;
	bool is_counted; /* as one of crowd.instances */
	uint64_t up_ns;	 /* when it joined these; 0: from the first on */
	uint32_t under_way;
	uint64_t rest_until_ns;		    /* it has asked for no retries before */
	uint64_t latency_ns, latency_at_ns; /* peak EWMA of the time to the first byte */
	struct outlier outlier;
};

/* Which endpoints of a service, or of a subset of it. */
enum load_part { LOAD_ALL, LOAD_NEAR, LOAD_FAR, LOAD_PARTS };

/* Some of the endpoints as a whole; other addresses of instances do not count. */
struct load_set {
	struct split split; /* whose turn it is among them */
	uint32_t sum, unit; /* of the weights of those that are up, and what these have in common */
	uint64_t weight;    /* of all */
	uint64_t out_weight;
	uint32_t up_count, out_count; /* up, and of these ejected */
	uint32_t down_count;	      /* neither up nor drained */
	uint32_t under_way;
};
/* Those that get calls now, by weight. */
static inline uint64_t load_set_well(const struct load_set *s)
{
	return s->sum > s->out_weight ? s->sum - s->out_weight : 0;
}
/* So few of them are well that calls go to all; drained ones are not asked. */
bool load_set_panics(const struct load_set *s, uint32_t panic_percent);

struct crowd {
	struct map_node node;  /* the owner's: by the service's name */
	struct list listed;    /* the owner's */
	struct str name;       /* the crowd's own copy */
	uint64_t plan_number;  /* of the plan that it last followed */
	uint64_t follow_count; /* how often it has followed one */
	struct outlier_rules rules;
	uint64_t slow_start_ns, young_until_ns; /* until then some of them grow */
	struct load **loads; /* by the index of the service's endpoints in that plan */
	uint32_t load_count;
	struct load_set *sets; /* LOAD_PARTS of the service's, and then of each of its subsets */
	uint32_t set_count;
	uint64_t fingerprint; /* of the service that it last followed */
	struct map by_address;
	struct outlier_crowd instances;
	uint32_t under_way; /* calls to all of them, and to those that have left */
	/* the owner's: */
	uint32_t panic_percent;
	bool panics;
	char text[];
};

/* NULL: out of memory. */
struct crowd *crowd_new(struct str name);
void crowd_free(struct crowd *c);
/* The endpoints are these now: little work, where they are what they were. False: out of memory,
 * and it is as it was. */
bool crowd_follow(struct crowd *c, const struct service *service, uint64_t plan_number,
	uint64_t random, uint64_t now_ns) MUST_CHECK;
/* To follow would be next to nothing. */
bool crowd_is_same(const struct crowd *c, const struct service *service);

/* One call to an endpoint, from its choice to its end. */
struct load_call {
	struct load *load;     /* NULL: none is counted */
	uint32_t probe_number; /* 0: it is none */
	bool is_judged;	       /* it has told what there is to tell */
	uint64_t begin_ns;
};

void load_begin(struct load_call *call, struct load *load, uint64_t now_ns);
/* Its connection is there: the time to the first byte counts from now on, so that an endpoint does
 * not look slow for having been called for the first time. */
void load_sent(struct load_call *call, uint64_t now_ns);
/* What became of it; only the first verdict counts. */
enum outlier_change load_judge(
	struct load_call *call, enum outlier_verdict verdict, uint64_t now_ns);
/* It tells nothing of the endpoint, and is no probe. */
void load_silence(struct load_call *call);
/* It may have been judged or not, begun or not. */
void load_end(struct load_call *call);

/* No retries for so long, and not much longer than servers mean when they say so. */
#define LOAD_REST_MAX_NS (UINT64_C(300) * 1000000000)
void load_let_rest(struct load *l, uint64_t now_ns, uint64_t wait_ns);

/* Its share of its weight, in percent: from 10 on it grows as long as the slow start takes. */
#define LOAD_YOUNG_PERCENT 10
uint32_t load_grown_percent(const struct load *l, uint64_t now_ns);
/* Among those of the service (subset 0), or of a subset (1 and its index). */
static inline struct load_set *crowd_set(
	const struct crowd *c, uint32_t subset, enum load_part part)
{
	return &c->sets[subset * LOAD_PARTS + part];
}
/* It has answered, or failed to. */
static inline bool load_is_known(const struct load *l)
{
	return l->latency_at_ns != 0;
}
/* How soon it answers, as far as known; what is long ago counts less. */
uint64_t load_latency_ns(const struct load *l, uint64_t now_ns);
