/* SPDX-License-Identifier: Apache-2.0 */
/* An operator at the store: the file that says where it is and whose key signs, the keys that are
 * believed, and the connection. Everything that it complains of it prints itself, behind the
 * command's name. */
#pragma once

#include "conf/operator.h"
#include "state/client.h"
#include "state/object.h"

struct publisher {
	const char *command; /* "ringmain apply" */
	struct conf_operator *conf;
	struct operator_keys *keys;
	struct operator_key *key; /* NULL: reads only */
	struct client *client;
};

enum publisher_use { PUBLISHER_READS, PUBLISHER_WRITES };

/* `conf_path` NULL: where it usually is. False: said why. publisher_close() is due either way. */
bool publisher_open(struct publisher *p, const char *command, const char *conf_path,
	enum publisher_use use) MUST_CHECK;
void publisher_close(struct publisher *p);
struct str publisher_mesh(const struct publisher *p);

/* "ringmain apply: <what>". */
void publisher_say(const struct publisher *p, const char *format, ...) PRINTF_LIKE(2, 3);
/* One command to the store. A refusal of the server says which it was. */
int publisher_ask(struct publisher *p, const struct str *words, size_t word_count,
	redisReply **ret_reply, struct err *err) MUST_CHECK;
