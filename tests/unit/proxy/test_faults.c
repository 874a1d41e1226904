/* SPDX-License-Identifier: Apache-2.0 */
/* Short scenarios, run once without faults to count their operations, then again with every fault
 * at every one of them, then in chaos. Two workloads call at the same time, and each one's bytes
 * carry its name: whatever breaks, nobody ever sees the other's, and nothing is left behind. */
#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHAOS_SEEDS 60
#define BULK_SEEDS  15
#define BULK_BYTES  300000

static struct lab lab;
/* Which run it was, printed when a test fails. */
static char label[128];

static int label_setup(void **state)
{
	label[0] = '\0';
	return 0;
}

static int label_teardown(void **state)
{
	if (label[0])
		print_message("it was: %s\n", label);
	return 0;
}

static const struct scenario {
	const char *name;
	uint32_t machine_count;
	enum lab_serving serving;
	enum lab_workload to;
	const char *method; /* NULL: opaque bytes */
	const char *body;
} scenarios[] = {
	{"tcp local", 1, LAB_ECHO, LAB_MAIL, NULL, NULL},
	{"tcp mesh", 2, LAB_ECHO, LAB_LEDGER, NULL, NULL},
	{"tcp detected", 1, LAB_ECHO, LAB_ANY, NULL, NULL},
	{"http local GET", 1, LAB_HTTP, LAB_SHOP, "GET", ""},
	{"http local POST", 1, LAB_HTTP, LAB_SHOP, "POST", "a body of some bytes"},
	{"http detected GET", 1, LAB_HTTP, LAB_ANY, "GET", ""},
	{"http mesh GET", 2, LAB_HTTP, LAB_ORDERS, "GET", ""},
	{"http mesh POST", 2, LAB_HTTP, LAB_ORDERS, "POST", "a body of some bytes"},
};

struct caller {
	enum lab_workload who;
	int fd;
	char *sent;
	size_t sent_len;
	char expected[1024]; /* HTTP: bodies of its answers */
};

#define CALLER_COUNT 2

static void caller_send(struct caller *c, const char *text)
{
	size_t len = strlen(text);
	c->sent = realloc(c->sent, c->sent_len + len + 1);
	memcpy(c->sent + c->sent_len, text, len + 1);
	c->sent_len += len;
	fake_peer_send(c->fd, text, len);
}

static void caller_ask(struct caller *c, const struct scenario *s, int number)
{
	char text[4096];
	const char *name = lab_name(c->who);
	if (s->method)
		snprintf(text, sizeof(text),
			"%s /%s/%d HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s", s->method,
			name, number, strlen(s->body), s->body);
	else
		snprintf(text, sizeof(text), "[%s %d %0300d]", name, number, 0);
	caller_send(c, text);
}

static void converse(const struct scenario *s, struct caller *callers)
{
	for (int i = 0; i < CALLER_COUNT; i++) {
		struct caller *c = &callers[i];
		*c = (struct caller){.who = i ? LAB_BILLING : LAB_WEB};
		c->fd = lab_dial(&lab, c->who, s->to);
		caller_ask(c, s, 1);
	}
	lab_run(&lab, CLOCK_S);
	for (int i = 0; i < CALLER_COUNT; i++)
		caller_ask(&callers[i], s, 2);
	lab_run(&lab, CLOCK_S);
	for (int i = 0; i < CALLER_COUNT; i++)
		fake_peer_shutdown(callers[i].fd);
	lab_run(&lab, CLOCK_S);
}

/* --- what must be true whatever happened --- */

static void check_taint(struct str bytes, const char *stranger, const char *where)
{
	if (lab_holds_text(bytes, stranger))
		fail_msg("%s holds \"%s\": %.*s", where, stranger, (int)bytes.len, bytes.at);
}

static void check_caller(const struct scenario *s, const struct caller *c)
{
	struct str got = fake_peer_received(c->fd);
	check_taint(got, c->who == LAB_WEB ? "billing" : "web", "a caller's end");
	if (!s->method && got.len > 0 &&
		(got.len > c->sent_len || memcmp(got.at, c->sent, got.len) != 0))
		fail_msg("not what was sent: %.*s", (int)got.len, got.at);
}

static void check_server(const struct scenario *s, int fd)
{
	struct str got = fake_peer_received(fd);
	bool web = lab_holds_text(got, "web/") || lab_holds_text(got, "[web");
	bool billing = lab_holds_text(got, "billing/") || lab_holds_text(got, "[billing");
	/* Between two proxies all connections end here, but each is one caller's. */
	if (web && billing)
		fail_msg("two callers on one upstream connection: %.*s", (int)got.len, got.at);
}

static bool caller_whole(const struct scenario *s, const struct caller *c)
{
	struct str got = fake_peer_received(c->fd);
	if (!s->method)
		return got.len == c->sent_len && fake_peer_saw_end(c->fd);
	char one[64], two[64];
	snprintf(one, sizeof(one), ":/%s/1", lab_name(c->who));
	snprintf(two, sizeof(two), ":/%s/2", lab_name(c->who));
	return lab_holds_text(got, one) && lab_holds_text(got, two);
}

static void check(const struct scenario *s, const struct caller *callers, bool whole)
{
	for (int i = 0; i < CALLER_COUNT; i++) {
		check_caller(s, &callers[i]);
		if (whole && !caller_whole(s, &callers[i])) {
			struct str got = fake_peer_received(callers[i].fd);
			fail_msg("%s is not served whole: \"%.*s\"", lab_name(callers[i].who),
				(int)got.len, got.at);
		}
	}
	if (s->machine_count == 1) {
		for (uint32_t i = 0; fake_opened(i) != -1; i++)
			check_server(s, fake_opened(i));
		return;
	}
	for (uint32_t i = 0; lab_served(&lab, s->to, i) != -1; i++)
		check_server(s, lab_served(&lab, s->to, i));
}

static void finish(struct caller *callers)
{
	lab_finish(&lab);
	for (int i = 0; i < CALLER_COUNT; i++)
		free(callers[i].sent);
}

/* --- every fault --- */

/* These cost time, not bytes. */
static bool fault_harmless(enum fake_kind kind, enum fake_fault fault)
{
	switch (fault) {
	case FAKE_FAULT_NONE:
	case FAKE_FAULT_CANCEL_LOSES:
	case FAKE_FAULT_NO_BLOCK:
	case FAKE_FAULT_END:
		return true;
	case FAKE_FAULT_SHORT:
		return kind != FAKE_SEND;
	case FAKE_FAULT_RESET:
	case FAKE_FAULT_LATE:
	case FAKE_FAULT_COUNT:
		break;
	}
	return false;
}

static void run(const struct scenario *s, enum fake_kind kind, uint32_t nth, enum fake_fault fault)
{
	struct caller callers[CALLER_COUNT];
	struct lab_options options = {
		.machine_count = s->machine_count, .serving = s->serving, .no_log = true};
	lab_start(&lab, &options);
	/* the listeners' and signers' first operations are armed already: they are meant, too */
	fake_fault(kind, nth, fault);
	converse(s, callers);
	assert_int_equal(fake_faults_left(), 0);
	check(s, callers, fault_harmless(kind, fault));
	finish(callers);
}

static void test_every_fault(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
		const struct scenario *s = &scenarios[i];
		struct caller callers[CALLER_COUNT];
		uint32_t before[FAKE_KIND_COUNT], counts[FAKE_KIND_COUNT];
		lab_start(&lab, &(struct lab_options){
					.machine_count = s->machine_count, .serving = s->serving});
		for (int kind = 0; kind < FAKE_KIND_COUNT; kind++)
			before[kind] = fake_ops_count((enum fake_kind)kind);
		converse(s, callers);
		check(s, callers, true);
		for (int kind = 0; kind < FAKE_KIND_COUNT; kind++)
			counts[kind] = fake_ops_count((enum fake_kind)kind) - before[kind];
		finish(callers);
		for (int kind = 0; kind < FAKE_KIND_COUNT; kind++) {
			for (uint32_t nth = 1; nth <= counts[kind]; nth++) {
				for (int fault = 1; fault < FAKE_FAULT_COUNT; fault++) {
					snprintf(label, sizeof(label),
						"%s: kind %d nth %u fault %d", s->name, kind, nth,
						fault);
					run(s, (enum fake_kind)kind, nth, (enum fake_fault)fault);
				}
			}
		}
	}
	label[0] = '\0';
}

/* --- events from outside, after every turn --- */

static void event_drain(void)
{
	lab_drain(&lab, 0);
}

static void event_far_drain(void)
{
	lab_drain(&lab, lab.machine_count - 1);
}

static void event_replan(void)
{
	for (uint32_t i = 0; i < lab.machine_count; i++)
		lab_replan(&lab, i, NULL);
}

static void event_no_keeper(void)
{
	for (uint32_t i = 0; i < lab.machine_count; i++)
		fake_peer_close(lab.machines[i].signer);
}

static void event_servers_reset(void)
{
	for (uint32_t i = 0; fake_opened(i) != -1; i++)
		fake_peer_reset(fake_opened(i));
}

static void event_servers_close(void)
{
	for (uint32_t i = 0; fake_opened(i) != -1; i++)
		fake_peer_close(fake_opened(i));
}

static void event_no_buffers(void)
{
	for (uint32_t i = 0; i < lab.machine_count; i++)
		lab_worker(&lab, i)->buffers.block_count_max = 0;
}

static const struct event {
	const char *name;
	void (*make)(void);
	bool whole; /* whoever was accepted gets its answer all the same */
} events[] = {
	{"drain", event_drain, true},
	{"far drain", event_far_drain, false},
	{"replan", event_replan, true},
	{"no keeper", event_no_keeper, false},
	{"servers reset", event_servers_reset, false},
	{"servers close", event_servers_close, false},
	{"no buffers", event_no_buffers, false},
};

static void caller_dial(struct caller *c, const struct scenario *s, enum lab_workload who)
{
	*c = (struct caller){.who = who, .fd = lab_dial(&lab, who, s->to)};
	caller_ask(c, s, 1);
}

/* Never accepted: it waits for the proxy that comes next. */
static bool caller_waits(const struct caller *c)
{
	return fake_is_open(c->fd) && fake_unread(c->fd) == c->sent_len;
}

static bool caller_answered(const struct scenario *s, const struct caller *c)
{
	char one[64];
	struct str got = fake_peer_received(c->fd);
	snprintf(one, sizeof(one), s->method ? ":/%s/1" : "[%s 1 ", lab_name(c->who));
	return lab_holds_text(got, one);
}

/* False when the conversation was over before the event. */
static bool run_event(const struct scenario *s, const struct event *e, uint32_t turns)
{
	struct caller callers[CALLER_COUNT];
	lab_start(&lab,
		&(struct lab_options){.machine_count = s->machine_count, .serving = s->serving});
	lab_turns(&lab, 3);
	for (int i = 0; i < CALLER_COUNT; i++)
		caller_dial(&callers[i], s, i ? LAB_BILLING : LAB_WEB);
	bool busy = lab_turns(&lab, turns);
	e->make();
	lab_run(&lab, 3 * CLOCK_S);
	check(s, callers, false);
	for (int i = 0; i < CALLER_COUNT && e->whole; i++) {
		if (!caller_waits(&callers[i]) && !caller_answered(s, &callers[i]))
			fail_msg("%s lost its request", lab_name(callers[i].who));
	}
	finish(callers);
	return busy;
}

static void test_every_event_after_every_turn(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
		for (size_t e = 0; e < ARRAY_LEN(events); e++) {
			for (uint32_t turns = 0;; turns++) {
				snprintf(label, sizeof(label), "%s: %s after %u turns",
					scenarios[i].name, events[e].name, turns);
				if (!run_event(&scenarios[i], &events[e], turns))
					break;
			}
		}
	}
	label[0] = '\0';
}

static void test_chaos(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
		const struct scenario *s = &scenarios[i];
		for (uint64_t seed = 1; seed <= CHAOS_SEEDS; seed++) {
			struct caller callers[CALLER_COUNT];
			snprintf(label, sizeof(label), "%s: seed %u", s->name, (unsigned)seed);
			lab_start(&lab, &(struct lab_options){.machine_count = s->machine_count,
						.serving = s->serving,
						.chaos = seed,
						.no_log = true});
			converse(s, callers);
			check(s, callers, true);
			finish(callers);
		}
	}
	label[0] = '\0';
}

/* Much more than all buffers hold, both ways at once, through an end that reads by fits and starts.
 */
static void bulk(const struct scenario *s, const char *bytes, uint64_t seed)
{
	lab_start(&lab, &(struct lab_options){.machine_count = s->machine_count,
				.serving = s->serving,
				.chaos = seed,
				.no_log = true});
	int client = lab_dial(&lab, LAB_WEB, s->to);
	fake_peer_window(client, 0);
	for (size_t at = 0; at < BULK_BYTES; at += BULK_BYTES / 10)
		fake_peer_send(client, bytes + at, BULK_BYTES / 10);
	fake_peer_shutdown(client);
	for (size_t window = 1; window < 40000; window *= 3) {
		lab_run(&lab, 100 * CLOCK_MS);
		fake_peer_window(client, window);
	}
	fake_peer_window(client, SIZE_MAX);
	lab_run(&lab, CLOCK_S);
	struct str got = fake_peer_received(client);
	assert_int_equal(got.len, BULK_BYTES);
	assert_memory_equal(got.at, bytes, BULK_BYTES);
	assert_true(fake_peer_saw_end(client));
	assert_int_equal(lab_worker(&lab, 0)->connection_count, 0);
	lab_finish(&lab);
}

static void test_bulk_in_chaos(void **state)
{
	char *bytes = malloc(BULK_BYTES);
	for (uint32_t i = 0; i < BULK_BYTES; i++)
		bytes[i] = (char)(i * 2654435761u >> 24);
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
		for (uint64_t seed = 1; seed <= BULK_SEEDS && !scenarios[i].method; seed++) {
			snprintf(label, sizeof(label), "bulk, %s: seed %u", scenarios[i].name,
				(unsigned)seed);
			bulk(&scenarios[i], bytes, seed);
		}
	}
	free(bytes);
	label[0] = '\0';
}

/* --- chunked bodies --- */

/* Chunks of all sizes, sent in pieces that do not fit them. */
static void send_chunked(int fd, const char *head, const char *bytes, size_t len)
{
	char *text = malloc(2 * len + 4096);
	size_t at = (size_t)sprintf(text, "%s", head), done = 0, size = 1;
	while (done < len) {
		size_t part = len - done < size ? len - done : size;
		at += (size_t)sprintf(text + at, "%zx\r\n", part);
		memcpy(text + at, bytes + done, part);
		at += part;
		at += (size_t)sprintf(text + at, "\r\n");
		done += part;
		size = size * 5 % 30011;
	}
	at += (size_t)sprintf(text + at, "0\r\n\r\n");
	for (size_t sent = 0; sent < at; sent += 7001)
		fake_peer_send(fd, text + sent, at - sent < 7001 ? at - sent : 7001);
	free(text);
}

static void expect_chunked(struct str got, const char *bytes, size_t len)
{
	const char *at = memmem(got.at, got.len, "\r\n\r\n", 4), *end = got.at + got.len;
	assert_non_null(at);
	size_t done = 0;
	for (at += 4; at < end;) {
		char *line_end;
		size_t part = strtoul(at, &line_end, 16);
		at = line_end + 2;
		if (part == 0)
			break;
		assert_true(at + part + 2 <= end && done + part <= len);
		assert_memory_equal(at, bytes + done, part);
		done += part;
		at += part + 2;
	}
	assert_int_equal(done, len);
}

static void read_by_fits(int fd)
{
	for (size_t window = 1; window < 40000; window *= 3) {
		lab_run(&lab, 100 * CLOCK_MS);
		fake_peer_window(fd, window);
	}
	fake_peer_window(fd, SIZE_MAX);
	lab_run(&lab, CLOCK_S);
}

static void test_chunks_in_chaos(void **state)
{
	static char bytes[100000];
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)('a' + (i * 2654435761u >> 24) % 26);
	for (uint32_t machines = 1; machines <= 2; machines++) {
		for (uint64_t seed = 1; seed <= BULK_SEEDS; seed++) {
			snprintf(label, sizeof(label), "chunks, %u machines: seed %u", machines,
				(unsigned)seed);
			enum lab_workload to = machines == 1 ? LAB_SHOP : LAB_ORDERS;
			lab_start(&lab,
				&(struct lab_options){.machine_count = machines, .chaos = seed});
			int client = lab_dial(&lab, LAB_WEB, to);
			fake_peer_send_text(client, "POST / HTTP/1.1\r\nHost: h\r\n"
						    "Transfer-Encoding: chunked\r\n\r\n");
			lab_run(&lab, CLOCK_MS);
			int server = lab_served(&lab, to, 0);
			fake_peer_window(server, 0);
			send_chunked(client, "", bytes, sizeof(bytes));
			read_by_fits(server);
			expect_chunked(fake_peer_received(server), bytes, sizeof(bytes));
			fake_peer_window(client, 0);
			send_chunked(server,
				"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", bytes,
				sizeof(bytes));
			read_by_fits(client);
			expect_chunked(fake_peer_received(client), bytes, sizeof(bytes));
			lab_finish(&lab);
		}
	}
	label[0] = '\0';
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_fault, label_setup, label_teardown),
		cmocka_unit_test_setup_teardown(
			test_every_event_after_every_turn, label_setup, label_teardown),
		cmocka_unit_test_setup_teardown(test_chunks_in_chaos, label_setup, label_teardown),
		cmocka_unit_test_setup_teardown(test_bulk_in_chaos, label_setup, label_teardown),
		cmocka_unit_test_setup_teardown(test_chaos, label_setup, label_teardown),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
