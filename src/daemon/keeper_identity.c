/* SPDX-License-Identifier: Apache-2.0 */
/* The kept keys and the state process, which speaks to the authority and has none. It may ask for
 * this machine's identities, those of its workloads and its own, and for nothing else; what it
 * brings is checked against the key before it is kept. A plan is made of what was kept a moment
 * later, so that many certificates at once are one plan.
 *
 * What it says of certificates is for people, and passed on to the proxy process unread. */
#include "keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPER_TOGETHER_NS (50 * CLOCK_MS)  /* what comes within is one plan */
#define KEEPER_APART_NS	   (500 * CLOCK_MS) /* between two of these plans */
#define KEEPER_ASKED_MAX   200		    /* a second: each waits for the disk */

/* --- answers --- */

int keeper_identity_init(struct keeper *k, struct err *err)
{
	k->identity = (struct keeper_identity){.rows_fd = -1};
	for (size_t i = 0; i < KEEPER_ANSWERS; i++)
		k->identity.answers[i].fd = -1;
	return keeper_work_init(&k->identity.work, err);
}

void keeper_identity_done(struct keeper *k)
{
	keeper_identity_forget(k, KEEPER_ROWS_GO);
	keeper_work_done(&k->identity.work);
}

static void keeper_answer_clear(struct keeper_answer *a)
{
	if (a->fd >= 0)
		close(a->fd);
	*a = (struct keeper_answer){.fd = -1};
}

void keeper_identity_forget(struct keeper *k, enum keeper_rows rows)
{
	struct keeper_identity *i = &k->identity;
	for (size_t j = 0; j < KEEPER_ANSWERS; j++) {
		keeper_answer_clear(&i->answers[j]);
		if (i->errands[j].waits && i->errands[j].fd >= 0)
			close(i->errands[j].fd);
		i->errands[j].waits = false;
	}
	i->work.wanted = false; /* it is done all the same */
	if (rows == KEEPER_ROWS_STAY)
		return;
	if (i->rows_fd >= 0)
		close(i->rows_fd);
	i->rows_fd = -1;
	i->rows_unsaid = false;
}

static struct keeper_answer *keeper_answer_of(struct keeper *k, uint32_t kind)
{
	ASSERT(kind >= WIRE_REQUEST && kind < WIRE_REQUEST + KEEPER_ANSWERS);
	return &k->identity.answers[kind - WIRE_REQUEST];
}

/* Takes the descriptor over. */
static void keeper_answer(struct keeper *k, const struct wire_identity *m, int fd, const char *why)
{
	struct keeper_answer *a = keeper_answer_of(k, m->head.kind);
	keeper_answer_clear(a);
	a->unsaid = true;
	a->m = *m;
	a->fd = fd;
	snprintf(a->m.why, sizeof(a->m.why), "%.*s", (int)sizeof(a->m.why) - 1, why);
}

bool keeper_identity_wants_write(const struct keeper *k)
{
	for (size_t i = 0; i < KEEPER_ANSWERS; i++) {
		if (k->identity.answers[i].unsaid)
			return true;
	}
	return false;
}

int keeper_identity_say(struct keeper *k)
{
	for (size_t i = 0; i < KEEPER_ANSWERS; i++) {
		struct keeper_answer *a = &k->identity.answers[i];
		if (!a->unsaid)
			continue;
		int r = keeper_child_say(&k->mesh.child, &a->m, sizeof(a->m), a->fd);
		if (r == 0)
			keeper_answer_clear(a);
		return r;
	}
	return 0;
}

/* --- what may be asked for --- */

static bool keeper_may_have(const struct conf *conf, struct str identity)
{
	struct str node = STR("node/");
	if (str_starts(identity, node)) {
		struct str name = {identity.at + node.len, identity.len - node.len};
		return str_eq(name, conf->node_name);
	}
	for (uint32_t i = 0; i < conf->workload_count; i++) {
		if (identity.len > 0 && str_eq(identity, conf->workloads[i].identity))
			return true;
	}
	return false;
}

static bool keeper_may_trust(const struct conf *conf, struct str trust_domain)
{
	if (str_eq(trust_domain, conf->trust_domain))
		return true;
	for (uint32_t i = 0; i < conf->authority.federate_count; i++) {
		if (str_eq(trust_domain, conf->authority.federates[i]))
			return true;
	}
	return false;
}

static int keeper_check_asked(struct keeper *k, uint32_t kind, struct str identity, struct err *err)
{
	const struct conf *conf = k->current->conf;
	if (conf->authority.server_count == 0)
		return err_set(err, EPERM, "no authority is configured");
	if (k->identity.asked_count++ >= KEEPER_ASKED_MAX)
		return err_set(err, EBUSY, "too much is asked for at once");
	bool may = kind == WIRE_TRUST ? keeper_may_trust(conf, identity)
				      : keeper_may_have(conf, identity);
	return may ? 0
		   : err_set(err, EPERM, "%s \"" STR_FMT "\" is not for this machine",
			     kind == WIRE_TRUST ? "trust domain" : "identity", STR_ARG(identity));
}

/* --- plans of it --- */

/* As long as more comes, but not for ever. */
static void keeper_identity_postpone(struct keeper *k, uint64_t now_ns)
{
	struct keeper_identity *i = &k->identity;
	if (i->plan_ns != 0)
		i->plan_ns = now_ns + KEEPER_TOGETHER_NS < i->plan_max_ns
				     ? now_ns + KEEPER_TOGETHER_NS
				     : i->plan_max_ns;
}

static void keeper_identity_kept(struct keeper *k, uint64_t now_ns)
{
	struct keeper_identity *i = &k->identity;
	if (i->plan_ns != 0)
		return;
	i->plan_ns = now_ns + KEEPER_TOGETHER_NS;
	if (i->planned_ns != 0 && i->plan_ns < i->planned_ns + KEEPER_APART_NS)
		i->plan_ns = i->planned_ns + KEEPER_APART_NS;
	i->plan_max_ns = now_ns + KEEPER_APART_NS;
}

/* Two lines a second at most of each kind. */
static void keeper_identity_failed(struct keeper *k, const struct keeper_work *w)
{
	if (k->identity.refused_count++ == 0)
		log_warning("keeper", "not kept: %s", w->err.text);
}

void keeper_identity_worked(struct keeper *k, uint64_t now_ns)
{
	struct keeper_work *w = &k->identity.work;
	int r = keeper_work_end(w);
	keeper_identity_postpone(k, now_ns);
	bool is_request = w->m.head.kind == WIRE_REQUEST, failed = r < 0 && r != -EALREADY;
	if (w->wanted)
		keeper_answer(k, &w->m, is_request && r >= 0 ? r : -1, failed ? w->err.text : "");
	else if (is_request && r >= 0)
		close(r); /* who asked is gone */
	if (failed)
		keeper_identity_failed(k, w);
	if (failed || is_request)
		return;
	if (r == 0)
		log_info("keeper", "new %s of %s",
			w->m.head.kind == WIRE_TRUST ? "anchors or revocations" : "certificate",
			w->m.identity);
	/* Also of what was kept already: who brings it does not see it in force, so the plan that
	 * had it was lost. */
	keeper_identity_kept(k, now_ns);
}

static void keeper_identity_work(struct keeper *k)
{
	struct keeper_identity *i = &k->identity;
	for (size_t j = 0; j < KEEPER_ANSWERS && i->work.state == KEEPER_WORK_IDLE; j++) {
		struct keeper_errand *e = &i->errands[j];
		/* Its last answer has to be on its way before there is another. */
		if (!e->waits || i->answers[j].unsaid)
			continue;
		e->waits = false;
		keeper_work_start(&i->work, k->current->conf, &e->m, e->fd);
	}
}

static bool keeper_identity_may_plan(const struct keeper *k)
{
	bool idle = k->state == KEEPER_STATE_RUNNING || k->state == KEEPER_STATE_WAITING;
	return k->identity.plan_ns != 0 && idle && !k->next &&
	       k->identity.work.state == KEEPER_WORK_IDLE;
}

void keeper_identity_step(struct keeper *k, uint64_t now_ns)
{
	struct keeper_identity *i = &k->identity;
	if (!keeper_identity_may_plan(k) || now_ns < i->plan_ns) {
		keeper_identity_work(k);
		return;
	}
	i->plan_ns = 0;
	i->planned_ns = now_ns;
	keeper_reload(k, KEEPER_SCOPE_WATCHED, now_ns);
}

uint64_t keeper_identity_until_ns(const struct keeper *k)
{
	return keeper_identity_may_plan(k) ? k->identity.plan_ns : UINT64_MAX;
}

/* --- hearing --- */

/* One of each kind waits at most: the state process asks for the next when it has its answer. Takes
 * the descriptor over. */
static void keeper_hear_asked(struct keeper *k, const struct wire_identity *heard, int fd)
{
	struct err err = {.text = ""};
	struct wire_identity m = *heard;
	m.identity[sizeof(m.identity) - 1] = '\0';
	struct keeper_errand *e = &k->identity.errands[m.head.kind - WIRE_REQUEST];
	int r = keeper_check_asked(k, m.head.kind, str_of(m.identity), &err);
	if (r == 0 && e->waits)
		r = err_set(&err, EBUSY, "another one is under way");
	if (r == 0) {
		*e = (struct keeper_errand){.waits = true, .m = m, .fd = fd};
		return;
	}
	if (fd >= 0)
		close(fd);
	keeper_answer(k, &m, -1, err.text);
	if (r != -EBUSY && k->identity.refused_count++ == 0)
		log_warning("keeper", "not kept: %s", err.text);
}

static bool keeper_rows_sound(const struct wire_identities *m, int fd)
{
	struct stat st;
	return m->count <= WIRE_CERTIFICATES_MAX && fd >= 0 &&
	       keeper_sealed(fd, WIRE_CERTIFICATES_MAX * sizeof(struct wire_certificate)) &&
	       fstat(fd, &st) == 0 &&
	       (size_t)st.st_size == m->count * sizeof(struct wire_certificate);
}

/* Takes the descriptor over. */
static void keeper_hear_rows(struct keeper *k, const struct wire_identities *m, int fd)
{
	struct keeper_identity *i = &k->identity;
	if (!keeper_rows_sound(m, fd)) {
		if (!k->mesh.nonsense_told)
			log_error("keeper",
				"the state process said of certificates what cannot be read");
		k->mesh.nonsense_told = true;
		if (fd >= 0)
			close(fd);
		return;
	}
	if (i->rows_fd >= 0)
		close(i->rows_fd);
	i->rows_fd = fd;
	i->rows = *m;
	i->rows_unsaid = true;
}

bool keeper_identity_hear(struct keeper *k, const union channel_message *m, size_t len, int fd)
{
	bool is_asked = m->head.kind == WIRE_REQUEST || m->head.kind == WIRE_CERTIFICATE ||
			m->head.kind == WIRE_TRUST;
	bool is_rows = m->head.kind == WIRE_IDENTITIES;
	if ((!is_asked || len != sizeof(m->identity)) && (!is_rows || len != sizeof(m->identities)))
		return false;
	if (is_rows && k->mesh.state == KEEPER_MESH_RUNNING) {
		keeper_hear_rows(k, &m->identities, fd);
		return true;
	}
	if (is_asked && k->mesh.state == KEEPER_MESH_RUNNING)
		keeper_hear_asked(k, &m->identity, fd);
	else if (fd >= 0)
		close(fd);
	return true;
}

int keeper_identity_tell(struct keeper *k)
{
	struct keeper_identity *i = &k->identity;
	struct wire_identities m = i->rows;
	m.head = keeper_head(WIRE_IDENTITIES);
	int r = keeper_child_say(&k->proxy, &m, sizeof(m), i->rows_fd);
	i->rows_unsaid = r < 0;
	return r;
}
