/* SPDX-License-Identifier: Apache-2.0 */
/* What files of identities are called: one name for each, and none for two.
 *
 *   service/orders    service/orders       services of no namespace, since ever
 *   shop/web          identity/shop+web    any other path: '+' for '/', and no path has a '+'
 *   node/vm-a         node                 the machine's own, of which there is one
 *
 * Without the ending. Pure. */
#pragma once

#include "base/str.h"
#include <stdbool.h>

/* Bytes, with a NUL. A file's last part may have 255, its longest ending and that of a temporary
 * file included, and never has more. */
#define KEEP_NAME_MAX 240

/* False: no identity that keys are kept for. */
bool keep_name(struct str identity, char name[KEEP_NAME_MAX]);
