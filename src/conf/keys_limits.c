/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the table that limits are read by. */
#include "key_words.h"

#define LIMIT(field) FIELD(struct conf_limit_row, field)

_Static_assert(offsetof(struct conf_limit_row, rule) == 0,
	"a limit's row begins as a rule's, whose keys of `match` are read into it");

static const char *const conf_scope_names[] = {"local", "mesh", NULL};
static const char *const conf_away_names[] = {"share", "allow", "deny", NULL};

static const struct conf_key conf_limit_keys[] = {
	KEY("name", LIMIT(rule.name), .required = true,
		.help = "For answers, logs, metrics and `ringmain limits`."),
	KEY("service", LIMIT(service), .required = true, .help = "What may be asked of."),
	KEY("requests", .type = CONF_NUMBER, LIMIT(amount), .required = true, .min = 1,
		.max = 1000000000,
		.help = "So many in each `per`. Of opaque bytes it is connections that count."),
	KEY("per", .type = CONF_DURATION, LIMIT(window_ms), .fallback = "1s", .min = 10,
		.max = 24 * HOUR, .help = "The time that they are for."),
	KEY("burst", .type = CONF_NUMBER, LIMIT(burst), .fallback = "0", .max = 1000000000,
		.help = "With scope \"local\": so many may come at once, after a pause. 0: as many "
			"as `requests`."),
	KEY("scope", .type = CONF_ENUM, LIMIT(scope), .fallback = "local",
		.names = conf_scope_names,
		.help = "Each machine of the service by itself (local), or all of them together "
			"(mesh), through the store."),
	KEY("by", LIST(struct conf_limit_row, by, by_count),
		.help = "A limit of its own for each value, or each combination of values, of: "
			"\"source\" (the caller's identity), \"client\" (the address that the call "
			"comes from), \"route\" (the rule that its proxy went by), \"method\", "
			"\"host\", \"path\", \"header:NAME\", \"cookie:NAME\". What a request does "
			"not have is an empty value. Unless given, one for all."),
	KEY("match", .type = CONF_GROUP, .group = &conf_match_group,
		.help = "Which requests it is about, as in a route's rule; all of them unless "
			"given."),
	KEY("fair", .type = CONF_BOOL, LIMIT(fair), .fallback = "false",
		.help = "When they want more than there is, callers get equal shares: what one "
			"leaves is for the others, and nobody gets less than his share because of "
			"another."),
	KEY("when_away", .type = CONF_ENUM, LIMIT(away), .fallback = "share",
		.names = conf_away_names,
		.help = "With scope \"mesh\", while the store does not answer: each machine gives "
			"its share of the requests (share), or all are let through (allow), or "
			"refused (deny)."),
	KEY("shadow", .type = CONF_BOOL, LIMIT(shadow), .fallback = "false",
		.help = "Counts and logs what it would refuse, and refuses nothing."),
	KEY("body", LIMIT(body), .help = "Of the answer 429: plain text, at most 4096 bytes."),
};
const struct conf_group conf_limit_group = {GROUP_OF(conf_limit_keys),
	.row_size = sizeof(struct conf_limit_row), .keeps_setting = true};
