/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets what: the decision, apart from files, TLS and certificates. Pure. */
#pragma once

#include "authority.h"
#include "conf/authority.h"

/* How the asking was proved. */
enum issue_proof {
	ISSUE_NOTHING,	   /* neither certificate nor token */
	ISSUE_BAD_TOKEN,   /* unknown, over, of another node, or used by another key */
	ISSUE_TOKEN,	   /* of the node, for this key */
	ISSUE_CERTIFICATE, /* shown in TLS */
};
/* What the shown certificate is still good for. */
enum issue_standing {
	ISSUE_GOOD,
	ISSUE_EXPIRED, /* within the time of comeback */
	ISSUE_OVER,    /* expired for longer, or never issued here */
	ISSUE_REVOKED,
};

struct issue_client {
	enum issue_proof proof;
	enum issue_standing standing;	   /* ISSUE_CERTIFICATE */
	struct str trust_domain, identity; /* ISSUE_CERTIFICATE: "node/vm-a"; else "" */
	struct str node;		   /* ISSUE_TOKEN; issue_node() for a certificate */
	struct address address;		   /* family 0: unknown */
};

/* The node's name of "node/vm-a"; "" for another path. */
struct str issue_node(struct str identity);

/* Whether a client may ask at all: before its request is looked at, which costs more. 0 or a
 * refusal with the text for the client. */
int issue_admit(const struct conf_registration *r, struct str trust_domain,
	const struct issue_client *c, struct err *err);
/* Whether a client that may ask gets this identity. */
int issue_judge(const struct conf_registration *r, struct str trust_domain,
	const struct issue_client *c, struct str wanted_domain, struct str wanted, struct err *err);
