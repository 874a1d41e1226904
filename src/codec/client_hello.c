/* SPDX-License-Identifier: Apache-2.0 */
/* The message is put together from its records, then read as a whole: only so a second server name
 * behind the first is seen. BoringSSL reads one for a connection of its own only. */
#include "codec/client_hello.h"

#include <string.h>

#define HELLO_RECORD_HEAD  5
#define HELLO_MESSAGE_HEAD 4
#define HELLO_RECORD_MAX   16384
#define HELLO_HANDSHAKE	   22
#define HELLO_TYPE	   1
#define HELLO_SERVER_NAME  0
#define HELLO_HOST_NAME	   0

/* What is left of a part; once something was not there, nothing is any more. */
struct hello_part {
	const uint8_t *at;
	size_t left;
	bool is_short;
};

static const uint8_t *hello_take(struct hello_part *p, size_t len)
{
	const uint8_t *at = p->at;
	if (p->is_short || len > p->left) {
		p->is_short = true;
		p->left = 0;
		return NULL;
	}
	p->at += len;
	p->left -= len;
	return at;
}

static size_t hello_number(struct hello_part *p, size_t width)
{
	size_t number = 0;
	const uint8_t *at = hello_take(p, width);
	for (size_t i = 0; at && i < width; i++)
		number = number << 8 | at[i];
	return number;
}

/* A vector whose length stands before it in so many bytes. */
static struct hello_part hello_vector(struct hello_part *p, size_t width)
{
	size_t len = hello_number(p, width);
	const uint8_t *at = hello_take(p, len);
	return (struct hello_part){.at = at, .left = at ? len : 0, .is_short = !at};
}

/* --- records --- */

static size_t hello_message_len(const uint8_t *message)
{
	return HELLO_MESSAGE_HEAD +
	       ((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]);
}

/* Whether the bytes of a message so far can be those of one that is taken. */
static bool hello_begins_well(const uint8_t *message, size_t len)
{
	return (len < 1 || message[0] == HELLO_TYPE) &&
	       (len < HELLO_MESSAGE_HEAD || hello_message_len(message) <= CLIENT_HELLO_BYTES_MAX);
}

static bool hello_is_whole(const uint8_t *message, size_t len)
{
	return len >= HELLO_MESSAGE_HEAD && len >= hello_message_len(message);
}

/* The next record's content, or what is there of it, and how much is still to come. */
static enum client_hello hello_record(
	struct hello_part *p, struct hello_part *ret_content, size_t *ret_missing)
{
	if (p->left >= 1 && p->at[0] != HELLO_HANDSHAKE)
		return CLIENT_HELLO_BAD;
	if (p->left >= 2 && p->at[1] != 3)
		return CLIENT_HELLO_BAD;
	if (p->left < HELLO_RECORD_HEAD)
		return CLIENT_HELLO_MORE;
	size_t len = (size_t)p->at[3] << 8 | p->at[4];
	if (len == 0 || len > HELLO_RECORD_MAX)
		return CLIENT_HELLO_BAD;
	(void)hello_take(p, HELLO_RECORD_HEAD);
	*ret_missing = len > p->left ? len - p->left : 0;
	len -= *ret_missing;
	ret_content->at = hello_take(p, len);
	ret_content->left = len;
	return CLIENT_HELLO_DONE;
}

static enum client_hello hello_gather(
	const uint8_t *bytes, size_t len, uint8_t message[CLIENT_HELLO_BYTES_MAX], size_t *ret_len)
{
	struct hello_part input = {bytes, len, false}, content = {0};
	size_t missing = 0;
	*ret_len = 0;
	while (!hello_is_whole(message, *ret_len)) {
		enum client_hello got = hello_record(&input, &content, &missing);
		if (got != CLIENT_HELLO_DONE)
			return got;
		if (content.left > CLIENT_HELLO_BYTES_MAX - *ret_len)
			return CLIENT_HELLO_BAD;
		if (content.left > 0)
			memcpy(message + *ret_len, content.at, content.left);
		*ret_len += content.left;
		if (!hello_begins_well(message, *ret_len))
			return CLIENT_HELLO_BAD;
	}
	/* Nothing stands behind it in its record: a client waits for the answer. */
	return missing > 0 || *ret_len > hello_message_len(message) ? CLIENT_HELLO_BAD
								    : CLIENT_HELLO_DONE;
}

/* --- the message --- */

/* Exactly one name of a host; there are no other kinds. */
static bool hello_server_name(
	struct hello_part *extension, char ret_name[CLIENT_HELLO_NAME_MAX + 1], size_t *ret_len)
{
	struct hello_part list = hello_vector(extension, 2);
	size_t kind = hello_number(&list, 1);
	struct hello_part name = hello_vector(&list, 2);
	if (name.is_short || list.left > 0 || extension->left > 0 || kind != HELLO_HOST_NAME ||
		name.left == 0 || name.left > CLIENT_HELLO_NAME_MAX)
		return false;
	memcpy(ret_name, name.at, name.left);
	ret_name[name.left] = '\0';
	*ret_len = name.left;
	return true;
}

static bool hello_extensions(
	struct hello_part *list, char ret_name[CLIENT_HELLO_NAME_MAX + 1], size_t *ret_len)
{
	while (list->left > 0) {
		size_t type = hello_number(list, 2);
		struct hello_part extension = hello_vector(list, 2);
		if (extension.is_short)
			return false;
		if (type == HELLO_SERVER_NAME &&
			(*ret_len > 0 || !hello_server_name(&extension, ret_name, ret_len)))
			return false;
	}
	return true;
}

enum client_hello client_hello_read(
	const uint8_t *bytes, size_t len, char ret_name[CLIENT_HELLO_NAME_MAX + 1], size_t *ret_len)
{
	uint8_t message[CLIENT_HELLO_BYTES_MAX];
	size_t message_len;
	*ret_len = 0;
	ret_name[0] = '\0';
	enum client_hello got = hello_gather(bytes, len, message, &message_len);
	if (got != CLIENT_HELLO_DONE)
		return got;
	struct hello_part p = {
		message + HELLO_MESSAGE_HEAD, message_len - HELLO_MESSAGE_HEAD, false};
	(void)hello_take(&p, 2 + 32); /* version, random */
	struct hello_part session = hello_vector(&p, 1), suites = hello_vector(&p, 2);
	struct hello_part compressions = hello_vector(&p, 1);
	if (p.is_short || session.left > 32 || suites.left < 2 || suites.left % 2 != 0 ||
		compressions.left == 0)
		return CLIENT_HELLO_BAD;
	if (p.left == 0)
		return CLIENT_HELLO_DONE; /* as TLS 1.0 had it: no extensions */
	struct hello_part extensions = hello_vector(&p, 2);
	if (extensions.is_short || p.left > 0 ||
		!hello_extensions(&extensions, ret_name, ret_len)) {
		*ret_len = 0;
		ret_name[0] = '\0';
		return CLIENT_HELLO_BAD;
	}
	return CLIENT_HELLO_DONE;
}
