/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as the proxy sees it. Nothing secret is in it: keys never enter this process.
 */
#include "page.h"
#include "page_policies.h"

#include <stdio.h>

#define PAGE_CONFIG_MAX (64u << 20)

static void page_put_list(struct json *j, const char *key, const struct str *values, uint32_t count)
{
	json_key(j, key);
	json_open(j, '[');
	for (uint32_t i = 0; i < count; i++)
		json_str(j, values[i]);
	json_close(j, ']');
}

static void page_put_endpoint(struct json *j, const struct endpoint *e)
{
	json_open(j, '{');
	page_put_address(j, "address", &e->address);
	page_put_str(j, "version", e->version);
	page_put_bool(j, "local", e->local != NULL);
	json_close(j, '}');
}

static void page_put_mtls(struct json *j, const struct service *s)
{
	page_put_str(j, "mtls", str_of(mtls_mode_name(s->mtls)));
	json_key(j, "mtls_ports");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->mtls_port_count; i++) {
		json_open(j, '{');
		page_put_u64(j, "port", s->mtls_ports[i].port);
		page_put_str(j, "mtls", str_of(mtls_mode_name(s->mtls_ports[i].mode)));
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void page_put_service(struct json *j, const struct service *s)
{
	json_open(j, '{');
	page_put_str(j, "name", s->name);
	page_put_str(j, "identity", s->identity);
	page_put_list(j, "ids", s->ids, s->id_count);
	page_put_str(j, "protocol", str_of(protocol_name(s->protocol)));
	page_put_bool(j, "server_first", s->server_first);
	page_put_mtls(j, s);
	page_put_str(j, "default_policy", str_of(page_default_name(s->policy_default)));
	json_key(j, "endpoints");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->endpoint_count; i++)
		page_put_endpoint(j, &s->endpoints[i]);
	json_close(j, ']');
	json_key(j, "policies");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->policy_count; i++)
		json_str(j, s->policies[i]->name);
	json_close(j, ']');
	json_close(j, '}');
}

static void page_put_leg(struct json *j, const struct route_leg *leg, const char *share)
{
	json_open(j, '{');
	page_put_str(j, "service", leg->service ? leg->service->name : STR_NONE);
	page_put_str(j, "version", leg->version.len ? leg->version : STR_NONE);
	page_put_u64(j, share, leg->weight);
	json_close(j, '}');
}

static void page_put_rule(struct json *j, const struct route_rule *rule)
{
	static const char *const actions[] = {[ROUTE_FORWARD] = "forward",
		[ROUTE_REDIRECT] = "redirect",
		[ROUTE_RESPOND] = "respond"};
	json_open(j, '{');
	page_put_str(j, "name", rule->name);
	page_put_str(j, "action", str_of(actions[rule->action]));
	json_key(j, "split");
	json_open(j, '[');
	for (uint32_t i = 0; i < rule->leg_count; i++)
		page_put_leg(j, &rule->legs[i], "weight");
	json_close(j, ']');
	json_key(j, "mirror");
	json_open(j, '[');
	for (uint32_t i = 0; i < rule->mirror_count; i++)
		page_put_leg(j, &rule->mirrors[i], "percent");
	json_close(j, ']');
	json_close(j, '}');
}

static void page_put_route(struct json *j, const struct route *route)
{
	json_open(j, '{');
	page_put_str(j, "service", route->service->name);
	json_key(j, "rules");
	json_open(j, '[');
	for (uint32_t i = 0; i < route->rule_count; i++)
		page_put_rule(j, &route->rules[i]);
	json_close(j, ']');
	json_close(j, '}');
}

static void page_put_range(struct json *j, const struct address_range *range)
{
	char ip[ADDRESS_TEXT_MAX], text[ADDRESS_TEXT_MAX + 8];
	snprintf(text, sizeof(text), "%s/%u", address_ip_text(&range->base, ip), range->prefix_len);
	json_str(j, str_of(text));
}

static void page_put_snapshot(struct json *j, const struct snapshot *s)
{
	page_put_u64(j, "generation", s->generation);
	page_put_str(j, "trust_domain", s->trust_domain);
	page_put_str(j, "default_policy", str_of(page_mesh_default(s)));
	page_put_str(j, "policy_mode",
		str_of(page_mode_name(s->is_audited ? POLICY_AUDITED : POLICY_ENFORCED)));
	json_key(j, "services");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->service_count; i++)
		page_put_service(j, &s->services[i]);
	json_close(j, ']');
	json_key(j, "policies");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->policy_count; i++)
		page_put_policy(j, &s->policies[i]);
	json_close(j, ']');
	json_key(j, "routes");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->route_count; i++)
		page_put_route(j, &s->routes[i]);
	json_close(j, ']');
	json_key(j, "local_addresses");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->local_address_count; i++) {
		char text[ADDRESS_TEXT_MAX];
		json_str(j, str_of(address_ip_text(&s->local_addresses[i], text)));
	}
	json_close(j, ']');
	json_key(j, "passthrough");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->passthrough_count; i++)
		page_put_range(j, &s->passthrough[i]);
	json_close(j, ']');
}

void page_config(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	struct json j;
	json_init(&j, PAGE_CONFIG_MAX);
	json_open(&j, '{');
	page_put_snapshot(&j, plan->snapshot);
	json_close(&j, '}');
	page_json(response, &j);
}
