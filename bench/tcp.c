/* SPDX-License-Identifier: Apache-2.0 */
#include "tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

bool tcp_parse(const char *text, struct address *ret_address)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;
	if (!colon || !str_to_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
		return false;
	struct str ip = {text, (size_t)(colon - text)};
	if (ip.len >= 2 && ip.at[0] == '[' && ip.at[ip.len - 1] == ']')
		ip = (struct str){ip.at + 1, ip.len - 2};
	if (!address_parse(ip, ret_address))
		return false;
	ret_address->port = (uint16_t)port;
	return true;
}

static socklen_t tcp_sockaddr(const struct address *a, struct sockaddr_storage *ret_s)
{
	address_to_sockaddr(a, ret_s);
	return a->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

int tcp_listen(const struct address *a, int flags, struct err *err)
{
	struct sockaddr_storage s;
	socklen_t len = tcp_sockaddr(a, &s);
	char text[ADDRESS_TEXT_MAX];
	int on = 1, fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		return err_set(err, errno, "cannot make a socket: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&s, len) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	int number = errno;
	close(fd);
	return err_set(
		err, number, "cannot listen on %s: %s", address_text(a, text), strerror(number));
}

void tcp_announce(int fd)
{
	struct sockaddr_storage s = {0};
	socklen_t len = sizeof(s);
	char text[ADDRESS_TEXT_MAX];
	(void)getsockname(fd, (struct sockaddr *)&s, &len);
	struct address a = address_of(&s);
	printf("{\"listening\": \"%s\"}\n", address_text(&a, text));
	fflush(stdout);
}

void tcp_prepare(int fd)
{
	int on = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int tcp_dial(const struct address *a)
{
	struct sockaddr_storage s;
	socklen_t len = tcp_sockaddr(a, &s);
	int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	tcp_prepare(fd);
	if (connect(fd, (struct sockaddr *)&s, len) == 0 || errno == EINPROGRESS)
		return fd;
	int number = errno;
	close(fd);
	return -number;
}

void tcp_raise_file_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}
