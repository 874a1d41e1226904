/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain drain`: takes this machine's endpoints of a service out of the mesh ahead of
 * maintenance, and waits until they may be stopped. */
#pragma once

/* Exit status: 0 safe to stop (or back in the mesh), 1 not, or the proxy cannot be asked, 2 wrong
 * usage. */
int cli_drain_main(int argc, char **argv);
