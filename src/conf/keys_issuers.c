/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the table that issuers of tokens are read by. */
#include "key_words.h"
#include "mesh/issuer.h"

#define ISSUER(field) FIELD(struct conf_issuer_row, field)

static const struct conf_key conf_issuer_keys[] = {
	KEY("name", ISSUER(name), .required = true,
		.help = "For policies, and for the file of its keys: lower-case letters, digits "
			"and '-'."),
	KEY("issuer", ISSUER(issuer), .required = true,
		.help = "What its tokens have as \"iss\", exactly."),
	KEY("audiences", LIST(struct conf_issuer_row, audiences, audience_count),
		.help = "One of them is in \"aud\"; whatever that is unless given."),
	KEY("jwks_url", ISSUER(url),
		.help = "https URL of its keys, a JWK Set. Each machine fetches them by itself, "
			"never while a request waits. Unless given, they are a file on each "
			"machine (tokens.dir)."),
	KEY("header", ISSUER(header), .fallback = ISSUER_TOKEN_HEADER,
		.help = "In which requests carry its tokens: \"authorization\" behind \"Bearer\", "
			"any other one alone. A request with several tokens has none."),
	KEY("leeway", .type = CONF_DURATION, ISSUER(leeway_ms), .fallback = "30s",
		.max = ISSUER_LEEWAY_MAX_MS,
		.help = "How much its clock and ours may differ, for \"exp\", \"nbf\" and "
			"\"iat\"."),
	KEY("forward", .type = CONF_BOOL, ISSUER(is_forwarded), .fallback = "true",
		.help = "Whether a workload whose policies ask for tokens gets the header, too."),
};
const struct conf_group conf_issuer_group = {GROUP_OF(conf_issuer_keys),
	.row_size = sizeof(struct conf_issuer_row), .keeps_setting = true};
