/* SPDX-License-Identifier: Apache-2.0 */
/* The direct socket calls, on loopback. What the redirect leaves on a connection is the business of
 * the scenarios, which have rules to test it with. */
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);
	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* A connection from [0] to [1] over the loopback address of the family. */
static void connection(uint8_t family, int ret_fds[2])
{
	struct address here = {.family = family, .ip = {127, 0, 0, 1}};
	struct sockaddr_storage s;
	socklen_t len = sizeof(s);
	if (family == AF_INET6)
		here = (struct address){.family = family, .ip = {[15] = 1}};
	address_to_sockaddr(&here, &s);
	int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&s, sizeof(s)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&s, &len), 0);
	ret_fds[0] = socket_open(family);
	assert_true(ret_fds[0] >= 0);
	assert_int_equal(connect(ret_fds[0], (struct sockaddr *)&s, len), 0);
	ret_fds[1] = accept(listener, NULL, NULL);
	assert_true(ret_fds[1] >= 0);
	socket_prepare(ret_fds[1]);
	close(listener);
}

static void opened_and_accepted_sockets_are_prepared(void **state)
{
	int fds[2];
	connection(AF_INET, fds);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(option(fds[i], IPPROTO_TCP, TCP_NODELAY), 1);
		assert_int_equal(option(fds[i], SOL_SOCKET, SO_KEEPALIVE), 1);
		assert_false(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
	}
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	socket_close(fds[0]);
	socket_close(fds[1]);
}

static void both_ends_agree_on_their_addresses(void **state)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	for (size_t i = 0; i < 2; i++) {
		struct address local, peer;
		int fds[2];
		connection(families[i], fds);
		assert_int_equal(socket_local(fds[0], &local), 0);
		assert_int_equal(socket_peer(fds[1], &peer), 0);
		assert_int_equal(local.family, families[i]);
		assert_true(address_equal(&local, &peer));
		assert_true(address_is_loopback(&local));
		socket_close(fds[0]);
		socket_close(fds[1]);
	}
}

static void a_connection_that_was_not_redirected_gives_no_other_address(void **state)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	for (size_t i = 0; i < 2; i++) {
		struct address local, dst;
		int fds[2];
		connection(families[i], fds);
		assert_int_equal(socket_local(fds[1], &local), 0);
		/* Without connection tracking on this machine there is no answer at all. */
		if (socket_original_dst(fds[1], families[i], &dst) == 0)
			assert_true(address_equal(&local, &dst));
		assert_int_equal(socket_mark(fds[1]), 0);
		socket_close(fds[0]);
		socket_close(fds[1]);
	}
}

static void a_lingering_reset_is_seen_as_one(void **state)
{
	char byte;
	int fds[2];
	connection(AF_INET, fds);
	socket_linger_reset(fds[0]);
	socket_close(fds[0]);
	assert_int_equal(recv(fds[1], &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	socket_close(fds[1]);
}

static void shutdowns_close_one_way_or_both(void **state)
{
	char byte;
	int fds[2];
	connection(AF_INET, fds);
	socket_shutdown_write(fds[0]);
	assert_int_equal(recv(fds[1], &byte, 1, 0), 0);
	assert_int_equal(send(fds[1], "x", 1, 0), 1);
	assert_int_equal(recv(fds[0], &byte, 1, 0), 1);
	socket_shutdown(fds[0]);
	assert_int_equal(recv(fds[0], &byte, 1, 0), 0);
	socket_close(fds[0]);
	socket_close(fds[1]);
}

/* Who cannot be asked has not said that it is another machine. */
static void a_connection_to_this_machine_leads_back(void **state)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int routes = socket_routes();
	assert_true(routes >= 0);
	for (size_t i = 0; i < 4; i++) {
		int fds[2];
		connection(families[i % 2], fds);
		assert_true(socket_leads_back(fds[0], routes));
		assert_true(socket_leads_back(fds[0], -1));
		socket_close(fds[0]);
		socket_close(fds[1]);
	}
	int fd = socket_open(AF_INET);
	assert_false(socket_leads_back(fd, routes)); /* nowhere */
	socket_close(fd);
	close(routes);
}

static void what_is_no_socket_has_no_answers(void **state)
{
	struct address a;
	assert_int_equal(socket_local(-1, &a), -EBADF);
	assert_int_equal(socket_peer(-1, &a), -EBADF);
	assert_int_equal(socket_original_dst(-1, AF_INET, &a), -EBADF);
	assert_int_equal(socket_mark(-1), 0);
	assert_int_equal(socket_open(AF_UNSPEC), -EAFNOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_and_accepted_sockets_are_prepared),
		cmocka_unit_test(both_ends_agree_on_their_addresses),
		cmocka_unit_test(a_connection_that_was_not_redirected_gives_no_other_address),
		cmocka_unit_test(a_lingering_reset_is_seen_as_one),
		cmocka_unit_test(shutdowns_close_one_way_or_both),
		cmocka_unit_test(a_connection_to_this_machine_leads_back),
		cmocka_unit_test(what_is_no_socket_has_no_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
