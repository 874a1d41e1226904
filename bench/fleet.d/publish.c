/* SPDX-License-Identifier: Apache-2.0 */
#include "publish.h"

#include "base/clock.h"
#include "state/client.h"
#include "state/layout.h"
#include "state/object.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PUBLISH_ARENA_BYTES (256u << 20)
#define PUBLISH_TIME_S	    1764236129u /* of the first revision */
#define PUBLISH_TIMEOUT_MS  20000

/* --- the objects --- */

static int publish_put(struct arena *arena, struct object_set *set, const char *kind,
	uint32_t number, struct str text, uint64_t revision, struct err *err)
{
	const struct object parts = {
		.revision = revision,
		.time_s = PUBLISH_TIME_S + revision,
		.who = STR("bench"),
		.source = STR("fleet.conf:1"),
		.text = text,
	};
	struct str key = arena_printf(arena, "%s-%04u", kind, number);
	struct str envelope = text.at ? object_envelope(arena, &parts) : STR_NONE;
	if (!key.at || !envelope.at)
		return err_set(err, ENOMEM, "out of memory");
	return object_set_put(set, key, envelope, err);
}

static int publish_service(struct arena *arena, struct object_set *set, uint32_t number,
	uint64_t revision, struct err *err)
{
	struct str text = arena_printf(arena,
		"services: ( { name = \"service-%04u\"; protocol = \"%s\"; port = 8080; } );\n",
		number, revision % 2 ? "http" : "detect");
	return publish_put(arena, set, "service/service", number, text, revision, err);
}

static int publish_policy(struct arena *arena, struct object_set *set, uint32_t number,
	uint32_t services, struct err *err)
{
	struct str text = arena_printf(arena,
		"policies: ( { name = \"policy-%04u\"; service = \"service-%04u\"; action = "
		"\"allow\"; from = [ \"service-%04u\", \"service-%04u\" ]; methods = [ \"GET\", "
		"\"POST\" ]; paths = [ \"/api/*\" ]; } );\n",
		number, number % services, (number + 1) % services, (number + 2) % services);
	return publish_put(arena, set, "policy/policy", number, text, 1, err);
}

/* The whole mesh as of a revision; empty as of 0. */
static int publish_make(struct arena *arena, const struct publish_options *o, uint64_t revision,
	struct object_set *set, struct err *err)
{
	int r = 0;
	object_set_init(set);
	for (uint32_t i = 0; r == 0 && revision > 0 && i < o->services; i++)
		r = publish_service(arena, set, i, i == 0 ? revision : 1, err);
	for (uint32_t i = 0; r == 0 && revision > 0 && i < o->policies; i++)
		r = publish_policy(arena, set, i, o->services, err);
	return r;
}

/* --- the transaction --- */

static int publish_ask(struct client *c, const struct str *words, size_t count, struct err *err)
{
	redisReply *reply = NULL;
	int r = client_ask(c, words, count, &reply, err);
	if (r == 0 && reply->type == REDIS_REPLY_NIL)
		r = err_set(err, EAGAIN, "somebody else published meanwhile");
	if (r == 0)
		freeReplyObject(reply);
	return r;
}

static int publish_objects(struct client *c, struct str key, const struct change *changes,
	uint32_t count, struct err *err)
{
	struct str *words = calloc(2 + 2 * (size_t)count, sizeof(*words));
	if (!words)
		return err_set(err, ENOMEM, "out of memory");
	words[0] = STR("HSET");
	words[1] = key;
	for (uint32_t i = 0; i < count; i++) {
		words[2 + 2 * i] = changes[i].key;
		words[3 + 2 * i] = changes[i].envelope;
	}
	int r = publish_ask(c, words, 2 + 2 * (size_t)count, err);
	free(words);
	return r;
}

static int publish_send(struct client *c, const struct publish_options *o, struct str head,
	struct str change, const struct change *changes, uint32_t count, struct err *err)
{
	char keys[4][LAYOUT_KEY_MAX], id[32], news[40];
	struct str mesh = str_of(o->mesh);
	snprintf(id, sizeof(id), "%" PRIu64 "-0", o->revision);
	snprintf(news, sizeof(news), "objects %" PRIu64, o->revision);
	const struct str multi[] = {STR("MULTI")}, exec[] = {STR("EXEC")};
	const struct str set[] = {STR("SET"), layout_key(keys[0], mesh, "head", STR_NONE), head};
	const struct str add[] = {STR("XADD"), layout_key(keys[1], mesh, "changes", STR_NONE),
		STR("MAXLEN"), STR("~"), STR(LAYOUT_CHANGES_KEPT), str_of(id), STR("head"), head,
		STR("change"), change};
	const struct str tell[] = {
		STR("PUBLISH"), layout_key(keys[2], mesh, "news", STR_NONE), str_of(news)};
	int r = publish_ask(c, multi, ARRAY_LEN(multi), err);
	if (r == 0)
		r = publish_objects(
			c, layout_key(keys[3], mesh, "objects", STR_NONE), changes, count, err);
	if (r == 0)
		r = publish_ask(c, set, ARRAY_LEN(set), err);
	if (r == 0)
		r = publish_ask(c, add, ARRAY_LEN(add), err);
	if (r == 0)
		r = publish_ask(c, tell, ARRAY_LEN(tell), err);
	return r == 0 ? publish_ask(c, exec, ARRAY_LEN(exec), err) : r;
}

/* --- the whole --- */

static int publish_revision(struct client *c, const struct publish_options *o, struct arena *arena,
	const struct operator_key *key, const struct object_set sets[2],
	struct publish_result *ret_result, struct err *err)
{
	struct head head = {
		.mesh = str_of(o->mesh),
		.revision = o->revision,
		.time_s = clock_wall_ns() / CLOCK_S,
		.who = STR("bench"),
		.why = STR("a bench"),
	};
	uint32_t count;
	struct change *changes = change_between(arena, &sets[0], &sets[1], &count);
	struct str change = changes ? change_text(arena, changes, count) : STR_NONE;
	head_set(&head, &sets[1]);
	struct str text = head_sign(arena, &head, key);
	if (!change.at || !text.at)
		return err_set(err, ENOMEM, "out of memory");
	ret_result->object_bytes = sets[1].bytes;
	ret_result->change_bytes = change.len;
	ret_result->head_bytes = text.len;
	ret_result->sent_ns = clock_monotonic_ns();
	int r = publish_send(c, o, text, change, changes, count, err);
	ret_result->done_ns = clock_monotonic_ns();
	return r;
}

static int publish_make_both(struct client *c, const struct publish_options *o,
	const struct operator_key *key, struct publish_result *ret_result, struct err *err)
{
	struct object_set sets[2];
	struct arena arena;
	arena_init(&arena, PUBLISH_ARENA_BYTES);
	int r = publish_make(&arena, o, o->revision - 1, &sets[0], err);
	if (r == 0) {
		r = publish_make(&arena, o, o->revision, &sets[1], err);
		if (r == 0)
			r = publish_revision(c, o, &arena, key, sets, ret_result, err);
		object_set_done(&sets[1]);
	}
	object_set_done(&sets[0]);
	arena_done(&arena);
	return r;
}

int publish(const struct publish_options *o, struct publish_result *ret_result, struct err *err)
{
	const struct store_settings settings = {
		.addresses = &o->redis,
		.address_count = 1,
		.timeout_ms = PUBLISH_TIMEOUT_MS,
		.reply_bytes_max = 1u << 20,
		.client_name = STR("ringmain-bench"),
	};
	struct operator_key *key = NULL;
	struct client *c = NULL;
	*ret_result = (struct publish_result){0};
	int r = operator_key_load(o->key, &key, err);
	if (r == 0)
		r = client_open(&settings, &c, err);
	if (r == 0) {
		r = publish_make_both(c, o, key, ret_result, err);
		client_close(c);
	}
	operator_key_free(key);
	return r;
}
