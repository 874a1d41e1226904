/* SPDX-License-Identifier: Apache-2.0 */
/* One host or document. What is under way is looked at by the room's timer; each look may end it,
 * and then it is idle until its time comes again: soon after a failure, later after each further
 * one. */
#include "inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/url.h"
#include <stdio.h>
#include <stdlib.h>

#define FETCH_BACKOFF_MS 1000

static bool fetch_may_move(enum fetch_state from, enum fetch_state to)
{
	static const unsigned allowed[] = {
		[FETCH_IDLE] = 1u << FETCH_LOOKING,
		[FETCH_LOOKING] = 1u << FETCH_IDLE | 1u << FETCH_RUNNING,
		[FETCH_RUNNING] = 1u << FETCH_IDLE,
	};
	return allowed[from] & 1u << to;
}

/* The only writer of `state`, and of how many are in each. */
static void fetch_errand_move(struct fetch_errand *e, enum fetch_state state)
{
	struct fetch *f = e->fetch;
	ASSERT(fetch_may_move(e->state, state));
	f->lookup_count -= e->state == FETCH_LOOKING;
	f->program_count -= e->state == FETCH_RUNNING;
	e->state = state;
	f->lookup_count += state == FETCH_LOOKING;
	f->program_count += state == FETCH_RUNNING;
	e->began_ns = f->loop->now_ns;
}

static struct str fetch_copy(struct str text)
{
	char *copy = malloc(text.len + 1);
	if (!copy)
		return STR_NONE;
	if (text.len > 0)
		memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	return (struct str){copy, text.len};
}

struct fetch_errand *fetch_errand_new(
	struct fetch *f, bool is_document, struct str name, struct str url)
{
	struct fetch_errand *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	list_init(&e->node);
	e->fetch = f;
	e->is_document = is_document;
	e->program = (struct fetch_program){.out_fd = -1, .err_fd = -1};
	e->name = fetch_copy(name);
	e->url = fetch_copy(url);
	if (e->name.at && e->url.at)
		return e;
	fetch_errand_free(e);
	return NULL;
}

void fetch_errand_free(struct fetch_errand *e)
{
	ASSERT(!e->lookup && e->program.pid == 0);
	list_remove(&e->node);
	fetch_program_done(&e->program);
	free((char *)(uintptr_t)e->name.at);
	free((char *)(uintptr_t)e->url.at);
	free((char *)(uintptr_t)e->known.at);
	free(e);
}

bool fetch_errand_recall(struct fetch_errand *e, struct str known, struct str state)
{
	const char *end = state.len > 0 ? memchr(state.at, ' ', state.len) : NULL;
	e->known = fetch_copy(known);
	e->is_known = e->known.at != NULL;
	if (!e->is_document)
		fetch_places_recall(&e->places, known, e->fetch->loop->now_ns);
	if (end)
		(void)str_to_u64((struct str){state.at, (size_t)(end - state.at)}, &e->fetched_s);
	return e->is_known;
}

/* --- outcomes --- */

static uint64_t fetch_jitter_ns(struct fetch *f, uint64_t ms)
{
	return ms * CLOCK_MS * (90 + loop_random(f->loop) % 21) / 100;
}

static uint64_t fetch_refresh_ms(const struct fetch_errand *e)
{
	return e->is_document ? e->fetch->refresh_ms : e->fetch->host_refresh_ms;
}

/* Of one failure curl says each time how many milliseconds and bytes it took. Its own number, in
 * front ("curl: (28) ..."), tells failures apart; what others say is compared as it is. */
static bool fetch_is_same_failure(const char *a, const char *b)
{
	const char *end = strchr(a, ')');
	size_t len = end && strncmp(a, "curl: (", 7) == 0 ? (size_t)(end - a) : strlen(a);
	if (strncmp(a, b, len) != 0)
		return false;
	a += len;
	b += len;
	while (*a && *b) {
		size_t skip_a = strspn(a, "0123456789"), skip_b = strspn(b, "0123456789");
		if ((skip_a > 0) != (skip_b > 0) || (skip_a == 0 && *a != *b))
			return false;
		a += skip_a ? skip_a : 1;
		b += skip_b ? skip_b : 1;
	}
	return *a == *b;
}

static void fetch_failed(struct fetch_errand *e, const char *why)
{
	struct fetch *f = e->fetch;
	uint64_t wait_ms = FETCH_BACKOFF_MS, max_ms = fetch_refresh_ms(e);
	for (uint32_t i = 0; i < e->failure_count && wait_ms < max_ms; i++)
		wait_ms *= 2;
	e->failure_count++;
	fetch_errand_move(e, FETCH_IDLE);
	e->next_ns = f->loop->now_ns + fetch_jitter_ns(f, wait_ms < max_ms ? wait_ms : max_ms);
	if (fetch_is_same_failure(e->why, why))
		return;
	log_warning("state", "%s " STR_FMT ": %s", e->is_document ? "keys of issuer" : "host",
		STR_ARG(e->name), why);
	snprintf(e->why, sizeof(e->why), "%s", why);
	if (e->failing_s == 0)
		e->failing_s = f->loop->wall_ns / CLOCK_S;
	f->is_news = true;
}

static void fetch_succeeded(struct fetch_errand *e, struct str text)
{
	struct fetch *f = e->fetch;
	struct str copy = fetch_copy(text);
	if (!copy.at) {
		fetch_failed(e, "out of memory");
		return;
	}
	if (e->why[0])
		log_info("state", "%s " STR_FMT ": well again",
			e->is_document ? "keys of issuer" : "host", STR_ARG(e->name));
	f->is_news = f->is_news || e->is_document || !e->is_known || e->why[0] ||
		     !str_eq(e->known, copy);
	free((char *)(uintptr_t)e->known.at);
	e->known = copy;
	e->is_known = true;
	e->fetched_s = f->loop->wall_ns / CLOCK_S;
	e->failing_s = e->failure_count = 0;
	e->why[0] = '\0';
	fetch_errand_move(e, FETCH_IDLE);
	e->next_ns = f->loop->now_ns + fetch_jitter_ns(f, fetch_refresh_ms(e));
}

/* --- steps --- */

static void fetch_host_found(struct fetch_errand *e, const struct lookup_found *found)
{
	char text[FETCH_PLACES_TEXT_MAX];
	fetch_places_found(&e->places, found->at, found->count, e->fetch->loop->now_ns);
	fetch_succeeded(e, (struct str){text, fetch_places_text(&e->places, text)});
}

static void fetch_errand_begin(struct fetch_errand *e)
{
	struct url url = {.host = e->name, .port = 1};
	const char *why = e->is_document ? url_https(e->url, &url) : NULL;
	if (!why && (url.host.len == 0 || url.host.len > FETCH_HOST_MAX))
		why = "no host name";
	fetch_errand_move(e, FETCH_LOOKING);
	if (why) {
		fetch_failed(e, why);
		return;
	}
	e->lookup = lookup_start(url.host, url.port);
	if (!e->lookup)
		fetch_failed(e, "out of memory, or of threads");
}

/* Nor programs without end: many may be looked up when there is a place for one. */
static bool fetch_may_run(const struct fetch_errand *e)
{
	return !e->is_document || e->fetch->program_count < FETCH_PROGRAMS_MAX;
}

static void fetch_errand_looking(struct fetch_errand *e)
{
	struct lookup_found found;
	char why[sizeof(e->why)];
	if (!fetch_may_run(e))
		return; /* waits for: the end of another's program */
	if (!lookup_look(e->lookup, &found)) {
		if (e->fetch->loop->now_ns - e->began_ns < FETCH_LOOKUP_MS * CLOCK_MS)
			return;
		found = (struct lookup_found){.why = "no answer to the question for its address"};
	}
	lookup_drop(e->lookup);
	e->lookup = NULL;
	if (found.count == 0)
		fetch_failed(e, found.why);
	else if (!e->is_document)
		fetch_host_found(e, &found);
	else if (fetch_document_start(e, &found, why, sizeof(why)))
		fetch_errand_move(e, FETCH_RUNNING);
	else
		fetch_failed(e, why);
}

static void fetch_errand_running(struct fetch_errand *e)
{
	char why[sizeof(e->why)];
	struct str text;
	int status;
	if (!fetch_program_look(&e->program, &status)) {
		if (e->fetch->loop->now_ns - e->began_ns >= FETCH_PROGRAM_MS * CLOCK_MS)
			fetch_program_kill(&e->program);
		return;
	}
	if (fetch_document_ended(e, status, &text, why, sizeof(why)))
		fetch_succeeded(e, text);
	else
		fetch_failed(e, why);
	fetch_program_done(&e->program);
}

/* Whether there is a turn for it: no threads without end. */
static bool fetch_has_turn(const struct fetch_errand *e)
{
	return e->fetch->lookup_count < FETCH_LOOKUPS_MAX && fetch_may_run(e);
}

void fetch_errand_step(struct fetch_errand *e)
{
	switch (e->state) {
	case FETCH_IDLE:
		if (e->fetch->loop->now_ns >= e->next_ns && fetch_has_turn(e))
			fetch_errand_begin(e);
		return;
	case FETCH_LOOKING:
		fetch_errand_looking(e);
		return;
	case FETCH_RUNNING:
		fetch_errand_running(e);
		return;
	}
}

bool fetch_errand_end(struct fetch_errand *e)
{
	int status;
	lookup_drop(e->lookup);
	e->lookup = NULL;
	if (e->state == FETCH_RUNNING) {
		fetch_program_kill(&e->program);
		if (!fetch_program_look(&e->program, &status))
			return true;
		fetch_program_done(&e->program);
	}
	if (e->state != FETCH_IDLE)
		fetch_errand_move(e, FETCH_IDLE);
	return false;
}
