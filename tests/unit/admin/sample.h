/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy filled by hand: two workloads, one of them with a certificate, two workers. The test
 * stands in for the tls room. */
#pragma once

#include "conf/conf.h"
#include "mesh/policy.h"
#include "mesh/route.h"
#include "proxy/limiter_view.h"
#include "proxy/proxy.h"
#include "tls/tls.h"

/* 2026-11-23T20:00:00Z */
#define SAMPLE_NOW_S  1795464000ll
#define SAMPLE_NOW_NS (1795464000ull * 1000000000ull)

struct sample {
	struct proxy proxy;
	struct plan plan;
	struct conf conf;
	struct snapshot snapshot;
	struct service services[2];
	struct workload workloads[2];
	struct endpoint endpoints[2];
	struct policy policy, *orders_policies[1];
	struct route route;
	struct route_rule rule;
	struct route_leg legs[2];
	struct source from[1];
	struct str ids[2];
	struct address local_addresses[1];
	struct address_range passthrough[1];
	struct metrics *metrics[2];
	struct wheel *wheel; /* what plan_wheel() gives */
	struct proxy_listener listeners[5];
	/* what tls_store_identity() shows */
	struct tls_identity_view identities[2];
	size_t identity_count;
	/* of every limit; NULL: of no service here */
	const struct limiter_counts *limit_counts;
};

void sample_init(struct sample *s);
/* Makes it a machine with a store, connected, three endpoints of its own. */
void sample_join(struct sample *s);
/* An authority, which has something to say of each. */
void sample_enroll(struct sample *s);
void sample_done(struct sample *s);
