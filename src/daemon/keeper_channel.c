/* SPDX-License-Identifier: Apache-2.0 */
/* There is no queue of messages: what is still to be said follows from what has been said (the
 * opening: start, listeners, signers, plan, in this order) and from the `_unsaid` marks. So a proxy
 * process that does not read costs no memory, and a new one hears everything again. */
#include "keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages heard in one go, so that a busy proxy process cannot keep the keeper from its other
 * work.
 */
#define KEEPER_HEAR_BATCH 32

/* --- opening and closing --- */

static void keeper_signer_close(struct keeper_signer *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->proxy_fd >= 0)
		close(s->proxy_fd);
	*s = (struct keeper_signer){.fd = -1, .proxy_fd = -1};
}

void keeper_channel_close(struct keeper *k)
{
	if (k->channel_fd >= 0)
		close(k->channel_fd);
	k->channel_fd = -1;
	for (uint32_t i = 0; i < k->worker_count; i++)
		keeper_signer_close(&k->signers[i]);
}

static int keeper_pair(int *ret_ours, int *ret_theirs)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	*ret_ours = fds[0];
	*ret_theirs = fds[1];
	return 0;
}

int keeper_channel_open(struct keeper *k, int *ret_fd, struct err *err)
{
	int theirs = -1, r = keeper_pair(&k->channel_fd, &theirs);
	for (uint32_t i = 0; i < k->worker_count && r == 0; i++)
		r = keeper_pair(&k->signers[i].fd, &k->signers[i].proxy_fd);
	if (r < 0) {
		if (theirs >= 0)
			close(theirs);
		keeper_channel_close(k);
		return err_set(err, -r, "socketpair: %s", strerror(-r));
	}
	k->said = 0;
	k->next_unsaid = k->drain_unsaid = k->ping_unsaid = k->log_unsaid = false;
	k->pong_ns = 0;
	*ret_fd = theirs;
	return 0;
}

/* --- saying --- */

static struct wire_head keeper_head(enum wire_kind kind)
{
	return (struct wire_head){.magic = WIRE_MAGIC, .kind = (uint32_t)kind};
}

static int keeper_say_start(struct keeper *k)
{
	struct wire_start m = {.head = keeper_head(WIRE_START),
		.worker_count = k->worker_count,
		.listener_count = k->listeners.count,
		.restart_count = k->start_count - 1};
	if (getrandom(&m.seed, sizeof(m.seed), 0) != sizeof(m.seed))
		m.seed = clock_monotonic_ns();
	return channel_send(k->channel_fd, &m, sizeof(m), -1);
}

static int keeper_say_listener(struct keeper *k, const struct keeper_listener *l)
{
	struct wire_listener m = {.head = keeper_head(WIRE_LISTENER),
		.listener_kind = (uint32_t)l->kind,
		.worker = l->worker,
		.address = l->address};
	return channel_send(k->channel_fd, &m, sizeof(m), l->fd);
}

static int keeper_say_signer(struct keeper *k, uint32_t worker)
{
	struct keeper_signer *s = &k->signers[worker];
	struct wire_signer m = {.head = keeper_head(WIRE_SIGNER), .worker = worker};
	int r = channel_send(k->channel_fd, &m, sizeof(m), s->proxy_fd);
	if (r == 0) {
		close(s->proxy_fd);
		s->proxy_fd = -1;
	}
	return r;
}

static int keeper_say_plan(struct keeper *k, const struct keeper_plan *plan)
{
	struct wire_plan m = {.head = keeper_head(WIRE_PLAN), .generation = plan->generation};
	return channel_send(k->channel_fd, &m, sizeof(m), plan->memfd);
}

static int keeper_say_log(struct keeper *k)
{
	for (uint32_t i = 0; i < k->listeners.count; i++) {
		if (k->listeners.list[i].kind == WIRE_LISTENER_ACCESS_LOG)
			return keeper_say_listener(k, &k->listeners.list[i]);
	}
	return 0;
}

static uint32_t keeper_opening_count(const struct keeper *k)
{
	return 1 + k->listeners.count + k->worker_count + 1;
}

static int keeper_say_opening(struct keeper *k)
{
	uint32_t i = k->said;
	if (i == 0)
		return keeper_say_start(k);
	i -= 1;
	if (i < k->listeners.count)
		return keeper_say_listener(k, &k->listeners.list[i]);
	i -= k->listeners.count;
	if (i < k->worker_count)
		return keeper_say_signer(k, i);
	return keeper_say_plan(k, k->current);
}

static int keeper_say_drain(struct keeper *k)
{
	struct wire_head m = keeper_head(WIRE_DRAIN);
	return channel_send(k->channel_fd, &m, sizeof(m), -1);
}

static int keeper_say_ping(struct keeper *k)
{
	struct wire_ping m = {.head = keeper_head(WIRE_PING), .number = k->ping_number};
	return channel_send(k->channel_fd, &m, sizeof(m), -1);
}

bool keeper_channel_wants_write(const struct keeper *k)
{
	return k->channel_fd >= 0 &&
	       (k->said < keeper_opening_count(k) || k->log_unsaid || k->next_unsaid ||
		       k->note_unsaid || k->drain_unsaid || k->ping_unsaid);
}

/* Says one thing; the order is the order of the cases. */
static int keeper_say(struct keeper *k)
{
	int r;
	if (k->said < keeper_opening_count(k)) {
		r = keeper_say_opening(k);
		k->said += r == 0;
	} else if (k->log_unsaid) {
		r = keeper_say_log(k);
		k->log_unsaid = r < 0;
	} else if (k->next_unsaid) {
		r = keeper_say_plan(k, k->next);
		k->next_unsaid = r < 0;
	} else if (k->note_unsaid) {
		r = channel_send(k->channel_fd, &k->note, sizeof(k->note), -1);
		k->note_unsaid = r < 0;
	} else if (k->drain_unsaid) {
		r = keeper_say_drain(k);
		k->drain_unsaid = r < 0;
	} else {
		r = keeper_say_ping(k);
		k->ping_unsaid = r < 0;
	}
	return r;
}

void keeper_channel_write(struct keeper *k)
{
	while (keeper_channel_wants_write(k)) {
		int r = keeper_say(k);
		if (r == -EAGAIN)
			return;
		if (r < 0) {
			/* The process is gone or going; its death is what we act upon. */
			close(k->channel_fd);
			k->channel_fd = -1;
		}
	}
}

void keeper_note(struct keeper *k, uint64_t generation, const char *text)
{
	k->note = (struct wire_note){.head = keeper_head(WIRE_NOTE),
		.wall_ns = clock_wall_ns(),
		.generation = generation,
		.ok = 0};
	snprintf(k->note.text, sizeof(k->note.text), "%s", text);
	k->note_unsaid = true;
}

/* --- hearing --- */

static void keeper_hear_ready(struct keeper *k, uint64_t generation, uint64_t now_ns)
{
	if (k->state == KEEPER_STATE_STARTING && generation == k->current->generation) {
		keeper_move(k, KEEPER_STATE_RUNNING, 0);
		k->ready_once = true;
	} else if (k->next && generation == k->next->generation) {
		keeper_plan_retire(k, k->current, now_ns);
		k->current = k->next;
		k->next = NULL;
	} else {
		return;
	}
	log_info("keeper", "generation %" PRIu64 " is in force", generation);
	notify_send(&k->notify, "READY=1\nSTATUS=serving, generation %" PRIu64, generation);
}

static void keeper_hear_refused(struct keeper *k, const struct wire_note *note)
{
	char text[sizeof(note->text)];
	memcpy(text, note->text, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_error("keeper", "the proxy process refuses generation %" PRIu64 ":", note->generation);
	keeper_log_text(LOG_LEVEL_ERROR, text);
	if (k->next && note->generation == k->next->generation) {
		keeper_plan_free(k->next);
		k->next = NULL;
		keeper_note(k, note->generation, text);
		notify_send(&k->notify,
			"READY=1\nSTATUS=reload refused, generation %" PRIu64 " stays",
			k->current->generation);
	} else if (!k->ready_once && note->generation == k->current->generation) {
		/* It would refuse the same again. */
		k->exit_status = 1;
		k->stop_asked = true;
	}
}

static void keeper_hear(
	struct keeper *k, const union channel_message *m, size_t len, uint64_t now_ns)
{
	if (m->head.kind == WIRE_READY && len == sizeof(m->ready)) {
		keeper_hear_ready(k, m->ready.generation, now_ns);
	} else if (m->head.kind == WIRE_REFUSED && len == sizeof(m->note)) {
		keeper_hear_refused(k, &m->note);
	} else if (m->head.kind == WIRE_RELOAD) {
		log_info("keeper", "reload asked for through the admin socket");
		k->reload_asked = true;
	} else if (m->head.kind == WIRE_STOP) {
		log_info("keeper", "stop asked for through the admin socket");
		k->stop_asked = true;
	} else if (m->head.kind == WIRE_PONG && len == sizeof(m->ping)) {
		k->pong_ns = now_ns;
	} else {
		log_warning("keeper", "the proxy process said something unknown (%u, %zu bytes)",
			m->head.kind, len);
	}
}

void keeper_channel_read(struct keeper *k, uint64_t now_ns)
{
	union channel_message m;
	size_t len;
	int passed_fd;
	for (int i = 0; i < KEEPER_HEAR_BATCH && k->channel_fd >= 0; i++) {
		int r = channel_receive(k->channel_fd, CHANNEL_NO_WAIT, &m, &len, &passed_fd);
		if (r == -EAGAIN)
			return;
		if (r != 0) {
			/* Closed or broken: no more to hear; SIGCHLD says the rest. */
			close(k->channel_fd);
			k->channel_fd = -1;
			return;
		}
		if (passed_fd >= 0)
			close(passed_fd);
		keeper_hear(k, &m, len, now_ns);
	}
}

/* --- signatures --- */

static int keeper_sign_with_any(struct keeper *k, const struct wire_sign *m, struct wire_signed *a)
{
	size_t len = 0;
	int r = -ENOENT;
	struct keeper_plan *plans[] = {k->current, k->next};
	for (size_t i = 0; i < ARRAY_LEN(plans) && r == -ENOENT; i++) {
		if (plans[i] && plans[i]->keyring)
			r = keyring_sign(plans[i]->keyring, m->key_number, m->algorithm, m->bytes,
				m->len, a->bytes, &len);
	}
	LIST_EACH (&k->retired, it) {
		if (r != -ENOENT)
			break;
		const struct keeper_plan *plan = CONTAINER_OF(it, struct keeper_plan, node);
		r = keyring_sign(plan->keyring, m->key_number, m->algorithm, m->bytes, m->len,
			a->bytes, &len);
	}
	a->len = (uint32_t)len;
	return r;
}

/* A proxy process that asks for what it may not have is broken or taken over: worth a line, but not
 * one for each time. */
static void keeper_sign_one(struct keeper *k, const struct wire_sign *m, struct wire_signed *answer)
{
	*answer = (struct wire_signed){.head = keeper_head(WIRE_SIGNED), .request = m->request};
	bool sound = m->head.magic == WIRE_MAGIC && m->head.kind == WIRE_SIGN &&
		     m->len <= sizeof(m->bytes);
	int r = sound ? keeper_sign_with_any(k, m, answer) : -EPERM;
	if (r < 0 && k->refused_count++ == 0)
		log_warning("keeper", "no signature with key %u, algorithm 0x%04x: %s",
			m->key_number, m->algorithm, strerror(-r));
}

static bool keeper_sign_answer(struct keeper_signer *s)
{
	int r = channel_send(s->fd, s->answers, s->answer_count * sizeof(s->answers[0]), -1);
	if (r == -EAGAIN)
		return false;
	s->answer_count = 0;
	if (r < 0)
		keeper_signer_close(s);
	return r == 0;
}

static void keeper_sign_all(
	struct keeper *k, struct keeper_signer *s, const struct wire_sign *questions, size_t len)
{
	size_t count = len / sizeof(*questions);
	if (count == 0 || count > WIRE_SIGN_BATCH || len % sizeof(*questions) != 0)
		return;
	for (size_t i = 0; i < count; i++)
		keeper_sign_one(k, &questions[i], &s->answers[i]);
	s->answer_count = (uint32_t)count;
	(void)keeper_sign_answer(s);
}

/* One message a time: poll() tells of the next, and the other workers have their turn. */
void keeper_sign(struct keeper *k, struct keeper_signer *s)
{
	_Static_assert(
		sizeof(s->answers[0].bytes) == KEYRING_SIGNATURE_MAX, "room for any signature");
	union channel_message m;
	size_t len;
	int passed_fd;
	if (s->answer_count > 0 && !keeper_sign_answer(s))
		return;
	int r = channel_receive(s->fd, CHANNEL_NO_WAIT, &m, &len, &passed_fd);
	if (r == -EAGAIN)
		return;
	if (r != 0) {
		keeper_signer_close(s);
		return;
	}
	if (passed_fd >= 0)
		close(passed_fd);
	if (m.head.kind == WIRE_SIGN)
		keeper_sign_all(k, s, m.sign, len);
}
