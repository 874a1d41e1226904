/* SPDX-License-Identifier: Apache-2.0 */
/* The heads on their way through: copying, and what the mesh adds and takes off. */
#pragma once

#include "exchange.h"

/* Tells a mirror that nobody waits for its answer. Only proxies can say so: from workloads it is
 * taken off. */
#define HEADER_MIRROR "x-ringmain-mirror"

/* Copies a head with its text into the exchange's arena. False: too much memory. */
bool exchange_copy_head(
	struct arena *a, const struct http_head *from, struct http_head *to) MUST_CHECK;
/* What another proxy says of a request is believed: that it is a copy for a mirror, by which rule
 * it went. Whoever says it, and whatever else begins as our own headers do, it is taken off, but
 * for the mark of a copy, which its workload sees. */
void exchange_see_mark(struct exchange *x);
/* Brings the path to its normal form. */
enum reason exchange_normalise(struct exchange *x);
/* Gives it a host and an id where it has none, replaces the headers that tell who called. */
enum reason exchange_prepare_request(struct exchange *x);
/* The last part of it alone, for a request that takes another way than at first. */
enum reason exchange_name_caller(struct exchange *x);
/* The same for any head, by this call. */
enum reason exchange_head_name_caller(
	struct arena *a, const struct call *call, struct http_head *head);
/* What a server sees of the path, and so what policy is about. */
struct str exchange_head_path(const struct http_head *head);

/* Takes off what only proxies say: of a head or trailers, on the way there or back. `kept`: but for
 * those; OTHER: none. */
void exchange_remove_ours(struct http_head *head, enum http_name kept);
/* Takes off a request's trailers what policies of the service here ask for in its headers, tokens
 * too: a server that puts the two together would see what was not judged. */
void exchange_remove_judged(const struct call *call, struct http_head *trailers);
/* All of that name, letter case aside; whether there were any. */
bool exchange_remove_header(struct http_head *head, struct str name);

/* Tells a caller that a limit of its own machine refused it, and not the service. */
#define HEADER_OVERLOADED "x-ringmain-overloaded"

/* What one proxy tells another beside its answer for a workload that gave none. */
enum exchange_told {
	EXCHANGE_TOLD_NOTHING,
	EXCHANGE_TOLD_UNSENT, /* it got nothing of the request, which may be sent to another */
	EXCHANGE_TOLD_RESET,  /* it may have got it, and has closed the connection */
};
/* The header that says so. */
struct str exchange_told_name(enum exchange_told told);
/* What a response says; it does not any more. */
enum exchange_told exchange_take_told(struct http_head *response);
