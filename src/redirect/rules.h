/* SPDX-License-Identifier: Apache-2.0 */
/* The rule set as text for iptables-restore --noflush: pure functions of the capture and of what
 * stands in the kernel. Each rule is written the way iptables-save prints it, so that comparing
 * wanted and present is comparing lines.
 *
 *   mangle OUTPUT   -> RINGMAIN_MARK    SYN: who opened this? clears the bits, then sets the user's
 *   nat OUTPUT      -> RINGMAIN_OUT     SYN of a marked user: to the outbound ports
 *                      RINGMAIN_LOCAL   SYN of anybody but the proxy to a local workload's port:
 * too nat PREROUTING  -> RINGMAIN_IN      SYN from outside to a local workload's port: inbound
 * ports filter OUTPUT   -> RINGMAIN_GUARD   whatever should have been captured and was not is
 * reset: RINGMAIN_LEAVE     a listed user's packets that would leave the machine, except of
 * connections older than the guard RINGMAIN_OWN       new connections to a local workload's port
 *   filter INPUT    -> RINGMAIN_ENTRY   the same for those from outside
 *
 * Only SYNs are redirected. Otherwise the first installation would redirect connections that are
 * already running, the operator's own login among them, because connection tracking that has just
 * been switched on takes their next packet for the first one of a connection. */
#pragma once

#include "capture.h"
#include "live.h"
#include "text.h"

#define RULES_MARK  RULES_PREFIX "MARK"
#define RULES_OUT   RULES_PREFIX "OUT"
#define RULES_LOCAL RULES_PREFIX "LOCAL"
#define RULES_IN    RULES_PREFIX "IN"
#define RULES_GUARD RULES_PREFIX "GUARD"
#define RULES_LEAVE RULES_PREFIX "LEAVE"
#define RULES_OWN   RULES_PREFIX "OWN"
#define RULES_ENTRY RULES_PREFIX "ENTRY"

#define RULES_EARLIER_MAX 256

/* The wanted rules of our chains in one table, "-A ..." lines, without hooks. */
void rules_wanted(struct text *t, const struct capture *p, enum ip_version v, enum table table);

/* The rule that lets one connection pass which is older than the guard. */
void rules_earlier_line(const struct tuple *t, char ret_line[RULES_EARLIER_MAX]);

/* One table's restore file that brings the rules from what stands there to what is wanted, in one
 * transaction: chains emptied and refilled, hooks taken out and put in first place again. */
void rules_install(struct text *t, const struct capture *p, enum ip_version v, enum table table,
	const struct live *live, const struct tuple *earlier, uint32_t earlier_count);

/* Takes everything of ours out of a table; an empty text when there is nothing. */
void rules_remove(struct text *t, enum table table, const struct live *live);

/* The two steps before removal. Relaxed, the guard lets new connections leave directly (their SYN
 * is seen) and still resets captured ones that lost their translation. Unhooked, nothing new is
 * captured; the chains stay, because with the last NAT rule the kernel would drop the translation
 * of the connections that are to be drained. Empty when there is nothing to do. */
void rules_relax_guard(struct text *t, const struct live *live);
void rules_unhook_nat(struct text *t, const struct live *live);

/* True when the kernel holds the wanted rules; otherwise *detail says the first difference. */
bool rules_match(
	const struct capture *p, enum ip_version v, const struct live *live, struct err *detail);
