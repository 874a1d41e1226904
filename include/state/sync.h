/* SPDX-License-Identifier: Apache-2.0 */
/* This node's part in the mesh's state: reads what operators and other nodes have written, keeps it
 * when the store does not answer, and tells of this node's own endpoints. Runs in the state
 * process, on its loop.
 *
 * What it hands on is a picture of the mesh (a bundle, kinds mesh, node and revision), whole and
 * verified. A revision that does not verify, or is older than one that was seen, is not taken: the
 * last good one stays, and sync_view() says so. */
#pragma once

#include "base/bundle.h"
#include "base/error.h"
#include "conf/conf.h"
#include "ledger/ledger.h"
#include "mesh/record.h"
#include "mesh/state_view.h"
#include "ring/loop.h"
#include <stdbool.h>
#include <stdint.h>

struct sync;

#define SYNC_KINDS 4 /* task kinds that the room takes, from kind_first on, a multiple of it */

/* `b`: kinds conf, operator, secret, pki, pki-key of the state process's bundle; copied from.
 * `dir_fd`: where the last known state is kept; `ledger`: what is shared with the proxy process;
 * both stay the caller's. Blocks on disk: reads the last known state, which is handed on at once.
 */
int sync_new(struct loop *loop, uint16_t kind_first, struct task *owner, const struct conf *conf,
	const struct bundle *b, int dir_fd, struct ledger *ledger, struct sync **ret_sync,
	struct err *err) MUST_CHECK;
void sync_step(struct task *t);
/* New configuration. On an error nothing has changed. */
int sync_configure(struct sync *s, const struct conf *conf, const struct bundle *b,
	struct err *err) MUST_CHECK;

/* What the checks say of conf->workloads[index], whenever it changes. A node begins to tell of
 * itself when this is known of all of its workloads, or after two seconds, and what was not told
 * then is down: so a new state process does not take endpoints out of the mesh that were up. */
void sync_tell_health(struct sync *s, uint32_t index, bool up);
/* Takes this node's endpoints of a service out of the mesh, or puts them back; empty: all of them.
 * Kept on disk, so that it outlives a restart. -ENOENT: no such workload here. */
int sync_drain(struct sync *s, struct str service, bool back, struct err *err) MUST_CHECK;

/* A new picture since the last call: a sealed memfd of the caller's, and its number in *ret_number;
 * -1: nothing new. At most five a second. */
int sync_picture(struct sync *s, uint64_t *ret_number);

/* What a handshake with the store needs signed, for which the keeper has the key (`pki-key`): to be
 * asked for after every sync_step(), until there is no more (false). */
struct sync_sign {
	uint64_t number; /* to be given back with the answer */
	uint32_t key_number;
	uint16_t algorithm;   /* TLS SignatureScheme */
	const uint8_t *bytes; /* valid until the next call on the sync */
	size_t len;
};
bool sync_sign(struct sync *s, struct sync_sign *ret_sign);
/* `len` 0: refused. An answer to a question of the past has no effect. */
void sync_sign_done(struct sync *s, uint64_t number, const uint8_t *signature, size_t len);

void sync_view(const struct sync *s, struct state_view *ret_view);

/* One of this node's endpoints, for status; false at the end. */
struct sync_own {
	struct str service;
	enum endpoint_health health;
	bool drained, checked_up;
};
bool sync_own(const struct sync *s, uint32_t index, struct sync_own *ret_own);

/* Leaves the mesh (takes this node's record away, when the store answers within a second), then
 * ends everything; sync_idle() tells when it has. */
void sync_close(struct sync *s);
bool sync_idle(const struct sync *s);
void sync_free(struct sync *s);
