/* SPDX-License-Identifier: Apache-2.0 */
/* What the admin room's connections and their owner know of each other. */
#pragma once

#include "admin/admin.h"
#include "base/buf.h"
#include "base/list.h"
#include "page.h"
#include "ring/loop.h"

enum admin_task_kind {
	ADMIN_TASK_LISTENER = ADMIN_TASK_KIND_FIRST,
	ADMIN_TASK_CONN,
};

/* Outside the proxy's own limits, so that status and metrics work when those are reached. For unix
 * and for TCP apart: any account may use up the latter. */
#define ADMIN_CONN_MAX	32
#define ADMIN_OUT_BYTES 65536

struct admin_conn;

struct admin {
	struct loop *loop;
	struct proxy *proxy;
	struct process_watch process;
	struct buf_pool pool;
	struct list listeners;	 /* of struct admin_listener */
	struct list conns;	 /* of struct admin_conn */
	uint32_t conn_counts[2]; /* TCP, unix; until reaped */
	uint32_t listener_count;
	bool closing;
};

/* conn.c. Takes the fd over. NULL when memory is exhausted (the fd is closed). */
struct admin_conn *admin_conn_new(struct admin *a, int fd, bool is_unix);
void admin_conn_step(struct admin_conn *c);
/* Begins the end; safe to repeat. */
void admin_conn_close(struct admin_conn *c);
void admin_conn_close_all(struct admin *a);
void admin_conn_free(struct admin_conn *c);
struct admin_conn *admin_conn_of(struct task *t);
