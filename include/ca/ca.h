/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate authority in a directory: a root, an issuer below it, and X.509-SVIDs for services
 * and machines. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdint.h>

/* `ringmain ca init|issue|...`; exit status 0, 1, 2. */
int ca_main(int argc, char **argv);

/* What is to be founded. */
struct ca_setup {
	const char *dir;
	const char *root_dir; /* where the root's key goes; NULL: dir */
	struct str trust_domain;
	int64_t root_lifetime_s, issuer_lifetime_s;
	const char *const *listen; /* "10.0.0.5:8443" */
	uint32_t listen_count;
	const char *const *names; /* further names and addresses of its server */
	uint32_t name_count;
};
/* Makes root.crt, root.key, issuer.crt, issuer.key, roots.pem, ca.conf and registration.conf.
 * Refuses to overwrite. `ret_fingerprint`: SHA-256 of the root, hexadecimal; NULL: not asked. */
int ca_found(const struct ca_setup *setup, char *ret_fingerprint, struct err *err) MUST_CHECK;
/* The first half of it for a root of somebody else's: issuer.key and issuer.csr, and the files of
 * settings. */
int ca_request(const struct ca_setup *setup, struct err *err) MUST_CHECK;
/* The second: takes what that root has made of the request. `chain`: file of PEM, the issuer first,
 * up to the root or below it; `root`: file of its root. */
int ca_install(const char *dir, const char *chain, const char *root, char *ret_fingerprint,
	struct err *err) MUST_CHECK;
#define CA_FINGERPRINT_TEXT 65

/* ca_found() with defaults: everything in `dir`. */
int ca_init(
	const char *dir, struct str trust_domain, int64_t lifetime_s, struct err *err) MUST_CHECK;
/* What the files of an issued identity are called, before their endings: "orders" of
 * "service/orders", else the path with '+' for '/', "shop+web", in `name`. No two have one. */
#define CA_NAME_MAX 200
struct str ca_issued_name(struct str path, char name[CA_NAME_MAX]);
/* Issues spiffe://<trust domain>/<path> into `out_dir`: <its name>.crt (chain), .key (0600), and
 * roots.pem; each file replaced as a whole. NotAfter never beyond the issuer's. A
 * roots.pem in `dir` with several roots (a rotation under way) is copied as it is. */
int ca_issue(const char *dir, struct str path, int64_t lifetime_s, const char *out_dir,
	struct err *err) MUST_CHECK;
