/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's server in simulated time, without TLS: what it answers, its limits, and every
 * fault at every operation. */
#include "base/clock.h"
#include "est/est.h"
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "net/socket.h"
#include "serve_fake.h"
#include "unit/tls/pair.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NODE "spiffe://prod.example/node/vm-a"

static const char *vectors;
static char *chain_pem, *crl_pem, *request_body;
static struct loop loop;
static struct serve serve;
static struct authority authority;
static int listener;

static char *vector_read(const char *name)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", vectors, name);
	FILE *file = fopen(path, "rb");
	char *text = calloc(1, 65536);
	if (!file || fread(text, 1, 65535, file) == 0)
		abort();
	fclose(file);
	return text;
}

static int setup(void **state)
{
	struct err err;
	const struct address address = {.family = AF_INET, .port = 8443};
	const struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 4096, .block_count = 64};
	fake_init();
	fake_set_wall(1800000000 * CLOCK_S);
	if (loop_init(&loop, &limits, 1, &err) < 0 || ring_enable(&loop.ring, &err) < 0)
		return -1;
	listener = fake_listener();
	authority = (struct authority){.chain = str_of(chain_pem), .crls = str_of(crl_pem)};
	serve_fake_client("", false, NULL);
	serve_fake_stuck(NULL);
	serve_init(&serve, &loop);
	serve.authority = &authority;
	serve.trust_domain = STR("prod.example");
	return serve_listen(&serve, listener, &address, &err);
}

static void pump(void)
{
	fake_pump(&loop, serve_step, serve_reap);
}

static void run(uint64_t ns)
{
	fake_run(&loop, serve_step, serve_reap, ns);
}

static int teardown(void **state)
{
	fake_release();
	serve_close(&serve);
	serve_cut(&serve);
	pump();
	if (!serve_idle(&serve))
		return -1;
	serve_done(&serve);
	loop_done(&loop);
	fake_done();
	return 0;
}

static int dial_from(uint8_t number)
{
	int fd = fake_dial(listener);
	const struct address peer = {.family = AF_INET, .ip = {192, 0, 2, number}, .port = 40000};
	fake_set_peer(fd, &peer);
	return fd;
}

static int dial(void)
{
	int fd = dial_from(1);
	pump();
	return fd;
}

static bool heard(int fd, const char *part)
{
	struct str text = fake_peer_received(fd);
	return text.len && memmem(text.at, text.len, part, strlen(part));
}

static void assert_heard(int fd, const char *part)
{
	struct str text = fake_peer_received(fd);
	if (!heard(fd, part))
		fail_msg("no \"%s\" in \"%.*s\"", part, STR_ARG(text));
}

static struct str body_of(int fd)
{
	struct str text = fake_peer_received(fd);
	const char *end = memmem(text.at, text.len, "\r\n\r\n", 4);
	assert_non_null(end);
	return (struct str){end + 4, text.len - (size_t)(end + 4 - text.at)};
}

/* A GET, or a POST of the request. */
static void ask(int fd, const char *method, const char *path, const char *fields)
{
	char text[8192];
	bool post = strcmp(method, "POST") == 0;
	int n = snprintf(
		text, sizeof(text), "%s %s HTTP/1.1\r\nHost: ca\r\n%s", method, path, fields);
	if (post)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "Content-Length: %zu\r\n",
			strlen(request_body));
	snprintf(text + n, sizeof(text) - (size_t)n, "\r\n%s", post ? request_body : "");
	fake_peer_send_text(fd, text);
}

static int asked(const char *method, const char *path, const char *fields)
{
	int fd = dial();
	ask(fd, method, path, fields);
	pump();
	return fd;
}

#define EST	"/.well-known/est/"
#define PKCS10	"Content-Type: application/pkcs10\r\n"
#define ALADDIN "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"

/* --- what is published --- */

static void anchors_for_everybody(void **state)
{
	struct str pem;
	struct err err;
	int fd = asked("GET", EST "cacerts", "");
	assert_heard(fd, "HTTP/1.1 200 OK\r\n");
	assert_heard(fd, "\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n");
	assert_heard(fd, "\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n");
	assert_heard(fd, "\r\nETag: " SERVE_FAKE_ETAG "\r\n");
	assert_int_equal(est_certificates_read(body_of(fd), &pem, &err), 0);
	assert_true(str_eq(pem, str_of(chain_pem)));
	free((void *)(uintptr_t)pem.at);
	assert_int_equal(authority.seen_count, 0);
}

static void crls_for_everybody(void **state)
{
	struct str pem;
	struct err err;
	int fd = asked("GET", EST "crls?all", "");
	assert_heard(fd, "\r\nContent-Type: application/pkcs7-mime; smime-type=crls-only\r\n");
	assert_heard(fd, "\r\nETag: " SERVE_FAKE_CRL_ETAG "\r\n");
	assert_int_equal(est_crls_read(body_of(fd), &pem, &err), 0);
	assert_true(str_eq(pem, str_of(crl_pem)));
	free((void *)(uintptr_t)pem.at);
}

static void what_is_in_force_is_not_sent_again(void **state)
{
	static const struct {
		const char *fields;
		bool same;
	} rows[] = {
		{"If-None-Match: \"anchors-1\"\r\n", true},
		{"If-None-Match: W/\"anchors-1\"\r\n", true},
		{"If-None-Match: \"a\", \"anchors-1\"\r\n", true},
		{"If-None-Match: *\r\n", true},
		{"If-None-Match: \"anchors-2\"\r\n", false},
		{"If-None-Match: anchors-1\r\n", false},
		{"If-None-Match: ,,\r\n", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = asked("GET", EST "cacerts", rows[i].fields);
		assert_heard(
			fd, rows[i].same ? "HTTP/1.1 304 Not Modified\r\n" : "HTTP/1.1 200 OK\r\n");
		assert_heard(fd, "\r\nETag: " SERVE_FAKE_ETAG "\r\n");
		assert_heard(fd, "\r\nDate: ");
		if (rows[i].same)
			assert_int_equal(body_of(fd).len, 0);
	}
	assert_int_equal(authority.seen_count, 0);
}

static void what_a_node_has_in_force_is_noted(void **state)
{
	serve_fake_client(NODE, false, NULL);
	asked("GET", EST "cacerts", "If-None-Match: \"old\"\r\n");
	assert_int_equal(authority.seen_count, 1);
	assert_string_equal(authority.seen.node, "vm-a");
	assert_string_equal(authority.seen.etag, "\"old\"");
	assert_false(authority.seen.is_crls);
	asked("GET", EST "crls", "If-None-Match: \"crls-1\"\r\n");
	assert_int_equal(authority.seen_count, 2);
	assert_true(authority.seen.is_crls);
	/* none of these is a node's word about one thing */
	asked("GET", EST "cacerts", "");
	asked("GET", EST "cacerts", "If-None-Match: *\r\n");
	asked("GET", EST "cacerts", "If-None-Match: \"a\", \"b\"\r\n");
	asked("GET", EST "other.example/cacerts", "If-None-Match: \"a\"\r\n");
	serve_fake_client(NODE, true, NULL);
	asked("GET", EST "cacerts", "If-None-Match: \"old\"\r\n");
	serve_fake_client("spiffe://prod.example/service/web", false, NULL);
	asked("GET", EST "cacerts", "If-None-Match: \"old\"\r\n");
	serve_fake_client("spiffe://other.example/node/vm-a", false, NULL);
	asked("GET", EST "cacerts", "If-None-Match: \"old\"\r\n");
	assert_int_equal(authority.seen_count, 2);
}

static void labels(void **state)
{
	assert_heard(asked("GET", EST "other.example/cacerts", ""), "HTTP/1.1 200 ");
	assert_heard(asked("GET", EST "prod.example/cacerts", ""), "HTTP/1.1 200 ");
	assert_heard(asked("GET", EST "prod.example/crls", ""), "HTTP/1.1 200 ");
	assert_heard(asked("GET", EST "third.example/cacerts", ""), "HTTP/1.1 404 ");
	assert_heard(asked("GET", EST "other.example/crls", ""), "HTTP/1.1 404 ");
	assert_heard(
		asked("POST", EST "other.example/simpleenroll", PKCS10 ALADDIN), "HTTP/1.1 404 ");
	assert_int_equal(authority.enroll_count, 0);
}

static void what_is_not_there(void **state)
{
	static const struct {
		const char *method, *path, *fields, *answer;
	} rows[] = {
		{"GET", "/", "", "HTTP/1.1 404 Not Found\r\n"},
		{"GET", EST "csrattrs", "", "HTTP/1.1 404 Not Found\r\n"},
		{"GET", EST "../est/cacerts", "", "HTTP/1.1 404 Not Found\r\n"},
		{"POST", EST "cacerts", PKCS10, "\r\nAllow: GET, HEAD\r\n"},
		{"DELETE", EST "crls", "", "HTTP/1.1 405 Method Not Allowed\r\n"},
		{"GET", EST "simpleenroll", "", "\r\nAllow: POST\r\n"},
		{"POST", EST "simpleenroll", "", "HTTP/1.1 415 Unsupported Media Type\r\n"},
		{"POST", EST "simpleenroll", "Content-Type: application/pkcs10x\r\n",
			"HTTP/1.1 415 "},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = asked(rows[i].method, rows[i].path, rows[i].fields);
		assert_heard(fd, rows[i].answer);
		assert_heard(fd, "\r\nContent-Type: text/plain");
		assert_true(body_of(fd).len > 0);
	}
	assert_int_equal(authority.enroll_count, 0);
}

static void head_is_get_without_the_body(void **state)
{
	int fd = asked("HEAD", EST "cacerts", "");
	assert_heard(fd, "HTTP/1.1 200 OK\r\n");
	assert_heard(fd, "\r\nContent-Length: ");
	assert_int_equal(body_of(fd).len, 0);
	assert_true(fake_is_open(fd));
}

static void our_own_failure_tells_nothing(void **state)
{
	authority.failure = -EIO;
	int fd = asked("GET", EST "cacerts", "");
	assert_heard(fd, "HTTP/1.1 500 ");
	assert_false(heard(fd, "disk trouble"));
	authority.failure = 0;
	authority.outcome = -ENOSPC;
	fd = asked("POST", EST "simpleenroll", PKCS10 ALADDIN);
	assert_heard(fd, "HTTP/1.1 500 ");
	assert_false(heard(fd, "because"));
}

/* --- what is issued --- */

static void a_token_and_a_request(void **state)
{
	struct str pem;
	struct err err;
	int fd = asked(
		"POST", EST "simpleenroll", "Content-Type: Application/PKCS10; x=y\r\n" ALADDIN);
	assert_heard(fd, "HTTP/1.1 200 OK\r\n");
	assert_heard(fd, "\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n");
	assert_int_equal(est_certificates_read(body_of(fd), &pem, &err), 0);
	assert_true(str_eq(pem, str_of(chain_pem)));
	free((void *)(uintptr_t)pem.at);
	assert_string_equal(authority.last.user, "Aladdin");
	assert_string_equal(authority.last.password, "open sesame");
	assert_string_equal(authority.last.id, "");
	assert_string_equal(authority.last.address, "192.0.2.1:40000");
	assert_true(authority.last.request_len > 100);
}

static void a_certificate_and_a_request(void **state)
{
	serve_fake_client(NODE, true, NULL);
	int fd = asked("POST", EST "simplereenroll", PKCS10);
	assert_heard(fd, "HTTP/1.1 200 OK\r\n");
	assert_string_equal(authority.last.id, NODE);
	assert_string_equal(authority.last.user, "");
	assert_true(authority.last.expired);
}

static void refusals_say_why_and_when(void **state)
{
	static const struct {
		int outcome;
		uint32_t retry_s;
		const char *answer, *also;
	} rows[] = {
		{AUTHORITY_BAD, 0, "HTTP/1.1 400 ", "\r\n"},
		{AUTHORITY_UNKNOWN, 0, "HTTP/1.1 401 ",
			"\r\nWWW-Authenticate: Basic realm=\"ringmain ca\"\r\n"},
		{AUTHORITY_FORBIDDEN, 9, "HTTP/1.1 403 ", "\r\n"},
		{AUTHORITY_TOO_MANY, 7, "HTTP/1.1 429 ", "\r\nRetry-After: 7\r\n"},
		{AUTHORITY_BUSY, 0, "HTTP/1.1 503 ", "\r\nRetry-After: 1\r\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		authority.outcome = rows[i].outcome;
		authority.retry_s = rows[i].retry_s;
		int fd = asked("POST", EST "simpleenroll", PKCS10 ALADDIN);
		assert_heard(fd, rows[i].answer);
		assert_heard(fd, rows[i].also);
		assert_heard(fd, "\r\nContent-Type: text/plain");
		assert_true(str_eq(body_of(fd), STR("because of this\n")));
		assert_true(fake_is_open(fd));
		assert_int_equal(heard(fd, "Retry-After"), rows[i].outcome > 403);
	}
}

static void what_is_no_request_does_not_reach_the_authority(void **state)
{
	static const char *const bodies[] = {"", "AAAA", "-----BEGIN", "\xff\xff\xff\xff"};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		char text[512];
		int fd = dial();
		snprintf(text, sizeof(text),
			"POST " EST "simpleenroll HTTP/1.1\r\nHost: ca\r\n" PKCS10 ALADDIN
			"Content-Length: %zu\r\n\r\n%s",
			strlen(bodies[i]), bodies[i]);
		fake_peer_send_text(fd, text);
		pump();
		assert_heard(fd, "HTTP/1.1 400 ");
	}
	assert_heard(asked("POST", EST "simpleenroll", PKCS10 "Authorization: Digest x\r\n"),
		"HTTP/1.1 401 ");
	assert_int_equal(authority.enroll_count, 0);
}

static void who_has_been_revoked_since_is_refused(void **state)
{
	serve_fake_client(NODE, false, "a certificate of the chain has been revoked");
	int fd = asked("POST", EST "simplereenroll", PKCS10);
	assert_heard(fd, "HTTP/1.1 403 ");
	assert_heard(fd, "has been revoked\n");
	assert_int_equal(authority.enroll_count, 0);
	assert_heard(asked("GET", EST "cacerts", "If-None-Match: \"x\"\r\n"), "HTTP/1.1 200 ");
	assert_int_equal(authority.seen_count, 0);
}

/* --- limits --- */

static void a_request_too_large_is_answered(void **state)
{
	static const char head[] = "POST " EST "simpleenroll HTTP/1.1\r\nHost: ca\r\n" PKCS10;
	char piece[1024];
	int fd = dial();
	fake_peer_send_text(fd, head);
	fake_peer_send_text(fd, "Content-Length: 16385\r\n\r\n");
	pump();
	assert_heard(fd, "HTTP/1.1 413 ");
	assert_heard(fd, "\r\nConnection: close\r\n");

	fd = dial();
	fake_peer_send_text(fd, head);
	fake_peer_send_text(fd, "Transfer-Encoding: chunked\r\n\r\n4001\r\n");
	memset(piece, 'A', sizeof(piece));
	for (int i = 0; i < 17; i++)
		fake_peer_send(fd, piece, sizeof(piece));
	pump();
	assert_heard(fd, "HTTP/1.1 413 ");
	assert_false(fake_peer_saw_reset(fd));
	assert_true(fake_peer_saw_end(fd));
	fake_peer_close(fd);
	pump();
	assert_false(fake_is_open(fd));
}

static void heads_too_large_and_no_http(void **state)
{
	char large[20000];
	int fd = dial();
	memset(large, 'a', sizeof(large));
	fake_peer_send_text(fd, "GET /");
	fake_peer_send(fd, large, sizeof(large));
	pump();
	assert_heard(fd, "HTTP/1.1 4");
	fd = dial();
	fake_peer_send_text(fd, "\x16\x03\x01 nonsense\r\n\r\n");
	pump();
	assert_heard(fd, "HTTP/1.1 400 ");
	run(3 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void who_asks_first_is_told_to_go_on(void **state)
{
	int fd = dial();
	ask(fd, "POST", EST "simpleenroll", PKCS10 ALADDIN "Expect: 100-continue\r\n");
	pump();
	assert_heard(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n");
}

static void one_request_after_the_other(void **state)
{
	int fd = dial();
	ask(fd, "GET", EST "crls", "");
	ask(fd, "POST", EST "simpleenroll", PKCS10 ALADDIN);
	ask(fd, "GET", EST "nothing", "Connection: close\r\n");
	pump();
	assert_heard(fd, "crls-only");
	assert_heard(fd, "certs-only");
	assert_heard(fd, "HTTP/1.1 404 ");
	assert_true(fake_peer_saw_end(fd));
	run(3 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void a_request_has_its_time_however_it_drips(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n";
	int fd = dial();
	for (int i = 0; i < 14; i++) {
		fake_peer_send(fd, request + i, 1);
		run(CLOCK_S);
	}
	assert_true(fake_is_open(fd));
	run(2 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void a_body_that_never_ends(void **state)
{
	int fd = dial();
	fake_peer_send_text(fd, "POST " EST "simpleenroll HTTP/1.1\r\nHost: ca\r\n" PKCS10
				"Content-Length: 1000\r\n\r\n");
	for (int i = 0; i < 14; i++) {
		fake_peer_send_text(fd, "A");
		run(CLOCK_S);
	}
	assert_true(fake_is_open(fd));
	run(2 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void silence_after_connecting_and_between(void **state)
{
	int fd = dial(), other = dial();
	run(16 * CLOCK_S);
	assert_false(fake_is_open(fd));
	assert_false(fake_is_open(other));
	fd = dial();
	ask(fd, "GET", EST "cacerts", "");
	run(59 * CLOCK_S);
	assert_true(fake_is_open(fd));
	run(2 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void who_does_not_take_the_answer_is_cut(void **state)
{
	int fd = dial();
	fake_peer_window(fd, 100);
	ask(fd, "GET", EST "cacerts", "");
	run(29 * CLOCK_S);
	assert_true(fake_is_open(fd));
	run(2 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void a_handshake_has_its_time_and_an_address_its_share(void **state)
{
	struct pair_mesh mesh;
	int fds[SERVE_SHAKES_PER_ADDRESS];
	pair_mesh_init(&mesh);
	struct tls_store *store = pair_mesh_store(&mesh, 1);
	serve_fake_stuck(store);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial();
	int one_more = dial(), other = dial_from(2);
	pump();
	assert_true(fake_is_open(fds[0]) && fake_is_open(fds[ARRAY_LEN(fds) - 1]));
	assert_false(fake_is_open(one_more));
	assert_true(fake_is_open(other));
	fake_peer_send_text(fds[0], "\x16\x03\x01");
	run(9 * CLOCK_S);
	fake_peer_send_text(fds[0], "\x02");
	assert_true(fake_is_open(fds[0]));
	run(2 * CLOCK_S);
	assert_false(fake_is_open(fds[0]));
	assert_false(fake_is_open(other));
	tls_store_unref(store);
	pair_mesh_done(&mesh);
}

/* Blocks to receive into are smaller here than a record of TLS. */
static void a_handshake_larger_than_a_block(void **state)
{
	static const uint8_t head[] = {0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc};
	static const uint8_t rest[12000];
	struct pair_mesh mesh;
	pair_mesh_init(&mesh);
	struct tls_store *store = pair_mesh_store(&mesh, 1);
	serve_fake_stuck(store);
	int fd = dial();
	fake_peer_send(fd, head, sizeof(head));
	fake_peer_send(fd, rest, sizeof(rest));
	pump();
	assert_true(fake_is_open(fd));
	run(11 * CLOCK_S);
	assert_false(fake_is_open(fd));
	tls_store_unref(store);
	pair_mesh_done(&mesh);
}

static void the_idle_make_room(void **state)
{
	static int fds[SERVE_CONN_MAX];
	for (int i = 0; i < SERVE_CONN_MAX; i++) {
		fds[i] = dial_from((uint8_t)(i % 200));
		if (i % 32 == 31)
			pump();
	}
	assert_int_equal(serve.open_count, SERVE_CONN_MAX);
	int fd = dial_from(250);
	pump();
	assert_true(fake_is_open(fd));
	assert_false(fake_is_open(fds[0]));
	assert_true(fake_is_open(fds[1]));
	assert_int_equal(serve.open_count, SERVE_CONN_MAX);
	/* All of them have begun, and go on no further: the first of them does. */
	for (int i = 1; i < SERVE_CONN_MAX; i++) {
		fake_peer_send_text(fds[i], "G");
		pump();
		if (i == 1)
			run(CLOCK_MS);
	}
	fake_peer_send_text(fd, "G");
	pump();
	int honest = dial_from(251);
	pump();
	assert_false(fake_is_open(fds[1]));
	assert_true(fake_is_open(fds[2]));
	ask(honest, "GET", EST "cacerts", "");
	pump();
	assert_heard(honest, "HTTP/1.1 200 OK\r\n");
}

static void everybody_gets_a_turn(void **state)
{
	int fds[22];
	for (size_t i = 0; i < 20; i++)
		fds[i] = dial_from(1);
	fds[20] = dial_from(2);
	fds[21] = dial_from(3);
	pump();
	uint64_t before = loop.turn_count;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		ask(fds[i], "POST", EST "simpleenroll", PKCS10 ALADDIN);
	pump();
	run(CLOCK_MS);
	assert_int_equal(authority.enroll_count, ARRAY_LEN(fds));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		assert_heard(fds[i], "HTTP/1.1 200 OK\r\n");
	/* the two wait for no more than a few of the other's */
	char first[16];
	snprintf(first, sizeof(first), "%.12s", authority.order);
	assert_true(strchr(first, '2') && strchr(first, '3'));
	assert_true(loop.turn_count - before >= ARRAY_LEN(fds) / SERVE_ANSWERS_PER_TURN);
}

static void accepting_goes_on_after_an_error(void **state)
{
	fake_fault(FAKE_ACCEPT, 1, FAKE_FAULT_END);
	int first = dial();
	ask(first, "GET", EST "cacerts", "");
	run(CLOCK_S);
	int second = dial();
	ask(second, "GET", EST "cacerts", "");
	run(CLOCK_S);
	assert_heard(second, "HTTP/1.1 200 ");
}

/* --- the end --- */

static void who_has_asked_is_answered_before_the_end(void **state)
{
	int idle = dial(), late = dial(), reading = dial(), writing = dial();
	fake_peer_send_text(reading, "GET " EST "cacerts HTTP/1.1\r\n");
	fake_peer_window(writing, 100);
	ask(writing, "GET", EST "cacerts", "");
	pump();
	ask(late, "GET", EST "cacerts", ""); /* not looked at yet */
	serve_close(&serve);
	pump();
	assert_heard(late, "\r\nConnection: close\r\n");
	run(CLOCK_S);
	assert_false(fake_is_open(idle));
	assert_false(serve_idle(&serve));
	fake_peer_send_text(reading, "Host: ca\r\n\r\n");
	fake_peer_window(writing, SIZE_MAX);
	pump();
	assert_heard(reading, "HTTP/1.1 200 ");
	assert_heard(reading, "\r\nConnection: close\r\n");
	assert_heard(writing, "=\n");
	run(3 * CLOCK_S);
	assert_true(serve_idle(&serve));
}

static void listeners_come_and_go(void **state)
{
	struct err err;
	const struct address second = {.family = AF_INET, .port = 9443};
	int fd = fake_listener();
	assert_false(serve_listens(&serve, &second));
	assert_int_equal(serve_listen(&serve, fd, &second, &err), 0);
	assert_true(serve_listens(&serve, &second));
	int conn = fake_dial(fd);
	pump();
	ask(conn, "GET", EST "cacerts", "");
	serve_deafen(&serve, &second);
	pump();
	assert_false(serve_listens(&serve, &second));
	assert_false(fake_is_open(fd));
	assert_heard(conn, "HTTP/1.1 200 ");
}

static void one_fault(enum fake_kind kind, uint32_t nth, enum fake_fault fault)
{
	int fd = fake_dial(listener);
	ask(fd, "POST", EST "simpleenroll", PKCS10 ALADDIN);
	ask(fd, "GET", EST "cacerts", "");
	fake_fault(kind, nth, fault);
	run(CLOCK_S);
	if (fake_is_open(fd) && fault != FAKE_FAULT_RESET)
		fake_peer_close(fd);
	run(CLOCK_S);
	assert_int_equal(teardown(NULL), 0); /* nothing is left behind */
	assert_int_equal(setup(NULL), 0);
}

static void every_fault_at_every_operation(void **state)
{
	for (int kind = 0; kind < FAKE_KIND_COUNT; kind++)
		for (int fault = 0; fault < FAKE_FAULT_COUNT; fault++)
			for (uint32_t nth = 1; nth <= 4; nth++)
				one_fault((enum fake_kind)kind, nth, (enum fake_fault)fault);
}

/* Completions late and out of order, receives short: the answers come all the same. */
static void answers_survive_chaos(void **state)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		fake_chaos(seed);
		int fd = dial();
		ask(fd, "POST", EST "simpleenroll", PKCS10 ALADDIN);
		ask(fd, "GET", EST "crls", "Connection: close\r\n");
		run(CLOCK_S);
		assert_heard(fd, "certs-only");
		assert_heard(fd, "crls-only");
		run(3 * CLOCK_S);
		assert_false(fake_is_open(fd));
		fake_chaos(0);
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(anchors_for_everybody),
		TEST(crls_for_everybody),
		TEST(what_is_in_force_is_not_sent_again),
		TEST(what_a_node_has_in_force_is_noted),
		TEST(labels),
		TEST(what_is_not_there),
		TEST(head_is_get_without_the_body),
		TEST(our_own_failure_tells_nothing),
		TEST(a_token_and_a_request),
		TEST(a_certificate_and_a_request),
		TEST(refusals_say_why_and_when),
		TEST(what_is_no_request_does_not_reach_the_authority),
		TEST(who_has_been_revoked_since_is_refused),
		TEST(a_request_too_large_is_answered),
		TEST(heads_too_large_and_no_http),
		TEST(who_asks_first_is_told_to_go_on),
		TEST(one_request_after_the_other),
		TEST(a_request_has_its_time_however_it_drips),
		TEST(a_body_that_never_ends),
		TEST(silence_after_connecting_and_between),
		TEST(who_does_not_take_the_answer_is_cut),
		TEST(a_handshake_has_its_time_and_an_address_its_share),
		TEST(a_handshake_larger_than_a_block),
		TEST(the_idle_make_room),
		TEST(everybody_gets_a_turn),
		TEST(accepting_goes_on_after_an_error),
		TEST(who_has_asked_is_answered_before_the_end),
		TEST(listeners_come_and_go),
		TEST(every_fault_at_every_operation),
		TEST(answers_survive_chaos),
	};
	vectors = argc > 1 ? argv[1] : "../est/vectors";
	chain_pem = vector_read("chain.pem");
	crl_pem = vector_read("crl.pem");
	request_body = vector_read("request.body");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(chain_pem);
	free(crl_pem);
	free(request_body);
	return failed;
}
