/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include "net/socket.h"
#include "proxy/facts.h"
#include "proxy/limiter_view.h"
#include <errno.h>
#include <openssl/digest.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define LAB_TURNS_MAX	     20000
#define LAB_MARK_SHIFT	     16
#define LAB_UID_FIRST	     1000
#define LAB_SERIES_MAX	     512
#define LAB_DRAIN_TIMEOUT_NS (31 * CLOCK_S)

static const struct lab_row {
	const char *name;
	const char *ip;
	uint16_t port;
} lab_rows[LAB_WORKLOAD_COUNT] = {
	[LAB_WEB] = {"web", NULL, 0},
	[LAB_BILLING] = {"billing", NULL, 0},
	[LAB_NOCERT] = {"nocert", NULL, 0},
	[LAB_SHOP] = {"shop", "10.77.0.1", 8081},
	[LAB_CACHE] = {"cache", "10.77.0.1", 6379},
	[LAB_ANY] = {"any", "10.77.0.1", 9000},
	[LAB_MAIL] = {"mail", "10.77.0.1", 2525},
	[LAB_LOOSE] = {"loose", "10.77.0.1", 7100},
	[LAB_ORDERS] = {"orders", "10.77.0.2", 8080},
	[LAB_LEDGER] = {"billing", "10.77.0.2", 7000},
	[LAB_PLAIN] = {"plain", "10.77.0.3", 7200},
};

static const char *const lab_nodes[] = {
	"node: { name = \"vm-a\"; address = \"10.77.0.1\"; };\n"
	"workloads: ( { service = \"web\"; user = \"web\"; },\n"
	" { service = \"billing\"; user = \"billing\"; },\n"
	" { service = \"nocert\"; user = \"nocert\"; },\n"
	" { service = \"shop\"; user = \"shop\"; port = 8081; },\n"
	" { service = \"cache\"; user = \"cache\"; port = 6379; },\n"
	" { service = \"any\"; user = \"any\"; port = 9000; },\n"
	" { service = \"mail\"; user = \"mail\"; port = 2525; },\n"
	" { service = \"loose\"; user = \"loose\"; port = 7100; } );\n",
	"node: { name = \"vm-b\"; address = \"10.77.0.2\"; };\n"
	"workloads: ( { service = \"orders\"; user = \"orders\"; port = 8080; },\n"
	" { service = \"billing\"; user = \"ledger\"; port = 7000; } );\n"};

static const char lab_node_common[] =
	"mesh: { trust_domain = \"prod.example\"; default_policy = \"authenticated\"; };\n"
	"redirect: { passthrough = [ \"203.0.113.0/24\" ]; };\n";

static const char lab_mesh[] =
	"services: ( { name = \"web\"; }, { name = \"nocert\"; },\n"
	" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address = "
	"\"10.77.0.1\"; } ); },\n"
	" { name = \"cache\"; port = 6379; protocol = \"tcp\"; endpoints = ( { address = "
	"\"10.77.0.1\"; } ); },\n"
	" { name = \"any\"; port = 9000; endpoints = ( { address = \"10.77.0.1\"; } ); },\n"
	" { name = \"mail\"; port = 2525; protocol = \"tcp\"; server_first = true; endpoints = ( { "
	"address = "
	"\"10.77.0.1\"; } ); },\n"
	" { name = \"loose\"; port = 7100; protocol = \"tcp\"; mtls = \"permissive\"; endpoints = "
	"( { address = \"10.77.0.1\"; } ); },\n"
	" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { address = "
	"\"10.77.0.2\"; } ); },\n"
	" { name = \"billing\"; port = 7000; protocol = \"tcp\"; endpoints = ( { address = "
	"\"10.77.0.2\"; } ); },\n"
	" { name = \"plain\"; port = 7200; protocol = \"tcp\"; mtls = \"disabled\"; endpoints = ( "
	"{ address = \"10.77.0.3\"; } ); } );\n"
	"policies: ( { name = \"no-secret\"; service = [ \"shop\", \"orders\" ]; action = "
	"\"deny\"; paths = [ \"/secret\" ]; },\n"
	" { name = \"no-billing\"; service = \"cache\"; action = \"deny\"; from = [ \"billing\" ]; "
	"},\n"
	" { name = \"all-mail\"; service = [ \"loose\" ]; action = \"allow\"; from = [ "
	"\"anonymous\", \"*\" ]; } );\n";

const struct lab_edit lab_two_versions[LAB_EDITS_MAX] = {
	{" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { "
	 "address = \"10.77.0.2\"; } ); },\n",
		" { name = \"orders\"; port = 8080; protocol = \"http\"; address = "
		"\"" LAB_OWN_ORDERS
		"\"; endpoints = ( { address = \"10.77.0.1\"; port = 8081; version = \"v1\"; }, { "
		"address = \"10.77.0.2\"; version = \"v2\"; } ); },\n"},
	{" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address "
	 "= \"10.77.0.1\"; } ); },\n",
		" { name = \"shop\"; },\n"},
	{" { service = \"shop\"; user = \"shop\"; port = 8081; },\n",
		" { service = \"orders\"; user = \"shop\"; port = 8081; version = \"v1\"; },\n"},
};

static struct pair_mesh lab_certs;

int lab_group_setup(void **state)
{
	pair_mesh_init(&lab_certs);
	return 0;
}

int lab_group_teardown(void **state)
{
	pair_mesh_done(&lab_certs);
	return 0;
}

const struct pair_mesh *lab_mesh_certs(void)
{
	return &lab_certs;
}

/* --- the access log, in memory --- */

static void lab_copy(char *to, size_t size, struct str from)
{
	snprintf(to, size, STR_FMT, STR_ARG(from));
}

bool access_write(struct access_queue *q, const struct access_entry *entry)
{
	static char line[ACCESS_LINE_MAX];
	if (!q)
		return true;
	if (q->full)
		return false;
	assert_true(access_format(entry, line, sizeof(line)) > 0);
	q->entries = realloc(q->entries, (q->count + 1) * sizeof(*q->entries));
	struct lab_entry *e = &q->entries[q->count++];
	*e = (struct lab_entry){.kind = entry->kind,
		.outbound = entry->outbound,
		.code = entry->response_code,
		.received = entry->bytes_received,
		.sent = entry->bytes_sent,
		.attempts = entry->attempt_count,
		.is_mirror = entry->is_mirror};
	lab_copy(e->details, sizeof(e->details), entry->response_details);
	lab_copy(e->flags, sizeof(e->flags), entry->response_flags);
	lab_copy(e->policy, sizeof(e->policy), entry->policy);
	lab_copy(e->where, sizeof(e->where), entry->policy_where);
	lab_copy(e->would_deny, sizeof(e->would_deny), entry->would_deny);
	lab_copy(e->noted, sizeof(e->noted), entry->noted);
	lab_copy(e->path, sizeof(e->path), entry->path);
	lab_copy(e->source, sizeof(e->source), entry->source_identity);
	lab_copy(e->workload, sizeof(e->workload), entry->workload);
	lab_copy(e->route, sizeof(e->route), entry->route);
	lab_copy(e->service, sizeof(e->service), entry->destination_service);
	lab_copy(e->outside, sizeof(e->outside), entry->outside);
	lab_copy(e->security, sizeof(e->security), entry->security);
	lab_copy(e->version, sizeof(e->version), entry->destination_version);
	return true;
}

/* --- names and places --- */

const char *lab_name(enum lab_workload workload)
{
	return lab_rows[workload].name;
}

struct address lab_address_of(const char *text)
{
	struct address a;
	assert_true(address_parse(str_of(text), &a));
	return a;
}

struct address lab_address(enum lab_workload workload)
{
	struct address a = lab_address_of(lab_rows[workload].ip);
	a.port = lab_rows[workload].port;
	return a;
}

struct address lab_deliver(enum lab_workload workload)
{
	struct address a = lab_address_of("127.0.0.1");
	a.port = lab_rows[workload].port;
	return a;
}

struct address lab_mesh_address(uint32_t machine)
{
	struct address a = lab_address_of(machine ? "10.77.0.2" : "10.77.0.1");
	a.port = 15008;
	return a;
}

/* --- plans --- */

static void lab_add(struct bundle *b, const char *kind, const char *name, const char *text)
{
	struct err err;
	assert_int_equal(bundle_add(b, str_of(kind), str_of(name), str_of(text), &err), 0);
}

static void lab_add_user(const struct lab *l, struct bundle *b, const char *name, unsigned number)
{
	char uid[16], mark[16];
	snprintf(uid, sizeof(uid), "%u", LAB_UID_FIRST + number);
	snprintf(mark, sizeof(mark), "%u", l->marks[number]);
	lab_add(b, "user", name, uid);
	lab_add(b, "mark", uid, mark);
}

/* The text with all edits made that apply to it. */
static const char *lab_edited(const struct lab *l, const char *text, char *ret_text, size_t size)
{
	snprintf(ret_text, size, "%s", text);
	for (size_t i = 0; i < LAB_EDITS_MAX; i++) {
		const struct lab_edit *e = &l->edits[i];
		char *at = e->from ? strstr(ret_text, e->from) : NULL;
		if (!at)
			continue;
		char *rest = strdup(at + strlen(e->from));
		assert_true((size_t)(at - ret_text) + strlen(e->to) + strlen(rest) < size);
		snprintf(at, size - (size_t)(at - ret_text), "%s%s", e->to, rest);
		free(rest);
	}
	return ret_text;
}

#define LAB_RENEWED 10 /* what is added to the number of a renewed key */

static void lab_certificates(const struct lab *l, struct bundle *b)
{
	struct pair_mesh mesh = lab_certs;
	struct bundle all;
	if (l->root)
		mesh.root = *l->root;
	if (l->web)
		mesh.leaf[PAIR_WEB] = *l->web;
	pair_mesh_bundle(&mesh, &all);
	bundle_init(b);
	LIST_EACH (&all.items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		char number[24];
		bool is_key = str_eq(item->kind, STR("key"));
		snprintf(number, sizeof(number), "%ld",
			strtol(item->text.at, NULL, 10) + LAB_RENEWED);
		if (l->identities != LAB_IDENTITIES_GONE || str_eq(item->kind, STR("roots")))
			lab_add(b, item->kind.at, item->name.at,
				is_key && l->identities == LAB_IDENTITIES_RENEWED ? number
										  : item->text.at);
	}
	bundle_done(&all);
	if (l->list)
		lab_add(b, "crl", "prod.example", l->list);
}

static struct facts *lab_facts(const struct lab *l)
{
	struct bundle b;
	bundle_init(&b);
	for (const char *const *host = l->hosts; host && *host; host += 2)
		lab_add(&b, "host", host[0], host[1]);
	for (const char *const *keys = l->keys; keys && *keys; keys += 2)
		lab_add(&b, "jwks", keys[0], keys[1]);
	struct facts *facts = facts_new(&b, &b);
	assert_non_null(facts);
	bundle_done(&b);
	return facts;
}

static struct plan *lab_plan(
	struct lab *l, uint32_t machine, uint64_t generation, const struct plan *before)
{
	static char node[8192], edited[16384];
	char text[2000] = "";
	struct bundle b, picture;
	struct plan *plan = NULL;
	lab_certificates(l, &b);
	lab_add(&b, "user", "ringmain", "990");
	for (unsigned i = LAB_WEB; i < LAB_WORKLOAD_COUNT; i++)
		lab_add_user(l, &b, i == LAB_LEDGER ? "ledger" : lab_rows[i].name, i);
	lab_add(&b, "address", machine ? "10.77.0.2" : "10.77.0.1", "");
	lab_add(&b, "address", "127.0.0.1", "");
	snprintf(node, sizeof(node), "%s%s%s", lab_nodes[machine], lab_node_common,
		l->node ? l->node : "");
	lab_add(&b, "conf", "node.conf", lab_edited(l, node, edited, sizeof(edited)));
	if (l->outside)
		lab_add(&b, "outside", "", l->outside);
	struct bundle *mesh = l->with_store ? &picture : &b;
	bundle_init(&picture);
	lab_add(mesh, "mesh", "mesh.conf", lab_edited(l, lab_mesh, edited, sizeof(edited)));
	if (l->objects)
		lab_add(mesh, "mesh", "objects.conf", l->objects);
	if (plan_build(&b, l->with_store ? &picture : NULL, generation, before, &plan, text,
		    sizeof(text)) < 0)
		fail_msg("%s", text);
	bundle_done(&picture);
	bundle_done(&b);
	if (l->hosts || l->keys)
		plan->facts = lab_facts(l);
	return plan;
}

static struct plan *lab_current(const struct lab_machine *m)
{
	return m->plans[m->plan_count - 1];
}

void lab_replan(struct lab *l, uint32_t machine, const char *node)
{
	struct lab_machine *m = &l->machines[machine];
	if (node)
		l->node = node;
	assert_true(m->plan_count < LAB_PLANS_MAX);
	struct plan *plan = lab_plan(l, machine, m->plan_count + 1, lab_current(m));
	m->plans[m->plan_count++] = plan;
	atomic_fetch_add(&plan->holder_count, 1);
	assert_null(worker_hand_plan(m->worker, plan));
}

/* --- start --- */

static void lab_listen(struct lab_machine *m, uint32_t machine)
{
	static const uint16_t ports[] = {15201, 15101, 15008};
	for (int kind = WIRE_LISTENER_OUTBOUND; kind <= WIRE_LISTENER_MESH; kind++) {
		struct address at = lab_mesh_address(machine);
		at.port = ports[kind];
		m->listeners[kind] = (struct proxy_listener){.kind = (enum wire_listener_kind)kind,
			.address = at,
			.fd = fake_listener()};
	}
	struct address mesh = lab_mesh_address(machine);
	fake_connect_listener(&mesh, m->listeners[WIRE_LISTENER_MESH].fd);
}

static void lab_start_machine(struct lab *l, uint32_t machine, const struct lab_options *options)
{
	struct lab_machine *m = &l->machines[machine];
	struct err err;
	lab_listen(m, machine);
	m->signer = fake_socket();
	fake_socket_packets(m->signer);
	m->metrics = metrics_new(LAB_SERIES_MAX);
	int ledger_fd = ledger_create(&err);
	if (ledger_fd < 0 || ledger_map(ledger_fd, &m->ledger, &err) < 0)
		fail_msg("%s", err.text);
	close(ledger_fd);
	m->plans[m->plan_count++] = lab_plan(l, machine, 1, NULL);
	atomic_fetch_add(&lab_current(m)->holder_count, 1);
	struct worker_setup setup = {
		.worker_count = 1,
		.seed = options->seed + machine,
		.listeners = m->listeners,
		.listener_count = ARRAY_LEN(m->listeners),
		.signer_fd = m->signer,
		.metrics = m->metrics,
		.ledger = m->ledger,
		.access = options->no_log ? NULL : &m->log,
		.plan = lab_current(m),
	};
	if (worker_new(&setup, &m->worker, &err) < 0)
		fail_msg("%s", err.text);
	worker_start(m->worker);
}

void lab_start(struct lab *l, const struct lab_options *options)
{
	*l = (struct lab){.machine_count = options->machine_count ? options->machine_count : 1,
		.node = options->node,
		.objects = options->objects,
		.outside = options->outside,
		.hosts = options->hosts,
		.keys = options->keys,
		.with_store = options->with_store,
		.serving = options->serving};
	for (unsigned i = 0; i < LAB_WORKLOAD_COUNT; i++)
		l->marks[i] = i;
	for (size_t i = 0; options->edits && i < LAB_EDITS_MAX; i++)
		l->edits[i] = options->edits[i];
	fake_init();
	fake_set_wall(CERTS_NOW * CLOCK_S);
	fake_chaos(options->chaos);
	for (uint32_t i = 0; i < l->machine_count; i++)
		lab_start_machine(l, i, options);
}

/* --- the keeper's side of signatures --- */

static void lab_sign_one(struct lab_machine *m, const struct wire_sign *question)
{
	struct wire_signed answer = {
		.head = {.magic = WIRE_MAGIC, .kind = WIRE_SIGNED}, .request = question->request};
	assert_int_equal(question->head.magic, WIRE_MAGIC);
	assert_int_equal(question->head.kind, WIRE_SIGN);
	assert_int_equal(question->algorithm, 0x0403);
	uint32_t number = question->key_number % LAB_RENEWED;
	assert_in_range(number, 1, PAIR_IDENTITY_COUNT);
	uint32_t key = m->signing == LAB_WRONG ? number % PAIR_IDENTITY_COUNT : number - 1;
	size_t len = sizeof(answer.bytes);
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	assert_true(EVP_DigestSignInit(digest, NULL, EVP_sha256(), NULL, lab_certs.leaf[key].key) &&
		    EVP_DigestSign(digest, answer.bytes, &len, question->bytes, question->len));
	EVP_MD_CTX_free(digest);
	answer.len = m->signing == LAB_REFUSES ? 0 : (uint32_t)len;
	fake_peer_send(m->signer, &answer, sizeof(answer));
	m->signed_count++;
}

static bool lab_sign(struct lab_machine *m)
{
	struct wire_sign question;
	struct str all = fake_peer_received(m->signer);
	if (m->signing == LAB_SILENT || all.len < sizeof(question))
		return false;
	char *copy = malloc(all.len);
	memcpy(copy, all.at, all.len);
	fake_peer_forget(m->signer);
	for (size_t at = 0; at + sizeof(question) <= all.len; at += sizeof(question)) {
		memcpy(&question, copy + at, sizeof(question));
		lab_sign_one(m, &question);
	}
	free(copy);
	return true;
}

/* --- workloads that serve --- */

/* "name:" before every line of an answer taints what a workload sends. */
static const char *lab_taint(int fd)
{
	struct address to = fake_connected_to(fd);
	for (unsigned i = LAB_SHOP; i < LAB_WORKLOAD_COUNT; i++) {
		struct address deliver = lab_deliver((enum lab_workload)i);
		if (address_equal(&to, &deliver))
			return i == LAB_LEDGER ? "ledger" : lab_rows[i].name;
	}
	return NULL;
}

static bool lab_serve_echo(struct lab_server *s)
{
	struct str got = fake_peer_received(s->fd);
	if (got.len > s->used) {
		char *copy = malloc(got.len - s->used);
		memcpy(copy, got.at + s->used, got.len - s->used);
		fake_peer_send(s->fd, copy, got.len - s->used);
		free(copy);
		s->used = got.len;
		return true;
	}
	if (fake_peer_saw_end(s->fd) && !s->ended) {
		s->ended = true;
		fake_peer_shutdown(s->fd);
		return true;
	}
	return false;
}

static const char *lab_find(struct str in, const char *what)
{
	return in.len ? memmem(in.at, in.len, what, strlen(what)) : NULL;
}

bool lab_holds_text(struct str haystack, const char *needle)
{
	return lab_find(haystack, needle);
}

/* The length of the first whole request, 0 when there is none yet. Bodies by length only. */
static size_t lab_request_len(struct str in)
{
	const char *end = lab_find(in, "\r\n\r\n");
	if (!end)
		return 0;
	struct str head = {in.at, (size_t)(end + 4 - in.at)};
	const char *length = lab_find(head, "Content-Length: ");
	size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
	return in.len >= head.len + body ? head.len + body : 0;
}

/* Answers with the workload's name and the request's last 16 bytes or fewer of path. */
static bool lab_serve_http(struct lab_server *s)
{
	struct str got = fake_peer_received(s->fd);
	struct str in = STR_NONE;
	if (got.len > s->used)
		in = (struct str){got.at + s->used, got.len - s->used};
	size_t len = lab_request_len(in);
	if (len == 0) {
		if (!fake_peer_saw_end(s->fd) || s->ended)
			return false;
		s->ended = true;
		fake_peer_shutdown(s->fd);
		return true;
	}
	const char *path = memchr(in.at, ' ', len);
	size_t path_len = path ? strcspn(path + 1, " \r\n?") : 0;
	char body[128], answer[512];
	int body_len = snprintf(body, sizeof(body), "%s:%.*s", lab_taint(s->fd),
		(int)(path_len < 64 ? path_len : 64), path ? path + 1 : "");
	bool head = in.at[0] == 'H';
	snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s",
		body_len, head ? "" : body);
	s->used += len;
	fake_peer_send_text(s->fd, answer);
	return true;
}

static void lab_find_servers(struct lab *l)
{
	for (; l->server_count < fake_opened_count(); l->server_count++) {
		assert_true(l->server_count < LAB_SERVERS_MAX);
		l->servers[l->server_count] =
			(struct lab_server){.fd = fake_opened(l->server_count)};
	}
}

void lab_leave_server(struct lab *l, int fd)
{
	lab_find_servers(l);
	for (uint32_t i = 0; i < l->server_count; i++)
		l->servers[i].is_left |= l->servers[i].fd == fd;
}

static bool lab_serve(struct lab *l)
{
	bool moved = false;
	if (l->serving == LAB_BY_HAND)
		return false;
	lab_find_servers(l);
	for (uint32_t i = 0; i < l->server_count; i++) {
		struct lab_server *s = &l->servers[i];
		if (s->is_left || !lab_taint(s->fd) || !fake_is_open(s->fd))
			continue;
		moved |= l->serving == LAB_ECHO ? lab_serve_echo(s) : lab_serve_http(s);
	}
	return moved;
}

/* --- turning --- */

/* The eventfd is a real one, on which the simulated kernel completes nothing by itself. */
static bool lab_wake(struct worker *w)
{
	uint64_t value = 0;
	if (!w->wake_read.armed)
		return false;
	if (w->wake_read.cancelled) {
		fake_fail(&w->wake_read, -ECANCELED);
		return true;
	}
	bool news = atomic_load(&w->next_plan) || (atomic_load(&w->drain_asked) && !w->draining);
	if (news)
		fake_complete_recv(&w->wake_read, &value, sizeof(value));
	return news;
}

static bool lab_turn(struct lab_machine *m)
{
	struct loop *loop = &m->worker->loop;
	uint64_t before = loop->ring.completion_count;
	bool woken = lab_wake(m->worker);
	worker_turn(m->worker);
	return woken || loop->step_count > 0 || loop->ring.completion_count != before;
}

bool lab_turns(struct lab *l, uint32_t count)
{
	for (uint32_t turn = 0; turn < count; turn++) {
		bool moved = false;
		for (uint32_t i = 0; i < l->machine_count; i++) {
			moved |= lab_turn(&l->machines[i]);
			moved |= lab_sign(&l->machines[i]);
		}
		moved |= lab_serve(l);
		if (!moved)
			return false;
	}
	return true;
}

void lab_pump(struct lab *l)
{
	if (lab_turns(l, LAB_TURNS_MAX))
		fail_msg("the lab is never quiet");
}

/* The time until the next timer, at most `ns`. */
static uint64_t lab_until_timer(const struct lab *l, uint64_t ns)
{
	for (uint32_t i = 0; i < l->machine_count; i++) {
		const struct loop *loop = &l->machines[i].worker->loop;
		for (uint32_t k = 0; k < loop->heap_count; k++) {
			uint64_t deadline = loop->heap[k]->deadline_ns;
			uint64_t left = deadline > loop->now_ns ? deadline - loop->now_ns : 1;
			if (left < ns)
				ns = left;
		}
	}
	return ns;
}

void lab_run(struct lab *l, uint64_t ns)
{
	lab_pump(l);
	while (ns > 0) {
		uint64_t step = lab_until_timer(l, ns);
		fake_advance(step);
		ns -= step;
		lab_pump(l);
	}
}

/* --- connections --- */

static int lab_dial_on(struct lab *l, uint32_t machine, enum wire_listener_kind kind,
	const struct address *original)
{
	const struct proxy_listener *at = &l->machines[machine].listeners[kind];
	int fd = fake_dial(at->fd);
	fake_set_local(fd, &at->address);
	fake_set_original_dst(fd, original);
	return fd;
}

int lab_dial_address(struct lab *l, enum lab_workload from, const struct address *to)
{
	int fd = lab_dial_on(l, 0, WIRE_LISTENER_OUTBOUND, to);
	fake_set_mark(fd, (uint32_t)from << LAB_MARK_SHIFT);
	return fd;
}

int lab_dial(struct lab *l, enum lab_workload from, enum lab_workload to)
{
	struct address address = lab_address(to);
	return lab_dial_address(l, from, &address);
}

int lab_dial_plain(struct lab *l, enum lab_workload to)
{
	struct address address = lab_address(to);
	return lab_dial_on(l, 0, WIRE_LISTENER_INBOUND, &address);
}

int lab_dial_mesh(struct lab *l, uint32_t machine)
{
	struct address address = lab_mesh_address(machine);
	return lab_dial_on(l, machine, WIRE_LISTENER_MESH, &address);
}

int lab_connected(const struct address *to, uint32_t index)
{
	for (uint32_t i = 0; i < fake_opened_count(); i++) {
		struct address at = fake_connected_to(fake_opened(i));
		if (address_equal(&at, to) && index-- == 0)
			return fake_opened(i);
	}
	return -1;
}

int lab_served(const struct lab *l, enum lab_workload workload, uint32_t index)
{
	struct address to = lab_deliver(workload);
	return lab_connected(&to, index);
}

int lab_got(const struct lab *l, enum lab_workload workload, uint32_t index)
{
	int fd = lab_served(l, workload, index);
	assert_int_not_equal(fd, -1);
	return fd;
}

void lab_say(struct lab *l, int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	lab_pump(l);
}

int lab_ask(struct lab *l, enum lab_workload from, enum lab_workload to, const char *text)
{
	int client = lab_dial(l, from, to);
	lab_say(l, client, text);
	return client;
}

/* --- looking --- */

struct worker *lab_worker(struct lab *l, uint32_t machine)
{
	return l->machines[machine].worker;
}

const struct metric_values *lab_values(struct lab *l, uint32_t machine)
{
	return lab_worker(l, machine)->values;
}

uint32_t lab_use(const struct lab *l, uint32_t machine, enum lab_workload workload)
{
	const struct plan *plan = lab_current(&l->machines[machine]);
	for (uint32_t i = 0; i < plan->snapshot->workload_count; i++) {
		if (plan->uses[i]->uid == LAB_UID_FIRST + (uint32_t)workload)
			return atomic_load(&plan->uses[i]->connection_count);
	}
	fail_msg("no such workload");
	return 0;
}

uint32_t lab_serving_count(const struct lab *l, uint32_t machine, enum lab_workload workload)
{
	const struct plan *plan = lab_current(&l->machines[machine]);
	for (uint32_t i = 0; i < plan->snapshot->workload_count; i++) {
		if (plan->snapshot->workloads[i].uid == LAB_UID_FIRST + (uint32_t)workload)
			return plan_serving(plan, i);
	}
	fail_msg("no such workload");
	return 0;
}

uint32_t lab_alive(struct lab *l, uint32_t machine, enum worker_task kind)
{
	uint32_t count = 0;
	LIST_EACH (&lab_worker(l, machine)->live, it)
		count += CONTAINER_OF(it, struct being, live)->task.kind == kind;
	return count;
}

const struct lab_entry *lab_last(const struct lab *l, uint32_t machine)
{
	const struct access_queue *log = &l->machines[machine].log;
	assert_true(log->count > 0);
	return &log->entries[log->count - 1];
}

void lab_expect_reason(const struct lab *l, uint32_t machine, const char *reason)
{
	assert_string_equal(lab_last(l, machine)->details, reason);
}

void lab_expect_received(int fd, const char *text)
{
	struct str got = fake_peer_received(fd);
	if (!str_eq(got, str_of(text)))
		fail_msg("received \"%.*s\" instead of \"%s\"", (int)got.len, got.at, text);
}

void lab_expect_holds(int fd, const char *text)
{
	struct str got = fake_peer_received(fd);
	if (!lab_find(got, text))
		fail_msg("no \"%s\" in \"%.*s\"", text, (int)got.len, got.at);
}

void lab_expect_lacks(int fd, const char *text)
{
	struct str got = fake_peer_received(fd);
	if (lab_find(got, text))
		fail_msg("\"%s\" in \"%.*s\"", text, (int)got.len, got.at);
}

/* --- the end --- */

void lab_drain(struct lab *l, uint32_t machine)
{
	worker_drain(lab_worker(l, machine));
}

static bool lab_ended(struct lab *l)
{
	bool ended = true;
	for (uint32_t i = 0; i < l->machine_count; i++)
		ended = worker_ended(l->machines[i].worker) && ended;
	return ended;
}

static void lab_expect_nothing_left(struct lab_machine *m)
{
	struct worker *w = m->worker;
	assert_int_equal(w->connection_count, 0);
	assert_int_equal(w->handshake_count, 0);
	assert_true(list_empty(&w->live));
	assert_int_equal(w->sessions.out_count, 0);
	assert_int_equal(w->carriers.out_count, 0);
	assert_int_equal(w->exchanges.out_count, 0);
	assert_int_equal(w->tunnels.out_count, 0);
	assert_int_equal(w->trunks.out_count, 0);
	assert_int_equal(w->channels.out_count, 0);
	assert_int_equal(w->upstreams.count, 0);
	assert_true(list_empty(&w->pools) && list_empty(&w->stale_pools));
	assert_int_equal(w->buffers.block_count, 0);
	assert_int_equal(w->loop.ring.blocks_out, 0);
	assert_int_equal(w->loop.heap_count, 0);
	assert_int_equal(atomic_load(&w->values->connections_active), 0);
	assert_int_equal(atomic_load(&w->values->channels_active), 0);
	assert_int_equal(atomic_load(&w->values->pool_idle), 0);
}

/* They outlive plans. */
static void lab_free_uses(const struct lab_machine *m)
{
	struct workload_use *use = lab_current(m)->last_use;
	while (use) {
		struct workload_use *before = use->before;
		assert_int_equal(use->connection_count + use->serving_count, 0);
		free(use);
		use = before;
	}
}

/* The same. */
static void lab_free_service_uses(struct service_use *use)
{
	while (use) {
		assert_int_equal(use->plan_count, 0);
		struct service_use *before = use->before;
		assert_true(breaker_is_unused(&use->breaker));
		free(use);
		use = before;
	}
}

static void lab_free_counts(struct limiter_counts *counts)
{
	while (counts) {
		struct limiter_counts *before = counts->before;
		free(counts->name);
		free(counts);
		counts = before;
	}
}

static void lab_finish_machine(struct lab_machine *m)
{
	lab_expect_nothing_left(m);
	worker_free(m->worker);
	lab_free_uses(m);
	struct service_use *last = lab_current(m)->last_service_use;
	struct limiter_counts *counts = lab_current(m)->last_counts;
	for (uint32_t i = 0; i < m->plan_count; i++)
		plan_free(m->plans[i]); /* asserts that nobody holds it any more */
	lab_free_service_uses(last);
	lab_free_counts(counts);
	metrics_free(m->metrics);
	ledger_unmap(m->ledger);
	free(m->log.entries);
	for (size_t i = 0; i < ARRAY_LEN(m->listeners); i++)
		socket_close(m->listeners[i].fd);
	socket_close(m->signer);
}

void lab_finish(struct lab *l)
{
	for (uint32_t i = 0; i < l->machine_count; i++)
		lab_drain(l, i);
	lab_pump(l);
	lab_run(l, LAB_DRAIN_TIMEOUT_NS); /* cuts what has not ended by itself */
	fake_release();
	lab_pump(l);
	for (int i = 0; i < 10 && !lab_ended(l); i++)
		lab_pump(l);
	assert_true(lab_ended(l));
	for (uint32_t i = 0; i < l->machine_count; i++)
		lab_finish_machine(&l->machines[i]);
	fake_done();
}
