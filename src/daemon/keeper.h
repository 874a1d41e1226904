/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the keeper, shared by its files:
 *
 *   keeper.c          the loop, the states, signals and time
 *   keeper_channel.c  what is said to the proxy process and heard from it; signatures
 *   keeper_listen.c   the sockets
 *   keeper_spawn.c    the proxy process: start and privileges
 *   keeper_reload.c   plans: from files to a memfd, and the watch for changed ones
 *
 * One thread, one owner: struct keeper stands in keeper_main(). */
#pragma once

#include "base/bundle.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "ca/keyring.h"
#include "channel.h"
#include "conf/conf.h"
#include "notify.h"
#include "proxy/wire.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 *            ┌──────── died ────────┬───────────┐
 *            ▼                      │           │
 *        WAITING ── time ──▶ STARTING ─ ready ▶ RUNNING     each waits for: a message, a signal
 *            │                  │  stop           │ stop    or the deadline
 *            │ stop             └───────┬─────────┘
 *            │                          ▼
 *            │             DRAINING ── deadline or stop again ──▶ ENDING (TERM, then KILL)
 *            ▼                │ died                                │ died
 *          DEAD ◀─────────────┴─────────────────────────────────────┘
 */
#define KEEPER_STATE_LIST(X) X(WAITING) X(STARTING) X(RUNNING) X(DRAINING) X(ENDING) X(DEAD)
enum keeper_state {
#define X(name) KEEPER_STATE_##name,
	KEEPER_STATE_LIST(X)
#undef X
};

/* One generation as the keeper keeps it. Retired ones keep their keys for a while: handshakes begun
 * under them may still ask for signatures. */
struct keeper_plan {
	struct list node; /* in keeper.retired */
	uint64_t generation;
	struct conf *conf;
	struct bundle bundle;
	struct keyring *keyring; /* NULL: no certificate directory */
	int memfd;		 /* the bundle, sealed */
	uint64_t retire_ns;	 /* when the keys may go */
};

struct keeper_listener {
	enum wire_listener_kind kind;
	uint32_t worker;
	struct address address; /* family 0: unix socket or file */
	int fd;
};

struct keeper_listeners {
	struct keeper_listener *list;
	uint32_t count, size;
	char admin_path[108]; /* "": none to remove at the end */
	dev_t admin_dev;      /* of the socket file that is ours */
	ino_t admin_ino;
	bool no_ipv6_told;
};

/* A worker's signature socket. One message of answers at most waits for room; until then no request
 * is read. */
struct keeper_signer {
	int fd;	      /* our end; -1: none */
	int proxy_fd; /* the other end until it is sent; -1 then */
	uint32_t answer_count;
	struct wire_signed answers[WIRE_SIGN_BATCH];
};

/* Who the proxy process runs as. */
struct keeper_user {
	uid_t uid;
	gid_t gid;
	bool is_self; /* we are that user already: nothing to give up */
};

/* What stands on disk beside the configuration and changes without anybody asking for a reload. */
struct keeper_watch {
	uint64_t loaded; /* fingerprint of what is in force, or was tried */
	uint64_t seen;	 /* of the last look; acted upon when the next look sees the same */
};

struct keeper {
	enum keeper_state state;
	uint64_t deadline_ns; /* of the state; 0: none */
	uint64_t tick_ns;
	int exit_status;
	const char *conf_path;
	struct notify notify;
	struct keeper_user user;
	struct keeper_listeners listeners;
	uint32_t worker_count; /* as the listeners were opened; conf's may change, this not */
	int signal_fd;
	/* what happened since the last step */
	bool child_died, stop_asked, reload_asked;
	/* plans */
	struct keeper_plan *current; /* what a proxy process is started with */
	struct keeper_plan *next;    /* told to the running one, which has not answered yet */
	struct list retired;	     /* of struct keeper_plan, oldest first */
	uint64_t generation;	     /* of the newest plan */
	uint32_t next_key_number;
	struct keeper_watch watch;
	/* What the proxy processes make their ticket keys of: theirs to know, ours to keep beyond
	 * their death and a reload. */
	uint8_t ticket_secret[32];
	uint64_t ticket_secret_ns; /* when it was made; 0: not yet */
	/* the proxy process */
	pid_t pid; /* 0: none */
	uint64_t start_ns;
	uint32_t start_count; /* all starts */
	uint32_t death_count; /* deaths in a row soon after the start */
	bool ready_once;      /* some proxy process was ready: the unit is up */
	/* the control channel */
	int channel_fd; /* -1: none */
	uint32_t said;	/* messages of the opening, in order */
	bool next_unsaid, note_unsaid, drain_unsaid, ping_unsaid, log_unsaid;
	struct wire_note note;
	uint64_t ping_number;
	uint64_t pong_ns;	       /* last answer; 0: none from this process */
	struct keeper_signer *signers; /* worker_count */
	uint32_t refused_count;	       /* signatures, since the last tick */
};

/* --- keeper.c --- */

/* The only writer of `state`. */
void keeper_move(struct keeper *k, enum keeper_state state, uint64_t deadline_ns);
/* Messages of several lines, one log line each. */
void keeper_log_text(enum log_level level, const char *text);

/* --- keeper_channel.c --- */

/* Makes the sockets; the proxy's end of the control channel in *ret_fd. */
int keeper_channel_open(struct keeper *k, int *ret_fd, struct err *err) MUST_CHECK;
void keeper_channel_close(struct keeper *k);
/* Says as much as there is room for. */
void keeper_channel_write(struct keeper *k);
bool keeper_channel_wants_write(const struct keeper *k);
void keeper_channel_read(struct keeper *k, uint64_t now_ns);
/* Why a reload changed nothing, for the proxy's status page. */
void keeper_note(struct keeper *k, uint64_t generation, const char *text);
/* Answers signature requests, a bounded number of them. */
void keeper_sign(struct keeper *k, struct keeper_signer *s);

/* --- keeper_listen.c --- */

int keeper_listen(struct keeper *k, const struct conf *conf, struct err *err) MUST_CHECK;
/* Opens the access log again and, if the path leads to another file now, keeps that one. True: it
 * does. */
bool keeper_listen_log(struct keeper *k, const struct conf *conf);
/* Those that bring traffic: new connections are refused from here on, as far as we are concerned.
 */
void keeper_listen_stop(struct keeper *k);
void keeper_listen_done(struct keeper *k);

/* --- keeper_spawn.c --- */

int keeper_user_find(
	const struct conf *conf, struct keeper_user *ret_user, struct err *err) MUST_CHECK;
/* Open files, core dumps: limits of this process and its children. */
void keeper_limits(uint64_t files_wanted);
/* Starts the proxy process; its end of the channel is closed here in any case. */
int keeper_spawn(struct keeper *k, int channel_fd, struct err *err) MUST_CHECK;

/* --- keeper_reload.c --- */

enum keeper_scope {
	KEEPER_SCOPE_ALL,    /* configuration, mesh objects, users, marks, certificates */
	KEEPER_SCOPE_WATCHED /* marks and certificates; the rest as in `before` */
};
/* Reads, parses and loads. On any error -errno, and `text` says why, all reasons at once. */
int keeper_plan_new(struct keeper *k, enum keeper_scope scope, const struct keeper_plan *before,
	struct keeper_plan **ret_plan, char *text, size_t size) MUST_CHECK;
void keeper_plan_free(struct keeper_plan *plan);
/* Keeps only the keys, and those for a while. */
void keeper_plan_retire(struct keeper *k, struct keeper_plan *plan, uint64_t now_ns);
/* Frees retired plans whose time is over; all of them with now_ns UINT64_MAX. */
void keeper_plan_reap(struct keeper *k, uint64_t now_ns);
/* Makes the next plan of what stands on disk now; on any error nothing changes, and the log, the
 * proxy's status and the service manager are told why. */
void keeper_reload(struct keeper *k, enum keeper_scope scope, uint64_t now_ns);
/* A look at marks and certificates; true when they changed and have been at rest since the last
 * look. */
bool keeper_watch_look(struct keeper *k);
