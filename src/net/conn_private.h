/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a conn: what conn.c and conn_receive.c share. */
#pragma once

#include "net/conn.h"

void conn_fail(struct conn *c, enum conn_failure failure, int error);

/* Takes in what the receive brought. */
void conn_take_recv(struct conn *c);
/* All of the held block is used: it goes back, and the next one is held, if there is one. */
void conn_put_block(struct conn *c);
/* Copies what stands still, when others need the blocks. */
void conn_keep_received(struct conn *c);
/* Gives everything received back, unused. */
void conn_drop_received(struct conn *c);
void conn_arm_recv(struct conn *c);
