/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's directory when the process ends at any of its writes, when the disk is full, and
 * when two commands meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../src/ca/token.h"
#include "ca/ca.h"
#include "faults.h"
#include "keys/cert.h"
#include "realm.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDERS	  "spiffe://" REALM_TD "/service/orders"
#define VM_A	  "spiffe://" REALM_TD "/node/vm-a"
#define STEPS_MAX 200

static void new_token(struct realm *r, const char *node, char token[TOKEN_TEXT])
{
	struct folder f;
	struct err err;
	assert_int_equal(folder_open(r->dir, &f, &err), 0);
	assert_int_equal(token_new(&f, str_of(node), r->now_s + 600, token, &err), 0);
	folder_close(&f);
}

static int enroll(
	struct realm *r, const struct authority_client *client, EVP_PKEY *key, const char *id)
{
	struct realm_answer a = realm_enroll(r, client, key, id);
	realm_answer_done(&a);
	return a.result;
}

static unsigned count_lines(struct realm *r, const char *name, const char *part)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	if (access(path, F_OK) < 0)
		return 0;
	char *text = realm_read(r, name);
	unsigned count = 0;
	for (const char *at = text; (at = strstr(at, part)); at++)
		count++;
	free(text);
	return count;
}

/* Runs a command in a process of its own, with a fault at one step; its exit status. */
static int run_with(struct realm *r, enum fault fault, unsigned step, const char *line)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stdout);
		(void)!freopen("/dev/null", "w", stderr);
		faults_arm(fault, step);
		_exit(realm_run(r, line));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* --- what is on the disk --- */

static void what_counts_is_on_the_disk_with_its_name(void **state)
{
	struct realm r;
	char token[TOKEN_TEXT];
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	faults_arm(FAULT_NONE, 0);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --node vm-a"), 0);
	assert_non_null(strstr(faults_log(), "write revoked\nsync revoked\nsync .\n"));
	/* The token is bound before anything is signed. */
	new_token(&r, "vm-b", token);
	EVP_PKEY *key = realm_key();
	struct authority_client client = {.user = STR("vm-b"), .password = str_of(token)};
	faults_arm(FAULT_NONE, 0);
	assert_int_equal(enroll(&r, &client, key, "spiffe://" REALM_TD "/node/vm-b"), 0);
	const char *bound = strstr(faults_log(), "rename ");
	assert_non_null(bound);
	const char *kept = strchr(bound, '\n') + 1;
	assert_true(str_starts(str_of(kept), STR("sync .\n")));
	assert_non_null(strstr(kept, "write index\nsync index\n"));
	/* What is removed is gone. */
	faults_arm(FAULT_NONE, 0);
	assert_int_equal(realm_run(&r, "forbid --dir DIR vm-b"), 0);
	assert_non_null(strstr(faults_log(), "rename registration.conf\nsync .\n"));
	/* The first is of what the node has shown, which it has not. */
	const char *removed = strstr(strstr(faults_log(), "remove vm-b\n") + 1, "remove ");
	assert_non_null(removed);
	assert_true(str_starts(str_of(strchr(removed, '\n') + 1), STR("sync .\n")));
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

/* --- a process that ends, a disk that is full --- */

/* One token never makes certificates for two keys. True: the step was never reached. */
static bool a_token_at(enum fault fault, unsigned step)
{
	struct realm r;
	char token[TOKEN_TEXT];
	realm_init(&r, "");
	new_token(&r, "vm-a", token);
	EVP_PKEY *key = realm_key(), *other = realm_key();
	struct authority_client client = {.user = STR("vm-a"), .password = str_of(token)};
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		faults_arm(fault, step);
		int result = enroll(&r, &client, key, VM_A);
		_exit(result == 0 ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	bool is_issued = count_lines(&r, "index", "node/vm-a\n") > 0;
	/* What was given out is in the index and in the audit. */
	if (WEXITSTATUS(status) == 0) {
		assert_true(is_issued);
		assert_int_equal(count_lines(&r, "issued.log", "\"issued\""), 1);
	}
	int second = enroll(&r, &client, other, VM_A);
	assert_true(second == 0 || second == AUTHORITY_UNKNOWN);
	if (is_issued)
		assert_int_equal(second, AUTHORITY_UNKNOWN);
	/* The lost answer burnt nothing. */
	assert_int_equal(enroll(&r, &client, key, VM_A), second == 0 ? AUTHORITY_UNKNOWN : 0);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	realm_done(&r);
	return WEXITSTATUS(status) == 0;
}

static void a_token_is_for_one_key_whatever_happens(void **state)
{
	for (enum fault fault = FAULT_CRASH; fault <= FAULT_FULL; fault++) {
		unsigned step = 1;
		while (!a_token_at(fault, step))
			assert_true(++step < STEPS_MAX);
		assert_true(step > 5);
	}
}

/* A revocation that was cut off is done again, and one that is said to be done is. */
static bool a_revocation_at(enum fault fault, unsigned step)
{
	struct realm r;
	char token[TOKEN_TEXT];
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	assert_int_equal(enroll(&r, &client, key, ORDERS), 0);
	new_token(&r, "vm-a", token);
	int status = run_with(&r, fault, step, "revoke --dir DIR --node vm-a --why stolen");
	if (status != 0)
		assert_in_range(run_with(&r, FAULT_NONE, 0, "revoke --dir DIR --node vm-a"), 0, 1);
	assert_int_equal(count_lines(&r, "revoked", " node/vm-a "), 1);
	assert_int_equal(count_lines(&r, "revoked", " service/orders "), 1);
	assert_int_equal(enroll(&r, &client, key, VM_A), AUTHORITY_FORBIDDEN);
	struct authority_client by_token = {.user = STR("vm-a"), .password = str_of(token)};
	assert_int_equal(enroll(&r, &by_token, key, VM_A), AUTHORITY_UNKNOWN);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
	return status == 0;
}

static void a_revocation_holds_whatever_happens(void **state)
{
	for (enum fault fault = FAULT_CRASH; fault <= FAULT_FULL; fault++) {
		unsigned step = 1;
		while (!a_revocation_at(fault, step))
			assert_true(++step < STEPS_MAX);
		assert_true(step > 5);
	}
}

static bool has_leftovers(struct realm *r)
{
	char line[300];
	snprintf(line, sizeof(line), "find '%.200s' -name '*.new-*' | grep -q .", r->dir);
	return system(line) == 0;
}

/* Every command, cut off or on a full disk, is done again and leaves an authority that issues. */
static bool a_rotation_at(
	enum fault fault, unsigned step, const char *const *before, const char *line)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	for (; *before; before++)
		assert_int_equal(run_with(&r, FAULT_NONE, 0, *before), 0);
	int status = run_with(&r, fault, step, line);
	if (status != 0)
		/* 1: it was complete but for what it says */
		assert_in_range(run_with(&r, FAULT_NONE, 0, line), 0, 1);
	struct authority *fresh;
	struct err err;
	assert_int_equal(authority_open(r.dir, &fresh, &err), 0);
	authority_close(fresh);
	assert_false(has_leftovers(&r));
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	assert_int_equal(enroll(&r, &client, key, ORDERS), 0);
	struct str crls;
	char etag[72];
	assert_int_equal(authority_crls(r.authority, r.now_s, &crls, etag, &err), 0);
	free((char *)(uintptr_t)crls.at);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
	return status == 0;
}

static void a_rotation_goes_on_whatever_happens(void **state)
{
	static const char publish[] = "rotate --dir DIR publish --root";
	static const char activate[] = "rotate --dir DIR activate --force";
	static const struct {
		const char *before[3], *line;
	} rows[] = {{{NULL}, publish}, {{publish}, activate},
		{{publish, activate}, "rotate --dir DIR retire --force"},
		{{publish}, "rotate --dir DIR abort"}};
	static const enum fault kinds[] = {FAULT_CRASH, FAULT_FULL};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
			unsigned step = 1;
			while (!a_rotation_at(kinds[k], step, rows[i].before, rows[i].line))
				assert_true(++step < STEPS_MAX);
		}
	}
}

/* --- two that meet --- */

static void revoke_vm_a(void *arg)
{
	assert_int_equal(realm_run(arg, "revoke --dir DIR --node vm-a"), 0);
}

/* A revocation that waits for the lock comes before a certificate or sees it, never between the
 * look at what is revoked and the signing. */
static void a_revocation_leaves_no_gap(void **state)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	struct authority_client client = realm_client(node, r.now_s);
	EVP_PKEY *key = realm_key();
	faults_when_unlocked(revoke_vm_a, &r);
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	if (a.result == 0) {
		struct authority_client got = realm_client(sk_X509_value(a.chain, 0), r.now_s);
		char *revoked = realm_read(&r, "revoked");
		assert_non_null(strstr(revoked, got.serial.at));
		free(revoked);
	}
	realm_answer_done(&a);
	assert_int_equal(enroll(&r, &client, key, ORDERS), AUTHORITY_FORBIDDEN);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void tell(void *arg)
{
	assert_int_equal(write(*(int *)arg, "", 1), 1);
}

/* In a process of its own: a command whose output nobody takes. Tells when the lock is free. */
static pid_t run_unread(struct realm *r, const char *line, int out, int told)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	dup2(out, STDOUT_FILENO);
	setvbuf(stdout, NULL, _IONBF, 0);
	faults_when_unlocked(tell, &told);
	_exit(realm_run(r, line));
}

/* A list that stands in a pager does not stop the server. */
static void who_reads_a_list_slowly_holds_nobody_up(void **state)
{
	static const char *const lines[] = {"list --dir DIR", "rotate --dir DIR status"};
	static const char filler[4096];
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		int out[2], told[2];
		assert_int_equal(pipe2(out, O_CLOEXEC), 0);
		assert_int_equal(pipe2(told, O_CLOEXEC), 0);
		/* So full that not even a line goes into it. */
		assert_int_equal(fcntl(out[1], F_SETPIPE_SZ, 4096), 4096);
		assert_int_equal(write(out[1], filler, 4096), 4096);
		pid_t pid = run_unread(&r, lines[i], out[1], told[1]);
		struct pollfd wait = {.fd = told[0], .events = POLLIN};
		bool is_free = poll(&wait, 1, 20000) == 1;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		for (int k = 0; k < 2; k++) {
			close(out[k]);
			close(told[k]);
		}
		assert_true(is_free);
	}
	X509_free(node);
	realm_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_counts_is_on_the_disk_with_its_name),
		cmocka_unit_test(a_token_is_for_one_key_whatever_happens),
		cmocka_unit_test(a_revocation_holds_whatever_happens),
		cmocka_unit_test(a_rotation_goes_on_whatever_happens),
		cmocka_unit_test(a_revocation_leaves_no_gap),
		cmocka_unit_test(who_reads_a_list_slowly_holds_nobody_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
