/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of local workloads to what is no service of the mesh: to an external that is declared
 * (mesh/external.h), to what the node lets pass as it is, or to something unknown.
 *
 * Which external it is, is said by the address that was dialled, or by a name in what the workload
 * sends: then the address says nothing, and the call goes where we know that name to be. */
#pragma once

#include "call.h"
#include "mesh/external.h"

/* By the address alone. NONE may also mean that its name is still to be seen (c->by_name). */
enum reason outside_settle(struct call *c);
/* A call that is by name: what its bytes, or this request of them, ask for. Nothing changes for one
 * that asks for the same again, unless where it leads took no connection the last time. `text`: as
 * it was sent; empty: nothing. Else a call that is refused leads nowhere. */
enum reason outside_name(struct call *c, enum external_speech speech, struct str text);
/* The same as for `before`, which is the call under an earlier plan; at the same address, if that
 * is still one. What is said of requests is kept for outside_check(), as the next may ask for
 * something else. */
enum reason outside_name_again(const struct call *before, struct call *c);
enum reason outside_check(const struct call *c);

/* A call by name may lead to any address of its external: when one of them takes no connection,
 * another is tried, and all together have the time of one connect. Of other calls these say and
 * change nothing. */
/* Before it is dialled: where it leads already, or after a failure to another one. */
void outside_pick(struct call *c, struct call_tries *tries);
/* What became of it. */
void outside_tried(struct call *c, struct call_tries *tries, enum reason reason);
bool outside_may_pick_again(const struct call *c, const struct call_tries *tries);
/* Until when the address that was picked has to take the connection. */
uint64_t outside_connect_ns(const struct call *c, const struct call_tries *tries);

/* What the server is asked to be; empty: nothing is known, or no TLS of ours. */
struct str outside_server_name(const struct call *c);
/* Begins TLS on a line that was dialled, where it is ours to begin. */
enum reason outside_secure(const struct call *c, bool is_http, struct line *line);

/* Whether calls of this identity may still lead to this address under a plan: of an external with
 * the name, secured by that store (NULL: not), or, with no name, as something unknown. */
bool outside_leads(const struct plan *plan, struct str source_id, struct str external,
	const struct address *a, const struct tls_store *tls);

/* For the access log: "external", "passthrough", "audited", "allowed", or empty. */
struct str outside_word(const struct call *c);
bool outside_is_audited(const struct call *c);
/* Once it is connected: "tls" of ours, the workload's own that passes through, "plaintext", or
 * "none": nobody looks at what it is. */
struct str outside_security(const struct call *c);

/* --- of a plan --- */

/* The authorities of each external's server; false: out of memory. What cannot be had is said in
 * the plan's warnings, and nothing of that external is reached. */
bool outside_build(struct plan *plan, const struct bundle *b, const struct plan *before) MUST_CHECK;
void outside_done(struct plan *plan);
