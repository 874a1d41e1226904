/* SPDX-License-Identifier: Apache-2.0 */
/* A listening socket of the keeper's: accepts until the worker drains. */
#pragma once

#include "worker_private.h"

void listener_init(struct listener *l, struct worker *w, const struct proxy_listener *as);
void listener_start(struct listener *l);
void listener_step(struct listener *l);
/* True when nothing is armed any more, and all that was accepted has been taken. */
bool listener_close(struct listener *l);
