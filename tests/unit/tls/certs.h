/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for tests, good ones and every kind of bad one. Extensions are written byte by byte,
 * since a library's own builder would refuse to make most of the bad ones. */
#pragma once

#include "base/str.h"
#include <openssl/pool.h>
#include <openssl/x509.h>

#define CERTS_NOW 1800000000 /* the tests' wall time: 2027-01-15 */

struct certs_pair {
	X509 *certificate;
	EVP_PKEY *key;
};

#define CERTS_NAME_COUNT_MAX 4

struct certs_name {
	uint8_t tag; /* of GeneralName: 0x82 DNS, 0x86 URI */
	struct str text;
};

/* Zero means: as a good leaf has it. */
struct certs_spec {
	const struct certs_pair *issuer; /* NULL: self-signed */
	const char *subject;		 /* common name; NULL: empty */
	struct certs_name names[CERTS_NAME_COUNT_MAX];
	bool san_plain; /* not critical */
	bool san_twice;
	bool ca, no_constraints;
	int path_len_plus_1; /* 0: none */
	uint16_t usage;	     /* KU_* bits; 0: digitalSignature, for a CA keyCertSign + cRLSign */
	bool usage_plain, no_usage;
	const char *extended; /* letters s(erver) c(lient) o(ther); NULL: "sc", for a CA "-"; "-":
				 absent; "": empty */
	int64_t from_s, until_s;
	bool version_1;
	bool unknown_critical, unknown_twice;
	const char *permitted_uri, *excluded_uri; /* name constraints */
	bool sha1;
	int curve;	/* NID; 0: P-256 */
	int rsa_bits;	/* instead of a curve */
	size_t padding; /* bytes of an unknown extension */
};

/* Stops the test on failure. */
struct certs_pair certs_make(const struct certs_spec *spec);
void certs_done(struct certs_pair *pair);
CRYPTO_BUFFER *certs_buffer(X509 *certificate);
/* PEM texts one after the other, NULL-terminated list; to be freed. */
char *certs_pem(X509 *const *certificates);
