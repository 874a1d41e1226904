/* SPDX-License-Identifier: Apache-2.0 */
/* Installation, in an order in which each partial result is harmless: marks (nobody reads them
 * yet), then redirection, then the guard. When the guard comes, every new connection is captured
 * already, so the connections of guarded users that are not captured are exactly those opened
 * earlier: each of them gets a rule of its own and runs on to its end. */
#include "up.h"

#include "base/log.h"
#include "rules.h"
#include "sockets.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Rules are walked one by one: beyond this many, earlier connections are reset. */
#define UP_EARLIER_MAX 4096u

struct up {
	const struct tool *tool;
	const struct capture *capture;
	struct live live[IP_VERSION_COUNT]; /* what stood there at the start */
	enum ip_version version_count;
	struct tuple *earlier;
	uint32_t earlier_count;
};

static int up_read(struct up *u, struct err *err)
{
	for (enum ip_version v = 0; v < u->version_count; v++) {
		int r = tool_read(u->tool, v, &u->live[v], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int up_table(struct up *u, enum table table, struct err *err)
{
	int r = 0;
	for (enum ip_version v = 0; v < u->version_count && r == 0; v++) {
		struct text file;
		text_init(&file);
		rules_install(
			&file, u->capture, v, table, &u->live[v], u->earlier, u->earlier_count);
		r = tool_apply(u->tool, v, &file, err);
		text_done(&file);
	}
	return r;
}

static bool up_captures(const struct capture *p, uint32_t uid)
{
	for (uint32_t i = 0; i < p->uid_count; i++)
		if (p->uids[i].uid == uid)
			return true;
	return false;
}

/* The other end is the proxy. */
static bool up_is_captured(
	const struct up *u, const struct socket_table *sockets, const struct socket_entry *s)
{
	const struct socket_entry *peer = sockets_peer(sockets, s);
	if (!peer)
		return false;
	uint16_t port = peer->tuple.local.port;
	return (port >= u->capture->outbound.first && port <= u->capture->outbound.last) ||
	       live_redirects_to(&u->live[IP_V4], port) || live_redirects_to(&u->live[IP_V6], port);
}

static bool up_is_earlier(const struct up *u, const struct socket_table *sockets,
	const struct socket_entry *s, bool spare_earlier)
{
	const struct live *live = &u->live[s->tuple.local.family == AF_INET6 ? IP_V6 : IP_V4];
	if (s->listening || address_is_loopback(&s->tuple.remote) ||
		!up_captures(u->capture, s->uid))
		return false;
	if (live_has_earlier(live, &s->tuple))
		return true;
	return spare_earlier && !live_guards(live, s->uid) && !up_is_captured(u, sockets, s);
}

static int up_find_earlier(struct up *u, bool spare_earlier, struct err *err)
{
	struct socket_table sockets;
	int r = sockets_list(&sockets, err);
	if (r < 0)
		return r;
	u->earlier = calloc(sockets.count + 1, sizeof(*u->earlier));
	uint32_t left_out = 0;
	for (uint32_t i = 0; u->earlier && i < sockets.count; i++) {
		const struct socket_entry *s = &sockets.all[i];
		if (!up_is_earlier(u, &sockets, s, spare_earlier))
			continue;
		if (u->earlier_count < UP_EARLIER_MAX)
			u->earlier[u->earlier_count++] = s->tuple;
		else
			left_out++;
	}
	sockets_done(&sockets);
	if (!u->earlier)
		return err_set(err, ENOMEM, "no memory for the list of connections");
	if (left_out > 0)
		log_warning("redirect",
			"%u connections of workload users are open besides the %u that are spared; "
			"the "
			"guard resets them",
			left_out, UP_EARLIER_MAX);
	return 0;
}

static int up_install(struct up *u, bool spare_earlier, struct err *err)
{
	int r = up_table(u, TABLE_MANGLE, err);
	if (r == 0)
		r = up_table(u, TABLE_NAT, err);
	if (r == 0)
		r = up_find_earlier(u, spare_earlier, err);
	if (r == 0)
		r = up_table(u, TABLE_FILTER, err);
	return r;
}

int up_apply(const struct tool *t, const struct capture *p, bool spare_earlier, struct err *err)
{
	struct up u = {.tool = t, .capture = p, .version_count = tool_version_count(t)};
	int r = up_read(&u, err);
	bool first = r == 0 && live_absent(&u.live[IP_V4]) && live_absent(&u.live[IP_V6]);
	if (r == 0)
		r = up_install(&u, spare_earlier, err);
	if (r < 0 && first) {
		struct err again;
		if (down_remove(t, &again) < 0)
			log_warning("redirect", "the half-installed rules stay: %s", again.text);
	}
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
		live_done(&u.live[v]);
	free(u.earlier);
	return r;
}

int up_print(const struct capture *p, bool ipv6, struct err *err)
{
	const struct live nothing = {0};
	bool failed = false;
	for (enum table table = 0; table < TABLE_COUNT; table++) {
		for (enum ip_version v = 0; v < (ipv6 ? IP_VERSION_COUNT : IP_V6); v++) {
			struct text file;
			text_init(&file);
			rules_install(&file, p, v, table, &nothing, NULL, 0);
			printf("# %s, table %s\n%s", ip_version_name(v), table_name(table),
				text_at(&file));
			failed |= file.failed;
			text_done(&file);
		}
	}
	return failed ? err_set(err, ENOMEM, "no memory for the rules") : 0;
}
