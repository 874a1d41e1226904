/* SPDX-License-Identifier: Apache-2.0 */
/* What lists of certificates (PEM) have to do with each other. A text that cannot be read has
 * nothing to do with any. */
#pragma once

#include "base/str.h"
#include <stdbool.h>

/* Whether each certificate is in the other list. */
bool certs_same_set(struct str a, struct str b);
/* Whether signatures lead from the first to one of the anchors, whatever the dates are. */
bool certs_lead_to(struct str chain, struct str anchors);
