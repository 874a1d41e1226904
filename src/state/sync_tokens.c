/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of limits that hold for the whole mesh, from the store into the memory that is shared with
 * the proxy process. Over a connection of their own: behind the objects of a large mesh an answer
 * would come a window too late. There is none before there are limits.
 *
 * A turn comes every 20 ms; it looks at which keys were asked for, and says nothing to the store
 * when none was. What matters to the data path is said with each turn, too: whether the store is to
 * be believed. It is not any more when it has been gone, silent or refusing for half a second; nor
 * when this process has been silent itself for a second. Then limits do what they say of that.
 *
 *     BELIEVED ── gone, silent, refusing ──▶ DOUBTED ── half a second ──▶ AWAY
 *        ▲                                     │                           │
 *        └──────────── an answer that is none of these ────────────────────┘          */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "state/layout.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TOKENS_PATIENCE_NS (500 * CLOCK_MS)
#define TOKENS_BELIEF_NS   (1 * CLOCK_S)
#define TOKENS_LAZY_NS	   (200 * CLOCK_MS) /* between turns when there are no such limits */
#define TOKENS_RETRY_NS	   (250 * CLOCK_MS) /* the same while the store refuses */
#define TOKENS_REPLY_MAX   (1u << 20)
#define TOKENS_TAG_TIME	   UINT64_MAX
/* The store's time is asked for again, while tokens are taken and while not. */
#define TOKENS_CLOCK_NS	     (2 * CLOCK_S)
#define TOKENS_CLOCK_IDLE_NS (30 * CLOCK_S)
/* By so much of the time that passes two clocks may drift apart. */
#define TOKENS_DRIFT_PPM 200

/* --- belief --- */

static bool tokens_is_ready(const struct sync_tokens *t)
{
	return t->store && store_state(t->store) == STORE_READY;
}

static void tokens_doubt(struct sync *s, uint64_t since_ns, const char *why)
{
	struct sync_tokens *t = &s->tokens;
	if (t->doubted_ns == 0)
		t->doubted_ns = since_ns;
	snprintf(t->why, sizeof(t->why), "%s", why);
}

static void tokens_trust(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	t->doubted_ns = 0;
	t->is_refusing = false;
	t->why[0] = '\0';
}

int sync_tokens_init(struct sync *s, struct err *err)
{
	if (!s->ledger)
		return 0;
	if (!book_init(&s->tokens.book, s->ledger))
		return err_set(err, ENOMEM, "out of memory");
	timer_set(s->loop, &s->tokens.turn, s->loop->now_ns);
	return 0;
}

void sync_tokens_done(struct sync *s)
{
	book_done(&s->tokens.book);
}

/* Once when it is away, and once when it is back. */
static void tokens_log(struct sync_tokens *t, bool is_away)
{
	if (t->is_away == is_away)
		return;
	t->is_away = is_away;
	t->away_count += is_away;
	if (is_away)
		log_error("state",
			"limits of the whole mesh are not kept up, each does what its when_away "
			"says: %s",
			t->why);
	else
		log_info("state", "limits of the whole mesh are kept up again");
}

/* Whether some limit is for the whole mesh is the proxy's to know: any limit will do. */
static bool tokens_is_wanted(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	if (t->looked_change != s->mirror.change_count) {
		t->looked_change = s->mirror.change_count;
		t->has_limits = false;
		OBJECT_EACH (&s->mirror.objects, it)
			t->has_limits =
				t->has_limits || str_eq(object_key_kind(it->key), STR("limit"));
	}
	return t->has_limits || book_is_busy(&t->book);
}

/* It has answered once, and is not there now: lost, or never reached since the settings changed. */
static bool tokens_is_gone(struct sync *s)
{
	const struct sync_tokens *t = &s->tokens;
	bool was_there = t->life > 0 || t->is_clock_known;
	return was_there && !tokens_is_ready(t) && (t->store || tokens_is_wanted(s));
}

/* What the data path may think of the store, until the next turn or a second at most. */
static void tokens_believe(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	uint64_t now_ns = s->loop->now_ns;
	if (tokens_is_gone(s))
		tokens_doubt(s, now_ns, "the store is gone");
	else if (t->book.away_count > 0 && now_ns - t->heard_ns > TOKENS_PATIENCE_NS)
		tokens_doubt(s, t->heard_ns, "the store does not answer");
	bool is_away = !t->is_clock_known ||
		       (t->doubted_ns != 0 && now_ns - t->doubted_ns >= TOKENS_PATIENCE_NS);
	uint64_t until_ns =
		t->doubted_ns != 0 ? t->doubted_ns + TOKENS_PATIENCE_NS : now_ns + TOKENS_BELIEF_NS;
	lease_set_believed(s->ledger, is_away ? 0 : until_ns);
	if (t->is_clock_known)
		tokens_log(t, is_away);
}

/* --- the store's clock --- */

static void tokens_ask_time(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	bool is_busy = book_is_busy(&t->book);
	uint64_t wait_ns = is_busy ? TOKENS_CLOCK_NS : TOKENS_CLOCK_IDLE_NS;
	bool is_due = !t->is_clock_known || s->loop->now_ns - t->clock_ns >= wait_ns;
	if (t->time_sent_ns != 0 || !is_due || !store_say(t->store, TOKENS_TAG_TIME, "TIME", NULL))
		return;
	t->time_sent_ns = s->loop->now_ns;
}

static bool tokens_time_of(const redisReply *r, uint64_t *ret_ns)
{
	uint64_t parts[2];
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2)
		return false;
	for (size_t i = 0; i < 2; i++) {
		const redisReply *e = r->element[i];
		if (e->type != REDIS_REPLY_STRING ||
			!str_to_u64((struct str){e->str, e->len}, &parts[i]))
			return false;
	}
	*ret_ns = parts[0] * CLOCK_S + parts[1] * 1000;
	return parts[0] < UINT64_MAX / CLOCK_S / 2 && parts[1] < 1000000;
}

/* The answer was made some time between question and answer. One that is known better stays, as
 * long as the two agree: then it is only drift. */
static void tokens_set_clock(struct sync *s, uint64_t store_ns)
{
	struct sync_tokens *t = &s->tokens;
	uint64_t now_ns = s->loop->now_ns, error_ns = (now_ns - t->time_sent_ns) / 2;
	int64_t clock_ns = (int64_t)(store_ns - (now_ns - error_ns));
	uint64_t drift_ns = (now_ns - t->clock_ns) / 1000000 * TOKENS_DRIFT_PPM;
	uint64_t apart_ns = (uint64_t)llabs(clock_ns - t->clock_offset_ns);
	uint64_t known_ns = t->clock_error_ns + drift_ns;
	if (t->is_clock_known && apart_ns <= known_ns + error_ns && known_ns < error_ns) {
		t->clock_error_ns = known_ns;
	} else {
		t->clock_offset_ns = clock_ns;
		t->clock_error_ns = error_ns;
	}
	t->clock_ns = now_ns;
	t->is_clock_known = true;
	lease_set_clock(s->ledger, t->clock_offset_ns);
}

/* --- commands --- */

/* "<id in hexadecimal>:<window>" */
static struct str tokens_name(const struct book_command *c, char text[64])
{
	int len = snprintf(text, 64, "%016" PRIx64 "%016" PRIx64 ":%" PRIu64, c->id.word[0],
		c->id.word[1], c->window);
	return (struct str){text, (size_t)len};
}

static bool tokens_send(struct sync *s, const struct book_command *c)
{
	struct store *store = s->tokens.store;
	char key[LAYOUT_KEY_MAX], name[64], count[24], keep[24];
	(void)sync_key(s, key, "tokens", tokens_name(c, name));
	snprintf(count, sizeof(count), "%" PRIu32, c->count);
	snprintf(keep, sizeof(keep), "%" PRIu64, c->keep_ms);
	switch (c->kind) {
	case BOOK_BORN:
		return store_say(store, c->tag, "SET", key, "0", "PX", keep, "NX", NULL);
	case BOOK_TAKE:
		return store_say(store, c->tag, "INCRBY", key, count, NULL);
	case BOOK_LOOK:
		/* No more than shows that it is no number: any node may have put a text of any
		 * length there, which this connection is not to break on. */
		return store_say(store, c->tag, "GETRANGE", key, "0", "31", NULL);
	case BOOK_BACK:
		return store_say(store, c->tag, "DECRBY", key, count, NULL);
	case BOOK_KEEP:
		return store_say(store, c->tag, "PEXPIRE", key, keep, NULL);
	}
	return false;
}

static void tokens_send_all(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	struct book_command c;
	if (t->book.away_count == 0)
		t->heard_ns = s->loop->now_ns;
	while (book_next(&t->book, &c)) {
		t->command_count++;
		if (!tokens_send(s, &c))
			book_answer(&t->book, c.tag, BOOK_FAILED, 0, s->loop->now_ns);
	}
}

/* --- answers --- */

/* An error that is about what stands in one key, which any node could have written. */
static bool tokens_is_garbled(const redisReply *r)
{
	struct str text = {r->str, r->len};
	return str_starts(text, STR("WRONGTYPE")) || str_starts(text, STR("ERR value is not")) ||
	       str_starts(text, STR("ERR increment or decrement"));
}

static enum book_outcome tokens_number(const redisReply *r, int64_t *ret_number)
{
	char text[24];
	char *end;
	*ret_number = 0;
	switch (r->type) {
	case REDIS_REPLY_INTEGER:
		*ret_number = r->integer;
		return BOOK_TOLD;
	case REDIS_REPLY_STRING:
		if (r->len >= sizeof(text))
			return BOOK_GARBLED;
		memcpy(text, r->str, r->len);
		text[r->len] = '\0';
		*ret_number = strtoll(text, &end, 10);
		return *end ? BOOK_GARBLED : BOOK_TOLD;
	case REDIS_REPLY_NIL: /* the number is there already */
	case REDIS_REPLY_STATUS:
		return BOOK_TOLD;
	default:
		return BOOK_FAILED;
	}
}

static void tokens_refused(struct sync *s, const char *text)
{
	struct sync_tokens *t = &s->tokens;
	char why[sizeof(t->why)];
	snprintf(why, sizeof(why), "the store refuses: %.150s", text);
	t->refused_count++;
	t->is_refusing = true;
	tokens_doubt(s, s->loop->now_ns, why);
}

static void tokens_answer(struct sync *s, const struct store_answer *answer)
{
	struct sync_tokens *t = &s->tokens;
	enum book_outcome outcome = BOOK_FAILED;
	int64_t number = 0;
	t->heard_ns = s->loop->now_ns;
	if (answer->tag == TOKENS_TAG_TIME) {
		uint64_t store_ns;
		if (answer->failure == STORE_OK && tokens_time_of(answer->reply, &store_ns)) {
			tokens_set_clock(s, store_ns);
			/* That it tells the time does not say that it takes numbers. */
			if (!t->is_refusing)
				tokens_trust(s);
		} else
			tokens_refused(s, answer->reply && answer->reply->str ? answer->reply->str
									      : "no time");
		t->time_sent_ns = 0;
		return;
	}
	if (answer->failure == STORE_OK)
		outcome = tokens_number(answer->reply, &number);
	else if (tokens_is_garbled(answer->reply))
		outcome = BOOK_GARBLED;
	if (outcome == BOOK_FAILED)
		tokens_refused(s, answer->reply->str ? answer->reply->str : "no number");
	else if (!t->is_refusing || book_is_write(answer->tag))
		tokens_trust(s);
	if (outcome == BOOK_GARBLED)
		sync_refuse(s, t->garbled_why, sizeof(t->garbled_why),
			"the store has no number of tokens for some key of a limit: its when_away "
			"holds for a window");
	book_answer(&t->book, answer->tag, outcome, number, s->loop->now_ns);
}

static void tokens_take_answers(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	struct store_answer answer;
	bool is_lost = false;
	while (store_answer(t->store, &answer)) {
		if (answer.failure == STORE_LOST)
			is_lost = true;
		else if (!is_lost)
			tokens_answer(s, &answer);
		store_answer_done(t->store, &answer);
	}
	if (is_lost)
		sync_tokens_lost(s);
}

void sync_tokens_view(const struct sync *s, struct state_view *view)
{
	view->tokens_away = s->tokens.is_away;
	view->tokens_total = s->tokens.book.granted_total;
	view->token_commands_total = s->tokens.command_count;
	view->tokens_refused_total = s->tokens.refused_count;
}

void sync_tokens_lost(struct sync *s)
{
	book_lost(&s->tokens.book);
	s->tokens.time_sent_ns = 0;
}

/* --- the turn --- */

static void tokens_open(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	struct store_settings settings = s->settings;
	settings.reply_bytes_max = TOKENS_REPLY_MAX;
	t->store = store_new(
		s->loop, (uint16_t)(s->kind_first + SYNC_KIND_TOKENS), &s->task, &settings);
	t->life = 0;
}

/* Another server, or the same after a while; its clock may be another. */
static void tokens_connected(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	t->life = store_life(t->store);
	t->heard_ns = s->loop->now_ns;
	sync_tokens_lost(s);
	t->clock_ns = 0;
}

static void tokens_turn(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	uint64_t wait_ns = t->store ? BOOK_TURN_NS : TOKENS_LAZY_NS;
	book_look(&t->book);
	if (!t->store && tokens_is_wanted(s))
		tokens_open(s);
	if (tokens_is_ready(t)) {
		tokens_ask_time(s);
		if (t->is_clock_known && t->clock_ns != 0)
			book_turn(&t->book, s->loop->now_ns);
		tokens_send_all(s);
		/* One that refuses is not asked fifty times a second. */
		if (t->doubted_ns != 0)
			wait_ns = TOKENS_RETRY_NS;
	}
	timer_set(s->loop, &t->turn, s->loop->now_ns + wait_ns);
}

void sync_tokens_step(struct sync *s)
{
	struct sync_tokens *t = &s->tokens;
	if (!s->ledger)
		return;
	if (t->store)
		tokens_take_answers(s);
	if (tokens_is_ready(t) && store_life(t->store) != t->life) {
		tokens_connected(s);
		timer_set(s->loop, &t->turn, s->loop->now_ns);
	}
	if (t->turn.fired)
		tokens_turn(s);
	/* What an answer leads to: tokens to be given back. */
	if (tokens_is_ready(t) && t->book.queue_count > 0)
		tokens_send_all(s);
	tokens_believe(s);
}
