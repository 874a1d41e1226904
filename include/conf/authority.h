/* SPDX-License-Identifier: Apache-2.0 */
/* The two files of an authority: its settings, and the registration, which says what node may hold
 * which identities. Read through the table of keys, as the node's file is. */
#pragma once

#include "base/address.h"
#include "base/arena.h"
#include "base/bundle.h"
#include "conf/conf.h"
#include <stdbool.h>
#include <stdint.h>

struct conf_ca {
	struct arena arena;
	struct str trust_domain;
	struct address *listen; /* with ports */
	uint32_t listen_count;
	struct str *names; /* DNS names and addresses, for the server's certificate */
	uint32_t name_count;
	uint64_t leaf_ms, node_ms, comeback_ms, crl_ms, backdate_ms, token_ms;
	uint32_t node_per_minute, node_burst, all_per_second;
};

struct conf_registered {
	const void *setting; /* for errors while it is read; then NULL */
	struct str name;
	struct str *identities; /* paths: "service/orders" */
	uint32_t identity_count;
	struct address_range *addresses; /* where it asks from; none: anywhere */
	uint32_t address_count;
};

struct conf_registration {
	struct arena arena;
	struct conf_registered *nodes;
	uint32_t node_count;
};

/* `b` holds the file as kind conf. -EINVAL with the report. */
int conf_ca_parse(
	const struct bundle *b, struct conf_ca **ret_ca, struct conf_report *report) MUST_CHECK;
void conf_ca_free(struct conf_ca *c);
int conf_registration_parse(const struct bundle *b, struct conf_registration **ret_registration,
	struct conf_report *report) MUST_CHECK;
void conf_registration_free(struct conf_registration *r);

/* A node's name as the authority takes it: one segment of a SPIFFE path, at most 63 bytes. */
bool conf_node_name_valid(struct str name);
/* "orders" or "service/orders" → "service/orders" with a NUL behind, into `path`; false: no such
 * identity may be registered, `why` says it. */
#define CONF_IDENTITY_MAX 255
bool conf_identity_path(struct str text, char path[CONF_IDENTITY_MAX + 1], struct err *why);
/* NULL: not registered. */
const struct conf_registered *conf_registered_find(
	const struct conf_registration *r, struct str node);
