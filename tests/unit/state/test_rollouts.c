/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts carried on by nodes with a store in memory, in virtual time. The calls that their
 * proxies would count are put into their ledgers by hand. */
#include "publisher.h"

#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/store_fake.h"
#include "ledger/figure_id.h"
#include "rollout/rollout.h"
#include "state/sync.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NODES_MAX  5
#define KIND_OWNER 200 /* those below are of sync */
#define LEASE_S	   15
#define STREAM	   KEY("rollout:orders")
#define SERVICE	   "services = ( { name = \"orders\"; } );\n"

struct node {
	struct task task;
	struct sync *sync; /* NULL: not running */
	struct conf conf;
	struct conf_workload workload;
	struct address address, redis;
	struct ledger *ledger;
	char name[16], dir[64];
	int dir_fd;
	struct bundle picture; /* the last one that was handed on */
	bool is_paused;	       /* its process stands still */
	uint32_t good, bad;    /* calls to v2 in each turn of 100 ms */
	uint32_t old_bad;      /* of 10 to v1 in the same time */
};

static struct {
	struct loop loop;
	struct publisher publisher;
	struct node nodes[NODES_MAX];
	uint64_t attempt;
} lab;

/* --- running --- */

static void node_take(struct node *n)
{
	uint64_t number;
	struct err err;
	int fd = n->sync ? sync_picture(n->sync, &number) : -1;
	if (fd < 0)
		return;
	bundle_done(&n->picture);
	bundle_init(&n->picture);
	assert_int_equal(bundle_from_memfd(&n->picture, fd, &err), 0);
	close(fd);
}

static struct node *node_of(const struct task *t)
{
	return t->kind == KIND_OWNER ? CONTAINER_OF((struct task *)t, struct node, task)
				     : &lab.nodes[t->kind / SYNC_KINDS - 1];
}

static void step(struct task *t)
{
	if (node_of(t)->is_paused)
		return;
	if (t->kind == KIND_OWNER)
		node_take(CONTAINER_OF(t, struct node, task));
	else
		sync_step(t);
}

static void node_calls(struct node *n)
{
	static const char *const versions[] = {"v1", "v2"};
	for (int v = 0; v < 2 && n->ledger; v++) {
		struct ledger_id id = ledger_figure_id(
			STR("orders"), STR("v1"), STR("v2"), lab.attempt, str_of(versions[v]));
		uint32_t count = v == 0 ? 10 : n->good + n->bad;
		uint32_t bad = v == 0 ? n->old_bad : n->bad;
		for (uint32_t i = 0; i < count; i++)
			assert_true(ledger_figure_add(
				n->ledger, &id, i < bad, 12 * CLOCK_MS, lab.loop.now_ns));
	}
}

static void pass_ms(uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += 100) {
		for (int i = 0; i < NODES_MAX; i++)
			node_calls(&lab.nodes[i]);
		fake_run(&lab.loop, step, NULL, (ms - at < 100 ? ms - at : 100) * CLOCK_MS);
	}
}

/* --- nodes --- */

static void node_start(struct node *n)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	assert_int_equal(
		bundle_add(&b, STR("operator"), STR("alice.pub"), STR(KNOWN_PUBLIC), &err), 0);
	int r = sync_new(&lab.loop, (uint16_t)(SYNC_KINDS * (1 + n - lab.nodes)), &n->task,
		&n->conf, &b, n->dir_fd, n->ledger, &n->sync, &err);
	if (r < 0)
		fail_msg("%s", err.text);
	bundle_done(&b);
	sync_tell_health(n->sync, 0, true);
}

static void node_make(struct node *n, int index)
{
	struct err err;
	snprintf(n->name, sizeof(n->name), "vm-%c", 'a' + index);
	snprintf(n->dir, sizeof(n->dir), "/tmp/ringmain-rollout-XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	n->dir_fd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	task_init(&n->task, KIND_OWNER);
	bundle_init(&n->picture);
	assert_true(address_parse(STR("10.77.0.1"), &n->address));
	n->address.ip[3] = (uint8_t)(index + 1);
	assert_true(address_parse(STR("10.77.0.100"), &n->redis));
	n->workload = (struct conf_workload){
		.service = STR("orders"), .version = STR("v1"), .port = 8080, .weight = 100};
	n->conf = (struct conf){.node_name = str_of(n->name),
		.node_addresses = &n->address,
		.node_address_count = 1,
		.trust_domain = STR(MESH),
		.workloads = &n->workload,
		.workload_count = 1,
		.state = {.redis = &n->redis,
			.redis_count = 1,
			.lease_ms = LEASE_S * 1000,
			.resync_ms = 300000,
			.timeout_ms = 5000,
			.hold_ms = 600000,
			.hold_percent = 30}};
	int fd = ledger_create(&err);
	assert_true(fd >= 0);
	assert_int_equal(ledger_map(fd, &n->ledger, &err), 0);
	close(fd);
}

/* The process is gone: nothing is said to anybody, what it has on disk stays. */
static void node_kill(struct node *n)
{
	if (!n->sync)
		return;
	n->is_paused = false;
	server_refuse("SET", "ERR killed");
	sync_close(n->sync);
	while (!sync_idle(n->sync))
		pass_ms(100);
	server_refuse(NULL, NULL);
	sync_free(n->sync);
	n->sync = NULL;
	list_remove(&n->task.node);
	n->task.ready = false;
}

static int setup(void **state)
{
	struct err err;
	fake_init();
	server_init();
	assert_int_equal(loop_init(&lab.loop,
				 &(struct ring_limits){.entries = 64, .completions = 128}, 7, &err),
		0);
	publisher_init(&lab.publisher);
	lab.attempt = 1;
	for (int i = 0; i < NODES_MAX; i++)
		node_make(&lab.nodes[i], i);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"state", "state.old", "state.torn", "drained"};
	server_up(true);
	server_stall(false);
	for (int i = 0; i < NODES_MAX; i++) {
		struct node *n = &lab.nodes[i];
		node_kill(n);
		bundle_done(&n->picture);
		for (size_t f = 0; f < ARRAY_LEN(names); f++)
			unlinkat(n->dir_fd, names[f], 0);
		close(n->dir_fd);
		rmdir(n->dir);
		ledger_unmap(n->ledger);
		n->ledger = NULL;
	}
	publisher_done(&lab.publisher);
	memset(lab.nodes, 0, sizeof(lab.nodes));
	loop_done(&lab.loop);
	server_done();
	fake_done();
	return 0;
}

/* --- what is published, and what is known --- */

static void publish(const char *order)
{
	char text[512];
	snprintf(text, sizeof(text),
		"rollouts = ( { service = \"orders\"; from = \"v1\"; to = \"v2\"; attempt = %u; "
		"steps = [ 5, 25, 100 ]; every = \"10s\"; success = 99; calls_min = 20; order = "
		"\"%s\"; } );\n",
		(unsigned)lab.attempt, order);
	publisher_put(&lab.publisher, "rollout/orders", text);
}

static void begin_with(int count, uint32_t good)
{
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	publish("run");
	for (int i = 0; i < count; i++) {
		node_start(&lab.nodes[i]);
		lab.nodes[i].good = good;
	}
	pass_ms(4000);
}

static void begin(int count)
{
	begin_with(count, 1);
}

static const char *seen(const struct node *n)
{
	const struct bundle_item *item = bundle_find(&n->picture, "rollout", STR("orders"));
	return item ? item->text.at : "";
}

static struct rollout_progress progress_of(const struct node *n)
{
	struct rollout_progress p;
	struct err err;
	if (rollout_progress_parse(str_of(seen(n)), &p, &err) < 0)
		fail_msg("%s: %s: %s", n->name, err.text, seen(n));
	return p;
}

static void assert_all(int count, enum rollout_state state, uint32_t step_index)
{
	for (int i = 0; i < count; i++) {
		if (!lab.nodes[i].sync || lab.nodes[i].is_paused)
			continue;
		struct rollout_progress p = progress_of(&lab.nodes[i]);
		if (p.state != state || p.step != step_index)
			fail_msg("%s: %s at step %u: " STR_FMT, lab.nodes[i].name,
				rollout_state_name(p.state), p.step, STR_ARG(p.why));
	}
}

static unsigned long term(void)
{
	const char *id = server_stream_id(STREAM);
	return id ? strtoul(id, NULL, 10) : 0;
}

/* The one that carries it on, as the others see it. */
static struct node *carrying(void)
{
	for (int i = 0; i < NODES_MAX; i++) {
		struct node *n = &lab.nodes[i];
		if (!n->sync || n->is_paused)
			continue;
		struct rollout_progress p = progress_of(n);
		for (int j = 0; j < NODES_MAX; j++) {
			if (str_eq(p.node, str_of(lab.nodes[j].name)))
				return &lab.nodes[j];
		}
	}
	fail_msg("nobody carries it on");
	return NULL;
}

/* How long until all are there; fails when a step is passed over. */
static uint64_t pass_to(int count, enum rollout_state state, uint32_t step_index)
{
	uint32_t last = progress_of(&lab.nodes[0]).step;
	for (uint64_t ms = 0; ms < 60000; ms += 100) {
		bool is_there = true;
		for (int i = 0; i < count; i++) {
			if (!lab.nodes[i].sync || lab.nodes[i].is_paused)
				continue;
			struct rollout_progress p = progress_of(&lab.nodes[i]);
			assert_true(p.step <= last + 1);
			last = p.step > last ? p.step : last;
			is_there = is_there && p.state == state && p.step == step_index;
		}
		if (is_there)
			return ms;
		pass_ms(100);
	}
	fail_msg("not there in a minute: %s", seen(&lab.nodes[0]));
	return 0;
}

/* --- tests --- */

static void test_a_good_version_goes_through_all_steps(void **state)
{
	begin(3);
	assert_all(3, ROLLOUT_STEPPING, 0);
	assert_int_equal(term(), 1);
	pass_to(3, ROLLOUT_STEPPING, 1);
	pass_to(3, ROLLOUT_STEPPING, 2);
	pass_to(3, ROLLOUT_DONE, 2);
	pass_ms(30000);
	assert_int_equal(term(), 1);
	assert_all(3, ROLLOUT_DONE, 2);
}

static void test_a_bad_version_goes_back(void **state)
{
	begin(3);
	pass_to(3, ROLLOUT_STEPPING, 1);
	lab.nodes[2].bad = 2; /* one node's callers alone see it */
	pass_to(3, ROLLOUT_ROLLED_BACK, 1);
	assert_non_null(strstr(seen(&lab.nodes[0]), "v2 served "));
}

static void test_it_is_held_while_both_are_bad(void **state)
{
	begin(3);
	for (int i = 0; i < 3; i++) {
		lab.nodes[i].bad = 1;
		lab.nodes[i].old_bad = 5;
	}
	pass_to(3, ROLLOUT_HELD, 0);
	for (int i = 0; i < 3; i++)
		lab.nodes[i].bad = lab.nodes[i].old_bad = 0;
	pass_to(3, ROLLOUT_STEPPING, 1);
}

static void test_the_operator_has_the_last_word(void **state)
{
	begin(3);
	publish("pause");
	pass_to(3, ROLLOUT_PAUSED, 0);
	pass_ms(30000);
	assert_all(3, ROLLOUT_PAUSED, 0);
	publish("run");
	pass_to(3, ROLLOUT_STEPPING, 1);
	publish("promote");
	pass_to(3, ROLLOUT_DONE, 1);
	publish("abort");
	pass_to(3, ROLLOUT_ROLLED_BACK, 1);
}

static void test_paused_before_it_begins(void **state)
{
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	publish("pause");
	node_start(&lab.nodes[0]);
	pass_ms(10000);
	assert_null(server_stream_id(STREAM));
	publish("run");
	pass_ms(3000);
	assert_all(1, ROLLOUT_STEPPING, 0);
}

static void test_another_attempt_begins_anew(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	lab.attempt = 2;
	publish("run");
	pass_ms(3000);
	assert_all(2, ROLLOUT_STEPPING, 0);
	assert_int_equal(progress_of(&lab.nodes[1]).attempt, 2);
	pass_to(2, ROLLOUT_DONE, 2);
	lab.attempt = 3;
	publish("run");
	pass_ms(4000);
	assert_all(2, ROLLOUT_STEPPING, 0);
}

static void test_another_carries_on_when_one_is_killed(void **state)
{
	begin(3);
	pass_to(3, ROLLOUT_STEPPING, 1);
	struct node *first = carrying();
	node_kill(first);
	pass_ms(8000);
	assert_ptr_not_equal(carrying(), first);
	assert_int_equal(term(), 2);
	pass_to(3, ROLLOUT_STEPPING, 2);
	pass_to(3, ROLLOUT_DONE, 2);
}

static void test_the_overtaken_cannot_write(void **state)
{
	begin(3);
	pass_to(3, ROLLOUT_STEPPING, 1);
	struct node *first = carrying();
	first->is_paused = true;
	pass_ms(8000);
	struct node *second = carrying();
	assert_ptr_not_equal(second, first);
	assert_int_equal(term(), 2);
	first->is_paused = false;
	loop_ready(&lab.loop, &first->task);
	pass_ms(4000);
	assert_ptr_equal(carrying(), second);
	assert_int_equal(term(), 2);
	pass_to(3, ROLLOUT_DONE, 2);
	assert_int_equal(term(), 2);
}

/* The one that was killed knows of the step what it had counted; who takes over begins it anew. */
static void test_a_step_begins_anew_with_who_carries_on(void **state)
{
	begin(3);
	pass_ms(5000);
	assert_all(3, ROLLOUT_STEPPING, 0);
	node_kill(carrying());
	pass_ms(8000);
	assert_all(3, ROLLOUT_STEPPING, 0);
	assert_true(pass_to(3, ROLLOUT_STEPPING, 1) > 3000);
}

static void test_it_stays_while_the_store_is_away(void **state)
{
	begin(3);
	pass_to(3, ROLLOUT_STEPPING, 1);
	server_up(false);
	pass_ms(60000);
	assert_all(3, ROLLOUT_STEPPING, 1);
	server_up(true);
	pass_to(3, ROLLOUT_STEPPING, 2);
	pass_to(3, ROLLOUT_DONE, 2);
}

static void test_what_the_store_has_lost_is_put_back(void **state)
{
	begin(3);
	pass_to(3, ROLLOUT_STEPPING, 1);
	server_delete(STREAM);
	pass_ms(3000);
	assert_all(3, ROLLOUT_STEPPING, 1);
	assert_true(term() > 1);
	pass_to(3, ROLLOUT_DONE, 2);
	unsigned long before = term();
	server_delete(STREAM);
	pass_ms(LEASE_S * 1000);
	assert_true(term() > before);
	assert_all(3, ROLLOUT_DONE, 2);
}

/* It would begin anew at v1. */
static void test_what_is_over_outlives_all_nodes_and_the_store(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_DONE, 2);
	pass_ms(5000);
	node_kill(&lab.nodes[0]);
	node_kill(&lab.nodes[1]);
	server_delete(STREAM);
	for (int i = 0; i < 2; i++) {
		bundle_done(&lab.nodes[i].picture);
		bundle_init(&lab.nodes[i].picture);
		node_start(&lab.nodes[i]);
	}
	pass_ms(10000);
	assert_all(2, ROLLOUT_DONE, 2);
	assert_int_equal(term(), 2);
}

/* A node that knows nothing has begun before those who know were there. */
static void test_those_who_know_win(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 2);
	server_up(false);
	pass_ms(1000);
	server_delete(STREAM);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 1\nfrom v1\nto v2\nstate stepping\nstep 0\nsince 1\n"
		    "node vm-e\nwhy begun\n"),
		STR("time"), STR("1")};
	assert_true(server_stream_say(STREAM, "1-0", fields, ARRAY_LEN(fields)));
	server_up(true);
	pass_ms(6000);
	assert_all(2, ROLLOUT_STEPPING, 2);
	assert_true(term() > 1);
}

static void test_garbage_is_overwritten(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	struct state_view view;
	sync_view(lab.nodes[0].sync, &view);
	uint64_t refused = view.refused_total;
	const struct str fields[] = {STR("progress"), STR("state done\n")};
	assert_true(server_stream_say(STREAM, "77-0", fields, ARRAY_LEN(fields)));
	server_publish(KEY("news"), STR("rollout orders"));
	pass_ms(3000);
	assert_all(2, ROLLOUT_STEPPING, 1);
	assert_true(term() > 77);
	sync_view(lab.nodes[0].sync, &view);
	assert_true(view.refused_total > refused);
	pass_to(2, ROLLOUT_DONE, 2);
}

static void test_an_absurd_number_is_said_with_its_cure(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 1\nfrom v1\nto v2\nstate done\nstep 2\nsince 1\n"
		    "node vm-e\nwhy because\n"),
		STR("time"), STR("1")};
	assert_true(server_stream_say(
		STREAM, "18446744073709551615-18446744073709551615", fields, ARRAY_LEN(fields)));
	pass_ms(20000);
	assert_all(2, ROLLOUT_STEPPING, 1);
	struct state_view view;
	sync_view(lab.nodes[0].sync, &view);
	assert_non_null(strstr(view.why, "DEL " STREAM));
	server_delete(STREAM);
	pass_to(2, ROLLOUT_DONE, 2);
	sync_view(lab.nodes[0].sync, &view);
	assert_string_equal(view.why, "");
}

/* The highest one that is believed: nobody writes what nobody would believe, and what is known of
 * it, on disk too, is no hindrance once the stream is deleted. */
static void test_the_last_number_is_said_with_its_cure(void **state)
{
	struct state_view view;
	begin(3);
	pass_to(3, ROLLOUT_STEPPING, 1);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 1\nfrom v1\nto v2\nstate stepping\nstep 1\nsince 1\n"
		    "node vm-e\nwhy because\n"),
		STR("time"), STR("1")};
	assert_true(server_stream_say(STREAM, "9007199254740992-0", fields, ARRAY_LEN(fields)));
	pass_ms(20000);
	assert_all(3, ROLLOUT_STEPPING, 1);
	assert_int_equal(term(), UINT64_C(1) << 53);
	sync_view(lab.nodes[0].sync, &view);
	assert_non_null(strstr(view.why, "DEL " STREAM));
	node_kill(&lab.nodes[2]);
	server_delete(STREAM);
	node_start(&lab.nodes[2]);
	pass_ms(5000);
	assert_true(term() < 10);
	assert_all(3, ROLLOUT_STEPPING, 1);
	pass_to(3, ROLLOUT_DONE, 2);
	for (int i = 0; i < 3; i++) {
		sync_view(lab.nodes[i].sync, &view);
		assert_string_equal(view.why, "");
	}
}

/* A node can say that it is at a step that is not one, but that is as good as nothing. */
static void test_a_step_that_the_rule_does_not_have_counts_for_nothing(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 1\nfrom v1\nto v2\nstate stepping\nstep 9\nsince 1\n"
		    "node vm-e\nwhy because\n"),
		STR("time"), STR("99999999999999")};
	assert_true(server_stream_say(STREAM, "50-0", fields, ARRAY_LEN(fields)));
	pass_ms(5000);
	assert_all(2, ROLLOUT_STEPPING, 1);
	assert_true(term() > 50);
	pass_to(2, ROLLOUT_DONE, 2);
}

static void test_an_entry_of_another_attempt_takes_nothing_away(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_DONE, 2);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 9\nfrom v1\nto v2\nstate stepping\nstep 0\nsince 1\n"
		    "node vm-e\nwhy because\n"),
		STR("time"), STR("1")};
	assert_true(server_stream_say(STREAM, "50-0", fields, ARRAY_LEN(fields)));
	server_publish(KEY("news"), STR("rollout orders"));
	pass_ms(10000);
	assert_all(2, ROLLOUT_DONE, 2);
	assert_int_equal(progress_of(&lab.nodes[1]).attempt, 1);
	assert_true(term() > 50); /* one that begins with nothing finds it done, too */
}

/* It comes back with the old rule, of which it knows that it is over. */
static void test_one_that_was_away_does_not_begin_the_old_attempt(void **state)
{
	begin(3);
	pass_to(3, ROLLOUT_DONE, 2);
	lab.nodes[2].is_paused = true;
	lab.attempt = 2;
	publish("run");
	pass_ms(4000);
	assert_all(2, ROLLOUT_STEPPING, 0);
	pass_to(2, ROLLOUT_STEPPING, 1);
	unsigned long before = term();
	lab.nodes[2].is_paused = false;
	loop_ready(&lab.loop, &lab.nodes[2].task);
	for (int i = 0; i < 50; i++) {
		pass_ms(100);
		assert_int_equal(progress_of(&lab.nodes[0]).attempt, 2);
		assert_int_equal(term(), before);
	}
	pass_to(3, ROLLOUT_DONE, 2);
	assert_int_equal(term(), before);
}

static void test_one_that_was_cut_off_does_not_begin_the_old_attempt(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_DONE, 2);
	node_kill(&lab.nodes[1]);
	lab.attempt = 2;
	publish("run");
	pass_ms(5000);
	assert_all(1, ROLLOUT_STEPPING, 0);
	pass_to(1, ROLLOUT_STEPPING, 1);
	unsigned long before = term();
	node_start(&lab.nodes[1]); /* with what it has on disk */
	pass_ms(3000);
	assert_all(2, ROLLOUT_STEPPING, 1);
	assert_int_equal(term(), before);
}

static void test_a_time_of_the_future_does_not_stop_it(void **state)
{
	begin(2);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 1\nfrom v1\nto v2\nstate stepping\nstep 0\nsince 1\n"
		    "node vm-e\nwhy because\n"),
		STR("time"), STR("99999999999999")};
	assert_true(server_stream_say(STREAM, "50-0", fields, ARRAY_LEN(fields)));
	pass_to(2, ROLLOUT_DONE, 2);
}

static void test_without_figures_it_stays(void **state)
{
	begin_with(3, 0);
	pass_ms(60000);
	assert_all(3, ROLLOUT_STEPPING, 0);
}

/* Its memory was begun anew, as with the keeper: it counts from zero. */
static void test_figures_that_begin_anew_count(void **state)
{
	struct err err;
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	for (int i = 0; i < 2; i++) {
		struct node *n = &lab.nodes[i];
		node_kill(n);
		ledger_unmap(n->ledger);
		int fd = ledger_create(&err);
		assert_int_equal(ledger_map(fd, &n->ledger, &err), 0);
		close(fd);
		node_start(n);
	}
	pass_to(2, ROLLOUT_DONE, 2);
}

static void test_hostile_figures_are_refused(void **state)
{
	begin(3);
	node_kill(&lab.nodes[2]);
	server_set(KEY("figures:vm-c"), STR("figures 1\nrollout orders 1\nto 5 x\n"), 0);
	pass_to(3, ROLLOUT_DONE, 2);
	uint64_t refused = 0;
	for (int i = 0; i < 2; i++) {
		struct state_view view;
		sync_view(lab.nodes[i].sync, &view);
		refused += view.refused_total;
	}
	assert_true(refused > 0);
}

/* As many rollouts make it; lines that are not known are passed over. */
static void test_long_figures_are_read_to_their_end(void **state)
{
	static char text[ROLLOUT_TOLD_BYTES_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), "figures 1\nrollout orders 1\n");
	begin(3);
	node_kill(&lab.nodes[2]);
	while (len < sizeof(text))
		text[len++] = 'x';
	text[len - 1] = '\n';
	server_set(KEY("figures:vm-c"), (struct str){text, len}, 0);
	pass_to(2, ROLLOUT_DONE, 2);
	for (int i = 0; i < 2; i++) {
		struct state_view view;
		sync_view(lab.nodes[i].sync, &view);
		assert_int_equal(view.refused_total, 0);
	}
}

static void test_the_rule_goes_and_with_it_what_is_known(void **state)
{
	begin(2);
	publisher_put(&lab.publisher, "rollout/orders", NULL);
	pass_ms(2000);
	assert_string_equal(seen(&lab.nodes[0]), "");
	assert_string_equal(seen(&lab.nodes[1]), "");
	unsigned long before = term();
	pass_ms(20000);
	assert_int_equal(term(), before);
}

/* Nodes that say no more than that they are there. */
static void fill(int count)
{
	for (int i = 0; i < count; i++) {
		char key[64], text[128];
		snprintf(key, sizeof(key), KEY("node:x%05d"), i);
		snprintf(text, sizeof(text), "ringmain 1\nnode x%05d\nstart 5\nnumber 1\n", i);
		server_set(key, str_of(text), 0);
		snprintf(key, sizeof(key), KEY("lease:x%05d"), i);
		server_set(key, STR("5 1 0"), 3600000);
	}
}

/* The hint is lost: it must not run on for as long as many nodes would take to look in turn. */
static void test_a_rollback_is_seen_without_a_hint_among_many(void **state)
{
	fill(2000);
	begin_with(2, 0);
	pass_ms(60000);
	assert_all(2, ROLLOUT_STEPPING, 0);
	const struct str fields[] = {STR("progress"),
		STR("rollout 1\nattempt 1\nfrom v1\nto v2\nstate rolled-back\nstep 0\nsince 1\n"
		    "node vm-e\nwhy because\n"),
		STR("time"), STR("1")};
	assert_true(server_stream_say(STREAM, "50-0", fields, ARRAY_LEN(fields)));
	pass_ms(35000);
	assert_all(2, ROLLOUT_ROLLED_BACK, 0);
}

/* Its text may be what we know: others may not, for the answer alone was lost. */
static void test_each_term_is_told(void **state)
{
	begin_with(1, 0);
	pass_ms(10000);
	uint32_t before = server_count("PUBLISH");
	server_up(false);
	pass_ms(1000);
	server_up(true);
	pass_ms(1000);
	assert_int_equal(term(), 2);
	assert_int_equal(server_count("PUBLISH"), before + 2);
}

/* It takes the beat of many for silence. */
static void test_who_does_not_know_the_nodes_takes_nothing(void **state)
{
	fill(2000);
	begin_with(1, 0);
	pass_ms(60000);
	unsigned long before = term();
	assert_true(before > 0);
	server_refuse("SCAN", "ERR not now");
	node_start(&lab.nodes[1]);
	pass_ms(60000);
	assert_int_equal(term(), before);
	server_refuse(NULL, NULL);
	pass_ms(60000);
	assert_int_equal(term(), before);
	node_kill(&lab.nodes[0]);
	pass_ms(120000);
	assert_true(term() > before);
}

static void test_nothing_is_told_of_what_is_over(void **state)
{
	begin(2);
	assert_non_null(server_get(KEY("figures:vm-a")));
	pass_to(2, ROLLOUT_DONE, 2);
	pass_ms(20000);
	assert_null(server_get(KEY("figures:vm-a")));
	assert_null(server_get(KEY("figures:vm-b")));
	lab.attempt = 2;
	publish("run");
	pass_ms(3000);
	assert_non_null(server_get(KEY("figures:vm-a")));
	pass_to(2, ROLLOUT_DONE, 2);
}

/* Anybody in the mesh may send them. */
static void test_hints_without_end_stop_nothing(void **state)
{
	begin(2);
	for (int i = 0; i < 350; i++) {
		server_publish(KEY("news"), STR("rollout orders"));
		pass_ms(100);
	}
	pass_ms(3000);
	assert_all(2, ROLLOUT_DONE, 2);
}

/* Nobody knows whether its rule is the newest. */
static void test_without_agreed_objects_nobody_carries_on(void **state)
{
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	server_delete(KEY("head"));
	pass_ms(60000);
	assert_all(2, ROLLOUT_STEPPING, 1);
}

static void test_a_refused_write_is_told(void **state)
{
	begin(2);
	server_refuse("XADD", "OOM command not allowed when used memory > 'maxmemory'.");
	pass_ms(30000);
	assert_all(2, ROLLOUT_STEPPING, 0);
	struct state_view view;
	sync_view(carrying()->sync, &view);
	assert_non_null(strstr(view.why, "OOM"));
	server_refuse(NULL, NULL);
	pass_to(2, ROLLOUT_DONE, 2);
	for (int i = 0; i < 2; i++) {
		sync_view(lab.nodes[i].sync, &view);
		assert_string_equal(view.why, "");
	}
}

/* As one does that was trimmed to nothing: its last number is high, and nobody sees it. */
static void test_a_stream_that_takes_nothing_is_tried_slowly(void **state)
{
	struct state_view view;
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	server_delete(STREAM);
	server_refuse("XADD", STORE_FAKE_STALE);
	uint32_t before = server_count("XADD");
	for (int i = 0; i < 200; i++) {
		server_publish(KEY("news"), STR("rollout orders"));
		pass_ms(100);
	}
	uint32_t count = server_count("XADD") - before;
	assert_true(count > 10 && count <= 2 * 30);
	assert_all(2, ROLLOUT_STEPPING, 1);
	for (int i = 0; i < 2; i++) {
		sync_view(lab.nodes[i].sync, &view);
		assert_non_null(strstr(view.why, "DEL " STREAM));
	}
	server_refuse(NULL, NULL);
	pass_to(2, ROLLOUT_DONE, 2);
	for (int i = 0; i < 2; i++) {
		sync_view(lab.nodes[i].sync, &view);
		assert_string_equal(view.why, "");
	}
}

/* One entry of a hundred megabytes would be enough. */
static void test_a_stream_that_ends_the_connection_is_left_alone(void **state)
{
	struct state_view view;
	begin(2);
	pass_to(2, ROLLOUT_STEPPING, 1);
	server_break("XREVRANGE");
	pass_ms(10000);
	publisher_put(&lab.publisher, "service/web", "services = ( { name = \"web\"; } );\n");
	for (int i = 0; i < 100; i++) {
		server_publish(KEY("news"), STR("rollout orders"));
		pass_ms(100);
	}
	assert_all(2, ROLLOUT_STEPPING, 1);
	for (int i = 0; i < 2; i++) {
		sync_view(lab.nodes[i].sync, &view);
		assert_true(view.connected);
		assert_int_equal(view.revision, lab.publisher.revision);
		assert_int_equal(view.reconnects_total, 1);
		assert_non_null(strstr(view.why, "DEL " STREAM));
	}
	server_break(NULL);
	server_delete(STREAM);
	pass_ms(300000);
	pass_to(2, ROLLOUT_DONE, 2);
	for (int i = 0; i < 2; i++) {
		sync_view(lab.nodes[i].sync, &view);
		assert_string_equal(view.why, "");
	}
}

static void test_a_refused_reading_is_told(void **state)
{
	begin(2);
	server_refuse("XREVRANGE", "NOPERM this user has no permissions");
	pass_ms(30000);
	struct state_view view;
	sync_view(lab.nodes[0].sync, &view);
	assert_non_null(strstr(view.why, "NOPERM"));
	server_refuse(NULL, NULL);
	pass_ms(60000);
	assert_all(2, ROLLOUT_DONE, 2);
	sync_view(lab.nodes[0].sync, &view);
	assert_string_equal(view.why, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_version_goes_through_all_steps),
		TEST(a_bad_version_goes_back),
		TEST(it_is_held_while_both_are_bad),
		TEST(the_operator_has_the_last_word),
		TEST(paused_before_it_begins),
		TEST(another_attempt_begins_anew),
		TEST(another_carries_on_when_one_is_killed),
		TEST(the_overtaken_cannot_write),
		TEST(a_step_begins_anew_with_who_carries_on),
		TEST(it_stays_while_the_store_is_away),
		TEST(what_the_store_has_lost_is_put_back),
		TEST(what_is_over_outlives_all_nodes_and_the_store),
		TEST(those_who_know_win),
		TEST(garbage_is_overwritten),
		TEST(an_absurd_number_is_said_with_its_cure),
		TEST(the_last_number_is_said_with_its_cure),
		TEST(a_step_that_the_rule_does_not_have_counts_for_nothing),
		TEST(an_entry_of_another_attempt_takes_nothing_away),
		TEST(one_that_was_away_does_not_begin_the_old_attempt),
		TEST(one_that_was_cut_off_does_not_begin_the_old_attempt),
		TEST(a_time_of_the_future_does_not_stop_it),
		TEST(without_figures_it_stays),
		TEST(figures_that_begin_anew_count),
		TEST(hostile_figures_are_refused),
		TEST(long_figures_are_read_to_their_end),
		TEST(the_rule_goes_and_with_it_what_is_known),
		TEST(a_rollback_is_seen_without_a_hint_among_many),
		TEST(each_term_is_told),
		TEST(who_does_not_know_the_nodes_takes_nothing),
		TEST(nothing_is_told_of_what_is_over),
		TEST(hints_without_end_stop_nothing),
		TEST(without_agreed_objects_nobody_carries_on),
		TEST(a_refused_write_is_told),
		TEST(a_stream_that_takes_nothing_is_tried_slowly),
		TEST(a_stream_that_ends_the_connection_is_left_alone),
		TEST(a_refused_reading_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
