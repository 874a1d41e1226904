/* SPDX-License-Identifier: Apache-2.0 */
#include "nodes.h"

#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define NODES_BEAT_NS	 (10 * CLOCK_MS) /* so exact is what is told of times */
#define NODES_PORT_FIRST 8000u
#define NODES_EXTRA_PORT 7999

/* --- beginning --- */

/* An open directory without a name: nothing can be kept in it, and nothing is found there. */
static int nodes_open_nowhere(struct err *err)
{
	char path[] = "/tmp/ringmain-fleet-XXXXXX";
	if (!mkdtemp(path))
		return err_set(err, errno, "no directory: %s", strerror(errno));
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err_set(err, errno, "no directory: %s", strerror(errno));
	rmdir(path);
	return fd;
}

static void nodes_fill_workload(struct nodes *n, struct conf_workload *w, uint32_t number)
{
	*w = (struct conf_workload){
		.service = arena_printf(&n->arena, "service-%04u", number % n->options.services),
		.version = STR("v1"),
		.user = STR("bench"),
		.uid = 1000 + number,
		.protocol = PROTOCOL_HTTP,
		.weight = 100,
	};
}

/* The configuration of a small machine, as conf_parse() would make it. */
static bool nodes_fill_conf(struct nodes *n, struct node *node, uint32_t number)
{
	const struct nodes_options *o = &n->options;
	struct conf *c = &node->conf;
	char ip[32];
	snprintf(
		ip, sizeof(ip), "10.%u.%u.%u", 1 + (number >> 16), number >> 8 & 255, number & 255);
	if (!address_parse(str_of(ip), &node->address))
		return false;
	c->node_name = arena_printf(&n->arena, "node-%05u", number);
	c->node_zone = STR("zone-1");
	c->node_addresses = &node->address;
	c->node_address_count = 1;
	c->trust_domain = str_of(o->mesh);
	c->state = (struct conf_state){
		.redis = &n->options.redis,
		.redis_count = 1,
		.dir = STR("/nowhere"),
		.lease_ms = o->lease_ms,
		.resync_ms = o->resync_ms,
		.timeout_ms = o->timeout_ms,
		.hold_ms = o->hold_ms,
		.hold_percent = o->hold_percent,
	};
	c->workloads = arena_take(&n->arena, (o->endpoints + 1) * sizeof(struct conf_workload));
	if (!c->workloads || !c->node_name.at)
		return false;
	for (uint32_t i = 0; i <= o->endpoints; i++) {
		struct conf_workload *w = &c->workloads[i];
		nodes_fill_workload(n, w, number * o->endpoints + i);
		w->port = i < o->endpoints ? (uint16_t)(NODES_PORT_FIRST + i) : NODES_EXTRA_PORT;
		if (!w->service.at)
			return false;
	}
	c->workload_count = o->endpoints;
	return true;
}

static int nodes_limits(struct nodes *n, struct err *err)
{
	const struct ring_limits limits = {
		.entries = 4096, .completions = 16384, .block_bytes = 4096, .block_count = 8192};
	int r = loop_init(&n->loop, &limits, clock_wall_ns() ^ (uint64_t)getpid() << 32, err);
	return r < 0 ? r : ring_enable(&n->loop.ring, err);
}

int nodes_init(struct nodes *n, const struct nodes_options *options, struct err *err)
{
	*n = (struct nodes){.options = *options, .dir_fd = -1};
	arena_init(&n->arena, (size_t)options->count * (options->endpoints + 2) * 512 + (1u << 20));
	bundle_init(&n->bundle);
	int r = nodes_limits(n, err);
	if (r == 0)
		r = bundle_add_file(&n->bundle, STR("operator"), options->operators, err);
	if (r < 0)
		return r;
	n->dir_fd = nodes_open_nowhere(err);
	n->at = calloc(options->count, sizeof(*n->at));
	if (n->dir_fd < 0 || !n->at)
		return n->at ? n->dir_fd : err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < options->count; i++) {
		struct node *node = &n->at[i];
		task_init(&node->task, NODES_KIND_NODE);
		node->nodes = n;
		if (!nodes_fill_conf(n, node, options->first + i))
			return err_set(err, ENOMEM, "out of memory");
	}
	task_init(&n->task, NODES_KIND_NODES);
	timer_init(&n->beat, &n->task);
	timer_set(&n->loop, &n->beat, n->loop.now_ns);
	n->begin_ns = n->loop.now_ns;
	return 0;
}

void nodes_done(struct nodes *n)
{
	timer_clear(&n->loop, &n->beat);
	for (uint32_t i = 0; i < n->options.count; i++)
		list_remove(&n->at[i].task.node);
	free(n->at);
	bundle_done(&n->bundle);
	arena_done(&n->arena);
	if (n->dir_fd >= 0)
		close(n->dir_fd);
	loop_done(&n->loop);
}

static void nodes_begin(struct nodes *n, struct node *node)
{
	struct err err;
	if (sync_new(&n->loop, NODES_KIND_SYNC, &node->task, &node->conf, &n->bundle, n->dir_fd,
		    &node->sync, &err) < 0) {
		fprintf(stderr, "fleet: %s\n", err.text);
		exit(1);
	}
	for (uint32_t i = 0; i < node->conf.workload_count; i++)
		sync_tell_health(node->sync, i, true);
}

/* As many as are due by now. */
static void nodes_begin_due(struct nodes *n)
{
	uint64_t due = n->options.count;
	if (n->options.pace > 0)
		due = 1 + (n->loop.now_ns - n->begin_ns) * n->options.pace / CLOCK_S;
	while (!n->is_over && n->begun_count < n->options.count && n->begun_count < due)
		nodes_begin(n, &n->at[n->begun_count++]);
}

/* --- what an observer sees --- */

static uint32_t nodes_count_down(const struct bundle *b)
{
	const struct bundle_item *item = NULL;
	uint32_t count = 0;
	while ((item = bundle_next(b, "node", item))) {
		struct record record;
		struct arena arena;
		struct err err;
		arena_init(&arena, 4 * RECORD_BYTES_MAX);
		if (record_parse(item->text, &arena, &record, &err) == 0)
			for (uint32_t i = 0; i < record.endpoint_count; i++)
				count += record.endpoints[i].health != ENDPOINT_UP;
		arena_done(&arena);
	}
	return count;
}

static void nodes_observe(struct node *node)
{
	struct bundle b;
	struct err err;
	uint64_t number;
	int fd = sync_picture(node->sync, &number);
	if (fd < 0)
		return;
	bundle_init(&b);
	if (bundle_from_memfd(&b, fd, &err) == 0)
		node->down_count = nodes_count_down(&b);
	else
		fprintf(stderr, "fleet: a picture is refused: %s\n", err.text);
	bundle_done(&b);
	close(fd);
}

static bool nodes_is_observer(const struct node *node)
{
	return node - node->nodes->at < node->nodes->options.observers;
}

/* --- waiting --- */

void nodes_wait(struct nodes *n, const struct nodes_wish *wish, uint64_t timeout_ns)
{
	n->wish = *wish;
	n->is_waiting = true;
	n->wish_end_ns = n->loop.now_ns + timeout_ns;
	for (uint32_t i = 0; i < n->options.count; i++)
		n->at[i].met_ns = 0;
	timer_set(&n->loop, &n->beat, n->loop.now_ns);
}

static bool nodes_is_as(uint64_t wish, uint64_t is)
{
	return wish == UINT64_MAX || wish == is;
}

static bool nodes_meets(const struct node *node)
{
	const struct nodes_wish *w = &node->nodes->wish;
	struct state_view v;
	if (!node->sync)
		return false;
	if (w->down != UINT64_MAX && nodes_is_observer(node) && node->down_count != w->down)
		return false;
	sync_view(node->sync, &v);
	return nodes_is_as(w->nodes, v.node_count) && nodes_is_as(w->endpoints, v.endpoint_count) &&
	       nodes_is_as(w->revision, v.revision) &&
	       (w->held == UINT64_MAX || v.held_count >= w->held) &&
	       (w->agreed_wall_ns == UINT64_MAX ||
		       (v.connected && v.agreed_wall_ns >= w->agreed_wall_ns));
}

bool nodes_waited(struct nodes *n)
{
	bool all = true;
	if (!n->is_waiting)
		return false;
	uint64_t monotonic_ns, wall_ns;
	ring_now(&n->loop.ring, &monotonic_ns, &wall_ns);
	for (uint32_t i = 0; i < n->options.count; i++) {
		struct node *node = &n->at[i];
		if (node->met_ns == 0 && nodes_meets(node))
			node->met_ns = monotonic_ns;
		all = all && node->met_ns != 0;
	}
	bool is_end = all || n->loop.now_ns >= n->wish_end_ns;
	n->is_waiting = !is_end;
	return is_end;
}

/* --- steps --- */

static void nodes_end(struct node *node)
{
	if (!node->sync || !sync_idle(node->sync))
		return;
	sync_free(node->sync);
	node->sync = NULL;
	for (uint32_t i = 0; i < node->nodes->options.count; i++) {
		if (node->nodes->at[i].sync)
			return;
	}
	node->nodes->is_over = true;
}

static void nodes_beat(struct nodes *n)
{
	if (!n->beat.fired)
		return;
	nodes_begin_due(n);
	if (n->begun_count < n->options.count || n->is_waiting)
		timer_set(&n->loop, &n->beat, n->loop.now_ns + NODES_BEAT_NS);
	else
		timer_clear(&n->loop, &n->beat);
}

void nodes_step(struct nodes *n, struct task *t)
{
	if (t->kind >= NODES_KIND_SYNC) {
		sync_step(t);
	} else if (t->kind == NODES_KIND_NODE) {
		struct node *node = CONTAINER_OF(t, struct node, task);
		if (node->sync && nodes_is_observer(node))
			nodes_observe(node);
		nodes_end(node);
	} else {
		nodes_beat(n);
	}
}

/* --- what is done to them --- */

int nodes_extra(struct nodes *n, uint32_t index, bool has_extra, struct err *err)
{
	struct node *node = &n->at[index];
	node->conf.workload_count = n->options.endpoints + has_extra;
	int r = sync_configure(node->sync, &node->conf, &n->bundle, err);
	if (r == 0 && has_extra)
		sync_tell_health(node->sync, n->options.endpoints, true);
	return r;
}

void nodes_tell_health(struct nodes *n, uint32_t index, bool up)
{
	sync_tell_health(n->at[index].sync, 0, up);
}

void nodes_close(struct nodes *n)
{
	n->is_waiting = false;
	n->is_over = n->begun_count == 0;
	for (uint32_t i = 0; i < n->begun_count; i++)
		sync_close(n->at[i].sync);
	n->begun_count = n->options.count;
}

/* --- looking --- */

struct nodes_span {
	const char *name;
	uint64_t least, most;
};

static void nodes_span_take(struct nodes_span *s, uint64_t value)
{
	s->least = value < s->least ? value : s->least;
	s->most = value > s->most ? value : s->most;
}

static void nodes_span_write(const struct nodes_span *s, struct json *j)
{
	json_key(j, s->name);
	json_open(j, '[');
	json_u64(j, s->least);
	json_u64(j, s->most);
	json_close(j, ']');
}

static void nodes_write_number(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

static void nodes_write_usage(struct json *j)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	uint64_t us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
		      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	nodes_write_number(j, "cpu_us", us);
	nodes_write_number(j, "rss_max_kb", (uint64_t)usage.ru_maxrss);
}

void nodes_view(const struct nodes *n, struct json *j)
{
	struct nodes_span spans[] = {{"nodes", UINT64_MAX, 0}, {"endpoints", UINT64_MAX, 0},
		{"objects", UINT64_MAX, 0}, {"revision", UINT64_MAX, 0}, {"held", UINT64_MAX, 0}};
	uint64_t connected = 0, in = 0, out = 0, refused = 0, reconnects = 0, resyncs = 0;
	char why[sizeof(((struct state_view *)0)->why)] = "";
	for (uint32_t i = 0; i < n->begun_count; i++) {
		struct state_view v;
		if (!n->at[i].sync)
			continue;
		sync_view(n->at[i].sync, &v);
		const uint64_t values[] = {
			v.node_count, v.endpoint_count, v.object_count, v.revision, v.held_count};
		for (size_t k = 0; k < ARRAY_LEN(spans); k++)
			nodes_span_take(&spans[k], values[k]);
		connected += v.connected;
		in += v.bytes_in;
		out += v.bytes_out;
		refused += v.refused_total;
		reconnects += v.reconnects_total;
		resyncs += v.resyncs_total;
		if (v.why[0])
			snprintf(why, sizeof(why), "%s", v.why);
	}
	for (size_t k = 0; k < ARRAY_LEN(spans); k++)
		nodes_span_write(&spans[k], j);
	nodes_write_number(j, "connected", connected);
	nodes_write_number(j, "bytes_in", in);
	nodes_write_number(j, "bytes_out", out);
	nodes_write_number(j, "refused", refused);
	nodes_write_number(j, "reconnects", reconnects);
	nodes_write_number(j, "resyncs", resyncs);
	nodes_write_usage(j);
	json_key(j, "why");
	json_str(j, str_of(why));
}
