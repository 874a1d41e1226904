/* SPDX-License-Identifier: Apache-2.0 */
/* A store without a network: implements state/store.h for unit tests on a server in memory, which
 * knows the commands that the mesh uses, expiry included. All stores of a test are connected to the
 * one server; time is that of their loops. Link it instead of the real store's files. */
#pragma once

#include "state/store.h"

#define STORE_FAKE_STALE \
	"ERR The ID specified in XADD is equal or smaller than the target stream top item"

/* Forgets everything: the first call of each test. */
void server_init(void);
void server_done(void);

/* Reachable or not: going down loses what has no answer. Its memory stays. */
void server_up(bool is_up);
/* Stalled: connected, and nothing is answered; going on answers what was asked meanwhile. */
void server_stall(bool is_stalled);
/* From now on a command that begins with this word is answered with this error; NULL: none is. */
void server_refuse(const char *word, const char *error);
/* From now on a command about this key ends the connection, and is not answered; NULL: none does.
 */
void server_cut(const char *key);
/* From now on the answer to such a command ends the connection, as one does that is too long. */
void server_break(const char *word);
/* Loses all it knows. */
void server_flush(void);

/* By hand, as another client would. NULL: there is none. `ms` 0: for ever. */
const char *server_get(const char *key);
void server_set(const char *key, struct str value, uint64_t ms);
void server_delete(const char *key);
void server_hash_set(const char *key, struct str field, struct str value);
void server_hash_delete(const char *key, struct str field);
void server_stream_add(const char *key, const char *id, struct str head, struct str change);
/* The id of a stream's last entry; NULL: there is none. */
const char *server_stream_id(const char *key);
/* XADD, with fields and values in turn. False: the id is not higher than the last. */
bool server_stream_say(const char *key, const char *id, const struct str *fields, size_t count);
void server_publish(const char *channel, struct str text);
/* Commands that began with this word since server_init(). */
uint32_t server_count(const char *word);
/* From now on a list of keys does not end. */
void server_scan_endless(bool is_endless);
/* Bytes of the longest value that was told to anybody since server_init(). */
size_t server_longest(void);
