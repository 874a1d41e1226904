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
	uint8_t tag; /* of GeneralName: 0x82 DNS, 0x86 URI, 0xa0 otherName */
	struct str text;
};

/* Zero means: as a good leaf has it. */
struct certs_spec {
	const struct certs_pair *issuer; /* NULL: self-signed */
	const char *subject;		 /* common name; NULL: empty */
	struct certs_name names[CERTS_NAME_COUNT_MAX];
	bool san_plain; /* not critical */
	bool san_twice, usage_twice;
	size_t san_count; /* of DNS names behind the others */
	/* A URI of so many bytes in all, or with a trust domain of so many. */
	size_t name_bytes, domain_bytes;
	bool ca, no_constraints;
	int path_len_plus_1; /* 0: none */
	uint16_t usage;	     /* KU_* bits; 0: digitalSignature, for a CA keyCertSign + cRLSign */
	bool usage_plain, no_usage;
	const char *extended; /* letters s(erver) c(lient) o(ther); NULL: "sc", for a CA "-"; "-":
				 absent; "": empty */
	int64_t from_s, until_s;
	bool version_1;
	bool unknown_critical, unknown_twice;
	const char *permitted_uri, *excluded_uri, *permitted_dns; /* name constraints */
	bool permitted_id;					  /* a registeredID, 1.2.3 */
	bool sha1, md5;
	bool outer_sha384; /* the algorithm outside is not the one that is signed */
	bool curve_p192;   /* as the key says of itself */
	int curve;	   /* NID; 0: P-256 */
	int rsa_bits;	   /* instead of a curve */
	size_t padding;	   /* bytes of an unknown extension */
};

/* Stops the test on failure. */
struct certs_pair certs_make(const struct certs_spec *spec);
void certs_done(struct certs_pair *pair);
CRYPTO_BUFFER *certs_buffer(X509 *certificate);
/* Its bytes as they are sent, with what of the specification is done to them afterwards. */
CRYPTO_BUFFER *certs_sent(X509 *certificate, const struct certs_spec *spec);
/* PEM texts one after the other, NULL-terminated list; to be freed. */
char *certs_pem(X509 *const *certificates);

/* A list of revoked certificates. Zero means: as a good one has it. */
struct certs_list {
	const struct certs_pair *issuer;
	const struct certs_pair *signer; /* NULL: the issuer */
	X509 *revoked[4];
	size_t more_count;	 /* of other serial numbers */
	int64_t number;		 /* 0: 1; -1: none */
	int64_t from_s, until_s; /* until -1: none */
	bool version_1;
	bool delta, part, unknown_critical, number_twice;
	bool long_serial, entry_critical;
	bool sha1, outer_sha384;
};

/* Stops the test on failure; to be freed with OPENSSL_free(). */
void certs_list_der(const struct certs_list *list, uint8_t **ret_der, size_t *ret_len);
/* PEM; to be freed. */
char *certs_list_pem(const struct certs_list *list);
