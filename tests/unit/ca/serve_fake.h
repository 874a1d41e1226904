/* SPDX-License-Identifier: Apache-2.0 */
/* An authority that does as it is told, and connections without TLS whose client is whoever the
 * test says: for the server alone. */
#pragma once

#include "ca/authority.h"
#include "ca/serve.h"

struct authority {
	/* what it is to do */
	struct str chain, crls; /* PEM */
	int outcome;		/* of authority_enroll() */
	uint32_t retry_s;
	int failure; /* of what is published: -errno */
	/* what it was asked */
	uint32_t enroll_count, seen_count;
	struct {
		char id[128], user[64], password[64], address[64];
		bool expired;
		size_t request_len;
	} last;
	struct {
		char node[64], etag[80];
		bool is_crls;
	} seen;
	char order[4096]; /* of those who asked: the last number of their address, ' ' */
};

#define SERVE_FAKE_ETAG	    "\"anchors-1\""
#define SERVE_FAKE_CRL_ETAG "\"crls-1\""

/* Who all clients are from now on. */
void serve_fake_client(const char *id, bool expired, const char *refused);
/* Handshakes that never end, with this store's server. */
void serve_fake_stuck(struct tls_store *store);
