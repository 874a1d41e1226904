/* SPDX-License-Identifier: Apache-2.0 */
/* Anchors and CRLs of a trust domain: asked for with the ETag of what is in force, so that the
 * authority sees who lags behind, and handed to the keeper when they differ from it. What is empty
 * or broken changes nothing. */
#include "base/log.h"

#include "inside.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void errand_fail_trust(struct enroll *e, uint32_t retry_after_s, const char *why)
{
	struct trust *t = e->errand.trust;
	errand_move(e, ERRAND_NONE);
	enroll_fail_trust(e, t, retry_after_s, why);
}

/* --- asking --- */

static bool errand_ask_list(
	struct enroll *e, enum est_operation operation, const struct published *p)
{
	struct trust *t = e->errand.trust;
	bool known = p->etag[0] != '\0' && judge_same(p->told, p->in_force);
	const struct link_question q = {
		.operation = operation,
		.label = str_of(t->is_own ? e->label : t->domain),
		.etag = str_of(known ? p->etag : ""),
	};
	return link_ask(e->link, &q);
}

void errand_trust_begin(struct enroll *e, struct trust *t)
{
	schedule_asked(&t->schedule);
	e->errand.trust = t;
	errand_move(e, ERRAND_ANCHORS);
	if (!errand_ask_list(e, EST_CACERTS, &t->roots))
		errand_fail_trust(e, 0, "anchors cannot be asked for: see identity.ca_label");
}

/* --- the end of the errand --- */

static void errand_trust_done(struct enroll *e, const char *why)
{
	struct trust *t = e->errand.trust;
	struct schedule_now now = enroll_now(e);
	char text[ENROLL_WHY_MAX];
	snprintf(text, sizeof(text), "%s", why);
	errand_move(e, ERRAND_NONE);
	if (text[0] != '\0') {
		enroll_fail_trust(e, t, 0, text);
		return;
	}
	t->why[0] = '\0';
	schedule_again(&t->schedule, &now, e->refresh_ms, loop_random(e->loop));
	loop_ready(e->loop, e->owner);
}

static void errand_hand_over(struct enroll *e)
{
	struct errand *errand = &e->errand;
	struct trust *t = errand->trust;
	if (judge_same(errand->roots, t->roots.in_force) &&
		judge_same(errand->crls, t->crls.in_force))
		errand_trust_done(e, errand->why);
	else
		errand_wait_for_keeper(e, ERRAND_TRUST_KEEPER);
}

void errand_trust_kept(struct enroll *e, const char *why)
{
	struct trust *t = e->errand.trust;
	char text[ENROLL_WHY_MAX];
	if (why[0] != '\0') {
		snprintf(text, sizeof(text), "the keeper does not take them: %s", why);
		errand_fail_trust(e, 0, text);
		return;
	}
	if (!judge_same(e->errand.roots, t->roots.in_force))
		log_info("identity", "%s: new trust anchors", t->domain);
	t->renewed_count++;
	errand_trust_done(e, e->errand.why);
}

/* --- anchors --- */

/* What came, as what its ETag stands for; without memory, as nothing. */
static void errand_remember(struct published *p, struct str text, const char *etag)
{
	bool kept = enroll_keep_text(&p->told, text);
	snprintf(p->etag, sizeof(p->etag), "%s", kept ? etag : "");
}

/* Nobody of this mesh would be let in any more by machines that have only these. */
static void errand_look_at_change(struct enroll *e, struct str roots, struct str others)
{
	struct trust *t = e->errand.trust;
	if (!t->is_own || t->roots.in_force.len == 0 || e->own_chain.len == 0 ||
		judge_same(roots, t->roots.in_force))
		return;
	if (!judge_leads(e->own_chain, roots, others))
		log_warning("identity",
			"%s: the new trust anchors are none of this machine's certificate: they "
			"are taken, as they came from a server of the present ones; unless the "
			"root was exchanged, look at the authority",
			t->domain);
}

static void errand_ask_crls(struct enroll *e)
{
	struct trust *t = e->errand.trust;
	if (!enroll_keep_text(&e->errand.crls, t->crls.in_force)) {
		errand_fail_trust(e, 0, "out of memory");
	} else if (!t->is_own) { /* a label has anchors only */
		errand_hand_over(e);
	} else {
		errand_move(e, ERRAND_CRLS);
		if (!errand_ask_list(e, EST_CRLS, &t->crls))
			errand_fail_trust(e, 0, "revoked certificates cannot be asked for");
	}
}

static void errand_new_anchors(struct enroll *e, const struct link_answer *a)
{
	struct trust *t = e->errand.trust;
	struct str pem = STR_NONE, roots = STR_NONE, others = STR_NONE;
	struct err err;
	int r = est_certificates_read(a->body, &pem, &err);
	if (r == 0)
		r = judge_anchors(pem, str_of(t->domain), &roots, &others, &err);
	free((char *)pem.at);
	if (r < 0) {
		errand_fail_trust(e, 0, err.text);
		return;
	}
	errand_look_at_change(e, roots, others);
	errand_remember(&t->roots, roots, a->etag);
	enroll_drop_text(&t->others);
	t->others = others;
	e->errand.roots = roots;
	errand_ask_crls(e);
}

void errand_take_anchors(struct enroll *e, const struct link_answer *a)
{
	struct trust *t = e->errand.trust;
	if (a->outcome == LINK_ANSWERED)
		errand_new_anchors(e, a);
	else if (a->outcome != LINK_UNCHANGED)
		errand_fail_trust(e, a->retry_after_s, a->why);
	else if (!enroll_keep_text(&e->errand.roots, t->roots.in_force))
		errand_fail_trust(e, 0, "out of memory");
	else
		errand_ask_crls(e);
}

/* --- CRLs --- */

/* Who may have signed them: anchors that came, and issuers beside them. */
static int errand_authorities(struct enroll *e, struct str *ret_text, struct err *err)
{
	struct str a = e->errand.roots, b = e->errand.trust->others, c = e->own_chain;
	size_t size = a.len + b.len + c.len + 3;
	char *text = malloc(size);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	int len = snprintf(
		text, size, STR_FMT "\n" STR_FMT "\n" STR_FMT, STR_ARG(a), STR_ARG(b), STR_ARG(c));
	*ret_text = (struct str){text, (size_t)len};
	return 0;
}

static int errand_judge_crls(struct enroll *e, const struct link_answer *a, struct str *ret_pem,
	struct judge_lists *ret_lists, struct err *err)
{
	struct str pem = STR_NONE, authorities = STR_NONE;
	int r = est_crls_read(a->body, &pem, err);
	if (r == 0)
		r = errand_authorities(e, &authorities, err);
	if (r == 0)
		r = judge_crls(pem, e->errand.trust->crls.in_force, authorities,
			(int64_t)(e->loop->wall_ns / CLOCK_S), ret_pem, ret_lists, err);
	free((char *)pem.at);
	free((char *)authorities.at);
	return r;
}

static void errand_new_crls(struct enroll *e, const struct link_answer *a)
{
	struct errand *errand = &e->errand;
	struct trust *t = errand->trust;
	struct judge_lists lists;
	struct str pem;
	struct err err;
	if (errand_judge_crls(e, a, &pem, &lists, &err) < 0) {
		snprintf(errand->why, sizeof(errand->why), "%.*s", ENROLL_WHY_MAX - 1, err.text);
		return;
	}
	/* What the older one's ETag stands for is not what is in force. */
	errand_remember(&t->crls, pem, lists.is_older ? "" : a->etag);
	enroll_drop_text(&errand->crls);
	errand->crls = pem;
	t->crls_until_s = lists.until_s;
	if (lists.is_older)
		snprintf(errand->why, sizeof(errand->why),
			"a list of revoked certificates that came is older than the one in force");
}

static void errand_look_at_age(struct enroll *e)
{
	struct errand *errand = &e->errand;
	struct trust *t = errand->trust;
	if (t->crls_until_s == 0 || t->crls_until_s > (int64_t)(e->loop->wall_ns / CLOCK_S))
		return;
	if (errand->why[0] == '\0')
		snprintf(errand->why, sizeof(errand->why),
			"the list of revoked certificates is over its time");
}

void errand_take_crls(struct enroll *e, const struct link_answer *a)
{
	if (a->outcome == LINK_ANSWERED)
		errand_new_crls(e, a);
	else if (a->outcome != LINK_UNCHANGED && a->outcome != LINK_ABSENT)
		snprintf(e->errand.why, sizeof(e->errand.why), "%.*s", ENROLL_WHY_MAX - 1, a->why);
	errand_look_at_age(e);
	errand_hand_over(e);
}
