/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between keeper and proxy process, and those of a proxy process that was taken over. */
#include "daemon/channel.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];

static int setup(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int teardown(void **state)
{
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static size_t open_files(void)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static const struct wire_head reload = {WIRE_MAGIC, WIRE_RELOAD};

/* So many descriptors with one message, however few the receiver wants. */
static void send_files(const void *bytes, size_t len, size_t count)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
	msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
	for (size_t i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &ends[0], sizeof(int));
	assert_int_equal(sendmsg(ends[0], &msg, 0), len);
}

static int receive(union channel_message *m, int *ret_fd)
{
	size_t len;
	return channel_receive(ends[1], CHANNEL_NO_WAIT, m, &len, ret_fd);
}

static void test_one_file_comes_along(void **state)
{
	union channel_message m;
	int fd = -1;
	size_t before = open_files();
	assert_int_equal(channel_send(ends[0], &reload, sizeof(reload), ends[0]), 0);
	assert_int_equal(receive(&m, &fd), 0);
	assert_true(fd >= 0);
	assert_int_equal(m.head.kind, WIRE_RELOAD);
	assert_int_equal(open_files(), before + 1);
	close(fd);
}

static void test_more_files_are_not_kept(void **state)
{
	size_t before = open_files();
	for (size_t count = 2; count <= 16; count++) {
		union channel_message m;
		int fd = -1;
		send_files(&reload, sizeof(reload), count);
		assert_int_equal(receive(&m, &fd), -EPROTO);
		assert_int_equal(open_files(), before);
	}
}

static void test_what_is_no_message(void **state)
{
	static const uint8_t large[4096];
	static const struct {
		struct wire_head head;
		size_t len;
	} rows[] = {{{WIRE_MAGIC, WIRE_RELOAD}, 4}, {{WIRE_MAGIC + 1, WIRE_RELOAD}, 8}};
	union channel_message m;
	int fd;
	size_t before = open_files();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		send_files(&rows[i].head, rows[i].len, 1);
		assert_int_equal(receive(&m, &fd), -EPROTO);
	}
	send_files(large, sizeof(large), 1);
	assert_int_equal(receive(&m, &fd), -EPROTO);
	assert_int_equal(open_files(), before);
	assert_int_equal(receive(&m, &fd), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_file_comes_along, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_files_are_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_message, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
