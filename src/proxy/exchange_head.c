/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_head.h"

#include "mesh/header.h"
#include "mesh/policy.h"

/* Who called, verified by us: whatever the caller wrote there is thrown away (Envoy's name, so that
 * applications that know it need no change). */
#define HEADER_CLIENT_CERT "x-forwarded-client-cert"
#define HEADER_REQUEST_ID  "x-request-id"
#define HEADER_UNSENT	   "x-ringmain-unsent"
#define HEADER_RESET	   "x-ringmain-reset"

bool exchange_copy_head(struct arena *a, const struct http_head *from, struct http_head *to)
{
	*to = *from;
	to->method = arena_str(a, from->method);
	to->path = arena_str(a, from->path);
	to->authority = arena_str(a, from->authority);
	to->upgrade = arena_str(a, from->upgrade);
	bool ok = to->method.at && to->path.at && to->authority.at && to->upgrade.at;
	for (size_t i = 0; ok && i < from->header_count; i++) {
		to->headers[i].name = arena_str(a, from->headers[i].name);
		to->headers[i].value = arena_str(a, from->headers[i].value);
		to->headers[i].is_line = false;
		ok = to->headers[i].name.at && to->headers[i].value.at;
	}
	return ok;
}

void exchange_see_mark(struct exchange *x)
{
	bool is_proxy = x->carrier[DOWN]->call.direction == CALL_INBOUND_MESH;
	x->told_route = STR("");
	if (is_proxy) {
		x->is_mirror = http_header_of(x->request, HTTP_NAME_MIRROR).len > 0;
		x->told_route = http_header_of(x->request, HTTP_NAME_ROUTE);
	}
	exchange_remove_ours(x->request, is_proxy ? HTTP_NAME_MIRROR : HTTP_NAME_OTHER);
}

enum reason exchange_normalise(struct exchange *x)
{
	struct str path = x->request->path;
	if (path_is_normal(path) || str_eq(path, STR("*")))
		return REASON_NONE;
	char *normal = arena_take(&x->arena, path.len + 1);
	size_t len;
	if (!normal)
		return REASON_OVERLOAD;
	if (!path_normalise(path, normal, &len))
		return REASON_PATH_INVALID;
	x->request->path = (struct str){normal, len};
	return REASON_NONE;
}

static void exchange_write_hex(char ret_text[16], uint64_t number)
{
	for (int i = 0; i < 16; i++)
		ret_text[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
}

static enum reason exchange_identify(struct exchange *x)
{
	struct str id = http_header_of(x->request, HTTP_NAME_REQUEST_ID);
	if (id.len > 0) {
		x->request_id = id;
		return REASON_NONE;
	}
	char text[32];
	exchange_write_hex(text, loop_random(&x->being.worker->loop));
	exchange_write_hex(text + 16, loop_random(&x->being.worker->loop));
	x->request_id = arena_str(&x->arena, (struct str){text, sizeof(text)});
	if (!x->request_id.at ||
		!http_header_add(x->request, STR(HEADER_REQUEST_ID), x->request_id))
		return REASON_OVERLOAD;
	return REASON_NONE;
}

struct str exchange_head_path(const struct http_head *head)
{
	struct str path = head->path;
	const char *query = path.len ? memchr(path.at, '?', path.len) : NULL;
	if (query)
		path.len = (size_t)(query - path.at);
	return path;
}

enum reason exchange_head_name_caller(
	struct arena *a, const struct call *call, struct http_head *head)
{
	/* and what an earlier try told another proxy */
	http_header_remove(head, HTTP_NAME_CLIENT_CERT);
	http_header_remove(head, HTTP_NAME_ROUTE);
	if (call->way != CALL_WAY_LOCAL || call->source_id.len == 0)
		return REASON_NONE;
	const struct str parts[] = {STR("By="), call->target->id, STR(";URI="), call->source_id};
	struct str value = arena_join(a, parts, ARRAY_LEN(parts));
	if (!value.at || !http_header_add(head, STR(HEADER_CLIENT_CERT), value))
		return REASON_OVERLOAD;
	return REASON_NONE;
}

enum reason exchange_name_caller(struct exchange *x)
{
	return exchange_head_name_caller(&x->arena, &x->carrier[DOWN]->call, x->request);
}

/* HTTP/1.0 may leave out what every server behind us insists on: then it is what was dialled. */
static enum reason exchange_name_host(struct exchange *x)
{
	char text[ADDRESS_TEXT_MAX];
	if (x->request->authority.len > 0)
		return REASON_NONE;
	address_text(&x->carrier[DOWN]->call.original, text);
	x->request->authority = arena_str(&x->arena, str_of(text));
	return x->request->authority.at ? REASON_NONE : REASON_OVERLOAD;
}

enum reason exchange_prepare_request(struct exchange *x)
{
	enum reason reason = exchange_name_host(x);
	if (reason == REASON_NONE)
		reason = exchange_identify(x);
	if (reason == REASON_NONE)
		reason = exchange_name_caller(x);
	return reason;
}

struct str exchange_told_name(enum exchange_told told)
{
	return told == EXCHANGE_TOLD_UNSENT ? STR(HEADER_UNSENT) : STR(HEADER_RESET);
}

void exchange_remove_ours(struct http_head *head, enum http_name kept)
{
	uint16_t count = 0;
	for (uint16_t i = 0; i < head->header_count; i++) {
		const struct http_header *h = &head->headers[i];
		if (header_is_ours(h->name) && (kept == HTTP_NAME_OTHER || h->id != kept))
			continue;
		if (count != i)
			head->headers[count] = *h;
		count++;
	}
	head->header_count = count;
}

void exchange_remove_judged(const struct call *call, struct http_head *trailers)
{
	uint16_t count = 0;
	if (call->way != CALL_WAY_LOCAL)
		return;
	for (uint16_t i = 0; i < trailers->header_count; i++) {
		struct str name = trailers->headers[i].name;
		if (policy_asks_header(call->service, name) || tokens_are_in(call, name))
			continue;
		if (count != i)
			trailers->headers[count] = trailers->headers[i];
		count++;
	}
	trailers->header_count = count;
}

bool exchange_remove_header(struct http_head *head, struct str name)
{
	uint16_t kept = 0;
	for (uint16_t i = 0; i < head->header_count; i++) {
		if (str_eq_nocase(head->headers[i].name, name))
			continue;
		if (kept != i)
			head->headers[kept] = head->headers[i];
		kept++;
	}
	bool were_any = kept < head->header_count;
	head->header_count = kept;
	return were_any;
}

/* Most responses have none: one look at each name tells. What says that we are overloaded is ours
 * alone, too. */
enum exchange_told exchange_take_told(struct http_head *response)
{
	bool is_none = true;
	for (uint16_t i = 0; i < response->header_count && is_none; i++)
		is_none = !header_is_ours(response->headers[i].name);
	if (is_none)
		return EXCHANGE_TOLD_NOTHING;
	bool is_unsent = exchange_remove_header(response, STR(HEADER_UNSENT));
	bool is_reset = exchange_remove_header(response, STR(HEADER_RESET));
	exchange_remove_ours(response, HTTP_NAME_OTHER);
	return is_reset	   ? EXCHANGE_TOLD_RESET
	       : is_unsent ? EXCHANGE_TOLD_UNSENT
			   : EXCHANGE_TOLD_NOTHING;
}
