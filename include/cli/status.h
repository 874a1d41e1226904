/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain status`: asks the proxy process over the admin socket and shows what it says. Only
 * blocking calls, nothing shared with the processes that it asks. */
#pragma once

/* argv[0] is "status". Exit status: 0 all is well, 1 a problem was found or the proxy cannot be
 * asked, 2 wrong usage. */
int cli_status_main(int argc, char **argv);
