/* SPDX-License-Identifier: Apache-2.0 */
/* How this machine stands with the mesh's state, and taking its endpoints out of the mesh. On a
 * standalone machine there is hardly anything to say. */
#include "page.h"

#include "base/clock.h"
#include <stdio.h>

bool page_has_store(const struct proxy *p)
{
	return p->plan && p->plan->conf->state.redis_count > 0;
}

/* Seconds since then; a clock that was set back makes it 0. */
static uint64_t page_age_s(const struct page_source *source, uint64_t wall_ns)
{
	return source->wall_ns > wall_ns ? (source->wall_ns - wall_ns) / CLOCK_S : 0;
}

/* --- status --- */

static void page_put_age(
	const struct page_source *source, const char *key, uint64_t wall_ns, struct json *j)
{
	if (wall_ns)
		page_put_u64(j, key, page_age_s(source, wall_ns));
	else
		page_put_str(j, key, STR_NONE);
}

/* "" when there is nothing to say. */
static void page_put_words(struct json *j, const char *key, const char *text, size_t size)
{
	json_key(j, key);
	json_str(j, (struct str){text, strnlen(text, size)});
}

/* Texts of fixed size; whoever wrote them may have filled them to the last byte. */
static struct str page_fixed(const char *text, size_t size)
{
	return (struct str){text, strnlen(text, size)};
}

static uint32_t page_own_count(const struct proxy_mesh *m)
{
	return m->view.own_count < WIRE_OWN_MAX ? m->view.own_count : WIRE_OWN_MAX;
}

static enum endpoint_health page_health(const struct wire_own *own)
{
	switch (own->health) {
	case ENDPOINT_UP:
	case ENDPOINT_DRAINED:
		return (enum endpoint_health)own->health;
	default:
		return ENDPOINT_DOWN;
	}
}

static void page_put_own(const struct proxy_mesh *m, struct json *j)
{
	json_key(j, "own");
	json_open(j, '[');
	for (uint32_t i = 0; i < page_own_count(m); i++) {
		const struct wire_own *own = &m->view.own[i];
		json_open(j, '{');
		page_put_str(j, "service", page_fixed(own->service, sizeof(own->service)));
		page_put_str(j, "health", str_of(endpoint_health_name(page_health(own))));
		page_put_bool(j, "drained", own->drained);
		page_put_words(j, "why", own->why, sizeof(own->why));
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void page_put_view(const struct page_source *source, struct json *j)
{
	const struct proxy_mesh *m = &source->proxy->mesh;
	const struct state_view *v = &m->view.view;
	page_put_age(source, "silent_s", m->view_wall_ns, j);
	page_put_bool(j, "connected", v->connected);
	page_put_bool(j, "told", v->told);
	page_put_bool(j, "loaded", m->has_picture);
	page_put_str(j, "store", page_fixed(v->store, sizeof(v->store)));
	page_put_u64(j, "revision", v->revision);
	page_put_u64(j, "store_revision", v->store_revision);
	page_put_age(source, "age_s", v->agreed_wall_ns, j);
	page_put_u64(j, "nodes", v->node_count);
	page_put_u64(j, "endpoints", v->endpoint_count);
	page_put_u64(j, "objects", v->object_count);
	page_put_u64(j, "held", v->held_count);
	page_put_u64(j, "refused", v->refused_total);
	page_put_u64(j, "reconnects", v->reconnects_total);
	page_put_u64(j, "resyncs", v->resyncs_total);
	page_put_bool(j, "limits_away", v->tokens_away);
	page_put_words(j, "why", v->why, sizeof(v->why));
	page_put_words(j, "not_taken", m->refused_text, sizeof(m->refused_text));
	page_put_words(j, "drain_failed", m->view.take_out_why, sizeof(m->view.take_out_why));
}

void page_put_state(const struct page_source *source, struct json *j)
{
	const struct proxy *p = source->proxy;
	json_key(j, "state");
	json_open(j, '{');
	page_put_str(j, "mode", page_has_store(p) ? STR("redis") : STR("standalone"));
	if (page_has_store(p)) {
		page_put_u64(j, "lease_s", p->plan->conf->state.lease_ms / 1000);
		page_put_view(source, j);
		page_put_own(&p->mesh, j);
	}
	json_close(j, '}');
}

/* --- metrics --- */

static void page_write_number(
	struct metric_text *out, const char *name, const char *type, const char *help, uint64_t n)
{
	metric_text_family(out, name, type, help);
	metric_text_u64(out, name, NULL, n);
}

/* Endpoints of this machine, by service and health: each service once, with all three. */
static void page_write_own(const struct proxy_mesh *m, struct metric_text *out)
{
	static const char name[] = "ringmain_endpoint_health";
	metric_text_family(out, name, "gauge", "Endpoints of this machine, by service and health");
	for (uint32_t i = 0; i < page_own_count(m); i++) {
		const struct wire_own *own = &m->view.own[i];
		struct str service = page_fixed(own->service, sizeof(own->service));
		uint64_t counts[3] = {0};
		bool first = true;
		for (uint32_t k = 0; k < page_own_count(m); k++) {
			const struct wire_own *other = &m->view.own[k];
			if (!str_eq(service, page_fixed(other->service, sizeof(other->service))))
				continue;
			first = first && k >= i;
			counts[page_health(other)]++;
		}
		for (int h = ENDPOINT_UP; first && h <= ENDPOINT_DRAINED; h++) {
			char labels[256] = "";
			const char *word = endpoint_health_name((enum endpoint_health)h);
			if (metric_label_add(labels, sizeof(labels), "service", service) &&
				metric_label_add(labels, sizeof(labels), "health", str_of(word)))
				metric_text_u64(out, name, labels, counts[h]);
		}
	}
}

static void page_write_traffic(const struct state_view *v, struct metric_text *out)
{
	static const char name[] = "ringmain_state_bytes_total";
	metric_text_family(out, name, "counter", "Bytes to and from the store");
	metric_text_u64(out, name, "direction=\"in\"", v->bytes_in);
	metric_text_u64(out, name, "direction=\"out\"", v->bytes_out);
}

void page_write_state(const struct page_source *source, struct metric_text *out)
{
	const struct proxy *p = source->proxy;
	const struct state_view *v = &p->mesh.view.view;
	if (!page_has_store(p))
		return;
	page_write_number(out, "ringmain_state_connected", "gauge",
		"1 while the store of the mesh's state answers", v->connected);
	page_write_number(out, "ringmain_state_age_seconds", "gauge",
		"Since the state in force was last known to be the store's; since the start when "
		"it never was",
		page_age_s(source, v->agreed_wall_ns ? v->agreed_wall_ns : p->start_wall_ns));
	page_write_number(out, "ringmain_state_revision", "gauge",
		"Revision of the mesh objects in force", v->revision);
	page_write_number(out, "ringmain_state_store_revision", "gauge",
		"Newest revision that the store told of, 0 when not known", v->store_revision);
	page_write_number(out, "ringmain_state_nodes", "gauge", "Nodes of the mesh", v->node_count);
	page_write_number(out, "ringmain_state_endpoints", "gauge",
		"Endpoints that nodes of the mesh tell of", v->endpoint_count);
	page_write_number(out, "ringmain_state_held_nodes", "gauge",
		"Nodes that fell silent with many others and are kept for a while", v->held_count);
	page_write_number(out, "ringmain_state_refused_total", "counter",
		"Revisions, records and pictures of the mesh that were not taken",
		v->refused_total + p->mesh.refused_total);
	page_write_number(out, "ringmain_state_reconnects_total", "counter",
		"Connections to the store made anew", v->reconnects_total);
	page_write_number(out, "ringmain_state_resyncs_total", "counter",
		"Comparisons of everything with the store", v->resyncs_total);
	page_write_number(out, "ringmain_state_limits_away", "gauge",
		"1 while the store gives no tokens of limits of the whole mesh", v->tokens_away);
	page_write_number(out, "ringmain_state_tokens_total", "counter",
		"Tokens of limits of the whole mesh taken from the store", v->tokens_total);
	page_write_number(out, "ringmain_state_token_commands_total", "counter",
		"Commands to the store for tokens", v->token_commands_total);
	page_write_number(out, "ringmain_state_tokens_refused_total", "counter",
		"Commands for tokens that the store answered with an error",
		v->tokens_refused_total);
	page_write_traffic(v, out);
	page_write_own(&p->mesh, out);
}

/* --- taking endpoints out --- */

/* What comes of a request's query: the service's name, or "" for all. A word that is not known must
 * not end up as "all". False: it is neither. */
static bool page_query_service(struct str path, struct str *ret_service)
{
	static const char key[] = "service=";
	const char *question = path.len ? memchr(path.at, '?', path.len) : NULL;
	*ret_service = STR("");
	if (!question)
		return true;
	struct str query = {question + 1, path.len - (size_t)(question + 1 - path.at)};
	if (!str_starts(query, STR(key)) || query.len == sizeof(key) - 1)
		return false;
	*ret_service = (struct str){query.at + sizeof(key) - 1, query.len - (sizeof(key) - 1)};
	return !memchr(ret_service->at, '&', ret_service->len);
}

static bool page_serves(const struct plan *plan, struct str service)
{
	for (uint32_t i = 0; i < plan->snapshot->workload_count; i++) {
		const struct workload *w = &plan->snapshot->workloads[i];
		if (w->port != 0 && (service.len == 0 || str_eq(w->service->name, service)))
			return true;
	}
	return false;
}

static void page_take_out(const struct page_source *source, const struct page_request *request,
	bool back, struct page_response *response)
{
	struct proxy *p = source->proxy;
	struct str service;
	if (!page_has_store(p)) {
		page_text(response, 409,
			"this machine is standalone (no state.redis): nobody else learns of its "
			"endpoints from it, so there is nothing to take them out of\n");
	} else if (!page_query_service(request->path, &service)) {
		page_text(response, 400, "?service=NAME, or no query for all\n");
	} else if (!page_serves(p->plan, service)) {
		page_text(response, 404, "no workload of this machine serves " STR_FMT "\n",
			STR_ARG(service.len ? service : STR("anything")));
	} else if (p->take_out_count == PROXY_TAKE_OUTS_MAX) {
		page_text(response, 503, "too many of these at once: try again\n");
	} else {
		struct wire_take_out *m = &p->take_outs[p->take_out_count++];
		*m = (struct wire_take_out){.back = back};
		snprintf(m->service, sizeof(m->service), STR_FMT, STR_ARG(service));
		page_text(response, 202, "asked for; /status tells when it is done\n");
	}
}

void page_drain_endpoints(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	page_take_out(source, request, false, response);
}

void page_undrain_endpoints(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	page_take_out(source, request, true, response);
}
