/* SPDX-License-Identifier: Apache-2.0 */
/* Direct system calls on sockets, none of which waits. Options whose failure changes nothing that
 * we could do better are set without looking. */
#include "net/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* The same number for both families (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h,
 * which do not go together with netinet/in.h). */
#define SOCKET_ORIGINAL_DST 80

/* A dead peer is noticed after about two minutes, whatever timers the traffic itself has. */
#define SOCKET_KEEPALIVE_IDLE_S	    60
#define SOCKET_KEEPALIVE_INTERVAL_S 15
#define SOCKET_KEEPALIVE_COUNT	    4

static void socket_set(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

void socket_prepare(int fd)
{
	socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, SOCKET_KEEPALIVE_IDLE_S);
	socket_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, SOCKET_KEEPALIVE_INTERVAL_S);
	socket_set(fd, IPPROTO_TCP, TCP_KEEPCNT, SOCKET_KEEPALIVE_COUNT);
}

int socket_open(uint8_t family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	socket_prepare(fd);
	return fd;
}

uint32_t socket_mark(int fd)
{
	uint32_t mark = 0;
	socklen_t len = sizeof(mark);
	if (getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &len) < 0)
		return 0;
	return mark;
}

int socket_original_dst(int fd, uint8_t family, struct address *ret_address)
{
	struct sockaddr_storage s = {0};
	socklen_t len =
		family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
	if (getsockopt(fd, level, SOCKET_ORIGINAL_DST, &s, &len) < 0)
		return -errno;
	*ret_address = address_of(&s);
	return 0;
}

int socket_local(int fd, struct address *ret_address)
{
	struct sockaddr_storage s = {0};
	socklen_t len = sizeof(s);
	if (getsockname(fd, (struct sockaddr *)&s, &len) < 0)
		return -errno;
	*ret_address = address_of(&s);
	return 0;
}

int socket_peer(int fd, struct address *ret_address)
{
	struct sockaddr_storage s = {0};
	socklen_t len = sizeof(s);
	if (getpeername(fd, (struct sockaddr *)&s, &len) < 0)
		return -errno;
	*ret_address = address_of(&s);
	return 0;
}

void socket_send_now(int fd, const void *bytes, size_t len)
{
	ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)n;
}

void socket_shutdown_write(int fd)
{
	(void)shutdown(fd, SHUT_WR);
}

void socket_shutdown(int fd)
{
	(void)shutdown(fd, SHUT_RDWR);
}

void socket_linger_reset(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void socket_close(int fd)
{
	(void)close(fd);
}
