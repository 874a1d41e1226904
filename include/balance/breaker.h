/* SPDX-License-Identifier: Apache-2.0 */
/* How much of this machine's work for one service may be under way at once: connections, requests
 * that wait for one, requests, retries. All workers count in the same place, so that a limit is one
 * of the machine: at no time is there more than it says, and nobody is refused while there is less.
 * Pure but for its atomics. */
#pragma once

#include "mesh/snapshot.h"
#include <stdatomic.h>

struct breaker {
	_Atomic uint32_t used[BREAKER_LIMITS];
	_Atomic bool is_short; /* see breaker_lack() */
};

/* One more, if that is no more than `max` (0: any number). What is under way beyond a limit that
 * has come down stays, and nothing joins it. */
bool breaker_take(struct breaker *b, enum breaker_limit limit, uint32_t max) MUST_CHECK;
/* It has ended. */
void breaker_give(struct breaker *b, enum breaker_limit limit);
bool breaker_is_unused(const struct breaker *b);
/* A connection was refused; maybe the room is taken by one that is idle. */
void breaker_lack(struct breaker *b);
/* Whether one that is idle had better make room. */
bool breaker_is_short(const struct breaker *b);
/* True: this one makes room, and after that refusal no other. */
bool breaker_take_lack(struct breaker *b) MUST_CHECK;
