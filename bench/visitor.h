/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the origin, and what it gets. */
#pragma once

#include "message.h"

#include "base/list.h"

enum offer_protocol { OFFER_HTTP, OFFER_ECHO, OFFER_SINK, OFFER_SOURCE };

/* What every visitor gets, and what all of them did: one for all of them. */
struct offer {
	enum offer_protocol protocol;
	uint8_t *text; /* http: answers, one after the other; source: the bytes of the stream */
	size_t text_len;
	size_t answer_len; /* the text repeats itself after so many bytes */
	uint8_t *scratch;  /* received into */
	size_t scratch_len;
	uint64_t connections, requests, bytes_in, bytes_out;
};

struct visitor {
	struct offer *offer;
	int fd;
	bool ending;   /* its end is there, after what is to be received */
	bool ended;    /* sends nothing more; to be closed when it has what it is owed */
	uint64_t owed; /* bytes */
	size_t at;     /* where in the text, or in `kept`, the next of them stands */
	uint8_t *kept; /* echo: what did not fit into the socket */
	struct message message;
	struct list node; /* the owner's */
};

/* `v` is all zero. */
void visitor_init(struct visitor *v, struct offer *offer, int fd);

/* What epoll is to watch for. */
uint32_t visitor_events(const struct visitor *v);
/* Goes on as far as possible without waiting. False: it is over, for visitor_done(). */
bool visitor_step(struct visitor *v, uint32_t events);
/* Closes the socket. */
void visitor_done(struct visitor *v);
