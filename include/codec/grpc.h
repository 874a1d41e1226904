/* SPDX-License-Identifier: Apache-2.0 */
/* As much of gRPC as headers show: whether a request is gRPC, how a response without a body ends.
 * Pure. */
#pragma once

#include "base/assert.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* X(NAME, number) */
#define GRPC_STATUS_LIST(X)       \
	X(OK, 0)                  \
	X(CANCELLED, 1)           \
	X(UNKNOWN, 2)             \
	X(INVALID_ARGUMENT, 3)    \
	X(DEADLINE_EXCEEDED, 4)   \
	X(NOT_FOUND, 5)           \
	X(ALREADY_EXISTS, 6)      \
	X(PERMISSION_DENIED, 7)   \
	X(RESOURCE_EXHAUSTED, 8)  \
	X(FAILED_PRECONDITION, 9) \
	X(ABORTED, 10)            \
	X(OUT_OF_RANGE, 11)       \
	X(UNIMPLEMENTED, 12)      \
	X(INTERNAL, 13)           \
	X(UNAVAILABLE, 14)        \
	X(DATA_LOSS, 15)          \
	X(UNAUTHENTICATED, 16)

enum grpc_status {
#define X(name, number) GRPC_##name = number,
	GRPC_STATUS_LIST(X)
#undef X
};

/* A Content-Type of gRPC or gRPC-Web, with or without the name of a message format. */
bool grpc_is_type(struct str content_type);
/* What an HTTP status means to a gRPC client (the protocol's own table). */
enum grpc_status grpc_status_of_http(uint16_t status);
/* The number as a header has it. False: none of those that there are. */
bool grpc_status_read(struct str value, enum grpc_status *ret_status) MUST_CHECK;
/* The same for writing. */
struct str grpc_status_text(enum grpc_status status);

/* A text as `grpc-message` has it, with escapes. `message` has room for so many bytes; returns how
 * many there are. */
#define GRPC_MESSAGE_BYTES(text_len) (3 * (text_len))
size_t grpc_message_write(struct str text, char *message);

/* What `grpc-retry-pushback-ms` asks for: false, no retry at all, as for anything that is no number
 * from 0 on. */
bool grpc_pushback_read(struct str value, uint64_t *ret_ms) MUST_CHECK;
