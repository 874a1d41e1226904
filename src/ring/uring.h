/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the ring room: what ring.c and restrict.c share. */
#pragma once

#include "base/error.h"
#include <liburing.h>

/* The one group of provided receive blocks. */
#define URING_BLOCK_GROUP 0

/* liburing 2.3 has functions for these two, but its shared library does not export them. */
static inline int uring_enable(struct io_uring *uring)
{
	return io_uring_register((unsigned)uring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static inline int uring_register_restrictions(
	struct io_uring *uring, const struct io_uring_restriction *list, unsigned count)
{
	return io_uring_register(
		(unsigned)uring->ring_fd, IORING_REGISTER_RESTRICTIONS, list, count);
}

/* Registers the allow-list on a ring that is still disabled: from its enabling on, the kernel
 * answers every other operation with -EACCES. */
int uring_restrict(struct io_uring *uring, struct err *err) MUST_CHECK;
