/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and trust, for people: a table of `ringmain certs`, a line of `ringmain status`. */
#include "show_inside.h"

#include <stdlib.h>

#define SHOW_SERIAL_MAX 12 /* of its digits; as many as tell two apart */
#define SHOW_SKEW_S	10 /* more than what messages take */

static bool show_cert_is(const struct json_tree *cert, const char *state)
{
	return str_eq(json_tree_text(cert, "state"), str_of(state));
}

/* Somebody has to act: it is over, there is none, or the next one cannot be had. */
static bool show_cert_is_bad(const struct json_tree *cert)
{
	return show_cert_is(cert, "expired") || show_cert_is(cert, "revoked") ||
	       show_cert_is(cert, "missing") || show_cert_is(cert, "failing") ||
	       show_cert_is(cert, "ending");
}

static bool show_has(const struct json_tree *object, const char *key)
{
	const struct json_tree *child = json_tree_get(object, key);
	return child && child->kind == JSON_NUMBER;
}

/* "in 32m 5s", "3m 1s ago", or "-". */
static void show_cell_until(struct table *t, const struct json_tree *object, const char *key)
{
	char text[32];
	int64_t s = json_tree_number(object, key);
	if (!show_has(object, key))
		table_cell(t, "-");
	else if (s >= 0)
		table_cell(t, "in %s", show_duration(s, text));
	else
		table_cell(t, "%s ago", show_duration(-s, text));
}

static void show_cell_serial(struct table *t, struct str serial)
{
	bool is_long = serial.len > SHOW_SERIAL_MAX;
	if (is_long)
		serial.len = SHOW_SERIAL_MAX;
	if (is_long)
		table_cell(t, STR_FMT "…", STR_ARG(serial));
	else
		table_cell_str(t, serial);
}

/* --- tables --- */

static void show_cert(struct table *t, const struct json_tree *cert)
{
	struct str state = json_tree_text(cert, "state");
	const char *mark = show_cert_is(cert, "failing") ? "‼ "
			   : show_cert_is_bad(cert)	 ? "× "
							 : "";
	table_cell_str(t, json_tree_text(cert, "identity"));
	table_cell(t, "%s" STR_FMT, mark, STR_ARG(state));
	show_cell_serial(t, json_tree_text(cert, "serial"));
	show_cell_until(t, cert, "expires_in_s");
	show_cell_until(t, cert, "renews_in_s");
	table_cell_str(t, json_tree_text(cert, "source"));
	table_cell_str(t, json_tree_text(cert, "why"));
}

static void show_certs_table(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {
		"IDENTITY", "STATE", "SERIAL", "EXPIRES", "RENEWS", "SOURCE", "WHY"};
	struct table t;
	table_init(&t, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		table_cell(&t, "%s", names[i]);
	for (const struct json_tree *c = json_tree_list(s->status, "certificates"); c; c = c->next)
		show_cert(&t, c);
	table_print(&t, out, 0);
	table_done(&t);
}

static void show_trust(struct table *t, const struct json_tree *trust)
{
	char age[32];
	table_cell_str(t, json_tree_text(trust, "trust_domain"));
	table_cell_number(t, json_tree_number(trust, "anchors"));
	show_cell_until(t, trust, "expires_in_s");
	table_cell_number(t, json_tree_number(trust, "crls"));
	table_cell_number(t, json_tree_number(trust, "revoked"));
	if (show_has(trust, "crl_age_s"))
		table_cell(t, "%s", show_duration(json_tree_number(trust, "crl_age_s"), age));
	else
		table_cell(t, "-");
	show_cell_until(t, trust, "crl_next_update_in_s");
	table_cell_str(t, json_tree_text(trust, "why"));
}

static void show_trust_table(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {"TRUST DOMAIN", "ANCHORS", "FIRST EXPIRES", "CRLS",
		"REVOKED", "CRL AGE", "NEXT CRL", "WHY"};
	struct table t;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *d = json_tree_list(s->status, "trust"); d; d = d->next)
		show_trust(&t, d);
	show_rows(out, &t);
}

/* --- problems and notes --- */

static void show_check_cert(struct show_list *l, const struct json_tree *cert)
{
	struct str path = json_tree_text(cert, "identity"), why = json_tree_text(cert, "why");
	struct str serial = json_tree_text(cert, "serial");
	struct str served = json_tree_text(cert, "served_serial");
	char left[32];
	show_duration(json_tree_number(cert, "expires_in_s"), left);
	if (!why.len)
		why = STR("no reason is known");
	if (show_cert_is(cert, "missing"))
		show_point(l, true, "there is no certificate for " STR_FMT ": " STR_FMT,
			STR_ARG(path), STR_ARG(why));
	else if (show_cert_is(cert, "expired"))
		show_point(l, true, "the certificate of " STR_FMT " has expired: " STR_FMT,
			STR_ARG(path), STR_ARG(why));
	else if (show_cert_is(cert, "revoked"))
		show_point(l, true,
			"the certificate of " STR_FMT
			" has been revoked, and others refuse it: " STR_FMT,
			STR_ARG(path), STR_ARG(why));
	else if (show_cert_is(cert, "failing") || show_cert_is(cert, "ending"))
		show_point(l, true,
			"the certificate of " STR_FMT
			" expires in %s, and there is no next one: " STR_FMT,
			STR_ARG(path), left, STR_ARG(why));
	if (served.len && !str_eq(served, serial))
		show_point(l, true,
			STR_FMT " has certificate " STR_FMT ", but the mesh port serves " STR_FMT
				" still",
			STR_ARG(path), STR_ARG(serial), STR_ARG(served));
}

static void show_check_trust(struct show_list *l, const struct json_tree *trust)
{
	struct str domain = json_tree_text(trust, "trust_domain"),
		   why = json_tree_text(trust, "why");
	if (show_has(trust, "expires_in_s") && json_tree_number(trust, "expires_in_s") <= 0)
		show_point(l, true, "a trust anchor of " STR_FMT " has expired", STR_ARG(domain));
	if (show_has(trust, "crl_next_update_in_s") &&
		json_tree_number(trust, "crl_next_update_in_s") < 0)
		show_point(l, true,
			"the list of revoked certificates of " STR_FMT " is over its time",
			STR_ARG(domain));
	if (json_tree_number(trust, "failed") > 0)
		show_point(l, true, "anchors of " STR_FMT " cannot be asked for: " STR_FMT,
			STR_ARG(domain), STR_ARG(why.len ? why : STR("no reason is known")));
}

static void show_check_certs(struct show_list *l, const struct show_source *s)
{
	int64_t skew_s = json_tree_number(s->status, "clock_skew_s");
	for (const struct json_tree *c = json_tree_list(s->status, "certificates"); c; c = c->next)
		show_check_cert(l, c);
	for (const struct json_tree *d = json_tree_list(s->status, "trust"); d; d = d->next)
		show_check_trust(l, d);
	if (skew_s > SHOW_SKEW_S || skew_s < -SHOW_SKEW_S)
		show_point(l, false, "this machine's clock is %llds %s the authority's",
			llabs((long long)skew_s), skew_s > 0 ? "ahead of" : "behind");
}

/* That something is over or missing, status says where it shows what is in force. */
void show_check_renewal(struct show_list *l, const struct show_source *s)
{
	long long count = 0;
	for (const struct json_tree *c = json_tree_list(s->status, "certificates"); c; c = c->next)
		count += str_eq(json_tree_text(c, "source"), STR("ca")) &&
			 (show_cert_is(c, "failing") || show_cert_is(c, "ending"));
	if (count > 0)
		show_point(l, true,
			"%lld certificate%s cannot be renewed: `ringmain certs` says why", count,
			count == 1 ? "" : "s");
}

/* --- pages --- */

void show_certs_fact(FILE *out, const struct show_source *s)
{
	int64_t next_s = -1, bad = 0, count = 0;
	char text[32];
	for (const struct json_tree *c = json_tree_list(s->status, "certificates"); c;
		c = c->next) {
		int64_t renews_s = json_tree_number(c, "renews_in_s");
		count++;
		bad += show_cert_is_bad(c);
		if (show_has(c, "renews_in_s") && renews_s >= 0 &&
			(next_s < 0 || renews_s < next_s))
			next_s = renews_s;
	}
	if (count == 0)
		return;
	if (bad > 0)
		show_fact(out, "certs", "%lld, × %lld of them not well (`ringmain certs`)",
			(long long)count, (long long)bad);
	else if (next_s >= 0)
		show_fact(out, "certs", "%lld, all well, the next renewal in %s", (long long)count,
			show_duration(next_s, text));
	else
		show_fact(out, "certs", "%lld, all well", (long long)count);
}

int show_certs_problems(const struct show_source *source)
{
	struct show_list l = {0};
	show_check_certs(&l, source);
	return l.problem_count;
}

int show_certs(FILE *out, const struct show_source *source)
{
	struct show_list l = {.out = out};
	show_certs_table(out, source);
	show_trust_table(out, source);
	show_check_certs(&l, source);
	return l.problem_count;
}
