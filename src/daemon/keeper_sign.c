/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures. Each socket may use the keys of its kind and no others: the proxy process those of
 * the workloads' identities, the state process those it shows to the store and to the authority. */
#include "keeper.h"

#include "base/log.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

void keeper_signer_init(struct keeper_signer *s, enum keeper_keys keys)
{
	*s = (struct keeper_signer){.keys = keys, .fd = -1, .passed_fd = -1};
}

int keeper_signer_open(struct keeper_signer *s)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	s->fd = fds[0];
	s->passed_fd = fds[1];
	return 0;
}

void keeper_signer_close(struct keeper_signer *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->passed_fd >= 0)
		close(s->passed_fd);
	keeper_signer_init(s, s->keys);
}

static int keeper_sign_with_keyring(
	const struct keyring *keyring, const struct wire_sign *m, struct wire_signed *a)
{
	size_t len = 0;
	if (!keyring)
		return -ENOENT;
	int r = keyring_sign(
		keyring, m->key_number, m->algorithm, m->bytes, m->len, a->bytes, &len);
	a->len = (uint32_t)len;
	return r;
}

/* -ENOENT: the plan, if there is one, does not have this key for this socket. */
static int keeper_sign_with(const struct keeper_plan *plan, enum keeper_keys keys,
	const struct wire_sign *m, struct wire_signed *a)
{
	if (!plan)
		return -ENOENT;
	if (keys == KEEPER_KEYS_IDENTITIES)
		return keeper_sign_with_keyring(plan->keyring, m, a);
	int r = keeper_sign_with_keyring(plan->mesh_keyring, m, a);
	return r == -ENOENT ? keeper_sign_with_keyring(plan->node_keyring, m, a) : r;
}

static int keeper_sign_with_any(
	struct keeper *k, enum keeper_keys keys, const struct wire_sign *m, struct wire_signed *a)
{
	int r = keeper_sign_with(k->current, keys, m, a);
	if (r == -ENOENT)
		r = keeper_sign_with(k->next, keys, m, a);
	LIST_EACH (&k->retired, it) {
		if (r != -ENOENT)
			break;
		r = keeper_sign_with(CONTAINER_OF(it, struct keeper_plan, node), keys, m, a);
	}
	return r;
}

/* A child that asks for what it may not have is broken or taken over: worth a line, but not one for
 * each time. */
static void keeper_sign_one(struct keeper *k, enum keeper_keys keys, const struct wire_sign *m,
	struct wire_signed *answer)
{
	*answer = (struct wire_signed){.head = keeper_head(WIRE_SIGNED), .request = m->request};
	bool sound = m->head.magic == WIRE_MAGIC && m->head.kind == WIRE_SIGN &&
		     m->len <= sizeof(m->bytes);
	int r = sound ? keeper_sign_with_any(k, keys, m, answer) : -EPERM;
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
		keeper_sign_one(k, s->keys, &questions[i], &s->answers[i]);
	s->answer_count = (uint32_t)count;
	(void)keeper_sign_answer(s);
}

/* One message a time: poll() tells of the next, and the others have their turn. */
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
