/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the authority's two files. */
#include "conf/authority.h"
#include "key_words.h"

#define DAY (24 * HOUR)

static const struct conf_key conf_ca_authority_keys[] = {
	KEY("trust_domain", FIELD(struct conf_ca, trust_domain), .required = true, .restart = true,
		.help = "The trust domain whose certificates it makes; the issuer's certificate "
			"names the same."),
	KEY("listen", .type = CONF_ADDRESS_PORT, LIST(struct conf_ca, listen, listen_count),
		.help = "Where `ringmain ca serve` is asked: \"10.77.0.5:8443\", or a list."),
	KEY("names", LIST(struct conf_ca, names, name_count),
		.help = "DNS names and further addresses that the server's certificate is for, "
			"besides those of `listen`: what nodes have as identity.ca."),
};

static const struct conf_key conf_ca_lifetimes_keys[] = {
	KEY("leaf", .type = CONF_DURATION, FIELD(struct conf_ca, leaf_ms), .fallback = "1h",
		.min = 2 * SECOND, .max = 366 * DAY,
		.help = "Of a workload's certificate. It is renewed at half of it, so half of it "
			"is also how long an outage of the authority is not felt."),
	KEY("node", .type = CONF_DURATION, FIELD(struct conf_ca, node_ms), .fallback = "24h",
		.min = 2 * SECOND, .max = 366 * DAY,
		.help = "Of a machine's own certificate, which it asks with."),
	KEY("comeback", .type = CONF_DURATION, FIELD(struct conf_ca, comeback_ms),
		.fallback = "30d", .min = 0, .max = 366 * DAY,
		.help = "How long after its end a machine's certificate still renews itself, "
			"unless it is revoked or the registration is gone. \"0s\": never; such a "
			"machine needs a new join token."),
	KEY("crl", .type = CONF_DURATION, FIELD(struct conf_ca, crl_ms), .fallback = "24h",
		.min = 4 * SECOND, .max = 30 * DAY,
		.help = "How long a revocation list holds. A new one is made when a quarter of it "
			"is over, and at once when something is revoked."),
	KEY("backdate", .type = CONF_DURATION, FIELD(struct conf_ca, backdate_ms),
		.fallback = "60s", .min = 0, .max = HOUR,
		.help = "What certificates and revocation lists begin earlier, for clocks that "
			"are behind."),
	KEY("token", .type = CONF_DURATION, FIELD(struct conf_ca, token_ms), .fallback = "10m",
		.min = SECOND, .max = 30 * DAY, .help = "Of a join token."),
};

static const struct conf_key conf_ca_limits_keys[] = {
	KEY("node_per_minute", .type = CONF_NUMBER, FIELD(struct conf_ca, node_per_minute),
		.fallback = "60", .min = 1, .max = 1000000,
		.help = "Certificates that one machine gets in a minute, in the long run."),
	KEY("node_burst", .type = CONF_NUMBER, FIELD(struct conf_ca, node_burst), .fallback = "60",
		.min = 1, .max = 1000000, .help = "How many of them at once."),
	KEY("all_per_second", .type = CONF_NUMBER, FIELD(struct conf_ca, all_per_second),
		.fallback = "500", .min = 1, .max = 1000000,
		.help = "Certificates for all machines together; of each instance."),
};

static const struct conf_group conf_ca_authority_group = {GROUP_OF(conf_ca_authority_keys)};
static const struct conf_group conf_ca_lifetimes_group = {GROUP_OF(conf_ca_lifetimes_keys)};
static const struct conf_group conf_ca_limits_group = {GROUP_OF(conf_ca_limits_keys)};

static const struct conf_key conf_ca_root_keys[] = {
	KEY("authority", .type = CONF_GROUP, .group = &conf_ca_authority_group,
		.help = "What it is the authority of, and where it is asked."),
	KEY("lifetimes", .type = CONF_GROUP, .group = &conf_ca_lifetimes_group,
		.help = "How long things hold. A certificate ends with its issuer at the latest."),
	KEY("limits", .type = CONF_GROUP, .group = &conf_ca_limits_group,
		.help = "What is too much. Who is over it is told when to ask again."),
};

static const struct conf_key conf_registered_keys[] = {
	KEY("name", FIELD(struct conf_registered, name), .required = true,
		.help = "The machine, as its own node.name has it."),
	KEY("identities", LIST(struct conf_registered, identities, identity_count),
		.help = "The services, or whole paths such as \"service/orders\", that it may have "
			"certificates for. Its own, node/<name>, goes without saying."),
	KEY("addresses", .type = CONF_RANGE, LIST(struct conf_registered, addresses, address_count),
		.help = "From where it may ask: addresses or ranges. Anywhere unless given."),
};

static const struct conf_group conf_registered_group = {GROUP_OF(conf_registered_keys),
	.row_size = sizeof(struct conf_registered), .keeps_setting = true};

static const struct conf_key conf_registration_root_keys[] = {
	KEY("nodes", ROWS(struct conf_registration, nodes, node_count, &conf_registered_group),
		.help = "The machines of the mesh. Who is not here gets nothing."),
};

const struct conf_group conf_ca_root = {GROUP_OF(conf_ca_root_keys)};
const struct conf_group conf_registration_root = {GROUP_OF(conf_registration_root_keys)};
