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

/* Five that want the same get about the same; one who comes late has his share a few windows later.
 */
static void test_nodes_that_want_the_same_get_about_the_same(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		mesh_begin(&mesh, 5, 1000, 1000, seed);
		load(4, 4);
		mesh_pass(&mesh, 5000);
		mesh.nodes[4].rate[0] = mesh.nodes[0].rate[0];
		mesh_pass(&mesh, 15000);
		for (int i = 0; i < 5; i++) {
			uint64_t sum = 0;
			for (uint64_t w = 9; w < 20; w++)
				sum += mesh.nodes[i].taken[0][w];
			/* a fifth each, give or take three tenths of it */
			assert_in_range(sum, 11 * 140, 11 * 260);
		}
		mesh_end(&mesh);
	}
}

/* What one does not want, the others get. */
static void test_what_one_leaves_is_for_the_others(void **state)
{
	mesh_begin(&mesh, 4, 1000, 1000, 3);
	load(4, 4);
	mesh.nodes[1].rate[0] = 0.05; /* per ms: 50 of 1000 */
	mesh_pass(&mesh, 20000);
	expect_exact(0, 20);
	uint64_t small = 0, wished = 0;
	for (uint64_t w = 2; w < 20; w++) {
		small += mesh.nodes[1].taken[0][w];
		wished += mesh.nodes[1].wished[0][w];
		assert_true(mesh_taken(&mesh, 0, w) >= 990);
	}
	/* it asks on when all is taken, so it cannot have all that it wants */
	printf("%u of %u for the small one\n", (unsigned)small, (unsigned)wished);
	assert_true(small * 4 >= wished);
	mesh_end(&mesh);
}

/* The load of a window begins at one node and ends at another. */
static void test_unused_tokens_come_back_within_the_window(void **state)
{
	mesh_begin(&mesh, 2, 1000, 2000, 5);
	for (int w = 0; w < 20; w++) {
		mesh.nodes[w % 2].rate[0] = 0.6;
		mesh.nodes[1 - w % 2].rate[0] = 0;
		mesh_pass(&mesh, 700);
		mesh.nodes[w % 2].rate[0] = 0;
		mesh.nodes[1 - w % 2].rate[0] = 0.6;
		mesh_pass(&mesh, 1300);
	}
	expect_exact(0, 20);
	/* 420 + 780 are wanted */
	for (uint64_t w = 1; w < 20; w++)
		assert_true(mesh_taken(&mesh, 0, w) >= 950);
	mesh_end(&mesh);
}

/* Clocks of nodes may be minutes apart (see mesh_begin); what counts is how well they know the
 * store's. An error of theirs moves the edges, and adds nothing to a window. */
static void test_clocks_that_err_add_nothing(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		mesh_begin(&mesh, 4, 1000, 1000, seed);
		load(4, 3);
		for (int i = 0; i < 4; i++)
			mesh.nodes[i].error_ns =
				(int64_t)mesh_random(&mesh, 20 * MESH_MS) - 10 * (int64_t)MESH_MS;
		mesh.now_ms = 500;
		mesh_pass(&mesh, 20000);
		expect_exact(0, 20);
		assert_true(used(2, 19) >= 0.95);
		mesh_end(&mesh);
	}
}

static void test_a_node_that_dies_takes_its_lease_with_it(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		mesh_begin(&mesh, 4, 1000, 1000, seed);
		load(4, 4);
		mesh_pass(&mesh, 5000 + mesh_random(&mesh, 1000));
		mesh.nodes[2].is_dead = true;
		mesh_pass(&mesh, 10000);
		expect_exact(0, 15);
		/* a part of one window, or what it had taken of the next */
		assert_true(mesh_taken(&mesh, 0, 5) + mesh_taken(&mesh, 0, 6) >= 2000 - 500);
		for (uint64_t w = 7; w < 15; w++)
			assert_true(mesh_taken(&mesh, 0, w) >= 990);
		mesh_end(&mesh);
	}
}

/* Answers that come two windows late, or never. */
static void test_slow_answers_cost_use_and_never_more(void **state)
{
	static const uint32_t delays[] = {50, 300, 2500};
	for (size_t d = 0; d < ARRAY_LEN(delays); d++) {
		mesh_begin(&mesh, 4, 1000, 1000, d + 1);
		mesh.delay_ms = delays[d];
		load(4, 3);
		mesh_pass(&mesh, 30000);
		uint64_t credit = ledger_limit_credit(1000, 1000), sum = 0;
		for (uint64_t w = 0; w < 30; w++) {
			sum += mesh_taken(&mesh, 0, w);
			/* who has no answer in a whole window lends in it */
			assert_true(mesh_taken(&mesh, 0, w) <= 1000 + 4 * credit);
		}
		printf("answers up to %u ms late: %.1f %% used\n", 2 * delays[d],
			100 * used(2, 29));
		assert_true(used(2, 29) >= (delays[d] <= 50 ? 0.95 : 0));
		mesh_end(&mesh);
	}
}

static void cut(bool is_cut)
{
	for (uint32_t i = 0; i < mesh.node_count; i++) {
		mesh.nodes[i].is_cut = is_cut;
		if (is_cut) {
			book_lost(&mesh.nodes[i].book);
			mesh.nodes[i].there.count = mesh.nodes[i].back.count = 0;
		}
	}
}

static void test_after_an_outage_the_limit_holds_again(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		mesh_begin(&mesh, 4, 1000, 1000, seed);
		load(4, 3);
		mesh_pass(&mesh, 3000 + mesh_random(&mesh, 1000));
		cut(true);
		mesh_pass(&mesh, 3000);
		assert_true(mesh.nodes[0].away > 0);
		if (seed % 2)
			mesh_flush(&mesh);
		cut(false);
		mesh_pass(&mesh, 25000 - mesh.now_ms);
		expect_exact(9, 25);
		assert_true(used(9, 24) >= 0.98);
		mesh_end(&mesh);
	}
}

/* Calls that are far between are let through as long as there are tokens: nothing of them waits,
 * and none is refused because nobody has asked the store yet. */
static void test_calls_that_are_far_between_find_tokens(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		mesh_begin(&mesh, 4, 20, 60000, seed);
		for (int i = 0; i < 16; i++) {
			struct mesh_node *n = &mesh.nodes[mesh_random(&mesh, 4)];
			n->due[0] = 1;
			mesh_pass(&mesh, 1);
			mesh_pass(&mesh, 1000 + mesh_random(&mesh, 2000));
		}
		assert_true(mesh_taken(&mesh, 0, 0) >= 14);
		for (int i = 0; i < 100; i++) {
			mesh.nodes[i % 4].due[0] = 1;
			mesh_pass(&mesh, 100);
		}
		/* who held one may not have needed it; who was told long ago may lend one */
		assert_in_range(mesh_taken(&mesh, 0, 0), 17, 20 + 4);
		mesh_end(&mesh);
	}
}

/* A first call everywhere at once: one each is lent, and the next window pays. */
static void test_what_is_lent_beyond_the_amount_is_paid(void **state)
{
	mesh_begin(&mesh, 8, 3, 1000, 1);
	mesh_pass(&mesh, 100);
	for (int i = 0; i < 8; i++)
		mesh.nodes[i].due[0] = 1;
	mesh_pass(&mesh, 1);
	assert_int_equal(mesh_taken(&mesh, 0, 0), 8);
	mesh_pass(&mesh, 2899);
	for (int i = 0; i < 8; i++)
		mesh.nodes[i].due[0] = 1;
	uint64_t owed = 0;
	for (int i = 0; i < 8; i++)
		owed += mesh.nodes[i].book.rows[0].tokens.owed;
	assert_int_equal(owed, 0); /* all of it is paid, in one window or more */
	assert_true(mesh.numbers[0][0] >= 3 && mesh.numbers[0][1] > 0);
	mesh_end(&mesh);
}

static void test_nothing_is_said_to_the_store_while_nobody_asks(void **state)
{
	mesh_begin(&mesh, 4, 1000, 1000, 1);
	load(4, 2);
	mesh_pass(&mesh, 3000);
	load(4, 0);
	mesh_pass(&mesh, 2000);
	uint64_t before = mesh.command_count;
	mesh_pass(&mesh, 20000);
	assert_int_equal(mesh.command_count, before);
	for (int i = 0; i < 4; i++)
		assert_false(book_is_busy(&mesh.nodes[i].book));
	mesh_end(&mesh);
}

/* Thousands of keys: commands of a turn are bounded, and every key comes to its turn. */
static void test_thousands_of_keys_share_the_turns(void **state)
{
	enum { KEYS = 4000 };
	static uint32_t answered[KEYS];
	static int64_t numbers[KEYS];
	struct err err;
	struct ledger *l;
	struct book b;
	struct book_command c;
	struct ledger_left left;
	int fd = ledger_create(&err);
	assert_int_equal(ledger_map(fd, &l, &err), 0);
	close(fd);
	assert_true(book_init(&b, l));
	lease_set_believed(l, UINT64_MAX);
	memset(answered, 0, sizeof(answered));
	memset(numbers, 0, sizeof(numbers));
	for (uint64_t turn = 0; turn < 200; turn++) {
		uint64_t now_ns = 1000 * 1000 * MESH_MS + turn * BOOK_TURN_NS;
		for (uint32_t key = 0; key < KEYS; key++) {
			struct ledger_limit_rule rule = {{{key * 977 + 1, 5}}, 100, 60000};
			(void)ledger_limit_take(l, &rule, now_ns, &left);
		}
		book_turn(&b, now_ns);
		uint32_t count = 0;
		while (book_next(&b, &c)) {
			uint64_t key = (c.id.word[0] - 1) / 977;
			count++;
			/* until its window is over, and not for another one */
			assert_in_range(c.keep_ms, 60000 + 1000, 2 * 60000);
			answered[key] += c.kind == BOOK_TAKE;
			numbers[key] += c.kind == BOOK_TAKE ? c.count : 0;
			numbers[key] -= c.kind == BOOK_BACK ? c.count : 0;
			book_answer(&b, c.tag, BOOK_TOLD, numbers[key], now_ns);
		}
		assert_true(count <= BOOK_COMMANDS + 3 * TOKENS_ASKS);
	}
	for (uint32_t key = 0; key < KEYS; key++)
		assert_true(answered[key] > 0);
	book_done(&b);
	ledger_unmap(l);
}

/* Whose number does not have what this node took of it, lost what it was; given back, it has not.
 */
static void test_a_number_that_was_lost_is_known_by_what_it_lacks(void **state)
{
	static const struct {
		uint32_t back;
		int64_t before; /* of the second TAKE */
		bool is_anew;
	} rows[] = {{0, 50, false}, {0, 49, true}, {0, 0, true}, {0, -7, true}, {20, 30, false},
		{20, 29, true}, {0, 90, false}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tokens t;
		struct tokens_ask asks[TOKENS_ASKS];
		tokens_init(&t, 200, 1000);
		struct tokens_seen seen = {.now_ns = 77, .store_ns = 5500 * MESH_MS, .lent = 50};
		assert_int_equal(tokens_step(&t, &seen, asks), 1);
		uint32_t more = asks[0].count - 50;
		struct tokens_told told = tokens_taken(&t, 5, asks[0].count, 78);
		assert_false(told.is_anew);
		assert_int_equal(told.granted, more);
		tokens_given_back(&t, 5, more + rows[i].back);
		seen = (struct tokens_seen){.now_ns = 99, .store_ns = 5501 * MESH_MS, .lent = 60};
		assert_in_range(tokens_step(&t, &seen, asks), 1, TOKENS_ASKS);
		assert_int_equal(asks[0].kind, TOKENS_TAKE);
		told = tokens_taken(&t, 5, rows[i].before + asks[0].count, 100);
		assert_int_equal(told.is_anew, rows[i].is_anew);
	}
}

/* Numbers that any stolen node may have written. */
static void test_numbers_of_anybody_are_bounded(void **state)
{
	static const int64_t numbers[] = {INT64_MIN, -1, 0, 1, 99, 100, 101, UINT32_MAX, INT64_MAX};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		struct tokens t;
		struct tokens_ask asks[TOKENS_ASKS];
		tokens_init(&t, 100, 1000);
		struct tokens_seen seen = {.now_ns = 77, .store_ns = 5500 * MESH_MS, .lent = 4};
		assert_int_equal(tokens_step(&t, &seen, asks), 1);
		struct tokens_told told = tokens_taken(&t, 5, numbers[i], 78);
		assert_true(told.granted <= asks[0].count - 4);
		assert_true(told.granted + told.back == asks[0].count - 4);
		assert_true(told.unleased <= 100 && told.credit <= 100 && t.owed <= 4);
		/* answered once */
		assert_true(tokens_taken(&t, 5, numbers[i], 78).is_old);
		assert_true(tokens_looked(&t, 5, numbers[i], 78).is_old);
		assert_true(tokens_taken(&t, 7, numbers[i], 78).is_old);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_beyond_the_amount_and_well_used),
		cmocka_unit_test(test_nodes_that_want_the_same_get_about_the_same),
		cmocka_unit_test(test_what_one_leaves_is_for_the_others),
		cmocka_unit_test(test_unused_tokens_come_back_within_the_window),
		cmocka_unit_test(test_clocks_that_err_add_nothing),
		cmocka_unit_test(test_a_node_that_dies_takes_its_lease_with_it),
		cmocka_unit_test(test_slow_answers_cost_use_and_never_more),
		cmocka_unit_test(test_after_an_outage_the_limit_holds_again),
		cmocka_unit_test(test_calls_that_are_far_between_find_tokens),
		cmocka_unit_test(test_what_is_lent_beyond_the_amount_is_paid),
		cmocka_unit_test(test_nothing_is_said_to_the_store_while_nobody_asks),
		cmocka_unit_test(test_thousands_of_keys_share_the_turns),
		cmocka_unit_test(test_a_number_that_was_lost_is_known_by_what_it_lacks),
		cmocka_unit_test(test_numbers_of_anybody_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
