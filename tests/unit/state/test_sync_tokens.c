/* SPDX-License-Identifier: Apache-2.0 */
/* Two nodes that take tokens from a store in memory, in virtual time: what the data path gets, and
 * what it gets when the store is gone, silent, refusing or garbled. */
#include "publisher.h"

#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/store_fake.h"
#include "ledger/lease.h"
#include "state/sync.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define KIND_OWNER 200
#define NODES	   2

struct node {
	struct task task;
	struct sync *sync;
	struct conf conf;
	struct conf_workload workload;
	struct address address, server;
	char name[16], dir[64];
	int dir_fd;
	struct ledger *ledger;
	uint32_t counts[LEDGER_FULL + 1]; /* outcomes of asking */
};

static struct {
	struct loop loop;
	struct publisher publisher;
	struct node nodes[NODES];
} lab;

static void step(struct task *t)
{
	if (t->kind != KIND_OWNER)
		sync_step(t);
}

static void pass_ms(uint64_t ms)
{
	fake_run(&lab.loop, step, NULL, ms * CLOCK_MS);
}

static struct ledger_limit_rule rule_of(uint64_t key, uint32_t amount)
{
	return (struct ledger_limit_rule){
		.id = {{0xabc0000 + key, 0x123}}, .amount = amount, .window_ms = 1000};
}

static enum ledger_taken take(struct node *n, uint64_t key, uint32_t amount)
{
	struct ledger_limit_rule rule = rule_of(key, amount);
	struct ledger_left left;
	enum ledger_taken taken = ledger_limit_take(n->ledger, &rule, lab.loop.now_ns, &left);
	n->counts[taken]++;
	return taken;
}

static void forget_counts(void)
{
	for (int i = 0; i < NODES; i++)
		memset(lab.nodes[i].counts, 0, sizeof(lab.nodes[i].counts));
}

/* Both ask for key 1, once in a millisecond. */
static void ask_for_ms(uint64_t ms, uint32_t amount)
{
	for (uint64_t i = 0; i < ms; i++) {
		pass_ms(1);
		for (int n = 0; n < NODES; n++)
			(void)take(&lab.nodes[n], 1, amount);
	}
}

static void node_make(struct node *n, int index)
{
	struct err err;
	snprintf(n->name, sizeof(n->name), "vm-%c", 'a' + index);
	snprintf(n->dir, sizeof(n->dir), "/tmp/ringmain-tokens-XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	n->dir_fd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = ledger_create(&err);
	assert_int_equal(ledger_map(fd, &n->ledger, &err), 0);
	close(fd);
	task_init(&n->task, KIND_OWNER);
	assert_true(address_parse(STR("10.77.0.1"), &n->address));
	assert_true(address_parse(STR("10.77.0.100"), &n->server));
	n->workload = (struct conf_workload){
		.service = STR("orders"), .version = STR("v1"), .port = 8080, .weight = 100};
	n->conf = (struct conf){.node_name = str_of(n->name),
		.node_addresses = &n->address,
		.node_address_count = 1,
		.trust_domain = STR(MESH),
		.workloads = &n->workload,
		.workload_count = 1,
		.state = {.redis = &n->server,
			.redis_count = 1,
			.lease_ms = 15000,
			.resync_ms = 300000,
			.timeout_ms = 5000,
			.hold_ms = 600000,
			.hold_percent = 30}};
}

static void node_start(struct node *n)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	assert_int_equal(sync_new(&lab.loop, (uint16_t)(SYNC_KINDS * (1 + n - lab.nodes)), &n->task,
				 &n->conf, &b, n->dir_fd, n->ledger, &n->sync, &err),
		0);
	bundle_done(&b);
}

static void node_stop(struct node *n)
{
	sync_close(n->sync);
	while (!sync_idle(n->sync))
		pass_ms(10);
	sync_free(n->sync);
	n->sync = NULL;
	list_remove(&n->task.node);
	n->task.ready = false;
}

static int setup(void **state)
{
	struct err err;
	const struct ring_limits limits = {
		.entries = 64, .completions = 64, .block_bytes = 4096, .block_count = 4};
	memset(&lab, 0, sizeof(lab));
	fake_init();
	server_init();
	if (loop_init(&lab.loop, &limits, 7, &err) < 0)
		return -1;
	for (int i = 0; i < NODES; i++) {
		node_make(&lab.nodes[i], i);
		node_start(&lab.nodes[i]);
	}
	/* The first wish opens the way to the store. */
	ask_for_ms(400, 100);
	forget_counts();
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"state", "state.old", "state.torn", "drained"};
	server_stall(false);
	server_up(true);
	server_refuse(NULL, NULL);
	for (int i = 0; i < NODES; i++) {
		struct node *n = &lab.nodes[i];
		if (n->sync)
			node_stop(n);
		for (size_t f = 0; f < ARRAY_LEN(names); f++)
			unlinkat(n->dir_fd, names[f], 0);
		close(n->dir_fd);
		rmdir(n->dir);
		ledger_unmap(n->ledger);
	}
	loop_done(&lab.loop);
	server_done();
	return 0;
}

/* --- tests --- */

static uint32_t count_of(enum ledger_taken taken)
{
	return lab.nodes[0].counts[taken] + lab.nodes[1].counts[taken];
}

static struct state_view view_of(int node)
{
	struct state_view view;
	sync_view(lab.nodes[node].sync, &view);
	return view;
}

static void test_both_share_one_number(void **state)
{
	pass_ms(1000 - lab.loop.now_ns / CLOCK_MS % 1000); /* a window begins */
	forget_counts();
	ask_for_ms(5000, 100);
	assert_int_equal(count_of(LEDGER_AWAY), 0);
	assert_in_range(count_of(LEDGER_TAKEN), 485, 505);
	assert_int_equal(count_of(LEDGER_TAKEN) + count_of(LEDGER_SPENT), 10000);
	assert_true(lab.nodes[0].counts[LEDGER_TAKEN] > 100);
	assert_true(lab.nodes[1].counts[LEDGER_TAKEN] > 100);
	assert_true(view_of(0).tokens_total >= 100 && view_of(0).token_commands_total >= 10);
	assert_int_equal(view_of(0).tokens_refused_total, 0);
}

/* For half a second it is believed, and what was taken is spent; then it is away. */
static void expect_outage(void (*begin)(void), void (*end)(void))
{
	ask_for_ms(100, 100);
	begin();
	ask_for_ms(1100, 100);
	forget_counts();
	ask_for_ms(3000, 100);
	assert_int_equal(count_of(LEDGER_AWAY), 6000);
	assert_true(view_of(0).tokens_away && view_of(0).why[0] != '\0');
	end();
	/* until a connection is made anew, a second at most */
	ask_for_ms(12000, 100);
	forget_counts();
	ask_for_ms(3000, 100);
	assert_int_equal(count_of(LEDGER_AWAY), 0);
	assert_in_range(count_of(LEDGER_TAKEN), 280, 320);
	assert_false(view_of(0).tokens_away);
}

static void go_down(void)
{
	server_up(false);
}

static void come_up(void)
{
	server_up(true);
}

static void test_gone(void **state)
{
	expect_outage(go_down, come_up);
}

/* Settings under which no connection ever comes about: a password that is wrong, say. */
static void change_to_nowhere(void)
{
	server_up(false);
	for (int i = 0; i < NODES; i++) {
		struct node *n = &lab.nodes[i];
		struct bundle b;
		struct err err;
		bundle_init(&b);
		n->conf.state.timeout_ms = 4000;
		assert_int_equal(sync_configure(n->sync, &n->conf, &b, &err), 0);
		bundle_done(&b);
	}
}

static void test_changed_to_one_that_does_not_answer(void **state)
{
	expect_outage(change_to_nowhere, come_up);
}

static void fall_silent(void)
{
	server_stall(true);
}

static void speak(void)
{
	server_stall(false);
}

static void test_silent(void **state)
{
	expect_outage(fall_silent, speak);
}

static void refuse_writes(void)
{
	server_refuse("INCRBY", "OOM command not allowed when used memory > 'maxmemory'.");
}

static void refuse_rights(void)
{
	server_refuse("INCRBY", "NOPERM this user has no permissions to run the 'incrby' command");
}

static void allow(void)
{
	server_refuse(NULL, NULL);
}

static void test_full(void **state)
{
	expect_outage(refuse_writes, allow);
}

static void test_without_rights(void **state)
{
	expect_outage(refuse_rights, allow);
}

/* One that refuses is not asked with every turn. */
static void test_one_that_refuses_is_left_in_peace(void **state)
{
	refuse_writes();
	ask_for_ms(1000, 100);
	uint32_t before = server_count("INCRBY");
	ask_for_ms(4000, 100);
	assert_in_range(server_count("INCRBY") - before, 2, 2 * 4 * 6);
}

/* Of the window that runs. */
static void key_of(uint64_t number, char key[200])
{
	uint64_t window = lease_window(lab.nodes[0].ledger, lab.loop.now_ns, 1000);
	snprintf(key, 200, "ringmain:{" MESH "}:tokens:%016x%016x:%u", 0xabc0000 + (unsigned)number,
		0x123, (unsigned)window);
}

/* Whoever wrote nonsense there: that key is away for a window, the others are not. */
static void test_a_garbled_number_is_one_keys_trouble(void **state)
{
	char key[200];
	pass_ms(1000 - lab.loop.now_ns / CLOCK_MS % 1000);
	uint64_t window = lease_window(lab.nodes[0].ledger, lab.loop.now_ns, 1000) + 1;
	snprintf(key, sizeof(key), "ringmain:{" MESH "}:tokens:%016x%016x:%u", 0xabc0007, 0x123,
		(unsigned)window);
	server_set(key, STR("nonsense"), 0);
	pass_ms(1000);
	assert_int_equal(take(&lab.nodes[0], 7, 8), LEDGER_TAKEN); /* lent */
	assert_int_equal(take(&lab.nodes[0], 8, 8), LEDGER_TAKEN);
	pass_ms(100);
	assert_int_equal(take(&lab.nodes[0], 7, 8), LEDGER_AWAY);
	assert_int_equal(take(&lab.nodes[0], 8, 8), LEDGER_TAKEN);
	pass_ms(1000);
	assert_int_equal(take(&lab.nodes[0], 7, 8), LEDGER_TAKEN);
}

/* Nor is it read to its end, which could break the connection of all limits. */
static void test_a_garbled_number_may_be_long(void **state)
{
	static char endless[100000];
	char key[200];
	memset(endless, '7', sizeof(endless));
	pass_ms(1000 - lab.loop.now_ns / CLOCK_MS % 1000);
	ask_for_ms(300, 100);
	uint32_t looks = server_count("GETRANGE");
	key_of(1, key);
	server_set(key, (struct str){endless, sizeof(endless)}, 1000);
	ask_for_ms(500, 100);
	assert_true(server_count("GETRANGE") > looks);
	assert_true(server_longest() < 10000);
	assert_int_equal(take(&lab.nodes[0], 1, 100), LEDGER_AWAY);
	pass_ms(1000);
	forget_counts();
	ask_for_ms(100, 100);
	assert_int_equal(count_of(LEDGER_AWAY), 0);
	assert_true(count_of(LEDGER_TAKEN) > 0);
}

/* What was lost is looked for as one that nobody has taken of. */
static void test_a_number_that_is_gone_is_nothing_taken(void **state)
{
	char key[200];
	pass_ms(1000 - lab.loop.now_ns / CLOCK_MS % 1000);
	ask_for_ms(500, 100);
	assert_int_equal(take(&lab.nodes[0], 1, 100), LEDGER_SPENT);
	key_of(1, key);
	server_delete(key);
	forget_counts();
	ask_for_ms(400, 100);
	assert_int_equal(count_of(LEDGER_AWAY), 0);
	assert_true(count_of(LEDGER_TAKEN) > 50);
}

/* Numbers do not stay for ever. */
static void test_numbers_are_forgotten(void **state)
{
	char key[200];
	key_of(1, key);
	ask_for_ms(300, 100);
	assert_non_null(server_get(key));
	pass_ms(20000);
	assert_null(server_get(key));
}

/* Neither does one that was lost in its window, emptied or evicted, and is made anew by whoever
 * takes next. */
static void test_numbers_that_were_lost_are_forgotten(void **state)
{
	char key[200];
	pass_ms(1000 - lab.loop.now_ns / CLOCK_MS % 1000);
	ask_for_ms(300, 1000);
	key_of(1, key);
	assert_non_null(server_get(key));
	server_delete(key);
	ask_for_ms(500, 1000);
	assert_non_null(server_get(key));
	pass_ms(20000);
	assert_null(server_get(key));
}

static void test_nothing_is_said_while_nobody_asks(void **state)
{
	ask_for_ms(1000, 100);
	pass_ms(3000);
	uint32_t before = server_count("INCRBY") + server_count("DECRBY");
	uint32_t times = server_count("TIME");
	pass_ms(20000);
	assert_int_equal(server_count("INCRBY") + server_count("DECRBY"), before);
	assert_true(server_count("TIME") - times <= 2 * 2 + 20);
}

/* The state process dies: a second later its store is not believed; the next one goes on. */
static void test_without_a_state_process_limits_are_away(void **state)
{
	struct node *n = &lab.nodes[0];
	assert_int_equal(take(n, 1, 100) == LEDGER_AWAY, false);
	node_stop(n);
	pass_ms(1100);
	assert_int_equal(take(n, 1, 100), LEDGER_AWAY);
	node_start(n);
	ask_for_ms(500, 100);
	assert_true(take(n, 9, 100) == LEDGER_TAKEN);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_both_share_one_number),
		TEST(test_gone),
		TEST(test_changed_to_one_that_does_not_answer),
		TEST(test_silent),
		TEST(test_full),
		TEST(test_without_rights),
		TEST(test_one_that_refuses_is_left_in_peace),
		TEST(test_a_garbled_number_is_one_keys_trouble),
		TEST(test_a_garbled_number_may_be_long),
		TEST(test_a_number_that_is_gone_is_nothing_taken),
		TEST(test_numbers_are_forgotten),
		TEST(test_numbers_that_were_lost_are_forgotten),
		TEST(test_nothing_is_said_while_nobody_asks),
		TEST(test_without_a_state_process_limits_are_away),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
