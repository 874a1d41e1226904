/* SPDX-License-Identifier: Apache-2.0 */
/* Where the admin socket of this machine is. */
#pragma once

#include "base/error.h"
#include <stddef.h>

/* From the node file at `conf_path` (NULL: the usual one), or the default. Only that one key is
 * looked at, as far as it can be, and all else is let pass: a file that was just broken is when
 * people ask for the status. One that was named and cannot be read is an error, though: another
 * proxy than was meant must not answer. */
int place_admin_socket(const char *conf_path, char *ret_path, size_t size, struct err *err);
