/* SPDX-License-Identifier: Apache-2.0 */
/* The header by which a server says when it wants to be asked again (RFC 9110 10.2.3). Pure. */
#pragma once

#include "base/assert.h"
#include "base/str.h"
#include <stdint.h>

#define RETRY_AFTER_S_MAX UINT64_C(1000000000)

/* From now on, by the wall clock; no more than the maximum. A date that is over is 0. False:
 * neither seconds nor a date as HTTP writes them now. */
bool retry_after_read(struct str value, int64_t wall_s, uint64_t *ret_s) MUST_CHECK;
