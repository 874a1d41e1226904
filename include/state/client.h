/* SPDX-License-Identifier: Apache-2.0 */
/* The store for a command of an operator: asks, and waits for the answer. On a loop of its own.
 * What hangs here hangs for a while only: the store's timeouts hold. */
#pragma once

#include "conf/conf.h"
#include "state/store.h"

struct client;

/* Waits until READY, trying each address once; -EHOSTUNREACH with all that was tried and why it
 * failed. `settings` is copied, but for tls_key. */
int client_open(const struct store_settings *settings, struct client **ret_client,
	struct err *err) MUST_CHECK;
/* The same from a `state` group. Reads the files that it names: passwords, which others must not be
 * able to read, authorities, our own certificate and key. A name without "/" is a credential of the
 * service manager's. Blocks on disk. */
int client_open_conf(
	const struct conf_state *state, struct client **ret_client, struct err *err) MUST_CHECK;
/* One command and its reply, which the caller frees. An error reply is -EREMOTEIO with its text; a
 * lost connection, or no answer in time, -EPIPE: it may have been carried out. The next command
 * looks for the primary again. */
int client_ask(struct client *c, const struct str *words, size_t word_count, redisReply **ret_reply,
	struct err *err) MUST_CHECK;
/* From the next command on all go over the one connection that this one goes over, as a transaction
 * has to: when it is lost, -EPIPE for this one and all that follow, until client_hold() again, or
 * client_let_go(). */
void client_hold(struct client *c);
void client_let_go(struct client *c);
/* client_ask() from words, at most 64, that end with NULL. */
int client_say(struct client *c, redisReply **ret_reply, struct err *err, const char *word,
	...) MUST_CHECK;
const struct address *client_address(const struct client *c);
void client_close(struct client *c);
