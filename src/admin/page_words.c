/* SPDX-License-Identifier: Apache-2.0 */
#include "page_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PAGE_CUT " ..."

/* Once: what comes then does not fit either. */
static void page_mark_cut(struct page_words *w)
{
	w->len = sizeof(w->text) - 1;
	memcpy(w->text + sizeof(w->text) - sizeof(PAGE_CUT), PAGE_CUT, sizeof(PAGE_CUT));
	w->is_cut = true;
}

void page_say(struct page_words *w, const char *format, ...)
{
	va_list args;
	if (w->is_cut)
		return;
	va_start(args, format);
	size_t room = sizeof(w->text) - w->len;
	int len = vsnprintf(w->text + w->len, room, format, args);
	va_end(args);
	if (len >= 0 && (size_t)len >= room)
		page_mark_cut(w);
	else if (len > 0)
		w->len += (size_t)len;
}

void page_say_list(struct page_words *w, const char *key, const struct str *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		page_say(w, "%s " STR_FMT, i ? " or" : key, STR_ARG(list[i]));
}

static void page_say_paths(struct page_words *w, const struct route_when *when)
{
	static const char *const keys[] = {[ROUTE_PATH_EXACT] = "path",
		[ROUTE_PATH_PREFIX] = "path_prefix",
		[ROUTE_PATH_TEMPLATE] = "path_template",
		[ROUTE_PATH_REGEX] = "path_regex"};
	for (uint32_t i = 0; i < when->path_count; i++) {
		const struct route_path *p = &when->paths[i];
		page_say(w, "%s%s " STR_FMT, i ? " or " : "", keys[p->kind],
			STR_ARG(p->text.len ? p->text : STR("/")));
	}
}

void page_say_field(struct page_words *w, const char *place, const struct route_field *f)
{
	static const char *const kinds[] = {[ROUTE_TEXT_EXACT] = "exact",
		[ROUTE_TEXT_PREFIX] = "prefix",
		[ROUTE_TEXT_SUFFIX] = "suffix"};
	page_say(w, "%s%s " STR_FMT, f->invert ? "no " : "", place, STR_ARG(f->name));
	if (f->kind != ROUTE_TEXT_PRESENT)
		page_say(w, " %s \"" STR_FMT "\"", kinds[f->kind], STR_ARG(f->text));
}

static const struct route_fields *page_fields(const struct route_when *when, enum route_miss what)
{
	return what == ROUTE_MISS_HEADER   ? &when->headers
	       : what == ROUTE_MISS_QUERY  ? &when->query
	       : what == ROUTE_MISS_COOKIE ? &when->cookies
					   : NULL;
}

const char *page_miss_name(enum route_miss what)
{
	static const char *const names[] = {[ROUTE_MISS_NONE] = "none",
		[ROUTE_MISS_FROM] = "from",
		[ROUTE_MISS_OPAQUE] = "tcp",
		[ROUTE_MISS_PATH] = "path",
		[ROUTE_MISS_METHOD] = "method",
		[ROUTE_MISS_HOST] = "host",
		[ROUTE_MISS_HEADER] = "header",
		[ROUTE_MISS_QUERY] = "query",
		[ROUTE_MISS_COOKIE] = "cookie"};
	return names[what];
}

uint32_t page_condition_count(const struct route_when *when, enum route_miss what)
{
	const struct route_fields *fields = page_fields(when, what);
	return fields ? fields->count : 1;
}

void page_say_condition(
	struct page_words *w, const struct route_when *when, enum route_miss what, uint32_t index)
{
	const struct route_fields *fields = page_fields(when, what);
	*w = (struct page_words){.len = 0};
	if (fields)
		page_say_field(w, page_miss_name(what), &fields->at[index]);
	else if (what == ROUTE_MISS_FROM)
		page_say_list(w, "from", when->from, when->from_count);
	else if (what == ROUTE_MISS_OPAQUE)
		page_say(w, "an HTTP request");
	else if (what == ROUTE_MISS_PATH)
		page_say_paths(w, when);
	else if (what == ROUTE_MISS_METHOD)
		page_say_list(w, "method", when->methods, when->method_count);
	else if (what == ROUTE_MISS_HOST)
		page_say_list(w, "host", when->hosts, when->host_count);
}

void page_say_fact(struct page_words *w, const struct route_request *request,
	const struct route_when *when, enum route_miss what, uint32_t index)
{
	const struct route_fields *fields = page_fields(when, what);
	struct route_sticky sticky = {
		.kind = what == ROUTE_MISS_HEADER ? ROUTE_STICKY_HEADER : ROUTE_STICKY_COOKIE};
	*w = (struct page_words){.len = 0};
	if (what == ROUTE_MISS_QUERY)
		page_say(w, STR_FMT, STR_ARG(request->query));
	if (what == ROUTE_MISS_QUERY)
		return;
	if (fields) {
		sticky.name = fields->at[index].name;
		page_say(w, STR_FMT, STR_ARG(route_sticky_value(&sticky, request)));
	} else if (what == ROUTE_MISS_FROM) {
		page_say(w, STR_FMT,
			STR_ARG(request->source_id.len ? request->source_id : STR("anonymous")));
	} else if (what == ROUTE_MISS_PATH) {
		page_say(w, STR_FMT, STR_ARG(request->path));
	} else if (what == ROUTE_MISS_METHOD) {
		page_say(w, STR_FMT, STR_ARG(request->method));
	} else if (what == ROUTE_MISS_HOST) {
		page_say(w, STR_FMT, STR_ARG(request->authority));
	}
}

void page_say_retry(struct page_words *w, const struct route_retry *retry)
{
	static const char *const words[] = {"connect-failure", "refused-stream", "reset",
		"gateway-error", "5xx", "retriable-4xx", "rate-limited", "cancelled",
		"deadline-exceeded", "internal", "resource-exhausted", "unavailable"};
	*w = (struct page_words){.len = 0};
	if (retry->attempts == 0)
		return;
	page_say(w, "%u more %s on", retry->attempts, retry->attempts == 1 ? "try" : "tries");
	bool is_more = false;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (retry->on & (1u << i))
			page_say(w, "%s %s", is_more ? " or" : "", words[i]);
		is_more = is_more || (retry->on & (1u << i));
	}
}

void page_say_fault(struct page_words *w, const struct route_fault *fault)
{
	*w = (struct page_words){.len = 0};
	if (fault->delay_percent > 0)
		page_say(w, "delay %ums for %u %%", fault->delay_ms, fault->delay_percent);
	if (fault->abort_percent > 0)
		page_say(w, "%sabort with %u for %u %%", w->len ? ", " : "", fault->abort_status,
			fault->abort_percent);
}

void page_say_mirrors(struct page_words *w, const struct route_leg *mirrors, uint32_t count)
{
	*w = (struct page_words){.len = 0};
	for (uint32_t i = 0; i < count; i++) {
		const struct route_leg *m = &mirrors[i];
		struct str name =
			m->service ? m->service->name : STR("a service that is not known");
		page_say(w, "%s%u %% to " STR_FMT "%s" STR_FMT, i ? ", " : "", m->weight,
			STR_ARG(name), m->version.len ? " " : "", STR_ARG(m->version));
	}
}

void page_say_sticky(struct page_words *w, const struct route_sticky *sticky)
{
	*w = (struct page_words){.len = 0};
	if (sticky->kind == ROUTE_STICKY_SOURCE)
		page_say(w, "source");
	else if (sticky->kind != ROUTE_STICKY_NONE)
		page_say(w, "%s " STR_FMT,
			sticky->kind == ROUTE_STICKY_HEADER ? "header" : "cookie",
			STR_ARG(sticky->name));
}
