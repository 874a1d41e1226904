/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain ca list`: for people as tables, for programs as JSON. */
#include "ca/ca.h"

#include "anchors.h"
#include "base/json.h"
#include "base/table.h"
#include "base/usage.h"
#include "book.h"
#include "commands.h"
#include "fleet.h"
#include "found.h"
#include "issuer.h"
#include "rotate.h"
#include "token.h"
#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#define COMMAND_JSON_MAX (256u << 20)

static const char command_list_usage[] =
	"Shows what the authority knows.\n"
	"\n"
	"usage: ringmain ca list [--dir DIR] [nodes|certificates|tokens] [-o table|json]\n"
	"\n"
	"  nodes         the registered machines: what they may hold, until when their own "
	"certificate holds,\n"
	"                whether they have the anchors that are published (the default)\n"
	"  certificates  those that hold, and those revoked that would\n"
	"  tokens        join tokens that live\n";

struct listing {
	const struct options *o;
	const struct folder *folder;
	struct conf_registration *registration;
	struct fleet fleet;
	struct issuer issuer;
	int64_t now_s;
};

static int list_load(struct listing *l, struct err *err)
{
	int r = rotate_settle(l->folder, err);
	if (r == 0)
		r = book_registration(l->folder, &l->registration, err);
	if (r == 0)
		r = issuer_load(l->folder, "issuer", &l->issuer, err);
	if (r == 0)
		r = fleet_read(l->folder, l->now_s, &l->fleet, err);
	return r;
}

static void list_done(struct listing *l)
{
	conf_registration_free(l->registration);
	issuer_done(&l->issuer);
	fleet_done(&l->fleet);
}

static void list_json_text(struct json *j, const char *key, struct str value)
{
	json_key(j, key);
	json_str(j, value);
}

static void list_json_number(struct json *j, const char *key, int64_t value)
{
	json_key(j, key);
	json_i64(j, value);
}

static int list_json_print(struct json *j)
{
	json_newline(j);
	if (!j->cut)
		fwrite(j->text, 1, j->len, stdout);
	int status = j->cut ? 1 : 0;
	if (j->cut)
		fprintf(stderr, "ringmain ca list: out of memory\n");
	json_done(j);
	return status;
}

/* "in 5h", "× 3m ago". */
static const char *list_end(int64_t end_s, int64_t now_s, char text[40])
{
	char age[32];
	if (end_s == 0)
		return "none";
	if (end_s > now_s)
		snprintf(text, 40, "%s", options_age(end_s - now_s, age));
	else
		snprintf(text, 40, "× over %s ago", options_age(now_s - end_s, age));
	return text;
}

/* --- nodes --- */

static const char *list_anchors(const struct listing *l, const struct nodes_row *shown)
{
	if (shown->anchors.etag[0] == '\0')
		return "not shown yet";
	return strcmp(shown->anchors.etag, l->fleet.etag) == 0 ? "current" : "× older";
}

static int64_t list_seen(const struct nodes_row *shown)
{
	return shown->anchors.seen_s > shown->crls.seen_s ? shown->anchors.seen_s
							  : shown->crls.seen_s;
}

static void list_identities(const struct conf_registered *n, char *text, size_t size)
{
	size_t len = 0;
	struct str prefix = STR("service/");
	text[0] = '\0';
	for (uint32_t i = 0; i < n->identity_count && len < size; i++) {
		struct str id = n->identities[i];
		struct str name = {id.at + prefix.len, id.len - prefix.len};
		if (str_starts(id, prefix) && !memchr(name.at, '/', name.len))
			id = name;
		len += (size_t)snprintf(
			text + len, size - len, "%s" STR_FMT, i ? " " : "", STR_ARG(id));
	}
	if (n->identity_count == 0)
		snprintf(text, size, "-");
}

static void list_node_row(const struct listing *l, struct table *t, const struct conf_registered *n)
{
	char text[TABLE_CELL_MAX], end[40], age[32];
	const struct fleet_node *node = fleet_find(&l->fleet, n->name);
	struct nodes_row shown;
	nodes_read(l->folder, n->name, &shown);
	list_identities(n, text, sizeof(text));
	table_cell_str(t, n->name);
	table_cell(t, "%s", text);
	table_cell(t, "%s", list_end(node ? node->own_end_s : 0, l->now_s, end));
	table_cell_number(t, node ? node->count : 0);
	table_cell(t, "%s", list_anchors(l, &shown));
	if (list_seen(&shown) == 0)
		table_cell(t, "never");
	else
		table_cell(t, "%s ago", options_age(l->now_s - list_seen(&shown), age));
}

/* What a machine that joins is told to look for. */
static void list_head_root(const struct listing *l)
{
	char fingerprint[CA_FINGERPRINT_TEXT];
	struct err ignored;
	X509 *root = anchors_first(l->folder, "root.crt");
	if (root && found_fingerprint(root, fingerprint, &ignored) == 0)
		printf("root          SHA-256 %s\n", fingerprint);
	X509_free(root);
}

/* What the authority itself is like, above its machines. */
static void list_head(const struct listing *l)
{
	struct rotation x;
	struct err ignored;
	char end[40];
	const struct issuer *i = &l->issuer;
	bool nears_end = (i->not_after_s - l->now_s) * 3 < i->not_after_s - i->not_before_s;
	printf("trust domain  %s\n", i->trust_domain);
	list_head_root(l);
	printf("issuer        %.8s, %s%s%s\n", i->key_id,
		i->not_after_s > l->now_s ? "holds for " : "",
		list_end(i->not_after_s, l->now_s, end),
		nears_end ? "; × make a new one: ringmain ca rotate publish" : "");
	if (rotate_read(l->folder, &x, &ignored) == 0 && x.phase != ROTATE_NONE)
		printf("rotation      %s; see: ringmain ca rotate status\n",
			rotate_phase_text(x.phase));
	printf("\n");
}

static int list_nodes(const struct listing *l)
{
	static const char *const heading[] = {
		"NODE", "IDENTITIES", "OWN CERTIFICATE", "HOLDS", "ANCHORS", "SEEN"};
	struct table t;
	list_head(l);
	if (l->registration->node_count == 0)
		printf("no machine is registered; begin with: ringmain ca allow NODE "
		       "IDENTITY...\n");
	table_init(&t, ARRAY_LEN(heading));
	for (size_t i = 0; i < ARRAY_LEN(heading); i++)
		table_cell(&t, "%s", heading[i]);
	for (uint32_t i = 0; i < l->registration->node_count; i++)
		list_node_row(l, &t, &l->registration->nodes[i]);
	if (l->registration->node_count > 0)
		table_print(&t, stdout, 0);
	table_done(&t);
	if (l->fleet.by_hand.count > 0)
		printf("\nmade by hand (ca issue): %u\n", l->fleet.by_hand.count);
	return 0;
}

static void list_node_json(const struct listing *l, struct json *j, const struct conf_registered *n)
{
	const struct fleet_node *node = fleet_find(&l->fleet, n->name);
	struct nodes_row shown;
	nodes_read(l->folder, n->name, &shown);
	json_open(j, '{');
	list_json_text(j, "name", n->name);
	json_key(j, "identities");
	json_open(j, '[');
	for (uint32_t i = 0; i < n->identity_count; i++)
		json_str(j, n->identities[i]);
	json_close(j, ']');
	list_json_number(j, "own_certificate_until", node ? node->own_end_s : 0);
	list_json_number(j, "certificates", node ? node->count : 0);
	list_json_number(j, "certificates_of_older_issuers", node ? node->old_count : 0);
	json_key(j, "anchors_current");
	json_bool(j, strcmp(shown.anchors.etag, l->fleet.etag) == 0);
	list_json_number(j, "seen", list_seen(&shown));
	json_close(j, '}');
}

static int list_nodes_json(const struct listing *l)
{
	struct json j;
	json_init(&j, COMMAND_JSON_MAX);
	json_open(&j, '{');
	list_json_text(&j, "trust_domain", str_of(l->issuer.trust_domain));
	list_json_text(&j, "issuer", str_of(l->issuer.key_id));
	list_json_number(&j, "issuer_until", l->issuer.not_after_s);
	json_key(&j, "nodes");
	json_open(&j, '[');
	for (uint32_t i = 0; i < l->registration->node_count; i++)
		list_node_json(l, &j, &l->registration->nodes[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	return list_json_print(&j);
}

/* --- certificates --- */

static int list_certificates(const struct listing *l)
{
	static const char *const heading[] = {
		"SERIAL", "IDENTITY", "NODE", "HOLDS FOR", "ISSUER", "STATE"};
	struct table t;
	char end[40];
	table_init(&t, ARRAY_LEN(heading));
	for (size_t i = 0; i < ARRAY_LEN(heading); i++)
		table_cell(&t, "%s", heading[i]);
	for (uint32_t i = 0; i < l->fleet.index.count; i++) {
		const struct ledger_row *row = &l->fleet.index.rows[i];
		if (row->end_s <= l->now_s)
			continue;
		bool is_old = !str_eq(row->issuer, str_of(l->fleet.issuer));
		table_cell_str(&t, row->serial);
		table_cell_str(&t, row->identity);
		table_cell_str(&t, str_eq(row->node, STR("-")) ? STR("by hand") : row->node);
		table_cell(&t, "%s", list_end(row->end_s, l->now_s, end));
		table_cell(&t, "%.8s%s", row->issuer.at, is_old ? " (older)" : "");
		table_cell(
			&t, "%s", fleet_is_revoked(&l->fleet, row->serial) ? "× revoked" : "good");
	}
	table_print(&t, stdout, 0);
	table_done(&t);
	return 0;
}

static int list_certificates_json(const struct listing *l)
{
	struct json j;
	json_init(&j, COMMAND_JSON_MAX);
	json_open(&j, '[');
	for (uint32_t i = 0; i < l->fleet.index.count; i++) {
		const struct ledger_row *row = &l->fleet.index.rows[i];
		if (row->end_s <= l->now_s)
			continue;
		json_open(&j, '{');
		list_json_text(&j, "serial", row->serial);
		list_json_text(&j, "identity", row->identity);
		list_json_text(&j, "node", str_eq(row->node, STR("-")) ? STR_NONE : row->node);
		list_json_number(&j, "until", row->end_s);
		list_json_text(&j, "issuer", row->issuer);
		json_key(&j, "revoked");
		json_bool(&j, fleet_is_revoked(&l->fleet, row->serial));
		json_close(&j, '}');
	}
	json_close(&j, ']');
	return list_json_print(&j);
}

/* --- tokens --- */

static void list_tokens_json(
	const struct token *tokens, uint32_t count, int64_t now_s, struct json *j)
{
	json_open(j, '[');
	for (uint32_t i = 0; i < count; i++) {
		if (tokens[i].until_s <= now_s)
			continue;
		json_open(j, '{');
		list_json_text(j, "node", str_of(tokens[i].node));
		list_json_number(j, "until", tokens[i].until_s);
		json_key(j, "used");
		json_bool(j, tokens[i].key_hash[0] != '\0');
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void list_tokens_table(const struct token *tokens, uint32_t count, int64_t now_s)
{
	struct table t;
	char end[40];
	table_init(&t, 3);
	table_cell(&t, "NODE");
	table_cell(&t, "LIVES FOR");
	table_cell(&t, "USED");
	for (uint32_t i = 0; i < count; i++) {
		if (tokens[i].until_s <= now_s)
			continue;
		table_cell(&t, "%s", tokens[i].node);
		table_cell(&t, "%s", list_end(tokens[i].until_s, now_s, end));
		table_cell(&t, "%s", tokens[i].key_hash[0] ? "yes" : "no");
	}
	table_print(&t, stdout, 0);
	table_done(&t);
}

static int list_tokens(const struct listing *l, bool is_json, struct err *err)
{
	struct token *tokens;
	uint32_t count;
	int r = token_list(l->folder, &tokens, &count, err);
	if (r < 0)
		return r;
	if (is_json) {
		struct json j;
		json_init(&j, COMMAND_JSON_MAX);
		list_tokens_json(tokens, count, l->now_s, &j);
		r = list_json_print(&j);
	} else {
		list_tokens_table(tokens, count, l->now_s);
	}
	free(tokens);
	return r;
}

/* --- all --- */

static int list_print(const struct listing *l, struct str what, struct err *err)
{
	const char *output = options_value(l->o, OPTIONS_OUTPUT);
	bool is_json = output && strcmp(output, "json") == 0;
	if (str_eq(what, STR("tokens")))
		return list_tokens(l, is_json, err);
	if (str_eq(what, STR("certificates")))
		return is_json ? list_certificates_json(l) : list_certificates(l);
	return is_json ? list_nodes_json(l) : list_nodes(l);
}

static int command_list_run(const struct options *o)
{
	struct str what = o->word_count ? str_of(o->words[0]) : STR("nodes");
	struct folder f;
	struct err err;
	if (!str_eq(what, STR("nodes")) && !str_eq(what, STR("certificates")) &&
		!str_eq(what, STR("tokens")))
		return usage_wrong(
			o->command, "nodes, certificates or tokens, not \"%s\"", o->words[0]);
	if (!options_enter(o, &f))
		return 1;
	struct listing l = {.o = o, .folder = &f, .now_s = options_now()};
	int r = list_load(&l, &err);
	/* Whoever reads our output may take his time; the server must not wait for him. */
	folder_unlock(&f);
	if (r == 0)
		r = list_print(&l, what, &err);
	list_done(&l);
	folder_close(&f);
	return r < 0 ? options_failed(o, &err) : r;
}

const struct options_command command_list = {.name = "list",
	.usage = command_list_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(OUTPUT),
	.words_max = 1,
	.run = command_list_run};
