/* SPDX-License-Identifier: Apache-2.0 */
/* An authority in a temporary directory, and what machines would ask of it: keys, requests,
 * clients. Its time is the caller's. */
#pragma once

#include "../../../src/ca/authority.h"
#include "place.h"
#include <openssl/base.h>
#include <openssl/stack.h>

#define REALM_TD "prod.example"

struct realm {
	struct place place;
	char dir[128]; /* of the authority */
	struct authority *authority;
	int64_t now_s;
};

/* Founded now, with `settings` behind what ca.conf begins with ("" for none) and vm-a that may have
 * "service/orders" and "service/web", vm-b without identities. */
void realm_init(struct realm *r, const char *settings);
void realm_done(struct realm *r);
/* Runs `ringmain ca <line>`, DIR standing for the directory; the exit status. */
int realm_run(struct realm *r, const char *line);
/* The same, what it prints into `text`. */
int realm_run_text(struct realm *r, const char *line, char *text, size_t size);
char *realm_read(struct realm *r, const char *name);
void realm_write(struct realm *r, const char *name, const char *text);

EVP_PKEY *realm_key(void);
/* DER of a request for one URI; free(). */
struct str realm_request(EVP_PKEY *key, const char *id);

/* The outcome of an enrolment. */
struct realm_answer {
	int result;
	STACK_OF(X509) * chain; /* NULL unless result is 0 */
	uint32_t retry_s;
	struct err err;
};
struct realm_answer realm_enroll(
	struct realm *r, const struct authority_client *client, EVP_PKEY *key, const char *id);
void realm_answer_done(struct realm_answer *a);
/* A client that shows a leaf; its texts are static. */
struct authority_client realm_client(X509 *leaf, int64_t now_s);
/* Joins a node by a new token and gives its leaf. */
X509 *realm_join(struct realm *r, const char *node);
