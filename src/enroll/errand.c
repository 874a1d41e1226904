/* SPDX-License-Identifier: Apache-2.0 */
/* The one thing that is under way, and for certificates what becomes of it. */
#include "base/log.h"

#include "inside.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BIT(state) (1u << ERRAND_##state)

/* Allowed moves: a bit per target state. */
static const uint8_t errand_moves[] = {
	[ERRAND_NONE] = BIT(NONE) | BIT(REQUEST_KEEPER) | BIT(ENROLL) | BIT(ANCHORS),
	[ERRAND_REQUEST_KEEPER] = BIT(ENROLL) | BIT(NONE),
	[ERRAND_ENROLL] = BIT(CERTIFICATE_KEEPER) | BIT(NONE),
	[ERRAND_CERTIFICATE_KEEPER] = BIT(NONE),
	[ERRAND_ANCHORS] = BIT(CRLS) | BIT(TRUST_KEEPER) | BIT(NONE),
	[ERRAND_CRLS] = BIT(TRUST_KEEPER) | BIT(NONE),
	[ERRAND_TRUST_KEEPER] = BIT(NONE),
};

void errand_move(struct enroll *e, enum errand_state state)
{
	ASSERT(errand_moves[e->errand.state] & 1u << state);
	e->errand.state = state;
	e->errand.deadline_ns = 0;
	if (state == ERRAND_NONE) {
		enroll_drop_text(&e->errand.request);
		enroll_drop_text(&e->errand.chain);
		enroll_drop_text(&e->errand.roots);
		enroll_drop_text(&e->errand.crls);
		e->errand = (struct errand){.state = ERRAND_NONE};
	}
	loop_ready(e->loop, &e->task);
}

void errand_drop(struct enroll *e)
{
	struct errand *errand = &e->errand;
	if (errand->identity)
		errand->identity->schedule.asking = false;
	if (errand->trust)
		errand->trust->schedule.asking = false;
	if (e->link)
		link_forget(e->link);
	errand_move(e, ERRAND_NONE);
}

void errand_wait_for_keeper(struct enroll *e, enum errand_state state)
{
	errand_move(e, state);
	e->errand.untold = true;
	e->errand.deadline_ns = e->loop->now_ns + ENROLL_KEEPER_MS * CLOCK_MS;
	loop_ready(e->loop, e->owner);
}

static void errand_fail_identity(struct enroll *e, uint32_t retry_after_s, const char *why)
{
	struct identity *i = e->errand.identity;
	errand_move(e, ERRAND_NONE);
	enroll_fail_identity(e, i, retry_after_s, why);
}

/* --- what the keeper says --- */

bool enroll_ask(struct enroll *e, struct enroll_ask *ret_ask)
{
	struct errand *errand = &e->errand;
	if (!errand->untold)
		return false;
	errand->untold = false;
	struct enroll_ask ask = {.kind = ENROLL_ASK_REQUEST};
	snprintf(e->asked_identity, sizeof(e->asked_identity), "%s",
		errand->trust ? errand->trust->domain : errand->identity->path);
	ask.identity = str_of(e->asked_identity);
	if (errand->state == ERRAND_CERTIFICATE_KEEPER) {
		ask.kind = ENROLL_ASK_CERTIFICATE;
		ask.text = errand->chain;
	} else if (errand->state == ERRAND_TRUST_KEEPER) {
		ask.kind = ENROLL_ASK_TRUST;
		ask.text = errand->roots;
		ask.crls = errand->crls;
	}
	*ret_ask = ask;
	return true;
}

/* The answer is to what is asked now. */
static bool errand_awaits(const struct enroll *e, enum errand_state state, struct str identity)
{
	const struct errand *errand = &e->errand;
	const char *name = errand->trust      ? errand->trust->domain
			   : errand->identity ? errand->identity->path
					      : "";
	return errand->state == state && str_eq(str_of(name), identity);
}

static void errand_send_request(struct enroll *e)
{
	struct errand *errand = &e->errand;
	struct str body = STR_NONE;
	struct err err;
	if (est_request(errand->request, &body, &err) < 0) {
		errand_fail_identity(e, 0, err.text);
		return;
	}
	struct link_question q = {
		.operation = errand->identity->is_node ? EST_REENROLL : EST_ENROLL,
		.label = str_of(e->label),
		.body = body,
	};
	bool asked = link_ask(e->link, &q);
	free((char *)body.at);
	if (asked)
		errand_move(e, ERRAND_ENROLL);
	else
		errand_fail_identity(e, 0, "the request cannot be sent: see identity.ca_label");
}

void enroll_request(struct enroll *e, struct str identity, struct str der, const char *why)
{
	char text[ENROLL_WHY_MAX];
	if (!errand_awaits(e, ERRAND_REQUEST_KEEPER, identity))
		return;
	if (der.len == 0) {
		snprintf(text, sizeof(text), "the keeper has no request: %s", why);
		errand_fail_identity(e, 0, text);
	} else if (!enroll_keep_text(&e->errand.request, der)) {
		errand_fail_identity(e, 0, "out of memory");
	} else {
		errand_send_request(e);
	}
}

static void errand_certificate_kept(struct enroll *e, const char *why)
{
	struct identity *i = e->errand.identity;
	char text[ENROLL_WHY_MAX];
	free(i->request);
	i->request = NULL;
	if (why[0] != '\0') {
		snprintf(text, sizeof(text), "the keeper does not take it: %s", why);
		errand_fail_identity(e, 0, text);
		return;
	}
	i->settle_ns = e->loop->now_ns + ENROLL_IN_FORCE_MS * CLOCK_MS;
	errand_move(e, ERRAND_NONE);
}

void enroll_kept(struct enroll *e, struct str identity, const char *why)
{
	if (errand_awaits(e, ERRAND_CERTIFICATE_KEEPER, identity))
		errand_certificate_kept(e, why);
	else if (errand_awaits(e, ERRAND_TRUST_KEEPER, identity))
		errand_trust_kept(e, why);
}

static void errand_keeper_silent(struct enroll *e)
{
	struct trust *t = e->errand.trust;
	if (e->loop->now_ns < e->errand.deadline_ns)
		return;
	if (!t) {
		errand_fail_identity(e, 0, "the keeper does not answer");
		return;
	}
	errand_move(e, ERRAND_NONE);
	enroll_fail_trust(e, t, 0, "the keeper does not answer");
}

/* --- what the authority says --- */

void errand_explain_dates(
	const struct enroll *e, enum judge_verdict verdict, char *why, size_t size)
{
	int64_t skew_s;
	size_t len = strlen(why);
	if ((verdict != JUDGE_NOT_YET && verdict != JUDGE_OVER) || !link_skew(e->link, &skew_s))
		return;
	if (skew_s != 0)
		snprintf(why + len, size - len, ": our clock is %lld s %s the authority's",
			(long long)(skew_s < 0 ? -skew_s : skew_s),
			skew_s < 0 ? "behind" : "ahead of");
}

/* Anchors in force, and those that the keeper has taken. */
static bool errand_anchors(struct enroll *e, struct str *ret_text)
{
	const struct published *roots = &enroll_own_trust(e)->roots;
	size_t size = roots->in_force.len + roots->told.len + 2;
	char *text = malloc(size);
	if (!text)
		return false;
	int len = snprintf(
		text, size, STR_FMT "\n" STR_FMT, STR_ARG(roots->in_force), STR_ARG(roots->told));
	*ret_text = (struct str){text, (size_t)len};
	return true;
}

static enum judge_verdict errand_judge(
	struct enroll *e, struct str pem, struct str *ret_chain, struct err *err)
{
	struct str anchors;
	struct judge_view view = {.serial = ""};
	char id[2 * ENROLL_DOMAIN_MAX + 16];
	if (!errand_anchors(e, &anchors)) {
		err_set(err, ENOMEM, "out of memory");
		return JUDGE_BAD;
	}
	snprintf(id, sizeof(id), "spiffe://%s/%s", e->domain, e->errand.identity->path);
	const struct judge_want want = {.id = str_of(id),
		.request = e->errand.request,
		.anchors = anchors,
		.intermediates = enroll_own_trust(e)->others,
		.now_s = (int64_t)(e->loop->wall_ns / CLOCK_S)};
	enum judge_verdict verdict = judge_answer(&want, pem, ret_chain, &view, err);
	free((char *)anchors.at);
	return verdict;
}

static void errand_take_certificate(struct enroll *e, struct str pem)
{
	struct str chain = STR_NONE;
	struct err err;
	char why[ENROLL_WHY_MAX];
	enum judge_verdict verdict = errand_judge(e, pem, &chain, &err);
	if (verdict == JUDGE_GOOD) {
		e->errand.chain = chain;
		errand_wait_for_keeper(e, ERRAND_CERTIFICATE_KEEPER);
		return;
	}
	snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1, err.text);
	errand_explain_dates(e, verdict, why, sizeof(why));
	if (verdict == JUDGE_UNTRUSTED) {
		/* It may be under an anchor that is new. */
		struct schedule_now now = enroll_now(e);
		schedule_hurry(&enroll_own_trust(e)->schedule, &now);
	}
	errand_fail_identity(e, 0, why);
}

/* To be sent again as it is, for a human has to look at it (RFC 7030 4.2.3). */
static void errand_keep_request(struct enroll *e)
{
	struct identity *i = e->errand.identity;
	free(i->request);
	i->request = (char *)e->errand.request.at;
	i->request_len = e->errand.request.len;
	e->errand.request = STR_NONE;
}

static void errand_take_answer(struct enroll *e, const struct link_answer *a)
{
	struct str pem = STR_NONE;
	struct err err;
	if (a->outcome != LINK_ANSWERED) {
		if (a->status == 202)
			errand_keep_request(e);
		errand_fail_identity(e, a->retry_after_s, a->why);
	} else if (est_certificates_read(a->body, &pem, &err) < 0) {
		errand_fail_identity(e, 0, err.text);
	} else {
		errand_take_certificate(e, pem);
		free((char *)pem.at);
	}
}

/* A clock that is wrong makes good certificates bad ones. */
static void errand_tell_skew(struct enroll *e)
{
	int64_t skew_s;
	if (!link_skew(e->link, &skew_s))
		return;
	bool large = skew_s > ENROLL_SKEW_WARNING_S || skew_s < -ENROLL_SKEW_WARNING_S;
	if (large && !e->skew_told)
		log_warning("identity", "our clock is %lld s %s the authority's",
			(long long)(skew_s < 0 ? -skew_s : skew_s),
			skew_s < 0 ? "behind" : "ahead of");
	e->skew_told = large;
}

/* The authority is there: whoever waits because it was not does so no longer. */
static void errand_reached(struct enroll *e)
{
	struct schedule_now now = enroll_now(e);
	for (struct list *n = e->trusts.next; n != &e->trusts; n = n->next)
		schedule_reached(
			&CONTAINER_OF(n, struct trust, node)->schedule, &now, loop_random(e->loop));
	for (struct list *n = e->identities.next; n != &e->identities; n = n->next)
		schedule_reached(&CONTAINER_OF(n, struct identity, node)->schedule, &now,
			loop_random(e->loop));
}

static void errand_link(struct enroll *e)
{
	struct link_answer a;
	if (!link_answer(e->link, &a))
		return;
	struct schedule *asked =
		e->errand.trust ? &e->errand.trust->schedule : &e->errand.identity->schedule;
	bool is_answered = a.outcome != LINK_FAILED || a.status != 0;
	errand_tell_skew(e);
	if (is_answered)
		errand_reached(e);
	if (e->errand.state == ERRAND_ENROLL)
		errand_take_answer(e, &a);
	else if (e->errand.state == ERRAND_ANCHORS)
		errand_take_anchors(e, &a);
	else
		errand_take_crls(e, &a);
	if (!is_answered)
		schedule_unanswered(asked);
}

/* --- what is due --- */

/* What the keeper has taken has to be in force after a while. */
static void errand_look_at_settling(struct enroll *e, uint64_t *wake_ns)
{
	for (struct list *n = e->identities.next; n != &e->identities; n = n->next) {
		struct identity *i = CONTAINER_OF(n, struct identity, node);
		if (i->settle_ns != 0 && e->loop->now_ns >= i->settle_ns)
			enroll_fail_identity(e, i, 0,
				"the keeper has taken the new certificate, but does not use it");
		if (i->settle_ns != 0 && i->settle_ns < *wake_ns)
			*wake_ns = i->settle_ns;
	}
}

static struct trust *errand_due_trust(struct enroll *e, uint64_t *wake_ns)
{
	struct schedule_now now = enroll_now(e);
	for (struct list *n = e->trusts.next; n != &e->trusts; n = n->next) {
		struct trust *t = CONTAINER_OF(n, struct trust, node);
		if (schedule_due(&t->schedule, &now))
			return t;
		uint64_t at_ns = schedule_wake_ns(&t->schedule, &now);
		*wake_ns = at_ns < *wake_ns ? at_ns : *wake_ns;
	}
	return NULL;
}

/* This machine's own near its end, then one that is missing, then what ends first. */
static int64_t errand_rank(const struct identity *i, const struct schedule_now *now)
{
	enum enroll_state state = schedule_state(&i->schedule, now);
	if (i->is_node && (state == ENROLL_ENDING || state == ENROLL_EXPIRED))
		return INT64_MIN;
	return i->schedule.until_ms;
}

static struct identity *errand_due_identity(struct enroll *e, uint64_t *wake_ns)
{
	struct schedule_now now = enroll_now(e);
	struct identity *first = NULL;
	for (struct list *n = e->identities.next; n != &e->identities; n = n->next) {
		struct identity *i = CONTAINER_OF(n, struct identity, node);
		uint64_t at_ns = schedule_wake_ns(&i->schedule, &now);
		if (!schedule_due(&i->schedule, &now))
			*wake_ns = at_ns < *wake_ns ? at_ns : *wake_ns;
		else if (!first || errand_rank(i, &now) < errand_rank(first, &now))
			first = i;
	}
	return first;
}

static void errand_identity_begin(struct enroll *e, struct identity *i)
{
	schedule_asked(&i->schedule);
	e->errand.identity = i;
	if (i->request &&
		enroll_keep_text(&e->errand.request, (struct str){i->request, i->request_len}))
		errand_send_request(e);
	else
		errand_wait_for_keeper(e, ERRAND_REQUEST_KEEPER);
}

static void errand_begin(struct enroll *e)
{
	uint64_t wake_ns = e->loop->now_ns + SCHEDULE_LOOK_NS;
	errand_look_at_settling(e, &wake_ns);
	struct trust *t = errand_due_trust(e, &wake_ns);
	struct identity *i = t ? NULL : errand_due_identity(e, &wake_ns);
	if (t)
		errand_trust_begin(e, t);
	else if (i)
		errand_identity_begin(e, i);
	else
		timer_set(e->loop, &e->timer, wake_ns);
}

void errand_run(struct enroll *e)
{
	enum errand_state before;
	if (!e->link)
		return; /* waits for: a configuration of a machine that has joined */
	do {
		before = e->errand.state;
		switch (e->errand.state) {
		case ERRAND_NONE: /* waits for: something to be due */
			errand_begin(e);
			break;
		case ERRAND_REQUEST_KEEPER:	/* waits for: enroll_request() */
		case ERRAND_CERTIFICATE_KEEPER: /* waits for: enroll_kept() */
		case ERRAND_TRUST_KEEPER:	/* waits for: enroll_kept() */
			errand_keeper_silent(e);
			break;
		case ERRAND_ENROLL: /* waits for: the link */
		case ERRAND_ANCHORS:
		case ERRAND_CRLS:
			errand_link(e);
			break;
		case ERRAND_STATE_COUNT:
			break;
		}
	} while (e->errand.state != before);
	if (e->errand.deadline_ns != 0)
		timer_set(e->loop, &e->timer, e->errand.deadline_ns);
}
