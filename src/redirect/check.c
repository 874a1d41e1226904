/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include "rules.h"
#include "standing.h"
#include <stdio.h>

int check_rules(
	const struct tool *t, const struct capture *p, struct live *live, struct err *detail)
{
	int outcome = CHECK_IN_PLACE;
	bool absent = true;
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
		live[v] = (struct live){0};
	for (enum ip_version v = 0; v < tool_version_count(t); v++) {
		struct err difference;
		int r = tool_read(t, v, &live[v], detail);
		if (r < 0) {
			live_done(&live[IP_V4]);
			return r;
		}
		absent &= live_absent(&live[v]);
		if (outcome == CHECK_IN_PLACE && !rules_match(p, v, &live[v], &difference)) {
			err_set(detail, 1, "%s %.480s", ip_version_name(v), difference.text);
			outcome = CHECK_DRIFTED;
		}
	}
	if (absent) {
		err_set(detail, 1, "no rules of ringmain in the kernel");
		return CHECK_ABSENT;
	}
	if (outcome == CHECK_IN_PLACE && !standing_accepts_marks()) {
		err_set(detail, 1, "net.ipv4.tcp_fwmark_accept is off: no workload is recognised");
		outcome = CHECK_DRIFTED;
	}
	return outcome;
}
