/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain certs`: asks the proxy process about certificates and trust over the admin socket. */
#pragma once

/* argv[0] is "certs". Exit status: 0 all is well, 1 something is expired, missing or cannot be
 * renewed, or the proxy cannot be asked, 2 wrong usage. */
int cli_certs_main(int argc, char **argv);
