/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain ca rotate`: the steps, each of which asks first whether machines are ready for it. */
#include "base/table.h"
#include "base/usage.h"
#include "book.h"
#include "commands.h"
#include "fleet.h"
#include "ledger.h"
#include "rotate.h"
#include <errno.h>
#include <stdio.h>

#define COMMAND_ROOT_DAYS   3650
#define COMMAND_ISSUER_DAYS 365

static const char command_rotate_usage[] =
	"Changes the issuer, or with --root the root and the issuer, by overlap: no request fails. "
	"Each step\n"
	"refuses while machines are not ready for it, and names them.\n"
	"\n"
	"usage: ringmain ca rotate [--dir DIR] [status]\n"
	"       ringmain ca rotate [--dir DIR] publish [--root] [--root-dir ROOTDIR] [--days N]\n"
	"       ringmain ca rotate [--dir DIR] publish --request | --install CHAIN.pem\n"
	"       ringmain ca rotate [--dir DIR] activate|retire [--force]\n"
	"       ringmain ca rotate [--dir DIR] abort\n"
	"\n"
	"  status    where it stands, and which machines it waits for\n"
	"  publish   makes the next issuer, signed by the root. With --root makes the next root "
	"first, and\n"
	"            publishes it beside the one in force: machines trust both from their next "
	"refresh on\n"
	"  activate  the next issuer signs. With a new root, when all machines are known to trust "
	"it\n"
	"  retire    the old issuer's key and the old root go, when no certificate of it holds "
	"any more\n"
	"  abort     instead of activate: all as it was\n"
	"\n"
	"  --root-dir DIR  where the root's key is, and a new root's goes (DIR unless given)\n"
	"  --days N        lifetime of the new root (3650), or without --root of the new issuer "
	"(365)\n"
	"  --request       for an issuer below somebody else's root: makes DIR/next-issuer.csr\n"
	"  --install FILE  what came of it, PEM: the issuer, then what stands between it and the "
	"root\n"
	"  --force         goes on though machines are not ready; what breaks then is said "
	"before\n";

/* --- who is not ready --- */

/* Machines that are not known to trust what is published. */
static bool rotate_lags_anchors(const struct fleet_node *n)
{
	return !n->is_current;
}

/* Machines that still hold something of the old issuer. */
static bool rotate_lags_certificates(const struct fleet_node *n)
{
	return n->old_count > 0;
}

static void rotate_table(const struct fleet *t, int64_t now_s, FILE *out, bool all)
{
	static const char *const heading[] = {
		"NODE", "ANCHORS", "CERTIFICATES", "OF OLDER ISSUERS", "SEEN"};
	struct table table;
	char age[32], old[64];
	table_init(&table, ARRAY_LEN(heading));
	for (size_t i = 0; i < ARRAY_LEN(heading); i++)
		table_cell(&table, "%s", heading[i]);
	for (uint32_t i = 0; i < t->count; i++) {
		const struct fleet_node *n = &t->nodes[i];
		if (!all && !rotate_lags_anchors(n) && !rotate_lags_certificates(n))
			continue;
		table_cell_str(&table, n->name);
		table_cell(&table, "%s",
			n->is_current		   ? "current"
			: n->shown.anchors.etag[0] ? "× older"
						   : "× not shown yet");
		table_cell_number(&table, n->count);
		if (n->old_count > 0) {
			snprintf(old, sizeof(old), "× %u, the last for %s", n->old_count,
				options_age(n->old_end_s - now_s, age));
			table_cell(&table, "%s", old);
		} else {
			table_cell(&table, "-");
		}
		if (n->shown.anchors.seen_s)
			table_cell(&table, "%s ago",
				options_age(now_s - n->shown.anchors.seen_s, age));
		else
			table_cell(&table, "never");
	}
	table_print(&table, out, 2);
	table_done(&table);
}

static uint32_t rotate_count(const struct fleet *t, bool (*lags)(const struct fleet_node *n))
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < t->count; i++)
		count += lags(&t->nodes[i]);
	return count;
}

struct rotate_command {
	const struct options *o;
	const struct folder *folder;
	struct rotation rotation;
	struct fleet fleet;
	int64_t now_s;
};

/* Exit status: 0 may go on. */
static int rotate_refuse_anchors(const struct rotate_command *c, const char *consequence)
{
	uint32_t count = rotate_count(&c->fleet, rotate_lags_anchors);
	if (count == 0)
		return 0;
	FILE *out = stderr;
	fprintf(out,
		"%s: %u of %u machines are not known to have the anchors that are "
		"published:\n",
		c->o->command, count, c->fleet.count);
	rotate_table(&c->fleet, c->now_s, out, false);
	if (options_value(c->o, OPTIONS_FORCE)) {
		fprintf(out, "going on all the same: %s\n", consequence);
		return 0;
	}
	fputs("They ask every identity.refresh while they run. Start those that are down and wait; "
	      "for one that\nis gone for good: ringmain ca forbid NODE --revoke.\n",
		out);
	fprintf(out, "With --force: %s\n", consequence);
	return 1;
}

static int rotate_refuse_certificates(const struct rotate_command *c, const char *consequence)
{
	const struct fleet *t = &c->fleet;
	uint32_t count = rotate_count(t, rotate_lags_certificates);
	char age[32];
	if (count == 0 && t->by_hand.old_count == 0)
		return 0;
	FILE *out = stderr;
	if (count > 0) {
		fprintf(out, "%s: %u of %u machines hold certificates of the old issuer:\n",
			c->o->command, count, t->count);
		rotate_table(t, c->now_s, out, false);
	}
	if (t->by_hand.old_count > 0)
		fprintf(out,
			"%s: certificates made by `ringmain ca issue` that are of the old issuer: "
			"%u, "
			"the last for %s;\nmake them anew, or revoke them: ringmain ca list "
			"certificates\n",
			c->o->command, t->by_hand.old_count,
			options_age(t->by_hand.old_end_s - c->now_s, age));
	if (options_value(c->o, OPTIONS_FORCE)) {
		fprintf(out, "going on all the same: %s\n", consequence);
		return 0;
	}
	if (count > 0)
		fputs("They renew at half their life. Wait; what will not come again: ringmain ca "
		      "revoke --node NODE.\n",
			out);
	fprintf(out, "With --force: %s\n", consequence);
	return 1;
}

/* Machines that are registered and hold nothing: off for so long that no step waits for them. What
 * they trust is what was published when they were on. */
static int rotate_tell_absent(const struct rotate_command *c, struct err *err)
{
	struct conf_registration *registration;
	int r = book_registration(c->folder, &registration, err);
	if (r < 0)
		return r;
	uint32_t count = 0;
	for (uint32_t i = 0; i < registration->node_count; i++) {
		struct str name = registration->nodes[i].name;
		if (fleet_find(&c->fleet, name))
			continue;
		if (count++ == 0)
			printf("registered machines that hold nothing now, and may not know the "
			       "new root:");
		printf(" " STR_FMT, STR_ARG(name));
	}
	if (count > 0)
		printf("\nif one does not come back by itself: ringmain ca token NODE, and on it "
		       "`ringmain join --again`\nwith the new root's SHA-256, which `ringmain ca "
		       "list` shows\n");
	conf_registration_free(registration);
	return 0;
}

/* --- steps --- */

static int rotate_audit(const struct rotate_command *c, const char *event, struct err *err)
{
	struct ledger_event e = {.event = event,
		.why = c->rotation.kind == ROTATE_ROOT ? STR("root and issuer") : STR("issuer")};
	return ledger_audit(c->folder, c->now_s, &e, err);
}

static const char *rotate_kind(const struct rotate_command *c)
{
	return c->rotation.kind == ROTATE_ROOT ? "root and issuer" : "issuer";
}

/* Below a root of somebody else's: a request first, and then what came of it. */
static int rotate_run_foreign(struct rotate_command *c, struct err *err)
{
	const struct options *o = c->o;
	const char *chain = options_value(o, OPTIONS_INSTALL);
	char more[OPTIONS_MORE_TEXT];
	if (options_value(o, OPTIONS_ROOT) || options_value(o, OPTIONS_ROOT_DIR) ||
		options_value(o, OPTIONS_DAYS) || (chain && options_value(o, OPTIONS_REQUEST)))
		return usage_wrong(o->command, "--request and --install stand alone");
	int r = chain ? rotate_install(c->folder, chain, c->now_s, err)
		      : rotate_request(c->folder, err);
	if (r == 0)
		r = rotate_audit(c, chain ? "rotation published" : "rotation requested", err);
	if (r < 0)
		return r;
	if (chain)
		printf("the next issuer is ready, under the same root: nothing has to wait\n"
		       "next: ringmain ca rotate%s activate\n",
			options_more(o, more));
	else
		printf("made %s/next-issuer.csr; have it signed by the same root, and then:\n"
		       "  ringmain ca rotate --dir %s publish --install CHAIN.pem\n",
			options_dir(o), options_dir(o));
	return 0;
}

static int rotate_run_publish(struct rotate_command *c, struct err *err)
{
	const struct options *o = c->o;
	bool is_root = options_value(o, OPTIONS_ROOT) != NULL;
	char more[OPTIONS_MORE_TEXT];
	if (options_value(o, OPTIONS_REQUEST) || options_value(o, OPTIONS_INSTALL))
		return rotate_run_foreign(c, err);
	const char *root_dir = options_value(o, OPTIONS_ROOT_DIR);
	const char *days = options_value(o, OPTIONS_DAYS);
	struct rotate_order order = {.kind = is_root ? ROTATE_ROOT : ROTATE_ISSUER,
		.root_dir = root_dir ? root_dir : options_dir(o),
		.now_s = c->now_s,
		.root_lifetime_s = COMMAND_ROOT_DAYS * 86400ll,
		.issuer_lifetime_s = COMMAND_ISSUER_DAYS * 86400ll};
	int64_t *lifetime_s = is_root ? &order.root_lifetime_s : &order.issuer_lifetime_s;
	if (days && !options_lifetime(days, 86400, lifetime_s))
		return usage_wrong(o->command, "--days: a number of days");
	int r = rotate_publish(c->folder, &order, err);
	if (r < 0)
		return r;
	c->rotation.kind = order.kind;
	r = rotate_audit(c, "rotation published", err);
	if (r < 0)
		return r;
	if (is_root)
		printf("the next root is published beside the one in force; its key is in %s\n"
		       "when `ringmain ca rotate status` shows that all machines have it: ringmain "
		       "ca rotate%s activate\n",
			order.root_dir, options_more(o, more));
	else
		printf("the next issuer is ready, under the same root: nothing has to wait\n"
		       "next: ringmain ca rotate%s activate\n",
			options_more(o, more));
	return 0;
}

static int rotate_run_activate(struct rotate_command *c, struct err *err)
{
	int refused = 0;
	char more[OPTIONS_MORE_TEXT];
	if (c->rotation.phase == ROTATE_PUBLISHED && c->rotation.kind == ROTATE_ROOT)
		refused = rotate_refuse_anchors(c,
			"those machines refuse whoever shows a certificate of the new issuer, "
			"until they have asked.");
	if (refused)
		return refused;
	int r = rotate_step(c->folder, ROTATE_PUBLISHED, ROTATE_ACTIVATING, c->now_s, err);
	if (r == 0)
		r = rotate_audit(c, "rotation activated", err);
	if (r < 0)
		return r;
	printf("the new issuer signs; certificates of the old one hold until they end\n"
	       "when `ringmain ca rotate status` shows none any more: ringmain ca rotate%s "
	       "retire\n",
		options_more(c->o, more));
	return 0;
}

static int rotate_run_retire(struct rotate_command *c, struct err *err)
{
	int refused = 0;
	bool is_root = c->rotation.kind == ROTATE_ROOT;
	if (c->rotation.phase == ROTATE_ACTIVATED)
		refused = rotate_refuse_certificates(
			c, is_root ? "those certificates are refused everywhere as soon as the old "
				     "root is gone."
				   : "those certificates hold, but can be revoked no longer: their "
				     "revocation list ends.");
	if (c->rotation.phase == ROTATE_ACTIVATED && is_root && !refused)
		refused = rotate_refuse_anchors(c,
			"those machines may not know the new root, and then refuse everybody "
			"until they have asked.");
	if (refused)
		return refused;
	int r = rotate_step(c->folder, ROTATE_ACTIVATED, ROTATE_RETIRING, c->now_s, err);
	if (r == 0)
		r = rotate_audit(c, "rotation retired", err);
	if (r < 0)
		return r;
	printf(is_root ? "the old root is published no longer, the old issuer's key is gone: the "
			 "rotation is over;\nthe old root's key may be destroyed\n"
		       : "the old issuer's key is gone: the rotation is over\n");
	return is_root ? rotate_tell_absent(c, err) : 0;
}

static int rotate_run_abort(struct rotate_command *c, struct err *err)
{
	int r = rotate_step(c->folder, ROTATE_PUBLISHED, ROTATE_ABORTING, c->now_s, err);
	if (r == 0)
		r = rotate_audit(c, "rotation aborted", err);
	if (r < 0)
		return r;
	printf("all is as before; what was prepared is gone\n");
	return 0;
}

static int rotate_run_status(struct rotate_command *c, struct err *err)
{
	char age[32];
	const struct fleet *t = &c->fleet;
	uint32_t anchors = rotate_count(t, rotate_lags_anchors);
	uint32_t certificates = rotate_count(t, rotate_lags_certificates);
	if (c->rotation.phase == ROTATE_NONE)
		printf("no rotation is under way; the issuer in force is %.8s\n", t->issuer);
	else
		printf("a rotation of %s is %s since %s\n", rotate_kind(c),
			rotate_phase_text(c->rotation.phase),
			options_age(c->now_s - c->rotation.since_s, age));
	if (c->rotation.phase == ROTATE_PUBLISHED && c->rotation.kind == ROTATE_ROOT && anchors)
		printf("activate waits for %u of %u machines to have the anchors\n", anchors,
			t->count);
	else if (c->rotation.phase == ROTATE_PUBLISHED)
		printf("activate may be run\n");
	else if (c->rotation.phase == ROTATE_ACTIVATED && certificates + t->by_hand.old_count)
		printf("retire waits for certificates of the old issuer to end: on %u of %u "
		       "machines; made by hand %u\n",
			certificates, t->count, t->by_hand.old_count);
	else if (c->rotation.phase == ROTATE_ACTIVATED && c->rotation.kind == ROTATE_ROOT &&
		 anchors)
		printf("retire waits for %u of %u machines to have the anchors\n", anchors,
			t->count);
	else if (c->rotation.phase == ROTATE_ACTIVATED)
		printf("retire may be run\n");
	if (t->count > 0) {
		printf("\n");
		rotate_table(t, c->now_s, stdout, true);
	}
	return 0;
}

struct rotate_verb {
	const char *name;
	uint32_t takes;
	int (*run)(struct rotate_command *c, struct err *err); /* -errno, or the exit status */
};

static const struct rotate_verb *rotate_verb_find(const char *word)
{
	static const struct rotate_verb verbs[] = {{"status", 0, rotate_run_status},
		{"publish",
			OPTIONS_BIT(ROOT) | OPTIONS_BIT(ROOT_DIR) | OPTIONS_BIT(DAYS) |
				OPTIONS_BIT(REQUEST) | OPTIONS_BIT(INSTALL),
			rotate_run_publish},
		{"activate", OPTIONS_BIT(FORCE), rotate_run_activate},
		{"retire", OPTIONS_BIT(FORCE), rotate_run_retire}, {"abort", 0, rotate_run_abort}};
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(word, verbs[i].name) == 0)
			return &verbs[i];
	}
	return NULL;
}

static int command_rotate_run(const struct options *o)
{
	const struct rotate_verb *verb = rotate_verb_find(o->word_count ? o->words[0] : "status");
	struct folder f;
	struct err err;
	if (!verb)
		return usage_wrong(o->command,
			"status, publish, activate, retire or abort, not \"%s\"", o->words[0]);
	for (uint32_t i = 0; i < OPTIONS_COUNT; i++) {
		if (o->values[i] && i != OPTIONS_DIR && !(verb->takes & (1u << i)))
			return usage_wrong(o->command, "%s takes no such option", verb->name);
	}
	if (!options_enter(o, &f))
		return 1;
	struct rotate_command c = {.o = o, .folder = &f, .now_s = options_now()};
	int r = rotate_settle(&f, &err);
	if (r == 0)
		r = rotate_read(&f, &c.rotation, &err);
	if (r == 0)
		r = fleet_read(&f, c.now_s, &c.fleet, &err);
	/* Whoever reads the table may take his time; the server must not wait for him. */
	bool is_reading = verb->run == rotate_run_status;
	if (is_reading)
		folder_unlock(&f);
	if (r == 0)
		r = verb->run(&c, &err);
	fleet_done(&c.fleet);
	if (!is_reading)
		folder_unlock(&f);
	folder_close(&f);
	return r < 0 ? options_failed(o, &err) : r;
}

const struct options_command command_rotate = {.name = "rotate",
	.usage = command_rotate_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(ROOT) | OPTIONS_BIT(ROOT_DIR) | OPTIONS_BIT(DAYS) |
		 OPTIONS_BIT(FORCE) | OPTIONS_BIT(REQUEST) | OPTIONS_BIT(INSTALL) |
		 OPTIONS_ROOT_SWITCH,
	.words_max = 1,
	.run = command_rotate_run};
