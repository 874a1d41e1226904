/* SPDX-License-Identifier: Apache-2.0 */
/* The real keeper with an authority behind its state process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "ca/ca.h"
#include "fake_proxy.h"
#include "keys/keep.h"
#include "stage.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What `ringmain join` leaves. */
static void join(struct stage *s)
{
	struct err err;
	struct keep *k;
	char ca[100], out[100], text[16384];
	snprintf(ca, sizeof(ca), "%s/ca", s->p.dir);
	snprintf(out, sizeof(out), "%s/out", s->p.dir);
	assert_int_equal(ca_issue(ca, STR("node/vm-a"), 3600, out, &err), 0);
	char *key = place_read(&s->p, "out/node+vm-a.key");
	char *chain = place_read(&s->p, "out/node+vm-a.crt");
	char *root = place_read(&s->p, "out/roots.pem");
	assert_int_equal(keep_open(place_path(&s->p, "keep"), STR("prod.example"), &k, &err), 0);
	keep_close(k);
	snprintf(text, sizeof(text), "%s%s", key, chain);
	place_write(&s->p, "keep/roots.pem", str_of(root), 0644);
	place_write(&s->p, "keep/node.pem", str_of(text), 0600);
	free(key);
	free(chain);
	free(root);
}

static void begin(struct stage *s, const char *word)
{
	stage_set(s, word);
	join(s);
	s->keeper = run_keeper(s);
}

static void a_certificate_is_asked_for_kept_and_in_force(void **state)
{
	struct stage s;
	begin(&s, "ca");
	expect(&s, "journal", "state: node signed=1 roots=1 chain=1 orders=0 trust=1", 1);
	expect(&s, "journal", "state: answer 0 service/orders fd=1 why=\n", 1);
	expect(&s, "journal", "state: answer 1 service/orders fd=0 why=\n", 1);
	expect(&s, "journal", "state: answer 2 far.example fd=0 why=\n", 1);
	/* In both processes, without anybody asking. */
	expect(&s, "journal", "signed service/orders", 1);
	expect(&s, "journal", "state: node signed=1 roots=1 chain=1 orders=1 trust=1", 1);
	expect(&s, "journal", "row service/orders state=2 skew=7", 1);
	assert_false(has_line(&s, "journal", "sees est", 1));
	assert_false(has_line(&s, "journal", "state: directory", 1)); /* there is no store */
	assert_false(has_line(&s, "log", "unknown", 1));
	/* Anchors under another name are those of nobody. */
	expect(&s, "journal", "answer 2 prod.example fd=0 why=anchors of prod.example: no cert", 1);
	stage_end(&s);
}

static void a_next_proxy_process_hears_how_it_stands(void **state)
{
	struct stage s;
	begin(&s, "ca");
	expect(&s, "journal", "row service/orders", 1);
	expect(&s, "journal", "signed service/orders", 1);
	kill((pid_t)journal_number(&s, "\npid="), SIGKILL);
	expect(&s, "journal", "start workers=2 restarts=1", 1);
	expect(&s, "journal", "row service/orders", 2);
	stage_end(&s);
}

static void certificates_that_come_together_are_one_plan(void **state)
{
	struct stage s;
	begin(&s, "camany");
	expect(&s, "journal", "signed service/web", 1);
	expect(&s, "journal", "signed service/orders", 1);
	expect(&s, "journal", "\nplan 2", 1);
	assert_false(has_line(&s, "journal", "\nplan 3", 1));
	stage_end(&s);
}

static void only_what_is_this_machines_is_given_or_taken(void **state)
{
	struct stage s;
	begin(&s, "caother");
	expect(&s, "journal", "state: gave nonsense", 1);
	expect(&s, "journal", "answer 0 service/other fd=0 why=identity", 1);
	expect(&s, "journal", "answer 0 node/vm-b fd=0 why=identity", 1);
	expect(&s, "journal", "answer 0 service/../node fd=0 why=identity", 1);
	expect(&s, "journal", "fd=0 why=not a sealed text", 3);
	expect(&s, "journal", "why=the chain: no certificate in it", 1);
	expect(&s, "journal", "answer 2 prod.example fd=0 why=", 1);
	expect(&s, "journal", "answer 2 evil.example fd=0 why=trust domain", 1);
	expect(&s, "log", "said of certificates what cannot be read", 1);
	assert_false(has_line(&s, "log", "said of certificates what cannot be read", 2));
	assert_false(has_line(&s, "journal", "fd=1", 1));
	assert_false(has_line(&s, "journal", "\nrow ", 1));
	assert_false(has_line(&s, "journal", "state: start", 2));
	assert_int_equal(access(place_path(&s.p, "keep/service/other.pem.next"), F_OK), -1);
	stage_end(&s);
}

/* It goes on signing and reloading, keeps what it has, and its log stays readable. */
static void nothing_that_is_said_makes_the_keeper_stumble(void **state)
{
	struct stage s;
	begin(&s, "cawild");
	char *node = place_read(&s.p, "keep/node.pem"), *roots = place_read(&s.p, "keep/roots.pem");
	expect(&s, "journal", "state: was wild", 1);
	assert_false(has_line(&s, "journal", "state: start", 2));
	char *node_after = place_read(&s.p, "keep/node.pem"),
	     *roots_after = place_read(&s.p, "keep/roots.pem");
	assert_string_equal(node, node_after);
	assert_string_equal(roots, roots_after);
	assert_int_equal(access(place_path(&s.p, "keep/service/orders.pem"), F_OK), -1);
	assert_false(has_line(&s, "log", "\nerror: forged", 1));
	assert_false(has_line(&s, "log", "something unknown", 30));
	assert_false(has_line(&s, "log", "not kept", 60));
	say(&s, "canew");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "\nplan 2 canew", 1);
	free(node);
	free(roots);
	free(node_after);
	free(roots_after);
	stage_end(&s);
}

static void errands_of_a_state_process_that_died_do_no_harm(void **state)
{
	struct stage s;
	begin(&s, "cadie");
	expect(&s, "journal", "state: died early", 2);
	expect(&s, "journal", "state: answer 1 service/orders fd=0 why=\n", 1);
	expect(&s, "journal", "signed service/orders", 1);
	/* No answer goes to one that has not asked. */
	assert_false(has_line(&s, "journal", "state: answer 0 service/orders", 3));
	assert_false(has_line(&s, "journal", "start workers", 2));
	assert_int_equal(access(place_path(&s.p, "keep/service/orders.pem.next"), F_OK), -1);
	stage_end(&s);
}

static void a_machine_that_has_not_joined_says_so_and_takes_it_up(void **state)
{
	struct stage s;
	stage_begin(&s, "ca");
	expect(&s, "journal", "\nplan 1 ca", 1);
	expect(&s, "log", "run `ringmain join` as root", 1);
	expect_notified(&s, "READY=1");
	expect(&s, "journal", "state: plan 1 ca", 1); /* which says so, too */
	assert_false(has_line(&s, "journal", "state: node", 1));
	join(&s);
	expect(&s, "journal", "state: node signed=1", 1);
	expect(&s, "journal", "signed service/orders", 1);
	assert_false(has_line(&s, "journal", "start workers", 2));
	assert_false(has_line(&s, "journal", "state: start", 2));
	stage_end(&s);
}

/* What is in force is not taken as missing because the machine's own pair is. */
static void without_the_machines_own_pair_what_is_in_force_is_seen(void **state)
{
	struct stage s;
	begin(&s, "ca");
	expect(&s, "journal", "state: node signed=1 roots=1 chain=1 orders=1 trust=1", 1);
	assert_int_equal(unlink(place_path(&s.p, "keep/node.pem")), 0);
	expect(&s, "journal", "state: no node orders=1 trust=1", 1);
	expect(&s, "log", "those in force, if any, will end", 1);
	stage_end(&s);
}

/* Joining costs a machine that is in a mesh nothing. */
static void with_a_store_joining_starts_nothing_anew(void **state)
{
	struct stage s;
	stage_begin(&s, "meshca");
	expect(&s, "journal", "\nplan 1 meshca", 1);
	expect(&s, "journal", "state: directory mode=700", 1);
	join(&s);
	expect(&s, "journal", "state: node signed=1", 1);
	expect(&s, "journal", "signed service/orders", 1);
	assert_false(has_line(&s, "journal", "state: start", 2));
	stage_end(&s);
}

static void a_store_that_comes_or_goes_is_another_state_process(void **state)
{
	struct stage s;
	begin(&s, "ca");
	expect(&s, "journal", "signed service/orders", 1);
	say(&s, "meshca");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "state: leave", 1);
	expect(&s, "journal", "state: directory mode=700", 1);
	expect(&s, "journal", "picture 1 hello", 1);
	say(&s, "mesh");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "state: leave", 2);
	expect(&s, "journal", "state: directory mode=700", 2);
	say(&s, "ca");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "state: leave", 3);
	expect(&s, "journal", "state: start", 4);
	assert_false(has_line(&s, "journal", "start workers", 2));
	stage_end(&s);
}

/* What a kill leaves is picked up by the next. */
static void a_killed_keeper_goes_on_from_what_is_kept(void **state)
{
	struct stage s;
	begin(&s, "ca");
	expect(&s, "journal", "signed service/orders", 1);
	kill(s.keeper, SIGKILL);
	assert_int_equal(keeper_status(&s), -SIGKILL);
	s.keeper = run_keeper(&s);
	expect(&s, "journal", "signed service/orders", 2);
	expect(&s, "journal", "state: answer 1 service/orders fd=0 why=\n", 2);
	stage_end(&s);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "proxy") == 0)
		return fake_proxy_main();
	if (argc > 1 && strcmp(argv[1], "state") == 0)
		return fake_state_main();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_is_asked_for_kept_and_in_force),
		cmocka_unit_test(a_next_proxy_process_hears_how_it_stands),
		cmocka_unit_test(certificates_that_come_together_are_one_plan),
		cmocka_unit_test(only_what_is_this_machines_is_given_or_taken),
		cmocka_unit_test(nothing_that_is_said_makes_the_keeper_stumble),
		cmocka_unit_test(errands_of_a_state_process_that_died_do_no_harm),
		cmocka_unit_test(a_machine_that_has_not_joined_says_so_and_takes_it_up),
		cmocka_unit_test(without_the_machines_own_pair_what_is_in_force_is_seen),
		cmocka_unit_test(with_a_store_joining_starts_nothing_anew),
		cmocka_unit_test(a_store_that_comes_or_goes_is_another_state_process),
		cmocka_unit_test(a_killed_keeper_goes_on_from_what_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
