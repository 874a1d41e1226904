/* SPDX-License-Identifier: Apache-2.0 */
/* A mesh in virtual time that shares limits: nodes with a ledger, a book and workers that ask, and
 * one store behind connections that are slow in any way, but in order. */
#pragma once

#include "state/tokens_book.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MESH_NODES   8
#define MESH_KEYS    4
#define MESH_WINDOWS 64
#define MESH_FLIGHT  1024
#define MESH_MS	     1000000ull

struct mesh_flight {
	struct book_command command;
	uint64_t arrives_ms;
	int64_t number;
};

struct mesh_queue {
	struct mesh_flight at[MESH_FLIGHT];
	uint32_t first, count;
	uint64_t last_ms; /* nothing overtakes */
};

struct mesh_node {
	struct ledger *ledger;
	struct book book;
	struct mesh_queue there, back;
	bool is_dead, is_cut;			/* cut: no answer gets through, and no command */
	int64_t skew_ns;			/* its monotonic clock minus the simulation's */
	int64_t error_ns;			/* of what it thinks of the store's clock */
	double rate[MESH_KEYS], due[MESH_KEYS]; /* wishes per ms */
	uint64_t taken[MESH_KEYS][MESH_WINDOWS], wished[MESH_KEYS][MESH_WINDOWS];
	uint64_t away;
};

struct mesh {
	uint64_t now_ms; /* the store's clock; windows are counted from 0 on */
	uint64_t seed;
	uint32_t node_count, key_count;
	uint32_t amount, window_ms;
	uint32_t delay_ms; /* at most, each way */
	struct mesh_node nodes[MESH_NODES];
	int64_t numbers[MESH_KEYS][MESH_WINDOWS];
	bool is_there[MESH_KEYS][MESH_WINDOWS];
	uint64_t command_count;
};

void mesh_begin(struct mesh *m, uint32_t nodes, uint32_t amount, uint32_t window_ms, uint64_t seed);
void mesh_end(struct mesh *m);
void mesh_pass(struct mesh *m, uint64_t ms);
/* The store has forgotten everything. */
void mesh_flush(struct mesh *m);
uint64_t mesh_random(struct mesh *m, uint64_t below);
/* Of all nodes. */
uint64_t mesh_taken(const struct mesh *m, uint32_t key, uint64_t window);
uint64_t mesh_wished(const struct mesh *m, uint32_t key, uint64_t window);
