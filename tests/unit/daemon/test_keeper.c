/* SPDX-License-Identifier: Apache-2.0 */
/* The real keeper with a proxy process that only writes down what it is told (fake_proxy.c, in this
 * same program: the keeper starts /proc/self/exe), and a configuration of one word
 * (fake_conf.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/clock.h"
#include "ca/ca.h"
#include "daemon/keeper.h"
#include "fake_conf.h"
#include "fake_proxy.h"
#include "keys/cert.h"
#include "keys/file.h"
#include "stage.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- tests --- */

/* Its issuer has no keys then, which denies by itself. */
static void a_key_file_that_cannot_be_read_is_left_out(void **state)
{
	static const char *const others[] = {"large", "place", "pipe", "gone"};
	struct stage s;
	char text[64];
	stage_set(&s, "good");
	assert_int_equal(mkdir(place_path(&s.p, "jwks"), 0755), 0);
	place_write(&s.p, "jwks/one.json", STR("{}"), 0644);
	place_write(&s.p, "jwks/large.json", STR(""), 0644);
	assert_int_equal(truncate(place_path(&s.p, "jwks/large.json"), (1 << 20) + 1), 0);
	assert_int_equal(mkdir(place_path(&s.p, "jwks/place.json"), 0755), 0);
	assert_int_equal(mkfifo(place_path(&s.p, "jwks/pipe.json"), 0644), 0);
	assert_int_equal(symlink("nowhere", place_path(&s.p, "jwks/gone.json")), 0);
	place_write(&s.p, "jwks/two.json", STR("{}"), 0644);
	s.keeper = run_keeper(&s);
	expect(&s, "journal", "plan 1 good", 1);
	expect(&s, "journal", "keys of one", 1);
	expect(&s, "journal", "keys of two", 1);
	assert_false(has_line(&s, "journal", "keys of ", 3));
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		snprintf(text, sizeof(text), "keys of issuer %s: ", others[i]);
		expect(&s, "log", text, 1);
	}
	stage_end(&s);
}

static void the_proxy_process_gets_all_it_needs(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	expect_notified(&s, "READY=1");
	char text[100];
	/* One port each on both families' loopback, both wildcards, twice for mesh; two workers. */
	expect(&s, "journal", "start workers=2 restarts=0", 1);
	snprintf(text, sizeof(text), "outbound=%d inbound=%d mesh=%d admin=1 log=1 signers=2", 4, 4,
		4);
	expect(&s, "journal", text, 1);
	expect(&s, "journal", "signed service/web", 1);
	expect(&s, "journal", "not signed: other input", 1);
	expect(&s, "journal", "signed 4 of a batch", 1);
	stage_end(&s);
}

static void the_proxy_process_has_no_privilege(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	assert_int_equal(journal_number(&s, "uid="), geteuid() == 0 ? 65534 : geteuid());
	assert_int_equal(journal_number(&s, "groups="), 0);
	assert_int_equal(journal_number(&s, "capabilities="), 0);
	assert_int_equal(journal_number(&s, "no_new_privs="), 1);
	assert_int_equal(journal_number(&s, "core="), 0);
	assert_int_equal(journal_number(&s, "files="), 4);
	assert_int_equal(journal_number(&s, "death_signal="), SIGKILL);
	assert_int_equal(journal_number(&s, "notify_socket="), 0);
	stage_end(&s);
}

static void the_admin_socket_is_for_owner_and_group(void **state)
{
	struct stage s;
	struct stat st;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	assert_int_equal(lstat(place_path(&s.p, "admin.sock"), &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);

	/* A second keeper sees that one is running. */
	pid_t first = s.keeper;
	s.keeper = run_keeper(&s);
	assert_int_equal(keeper_status(&s), 1);
	expect(&s, "log", "another ringmain is running there", 1);
	s.keeper = first;
	struct stat after;
	assert_int_equal(lstat(place_path(&s.p, "admin.sock"), &after), 0);
	assert_int_equal(after.st_ino, st.st_ino);
	kill(s.keeper, SIGTERM);
	assert_int_equal(keeper_status(&s), 0);
	assert_int_equal(lstat(place_path(&s.p, "admin.sock"), &st), -1);
	stage_clear(&s);
}

static void a_stale_admin_socket_is_replaced_and_a_file_is_not(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	kill(s.keeper, SIGKILL);
	assert_int_equal(keeper_status(&s), -SIGKILL);
	s.keeper = run_keeper(&s);
	expect(&s, "journal", "plan 1 good", 2);
	kill(s.keeper, SIGTERM);
	assert_int_equal(keeper_status(&s), 0);
	place_write(&s.p, "admin.sock", STR("precious"), 0600);
	s.keeper = run_keeper(&s);
	assert_int_equal(keeper_status(&s), 1);
	expect(&s, "log", "exists and is no socket", 1);
	char *text = place_read(&s.p, "admin.sock");
	assert_string_equal(text, "precious");
	free(text);
	stage_clear(&s);
}

static int dial(struct stage *s)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(s->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Until the other processor has taken the signal it would go on. */
static void halt(pid_t pid)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	for (int i = 0; i < WAIT_TURNS && !strstr(line, ") T "); i++) {
		FILE *f = fopen(path, "r");
		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		fclose(f);
		usleep(1000);
	}
	assert_non_null(strstr(line, ") T "));
}

static void connections_wait_while_the_proxy_process_is_started_again(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	pid_t proxy = (pid_t)journal_number(&s, "pid=");
	/* Stopped first, so that nobody is there to take the connections. */
	halt(proxy);
	int fds[8];
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(&s);
	kill(proxy, SIGKILL);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		char c = 0;
		assert_int_equal(recv(fds[i], &c, 1, 0), 1);
		assert_int_equal(c, '1'); /* the first restart answers */
		close(fds[i]);
	}
	expect(&s, "journal", "start workers=2 restarts=1", 1);
	expect(&s, "journal", "ledger calls=2", 1); /* the memory outlived the first */
	expect(&s, "log", "killed by signal 9", 1);
	stage_end(&s);
}

static void repeated_deaths_slow_the_restarts_down(void **state)
{
	struct stage s;
	stage_begin(&s, "die");
	expect(&s, "journal", "start workers", 4);
	usleep(200000);
	assert_false(has_line(&s, "journal", "start workers", 6));
	/* A better configuration is taken up between two starts. */
	say(&s, "good");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "good", 1);
	expect_notified(&s, "READY=1\nSTATUS=serving");
	stage_end(&s);
}

static void a_reload_brings_a_new_generation(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	say(&s, "better");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "plan 2 better", 1);
	assert_false(has_line(&s, "journal", "with the key before", 1)); /* the same */
	expect_notified(&s, "RELOADING=1\nMONOTONIC_USEC=");
	expect_notified(&s, "READY=1\nSTATUS=serving, generation 2");
	expect(&s, "log", "restart only: workers", 1);
	assert_false(has_line(&s, "journal", "start workers", 2));
	stage_end(&s);
}

static void a_broken_configuration_changes_nothing(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	say(&s, "broken");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "note conf:1: broken: first reason|conf:2: broken: second reason", 1);
	expect_notified(&s, "STATUS=reload refused, generation 1 stays");
	expect(&s, "log", "second reason", 1);

	/* So do certificates that do not fit. */
	say(&s, "good");
	char *key = place_read(&s.p, "certs/web.key");
	place_write(&s.p, "certs/web.key", STR("nonsense"), 0600);
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "no readable private key", 1);
	place_write(&s.p, "certs/web.key", str_of(key), 0600);
	free(key);
	assert_false(has_line(&s, "journal", "start workers", 2));
	stage_end(&s);
}

static void a_plan_that_the_proxy_process_refuses_is_dropped(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	say(&s, "refuse");
	kill(s.keeper, SIGHUP);
	expect(&s, "log", "refuses generation 2", 1);
	/* The one before is what a new proxy process gets. */
	kill((pid_t)journal_number(&s, "pid="), SIGKILL);
	expect(&s, "journal", "plan 1 good", 2);
	stage_end(&s);
}

static void a_plan_that_kills_the_proxy_process_is_dropped(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	say(&s, "die");
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "plan 1 good", 2);
	expect(&s, "journal", "note the proxy process died before", 1);
	stage_end(&s);
}

static void a_first_plan_that_is_refused_ends_the_keeper(void **state)
{
	struct stage s;
	stage_begin(&s, "refuse");
	assert_int_equal(keeper_status(&s), 1);
	stage_clear(&s);
}

static void a_first_configuration_that_is_broken_ends_the_keeper(void **state)
{
	struct stage s;
	stage_begin(&s, "broken");
	assert_int_equal(keeper_status(&s), 1);
	expect(&s, "log", "second reason", 1);
	stage_clear(&s);
}

static void renewed_certificates_are_taken_up_without_the_configuration(void **state)
{
	struct stage s;
	struct err err;
	char ca[100], out[100];
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	say(&s, "halfway"); /* being edited: nobody has asked to take it up */
	snprintf(ca, sizeof(ca), "%s/ca", s.p.dir);
	snprintf(out, sizeof(out), "%s/certs", s.p.dir);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	expect(&s, "journal", "plan 2 good", 1);
	expect(&s, "journal", "signed service/web", 2);
	/* Handshakes begun before still get signatures for the old key. */
	expect(&s, "journal", "signed service/web with the key before", 1);
	stage_end(&s);
}

/* Neither a node file that cannot be read nor one that is gone keeps marks or certificates out. */
static void a_broken_node_file_does_not_touch_marks_and_certificates(void **state)
{
	struct stage s;
	struct err err;
	char ca[100], out[100];
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	place_write(&s.p, "marks", STR("1001 7\n"), 0644);
	expect(&s, "journal", "plan 2 good", 1);
	expect(&s, "journal", "marks 1001 7", 1);
	snprintf(ca, sizeof(ca), "%s/ca", s.p.dir);
	snprintf(out, sizeof(out), "%s/certs", s.p.dir);
	place_write(&s.p, "conf", STR("{"), 0644);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	expect(&s, "journal", "plan 3 good", 1);
	expect(&s, "journal", "marks 1001 7", 2);
	assert_int_equal(unlink(place_path(&s.p, "conf")), 0);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	expect(&s, "journal", "plan 4 good", 1);
	expect(&s, "journal", "marks 1001 7", 3);
	stage_end(&s);
}

/* web's certificate for the same key, valid from then on. */
static void put_dated(struct stage *s, int64_t from_s)
{
	unsigned count;
	struct err err;
	struct str leaf_text;
	char text[8192];
	char *signer_text = place_read(&s->p, "ca/issuer.crt");
	char *signer_key = place_read(&s->p, "ca/issuer.key");
	char *key_text = place_read(&s->p, "certs/web.key");
	BIO *bio = BIO_new_mem_buf(signer_key, -1), *key_bio = BIO_new_mem_buf(key_text, -1);
	struct cert_issuer signer = {cert_from_pem(str_of(signer_text), &count),
		PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)};
	EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
	X509 *leaf;
	assert_int_equal(cert_leaf_new(key, STR("spiffe://prod.example/service/web"), &signer,
				 (struct cert_life){from_s, 3600, 0}, &leaf, &err),
		0);
	assert_int_equal(cert_pem(leaf, &leaf_text), 0);
	snprintf(text, sizeof(text), STR_FMT "%s", STR_ARG(leaf_text), signer_text);
	place_write(&s->p, "certs/web.crt", str_of(text), 0644);
	file_text_free(leaf_text);
	X509_free(leaf);
	X509_free(signer.cert);
	EVP_PKEY_free(signer.key);
	EVP_PKEY_free(key);
	BIO_free(bio);
	BIO_free(key_bio);
	free(signer_text);
	free(signer_key);
	free(key_text);
}

/* Nothing changes on the disk when the time has come. */
static void a_certificate_is_taken_up_when_it_is_valid(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	/* ten seconds are granted, for clocks that differ */
	put_dated(&s, (int64_t)(clock_wall_ns() / CLOCK_S) + 18);
	expect(&s, "log", "web.crt: not valid before", 1);
	expect(&s, "journal", "plan 2 good", 1);
	expect(&s, "journal", "plan 3 good", 1);
	assert_false(has_line(&s, "log", "web.crt: not valid before", 2));
	stage_end(&s);
}

static void changed_marks_are_taken_up(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	place_write(&s.p, "marks", STR("1001 7\n"), 0644);
	expect(&s, "journal", "plan 2 good", 1);
	expect(&s, "journal", "marks 1001 7", 1);
	stage_end(&s);
}

static void a_rotated_access_log_is_passed_down(void **state)
{
	struct stage s;
	char old[200];
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	snprintf(old, sizeof(old), "%s/access.log.1", s.p.dir);
	assert_int_equal(rename(place_path(&s.p, "access.log"), old), 0);
	kill(s.keeper, SIGHUP);
	expect(&s, "journal", "new access log", 1);
	expect(&s, "access.log", "hello", 1);
	stage_end(&s);
}

static void the_proxy_process_can_ask_for_reload_and_stop(void **state)
{
	struct stage s;
	stage_begin(&s, "asks");
	expect(&s, "journal", "plan 1 asks", 1);
	expect(&s, "journal", "plan 2 asks", 1);
	expect(&s, "journal", "drain", 1);
	assert_int_equal(keeper_status(&s), 0);
	stage_clear(&s);
}

static void stopping_drains_first_and_hurries_the_second_time(void **state)
{
	struct stage s;
	stage_begin(&s, "stubborn");
	expect(&s, "journal", "plan 1 stubborn", 1);
	kill(s.keeper, SIGTERM);
	expect(&s, "journal", "drain", 1);
	expect_notified(&s, "STOPPING=1");
	usleep(300000);
	assert_int_equal(waitpid(s.keeper, NULL, WNOHANG), 0);
	kill(s.keeper, SIGINT);
	assert_int_equal(keeper_status(&s), 0);
	expect(&s, "log", "killed by signal 15", 1);
	stage_clear(&s);
}

static void the_drain_timeout_ends_what_is_left(void **state)
{
	struct stage s;
	stage_begin(&s, "impatient"); /* does not end, and the timeout is short */
	expect(&s, "journal", "plan 1 impatient", 1);
	kill(s.keeper, SIGTERM);
	assert_int_equal(keeper_status(&s), 0);
	expect(&s, "log", "left after the drain timeout", 1);
	stage_clear(&s);
}

static void the_proxy_process_dies_with_the_keeper(void **state)
{
	struct stage s;
	stage_begin(&s, "good");
	expect(&s, "journal", "plan 1 good", 1);
	pid_t proxy = (pid_t)journal_number(&s, "pid=");
	kill(s.keeper, SIGKILL);
	assert_int_equal(keeper_status(&s), -SIGKILL);
	for (int i = 0; i < WAIT_TURNS && kill(proxy, 0) == 0; i++)
		usleep(10000);
	assert_int_equal(kill(proxy, 0), -1);
	stage_clear(&s);
}

static void the_command_line_is_checked(void **state)
{
	char *bad_option[] = {"run", "--what", NULL}, *too_many[] = {"run", "now", NULL};
	char *help[] = {"run", "--help", NULL};
	assert_int_equal(keeper_main(2, bad_option), 2);
	assert_int_equal(keeper_main(2, too_many), 2);
	assert_int_equal(keeper_main(2, help), 0);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "proxy") == 0)
		return fake_proxy_main();
	if (argc > 1 && strcmp(argv[1], "state") == 0)
		return fake_state_main();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_proxy_process_gets_all_it_needs),
		cmocka_unit_test(a_key_file_that_cannot_be_read_is_left_out),
		cmocka_unit_test(the_proxy_process_has_no_privilege),
		cmocka_unit_test(the_admin_socket_is_for_owner_and_group),
		cmocka_unit_test(a_stale_admin_socket_is_replaced_and_a_file_is_not),
		cmocka_unit_test(connections_wait_while_the_proxy_process_is_started_again),
		cmocka_unit_test(repeated_deaths_slow_the_restarts_down),
		cmocka_unit_test(a_reload_brings_a_new_generation),
		cmocka_unit_test(a_broken_configuration_changes_nothing),
		cmocka_unit_test(a_plan_that_the_proxy_process_refuses_is_dropped),
		cmocka_unit_test(a_plan_that_kills_the_proxy_process_is_dropped),
		cmocka_unit_test(a_first_plan_that_is_refused_ends_the_keeper),
		cmocka_unit_test(a_first_configuration_that_is_broken_ends_the_keeper),
		cmocka_unit_test(renewed_certificates_are_taken_up_without_the_configuration),
		cmocka_unit_test(a_broken_node_file_does_not_touch_marks_and_certificates),
		cmocka_unit_test(a_certificate_is_taken_up_when_it_is_valid),
		cmocka_unit_test(changed_marks_are_taken_up),
		cmocka_unit_test(a_rotated_access_log_is_passed_down),
		cmocka_unit_test(the_proxy_process_can_ask_for_reload_and_stop),
		cmocka_unit_test(stopping_drains_first_and_hurries_the_second_time),
		cmocka_unit_test(the_drain_timeout_ends_what_is_left),
		cmocka_unit_test(the_proxy_process_dies_with_the_keeper),
		cmocka_unit_test(the_command_line_is_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
