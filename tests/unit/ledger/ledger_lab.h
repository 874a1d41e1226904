/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger as two processes see it: mapped twice. */
#pragma once

#include "ledger/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LAB_S 1000000000ull
/* Where tests begin: half a second into window 1000 of a second, when the clocks agree. */
#define LAB_NOW (1000 * LAB_S + LAB_S / 2)

struct lab {
	int fd;
	struct ledger *proxy, *state;
};

static inline void lab_init(struct lab *lab)
{
	struct err err;
	lab->fd = ledger_create(&err);
	assert_true(lab->fd >= 0);
	assert_int_equal(ledger_map(lab->fd, &lab->proxy, &err), 0);
	assert_int_equal(ledger_map(lab->fd, &lab->state, &err), 0);
	assert_ptr_not_equal(lab->proxy, lab->state);
}

static inline void lab_done(struct lab *lab)
{
	ledger_unmap(lab->proxy);
	ledger_unmap(lab->state);
	close(lab->fd);
}

static inline struct ledger_id lab_id(uint64_t n)
{
	return (struct ledger_id){{n * 0x9e3779b97f4a7c15ull + 1, n ^ 0x5555}};
}

static inline struct ledger_limit_rule lab_rule(uint64_t n, uint32_t amount)
{
	return (struct ledger_limit_rule){.id = lab_id(n), .amount = amount, .window_ms = 1000};
}

static inline enum ledger_taken lab_take(
	struct lab *lab, const struct ledger_limit_rule *rule, uint64_t now_ns)
{
	struct ledger_left left;
	return ledger_limit_take(lab->proxy, rule, now_ns, &left);
}

/* The slot that was asked for since the last call; exactly one. */
static inline struct lease_slot lab_wanted(struct lab *lab)
{
	struct lease_slot slot = {0};
	uint32_t count = 0;
	for (uint32_t w = 0; w < LEASE_WORDS; w++) {
		uint64_t bits = lease_take_wanted(lab->state, w);
		for (; bits != 0; bits &= bits - 1, count++)
			assert_true(lease_look(
				lab->state, w * 64 + (uint32_t)__builtin_ctzll(bits), &slot));
	}
	assert_int_equal(count, 1);
	return slot;
}
