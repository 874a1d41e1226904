/* SPDX-License-Identifier: Apache-2.0 */
#include "show.h"

#include "base/json.h"
#include "rules.h"
#include <stdio.h>
#include <string.h>

static const char *show_state(int outcome)
{
	return outcome == CHECK_IN_PLACE ? "in place"
	       : outcome == CHECK_ABSENT ? "absent"
					 : "drifted";
}

/* Packets that the rules of a chain have seen which contain `part`, both IP versions. */
static uint64_t show_count(
	const struct live *live, enum table table, const char *chain, const char *part)
{
	uint64_t packets = 0;
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
		for (uint32_t i = 0; i < live[v].rule_count; i++) {
			const struct live_rule *rule = &live[v].rules[i];
			if (rule->table == table && str_eq(rule->chain, str_of(chain)) &&
				memmem(rule->text.at, rule->text.len, part, strlen(part)))
				packets += rule->packets;
		}
	return packets;
}

static uint64_t show_opened(const struct live *live, uint32_t uid)
{
	char part[64];
	snprintf(part, sizeof(part), " --uid-owner %u -j MARK ", uid);
	return show_count(live, TABLE_MANGLE, RULES_MARK, part);
}

static uint64_t show_stray(const struct live *live, uint32_t uid)
{
	char part[64];
	snprintf(part, sizeof(part), " --uid-owner %u -g " RULES_LEAVE, uid);
	return show_count(live, TABLE_FILTER, RULES_GUARD, part);
}

static uint64_t show_resets(const struct live *live)
{
	static const char part[] = " -j REJECT ";
	return show_count(live, TABLE_FILTER, RULES_GUARD, part) +
	       show_count(live, TABLE_FILTER, RULES_LEAVE, part) +
	       show_count(live, TABLE_FILTER, RULES_OWN, part) +
	       show_count(live, TABLE_FILTER, RULES_ENTRY, part);
}

static uint32_t show_earlier(const struct live *live)
{
	uint32_t count = 0;
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
		for (uint32_t i = 0; i < live[v].rule_count; i++)
			count += live_is_earlier(&live[v].rules[i]);
	return count;
}

static uint32_t show_number(const struct capture *p, uint32_t uid)
{
	for (uint32_t i = 0; i < p->uid_count; i++)
		if (p->uids[i].uid == uid)
			return p->uids[i].number;
	return 0;
}

static void show_head(const struct source *s, const struct tool *t, const struct live *live,
	int outcome, const char *detail)
{
	const struct capture *p = &s->capture;
	struct err err;
	char backend[TOOL_NAME_MAX] = "unknown";
	if (tool_backend(t, backend, &err) < 0)
		snprintf(backend, sizeof(backend), "unknown");
	printf("rules        %s%s%s\n", show_state(outcome), *detail ? ": " : "", detail);
	printf("back end     %s (%s)\n", backend, t->restore[IP_V4]);
	printf("outbound to  ports %u-%u\n", p->outbound.first, p->outbound.last);
	printf("inbound to   ports %u-%u\n", p->inbound.first, p->inbound.last);
	printf("mark mask    0x%08x\n", p->mark_mask);
	printf("never        uid %u (" STR_FMT ", the proxy), root, and users not listed below\n",
		p->proxy_uid, STR_ARG(s->conf->user));
	printf("excluded    ");
	for (uint32_t i = 0; i < p->excluded_count; i++) {
		char ip[ADDRESS_TEXT_MAX];
		printf(" %s/%u", address_ip_text(&p->excluded[i].base, ip),
			p->excluded[i].prefix_len);
	}
	printf("%s\n", p->excluded_count ? "" : " nothing");
	printf("reset        %llu packets that would have gone past the mesh\n",
		(unsigned long long)show_resets(live));
	printf("spared       %u connections older than the rules\n\n", show_earlier(live));
}

void show_table(const struct source *s, const struct tool *t, const struct live *live, int outcome,
	const char *detail)
{
	show_head(s, t, live, outcome, detail);
	printf("%-20s %-16s %8s %5s %6s %10s %10s\n", "WORKLOAD", "USER", "UID", "MARK", "PORT",
		"OPENED", "PAST");
	for (uint32_t i = 0; i < s->conf->workload_count; i++) {
		const struct conf_workload *w = &s->conf->workloads[i];
		char port[8] = "-";
		if (w->port)
			snprintf(port, sizeof(port), "%u", w->port);
		printf("%-20.*s %-16.*s %8u %5u %6s %10llu %10llu\n", STR_ARG(w->service),
			STR_ARG(w->user), w->uid, show_number(&s->capture, w->uid), port,
			(unsigned long long)show_opened(live, w->uid),
			(unsigned long long)show_stray(live, w->uid));
	}
	printf("\nOPENED: connections this user started since the rules were put in; PAST: its "
	       "packets "
	       "that the guard looked at.\n");
}

static void show_json_workloads(struct json *j, const struct source *s, const struct live *live)
{
	json_key(j, "workloads");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->conf->workload_count; i++) {
		const struct conf_workload *w = &s->conf->workloads[i];
		json_open(j, '{');
		json_key(j, "service");
		json_str(j, w->service);
		json_key(j, "user");
		json_str(j, w->user);
		json_key(j, "uid");
		json_u64(j, w->uid);
		json_key(j, "mark");
		json_u64(j, show_number(&s->capture, w->uid));
		json_key(j, "port");
		json_u64(j, w->port);
		json_key(j, "opened");
		json_u64(j, show_opened(live, w->uid));
		json_key(j, "past");
		json_u64(j, show_stray(live, w->uid));
		json_close(j, '}');
	}
	json_close(j, ']');
}

void show_json(const struct source *s, const struct tool *t, const struct live *live, int outcome,
	const char *detail)
{
	struct json j;
	struct err err;
	char backend[TOOL_NAME_MAX] = "unknown";
	if (tool_backend(t, backend, &err) < 0)
		snprintf(backend, sizeof(backend), "unknown");
	json_init(&j, 4u << 20);
	json_open(&j, '{');
	json_key(&j, "state");
	json_str(&j, str_of(show_state(outcome)));
	json_key(&j, "detail");
	json_str(&j, str_of(detail));
	json_key(&j, "backend");
	json_str(&j, str_of(backend));
	json_key(&j, "reset");
	json_u64(&j, show_resets(live));
	json_key(&j, "spared");
	json_u64(&j, show_earlier(live));
	show_json_workloads(&j, s, live);
	json_close(&j, '}');
	json_newline(&j);
	fwrite(j.text ? j.text : "", 1, j.len, stdout);
	json_done(&j);
}
