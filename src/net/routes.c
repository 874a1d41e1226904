/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own word on an address: the type of the route there (rtnetlink(7)). The answer is
 * there when the question has been sent, and nothing waits for it. */
#include "net/socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#define ROUTES_ANSWER_BYTES 4096

struct routes_question {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr to;
	uint8_t ip[16];
};

int socket_routes(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return fd < 0 ? -errno : fd;
}

static bool routes_ask(int routes, const struct address *a, uint32_t number)
{
	uint8_t len = a->family == AF_INET ? 4 : 16;
	struct routes_question q = {
		.head = {.nlmsg_type = RTM_GETROUTE,
			.nlmsg_flags = NLM_F_REQUEST,
			.nlmsg_seq = number},
		.route = {.rtm_family = a->family, .rtm_dst_len = (uint8_t)(8 * len)},
		.to = {.rta_type = RTA_DST, .rta_len = (uint16_t)RTA_LENGTH(len)},
	};
	memcpy(q.ip, a->ip, len);
	q.head.nlmsg_len = (uint32_t)(offsetof(struct routes_question, ip) + len);
	return send(routes, &q, q.head.nlmsg_len, MSG_DONTWAIT) == (ssize_t)q.head.nlmsg_len;
}

/* Who cannot be told has no way out. Where there is no way but by a rule of somebody else's, the
 * machine itself is not. */
static bool routes_is_own(const struct nlmsghdr *head, size_t len)
{
	const struct rtmsg *route = NLMSG_DATA(head);
	if (head->nlmsg_type == NLMSG_ERROR)
		return false;
	return len < NLMSG_LENGTH(sizeof(*route)) || head->nlmsg_type != RTM_NEWROUTE ||
	       route->rtm_type != RTN_UNICAST;
}

bool socket_leads_back(int fd, int routes)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ROUTES_ANSWER_BYTES];
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
	const uint32_t number = (uint32_t)fd; /* an answer that nobody took is another one's */
	struct address peer;
	ssize_t len;
	if (socket_peer(fd, &peer) < 0)
		return false; /* it is over */
	if (!routes_ask(routes, &peer, number))
		return true;
	do
		len = recv(routes, answer, sizeof(answer), MSG_DONTWAIT);
	while (len >= (ssize_t)sizeof(*head) && head->nlmsg_seq != number);
	return len < (ssize_t)sizeof(*head) || routes_is_own(head, (size_t)len);
}
