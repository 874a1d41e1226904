/* SPDX-License-Identifier: Apache-2.0 */
/* An open authority, for the files that make it up: authority.c (who gets what), publish.c (what
 * all may have), crl.c, rotate.c. */
#pragma once

#include "authority.h"
#include "base/map.h"
#include "book.h"
#include "folder.h"
#include "issuer.h"
#include "ledger.h"
#include "rate.h"

struct authority {
	struct folder folder;
	struct conf_ca *settings;
	struct err settings_why;		/* "", or why those on disk are not taken */
	struct conf_registration *registration; /* NULL: broken, and nothing is issued */
	struct err registration_why;
	struct issuer issuer;
	struct ledger revoked;
	struct folder_stamp settings_stamp, registration_stamp, issuer_stamp, revoked_stamp;
	struct map nodes; /* of struct authority_node, only registered ones */
	struct rate_bucket all, refusals;
	int64_t compacted_s; /* when the ledger was last rid of what is over */
	/* the server's own certificate, in memory only */
	struct str server_chain, server_key;
	int64_t server_from_s, server_renew_s;
	char server_issuer[LEDGER_ISSUER_TEXT];
};

/* Reads again what has changed on disk. */
int authority_refresh(struct authority *a, struct err *err) MUST_CHECK;
/* SHA-256 of a text, quoted. */
void authority_etag(struct str text, char ret_etag[72]);
/* "roots" of our own trust domain. */
int authority_own_anchors(
	const struct folder *f, struct str *ret_pem, char ret_etag[72], struct err *err) MUST_CHECK;
