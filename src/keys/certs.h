/* SPDX-License-Identifier: Apache-2.0 */
/* What lists of certificates (PEM) have to do with each other. A text that cannot be read has
 * nothing to do with any. */
#pragma once

#include "base/str.h"
#include <openssl/base.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether each certificate is in the other list. */
bool certs_same_set(struct str a, struct str b);
/* Whether signatures lead from the first to one of the anchors, whatever the dates are. */
bool certs_lead_to(struct str chain, struct str anchors);

/* Other machines' clocks may be so far behind: as much as our own TLS grants. */
#define CERTS_SKEW_S 10
enum certs_dates { CERTS_EARLY, CERTS_VALID, CERTS_OVER };
enum certs_dates certs_dates(const X509 *certificate, int64_t wall_s);
