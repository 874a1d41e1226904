/* SPDX-License-Identifier: Apache-2.0 */
/* Names of headers that belong to the proxies: no rule asks for them or writes them. Pure; letter
 * case aside. */
#pragma once

#include "base/str.h"
#include <stdbool.h>

/* Of the connection or the framing: read, and written anew, at each hop. */
bool header_is_hop(struct str name);
/* Who called, and what one proxy tells another: all that begins with "x-ringmain-", and
 * "x-forwarded-client-cert". What a workload says there is taken off. */
bool header_is_ours(struct str name);
