/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the ring room: what ring.c and restrict.c share. */
#pragma once

#include "base/error.h"
#include <liburing.h>

/* The one group of provided receive blocks. */
#define URING_BLOCK_GROUP 0

/* Registers the allow-list on a ring that is still disabled: from its enabling on, the kernel
 * answers every other operation with -EACCES. */
int uring_restrict(struct io_uring *uring, struct err *err) MUST_CHECK;
