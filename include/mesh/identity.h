/* SPDX-License-Identifier: Apache-2.0 */
/* The form of names and identities in the mesh: what a service, a trust domain and a SPIFFE id of a
 * workload look like (SPIFFE-ID section 2). Pure. */
#pragma once

#include "base/str.h"
#include <stdbool.h>

#define IDENTITY_SERVICE_MAX 63	  /* bytes of a service name: one DNS label */
#define IDENTITY_DOMAIN_MAX  255  /* bytes of a trust domain */
#define IDENTITY_ID_MAX	     2048 /* bytes of a SPIFFE id */
#define IDENTITY_PATH_MAX    200  /* bytes of an identity path of a workload of ours */

/* Lower-case letters, digits and '-', neither first nor last a '-'. */
bool identity_service_valid(struct str name);
/* Lower-case letters, digits, '.', '-' and '_'. */
bool identity_trust_domain_valid(struct str trust_domain);
/* Segments of letters, digits, '.', '-' and '_', none of them empty, "." or "..", no slash at
 * either end: "service/orders". */
bool identity_path_valid(struct str path);
/* A path that a workload of ours may have, "shop/web": of two segments at least, so that none is a
 * service's name, and not below "node" or "ca", which are the machines' and the authority's. Its
 * name is a file's, too: at most IDENTITY_PATH_MAX bytes, no dot at its start. */
bool identity_workload_valid(struct str path);
/* "spiffe://<trust domain>/<path>". */
bool identity_id_valid(struct str id);
