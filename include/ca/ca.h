/* SPDX-License-Identifier: Apache-2.0 */
/* A small certificate authority in a directory: a root, and X.509-SVIDs for services. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdint.h>

/* `ringmain ca init|issue`; exit status 0, 1, 2. */
int ca_main(int argc, char **argv);

/* Makes a P-256 root in `dir` (ca.crt, ca.key 0600, with the trust domain in its SAN; roots.pem, a
 * copy of ca.crt that issued certificates are accompanied by). Refuses to overwrite. */
int ca_init(
	const char *dir, struct str trust_domain, int64_t lifetime_s, struct err *err) MUST_CHECK;
/* Issues spiffe://<trust domain>/<path> into `out_dir`: <last path segment>.crt (chain), .key
 * (0600), and roots.pem; each file replaced as a whole. NotAfter never beyond the issuer's. A
 * roots.pem in `dir` with several roots (a rotation under way) is copied as it is. */
int ca_issue(const char *dir, struct str path, int64_t lifetime_s, const char *out_dir,
	struct err *err) MUST_CHECK;
