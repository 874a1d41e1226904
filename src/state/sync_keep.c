/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept on disk for the next start, and read at it. */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define KEEP_BAD_MAX_NS (300 * CLOCK_S)

static int sync_load_objects(struct sync *s, const struct bundle *b, struct err *err)
{
	const struct bundle_item *head_item = bundle_next(b, "head", NULL), *item = NULL;
	struct object_set set;
	struct head head;
	int r = 0;
	if (!head_item)
		return 0;
	object_set_init(&set);
	while (r == 0 && (item = bundle_next(b, "object", item)))
		r = object_set_put(&set, item->name, item->text, err);
	if (r == 0)
		r = head_verify(head_item->text, s->mesh, s->operators, &head, err);
	if (r == 0 && !head_fits(&head, &set))
		r = err_set(err, EBADMSG, "its objects are not those that its head is signed for");
	if (r == 0)
		r = mirror_take_objects(&s->mirror, head_item->text, &head, &set, err);
	object_set_done(&set);
	return r;
}

static int sync_load_file(struct sync *s, const char *name, struct err *err)
{
	struct bundle b;
	const struct bundle_item *item = NULL;
	bundle_init(&b);
	int r = disk_load(s->dir_fd, name, &b, err);
	/* A torn one must not take the place of the one before. */
	if (r < 0 && r != -ENOENT)
		(void)renameat(s->dir_fd, name, s->dir_fd, DISK_FILE_TORN);
	if (r == 0)
		r = sync_load_objects(s, &b, err);
	while (r == 0 && (item = bundle_next(&b, "node", item))) {
		r = mirror_take_record(&s->mirror, item->name, item->text, err);
		r = r < 0 ? r : 0;
	}
	while (r == 0 && (item = bundle_next(&b, "rollout", item))) {
		r = mirror_load_rollout(&s->mirror, item, err);
		r = r < 0 ? r : 0;
	}
	bundle_done(&b);
	return r;
}

void sync_load(struct sync *s)
{
	static const char *const names[] = {DISK_FILE, DISK_FILE_OLD};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct err err;
		int r = sync_load_file(s, names[i], &err);
		if (r == 0) {
			s->is_loaded = true;
			log_info("state",
				"begins with what was last known: revision %" PRIu64
				" of the objects, %u nodes",
				mirror_revision(&s->mirror), s->mirror.node_count);
			return;
		}
		mirror_done(&s->mirror);
		mirror_init(&s->mirror);
		if (r == -ENOENT)
			continue;
		s->refused_count++;
		log_error("state", "the kept state is refused: %s", err.text);
	}
}

/* The disk may be full for a while; nothing else may change meanwhile, so it is tried again. */
static void sync_save_later(struct sync *s, const struct err *why)
{
	uint64_t wait_ns = s->save_wait_ns ? 2 * s->save_wait_ns : 2 * KEEP_NS;
	s->save_wait_ns = wait_ns < KEEP_BAD_MAX_NS ? wait_ns : KEEP_BAD_MAX_NS;
	timer_set(s->loop, &s->save, s->loop->now_ns + s->save_wait_ns);
	sync_refuse(s, s->save_why, sizeof(s->save_why),
		"what is known cannot be kept for the next start: %s", why->text);
}

void sync_save(struct sync *s)
{
	struct bundle b;
	struct err err;
	timer_clear(s->loop, &s->save);
	if (!s->is_loaded || s->saved_change == s->mirror.change_count)
		return;
	bundle_init(&b);
	int r = mirror_keep(&s->mirror, s->node, &b, &err);
	if (r == 0)
		r = disk_save(s->dir_fd, &b, &err);
	bundle_done(&b);
	if (r < 0) {
		sync_save_later(s, &err);
		return;
	}
	s->saved_change = s->mirror.change_count;
	s->save_wait_ns = 0;
	if (s->save_why[0])
		log_info("state", "what is known is kept for the next start again");
	s->save_why[0] = '\0';
}
