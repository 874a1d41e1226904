/* SPDX-License-Identifier: Apache-2.0 */
/* How the mesh lies in the store. All keys begin with "ringmain:{<trust domain>}:", one slot of a
 * cluster, and one prefix for access rules.
 *
 *   head           string   the signed head of the newest revision       written by operators
 *   objects        hash     "service/orders" -> the object's envelope     written by operators
 *   changes        stream   one entry per revision, id "<revision>-0",    written by operators
 *                           fields "head" and "change"; trimmed to about 1000 entries
 *   node:<name>    string   a node's record                               written by that node
 *   lease:<name>   string   "<start> <number>" of that record, and the    written by that node
 *                           revision in force there as a third word; with an expiry of state.lease,
 *                           renewed three times in it
 *   figures:<name> string   what this node has seen of versions that      written by that node
 *                           are rolled out (rollout/rollout.h); with an
 *                           expiry
 *   rollout:<service> stream how far a rollout is: field "progress"      written by the node that
 *                           (rollout/rollout.h), and "time", when it     carries it on, any node
 *                           was written, ms by the store's clock. Ids
 *                           "<term>-<number>": the store takes no id
 *                           that is not higher than the last, so of
 *                           several who begin a term one wins, and who
 *                           was overtaken cannot write. An entry every
 *                           second or so; trimmed to 32 and a node of the
 *                           stream's memory more, some 50 in all
 *   tokens:<id>:<window> string  how many tokens of a limit nodes have    written by all nodes
 *                           taken in a window; with an expiry. <id>: of the limit, its numbers and
 *                           the values of its key, in hexadecimal; <window>: the store's time
 *                           divided by the window's length. A node makes it with SET 0 PX NX, adds
 *                           what it wants with INCRBY, and keeps of that what the answer leaves
 *                           below the amount; the rest, and what it does not need, goes back with
 *                           DECRBY; an answer that says that the number was lost meanwhile gets a
 *                           PEXPIRE. While nobody asks, nothing is said
 *
 * and one channel, "news": hints that something has changed, so that others need not wait for their
 * next look. "objects <revision>", "node <name>", "rollout <service>". Never believed: whoever
 * hears one looks at the keys. Anybody in the mesh may publish there.
 *
 * Why nodes do not write to the stream: access rules of Redis are by key, not by content, so one
 * stolen node could write everything that the stream can say. A node's record is a numbered stream
 * of its own with only the last entry kept. */
#pragma once

#include "base/str.h"
#include <stdbool.h>
#include <stdio.h>

#define LAYOUT_KEY_MAX	    512
#define LAYOUT_CHANGES_KEPT "1000"

/* The key's text, NUL at its end, into `text`; returns it as a span. `name`: empty for those that
 * have none. Trust domain and node name are valid ones, so it always fits. */
static inline struct str layout_key(
	char text[LAYOUT_KEY_MAX], struct str trust_domain, const char *kind, struct str name)
{
	int len = snprintf(text, LAYOUT_KEY_MAX, "ringmain:{" STR_FMT "}:%s%s" STR_FMT,
		STR_ARG(trust_domain), kind, name.len ? ":" : "", (int)name.len,
		name.len ? name.at : "");
	return (struct str){text, (size_t)len};
}
