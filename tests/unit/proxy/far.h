/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy of another machine that does as the test says: a TLS client on the far end of a simulated
 * socket. */
#pragma once

#include "lab.h"

struct far {
	struct lab *lab;
	int fd;
	struct tls_store *store;
	struct tls *tls;
	struct buf_pool pool;
	struct buf wire, plain;
	size_t used; /* of what was received */
	uint8_t *input;
};

/* Dials a machine's mesh port and speaks to the service behind `server_name`, as web. */
void far_dial(struct far *f, struct lab *lab, uint32_t machine, const char *server_name,
	enum tls_alpn alpn, const char *server_id);
/* The same as the machine itself, which looks at its certificate. */
void far_dial_check(struct far *f, struct lab *lab, uint32_t machine, const char *server_name);
/* Goes on as far as it can; both ends. True: the handshake is complete. */
bool far_handshake(struct far *f);
/* Seals and sends. */
void far_send(struct far *f, const void *bytes, size_t len);
/* What it has opened so far. */
struct str far_received(struct far *f);
void far_done(struct far *f);
