/* SPDX-License-Identifier: Apache-2.0 */
/* SPIFFE ids (SPIFFE-ID.md section 2) and the rules for X.509-SVIDs (X509-SVID.md 3 to 5). Pure. */
#pragma once

#include "base/str.h"
#include <stdbool.h>

/* Splits and validates "spiffe://td/path". The path has no leading slash ("service/orders") and is
 * never empty: a workload's id. The spans point into `id`. */
bool spiffe_parse(struct str id, struct str *ret_trust_domain, struct str *ret_path);
bool spiffe_trust_domain_valid(struct str trust_domain);
bool spiffe_path_valid(struct str path);
/* Whether a path, valid in itself, is an authority's ("ca") or a machine's ("node/vm-a"), or below
 * one: no workload may have it, in any trust domain. */
bool spiffe_path_reserved(struct str path);
