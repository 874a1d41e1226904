/* SPDX-License-Identifier: Apache-2.0 */
/* Which slot of the ledger counts the calls to one version of a service that is being rolled out:
 * the same for the proxy, which counts, and the state process, which tells. */
#pragma once

#include "base/str.h"
#include "ledger/ledger.h"

/* `version`: the one that is called, one of the two. */
struct ledger_id ledger_figure_id(
	struct str service, struct str from, struct str to, uint64_t attempt, struct str version);
