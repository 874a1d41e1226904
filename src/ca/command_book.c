/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about who may have what: allow, forbid, token, revoke. */
#include "base/usage.h"
#include "book.h"
#include "commands.h"
#include "issue.h"
#include "ledger.h"
#include "nodes.h"
#include "token.h"
#include <errno.h>
#include <openssl/mem.h>
#include <stdio.h>

#define COMMAND_IDENTITIES_MAX 256

static int command_audit(const struct folder *f, const char *event, struct str node,
	struct str identity, struct str why, struct err *err)
{
	struct ledger_event e = {.event = event, .node = node, .identity = identity, .why = why};
	return ledger_audit(f, options_now(), &e, err);
}

/* Words of the command line from `first` on. */
static uint32_t command_identities(
	const struct options *o, uint32_t first, struct str identities[COMMAND_IDENTITIES_MAX])
{
	uint32_t count = 0;
	for (uint32_t i = first; i < o->word_count && count < COMMAND_IDENTITIES_MAX; i++)
		identities[count++] = str_of(o->words[i]);
	return count;
}

/* --- allow --- */

static const char command_allow_usage[] =
	"Lets a machine hold identities, and registers it if need be. In force at once.\n"
	"\n"
	"usage: ringmain ca allow [--dir DIR] NODE [IDENTITY...]\n"
	"\n"
	"  NODE      the machine, as its node.name has it; its own identity, node/NODE, goes "
	"without saying\n"
	"  IDENTITY  a service (\"orders\"), or a whole path (\"service/orders\", "
	"\"job/nightly\")\n"
	"\n"
	"example:\n"
	"  ringmain ca allow vm-a web orders\n";

static int command_allow_run(const struct options *o)
{
	struct str identities[COMMAND_IDENTITIES_MAX], node = str_of(o->words[0]);
	uint32_t count = command_identities(o, 1, identities);
	struct folder f;
	struct err err;
	if (!options_enter(o, &f))
		return 1;
	int r = book_allow(&f, node, identities, count, &err), audited = 0;
	for (uint32_t i = 0; r > 0 && i < count; i++)
		audited = command_audit(&f, "allowed", node, identities[i], STR(""), &err);
	if (r > 0 && count == 0)
		audited = command_audit(&f, "allowed", node, STR(""), STR(""), &err);
	options_leave(&f);
	if (r < 0 || audited < 0)
		return options_failed(o, &err);
	printf(r > 0 ? "%s is registered with what was named\n"
		     : "%s: nothing new, all of it is registered already\n",
		o->words[0]);
	return 0;
}

const struct options_command command_allow = {.name = "allow",
	.usage = command_allow_usage,
	.takes = OPTIONS_BIT(DIR),
	.words_min = 1,
	.words_max = COMMAND_IDENTITIES_MAX,
	.run = command_allow_run};

/* --- revoke --- */

static bool command_revoke_matches(
	const struct ledger_row *row, const struct command_revoked *wanted)
{
	return (wanted->node.len == 0 || str_eq(row->node, wanted->node)) &&
	       (wanted->identity.len == 0 || str_eq(row->identity, wanted->identity)) &&
	       (wanted->serial.len == 0 || str_eq(row->serial, wanted->serial));
}

/* Of a machine's own certificates the expired ones too: they could still bring it back. */
static bool command_revoke_is_over(const struct ledger_row *row, int64_t now_s)
{
	return row->end_s <= now_s && !str_starts(row->identity, STR("node/"));
}

static int command_revoke_rows(const struct folder *f, const struct ledger *index,
	const struct ledger *revoked, const struct command_revoked *wanted, int64_t now_s,
	struct err *err)
{
	int count = 0;
	for (uint32_t i = 0; i < index->count; i++) {
		struct ledger_row row = index->rows[i];
		if (!command_revoke_matches(&row, wanted) || command_revoke_is_over(&row, now_s) ||
			ledger_find(revoked, row.serial))
			continue;
		row.when_s = now_s;
		row.why = wanted->why.len ? wanted->why : STR("-");
		struct ledger_event e = {.event = "revoked",
			.node = row.node,
			.identity = row.identity,
			.serial = row.serial,
			.issuer = row.issuer,
			.until_s = row.end_s,
			.why = wanted->why};
		int r = ledger_add_revoked(f, &row, err);
		if (r == 0)
			r = ledger_audit(f, now_s, &e, err);
		if (r < 0)
			return r;
		count++;
	}
	return count;
}

/* A token would bring the machine back, with the key that has used it or with any. They go first:
 * that works on a full disk, too. */
static int command_revoke_tokens(const struct folder *f, const struct command_revoked *wanted,
	int64_t now_s, struct err *err)
{
	struct str node = wanted->identity.len == 0 ? wanted->node : issue_node(wanted->identity);
	return node.len > 0 ? token_sweep(f, now_s, node, err) : 0;
}

int command_revoke_all(const struct folder *f, const struct command_revoked *wanted, int64_t now_s,
	struct err *err)
{
	struct ledger index, revoked;
	int r = command_revoke_tokens(f, wanted, now_s, err);
	if (r == 0)
		r = ledger_read_index(f, &index, err);
	if (r < 0)
		return r;
	r = ledger_read_revoked(f, &revoked, err);
	if (r == 0) {
		r = command_revoke_rows(f, &index, &revoked, wanted, now_s, err);
		ledger_done(&revoked);
	}
	ledger_done(&index);
	return r;
}

static const char command_revoke_usage[] =
	"Revokes certificates before they end. The new revocation list is there at once; machines "
	"take it\n"
	"up within their identity.refresh, and end connections of what is revoked.\n"
	"\n"
	"usage: ringmain ca revoke [--dir DIR] --node NODE | --identity IDENTITY | --serial "
	"SERIAL\n"
	"                          [--why TEXT]\n"
	"\n"
	"  --node NODE          all that the machine holds, its own certificate and its tokens "
	"too: it\n"
	"                       cannot renew any more. While it is registered, a new token lets "
	"it join\n"
	"  --identity IDENTITY  all certificates of a service or a path, wherever they are; the "
	"machines that\n"
	"                       may hold it get new ones\n"
	"  --serial SERIAL      one, hexadecimal, as `ringmain ca list certificates` shows it\n"
	"  --why TEXT           for the audit\n";

/* "orders" → "service/orders"; "node/vm-a" may be named here, too. */
static bool command_revoke_identity(
	const struct options *o, char path[CONF_IDENTITY_MAX + 1], struct str *ret_identity)
{
	const char *given = options_value(o, OPTIONS_IDENTITY);
	struct err why;
	*ret_identity = str_of(given);
	if (!given || str_starts(*ret_identity, STR("node/")))
		return true;
	if (!conf_identity_path(*ret_identity, path, &why)) {
		usage_wrong(o->command, "%s", why.text);
		return false;
	}
	*ret_identity = str_of(path);
	return true;
}

static int command_revoke_run(const struct options *o)
{
	char path[CONF_IDENTITY_MAX + 1];
	struct command_revoked wanted = {.node = str_of(options_value(o, OPTIONS_NODE)),
		.serial = str_of(options_value(o, OPTIONS_SERIAL)),
		.why = str_of(options_value(o, OPTIONS_WHY))};
	struct folder f;
	struct err err;
	if (!command_revoke_identity(o, path, &wanted.identity))
		return USAGE_WRONG;
	if ((wanted.node.len > 0) + (wanted.serial.len > 0) + (wanted.identity.len > 0) != 1)
		return usage_wrong(o->command, "one of --node, --identity and --serial");
	if (!options_enter(o, &f))
		return 1;
	int r = command_revoke_all(&f, &wanted, options_now(), &err);
	options_leave(&f);
	if (r < 0)
		return options_failed(o, &err);
	if (r == 0) {
		fprintf(stderr, "%s: there is nothing of it that holds and is not revoked\n",
			o->command);
		return 1;
	}
	printf("revoked %d certificate%s\n", r, r == 1 ? "" : "s");
	char more[OPTIONS_MORE_TEXT];
	if (wanted.node.len > 0)
		printf("so that it cannot join again either: ringmain ca forbid%s %s\n",
			options_more(o, more), wanted.node.at);
	return 0;
}

const struct options_command command_revoke = {.name = "revoke",
	.usage = command_revoke_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(NODE) | OPTIONS_BIT(IDENTITY) |
		 OPTIONS_BIT(SERIAL) | OPTIONS_BIT(WHY),
	.run = command_revoke_run};

/* --- forbid --- */

static const char command_forbid_usage[] =
	"Takes identities from a machine; without any, takes the machine from the registration. "
	"From then on\n"
	"none of it is issued or renewed; what was issued holds until it ends, unless it is "
	"revoked.\n"
	"\n"
	"usage: ringmain ca forbid [--dir DIR] NODE [IDENTITY...] [--revoke [--why TEXT]]\n"
	"\n"
	"  --revoke    revokes what was issued, too\n"
	"  --why TEXT  for the audit\n"
	"\n"
	"example, a machine that was stolen:\n"
	"  ringmain ca forbid vm-a --revoke --why stolen\n";

static int command_forbid_revoke(const struct options *o, const struct folder *f,
	const struct str *identities, uint32_t count, struct err *err)
{
	struct command_revoked wanted = {
		.node = str_of(o->words[0]), .why = str_of(options_value(o, OPTIONS_WHY))};
	int revoked = 0, r = 0;
	if (count == 0)
		return command_revoke_all(f, &wanted, options_now(), err);
	for (uint32_t i = 0; r >= 0 && i < count; i++) {
		char path[CONF_IDENTITY_MAX + 1];
		if (!conf_identity_path(identities[i], path, err))
			return -EINVAL;
		wanted.identity = str_of(path);
		r = command_revoke_all(f, &wanted, options_now(), err);
		revoked += r;
	}
	return r < 0 ? r : revoked;
}

static int command_forbid_in(const struct options *o, const struct folder *f,
	const struct str *identities, uint32_t count, int *ret_revoked, struct err *err)
{
	struct str node = str_of(o->words[0]), why = str_of(options_value(o, OPTIONS_WHY));
	int taken = book_forbid(f, node, identities, count, err), r = 0;
	/* A machine that is gone from the registration already may still have to be revoked. */
	if (taken == -ENOENT && count == 0 && options_value(o, OPTIONS_REVOKE))
		taken = 0;
	for (uint32_t i = 0; taken > 0 && r == 0 && i < count; i++)
		r = command_audit(f, "forbidden", node, identities[i], why, err);
	if (taken > 0 && count == 0)
		r = command_audit(f, "forbidden", node, STR(""), why, err);
	if (taken >= 0 && r == 0 && count == 0)
		r = nodes_forget(f, node, err);
	if (taken >= 0 && r == 0 && count == 0)
		r = token_sweep(f, options_now(), node, err);
	if (taken >= 0 && r == 0 && options_value(o, OPTIONS_REVOKE))
		*ret_revoked = command_forbid_revoke(o, f, identities, count, err);
	return r < 0 ? r : *ret_revoked < 0 ? *ret_revoked : taken;
}

static int command_forbid_run(const struct options *o)
{
	struct str identities[COMMAND_IDENTITIES_MAX];
	uint32_t count = command_identities(o, 1, identities);
	struct folder f;
	struct err err;
	int revoked = 0;
	char more[OPTIONS_MORE_TEXT];
	bool is_revoking = options_value(o, OPTIONS_REVOKE) != NULL;
	if (options_value(o, OPTIONS_WHY) && !is_revoking)
		return usage_wrong(o->command, "--why belongs to --revoke");
	if (!options_enter(o, &f))
		return 1;
	int r = command_forbid_in(o, &f, identities, count, &revoked, &err);
	options_leave(&f);
	if (r < 0)
		return options_failed(o, &err);
	if (r == 0)
		printf("%s: nothing of it was registered\n", o->words[0]);
	else if (count == 0)
		printf("%s is no longer registered\n", o->words[0]);
	else
		printf("%s: %d identit%s taken\n", o->words[0], r, r == 1 ? "y" : "ies");
	if (is_revoking)
		printf("revoked %d certificate%s\n", revoked, revoked == 1 ? "" : "s");
	else if (r > 0)
		printf("what was issued holds until it ends; to end it now: ringmain ca revoke%s "
		       "--node %s\n",
			options_more(o, more), o->words[0]);
	return 0;
}

const struct options_command command_forbid = {.name = "forbid",
	.usage = command_forbid_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(REVOKE) | OPTIONS_BIT(WHY),
	.words_min = 1,
	.words_max = COMMAND_IDENTITIES_MAX,
	.run = command_forbid_run};

/* --- token --- */

static const char command_token_usage[] =
	"Makes a token with which a machine joins, and prints it, this once: only its hash is "
	"kept. It is\n"
	"good for one key of that machine; the same key may repeat its request while the token "
	"lives, so an\n"
	"answer that is lost burns nothing.\n"
	"\n"
	"usage: ringmain ca token [--dir DIR] NODE [--ttl TTL] [--identities A,B,...]\n"
	"\n"
	"  NODE              a registered machine\n"
	"  --ttl TTL         10m, 24h; lifetimes.token of ca.conf unless given\n"
	"  --identities A,B  registers the machine with these, as `ringmain ca allow`\n"
	"\n"
	"example:\n"
	"  (umask 077; ringmain ca token vm-a --identities web,orders > vm-a.token)\n"
	"  # brought to vm-a by a safe way:\n"
	"  ringmain join --ca ADDRESS:PORT --ca-fingerprint SHA256 --token-file vm-a.token\n";

/* "a,b" into parts. */
static uint32_t command_split(struct str text, struct str parts[COMMAND_IDENTITIES_MAX])
{
	uint32_t count = 0;
	while (text.len > 0 && count < COMMAND_IDENTITIES_MAX) {
		const char *comma = memchr(text.at, ',', text.len);
		size_t len = comma ? (size_t)(comma - text.at) : text.len;
		parts[count++] = (struct str){text.at, len};
		text = comma ? (struct str){comma + 1, text.len - len - 1} : STR_NONE;
	}
	return count;
}

static int command_token_register(const struct options *o, const struct folder *f, struct err *err)
{
	struct str identities[COMMAND_IDENTITIES_MAX], node = str_of(o->words[0]);
	const char *given = options_value(o, OPTIONS_IDENTITIES);
	struct conf_registration *r = NULL;
	if (given) {
		uint32_t count = command_split(str_of(given), identities);
		int taken = book_allow(f, node, identities, count, err);
		return taken > 0 ? command_audit(f, "allowed", node, str_of(given), STR(""), err)
				 : taken;
	}
	int result = book_registration(f, &r, err);
	if (result == 0 && !conf_registered_find(r, node))
		result = err_set(err, ENOENT,
			"node \"%s\" is not registered; register it: ringmain ca allow %s "
			"IDENTITY..., or name them here: --identities A,B",
			o->words[0], o->words[0]);
	conf_registration_free(r);
	return result;
}

static int command_token_make(const struct options *o, const struct folder *f, int64_t *until_s,
	char token[TOKEN_TEXT], struct err *err)
{
	struct conf_ca *settings = NULL;
	struct str node = str_of(o->words[0]);
	int r = command_token_register(o, f, err);
	if (r == 0)
		r = book_settings(f, &settings, err);
	if (r < 0)
		return r;
	if (*until_s == 0)
		*until_s = (int64_t)(settings->token_ms / 1000);
	*until_s += options_now();
	conf_ca_free(settings);
	r = token_sweep(f, options_now(), STR(""), err);
	if (r == 0)
		r = token_new(f, node, *until_s, token, err);
	struct ledger_event e = {.event = "token", .node = node, .until_s = *until_s};
	return r < 0 ? r : ledger_audit(f, options_now(), &e, err);
}

static int command_token_run(const struct options *o)
{
	const char *ttl = options_value(o, OPTIONS_TTL);
	char token[TOKEN_TEXT], time[32];
	int64_t until_s = 0;
	struct folder f;
	struct err err;
	if (ttl && !options_lifetime(ttl, 0, &until_s))
		return usage_wrong(o->command, "--ttl: a number and s, m, h or d, such as 10m");
	if (!options_enter(o, &f))
		return 1;
	int r = command_token_make(o, &f, &until_s, token, &err);
	options_leave(&f);
	if (r < 0)
		return options_failed(o, &err);
	puts(token);
	OPENSSL_cleanse(token, sizeof(token));
	fprintf(stderr, "for %s, until %s; on it: ringmain join --token-file FILE ...\n",
		o->words[0], options_time(until_s, time));
	return 0;
}

const struct options_command command_token = {.name = "token",
	.usage = command_token_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(TTL) | OPTIONS_BIT(IDENTITIES),
	.words_min = 1,
	.words_max = 1,
	.run = command_token_run};
