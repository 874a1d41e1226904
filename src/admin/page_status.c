/* SPDX-License-Identifier: Apache-2.0 */
/* The pages about this process: status, listeners, readiness, metrics. */
#include "page.h"

#include "base/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* More than the largest machine needs; a bound all the same. */
#define PAGE_JSON_MAX	  (64u << 20)
#define PAGE_WARNINGS_MAX 20

void page_put_str(struct json *j, const char *key, struct str value)
{
	json_key(j, key);
	json_str(j, value.len ? value : STR_NONE);
}

void page_put_u64(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

void page_put_bool(struct json *j, const char *key, bool value)
{
	json_key(j, key);
	json_bool(j, value);
}

void page_put_time(struct json *j, const char *key, uint64_t wall_ns)
{
	char text[25];
	clock_format(wall_ns, text);
	json_key(j, key);
	json_str(j, str_of(text));
}

void page_put_address(struct json *j, const char *key, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];
	json_key(j, key);
	json_str(j, a->family ? str_of(address_text(a, text)) : STR_NONE);
}

/* --- listeners --- */

static const char *page_listener_name(enum wire_listener_kind kind)
{
	switch (kind) {
	case WIRE_LISTENER_OUTBOUND:
		return "outbound";
	case WIRE_LISTENER_INBOUND:
		return "inbound";
	case WIRE_LISTENER_MESH:
		return "mesh";
	case WIRE_LISTENER_ADMIN:
		return "admin";
	case WIRE_LISTENER_ACCESS_LOG:
		break;
	}
	return NULL; /* no listener */
}

void page_put_listeners(const struct page_source *source, struct json *j)
{
	const struct proxy *p = source->proxy;
	json_key(j, "listeners");
	json_open(j, '[');
	for (uint32_t i = 0; i < p->listener_count; i++) {
		const struct proxy_listener *l = &p->listeners[i];
		const char *name = page_listener_name(l->kind);
		if (!name)
			continue;
		json_open(j, '{');
		page_put_str(j, "kind", str_of(name));
		if (l->address.family)
			page_put_address(j, "address", &l->address);
		else
			page_put_str(
				j, "address", p->plan ? p->plan->conf->admin_socket : STR("unix"));
		if (l->kind != WIRE_LISTENER_ADMIN)
			page_put_u64(j, "worker", l->worker);
		json_close(j, '}');
	}
	json_close(j, ']');
}

void page_listeners(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	struct json j;
	json_init(&j, PAGE_JSON_MAX);
	json_open(&j, '{');
	page_put_listeners(source, &j);
	json_close(&j, '}');
	page_json(response, &j);
}

/* --- readiness --- */

struct page_reasons {
	char *text;
	size_t len, size;
};

static void PRINTF_LIKE(2, 3) page_reason(struct page_reasons *r, const char *format, ...)
{
	if (r->len >= r->size)
		return;
	va_list args;
	va_start(args, format);
	r->len += (size_t)vsnprintf(r->text + r->len, r->size - r->len, format, args);
	va_end(args);
}

void page_readiness(const struct page_source *source, char *text, size_t size)
{
	const struct proxy *p = source->proxy;
	struct page_reasons r = {text, 0, size};
	uint32_t listener_count = 0;
	text[0] = 0;
	for (uint32_t i = 0; i < p->listener_count; i++)
		listener_count += p->listeners[i].kind == WIRE_LISTENER_OUTBOUND ||
				  p->listeners[i].kind == WIRE_LISTENER_INBOUND ||
				  p->listeners[i].kind == WIRE_LISTENER_MESH;
	if (listener_count == 0)
		page_reason(&r, "no listening sockets\n");
	if (p->draining)
		page_reason(&r, "draining\n");
	if (page_has_store(p) && !p->mesh.has_picture)
		page_reason(&r, "the mesh's state has not been seen yet\n");
	if (!p->plan)
		page_reason(&r, "no configuration in force\n");
	else if (r.len < size)
		page_without_identity(source, text + r.len, size - r.len);
}

/* --- status --- */

static void page_put_reload(const struct proxy *p, struct json *j)
{
	json_key(j, "last_reload");
	if (!p->reload_wall_ns) {
		json_str(j, STR_NONE);
		return;
	}
	json_open(j, '{');
	page_put_time(j, "time", p->reload_wall_ns);
	page_put_bool(j, "ok", p->reload_ok);
	page_put_str(j, "text", str_of(p->reload_text));
	json_close(j, '}');
}

static void page_put_process(const struct page_source *source, struct json *j)
{
	const struct proxy *p = source->proxy;
	uint64_t up_ns =
		source->wall_ns > p->start_wall_ns ? source->wall_ns - p->start_wall_ns : 0;
	char reasons[2048];
	page_readiness(source, reasons, sizeof(reasons));
	page_put_str(j, "version", STR(RINGMAIN_VERSION));
	page_put_str(j, "node", p->plan ? p->plan->conf->node_name : STR_NONE);
	page_put_str(j, "trust_domain", p->plan ? p->plan->snapshot->trust_domain : STR_NONE);
	page_put_str(j, "run_dir", p->plan ? p->plan->conf->run_dir : STR_NONE);
	page_put_u64(j, "pid", (uint64_t)getpid());
	page_put_time(j, "start_time", p->start_wall_ns);
	page_put_u64(j, "uptime_s", up_ns / CLOCK_S);
	page_put_u64(j, "restart_count", p->restart_count);
	page_put_u64(j, "workers", p->worker_count);
	page_put_u64(j, "generation", p->plan ? p->plan->generation : 0);
	page_put_bool(j, "ready", !*reasons);
	page_put_str(j, "not_ready", str_of(reasons));
	page_put_bool(j, "draining", p->draining);
	page_put_reload(p, j);
}

static void page_put_workloads(const struct plan *plan, struct json *j)
{
	json_key(j, "workloads");
	json_open(j, '[');
	for (uint32_t i = 0; plan && i < plan->snapshot->workload_count; i++) {
		const struct workload *w = &plan->snapshot->workloads[i];
		json_open(j, '{');
		page_put_str(j, "service", w->service->name);
		page_put_str(j, "identity", w->identity);
		page_put_bool(j, "refused", w->is_refused);
		page_put_str(j, "version", w->version);
		page_put_str(j, "user", w->user);
		page_put_u64(j, "uid", w->uid);
		page_put_u64(j, "mark", w->mark);
		page_put_u64(j, "port", w->port);
		page_put_str(j, "protocol", str_of(protocol_name(w->protocol)));
		page_put_str(j, "mtls", str_of(mtls_mode_name(service_mtls(w->service, w->port))));
		page_put_address(j, "deliver", &w->deliver);
		page_put_u64(j, "serving", plan_serving(plan, i));
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void page_put_counters(const struct proxy *p, struct json *j)
{
	struct metric_totals totals;
	metrics_totals(p->metrics, p->worker_count, &totals);
	json_key(j, "counters");
	json_open(j, '{');
	page_put_u64(j, "requests_total", totals.requests_total);
#define X(member, name, type, help) page_put_u64(j, #member, totals.member);
	METRIC_LIST(X)
#undef X
	page_put_u64(
		j, "log_failed_total", p->access_log ? access_log_failed_count(p->access_log) : 0);
	json_close(j, '}');
}

/* Of the plan in force: the first ones, and how many there are. */
static void page_put_warnings(const struct plan *plan, struct json *j)
{
	uint64_t count = 0;
	size_t len = 0;
	json_key(j, "warnings");
	json_open(j, '[');
	for (const char *at = plan && plan->warnings ? plan->warnings : ""; *at;
		at += len + (at[len] == '\n')) {
		len = strcspn(at, "\n");
		if (len > 0 && count++ < PAGE_WARNINGS_MAX)
			json_str(j, (struct str){at, len});
	}
	json_close(j, ']');
	page_put_u64(j, "warning_count", count);
}

void page_status(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	struct json j;
	if (page_asks_workers(source, response))
		return;
	json_init(&j, PAGE_JSON_MAX);
	json_open(&j, '{');
	page_put_process(source, &j);
	page_put_identities(source, &j);
	page_put_certificates(source, &j);
	page_put_listeners(source, &j);
	page_put_workloads(source->proxy->plan, &j);
	page_put_issuers(source, &j);
	page_put_warnings(source->proxy->plan, &j);
	page_put_state(source, &j);
	page_put_rollouts(source, &j);
	page_put_ejected(source, &j);
	page_put_counters(source->proxy, &j);
	json_close(&j, '}');
	page_json(response, &j);
}

/* --- metrics --- */

static void page_write_proxy(const struct proxy *p, struct metric_text *out)
{
	metric_text_family(out, "ringmain_generation", "gauge",
		"Generation of the configuration in force, 0 before the first");
	metric_text_u64(out, "ringmain_generation", NULL, p->plan ? p->plan->generation : 0);
	metric_text_family(out, "ringmain_reload_ok", "gauge",
		"1 when the last reload took effect, or there was none");
	metric_text_u64(out, "ringmain_reload_ok", NULL, !p->reload_wall_ns || p->reload_ok);
	metric_text_family(out, "ringmain_proxy_restarts_total", "counter",
		"How often the proxy process was started again");
	metric_text_u64(out, "ringmain_proxy_restarts_total", NULL, p->restart_count);
	metric_text_family(out, "ringmain_log_failed_total", "counter",
		"Access log lines that could not be written");
	metric_text_u64(out, "ringmain_log_failed_total", NULL,
		p->access_log ? access_log_failed_count(p->access_log) : 0);
}

void page_metrics(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct proxy *p = source->proxy;
	struct metric_text out;
	metric_text_init(&out, page_wants_openmetrics(request->accept));
	metrics_write(p->metrics, p->worker_count, &out);
	page_write_proxy(p, &out);
	page_write_certificates(source, &out);
	page_write_state(source, &out);
	page_write_limits(source, &out);
	page_write_rollouts(source, &out);
	process_watch_write(source->process, &out);
	metric_text_end(&out);
	if (out.cut) {
		metric_text_done(&out);
		page_text(response, 500, "out of memory\n");
		return;
	}
	*response = (struct page_response){
		.status = 200,
		.type = metric_text_type(out.openmetrics),
		.body = out.text,
		.body_len = out.len,
	};
}
