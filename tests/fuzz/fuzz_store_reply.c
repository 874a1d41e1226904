/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a server or a Sentinel says, in whatever pieces: nothing breaks but the connection, each
 * command is answered once and in order, what waits to be taken is bounded, and no password shows.
 * The first byte chooses what kind of connection it is, the second the pieces; each connection that
 * the store makes hears the rest from the start, a few times over. */
#include "state/store.h"

#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "fuzz/fuzz.h"
#include <string.h>

#define FUZZ_REPLY_BYTES_MAX 4096
#define FUZZ_CONNECTIONS     6
#define FUZZ_PASSWORD	     "s3cret-word"

enum fuzz_task { FUZZ_OWNER = 1, FUZZ_STORE };
enum fuzz_kind { FUZZ_SENTINEL = 1, FUZZ_CHANNEL = 2, FUZZ_AUTH = 4, FUZZ_LAZY = 8 };

struct fuzz {
	struct loop loop;
	struct task owner;
	struct store *store;
	uint8_t kind;
	uint64_t asked, answered;
	size_t taken;
};

static void fuzz_step(struct task *t)
{
	if (t->kind == FUZZ_STORE)
		store_step(store_of(t));
}

static void fuzz_take(struct fuzz *f)
{
	struct store_answer answer;
	redisReply *push;
	size_t untaken = 0;
	while (store_answer(f->store, &answer)) {
		ASSERT(answer.tag == f->answered);
		ASSERT(answer.failure == STORE_LOST ? !answer.reply : answer.reply != NULL);
		untaken += answer.reply && answer.reply->str ? (size_t)answer.reply->len : 0;
		f->answered++;
		store_answer_done(f->store, &answer);
	}
	while ((push = store_push(f->store))) {
		ASSERT(push->elements == 3 && push->element[2]->str);
		untaken += (size_t)push->element[2]->len;
		freeReplyObject(push);
	}
	ASSERT(untaken <= 2 * FUZZ_REPLY_BYTES_MAX);
}

static void fuzz_check(const struct fuzz *f)
{
	const char *why = store_why(f->store);
	ASSERT(f->answered <= f->asked);
	for (const char *c = why; *c; c++)
		ASSERT(*c >= ' ' && *c <= '~');
	ASSERT(!(f->kind & FUZZ_AUTH) || !strstr(why, FUZZ_PASSWORD));
}

static void fuzz_talk(struct fuzz *f, const uint8_t *bytes, size_t len, size_t piece)
{
	while (len > 0) {
		size_t n = len < piece ? len : piece;
		int fd = fake_opened(fake_opened_count() - 1);
		if (!fake_is_open(fd))
			return;
		while (f->asked - f->answered < 3 &&
			store_say(f->store, f->asked, "GET", "a", NULL))
			f->asked++;
		fake_pump(&f->loop, fuzz_step, NULL);
		if (!fake_is_open(fd))
			return;
		fake_peer_send(fd, bytes, n);
		fake_pump(&f->loop, fuzz_step, NULL);
		fuzz_check(f);
		if (!(f->kind & FUZZ_LAZY))
			fuzz_take(f);
		bytes += n;
		len -= n;
	}
}

static void fuzz_start(struct fuzz *f)
{
	struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 4096, .block_count = 8};
	struct address addresses[2] = {
		{.family = AF_INET, .ip = {10, 0, 0, 1}, .port = 6379},
		{.family = AF_INET, .ip = {10, 0, 0, 2}, .port = 6379},
	};
	struct store_settings settings = {.addresses = addresses,
		.address_count = ARRAY_LEN(addresses),
		.timeout_ms = 1000,
		.reply_bytes_max = FUZZ_REPLY_BYTES_MAX};
	struct err err;
	if (f->kind & FUZZ_SENTINEL)
		settings.sentinel = STR("mesh");
	if (f->kind & FUZZ_CHANNEL)
		settings.channel = STR("news");
	if (f->kind & FUZZ_AUTH)
		settings.password = STR(FUZZ_PASSWORD);
	fake_init();
	ASSERT(loop_init(&f->loop, &limits, 1, &err) == 0);
	task_init(&f->owner, FUZZ_OWNER);
	f->store = store_new(&f->loop, FUZZ_STORE, &f->owner, &settings);
	ASSERT(f->store);
	fake_pump(&f->loop, fuzz_step, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 2)
		return 0;
	struct fuzz f = {.kind = bytes[0]};
	size_t piece = 1u + bytes[1];
	fuzz_start(&f);
	for (uint32_t i = 0; i < FUZZ_CONNECTIONS; i++) {
		fuzz_talk(&f, bytes + 2, len - 2, piece);
		fuzz_take(&f);
		/* What was not said in time, and the wait for the next try. */
		fake_run(&f.loop, fuzz_step, NULL, 12 * CLOCK_S);
		fuzz_check(&f);
	}
	store_close(f.store);
	fake_pump(&f.loop, fuzz_step, NULL);
	fuzz_take(&f);
	ASSERT(f.answered == f.asked && store_state(f.store) == STORE_CLOSED);
	store_free(f.store);
	loop_done(&f.loop);
	fake_done();
	return 0;
}
