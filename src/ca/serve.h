/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain ca serve`: the authority as a server of EST, one loop, one thread.
 *
 *   serve_main.c    command line, signals, start and stop
 *   serve_place.c   the directory: settings, authority, listening sockets; read again on HUP
 *   serve.c         listeners, the queue of requests, the end
 *   serve_conn.c    one connection
 *   serve_answer.c  what a request is answered; serve_head.c: the head of that
 *   serve_tls.c     who we are and who the client is
 *
 * The authority blocks on disk, for milliseconds. So requests wait in one queue, and only a few are
 * answered between two looks at the network. */
#pragma once

#include "authority.h"
#include "base/buf.h"
#include "net/conn.h"
#include "ring/loop.h"

#define SERVE_CONN_MAX		   1024
#define SERVE_SHAKES_PER_ADDRESS   32 /* handshakes under way from one address */
#define SERVE_ANSWERS_PER_TURN	   4
#define SERVE_SHAKE_TIMEOUT_NS	   (10 * CLOCK_S)
#define SERVE_REQUEST_TIMEOUT_NS   (15 * CLOCK_S) /* from its first byte to its last */
#define SERVE_IDLE_TIMEOUT_NS	   (60 * CLOCK_S)
#define SERVE_WRITE_TIMEOUT_NS	   (30 * CLOCK_S) /* for a whole answer */
#define SERVE_LINGER_TIMEOUT_NS	   (2 * CLOCK_S)
#define SERVE_LAST_CHANCE_NS	   (500 * CLOCK_MS) /* at the end, for requests on their way */
#define SERVE_ACCEPT_PAUSE_NS	   (100 * CLOCK_MS)
#define SERVE_LOG_LINES_PER_SECOND 50

enum serve_task_kind {
	SERVE_TASK_LISTENER = 1,
	SERVE_TASK_CONN,
	SERVE_TASK_QUEUE,
	SERVE_TASK_OWNER, /* from here on the caller's */
};

/* The states of a connection: the picture is in serve_conn.c. */
enum serve_conn_state {
	SERVE_SHAKE,
	SERVE_IDLE,
	SERVE_READ,
	SERVE_ASK,
	SERVE_WRITE,
	SERVE_LINGER,
	SERVE_CLOSING,
	SERVE_CONN_STATES,
};

struct serve_material;
struct serve_conn;

struct serve {
	struct loop *loop;
	/* The owner's, who may change them between two turns. */
	struct authority *authority;
	struct str trust_domain;
	struct serve_material *material;

	struct buf_pool pool;
	struct list listeners;
	struct list conns[SERVE_CONN_STATES]; /* each in the order of coming there */
	struct task queue;
	struct timer queue_timer;
	struct address served_last;
	uint32_t listener_count, conn_count, open_count; /* open: not CLOSING */
	uint32_t conn_max;				 /* the owner's; SERVE_CONN_MAX or fewer */
	bool closing;
	uint64_t log_second; /* lines about clients are limited */
	uint32_t log_count;
};

/* --- serve.c --- */

void serve_init(struct serve *s, struct loop *loop);
/* After serve_idle(). */
void serve_done(struct serve *s);
/* Takes a listening socket over. -ENOMEM: it is the caller's still. */
int serve_listen(
	struct serve *s, int fd, const struct address *address, struct err *err) MUST_CHECK;
/* Stops to listen there, and closes the socket. */
void serve_deafen(struct serve *s, const struct address *address);
bool serve_listens(const struct serve *s, const struct address *address);
/* Where it listens; returns how many. */
uint32_t serve_listening(const struct serve *s, struct address *ret_addresses, uint32_t count_max);
void serve_step(struct task *t);
void serve_reap(struct task *t);
/* No new connections; requests under way are answered. */
void serve_close(struct serve *s);
/* Those that are left are cut. */
void serve_cut(struct serve *s);
bool serve_idle(const struct serve *s);
/* Whether a line about clients may be logged now: they must not fill the disk. */
bool serve_may_log(struct serve *s);

/* --- serve_conn.c --- */

/* Takes the fd over, come what may. */
void serve_conn_new(struct serve *s, int fd);
void serve_conn_step(struct serve_conn *c);
void serve_conn_free(struct serve_conn *c);
/* Begins the end; safe to repeat. */
void serve_conn_close(struct serve_conn *c);
/* No request after the one under way, or after one that is on its way already. */
void serve_conn_close_after(struct serve_conn *c);
/* Its turn in the queue has come: it is ASK. */
void serve_conn_answer(struct serve_conn *c);
struct serve_conn *serve_conn_of_task(struct task *t);
struct serve_conn *serve_conn_of_node(struct list *node);
const struct address *serve_conn_address(const struct serve_conn *c);
/* When it came to the state it is in. */
uint64_t serve_conn_since(const struct serve_conn *c);

/* --- serve_answer.c --- */

struct serve_request {
	struct str method, path; /* the path without query */
	struct str content_type, authorization, if_none_match;
	struct str body;
	struct authority_client client; /* what TLS has proved; without user and password */
	const char *refused; /* why the client's certificate is of no use any more, or NULL */
};

struct serve_answer {
	uint16_t status;
	const char *type;  /* media type */
	const char *allow; /* for 405 */
	uint32_t retry_s;  /* 0: not said */
	char etag[72];	   /* "": none */
	struct str body;   /* freed by serve_answer_done() */
};

/* Asks the authority, and logs what came of it. */
void serve_answer(struct serve *s, const struct serve_request *q, struct serve_answer *ret_answer);
/* An answer of one line, "\n" behind it. */
void serve_answer_text(struct serve_answer *ret_answer, uint16_t status, const char *format, ...)
	PRINTF_LIKE(3, 4);
void serve_answer_done(struct serve_answer *a);

/* --- serve_head.c --- */

struct http;
/* False: no room for it in `out`. */
bool serve_head_write(const struct serve_answer *a, uint64_t wall_ns, struct http *http,
	uint32_t stream, struct buf *out) MUST_CHECK;

/* --- serve_tls.c --- */

/* The server's certificate and key, the anchors and revocations for clients: one generation. */
struct serve_material *serve_material_ref(struct serve_material *m);
void serve_material_unref(struct serve_material *m);
/* Reads them anew from the authority. 0: *m was replaced, or is still the same; on failure it is
 * left as it was. */
int serve_material_load(struct authority *a, struct str trust_domain, int64_t now_s,
	struct serve_material **m, struct err *err) MUST_CHECK;
/* False: out of memory. */
bool serve_secure(struct serve_material *m, struct conn *c) MUST_CHECK;
/* Gives the handshake what it waits for: the connection's `need`. */
void serve_need(struct serve_material *m, struct conn *c);
/* Who the client is, as `now` sees it: the material that is in force, which need not be that of the
 * connection. Texts live as long as the connection. NULL, or why his certificate is of no use. */
const char *serve_client(const struct serve_material *now, const struct conn *c, int64_t now_s,
	struct authority_client *ret_client);
/* Why a handshake failed; NULL: for nothing worth a word. */
const char *serve_shake_failure(const struct conn *c);

/* --- serve_place.c --- */

#define SERVE_LISTENERS_MAX 64

/* What a server is made of. The trust domain does not change while it runs. */
struct serve_place {
	struct authority *authority;
	struct serve_material *material;
	char trust_domain[256];
	/* where to listen, instead of where the settings say; none: where they say */
	struct address listen[SERVE_LISTENERS_MAX];
	uint32_t listen_count;
};

/* Reads the directory, whole, into a place which is zero but for `listen`; nothing is left behind
 * on failure. */
int serve_place_open(
	struct serve_place *p, const char *dir, int64_t now_s, struct err *err) MUST_CHECK;
void serve_place_done(struct serve_place *p);
/* Begins to listen where the settings say, and ends it where they do not any more; on failure all
 * is as it was. */
int serve_place_listen(struct serve_place *p, struct serve *s, struct err *err) MUST_CHECK;
/* What may have changed on disk or by the passing of time: our own certificate, anchors,
 * revocations; `s` has them then. On failure it goes on with those it has. */
int serve_place_refresh(
	struct serve_place *p, struct serve *s, int64_t now_s, struct err *err) MUST_CHECK;
