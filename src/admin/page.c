/* SPDX-License-Identifier: Apache-2.0 */
/* Which page for which request. One table, at the end: path, method, text for the list of pages. */
#include "page.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- responses --- */

static void page_memory(struct page_response *response)
{
	*response = (struct page_response){.status = 500, .type = "text/plain"};
}

void page_text(struct page_response *response, uint16_t status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *body;
	int len = vasprintf(&body, format, args);
	va_end(args);
	if (len < 0) {
		page_memory(response);
		return;
	}
	*response = (struct page_response){
		.status = status,
		.type = "text/plain; charset=utf-8",
		.body = body,
		.body_len = (size_t)len,
	};
}

void page_json(struct page_response *response, struct json *j)
{
	json_newline(j);
	if (j->cut) {
		json_done(j);
		page_text(response, 500, "The answer is larger than can be built.\n");
		return;
	}
	*response = (struct page_response){
		.status = 200,
		.type = "application/json",
		.body = j->text,
		.body_len = j->len,
	};
}

void page_response_done(struct page_response *response)
{
	free(response->body);
	*response = (struct page_response){0};
}

/* --- requests --- */

bool page_host_is_loopback(struct str host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str name = str_of(names[i]);
		if (host.len < name.len || !str_eq_nocase((struct str){host.at, name.len}, name))
			continue;
		struct str rest = {host.at + name.len, host.len - name.len};
		uint64_t port;
		if (rest.len == 0 ||
			(rest.at[0] == ':' &&
				str_to_u64((struct str){rest.at + 1, rest.len - 1}, &port)))
			return true;
	}
	return false;
}

/* "q=0.5" among the parameters behind a media type, in thousandths; 1000 when there is none. */
static unsigned page_quality(struct str parameters)
{
	const char *at = memmem(parameters.at, parameters.len, "q=", 2);
	if (!at || at == parameters.at || !strchr("; \t", at[-1]))
		return 1000;
	const char *end = parameters.at + parameters.len;
	unsigned quality = 0, scale = 1000;
	for (at += 2; at < end && *at != ';' && *at != ' '; at++) {
		if (*at == '.')
			continue;
		if (*at < '0' || *at > '9')
			return 0;
		quality += (unsigned)(*at - '0') * scale;
		scale /= 10;
	}
	return quality;
}

/* The best quality that an Accept header gives a media type; 0 when it does not name it. */
static unsigned page_accepts(struct str accept, struct str type)
{
	unsigned best = 0;
	const char *end = accept.at + accept.len;
	for (const char *at = accept.at; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		struct str one = str_trim((struct str){at, (size_t)((comma ? comma : end) - at)});
		size_t name_len = 0;
		while (name_len < one.len && !strchr("; \t", one.at[name_len]))
			name_len++;
		unsigned quality =
			page_quality((struct str){one.at + name_len, one.len - name_len});
		if (str_eq_nocase((struct str){one.at, name_len}, type) && quality > best)
			best = quality;
		at = comma ? comma + 1 : end;
	}
	return best;
}

bool page_wants_openmetrics(struct str accept)
{
	return page_accepts(accept, STR("application/openmetrics-text")) >
	       page_accepts(accept, STR("text/plain"));
}

static void page_ready(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	char reasons[2048], degraded[2048];
	page_readiness(source, reasons, sizeof(reasons));
	page_not_renewable(source, degraded, sizeof(degraded));
	if (*reasons)
		page_text(response, 503, "not ready\n%s%s", reasons, degraded);
	else
		page_text(response, 200, "ready\n%s", degraded);
}

static void page_version(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	struct json j;
	json_init(&j, 1024);
	json_open(&j, '{');
	page_put_str(&j, "version", STR(RINGMAIN_VERSION));
	json_close(&j, '}');
	page_json(response, &j);
}

static void page_reload(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	source->proxy->reload_asked = true;
	page_text(response, 202, "asked for a reload\n");
	response->await_reload = true;
}

bool page_reloaded(const struct page_source *source, uint64_t asked_wall_ns, bool timed_out,
	struct page_response *ret_response)
{
	const struct proxy *p = source->proxy;
	bool ended = p->reload_wall_ns > asked_wall_ns;
	if (!ended && !timed_out)
		return false;
	if (!ended)
		page_text(ret_response, 202,
			"The reload has been asked for, but has not ended yet; see /status.\n");
	else if (p->reload_ok)
		page_text(ret_response, 200, "reloaded: generation %llu is in force\n%s%s",
			p->plan ? (unsigned long long)p->plan->generation : 0ull, p->reload_text,
			*p->reload_text ? "\n" : "");
	else
		page_text(ret_response, 409,
			"refused, the configuration before stays in force\n%s\n", p->reload_text);
	return true;
}

static void page_drain(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	source->proxy->drain_asked = true;
	page_text(response, 202, "draining: nothing new is taken\n");
}

static void page_live(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	page_text(response, 200, "ok\n");
}

/* --- the table --- */

static void page_index(const struct page_source *source, const struct page_request *request,
	struct page_response *response);

static const struct route {
	const char *path;
	void (*answer)(const struct page_source *source, const struct page_request *request,
		struct page_response *ret_response);
	bool changes;  /* POST, and over the unix socket only */
	bool anywhere; /* over TCP too, where every account of this machine may read it */
	const char *help;
} routes[] = {
	{"/", page_index, false, true, "this list"},
	{"/metrics", page_metrics, false, true, "Prometheus text, or OpenMetrics when asked for"},
	{"/livez", page_live, false, true, "200 while the control thread turns"},
	{"/healthz", page_live, false, true, "the same"},
	{"/readyz", page_ready, false, true, "200 when traffic can be carried, 503 with reasons"},
	{"/status", page_status, false, false, "what `ringmain status` shows, as JSON"},
	{"/config_dump", page_config, false, false, "services, endpoints and policies in force"},
	{"/certs", page_certs, false, false, "identities and their validity"},
	{"/listeners", page_listeners, false, false, "listening sockets"},
	{"/routes", page_routes, false, false, "routes in force; ?service=NAME: of that one"},
	{"/routes/explain", page_explain, false, false,
		"where a request would go, and why; what `ringmain routes explain` asks"},
	{"/limits", page_limits, false, false,
		"limits in force, and what is left; ?service=NAME: of that one"},
	{"/externals", page_externals, false, false,
		"what may be reached outside of the mesh, and where that is"},
	{"/authz", page_authz_list, false, false,
		"rules of ?service=NAME in the order in which they count, or all services"},
	{"/authz/seen", page_authz_seen, false, false,
		"what was let in here, of ?service=NAME or all; `ringmain authz suggest`"},
	{"/authz/check", page_authz_check, false, false,
		"whether a request would be let in, and by which rule; `ringmain authz check`"},
	{"/authz/why", page_authz_why, false, false,
		"what was decided about the request ?id=ID; `ringmain authz why`"},
	{"/version", page_version, false, true, "the version that runs"},
	{"/reload", page_reload, true, false,
		"read the configuration again; answers with the outcome"},
	{"/drain", page_drain, true, false, "take nothing new, stop when idle"},
	{"/endpoints/drain", page_drain_endpoints, true, false,
		"take this machine's endpoints out of the mesh; ?service=NAME: of that one"},
	{"/endpoints/undrain", page_undrain_endpoints, true, false, "put them back"},
};

static void page_index(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	char text[4096];
	size_t len = 0;
	for (size_t i = 0; i < ARRAY_LEN(routes) && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%-4s  %-18s %c %s\n",
			routes[i].changes ? "POST" : "GET", routes[i].path,
			routes[i].anywhere ? ' ' : '*', routes[i].help);
	page_text(response, 200, "ringmain %s\n\n%s\n* on the unix socket only\n", RINGMAIN_VERSION,
		text);
}

/* NULL: there is no such page. */
static const struct route *page_find(struct str path)
{
	const char *query = path.len ? memchr(path.at, '?', path.len) : NULL;
	if (query)
		path.len = (size_t)(query - path.at);
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (str_eq(path, str_of(routes[i].path)))
			return &routes[i];
	}
	return NULL;
}

/* False: refused, and *response says so. */
static bool page_admit(
	const struct page_request *request, const struct route *row, struct page_response *response)
{
	bool reads = str_eq(request->method, STR("GET")) || str_eq(request->method, STR("HEAD"));
	if (row->changes ? !str_eq(request->method, STR("POST")) : !reads) {
		const char *allow = row->changes ? "POST" : "GET, HEAD";
		page_text(response, 405, "%s takes %s only\n", row->path, allow);
		response->allow = allow;
		return false;
	}
	if (!row->anywhere && !request->is_unix) {
		page_text(response, 403, "%s is on the unix socket only\n", row->path);
		return false;
	}
	return true;
}

void page_answer(const struct page_source *source, const struct page_request *request,
	struct page_response *ret_response)
{
	const struct route *route = page_find(request->path);
	if (!request->is_unix && !page_host_is_loopback(request->host))
		page_text(ret_response, 403,
			"The Host header must be localhost, 127.0.0.1 or [::1].\n");
	else if (!route)
		page_text(ret_response, 404, "no such page; GET / lists them\n");
	else if (page_admit(request, route, ret_response))
		route->answer(source, request, ret_response);
}
