/* SPDX-License-Identifier: Apache-2.0 */
/* The wheels of a plan: of services that are balanced by value, each as a whole and each subset of
 * it. Made by the control thread, read by all workers; one that would be the same is the plan's
 * before. */
#pragma once

#include "balance/wheel.h"
#include "proxy/proxy.h"

/* False: out of memory; to be done away with in any case. */
bool plan_wheels_build(struct plan *plan, const struct plan *before) MUST_CHECK;
void plan_wheels_done(struct plan *plan);
