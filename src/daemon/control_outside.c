/* SPDX-License-Identifier: Apache-2.0 */
/* What the plan in force wants to know of the world outside is told to the keeper when it changes;
 * what comes back is a part of the next plan, which is made when it says anything new. */
#include "control_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "proxy/facts.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- what is wanted --- */

static uint64_t control_fingerprint(const struct bundle *b)
{
	uint64_t mark = 1;
	LIST_EACH (&b->items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		const struct str parts[] = {item->kind, item->name, item->text};
		for (size_t i = 0; i < ARRAY_LEN(parts); i++)
			mark = hash_bytes(mark + parts[i].len, parts[i].at, parts[i].len);
	}
	return mark;
}

static bool control_tell_want(struct control *c, const struct bundle *b, struct err *err)
{
	struct wire_outside m = {.head = control_head(WIRE_WANT)};
	LIST_EACH (&b->items, it)
		m.count++;
	int fd = bundle_to_memfd(b, err);
	if (fd < 0)
		return false;
	bool told = control_tell_fd(c, &m, sizeof(m), fd);
	close(fd);
	return told;
}

/* A plan whose wants cannot be told now is looked at again with the next turn. */
static void control_want(struct control *c)
{
	struct bundle b;
	struct err err = {.text = ""};
	if (c->want_plan == c->proxy.plan->number)
		return;
	bundle_init(&b);
	bool done = facts_wanted(c->proxy.plan->snapshot, &b, &err) == 0;
	uint64_t now = control_fingerprint(&b);
	if (done && now != c->want_told) {
		done = control_tell_want(c, &b, &err);
		c->want_told = done ? now : c->want_told;
	}
	bundle_done(&b);
	if (err.text[0])
		log_error("proxy", "what is wanted of the world outside: %s", err.text);
	if (done)
		c->want_plan = c->proxy.plan->number;
}

/* --- what is known --- */

void control_take_facts(struct control *c, int fd)
{
	if (c->facts_fd >= 0)
		close(c->facts_fd);
	c->facts_fd = fd;
}

static void control_outside_free(struct bundle *b)
{
	if (b)
		bundle_done(b);
	free(b);
}

/* True: there is something else now. */
static bool control_read_facts(struct control *c)
{
	struct err err = {.text = "out of memory"};
	struct bundle *b = malloc(sizeof(*b));
	if (b)
		bundle_init(b);
	bool ok = b && bundle_from_memfd(b, c->facts_fd, &err) == 0;
	close(c->facts_fd);
	c->facts_fd = -1;
	if (!ok) {
		log_error("proxy", "what is known of the world outside: %s", err.text);
		control_outside_free(b);
		return false;
	}
	control_outside_free(c->outside);
	c->outside = b;
	c->facts_of = NULL; /* to be made anew */
	return true;
}

/* As it is, as long as nothing of it has changed. */
static bool control_make_facts(struct control *c, const struct bundle *b)
{
	struct facts *f = facts_new(b, c->outside);
	if (!f)
		return false;
	facts_unref(c->proxy.facts);
	c->proxy.facts = f;
	c->facts_of = b;
	return true;
}

struct facts *control_facts(struct control *c, const struct bundle *b, char *text, size_t size)
{
	if (c->facts_fd >= 0)
		(void)control_read_facts(c);
	if ((!c->proxy.facts || c->facts_of != b) && !control_make_facts(c, b)) {
		snprintf(text, size, "out of memory");
		return NULL;
	}
	return facts_ref(c->proxy.facts);
}

void control_step_outside(struct control *c)
{
	control_want(c);
	if (c->facts_fd < 0 || c->loop.now_ns < c->picture_next_ns || !control_read_facts(c) ||
		!control_make_facts(c, c->bundle))
		return;
	if (!facts_same(c->proxy.facts, c->proxy.plan->facts))
		control_plan_again(c);
}

void control_outside_done(struct control *c)
{
	control_outside_free(c->outside);
	facts_unref(c->proxy.facts);
	if (c->facts_fd >= 0)
		close(c->facts_fd);
}
