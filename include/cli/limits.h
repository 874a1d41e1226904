/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain limits`: asks the proxy process which limits are in force, and what is left of them,
 * over the admin socket. */
#pragma once

/* argv[0] is "limits". Exit status: 0, 1 the proxy cannot be asked, 2 wrong usage. */
int cli_limits_main(int argc, char **argv);
