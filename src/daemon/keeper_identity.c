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
#include "keys/keep.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPER_CHAIN_BYTES_MAX (64u << 10)
#define KEEPER_TRUST_BYTES_MAX (1u << 20)
#define KEEPER_TOGETHER_NS     (50 * CLOCK_MS)	/* what comes within is one plan */
#define KEEPER_APART_NS	       (500 * CLOCK_MS) /* between two of these plans */
#define KEEPER_ASKED_MAX       200		/* a second: each waits for the disk */

/* --- answers --- */

void keeper_identity_init(struct keeper *k)
{
	k->identity = (struct keeper_identity){.rows_fd = -1};
	for (size_t i = 0; i < KEEPER_ANSWERS; i++)
		k->identity.answers[i].fd = -1;
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
	for (size_t j = 0; j < KEEPER_ANSWERS; j++)
		keeper_answer_clear(&i->answers[j]);
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
	snprintf(a->m.why, sizeof(a->m.why), "%s", why);
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
	struct str service = STR("service/"), node = STR("node/");
	if (str_starts(identity, node)) {
		struct str name = {identity.at + node.len, identity.len - node.len};
		return str_eq(name, conf->node_name);
	}
	if (!str_starts(identity, service))
		return false;
	struct str name = {identity.at + service.len, identity.len - service.len};
	for (uint32_t i = 0; i < conf->workload_count; i++) {
		if (str_eq(name, conf->workloads[i].service))
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

/* --- doing it --- */

/* Opened for each call: so it is what the configuration says now, with permissions as they are. */
static int keeper_keep_open(const struct keeper *k, struct keep **ret_keep, struct err *err)
{
	const struct conf *conf = k->current->conf;
	return keep_open(conf->authority.keep_dir.at, conf->trust_domain, ret_keep, err);
}

static int keeper_memfd_of(struct str bytes, struct err *err)
{
	int fd = memfd_create("request", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool ok = fd >= 0 && write(fd, bytes.at, bytes.len) == (ssize_t)bytes.len &&
		  fcntl(fd, F_ADD_SEALS,
			  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
	if (ok)
		return fd;
	int r = err_set(err, errno, "memfd: %m");
	if (fd >= 0)
		close(fd);
	return r;
}

/* The request's descriptor, or -errno. */
static int keeper_make_request(struct keeper *k, struct str identity, struct err *err)
{
	struct keep *keep;
	struct str der;
	int r = keeper_keep_open(k, &keep, err);
	if (r < 0)
		return r;
	r = keep_request(keep, identity, &der, err);
	keep_close(keep);
	if (r < 0)
		return r;
	r = keeper_memfd_of(der, err);
	free((char *)(uintptr_t)der.at);
	return r;
}

static int keeper_read_memfd(int fd, size_t bytes_max, struct str *ret_text, struct err *err)
{
	struct stat st;
	if (fd < 0 || !keeper_sealed(fd, bytes_max) || fstat(fd, &st) < 0)
		return err_set(
			err, EINVAL, "not a sealed text of at most %zu KiB", bytes_max >> 10);
	char *text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	ssize_t n = pread(fd, text, (size_t)st.st_size, 0);
	*ret_text = (struct str){text, n < 0 ? 0 : (size_t)n};
	return 0;
}

static int keeper_keep_certificate(struct keeper *k, struct str identity, int fd, struct err *err)
{
	struct keep *keep;
	struct str chain;
	int r = keeper_read_memfd(fd, KEEPER_CHAIN_BYTES_MAX, &chain, err);
	if (r < 0)
		return r;
	r = keeper_keep_open(k, &keep, err);
	if (r == 0) {
		r = keep_certificate(
			keep, identity, chain, (int64_t)(clock_wall_ns() / CLOCK_S), err);
		keep_close(keep);
	}
	free((char *)(uintptr_t)chain.at);
	return r;
}

static int keeper_keep_trust(struct keeper *k, struct str trust_domain, int fd, struct err *err)
{
	struct keep *keep;
	struct bundle b;
	if (fd < 0 || !keeper_sealed(fd, KEEPER_TRUST_BYTES_MAX))
		return err_set(err, EINVAL, "not a sealed bundle of at most %u KiB",
			KEEPER_TRUST_BYTES_MAX >> 10);
	bundle_init(&b);
	int r = bundle_from_memfd(&b, fd, err);
	if (r == 0)
		r = keeper_keep_open(k, &keep, err);
	if (r == 0) {
		const struct bundle_item *roots = bundle_find(&b, "roots", trust_domain);
		const struct bundle_item *crl = bundle_find(&b, "crl", trust_domain);
		r = keep_trust(keep, trust_domain, roots ? roots->text : STR_NONE,
			crl ? crl->text : STR_NONE, err);
		keep_close(keep);
	}
	bundle_done(&b);
	return r;
}

/* --- plans of it --- */

static void keeper_identity_kept(struct keeper *k, const char *what, struct str of, uint64_t now_ns)
{
	struct keeper_identity *i = &k->identity;
	log_info("keeper", "new %s of " STR_FMT, what, STR_ARG(of));
	if (i->plan_ns != 0)
		return;
	i->plan_ns = now_ns + KEEPER_TOGETHER_NS;
	if (i->planned_ns != 0 && i->plan_ns < i->planned_ns + KEEPER_APART_NS)
		i->plan_ns = i->planned_ns + KEEPER_APART_NS;
}

static bool keeper_identity_may_plan(const struct keeper *k)
{
	bool idle = k->state == KEEPER_STATE_RUNNING || k->state == KEEPER_STATE_WAITING;
	return k->identity.plan_ns != 0 && idle && !k->next;
}

void keeper_identity_step(struct keeper *k, uint64_t now_ns)
{
	struct keeper_identity *i = &k->identity;
	if (!keeper_identity_may_plan(k) || now_ns < i->plan_ns)
		return;
	i->plan_ns = 0;
	i->planned_ns = now_ns;
	keeper_reload(k, KEEPER_SCOPE_WATCHED, now_ns);
}

uint64_t keeper_identity_until_ns(const struct keeper *k)
{
	return keeper_identity_may_plan(k) ? k->identity.plan_ns : UINT64_MAX;
}

/* --- hearing --- */

static void keeper_hear_asked(
	struct keeper *k, const struct wire_identity *heard, int fd, uint64_t now_ns)
{
	struct err err = {.text = ""};
	struct wire_identity m = *heard;
	m.identity[sizeof(m.identity) - 1] = '\0';
	struct str identity = str_of(m.identity);
	int r = keeper_check_asked(k, m.head.kind, identity, &err);
	if (r == 0 && m.head.kind == WIRE_REQUEST) {
		r = keeper_make_request(k, identity, &err);
		keeper_answer(k, &m, r < 0 ? -1 : r, r < 0 ? err.text : "");
	} else if (r == 0 && m.head.kind == WIRE_CERTIFICATE) {
		r = keeper_keep_certificate(k, identity, fd, &err);
		keeper_answer(k, &m, -1, r < 0 ? err.text : "");
		if (r == 0)
			keeper_identity_kept(k, "certificate", identity, now_ns);
	} else if (r == 0) {
		r = keeper_keep_trust(k, identity, fd, &err);
		keeper_answer(k, &m, -1, r < 0 && r != -EALREADY ? err.text : "");
		if (r == 0)
			keeper_identity_kept(k, "anchors or revocations", identity, now_ns);
	} else {
		keeper_answer(k, &m, -1, err.text);
	}
	if (r < 0 && r != -EALREADY && r != -EBUSY)
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

bool keeper_identity_hear(
	struct keeper *k, const union channel_message *m, size_t len, int fd, uint64_t now_ns)
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
		keeper_hear_asked(k, &m->identity, fd, now_ns);
	if (fd >= 0)
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
