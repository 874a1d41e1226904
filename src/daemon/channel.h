/* SPDX-License-Identifier: Apache-2.0 */
/* One message with at most one file descriptor over a SOCK_SEQPACKET socket: the carrier of
 * include/proxy/wire.h, for both ends. */
#pragma once

#include "base/assert.h"
#include "proxy/wire.h"
#include <stddef.h>

/* Any message; fixed structs, so a received one is read through its member once kind and length
 * have been compared. */
union channel_message {
	struct wire_head head;
	struct wire_start start;
	struct wire_listener listener;
	struct wire_signer signer;
	struct wire_plan plan;
	struct wire_note note;
	struct wire_ready ready;
	struct wire_ping ping;
	struct wire_state state;
	struct wire_state_view view;
	struct wire_take_out take_out;
	struct wire_outside outside;
	struct wire_identity identity;
	struct wire_identities identities;
	struct wire_sign sign[WIRE_SIGN_BATCH];
	struct wire_signed signature[WIRE_SIGN_BATCH];
};

enum channel_wait { CHANNEL_NO_WAIT, CHANNEL_WAIT };

/* `pass_fd` -1: none; it stays the caller's. 0, -EAGAIN (nothing sent), or -errno. Never waits. */
int channel_send(int fd, const void *message, size_t len, int pass_fd) MUST_CHECK;

enum channel_outcome { CHANNEL_CLOSED = 1 /* the other end is gone */ };
/* 0 with the length and the descriptor that came along (or -1; the caller's to close);
 * CHANNEL_CLOSED; -EAGAIN; -EPROTO for what is no message of ours; -errno. */
int channel_receive(int fd, enum channel_wait wait, union channel_message *ret_message,
	size_t *ret_len, int *ret_fd) MUST_CHECK;
