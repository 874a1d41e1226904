/* SPDX-License-Identifier: Apache-2.0 */
/* All clients of the load: keeps them connected, hears what happens to them, counts. Those above it
 * take clients from `idle` and let them begin. */
#pragma once

#include "client.h"
#include "histogram.h"

#include "base/error.h"

/* What was counted since the last reset. */
struct tally {
	uint64_t requests, errors, connections_opened;
	uint64_t late_max_ns; /* longest that the load itself let a due exchange wait */
	struct histogram histogram;
};

struct crowd {
	struct errand *errand;
	struct client *clients;
	uint32_t count;
	uint32_t exchanges_max; /* then a connection is closed and dialled anew; 0: never */
	bool proves;		/* a connection counts as being dialled until it had an exchange */
	bool keeps;		/* a connection that ends is an error and is not dialled again */
	uint32_t dialling_count, busy_count;
	struct list idle;   /* longest first */
	struct list absent; /* in the order of since_ns */
	uint64_t now_ns;
	struct tally *tally;
	char trouble[128]; /* the first error, for people; empty: none */
};

/* Dials nobody yet. The errand's `epoll` is made here. */
int crowd_init(struct crowd *w, struct errand *errand, uint32_t count, struct err *err) MUST_CHECK;
void crowd_done(struct crowd *w);
/* Waits until something happens, `until_ns` at the latest, and hears all of it. */
void crowd_turn(struct crowd *w, uint64_t until_ns);
/* The client, one of `idle`, begins an exchange that counts from its since_ns. */
void crowd_begin(struct crowd *w, struct client *c);
