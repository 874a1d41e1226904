/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the fakes: the one table that the ring, the sockets and the model between them
 * share. A test has one simulated kernel, hence one global. */
#pragma once

#include "fake/ring_fake.h"
#include "fake/socket_fake.h"

#define FAKE_FD_FIRST	1000
#define FAKE_LINK_BYTES 65536

/* Bytes on their way to a socket: one fake_peer_send(), or part of a send. */
struct fake_chunk {
	struct list node;
	size_t start, len;
	uint8_t bytes[];
};

struct fake_socket {
	struct list node;
	int fd;
	bool listener, script, packets;
	bool open;
	bool connected;
	uint32_t mark;
	bool has_original_dst;
	struct address original_dst, local, peer;
	/* towards us */
	struct list chunks;
	size_t unread;	 /* bytes in them */
	bool read_end;	 /* after the chunks: end of stream */
	bool reset;	 /* after the chunks: -ECONNRESET, unless told already */
	bool reset_told; /* now end of stream and -EPIPE */
	/* from us */
	uint8_t *sent;
	size_t sent_len, sent_size;
	size_t window;
	bool write_end;	 /* we sent a FIN */
	bool sent_end;	 /* ... and the far end saw it */
	bool sent_reset; /* we sent a RST */
	bool linger_reset;
	bool peer_closed;	   /* the next send brings a reset back */
	struct fake_socket *other; /* linked */
	/* listener */
	int queue[256];
	uint32_t queue_len;
};

/* An armed operation. */
struct fake_op {
	struct list node;
	struct ring *ring;
	struct op *op;
	enum fake_kind kind;
	enum fake_fault fault;
	int fd;
	uint8_t *into;	     /* read */
	const uint8_t *from; /* send */
	size_t len, moved;
	size_t budget;				/* stream */
	const struct sockaddr_storage *address; /* connect */
	bool tried;
};

/* A completion that the loop has not recorded yet. */
struct fake_completion {
	struct list node;
	struct ring *ring;
	struct op *op;
	int fd;
	int32_t result;
	bool more, has_block, nonempty;
	uint16_t block;
};

struct fake_rule {
	struct list node;
	struct address address; /* family 0: everywhere */
	int result;
	int listener; /* or -1 */
};

struct fake_plan {
	struct list node;
	enum fake_kind kind;
	uint32_t number; /* of operations of its kind, from 1 */
	enum fake_fault fault;
};

struct fake {
	bool on;
	uint64_t monotonic_ns, wall_ns, chaos;
	struct list armed, completions, sockets, rules, plans;
	uint32_t armed_count; /* completions not recorded included */
	uint32_t kind_count[FAKE_KIND_COUNT];
	int next_fd;
	int *opened;
	uint32_t opened_count;
	uint32_t open_fail_count;
	int open_fail_result;
	uint64_t memory_count;
	bool has_complaint;
	char complaint[256];
};

extern struct fake fake;

void fake_complain(const char *format, ...) PRINTF_LIKE(1, 2);
void *fake_alloc(size_t size);
uint64_t fake_random(void);

/* Ends the op, or reports one of several results (`more`). */
void fake_post(struct fake_op *o, int32_t result, bool more);
bool fake_block_idle(const struct ring *r);
/* An idle block taken into *ret_block; false: there is none. */
bool fake_block_take(struct ring *r, uint16_t *ret_block);
void fake_post_block(struct fake_op *o, uint16_t block, size_t len, bool more);

/* NULL if the table does not have it. */
struct fake_socket *fake_find(int fd);
/* At most `len` of the unread bytes, or of the first message of a packet socket. */
size_t fake_receive(struct fake_socket *s, uint8_t *into, size_t len);
/* Takes what the far end has room for and returns how much that was. */
size_t fake_transmit(struct fake_socket *s, const uint8_t *bytes, size_t len);
void fake_reset(struct fake_socket *s);
/* The result of a connect, or FAKE_PENDING. */
int fake_connect(struct fake_socket *s, const struct address *to);
void fake_sockets_free(void);

/* Completes what can be completed; false: nothing can. */
bool fake_progress(struct ring *r);
