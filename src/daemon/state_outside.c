/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy process wants to know of the world outside: asked for by the room fetch, told to
 * the keeper whenever there is news, the newest only. */
#include "state_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "jwt/jwt.h"
#include "mesh/external.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define STATE_CURL	      "/usr/bin/curl"
#define STATE_HOST_REFRESH_MS 30000

_Static_assert(FETCH_HOSTS_MAX >= EXTERNAL_HOSTS_MAX, "as many as may be wanted");
_Static_assert(FETCH_HOST_ADDRESSES_MAX == EXTERNAL_HOST_ADDRESSES_MAX, "none is found in vain");

void state_outside_init(struct state_process *s)
{
	s->outside.facts_fd = -1;
	task_init(&s->outside.news, STATE_TASK_FETCH_NEWS);
}

int state_outside_start(struct state_process *s, struct err *err)
{
	s->outside.fetch = fetch_new(&s->loop, STATE_TASK_FETCH, &s->outside.news);
	return s->outside.fetch ? 0 : err_set(err, ENOMEM, "out of memory");
}

static bool state_is_key_set(struct str text, struct err *why)
{
	struct jwk_set *set;
	if (jwk_set_new(text, &set, why) < 0)
		return false;
	jwk_set_free(set);
	return true;
}

void state_outside_configured(struct state_process *s)
{
	const struct conf_tokens *t = &s->conf->tokens;
	struct fetch_rules rules = {.program = STATE_CURL,
		.ca = t->ca,
		.allowed = t->allowed,
		.allowed_count = t->allowed_count,
		.refresh_ms = t->refresh_ms,
		.host_refresh_ms = STATE_HOST_REFRESH_MS,
		.is_good = state_is_key_set};
	if (!fetch_configure(s->outside.fetch, &rules)) {
		log_error("state", "out of memory for what is to be fetched");
		_exit(1);
	}
}

static void state_take_bundle(
	struct fetch *f, int fd, bool (*take)(struct fetch *f, const struct bundle *b))
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	if (bundle_from_memfd(&b, fd, &err) < 0)
		log_error("state", "of the world outside: %s", err.text);
	else if (!take(f, &b))
		log_error("state", "out of memory for what is to be fetched");
	bundle_done(&b);
}

void state_outside_want(struct state_process *s, int fd)
{
	state_take_bundle(s->outside.fetch, fd, fetch_want);
}

void state_outside_remember(struct state_process *s, int fd)
{
	state_take_bundle(s->outside.fetch, fd, fetch_remember);
}

static void state_tell_facts(struct state_process *s)
{
	struct state_outside *o = &s->outside;
	struct wire_outside m = {.head = state_head(WIRE_FACTS), .count = o->facts_count};
	if (o->facts_fd < 0 || !state_tell(s, &m, sizeof(m), o->facts_fd))
		return;
	close(o->facts_fd);
	o->facts_fd = -1;
}

void state_outside_step(struct state_process *s)
{
	struct state_outside *o = &s->outside;
	struct bundle b;
	struct err err;
	bundle_init(&b);
	if (fetch_facts(o->fetch, &b)) {
		int fd = bundle_to_memfd(&b, &err);
		if (fd < 0) {
			log_error("state", "what is known of the world outside: %s", err.text);
		} else {
			if (o->facts_fd >= 0)
				close(o->facts_fd);
			o->facts_fd = fd;
			o->facts_count = 0;
			LIST_EACH (&b.items, it)
				o->facts_count++;
		}
	}
	bundle_done(&b);
	state_tell_facts(s);
}

void state_outside_tick(struct state_process *s)
{
	if (!s->leaving)
		state_tell_facts(s);
}

void state_outside_close(struct state_process *s)
{
	fetch_close(s->outside.fetch);
}

bool state_outside_idle(const struct state_process *s)
{
	return fetch_idle(s->outside.fetch);
}

void state_outside_free(struct state_process *s)
{
	fetch_free(s->outside.fetch);
	if (s->outside.facts_fd >= 0)
		close(s->outside.facts_fd);
}
