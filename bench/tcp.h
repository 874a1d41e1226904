/* SPDX-License-Identifier: Apache-2.0 */
/* "ADDR:PORT" and the sockets made of it, for all programs of the bench. */
#pragma once

#include "base/address.h"
#include "base/error.h"

/* "127.0.0.1:80", "[::1]:80"; no names. */
bool tcp_parse(const char *text, struct address *ret_address);
/* A listening socket; `flags` may hold SOCK_NONBLOCK. Port 0: the kernel's choice. fd or -errno. */
int tcp_listen(const struct address *a, int flags, struct err *err) MUST_CHECK;
/* Prints {"listening": "ADDR:PORT"}, so that who started us knows where and that we do. */
void tcp_announce(int fd);
/* A non-blocking socket on its way to `a`: writable when it is decided. fd or -errno. */
int tcp_dial(const struct address *a);
/* Small messages at once, not collected. */
void tcp_prepare(int fd);
/* As many open files as we are allowed to have. */
void tcp_raise_file_limit(void);
