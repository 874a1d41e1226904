/* SPDX-License-Identifier: Apache-2.0 */
/* A node file and a mesh file, separated by a line "----": parsed twice, which must give the same,
 * and looked up in. Whatever the text is, it ends in a report or in a snapshot. */
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
	static const struct policy_request requests[] = {{STR_NONE, STR_NONE, STR_NONE},
		{{"spiffe://a/service/a", 20}, {"GET", 3}, {"/a;b/%3A", 8}}};
	char name[SERVER_NAME_MAX];
	for (uint32_t i = 0; i < s->service_count; i++) {
		const struct service *service = &s->services[i];
		ASSERT(snapshot_service(s, service->name) == service);
		ASSERT(server_name_write(s, service, 65535, name) > 0);
		for (uint32_t e = 0; e < service->endpoint_count; e++) {
			const struct address *a = &service->endpoints[e].address;
			ASSERT(snapshot_endpoint(s, a) == &service->endpoints[e]);
			ASSERT(snapshot_destination(s, a).kind != DESTINATION_UNKNOWN);
		}
		for (size_t r = 0; r < ARRAY_LEN(requests); r++)
			policy_check(s, service, &requests[r]);
	}
	for (uint32_t i = 0; i < s->workload_count; i++) {
		const struct workload *w = &s->workloads[i];
		size_t name_len = server_name_write(s, w->service, w->port, name);
		ASSERT(w->port == 0 ||
			snapshot_workload_by_server_name(s, (struct str){name, name_len}) == w);
		ASSERT(w->mark == 0 || snapshot_workload_by_mark(s, w->mark) == w);
	}
}

static int fuzz_parse(const struct bundle *b)
{
	struct conf_report report;
	struct conf *conf = NULL;
	struct snapshot *snapshot = NULL;
	conf_report_init(&report);
	int r = conf_parse(b, NULL, 1, &conf, &snapshot, &report);
	ASSERT((r < 0) == (report.error_count > 0));
	ASSERT((r == 0) == (conf && snapshot));
	if (r == 0)
		fuzz_look_up(snapshot);
	conf_free(conf);
	conf_snapshot_free(snapshot);
	conf_report_done(&report);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct bundle b;
	struct str node = {(const char *)bytes, len}, mesh = STR("");
	const char *cut = len ? memmem(bytes, len, "\n----\n", 6) : NULL;
	if (cut) {
		node.len = (size_t)(cut - node.at) + 1;
		mesh = (struct str){cut + 6, len - node.len - 5};
	}
	bundle_init(&b);
	fuzz_add(&b, "conf", "node.conf", node);
	fuzz_add(&b, "mesh", "mesh.conf", mesh);
	fuzz_add(&b, "user", "ringmain", STR("990"));
	fuzz_add(&b, "user", "web", STR("1002"));
	fuzz_add(&b, "mark", "1002", STR("18"));
	fuzz_add(&b, "address", "10.0.0.1", STR(""));
	ASSERT(fuzz_parse(&b) == fuzz_parse(&b));
	bundle_done(&b);
	return 0;
}
