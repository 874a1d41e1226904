/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in the kernel now, read from the output of iptables-save -c: our chains with their
 * rules, and the rules in other chains that lead into them (the hooks). Everything that removes or
 * compares works from this, so that it needs no configuration. */
#pragma once

#include "base/address.h"
#include "base/error.h"
#include "capture.h"
#include <stdbool.h>
#include <stdint.h>

#define RULES_PREFIX "RINGMAIN_"

enum ip_version { IP_V4, IP_V6, IP_VERSION_COUNT };
/* In the order of installing: marks alone do nothing, redirection alone is right, and the guard may
 * only stand when the redirection does. */
enum table { TABLE_MANGLE, TABLE_NAT, TABLE_FILTER, TABLE_COUNT };

const char *table_name(enum table table);

struct live_chain {
	enum table table;
	struct str name;
};

struct live_rule {
	enum table table;
	struct str chain;
	struct str text;   /* "-A CHAIN ..." as iptables-save writes it, without counters */
	uint32_t position; /* in its chain, from 1 */
	uint64_t packets;
	bool hook; /* stands in somebody else's chain */
};

/* Two ends of a connection as the local socket sees them. */
struct tuple {
	struct address local, remote;
};

struct live {
	char *save; /* all spans point into this copy */
	struct live_chain *chains;
	uint32_t chain_count, chain_size;
	struct live_rule *rules;
	uint32_t rule_count, rule_size;
	uint32_t foreign_rule_count; /* other people's, in all tables */
};

/* Parses a whole iptables-save -c output; on an error nothing is left to free. */
int live_init(struct live *l, struct str save, struct err *err) MUST_CHECK;
void live_done(struct live *l);

/* Nothing of ours stands in the kernel. */
bool live_absent(const struct live *l);
bool live_has_chain(const struct live *l, enum table table, const char *name);
/* The users whose connections the guard watches, as the rules say. */
bool live_guards(const struct live *l, uint32_t uid);
/* The guard lets everybody through to this destination. */
bool live_excludes(const struct live *l, const struct address *destination);
/* True when the port is one that captured connections are sent to. */
bool live_redirects_to(const struct live *l, uint16_t port);
/* The connection is one that was open before the guard came and that the guard lets pass. */
bool live_has_earlier(const struct live *l, const struct tuple *t);
/* Rules that are not part of the wanted set because they name single connections. */
bool live_is_earlier(const struct live_rule *rule);
