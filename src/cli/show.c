/* SPDX-License-Identifier: Apache-2.0 */
/* Layout: a block of facts, tables, and at the end the problems and notes, so that the eye ends
 * where there is something to do. A problem makes the exit status 1, a note does not. */
#include "show_inside.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

/* Less than this share of its life left: renewal, which comes at half-life, has failed for long. */
#define SHOW_EXPIRY_PERCENT 20
#define SHOW_WATCH_SILENT_S 15

const char *show_duration(int64_t s, char text[32])
{
	if (s < 60)
		snprintf(text, 32, "%llds", (long long)s);
	else if (s < 3600)
		snprintf(text, 32, "%lldm %llds", (long long)s / 60, (long long)s % 60);
	else if (s < 86400)
		snprintf(text, 32, "%lldh %lldm", (long long)s / 3600, (long long)s / 60 % 60);
	else
		snprintf(text, 32, "%lldd %lldh", (long long)s / 86400, (long long)s / 3600 % 24);
	return text;
}

/* "2026-11-23T20:00:00.000Z" as "2026-11-23 20:00:00Z". */
static const char *show_time(struct str time, char text[32])
{
	if (time.len < 20) {
		snprintf(text, 32, "-");
		return text;
	}
	snprintf(text, 32, "%.10s %.8sZ", time.at, time.at + 11);
	return text;
}

/* Seconds since a time as above; 0 when it cannot be read. */
static int64_t show_age(struct str time, uint64_t now_s)
{
	char text[32];
	struct tm tm = {0};
	snprintf(text, sizeof(text), STR_FMT, STR_ARG(time));
	if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
		return 0;
	int64_t age = (int64_t)now_s - (int64_t)timegm(&tm);
	return age > 0 ? age : 0;
}

void show_fact(FILE *out, const char *name, const char *format, ...)
{
	va_list args;
	fprintf(out, "%-12s", name);
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fputc('\n', out);
}

void show_lines(FILE *out, const char *margin, struct str text)
{
	while (text.len) {
		const char *end = memchr(text.at, '\n', text.len);
		size_t len = end ? (size_t)(end - text.at) : text.len;
		fputs(margin, out);
		for (size_t i = 0; i < len; i++)
			fputc((unsigned char)text.at[i] < 0x20 ? '?' : text.at[i], out);
		fputc('\n', out);
		size_t used = len + (end != NULL);
		text = (struct str){text.at + used, text.len - used};
	}
}

/* --- facts --- */

static const struct json_tree *show_reload(const struct show_source *s)
{
	return json_tree_get(s->status, "last_reload");
}

static bool show_reload_refused(const struct show_source *s)
{
	const struct json_tree *reload = show_reload(s);
	return reload && reload->kind == JSON_OBJECT && !json_tree_true(reload, "ok");
}

static void show_up(FILE *out, const struct show_source *s)
{
	char up[32], since[32];
	int64_t restarts = json_tree_number(s->status, "restart_count");
	show_duration(json_tree_number(s->status, "uptime_s"), up);
	show_time(json_tree_text(s->status, "start_time"), since);
	if (restarts)
		show_fact(out, "up", "%s, since %s, restarted %lld time%s", up, since,
			(long long)restarts, restarts == 1 ? "" : "s");
	else
		show_fact(out, "up", "%s, since %s", up, since);
}

static void show_generation(FILE *out, const struct show_source *s)
{
	const struct json_tree *reload = show_reload(s);
	long long generation = json_tree_number(s->status, "generation");
	char time[32], age[32];
	struct str at = json_tree_text(reload, "time");
	show_time(at, time);
	show_duration(show_age(at, s->now_s), age);
	if (!at.len)
		show_fact(out, "generation", "%lld", generation);
	else if (show_reload_refused(s))
		show_fact(out, "generation", "%lld; a reload was refused %s (%s ago)", generation,
			time, age);
	else
		show_fact(out, "generation", "%lld, in force since %s (%s ago)", generation, time,
			age);
}

static void show_redirect(FILE *out, const struct show_source *s)
{
	if (!s->redirect)
		return;
	char age[32];
	struct str state = json_tree_text(s->redirect, "state");
	show_duration(show_age(json_tree_text(s->redirect, "last_check"), s->now_s), age);
	int64_t mended = json_tree_number(s->redirect, "mended_count");
	if (mended)
		show_fact(out, "redirect", "rules " STR_FMT ", checked %s ago, mended %lld time%s",
			STR_ARG(state), age, (long long)mended, mended == 1 ? "" : "s");
	else
		show_fact(
			out, "redirect", "rules " STR_FMT ", checked %s ago", STR_ARG(state), age);
}

static void show_facts(FILE *out, const struct show_source *s)
{
	struct str node = json_tree_text(s->status, "node");
	struct str domain = json_tree_text(s->status, "trust_domain");
	show_fact(out, "node", STR_FMT, STR_ARG(node.len ? node : STR("-")));
	show_fact(out, "mesh", STR_FMT, STR_ARG(domain.len ? domain : STR("-")));
	show_fact(out, "version", STR_FMT, STR_ARG(json_tree_text(s->status, "version")));
	show_up(out, s);
	show_generation(out, s);
	show_redirect(out, s);
	show_state_facts(out, s);
	show_certs_fact(out, s);
	show_fact(out, "state", "%s",
		json_tree_true(s->status, "draining") ? "draining"
		: json_tree_true(s->status, "ready")  ? "ready"
						      : "not ready");
}

/* --- identities --- */

enum show_validity { SHOW_VALID, SHOW_SOON, SHOW_EXPIRED };

static enum show_validity show_validity(const struct json_tree *identity)
{
	int64_t left = json_tree_number(identity, "expires_in_s");
	int64_t lifetime = json_tree_number(identity, "lifetime_s");
	if (left <= 0)
		return SHOW_EXPIRED;
	return left < lifetime / 100 * SHOW_EXPIRY_PERCENT ? SHOW_SOON : SHOW_VALID;
}

static void show_identity(struct table *t, const struct json_tree *identity)
{
	char left[32], time[32];
	int64_t seconds = json_tree_number(identity, "expires_in_s");
	enum show_validity validity = show_validity(identity);
	show_duration(seconds < 0 ? -seconds : seconds, left);
	table_cell_str(t, json_tree_text(identity, "identity"));
	if (validity == SHOW_EXPIRED)
		table_cell(t, "× expired %s ago", left);
	else
		table_cell(t, "%s%s", validity == SHOW_SOON ? "‼ " : "", left);
	table_cell(t, "%s", show_time(json_tree_text(identity, "not_after"), time));
	table_cell_str(t, json_tree_text(identity, "serial"));
}

void show_rows(FILE *out, struct table *t)
{
	if (t->cell_count > t->column_count) {
		fputc('\n', out);
		table_print(t, out, 0);
	}
	table_done(t);
}

void show_headings(struct table *t, uint32_t count, const char *const *names)
{
	table_init(t, count);
	for (uint32_t i = 0; i < count; i++)
		table_cell(t, "%s", names[i]);
}

static void show_identities(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {"IDENTITY", "EXPIRES IN", "NOT AFTER", "SERIAL"};
	struct table t;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *i = json_tree_list(s->status, "identities"); i; i = i->next)
		show_identity(&t, i);
	for (const struct json_tree *i = json_tree_list(s->status, "identities_missing"); i;
		i = i->next) {
		table_cell_str(&t, i->text);
		table_cell(&t, "× no certificate");
		table_cell(&t, "-");
		table_cell(&t, "-");
	}
	show_rows(out, &t);
}

/* --- listeners: one line for all ports of a kind at an address --- */

struct show_ranges {
	char text[TABLE_CELL_MAX];
	size_t len;
};

static int show_compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* "0-3,7"; sorts. */
static void show_fold(struct show_ranges *r, int64_t *numbers, size_t count)
{
	r->len = 0;
	r->text[0] = 0;
	qsort(numbers, count, sizeof(*numbers), show_compare);
	for (size_t i = 0, last; i < count && r->len < sizeof(r->text); i = last + 1) {
		last = i;
		while (last + 1 < count && numbers[last + 1] - numbers[last] <= 1)
			last++;
		const char *comma = i ? "," : "";
		char *at = r->text + r->len;
		size_t size = sizeof(r->text) - r->len;
		long long from = numbers[i], to = numbers[last];
		r->len += (size_t)(from == to ? snprintf(at, size, "%s%lld", comma, from)
					      : snprintf(at, size, "%s%lld-%lld", comma, from, to));
	}
}

/* "127.0.0.1:15001" into "127.0.0.1:" and 15001; a path is a host without a port. */
static struct str show_host(const struct json_tree *listener, int64_t *ret_port)
{
	struct str address = json_tree_text(listener, "address");
	const char *colon = address.len ? memrchr(address.at, ':', address.len) : NULL;
	uint64_t port = 0;
	*ret_port = 0;
	if (!colon)
		return address;
	size_t host_len = (size_t)(colon - address.at) + 1;
	if (!str_to_u64((struct str){colon + 1, address.len - host_len}, &port))
		return address;
	*ret_port = (int64_t)port;
	return (struct str){address.at, host_len};
}

static bool show_same_place(const struct json_tree *a, const struct json_tree *b)
{
	int64_t port;
	return str_eq(json_tree_text(a, "kind"), json_tree_text(b, "kind")) &&
	       str_eq(show_host(a, &port), show_host(b, &port));
}

static void show_listener_row(struct table *t, const struct json_tree *first, size_t count)
{
	int64_t *ports = calloc(2 * count, sizeof(*ports)), *workers = ports + count;
	ASSERT(ports);
	size_t n = 0;
	for (const struct json_tree *l = first; l; l = l->next) {
		if (!show_same_place(first, l))
			continue;
		show_host(l, &ports[n]);
		workers[n++] = json_tree_number(l, "worker");
	}
	struct show_ranges range;
	struct str host = show_host(first, &ports[0]);
	table_cell_str(t, json_tree_text(first, "kind"));
	show_fold(&range, ports, n);
	if (ports[n - 1])
		table_cell(t, STR_FMT "%s", STR_ARG(host), range.text);
	else
		table_cell_str(t, host);
	show_fold(&range, workers, n);
	table_cell(t, "%s", json_tree_get(first, "worker") ? range.text : "-");
	free(ports);
}

static void show_listeners(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {"LISTENER", "ADDRESS", "WORKER"};
	const struct json_tree *all = json_tree_list(s->status, "listeners");
	struct table t;
	size_t count = 0;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *l = all; l; l = l->next)
		count++;
	for (const struct json_tree *l = all; l; l = l->next) {
		const struct json_tree *first = all;
		while (!show_same_place(first, l))
			first = first->next;
		if (first == l)
			show_listener_row(&t, l, count);
	}
	show_rows(out, &t);
}

/* --- workloads --- */

static void show_workloads(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {"WORKLOAD", "IDENTITY", "VERSION", "USER", "UID",
		"MARK", "PORT", "PROTOCOL", "MTLS"};
	struct table t;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *w = json_tree_list(s->status, "workloads"); w; w = w->next) {
		bool serves = json_tree_number(w, "port");
		table_cell_str(&t, json_tree_text(w, "service"));
		table_cell(&t, "%s" STR_FMT, json_tree_true(w, "refused") ? "× " : "",
			STR_ARG(json_tree_text(w, "identity")));
		table_cell_str(&t, json_tree_text(w, "version"));
		table_cell_str(&t, json_tree_text(w, "user"));
		table_cell(&t, "%lld", (long long)json_tree_number(w, "uid"));
		table_cell_number(&t, json_tree_number(w, "mark"));
		table_cell_number(&t, json_tree_number(w, "port"));
		table_cell_str(&t, serves ? json_tree_text(w, "protocol") : STR("-"));
		table_cell_str(&t, serves ? json_tree_text(w, "mtls") : STR("-"));
	}
	show_rows(out, &t);
}

/* --- counters: the usual ones always, those of trouble when there was any --- */

static void show_counters(FILE *out, const struct show_source *s)
{
	static const struct {
		const char *key, *name;
		bool always;
	} rows[] = {
		{"requests_total", "requests", true},
		{"connections_active", "connections open now", true},
		{"connections_total", "connections accepted", true},
		{"handshakes_total", "TLS handshakes", true},
		{"handshakes_resumed_total", "  of them resumed", true},
		{"pool_opened_total", "upstream connections", true},
		{"pool_reused_total", "  requests that reused one", true},
		{"retries_total", "requests sent again", false},
		{"ejections_total", "ejections of endpoints", false},
		{"endpoints_ejected", "  endpoints ejected now", false},
		{"picks_other_zone_total", "calls that left the zone", false},
		{"picks_panic_total", "calls to any endpoint, as too few were well", false},
		{"handshake_failures_total", "failed TLS handshakes", false},
		{"unattributed_total", "unattributed connections", false},
		{"direct_refused_total", "direct dials refused", false},
		{"limit_refused_total", "refused at a limit", false},
		{"detect_timeout_total", "protocol detection timeouts", false},
		{"receive_starved_total", "waits for a receive block", false},
		{"log_dropped_total", "access log lines dropped", false},
		{"log_failed_total", "access log lines not written", false},
		{"series_dropped_total", "metric samples dropped", false},
	};
	const struct json_tree *counters = json_tree_get(s->status, "counters");
	struct table t;
	table_init(&t, 2);
	table_cell(&t, "COUNTER");
	table_cell(&t, "VALUE");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t value = json_tree_number(counters, rows[i].key);
		if (!rows[i].always && !value)
			continue;
		table_cell(&t, "%s", rows[i].name);
		table_cell(&t, "%lld", (long long)value);
	}
	show_rows(out, &t);
}

/* --- problems and notes --- */

void show_point(struct show_list *l, bool problem, const char *format, ...)
{
	l->problem_count += problem;
	if (!l->out)
		return;
	if (!l->begun)
		fputc('\n', l->out);
	l->begun = true;
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Some of it was said by a store. */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	fprintf(l->out, "%s %s\n", problem ? "×" : "‼", text);
}

static void show_check_identities(struct show_list *l, const struct show_source *s)
{
	char left[32];
	for (const struct json_tree *i = json_tree_list(s->status, "identities"); i; i = i->next) {
		struct str path = json_tree_text(i, "identity");
		int64_t seconds = json_tree_number(i, "expires_in_s");
		enum show_validity validity = show_validity(i);
		if (validity == SHOW_EXPIRED)
			show_point(l, true, "the certificate of " STR_FMT " has expired",
				STR_ARG(path));
		else if (validity == SHOW_SOON)
			show_point(l, false,
				"the certificate of " STR_FMT " expires in %s and was not renewed",
				STR_ARG(path), show_duration(seconds, left));
	}
	for (const struct json_tree *i = json_tree_list(s->status, "identities_missing"); i;
		i = i->next)
		show_point(l, true,
			"there is no certificate for " STR_FMT ": the workload has no identity",
			STR_ARG(i->text));
}

static void show_check_refused(struct show_list *l, const struct show_source *s)
{
	for (const struct json_tree *w = json_tree_list(s->status, "workloads"); w; w = w->next)
		if (json_tree_true(w, "refused"))
			show_point(l, true,
				"the identity " STR_FMT " is none that the service " STR_FMT
				" may have: nobody is led to the workload",
				STR_ARG(json_tree_text(w, "identity")),
				STR_ARG(json_tree_text(w, "service")));
}

static void show_check_redirect(struct show_list *l, const struct show_source *s)
{
	if (!s->redirect)
		return;
	struct str state = json_tree_text(s->redirect, "state");
	struct str detail = json_tree_text(s->redirect, "detail");
	int64_t silent = show_age(json_tree_text(s->redirect, "last_check"), s->now_s);
	if (str_eq(state, STR("drifted")))
		show_point(l, true, "the redirect rules are not as they should be: " STR_FMT,
			STR_ARG(detail));
	else if (str_eq(state, STR("absent")))
		show_point(l, false,
			"the redirect rules are down: workloads talk past the mesh "
			"(`ringmain redirect up`)");
	if (silent > SHOW_WATCH_SILENT_S)
		show_point(l, false, "`ringmain redirect watch` has not looked for %llds",
			(long long)silent);
}

static void show_check_traffic(struct show_list *l, const struct show_source *s)
{
	const struct json_tree *counters = json_tree_get(s->status, "counters");
	int64_t unattributed = json_tree_number(counters, "unattributed_total");
	for (const struct json_tree *w = json_tree_list(s->status, "workloads"); w; w = w->next)
		if (!json_tree_number(w, "mark"))
			show_point(l, false,
				STR_FMT " has no mark: its connections are not captured until "
					"`ringmain redirect up` has run",
				STR_ARG(json_tree_text(w, "service")));
	if (unattributed)
		show_point(l, false,
			"%lld captured connection%s had no known caller: see UNATTRIBUTED in the "
			"access log",
			(long long)unattributed, unattributed == 1 ? "" : "s");
}

/* What the configuration and the mesh's objects allow, and looks like a mistake. */
static void show_check_warnings(struct show_list *l, const struct show_source *s)
{
	int64_t count = json_tree_number(s->status, "warning_count");
	if (count <= 0)
		return;
	show_point(l, false, "%lld warning%s about what is in force:", (long long)count,
		count == 1 ? "" : "s");
	if (!l->out)
		return;
	for (const struct json_tree *i = json_tree_list(s->status, "warnings"); i;
		i = i->next, count--)
		show_lines(l->out, "    ", i->text);
	if (count > 0)
		fprintf(l->out, "    and %lld more: `ringmain check` has all\n", (long long)count);
}

static void show_check(struct show_list *l, const struct show_source *s)
{
	if (show_reload_refused(s)) {
		show_point(l, true,
			"the last reload was refused; the configuration before it stays in force:");
		if (l->out)
			show_lines(l->out, "    ", json_tree_text(show_reload(s), "text"));
	}
	show_check_identities(l, s);
	show_check_refused(l, s);
	if (!json_tree_number(s->status, "generation"))
		show_point(l, true, "no configuration is in force");
	if (!json_tree_list(s->status, "listeners"))
		show_point(l, true, "there are no listening sockets");
	show_check_renewal(l, s);
	show_check_state(l, s);
	show_check_rollouts(l, s);
	show_check_issuers(l, s);
	show_check_warnings(l, s);
	show_check_redirect(l, s);
	show_check_traffic(l, s);
}

int show_problems(const struct show_source *source)
{
	struct show_list l = {0};
	show_check(&l, source);
	return l.problem_count;
}

int show_status(FILE *out, const struct show_source *source)
{
	struct show_list l = {.out = out};
	show_facts(out, source);
	show_identities(out, source);
	show_listeners(out, source);
	show_workloads(out, source);
	show_state_endpoints(out, source);
	show_rollouts(out, source);
	show_issuers(out, source);
	show_ejected(out, source);
	show_counters(out, source);
	show_check(&l, source);
	return l.problem_count;
}
