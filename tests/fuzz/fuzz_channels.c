/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the other side of a shared connection sends, in whatever pieces: nothing breaks but the
 * connection, no channel holds more than its window, what is sent are whole frames, and nothing is
 * left behind. The first byte chooses the side, the second the pieces. */
#include "net/channel.h"

#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "fuzz/fuzz.h"
#include <errno.h>
#include <stdlib.h>

#define FUZZ_BUFFER_BYTES 20480
#define FUZZ_OPENED	  3

enum fuzz_task { FUZZ_SHARED = 1, FUZZ_END };

struct fuzz_end {
	struct task task;
	struct conn conn;
	struct list node;
	uint32_t number; /* chooses what it does */
};

struct fuzz {
	struct loop loop;
	struct buf_pool buffers;
	struct pool pool;
	struct task task;
	struct conn conn;
	struct channels channels;
	struct list ends;
	uint32_t end_count;
	bool over, closed;
};

static struct fuzz *fuzz; /* of the run in progress: steps get no more than a task */

static struct fuzz_end *fuzz_end_new(void)
{
	struct fuzz_end *e = calloc(1, sizeof(*e));
	ASSERT(e);
	task_init(&e->task, FUZZ_END);
	conn_init(&e->conn, &fuzz->loop, &fuzz->buffers, &e->task);
	e->number = fuzz->end_count++;
	list_add_last(&fuzz->ends, &e->node);
	return e;
}

static void fuzz_over(void)
{
	fuzz->over = true;
	channels_done(&fuzz->channels, CONN_FAILURE_RESET, ECONNRESET);
	conn_close(&fuzz->conn, true);
}

static void fuzz_step_shared(void)
{
	enum channels_news news = CHANNELS_OFFERED;
	if (fuzz->over) {
		fuzz->closed = conn_join(&fuzz->conn);
		return;
	}
	conn_step(&fuzz->conn);
	while ((news = channels_read(&fuzz->channels)) == CHANNELS_OFFERED) {
		if (fuzz->end_count % 5 == 4) {
			fuzz->end_count++;
			channels_refuse(&fuzz->channels);
		} else if (!channels_accept(&fuzz->channels, &fuzz_end_new()->conn)) {
			break;
		}
	}
	ASSERT(fuzz->channels.live_count <= FRAME_CHANNELS);
	if (news == CHANNELS_BROKEN || fuzz->conn.failure != CONN_FAILURE_NONE || fuzz->conn.eof)
		fuzz_over();
	else
		channels_flush(&fuzz->channels);
}

static void fuzz_echo(struct conn *c)
{
	const uint8_t *bytes;
	size_t len;
	while ((len = conn_input(c, &bytes)) > 0) {
		size_t used = buf_fill(&c->out, bytes, len);
		if (used == 0)
			break;
		conn_consume(c, used);
	}
}

static size_t fuzz_held(const struct conn *c)
{
	size_t held = buf_len(&c->in);
	for (size_t i = 0; c->channel && i < CHANNEL_BUFS; i++)
		held += buf_len(&c->channel->more[i]);
	return held;
}

static void fuzz_step_end(struct fuzz_end *e)
{
	const uint8_t *bytes;
	struct conn *c = &e->conn;
	if (c->state != CONN_OPEN)
		return;
	conn_step(c);
	ASSERT(fuzz_held(c) <= FRAME_WINDOW);
	if (e->number % 4 != 1)
		fuzz_echo(c);
	if (e->number % 4 == 2 && conn_input(c, &bytes) == 0)
		c->finish = true;
	if ((e->number % 4 == 3 && c->bytes_in > 8) || c->failure != CONN_FAILURE_NONE)
		conn_close(c, e->number % 8 == 3);
	conn_flush(c);
}

static void fuzz_step(struct task *t)
{
	if (t->kind == FUZZ_SHARED)
		fuzz_step_shared();
	else
		fuzz_step_end(CONTAINER_OF(t, struct fuzz_end, task));
}

static void fuzz_begin(int fd, bool server)
{
	struct ring_limits limits = {
		.entries = 16, .completions = 64, .block_bytes = 16640, .block_count = 4};
	struct err err;
	ASSERT(loop_init(&fuzz->loop, &limits, 1, &err) == 0);
	buf_pool_init(&fuzz->buffers, FUZZ_BUFFER_BYTES, 64);
	pool_init(&fuzz->pool, sizeof(struct channel), FRAME_CHANNELS + 1);
	list_init(&fuzz->ends);
	task_init(&fuzz->task, FUZZ_SHARED);
	conn_init(&fuzz->conn, &fuzz->loop, &fuzz->buffers, &fuzz->task);
	conn_adopt(&fuzz->conn, fd);
	channels_init(&fuzz->channels, &fuzz->conn, &fuzz->pool, server);
	for (int i = 0; i < FUZZ_OPENED && !server; i++) {
		struct fuzz_end *e = fuzz_end_new();
		bool opened = channels_open(&fuzz->channels, &e->conn) &&
			      buf_put(&e->conn.out, "hello", 5);
		ASSERT(opened);
		conn_flush(&e->conn);
	}
	loop_ready(&fuzz->loop, &fuzz->task);
}

static void fuzz_check_sent(int fd)
{
	struct str sent = fake_peer_received(fd);
	struct frame f;
	while (sent.len > 0) {
		ASSERT(frame_read((const uint8_t *)sent.at, sent.len, &f) == FRAME_DONE);
		size_t len = FRAME_BYTES + (f.kind == FRAME_DATA ? f.count : 0);
		ASSERT(len <= sent.len);
		sent.at += len;
		sent.len -= len;
	}
}

static void fuzz_finish(int fd)
{
	struct list *node;
	while ((node = list_pop(&fuzz->ends))) {
		struct fuzz_end *e = CONTAINER_OF(node, struct fuzz_end, node);
		conn_close(&e->conn, true);
		ASSERT(conn_join(&e->conn));
		loop_bury(&fuzz->loop, &e->task);
		while (loop_dead(&fuzz->loop)) {
		}
		free(e);
	}
	fake_pump(&fuzz->loop, fuzz_step, NULL);
	if (!fuzz->over) {
		fuzz_check_sent(fd);
		fuzz_over();
	}
	fake_pump(&fuzz->loop, fuzz_step, NULL);
	ASSERT(fuzz->closed);
	pool_done(&fuzz->pool);
	buf_pool_done(&fuzz->buffers);
	loop_done(&fuzz->loop);
	fake_done();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct fuzz run = {0};
	if (len < 2)
		return 0;
	fuzz = &run;
	fake_init();
	int fd = fake_socket();
	fuzz_begin(fd, bytes[0] & 1);
	fake_pump(&fuzz->loop, fuzz_step, NULL);
	size_t piece = bytes[1] + 1u;
	for (size_t at = 2; at < len && !fuzz->over; at += piece) {
		fake_peer_send(fd, bytes + at, len - at < piece ? len - at : piece);
		fake_pump(&fuzz->loop, fuzz_step, NULL);
	}
	fuzz_finish(fd);
	return 0;
}
