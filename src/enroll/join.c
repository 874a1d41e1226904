/* SPDX-License-Identifier: Apache-2.0 */
#include "join.h"

#include "base/clock.h"
#include "judge.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#define JOIN_MAGIC	 0x10111011u
#define JOIN_SKEW_TOLD_S 10

enum { JOIN_TASK_OWN, JOIN_TASK_LINK };

#define BIT(state) (1u << JOIN_##state)

/* Allowed moves: a bit per target state. */
static const uint8_t join_moves[] = {
	[JOIN_LOOKING] = BIT(MEETING) | BIT(FAILED),
	[JOIN_MEETING] = BIT(ENROLLING) | BIT(FAILED),
	[JOIN_ENROLLING] = BIT(LISTS) | BIT(FAILED),
	[JOIN_LISTS] = BIT(DONE) | BIT(FAILED),
	[JOIN_DONE] = 0,
	[JOIN_FAILED] = 0,
};

struct join {
	uint32_t magic;
	enum join_state state;
	struct loop *loop;
	struct task task;
	struct timer timer;
	struct join_settings settings;
	uint16_t link_kind;
	struct link *link;
	struct tls_store *tls;			  /* the one anchor's */
	struct str anchors, others, lists, chain; /* PEM; ours */
	struct str request, authorization;	  /* ours */
	struct judge_view view;			  /* of the chain */
	uint64_t retry_ns;			  /* ENROLLING: not before; 0: under way */
	uint32_t tries;
	bool told_waiting;
	bool ending; /* the link is being closed; then comes `after` */
	enum join_state after;
	struct err why;
};

static void join_drop(struct str *text)
{
	if (text->at)
		explicit_bzero((char *)text->at, text->len);
	free((char *)text->at);
	*text = STR_NONE;
}

static void join_say(struct join *j, const char *format, ...) PRINTF_LIKE(2, 3);
static void join_say(struct join *j, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(j->settings.out, format, args);
	va_end(args);
	fputc('\n', j->settings.out);
	fflush(j->settings.out);
}

/* The connection ends before the next state begins. */
static void join_end_link(struct join *j, enum join_state after)
{
	j->ending = true;
	j->after = after;
	timer_clear(j->loop, &j->timer);
	if (j->link)
		link_close(j->link);
	loop_ready(j->loop, &j->task);
}

static void join_fail(struct join *j, const char *format, ...) PRINTF_LIKE(2, 3);
static void join_fail(struct join *j, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(j->why.text, sizeof(j->why.text), format, args);
	va_end(args);
	join_end_link(j, JOIN_FAILED);
}

static void join_move(struct join *j, enum join_state state)
{
	ASSERT(j->magic == JOIN_MAGIC);
	ASSERT(join_moves[j->state] & 1u << state);
	j->state = state;
	loop_ready(j->loop, &j->task);
}

/* --- asking --- */

static bool join_link(struct join *j)
{
	const struct link_settings settings = {.servers = j->settings.servers,
		.server_count = j->settings.server_count,
		.tls = j->tls};
	j->link = link_new(j->loop, j->link_kind, &j->task, &settings);
	return j->link;
}

static void join_ask(struct join *j, enum est_operation operation)
{
	const struct link_question q = {.operation = operation, .label = j->settings.label};
	if (!link_ask(j->link, &q))
		join_fail(j, "\"" STR_FMT "\" is no label", STR_ARG(j->settings.label));
}

static void join_send_request(struct join *j)
{
	struct str body;
	if (est_request(j->request, &body, &j->why) < 0) {
		join_fail(j, "out of memory");
		return;
	}
	const struct link_question q = {.operation = EST_ENROLL,
		.label = j->settings.label,
		.body = body,
		.authorization = j->authorization};
	j->retry_ns = 0;
	if (!link_ask(j->link, &q))
		join_fail(j, "the token is too long");
	free((char *)body.at);
}

/* --- LOOKING --- */

/* A link to the servers that the one anchor vouches for. */
static int join_trust_one(struct join *j, struct str anchor, struct err *err)
{
	struct bundle b;
	bundle_init(&b);
	int r = bundle_add(&b, STR("pki"), STR("roots"), anchor, err);
	if (r == 0)
		r = tls_store_new_pki(&b, &j->tls, err);
	bundle_done(&b);
	return r;
}

static void join_take_first(struct join *j, const struct link_answer *a)
{
	struct str pem, anchor = STR_NONE;
	struct err err;
	if (a->outcome != LINK_ANSWERED) {
		join_fail(j, "no trust anchors from the authority: %.400s", a->why);
		return;
	}
	if (est_certificates_read(a->body, &pem, &err) < 0) {
		join_fail(j, "no trust anchors from the authority: %.400s", err.text);
		return;
	}
	int r = judge_fingerprint(pem, j->settings.fingerprint, &anchor, &err);
	free((char *)pem.at);
	if (r < 0)
		join_fail(j,
			"%.420s: nothing was sent; is it the right authority, and its root's "
			"fingerprint?",
			err.text);
	else if (join_trust_one(j, anchor, &err) < 0)
		join_fail(j, "the trust anchor cannot be used: %.400s", err.text);
	else {
		join_say(j, "found the trust anchor of that fingerprint");
		join_end_link(j, JOIN_MEETING);
	}
	free((char *)anchor.at);
}

/* --- MEETING --- */

static void join_take_anchors(struct join *j, const struct link_answer *a)
{
	struct str pem;
	struct err err;
	if (a->outcome != LINK_ANSWERED) {
		join_fail(j, "the server is not that authority's: %.400s", a->why);
		return;
	}
	int r = est_certificates_read(a->body, &pem, &err);
	if (r == 0) {
		r = judge_anchors(pem, j->settings.trust_domain, &j->anchors, &j->others, &err);
		free((char *)pem.at);
	}
	if (r < 0) {
		join_fail(j, "what the authority publishes is of no use: %.400s", err.text);
		return;
	}
	join_say(j, "the authority's server is under that anchor");
	join_move(j, JOIN_ENROLLING);
	join_send_request(j);
}

/* --- ENROLLING --- */

static void join_fail_as_judged(struct join *j, enum judge_verdict verdict, const char *text)
{
	int64_t skew_s = 0;
	bool known = link_skew(j->link, &skew_s) && skew_s != 0;
	if (known && (verdict == JUDGE_NOT_YET || verdict == JUDGE_OVER))
		join_fail(j, "%.300s: this machine's clock is %lld s %s the authority's: set it",
			text, (long long)(skew_s < 0 ? -skew_s : skew_s),
			skew_s < 0 ? "behind" : "ahead of");
	else
		join_fail(j, "%.400s", text);
}

static void join_take_chain(struct join *j, struct str pem)
{
	struct err err;
	char id[600];
	snprintf(id, sizeof(id), "spiffe://" STR_FMT "/node/" STR_FMT,
		STR_ARG(j->settings.trust_domain), STR_ARG(j->settings.node));
	const struct judge_want want = {.id = str_of(id),
		.request = j->request,
		.anchors = j->anchors,
		.intermediates = j->others,
		.now_s = (int64_t)(j->loop->wall_ns / CLOCK_S)};
	enum judge_verdict verdict = judge_answer(&want, pem, &j->chain, &j->view, &err);
	if (verdict != JUDGE_GOOD) {
		join_fail_as_judged(j, verdict, err.text);
		return;
	}
	join_say(j, "the authority has given a certificate");
	join_move(j, JOIN_LISTS);
	join_ask(j, EST_CRLS);
}

static void join_wait(struct join *j, const struct link_answer *a)
{
	uint32_t wait_s = a->retry_after_s;
	wait_s = wait_s < JOIN_WAIT_MIN_S ? JOIN_WAIT_MIN_S : wait_s;
	wait_s = wait_s > JOIN_WAIT_MAX_S ? JOIN_WAIT_MAX_S : wait_s;
	if (a->status != 202 && ++j->tries >= JOIN_TRIES_MAX) {
		join_fail(j, "%.400s: try again later, with the same token", a->why);
		return;
	}
	if (!j->told_waiting)
		join_say(j, "waiting: %s; asking again every %u s or so", a->why, wait_s);
	j->told_waiting = true;
	j->retry_ns = j->loop->now_ns + wait_s * CLOCK_S;
	timer_set(j->loop, &j->timer, j->retry_ns);
}

static void join_refused(struct join *j, const struct link_answer *a)
{
	const char *cure = "";
	if (a->status == 401)
		cure = ": is the token for this machine's name, unused, and not over its time? "
		       "\"ringmain ca token\" makes another";
	else if (a->status == 403)
		cure = ": is this machine's name registered? See \"ringmain ca allow\"";
	join_fail(j, "no certificate: %.300s%s", a->why, cure);
}

static void join_take_certificate(struct join *j, const struct link_answer *a)
{
	struct str pem;
	struct err err;
	if (a->outcome == LINK_LATER) {
		join_wait(j, a);
	} else if (a->outcome != LINK_ANSWERED) {
		join_refused(j, a);
	} else if (est_certificates_read(a->body, &pem, &err) < 0) {
		join_fail(j, "no certificate: %.400s", err.text);
	} else {
		join_take_chain(j, pem);
		free((char *)pem.at);
	}
}

/* --- LISTS --- */

static void join_keep(struct join *j)
{
	char identity[KEEP_IDENTITY_MAX + 1], until[25];
	struct err err;
	snprintf(identity, sizeof(identity), "node/" STR_FMT, STR_ARG(j->settings.node));
	/* No lists may be the server's fault: those of the time before stay. */
	int r = j->lists.len > 0 ? keep_trust(j->settings.keep, j->settings.trust_domain,
					   j->anchors, j->lists, &err)
				 : keep_anchors(j->settings.keep, j->settings.trust_domain,
					   j->anchors, &err);
	if (r < 0 && r != -EALREADY) {
		join_fail(j, "the trust anchors cannot be kept: %.400s", err.text);
		return;
	}
	r = keep_certificate(j->settings.keep, str_of(identity), j->chain,
		(int64_t)(j->loop->wall_ns / CLOCK_S), &err);
	if (r < 0) {
		join_fail(j, "the certificate cannot be kept: %.400s", err.text);
		return;
	}
	clock_format((uint64_t)j->view.until_s * CLOCK_S, until);
	join_say(j, "joined: this machine is spiffe://" STR_FMT "/%s, until %s at first",
		STR_ARG(j->settings.trust_domain), identity, until);
	join_end_link(j, JOIN_DONE);
}

/* What is missing here comes when the machine runs. */
static void join_take_lists(struct join *j, const struct link_answer *a)
{
	struct str pem = STR_NONE, authorities = STR_NONE;
	struct judge_lists lists;
	struct err err = {.text = ""};
	size_t size = j->anchors.len + j->others.len + j->chain.len + 3;
	char *text = malloc(size);
	if (a->outcome == LINK_ANSWERED && text && est_crls_read(a->body, &pem, &err) == 0) {
		int len = snprintf(
			text, size, STR_FMT "\n" STR_FMT, STR_ARG(j->anchors), STR_ARG(j->others));
		authorities = (struct str){text, (size_t)len};
		if (judge_crls(pem, STR_NONE, authorities, (int64_t)(j->loop->wall_ns / CLOCK_S),
			    &j->lists, &lists, &err) == 0)
			err.text[0] = '\0';
		free((char *)pem.at);
	}
	free(text);
	if (err.text[0] != '\0')
		join_say(j, "no revoked certificates yet: %s", err.text);
	join_keep(j);
}

/* --- the step --- */

static void join_ended(struct join *j)
{
	if (j->link && !link_closed(j->link))
		return; /* waits for: the socket's end */
	link_free(j->link);
	j->link = NULL;
	j->ending = false;
	join_move(j, j->after);
	if (j->state != JOIN_MEETING)
		return;
	if (join_link(j))
		join_ask(j, EST_CACERTS);
	else
		join_fail(j, "out of memory");
}

static void join_look(struct join *j)
{
	struct link_answer a;
	if (j->retry_ns > 0 && j->loop->now_ns >= j->retry_ns)
		join_send_request(j);
	if (!link_answer(j->link, &a))
		return;
	switch (j->state) {
	case JOIN_LOOKING: /* waits for: the link */
		join_take_first(j, &a);
		break;
	case JOIN_MEETING: /* waits for: the link */
		join_take_anchors(j, &a);
		break;
	case JOIN_ENROLLING: /* waits for: the link, or the time to ask again */
		join_take_certificate(j, &a);
		break;
	case JOIN_LISTS: /* waits for: the link */
		join_take_lists(j, &a);
		break;
	case JOIN_DONE:
	case JOIN_FAILED:
	case JOIN_STATE_COUNT:
		break;
	}
}

void join_step(struct task *t)
{
	if (t->kind % JOIN_KINDS == JOIN_TASK_LINK) {
		link_step(t);
		return;
	}
	struct join *j = CONTAINER_OF(t, struct join, task);
	ASSERT(j->magic == JOIN_MAGIC);
	if (j->state == JOIN_DONE || j->state == JOIN_FAILED)
		return;
	if (!j->ending)
		join_look(j);
	if (j->ending)
		join_ended(j);
}

/* --- life --- */

static int join_prepare(struct join *j, struct err *err)
{
	char identity[KEEP_IDENTITY_MAX + 1];
	int len = snprintf(identity, sizeof(identity), "node/" STR_FMT, STR_ARG(j->settings.node));
	if (len < 0 || (size_t)len >= sizeof(identity))
		return err_set(err, EINVAL, "node.name is too long");
	int r = keep_request(j->settings.keep, str_of(identity), &j->request, err);
	if (r == 0)
		r = est_basic(j->settings.node, j->settings.token, &j->authorization, err);
	if (r == 0 && !join_link(j))
		r = err_set(err, ENOMEM, "out of memory");
	return r;
}

int join_new(struct loop *loop, uint16_t kind_first, const struct join_settings *settings,
	struct join **ret_join, struct err *err)
{
	ASSERT(kind_first % JOIN_KINDS == 0 && settings->server_count > 0);
	struct join *j = calloc(1, sizeof(*j));
	if (!j)
		return err_set(err, ENOMEM, "out of memory");
	j->magic = JOIN_MAGIC;
	j->loop = loop;
	j->settings = *settings;
	j->link_kind = (uint16_t)(kind_first + JOIN_TASK_LINK);
	task_init(&j->task, (uint16_t)(kind_first + JOIN_TASK_OWN));
	timer_init(&j->timer, &j->task);
	int r = join_prepare(j, err);
	if (r < 0) {
		join_drop(&j->request);
		join_drop(&j->authorization);
		free(j);
		return r;
	}
	join_ask(j, EST_CACERTS);
	*ret_join = j;
	return 0;
}

enum join_state join_state(const struct join *j)
{
	return j->state;
}

const char *join_why(const struct join *j)
{
	return j->why.text;
}

void join_close(struct join *j)
{
	if (j->state == JOIN_DONE || j->state == JOIN_FAILED)
		return;
	if (!j->ending)
		join_fail(j, "given up");
	j->after = JOIN_FAILED;
}

void join_free(struct join *j)
{
	if (!j)
		return;
	ASSERT(j->magic == JOIN_MAGIC && !j->link);
	list_remove(&j->task.node);
	list_remove(&j->task.hungry);
	tls_store_unref(j->tls);
	join_drop(&j->anchors);
	join_drop(&j->others);
	join_drop(&j->lists);
	join_drop(&j->chain);
	join_drop(&j->request);
	join_drop(&j->authorization);
	j->magic = 0;
	free(j);
}
