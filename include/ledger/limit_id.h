/* SPDX-License-Identifier: Apache-2.0 */
/* Which slot of the ledger has the tokens of one key of a limit of the whole mesh: the same on
 * every machine, so that they all mean one counter of the store's. */
#pragma once

#include "base/str.h"
#include "ledger/ledger.h"

/* `rule`: whatever makes one limit another than before; `key`: the values that it is by. */
struct ledger_id ledger_limit_id(struct str rule, struct str key);
