/* SPDX-License-Identifier: Apache-2.0 */
/* A head is read line by line, where it lies; only a line that is cut in two by the end of what was
 * received is put together in the message. */
#include "message.h"

#include "base/str.h"

void message_init(struct message *m, enum message_kind kind)
{
	m->kind = kind;
	m->part = MESSAGE_FIRST_LINE;
	m->status = 0;
	m->closes = false;
	m->has_length = false;
	m->line_len = 0;
	m->body_bytes = 0;
	m->body_unread = 0;
}

/* "HTTP/1.1 200 OK" */
static enum message_outcome message_status_line(struct message *m, struct str line)
{
	uint64_t status;
	if (line.len < 12 || !str_starts(line, STR("HTTP/1.1 ")))
		return MESSAGE_BAD;
	if (!str_to_u64((struct str){line.at + 9, 3}, &status) || status < 200)
		return MESSAGE_BAD;
	m->status = (uint16_t)status;
	return MESSAGE_MORE;
}

static enum message_outcome message_first_line(struct message *m, struct str line)
{
	m->part = MESSAGE_FIELDS;
	if (m->kind == MESSAGE_RESPONSE)
		return message_status_line(m, line);
	struct str old = STR("HTTP/1.0");
	m->closes =
		line.len > old.len && memcmp(line.at + line.len - old.len, old.at, old.len) == 0;
	return MESSAGE_MORE;
}

static enum message_outcome message_length(struct message *m, struct str value)
{
	if (m->has_length || !str_to_u64(value, &m->body_bytes))
		return MESSAGE_BAD;
	m->has_length = true;
	m->body_unread = m->body_bytes;
	return MESSAGE_MORE;
}

/* The empty line: what comes now is known, or it is nothing for us. */
static enum message_outcome message_head_end(struct message *m)
{
	if (m->kind == MESSAGE_RESPONSE && !m->has_length)
		return MESSAGE_BAD;
	m->part = MESSAGE_BODY;
	return m->body_unread > 0 ? MESSAGE_MORE : MESSAGE_DONE;
}

static enum message_outcome message_field(struct message *m, struct str line)
{
	if (line.len == 0)
		return message_head_end(m);
	const char *colon = memchr(line.at, ':', line.len);
	if (!colon)
		return MESSAGE_BAD;
	struct str name = {line.at, (size_t)(colon - line.at)};
	struct str value = str_trim((struct str){colon + 1, line.len - name.len - 1});
	if (str_eq_nocase(name, STR("content-length")))
		return message_length(m, value);
	if (str_eq_nocase(name, STR("transfer-encoding")))
		return MESSAGE_BAD;
	if (str_eq_nocase(name, STR("connection")) && str_eq_nocase(value, STR("close")))
		m->closes = true;
	return MESSAGE_MORE;
}

static enum message_outcome message_line(struct message *m, struct str line)
{
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	if (m->part == MESSAGE_FIRST_LINE)
		return message_first_line(m, line);
	return message_field(m, line);
}

/* A line of which the end is not kept. It would have to be padded with spaces to be a length. */
static enum message_outcome message_long_line(struct message *m, struct str line)
{
	struct str name = STR("content-length:");
	bool first = m->part == MESSAGE_FIRST_LINE;
	m->part = MESSAGE_FIELDS;
	if (first)
		return m->kind == MESSAGE_RESPONSE ? message_status_line(m, line) : MESSAGE_MORE;
	return str_eq_nocase((struct str){line.at, name.len}, name) ? MESSAGE_BAD : MESSAGE_MORE;
}

static void message_keep(struct message *m, struct str piece)
{
	size_t space = sizeof(m->line) - m->line_len;
	size_t len = piece.len < space ? piece.len : space;
	memcpy(m->line + m->line_len, piece.at, len);
	m->line_len = (uint8_t)(m->line_len + len);
}

/* One line, or as much of it as there is. */
static enum message_outcome message_take_line(
	struct message *m, const uint8_t *bytes, size_t len, size_t *ret_used)
{
	const uint8_t *end = memchr(bytes, '\n', len);
	struct str piece = {(const char *)bytes, end ? (size_t)(end - bytes) : len};
	*ret_used = piece.len + (end ? 1 : 0);
	if (end && m->line_len == 0)
		return message_line(m, piece);
	message_keep(m, piece);
	if (!end)
		return MESSAGE_MORE;
	struct str line = {m->line, m->line_len};
	m->line_len = 0;
	return line.len < sizeof(m->line) ? message_line(m, line) : message_long_line(m, line);
}

static enum message_outcome message_take_body(struct message *m, size_t len, size_t *ret_used)
{
	*ret_used = len < m->body_unread ? len : (size_t)m->body_unread;
	m->body_unread -= *ret_used;
	return m->body_unread > 0 ? MESSAGE_MORE : MESSAGE_DONE;
}

enum message_outcome message_feed(
	struct message *m, const uint8_t *bytes, size_t len, size_t *ret_used)
{
	enum message_outcome outcome = MESSAGE_MORE;
	size_t at = 0;
	while (outcome == MESSAGE_MORE && at < len) {
		size_t used;
		if (m->part == MESSAGE_BODY)
			outcome = message_take_body(m, len - at, &used);
		else
			outcome = message_take_line(m, bytes + at, len - at, &used);
		at += used;
	}
	*ret_used = at;
	return outcome;
}
