/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the keeper, shared by its files:
 *
 *   keeper.c          the loop, the states, signals and time
 *   keeper_child.c    what both children have in common: start, death, pings, the channel
 *   keeper_channel.c  what is said to the proxy process and heard from it
 *   keeper_mesh.c     the state process: its life, and the picture of the mesh that it makes
 *   keeper_outside.c  what is between the two about the world outside
 *   keeper_identity.c what the state process asks of the keys, and says of certificates
 *   keeper_work.c     that of it which waits for the disk, in a thread of its own
 *   keeper_sign.c     signatures
 *   keeper_listen.c   the sockets
 *   keeper_spawn.c    a child: start and privileges
 *   keeper_reload.c   plans: from files to memfds, and the watch for changed ones
 *   keeper_keys.c     keys and certificates of a plan, and what the state process gets of them
 *   keeper_external.c authorities of servers outside of the mesh
 *   keeper_files.c    what the state process gets of the disk: secrets, its directory
 *
 * One thread, one owner: struct keeper stands in keeper_main(). Besides it there is one errand at
 * the disk at most. */
#pragma once

#include "base/bundle.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/notify.h"
#include "channel.h"
#include "conf/conf.h"
#include "keys/keyring.h"
#include "proxy/wire.h"
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The keeper's own state follows the proxy process; the state process has one of its own.
 *
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
	/* for the state process alone */
	struct keyring *mesh_keyring; /* its client certificate's key at the store; NULL: none */
	struct keyring *node_keyring; /* the machine's own, for the authority; NULL: none */
	int mesh_memfd;		      /* its bundle, sealed */
	uint64_t retire_ns;	      /* when the keys may go */
	/* what could not be read anew, and is as in the plan before */
	struct keyring_faults faults;
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

/* Which keys a signature socket may use. */
enum keeper_keys { KEEPER_KEYS_IDENTITIES, KEEPER_KEYS_MESH };

/* A signature socket. One message of answers at most waits for room; until then no request is
 * read. */
struct keeper_signer {
	enum keeper_keys keys;
	int fd;	       /* our end; -1: none */
	int passed_fd; /* the other end until it is sent; -1 then */
	uint32_t answer_count;
	struct wire_signed answers[WIRE_SIGN_BATCH];
};

/* A process that the keeper starts and looks after. */
struct keeper_child {
	const char *name;    /* "proxy process" */
	const char *command; /* its word on the command line: "proxy" */
	uint64_t silence_ns; /* no answer to pings for so long: it hangs */
	pid_t pid;	     /* 0: none */
	uint64_t start_ns;
	uint32_t start_count; /* all starts */
	uint32_t death_count; /* deaths in a row soon after the start */
	int channel_fd;	      /* -1: none */
	uint32_t said;	      /* messages of the opening, in order */
	bool drain_unsaid, ping_unsaid;
	uint64_t ping_number;
	uint64_t pong_ns;	       /* last answer; 0: none from this process */
	struct keeper_signer *signers; /* signer_count */
	uint32_t signer_count;
};

/*
 *     OFF ── wanted ──▶ WAITING ── time ──▶ RUNNING ── not wanted ──▶ LEAVING (the mesh, then KILL)
 *      ▲                  ▲  │ not wanted      │ died                   │ died
 *      └──────────────────┼──┴─────────────────┼────────────────────────┘
 *                         └────────────────────┘
 *
 * Wanted as long as the configuration in force has a store or an authority, or the proxy process
 * wants to know something of the world outside, and the keeper is not stopping. One that was
 * started with a store does not go on without one, nor the other way round: it leaves, and another
 * is started. The same when there is no authority any more. */
#define KEEPER_MESH_LIST(X) X(OFF) X(WAITING) X(RUNNING) X(LEAVING)
enum keeper_mesh_state {
#define X(name) KEEPER_MESH_##name,
	KEEPER_MESH_LIST(X)
#undef X
};

/* The state process, and what it last said for the proxy process. */
struct keeper_mesh {
	struct keeper_child child;
	enum keeper_mesh_state state;
	uint64_t deadline_ns;	       /* of WAITING and LEAVING */
	bool has_store, has_authority; /* as this process was told */
	uint64_t said_generation;      /* the plan that this process was told of */
	uint64_t taken_generation;     /* the last that it took */
	uint64_t refused_generation;   /* the last that it did not take: told once */
	int picture_fd;		       /* sealed by its maker; -1: none */
	uint64_t picture_number;
	bool heard_unknown; /* since the last tick: told */
	bool nonsense_told; /* that it passed on what is no picture */
	bool picture_unsaid;
	bool picture_away; /* with the proxy process, which has not answered */
	struct wire_state_view view;
	bool view_known, view_unsaid;
};

/* One message at a time of each kind that is answered. */
struct keeper_answer {
	bool unsaid;
	struct wire_identity m;
	int fd; /* that goes with it; -1: none */
};
#define KEEPER_ANSWERS 3

/* What was asked for and waits for the one before. */
struct keeper_errand {
	bool waits;
	struct wire_identity m;
	int fd; /* that came with it; -1: none */
};

/*   IDLE ── start ──▶ THREAD, or HERE when there is no other thread ── done_fd, end ──▶ IDLE */
enum keeper_work_state { KEEPER_WORK_IDLE, KEEPER_WORK_THREAD, KEEPER_WORK_HERE };

/* One errand that waits for the disk. All but done_fd and `wanted` is the thread's until then. */
struct keeper_work {
	enum keeper_work_state state;
	pthread_t thread;
	int done_fd; /* becomes readable */
	bool wanted; /* who asked is still there */
	struct wire_identity m;
	int fd;
	char dir[PATH_MAX], trust_domain[256];
	int result;
	struct err err;
};

/* What the state process asks of the kept keys, and the newest of what it says of certificates. */
struct keeper_identity {
	struct keeper_answer answers[KEEPER_ANSWERS];
	struct keeper_errand errands[KEEPER_ANSWERS];
	struct keeper_work work;
	uint32_t asked_count, refused_count; /* since the last tick */
	uint64_t plan_ns;     /* when to make a plan of what was kept; 0: nothing new */
	uint64_t plan_max_ns; /* and at the latest, whatever comes */
	uint64_t planned_ns;  /* when that was done last */
	struct wire_identities rows;
	int rows_fd; /* sealed by its maker; -1: none */
	bool rows_unsaid;
};

/* The newest that one child has for the other. */
struct keeper_relayed {
	int fd; /* sealed by its maker; -1: none */
	uint32_t count;
	bool unsaid;
};
/* What is wanted of the world outside, and what is known of it. */
struct keeper_outside {
	struct keeper_relayed want, facts;
	bool back_unsaid; /* what the state process before knew, to the one that begins */
	bool nonsense_told;
};

/* Who the children run as. */
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
	uint32_t next_key_number;    /* see keyring.h */
	struct keeper_watch watch;
	/* What the proxy processes make their ticket keys of: theirs to know, ours to keep beyond
	 * their death and a reload. */
	uint8_t ticket_secret[32];
	uint64_t ticket_secret_ns; /* when it was made; 0: not yet */
	int ledger_fd;		   /* memory that the children share, which outlives them */
	/* the proxy process */
	struct keeper_child proxy;
	bool ready_once; /* some proxy process was ready: the unit is up */
	bool next_unsaid, note_unsaid, log_unsaid;
	struct wire_note note;
	struct keeper_mesh mesh;
	struct keeper_outside outside;
	struct keeper_identity identity;
	uint32_t refused_count; /* signatures, since the last tick */
};

/* --- keeper.c --- */

/* The only writer of `state`. */
void keeper_move(struct keeper *k, enum keeper_state state, uint64_t deadline_ns);
/* Messages of several lines, one log line each. */
void keeper_log_text(enum log_level level, const char *text);

/* --- keeper_child.c --- */

/* `signer_count` signature sockets for these keys. */
int keeper_child_init(struct keeper_child *c, const char *name, const char *command,
	uint64_t silence_ns, enum keeper_keys keys, uint32_t signer_count,
	struct err *err) MUST_CHECK;
void keeper_child_done(struct keeper_child *c);
/* Makes the sockets and starts the process. On an error there is none of either. */
int keeper_child_start(
	struct keeper *k, struct keeper_child *c, uint64_t now_ns, struct err *err) MUST_CHECK;
/* True when it has ended, with its status as of waitpid(2); its channel is closed then. `wanted`
 * is how loudly that is told. */
bool keeper_child_ended(struct keeper_child *c, bool wanted);
/* How long to wait before it is started again. */
uint64_t keeper_child_backoff_ns(struct keeper_child *c, uint64_t now_ns);
bool keeper_child_silent(const struct keeper_child *c, uint64_t now_ns, uint64_t silence_ns);
/* Asks once more, and kills a process that has been silent for too long. */
void keeper_child_ping(struct keeper_child *c, uint64_t now_ns);
/* Closes the channel only: the process is gone or going, and its death is what is acted upon. */
void keeper_child_hang_up(struct keeper_child *c);
/* False: nothing more to be heard now. A descriptor that came along is the caller's. */
bool keeper_child_hear(
	struct keeper_child *c, union channel_message *ret_m, size_t *ret_len, int *ret_fd);
/* Messages heard in one go, so that a busy child cannot keep the keeper from its other work. */
#define KEEPER_HEAR_BATCH 32

struct wire_head keeper_head(enum wire_kind kind);
/* Each of these says one thing: 0, -EAGAIN or -errno. */
int keeper_child_say(struct keeper_child *c, const void *m, size_t len, int pass_fd) MUST_CHECK;
int keeper_child_say_start(
	struct keeper_child *c, uint32_t worker_count, uint32_t listener_count) MUST_CHECK;
int keeper_child_say_signer(struct keeper_child *c, uint32_t index) MUST_CHECK;
int keeper_child_say_ledger(struct keeper_child *c, int ledger_fd) MUST_CHECK;
int keeper_child_say_plan(struct keeper_child *c, uint64_t generation, int memfd) MUST_CHECK;
int keeper_child_say_drain(struct keeper_child *c) MUST_CHECK;
int keeper_child_say_ping(struct keeper_child *c) MUST_CHECK;

/* --- keeper_channel.c --- */

/* Before a proxy process is started: everything is to be said to it, from the beginning. */
void keeper_channel_begin(struct keeper *k);
/* Says as much as there is room for. */
void keeper_channel_write(struct keeper *k);
bool keeper_channel_wants_write(const struct keeper *k);
void keeper_channel_read(struct keeper *k, uint64_t now_ns);
/* Why a reload changed nothing, for the proxy's status page. */
void keeper_note(struct keeper *k, uint64_t generation, const char *text);

/* --- keeper_mesh.c --- */

int keeper_mesh_init(struct keeper *k, struct err *err) MUST_CHECK;
void keeper_mesh_done(struct keeper *k);
/* Decides about the state process: starts it, ends it, or nothing. */
void keeper_mesh_step(struct keeper *k, uint64_t now_ns);
/* When it has to be called again at the latest; UINT64_MAX: not by time. */
uint64_t keeper_mesh_until_ns(const struct keeper *k);
void keeper_mesh_ping(struct keeper *k, uint64_t now_ns);
/* Does not wait for it any longer. */
void keeper_mesh_hurry(struct keeper *k);
bool keeper_mesh_gone(const struct keeper *k);
void keeper_mesh_write(struct keeper *k);
bool keeper_mesh_wants_write(const struct keeper *k);
void keeper_mesh_read(struct keeper *k, uint64_t now_ns);
/* To the proxy process, and what that answered. */
bool keeper_mesh_wants_telling(const struct keeper *k);
int keeper_mesh_tell_picture(struct keeper *k) MUST_CHECK;
int keeper_mesh_tell(struct keeper *k) MUST_CHECK;
void keeper_mesh_taken(struct keeper *k, uint64_t number);
void keeper_mesh_take_out(struct keeper *k, const struct wire_take_out *m);

/* The memory behind it can change no more, and is not too large. */
bool keeper_sealed(int fd, size_t bytes_max);

/* --- keeper_outside.c --- */

void keeper_outside_done(struct keeper *k);
/* Something is wanted, so that there has to be a state process. */
bool keeper_outside_wanted(const struct keeper *k);
/* True: the message was for here, and the descriptor is taken over. */
bool keeper_outside_hear(struct keeper *k, const union channel_message *m, size_t len, int fd);
/* A child is started: everything is to be said to it. */
void keeper_outside_begin_proxy(struct keeper *k);
void keeper_outside_begin_state(struct keeper *k);
bool keeper_outside_wants_saying(const struct keeper *k);
/* To the state process, and to the proxy process; nothing there is 0. */
int keeper_outside_say(struct keeper *k) MUST_CHECK;
int keeper_outside_tell_facts(struct keeper *k) MUST_CHECK;

/* --- keeper_identity.c --- */

int keeper_identity_init(struct keeper *k, struct err *err) MUST_CHECK;
void keeper_identity_done(struct keeper *k);
/* Forgets what was not answered yet, and with `rows` what it said of certificates: before another
 * state process, and after the last. */
enum keeper_rows { KEEPER_ROWS_STAY, KEEPER_ROWS_GO };
void keeper_identity_forget(struct keeper *k, enum keeper_rows rows);
/* True: the message was for here, and the descriptor is taken over. */
bool keeper_identity_hear(struct keeper *k, const union channel_message *m, size_t len, int fd);
/* An errand is done: work.done_fd says so. */
void keeper_identity_worked(struct keeper *k, uint64_t now_ns);
/* Makes a plan of new certificates and anchors when it is time, and begins the next errand. */
void keeper_identity_step(struct keeper *k, uint64_t now_ns);
uint64_t keeper_identity_until_ns(const struct keeper *k);
/* Answers, to the state process. */
bool keeper_identity_wants_write(const struct keeper *k);
int keeper_identity_say(struct keeper *k) MUST_CHECK;
/* How it stands with certificates, to the proxy process. */
int keeper_identity_tell(struct keeper *k) MUST_CHECK;

/* --- keeper_work.c --- */

int keeper_work_init(struct keeper_work *w, struct err *err) MUST_CHECK;
/* Waits for the one under way. */
void keeper_work_done(struct keeper_work *w);
/* What was asked for and may be; takes the descriptor over. */
void keeper_work_start(
	struct keeper_work *w, const struct conf *conf, const struct wire_identity *m, int fd);
/* After done_fd. The request's descriptor, 0, or -errno with w->err. */
int keeper_work_end(struct keeper_work *w);

/* --- keeper_sign.c --- */

void keeper_signer_init(struct keeper_signer *s, enum keeper_keys keys);
int keeper_signer_open(struct keeper_signer *s) MUST_CHECK;
void keeper_signer_close(struct keeper_signer *s);
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
/* Starts the child; its end of the channel is closed here in any case. */
int keeper_spawn(struct keeper_child *c, const struct keeper_user *user, int channel_fd,
	struct err *err) MUST_CHECK;

/* --- keeper_reload.c --- */

enum keeper_scope {
	KEEPER_SCOPE_ALL,    /* configuration, mesh objects, users, marks, certificates, secrets */
	KEEPER_SCOPE_WATCHED /* marks, certificates, secrets; the rest as in `before` */
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
/* A look at marks, certificates and secrets; true when they changed and have been at rest since the
 * last look. */
bool keeper_watch_look(struct keeper *k);
/* Add a file, or those of a directory and of `depth` levels below it, to a fingerprint. */
uint64_t keeper_mark_file(uint64_t mark, int dir_fd, const char *name);
uint64_t keeper_mark_directory(uint64_t mark, int parent_fd, const char *path, int depth);

/* --- keeper_keys.c --- */

/* Certificates, anchors and revocation lists into the plan's bundle, keys into its keyring. What
 * somebody asked for is taken as a whole or not at all. What changes on its own may be half
 * written: that part stays as it is in force. */
int keeper_keys_load(struct keeper *k, enum keeper_scope scope, const struct keeper_plan *before,
	struct keeper_plan *plan, struct err *err) MUST_CHECK;
/* With an authority: what the keeper keeps of this machine's workloads. `in_force`: may be NULL. */
int keeper_keys_load_kept(struct conf *conf, const struct bundle *in_force,
	struct keyring_numbers *numbers, struct keyring **ret_keyring, struct bundle *b,
	struct err *err) MUST_CHECK;
/* What the state process needs for the authority into `b`, when there is one and this machine has
 * joined; else the log says what to do. */
int keeper_keys_load_node(struct keeper *k, const struct keeper_plan *before,
	struct keeper_plan *plan, struct bundle *b, struct err *err) MUST_CHECK;
/* Adds what was or will be loaded to a fingerprint. */
uint64_t keeper_keys_mark(const struct conf *conf, uint64_t mark);

/* --- keeper_external.c --- */
/* Items of kind `outside`. */
int keeper_external_add(const struct conf *conf, struct bundle *b, struct err *err) MUST_CHECK;

/* --- keeper_files.c --- */

/* What the state process needs beside the configuration: operators' keys, secrets, authorities. */
int keeper_files_add(const struct conf_state *s, struct bundle *b, struct err *err) MUST_CHECK;
/* Keys of issuers of tokens: <name>.json of a directory, which need not be there. */
int keeper_files_add_issuers(struct str dir, struct bundle *b, struct err *err) MUST_CHECK;
/* Adds these files to a fingerprint. */
uint64_t keeper_files_mark(const struct conf_state *s, uint64_t mark);
/* A file that anybody may read, named by its path or as a credential. */
int keeper_files_add_public(struct bundle *b, const char *kind, struct str name, struct str file,
	struct err *err) MUST_CHECK;
/* The state process's directory, made if need be, for that user alone: a descriptor that names it
 * (O_PATH: root without CAP_DAC_OVERRIDE may not read another's), or -errno. */
int keeper_directory_open(
	const char *path, const struct keeper_user *user, struct err *err) MUST_CHECK;
