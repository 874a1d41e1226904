/* SPDX-License-Identifier: Apache-2.0 */
/* One connection and its far end, for tests that run on the kernel (far_kernel.c) as well as on the
 * simulated one (far_fake.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

void far_init(void);
void far_done(void);
/* Our end of a new TCP connection, or of a SOCK_SEQPACKET pair. One at a time. */
int far_tcp(void);
int far_packets(void);
/* The address of a port where nobody listens. */
void far_nobody(struct sockaddr_storage *ret_address);

void far_send(const void *bytes, size_t len);
void far_shutdown(void);
void far_close(void);
void far_reset(void);
/* Stops taking bytes (it may have buffers), and reads all there is. */
void far_stop_reading(void);
void far_read_all(void);
/* How long to wait for something that must not happen. */
bool far_is_patient(unsigned turn);
