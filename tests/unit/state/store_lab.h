/* SPDX-License-Identifier: Apache-2.0 */
/* A store on the simulated kernel, and the server's end of each of its connections. */
#pragma once

#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "state/store.h"

#define LAB_TIMEOUT_MS	    1000
#define LAB_REPLY_BYTES_MAX (1 << 20)
#define LAB_REPLICATION_ID  "0123456789abcdef0123456789abcdef01234567"

/* Bulk strings, for answers. */
#define LAB_MASTER  "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define LAB_REPLICA "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.9\r\n:6379\r\n$9\r\nconnected\r\n:0\r\n"
#define LAB_INFO    "$71\r\n# Replication\r\nmaster_replid:" LAB_REPLICATION_ID "\r\n\r\n"

struct lab {
	struct loop loop;
	struct task owner;
	struct store *store;
	struct store_settings settings; /* change them before lab_start() */
	struct address addresses[4];	/* 10.0.0.1:6379 to 10.0.0.4:6379 */
	uint32_t news;			/* how often the owner was stepped */
	size_t served[256];		/* bytes that lab_serve() has answered, by socket */
};

/* One address unless changed; a store for commands. */
void lab_init(struct lab *lab);
void lab_start(struct lab *lab);
/* Closes it, whatever state it is in, and looks for anything left behind. */
void lab_done(struct lab *lab);

void lab_pump(struct lab *lab);
/* Lets time pass, timers on the way fire. */
void lab_run_ms(struct lab *lab, uint64_t ms);
/* Lets time pass until it has made `count` sockets in all. */
void lab_run_to_socket(struct lab *lab, uint32_t count);

/* The newest socket of the store. */
int lab_fd(struct lab *lab);
/* What the server got is exactly this; forgets it. */
void lab_expect(struct lab *lab, const char *bytes);
/* The server says this on the newest connection; pumps. */
void lab_say(struct lab *lab, const char *bytes);
/* What a primary without passwords is asked and says, until the store is READY. */
void lab_greet(struct lab *lab);
void lab_ready(struct lab *lab);
/* Answers whatever came on any connection, as a primary that says OK to all: until nothing moves.
 */
void lab_serve(struct lab *lab);

/* Takes the oldest answer, which must be this. `text`: of the reply, NULL for one that is lost. */
void lab_answer(struct lab *lab, uint64_t tag, enum store_failure failure, const char *text);
void lab_no_answer(struct lab *lab);
/* store_why() is there and has `text` in it. */
void lab_why(struct lab *lab, const char *text);
