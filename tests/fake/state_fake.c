/* SPDX-License-Identifier: Apache-2.0 */
/* A sync without a store and checks that check nothing, for the state process alone. What is asked
 * of the sync stands, one line each, in the file "sync" of its directory. It has a picture after
 * each configuration, and one question to be signed. A checked workload is well as soon as a child
 * of the process has ended, and there is one. */
#include "health/health.h"
#include "state/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct sync {
	struct task task;
	struct loop *loop;
	struct task *owner;
	int dir_fd;
	uint64_t picture_number, handed_number;
	uint32_t key_number;
	bool asked, drained, closed;
	bool up[2];
};

static void sync_fake_note(struct sync *s, const char *format, ...) PRINTF_LIKE(2, 3);
static void sync_fake_note(struct sync *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int fd = openat(s->dir_fd, "sync", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	vdprintf(fd, format, args);
	close(fd);
	va_end(args);
}

static int sync_fake_take(struct sync *s, const struct bundle *b, struct err *err)
{
	const struct bundle_item *secret = bundle_next(b, "secret", NULL);
	const struct bundle_item *key = bundle_next(b, "pki-key", NULL);
	if (secret && str_eq(secret->text, STR("wrong")))
		return err_set(err, EINVAL, "the fake does not like this secret");
	s->key_number = key ? (uint32_t)strtoul(key->text.at, NULL, 10) : 0;
	s->picture_number++;
	loop_ready(s->loop, &s->task);
	loop_ready(s->loop, s->owner);
	return 0;
}

int sync_new(struct loop *loop, uint16_t kind_first, struct task *owner, const struct conf *conf,
	const struct bundle *b, int dir_fd, struct ledger *ledger, struct sync **ret_sync,
	struct err *err)
{
	struct sync *s = calloc(1, sizeof(*s));
	ASSERT(s && ledger && kind_first % SYNC_KINDS == 0);
	*s = (struct sync){.loop = loop, .owner = owner, .dir_fd = dir_fd};
	task_init(&s->task, kind_first);
	int r = sync_fake_take(s, b, err);
	sync_fake_note(s, "new\n");
	if (r < 0)
		free(s);
	else
		*ret_sync = s;
	return r;
}

void sync_step(struct task *t)
{
}

int sync_configure(struct sync *s, const struct conf *conf, const struct bundle *b, struct err *err)
{
	sync_fake_note(s, "configure\n");
	return sync_fake_take(s, b, err);
}

void sync_tell_health(struct sync *s, uint32_t index, bool up)
{
	if (index >= ARRAY_LEN(s->up) || s->up[index] == up)
		return;
	s->up[index] = up;
	sync_fake_note(s, "workload %u %s\n", index, up ? "up" : "down");
	loop_ready(s->loop, s->owner);
}

int sync_drain(struct sync *s, struct str service, bool back, struct err *err)
{
	if (str_eq(service, STR("nobody")))
		return err_set(err, ENOENT, "there is no workload of service nobody here");
	sync_fake_note(s, "drain %s " STR_FMT "\n", back ? "back" : "out", STR_ARG(service));
	s->drained = !back;
	loop_ready(s->loop, s->owner);
	return 0;
}

int sync_picture(struct sync *s, uint64_t *ret_number)
{
	struct bundle b;
	struct err err;
	char text[32];
	if (s->handed_number == s->picture_number)
		return -1;
	*ret_number = s->handed_number = s->picture_number;
	snprintf(text, sizeof(text), "picture %u", (unsigned)s->picture_number);
	bundle_init(&b);
	int r = bundle_add(&b, STR("revision"), STR("objects"), str_of(text), &err);
	r = r < 0 ? r : bundle_to_memfd(&b, &err);
	bundle_done(&b);
	return r;
}

bool sync_sign(struct sync *s, struct sync_sign *ret_sign)
{
	if (s->asked || s->key_number == 0)
		return false;
	s->asked = true;
	*ret_sign = (struct sync_sign){.number = 77,
		.key_number = s->key_number,
		.algorithm = 0x0403,
		.bytes = (const uint8_t *)"to be signed",
		.len = 12};
	return true;
}

void sync_sign_done(struct sync *s, uint64_t number, const uint8_t *signature, size_t len)
{
	if (number == 77)
		sync_fake_note(s, "signed %.*s\n", (int)len, (const char *)signature);
}

void sync_view(const struct sync *s, struct state_view *ret_view)
{
	*ret_view = (struct state_view){.loaded = true, .revision = s->picture_number};
}

bool sync_own(const struct sync *s, uint32_t index, struct sync_own *ret_own)
{
	if (index > 0)
		return false;
	*ret_own = (struct sync_own){.service = STR("orders"),
		.health = s->drained ? ENDPOINT_DRAINED
			  : s->up[0] ? ENDPOINT_UP
				     : ENDPOINT_DOWN,
		.drained = s->drained,
		.checked_up = s->up[0]};
	return true;
}

void sync_close(struct sync *s)
{
	sync_fake_note(s, "close\n");
	s->closed = true;
	loop_ready(s->loop, s->owner);
}

bool sync_idle(const struct sync *s)
{
	return s->closed;
}

void sync_free(struct sync *s)
{
	ASSERT(s->closed);
	free(s);
}

/* --- health --- */

struct health {
	struct loop *loop;
	struct task *owner;
	bool checked[2], child_ended;
	pid_t child;
};

struct health *health_new(struct loop *loop, uint16_t kind_first, struct task *owner)
{
	struct health *h = calloc(1, sizeof(*h));
	if (h)
		*h = (struct health){.loop = loop, .owner = owner};
	return h;
}

void health_step(struct task *t)
{
}

void health_reap(struct task *t)
{
}

bool health_configure(struct health *h, const struct conf *conf)
{
	for (uint32_t i = 0; i < ARRAY_LEN(h->checked); i++)
		h->checked[i] = i < conf->workload_count && conf->workloads[i].health.tcp;
	if (h->child == 0 && !h->child_ended) {
		h->child = fork();
		if (h->child == 0) {
			usleep(100000);
			_exit(0);
		}
	}
	return true;
}

struct health_view health_of(const struct health *h, uint32_t index)
{
	bool checked = index < ARRAY_LEN(h->checked) && h->checked[index];
	return (struct health_view){.checked = checked,
		.up = !checked || h->child_ended,
		.asked = true,
		.why = "it does not feel well"};
}

void health_child(struct health *h)
{
	if (h->child == 0 || waitpid(h->child, NULL, WNOHANG) != h->child)
		return;
	h->child = 0;
	h->child_ended = true;
	loop_ready(h->loop, h->owner);
}

void health_close(struct health *h)
{
}

bool health_idle(const struct health *h)
{
	return true;
}

void health_free(struct health *h)
{
	free(h);
}
