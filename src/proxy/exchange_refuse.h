/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of our own in place of a response: what the caller is told in headers, as far as it can
 * read them. */
#pragma once

#include "exchange.h"
#include "exchange_head.h"

/* Whether the request is one of gRPC: then the answer is a response without a body whose headers
 * are at once its trailers, with HTTP status 200, as gRPC has it. */
bool exchange_is_grpc(const struct exchange *x);
/* A limit of this machine's own has refused it: nothing was tried. */
bool exchange_is_overload(enum reason reason);
/* A whole answer; x->status becomes the one that was written. False: nothing is written. */
bool exchange_write_refusal(struct exchange *x, enum reason reason, enum exchange_told told,
	uint16_t status, const char *text, bool close) MUST_CHECK;
