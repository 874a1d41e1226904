/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of conf/README.md are right: each mesh file in it is read, and each line of the
 * tables behind it is asked. */
#include "conf_fixture.h"

#include "mesh/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define README_SECTION "\n## Who may do what\n"
#define README_SERVICES                                                                    \
	"services: ( { name = \"orders\"; protocol = \"http\"; }, { name = \"web\"; }, { " \
	"name = \"billing\"; } );\n"
#define README_NODE "node: { name = \"vm-a\"; address = \"10.77.0.1\"; };\n"
#define README_MESH "mesh: { trust_domain = \"prod.example\"; };\n"

struct readme {
	char *text;	 /* from the section on */
	char *at, *line; /* the next line, and the one that is looked at */
	unsigned number; /* of it, in the section */
	struct fixture fixture;
	bool is_read;		 /* the fixture has a mesh */
	char node[1024];	 /* what is given for the next mesh; empty: the usual */
	unsigned answers, ports; /* lines that were asked */
};

static char *readme_load(void)
{
	FILE *in = fopen(SOURCE_ROOT "/conf/README.md", "r");
	char *text = calloc(1, 1 << 20);
	assert_non_null(in);
	assert_non_null(text);
	assert_true(fread(text, 1, (1 << 20) - 1, in) > 0);
	fclose(in);
	return text;
}

/* Without its newline; NULL: the section ends. */
static char *readme_next(struct readme *r)
{
	char *line = r->at;
	char *end = strchr(line, '\n');
	if (!end || strncmp(line, "## ", 3) == 0)
		return NULL;
	*end = '\0';
	r->at = end + 1;
	r->line = line;
	r->number++;
	return line;
}

/* What stands up to the end of a block. */
static void readme_block(struct readme *r, char *text, size_t size)
{
	size_t len = strlen(text);
	for (char *line = readme_next(r); strcmp(line, "```") != 0; line = readme_next(r)) {
		len += (size_t)snprintf(text + len, size - len, "%s\n", line);
		assert_true(len < size);
	}
}

static void readme_done_mesh(struct readme *r)
{
	if (r->is_read)
		fixture_done(&r->fixture);
	r->is_read = false;
}

static void readme_mesh(struct readme *r)
{
	char text[4096] = "", node[2048];
	readme_block(r, text, sizeof(text));
	if (!strstr(text, "services:")) {
		size_t len = strlen(text);
		snprintf(text + len, sizeof(text) - len, README_SERVICES);
	}
	snprintf(node, sizeof(node), README_NODE "%s", r->node[0] ? r->node : README_MESH);
	readme_done_mesh(r);
	fixture_init(&r->fixture);
	r->is_read = true;
	r->node[0] = '\0';
	fixture_parse_good(&r->fixture, node, text);
	if (strstr(r->fixture.report.text ? r->fixture.report.text : "", "policies["))
		fail_msg("line %u: %s", r->number, r->fixture.report.text);
}

/* Cells of "| a | b |"; what is not there is empty. */
static void readme_cells(char *line, struct str cells[4])
{
	char *at = line + 1;
	for (unsigned i = 0; i < 4; i++) {
		char *end = strchr(at, '|');
		cells[i] = end ? str_trim((struct str){at, (size_t)(end - at)}) : STR("");
		at = end ? end + 1 : at;
	}
}

/* --- requests --- */

struct readme_request {
	struct policy_request policy;
	struct route_request http;
	struct route_header headers[4];
	char id[256], host[64];
};

/* Cuts " word rest" off the end of a text; false: there is none. */
static bool readme_cut(struct str *text, const char *word, struct str *ret_rest)
{
	const char *at = memmem(text->at, text->len, word, strlen(word));
	if (!at)
		return false;
	const char *rest = at + strlen(word);
	*ret_rest = (struct str){rest, text->len - (size_t)(rest - text->at)};
	text->len = (size_t)(at - text->at);
	return true;
}

/* "a: b, c: d" */
static void readme_headers(struct readme_request *q, struct str text)
{
	while (text.len > 0) {
		struct str next = STR(""), value;
		struct route_header *h = &q->headers[q->http.header_count++];
		assert_true(q->http.header_count <= ARRAY_LEN(q->headers));
		(void)readme_cut(&text, ", ", &next);
		assert_true(readme_cut(&text, ": ", &value));
		*h = (struct route_header){text, value};
		text = next;
	}
}

/* "GET /a of HOST with NAME: VALUE at PORT", or "bytes". */
static void readme_asks(struct readme_request *q, struct str text)
{
	struct str port, headers, host, path;
	uint64_t number = 8080;
	if (readme_cut(&text, " at ", &port))
		assert_true(str_to_u64(port, &number));
	q->policy.port = (uint16_t)number;
	if (str_eq(text, STR("bytes")))
		return;
	q->http = (struct route_request){.is_http = true,
		.authority = STR("orders"),
		.headers = q->headers,
		.header_bytes = sizeof(q->headers[0])};
	q->policy.http = &q->http;
	if (readme_cut(&text, " with ", &headers))
		readme_headers(q, headers);
	if (readme_cut(&text, " of ", &host))
		q->http.authority = host;
	assert_true(readme_cut(&text, " ", &path));
	assert_true(path_is_normal(path));
	q->http.path = path;
	q->http.method = text;
}

/* A service, an identity path, a SPIFFE id, an address, or "nobody". */
static void readme_caller(struct readme_request *q, const struct readme *r, struct str caller)
{
	const struct service *service = snapshot_service(r->fixture.snapshot, caller);
	bool is_whole = str_starts(caller, STR("spiffe://"));
	if (str_eq(caller, STR("nobody")))
		caller = STR("192.0.2.1");
	if (address_parse(caller, &q->policy.client))
		return;
	assert_true(service || is_whole || memchr(caller.at, '/', caller.len));
	snprintf(q->id, sizeof(q->id), "%s%.*s",
		is_whole || service ? "" : "spiffe://prod.example/",
		STR_ARG(service ? service->ids[0] : caller));
	q->policy.source_id = str_of(q->id);
}

static const char *readme_answer(const struct policy_verdict *v)
{
	if (!v->allowed)
		return "denied";
	return v->would_deny ? "allowed, would be denied" : "allowed";
}

static struct str readme_by(const struct policy_verdict *v)
{
	if (v->policy)
		return v->policy->name;
	return v->by == POLICY_DEFAULT_MESH ? STR("mesh") : STR("service");
}

static void readme_ask(struct readme *r, char *line)
{
	struct readme_request q = {0};
	struct str cells[4];
	const struct service *orders = snapshot_service(r->fixture.snapshot, STR("orders"));
	readme_cells(line, cells);
	readme_caller(&q, r, cells[0]);
	readme_asks(&q, cells[1]);
	struct policy_verdict v = policy_check(r->fixture.snapshot, orders, &q.policy);
	if (!str_eq(str_of(readme_answer(&v)), cells[2]) || !str_eq(readme_by(&v), cells[3]))
		fail_msg("%s\nis %s, by %.*s", line, readme_answer(&v), STR_ARG(readme_by(&v)));
	r->answers++;
}

static void readme_ask_port(struct readme *r, char *line)
{
	struct str cells[4];
	uint64_t port;
	const struct service *orders = snapshot_service(r->fixture.snapshot, STR("orders"));
	readme_cells(line, cells);
	assert_true(str_to_u64(cells[0], &port));
	const char *mode = mtls_mode_name(service_mtls(orders, (uint16_t)port));
	if (!str_eq(str_of(mode), cells[1]))
		fail_msg("%s\nis %s", line, mode);
	r->ports++;
}

/* The lines behind a heading of a table. */
static void readme_table(struct readme *r, void (*ask)(struct readme *r, char *line))
{
	assert_true(r->is_read);
	assert_int_equal(readme_next(r)[1], '-');
	for (char *line = readme_next(r); line && line[0] == '|'; line = readme_next(r))
		ask(r, line);
}

static void test_readme_examples(void **state)
{
	struct readme r = {.text = readme_load()};
	r.at = strstr(r.text, README_SECTION);
	assert_non_null(r.at);
	r.at += strlen(README_SECTION);
	for (char *line = readme_next(&r); line; line = readme_next(&r)) {
		if (strcmp(line, "```node") == 0)
			readme_block(&r, r.node, sizeof(r.node));
		else if (strcmp(line, "```mesh") == 0)
			readme_mesh(&r);
		else if (strcmp(line, "| caller | asks | answer | by |") == 0)
			readme_table(&r, readme_ask);
		else if (strcmp(line, "| port | plain text |") == 0)
			readme_table(&r, readme_ask_port);
	}
	readme_done_mesh(&r);
	free(r.text);
	/* A page without examples, or with others than these tables, is no page. */
	assert_true(r.answers >= 30);
	assert_true(r.ports >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_readme_examples)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
