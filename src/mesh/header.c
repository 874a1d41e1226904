/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/header.h"

#include "base/assert.h"

bool header_is_hop(struct str name)
{
	static const struct str names[] = {{"connection", 10}, {"content-length", 14},
		{"expect", 6}, {"host", 4}, {"http2-settings", 14}, {"keep-alive", 10},
		{"proxy-connection", 16}, {"te", 2}, {"trailer", 7}, {"transfer-encoding", 17},
		{"upgrade", 7}};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (str_eq_nocase(name, names[i]))
			return true;
	}
	return false;
}

/* By its first letter and length before anything else: nearly no header is. */
bool header_is_ours(struct str name)
{
	struct str lead = STR("x-ringmain-");
	if (name.len < lead.len || (name.at[0] | 0x20) != 'x')
		return false;
	return str_eq_nocase((struct str){name.at, lead.len}, lead) ||
	       str_eq_nocase(name, STR("x-forwarded-client-cert"));
}
