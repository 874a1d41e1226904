/* SPDX-License-Identifier: Apache-2.0 */
/* Opaque bytes to a service whose rules ask for what only HTTP has. */
#include "policy_private.h"

uint64_t policy_header_bit(struct str name)
{
	uint64_t h = name.len;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];
		c = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
		h = (h ^ (unsigned char)c) * UINT64_C(0x100000001b3);
	}
	return UINT64_C(1) << (h >> 20 & 63);
}

static void policy_want(struct policy_wants *wants, const struct policy *p)
{
	wants->token = wants->token || p->token.is_wanted;
	for (uint32_t i = 0; i < p->headers.count; i++)
		wants->headers |= policy_header_bit(p->headers.at[i].name);
	if (p->action == POLICY_AUDIT || !policy_asks_http(p))
		return;
	if (p->mode == POLICY_ENFORCED && !wants->http)
		wants->http = p;
	if (p->mode == POLICY_AUDITED && !wants->audited_http)
		wants->audited_http = p;
}

struct policy_wants policy_wants_of(const struct service *service)
{
	struct policy_wants wants = {0};
	for (uint32_t i = 0; i < service->policy_count; i++)
		policy_want(&wants, service->policies[i]);
	return wants;
}

bool policy_asks_token(const struct service *service)
{
	return policy_wants(service).token;
}

const struct policy *policy_check_bytes(
	const struct snapshot *s, const struct service *service, struct policy_verdict *v)
{
	struct policy_wants wants = policy_wants(service);
	const struct policy *by = wants.http ? wants.http : wants.audited_http;
	if (!by || (v->policy && !v->allowed && !policy_asks_http(v->policy)))
		return NULL;
	if (wants.http && !s->is_audited) {
		by = v->allowed || !v->policy ? by : v->policy;
		*v = (struct policy_verdict){.policy = v->policy, .by = v->by};
		return by;
	}
	if (v->allowed && !v->would_deny) {
		v->would_deny = true;
		v->audited = by;
	}
	return NULL;
}
