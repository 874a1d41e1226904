/* SPDX-License-Identifier: Apache-2.0 */
/* The heads on their way through: copying, and what the mesh adds and takes off. */
#pragma once

#include "exchange.h"

/* Copies a head with its text into the exchange's arena. False: too much memory. */
bool exchange_copy_head(
	struct arena *a, const struct http_head *from, struct http_head *to) MUST_CHECK;
/* Brings the path to its normal form. */
enum reason exchange_normalise(struct exchange *x);
/* Gives it a host and an id where it has none, replaces the headers that tell who called. */
enum reason exchange_prepare_request(struct exchange *x);
/* The last part of it alone, for a request that takes another way than at first. */
enum reason exchange_name_caller(struct exchange *x);

/* All of that name, letter case aside; whether there were any. */
bool exchange_remove_header(struct http_head *head, struct str name);

/* Between two proxies: an answer that says that the workload got nothing of the request, so that it
 * may be sent to another. False: nothing is written, or not all of it. */
bool exchange_write_unsent(struct exchange *x, uint16_t status, const char *text) MUST_CHECK;
/* Whether a response says so; it does not any more. */
bool exchange_take_unsent(struct http_head *response);
