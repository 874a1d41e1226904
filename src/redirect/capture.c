/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include "base/assert.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Never captured, whatever the configuration says: clouds hand out machine credentials at the
 * first, and neither can be the address of a service on another machine. */
static const char *const capture_always_excluded[] = {"169.254.169.254/32", "fe80::/10"};

static int capture_compare_uids(const void *a, const void *b)
{
	uint32_t x = ((const struct capture_uid *)a)->uid, y = ((const struct capture_uid *)b)->uid;
	return (x > y) - (x < y);
}

static int capture_compare_ports(const void *a, const void *b)
{
	uint16_t x = ((const struct port_range *)a)->first,
		 y = ((const struct port_range *)b)->first;
	return (x > y) - (x < y);
}

static bool capture_in(struct port_range range, uint16_t port)
{
	return port >= range.first && port <= range.last;
}

static int capture_check_listeners(const struct capture *p, const struct conf *c, struct err *err)
{
	uint32_t out_last = (uint32_t)c->outbound_port + c->port_range - 1;
	uint32_t in_last = (uint32_t)c->inbound_port + c->port_range - 1;
	if (c->port_range == 0 || c->outbound_port == 0 || c->inbound_port == 0 ||
		out_last > UINT16_MAX || in_last > UINT16_MAX)
		return err_set(err, EINVAL,
			"listener ports %u and %u with %u ports each do not fit into 1-65535",
			c->outbound_port, c->inbound_port, c->port_range);
	if (p->outbound.first <= p->inbound.last && p->inbound.first <= p->outbound.last)
		return err_set(err, EINVAL, "outbound ports %u-%u and inbound ports %u-%u overlap",
			p->outbound.first, p->outbound.last, p->inbound.first, p->inbound.last);
	uint32_t mask = c->mark_mask;
	uint32_t low = mask ? mask >> __builtin_ctz(mask) : 0;
	if (mask == 0 || (low & (low + 1)) != 0)
		return err_set(err, EINVAL, "mark mask 0x%x is not one run of bits", mask);
	return 0;
}

static int capture_check_workload(const struct capture *p, const struct conf *c,
	const struct conf_workload *w, struct err *err)
{
	if (w->uid == 0)
		return err_set(err, EINVAL,
			"workload " STR_FMT
			" runs as root, which is never captured; give it a user",
			STR_ARG(w->service));
	if (w->uid == UINT32_MAX)
		return err_set(err, EINVAL, "workload " STR_FMT ": %u is no user id",
			STR_ARG(w->service), w->uid);
	if (w->uid == p->proxy_uid)
		return err_set(err, EINVAL,
			"workload " STR_FMT
			" runs as the proxy's own user (uid %u), which is never "
			"captured; give it a user of its own",
			STR_ARG(w->service), w->uid);
	if (w->port && (capture_in(p->outbound, w->port) || capture_in(p->inbound, w->port) ||
			       w->port == c->mesh_port))
		return err_set(err, EINVAL,
			"workload " STR_FMT ": port %u is one of the proxy's own; move one of them",
			STR_ARG(w->service), w->port);
	return 0;
}

static int capture_check_excluded(const struct address_range *range, struct err *err)
{
	uint8_t family = range->base.family;
	if ((family == AF_INET && range->prefix_len <= 32) ||
		(family == AF_INET6 && range->prefix_len <= 128))
		return 0;
	return err_set(err, EINVAL, "an excluded destination is no address range");
}

/* 10.1.2.3/8 becomes 10.0.0.0/8, as the kernel keeps it. */
static struct address_range capture_masked(struct address_range range)
{
	for (unsigned bit = range.prefix_len; bit < 128; bit++)
		range.base.ip[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
	return range;
}

static void capture_exclude(struct capture *p, struct address_range range)
{
	range = capture_masked(range);
	for (uint32_t i = 0; i < p->excluded_count; i++)
		if (address_same_ip(&p->excluded[i].base, &range.base) &&
			p->excluded[i].prefix_len == range.prefix_len)
			return;
	p->excluded[p->excluded_count++] = range;
}

/* Sorts, drops doubles, and joins neighbours, so that the text depends on the set alone. */
static void capture_tidy(struct capture *p)
{
	qsort(p->uids, p->uid_count, sizeof(*p->uids), capture_compare_uids);
	uint32_t kept = 0;
	for (uint32_t i = 0; i < p->uid_count; i++)
		if (kept == 0 || p->uids[kept - 1].uid != p->uids[i].uid)
			p->uids[kept++] = p->uids[i];
	p->uid_count = kept;

	qsort(p->ports, p->port_count, sizeof(*p->ports), capture_compare_ports);
	kept = 0;
	for (uint32_t i = 0; i < p->port_count; i++) {
		if (kept > 0 && p->ports[i].first <= (uint32_t)p->ports[kept - 1].last + 1)
			p->ports[kept - 1].last = p->ports[i].last;
		else
			p->ports[kept++] = p->ports[i];
	}
	p->port_count = kept;
}

static int capture_fill(struct capture *p, const struct conf *c, struct err *err)
{
	int r = capture_check_listeners(p, c, err);
	for (size_t i = 0; i < ARRAY_LEN(capture_always_excluded); i++) {
		struct address_range range;
		ASSERT(address_range_parse(str_of(capture_always_excluded[i]), &range));
		capture_exclude(p, range);
	}
	for (uint32_t i = 0; r == 0 && i < c->workload_count; i++) {
		const struct conf_workload *w = &c->workloads[i];
		r = capture_check_workload(p, c, w, err);
		p->uids[p->uid_count++] = (struct capture_uid){.uid = w->uid};
		if (w->port)
			p->ports[p->port_count++] = (struct port_range){w->port, w->port};
	}
	for (uint32_t i = 0; r == 0 && i < c->excluded_count; i++) {
		r = capture_check_excluded(&c->excluded[i], err);
		if (r == 0)
			capture_exclude(p, c->excluded[i]);
	}
	return r;
}

int capture_init(struct capture *p, const struct conf *c, struct err *err)
{
	*p = (struct capture){.proxy_uid = c->uid,
		.mark_mask = c->mark_mask,
		.outbound = {c->outbound_port, (uint16_t)(c->outbound_port + c->port_range - 1)},
		.inbound = {c->inbound_port, (uint16_t)(c->inbound_port + c->port_range - 1)}};
	if (c->uid == 0 || c->uid == UINT32_MAX)
		return err_set(err, EINVAL,
			"the proxy would run as root, so its own connections could not be told "
			"from "
			"others; set node.user to a user of its own");
	p->uids = calloc(c->workload_count + 1, sizeof(*p->uids));
	p->ports = calloc(c->workload_count + 1, sizeof(*p->ports));
	p->excluded = calloc(
		c->excluded_count + ARRAY_LEN(capture_always_excluded), sizeof(*p->excluded));
	int r = 0;
	if (!p->uids || !p->ports || !p->excluded)
		r = err_set(err, ENOMEM, "no memory for the redirect rules");
	else
		r = capture_fill(p, c, err);
	if (r < 0)
		capture_done(p);
	else
		capture_tidy(p);
	return r;
}

void capture_done(struct capture *p)
{
	free(p->uids);
	free(p->ports);
	free(p->excluded);
	*p = (struct capture){0};
}

uint32_t capture_number_max(const struct capture *p)
{
	return p->mark_mask >> __builtin_ctz(p->mark_mask);
}

uint32_t capture_mark_bits(const struct capture *p, uint32_t number)
{
	return number << __builtin_ctz(p->mark_mask);
}

int capture_give_marks(struct capture *p, const char *path, bool write, struct err *err)
{
	struct marks marks;
	marks_init(&marks, capture_number_max(p));
	uint32_t *uids = calloc(p->uid_count + 1, sizeof(*uids));
	int r = uids ? 0 : err_set(err, ENOMEM, "no memory for the marks");
	for (uint32_t i = 0; r == 0 && i < p->uid_count; i++)
		uids[i] = p->uids[i].uid;
	if (r == 0)
		r = marks_read(&marks, path, err);
	if (r == 0)
		r = marks_give(&marks, uids, p->uid_count, err);
	if (r == 0 && write)
		r = marks_write(&marks, path, err);
	for (uint32_t i = 0; r == 0 && i < p->uid_count; i++)
		p->uids[i].number = marks_find(&marks, p->uids[i].uid);
	free(uids);
	marks_done(&marks);
	return r;
}
