/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one descriptor, aligned as the kernel wants it. */
union channel_control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int channel_send(int fd, const void *message, size_t len, int pass_fd)
{
	struct iovec iov = {(void *)(uintptr_t)message, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union channel_control control = {0};
	if (pass_fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
	}
	ssize_t n;
	do {
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	/* ETOOMANYREFS: too many descriptors on their way; the other end will take some. */
	if (n < 0)
		return errno == ETOOMANYREFS ? -EAGAIN : -errno;
	return 0;
}

static int channel_passed_fd(struct msghdr *msg)
{
	int fd = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
			c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&fd, CMSG_DATA(c), sizeof(int));
	}
	return fd;
}

int channel_receive(int fd, enum channel_wait wait, union channel_message *ret_message,
	size_t *ret_len, int *ret_fd)
{
	struct iovec iov = {ret_message, sizeof(*ret_message)};
	union channel_control control;
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		/* not CMSG_SPACE(): its padding has room for a second one, which nobody would
		 * ever close */
		.msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t n;
	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | (wait == CHANNEL_WAIT ? 0 : MSG_DONTWAIT));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? CHANNEL_CLOSED : -errno;
	if (n == 0)
		return CHANNEL_CLOSED;
	int passed_fd = channel_passed_fd(&msg);
	if ((size_t)n < sizeof(struct wire_head) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
		ret_message->head.magic != WIRE_MAGIC) {
		if (passed_fd >= 0)
			close(passed_fd);
		return -EPROTO;
	}
	*ret_len = (size_t)n;
	*ret_fd = passed_fd;
	return 0;
}
