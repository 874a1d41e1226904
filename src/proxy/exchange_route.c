/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_route.h"

#include "exchange_head.h"
#include "exchange_refuse.h"

/* What an answer has besides its body, its Location and its edits. */
#define EXCHANGE_ANSWER_BYTES 512

_Static_assert(offsetof(struct http_header, name) == offsetof(struct route_header, name) &&
		       offsetof(struct http_header, value) == offsetof(struct route_header, value),
	"a codec's header begins as a route's");

struct route_request exchange_head_facts(struct str source_id, const struct http_head *head)
{
	struct str path = head->path;
	const char *mark = path.len ? memchr(path.at, '?', path.len) : NULL;
	size_t len = mark ? (size_t)(mark - path.at) : path.len;
	return (struct route_request){
		.source_id = source_id,
		.is_http = true,
		.method = head->method,
		.path = {path.at, len},
		.query = {path.at + len + (mark ? 1 : 0), path.len - len - (mark ? 1 : 0)},
		.authority = head->authority,
		.headers = head->headers,
		.header_bytes = sizeof(head->headers[0]),
		.header_count = head->header_count,
	};
}

struct route_request exchange_facts(const struct exchange *x)
{
	return exchange_head_facts(x->carrier[DOWN]->call.source_id, x->request);
}

struct authorise_asks exchange_asks(
	struct exchange *x, const struct plan *plan, struct route_request *ret_request)
{
	struct worker *w = x->being.worker;
	tokens_take(w, &x->carrier[DOWN]->call, plan, x->request, &x->arena, &x->token);
	*ret_request = exchange_facts(x);
	return (struct authorise_asks){.http = ret_request, .token = &x->token, .worker = w};
}

/* --- headers --- */

static bool exchange_copy_text(struct arena *a, struct str *text)
{
	*text = arena_str(a, *text);
	return text->at;
}

static bool exchange_copy_headers(struct arena *a, struct route_header **headers, uint32_t count)
{
	struct route_header *copy = count ? arena_take(a, count * sizeof(*copy)) : NULL;
	for (uint32_t i = 0; copy && i < count; i++) {
		copy[i] = (*headers)[i];
		if (!exchange_copy_text(a, &copy[i].name) || !exchange_copy_text(a, &copy[i].value))
			return false;
	}
	*headers = copy;
	return copy || count == 0;
}

static bool exchange_copy_edit(
	struct arena *a, const struct route_edit *from, struct route_edit *edit)
{
	*edit = *from;
	edit->removed = NULL;
	if (from->removed_count > 0)
		edit->removed = arena_take(a, from->removed_count * sizeof(*edit->removed));
	if (from->removed_count > 0 && !edit->removed)
		return false;
	for (uint32_t i = 0; i < from->removed_count; i++) {
		edit->removed[i] = from->removed[i];
		if (!exchange_copy_text(a, &edit->removed[i]))
			return false;
	}
	return exchange_copy_headers(a, &edit->set, edit->set_count) &&
	       exchange_copy_headers(a, &edit->added, edit->added_count);
}

static bool exchange_edit(const struct route_edit *edit, struct http_head *head)
{
	bool fits = true;
	for (uint32_t i = 0; i < edit->removed_count; i++)
		exchange_remove_header(head, edit->removed[i]);
	for (uint32_t i = 0; i < edit->set_count; i++)
		exchange_remove_header(head, edit->set[i].name);
	for (uint32_t i = 0; fits && i < edit->set_count; i++)
		fits = http_header_add(head, edit->set[i].name, edit->set[i].value);
	for (uint32_t i = 0; fits && i < edit->added_count; i++)
		fits = http_header_add(head, edit->added[i].name, edit->added[i].value);
	return fits;
}

bool exchange_edit_response(struct exchange *x, struct http_head *head)
{
	return exchange_edit(&x->route->response, head);
}

/* --- forwarding --- */

static bool exchange_has_edit(const struct route_edit *edit)
{
	return edit->removed_count + edit->set_count + edit->added_count > 0;
}

static bool exchange_edit_request(struct exchange *x, const struct route_edit *from)
{
	struct route_edit edit;
	return !exchange_has_edit(from) ||
	       (exchange_copy_edit(&x->arena, from, &edit) && exchange_edit(&edit, x->request));
}

static bool exchange_rewrite(
	struct exchange *x, const struct route_target *target, size_t prefix_len)
{
	struct http_head *head = x->request;
	if (target->host.len > 0) {
		head->authority = target->host;
		if (!exchange_copy_text(&x->arena, &head->authority))
			return false;
	}
	/* "*" is the server as a whole: there is no path in it to be another */
	if ((target->path.len == 0 && !target->has_prefix) || str_eq(head->path, STR("*")))
		return true;
	char *text = arena_take(&x->arena, route_path_bytes(target, head->path));
	if (!text)
		return false;
	size_t len = route_path_write(target, head->path, prefix_len, text);
	head->path = (struct str){text, len};
	return true;
}

/* None of what is not sent, nor of what becomes a tunnel. False: out of memory. */
static bool exchange_choose_mirrors(
	struct exchange *x, const struct route *route, const struct route_rule *rule)
{
	struct exchange_route *r = x->route;
	if (rule->mirror_count == 0 || r->fault.abort_status != 0 || x->request->upgrade.len > 0)
		return true;
	uint32_t mask = routing_mirrors(x->being.worker, route, rule);
	if (mask == 0)
		return true;
	r->mirrors = arena_take(&x->arena, rule->mirror_count * sizeof(*r->mirrors));
	for (uint32_t i = 0; r->mirrors && i < rule->mirror_count; i++) {
		if (!(mask & 1u << i))
			continue;
		struct call_lead *lead = &r->mirrors[r->mirror_count++];
		*lead = routing_lead(&x->carrier[DOWN]->call, &rule->mirrors[i]);
		if (!exchange_copy_text(&x->arena, &lead->service) ||
			!exchange_copy_text(&x->arena, &lead->version))
			return false;
	}
	return r->mirrors;
}

static enum reason exchange_forward_by(struct exchange *x, const struct route *route,
	const struct route_rule *rule, const struct route_request *request, size_t prefix_len)
{
	struct exchange_route *r = x->route;
	struct worker *w = x->being.worker;
	r->lead = routing_lead(&x->carrier[DOWN]->call, routing_leg(w, route, rule, request));
	r->timeout_ms = rule->timeout_ms;
	r->retry = rule->retry;
	r->fault = routing_fault(w, route, rule);
	r->delay = r->fault.delay_ms > 0 ? EXCHANGE_DELAY_DUE : EXCHANGE_DELAY_NONE;
	if (!exchange_copy_text(&x->arena, &r->lead.service) ||
		!exchange_copy_text(&x->arena, &r->lead.version) ||
		!exchange_copy_edit(&x->arena, &rule->response, &r->response) ||
		!exchange_rewrite(x, &rule->target, prefix_len) ||
		!exchange_edit_request(x, &rule->request))
		return REASON_OVERLOAD;
	if (!exchange_choose_mirrors(x, route, rule))
		return REASON_OVERLOAD;
	if (r->retry.attempts > 0)
		routing_count_request(w, &x->carrier[DOWN]->call);
	return REASON_NONE;
}

enum reason exchange_pick(struct exchange *x)
{
	struct call *call = &x->carrier[DOWN]->call;
	const struct call_lead *lead = x->route ? &x->route->lead : NULL;
	if (call->picks && x->tries.count == 0) {
		struct route_request request = exchange_facts(x);
		outbound_value(call, &x->tries, lead, &request);
	}
	return outbound_pick(x->being.worker, call, &x->tries, lead, CALL_HTTP);
}

/* --- answering --- */

/* Without a port that the other scheme's default would otherwise go on as. */
static struct str exchange_plain_host(struct str scheme, struct str host)
{
	struct str port = str_eq(scheme, STR("https")) ? STR(":80") : STR(":443");
	size_t at = host.len > port.len ? host.len - port.len : 0;
	bool is_other = at > 0 && str_eq((struct str){host.at + at, port.len}, port);
	return is_other ? (struct str){host.at, at} : host;
}

/* at == NULL: out of memory. "*" is the server as a whole, which has no path unless the rule gives
 * one. */
static struct str exchange_location(
	struct exchange *x, const struct route_target *target, size_t prefix_len)
{
	const struct http_head *head = x->request;
	struct str scheme = target->scheme.len ? target->scheme : STR("http");
	struct str host = target->host.len ? target->host : head->authority;
	if (target->host.len == 0 && target->scheme.len > 0)
		host = exchange_plain_host(scheme, host);
	bool is_path_only = target->scheme.len + target->host.len == 0 || host.len == 0;
	struct str path = !str_eq(head->path, STR("*")) ? head->path
			  : is_path_only		? STR("/")
							: STR("");
	char *text = arena_take(&x->arena, route_path_bytes(target, path));
	if (!text)
		return STR_NONE;
	size_t len = route_path_write(target, path, prefix_len, text);
	const struct str parts[] = {scheme, STR("://"), host, {text, len}};
	size_t first = is_path_only ? 3 : 0;
	return arena_join(&x->arena, parts + first, ARRAY_LEN(parts) - first);
}

/* An answer that refuses a request of gRPC says so in its way, with the body as the message. */
static bool exchange_refuses_grpc(const struct exchange *x, const struct route_rule *rule)
{
	return rule->action == ROUTE_RESPOND && rule->status >= 400 && exchange_is_grpc(x);
}

static bool exchange_answer_grpc(
	struct exchange *x, const struct route_rule *rule, struct http_head *head)
{
	char *message = arena_take(&x->arena, GRPC_MESSAGE_BYTES(rule->body.len) + 1);
	if (!message)
		return false;
	size_t len = grpc_message_write(rule->body, message);
	head->status = 200;
	head->framing = HTTP_FRAMING_NONE;
	return http_header_add(
		       head, STR("Content-Type"), http_header_get(x->request, "content-type")) &&
	       http_header_add(head, STR("Grpc-Status"),
		       grpc_status_text(grpc_status_of_http(rule->status))) &&
	       http_header_add(head, STR("Grpc-Message"), (struct str){message, len});
}

static struct http_head *exchange_answer_head(
	struct exchange *x, const struct route_rule *rule, size_t prefix_len)
{
	struct http_head *head = arena_take(&x->arena, sizeof(*head));
	struct route_edit edit;
	bool fits = head && exchange_copy_edit(&x->arena, &rule->response, &edit);
	if (!fits)
		return NULL;
	if (exchange_refuses_grpc(x, rule))
		return exchange_answer_grpc(x, rule, head) && exchange_edit(&edit, head) ? head
											 : NULL;
	head->status = rule->status;
	head->framing = rule->status == 204 || rule->status == 304 ? HTTP_FRAMING_NONE
								   : HTTP_FRAMING_LENGTH;
	head->body_bytes = rule->body.len;
	if (rule->body.len > 0)
		fits = http_header_add(head, STR("Content-Type"), STR("text/plain"));
	if (rule->action == ROUTE_REDIRECT) {
		struct str location = exchange_location(x, &rule->target, prefix_len);
		fits = location.at && http_header_add(head, STR("Location"), location);
	}
	return fits && exchange_edit(&edit, head) ? head : NULL;
}

/* Built once, however long there is no room for it. */
static enum reason exchange_answer_by(
	struct exchange *x, const struct route_rule *rule, size_t prefix_len)
{
	struct exchange_route *r = x->route;
	r->answer_body = exchange_refuses_grpc(x, rule) ? STR("") : rule->body;
	if (!exchange_copy_text(&x->arena, &r->answer_body))
		return REASON_OVERLOAD;
	r->answer = exchange_answer_head(x, rule, prefix_len);
	return r->answer ? REASON_NONE : REASON_OVERLOAD;
}

static size_t exchange_head_bytes(const struct http_head *head)
{
	size_t bytes = EXCHANGE_ANSWER_BYTES;
	for (uint16_t i = 0; i < head->header_count; i++)
		bytes += head->headers[i].name.len + head->headers[i].value.len + 4;
	return bytes;
}

bool exchange_write_answer(struct exchange *x)
{
	struct carrier *down = x->carrier[DOWN];
	struct buf *out = &down->line->conn.out;
	uint32_t stream = x->stream[DOWN];
	const struct http_head *head = x->route->answer;
	struct str body = x->route->answer_body;
	if (buf_space(out) < exchange_head_bytes(head) + body.len)
		return false;
	/* a body that nobody wants is not waited for */
	if (!x->input_ended[DOWN] || x->being.worker->draining)
		http_close_after(down->http);
	x->status = head->status;
	return http_write_head(down->http, stream, head, out) &&
	       http_write_body(down->http, stream, body, out) == body.len &&
	       http_write_end(down->http, stream, NULL, out);
}

/* --- choosing --- */

bool exchange_is_chosen(const struct exchange *x)
{
	return x->attempt_count > 0 ||
	       (x->route && (x->route->answer || x->route->delay == EXCHANGE_DELAY_TAKEN));
}

enum reason exchange_choose(struct exchange *x)
{
	const struct call *call = &x->carrier[DOWN]->call;
	const struct route *route = routing_of(call);
	size_t prefix_len;
	struct route_request request = exchange_facts(x);
	const struct route_rule *rule =
		route_match(call->hold->plan->snapshot, route, &request, &prefix_len);
	if (!rule)
		return REASON_NONE;
	x->route = arena_take(&x->arena, sizeof(*x->route));
	if (!x->route)
		return REASON_OVERLOAD;
	*x->route = (struct exchange_route){
		.name = rule->name, .path = x->request->path, .authority = x->request->authority};
	list_init(&x->route->gathering);
	if (!exchange_copy_text(&x->arena, &x->route->name))
		return REASON_OVERLOAD;
	if (rule->action == ROUTE_FORWARD)
		return exchange_forward_by(x, route, rule, &request, prefix_len);
	return exchange_answer_by(x, rule, prefix_len);
}
