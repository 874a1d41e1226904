/* SPDX-License-Identifier: Apache-2.0 */
/* The admin API on the control thread's loop: status, metrics, health, reload and drain over HTTP/1
 * on a unix socket and, where configured, on loopback TCP. Reads the proxy, changes nothing in it
 * but the two `_asked` fields. */
#pragma once

#include "base/error.h"
#include "proxy/proxy.h"
#include "ring/loop.h"
#include <stdbool.h>

struct admin;

/* Task kinds from here on are the admin room's. */
#define ADMIN_TASK_KIND_FIRST 100

int admin_new(struct loop *loop, struct proxy *proxy, struct admin **ret_admin,
	struct err *err) MUST_CHECK;
/* Accepts on `fd`, which stays the caller's. Mutations are taken from unix sockets only. */
int admin_listen(struct admin *a, int fd, bool is_unix, struct err *err) MUST_CHECK;
/* Steps and frees the room's own tasks (kind >= ADMIN_TASK_KIND_FIRST). */
void admin_step(struct task *t);
void admin_reap(struct task *t);
/* Closes listeners and connections; admin_idle() tells when their operations have ended. */
void admin_close(struct admin *a);
bool admin_idle(const struct admin *a);
void admin_free(struct admin *a);

/* The text of a page that needs no proxy to be running, made of a configuration that is in force
 * nowhere, and its HTTP status. The caller's to free; NULL: out of memory. */
char *admin_answer_of(
	struct conf *conf, struct snapshot *snapshot, struct str path, int *ret_status);
