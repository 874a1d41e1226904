/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/reason.h"

#include "base/assert.h"

static const struct reason_row reason_rows[] = {
#define X(name, status, grpc, flag, retry, text) {#name, status, grpc, flag, retry, text},
	REASON_LIST(X)
#undef X
};

const struct reason_row *reason_row(enum reason reason)
{
	ASSERT(reason < REASON_COUNT);
	return &reason_rows[reason];
}
