/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the primary: addresses in turn, Sentinels, passwords; and what an operator reads when it
 * does not work. */
#include "store_lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ASK_ROLE  "*1\r\n$4\r\nROLE\r\n*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
#define ASK_WHERE "*3\r\n$8\r\nSENTINEL\r\n$23\r\nget-master-addr-by-name\r\n$4\r\nmesh\r\n"
#define PASSWORD  "s3cret-word"

/* --- passwords --- */

static void test_password_alone(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab.settings.password = STR(PASSWORD);
	lab_start(&lab);
	lab_expect(&lab, "*2\r\n$4\r\nAUTH\r\n$11\r\n" PASSWORD "\r\n" ASK_ROLE);
	lab_say(&lab, "+OK\r\n" LAB_MASTER LAB_INFO);
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_done(&lab);
}

static void test_user_password_and_name(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab.settings.username = STR("vm-a");
	lab.settings.password = STR(PASSWORD);
	lab.settings.client_name = STR("ringmain-vm-a");
	lab_start(&lab);
	lab_expect(&lab,
		"*3\r\n$4\r\nAUTH\r\n$4\r\nvm-a\r\n$11\r\n" PASSWORD "\r\n"
		"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$13\r\nringmain-vm-a\r\n" ASK_ROLE);
	/* The name is for show: whether it is taken is of no consequence. */
	lab_say(&lab, "+OK\r\n-NOPERM no\r\n" LAB_MASTER LAB_INFO);
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_done(&lab);
}

/* Whatever a server answers, the password is not shown: some repeat what they were sent. */
static const struct {
	const char *said, *why;
} refusals[] = {
	{"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
		"wrong password, or no such user: look at state.username and state.password_file"},
	{"-ERR unknown command 'AUTH', with args beginning with: 'vm-a' '" PASSWORD "'\r\n",
		"does not take AUTH"},
	{"-ERR AUTH <password> called without any password configured for the default user.\r\n",
		"does not take AUTH"},
	{"-LOADING Redis is loading the dataset in memory\r\n", "still loads its state from disk"},
	{"$11\r\n" PASSWORD "\r\n", "does not take AUTH"},
	{"+OK\r\n-NOPERM this user has no permissions to run the 'role' command\r\n",
		"its access rules do not allow ROLE to this user: NOPERM"},
	{"+OK\r\n-ERR no\r\n", "refuses ROLE: ERR no"},
	{"+OK\r\n" LAB_REPLICA, "is a replica, not the primary"},
	{"+OK\r\n*2\r\n$8\r\nsentinel\r\n*0\r\n", "is a Sentinel: set state.sentinel"},
	{"+OK\r\n*1\r\n$3\r\nfoo\r\n", "says no role that is known"},
	{"+OK\r\n*0\r\n", "says no role that is known"},
	{"+OK\r\n:1\r\n", "says no role that is known"},
	{"+OK\r\n$-1\r\n", "says no role that is known"},
	{"+OK\r\n*1\r\n*0\r\n", "says no role that is known"},
};

static void test_refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct lab lab;
		lab_init(&lab);
		lab.settings.username = STR("vm-a");
		lab.settings.password = STR(PASSWORD);
		lab_start(&lab);
		lab_say(&lab, refusals[i].said);
		assert_int_equal(store_state(lab.store), STORE_DOWN);
		assert_true(store_rounds_in_vain(lab.store) == 1);
		lab_why(&lab, refusals[i].why);
		lab_why(&lab, "10.0.0.1:6379: ");
		assert_null(strstr(store_why(lab.store), PASSWORD));
		lab_done(&lab);
	}
}

static void test_server_that_asks_for_a_password(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab_start(&lab);
	lab_say(&lab, "-NOAUTH Authentication required.\r\n");
	lab_why(&lab, "10.0.0.1:6379: the server asks for a password: set state.username and "
		      "state.password_file");
	lab_done(&lab);
}

/* A user may lack +info: then the id is not known, and all else works. */
static void test_without_replication_id(void **state)
{
	static const char *const said[] = {LAB_MASTER "-NOPERM no\r\n", LAB_MASTER "$0\r\n\r\n",
		LAB_MASTER "$18\r\nmaster_replid:0123\r\n",
		LAB_MASTER "$55\r\nmaster_replid:x123456789abcdef0123456789abcdef01234567x\r\n",
		LAB_MASTER ":1\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		struct lab lab;
		lab_init(&lab);
		lab_start(&lab);
		lab_say(&lab, said[i]);
		assert_int_equal(store_state(lab.store), STORE_READY);
		assert_int_equal(store_replication_id(lab.store).len, 0);
		lab_done(&lab);
	}
}

/* --- several addresses --- */

static void test_first_primary_of_several(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab.settings.address_count = 3;
	fake_connect_rule(&lab.addresses[0], -ECONNREFUSED);
	lab_start(&lab);
	assert_int_equal(store_state(lab.store), STORE_GREETING);
	assert_true(address_equal(store_address(lab.store), &lab.addresses[1]));
	lab_why(&lab, "10.0.0.1:6379: Connection refused");
	lab_say(&lab, LAB_REPLICA);
	assert_true(address_equal(store_address(lab.store), &lab.addresses[2]));
	lab_why(&lab, "10.0.0.1:6379: Connection refused; 10.0.0.2:6379: is a replica, not the "
		      "primary");
	lab_greet(&lab);
	/* Lost: the next one is tried first, then the others. */
	fake_peer_close(lab_fd(&lab));
	lab_pump(&lab);
	lab_run_to_socket(&lab, 5); /* the first of them refuses again */
	assert_true(address_equal(store_address(lab.store), &lab.addresses[1]));
	lab_greet(&lab);
	lab_done(&lab);
}

static void test_all_in_vain(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab.settings.address_count = 2;
	fake_connect_rule(NULL, -EHOSTUNREACH);
	lab_start(&lab);
	assert_true(store_rounds_in_vain(lab.store) == 1);
	assert_int_equal(fake_opened_count(), 2);
	assert_string_equal(store_why(lab.store),
		"10.0.0.1:6379: No route to host; 10.0.0.2:6379: No route to host");
	fake_connect_rule(&lab.addresses[1], 0);
	lab_run_to_socket(&lab, 4);
	lab_greet(&lab);
	assert_string_equal(store_why(lab.store), "");
	lab_done(&lab);
}

/* What is told of many failures is cut, not overrun. */
static void test_long_reasons(void **state)
{
	struct lab lab;
	char line[200] = "-";
	memset(line + 1, 'x', 180);
	memcpy(line + 181, "\r\n", 3);
	lab_init(&lab);
	lab.settings.address_count = 4;
	lab_start(&lab);
	for (int i = 0; i < 4; i++)
		lab_say(&lab, line);
	assert_true(store_rounds_in_vain(lab.store) == 1);
	assert_true(strlen(store_why(lab.store)) < 512);
	lab_done(&lab);
}

static void test_no_sockets(void **state)
{
	struct lab lab;
	lab_init(&lab);
	fake_open_fails(1, -EMFILE);
	lab_start(&lab);
	lab_why(&lab, "10.0.0.1:6379: no socket: Too many open files");
	lab_run_to_socket(&lab, 1);
	lab_greet(&lab);
	lab_done(&lab);
}

/* --- Sentinels --- */

static void lab_init_sentinel(struct lab *lab)
{
	lab_init(lab);
	lab->settings.address_count = 3;
	lab->settings.sentinel = STR("mesh");
	lab->settings.password = STR(PASSWORD);
}

static void test_sentinel_tells_the_primary(void **state)
{
	struct lab lab;
	struct address primary = {.family = AF_INET, .ip = {10, 0, 0, 9}, .port = 6390};
	lab_init_sentinel(&lab);
	lab.settings.sentinel_username = STR("s");
	lab.settings.sentinel_password = STR("other");
	lab_start(&lab);
	assert_int_equal(store_state(lab.store), STORE_LOOKING);
	lab_expect(&lab, "*3\r\n$4\r\nAUTH\r\n$1\r\ns\r\n$5\r\nother\r\n" ASK_WHERE);
	lab_say(&lab, "+OK\r\n*2\r\n$8\r\n10.0.0.9\r\n$4\r\n6390\r\n");
	assert_true(address_equal(store_address(lab.store), &primary));
	assert_int_equal(store_state(lab.store), STORE_GREETING);
	lab_expect(&lab, "*2\r\n$4\r\nAUTH\r\n$11\r\n" PASSWORD "\r\n" ASK_ROLE);
	lab_say(&lab, "+OK\r\n" LAB_MASTER LAB_INFO);
	assert_int_equal(store_state(lab.store), STORE_READY);
	assert_int_equal(fake_open_count(), 1);
	/* Lost: the next Sentinel is asked. */
	fake_peer_close(lab_fd(&lab));
	lab_pump(&lab);
	lab_run_to_socket(&lab, 3);
	assert_int_equal(store_state(lab.store), STORE_LOOKING);
	assert_true(address_equal(store_address(lab.store), &lab.addresses[1]));
	lab_done(&lab);
}

/* One is dead, one knows nothing, one tells of a replica: the round is over. */
static void test_sentinels_in_vain(void **state)
{
	struct lab lab;
	lab_init_sentinel(&lab);
	fake_connect_rule(&lab.addresses[0], -ECONNREFUSED);
	lab_start(&lab);
	lab_say(&lab, "*-1\r\n");
	assert_true(address_equal(store_address(lab.store), &lab.addresses[2]));
	lab_say(&lab, "*2\r\n$8\r\n10.0.0.9\r\n$4\r\n6390\r\n");
	lab_say(&lab, "+OK\r\n" LAB_REPLICA);
	assert_true(store_rounds_in_vain(lab.store) == 1);
	assert_string_equal(store_why(lab.store),
		"10.0.0.1:6379: Connection refused; 10.0.0.2:6379: this Sentinel knows no primary "
		"\"mesh\"; 10.0.0.9:6390: is a replica, not the primary");
	lab_done(&lab);
}

static void test_sentinel_finds_the_new_primary(void **state)
{
	struct lab lab;
	lab_init_sentinel(&lab);
	lab.settings.password = STR_NONE;
	lab_start(&lab);
	lab_say(&lab, "*2\r\n$8\r\n10.0.0.8\r\n$4\r\n6379\r\n");
	lab_greet(&lab);
	assert_true(store_say(lab.store, 1, "SET", "a", "b", NULL));
	lab_pump(&lab);
	lab_say(&lab, "-READONLY You can't write against a read only replica.\r\n");
	lab_run_to_socket(&lab, 3);
	lab_say(&lab, "*2\r\n$8\r\n10.0.0.9\r\n$4\r\n6379\r\n");
	lab_greet(&lab);
	assert_int_equal(store_address(lab.store)->ip[3], 9);
	lab_done(&lab);
}

static void test_what_a_sentinel_may_say(void **state)
{
	static const struct {
		const char *said, *why;
	} rows[] = {
		{"$-1\r\n", "this Sentinel knows no primary \"mesh\""},
		{"-NOAUTH Authentication required.\r\n",
			"set state.sentinel_username and state.sentinel_password_file"},
		{"-ERR unknown command 'SENTINEL'\r\n", "refuses SENTINEL: ERR unknown command"},
		{"-IDONTKNOW I have no leader\r\n", "refuses SENTINEL: IDONTKNOW"},
		{"*2\r\n$9\r\nredis.lan\r\n$4\r\n6379\r\n", "sentinel announce-hostnames no"},
		{"*2\r\n$8\r\n10.0.0.9\r\n$5\r\n65536\r\n", "does not tell an IP address"},
		{"*2\r\n$8\r\n10.0.0.9\r\n$1\r\n0\r\n", "does not tell an IP address"},
		{"*2\r\n$8\r\n10.0.0.9\r\n:6379\r\n", "does not tell an IP address"},
		{"*1\r\n$8\r\n10.0.0.9\r\n", "does not tell an IP address"},
		{"*2\r\n$-1\r\n$-1\r\n", "does not tell an IP address"},
		{"+OK\r\n", "does not tell an IP address"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab lab;
		lab_init_sentinel(&lab);
		lab.settings.address_count = 1;
		lab_start(&lab);
		lab_say(&lab, rows[i].said);
		assert_true(store_rounds_in_vain(lab.store) == 1);
		lab_why(&lab, rows[i].why);
		lab_done(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_password_alone),
		cmocka_unit_test(test_user_password_and_name),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_server_that_asks_for_a_password),
		cmocka_unit_test(test_without_replication_id),
		cmocka_unit_test(test_first_primary_of_several),
		cmocka_unit_test(test_all_in_vain),
		cmocka_unit_test(test_long_reasons),
		cmocka_unit_test(test_no_sockets),
		cmocka_unit_test(test_sentinel_tells_the_primary),
		cmocka_unit_test(test_sentinels_in_vain),
		cmocka_unit_test(test_sentinel_finds_the_new_primary),
		cmocka_unit_test(test_what_a_sentinel_may_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
