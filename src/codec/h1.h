/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1 connection: two halves, each an automaton of its own. A message's number is `stream`;
 * the next one opens when both halves have come to their DONE.
 *
 *   read half   IDLE -> HEAD -> LENGTH | CHUNKED -> TRAILERS | CLOSE | - -> END -> DONE -> IDLE
 *   write half  NONE -> HEAD -> LENGTH | CHUNKED | RAW | EMPTY ------------------> DONE -> NONE
 *
 * The server's read half begins (a head is read, then the write half has a head to write); the
 * client's write half begins (a head was written, then the read half has a head to read). */
#pragma once

#include "h1_check.h"
#include "h1_chunk.h"
#include "h1_scan.h"
#include "h1_section.h"
#include "http_ops.h"

enum h1_read {
	H1_READ_IDLE,	  /* waits for: the first byte of a message */
	H1_READ_HEAD,	  /* waits for: the end of the head */
	H1_READ_LENGTH,	  /* waits for: read_left bytes */
	H1_READ_CHUNKED,  /* waits for: what the chunk reader says */
	H1_READ_TRAILERS, /* waits for: the end of the trailer section */
	H1_READ_CLOSE,	  /* waits for: the end of the connection */
	H1_READ_END,	  /* the END event is due */
	H1_READ_DONE,	  /* waits for: the write half */
	H1_READ_TUNNEL,	  /* not ours to read any more */
	H1_READ_SHUT,	  /* no further message: what comes is dropped */
	H1_READ_BAD,
};

enum h1_write {
	H1_WRITE_NONE,	 /* no message to write */
	H1_WRITE_HEAD,	 /* a head is due */
	H1_WRITE_LENGTH, /* write_left bytes are due, then the end */
	H1_WRITE_CHUNKED,
	H1_WRITE_RAW,	/* the end of the connection ends the body */
	H1_WRITE_EMPTY, /* no body, whatever is offered; the end is due */
	H1_WRITE_DONE,	/* waits for: the read half */
	H1_WRITE_TUNNEL,
};

struct h1 {
	struct http http;
	enum http_side side;
	struct http_limits limits;
	enum h1_read read;
	enum h1_write write;
	uint32_t stream; /* the current or last message */

	/* The message being read. */
	struct h1_scan scan;
	struct h1_chunk chunk;
	struct h1_section *head, *trailers; /* held from the first byte until told to rest */
	uint64_t read_left;
	uint8_t blank_bytes; /* server: of empty lines before the head */
	uint8_t interim_count;
	enum http_bad bad;

	/* The message being written. */
	uint64_t write_left;

	/* What both halves must know of the current message. */
	enum method method;
	char upgrade[16]; /* client: the protocol asked for; a copy, as heads come and go */
	bool upgrade_asked;
	enum http_version peer_version;
	bool close; /* no message after the current one */
};

static inline struct h1 *h1_of(struct http *http)
{
	return CONTAINER_OF(http, struct h1, http);
}

static inline const struct h1 *h1_of_const(const struct http *http)
{
	return CONTAINER_OF(http, const struct h1, http);
}

/* The only writers of the states. */
void h1_read_move(struct h1 *h, enum h1_read next);
void h1_write_move(struct h1 *h, enum h1_write next);
/* After a half has come to DONE: makes room for the next message if the other one has as well. */
void h1_settle(struct h1 *h);
/* Opens the stream of a message. */
void h1_begin(struct h1 *h);

/* h1_write.c */
uint32_t h1_open(struct http *http);
bool h1_write_head(
	struct http *http, uint32_t stream, const struct http_head *head, struct buf *out);
size_t h1_write_body(struct http *http, uint32_t stream, struct str body, struct buf *out);
size_t h1_body_space(const struct http *http, uint32_t stream, struct buf *out);
bool h1_write_end(
	struct http *http, uint32_t stream, const struct http_head *trailers, struct buf *out);
bool h1_write_refusal(
	struct http *http, uint32_t stream, const struct http_refusal *refusal, struct buf *out);
