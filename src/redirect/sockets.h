/* SPDX-License-Identifier: Apache-2.0 */
/* The TCP connections of this network namespace, asked from the kernel over INET_DIAG: to let those
 * pass that are older than the guard, and to see captured ones end before the rules go. */
#pragma once

#include "base/error.h"
#include "live.h"
#include <stdbool.h>
#include <stdint.h>

struct socket_entry {
	struct tuple tuple;
	uint32_t uid; /* 0 also once the process has closed it */
	bool listening;
	uint8_t family; /* as the kernel keeps it: AF_INET6 for v4 over a v6 socket */
	uint32_t scope; /* interface of a bound socket */
	uint32_t cookie[2];
	uint8_t raw_local[16], raw_remote[16];
};

struct socket_table {
	struct socket_entry *all;
	uint32_t count, size;
};

/* Listeners, and everything between SYN and the last ACK, both IP versions; TIME_WAIT left out. On
 * an error nothing is left to free. */
int sockets_list(struct socket_table *t, struct err *err) MUST_CHECK;
void sockets_done(struct socket_table *t);
/* Somebody listens on this port: connections from it were opened by the other side. */
bool sockets_listening(const struct socket_table *t, uint16_t port);
/* The other end of a connection that runs within this machine, or NULL. */
const struct socket_entry *sockets_peer(const struct socket_table *t, const struct socket_entry *s);
/* Ends it: its owner gets ECONNABORTED, its peer a reset. One that is gone is no error. */
int sockets_kill(const struct socket_entry *s, struct err *err) MUST_CHECK;
