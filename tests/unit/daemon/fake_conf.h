/* SPDX-License-Identifier: Apache-2.0 */
/* The conf room's functions for the keeper's tests. The file is one line: a word for the fake proxy
 * process, the test's directory, the first port, the uid. "broken" does not parse,
 * "mesh…" has a store, "ca…" an authority, "meshca…" both. */
#pragma once

#include "conf/conf.h"
