/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh_lab.h"

#define MESH_BORN_MS 100000000ull /* since the simulation's clock began, on every node */

uint64_t mesh_random(struct mesh *m, uint64_t below)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return below ? m->seed % below : 0;
}

static struct ledger_limit_rule mesh_rule(const struct mesh *m, uint32_t key)
{
	return (struct ledger_limit_rule){
		.id = {{key + 1, 77}}, .amount = m->amount, .window_ms = m->window_ms};
}

/* A node's own clock. */
static uint64_t mesh_node_ns(const struct mesh *m, const struct mesh_node *n)
{
	return (m->now_ms + MESH_BORN_MS) * MESH_MS + (uint64_t)n->skew_ns;
}

static void mesh_begin_node(struct mesh *m, struct mesh_node *n)
{
	struct err err;
	int fd = ledger_create(&err);
	assert_int_equal(ledger_map(fd, &n->ledger, &err), 0);
	close(fd);
	assert_true(book_init(&n->book, n->ledger));
	n->skew_ns = (int64_t)(mesh_random(m, 600000) * MESH_MS);
}

void mesh_begin(struct mesh *m, uint32_t nodes, uint32_t amount, uint32_t window_ms, uint64_t seed)
{
	*m = (struct mesh){.seed = seed * 2654435761u + 1,
		.node_count = nodes,
		.key_count = 1,
		.amount = amount,
		.window_ms = window_ms,
		.delay_ms = 3};
	for (uint32_t i = 0; i < nodes; i++)
		mesh_begin_node(m, &m->nodes[i]);
}

void mesh_end(struct mesh *m)
{
	for (uint32_t i = 0; i < m->node_count; i++) {
		book_done(&m->nodes[i].book);
		ledger_unmap(m->nodes[i].ledger);
	}
}

/* --- connections --- */

static void mesh_send(struct mesh *m, struct mesh_queue *q, const struct mesh_flight *f)
{
	uint64_t arrives_ms = m->now_ms + mesh_random(m, m->delay_ms + 1);
	assert_true(q->count < MESH_FLIGHT);
	if (arrives_ms < q->last_ms)
		arrives_ms = q->last_ms;
	struct mesh_flight *to = &q->at[(q->first + q->count++) % MESH_FLIGHT];
	*to = *f;
	to->arrives_ms = q->last_ms = arrives_ms;
}

static bool mesh_arrived(struct mesh *m, struct mesh_queue *q, struct mesh_flight *ret_flight)
{
	if (q->count == 0 || q->at[q->first].arrives_ms > m->now_ms)
		return false;
	*ret_flight = q->at[q->first];
	q->first = (q->first + 1) % MESH_FLIGHT;
	q->count--;
	return true;
}

static int64_t mesh_execute(struct mesh *m, const struct book_command *c)
{
	uint64_t key = c->id.word[0] - 1;
	assert_true(key < m->key_count);
	assert_true(c->window < MESH_WINDOWS);
	int64_t *number = &m->numbers[key][c->window];
	bool *is_there = &m->is_there[key][c->window];
	m->command_count++;
	switch (c->kind) {
	case BOOK_BORN:
		*is_there = true;
		return 0;
	case BOOK_TAKE:
		/* It is told when to forget it before it is written to. */
		assert_true(*is_there || *number == 0);
		*is_there = true;
		return *number += c->count;
	case BOOK_BACK:
		return *number -= c->count;
	case BOOK_LOOK:
	case BOOK_KEEP:
		break;
	}
	return *number;
}

void mesh_flush(struct mesh *m)
{
	memset(m->numbers, 0, sizeof(m->numbers));
	memset(m->is_there, 0, sizeof(m->is_there));
}

/* --- time --- */

static void mesh_wish(struct mesh *m, struct mesh_node *n, uint32_t key)
{
	struct ledger_limit_rule rule = mesh_rule(m, key);
	struct ledger_left left;
	/* By the node's idea of time, which the windows that count are of. */
	uint64_t window = lease_window(n->ledger, mesh_node_ns(m, n), m->window_ms);
	assert_true(window < MESH_WINDOWS);
	n->wished[key][window]++;
	enum ledger_taken taken = ledger_limit_take(n->ledger, &rule, mesh_node_ns(m, n), &left);
	n->taken[key][window] += taken == LEDGER_TAKEN;
	n->away += taken == LEDGER_AWAY;
	assert_true(left.remaining <= m->amount);
}

static void mesh_turn(struct mesh *m, struct mesh_node *n)
{
	struct book_command c;
	book_turn(&n->book, mesh_node_ns(m, n));
	while (book_next(&n->book, &c))
		mesh_send(m, &n->there, &(struct mesh_flight){.command = c});
}

static void mesh_pass_node(struct mesh *m, struct mesh_node *n, uint32_t index)
{
	struct mesh_flight f;
	/* What the state process does with the store's answers to TIME. */
	uint64_t store_ns = m->now_ms * MESH_MS + (uint64_t)n->error_ns;
	lease_set_clock(n->ledger, (int64_t)(store_ns - mesh_node_ns(m, n)));
	lease_set_believed(n->ledger, n->is_cut ? 0 : UINT64_MAX);
	for (uint32_t key = 0; key < m->key_count; key++) {
		for (n->due[key] += n->rate[key]; n->due[key] >= 1; n->due[key]--)
			mesh_wish(m, n, key);
	}
	if (n->is_cut)
		return;
	while (mesh_arrived(m, &n->there, &f)) {
		f.number = mesh_execute(m, &f.command);
		mesh_send(m, &n->back, &f);
	}
	while (mesh_arrived(m, &n->back, &f))
		book_answer(&n->book, f.command.tag, BOOK_TOLD, f.number, mesh_node_ns(m, n));
	if ((m->now_ms + index * 7) % (BOOK_TURN_NS / MESH_MS) == 0)
		mesh_turn(m, n);
}

void mesh_pass(struct mesh *m, uint64_t ms)
{
	for (uint64_t end_ms = m->now_ms + ms; m->now_ms < end_ms; m->now_ms++) {
		/* In any order. */
		uint32_t first = (uint32_t)mesh_random(m, m->node_count);
		for (uint32_t i = 0; i < m->node_count; i++) {
			uint32_t index = (first + i) % m->node_count;
			if (!m->nodes[index].is_dead)
				mesh_pass_node(m, &m->nodes[index], index);
		}
	}
}

uint64_t mesh_taken(const struct mesh *m, uint32_t key, uint64_t window)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < m->node_count; i++)
		sum += m->nodes[i].taken[key][window];
	return sum;
}

uint64_t mesh_wished(const struct mesh *m, uint32_t key, uint64_t window)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < m->node_count; i++)
		sum += m->nodes[i].wished[key][window];
	return sum;
}
