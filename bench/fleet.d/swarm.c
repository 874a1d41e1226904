/* SPDX-License-Identifier: Apache-2.0 */
#include "swarm.h"

#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define SWARM_BEAT_NS	 (10 * CLOCK_MS) /* so exact is what is told of times */
#define SWARM_PORT_FIRST 8000u
#define SWARM_EXTRA_PORT 7999

/* --- beginning --- */

/* An open directory without a name: nothing can be kept in it, and nothing is found there. */
static int swarm_open_nowhere(struct err *err)
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

static void swarm_fill_workload(struct swarm *s, struct conf_workload *w, uint32_t number)
{
	*w = (struct conf_workload){
		.service = arena_printf(&s->arena, "service-%04u", number % s->options.services),
		.version = STR("v1"),
		.user = STR("bench"),
		.uid = 1000 + number,
		.protocol = PROTOCOL_HTTP,
		.weight = 100,
	};
}

/* The configuration of a small machine, as conf_parse() would make it. */
static bool swarm_fill_conf(struct swarm *s, struct node *node, uint32_t number)
{
	const struct swarm_options *o = &s->options;
	struct conf *c = &node->conf;
	char ip[32];
	snprintf(
		ip, sizeof(ip), "10.%u.%u.%u", 1 + (number >> 16), number >> 8 & 255, number & 255);
	if (!address_parse(str_of(ip), &node->address))
		return false;
	c->node_name = arena_printf(&s->arena, "node-%05u", number);
	c->node_zone = STR("zone-1");
	c->node_addresses = &node->address;
	c->node_address_count = 1;
	c->trust_domain = str_of(o->mesh);
	c->state = (struct conf_state){
		.redis = &s->options.redis,
		.redis_count = 1,
		.dir = STR("/nowhere"),
		.lease_ms = o->lease_ms,
		.resync_ms = o->resync_ms,
		.timeout_ms = o->timeout_ms,
		.hold_ms = o->hold_ms,
		.hold_percent = o->hold_percent,
	};
	c->workloads = arena_take(&s->arena, (o->endpoints + 1) * sizeof(struct conf_workload));
	if (!c->workloads || !c->node_name.at)
		return false;
	for (uint32_t i = 0; i <= o->endpoints; i++) {
		struct conf_workload *w = &c->workloads[i];
		swarm_fill_workload(s, w, number * o->endpoints + i);
		w->port = i < o->endpoints ? (uint16_t)(SWARM_PORT_FIRST + i) : SWARM_EXTRA_PORT;
		if (!w->service.at)
			return false;
	}
	c->workload_count = o->endpoints;
	return true;
}

static int swarm_limits(struct swarm *s, struct err *err)
{
	const struct ring_limits limits = {
		.entries = 4096, .completions = 16384, .block_bytes = 4096, .block_count = 8192};
	int r = loop_init(&s->loop, &limits, clock_wall_ns() ^ (uint64_t)getpid() << 32, err);
	return r < 0 ? r : ring_enable(&s->loop.ring, err);
}

int swarm_init(struct swarm *s, const struct swarm_options *options, struct err *err)
{
	*s = (struct swarm){.options = *options, .dir_fd = -1};
	arena_init(&s->arena, (size_t)options->count * (options->endpoints + 2) * 512 + (1u << 20));
	bundle_init(&s->bundle);
	int r = swarm_limits(s, err);
	if (r == 0)
		r = bundle_add_file(&s->bundle, STR("operator"), options->operators, err);
	if (r < 0)
		return r;
	s->dir_fd = swarm_open_nowhere(err);
	s->at = calloc(options->count, sizeof(*s->at));
	if (s->dir_fd < 0 || !s->at)
		return s->at ? s->dir_fd : err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < options->count; i++) {
		struct node *node = &s->at[i];
		task_init(&node->task, SWARM_KIND_NODE);
		node->swarm = s;
		if (!swarm_fill_conf(s, node, options->first + i))
			return err_set(err, ENOMEM, "out of memory");
	}
	task_init(&s->task, SWARM_KIND_NODES);
	timer_init(&s->beat, &s->task);
	timer_set(&s->loop, &s->beat, s->loop.now_ns);
	s->begin_ns = s->loop.now_ns;
	return 0;
}

void swarm_done(struct swarm *s)
{
	timer_clear(&s->loop, &s->beat);
	for (uint32_t i = 0; i < s->options.count; i++)
		list_remove(&s->at[i].task.node);
	free(s->at);
	bundle_done(&s->bundle);
	arena_done(&s->arena);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	loop_done(&s->loop);
}

static void swarm_begin(struct swarm *s, struct node *node)
{
	struct err err;
	if (sync_new(&s->loop, SWARM_KIND_SYNC, &node->task, &node->conf, &s->bundle, s->dir_fd,
		    NULL, &node->sync, &err) < 0) {
		fprintf(stderr, "fleet: %s\n", err.text);
		exit(1);
	}
	for (uint32_t i = 0; i < node->conf.workload_count; i++)
		sync_tell_health(node->sync, i, true);
}

/* As many as are due by now. */
static void swarm_begin_due(struct swarm *s)
{
	uint64_t due = s->options.count;
	if (s->options.pace > 0)
		due = 1 + (s->loop.now_ns - s->begin_ns) * s->options.pace / CLOCK_S;
	while (!s->is_over && s->begun_count < s->options.count && s->begun_count < due)
		swarm_begin(s, &s->at[s->begun_count++]);
}

/* --- what an observer sees --- */

static uint32_t swarm_count_down(const struct bundle *b)
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

static void swarm_observe(struct node *node)
{
	struct bundle b;
	struct err err;
	uint64_t number;
	int fd = sync_picture(node->sync, &number);
	if (fd < 0)
		return;
	bundle_init(&b);
	if (bundle_from_memfd(&b, fd, &err) == 0)
		node->down_count = swarm_count_down(&b);
	else
		fprintf(stderr, "fleet: a picture is refused: %s\n", err.text);
	bundle_done(&b);
	close(fd);
}

static bool swarm_is_observer(const struct node *node)
{
	return node - node->swarm->at < node->swarm->options.observers;
}

/* --- waiting --- */

void swarm_wait(struct swarm *s, const struct swarm_wish *wish, uint64_t timeout_ns)
{
	s->wish = *wish;
	s->is_waiting = true;
	s->wish_end_ns = s->loop.now_ns + timeout_ns;
	for (uint32_t i = 0; i < s->options.count; i++)
		s->at[i].met_ns = 0;
	timer_set(&s->loop, &s->beat, s->loop.now_ns);
}

static bool swarm_is_as(uint64_t wish, uint64_t is)
{
	return wish == UINT64_MAX || wish == is;
}

static bool swarm_meets(const struct node *node)
{
	const struct swarm_wish *w = &node->swarm->wish;
	struct state_view v;
	if (!node->sync)
		return false;
	if (w->down != UINT64_MAX && swarm_is_observer(node) && node->down_count != w->down)
		return false;
	sync_view(node->sync, &v);
	return swarm_is_as(w->nodes, v.node_count) && swarm_is_as(w->endpoints, v.endpoint_count) &&
	       swarm_is_as(w->revision, v.revision) &&
	       (w->held == UINT64_MAX || v.held_count >= w->held) &&
	       (w->agreed_wall_ns == UINT64_MAX ||
		       (v.connected && v.agreed_wall_ns >= w->agreed_wall_ns));
}

bool swarm_waited(struct swarm *s)
{
	bool all = true;
	uint64_t monotonic_ns, wall_ns;
	if (!s->is_waiting || s->loop.now_ns < s->look_ns)
		return false;
	s->look_ns = s->loop.now_ns + SWARM_BEAT_NS;
	ring_now(&s->loop.ring, &monotonic_ns, &wall_ns);
	for (uint32_t i = 0; i < s->options.count; i++) {
		struct node *node = &s->at[i];
		if (node->met_ns == 0 && swarm_meets(node))
			node->met_ns = monotonic_ns;
		all = all && node->met_ns != 0;
	}
	bool is_end = all || s->loop.now_ns >= s->wish_end_ns;
	s->is_waiting = !is_end;
	return is_end;
}

/* --- steps --- */

static void swarm_end(struct node *node)
{
	if (!node->sync || !sync_idle(node->sync))
		return;
	sync_free(node->sync);
	node->sync = NULL;
	for (uint32_t i = 0; i < node->swarm->options.count; i++) {
		if (node->swarm->at[i].sync)
			return;
	}
	node->swarm->is_over = true;
}

static void swarm_beat(struct swarm *s)
{
	if (!s->beat.fired)
		return;
	swarm_begin_due(s);
	if (s->begun_count < s->options.count || s->is_waiting)
		timer_set(&s->loop, &s->beat, s->loop.now_ns + SWARM_BEAT_NS);
	else
		timer_clear(&s->loop, &s->beat);
}

void swarm_step(struct swarm *s, struct task *t)
{
	if (t->kind >= SWARM_KIND_SYNC) {
		sync_step(t);
	} else if (t->kind == SWARM_KIND_NODE) {
		struct node *node = CONTAINER_OF(t, struct node, task);
		if (node->sync && swarm_is_observer(node))
			swarm_observe(node);
		swarm_end(node);
	} else {
		swarm_beat(s);
	}
}

/* --- what is done to them --- */

int swarm_extra(struct swarm *s, uint32_t index, bool has_extra, struct err *err)
{
	struct node *node = &s->at[index];
	node->conf.workload_count = s->options.endpoints + has_extra;
	int r = sync_configure(node->sync, &node->conf, &s->bundle, err);
	if (r == 0 && has_extra)
		sync_tell_health(node->sync, s->options.endpoints, true);
	return r;
}

void swarm_tell_health(struct swarm *s, uint32_t index, bool up)
{
	sync_tell_health(s->at[index].sync, 0, up);
}

void swarm_close(struct swarm *s)
{
	s->is_waiting = false;
	s->is_over = s->begun_count == 0;
	for (uint32_t i = 0; i < s->begun_count; i++)
		sync_close(s->at[i].sync);
	s->begun_count = s->options.count;
}

/* --- looking --- */

struct swarm_span {
	const char *name;
	uint64_t least, most;
};

static void swarm_span_take(struct swarm_span *s, uint64_t value)
{
	s->least = value < s->least ? value : s->least;
	s->most = value > s->most ? value : s->most;
}

static void swarm_span_write(const struct swarm_span *s, struct json *j)
{
	json_key(j, s->name);
	json_open(j, '[');
	json_u64(j, s->least);
	json_u64(j, s->most);
	json_close(j, ']');
}

static void swarm_write_number(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

static void swarm_write_usage(struct json *j)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	uint64_t us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
		      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	swarm_write_number(j, "cpu_us", us);
	swarm_write_number(j, "rss_max_kb", (uint64_t)usage.ru_maxrss);
}

void swarm_view(const struct swarm *s, struct json *j)
{
	struct swarm_span spans[] = {{"nodes", UINT64_MAX, 0}, {"endpoints", UINT64_MAX, 0},
		{"objects", UINT64_MAX, 0}, {"revision", UINT64_MAX, 0}, {"held", UINT64_MAX, 0}};
	uint64_t connected = 0, in = 0, out = 0, refused = 0, reconnects = 0, resyncs = 0;
	char why[sizeof(((struct state_view *)0)->why)] = "";
	for (uint32_t i = 0; i < s->begun_count; i++) {
		struct state_view v;
		if (!s->at[i].sync)
			continue;
		sync_view(s->at[i].sync, &v);
		const uint64_t values[] = {
			v.node_count, v.endpoint_count, v.object_count, v.revision, v.held_count};
		for (size_t k = 0; k < ARRAY_LEN(spans); k++)
			swarm_span_take(&spans[k], values[k]);
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
		swarm_span_write(&spans[k], j);
	swarm_write_number(j, "connected", connected);
	swarm_write_number(j, "bytes_in", in);
	swarm_write_number(j, "bytes_out", out);
	swarm_write_number(j, "refused", refused);
	swarm_write_number(j, "reconnects", reconnects);
	swarm_write_number(j, "resyncs", resyncs);
	swarm_write_usage(j);
	json_key(j, "why");
	json_str(j, str_of(why));
}
