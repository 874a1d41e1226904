/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets without a kernel: implements net/socket.h over a table of simulated connections, and
 * gives the test the far end of each. Works together with ring_fake.h, whose fake_init() and
 * fake_done() hold for both.
 *
 * fds are 1000 and up and never used twice, so a stale one is always found out. What a closed
 * socket sent and how it ended can be looked at until fake_done(). */
#pragma once

#include "base/address.h"
#include "base/str.h"

/* --- making sockets --- */

/* A connected socket, as if accepted: peer 192.0.2.1:40000, local and original destination
 * 192.0.2.2:80, no mark. */
int fake_socket(void);
int fake_listener(void);
/* A connection waiting in the listener's queue. The fd is that which will be accepted: set its mark
 * and addresses now. */
int fake_dial(int listener);
/* The two are the ends of one connection: what one sends the other receives. At most 64 KiB are on
 * the way, so that a reader who stops stops the writer. */
void fake_link(int fd, int other);
/* Operations on this fd complete by the script only. */
void fake_socket_script(int fd);
/* Keeps message boundaries: one ring_read() per fake_peer_send(), as SOCK_SEQPACKET and eventfds.
 */
void fake_socket_packets(int fd);

void fake_set_mark(int fd, uint32_t mark);
/* NULL: conntrack does not know it, -ENOENT. */
void fake_set_original_dst(int fd, const struct address *address);
void fake_set_local(int fd, const struct address *address);
void fake_set_peer(int fd, const struct address *address);

/* --- connects and socket_open() --- */

#define FAKE_PENDING 1

/* What connects to `address` come to: 0, -errno, or FAKE_PENDING (until another rule says what).
 * NULL: everywhere else. The latest rule wins; without any, connects succeed at once. */
void fake_connect_rule(const struct address *address, int result);
/* Connects to `address` end up in the queue of `listener`, linked. */
void fake_connect_listener(const struct address *address, int listener);
/* The next `count` calls of socket_open() return `result` (-EMFILE). */
void fake_open_fails(uint32_t count, int result);
/* fds that socket_open() gave out, in order; -1 after the last. */
int fake_opened(uint32_t index);
uint32_t fake_opened_count(void);
/* Where the socket was connected to, or is trying to; family 0: nowhere. */
struct address fake_connected_to(int fd);

/* --- the far end --- */

void fake_peer_send(int fd, const void *bytes, size_t len);
void fake_peer_send_text(int fd, const char *text);
/* FIN: our receives see the end of the stream, the far end goes on reading. */
void fake_peer_shutdown(int fd);
/* Closed both ways: our receives see the end of the stream; the next send succeeds, brings a reset
 * back, and those after it fail. */
void fake_peer_close(int fd);
/* RST: what was sent before can still be received, then -ECONNRESET once. */
void fake_peer_reset(int fd);
/* The far end takes so many bytes more, then stops reading; SIZE_MAX: no limit. */
void fake_peer_window(int fd, size_t bytes);
/* All it received since the start or since fake_peer_forget(). Valid until it receives more. */
struct str fake_peer_received(int fd);
void fake_peer_forget(int fd);
/* It saw our FIN (socket_shutdown_write(), socket_shutdown(), socket_close()). */
bool fake_peer_saw_end(int fd);
/* It saw our RST (socket_linger_reset() and close, or a close with bytes unread). */
bool fake_peer_saw_reset(int fd);
/* Bytes it sent that we have not received. */
size_t fake_unread(int fd);

/* --- our end --- */

bool fake_is_open(int fd);
/* Sockets open now; accepted ones and listeners included. */
uint32_t fake_open_count(void);
