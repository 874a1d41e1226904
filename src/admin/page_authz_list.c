/* SPDX-License-Identifier: Apache-2.0 */
/* /authz: the rules of a service in the order in which they count, or all services in short. */
#include "page.h"
#include "page_policies.h"
#include "page_service.h"

#define PAGE_LIST_MAX	   (64u << 20)
#define PAGE_LIST_ROWS_MAX (256u << 20)

/* --- one service --- */

static const char *page_never_name(enum policy_never never)
{
	static const char *const names[] = {
		[POLICY_NEVER_NOT] = NULL,
		[POLICY_NEVER_OUTVOTED] = "outvoted",
		[POLICY_NEVER_UNKNOWN] = "unknown",
		[POLICY_NEVER_LATER] = "later",
		[POLICY_NEVER_HTTP] = "tcp",
		[POLICY_NEVER_STRICT] = "strict",
		[POLICY_NEVER_DISABLED] = "disabled",
	};
	return names[never];
}

static void page_put_row(struct json *j, const struct policy_row *row)
{
	const struct policy *p = row->policy;
	json_open(j, '{');
	page_put_str(j, "from", row->source ? row->source->entry : STR_NONE);
	page_put_sources(j, "not_from", p->not_from, p->not_from_count);
	page_put_str(j, "name", p->name);
	page_put_str(j, "action", str_of(page_action_name(p->action)));
	page_put_str(j, "mode", str_of(page_mode_name(p->mode)));
	page_put_policy_conditions(j, "when", p);
	page_put_str(j, "where", p->where);
	page_put_fault(j, p);
	if (row->never != POLICY_NEVER_NOT) {
		page_put_str(j, "never", str_of(page_never_name(row->never)));
		page_put_str(j, "by", row->by ? row->by->name : STR_NONE);
		page_put_str(j, "by_where", row->by ? row->by->where : STR_NONE);
	}
	json_close(j, '}');
}

static void page_put_rows(struct json *j, const struct service *service, struct arena *arena)
{
	struct policy_row *rows;
	uint32_t count;
	json_key(j, "rules");
	json_open(j, '[');
	if (!policy_rows(service, arena, &rows, &count)) {
		j->cut = true;
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (!rows[i].is_more)
			page_put_row(j, &rows[i]);
	}
	json_close(j, ']');
}

static bool page_has_allow(const struct service *service)
{
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		if (p->action == POLICY_ALLOW && p->mode == POLICY_ENFORCED)
			return true;
	}
	return false;
}

/* What holds where no rule matches; `default_closed`: the mesh would let any identity in, but an
 * allow rule names the service. */
static void page_put_default(
	struct json *j, const struct snapshot *s, const struct service *service)
{
	bool is_own = service->policy_default != POLICY_DEFAULT_MESH;
	bool is_closed = !is_own && s->default_allow && page_has_allow(service);
	const char *name = is_own      ? page_default_name(service->policy_default)
			   : is_closed ? "deny"
				       : page_mesh_default(s);
	page_put_str(j, "default", str_of(name));
	page_put_str(j, "default_where", str_of(page_default_where(service->policy_default)));
	page_put_bool(j, "default_closed", is_closed);
}

static void page_put_modes(struct json *j, const struct snapshot *s, const struct service *service)
{
	page_put_str(j, "protocol", str_of(protocol_name(service->protocol)));
	page_put_str(j, "mtls", str_of(mtls_mode_name(service->mtls)));
	json_key(j, "mtls_ports");
	json_open(j, '[');
	for (uint32_t i = 0; i < service->mtls_port_count; i++) {
		json_open(j, '{');
		page_put_u64(j, "port", service->mtls_ports[i].port);
		page_put_str(j, "mtls", str_of(mtls_mode_name(service->mtls_ports[i].mode)));
		json_close(j, '}');
	}
	json_close(j, ']');
	page_put_bool(j, "here", page_service_is_here(s, service));
}

static void page_put_service_rules(struct json *j, const struct snapshot *s,
	const struct service *service, struct arena *arena)
{
	page_put_str(j, "service", service->name);
	page_put_modes(j, s, service);
	page_put_default(j, s, service);
	page_put_rows(j, service, arena);
}

/* --- all of them --- */

static void page_put_counts(struct json *j, const struct service *service)
{
	uint32_t counts[POLICY_AUDIT + 1] = {0}, audited = 0;
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		counts[p->action]++;
		audited += p->action != POLICY_AUDIT && p->mode == POLICY_AUDITED;
	}
	page_put_u64(j, "allow", counts[POLICY_ALLOW]);
	page_put_u64(j, "deny", counts[POLICY_DENY]);
	page_put_u64(j, "audit", counts[POLICY_AUDIT]);
	page_put_u64(j, "on_trial", audited);
}

static void page_put_services(struct json *j, const struct snapshot *s)
{
	json_key(j, "services");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->service_count; i++) {
		const struct service *service = &s->services[i];
		json_open(j, '{');
		page_put_str(j, "service", service->name);
		page_put_modes(j, s, service);
		page_put_default(j, s, service);
		page_put_counts(j, service);
		json_close(j, '}');
	}
	json_close(j, ']');
}

void page_authz_list(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	const struct service *service;
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	const struct snapshot *s = plan->snapshot;
	if (!page_service_asked(response, s, request->path, &service))
		return;
	struct json j;
	struct arena arena;
	arena_init(&arena, PAGE_LIST_ROWS_MAX);
	json_init(&j, PAGE_LIST_MAX);
	json_open(&j, '{');
	page_put_u64(&j, "generation", s->generation);
	page_put_str(&j, "mesh_default", str_of(page_mesh_default(s)));
	page_put_bool(&j, "mesh_audit", s->is_audited);
	if (service)
		page_put_service_rules(&j, s, service, &arena);
	else
		page_put_services(&j, s);
	json_close(&j, '}');
	page_json(response, &j);
	arena_done(&arena);
}
