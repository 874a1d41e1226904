/* SPDX-License-Identifier: Apache-2.0 */
#include "listener.h"

#include "net/socket.h"
#include "session.h"
#include <errno.h>

/* After running out of descriptors or memory: trying at once would only burn the CPU. */
#define LISTENER_RETRY_MS 100

void listener_init(struct listener *l, struct worker *w, const struct proxy_listener *as)
{
	*l = (struct listener){.as = *as, .worker = w};
	task_init(&l->task, TASK_LISTENER);
	op_init(&l->accept, &l->task);
	timer_init(&l->retry, &l->task);
	l->accept.backlog = l->backlog;
}

void listener_start(struct listener *l)
{
	ring_accept(&l->worker->loop.ring, &l->accept, l->as.fd);
}

void listener_step(struct listener *l)
{
	struct worker *w = l->worker;
	for (uint32_t i = 0; i < l->accept.backlog_len; i++)
		session_accept(w, l, l->backlog[i]);
	l->accept.backlog_len = 0;
	l->accept.fresh = false;
	if (l->accept.armed || w->draining)
		return;
	/* the multishot has ended: by an error, or because the kernel says so now and then */
	bool starved = l->accept.result == -EMFILE || l->accept.result == -ENFILE ||
		       l->accept.result == -ENOMEM || l->accept.result == -ENOBUFS;
	if (starved && !l->retry.fired) {
		timer_set(&w->loop, &l->retry, w->loop.now_ns + LISTENER_RETRY_MS * CLOCK_MS);
		return; /* waits for: the retry timer */
	}
	l->retry.fired = false;
	listener_start(l);
}

bool listener_close(struct listener *l)
{
	timer_clear(&l->worker->loop, &l->retry);
	if (l->accept.armed)
		ring_cancel(&l->worker->loop.ring, &l->accept);
	return !l->accept.armed && l->accept.backlog_len == 0;
}
