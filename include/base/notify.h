/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager's notification socket (sd_notify(3)): datagrams of lines, no answer. */
#pragma once

#include "base/assert.h"
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un address;
	socklen_t address_len;
	uint64_t watchdog_ns; /* how often it wants to hear WATCHDOG=1; 0: never */
};

/* Reads NOTIFY_SOCKET and WATCHDOG_USEC and takes them out of the environment: they are for this
 * process, not for its children. */
void notify_init(struct notify *n);
void notify_done(struct notify *n);
/* Lines such as "READY=1\nSTATUS=serving". Errors are of no consequence. */
void notify_send(const struct notify *n, const char *format, ...) PRINTF_LIKE(2, 3);
/* RELOADING=1 with the time stamp that Type=notify-reload waits for. */
void notify_reloading(const struct notify *n);
