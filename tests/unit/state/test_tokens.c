/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the whole mesh in virtual time: what is granted, how well the amount is used, who gets
 * how much, and what faults cost. Seeds are fixed. */
#include "mesh_lab.h"

#include <stdio.h>

static struct mesh mesh;

static void load(uint32_t nodes, double times)
{
	double rate = times * mesh.amount / mesh.window_ms;
	for (uint32_t i = 0; i < nodes; i++)
		mesh.nodes[i].rate[0] = rate / nodes;
}

/* When all begin anew, each may lend its credit; from then on there is not one token more than the
 * amount, and what was lent beyond it is paid. */
static void expect_exact(uint64_t from, uint64_t to)
{
	uint64_t credit = ledger_limit_credit(mesh.amount, mesh.window_ms), sum = 0;
	for (uint64_t w = from; w < to; w++) {
		uint64_t taken = mesh_taken(&mesh, 0, w);
		uint64_t most = mesh.amount + (w == from ? mesh.node_count * credit : 0);
		sum += taken;
		if (taken > most)
			fail_msg("window %u: %u taken of %u", (unsigned)w, (unsigned)taken,
				mesh.amount);
	}
	assert_true(sum <= (to - from) * mesh.amount);
}

static double used(uint64_t from, uint64_t to)
{
	uint64_t taken = 0, possible = 0;
	for (uint64_t w = from; w < to; w++) {
		uint64_t wished = mesh_wished(&mesh, 0, w);
		taken += mesh_taken(&mesh, 0, w);
		possible += wished < mesh.amount ? wished : mesh.amount;
	}
	return (double)taken / (double)possible;
}

static void test_never_beyond_the_amount_and_well_used(void **state)
{
	static const uint32_t amounts[] = {1000, 100, 20000, 40};
	static const uint32_t windows[] = {1000, 2000, 200, 1000};
	static const double loads[] = {1.1, 2, 10, 1.5};
	for (size_t a = 0; a < ARRAY_LEN(amounts); a++) {
		for (size_t l = 0; l < ARRAY_LEN(loads); l++) {
			for (uint32_t nodes = 1; nodes <= 6; nodes += 5 - nodes % 4) {
				mesh_begin(&mesh, nodes, amounts[a], windows[a], a * 100 + l);
				load(nodes, loads[l]);
				mesh_pass(&mesh, 20ull * windows[a]);
				expect_exact(0, 20);
				double share = used(2, 19);
				printf("%u nodes, %u in %u ms, load %.1f: %.1f %% used, "
				       "%.1f commands a node and window\n",
					nodes, amounts[a], windows[a], loads[l], 100 * share,
					(double)mesh.command_count / nodes / 20);
				/* each node may end with a token in hand */
				double most = 1 - (double)nodes / amounts[a];
				assert_true(share >= (most < 0.95 ? most : 0.95));
				mesh_end(&mesh);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_beyond_the_amount_and_well_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
