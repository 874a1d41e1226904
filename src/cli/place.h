/* SPDX-License-Identifier: Apache-2.0 */
/* Where the admin socket of this machine is. */
#pragma once

#include <stddef.h>

/* From the node file at `conf_path`, or the default. Only that one key is looked at and all else
 * is let pass: a file that was just broken is when people ask for the status. */
void place_admin_socket(const char *conf_path, char *ret_path, size_t size);
