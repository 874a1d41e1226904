/* SPDX-License-Identifier: Apache-2.0 */
/* The first certificate, cut short at every step, and with authorities that are not the right one.
 * The directory is a real one, the rest is played. */
#include "lab.h"

#include "enroll/join.h"
#include "enroll/judge.h"
#include "keys/file.h"
#include <ftw.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKEN	    "swordfish"
#define TOKEN_BASIC "dm0tYTpzd29yZGZpc2g=" /* vm-a:swordfish */

static struct lab lab; /* large */

struct fixture {
	char dir[64];
	char fingerprint[2 * 32 + 1];
	struct join_settings settings;
	struct join *join;
	char *said;
	size_t said_len;
};
static struct fixture f;

static void begin(void)
{
	uint8_t digest[32];
	unsigned len;
	struct err err;
	lab_init(&lab);
	lab.step = join_step;
	lab.token = TOKEN_BASIC;
	f = (struct fixture){.dir = "/tmp/ringmain-join-XXXXXX"};
	assert_non_null(mkdtemp(f.dir));
	assert_true(X509_digest(lab.root.certificate, EVP_sha256(), digest, &len));
	for (int i = 0; i < 32; i++)
		snprintf(f.fingerprint + 2 * i, 3, "%02X", digest[i]);
	f.settings = (struct join_settings){.servers = lab.servers,
		.server_count = 1,
		.fingerprint = str_of(f.fingerprint),
		.node = STR("vm-a"),
		.trust_domain = STR(LAB_DOMAIN),
		.token = STR(TOKEN),
		.out = open_memstream(&f.said, &f.said_len)};
	assert_int_equal(keep_open(f.dir, STR(LAB_DOMAIN), &f.settings.keep, &err), 0);
}

static void start(void)
{
	struct err err;
	assert_int_equal(join_new(&lab.loop, 10 * JOIN_KINDS, &f.settings, &f.join, &err), 0);
}

static void stop(void)
{
	join_close(f.join);
	lab_turn(&lab);
	assert_true(join_state(f.join) >= JOIN_DONE);
	join_free(f.join);
	f.join = NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static void end(void)
{
	stop();
	keep_close(f.settings.keep);
	fclose(f.settings.out);
	free(f.said);
	lab_done(&lab);
	assert_int_equal(nftw(f.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void expect_done(void)
{
	if (join_state(f.join) != JOIN_DONE)
		fprintf(stderr, "state %d: %s\n", join_state(f.join), join_why(f.join));
	assert_int_equal(join_state(f.join), JOIN_DONE);
}

static void expect_failed(const char *why)
{
	assert_int_equal(join_state(f.join), JOIN_FAILED);
	if (!strstr(join_why(f.join), why))
		fprintf(stderr, "why: %s\n", join_why(f.join));
	assert_non_null(strstr(join_why(f.join), why));
}

static bool has_file(const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", f.dir, name);
	return access(path, F_OK) == 0;
}

static void test_joins(void **state)
{
	begin();
	start();
	lab_turn(&lab);
	expect_done();
	assert_true(has_file("node.pem") && has_file("roots.pem"));
	fflush(f.settings.out);
	assert_non_null(strstr(f.said, "joined: this machine is spiffe://prod.example/node/vm-a"));
	assert_int_equal(lab.asked_enroll, 1);
	assert_int_equal(lab.asked_anchors, 2);
	assert_int_equal(fake_opened_count(), 2);
	end();
}

/* The server has none to give: those of the time before stay. */
static void test_lists_of_before_stay(void **state)
{
	char path[256];
	begin();
	snprintf(path, sizeof(path), "%s/crls.pem", f.dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs("lists\n", file);
	fclose(file);
	start();
	lab_turn(&lab);
	expect_done();
	assert_true(has_file("roots.pem") && has_file("crls.pem"));
	end();
}

static void test_fingerprint_with_colons(void **state)
{
	char text[3 * 32];
	begin();
	for (int i = 0; i < 32; i++)
		snprintf(text + 3 * i, 4, "%c%c%s", f.fingerprint[2 * i] | 0x20,
			f.fingerprint[2 * i + 1] | 0x20, i < 31 ? ":" : "");
	f.settings.fingerprint = str_of(text);
	start();
	lab_turn(&lab);
	expect_done();
	end();
}

static void test_wrong_fingerprint(void **state)
{
	begin();
	f.fingerprint[0] = f.fingerprint[0] == '0' ? '1' : '0';
	start();
	lab_turn(&lab);
	expect_failed("no trust anchor of that fingerprint; there is ");
	expect_failed("nothing was sent");
	assert_int_equal(lab.asked_anchors, 1);
	assert_int_equal(lab.asked_enroll, 0);
	assert_false(has_file("roots.pem"));
	end();

	begin();
	f.settings.fingerprint = STR("abcd");
	start();
	lab_turn(&lab);
	expect_failed("64 hexadecimal digits");
	end();
}

/* Who is in between can put an anchor of his own beside the right one. */
static void test_anchors_beside_the_right_one_are_not_believed(void **state)
{
	begin();
	struct certs_pair false_server = certs_make(
		&(struct certs_spec){.issuer = &lab.other, .names = {{0x87, {"\x0a\0\0\x01", 4}}}});
	free(lab.anchors);
	lab.anchors = certs_pem((X509 *[]){lab.root.certificate, lab.other.certificate, NULL});
	lab_serve_with(&lab, &false_server);
	start();
	lab_turn(&lab);
	expect_failed("the server is not that authority's: 10.0.0.1:8443: TLS:");
	assert_int_equal(lab.asked_enroll, 0);
	assert_int_equal(lab.asked_anchors, 1);
	assert_false(has_file("roots.pem"));
	end();
	certs_done(&false_server);
}

static void test_refusals_teach(void **state)
{
	begin();
	f.settings.token = STR("other");
	start();
	lab_turn(&lab);
	expect_failed("\"ringmain ca token\" makes another");
	stop();
	lab.mode = LAB_RAW_ENROLL;
	lab.raw = "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nvm-b?";
	start();
	lab_turn(&lab);
	expect_failed("refuses (403): vm-b?: is this machine's name registered?");
	stop();
	lab.mode = LAB_GOOD;
	lab.token = NULL;
	lab.clock_s = 600;
	start();
	lab_turn(&lab);
	expect_failed("this machine's clock is 600 s behind the authority's: set it");
	assert_false(has_file("node.pem"));
	end();
}

static void test_unreachable(void **state)
{
	struct address server;
	begin();
	assert_true(address_port_parse(STR("10.0.0.1:8443"), &server));
	fake_connect_rule(&server, -113);
	start();
	lab_turn(&lab);
	expect_failed("10.0.0.1:8443: No route to host");
	end();
}

static void test_waits_for_approval(void **state)
{
	begin();
	lab.mode = LAB_RAW_ENROLL;
	lab.raw = "HTTP/1.1 202 Accepted\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n";
	start();
	lab_run_ms(&lab, 61 * 1000, 1000);
	assert_int_equal(lab.asked_enroll, 3);
	lab.mode = LAB_GOOD;
	lab_run_ms(&lab, 31 * 1000, 1000);
	expect_done();
	end();
}

static void test_gives_up_on_one_that_is_busy(void **state)
{
	begin();
	lab.mode = LAB_RAW_ENROLL;
	lab.raw = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
	start();
	lab_run_ms(&lab, 120 * 1000, 1000);
	expect_failed("try again later, with the same token");
	assert_int_equal(lab.asked_enroll, JOIN_TRIES_MAX);
	end();
}

/* Killed in every state: the next run goes on with the same key, which the token is bound to. */
static void test_goes_on_after_every_step(void **state)
{
	for (int step = JOIN_LOOKING; step <= JOIN_LISTS; step++) {
		for (int turns = 0; turns < 3; turns++) {
			begin();
			start();
			lab.mode = LAB_GOOD;
			for (int i = 0; i < 1000 && (int)join_state(f.join) < step; i++)
				lab_turn_once(&lab);
			for (int i = 0; i < turns; i++)
				lab_turn_once(&lab);
			bool was_done = join_state(f.join) == JOIN_DONE;
			stop();
			start();
			lab_turn(&lab);
			expect_done();
			assert_int_equal(lab.key_count, was_done ? 2 : 1);
			assert_true(has_file("node.pem") && has_file("roots.pem"));
			end();
		}
	}
}

static void test_lost_answer(void **state)
{
	begin();
	lab.mode = LAB_LOSES;
	start();
	lab_turn(&lab);
	expect_failed("no certificate: 10.0.0.1:8443: ");
	stop();
	lab.mode = LAB_GOOD;
	start();
	lab_turn(&lab);
	expect_done();
	assert_true(lab.asked_enroll >= 2);
	assert_int_equal(lab.key_count, 1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_joins),
		cmocka_unit_test(test_lists_of_before_stay),
		cmocka_unit_test(test_fingerprint_with_colons),
		cmocka_unit_test(test_wrong_fingerprint),
		cmocka_unit_test(test_anchors_beside_the_right_one_are_not_believed),
		cmocka_unit_test(test_refusals_teach),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_waits_for_approval),
		cmocka_unit_test(test_gives_up_on_one_that_is_busy),
		cmocka_unit_test(test_goes_on_after_every_step),
		cmocka_unit_test(test_lost_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
