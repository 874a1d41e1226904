/* SPDX-License-Identifier: Apache-2.0 */
/* A node file, a mesh file and, for a machine with a store, a node's record, separated by lines
 * "----": parsed twice, which must give the same, and looked up in. Whatever the text is, it ends
 * in a report or in a snapshot; a record by itself never fails it, nor does a published policy,
 * for which it is taken as well. */
#include "conf/conf.h"
#include "mesh/policy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* libconfig 1.5 loses the texts in hand when its parser gives up: a few bytes for each broken file.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so\n";
}

static void fuzz_add(struct bundle *b, const char *kind, const char *name, struct str text)
{
	struct err err;
	if (bundle_add(b, str_of(kind), str_of(name), text, &err) < 0)
		abort();
}

static void fuzz_look_up(const struct snapshot *s)
{
	static const struct route_request http = {
		.is_http = true, .method = {"GET", 3}, .path = {"/a;b/%3A", 8}};
	static const struct policy_request requests[] = {
		{.port = 0}, {.source_id = {"spiffe://a/service/a", 20}, .http = &http}};
	char name[SERVER_NAME_MAX];
	for (uint32_t i = 0; i < s->service_count; i++) {
		const struct service *service = &s->services[i];
		ASSERT(snapshot_service(s, service->name) == service);
		ASSERT(service->id_count > 0 && service->identity.len > 0);
		ASSERT(server_name_write(s, service, 65535, name) > 0);
		for (uint32_t e = 0; e < service->endpoint_count; e++) {
			const struct address *a = &service->endpoints[e].address;
			ASSERT(snapshot_endpoint(s, a) == &service->endpoints[e]);
			ASSERT(snapshot_destination(s, a).kind != DESTINATION_UNKNOWN);
			ASSERT(!snapshot_service_by_address(s, a));
		}
		for (uint32_t a = 0; a < service->address_count; a++)
			ASSERT(snapshot_destination(s, &service->addresses[a]).service == service);
		for (size_t r = 0; r < ARRAY_LEN(requests); r++)
			policy_check(s, service, &requests[r]);
	}
	for (uint32_t i = 0; i < s->workload_count; i++) {
		const struct workload *w = &s->workloads[i];
		size_t name_len = server_name_write(s, w->service, w->port, name);
		const struct workload *named =
			snapshot_workload_by_server_name(s, (struct str){name, name_len});
		ASSERT(w->port == 0 || named == (w->is_refused ? NULL : w));
		ASSERT(w->is_refused == !service_has_id(w->service, w->id));
		ASSERT(w->mark == 0 || snapshot_workload_by_mark(s, w->mark) == w);
	}
}

static int fuzz_parse(const struct bundle *b, const struct bundle *picture)
{
	struct conf_report report;
	struct conf *conf = NULL;
	struct snapshot *snapshot = NULL;
	conf_report_init(&report);
	int r = conf_parse(b, picture, 1, &conf, &snapshot, &report);
	ASSERT((r < 0) == (report.error_count > 0));
	ASSERT((r == 0) == (conf && snapshot));
	if (r == 0)
		fuzz_look_up(snapshot);
	conf_free(conf);
	conf_snapshot_free(snapshot);
	conf_report_done(&report);
	return r;
}

/* What stands before the next line "----". */
static struct str fuzz_cut(struct str *from)
{
	const char *cut = from->len ? memmem(from->at, from->len, "\n----\n", 6) : NULL;
	struct str part = {from->at, cut ? (size_t)(cut - from->at) + 1 : from->len};
	size_t used = part.len + (cut ? 5 : 0);
	*from = (struct str){from->at + used, from->len - used};
	return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct bundle b, picture, objects, policy;
	struct str text = {(const char *)bytes, len}, node = fuzz_cut(&text),
		   mesh = fuzz_cut(&text);
	bundle_init(&b);
	bundle_init(&picture);
	bundle_init(&objects);
	bundle_init(&policy);
	fuzz_add(&b, "conf", "node.conf", node);
	fuzz_add(&b, "mesh", "mesh.conf", mesh);
	fuzz_add(&b, "user", "ringmain", STR("990"));
	fuzz_add(&b, "user", "web", STR("1002"));
	fuzz_add(&b, "mark", "1002", STR("18"));
	fuzz_add(&b, "address", "10.0.0.1", STR(""));
	fuzz_add(&objects, "mesh", "mesh.conf", mesh);
	fuzz_add(&policy, "mesh", "mesh.conf", mesh);
	fuzz_add(&policy, "mesh", "policy/p@7", text);
	fuzz_add(&picture, "mesh", "mesh.conf", mesh);
	fuzz_add(&picture, "node", "vm-b", text);
	int r = fuzz_parse(&b, &picture);
	ASSERT(fuzz_parse(&b, &picture) == r);
	ASSERT(fuzz_parse(&b, &objects) == r);
	ASSERT(fuzz_parse(&b, &policy) == r);
	bundle_done(&b);
	bundle_done(&picture);
	bundle_done(&objects);
	bundle_done(&policy);
	return 0;
}
