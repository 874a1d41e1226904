/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an exchange: what its files share. */
#pragma once

#include "exchange.h"

/* --- exchange.c: its life --- */

/* The only writer of its state. */
void exchange_move(struct exchange *x, enum exchange_state state);
void exchange_ready(struct exchange *x);
/* The carrier on this side, if there is one. */
void exchange_ready_carrier(struct exchange *x, enum side side);
void exchange_attach(struct exchange *x, enum side side, struct carrier *c);
struct carrier *exchange_detach(struct exchange *x, enum side side);
/* What is to be sent to this side. */
struct buf *exchange_out(struct exchange *x, enum side side);
/* Lets both carriers go, in the way that the outcome allows. */
void exchange_finish(struct exchange *x, enum reason reason);
/* Answers in our own words if no response has begun, else the client sees an abort. */
void exchange_fail(struct exchange *x, enum reason reason, uint16_t status, const char *text);
/* In the words of the reason. */
void exchange_fail_reason(struct exchange *x, enum reason reason);

/* --- exchange_place.c: before it is sent --- */

/* ROUTE, and WAIT. */
void exchange_route(struct exchange *x);
void exchange_wait(struct exchange *x);
/* A head larger than an empty buffer will never fit; a full buffer only has to drain. */
void exchange_no_room(struct exchange *x, enum side side);

/* --- exchange_forward.c: while it is sent and answered --- */

void exchange_forward(struct exchange *x);

/* --- exchange_trouble.c: what goes wrong --- */

/* When the request as a whole has taken too long: never once its response has begun. */
uint64_t exchange_deadline_ns(const struct exchange *x);
uint64_t exchange_idle_ns(const struct exchange *x);
/* Sets its timer: to then, or to when it has taken too long. */
void exchange_watch(struct exchange *x, uint64_t idle_at_ns);
/* Its timer has fired. */
void exchange_expire(struct exchange *x);
/* Whether the bytes of a tunnel may go on: no further request comes that would ask. */
enum reason exchange_recheck(struct exchange *x);
/* Back to ROUTE, at x->again_ns. */
void exchange_again(struct exchange *x);
/* Whether it is tried again after this, by the proxies' own rules or by that of its route. */
bool exchange_try_again(struct exchange *x, enum reason reason);
