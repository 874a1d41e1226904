/* SPDX-License-Identifier: Apache-2.0 */
/* What was issued and what was revoked: two files of lines, and the audit.
 *
 *   index    serial end issuer node identity            of what may still be used or renew itself
 *   revoked  serial end issuer node identity when why   until that is over
 *   issued.log  one JSON object a line, for people; never read here, may be rotated away
 *
 * Times are seconds since 1970; `issuer` is the issuer's key id. Lines are appended, and the files
 * rewritten from time to time without what is over. */
#pragma once

#include "folder.h"
#include "keys/cert.h"

#define LEDGER_ISSUER_TEXT (2 * CERT_KEY_ID_BYTES + 1)

struct ledger_row {
	struct str serial, issuer, node, identity, why;
	int64_t end_s, when_s;
};

struct ledger {
	struct str text;
	struct ledger_row *rows;
	uint32_t count;
};

/* Lower-case hexadecimal of cert_key_id(). */
void ledger_issuer_text(const X509 *cert, char text[LEDGER_ISSUER_TEXT]);

int ledger_read_index(
	const struct folder *f, struct ledger *ret_ledger, struct err *err) MUST_CHECK;
int ledger_read_revoked(
	const struct folder *f, struct ledger *ret_ledger, struct err *err) MUST_CHECK;
void ledger_done(struct ledger *l);
/* NULL: not in it. */
const struct ledger_row *ledger_find(const struct ledger *l, struct str serial);

/* On the disk when it returns. The caller has the lock: else a compaction in between would lose it.
 */
int ledger_add_issued(
	const struct folder *f, const struct ledger_row *row, struct err *err) MUST_CHECK;
int ledger_add_revoked(
	const struct folder *f, const struct ledger_row *row, struct err *err) MUST_CHECK;
/* Rewrites both files without what is over: leaves that have ended, machines' own certificates
 * whose time to come back has ended; revocations a month after that. The caller has the lock. */
int ledger_compact(
	const struct folder *f, int64_t now_s, int64_t comeback_s, struct err *err) MUST_CHECK;

/* A line of the audit. Texts that are "" are left out. */
struct ledger_event {
	const char *event; /* "issued", "refused", "allowed", ... */
	struct str node, identity, serial, issuer, address, why;
	int64_t until_s;
	int status; /* 0: none */
};
int ledger_audit(const struct folder *f, int64_t now_s, const struct ledger_event *e,
	struct err *err) MUST_CHECK;
