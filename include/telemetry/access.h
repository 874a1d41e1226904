/* SPDX-License-Identifier: Apache-2.0 */
/* The access log: one JSON line per request, one at the opening and one at the closing of a TCP
 * connection. Lines go into a bounded queue per worker; a thread of the log's own writes them, so
 * that a slow disk never slows a request: what does not fit is dropped and counted. */
#pragma once

#include "base/address.h"
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct access_log;   /* the process's: a file descriptor and its writer thread */
struct access_queue; /* one worker's */

enum access_kind { ACCESS_HTTP, ACCESS_TCP_OPEN, ACCESS_TCP_CLOSE };

struct access_entry {
	enum access_kind kind;
	bool outbound; /* direction */
	uint64_t start_wall_ns;
	uint64_t duration_ns;	/* whole */
	uint64_t processing_ns; /* the proxy's own share, 0 if not known */
	struct str workload;	/* whose traffic on this machine */
	struct str source_identity, destination_identity, destination_service;
	struct address downstream_remote, downstream_local, upstream_remote;
	struct str protocol, method, path, authority, user_agent, request_id;
	uint16_t response_code;
	struct str response_flags;   /* "-" or a flag */
	struct str response_details; /* the reason's name */
	uint64_t bytes_received, bytes_sent;
	/* How its bytes travel, one of a few words of ours; empty: they never got as far. */
	struct str security;
	bool tls_resumed;
	/* where it is for no service of the mesh, one of a few words of ours; empty */
	struct str outside;
	struct str server_name;	 /* TCP: that the client's TLS asked for; empty: not looked at */
	bool is_mirror;		 /* HTTP: a copy for a mirror; only then the line says so */
	struct str policy;	 /* the rule that decided, or "default"; empty: not asked */
	struct str policy_where; /* "mesh.conf:41", or which default; empty: not known */
	struct str would_deny;	 /* the rule on trial that would have refused it, or empty */
	struct str noted;	 /* the audit rule that matches, or empty */
	struct str would_deny_where, noted_where;
	struct str route;		/* the rule of a route that was followed; empty: none */
	struct str limit, shadow_limit; /* that refused, that would have; empty: none */
	struct str choice; /* how its endpoint was chosen, when not of all that are well; empty */
	struct str destination_version; /* of the endpoint; empty: none */
	uint32_t attempt_count;
	uint64_t connection_number;
	uint64_t config_generation;
};

/* Takes the fd over (also on failure) and starts the writer thread. fd -1: log off; the queues are
 * then NULL. */
int access_log_new(
	int fd, uint32_t queue_count, struct access_log **ret_log, struct err *err) MUST_CHECK;
/* Writes what is queued, then ends the thread; gives up on a pipe that takes nothing for half
 * a second. Nobody may write to the queues any more. */
void access_log_free(struct access_log *log);
/* NULL when the log is off (or there is none). */
struct access_queue *access_log_queue(struct access_log *log, uint32_t index);
/* Lines that were queued and then could not be written (disk full, pipe closed). Any thread. */
uint64_t access_log_failed_count(const struct access_log *log);

/* Never waits. False: dropped because the queue is full. A NULL queue takes everything. */
bool access_write(struct access_queue *q, const struct access_entry *entry) MUST_CHECK;
/* Room that any entry fits in: long values are cut, and the worst case of escapes is counted. */
#define ACCESS_LINE_MAX 49152
/* The line itself with its line end: valid JSON whatever the bytes in the entry are. Returns its
 * length, 0 when it does not fit. Values of query keys that carry signatures are shown as
 * REDACTED. */
size_t access_format(const struct access_entry *entry, char *text, size_t size);
