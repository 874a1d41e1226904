/* SPDX-License-Identifier: Apache-2.0 */
/* What a new plan costs the control thread, for a mesh of this size:
 *
 *     plan [SERVICES [POLICIES [NODES [ENDPOINTS-OF-A-NODE]]]]
 *
 * Prints the milliseconds of processor time of the first plan, of one after an endpoint has
 * changed, and of one after an object has, each the least of some runs, and what a plan holds. */
#include "base/clock.h"
#include "proxy/proxy.h"
#include "unit/tls/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define RUNS 9

struct plan_bench {
	struct pair_mesh certs;
	struct bundle node;
	unsigned services, policies, nodes, endpoints;
	struct plan *plan;
};

static const char plan_node[] = "node: { name = \"vm-a\"; address = \"10.77.0.1\"; };\n"
				"mesh: { trust_domain = \"prod.example\"; };\n"
				"state: { redis = \"10.77.0.10:6379\"; operators = \"/a.pub\"; };\n"
				"workloads: ( { service = \"web\"; user = \"web\"; },\n"
				" { service = \"service-1\"; user = \"one\"; port = 8081; } );\n";

static void plan_add(struct bundle *b, const char *kind, const char *name, const char *text)
{
	struct err err;
	if (bundle_add(b, str_of(kind), str_of(name), str_of(text), &err) < 0)
		abort();
}

static void plan_add_objects(const struct plan_bench *p, struct bundle *b, unsigned revision)
{
	char name[64], text[512];
	for (unsigned i = 0; i < p->services; i++) {
		snprintf(name, sizeof(name), "service/service-%u@%u", i, revision);
		snprintf(text, sizeof(text),
			"services: ( { name = \"service-%u\"; port = 8080; protocol = \"http\";\n"
			"  address = \"10.96.%u.%u\"; } );\n",
			i, i / 250, i % 250 + 1);
		plan_add(b, "mesh", name, text);
	}
	for (unsigned i = 0; i < p->policies; i++) {
		snprintf(name, sizeof(name), "policy/policy-%u@%u", i, revision);
		snprintf(text, sizeof(text),
			"policies: ( { name = \"policy-%u\"; service = \"service-%u\"; action = "
			"\"allow\";\n  from = [ \"service-%u\", \"service-%u\" ]; methods = [ "
			"\"GET\", \"POST\" ]; paths = [ \"/api/v1/*\", \"/health\" ]; } );\n",
			i, i % p->services, (i + 1) % p->services, (i + 2) % p->services);
		plan_add(b, "mesh", name, text);
	}
}

static void plan_add_node(
	const struct plan_bench *p, struct bundle *b, unsigned index, unsigned number)
{
	char name[64];
	size_t size = 256 + p->endpoints * 96u;
	char *text = malloc(size), *end = text + size;
	ASSERT(text);
	snprintf(name, sizeof(name), "vm-%u", index);
	char *at = text + snprintf(text, size,
				  "ringmain 1\nnode vm-%u\nstart 1764236129123456789\nnumber %u\n"
				  "zone eu-1\nversion 0.1.0\nrevision 41\n",
				  index, number);
	for (unsigned e = 0; e < p->endpoints; e++)
		at += snprintf(at, (size_t)(end - at),
			"endpoint service-%u v1 %s 100 10.%u.%u.%u:%u\n",
			(index * p->endpoints + e) % p->services, number & 1 ? "up" : "down",
			100 + index / 62500, index / 250 % 250, index % 250 + 1, 8000 + e);
	plan_add(b, "node", name, text);
	free(text);
}

/* The least of some runs, in milliseconds; the last plan stays. */
static double plan_run(struct plan_bench *p, unsigned revision, unsigned number, bool first)
{
	struct bundle picture;
	struct timespec a, b;
	struct plan *plan = NULL;
	char why[2000];
	bundle_init(&picture);
	plan_add_objects(p, &picture, revision);
	for (unsigned i = 0; i < p->nodes; i++)
		plan_add_node(p, &picture, i, i == 7 ? number : 1);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	if (plan_build(&p->node, &picture, 1, first ? NULL : p->plan, &plan, why, sizeof(why)) <
		0) {
		fprintf(stderr, "%s\n", why);
		exit(1);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	bundle_done(&picture);
	plan_free(p->plan);
	p->plan = plan;
	return (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
}

static void plan_print(struct plan_bench *p, const char *what, bool first, bool object)
{
	double least = 1e9;
	for (unsigned i = 0; i < RUNS; i++) {
		double ms = plan_run(p, object ? 100 + i : 41, 10 + i, first);
		least = ms < least ? ms : least;
	}
	printf("%-24s %8.1f ms\n", what, least);
}

int main(int argc, char **argv)
{
	static struct plan_bench p = {
		.services = 1000, .policies = 1000, .nodes = 1000, .endpoints = 20};
	unsigned *sizes[] = {&p.services, &p.policies, &p.nodes, &p.endpoints};
	for (int i = 1; i < argc && i <= 4; i++)
		*sizes[i - 1] = (unsigned)strtoul(argv[i], NULL, 10);
	pair_mesh_init(&p.certs);
	pair_mesh_bundle(&p.certs, &p.node);
	plan_add(&p.node, "conf", "node.conf", plan_node);
	plan_add(&p.node, "user", "ringmain", "990");
	plan_add(&p.node, "user", "web", "1001");
	plan_add(&p.node, "user", "one", "1002");
	plan_add(&p.node, "address", "10.77.0.1", "");
	printf("%u services, %u policies, %u nodes of %u endpoints\n", p.services, p.policies,
		p.nodes, p.endpoints);
	plan_print(&p, "first plan", true, false);
	plan_print(&p, "an endpoint has changed", false, false);
	plan_print(&p, "an object has changed", false, true);
	const struct snapshot *s = p.plan->snapshot;
	printf("%-24s %8.1f MB\n", "snapshot's text", (double)s->arena.used_bytes / 1e6);
	plan_free(p.plan);
	bundle_done(&p.node);
	pair_mesh_done(&p.certs);
	return 0;
}
