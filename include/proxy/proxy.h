/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy process as its control thread sees it: the plan in force, the workers and what they
 * counted. Owned by the control thread; workers read nothing here but what they were given. */
#pragma once

#include "base/bundle.h"
#include "conf/conf.h"
#include "ledger/ledger.h"
#include "mesh/snapshot.h"
#include "proxy/wire.h"
#include "telemetry/access.h"
#include "telemetry/metrics.h"
#include "tls/tls.h"
#include "tls/trust_view.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct worker;
struct facts;
struct plan_wheels;
struct wheel;

#define PROXY_WORKERS_MAX 256

/* One worker's share in a plan: counts as long as a call is settled under it. Counted without
 * atomics; only the last release touches the plan's shared count. The worker's own; it has been
 * there since the plan was built, so that no worker ever fails to take a new plan. */
struct plan_hold {
	struct worker *worker;
	struct plan *plan;
	uint32_t user_count; /* calls, and 1 while it is the worker's current one */
	char apart[44];	     /* from the next worker's: no two on one line of the cache */
};

/* All that a worker needs of one generation of the configuration. Immutable; counted by the workers
 * that still have connections begun under it. */
struct plan {
	struct list node;    /* the control thread's: superseded plans that are still held */
	uint64_t generation; /* the keeper's: of the configuration */
	uint64_t number;     /* ours: counts every plan, those of a new picture too */
	struct conf *conf;
	struct snapshot *snapshot;
	struct tls_store *tls;
	struct facts *facts;		    /* of the world outside: proxy/facts.h; or NULL */
	char *warnings;			    /* lines; NULL when there are none */
	struct plan_wheels **wheels;	    /* per service index; NULL: needs none */
	struct ledger_id *figure_ids;	    /* two of each rollout: see figures.h */
	struct workload_use **uses;	    /* per workload index; counts outlive generations */
	struct workload_use *last_use;	    /* of all that there ever were, the one made last */
	struct limiter **limiters;	    /* per limit index; NULL: of no service here */
	struct limiter_counts *last_counts; /* as last_use */
	uint64_t limit_seed;		    /* the process's, of keys */
	struct service_use **service_uses;  /* per service index; the same, of services */
	struct service_use *last_service_use;
	struct tls_store **outside_tls; /* per external index; NULL: no TLS of ours, or no roots */
	struct plan_hold holds[PROXY_WORKERS_MAX]; /* by worker */
	_Atomic uint32_t holder_count;
};

struct proxy_listener {
	enum wire_listener_kind kind;
	struct address address; /* family 0: unix socket */
	uint32_t worker;
	int fd;
};

/* How it stands with the mesh's state: what the state process says, and what became of its last
 * picture. All zero on a standalone machine. */
struct proxy_mesh {
	struct wire_state_view view;
	uint64_t view_wall_ns; /* when it came; 0: never */
	bool has_picture;      /* one is in force */
	uint64_t refused_total;
	char refused_text[2000]; /* why the newest is not in force; "": it is */
};

/* A trust domain's anchors and revocation lists, as in the plan in force. */
struct proxy_trust {
	char trust_domain[256];
	struct tls_trust_view view; /* its name is not valid any more */
};

/* How it stands with certificates: what the state process says, where there is an authority, and
 * what can be seen of trust. */
struct proxy_identities {
	struct wire_certificate *rows; /* all texts end within */
	uint32_t row_count;
	int64_t skew_s; /* our clock minus the authority's; 0: not known */
	struct proxy_trust *trusts;
	uint32_t trust_count;
};

#define PROXY_TAKE_OUTS_MAX 8

struct proxy {
	struct facts *facts; /* the newest: keys and addresses as in the plan, and how it stands */
	struct plan *plan;   /* in force; NULL before the first */
	struct worker **workers;
	struct metrics **metrics; /* worker_count */
	uint32_t worker_count;
	struct proxy_listener *listeners;
	uint32_t listener_count;
	struct access_log *access_log;
	uint64_t start_wall_ns;
	uint32_t restart_count;
	/* last reload: when, whether it took effect, why not */
	uint64_t reload_wall_ns;
	bool reload_ok;
	char reload_text[2000];
	/* asked for by the admin room, carried out by the control thread */
	bool reload_asked, drain_asked;
	struct wire_take_out
		take_outs[PROXY_TAKE_OUTS_MAX]; /* in order; heads are filled in later */
	uint32_t take_out_count;
	bool draining;
	struct proxy_mesh mesh;
	struct proxy_identities identities;
};

/* Builds a generation from the keeper's bundle and the picture of the mesh (NULL: none): the
 * configuration, the snapshot, certificates. What has not changed is shared with the plan before
 * (NULL: the first). On any error nothing is built and `text` (size bytes) says why, all reasons at
 * once. Control thread. */
int plan_build(const struct bundle *b, const struct bundle *picture, uint64_t generation,
	const struct plan *before, struct plan **ret_plan, char *text, size_t size) MUST_CHECK;
/* Requests and opaque connections in progress at a local workload, from wherever. Any thread. */
uint32_t plan_serving(const struct plan *plan, uint32_t workload_index);
/* By which a value finds its endpoint; NULL: none, as the service is balanced otherwise, or has no
 * endpoint. `subset` NULL: the whole. Any thread. */
const struct wheel *plan_wheel(
	const struct plan *plan, const struct service *service, const struct subset *subset);
/* Only when nobody holds it any more. */
void plan_free(struct plan *plan);
