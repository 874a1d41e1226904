/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes in step with a store in memory, in virtual time. */
#include "publisher.h"

#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/store_fake.h"
#include "state/sync.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NODES_MAX  12
#define KIND_OWNER 200 /* those below are of sync */
#define LEASE_S	   15
#define SERVICE	   "services = ( { name = \"orders\"; } );\n"

struct node {
	struct task task;
	struct sync *sync; /* NULL: not running */
	struct conf conf;
	struct conf_workload workload;
	struct address address;
	char name[16], dir[64];
	int dir_fd;
	struct ledger *ledger;
	struct bundle picture; /* the last one that was handed on */
	uint32_t picture_count;
	bool is_unchecked; /* no check has a result when it starts */
};

static struct {
	struct loop loop;
	struct publisher publisher;
	struct node nodes[NODES_MAX];
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
	n->picture_count++;
	close(fd);
}

static void step(struct task *t)
{
	if (t->kind == KIND_OWNER)
		node_take(CONTAINER_OF(t, struct node, task));
	else
		sync_step(t);
}

static void pass_ms(uint64_t ms)
{
	fake_run(&lab.loop, step, NULL, ms * CLOCK_MS);
}

static void pass_s(uint64_t s)
{
	pass_ms(1000 * s);
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
	if (!n->is_unchecked)
		sync_tell_health(n->sync, 0, true);
}

static void node_make(struct node *n, int index)
{
	struct address redis;
	struct err err;
	snprintf(n->name, sizeof(n->name), "vm-%c", 'a' + index);
	snprintf(n->dir, sizeof(n->dir), "/tmp/ringmain-sync-XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	n->dir_fd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ledger_fd = ledger_create(&err);
	assert_int_equal(ledger_map(ledger_fd, &n->ledger, &err), 0);
	close(ledger_fd);
	task_init(&n->task, KIND_OWNER);
	bundle_init(&n->picture);
	assert_true(address_parse(STR("10.77.0.1"), &n->address));
	n->address.ip[3] = (uint8_t)(index + 1);
	assert_true(address_parse(STR("10.77.0.100"), &redis));
	static struct address server_address;
	server_address = redis;
	n->workload = (struct conf_workload){
		.service = STR("orders"), .version = STR("v1"), .port = 8080, .weight = 100};
	n->conf = (struct conf){.node_name = str_of(n->name),
		.node_addresses = &n->address,
		.node_address_count = 1,
		.trust_domain = STR(MESH),
		.workloads = &n->workload,
		.workload_count = 1,
		.state = {.redis = &server_address,
			.redis_count = 1,
			.lease_ms = LEASE_S * 1000,
			.resync_ms = 300000,
			.timeout_ms = 5000,
			.hold_ms = 600000,
			.hold_percent = 30}};
}

/* The process is killed: nothing is said to anybody. */
static void node_kill(struct node *n)
{
	if (!n->sync)
		return;
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

static void node_leave(struct node *n)
{
	sync_close(n->sync);
	while (!sync_idle(n->sync))
		pass_ms(1);
	sync_free(n->sync);
	n->sync = NULL;
}

static void remove_files(struct node *n)
{
	static const char *const names[] = {"state", "state.old", "state.torn", "drained"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlinkat(n->dir_fd, names[i], 0);
	close(n->dir_fd);
	ledger_unmap(n->ledger);
	rmdir(n->dir);
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
	for (int i = 0; i < NODES_MAX; i++)
		node_make(&lab.nodes[i], i);
	return 0;
}

static int teardown(void **state)
{
	server_up(true);
	server_stall(false);
	for (int i = 0; i < NODES_MAX; i++) {
		node_kill(&lab.nodes[i]);
		bundle_done(&lab.nodes[i].picture);
		remove_files(&lab.nodes[i]);
	}
	publisher_done(&lab.publisher);
	memset(lab.nodes, 0, sizeof(lab.nodes));
	loop_done(&lab.loop);
	server_done();
	fake_done();
	return 0;
}

/* --- what a node knows --- */

static const char *seen(const struct node *n, const char *kind, const char *name)
{
	const struct bundle_item *item = bundle_find(&n->picture, kind, str_of(name));
	return item ? item->text.at : NULL;
}

static bool sees_up(const struct node *n, const char *name)
{
	const char *text = seen(n, "node", name);
	return text && strstr(text, "endpoint orders v1 up 100 ");
}

static struct state_view view_of(const struct node *n)
{
	struct state_view view;
	sync_view(n->sync, &view);
	return view;
}

static void start_nodes(int count)
{
	for (int i = 0; i < count; i++)
		node_start(&lab.nodes[i]);
	pass_s(3);
}

static void assert_all_see(int count, const char *name, bool is_up)
{
	for (int i = 0; i < count; i++) {
		if (lab.nodes[i].sync && sees_up(&lab.nodes[i], name) != is_up)
			fail_msg("%s %s %s", lab.nodes[i].name, is_up ? "misses" : "still sees",
				name);
	}
}

/* --- discovery --- */

static void test_nodes_find_each_other(void **state)
{
	start_nodes(2);
	assert_all_see(2, "vm-a", true);
	assert_all_see(2, "vm-b", true);
	struct state_view view = view_of(&lab.nodes[0]);
	assert_true(view.connected && view.loaded && view.told);
	assert_int_equal(view.node_count, 2);
	assert_int_equal(view.endpoint_count, 2);
	assert_string_equal(view.why, "");
}

static void test_a_change_is_seen_at_once(void **state)
{
	start_nodes(3);
	sync_tell_health(lab.nodes[1].sync, 0, false);
	pass_ms(300);
	assert_non_null(strstr(seen(&lab.nodes[0], "node", "vm-b"), "endpoint orders v1 down "));
	sync_tell_health(lab.nodes[1].sync, 0, true);
	pass_ms(300);
	assert_all_see(3, "vm-b", true);
}

static void test_who_leaves_is_gone_at_once(void **state)
{
	start_nodes(3);
	node_leave(&lab.nodes[1]);
	pass_ms(300);
	assert_all_see(3, "vm-b", false);
	pass_s(2 * LEASE_S);
	assert_null(seen(&lab.nodes[0], "node", "vm-b"));
}

static void test_a_late_hint_is_made_up_for(void **state)
{
	start_nodes(2);
	/* Written by a node whose news nobody heard. */
	server_set(KEY("node:vm-q"),
		STR("ringmain 1\nnode vm-q\nstart 5\nnumber 1\nversion 0.1.0\nrevision 0\n"
		    "endpoint orders v1 up 100 10.77.0.99:8080\n"),
		0);
	server_set(KEY("lease:vm-q"), STR("5 1 0"), 3600000);
	pass_s(400);
	assert_all_see(2, "vm-q", true);
}

/* As one whose clock was ahead, or whose password somebody else had. */
static void test_a_record_from_the_future_is_outlived(void **state)
{
	start_nodes(3);
	server_set(KEY("node:vm-q"),
		STR("ringmain 1\nnode vm-q\nstart 18446744073709551615\nnumber 9\n"
		    "endpoint orders v1 down 100 10.77.0.99:8080\n"),
		0);
	server_set(KEY("lease:vm-q"), STR("18446744073709551615 9 0"), 3600000);
	server_publish(KEY("news"), STR("node vm-q"));
	pass_s(2 * LEASE_S);
	assert_non_null(seen(&lab.nodes[0], "node", "vm-q"));
	assert_all_see(3, "vm-q", false);
	server_set(KEY("node:vm-q"),
		STR("ringmain 1\nnode vm-q\nstart 5\nnumber 1\n"
		    "endpoint orders v1 up 100 10.77.0.99:8080\n"),
		0);
	server_set(KEY("lease:vm-q"), STR("5 1 0"), 3600000);
	server_publish(KEY("news"), STR("node vm-q"));
	pass_s(2 * LEASE_S);
	assert_all_see(3, "vm-q", true);
}

static void test_who_falls_silent_is_gone_after_its_lease(void **state)
{
	start_nodes(5);
	pass_s(2 * LEASE_S);
	node_kill(&lab.nodes[2]);
	pass_s(LEASE_S / 2);
	assert_all_see(5, "vm-c", true);
	pass_s(LEASE_S + LEASE_S);
	assert_all_see(5, "vm-c", false);
	assert_int_equal(view_of(&lab.nodes[0]).held_count, 0);
}

/* As a machine that was paused, and goes on as if nothing had been. */
static void test_who_comes_back_is_seen_at_once(void **state)
{
	start_nodes(5);
	pass_s(2 * LEASE_S);
	for (int i = 0; i < 100 * 2 * LEASE_S; i++) {
		server_delete(KEY("lease:vm-c"));
		pass_ms(10);
	}
	assert_false(sees_up(&lab.nodes[0], "vm-c"));
	pass_s(LEASE_S / 2);
	assert_all_see(5, "vm-c", true);
}

static void test_very_many_that_fall_silent_are_held(void **state)
{
	start_nodes(10);
	pass_s(2 * LEASE_S);
	for (int i = 4; i < 10; i++)
		node_kill(&lab.nodes[i]);
	pass_s(4 * LEASE_S);
	assert_all_see(4, "vm-j", true);
	assert_int_equal(view_of(&lab.nodes[0]).held_count, 6);
	/* Back in time: as if nothing had been. */
	node_start(&lab.nodes[9]);
	pass_s(2 * LEASE_S);
	assert_int_equal(view_of(&lab.nodes[0]).held_count, 5);
	pass_s(600);
	assert_all_see(4, "vm-i", false);
	assert_all_see(4, "vm-j", true);
	assert_int_equal(view_of(&lab.nodes[0]).held_count, 0);
}

/* A node that is there in the store only, until its lease ends. */
static void ghost_make(const char *name, uint64_t lease_ms)
{
	char key[64], text[160];
	snprintf(text, sizeof(text),
		"ringmain 1\nnode %s\nstart 5\nnumber 1\n"
		"endpoint orders v1 up 100 10.77.1.1:8080\n",
		name);
	snprintf(key, sizeof(key), KEY("node:%s"), name);
	server_set(key, str_of(text), 0);
	snprintf(key, sizeof(key), KEY("lease:%s"), name);
	server_set(key, STR("5 1 0"), lease_ms);
	snprintf(text, sizeof(text), "node %s", name);
	server_publish(KEY("news"), str_of(text));
}

/* As the machines of a rack: their neighbours by name are gone with them, so that few are left who
 * notice, and these notice a few at a time. */
static void test_very_many_in_a_row_are_held(void **state)
{
	char name[16];
	start_nodes(12);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "vm-c%02d", i);
		ghost_make(name, 3 * LEASE_S * 1000);
	}
	pass_s(2 * LEASE_S);
	assert_all_see(12, "vm-c00", true);
	assert_all_see(12, "vm-c39", true);
	pass_s(4 * LEASE_S);
	assert_all_see(12, "vm-c39", true);
	assert_int_equal(view_of(&lab.nodes[0]).held_count, 40);
	pass_s(600);
	assert_all_see(12, "vm-c00", false);
	assert_all_see(12, "vm-c39", false);
	assert_all_see(12, "vm-a", true);
}

static void test_a_broken_record_is_refused_and_the_others_stay(void **state)
{
	start_nodes(2);
	server_set(KEY("node:vm-z"), STR("ringmain 1\nnode vm-a\nstart 1\nnumber 1\n"), 0);
	server_set(KEY("lease:vm-z"), STR("1 1 0"), 3600000);
	server_publish(KEY("news"), STR("node vm-z"));
	pass_s(1);
	assert_null(seen(&lab.nodes[0], "node", "vm-z"));
	assert_all_see(2, "vm-b", true);
	assert_true(view_of(&lab.nodes[0]).refused_total > 0);
}

static void test_one_who_cries_wolf_costs_a_look_at_a_time(void **state)
{
	start_nodes(2);
	uint32_t before = server_count("GETRANGE");
	for (int i = 0; i < 5000; i++) {
		char text[32];
		snprintf(text, sizeof(text), "node x%d", i);
		server_publish(KEY("news"), str_of(text));
	}
	pass_ms(500);
	assert_true(server_count("GETRANGE") - before < 20);
}

/* Of a stolen node: what it writes is read by all. */
static void test_a_huge_record_is_refused_and_never_read_whole(void **state)
{
	size_t size = 10 << 20;
	char *huge = malloc(size);
	assert_non_null(huge);
	memset(huge, 'x', size);
	start_nodes(2);
	server_set(KEY("node:vm-z"), (struct str){huge, size}, 0);
	server_set(KEY("lease:vm-z"), STR("1 1 0"), 3600000);
	server_set(KEY("lease:vm-y"), (struct str){huge, size}, 3600000);
	server_publish(KEY("news"), STR("node vm-z"));
	server_publish(KEY("news"), STR("node vm-y"));
	pass_s(1);
	assert_null(seen(&lab.nodes[0], "node", "vm-z"));
	assert_true(view_of(&lab.nodes[0]).refused_total > 0);
	sync_tell_health(lab.nodes[1].sync, 0, false);
	pass_s(1);
	assert_all_see(1, "vm-b", false);
	pass_s(400);
	assert_true(server_longest() <= RECORD_BYTES_MAX + 1);
	assert_int_equal(view_of(&lab.nodes[0]).node_count, 2);
	free(huge);
}

static void test_a_list_of_nodes_that_does_not_end_is_given_up(void **state)
{
	start_nodes(2);
	server_scan_endless(true);
	pass_s(400);
	assert_non_null(strstr(view_of(&lab.nodes[0]).why, "list of nodes does not end"));
	assert_in_range(server_count("SCAN"), 1000, 60000);
	assert_all_see(2, "vm-b", true);
	server_scan_endless(false);
	pass_s(700);
	assert_string_equal(view_of(&lab.nodes[0]).why, "");
}

static void test_names_that_are_none_are_passed_over(void **state)
{
	start_nodes(2);
	server_publish(KEY("news"), STR("node ../../x"));
	server_publish(KEY("news"), STR("node "));
	server_publish(KEY("news"), STR("objects x"));
	server_publish(KEY("news"), STR("\xff\xfe"));
	server_set(KEY("lease:a b"), STR("1 1"), 0);
	server_set(KEY("lease:"), STR("1 1"), 0);
	pass_s(400);
	assert_all_see(2, "vm-b", true);
}

/* --- objects --- */

static void test_what_is_published_is_in_force(void **state)
{
	start_nodes(2);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	pass_ms(300);
	for (int i = 0; i < 2; i++) {
		assert_string_equal(seen(&lab.nodes[i], "mesh", "service/orders@1"), SERVICE);
		assert_string_equal(seen(&lab.nodes[i], "revision", "objects"), "1");
	}
	pass_ms(500);
	assert_non_null(
		strstr(server_get(KEY("lease:vm-b")), " 1")); /* long before the next beat */
	uint32_t whole = server_count("HGETALL");
	publisher_put(&lab.publisher, "policy/web", "policies = ( );\n");
	publisher_put(&lab.publisher, "service/orders", NULL);
	pass_ms(500);
	assert_null(seen(&lab.nodes[0], "mesh", "service/orders@1"));
	assert_non_null(seen(&lab.nodes[0], "mesh", "policy/web@2"));
	assert_int_equal(view_of(&lab.nodes[1]).revision, 3);
	assert_int_equal(server_count("HGETALL"), whole); /* only the changes were read */
}

static void test_a_trimmed_stream_means_all_objects(void **state)
{
	start_nodes(1);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	pass_ms(300);
	server_up(false);
	pass_s(1);
	publisher_put(&lab.publisher, "policy/a", "policies = ( );\n");
	publisher_put(&lab.publisher, "policy/b", "policies = ( );\n");
	server_delete(KEY("changes"));
	server_up(true);
	pass_s(3);
	assert_int_equal(view_of(&lab.nodes[0]).revision, 3);
	assert_non_null(seen(&lab.nodes[0], "mesh", "policy/b@3"));
}

static void assert_refused(const char *why)
{
	struct state_view view = view_of(&lab.nodes[0]);
	assert_int_equal(view.revision, 1);
	if (!strstr(view.why, why))
		fail_msg("\"%s\" is not in \"%s\"", why, view.why);
	assert_non_null(seen(&lab.nodes[0], "mesh", "service/orders@1"));
	assert_null(seen(&lab.nodes[0], "mesh", "policy/open@2"));
}

static void start_with_orders(void)
{
	start_nodes(1);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	pass_s(1);
	assert_int_equal(view_of(&lab.nodes[0]).revision, 1);
}

static void test_an_object_that_nobody_signed_is_refused(void **state)
{
	start_with_orders();
	publisher_put(&lab.publisher, "policy/open", "policies = ( );\n");
	server_hash_set(KEY("objects"), STR("policy/open"),
		STR("revision 2\nwho eve\ntime 9\n\npolicies = ( { service = \"*\"; } );\n"));
	server_delete(KEY("changes"));
	pass_s(20);
	assert_refused("not those that the head was signed for");
}

static void test_an_object_that_was_taken_away_is_missed(void **state)
{
	start_with_orders();
	publisher_put(&lab.publisher, "policy/open", "policies = ( );\n");
	server_hash_delete(KEY("objects"), STR("policy/open"));
	server_delete(KEY("changes"));
	pass_s(20);
	assert_refused("not those that the head was signed for");
}

static void test_a_head_of_nobody_is_refused(void **state)
{
	start_with_orders();
	server_set(KEY("head"), STR("ringmain-head 1\nmesh " MESH "\nrevision 2\n"), 0);
	pass_s(20);
	assert_refused("refused");
	server_set(KEY("head"), STR("\0\xff garbage"), 0);
	pass_s(20);
	assert_refused("refused");
}

static void test_an_older_revision_is_refused(void **state)
{
	start_nodes(1);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	char *old = publisher_head(&lab.publisher);
	publisher_put(&lab.publisher, "policy/deny", "policies = ( );\n");
	pass_s(1);
	assert_int_equal(view_of(&lab.nodes[0]).revision, 2);
	/* The store was restored from before the policy. */
	server_set(KEY("head"), str_of(old), 0);
	server_hash_delete(KEY("objects"), STR("policy/deny"));
	free(old);
	pass_s(20);
	struct state_view view = view_of(&lab.nodes[0]);
	assert_int_equal(view.revision, 2);
	assert_int_equal(view.store_revision, 1);
	assert_non_null(strstr(view.why, "went back to revision 1"));
	assert_non_null(seen(&lab.nodes[0], "mesh", "policy/deny@2"));
}

static void test_an_empty_store_takes_nothing_away(void **state)
{
	start_nodes(4);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	pass_s(2 * LEASE_S);
	server_flush();
	pass_s(3 * LEASE_S);
	for (int i = 0; i < 4; i++) {
		struct state_view view = view_of(&lab.nodes[i]);
		assert_int_equal(view.revision, 1);
		assert_non_null(strstr(view.why, "lost its objects"));
		assert_non_null(seen(&lab.nodes[i], "mesh", "service/orders@1"));
	}
	/* The nodes have told of themselves again. */
	assert_non_null(server_get(KEY("node:vm-c")));
	assert_all_see(4, "vm-c", true);
	/* Published again, as a higher revision than was ever seen. */
	server_delete(KEY("changes"));
	publisher_put(&lab.publisher, "policy/web", "policies = ( );\n");
	server_hash_set(KEY("objects"), STR("service/orders"),
		object_set_find(&lab.publisher.set, STR("service/orders"))->envelope);
	pass_s(20);
	assert_int_equal(view_of(&lab.nodes[3]).revision, 2);
	assert_string_equal(view_of(&lab.nodes[3]).why, "");
}

/* --- outages --- */

static void test_an_outage_freezes(void **state)
{
	start_nodes(4);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	pass_s(2 * LEASE_S);
	server_up(false);
	uint32_t pictures = lab.nodes[0].picture_count;
	uint64_t agreed_ns = view_of(&lab.nodes[0]).agreed_wall_ns;
	pass_s(3600);
	struct state_view view = view_of(&lab.nodes[0]);
	assert_false(view.connected);
	assert_string_equal(view.why, "the server is down");
	assert_int_equal(view.node_count, 4);
	assert_int_equal(view.agreed_wall_ns, agreed_ns);
	assert_int_equal(lab.nodes[0].picture_count, pictures);
	server_up(true);
	pass_s(2 * LEASE_S);
	view = view_of(&lab.nodes[0]);
	assert_true(view.connected && view.agreed_wall_ns > agreed_ns);
	assert_int_equal(view.node_count, 4);
	assert_int_equal(view.held_count, 0);
}

/* All are back at once and all tell of it; what they tell is looked at, all that there is only by
 * and by. */
static void test_after_an_outage_not_all_look_at_all(void **state)
{
	start_nodes(12);
	pass_s(2 * LEASE_S);
	server_up(false);
	pass_s(60);
	sync_tell_health(lab.nodes[1].sync, 0, false);
	uint32_t before = server_count("SCAN");
	server_up(true);
	pass_ms(300);
	assert_true(server_count("SCAN") - before <= 6);
	assert_all_see(12, "vm-b", false);
	pass_s(4);
	assert_true(server_count("SCAN") - before >= 12);
}

static void test_a_store_that_takes_nothing_makes_nobody_gone(void **state)
{
	start_nodes(4);
	pass_s(2 * LEASE_S);
	server_refuse("SET", "OOM command not allowed when used memory > 'maxmemory'.");
	pass_s(3600);
	struct state_view view = view_of(&lab.nodes[0]);
	assert_true(view.connected && !view.told);
	assert_non_null(strstr(view.why, "OOM"));
	assert_int_equal(view.node_count, 4);
	assert_all_see(4, "vm-d", true);
	server_refuse(NULL, NULL);
	pass_s(2 * LEASE_S);
	assert_string_equal(view_of(&lab.nodes[0]).why, "");
	assert_true(view_of(&lab.nodes[0]).told);
	assert_int_equal(view_of(&lab.nodes[0]).node_count, 4);
}

static void test_a_store_that_does_not_tell_of_nodes_is_told_of(void **state)
{
	start_nodes(2);
	server_refuse("SCAN", "NOPERM this user has no permissions to run the 'scan' command");
	pass_s(400);
	assert_non_null(strstr(view_of(&lab.nodes[0]).why, "does not tell its nodes: NOPERM"));
	assert_all_see(2, "vm-b", true);
	server_refuse(NULL, NULL);
	pass_s(2);
	assert_string_equal(view_of(&lab.nodes[0]).why, "");
}

static void test_a_store_that_does_not_tell_leases_is_told_of(void **state)
{
	start_nodes(2);
	server_refuse(
		"GETRANGE", "NOPERM this user has no permissions to run the 'getrange' command");
	pass_s(400);
	assert_non_null(strstr(view_of(&lab.nodes[0]).why, "does not tell its nodes: NOPERM"));
	assert_all_see(2, "vm-b", true);
	server_refuse(NULL, NULL);
	pass_s(2);
	assert_string_equal(view_of(&lab.nodes[0]).why, "");
}

static void test_a_stalled_store_makes_nobody_gone(void **state)
{
	start_nodes(4);
	pass_s(2 * LEASE_S);
	server_stall(true);
	pass_s(2 * LEASE_S);
	server_stall(false);
	pass_s(2 * LEASE_S);
	assert_all_see(4, "vm-d", true);
}

/* --- the disk --- */

static void test_a_start_without_the_store_begins_with_what_was_known(void **state)
{
	start_nodes(2);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	pass_s(LEASE_S);
	server_up(false);
	node_kill(&lab.nodes[0]);
	node_start(&lab.nodes[0]);
	pass_ms(10);
	assert_string_equal(seen(&lab.nodes[0], "mesh", "service/orders@1"), SERVICE);
	assert_true(sees_up(&lab.nodes[0], "vm-b") && sees_up(&lab.nodes[0], "vm-a"));
	struct state_view view = view_of(&lab.nodes[0]);
	assert_true(view.loaded && !view.connected);
	assert_int_equal(view.agreed_wall_ns, 0);
}

/* The disk is full, say: nothing changes any more, and still it is kept as soon as that can be. */
static void test_what_could_not_be_kept_is_kept_later(void **state)
{
	struct node *n = &lab.nodes[0];
	assert_int_equal(mkdirat(n->dir_fd, "state.new", 0700), 0);
	start_nodes(2);
	pass_s(60);
	assert_int_equal(faccessat(n->dir_fd, "state", F_OK, 0), -1);
	assert_non_null(strstr(view_of(n).why, "cannot be kept for the next start: state.new"));
	assert_in_range(view_of(n).refused_total, 2, 8);
	assert_int_equal(unlinkat(n->dir_fd, "state.new", AT_REMOVEDIR), 0);
	pass_s(300);
	assert_int_equal(faccessat(n->dir_fd, "state", F_OK, 0), 0);
	assert_string_equal(view_of(n).why, "");
}

static void spoil(struct node *n, const char *name)
{
	char byte = '!';
	int fd = openat(n->dir_fd, name, O_RDWR);
	assert_true(fd >= 0);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
	close(fd);
}

static void save_twice(void)
{
	start_nodes(2);
	publisher_put(&lab.publisher, "service/orders", SERVICE);
	pass_s(LEASE_S);
	publisher_put(&lab.publisher, "policy/web", "policies = ( );\n");
	pass_s(LEASE_S);
	server_up(false);
	node_kill(&lab.nodes[0]);
	bundle_done(&lab.nodes[0].picture);
	bundle_init(&lab.nodes[0].picture);
}

static void test_a_damaged_file_is_refused_for_the_one_before(void **state)
{
	save_twice();
	spoil(&lab.nodes[0], "state");
	node_start(&lab.nodes[0]);
	pass_ms(10);
	assert_string_equal(seen(&lab.nodes[0], "revision", "objects"), "1");
	assert_true(view_of(&lab.nodes[0]).refused_total > 0);
	/* The one before is not lost to it. */
	node_kill(&lab.nodes[0]);
	node_start(&lab.nodes[0]);
	assert_true(view_of(&lab.nodes[0]).loaded);
}

static void test_two_damaged_files_are_a_start_with_nothing(void **state)
{
	save_twice();
	spoil(&lab.nodes[0], "state");
	assert_int_equal(ftruncate(openat(lab.nodes[0].dir_fd, "state.old", O_WRONLY), 60), 0);
	node_start(&lab.nodes[0]);
	pass_s(1);
	assert_false(view_of(&lab.nodes[0]).loaded);
	assert_null(seen(&lab.nodes[0], "revision", "objects"));
	server_up(true);
	pass_s(3);
	assert_string_equal(seen(&lab.nodes[0], "revision", "objects"), "2");
}

static void test_kept_objects_of_another_operator_are_refused(void **state)
{
	struct err err;
	save_twice();
	struct bundle b;
	bundle_init(&b); /* nobody is believed any more */
	struct node *n = &lab.nodes[0];
	assert_int_equal(sync_new(&lab.loop, SYNC_KINDS, &n->task, &n->conf, &b, n->dir_fd,
				 n->ledger, &n->sync, &err),
		0);
	pass_ms(10);
	assert_false(view_of(n).loaded);
	bundle_done(&b);
}

/* --- this node --- */

static void test_drained_endpoints_stay_drained(void **state)
{
	struct err err;
	struct node *n = &lab.nodes[0];
	struct sync_own own;
	start_nodes(2);
	assert_int_equal(sync_drain(n->sync, STR("orders"), false, &err), 0);
	pass_ms(300);
	assert_non_null(strstr(seen(&lab.nodes[1], "node", "vm-a"), "orders v1 drained 100"));
	node_kill(n);
	node_start(n);
	pass_s(1);
	assert_true(sync_own(n->sync, 0, &own) && own.drained && own.health == ENDPOINT_DRAINED);
	assert_false(sync_own(n->sync, 1, &own));
	assert_non_null(strstr(seen(&lab.nodes[1], "node", "vm-a"), "orders v1 drained 100"));
	assert_int_equal(sync_drain(n->sync, STR("orders"), true, &err), 0);
	pass_ms(300);
	assert_all_see(2, "vm-a", true);
	assert_true(sync_drain(n->sync, STR("nobody"), false, &err) < 0);
	assert_int_equal(sync_drain(n->sync, STR_NONE, false, &err), 0);
	pass_ms(300);
	assert_all_see(2, "vm-a", false);
}

/* A new state process knows nothing of its workloads until it has checked them. */
static void test_a_new_start_takes_nothing_out(void **state)
{
	struct node *n = &lab.nodes[0];
	start_nodes(2);
	node_kill(n);
	n->is_unchecked = true;
	node_start(n);
	pass_ms(1500);
	assert_true(sees_up(&lab.nodes[1], "vm-a"));
	sync_tell_health(n->sync, 0, true);
	pass_ms(300);
	assert_all_see(2, "vm-a", true);
	/* No result within two seconds is one, too. */
	node_kill(n);
	node_start(n);
	pass_ms(2300);
	assert_false(sees_up(&lab.nodes[1], "vm-a"));
	n->is_unchecked = false;
}

static void test_a_clock_that_went_back_does_not_make_us_old(void **state)
{
	start_nodes(2);
	node_kill(&lab.nodes[0]);
	fake_set_wall(CLOCK_S);
	pass_ms(1);
	lab.nodes[0].workload.version = STR("v2");
	node_start(&lab.nodes[0]);
	pass_s(1);
	assert_non_null(strstr(seen(&lab.nodes[1], "node", "vm-a"), "endpoint orders v2 up "));
}

static void test_two_machines_of_one_name_are_told_of(void **state)
{
	start_nodes(1);
	pass_s(1);
	lab.nodes[1].conf.node_name = STR("vm-a");
	node_start(&lab.nodes[1]);
	pass_s(2 * LEASE_S);
	assert_non_null(strstr(view_of(&lab.nodes[0]).why, "calls itself vm-a too"));
}

static void test_a_new_configuration_is_told(void **state)
{
	struct bundle b;
	struct err err;
	start_nodes(2);
	bundle_init(&b);
	assert_int_equal(
		bundle_add(&b, STR("operator"), STR("alice.pub"), STR(KNOWN_PUBLIC), &err), 0);
	lab.nodes[0].workload.version = STR("v9");
	lab.nodes[0].conf.state.timeout_ms = 4000; /* new connections */
	assert_int_equal(sync_configure(lab.nodes[0].sync, &lab.nodes[0].conf, &b, &err), 0);
	bundle_done(&b);
	pass_s(LEASE_S);
	assert_non_null(strstr(seen(&lab.nodes[1], "node", "vm-a"), "endpoint orders v9 up "));
	assert_true(view_of(&lab.nodes[0]).connected);
}

static void test_pictures_are_few_however_much_changes(void **state)
{
	start_nodes(6);
	uint32_t before = lab.nodes[0].picture_count;
	for (int i = 0; i < 100; i++) {
		for (int j = 1; j < 6; j++)
			sync_tell_health(lab.nodes[j].sync, 0, i % 2 == 1);
		pass_ms(10);
	}
	pass_s(1);
	assert_true(lab.nodes[0].picture_count - before <= 8);
	assert_all_see(6, "vm-f", true);
}

/* More than 64 MiB. */
static void test_a_picture_that_is_too_large_is_told_of_and_the_one_before_stays(void **state)
{
	enum { COUNT = 1100, LINE = 60 };
	static char text[RECORD_BYTES_MAX];
	start_nodes(2);
	pass_s(10);
	uint64_t before = view_of(&lab.nodes[0]).refused_total;
	for (int i = 0; i < COUNT; i++) {
		char key[64];
		int len = snprintf(
			text, sizeof(text), "ringmain 1\nnode g%d\nstart 1\nnumber 1\n", i);
		while ((size_t)len + LINE + 1 < sizeof(text))
			len += snprintf(
				text + len, sizeof(text) - (size_t)len, "%*s\n", -LINE, "later");
		snprintf(key, sizeof(key), KEY("node:g%d"), i);
		server_set(key, (struct str){text, (size_t)len}, 0);
		snprintf(key, sizeof(key), KEY("lease:g%d"), i);
		server_set(key, STR("1 1 0"), 0);
	}
	pass_s(400);
	assert_int_equal(view_of(&lab.nodes[0]).node_count, COUNT + 2);
	assert_non_null(strstr(view_of(&lab.nodes[0]).why, "the picture of the mesh"));
	assert_in_range(view_of(&lab.nodes[0]).refused_total - before, 1, 150);
	assert_all_see(2, "vm-b", true);
}

static int configure(struct node *n)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	int r = bundle_add(&b, STR("operator"), STR("alice.pub"), STR(KNOWN_PUBLIC), &err);
	if (r == 0)
		r = sync_configure(n->sync, &n->conf, &b, &err);
	bundle_done(&b);
	return r;
}

static void test_a_record_that_is_too_long_is_told_of(void **state)
{
	enum { COUNT = RECORD_ENDPOINTS_MAX + 1 };
	static struct conf_workload workloads[COUNT];
	struct node *n = &lab.nodes[0];
	start_nodes(2);
	for (int i = 0; i < COUNT; i++)
		workloads[i] = (struct conf_workload){.service = STR("orders"),
			.version = STR("v1"),
			.port = (uint16_t)(8080 + i),
			.weight = 100};
	n->conf.workloads = workloads;
	n->conf.workload_count = COUNT;
	assert_int_equal(configure(n), 0);
	pass_s(LEASE_S);
	assert_non_null(strstr(view_of(n).why, "not told of this node's 257 endpoints"));
	assert_true(sees_up(&lab.nodes[1], "vm-a"));
	n->conf.workload_count = 2;
	assert_int_equal(configure(n), 0);
	pass_s(LEASE_S);
	assert_string_equal(view_of(n).why, "");
	assert_non_null(strstr(seen(&lab.nodes[1], "node", "vm-a"), "10.77.0.1:8081"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_nodes_find_each_other),
		TEST(test_a_change_is_seen_at_once),
		TEST(test_who_leaves_is_gone_at_once),
		TEST(test_a_late_hint_is_made_up_for),
		TEST(test_a_record_from_the_future_is_outlived),
		TEST(test_who_falls_silent_is_gone_after_its_lease),
		TEST(test_who_comes_back_is_seen_at_once),
		TEST(test_very_many_that_fall_silent_are_held),
		TEST(test_very_many_in_a_row_are_held),
		TEST(test_a_broken_record_is_refused_and_the_others_stay),
		TEST(test_one_who_cries_wolf_costs_a_look_at_a_time),
		TEST(test_a_huge_record_is_refused_and_never_read_whole),
		TEST(test_a_list_of_nodes_that_does_not_end_is_given_up),
		TEST(test_names_that_are_none_are_passed_over),
		TEST(test_what_is_published_is_in_force),
		TEST(test_a_trimmed_stream_means_all_objects),
		TEST(test_an_object_that_nobody_signed_is_refused),
		TEST(test_an_object_that_was_taken_away_is_missed),
		TEST(test_a_head_of_nobody_is_refused),
		TEST(test_an_older_revision_is_refused),
		TEST(test_an_empty_store_takes_nothing_away),
		TEST(test_an_outage_freezes),
		TEST(test_after_an_outage_not_all_look_at_all),
		TEST(test_a_store_that_takes_nothing_makes_nobody_gone),
		TEST(test_a_store_that_does_not_tell_of_nodes_is_told_of),
		TEST(test_a_store_that_does_not_tell_leases_is_told_of),
		TEST(test_a_stalled_store_makes_nobody_gone),
		TEST(test_a_start_without_the_store_begins_with_what_was_known),
		TEST(test_what_could_not_be_kept_is_kept_later),
		TEST(test_a_damaged_file_is_refused_for_the_one_before),
		TEST(test_two_damaged_files_are_a_start_with_nothing),
		TEST(test_kept_objects_of_another_operator_are_refused),
		TEST(test_drained_endpoints_stay_drained),
		TEST(test_a_new_start_takes_nothing_out),
		TEST(test_a_clock_that_went_back_does_not_make_us_old),
		TEST(test_two_machines_of_one_name_are_told_of),
		TEST(test_a_new_configuration_is_told),
		TEST(test_pictures_are_few_however_much_changes),
		TEST(test_a_picture_that_is_too_large_is_told_of_and_the_one_before_stays),
		TEST(test_a_record_that_is_too_long_is_told_of),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
