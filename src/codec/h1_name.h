/* SPDX-License-Identifier: Apache-2.0 */
/* What may not stand in a trailer section. */
#pragma once

#include "base/str.h"
#include <stdbool.h>

/* Framing, routing, authentication, content format: not allowed in a trailer (RFC 9110 6.5.1). */
bool h1_name_refused_in_trailer(struct str name);
