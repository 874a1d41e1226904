/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on their way out, and answers on their way to the owner. Each command is in one list, in
 * order: pending until it is answered, one way or the other, and then answered until it is taken.
 */
#include "store_private.h"

#include <stdarg.h>
#include <stdlib.h>

static const char *const store_failure_names[] = {
	[STORE_OK] = "ok",
	[STORE_LOST] = "lost",
	[STORE_REFUSED] = "refused",
};

const char *store_failure_name(enum store_failure f)
{
	return store_failure_names[f];
}

static struct store_command *store_command_of(struct list *node)
{
	return node ? CONTAINER_OF(node, struct store_command, node) : NULL;
}

static struct store_message *store_message_of(struct list *node)
{
	return node ? CONTAINER_OF(node, struct store_message, node) : NULL;
}

/* --- commands --- */

void store_command_sent(struct store_command *c)
{
	if (c->bytes && c->question == STORE_QUESTION_AUTH)
		explicit_bzero(c->bytes, c->len);
	if (c->bytes)
		redisFreeCommand(c->bytes);
	c->bytes = NULL;
}

static void store_command_free(struct store_command *c)
{
	store_command_sent(c);
	if (c->reply)
		freeReplyObject(c->reply);
	free(c);
}

/* The words in the protocol's form, into `c`. */
static bool store_format(struct store_command *c, const struct str *words, size_t word_count)
{
	const char **texts = calloc(word_count, sizeof(*texts));
	size_t *lens = calloc(word_count, sizeof(*lens));
	long long len = -1;
	for (size_t i = 0; texts && lens && i < word_count; i++) {
		texts[i] = words[i].len > 0 ? words[i].at : "";
		lens[i] = words[i].len;
	}
	if (texts && lens)
		len = redisFormatCommandArgv(&c->bytes, (int)word_count, texts, lens);
	free(texts);
	free(lens);
	c->len = len > 0 ? (size_t)len : 0;
	return len > 0;
}

bool store_ask(struct store *s, enum store_question question, uint64_t tag, const struct str *words,
	size_t word_count)
{
	struct store_command *c = calloc(1, sizeof(*c));
	if (!c)
		return false;
	c->question = question;
	c->tag = tag;
	if (!store_format(c, words, word_count)) {
		free(c);
		return false;
	}
	if (list_empty(&s->pending))
		s->asked_ns = s->loop->now_ns;
	list_add_last(&s->pending, &c->node);
	if (!s->filling)
		s->filling = c;
	s->command_count++;
	s->queued_bytes += c->len;
	loop_ready(s->loop, &s->task);
	return true;
}

bool store_send(struct store *s, uint64_t tag, const struct str *words, size_t word_count)
{
	size_t bytes = 0;
	for (size_t i = 0; i < word_count; i++)
		bytes += words[i].len;
	if (s->state != STORE_READY || s->settings.channel.len > 0 || word_count == 0 ||
		word_count > INT32_MAX || s->command_count >= STORE_COMMANDS_MAX ||
		bytes > STORE_QUEUED_MAX || s->queued_bytes + bytes > STORE_QUEUED_MAX)
		return false;
	return store_ask(s, STORE_QUESTION_OWNER, tag, words, word_count);
}

bool store_say(struct store *s, uint64_t tag, const char *word, ...)
{
	struct str words[STORE_SAY_MAX];
	size_t count = 0;
	va_list args;
	va_start(args, word);
	const char *w = word;
	for (; w && count < STORE_SAY_MAX; w = va_arg(args, const char *))
		words[count++] = str_of(w);
	va_end(args);
	return !w && store_send(s, tag, words, count);
}

/* --- answers --- */

static void store_answered(struct store *s, struct store_command *c)
{
	list_add_last(&s->answered, &c->node);
	s->untaken_bytes += c->reply_bytes;
	store_news(s);
}

/* What came without a question: a message of the channel, or the answer to a PING. */
static void store_take_push(struct store *s, redisReply *reply, size_t bytes)
{
	bool pong = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2;
	bool message = reply->type == REDIS_REPLY_ARRAY && reply->elements == 3;
	for (size_t i = 0; (pong || message) && i < reply->elements; i++) {
		if (reply->element[i]->type != REDIS_REPLY_STRING)
			pong = message = false;
	}
	struct store_message *m = message ? calloc(1, sizeof(*m)) : NULL;
	if (m && s->message_count < STORE_PUSHES_MAX) {
		m->reply = reply;
		m->reply_bytes = bytes;
		list_add_last(&s->messages, &m->node);
		s->message_count++;
		s->untaken_bytes += bytes;
		store_news(s);
		return;
	}
	free(m);
	char text[STORE_SHOWN_MAX];
	if (message)
		store_fail(s, "more than %d messages not taken", STORE_PUSHES_MAX);
	else if (!pong)
		store_fail(s, "said where only messages may be: %s", store_shown(s, reply, text));
	freeReplyObject(reply);
}

void store_take_reply(struct store *s, redisReply *reply, size_t bytes)
{
	struct store_command *c =
		list_empty(&s->pending) ? NULL : store_command_of(s->pending.next);
	if (!c && s->state == STORE_READY && s->settings.channel.len > 0) {
		store_take_push(s, reply, bytes);
		return;
	}
	char text[STORE_SHOWN_MAX];
	if (!c || c->bytes) {
		store_fail(s, "said without a question: %s", store_shown(s, reply, text));
		freeReplyObject(reply);
		return;
	}
	list_remove(&c->node);
	s->asked_ns = s->loop->now_ns;
	if (c->question != STORE_QUESTION_OWNER) {
		enum store_question question = c->question;
		s->command_count--;
		store_command_free(c);
		store_greeted(s, question, reply);
		return;
	}
	c->reply = reply;
	c->reply_bytes = bytes;
	c->failure = reply->type == REDIS_REPLY_ERROR ? STORE_REFUSED : STORE_OK;
	store_answered(s, c);
	if (store_reply_leads_away(reply))
		store_fail(s, "%s", store_shown(s, reply, text));
}

void store_blame(struct store *s)
{
	struct store_command *c =
		list_empty(&s->pending) ? NULL : store_command_of(s->pending.next);
	if (c)
		c->is_unreadable = !c->bytes;
}

void store_lose(struct store *s)
{
	struct store_command *c;
	while ((c = store_command_of(list_pop(&s->pending)))) {
		if (c->question == STORE_QUESTION_OWNER) {
			store_command_sent(c);
			c->failure = STORE_LOST;
			store_answered(s, c);
		} else {
			s->command_count--;
			store_command_free(c);
		}
	}
	s->filling = NULL;
	s->queued_bytes = 0;
}

/* The owner has taken something: reading goes on, and if it stood still, so does the time that the
 * server has. */
static void store_taken(struct store *s, size_t bytes)
{
	bool withheld = store_withheld(s);
	s->untaken_bytes -= bytes;
	if (withheld && !store_withheld(s))
		s->asked_ns = s->heard_ns = s->loop->now_ns;
	loop_ready(s->loop, &s->task);
}

bool store_answer(struct store *s, struct store_answer *ret_answer)
{
	struct store_command *c = store_command_of(list_pop(&s->answered));
	if (!c)
		return false;
	*ret_answer = (struct store_answer){c->tag, c->failure, c->reply, c->is_unreadable};
	s->command_count--;
	store_taken(s, c->reply_bytes);
	c->reply = NULL;
	store_command_free(c);
	return true;
}

void store_answer_done(struct store *s, struct store_answer *answer)
{
	if (answer->reply)
		freeReplyObject(answer->reply);
	answer->reply = NULL;
}

redisReply *store_push(struct store *s)
{
	struct store_message *m = store_message_of(list_pop(&s->messages));
	if (!m)
		return NULL;
	redisReply *reply = m->reply;
	s->message_count--;
	store_taken(s, m->reply_bytes);
	free(m);
	return reply;
}

void store_queue_free(struct store *s)
{
	struct store_command *c;
	struct store_answer answer;
	redisReply *reply;
	while ((c = store_command_of(list_pop(&s->pending))))
		store_command_free(c);
	while (store_answer(s, &answer))
		store_answer_done(s, &answer);
	while ((reply = store_push(s)))
		freeReplyObject(reply);
}
