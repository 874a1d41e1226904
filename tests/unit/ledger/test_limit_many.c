/* SPDX-License-Identifier: Apache-2.0 */
/* Real threads on both sides, and a side that writes nonsense. */
#include "ledger_lab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define WORKERS 4
#define KEYS	64

struct side {
	struct lab *lab;
	uint64_t seed;
	_Atomic uint32_t *moment_ms; /* since LAB_NOW; moved on by the main thread */
	_Atomic bool *over;
	uint64_t taken[KEYS][16]; /* by key and window */
};

static uint64_t number(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void *spend(void *argument)
{
	struct side *side = argument;
	while (!atomic_load(side->over)) {
		uint32_t key = (uint32_t)(number(&side->seed) % KEYS);
		uint32_t ms = atomic_load(side->moment_ms);
		struct ledger_limit_rule rule = lab_rule(key, 100);
		if (lab_take(side->lab, &rule, LAB_NOW + ms * 1000000ull) == LEDGER_TAKEN)
			side->taken[key][(500 + ms) / 1000]++;
	}
	return NULL;
}

struct bank {
	uint64_t granted, back, lent[16];
};

/* The main thread as the state process: grants at random, takes back at random, books what was
 * lent. */
static void grant(struct lab *lab, struct bank banks[][16], uint64_t window, uint64_t *seed)
{
	for (uint32_t w = 0; w < LEASE_WORDS; w++) {
		uint64_t bits = lease_take_wanted(lab->state, w);
		for (; bits != 0; bits &= bits - 1) {
			struct lease_slot slot;
			assert_true(lease_look(
				lab->state, w * 64 + (uint32_t)__builtin_ctzll(bits), &slot));
			uint64_t key = slot.rule.id.word[1] ^ 0x5555;
			assert_true(key < KEYS);
			struct bank *bank = &banks[key][window - 1000];
			uint32_t tokens = (uint32_t)(number(seed) % 4);
			lease_tell(lab->state, &slot, window, 0, 0);
			if (bank->granted - bank->back + tokens <= 50) {
				lease_grant(lab->state, &slot, window, tokens);
				bank->granted += tokens;
			}
			if (number(seed) % 8 == 0)
				bank->back += lease_take_back(lab->state, &slot, window, 2);
		}
	}
}

/* Every token is spent once, taken back, or still there. */
static void settle(struct lab *lab, struct side *sides, struct bank banks[][16], uint32_t windows)
{
	for (uint64_t key = 0; key < KEYS; key++) {
		struct ledger_limit_rule rule = lab_rule(key, 100);
		uint64_t last_ns = LAB_NOW + (windows - 1) * LAB_S;
		sides[0].taken[key][windows - 1] += lab_take(lab, &rule, last_ns) == LEDGER_TAKEN;
		struct lease_slot slot = lab_wanted(lab);
		for (uint32_t w = windows - 2; w < windows; w++) {
			struct lease_hand hand = lease_hand(lab->state, &slot, 1000 + w);
			uint64_t taken = 0;
			for (int i = 0; i < WORKERS; i++)
				taken += sides[i].taken[key][w];
			assert_int_equal(taken + hand.tokens + banks[key][w].back,
				banks[key][w].granted + hand.lent);
		}
	}
}

static void test_no_token_is_spent_twice_or_lost(void **state)
{
	static struct side sides[WORKERS];
	static struct bank banks[KEYS][16];
	struct lab lab;
	_Atomic uint32_t moment_ms = 0;
	_Atomic bool over = false;
	pthread_t threads[WORKERS];
	uint64_t seed = 99;
	lab_init(&lab);
	lease_set_believed(lab.state, UINT64_MAX);
	for (uint32_t i = 0; i < WORKERS; i++) {
		sides[i] = (struct side){&lab, i + 1, &moment_ms, &over, {{0}}};
		assert_int_equal(pthread_create(&threads[i], NULL, spend, &sides[i]), 0);
	}
	for (uint32_t ms = 0; ms < 4500; ms++) {
		atomic_store(&moment_ms, ms);
		grant(&lab, banks, 1000 + (500 + ms) / 1000, &seed);
	}
	atomic_store(&over, true);
	for (uint32_t i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t w = 0; w < LEASE_WORDS; w++)
		(void)lease_take_wanted(lab.state, w);
	/* A worker may have read the time before the main thread moved it on, and spent after the
	 * window was over: the sums are of windows whose memory is still there. */
	settle(&lab, sides, banks, 5);
	lab_done(&lab);
}

/* Many keys at once, from all threads: each ends in one slot, and is found there. */
struct opener {
	struct lab *lab;
	pthread_barrier_t *start;
	uint64_t lent;
};

static void *open_all(void *argument)
{
	struct opener *o = argument;
	pthread_barrier_wait(o->start);
	for (uint64_t n = 0; n < 4000; n++) {
		struct ledger_limit_rule rule = lab_rule(n, 8);
		o->lent += lab_take(o->lab, &rule, LAB_NOW) == LEDGER_TAKEN;
	}
	return NULL;
}

static void test_threads_agree_on_slots(void **state)
{
	struct lab lab;
	struct opener openers[WORKERS];
	pthread_t threads[WORKERS];
	pthread_barrier_t start;
	struct lease_slot slot;
	uint64_t lent = 0;
	uint32_t used = 0;
	lab_init(&lab);
	lease_set_believed(lab.state, UINT64_MAX);
	pthread_barrier_init(&start, NULL, WORKERS);
	for (uint32_t i = 0; i < WORKERS; i++) {
		openers[i] = (struct opener){&lab, &start, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, open_all, &openers[i]), 0);
	}
	for (uint32_t i = 0; i < WORKERS; i++) {
		pthread_join(threads[i], NULL);
		lent += openers[i].lent;
	}
	for (uint32_t i = 0; i < LEDGER_LIMITS; i++)
		used += lease_look(lab.state, i, &slot);
	/* One that is put to sleep while it makes a slot leaves a second one of the same key. */
	assert_in_range(used, 4000, 4000 + WORKERS);
	assert_int_equal(lent, used);
	pthread_barrier_destroy(&start);
	lab_done(&lab);
}

/* --- nonsense --- */

static void use_everything(struct lab *lab, uint64_t now_ns)
{
	struct ledger_left left;
	struct ledger_sums sums;
	for (uint64_t n = 0; n < 20; n++) {
		struct ledger_limit_rule rule = lab_rule(n, (uint32_t)n * 1000);
		(void)ledger_limit_take(lab->proxy, &rule, now_ns, &left);
		assert_true(left.remaining <= rule.amount);
		assert_true(left.reset_ns > now_ns && left.reset_ns <= now_ns + LAB_S);
		(void)ledger_figure_add(lab->proxy, &rule.id, n % 2 == 0, n << 20, now_ns);
		(void)ledger_figure_read(lab->state, &rule.id, &sums);
	}
	for (uint32_t i = 0; i < LEDGER_LIMITS; i += 97) {
		struct lease_slot slot;
		if (!lease_look(lab->state, i, &slot))
			continue;
		assert_true(slot.rule.window_ms >= LEDGER_WINDOW_MS_MIN);
		uint64_t window = lease_window(lab->state, now_ns, slot.rule.window_ms);
		struct lease_hand hand = lease_hand(lab->state, &slot, window);
		assert_true(hand.tokens <= slot.rule.amount && hand.lent <= slot.rule.amount);
		lease_grant(lab->state, &slot, window, UINT32_MAX);
		assert_true(lease_take_back(lab->state, &slot, window, 5) <= 5);
		lease_tell(lab->state, &slot, window, UINT32_MAX, UINT32_MAX);
	}
}

static void test_nonsense_in_the_memory_hurts_nobody(void **state)
{
	struct lab lab;
	struct stat st;
	uint64_t seed = 7;
	lab_init(&lab);
	assert_int_equal(fstat(lab.fd, &st), 0);
	size_t size = (size_t)st.st_size;
	unsigned char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, lab.fd, 0);
	assert_ptr_not_equal(bytes, MAP_FAILED);
	memset(bytes, 0xff, size);
	use_everything(&lab, LAB_NOW);
	use_everything(&lab, UINT64_MAX - 10 * LAB_S);
	for (unsigned char fill = 1; fill < 4; fill++) { /* claims: MAKING, USED, none */
		for (size_t i = 0; i < size; i++)
			bytes[i] = i % 4 == 0 ? fill : 0;
		use_everything(&lab, LAB_NOW);
	}
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i + 8 <= size; i += 8) {
			uint64_t word = number(&seed);
			memcpy(bytes + i, &word, 8);
		}
		ledger_mend(lab.proxy);
		use_everything(&lab, number(&seed) >> (round % 20));
	}
	munmap(bytes, size);
	lab_done(&lab);
}

struct vandal {
	uint64_t *words;
	size_t count;
	_Atomic bool over;
};

static void *vandalise(void *argument)
{
	struct vandal *v = argument;
	uint64_t seed = 3;
	while (!atomic_load(&v->over)) {
		uint64_t n = number(&seed);
		/* small numbers, too, which look like states and tags */
		__atomic_store_n(
			&v->words[n % v->count], number(&seed) >> (n >> 32) % 64, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void test_a_side_that_scribbles_stops_nobody(void **state)
{
	struct lab lab;
	struct stat st;
	pthread_t thread;
	struct vandal v = {.over = false};
	lab_init(&lab);
	assert_int_equal(fstat(lab.fd, &st), 0);
	v.count = (size_t)st.st_size / 8;
	v.words = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, lab.fd, 0);
	assert_ptr_not_equal(v.words, MAP_FAILED);
	assert_int_equal(pthread_create(&thread, NULL, vandalise, &v), 0);
	for (uint64_t i = 0; i < 300; i++)
		use_everything(&lab, LAB_NOW + i * 10000000);
	atomic_store(&v.over, true);
	pthread_join(thread, NULL);
	munmap(v.words, (size_t)st.st_size);
	lab_done(&lab);
}

static void test_slots_that_a_dead_proxy_was_making_are_mended(void **state)
{
	struct lab lab;
	struct stat st;
	lab_init(&lab);
	lease_set_believed(lab.state, UINT64_MAX);
	struct ledger_limit_rule rule = lab_rule(1, 8);
	(void)lab_take(&lab, &rule, LAB_NOW);
	assert_int_equal(fstat(lab.fd, &st), 0);
	uint64_t *words =
		mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, lab.fd, 0);
	assert_ptr_not_equal(words, MAP_FAILED);
	/* The first word of the slot, behind which its id stands: back to MAKING. */
	size_t at = 0;
	while (words[at + 1] != rule.id.word[0] || words[at + 2] != rule.id.word[1])
		at++;
	assert_int_equal(words[at] & UINT32_MAX, 2);
	words[at]--;
	ledger_mend(lab.proxy);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_TAKEN);
	assert_true(words[at + 1] == rule.id.word[0]); /* had again */
	munmap(words, (size_t)st.st_size);
	lab_done(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_token_is_spent_twice_or_lost),
		cmocka_unit_test(test_threads_agree_on_slots),
		cmocka_unit_test(test_nonsense_in_the_memory_hurts_nobody),
		cmocka_unit_test(test_a_side_that_scribbles_stops_nobody),
		cmocka_unit_test(test_slots_that_a_dead_proxy_was_making_are_mended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
