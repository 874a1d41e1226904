/* SPDX-License-Identifier: Apache-2.0 */
/* A loop with one store in it, turned until there is what the caller waits for. */
#include "client_private.h"

#include "base/clock.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

enum { CLIENT_TASK_STORE = 1, CLIENT_TASK_OWNER };

#define CLIENT_WORDS_MAX 64

static void client_turn(struct client *c)
{
	struct task *t;
	loop_wait(&c->loop);
	while ((t = loop_next(&c->loop))) {
		if (t->kind == CLIENT_TASK_STORE)
			store_step(store_of(t));
	}
}

static int client_wait_ready(struct client *c, struct err *err)
{
	uint64_t before = store_rounds_in_vain(c->store);
	while (store_state(c->store) != STORE_READY) {
		if (store_rounds_in_vain(c->store) != before)
			return err_set(err, EHOSTUNREACH, "the store of the mesh's state: %s",
				store_why(c->store));
		client_turn(c);
	}
	return 0;
}

static int client_start(struct client *c, const struct store_settings *settings, struct err *err)
{
	static const struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 16384, .block_count = 16};
	int r = loop_init(&c->loop, &limits, clock_monotonic_ns(), err);
	if (r < 0)
		return r;
	struct store_settings copy = *settings;
	if (c->key)
		copy.tls_key = c->key;
	r = ring_enable(&c->loop.ring, err);
	if (r == 0) {
		task_init(&c->owner, CLIENT_TASK_OWNER);
		c->store = store_new(&c->loop, CLIENT_TASK_STORE, &c->owner, &copy);
		r = c->store ? client_wait_ready(c, err) : err_set(err, ENOMEM, "out of memory");
	}
	if (r < 0 && !c->store)
		loop_done(&c->loop);
	return r;
}

int client_open_key(const struct store_settings *settings, struct tls_key *key,
	struct client **ret_client, struct err *err)
{
	struct client *c = calloc(1, sizeof(*c));
	if (!c) {
		tls_key_free(key);
		return err_set(err, ENOMEM, "out of memory");
	}
	c->key = key;
	int r = client_start(c, settings, err);
	if (r < 0)
		client_close(c);
	else
		*ret_client = c;
	return r;
}

int client_open(const struct store_settings *settings, struct client **ret_client, struct err *err)
{
	return client_open_key(settings, NULL, ret_client, err);
}

void client_close(struct client *c)
{
	if (!c)
		return;
	if (c->store) {
		store_close(c->store);
		while (store_state(c->store) != STORE_CLOSED)
			client_turn(c);
		store_free(c->store);
		loop_done(&c->loop);
	}
	tls_key_free(c->key);
	free(c);
}

const struct address *client_address(const struct client *c)
{
	return store_address(c->store);
}

static int client_judge(
	struct client *c, struct store_answer *answer, redisReply **ret_reply, struct err *err)
{
	int r = 0;
	switch (answer->failure) {
	case STORE_OK:
		*ret_reply = answer->reply;
		return 0;
	case STORE_LOST:
		r = err_set(err, EPIPE, "the store of the mesh's state: %s", store_why(c->store));
		break;
	case STORE_REFUSED:
		r = err_set(err, EREMOTEIO, "%.*s", (int)answer->reply->len, answer->reply->str);
		break;
	}
	store_answer_done(c->store, answer);
	return r;
}

void client_hold(struct client *c)
{
	c->is_held = true;
	c->held_life = 0;
}

void client_let_go(struct client *c)
{
	c->is_held = false;
}

/* The connection is ready: is it the one that is wanted? */
static int client_check_life(struct client *c, struct err *err)
{
	uint64_t life = store_life(c->store);
	if (c->held_life == 0)
		c->held_life = life;
	return c->is_held && c->held_life != life ? err_set(err, EPIPE,
							    "the store of the mesh's state: the "
							    "connection was lost on the way")
						  : 0;
}

int client_ask(struct client *c, const struct str *words, size_t word_count, redisReply **ret_reply,
	struct err *err)
{
	struct store_answer answer;
	int r = client_wait_ready(c, err);
	if (r == 0)
		r = client_check_life(c, err);
	if (r < 0)
		return r;
	if (!store_send(c->store, ++c->tag, words, word_count))
		return err_set(err, E2BIG, "too large a command for the store");
	while (!store_answer(c->store, &answer))
		client_turn(c);
	ASSERT(answer.tag == c->tag);
	return client_judge(c, &answer, ret_reply, err);
}

int client_say(struct client *c, redisReply **ret_reply, struct err *err, const char *word, ...)
{
	struct str words[CLIENT_WORDS_MAX];
	size_t count = 0;
	va_list args;
	va_start(args, word);
	for (const char *w = word; w; w = va_arg(args, const char *)) {
		ASSERT(count < CLIENT_WORDS_MAX);
		words[count++] = str_of(w);
	}
	va_end(args);
	return client_ask(c, words, count, ret_reply, err);
}
