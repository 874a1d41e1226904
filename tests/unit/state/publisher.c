/* SPDX-License-Identifier: Apache-2.0 */
#include "publisher.h"

#include "fake/store_fake.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void publisher_init(struct publisher *p)
{
	*p = (struct publisher){.key = known_key(), .time_s = 1764236129};
	object_set_init(&p->set);
}

void publisher_done(struct publisher *p)
{
	object_set_done(&p->set);
	operator_key_free(p->key);
}

char *publisher_head(const struct publisher *p)
{
	struct arena arena;
	struct head head = {.mesh = STR(MESH),
		.revision = p->revision,
		.time_s = p->time_s,
		.who = STR("alice")};
	arena_init(&arena, 1 << 16);
	head_set(&head, &p->set);
	struct str text = head_sign(&arena, &head, p->key);
	char *copy = text.at ? strndup(text.at, text.len) : NULL;
	arena_done(&arena);
	if (!copy)
		abort();
	return copy;
}

static void publisher_write(const struct publisher *p, struct str change)
{
	char id[32], news[48];
	char *head = publisher_head(p);
	snprintf(id, sizeof(id), "%llu-0", (unsigned long long)p->revision);
	snprintf(news, sizeof(news), "objects %llu", (unsigned long long)p->revision);
	server_set(KEY("head"), str_of(head), 0);
	server_stream_add(KEY("changes"), id, str_of(head), change);
	server_publish(KEY("news"), str_of(news));
	free(head);
}

void publisher_put(struct publisher *p, const char *key, const char *text)
{
	struct arena arena;
	struct object_set before;
	struct err err;
	uint32_t count;
	p->revision++;
	p->time_s++;
	arena_init(&arena, 1 << 20);
	if (object_set_copy(&p->set, &before, &err) < 0)
		abort();
	struct object o = {.text = str_of(text),
		.who = STR("alice"),
		.source = STR("mesh.conf:1"),
		.revision = p->revision,
		.time_s = p->time_s};
	if (text) {
		struct str envelope = object_envelope(&arena, &o);
		if (object_set_put(&p->set, str_of(key), envelope, &err) < 0)
			abort();
		server_hash_set(KEY("objects"), str_of(key), envelope);
	} else {
		object_set_remove(&p->set, str_of(key));
		server_hash_delete(KEY("objects"), str_of(key));
	}
	struct change *changes = change_between(&arena, &before, &p->set, &count);
	publisher_write(p, change_text(&arena, changes, count));
	object_set_done(&before);
	arena_done(&arena);
}
