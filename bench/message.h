/* SPDX-License-Identifier: Apache-2.0 */
/* Finds where HTTP/1.1 messages end, and no more: the status of a response, Content-Length,
 * "Connection: close". Bodies of unknown length and chunked ones are refused; our own load and
 * origin send none, and a proxy between them has no reason to. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_kind { MESSAGE_REQUEST, MESSAGE_RESPONSE };
enum message_outcome { MESSAGE_MORE, MESSAGE_DONE, MESSAGE_BAD };

/* Longer than any line that we look into; of others only the beginning is kept. */
#define MESSAGE_LINE_MAX 80

struct message {
	enum message_kind kind;
	enum { MESSAGE_FIRST_LINE, MESSAGE_FIELDS, MESSAGE_BODY } part;
	uint16_t status; /* of a response */
	bool closes;	 /* the sender ends the connection after it */
	bool has_length;
	uint8_t line_len;    /* bytes of an unfinished line in `line` */
	uint64_t body_bytes; /* Content-Length */
	uint64_t body_unread;
	char line[MESSAGE_LINE_MAX];
};

void message_init(struct message *m, enum message_kind kind);
/* Takes bytes of one message, at most up to its end. After MESSAGE_DONE the next message begins
 * with message_init(). */
enum message_outcome message_feed(
	struct message *m, const uint8_t *bytes, size_t len, size_t *ret_used);
