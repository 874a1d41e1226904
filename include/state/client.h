/* SPDX-License-Identifier: Apache-2.0 */
/* The store for a command of an operator: asks, and waits for the answer. On a loop of its own. */
#pragma once

#include "state/store.h"

struct client;

/* Waits until READY, at most settings->timeout_ms and at each address once; -errno with all that
 * was tried and why it failed. */
int client_open(const struct store_settings *settings, struct client **ret_client,
	struct err *err) MUST_CHECK;
/* One command and its reply, which the caller frees. An error reply is -EREMOTEIO with its text; a
 * lost connection -EPIPE; no answer in time -ETIMEDOUT. */
int client_ask(struct client *c, const struct str *words, size_t word_count, redisReply **ret_reply,
	struct err *err) MUST_CHECK;
/* The same from words that end with NULL. */
int client_say(struct client *c, redisReply **ret_reply, struct err *err, const char *word,
	...) MUST_CHECK;
const struct address *client_address(const struct client *c);
void client_close(struct client *c);
