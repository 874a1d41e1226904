/* SPDX-License-Identifier: Apache-2.0 */
/* The services outside of the mesh that workloads may reach, and where they are known to be. */
#include "page.h"

#include "mesh/external.h"
#include "proxy/facts.h"
#include <stdio.h>

#define PAGE_EXTERNALS_MAX (16u << 20)

static void page_put_hosts(struct json *j, const struct external *e)
{
	json_key(j, "hosts");
	json_open(j, '[');
	for (uint32_t i = 0; i < e->host_count; i++)
		json_str(j, e->hosts[i]);
	json_close(j, ']');
	json_key(j, "ports");
	json_open(j, '[');
	for (uint32_t i = 0; i < e->port_count; i++)
		json_u64(j, e->ports[i]);
	json_close(j, ']');
}

/* As it was written: one entry may stand for several ids. */
static void page_put_callers(struct json *j, const struct external *e)
{
	json_key(j, "from");
	json_open(j, '[');
	for (uint32_t i = 0; i < e->from_count; i++) {
		if (i == 0 || !str_eq(e->from[i].entry, e->from[i - 1].entry))
			json_str(j, e->from[i].entry);
	}
	json_close(j, ']');
}

static void page_put_declared(struct json *j, const struct external *e)
{
	char ip[ADDRESS_TEXT_MAX], text[ADDRESS_TEXT_MAX + 8];
	json_key(j, "addresses");
	json_open(j, '[');
	for (uint32_t i = 0; i < e->address_count; i++) {
		const struct address_range *range = &e->addresses[i];
		address_ip_text(&range->base, ip);
		if (external_is_single(range))
			snprintf(text, sizeof(text), "%s", ip);
		else
			snprintf(text, sizeof(text), "%s/%u", ip, range->prefix_len);
		json_str(j, str_of(text));
	}
	json_close(j, ']');
}

/* What its hosts were looked up as, where that counts. */
static void page_put_looked_up(struct json *j, const struct plan *plan, const struct external *e)
{
	char text[ADDRESS_TEXT_MAX];
	json_key(j, "looked_up");
	json_open(j, '[');
	for (uint32_t i = 0; i < e->host_count && e->address_count == 0; i++) {
		const struct facts_host *host = facts_host(plan->facts, e->hosts[i]);
		for (uint32_t a = 0; host && a < host->address_count; a++)
			json_str(j, str_of(address_ip_text(&host->addresses[a], text)));
	}
	json_close(j, ']');
}

static void page_put_external(struct json *j, const struct plan *plan, const struct external *e)
{
	json_open(j, '{');
	page_put_str(j, "name", e->name);
	page_put_hosts(j, e);
	page_put_str(j, "tls", str_of(external_tls_name(e->tls)));
	if (e->tls == EXTERNAL_ORIGINATE) {
		page_put_str(j, "sni", e->sni);
		page_put_str(j, "ca", e->ca);
		page_put_bool(j, "has_roots", plan->outside_tls[e->index] != NULL);
	}
	page_put_callers(j, e);
	page_put_declared(j, e);
	page_put_looked_up(j, plan, e);
	page_put_str(j, "where", e->where);
	json_close(j, '}');
}

static void page_put_modes(struct json *j, const struct snapshot *s)
{
	json_key(j, "unknown");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->workload_count; i++) {
		const struct workload *w = &s->workloads[i];
		json_open(j, '{');
		page_put_str(j, "workload", w->service->name);
		page_put_str(j, "user", w->user);
		page_put_str(j, "mode", str_of(unknown_mode_name(w->unknown)));
		json_close(j, '}');
	}
	json_close(j, ']');
}

void page_externals(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	struct json j;
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	json_init(&j, PAGE_EXTERNALS_MAX);
	json_open(&j, '{');
	page_put_u64(&j, "generation", plan->snapshot->generation);
	json_key(&j, "externals");
	json_open(&j, '[');
	for (uint32_t i = 0; i < plan->snapshot->external_count; i++)
		page_put_external(&j, plan, &plan->snapshot->externals[i]);
	json_close(&j, ']');
	page_put_modes(&j, plan->snapshot);
	json_close(&j, '}');
	page_json(response, &j);
}
