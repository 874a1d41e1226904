/* SPDX-License-Identifier: Apache-2.0 */
/* Upstream connections that are kept for the next request, keyed by everything that must not be
 * mixed: source identity, destination service and its identities, endpoint, way, and the store of
 * certificates. They outlive a plan when the next one still leads there with all of that unchanged;
 * a call finds them under its own plan, so one that does not match is never used, even before it is
 * let go of. */
#pragma once

#include "carrier.h"
#include "trunk.h"

/* An idle one for this call, or NULL. The newest first: its congestion window is warm. */
struct carrier *upstream_take(struct worker *w, struct call *call);
/* A fresh one: a channel of a shared connection, or what it must wait for; else a connection of its
 * own. NULL: *ret_reason says why not. */
struct carrier *upstream_dial(struct worker *w, struct call *call, enum reason *ret_reason);
/* A shared connection is open that can take one more at once. */
bool upstream_is_there(struct worker *w, struct call *call);
/* Closes an idle connection to the service, so that another may take its place. False: this worker
 * has none, or so many places that they are not all looked at: then the next call goes on there. */
bool upstream_make_room(struct worker *w, const struct service *service);
/* The carrier waited for a trunk that opened or will not carry it: it becomes a channel, waits for
 * another, or gets a connection of its own; not NONE: it has failed. */
enum reason upstream_connect(struct carrier *c, const struct call *call);
/* The call is about to end, or to change. */
void upstream_done(struct call *call);
/* The carrier, or the trunk, is about to end. */
void upstream_leave(struct carrier *c);
void upstream_leave_trunk(struct trunk *t);
/* The far end has no channels: nobody is to wait for them there for some time. */
void upstream_plain(struct upstream_pool *pool);
/* A carrier whose exchange has ended: kept when it may be, else closed. */
void upstream_put(struct carrier *c);
/* No longer idle, whatever it was. */
void upstream_forget(struct carrier *c);
/* Under a new plan, some of worker.stale_pools: idle connections to places that it does not lead to
 * are closed, at most so many of both in a turn. */
void upstream_look_again(struct worker *w, uint32_t max);
/* Closes all idle ones: the worker drains. */
void upstream_let_go(struct worker *w);
/* Some call under the current plan could use it. */
bool upstream_wanted(const struct upstream_pool *pool);
