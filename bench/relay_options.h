/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of the null relays: the same for the one on io_uring and the one on epoll. */
#pragma once

#include "base/address.h"

struct relay_options {
	struct address listen, to;
};

/* 0, or the exit status + 1 to leave with: --help, or a usage error already told. */
int relay_options_read(int argc, char **argv, struct relay_options *ret_options);
