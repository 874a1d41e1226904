/* SPDX-License-Identifier: Apache-2.0 */
/* What is wanted, in a list of errands, and one timer: while anything is under way it looks every
 * few milliseconds, else it waits for the next errand's time. */
#include "inside.h"

#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>

#define FETCH_LOOK_NS (LOOKUP_LOOK_MS * CLOCK_MS)

struct fetch *fetch_new(struct loop *loop, uint16_t kind, struct task *owner)
{
	struct fetch *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->loop = loop;
	f->owner = owner;
	task_init(&f->task, kind);
	timer_init(&f->timer, &f->task);
	list_init(&f->errands);
	list_init(&f->ending);
	bundle_init(&f->remembered);
	return f;
}

/* --- rules --- */

static void fetch_drop_rules(struct fetch *f)
{
	free(f->program);
	free(f->ca);
	free(f->allowed);
	f->program = f->ca = NULL;
	f->allowed = NULL;
}

static bool fetch_copy_rules(struct fetch *to, const struct fetch_rules *rules)
{
	to->allowed_count = rules->allowed_count;
	to->refresh_ms = rules->refresh_ms;
	to->host_refresh_ms = rules->host_refresh_ms;
	to->is_good = rules->is_good;
	to->program = strdup(rules->program);
	to->ca = rules->ca.len > 0 ? strndup(rules->ca.at, rules->ca.len) : NULL;
	to->allowed = calloc(rules->allowed_count + 1, sizeof(*to->allowed));
	if (to->allowed && rules->allowed_count > 0)
		memcpy(to->allowed, rules->allowed, rules->allowed_count * sizeof(*to->allowed));
	return to->program && to->allowed && (to->ca || rules->ca.len == 0);
}

bool fetch_configure(struct fetch *f, const struct fetch_rules *rules)
{
	struct fetch next = *f;
	if (!fetch_copy_rules(&next, rules)) {
		fetch_drop_rules(&next);
		return false;
	}
	fetch_drop_rules(f);
	f->program = next.program;
	f->ca = next.ca;
	f->allowed = next.allowed;
	f->allowed_count = next.allowed_count;
	f->refresh_ms = next.refresh_ms;
	f->host_refresh_ms = next.host_refresh_ms;
	f->is_good = next.is_good;
	/* What failed may not now. */
	LIST_EACH (&f->errands, it) {
		struct fetch_errand *e = CONTAINER_OF(it, struct fetch_errand, node);
		if (e->failure_count > 0)
			e->next_ns = 0;
	}
	loop_ready(f->loop, &f->task);
	return true;
}

/* --- what another process knew --- */

bool fetch_remember(struct fetch *f, const struct bundle *known)
{
	struct err err;
	int r = 0;
	bundle_done(&f->remembered);
	bundle_init(&f->remembered);
	LIST_EACH (&known->items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		if (r == 0)
			r = bundle_add(&f->remembered, item->kind, item->name, item->text, &err);
	}
	return r == 0;
}

/* Only what came from the very same place. */
static bool fetch_recall(struct fetch *f, struct fetch_errand *e)
{
	const struct bundle *b = &f->remembered;
	const struct bundle_item *of = bundle_find(b, "jwks-of", e->name);
	const struct bundle_item *known = bundle_find(b, e->is_document ? "jwks" : "host", e->name);
	if (!known || (e->is_document && (!of || !str_eq(of->text, e->url))))
		return true;
	const struct bundle_item *state = bundle_find(b, "jwks-state", e->name);
	return fetch_errand_recall(e, known->text, state ? state->text : STR_NONE);
}

/* --- what is wanted --- */

static struct fetch_errand *fetch_find(
	const struct list *errands, bool is_document, struct str name, struct str url)
{
	LIST_EACH (errands, it) {
		struct fetch_errand *e = CONTAINER_OF(it, struct fetch_errand, node);
		if (e->is_document == is_document && str_eq(e->name, name) && str_eq(e->url, url))
			return e;
	}
	return NULL;
}

static bool fetch_want_kind(struct fetch *f, const struct bundle *wanted, bool is_document,
	struct list *kept, struct list *fresh)
{
	const char *kind = is_document ? "jwks" : "host";
	uint32_t left = is_document ? FETCH_DOCUMENTS_MAX : FETCH_HOSTS_MAX;
	const struct bundle_item *item = NULL;
	while (left > 0 && (item = bundle_next(wanted, kind, item))) {
		struct str url = is_document ? item->text : STR_NONE;
		struct fetch_errand *e = fetch_find(&f->errands, is_document, item->name, url);
		if (fetch_find(kept, is_document, item->name, url) ||
			fetch_find(fresh, is_document, item->name, url))
			continue;
		left--;
		if (e) {
			list_remove(&e->node);
			list_add_last(kept, &e->node);
			continue;
		}
		e = fetch_errand_new(f, is_document, item->name, url);
		if (!e)
			return false;
		list_add_last(fresh, &e->node);
		if (!fetch_recall(f, e))
			return false;
	}
	return true;
}

static void fetch_drop_errands(struct fetch *f, struct list *errands)
{
	struct list *it;
	while ((it = list_pop(errands))) {
		struct fetch_errand *e = CONTAINER_OF(it, struct fetch_errand, node);
		if (fetch_errand_end(e))
			list_add_last(&f->ending, &e->node);
		else
			fetch_errand_free(e);
	}
}

bool fetch_want(struct fetch *f, const struct bundle *wanted)
{
	struct list kept, fresh;
	list_init(&kept);
	list_init(&fresh);
	bool ok = fetch_want_kind(f, wanted, false, &kept, &fresh) &&
		  fetch_want_kind(f, wanted, true, &kept, &fresh);
	if (ok) {
		fetch_drop_errands(f, &f->errands);
		list_move_all(&kept, &f->errands);
		list_move_all(&fresh, &f->errands);
		bundle_done(&f->remembered);
		bundle_init(&f->remembered);
		f->is_news = true;
		loop_ready(f->loop, &f->task);
	} else {
		list_move_all(&kept, &f->errands);
		fetch_drop_errands(f, &fresh);
	}
	return ok;
}

/* --- what is known --- */

static int fetch_add_document(struct bundle *b, const struct fetch_errand *e, struct err *err)
{
	char state[sizeof(e->why) + 64];
	int len = snprintf(state, sizeof(state), "%llu %llu %s", (unsigned long long)e->fetched_s,
		(unsigned long long)e->failing_s, e->why);
	int r = bundle_add(b, STR("jwks-of"), e->name, e->url, err);
	if (r == 0)
		r = bundle_add(
			b, STR("jwks-state"), e->name, (struct str){state, (size_t)len}, err);
	if (r == 0 && e->is_known)
		r = bundle_add(b, STR("jwks"), e->name, e->known, err);
	return r;
}

bool fetch_facts(struct fetch *f, struct bundle *b)
{
	struct err err;
	int r = 0;
	if (!f->is_news || f->is_closing)
		return false;
	LIST_EACH (&f->errands, it) {
		const struct fetch_errand *e = CONTAINER_OF(it, struct fetch_errand, node);
		if (r == 0 && e->is_document)
			r = fetch_add_document(b, e, &err);
		else if (r == 0 && e->is_known)
			r = bundle_add(b, STR("host"), e->name, e->known, &err);
	}
	f->is_news = r < 0;
	return r == 0;
}

/* --- time --- */

static void fetch_reap(struct fetch *f)
{
	struct list still;
	list_init(&still);
	list_move_all(&f->ending, &still);
	fetch_drop_errands(f, &still);
}

static void fetch_set_timer(struct fetch *f)
{
	uint64_t until_ns = UINT64_MAX, now_ns = f->loop->now_ns;
	LIST_EACH (&f->errands, it) {
		const struct fetch_errand *e = CONTAINER_OF(it, struct fetch_errand, node);
		if (e->next_ns < until_ns)
			until_ns = e->next_ns;
	}
	if (f->lookup_count > 0 || f->program_count > 0 || until_ns < now_ns + FETCH_LOOK_NS)
		until_ns = now_ns + FETCH_LOOK_NS;
	if (until_ns == UINT64_MAX)
		timer_clear(f->loop, &f->timer);
	else
		timer_set(f->loop, &f->timer, until_ns);
}

void fetch_step(struct task *t)
{
	struct fetch *f = CONTAINER_OF(t, struct fetch, task);
	f->timer.fired = false;
	fetch_reap(f);
	LIST_EACH (&f->errands, it)
		fetch_errand_step(CONTAINER_OF(it, struct fetch_errand, node));
	fetch_set_timer(f);
	if (f->is_news || (f->is_closing && fetch_idle(f)))
		loop_ready(f->loop, f->owner);
}

/* --- end --- */

void fetch_close(struct fetch *f)
{
	f->is_closing = true;
	fetch_drop_errands(f, &f->errands);
	loop_ready(f->loop, &f->task);
}

bool fetch_idle(const struct fetch *f)
{
	return list_empty(&f->errands) && list_empty(&f->ending);
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	fetch_drop_errands(f, &f->errands);
	fetch_reap(f);
	ASSERT(list_empty(&f->ending));
	fetch_drop_rules(f);
	bundle_done(&f->remembered);
	free(f);
}
