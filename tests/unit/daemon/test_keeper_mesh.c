/* SPDX-License-Identifier: Apache-2.0 */
/* The real keeper with two children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "fake_proxy.h"
#include "stage.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether the first text stands before the second in the journal, both being there. */
static bool is_before(struct stage *s, const char *first, const char *second)
{
	char *all = place_read(&s->p, "journal");
	const char *a = strstr(all, first), *b = strstr(all, second);
	bool before = a && b && a < b;
	free(all);
	return before;
}

static void the_state_process_gets_what_only_it_may_see(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "plan 1 mesh", 2);
	expect(&s, "journal",
		"state: plan 1 mesh secret=open sesame operator=an operator "
		"roots=-----BEGIN CERTIFICATE----- key=-",
		1);
	expect(&s, "journal", "state: signed store, with others 0", 1);
	expect(&s, "journal", "signed with others 0", 1);
	expect(&s, "journal", "state: directory mode=700 own=1 file=1", 1);
	expect(&s, "log", "the state process has taken generation 1", 1);
	expect(&s, "journal", "view connected=1 revision=41", 1);
	expect(&s, "journal", "signed service/web", 1);
	assert_false(has_line(&s, "journal", "sees ", 1));
	assert_false(has_line(&s, "log", "sesame", 1));
	assert_false(has_line(&s, "log", "unknown", 1));
	stage_end(&s);
}

static void the_state_process_has_no_privilege(void **state)
{
	struct stage s;
	char line[200];
	stage_begin(&s, "mesh");
	expect(&s, "journal", "state: plan 1 mesh", 1);
	long pid = journal_number(&s, "state: pid=");
	snprintf(line, sizeof(line),
		"state: pid=%ld uid=%d groups=0 capabilities=0 no_new_privs=1 core=0 files=4 "
		"death_signal=9 notify_socket=0",
		pid, geteuid() == 0 ? 65534 : (int)geteuid());
	expect(&s, "journal", line, 1);
	stage_end(&s);
}

static void the_proxy_process_starts_with_the_picture(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "plan 1 mesh", 2);
	assert_true(is_before(&s, "state: plan 1", "start workers=2 restarts=0"));
	assert_true(is_before(&s, "picture 1 hello", "\nplan 1 mesh"));

	/* So does the next one, whatever has become of the state process. */
	kill((pid_t)journal_number(&s, "state: pid="), SIGSTOP);
	kill((pid_t)journal_number(&s, "\npid="), SIGKILL);
	expect(&s, "journal", "start workers=2 restarts=1", 1);
	assert_true(is_before(&s, "state: ledger", "state: directory"));
	expect(&s, "journal", "picture 1 hello", 2);
	expect(&s, "journal", "view connected=1 revision=41", 2);
	stage_end(&s);
}

static void without_a_picture_the_proxy_process_starts_all_the_same(void **state)
{
	struct stage s;
	stage_begin(&s, "meshnone");
	expect(&s, "journal", "\nplan 1 meshnone", 1);
	assert_false(has_line(&s, "journal", "picture", 1));
	expect_notified(&s, "READY=1");
	stage_end(&s);
}

static void the_state_process_may_die_and_nobody_minds(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "\nplan 1 mesh", 1);
	kill((pid_t)journal_number(&s, "state: pid="), SIGKILL);
	expect(&s, "journal", "state: start restarts=1", 1);
	expect(&s, "journal", "state: plan 1 mesh", 2);
	expect(&s, "journal", "picture 1 hello", 2);
	assert_false(has_line(&s, "journal", "start workers", 2));
	assert_false(has_line(&s, "log", "RUNNING -> WAITING", 2));
	stage_end(&s);
}

static void one_that_does_not_answer_is_replaced(void **state)
{
	struct stage s;
	stage_begin(&s, "meshmute");
	expect(&s, "journal", "\nplan 1 meshmute", 1);
	for (int i = 0; i < 2 * WAIT_TURNS && !has_line(&s, "log", "has not answered", 1); i++)
		usleep(10000);
	expect(&s, "log", "the state process has not answered for 15 s: killed", 1);
	expect(&s, "journal", "state: start restarts=1", 1);
	assert_false(has_line(&s, "journal", "start workers", 2));
	stage_end(&s);
}

/* What is asked is answered, and asked again: so one that hangs is noticed. */
static void the_state_process_is_asked_whether_it_lives(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "state: ping", 2);
	stage_end(&s);
}

static void one_that_dies_again_and_again_is_started_more_slowly(void **state)
{
	struct stage s;
	stage_begin(&s, "meshdie");
	expect(&s, "journal", "state: start restarts=3", 1);
	usleep(200000);
	assert_false(has_line(&s, "journal", "state: start restarts=6", 1));
	expect(&s, "journal", "\nplan 1 meshdie", 1);
	assert_false(has_line(&s, "journal", "start workers", 2));
	say(&s, "mesh");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "\nplan 2 mesh", 1);
	expect(&s, "journal", "picture 1 hello", 1);
	stage_end(&s);
}

static void a_reload_starts_it_and_another_ends_it(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	assert_false(has_line(&s, "journal", "state: ", 1));
	say(&s, "mesh");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "\nplan 2 mesh", 1);
	expect(&s, "journal", "state: plan 2 mesh", 1);
	expect(&s, "journal", "picture 1 hello", 1);
	pid_t pid = (pid_t)journal_number(&s, "state: pid=");

	/* A change reaches it without a new start. */
	say(&s, "mesher");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "state: plan 3 mesher", 1);
	say(&s, "good");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "plan 4 good", 1);
	expect(&s, "journal", "state: leave", 1);
	expect(&s, "log", "state process: LEAVING -> OFF", 1);
	assert_int_equal(kill(pid, 0), -1);
	assert_false(has_line(&s, "journal", "state: start", 2));

	/* A proxy process of the standalone machine hears nothing of the mesh. */
	kill((pid_t)journal_number(&s, "\npid="), SIGKILL);
	expect(&s, "journal", "plan 4 good", 2);
	assert_false(has_line(&s, "journal", "picture", 3));
	stage_end(&s);
}

static void what_it_refuses_is_told(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "\nplan 1 mesh", 1);
	say(&s, "meshrefuse");
	kill(s.keeper, SIGHUP);
	expect(&s, "log", "the state process does not take generation 2", 1);
	expect(&s, "log", "no such operator", 1);
	expect(&s, "journal", "note no such operator", 1);
	expect(&s, "journal", "\nplan 2 meshrefuse", 1); /* the proxy process took it */
	stage_end(&s);
}

/* The newest comes in the end, and none of those that came while the first was looked at. */
static void pictures_do_not_pile_up(void **state)
{
	struct stage s;
	stage_begin(&s, "meshburst");
	expect(&s, "journal", "picture 101 hello", 1);
	assert_false(has_line(&s, "journal", "picture ", 3));
	stage_end(&s);
}

static void what_is_no_picture_is_not_passed_on(void **state)
{
	struct stage s;
	stage_begin(&s, "meshbad");
	expect(&s, "journal", "\nplan 1 meshbad", 1);
	expect(&s, "journal", "view connected=1", 1);
	expect(&s, "log", "passed on what is no picture", 1);
	assert_false(has_line(&s, "log", "passed on what is no picture", 2)); /* not for each */
	assert_false(has_line(&s, "journal", "picture", 1));
	assert_false(has_line(&s, "journal", "state: start", 2));
	stage_end(&s);
}

/* Of either child: only memory that cannot change, of a size that can be, is the other's to read.
 */
static void what_is_nothing_of_the_world_outside_is_not_passed_on(void **state)
{
	struct stage s;
	stage_begin(&s, "meshoutside");
	expect(&s, "journal", "state: want 3", 1);
	expect(&s, "journal", "facts 5", 1);
	expect(&s, "log", "passed on what is no bundle of the world outside", 1);
	assert_false(has_line(&s, "log", "no bundle of the world outside", 2)); /* not for each */
	assert_false(has_line(&s, "journal", "want 1", 1));
	assert_false(has_line(&s, "journal", "facts 1", 1));
	assert_false(has_line(&s, "journal", "state: start", 2));
	assert_false(has_line(&s, "journal", "start workers", 2));
	stage_end(&s);
}

static void what_is_to_be_taken_out_is_passed_on(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "state: take out orders", 1); /* the proxy process asks for it */
	stage_end(&s);
}

static void a_changed_secret_is_taken_up(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "\nplan 1 mesh", 1);
	place_write(&s.p, "password", STR("new\nlines\n"), 0600);
	expect(&s, "journal", "state: plan 2 mesh secret=new|lines operator", 1);
	place_write(&s.p, "operator.pem", STR("another"), 0644);
	expect(&s, "journal", "state: plan 3 mesh secret=new|lines operator=another", 1);
	stage_end(&s);
}

static void stopping_leaves_the_mesh(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh");
	expect(&s, "journal", "\nplan 1 mesh", 1);
	pid_t pid = (pid_t)journal_number(&s, "state: pid=");
	stage_end(&s);
	assert_int_equal(kill(pid, 0), -1);

	/* One that does not is not waited for for ever. */
	stage_begin(&s, "meshstubborn");
	expect(&s, "journal", "\nplan 1 meshstubborn", 1);
	kill(s.keeper, SIGTERM);
	assert_int_equal(keeper_status(&s), 0);
	expect(&s, "journal", "state: leave", 1);
	expect(&s, "log", "state process", 1);
	expect(&s, "log", "was killed by signal 9", 1);
	stage_clear(&s);
}

/* --- what stands on disk --- */

static void start_fails(const char *word, void (*prepare)(struct stage *s), const char *why)
{
	struct stage s;
	stage_set(&s, word);
	prepare(&s);
	s.keeper = run_keeper(&s);
	assert_int_equal(keeper_status(&s), 1);
	expect(&s, "log", why, 1);
	stage_clear(&s);
}

static void password_for_all(struct stage *s)
{
	chmod(place_path(&s->p, "password"), 0644);
}

static void password_is_directory(struct stage *s)
{
	unlink(place_path(&s->p, "password"));
	mkdir(place_path(&s->p, "password"), 0700);
}

static void password_is_empty(struct stage *s)
{
	place_write(&s->p, "password", STR("\n"), 0600);
}

static void password_is_long(struct stage *s)
{
	char text[2000];
	memset(text, 'x', sizeof(text));
	place_write(&s->p, "password", (struct str){text, sizeof(text)}, 0600);
}

static void operator_is_missing(struct stage *s)
{
	unlink(place_path(&s->p, "operator.pem"));
}

static void key_for_all(struct stage *s)
{
	chmod(place_path(&s->p, "certs/web.key"), 0644);
}

static void files_that_will_not_do_are_refused(void **state)
{
	start_fails("mesh", password_for_all, "run: chmod 600 ");
	start_fails("mesh", password_is_directory, "password: not a regular file");
	start_fails("mesh", password_is_empty, "empty; state.password_file wants a password");
	start_fails("mesh", password_is_long, "which is no password");
	start_fails("mesh", operator_is_missing, "operator.pem: No such file");
	start_fails("mesh", key_for_all, "run: chmod 600 ");
}

static void a_credential_is_a_password_too(void **state)
{
	struct stage s;
	stage_set(&s, "mesh");
	mkdir(place_path(&s.p, "credentials"), 0700);
	place_write(&s.p, "credentials/store", STR("from the manager"), 0440);
	setenv("CREDENTIALS_DIRECTORY", place_path(&s.p, "credentials"), 1);
	s.keeper = run_keeper(&s);
	expect(&s, "journal", "secret=from the manager", 1);
	stage_end(&s);
	unsetenv("CREDENTIALS_DIRECTORY");
}

/* The state process does not begin, the log says why, and the proxy process serves. */
static void directory_fails(void (*prepare)(struct stage *s), const char *why)
{
	struct stage s;
	stage_set(&s, "mesh");
	prepare(&s);
	s.keeper = run_keeper(&s);
	expect(&s, "log", why, 2);
	expect(&s, "journal", "\nplan 1 mesh", 1);
	assert_false(has_line(&s, "journal", "state: directory", 1));
	stage_end(&s);
}

static void directory_is_link(struct stage *s)
{
	mkdir(place_path(&s->p, "elsewhere"), 0700);
	char target[200];
	snprintf(target, sizeof(target), "%s", place_path(&s->p, "elsewhere"));
	assert_int_equal(symlink(target, place_path(&s->p, "state")), 0);
}

static void directory_is_file(struct stage *s)
{
	place_write(&s->p, "state", STR("x"), 0600);
}

static void directory_is_full(struct stage *s)
{
	mkdir(place_path(&s->p, "state"), 0700);
	place_write(&s->p, "state/precious", STR("x"), 0600);
}

static void directory_is_foreign(struct stage *s)
{
	mkdir(place_path(&s->p, "state"), 0700);
	assert_int_equal(chown(place_path(&s->p, "state"), 1234, 1234), 0);
}

static void directory_is_for_all(struct stage *s)
{
	mkdir(place_path(&s->p, "state"), 0755);
	if (geteuid() == 0)
		assert_int_equal(chown(place_path(&s->p, "state"), 65534, 65534), 0);
}

static void a_directory_that_will_not_do_is_refused(void **state)
{
	directory_fails(directory_is_link, "a symbolic link; name the directory itself");
	directory_fails(directory_is_file, "no directory; name the directory itself");
	directory_fails(directory_is_for_all, "others may use it (mode 0755)");
	if (geteuid() != 0)
		return;
	directory_fails(directory_is_full, "belongs to root and is not empty");
	directory_fails(directory_is_foreign, "belongs to user 1234");
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "proxy") == 0)
		return fake_proxy_main();
	if (argc > 1 && strcmp(argv[1], "state") == 0)
		return fake_state_main();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_state_process_gets_what_only_it_may_see),
		cmocka_unit_test(the_state_process_has_no_privilege),
		cmocka_unit_test(the_proxy_process_starts_with_the_picture),
		cmocka_unit_test(without_a_picture_the_proxy_process_starts_all_the_same),
		cmocka_unit_test(the_state_process_may_die_and_nobody_minds),
		cmocka_unit_test(one_that_does_not_answer_is_replaced),
		cmocka_unit_test(the_state_process_is_asked_whether_it_lives),
		cmocka_unit_test(one_that_dies_again_and_again_is_started_more_slowly),
		cmocka_unit_test(a_reload_starts_it_and_another_ends_it),
		cmocka_unit_test(what_it_refuses_is_told),
		cmocka_unit_test(pictures_do_not_pile_up),
		cmocka_unit_test(what_is_no_picture_is_not_passed_on),
		cmocka_unit_test(what_is_nothing_of_the_world_outside_is_not_passed_on),
		cmocka_unit_test(what_is_to_be_taken_out_is_passed_on),
		cmocka_unit_test(a_changed_secret_is_taken_up),
		cmocka_unit_test(stopping_leaves_the_mesh),
		cmocka_unit_test(files_that_will_not_do_are_refused),
		cmocka_unit_test(a_credential_is_a_password_too),
		cmocka_unit_test(a_directory_that_will_not_do_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
