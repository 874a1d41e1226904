/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy's rings may do, enforced by the kernel: io_uring operations pass by seccomp, so
 * without this list a taken-over proxy could open files through a ring it already has.
 *
 * An operation that ring.c begins to use must be added here, or it ends with -EACCES. */
#include "uring.h"

#include <string.h>

static const uint8_t uring_operations[] = {
	IORING_OP_ACCEPT,
	IORING_OP_ASYNC_CANCEL,
	IORING_OP_CONNECT,
	IORING_OP_POLL_ADD,
	IORING_OP_READ,
	IORING_OP_RECV,
	IORING_OP_SEND,
};

/* Registrations after the enabling; the block ring is registered before it. */
static const uint8_t uring_registrations[] = {
	IORING_REGISTER_RING_FDS,
	IORING_UNREGISTER_RING_FDS,
};

int uring_restrict(struct io_uring *uring, struct err *err)
{
	struct io_uring_restriction
		list[ARRAY_LEN(uring_operations) + ARRAY_LEN(uring_registrations) + 1];
	unsigned count = 0;
	memset(list, 0, sizeof(list));
	for (size_t i = 0; i < ARRAY_LEN(uring_operations); i++) {
		list[count].opcode = IORING_RESTRICTION_SQE_OP;
		list[count++].sqe_op = uring_operations[i];
	}
	for (size_t i = 0; i < ARRAY_LEN(uring_registrations); i++) {
		list[count].opcode = IORING_RESTRICTION_REGISTER_OP;
		list[count++].register_op = uring_registrations[i];
	}
	list[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	list[count++].sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;

	int r = uring_register_restrictions(uring, list, count);
	if (r < 0)
		return err_set(err, -r, "io_uring: cannot restrict the ring: %s", strerror(-r));
	return 0;
}
