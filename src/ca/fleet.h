/* SPDX-License-Identifier: Apache-2.0 */
/* The machines as the authority knows them: which certificates they may still show, by which
 * issuer, and which anchors they are known to have. */
#pragma once

#include "folder.h"
#include "ledger.h"
#include "nodes.h"

struct fleet_node {
	struct str name;
	uint32_t count;		  /* certificates that hold, none of them revoked */
	uint32_t old_count;	  /* those of another issuer than the one in force */
	int64_t own_end_s;	  /* of its own certificate that ends last; 0: none holds */
	int64_t end_s, old_end_s; /* of the last of all, of the last of old_count */
	struct nodes_row shown;
	bool is_current; /* has shown the anchors that are published now */
};

struct fleet {
	struct ledger index, revoked;
	struct fleet_node *nodes; /* in order of their names */
	uint32_t count;
	struct fleet_node by_hand; /* made by `ca issue`: nobody knows where they are */
	char etag[72];		   /* of the anchors that are published now */
	char issuer[LEDGER_ISSUER_TEXT];
};

/* The caller has the lock. */
int fleet_read(
	const struct folder *f, int64_t now_s, struct fleet *ret_fleet, struct err *err) MUST_CHECK;
void fleet_done(struct fleet *t);
bool fleet_is_revoked(const struct fleet *t, struct str serial);
/* NULL: it has no certificate that holds. */
const struct fleet_node *fleet_find(const struct fleet *t, struct str name);
