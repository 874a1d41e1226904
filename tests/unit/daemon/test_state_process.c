/* SPDX-License-Identifier: Apache-2.0 */
/* The real state process with this test in the keeper's place, and fakes in place of the sync, the
 * checks and the certificates (tests/fake/state_fake.c, enroll_fake.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/bundle.h"
#include "daemon/channel.h"
#include "daemon/state_process.h"
#include "enroll/enroll.h"
#include "ledger/ledger.h"
#include "mesh/snapshot.h"
#include "unit/ca/place.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_TURNS 1000 /* of 10 ms */

struct stage {
	struct place p;
	pid_t pid;
	int channel, signer;
	union channel_message m; /* the last one heard */
	size_t len;
	int fd; /* that came with it */
};

static void pair(int *ret_ours, int *ret_theirs)
{
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	*ret_ours = fds[0];
	*ret_theirs = fds[1];
}

static pid_t run(struct stage *s, int channel)
{
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = {"test", "state", NULL};
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		int log = open(place_path(&s->p, "log"), O_WRONLY | O_CREAT | O_APPEND, 0644);
		dup2(log, STDERR_FILENO);
		dup2(channel, WIRE_CHANNEL_FD);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	return pid;
}

static void tell(struct stage *s, const void *m, size_t len, int fd)
{
	assert_int_equal(channel_send(s->channel, m, len, fd), 0);
}

static void tell_kind(struct stage *s, enum wire_kind kind)
{
	struct wire_head m = {WIRE_MAGIC, (uint32_t)kind};
	tell(s, &m, sizeof(m), -1);
}

static void tell_plan(struct stage *s, uint64_t generation, const char *word, const char *secret)
{
	struct bundle b;
	struct err err;
	char text[300];
	bundle_init(&b);
	snprintf(text, sizeof(text), "%s %s 1 1", word, s->p.dir);
	assert_int_equal(bundle_add(&b, STR("conf"), STR("conf"), str_of(text), &err), 0);
	assert_int_equal(bundle_add(&b, STR("secret"), STR("password"), str_of(secret), &err), 0);
	assert_int_equal(bundle_add(&b, STR("pki-key"), STR("store"), STR("9"), &err), 0);
	assert_int_equal(bundle_add(&b, STR("est-key"), STR("node"), STR("11"), &err), 0);
	assert_int_equal(bundle_add(&b, STR("est"), STR("roots"), str_of(secret), &err), 0);
	int fd = bundle_to_memfd(&b, &err);
	struct wire_plan m = {{WIRE_MAGIC, WIRE_PLAN}, generation};
	tell(s, &m, sizeof(m), fd);
	close(fd);
	bundle_done(&b);
}

static void stage_begin(struct stage *s, const char *word, const char *secret)
{
	int theirs, signer;
	place_init(&s->p);
	mkdir(place_path(&s->p, "state"), 0700);
	place_write(&s->p, "state/sync", STR(""), 0600);
	pair(&s->channel, &theirs);
	pair(&s->signer, &signer);
	s->fd = -1;
	s->pid = run(s, theirs);
	close(theirs);
	struct wire_start start = {.head = {WIRE_MAGIC, WIRE_START}, .worker_count = 1};
	struct wire_head directory = {WIRE_MAGIC, WIRE_DIRECTORY};
	struct wire_signer sign = {.head = {WIRE_MAGIC, WIRE_SIGNER}};
	struct wire_head shared = {WIRE_MAGIC, WIRE_LEDGER};
	struct err err;
	int ledger = ledger_create(&err);
	int dir = open(place_path(&s->p, "state"), O_PATH | O_CLOEXEC);
	tell(s, &start, sizeof(start), -1);
	tell(s, &shared, sizeof(shared), ledger);
	tell(s, &directory, sizeof(directory), dir);
	tell(s, &sign, sizeof(sign), signer);
	tell_plan(s, 1, word, secret);
	close(ledger);
	close(dir);
	close(signer);
}

static int status_of(struct stage *s)
{
	int status;
	for (int i = 0; i < WAIT_TURNS; i++) {
		if (waitpid(s->pid, &status, WNOHANG) == s->pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
		usleep(10000);
	}
	fail_msg("the state process does not end");
	return -1;
}

static void stage_clear(struct stage *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->channel >= 0)
		close(s->channel);
	close(s->signer);
	place_done(&s->p);
}

static void stage_end(struct stage *s)
{
	tell_kind(s, WIRE_DRAIN);
	assert_int_equal(status_of(s), 0);
	stage_clear(s);
}

/* The next message of a kind; others are passed over. */
static void hear(struct stage *s, enum wire_kind kind)
{
	struct pollfd polls = {.fd = s->channel, .events = POLLIN};
	for (;;) {
		if (poll(&polls, 1, 10000) != 1)
			fail_msg("never said: %d", (int)kind);
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
		assert_int_equal(
			channel_receive(s->channel, CHANNEL_NO_WAIT, &s->m, &s->len, &s->fd), 0);
		if (s->m.head.kind == (uint32_t)kind)
			return;
	}
}

static void expect_sync(struct stage *s, const char *line)
{
	for (int i = 0; i < WAIT_TURNS; i++) {
		char *all = place_read(&s->p, "state/sync");
		bool found = strstr(all, line);
		free(all);
		if (found)
			return;
		usleep(10000);
	}
	fail_msg("never asked of the sync: %s", line);
}

/* --- tests --- */

static void it_begins_and_passes_a_picture_on(void **state)
{
	struct stage s;
	struct bundle b;
	struct err err;
	stage_begin(&s, "mesh", "secret");
	hear(&s, WIRE_READY);
	assert_int_equal(s.m.ready.generation, 1);
	hear(&s, WIRE_STATE);
	assert_int_equal(s.m.state.number, 1);
	bundle_init(&b);
	assert_int_equal(bundle_from_memfd(&b, s.fd, &err), 0);
	assert_string_equal(bundle_next(&b, "revision", NULL)->text.at, "picture 1");
	bundle_done(&b);
	hear(&s, WIRE_STATE_VIEW);
	assert_int_equal(s.len, sizeof(s.m.view));
	assert_int_equal(s.m.view.view.revision, 1);
	assert_int_equal(s.m.view.own_count, 1);
	assert_string_equal(s.m.view.own[0].service, "orders");
	stage_end(&s);
}

static void checks_that_change_are_told_to_the_sync(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	/* Workload 1 has no check and is up at once, 0 when the check's program has ended. */
	expect_sync(&s, "new\nworkload 1 up\n");
	do {
		hear(&s, WIRE_STATE_VIEW);
		if (s.m.view.own[0].health == ENDPOINT_DOWN)
			assert_string_equal(s.m.view.own[0].why, "it does not feel well");
	} while (s.m.view.own[0].health != ENDPOINT_UP);
	assert_string_equal(s.m.view.own[0].why, "");
	expect_sync(&s, "workload 0 up\n");
	stage_end(&s);
}

static void signatures_are_asked_of_the_keeper(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	assert_int_equal(channel_receive(s.signer, CHANNEL_WAIT, &s.m, &s.len, &s.fd), 0);
	assert_int_equal(s.m.head.kind, WIRE_SIGN);
	assert_int_equal(s.m.sign[0].key_number, 9);
	assert_int_equal(s.m.sign[0].len, 12);
	assert_memory_equal(s.m.sign[0].bytes, "to be signed", 12);
	struct wire_signed answer = {.head = {WIRE_MAGIC, WIRE_SIGNED},
		.request = s.m.sign[0].request,
		.len = 3,
		.bytes = "xyz"};
	assert_int_equal(channel_send(s.signer, &answer, sizeof(answer), -1), 0);
	expect_sync(&s, "signed xyz\n");
	stage_end(&s);
}

static void a_new_plan_changes_it_and_a_bad_one_does_not(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	hear(&s, WIRE_READY);
	tell_plan(&s, 2, "mesh", "other");
	hear(&s, WIRE_READY);
	assert_int_equal(s.m.ready.generation, 2);
	do {
		hear(&s, WIRE_STATE);
	} while (s.m.state.number != 2);

	tell_plan(&s, 3, "mesh", "wrong");
	hear(&s, WIRE_REFUSED);
	assert_int_equal(s.m.note.generation, 3);
	assert_string_equal(s.m.note.text, "the fake does not like this secret");
	tell_plan(&s, 4, "broken", "secret");
	hear(&s, WIRE_REFUSED);
	assert_int_equal(s.m.note.generation, 4);
	assert_non_null(strstr(s.m.note.text, "second reason"));
	hear(&s, WIRE_STATE_VIEW); /* it lives */
	stage_end(&s);
}

static void a_first_plan_that_is_refused_ends_it(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "wrong");
	hear(&s, WIRE_REFUSED);
	assert_int_equal(status_of(&s), 1);
	stage_clear(&s);
}

static void endpoints_are_taken_out_and_put_back(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	hear(&s, WIRE_READY);
	struct wire_take_out m = {.head = {WIRE_MAGIC, WIRE_TAKE_OUT}, .service = "orders"};
	tell(&s, &m, sizeof(m), -1);
	expect_sync(&s, "drain out orders\n");
	do {
		hear(&s, WIRE_STATE_VIEW);
	} while (!s.m.view.own[0].drained);
	assert_string_equal(s.m.view.take_out_why, "");

	m = (struct wire_take_out){.head = {WIRE_MAGIC, WIRE_TAKE_OUT}, .back = 1};
	tell(&s, &m, sizeof(m), -1);
	expect_sync(&s, "drain back \n");
	m = (struct wire_take_out){.head = {WIRE_MAGIC, WIRE_TAKE_OUT}, .service = "nobody"};
	tell(&s, &m, sizeof(m), -1);
	do {
		hear(&s, WIRE_STATE_VIEW);
	} while (s.m.view.take_out_why[0] == '\0');
	assert_string_equal(s.m.view.take_out_why, "there is no workload of service nobody here");
	stage_end(&s);
}

static void pings_are_answered(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	for (uint64_t number = 1; number < 4; number++) {
		struct wire_ping ping = {{WIRE_MAGIC, WIRE_PING}, number};
		tell(&s, &ping, sizeof(ping), -1);
		hear(&s, WIRE_PONG);
		assert_int_equal(s.m.ping.number, number);
	}
	stage_end(&s);
}

static void it_leaves_the_mesh_and_ends(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	hear(&s, WIRE_READY);
	tell_kind(&s, WIRE_DRAIN);
	assert_int_equal(status_of(&s), 0);
	expect_sync(&s, "close\n");
	stage_clear(&s);
}

static void it_ends_without_a_keeper(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	hear(&s, WIRE_READY);
	close(s.channel);
	s.channel = -1;
	assert_int_equal(status_of(&s), 1);
	stage_clear(&s);
}

/* --- with an authority --- */

/* As sent by the process: the text of the message's memfd, which has to be sealed. */
static void text_is(struct stage *s, const char *wanted)
{
	char text[100] = "";
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	assert_int_equal(fcntl(s->fd, F_GET_SEALS) & seals, seals);
	assert_int_equal(pread(s->fd, text, sizeof(text) - 1, 0), strlen(wanted));
	assert_string_equal(text, wanted);
}

static void answer(struct stage *s, const char *text, const char *why)
{
	struct wire_identity m = s->m.identity;
	int fd = -1;
	if (text) {
		fd = memfd_create("answer", MFD_CLOEXEC);
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	}
	snprintf(m.why, sizeof(m.why), "%s", why);
	tell(s, &m, sizeof(m), fd);
	if (fd >= 0)
		close(fd);
}

static void hear_asked(struct stage *s, enum wire_kind kind, const char *identity)
{
	hear(s, kind);
	assert_int_equal(s->len, sizeof(s->m.identity));
	assert_string_equal(s->m.identity.identity, identity);
}

/* The row, once it is as wanted. */
static void hear_row(struct stage *s, const char *why, uint32_t count)
{
	struct wire_certificate row;
	do {
		hear(s, WIRE_IDENTITIES);
		assert_int_equal(s->m.identities.count, 1);
		assert_int_equal(s->m.identities.skew_s, 3);
		assert_int_equal(pread(s->fd, &row, sizeof(row), 0), sizeof(row));
		assert_string_equal(row.identity, "service/orders");
	} while (row.state != ENROLL_FRESH || row.renewed_count != count ||
		 strcmp(row.why, why) != 0);
}

static void what_is_wanted_for_a_certificate_goes_to_the_keeper(void **state)
{
	struct stage s;
	struct bundle b;
	struct err err;
	stage_begin(&s, "ca", "secret");
	hear(&s, WIRE_READY);
	hear_asked(&s, WIRE_REQUEST, "service/orders");
	answer(&s, "a request", "");
	hear_asked(&s, WIRE_CERTIFICATE, "service/orders");
	text_is(&s, "chain of a request");
	answer(&s, NULL, "");
	hear_asked(&s, WIRE_TRUST, "prod.example");
	bundle_init(&b);
	assert_int_equal(bundle_from_memfd(&b, s.fd, &err), 0);
	assert_string_equal(bundle_find(&b, "roots", STR("prod.example"))->text.at, "anchors");
	assert_string_equal(bundle_find(&b, "crl", STR("prod.example"))->text.at, "lists");
	bundle_done(&b);
	answer(&s, NULL, "");
	hear_row(&s, "", 1);
	/* There is no store, and nothing is said of one. */
	char *sync = place_read(&s.p, "state/sync");
	assert_string_equal(sync, "");
	free(sync);
	stage_end(&s);
}

static void what_the_keeper_refuses_is_passed_on(void **state)
{
	struct stage s;
	stage_begin(&s, "ca", "secret");
	hear_asked(&s, WIRE_REQUEST, "service/orders");
	answer(&s, NULL, "not for this machine");
	hear_row(&s, "not for this machine", 1);
	/* An answer that says neither. */
	tell_plan(&s, 2, "ca", "secret");
	hear_asked(&s, WIRE_REQUEST, "service/orders");
	answer(&s, NULL, "");
	hear_row(&s, "the keeper gave no request", 2);
	stage_end(&s);
}

static void signatures_for_the_authority_and_the_store_do_not_meet(void **state)
{
	struct stage s;
	struct wire_certificate row;
	bool store = false, authority = false;
	stage_begin(&s, "meshca", "secret");
	while (!store || !authority) {
		union channel_message m;
		size_t len;
		int fd;
		assert_int_equal(channel_receive(s.signer, CHANNEL_WAIT, &m, &len, &fd), 0);
		bool is_store = m.sign[0].key_number == 9;
		assert_true(is_store || m.sign[0].key_number == 11);
		assert_memory_equal(m.sign[0].bytes, is_store ? "to be signed" : "of the authority",
			is_store ? 12 : 16);
		store = store || is_store;
		authority = authority || !is_store;
		struct wire_signed answer = {
			.head = {WIRE_MAGIC, WIRE_SIGNED}, .request = m.sign[0].request, .len = 3};
		memcpy(answer.bytes, is_store ? "sto" : "aut", 3);
		assert_int_equal(channel_send(s.signer, &answer, sizeof(answer), -1), 0);
	}
	expect_sync(&s, "signed sto\n");
	do {
		hear(&s, WIRE_IDENTITIES);
		assert_int_equal(pread(s.fd, &row, sizeof(row), 0), sizeof(row));
	} while (strcmp(row.serial, "aut") != 0);
	stage_end(&s);
}

/* The mesh goes on, and who reloads learns of it. */
static void certificates_that_cannot_be_had_stop_nothing_else(void **state)
{
	struct stage s;
	struct bundle b;
	struct err err;
	stage_begin(&s, "meshca", "secret");
	hear(&s, WIRE_READY);
	bundle_init(&b);
	char text[300];
	snprintf(text, sizeof(text), "meshca %s 1 1", s.p.dir);
	assert_int_equal(bundle_add(&b, STR("conf"), STR("conf"), str_of(text), &err), 0);
	assert_int_equal(bundle_add(&b, STR("est"), STR("roots"), STR("wrong"), &err), 0);
	int fd = bundle_to_memfd(&b, &err);
	struct wire_plan m = {{WIRE_MAGIC, WIRE_PLAN}, 2};
	tell(&s, &m, sizeof(m), fd);
	close(fd);
	bundle_done(&b);
	hear(&s, WIRE_REFUSED);
	assert_string_equal(s.m.note.text, "the fake does not like these anchors");
	expect_sync(&s, "configure\n");
	do {
		hear(&s, WIRE_STATE);
	} while (s.m.state.number != 2);
	stage_end(&s);
}

static void an_authority_may_come_later(void **state)
{
	struct stage s;
	stage_begin(&s, "mesh", "secret");
	hear(&s, WIRE_READY);
	tell_plan(&s, 2, "meshca", "secret");
	hear_asked(&s, WIRE_REQUEST, "service/orders");
	answer(&s, NULL, "enough");
	hear_row(&s, "enough", 1);
	stage_end(&s);
}

static void a_store_does_not_come_later(void **state)
{
	struct stage s;
	stage_begin(&s, "ca", "secret");
	hear(&s, WIRE_READY);
	tell_plan(&s, 2, "meshca", "secret");
	hear(&s, WIRE_REFUSED);
	assert_non_null(strstr(s.m.note.text, "a store does not come or go"));
	stage_end(&s);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "state") == 0)
		return state_process_main(WIRE_CHANNEL_FD);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_begins_and_passes_a_picture_on),
		cmocka_unit_test(checks_that_change_are_told_to_the_sync),
		cmocka_unit_test(signatures_are_asked_of_the_keeper),
		cmocka_unit_test(a_new_plan_changes_it_and_a_bad_one_does_not),
		cmocka_unit_test(a_first_plan_that_is_refused_ends_it),
		cmocka_unit_test(endpoints_are_taken_out_and_put_back),
		cmocka_unit_test(pings_are_answered),
		cmocka_unit_test(it_leaves_the_mesh_and_ends),
		cmocka_unit_test(it_ends_without_a_keeper),
		cmocka_unit_test(what_is_wanted_for_a_certificate_goes_to_the_keeper),
		cmocka_unit_test(what_the_keeper_refuses_is_passed_on),
		cmocka_unit_test(signatures_for_the_authority_and_the_store_do_not_meet),
		cmocka_unit_test(certificates_that_cannot_be_had_stop_nothing_else),
		cmocka_unit_test(an_authority_may_come_later),
		cmocka_unit_test(a_store_does_not_come_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
