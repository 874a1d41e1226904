/* SPDX-License-Identifier: Apache-2.0 */
/* The rules:
 *
 *   - a join token gets the certificate of the node that it is for, and nothing else;
 *   - a node's certificate, while it is good, gets the node's own and what the registration gives
 *     the node;
 *   - a node's certificate that has expired, for a while, gets the node's own certificate and
 *     nothing else;
 *   - no other certificate gets anything: a workload does not ask, its node does;
 *   - a node that is not in the registration gets nothing, whatever it shows. */
#include "issue.h"

#include <stdarg.h>
#include <stdio.h>

static int issue_refuse(struct err *err, enum authority_refusal refusal, const char *format, ...)
	PRINTF_LIKE(3, 4);

static int issue_refuse(struct err *err, enum authority_refusal refusal, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return (int)refusal;
}

struct str issue_node(struct str identity)
{
	struct str prefix = STR("node/");
	if (!str_starts(identity, prefix))
		return STR("");
	struct str name = {identity.at + prefix.len, identity.len - prefix.len};
	return conf_node_name_valid(name) ? name : STR("");
}

static int issue_check_certificate(
	struct str trust_domain, const struct issue_client *c, struct err *err)
{
	if (!str_eq(c->trust_domain, trust_domain))
		return issue_refuse(
			err, AUTHORITY_FORBIDDEN, "the certificate is of another trust domain");
	if (issue_node(c->identity).len == 0)
		return issue_refuse(err, AUTHORITY_FORBIDDEN,
			"\"%.*s\" asks for nothing: a node asks for its workloads",
			STR_ARG(c->identity));
	switch (c->standing) {
	case ISSUE_GOOD:
	case ISSUE_EXPIRED:
		return 0;
	case ISSUE_OVER:
		return issue_refuse(err, AUTHORITY_FORBIDDEN,
			"the certificate has expired for too long; join again with a new token: "
			"ringmain ca token %.*s",
			STR_ARG(issue_node(c->identity)));
	case ISSUE_REVOKED:
		return issue_refuse(err, AUTHORITY_FORBIDDEN, "the certificate is revoked");
	}
	ASSERT(!"a certificate has a standing");
}

static int issue_check_address(
	const struct conf_registered *node, const struct issue_client *c, struct err *err)
{
	for (uint32_t i = 0; i < node->address_count; i++) {
		if (c->address.family && address_in(&c->address, &node->addresses[i]))
			return 0;
	}
	if (node->address_count == 0)
		return 0;
	return issue_refuse(err, AUTHORITY_FORBIDDEN,
		"the registration does not let node \"%.*s\" ask from this address",
		STR_ARG(node->name));
}

static struct str issue_client_node(const struct issue_client *c)
{
	return c->proof == ISSUE_CERTIFICATE ? issue_node(c->identity) : c->node;
}

int issue_admit(const struct conf_registration *r, struct str trust_domain,
	const struct issue_client *c, struct err *err)
{
	if (c->proof == ISSUE_NOTHING)
		return issue_refuse(
			err, AUTHORITY_UNKNOWN, "a node's certificate or a join token is needed");
	if (c->proof == ISSUE_BAD_TOKEN)
		return issue_refuse(err, AUTHORITY_UNKNOWN,
			"the join token is unknown, over, used, or of another node");
	int refusal =
		c->proof == ISSUE_CERTIFICATE ? issue_check_certificate(trust_domain, c, err) : 0;
	if (refusal)
		return refusal;
	const struct conf_registered *node = conf_registered_find(r, issue_client_node(c));
	if (!node)
		return issue_refuse(err, AUTHORITY_FORBIDDEN, "node \"%.*s\" is not registered",
			STR_ARG(issue_client_node(c)));
	return issue_check_address(node, c, err);
}

static bool issue_is_registered(const struct conf_registered *node, struct str identity)
{
	for (uint32_t i = 0; i < node->identity_count; i++) {
		if (str_eq(node->identities[i], identity))
			return true;
	}
	return false;
}

int issue_judge(const struct conf_registration *r, struct str trust_domain,
	const struct issue_client *c, struct str wanted_domain, struct str wanted, struct err *err)
{
	int refusal = issue_admit(r, trust_domain, c, err);
	if (refusal)
		return refusal;
	struct str name = issue_client_node(c);
	if (!str_eq(wanted_domain, trust_domain))
		return issue_refuse(err, AUTHORITY_FORBIDDEN,
			"this is the authority of \"%.*s\", not of \"%.*s\"", STR_ARG(trust_domain),
			STR_ARG(wanted_domain));
	if (str_starts(wanted, STR("node/"))) {
		if (str_eq(issue_node(wanted), name))
			return 0;
		return issue_refuse(err, AUTHORITY_FORBIDDEN,
			"node \"%.*s\" gets no other node's identity", STR_ARG(name));
	}
	if (c->proof == ISSUE_TOKEN)
		return issue_refuse(err, AUTHORITY_FORBIDDEN,
			"a join token is for the node's own identity only");
	if (c->standing != ISSUE_GOOD)
		return issue_refuse(err, AUTHORITY_FORBIDDEN,
			"the node's certificate has expired: it renews itself first");
	if (issue_is_registered(conf_registered_find(r, name), wanted))
		return 0;
	return issue_refuse(err, AUTHORITY_FORBIDDEN,
		"\"%.*s\" is not registered for node \"%.*s\"; if it should be, run at the "
		"authority: ringmain ca allow %.*s %.*s",
		STR_ARG(wanted), STR_ARG(name), STR_ARG(name), STR_ARG(wanted));
}
