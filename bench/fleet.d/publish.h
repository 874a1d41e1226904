/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes the objects of a mesh of some size, signed by an operator: what `ringmain apply`
 * writes, from objects made here. Revision 1 is all of them; each later one is another text of the
 * first service, and nothing else. */
#pragma once

#include "base/address.h"
#include "base/error.h"
#include <stdint.h>

struct publish_options {
	struct address redis;
	const char *mesh, *key; /* the operator's private one, a file */
	uint32_t services, policies;
	uint64_t revision;
};

struct publish_result {
	uint64_t sent_ns; /* monotonic: the transaction leaves */
	uint64_t done_ns; /* ... and was answered */
	uint64_t object_bytes, change_bytes, head_bytes;
};

int publish(const struct publish_options *options, struct publish_result *ret_result,
	struct err *err) MUST_CHECK;
