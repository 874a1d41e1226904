/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_STATES (0xfffu & ~(1u << TCP_TIME_WAIT) & ~(1u << TCP_CLOSE))

struct sockets_request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

static int sockets_open(struct err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return err_set(
			err, errno, "cannot ask the kernel for its sockets: %s", strerror(errno));
	struct timeval limit = {.tv_sec = 5};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static int sockets_send(int fd, struct sockets_request *request, struct err *err)
{
	request->header.nlmsg_len = sizeof(*request);
	request->body.sdiag_protocol = IPPROTO_TCP;
	if (send(fd, request, sizeof(*request), 0) < 0)
		return err_set(
			err, errno, "cannot ask the kernel for its sockets: %s", strerror(errno));
	return 0;
}

static struct address sockets_address(uint8_t family, const uint32_t words[4], uint16_t port_be)
{
	struct sockaddr_storage s = {.ss_family = family};
	if (family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&s;
		memcpy(&in->sin_addr, words, 4);
		in->sin_port = port_be;
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s;
		memcpy(&in6->sin6_addr, words, 16);
		in6->sin6_port = port_be;
	}
	return address_of(&s);
}

static bool sockets_add(struct socket_table *t, const struct inet_diag_msg *m)
{
	if (t->count == t->size) {
		uint32_t size = t->size ? t->size * 2 : 64;
		struct socket_entry *all = realloc(t->all, size * sizeof(*all));
		if (!all)
			return false;
		t->all = all;
		t->size = size;
	}
	struct socket_entry *s = &t->all[t->count++];
	*s = (struct socket_entry){
		.tuple.local = sockets_address(m->idiag_family, m->id.idiag_src, m->id.idiag_sport),
		.tuple.remote =
			sockets_address(m->idiag_family, m->id.idiag_dst, m->id.idiag_dport),
		.uid = m->idiag_uid,
		.listening = m->idiag_state == TCP_LISTEN,
		.family = m->idiag_family,
		.scope = m->id.idiag_if};
	memcpy(s->cookie, m->id.idiag_cookie, sizeof(s->cookie));
	memcpy(s->raw_local, m->id.idiag_src, 16);
	memcpy(s->raw_remote, m->id.idiag_dst, 16);
	return true;
}

static struct nlmsghdr *sockets_next(struct nlmsghdr *h, unsigned *left)
{
	unsigned step = NLMSG_ALIGN(h->nlmsg_len);
	*left = *left > step ? *left - step : 0;
	return (struct nlmsghdr *)((char *)h + step);
}

/* One datagram of the answer: 1 more to come, 0 the end, or -errno. */
static int sockets_take(struct socket_table *t, char *at, ssize_t got, struct err *err)
{
	unsigned left = (unsigned)got;
	for (struct nlmsghdr *h = (struct nlmsghdr *)at; NLMSG_OK(h, left);
		h = sockets_next(h, &left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = NLMSG_DATA(h);
			return err_set(err, -e->error ? -e->error : EIO,
				"the kernel does not list its sockets: %s", strerror(-e->error));
		}
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			continue;
		if (!sockets_add(t, NLMSG_DATA(h)))
			return err_set(err, ENOMEM, "no memory for the list of sockets");
	}
	return 1;
}

static int sockets_list_family(struct socket_table *t, int fd, uint8_t family, struct err *err)
{
	struct sockets_request request = {.header = {.nlmsg_type = SOCK_DIAG_BY_FAMILY,
						  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.body = {.sdiag_family = family, .idiag_states = SOCKETS_STATES}};
	int r = sockets_send(fd, &request, err);
	_Alignas(struct nlmsghdr) char answer[32768];
	for (int more = 1; r == 0 && more > 0;) {
		ssize_t got = recv(fd, answer, sizeof(answer), 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(err, errno, "no answer about sockets: %s", strerror(errno));
		more = sockets_take(t, answer, got, err);
		r = more < 0 ? more : 0;
	}
	return r;
}

int sockets_list(struct socket_table *t, struct err *err)
{
	*t = (struct socket_table){0};
	int fd = sockets_open(err);
	if (fd < 0)
		return fd;
	int r = sockets_list_family(t, fd, AF_INET, err);
	if (r == 0)
		r = sockets_list_family(t, fd, AF_INET6, err);
	close(fd);
	if (r < 0)
		sockets_done(t);
	return r;
}

void sockets_done(struct socket_table *t)
{
	free(t->all);
	*t = (struct socket_table){0};
}

bool sockets_listening(const struct socket_table *t, uint16_t port)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->all[i].listening && t->all[i].tuple.local.port == port)
			return true;
	return false;
}

const struct socket_entry *sockets_peer(const struct socket_table *t, const struct socket_entry *s)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (address_equal(&t->all[i].tuple.remote, &s->tuple.local))
			return &t->all[i];
	return NULL;
}

int sockets_kill(const struct socket_entry *s, struct err *err)
{
	int fd = sockets_open(err);
	if (fd < 0)
		return fd;
	struct sockets_request request = {
		.header = {.nlmsg_type = SOCK_DESTROY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.body = {.sdiag_family = s->family,
			.idiag_states = SOCKETS_STATES,
			.id = {.idiag_sport = htons(s->tuple.local.port),
				.idiag_dport = htons(s->tuple.remote.port),
				.idiag_if = s->scope}}};
	memcpy(request.body.id.idiag_src, s->raw_local, 16);
	memcpy(request.body.id.idiag_dst, s->raw_remote, 16);
	memcpy(request.body.id.idiag_cookie, s->cookie, sizeof(s->cookie));
	int r = sockets_send(fd, &request, err);
	_Alignas(struct nlmsghdr) char answer[1024];
	ssize_t got = r < 0 ? 0 : recv(fd, answer, sizeof(answer), 0);
	close(fd);
	if (r < 0 || got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return r < 0 ? r : err_set(err, EIO, "no answer to ending a connection");
	const struct nlmsgerr *e = NLMSG_DATA((struct nlmsghdr *)answer);
	if (e->error == 0 || e->error == -ENOENT)
		return 0;
	return err_set(err, -e->error, "cannot end a captured connection: %s%s",
		strerror(-e->error),
		e->error == -EOPNOTSUPP ? " (a kernel without INET_DIAG_DESTROY)" : "");
}
