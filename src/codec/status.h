/* SPDX-License-Identifier: Apache-2.0 */
/* The reason phrases of the registered status codes. */
#pragma once

#include "base/str.h"
#include <stdint.h>

/* Empty for a code without one. */
struct str status_reason(uint16_t status);
