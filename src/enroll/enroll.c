/* SPDX-License-Identifier: Apache-2.0 */
/* What is in force, and the door. What is under way is one errand at a time (errand.c):
 *
 *   certificate   NONE ─▶ REQUEST_KEEPER ─▶ ENROLL ─▶ CERTIFICATE_KEEPER ─▶ NONE
 *   trust         NONE ─▶ ANCHORS ─▶ CRLS (our own domain) ─▶ TRUST_KEEPER (if new) ─▶ NONE
 *
 * Trust goes first, so that new anchors are in force before certificates under them are; then what
 * ends first, this machine's own certificate before all others when it is near its end, for the
 * others are asked for with it. What the keeper has taken counts when it comes back as being in
 * force (enroll_configure()), and is asked for again when it does not. */
#include "inside.h"

#include "base/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ENROLL_MAGIC 0xe42011edu

enum { ENROLL_TASK_OWN, ENROLL_TASK_LINK, ENROLL_TASK_PROBE };

struct schedule_now enroll_now(const struct enroll *e)
{
	return (struct schedule_now){
		.wall_ms = (int64_t)(e->loop->wall_ns / CLOCK_MS), .ns = e->loop->now_ns};
}

bool enroll_keep_text(struct str *at, struct str text)
{
	char *copy = malloc(text.len + 1);
	if (!copy)
		return false;
	if (text.len > 0)
		memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	enroll_drop_text(at);
	*at = (struct str){copy, text.len};
	return true;
}

void enroll_drop_text(struct str *at)
{
	free((char *)at->at);
	*at = STR_NONE;
}

/* --- identities and trust domains --- */

static struct identity *identity_find(const struct list *all, const char *path)
{
	for (struct list *n = all->next; n != all; n = n->next) {
		struct identity *i = CONTAINER_OF(n, struct identity, node);
		if (strcmp(i->path, path) == 0)
			return i;
	}
	return NULL;
}

static void identity_free(struct identity *i)
{
	list_remove(&i->node);
	free(i->request);
	free(i);
}

static struct trust *trust_find(const struct list *all, struct str domain)
{
	for (struct list *n = all->next; n != all; n = n->next) {
		struct trust *t = CONTAINER_OF(n, struct trust, node);
		if (str_eq(str_of(t->domain), domain))
			return t;
	}
	return NULL;
}

struct trust *enroll_own_trust(struct enroll *e)
{
	struct trust *t = trust_find(&e->trusts, str_of(e->domain));
	ASSERT(t);
	return t;
}

static void published_done(struct published *p)
{
	enroll_drop_text(&p->in_force);
	enroll_drop_text(&p->told);
}

static void trust_free(struct trust *t)
{
	list_remove(&t->node);
	published_done(&t->roots);
	published_done(&t->crls);
	enroll_drop_text(&t->others);
	free(t);
}

/* --- failures --- */

static void enroll_speak(
	struct enroll *e, struct schedule *s, const char *what, const char *about, const char *why)
{
	struct schedule_now now = enroll_now(e);
	int64_t left_s = (s->until_ms - now.wall_ms) / 1000;
	enum schedule_voice voice = schedule_speak(s, &now);
	char rest[64] = "";
	if (voice == SCHEDULE_SILENT)
		return;
	if (s->until_ms != 0)
		snprintf(rest, sizeof(rest),
			left_s > 0 ? "; the one in force ends in %lld s"
				   : "; the one there was has expired",
			(long long)left_s);
	log_line(voice == SCHEDULE_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "identity",
		"%s: no new %s: %s%s", about, what, why, rest);
}

void enroll_fail_identity(
	struct enroll *e, struct identity *i, uint32_t retry_after_s, const char *why)
{
	struct schedule_now now = enroll_now(e);
	snprintf(i->why, sizeof(i->why), "%s", why);
	i->settle_ns = 0;
	schedule_failed(&i->schedule, &now, retry_after_s, loop_random(e->loop));
	enroll_speak(e, &i->schedule, "certificate", i->path, why);
	loop_ready(e->loop, e->owner);
}

void enroll_fail_trust(struct enroll *e, struct trust *t, uint32_t retry_after_s, const char *why)
{
	struct schedule_now now = enroll_now(e);
	snprintf(t->why, sizeof(t->why), "%s", why);
	schedule_failed(&t->schedule, &now, retry_after_s, loop_random(e->loop));
	enroll_speak(e, &t->schedule, "trust anchors", t->domain, why);
	loop_ready(e->loop, e->owner);
}

/* --- the configuration: what can fail first --- */

/* What is made before anything is changed. */
struct intake {
	struct list identities, trusts; /* new ones */
	struct tls_store *tls;		/* NULL: this machine has not joined */
	struct str roots, chain, key;	/* what it is made of */
};

static void intake_done(struct intake *in)
{
	while (!list_empty(&in->identities))
		identity_free(CONTAINER_OF(in->identities.next, struct identity, node));
	while (!list_empty(&in->trusts))
		trust_free(CONTAINER_OF(in->trusts.next, struct trust, node));
	tls_store_unref(in->tls);
}

static int intake_identity(
	struct enroll *e, struct intake *in, struct str identity, bool is_node, struct err *err)
{
	char path[KEEP_IDENTITY_MAX + 1];
	int len = snprintf(
		path, sizeof(path), "%s" STR_FMT, is_node ? "node/" : "", STR_ARG(identity));
	if (len < 0 || (size_t)len >= sizeof(path))
		return err_set(err, EINVAL, "\"" STR_FMT "\": too long for an identity",
			STR_ARG(identity));
	struct identity *i = identity_find(&e->identities, path);
	if (!i)
		i = identity_find(&in->identities, path);
	if (i) {
		i->wanted = true;
		return 0;
	}
	i = calloc(1, sizeof(*i));
	if (!i)
		return err_set(err, ENOMEM, "out of memory");
	memcpy(i->path, path, (size_t)len + 1);
	i->is_node = is_node;
	i->wanted = true;
	schedule_init(&i->schedule);
	probe_target_init(&i->target, i->path);
	list_add_last(&in->identities, &i->node);
	return 0;
}

static int intake_trust(
	struct enroll *e, struct intake *in, struct str domain, bool is_own, struct err *err)
{
	struct trust *t = trust_find(&e->trusts, domain);
	if (!t)
		t = trust_find(&in->trusts, domain);
	if (t) {
		t->wanted = true;
		return 0;
	}
	if (domain.len > ENROLL_DOMAIN_MAX)
		return err_set(err, EINVAL, "\"" STR_FMT "\": too long for a trust domain",
			STR_ARG(domain));
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(err, ENOMEM, "out of memory");
	snprintf(t->domain, sizeof(t->domain), STR_FMT, STR_ARG(domain));
	t->is_own = is_own;
	t->wanted = true;
	schedule_init(&t->schedule);
	list_add_last(&in->trusts, &t->node);
	return 0;
}

static int intake_new_tls(struct intake *in, struct err *err)
{
	struct bundle renamed; /* by the names that tls_store_new_pki() knows */
	bundle_init(&renamed);
	int r = bundle_add(&renamed, STR("pki"), STR("roots"), in->roots, err);
	if (r == 0)
		r = bundle_add(&renamed, STR("pki"), STR("chain"), in->chain, err);
	if (r == 0)
		r = bundle_add(&renamed, STR("pki-key"), STR("store"), in->key, err);
	if (r == 0)
		r = tls_store_new_pki(&renamed, &in->tls, err);
	bundle_done(&renamed);
	return r;
}

static struct str intake_text(const struct bundle *b, const char *kind, struct str name)
{
	const struct bundle_item *item = bundle_find(b, kind, name);
	return item ? item->text : STR_NONE;
}

/* What has not changed stays: a new one would cost the connection. */
static int intake_tls(
	const struct enroll *e, struct intake *in, const struct bundle *b, struct err *err)
{
	in->roots = intake_text(b, "est", STR("roots"));
	in->chain = intake_text(b, "est", STR("chain"));
	in->key = intake_text(b, "est-key", STR("node"));
	if (!in->roots.at || !in->chain.at || !in->key.at)
		return 0; /* not joined */
	if (!e->tls || !str_eq(in->roots, e->est_roots) || !str_eq(in->chain, e->own_chain) ||
		!str_eq(in->key, e->est_key))
		return intake_new_tls(in, err);
	in->tls = tls_store_ref(e->tls);
	return 0;
}

static int intake_link(
	struct enroll *e, const struct conf *conf, struct intake *in, struct err *err)
{
	const struct link_settings settings = {.servers = conf->authority.servers,
		.server_count = conf->authority.server_count,
		.tls = in->tls};
	if (!in->tls)
		return 0;
	if (e->link)
		return link_configure(e->link, &settings) ? 0
							  : err_set(err, ENOMEM, "out of memory");
	e->link = link_new(
		e->loop, (uint16_t)(e->kind_first + ENROLL_TASK_LINK), &e->task, &settings);
	return e->link ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int intake_all(struct enroll *e, const struct conf *conf, const struct bundle *b,
	struct intake *in, struct err *err)
{
	for (struct list *n = e->identities.next; n != &e->identities; n = n->next)
		CONTAINER_OF(n, struct identity, node)->wanted = false;
	for (struct list *n = e->trusts.next; n != &e->trusts; n = n->next)
		CONTAINER_OF(n, struct trust, node)->wanted = false;
	int r = conf->authority.server_count > 0
			? intake_identity(e, in, conf->node_name, true, err)
			: err_set(err, EINVAL, "identity.ca: no server");
	for (uint32_t i = 0; r == 0 && i < conf->workload_count; i++)
		r = intake_identity(e, in, conf->workloads[i].identity, false, err);
	if (r == 0)
		r = intake_trust(e, in, conf->trust_domain, true, err);
	for (uint32_t i = 0; r == 0 && i < conf->authority.federate_count; i++)
		r = intake_trust(e, in, conf->authority.federates[i], false, err);
	if (r == 0)
		r = intake_tls(e, in, b, err);
	return r < 0 ? r : intake_link(e, conf, in, err);
}

/* --- the configuration: what is in force --- */

static void identity_settle(struct enroll *e, struct identity *i, const struct judge_view *view)
{
	struct schedule_now now = enroll_now(e);
	/* It may be in force before the keeper's yes is heard. */
	bool is_new = i->settle_ns != 0 || i->view.serial[0] != '\0' || e->errand.identity == i;
	char ends[25];
	if (e->errand.identity == i)
		errand_drop(e);
	enum schedule_gain gain = schedule_certificate(
		&i->schedule, &now, view->from_s, view->until_s, is_new, loop_random(e->loop));
	i->view = *view;
	i->settle_ns = 0;
	i->why[0] = '\0';
	free(i->request);
	i->request = NULL;
	if (!is_new)
		return;
	i->renewed_count++;
	clock_format((uint64_t)view->until_s * CLOCK_S, ends);
	log_info("identity", "%s: new certificate, serial %s, until %s", i->path, view->serial,
		ends);
	if (gain == SCHEDULE_VAIN)
		log_warning("identity",
			"%s: the new certificate gains nothing: it ends no later than the one "
			"before, or is due already; does the authority's own end soon?",
			i->path);
}

/* Nobody lets it in any more, so there is no use in waiting for its end. */
static bool identity_is_revoked(const struct enroll *e, struct str chain, const struct bundle *b)
{
	const struct bundle_item *crls = bundle_find(b, "crl", str_of(e->domain));
	return crls && judge_revoked(chain, crls->text);
}

static void identity_look_for_it(struct identity *i, bool is_revoked)
{
	if (is_revoked && !i->is_revoked) {
		log_error("identity",
			"%s: the certificate in force, serial %s, has been revoked: others refuse "
			"it; a new one is asked for",
			i->path, i->view.serial);
		snprintf(
			i->why, sizeof(i->why), "revoked by the authority; a new one is asked for");
	}
	if (is_revoked)
		i->schedule.due_ms = 0;
	i->is_revoked = is_revoked;
}

static void identity_configure(struct enroll *e, struct identity *i, const struct bundle *b)
{
	const struct bundle_item *chain = i->is_node ? bundle_find(b, "est", STR("chain"))
						     : bundle_find(b, "chain", str_of(i->path));
	struct judge_view view;
	if (chain && judge_view(chain->text, &view)) {
		if (strcmp(view.serial, i->view.serial) != 0 || view.until_s != i->view.until_s)
			identity_settle(e, i, &view);
		identity_look_for_it(i, identity_is_revoked(e, chain->text, b));
	} else if (i->view.serial[0] != '\0') {
		i->view = (struct judge_view){0};
		i->is_revoked = false;
		schedule_missing(&i->schedule);
	}
	if (!e->link)
		snprintf(i->why, sizeof(i->why),
			"this machine has not joined: see \"ringmain join\"");
}

/* Out of memory: it is as if nothing were known of them, and they are made anew next time. */
static void enroll_take_tls(struct enroll *e, struct intake *in)
{
	struct str *to[] = {&e->est_roots, &e->own_chain, &e->est_key};
	const struct str from[] = {in->roots, in->chain, in->key};
	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		if (!enroll_keep_text(to[i], from[i]))
			enroll_drop_text(to[i]);
	}
	tls_store_unref(e->tls);
	e->tls = in->tls;
	in->tls = NULL;
}

/* Out of memory: as if nothing were in force; it is then asked for, and kept, once more. */
static void published_configure(struct published *p, const struct bundle_item *item)
{
	struct str text = item ? item->text : STR_NONE;
	if (!enroll_keep_text(&p->in_force, text))
		enroll_drop_text(&p->in_force);
}

static void enroll_take_domain(struct enroll *e, const struct bundle *b)
{
	for (struct list *n = e->trusts.next; n != &e->trusts; n = n->next) {
		struct trust *t = CONTAINER_OF(n, struct trust, node);
		published_configure(&t->roots, bundle_find(b, "roots", str_of(t->domain)));
		published_configure(&t->crls, bundle_find(b, "crl", str_of(t->domain)));
	}
}

static void enroll_forget_unwanted(struct enroll *e)
{
	for (struct list *n = e->identities.next, *next; n != &e->identities; n = next) {
		struct identity *i = CONTAINER_OF(n, struct identity, node);
		next = n->next;
		if (!i->wanted && e->errand.identity == i)
			errand_drop(e);
		if (i->wanted)
			continue;
		probe_forget(e->probe, &i->target);
		identity_free(i);
	}
	for (struct list *n = e->trusts.next, *next; n != &e->trusts; n = next) {
		struct trust *t = CONTAINER_OF(n, struct trust, node);
		next = n->next;
		if (!t->wanted && e->errand.trust == t)
			errand_drop(e);
		if (!t->wanted)
			trust_free(t);
	}
}

static void enroll_take(
	struct enroll *e, const struct conf *conf, const struct bundle *b, struct intake *in)
{
	snprintf(e->node, sizeof(e->node), STR_FMT, STR_ARG(conf->node_name));
	snprintf(e->domain, sizeof(e->domain), STR_FMT, STR_ARG(conf->trust_domain));
	snprintf(e->label, sizeof(e->label), STR_FMT, STR_ARG(conf->authority.label));
	e->refresh_ms = conf->authority.refresh_ms;
	enroll_take_tls(e, in);
	enroll_forget_unwanted(e);
	list_move_all(&in->identities, &e->identities);
	list_move_all(&in->trusts, &e->trusts);
	for (struct list *n = e->identities.next; n != &e->identities; n = n->next)
		identity_configure(e, CONTAINER_OF(n, struct identity, node), b);
	enroll_take_domain(e, b);
	enroll_watch_served(e, conf);
	loop_ready(e->loop, &e->task);
	loop_ready(e->loop, e->owner);
}

int enroll_configure(
	struct enroll *e, const struct conf *conf, const struct bundle *b, struct err *err)
{
	struct intake in = {.tls = NULL};
	ASSERT(e->magic == ENROLL_MAGIC && !e->closing);
	list_init(&in.identities);
	list_init(&in.trusts);
	int r = intake_all(e, conf, b, &in, err);
	if (r == 0)
		enroll_take(e, conf, b, &in);
	intake_done(&in);
	return r;
}

/* --- life --- */

int enroll_new(struct loop *loop, uint16_t kind_first, struct task *owner, const struct conf *conf,
	const struct bundle *b, struct enroll **ret_enroll, struct err *err)
{
	ASSERT(kind_first % ENROLL_KINDS == 0);
	struct enroll *e = calloc(1, sizeof(*e));
	if (!e)
		return err_set(err, ENOMEM, "out of memory");
	e->magic = ENROLL_MAGIC;
	e->loop = loop;
	e->kind_first = kind_first;
	e->owner = owner;
	task_init(&e->task, (uint16_t)(kind_first + ENROLL_TASK_OWN));
	timer_init(&e->timer, &e->task);
	list_init(&e->identities);
	list_init(&e->trusts);
	e->probe = probe_new(loop, (uint16_t)(kind_first + ENROLL_TASK_PROBE), owner);
	int r = e->probe ? enroll_configure(e, conf, b, err)
			 : err_set(err, ENOMEM, "out of memory");
	if (r < 0) { /* a link is the last thing that is made, and makes nothing fail */
		ASSERT(!e->link);
		probe_free(e->probe);
		free(e);
		return r;
	}
	*ret_enroll = e;
	return 0;
}

void enroll_step(struct task *t)
{
	if (t->kind % ENROLL_KINDS == ENROLL_TASK_LINK) {
		link_step(t);
		return;
	}
	if (t->kind % ENROLL_KINDS == ENROLL_TASK_PROBE) {
		probe_step(t);
		return;
	}
	struct enroll *e = CONTAINER_OF(t, struct enroll, task);
	ASSERT(e->magic == ENROLL_MAGIC);
	e->timer.fired = false;
	if (!e->closing)
		errand_run(e);
	else if (enroll_idle(e))
		loop_ready(e->loop, e->owner);
}

void enroll_close(struct enroll *e)
{
	if (e->closing)
		return;
	errand_drop(e);
	e->closing = true;
	timer_clear(e->loop, &e->timer);
	probe_close(e->probe);
	if (e->link)
		link_close(e->link);
	loop_ready(e->loop, &e->task);
}

bool enroll_idle(const struct enroll *e)
{
	return e->closing && probe_closed(e->probe) && (!e->link || link_closed(e->link));
}

void enroll_free(struct enroll *e)
{
	if (!e)
		return;
	ASSERT(e->magic == ENROLL_MAGIC && enroll_idle(e));
	while (!list_empty(&e->identities)) {
		struct identity *i = CONTAINER_OF(e->identities.next, struct identity, node);
		probe_forget(e->probe, &i->target);
		identity_free(i);
	}
	while (!list_empty(&e->trusts))
		trust_free(CONTAINER_OF(e->trusts.next, struct trust, node));
	probe_free(e->probe);
	link_free(e->link);
	enroll_drop_text(&e->own_chain);
	enroll_drop_text(&e->est_roots);
	enroll_drop_text(&e->est_key);
	tls_store_unref(e->tls);
	list_remove(&e->task.node);
	list_remove(&e->task.hungry);
	e->magic = 0;
	free(e);
}

/* --- signatures --- */

bool enroll_sign(struct enroll *e, struct enroll_sign *ret_sign)
{
	struct link_sign question;
	if (!e->link || !link_sign(e->link, &question))
		return false;
	*ret_sign = (struct enroll_sign){.number = question.number,
		.key_number = question.request->key_number,
		.algorithm = question.request->algorithm,
		.bytes = question.request->bytes,
		.len = question.request->len};
	return true;
}

void enroll_sign_done(struct enroll *e, uint64_t number, const uint8_t *signature, size_t len)
{
	if (e->link)
		link_sign_done(e->link, number, signature, len);
}
