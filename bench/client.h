/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the load: dials, makes one exchange after the other or streams, and tells what
 * came of it. It keeps no time and decides nothing: the crowd and those above it do.
 *
 *     ABSENT --dial--> DIALLING --> IDLE <--begin, answer--> BUSY
 *                               --> STREAMING                        lost: back to ABSENT
 */
#pragma once

#include "base/address.h"
#include "base/list.h"
#include "message.h"
#include <sys/epoll.h>

enum protocol { PROTOCOL_HTTP, PROTOCOL_ECHO, PROTOCOL_SINK, PROTOCOL_SOURCE };

/* What all clients do, and what they did: one for all of them. */
struct errand {
	struct address to;
	enum protocol protocol;
	int epoll;		/* watches them, each by its address */
	const uint8_t *request; /* of one exchange, or what is streamed */
	size_t request_len;
	bool checks_body;
	uint64_t body_bytes; /* of each response, when checked */
	uint8_t *scratch;    /* received into */
	size_t scratch_len;
	uint64_t bytes_in, bytes_out;
};

enum client_state { CLIENT_ABSENT, CLIENT_DIALLING, CLIENT_IDLE, CLIENT_BUSY, CLIENT_STREAMING };

enum client_news {
	CLIENT_NOTHING,
	CLIENT_CONNECTED, /* IDLE or STREAMING from here */
	CLIENT_ANSWERED,  /* IDLE again */
	CLIENT_REJECTED,  /* the same, but `message` is not what was wanted */
	CLIENT_LEFT,	  /* the far end closed between exchanges; now ABSENT */
	CLIENT_LOST,	  /* dial or exchange failed, see trouble; now ABSENT */
};

struct client {
	struct errand *errand;
	enum client_state state;
	int fd;
	bool ended;	    /* the far end will take no further exchange */
	uint32_t exchanges; /* answered on this connection */
	size_t sent;	    /* of this exchange's request */
	size_t received;    /* echo: of this exchange's answer */
	struct message message;
	const char *trouble; /* why LEFT or LOST, for people */
	/* the crowd's: */
	struct list node;
	uint64_t since_ns; /* the exchange counts from here; when absent: to be dialled then */
	uint64_t free_ns;  /* when it last became able to begin one */
};

void client_init(struct client *c, struct errand *errand);
/* From ABSENT to DIALLING: CLIENT_NOTHING, or CLIENT_LOST if the kernel refuses at once. */
enum client_news client_dial(struct client *c);
/* From IDLE to BUSY. Sends what can be sent; whatever fails shows in the next step. */
void client_begin(struct client *c);
/* Goes on as far as possible without waiting. */
enum client_news client_step(struct client *c, uint32_t events);
/* ABSENT, from any state. */
void client_close(struct client *c);
