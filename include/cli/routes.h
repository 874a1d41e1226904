/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain routes`: asks the proxy process which routes are in force, and where one request would
 * go by them, over the admin socket. */
#pragma once

/* argv[0] is "routes". Exit status: 0, 1 the request would be refused or lead nowhere, or the proxy
 * cannot be asked, 2 wrong usage. */
int cli_routes_main(int argc, char **argv);
