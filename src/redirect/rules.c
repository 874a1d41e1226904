/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <stdio.h>

#define RULES_SYN    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
#define RULES_REJECT "-j REJECT --reject-with tcp-reset"

struct rules_chain {
	enum table table;
	const char *name;
};

static const struct rules_chain rules_chains[] = {
	{TABLE_MANGLE, RULES_MARK},
	{TABLE_NAT, RULES_OUT},
	{TABLE_NAT, RULES_LOCAL},
	{TABLE_NAT, RULES_IN},
	{TABLE_FILTER, RULES_GUARD},
	{TABLE_FILTER, RULES_LEAVE},
	{TABLE_FILTER, RULES_OWN},
	{TABLE_FILTER, RULES_ENTRY},
};

struct rules_hook {
	enum table table;
	const char *chain, *match, *target;
};

static const struct rules_hook rules_hooks[] = {
	{TABLE_MANGLE, "OUTPUT", RULES_SYN, RULES_MARK},
	{TABLE_NAT, "OUTPUT", RULES_SYN, RULES_OUT},
	{TABLE_NAT, "PREROUTING", RULES_SYN, RULES_IN},
	{TABLE_FILTER, "OUTPUT", "-p tcp", RULES_GUARD},
	{TABLE_FILTER, "INPUT", RULES_SYN, RULES_ENTRY},
};

/* "15001-15016", or "15001" for a range of one. */
static void rules_range(char ret_text[16], struct port_range range, char between)
{
	if (range.first == range.last)
		snprintf(ret_text, 16, "%u", range.first);
	else
		snprintf(ret_text, 16, "%u%c%u", range.first, between, range.last);
}

static void rules_excluded(
	struct text *t, const struct capture *p, enum ip_version v, const char *chain)
{
	for (uint32_t i = 0; i < p->excluded_count; i++) {
		const struct address_range *range = &p->excluded[i];
		if ((range->base.family == AF_INET6) != (v == IP_V6))
			continue;
		char ip[ADDRESS_TEXT_MAX];
		/* A range of everything is saved without -d. */
		if (range->prefix_len == 0)
			text_add(t, "-A %s -j RETURN\n", chain);
		else
			text_add(t, "-A %s -d %s/%u -j RETURN\n", chain,
				address_ip_text(&range->base, ip), range->prefix_len);
	}
}

static void rules_mangle(struct text *t, const struct capture *p)
{
	text_add(t, "-A " RULES_MARK " -m owner --uid-owner %u -j RETURN\n", p->proxy_uid);
	/* First nobody, then somebody: a mark that a process set itself counts for nothing. */
	text_add(t, "-A " RULES_MARK " -j MARK --set-xmark 0x0/0x%x\n", p->mark_mask);
	for (uint32_t i = 0; i < p->uid_count; i++)
		text_add(t,
			"-A " RULES_MARK " -m owner --uid-owner %u -j MARK --set-xmark 0x%x/0x%x\n",
			p->uids[i].uid, capture_mark_bits(p, p->uids[i].number), p->mark_mask);
}

static void rules_nat(struct text *t, const struct capture *p, enum ip_version v)
{
	char out[16], in[16], ports[16];
	rules_range(out, p->outbound, '-');
	rules_range(in, p->inbound, '-');
	text_add(t, "-A " RULES_OUT " -m owner --uid-owner %u -j RETURN\n", p->proxy_uid);
	/* Before the exclusions: an excluded range that holds the machine's own address must not
	 * open a way around the policies of the services here. */
	text_add(t, "-A " RULES_OUT " -m addrtype --dst-type LOCAL -g " RULES_LOCAL "\n");
	rules_excluded(t, p, v, RULES_OUT);
	text_add(t, "-A " RULES_OUT " -m mark --mark 0x0/0x%x -j RETURN\n", p->mark_mask);
	text_add(t, "-A " RULES_OUT " -p tcp -j REDIRECT --to-ports %s\n", out);
	for (uint32_t i = 0; i < p->port_count; i++) {
		rules_range(ports, p->ports[i], ':');
		text_add(t,
			"-A " RULES_LOCAL " -p tcp -m tcp --dport %s -j REDIRECT --to-ports %s\n",
			ports, out);
	}
	for (uint32_t i = 0; i < p->port_count; i++) {
		rules_range(ports, p->ports[i], ':');
		text_add(t, "-A " RULES_IN " -p tcp -m tcp --dport %s -j REDIRECT --to-ports %s\n",
			ports, in);
	}
}

static void rules_filter(struct text *t, const struct capture *p, enum ip_version v)
{
	char out[16], ports[16];
	rules_range(out, p->outbound, ':');
	/* Redirected packets carry the loopback address here already. */
	text_add(t, "-A " RULES_GUARD " -m addrtype --dst-type LOCAL -g " RULES_OWN "\n");
	text_add(t, "-A " RULES_GUARD " -m conntrack --ctdir REPLY -j RETURN\n");
	/* A captured connection whose translation is gone. Needs no owner, so it holds for what a
	 * process left behind when it closed, too. */
	text_add(t,
		"-A " RULES_GUARD " -p tcp -m conntrack --ctstate DNAT --ctreplsrc %s "
		"--ctreplsrcport %s " RULES_REJECT "\n",
		v == IP_V4 ? "127.0.0.1" : "::1", out);
	rules_excluded(t, p, v, RULES_GUARD);
	for (uint32_t i = 0; i < p->uid_count; i++)
		text_add(t, "-A " RULES_GUARD " -m owner --uid-owner %u -g " RULES_LEAVE "\n",
			p->uids[i].uid);
	text_add(t, "-A " RULES_LEAVE " -p tcp " RULES_REJECT "\n");
	text_add(t, "-A " RULES_OWN " -m owner --uid-owner %u -j RETURN\n", p->proxy_uid);
	for (uint32_t i = 0; i < p->port_count; i++) {
		rules_range(ports, p->ports[i], ':');
		text_add(t,
			"-A " RULES_OWN
			" -p tcp -m tcp --dport %s --tcp-flags FIN,SYN,RST,ACK SYN " RULES_REJECT
			"\n",
			ports);
	}
	for (uint32_t i = 0; i < p->port_count; i++) {
		rules_range(ports, p->ports[i], ':');
		/* What comes over loopback was judged on its way out: the proxy delivers there. */
		text_add(t,
			"-A " RULES_ENTRY " ! -i lo -p tcp -m tcp --dport %s " RULES_REJECT "\n",
			ports);
	}
}

void rules_wanted(struct text *t, const struct capture *p, enum ip_version v, enum table table)
{
	switch (table) {
	case TABLE_MANGLE:
		rules_mangle(t, p);
		break;
	case TABLE_NAT:
		rules_nat(t, p, v);
		break;
	case TABLE_FILTER:
		rules_filter(t, p, v);
		break;
	case TABLE_COUNT:
		break;
	}
}

void rules_earlier_line(const struct tuple *t, char ret_line[RULES_EARLIER_MAX])
{
	char local[ADDRESS_TEXT_MAX], remote[ADDRESS_TEXT_MAX];
	int bits = t->local.family == AF_INET6 ? 128 : 32;
	snprintf(ret_line, RULES_EARLIER_MAX,
		"-A " RULES_LEAVE
		" -s %s/%d -d %s/%d -p tcp -m tcp --sport %u --dport %u -j RETURN",
		address_ip_text(&t->local, local), bits, address_ip_text(&t->remote, remote), bits,
		t->local.port, t->remote.port);
}

static bool rules_knows_chain(enum table table, struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(rules_chains); i++)
		if (rules_chains[i].table == table && str_eq(name, str_of(rules_chains[i].name)))
			return true;
	return false;
}

/* "-D ..." for each rule that leads into our chains, whoever wrote it. */
static void rules_unhook(struct text *t, enum table table, const struct live *live)
{
	for (uint32_t i = 0; i < live->rule_count; i++) {
		const struct live_rule *rule = &live->rules[i];
		if (rule->table == table && rule->hook)
			text_add(t, "-D" STR_FMT "\n", (int)rule->text.len - 2, rule->text.at + 2);
	}
}

void rules_install(struct text *t, const struct capture *p, enum ip_version v, enum table table,
	const struct live *live, const struct tuple *earlier, uint32_t earlier_count)
{
	text_add(t, "*%s\n", table_name(table));
	for (size_t i = 0; i < ARRAY_LEN(rules_chains); i++)
		if (rules_chains[i].table == table)
			text_add(t, ":%s - [0:0]\n", rules_chains[i].name);
	uint8_t family = v == IP_V6 ? AF_INET6 : AF_INET;
	for (uint32_t i = 0; table == TABLE_FILTER && i < earlier_count; i++) {
		char line[RULES_EARLIER_MAX];
		if (earlier[i].local.family != family)
			continue;
		rules_earlier_line(&earlier[i], line);
		text_add(t, "%s\n", line);
	}
	rules_wanted(t, p, v, table);
	rules_unhook(t, table, live);
	for (size_t i = 0; i < ARRAY_LEN(rules_hooks); i++) {
		const struct rules_hook *hook = &rules_hooks[i];
		if (hook->table == table)
			text_add(t, "-I %s 1 %s -j %s\n", hook->chain, hook->match, hook->target);
	}
	/* Chains that an older version left behind. */
	for (uint32_t i = 0; i < live->chain_count; i++) {
		struct live_chain chain = live->chains[i];
		if (chain.table == table && !rules_knows_chain(table, chain.name))
			text_add(t, "-F " STR_FMT "\n-X " STR_FMT "\n", STR_ARG(chain.name),
				STR_ARG(chain.name));
	}
	text_add(t, "COMMIT\n");
}

void rules_remove(struct text *t, enum table table, const struct live *live)
{
	struct text body;
	text_init(&body);
	rules_unhook(&body, table, live);
	for (uint32_t i = 0; i < live->chain_count; i++)
		if (live->chains[i].table == table)
			text_add(&body, "-F " STR_FMT "\n", STR_ARG(live->chains[i].name));
	for (uint32_t i = 0; i < live->chain_count; i++)
		if (live->chains[i].table == table)
			text_add(&body, "-X " STR_FMT "\n", STR_ARG(live->chains[i].name));
	if (body.len > 0)
		text_add(t, "*%s\n%sCOMMIT\n", table_name(table), text_at(&body));
	t->failed |= body.failed;
	text_done(&body);
}

void rules_unhook_nat(struct text *t, const struct live *live)
{
	struct text body;
	text_init(&body);
	rules_unhook(&body, TABLE_NAT, live);
	if (body.len > 0)
		text_add(t, "*nat\n%sCOMMIT\n", text_at(&body));
	t->failed |= body.failed;
	text_done(&body);
}

void rules_relax_guard(struct text *t, const struct live *live)
{
	bool leave = live_has_chain(live, TABLE_FILTER, RULES_LEAVE);
	bool own = live_has_chain(live, TABLE_FILTER, RULES_OWN);
	bool entry = live_has_chain(live, TABLE_FILTER, RULES_ENTRY);
	if (!leave && !own && !entry)
		return;
	text_add(t, "*filter\n");
	if (leave)
		text_add(t, "-I " RULES_LEAVE " 1 -m conntrack --ctstate ESTABLISHED -j RETURN\n"
			    "-I " RULES_LEAVE " 1 " RULES_SYN " -j RETURN\n");
	if (own)
		text_add(t, "-F " RULES_OWN "\n");
	if (entry)
		text_add(t, "-F " RULES_ENTRY "\n");
	text_add(t, "COMMIT\n");
}

/* The next rule of a chain in the kernel, single connections left out; NULL at the end. */
static const struct live_rule *rules_next_live(
	const struct live *live, enum table table, const char *chain, uint32_t *index)
{
	while (*index < live->rule_count) {
		const struct live_rule *rule = &live->rules[(*index)++];
		if (rule->table == table && str_eq(rule->chain, str_of(chain)) &&
			!live_is_earlier(rule))
			return rule;
	}
	return NULL;
}

/* The next wanted rule of a chain; at == NULL at the end. */
static struct str rules_next_wanted(const char *chain, const char **at)
{
	char start[64];
	size_t len = (size_t)snprintf(start, sizeof(start), "-A %s ", chain);
	while (**at) {
		const char *line = *at, *end = strchr(line, '\n');
		*at = end + 1;
		if (strncmp(line, start, len) == 0)
			return (struct str){line, (size_t)(end - line)};
	}
	return STR_NONE;
}

static bool rules_chain_matches(const struct rules_chain *chain, const char *wanted,
	const struct live *live, struct err *detail)
{
	uint32_t index = 0;
	for (;;) {
		struct str want = rules_next_wanted(chain->name, &wanted);
		const struct live_rule *have =
			rules_next_live(live, chain->table, chain->name, &index);
		if (!want.at && !have)
			return true;
		if (want.at && have && str_eq(want, have->text))
			continue;
		if (want.at)
			err_set(detail, 1, "%s %s: missing \"" STR_FMT "\"",
				table_name(chain->table), chain->name, STR_ARG(want));
		else
			err_set(detail, 1, "%s %s: unexpected \"" STR_FMT "\"",
				table_name(chain->table), chain->name, STR_ARG(have->text));
		return false;
	}
}

static bool rules_hook_matches(
	const struct rules_hook *hook, const struct live *live, struct err *detail)
{
	char line[256];
	snprintf(line, sizeof(line), "-A %s %s -j %s", hook->chain, hook->match, hook->target);
	const struct live_rule *found = NULL;
	for (uint32_t i = 0; i < live->rule_count && !found; i++)
		if (live->rules[i].table == hook->table &&
			str_eq(live->rules[i].text, str_of(line)))
			found = &live->rules[i];
	const char *table = table_name(hook->table);
	if (!found)
		err_set(detail, 1, "%s %s: no jump to %s", table, hook->chain, hook->target);
	else if (found->position != 1)
		err_set(detail, 1, "%s %s: the jump to %s is rule %u; others stand before it",
			table, hook->chain, hook->target, found->position);
	return found && found->position == 1;
}

bool rules_match(
	const struct capture *p, enum ip_version v, const struct live *live, struct err *detail)
{
	bool match = true;
	for (enum table table = 0; match && table < TABLE_COUNT; table++) {
		struct text wanted;
		text_init(&wanted);
		rules_wanted(&wanted, p, v, table);
		for (size_t i = 0; match && i < ARRAY_LEN(rules_chains); i++) {
			if (rules_chains[i].table != table)
				continue;
			match = live_has_chain(live, table, rules_chains[i].name);
			if (!match)
				err_set(detail, 1, "%s: no chain %s", table_name(table),
					rules_chains[i].name);
			else
				match = rules_chain_matches(
					&rules_chains[i], text_at(&wanted), live, detail);
		}
		text_done(&wanted);
	}
	for (size_t i = 0; match && i < ARRAY_LEN(rules_hooks); i++)
		match = rules_hook_matches(&rules_hooks[i], live, detail);
	uint32_t hook_count = 0;
	for (uint32_t i = 0; i < live->rule_count; i++)
		hook_count += live->rules[i].hook;
	if (match && hook_count != ARRAY_LEN(rules_hooks)) {
		err_set(detail, 1, "%u jumps into our chains instead of %zu", hook_count,
			ARRAY_LEN(rules_hooks));
		match = false;
	}
	return match;
}
