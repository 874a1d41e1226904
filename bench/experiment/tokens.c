/* SPDX-License-Identifier: Apache-2.0 */
/* How well a limit of the whole mesh is kept, and what it costs: nodes' state rooms in one process,
 * with one Redis, and callers that want so many times the amount of each node's part.
 *
 *     tokens REDIS-PORT NODES AMOUNT WINDOW-MS TIMES SECONDS [KEYS] */
#include "base/clock.h"
#include "ledger/lease.h"
#include "state/sync.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NODES_MAX   64
#define WINDOWS_MAX 4096
#define KIND_LOAD   1
#define KIND_NODE   2
#define KIND_SYNC   (10 * SYNC_KINDS)

struct node {
	struct task task;
	struct sync *sync;
	struct conf conf;
	struct address address, server;
	char name[16];
	struct ledger *ledger;
	double due;
	uint64_t away_count;
};

struct experiment {
	struct loop loop;
	struct task task;
	struct timer beat;
	struct node nodes[NODES_MAX];
	uint32_t node_count, amount, window_ms, key_count;
	double times;
	uint64_t begun_ns, end_ns, last_ns, first_window, sync_cpu_ns, key;
	uint32_t taken[WINDOWS_MAX], wished[WINDOWS_MAX];
};

static void fail(const char *what, const struct err *err)
{
	fprintf(stderr, "tokens: %s%s%s\n", what, err ? ": " : "", err ? err->text : "");
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * CLOCK_S + (uint64_t)t.tv_nsec;
}

static void node_begin(struct experiment *e, uint32_t i, uint16_t port)
{
	struct node *n = &e->nodes[i];
	struct bundle b;
	struct err err;
	snprintf(n->name, sizeof(n->name), "node-%02u", i);
	task_init(&n->task, KIND_NODE);
	if (!address_parse(STR("127.0.0.1"), &n->server) ||
		!address_parse(STR("10.0.0.1"), &n->address))
		fail("addresses", NULL);
	n->server.port = port;
	n->address.ip[3] = (uint8_t)(i + 1);
	n->conf = (struct conf){.node_name = str_of(n->name),
		.node_addresses = &n->address,
		.node_address_count = 1,
		.trust_domain = STR("bench.test"),
		.state = {.redis = &n->server,
			.redis_count = 1,
			.lease_ms = 15000,
			.resync_ms = 300000,
			.timeout_ms = 5000,
			.hold_ms = 600000,
			.hold_percent = 30}};
	char directory[] = "/tmp/ringmain-tokens-XXXXXX";
	int fd = ledger_create(&err),
	    dir_fd = mkdtemp(directory) ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	rmdir(directory);
	bundle_init(&b);
	if (fd < 0 || dir_fd < 0 || ledger_map(fd, &n->ledger, &err) < 0 ||
		sync_new(&e->loop, KIND_SYNC, &n->task, &n->conf, &b, dir_fd, n->ledger, &n->sync,
			&err) < 0)
		fail("a node", &err);
	bundle_done(&b);
	close(fd);
}

static void wish(struct experiment *e, struct node *n)
{
	struct ledger_limit_rule rule = {.id = {{0x70ce, 1 + e->key++ % e->key_count}},
		.amount = e->amount,
		.window_ms = e->window_ms};
	struct ledger_left left;
	uint64_t now_ns = clock_monotonic_ns();
	uint64_t window = lease_window(n->ledger, now_ns, e->window_ms) - e->first_window;
	enum ledger_taken taken = ledger_limit_take(n->ledger, &rule, now_ns, &left);
	n->away_count += taken == LEDGER_AWAY;
	if (window >= WINDOWS_MAX)
		return;
	e->wished[window]++;
	e->taken[window] += taken == LEDGER_TAKEN;
}

static void load_step(struct experiment *e)
{
	uint64_t passed_ns = e->loop.now_ns - e->last_ns;
	double each = e->times * e->amount * e->key_count / e->node_count;
	e->last_ns = e->loop.now_ns;
	timer_set(&e->loop, &e->beat, e->loop.now_ns + CLOCK_MS);
	for (uint32_t i = 0; i < e->node_count; i++) {
		struct node *n = &e->nodes[i];
		n->due += each * (double)passed_ns / ((double)e->window_ms * CLOCK_MS);
		for (; n->due >= 1; n->due--)
			wish(e, n);
	}
}

static void run(struct experiment *e)
{
	while (e->loop.now_ns < e->end_ns) {
		struct task *t;
		loop_wait(&e->loop);
		while ((t = loop_next(&e->loop))) {
			uint64_t before_ns = cpu_ns();
			if (t->kind == KIND_LOAD) {
				load_step(e);
			} else if (t->kind != KIND_NODE) {
				sync_step(t);
				e->sync_cpu_ns += cpu_ns() - before_ns;
			}
		}
	}
}

static void report(const struct experiment *e)
{
	uint64_t possible = 0, taken = 0, most = 0, commands = 0, away = 0, windows = 0;
	uint64_t amount = (uint64_t)e->amount * e->key_count;
	double seconds = (double)(e->end_ns - e->begun_ns) / CLOCK_S;
	/* whole windows, without the first two and the last two */
	for (uint64_t w = 2; w + 2 < WINDOWS_MAX && e->wished[w + 2] > 0; w++, windows++) {
		possible += e->wished[w] < amount ? e->wished[w] : amount;
		taken += e->taken[w];
		most = e->taken[w] > most ? e->taken[w] : most;
	}
	for (uint32_t i = 0; i < e->node_count; i++) {
		struct state_view view;
		sync_view(e->nodes[i].sync, &view);
		commands += view.token_commands_total;
		away += e->nodes[i].away_count;
	}
	printf("%u nodes, %u keys, %u in %u ms, %.2f times wanted: %llu windows, most in one %llu "
	       "(%+.2f %%), used %.2f %%, away %llu, %.1f commands/s a node, %.3f %% CPU a node\n",
		e->node_count, e->key_count, e->amount, e->window_ms, e->times,
		(unsigned long long)windows, (unsigned long long)most,
		100.0 * ((double)most - (double)amount) / (double)amount,
		100.0 * (double)taken / (double)(possible ? possible : 1), (unsigned long long)away,
		(double)commands / seconds / e->node_count,
		100.0 * (double)e->sync_cpu_ns / 1e9 / seconds / e->node_count);
}

int main(int argc, char **argv)
{
	static struct experiment e;
	struct err err;
	const struct ring_limits limits = {
		.entries = 1024, .completions = 4096, .block_bytes = 16384, .block_count = 1024};
	if (argc < 7) {
		fprintf(stderr, "usage: tokens REDIS-PORT NODES AMOUNT WINDOW-MS TIMES SECONDS "
				"[KEYS]\n");
		return 2;
	}
	e.node_count = (uint32_t)strtoul(argv[2], NULL, 10);
	e.amount = (uint32_t)strtoul(argv[3], NULL, 10);
	e.window_ms = (uint32_t)strtoul(argv[4], NULL, 10);
	e.times = strtod(argv[5], NULL);
	e.key_count = argc > 7 ? (uint32_t)strtoul(argv[7], NULL, 10) : 1;
	if (e.node_count == 0 || e.node_count > NODES_MAX || e.window_ms < LEDGER_WINDOW_MS_MIN ||
		e.key_count == 0)
		fail("numbers out of range", NULL);
	if (loop_init(&e.loop, &limits, 7, &err) < 0 || ring_enable(&e.loop.ring, &err) < 0)
		fail("the ring", &err);
	for (uint32_t i = 0; i < e.node_count; i++)
		node_begin(&e, i, (uint16_t)strtoul(argv[1], NULL, 10));
	task_init(&e.task, KIND_LOAD);
	timer_init(&e.beat, &e.task);
	e.begun_ns = e.last_ns = e.loop.now_ns;
	e.end_ns = e.begun_ns + strtoul(argv[6], NULL, 10) * CLOCK_S;
	e.first_window = clock_wall_ns() / (e.window_ms * CLOCK_MS);
	timer_set(&e.loop, &e.beat, e.loop.now_ns);
	run(&e);
	report(&e);
	return 0;
}
