/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections: opens all, makes one exchange on each, keeps them until standard input ends,
 * and makes another exchange on each to see that they are alive. */
#pragma once

#include "crowd.h"

/* Prints {"holding": N} when they are open. A connection that is lost while it is held, or does not
 * answer in the end, is an error. */
void hold_run(struct crowd *w);
