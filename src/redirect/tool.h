/* SPDX-License-Identifier: Apache-2.0 */
/* The iptables programs: which ones, how they are run, and what their complaints mean. */
#pragma once

#include "live.h"
#include "text.h"

#define TOOL_NAME_MAX 64

struct tool {
	char restore[IP_VERSION_COUNT][TOOL_NAME_MAX];
	char save[IP_VERSION_COUNT][TOOL_NAME_MAX];
	bool ipv6; /* false: this kernel has no IPv6 at all, so there is nothing to guard */
};

/* `backend` "auto" takes the host's own choice (iptables-restore), any other name NAME takes
 * iptables-NAME-restore: "nft", "legacy". All are looked up in PATH. */
int tool_init(struct tool *t, const char *backend, struct err *err) MUST_CHECK;
/* How many IP versions there are to care for, from IP_V4 on. */
enum ip_version tool_version_count(const struct tool *t);
const char *ip_version_name(enum ip_version v);

/* "nf_tables" or "legacy", as the program says; "unknown" for others. */
int tool_backend(const struct tool *t, char ret_name[TOOL_NAME_MAX], struct err *err) MUST_CHECK;
/* The other of the two known back ends, when its programs are installed; false: there is none. */
bool tool_other(const struct tool *t, struct tool *ret_other);

/* Reads what stands in the kernel; on success to be ended with live_done(). */
int tool_read(
	const struct tool *t, enum ip_version v, struct live *ret_live, struct err *err) MUST_CHECK;
/* Applies one restore file of one table; nothing for an empty one. The error names the table, the
 * line and the cure. */
int tool_apply(const struct tool *t, enum ip_version v, const struct text *file,
	struct err *err) MUST_CHECK;
