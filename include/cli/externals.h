/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain externals`: asks the proxy process what workloads may reach outside of the mesh, over
 * the admin socket. */
#pragma once

/* argv[0] is "externals". Exit status: 0, 1 the proxy cannot be asked, 2 wrong usage. */
int cli_externals_main(int argc, char **argv);
