/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's file: which mesh, where its store is, and whose key signs. Read through the same
 * table of keys as the node's file, whose `mesh` and `state` groups it shares. */
#pragma once

#include "conf/conf.h"

#define CONF_OPERATOR_PATH_DEFAULT "/etc/ringmain/operator.conf"

struct conf_operator {
	struct conf conf; /* trust_domain and state only */
	struct str key;	  /* path of the private key; empty: reads only */
	struct str name;  /* who publishes */
};

/* `b` holds the file as kind conf. -EINVAL with the report. */
int conf_operator_parse(const struct bundle *b, struct conf_operator **ret_operator,
	struct conf_report *report) MUST_CHECK;
/* The same from a node's file, for who only reads. All that does not concern the store is let
 * pass. */
int conf_operator_parse_node(const struct bundle *b, struct conf_operator **ret_operator,
	struct conf_report *report) MUST_CHECK;
void conf_operator_free(struct conf_operator *o);
