/* SPDX-License-Identifier: Apache-2.0 */
/* Policies out of what the running proxy has let in, to begin with: how far they can be trusted is
 * told above them. */
#include "authz_suggest.h"

#include "suggest.h"

#define SUGGEST_ARENA_MAX (512u << 20)

static struct suggest_seen authz_seen_of(const struct json_tree *row)
{
	return (struct suggest_seen){.service = json_tree_text(row, "service"),
		.from = json_tree_text(row, "from"),
		.port = (uint16_t)json_tree_number(row, "port"),
		.is_http = json_tree_true(row, "http"),
		.method = json_tree_text(row, "method"),
		.path = json_tree_text(row, "path")};
}

/* "1 request or connection, of 1 kind". */
static void authz_print_sum(FILE *out, const struct json_tree *answer, uint32_t kinds)
{
	long long sum = 0;
	for (const struct json_tree *c = json_tree_list(answer, "seen"); c; c = c->next)
		sum += json_tree_number(c, "count");
	if (kinds == 0)
		fputs("# Nothing so far.\n", out);
	else
		fprintf(out, "# %lld %s, of %u %s. Read it before it is applied.\n", sum,
			sum == 1 ? "request or connection" : "requests and connections", kinds,
			kinds == 1 ? "kind" : "kinds");
}

static void authz_print_head(FILE *out, const struct json_tree *answer, uint32_t kinds)
{
	long long coarse = json_tree_number(answer, "coarse");
	long long lost = json_tree_number(answer, "lost");
	long long workers = json_tree_number(answer, "workers");
	long long answered = json_tree_number(answer, "workers_answered");
	struct str since = json_tree_text(answer, "since");
	fprintf(out, "# Allows what this machine's workloads were asked since " STR_FMT ":\n",
		STR_ARG(since));
	authz_print_sum(out, answer, kinds);
	if (coarse > 0)
		fprintf(out,
			"# Of these %lld were of too many kinds: their callers may do more here "
			"than they did.\n",
			coarse);
	if (lost > 0)
		fprintf(out,
			"# Left out: %lld that were of too many kinds, or such as no policy can "
			"say.\n",
			lost);
	if (answered < workers)
		fprintf(out, "# Left out: what %lld of %lld workers know, who did not answer.\n",
			workers - answered, workers);
}

int authz_suggest(FILE *out, const struct json_tree *answer)
{
	struct arena arena;
	uint32_t count = 0, policy_count = 0;
	arena_init(&arena, SUGGEST_ARENA_MAX);
	for (const struct json_tree *c = json_tree_list(answer, "seen"); c; c = c->next)
		count++;
	struct suggest_seen *seen = arena_take(&arena, (count + 1u) * sizeof(*seen));
	count = 0;
	for (const struct json_tree *c = json_tree_list(answer, "seen"); seen && c; c = c->next)
		seen[count++] = authz_seen_of(c);
	struct suggest_policy *policies =
		seen ? suggest_policies(&arena, seen, count, &policy_count) : NULL;
	if (!policies)
		fprintf(stderr, "ringmain authz suggest: out of memory\n");
	if (out && policies) {
		authz_print_head(out, answer, count);
		if (policy_count > 0)
			suggest_print(out, json_tree_text(answer, "node"), policies, policy_count);
	}
	arena_done(&arena);
	return policies ? 0 : 1;
}
