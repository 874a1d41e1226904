/* SPDX-License-Identifier: Apache-2.0 */
/* The few system calls on sockets that are made directly, not through the ring: none of them
 * waits. A second implementation stands in tests/fake/socket_fake.c. */
#pragma once

#include "base/address.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A TCP socket ready for ring_connect(): blocking mode, prepared. fd or -errno. */
int socket_open(uint8_t family);
/* What an accepted socket needs: TCP_NODELAY, keepalive. Errors are of no consequence. */
void socket_prepare(int fd);
/* The owner's mark on the SYN, with tcp_fwmark_accept=1 (socket(7) SO_MARK); 0 if none. */
uint32_t socket_mark(int fd);
/* Where the client wanted to go before the redirect (SO_ORIGINAL_DST). 0, or -errno: -ENOENT when
 * conntrack does not know the connection. A connection that was not redirected gives its own
 * local address. */
int socket_original_dst(int fd, uint8_t family, struct address *ret_address);
int socket_local(int fd, struct address *ret_address);
int socket_peer(int fd, struct address *ret_address);
/* A socket by which the kernel is asked where addresses lead; for one thread. Or -errno. */
int socket_routes(void);
/* Whether a connected socket's far end is this machine, whatever addresses it has by now; or
 * nobody can say. */
bool socket_leads_back(int fd, int routes);
/* Sends what fits at once and does not care how much that was: for last words before a close. */
void socket_send_now(int fd, const void *bytes, size_t len);
/* shutdown(2) for writing (a FIN) or for both ways (ends armed operations). */
void socket_shutdown_write(int fd);
void socket_shutdown(int fd);
/* Makes socket_close() send a RST instead of a FIN. */
void socket_linger_reset(int fd);
void socket_close(int fd);
