/* SPDX-License-Identifier: Apache-2.0 */
#include "signer.h"

#include <string.h>

void signature_init(struct signature *s, struct task *owner)
{
	list_init(&s->node);
	s->owner = owner;
	s->answered = false;
	s->len = 0;
}

void signer_init(struct signer *s, struct loop *loop, int fd, uint16_t task_kind)
{
	*s = (struct signer){.loop = loop, .fd = fd};
	task_init(&s->task, task_kind);
	op_init(&s->send, &s->task);
	op_init(&s->recv, &s->task);
	list_init(&s->queued);
	list_init(&s->asked);
}

static void signer_arm_recv(struct signer *s)
{
	if (!s->recv.armed && !s->broken)
		ring_read(&s->loop->ring, &s->recv, s->fd, s->receiving, sizeof(s->receiving));
}

void signer_start(struct signer *s)
{
	signer_arm_recv(s);
}

static void signer_answer(
	struct signer *s, struct signature *wanted, const uint8_t *bytes, size_t len)
{
	list_remove(&wanted->node);
	wanted->len = len <= sizeof(wanted->bytes) ? (uint16_t)len : 0;
	if (wanted->len > 0)
		memcpy(wanted->bytes, bytes, wanted->len);
	wanted->answered = true;
	loop_ready(s->loop, wanted->owner);
}

static void signer_refuse_all(struct signer *s, struct list *waiting)
{
	while (!list_empty(waiting))
		signer_answer(s, CONTAINER_OF(waiting->next, struct signature, node), NULL, 0);
}

/* One message at a time is on its way, with all that was asked until then: the keeper is quick, and
 * a wake-up of it, and of us, serves several. */
static void signer_send_next(struct signer *s)
{
	if (s->send.armed || s->broken || list_empty(&s->queued))
		return;
	uint32_t count = 0;
	while (count < WIRE_SIGN_BATCH && !list_empty(&s->queued)) {
		struct signature *next = CONTAINER_OF(s->queued.next, struct signature, node);
		list_remove(&next->node);
		list_add_last(&s->asked, &next->node);
		s->sending[count++] = next->question;
	}
	s->sending_count = count;
	ring_send(&s->loop->ring, &s->send, s->fd, s->sending, count * sizeof(s->sending[0]));
}

void signer_ask(struct signer *s, struct signature *wanted, const struct tls_sign_request *request)
{
	wanted->answered = false;
	wanted->len = 0;
	list_add_last(&s->queued, &wanted->node);
	if (s->broken || request->len > WIRE_SIGN_BYTES_MAX) {
		signer_answer(s, wanted, NULL, 0);
		return;
	}
	wanted->question = (struct wire_sign){
		.head = {.magic = WIRE_MAGIC, .kind = WIRE_SIGN},
		.request = ++s->last_number,
		.key_number = request->key_number,
		.algorithm = request->algorithm,
		.len = (uint16_t)request->len,
	};
	memcpy(wanted->question.bytes, request->bytes, request->len);
	loop_ready(s->loop, &s->task); /* behind those who may ask in this turn, too */
}

void signer_forget(struct signature *wanted)
{
	list_remove(&wanted->node);
	wanted->answered = false;
}

static void signer_take_answer(struct signer *s, const struct wire_signed *answer)
{
	LIST_EACH (&s->asked, it) {
		struct signature *wanted = CONTAINER_OF(it, struct signature, node);
		if (wanted->question.request == answer->request) {
			signer_answer(s, wanted, answer->bytes, answer->len);
			return;
		}
	}
}

/* False: nonsense. */
static bool signer_take_answers(struct signer *s)
{
	int32_t size = (int32_t)sizeof(s->receiving[0]);
	if (s->recv.result <= 0 || s->recv.result % size != 0)
		return false;
	for (int32_t i = 0; i < s->recv.result / size; i++) {
		const struct wire_signed *answer = &s->receiving[i];
		if (answer->head.magic != WIRE_MAGIC || answer->head.kind != WIRE_SIGNED)
			return false;
		signer_take_answer(s, answer);
	}
	return true;
}

static void signer_break(struct signer *s)
{
	s->broken = true;
	signer_refuse_all(s, &s->queued);
	signer_refuse_all(s, &s->asked);
}

void signer_step(struct signer *s)
{
	if (s->send.fresh) {
		s->send.fresh = false;
		if (s->send.result != (int32_t)(s->sending_count * sizeof(s->sending[0])))
			signer_break(s);
	}
	if (s->recv.fresh) {
		s->recv.fresh = false;
		if (!signer_take_answers(s))
			signer_break(s);
	}
	signer_send_next(s);
	signer_arm_recv(s);
}

bool signer_close(struct signer *s)
{
	if (!s->broken)
		signer_break(s);
	if (s->send.armed)
		ring_cancel(&s->loop->ring, &s->send);
	if (s->recv.armed)
		ring_cancel(&s->loop->ring, &s->recv);
	return !s->send.armed && !s->recv.armed;
}
