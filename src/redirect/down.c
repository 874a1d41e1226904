/* SPDX-License-Identifier: Apache-2.0 */
/* Removal. When the last NAT rule goes the kernel stops translating at once, and a captured
 * connection's next segment would leave for its original destination in plain text. So captured
 * connections are brought to an end while their translation stands:
 *
 *   1. relax the guard     new connections may leave directly; captured ones still may not
 *   2. unhook nat          nothing new is captured; the chains stay and keep translation alive
 *   3. drain               until no captured connection is left, or the time is up
 *   4. end the rest        both the proxy's end and the application's
 *   5. remove              nat, mangle, and the guard last
 *
 * Everything is read from the rules in the kernel, nothing from a configuration. */
#include "up.h"

#include "base/clock.h"
#include "base/log.h"
#include "rules.h"
#include "sockets.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define DOWN_LOOK_EVERY_MS 200

struct down {
	const struct tool *tool;
	struct live live[IP_VERSION_COUNT]; /* before the first step */
	enum ip_version version_count;
	struct socket_table clients; /* applications' ends, as they were before the first step */
};

static int down_read(struct down *d, struct err *err)
{
	for (enum ip_version v = 0; v < d->version_count; v++) {
		int r = tool_read(d->tool, v, &d->live[v], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void down_done(struct down *d)
{
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
		live_done(&d->live[v]);
	sockets_done(&d->clients);
}

/* An application's end of a captured connection: opened by a guarded user, towards another machine,
 * and none of those that were never captured. The proxy's end may be gone already. */
static bool down_is_client(
	const struct down *d, const struct socket_table *sockets, const struct socket_entry *s)
{
	const struct live *live = &d->live[s->tuple.local.family == AF_INET6 ? IP_V6 : IP_V4];
	return !s->listening && !address_is_loopback(&s->tuple.remote) &&
	       live_guards(live, s->uid) && !live_excludes(live, &s->tuple.remote) &&
	       !live_has_earlier(live, &s->tuple) &&
	       !sockets_listening(sockets, s->tuple.local.port);
}

static int down_find_clients(struct down *d, struct err *err)
{
	int r = sockets_list(&d->clients, err);
	if (r < 0)
		return r;
	bool *keep = calloc(d->clients.count + 1, sizeof(*keep));
	if (!keep)
		return err_set(err, ENOMEM, "no memory for the list of connections");
	for (uint32_t i = 0; i < d->clients.count; i++)
		keep[i] = down_is_client(d, &d->clients, &d->clients.all[i]);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < d->clients.count; i++)
		if (keep[i])
			d->clients.all[kept++] = d->clients.all[i];
	d->clients.count = kept;
	free(keep);
	return 0;
}

static bool down_is_captured(const struct down *d, const struct socket_entry *s)
{
	uint16_t port = s->tuple.local.port;
	if (s->listening)
		return false;
	if (live_redirects_to(&d->live[IP_V4], port) || live_redirects_to(&d->live[IP_V6], port))
		return true;
	for (uint32_t i = 0; i < d->clients.count; i++)
		if (memcmp(d->clients.all[i].cookie, s->cookie, sizeof(s->cookie)) == 0)
			return true;
	return false;
}

/* How many captured connections' ends are there; with `end`, ends them. */
static int down_count(const struct down *d, bool end, uint32_t *ret_count, struct err *err)
{
	struct socket_table sockets;
	int r = sockets_list(&sockets, err);
	if (r < 0)
		return r;
	*ret_count = 0;
	for (uint32_t i = 0; i < sockets.count && r == 0; i++) {
		if (!down_is_captured(d, &sockets.all[i]))
			continue;
		++*ret_count;
		if (end)
			r = sockets_kill(&sockets.all[i], err);
	}
	sockets_done(&sockets);
	return r;
}

static int down_drain(const struct down *d, uint64_t drain_ms, struct err *err)
{
	uint64_t end_ns = clock_monotonic_ns() + drain_ms * CLOCK_MS;
	uint32_t count = 0;
	bool told = false;
	for (;;) {
		int r = down_count(d, false, &count, err);
		if (r < 0 || count == 0)
			return r;
		if (clock_monotonic_ns() >= end_ns)
			break;
		if (!told)
			log_info("redirect",
				"waiting up to %llu s for %u ends of captured connections",
				(unsigned long long)(drain_ms / 1000), count);
		told = true;
		nanosleep(&(struct timespec){.tv_nsec = DOWN_LOOK_EVERY_MS * (long)CLOCK_MS}, NULL);
	}
	log_info("redirect", "ending the last %u ends of captured connections", count);
	return down_count(d, true, &count, err);
}

enum down_step { DOWN_RELAX, DOWN_UNHOOK, DOWN_NAT, DOWN_MANGLE, DOWN_FILTER };

static void down_write(struct text *file, enum down_step step, const struct live *live)
{
	switch (step) {
	case DOWN_RELAX:
		rules_relax_guard(file, live);
		break;
	case DOWN_UNHOOK:
		rules_unhook_nat(file, live);
		break;
	case DOWN_NAT:
		rules_remove(file, TABLE_NAT, live);
		break;
	case DOWN_MANGLE:
		rules_remove(file, TABLE_MANGLE, live);
		break;
	case DOWN_FILTER:
		rules_remove(file, TABLE_FILTER, live);
		break;
	}
}

static int down_step(struct down *d, enum down_step step, struct err *err)
{
	int r = 0;
	for (enum ip_version v = 0; v < d->version_count && r == 0; v++) {
		struct text file;
		text_init(&file);
		down_write(&file, step, &d->live[v]);
		r = tool_apply(d->tool, v, &file, err);
		text_done(&file);
	}
	return r;
}

static int down_everything(struct down *d, struct err *err)
{
	int r = down_step(d, DOWN_NAT, err);
	if (r == 0)
		r = down_step(d, DOWN_MANGLE, err);
	if (r == 0)
		r = down_step(d, DOWN_FILTER, err);
	return r;
}

/* Reads again: the hooks of the first reading are gone, or somebody else changed something. */
static int down_read_again(struct down *d, struct err *err)
{
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
		live_done(&d->live[v]);
	return down_read(d, err);
}

int down_remove(const struct tool *t, struct err *err)
{
	struct down d = {.tool = t, .version_count = tool_version_count(t)};
	int r = down_read(&d, err);
	if (r == 0)
		r = down_everything(&d, err);
	down_done(&d);
	return r;
}

int down_apply(const struct tool *t, uint64_t drain_ms, struct err *err)
{
	struct down d = {.tool = t, .version_count = tool_version_count(t)};
	int r = down_read(&d, err);
	if (r == 0 && live_absent(&d.live[IP_V4]) && live_absent(&d.live[IP_V6])) {
		down_done(&d);
		return DOWN_NOTHING;
	}
	if (r == 0)
		r = down_find_clients(&d, err);
	if (r == 0)
		r = down_step(&d, DOWN_RELAX, err);
	if (r == 0)
		r = down_step(&d, DOWN_UNHOOK, err);
	/* A kernel that ends no connections must not keep the rules for ever. */
	struct err trouble;
	if (r == 0 && down_drain(&d, drain_ms, &trouble) < 0)
		log_warning("redirect", "%s", trouble.text);
	if (r == 0)
		r = down_read_again(&d, err);
	if (r == 0)
		r = down_everything(&d, err);
	down_done(&d);
	return r < 0 ? r : DOWN_REMOVED;
}
