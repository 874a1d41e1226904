/* SPDX-License-Identifier: Apache-2.0 */
/* Where an external is: which addresses are its own, which of them is dialled, and which one next
 * when that does not take the connection. */
#pragma once

#include "call.h"
#include "mesh/external.h"

/* Dialled for it, an address has to be outside; one that the operators have declared may be on the
 * machine's own link, of what was looked up not even that. */
bool outside_may_dial(const struct plan *plan, const struct address *a, bool is_declared);
/* Whether the external is there: declared, or what any of its hosts was looked up as. */
bool outside_knows_any(const struct plan *plan, const struct external *e, const struct address *a);
/* Which port of it is dialled for the one that the workload dialled. */
uint16_t outside_port(const struct external *e, uint16_t dialled);

/* Whether the call, which has an external, may lead there: by its host, or without one. */
bool outside_is_known(const struct call *c, const struct address *a);
/* Leads the call to its external. `kept`: where it leads already, family 0: nowhere. */
enum reason outside_place(struct call *c, const struct address *kept);
