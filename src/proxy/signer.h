/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's line to the keeper's keys: questions go out over a socketpair, answers come back in
 * any order, nobody waits. What a turn asks goes out as one message. */
#pragma once

#include "base/list.h"
#include "proxy/wire.h"
#include "ring/loop.h"
#include "tls/tls.h"

/* A signature being waited for; embedded in its owner. */
struct signature {
	struct list node; /* in signer.queued or signer.asked; on itself when idle */
	struct task *owner;
	struct wire_sign question;
	bool answered;
	uint16_t len; /* 0: refused */
	uint8_t bytes[128];
};

struct signer {
	struct task task;
	struct loop *loop;
	int fd;
	struct op send, recv;
	struct wire_sign sending[WIRE_SIGN_BATCH];
	uint32_t sending_count;
	struct wire_signed receiving[WIRE_SIGN_BATCH];
	struct list queued; /* not yet sent */
	struct list asked;  /* sent, not answered */
	uint64_t last_number;
	bool broken; /* the keeper is gone: everything is refused */
};

void signature_init(struct signature *s, struct task *owner);

void signer_init(struct signer *s, struct loop *loop, int fd, uint16_t task_kind);
/* Arms the first receive; on the worker's thread. */
void signer_start(struct signer *s);
/* Asks; the owner's task is made ready when `answered`. */
void signer_ask(struct signer *s, struct signature *wanted, const struct tls_sign_request *request);
/* The owner is going away; its answer, when it comes, is dropped. */
void signer_forget(struct signature *wanted);
void signer_step(struct signer *s);
/* Ends its operations; true when none is armed. */
bool signer_close(struct signer *s);
