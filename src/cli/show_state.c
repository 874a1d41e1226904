/* SPDX-License-Identifier: Apache-2.0 */
/* How the machine stands with the store of the mesh's state. A store that is lost is a problem at
 * once, although everything goes on with what was last known: it is made anew within moments when
 * there is one. A connected one that nothing was compared with for three leases is one, too. */
#include "show_inside.h"

#include <stdlib.h>

#define SHOW_LEASES	  3
#define SHOW_STATE_SILENT 15 /* seconds without a word from the state process */

/* NULL: standalone, or a proxy of another version. */
static const struct json_tree *show_state(const struct show_source *s)
{
	const struct json_tree *state = json_tree_get(s->status, "state");
	return str_eq(json_tree_text(state, "mode"), STR("redis")) ? state : NULL;
}

static bool show_is_number(const struct json_tree *object, const char *key)
{
	const struct json_tree *child = json_tree_get(object, key);
	return child && child->kind == JSON_NUMBER;
}

/* --- facts --- */

void show_state_facts(FILE *out, const struct show_source *s)
{
	const struct json_tree *state = show_state(s);
	char age[32];
	if (!state)
		return;
	struct str store = json_tree_text(state, "store");
	const char *connected =
		json_tree_true(state, "connected") ? "connected" : "× not connected";
	if (show_is_number(state, "age_s"))
		show_fact(out, "store", STR_FMT ", %s, agreed %s ago",
			STR_ARG(store.len ? store : STR("-")), connected,
			show_duration(json_tree_number(state, "age_s"), age));
	else
		show_fact(out, "store", STR_FMT ", %s, not agreed since the start",
			STR_ARG(store.len ? store : STR("-")), connected);
	show_fact(out, "knows", "revision %lld, %lld objects, %lld nodes, %lld endpoints",
		(long long)json_tree_number(state, "revision"),
		(long long)json_tree_number(state, "objects"),
		(long long)json_tree_number(state, "nodes"),
		(long long)json_tree_number(state, "endpoints"));
}

/* --- this machine's endpoints --- */

static int64_t show_serving(const struct show_source *s, struct str service)
{
	int64_t count = 0;
	for (const struct json_tree *w = json_tree_list(s->status, "workloads"); w; w = w->next)
		if (str_eq(json_tree_text(w, "service"), service))
			count += json_tree_number(w, "serving");
	return count;
}

void show_state_endpoints(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {"ENDPOINT OF", "HEALTH", "IN PROGRESS"};
	struct table t;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *e = json_tree_list(show_state(s), "own"); e; e = e->next) {
		struct str health = json_tree_text(e, "health"), service;
		service = json_tree_text(e, "service");
		table_cell_str(&t, service);
		if (str_eq(health, STR("up")))
			table_cell_str(&t, health);
		else
			table_cell(&t, "%s " STR_FMT, str_eq(health, STR("drained")) ? "‼" : "×",
				STR_ARG(health));
		table_cell_number(&t, show_serving(s, service));
	}
	show_rows(out, &t);
}

/* --- problems and notes --- */

/* Since when the state in force was not known to be the store's, in seconds. */
static int64_t show_state_age(const struct show_source *s, const struct json_tree *state)
{
	return show_is_number(state, "age_s") ? json_tree_number(state, "age_s")
					      : json_tree_number(s->status, "uptime_s");
}

static void show_check_store(
	struct show_list *l, const struct show_source *s, const struct json_tree *state)
{
	char age[32];
	int64_t age_s = show_state_age(s, state), lease_s = json_tree_number(state, "lease_s");
	struct str why = json_tree_text(state, "why");
	bool connected = json_tree_true(state, "connected");
	bool lost = age_s > SHOW_LEASES * (lease_s ? lease_s : 1);
	show_duration(age_s, age);
	if (!connected)
		show_point(l, true,
			"the store is not connected: " STR_FMT "; traffic goes on with what was "
			"known %s ago%s",
			STR_ARG(why.len ? why : STR("no answer")), age,
			lost ? ", and other machines take this one for gone" : "");
	else if (lost)
		show_point(l, true,
			"what is known of the mesh was last compared with the store %s ago", age);
	if (connected && why.len)
		show_point(l, true,
			"not all is well with the mesh's state; what is in force stays: " STR_FMT,
			STR_ARG(why));
}

static void show_check_picture(
	struct show_list *l, const struct show_source *s, const struct json_tree *state)
{
	struct str not_taken = json_tree_text(state, "not_taken");
	int64_t silent = show_is_number(state, "silent_s")
				 ? json_tree_number(state, "silent_s")
				 : json_tree_number(s->status, "uptime_s");
	if (silent > SHOW_STATE_SILENT)
		show_point(l, true,
			"the state process has said nothing for %llds; the log says what became of "
			"it",
			(long long)silent);
	if (!json_tree_true(state, "loaded"))
		show_point(l, true,
			"nothing is known of the mesh yet: there is no policy, so all is denied");
	if (!not_taken.len)
		return;
	show_point(l, true, "mesh state not taken, the one before it stays in force:");
	if (l->out)
		show_lines(l->out, "    ", not_taken);
}

static void show_check_own(struct show_list *l, const struct json_tree *state)
{
	struct str before = STR("");
	for (const struct json_tree *e = json_tree_list(state, "own"); e; e = e->next) {
		struct str service = json_tree_text(e, "service"), why = json_tree_text(e, "why");
		if (json_tree_true(e, "drained") && !str_eq(service, before))
			show_point(l, false,
				STR_FMT " is drained: `ringmain drain --undo " STR_FMT
					"` puts it back into the mesh",
				STR_ARG(service), STR_ARG(service));
		else if (str_eq(json_tree_text(e, "health"), STR("down")))
			show_point(l, true, STR_FMT " is down: " STR_FMT, STR_ARG(service),
				STR_ARG(why.len ? why : STR("its check fails")));
		before = json_tree_true(e, "drained") ? service : STR("");
	}
}

void show_check_state(struct show_list *l, const struct show_source *s)
{
	const struct json_tree *state = show_state(s);
	if (!state)
		return;
	long long revision = json_tree_number(state, "revision"),
		  newest = json_tree_number(state, "store_revision"),
		  held = json_tree_number(state, "held");
	show_check_picture(l, s, state);
	show_check_store(l, s, state);
	if (newest > revision)
		show_point(l, false, "the store has revision %lld, in force here is %lld", newest,
			revision);
	if (held)
		show_point(l, false,
			"%lld node%s fell silent with many others and %s kept: the fault may be "
			"the store's",
			held, held == 1 ? "" : "s", held == 1 ? "is" : "are");
	show_check_own(l, state);
}
