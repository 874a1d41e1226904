/* SPDX-License-Identifier: Apache-2.0 */
/* Between the certificates (room enroll) and the keeper, who has the keys: what is wanted becomes
 * messages, one at a time, and how it stands is told when it has changed, at most every second. */
#include "state_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STATE_ROWS_NS	    (1 * CLOCK_S)
#define STATE_REQUEST_BYTES (64u << 10)

void state_identity_init(struct state_process *s)
{
	s->identity.asked_fd = -1;
	task_init(&s->identity.news, STATE_TASK_ENROLL_NEWS);
}

int state_identity_configure(
	struct state_process *s, const struct conf *conf, const struct bundle *b, struct err *err)
{
	struct state_identity *i = &s->identity;
	/* Without one any more, the keeper ends this process. */
	if (conf->authority.server_count == 0)
		return 0;
	if (i->enroll)
		return enroll_configure(i->enroll, conf, b, err);
	return enroll_new(&s->loop, STATE_ENROLL_KIND, &i->news, conf, b, &i->enroll, err);
}

/* --- what the keeper is asked for --- */

/* Sealed: the keeper reads nothing that may still change. */
static int state_memfd_of(const void *bytes, size_t len)
{
	int fd = memfd_create("identity", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (write(fd, bytes, len) == (ssize_t)len &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) ==
			0)
		return fd;
	close(fd);
	return -EIO;
}

static int state_trust_memfd(const struct enroll_ask *ask)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	int r = bundle_add(&b, STR("roots"), ask->identity, ask->text, &err);
	if (r == 0 && ask->crls.len > 0)
		r = bundle_add(&b, STR("crl"), ask->identity, ask->crls, &err);
	if (r == 0)
		r = bundle_to_memfd(&b, &err);
	bundle_done(&b);
	return r;
}

/* The message; false: there is no room for it, and the room is told. */
static bool state_put_question(struct state_process *s, const struct enroll_ask *ask)
{
	struct state_identity *i = &s->identity;
	static const enum wire_kind kinds[] = {[ENROLL_ASK_REQUEST] = WIRE_REQUEST,
		[ENROLL_ASK_CERTIFICATE] = WIRE_CERTIFICATE,
		[ENROLL_ASK_TRUST] = WIRE_TRUST};
	int fd = -1;
	if (ask->kind == ENROLL_ASK_CERTIFICATE)
		fd = state_memfd_of(ask->text.at, ask->text.len);
	else if (ask->kind == ENROLL_ASK_TRUST)
		fd = state_trust_memfd(ask);
	i->asked = (struct wire_identity){.head = state_head(kinds[ask->kind])};
	snprintf(i->asked.identity, sizeof(i->asked.identity), STR_FMT, STR_ARG(ask->identity));
	if (fd < 0 && ask->kind != ENROLL_ASK_REQUEST) {
		enroll_kept(i->enroll, str_of(i->asked.identity), "out of memory");
		return false;
	}
	i->asked_fd = fd;
	i->unsaid = true;
	return true;
}

static void state_say_question(struct state_process *s)
{
	struct state_identity *i = &s->identity;
	if (!i->unsaid || !state_tell(s, &i->asked, sizeof(i->asked), i->asked_fd))
		return;
	i->unsaid = false;
	if (i->asked_fd >= 0)
		close(i->asked_fd);
	i->asked_fd = -1;
}

static void state_ask_keeper(struct state_process *s)
{
	struct state_identity *i = &s->identity;
	struct enroll_ask ask;
	state_say_question(s);
	while (!i->unsaid && enroll_ask(i->enroll, &ask)) {
		if (state_put_question(s, &ask))
			state_say_question(s);
	}
}

/* What cannot be asked now is not asked: the handshake fails and there will be another. */
static void state_ask_enroll_signatures(struct state_process *s)
{
	struct enroll *e = s->identity.enroll;
	struct enroll_sign question;
	while (enroll_sign(e, &question)) {
		struct wire_sign m = {.request = question.number | STATE_SIGN_ENROLL,
			.key_number = question.key_number,
			.algorithm = question.algorithm};
		if (!state_ask_signature(s, &m, question.bytes, question.len))
			enroll_sign_done(e, question.number, NULL, 0);
	}
}

void state_identity_after_step(struct state_process *s)
{
	if (!s->identity.enroll || s->leaving)
		return;
	state_ask_keeper(s);
	state_ask_enroll_signatures(s);
}

/* --- answers --- */

static void state_take_request(
	struct state_process *s, const char *identity, int fd, const char *why)
{
	char *bytes = malloc(STATE_REQUEST_BYTES);
	ssize_t n = bytes && fd >= 0 ? pread(fd, bytes, STATE_REQUEST_BYTES, 0) : -1;
	if (n <= 0 && !why[0])
		why = "the keeper gave no request";
	enroll_request(s->identity.enroll, str_of(identity),
		(struct str){bytes, n > 0 ? (size_t)n : 0}, why);
	free(bytes);
}

void state_identity_answer(struct state_process *s, const struct wire_identity *m, int fd)
{
	char identity[sizeof(m->identity)], why[sizeof(m->why)];
	if (!s->identity.enroll)
		return;
	snprintf(identity, sizeof(identity), "%.*s", (int)sizeof(identity) - 1, m->identity);
	snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1, m->why);
	if (m->head.kind == WIRE_REQUEST)
		state_take_request(s, identity, fd, why);
	else
		enroll_kept(s->identity.enroll, str_of(identity), why);
	state_identity_after_step(s);
}

void state_identity_signed(
	struct state_process *s, uint64_t request, const uint8_t *signature, size_t len)
{
	if (s->identity.enroll && !s->leaving)
		enroll_sign_done(s->identity.enroll, request & ~STATE_SIGN_ENROLL, signature, len);
}

/* --- how it stands --- */

_Static_assert((int)ENROLL_STATES == (int)WIRE_CERTIFICATE_STATES &&
		       (int)ENROLL_REVOKED == (int)WIRE_CERTIFICATE_REVOKED &&
		       (int)ENROLL_EXPIRED == (int)WIRE_CERTIFICATE_EXPIRED &&
		       (int)ENROLL_ENDING == (int)WIRE_CERTIFICATE_ENDING &&
		       (int)ENROLL_FAILING == (int)WIRE_CERTIFICATE_FAILING &&
		       (int)ENROLL_DUE == (int)WIRE_CERTIFICATE_DUE &&
		       (int)ENROLL_FRESH == (int)WIRE_CERTIFICATE_FRESH &&
		       (int)ENROLL_MISSING == (int)WIRE_CERTIFICATE_MISSING,
	"one order");

static void state_fill_row(struct wire_certificate *to, const struct enroll_row *row)
{
	*to = (struct wire_certificate){.is_trust = row->is_trust,
		.state = (uint32_t)row->state,
		.not_before_s = row->not_before_s,
		.not_after_s = row->not_after_s,
		.next_s = row->next_s,
		.renewed_count = row->renewed_count,
		.failed_count = row->failed_count};
	snprintf(to->identity, sizeof(to->identity), STR_FMT, STR_ARG(row->identity));
	memcpy(to->serial, row->serial, sizeof(to->serial));
	memcpy(to->served_serial, row->served_serial, sizeof(to->served_serial));
	memcpy(to->why, row->why, sizeof(to->why));
}

static struct wire_certificate *state_rows(const struct enroll *e, uint32_t *ret_count)
{
	struct enroll_row row;
	uint32_t count = 0;
	while (count < WIRE_CERTIFICATES_MAX && enroll_row(e, count, &row))
		count++;
	struct wire_certificate *rows = calloc((size_t)count + 1, sizeof(*rows));
	for (uint32_t i = 0; rows && i < count && enroll_row(e, i, &row); i++)
		state_fill_row(&rows[i], &row);
	*ret_count = count;
	return rows;
}

static bool state_tell_rows(
	struct state_process *s, struct wire_identities *m, const struct wire_certificate *rows)
{
	m->head = state_head(WIRE_IDENTITIES);
	int fd = state_memfd_of(rows, m->count * sizeof(*rows));
	bool told = fd >= 0 && state_tell(s, m, sizeof(*m), fd);
	if (fd >= 0)
		close(fd);
	return told;
}

static void state_look_at_rows(struct state_process *s)
{
	struct state_identity *i = &s->identity;
	struct wire_identities m = {.skew_s = enroll_skew_s(i->enroll)};
	struct wire_certificate *rows = state_rows(i->enroll, &m.count);
	i->rows_ns = s->loop.now_ns;
	if (!rows)
		return;
	uint64_t now = hash_bytes(1, &m.skew_s, sizeof(m.skew_s)) ^
		       hash_bytes(0, rows, m.count * sizeof(*rows));
	if (now != i->rows_told && state_tell_rows(s, &m, rows))
		i->rows_told = now;
	free(rows);
}

void state_identity_tick(struct state_process *s)
{
	struct state_identity *i = &s->identity;
	if (!i->enroll || s->leaving)
		return;
	state_ask_keeper(s);
	if (i->rows_ns == 0 || s->loop.now_ns - i->rows_ns >= STATE_ROWS_NS)
		state_look_at_rows(s);
}

/* --- end --- */

void state_identity_close(struct state_process *s)
{
	if (s->identity.enroll)
		enroll_close(s->identity.enroll);
}

bool state_identity_idle(const struct state_process *s)
{
	return !s->identity.enroll || enroll_idle(s->identity.enroll);
}

void state_identity_free(struct state_process *s)
{
	enroll_free(s->identity.enroll);
	if (s->identity.asked_fd >= 0)
		close(s->identity.asked_fd);
}
