/* SPDX-License-Identifier: Apache-2.0 */
/* Upstream connections that are kept for the next request, keyed by everything that must not be
 * mixed: source identity, destination service, endpoint, way, and (by living in the plan's hold)
 * the certificate generation. */
#pragma once

#include "carrier.h"

/* An idle one for this call, or NULL. The newest first: its congestion window is warm. */
struct carrier *upstream_take(struct worker *w, struct call *call);
/* Settles on a fresh carrier what it may be reused for. False: out of memory. */
bool upstream_join(struct carrier *c, struct call *call) MUST_CHECK;
/* The call is about to end, or to change. */
void upstream_done(struct call *call);
/* The carrier is about to end, and no longer idle. */
void upstream_leave(struct carrier *c);
/* A carrier whose exchange has ended: kept when it may be, else closed. */
void upstream_put(struct carrier *c);
/* No longer idle, whatever it was. */
void upstream_forget(struct carrier *c);
/* Closes idle ones of a hold; how many more might have been closed: 0 if some may be left. */
uint32_t upstream_purge(struct plan_hold *hold, uint32_t max);
