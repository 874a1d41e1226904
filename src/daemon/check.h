/* SPDX-License-Identifier: Apache-2.0 */
/* The command "ringmain check": whether this configuration would be taken. */
#pragma once

/* Prints every error at once, or what the configuration holds. Exit status 0, 1, 2. */
int check_main(int argc, char **argv);
