/* SPDX-License-Identifier: Apache-2.0 */
/* After the handshake three messages may come: NewSessionTicket to a client, KeyUpdate, alerts; of
 * TLS 1.2 the last, and a HelloRequest.
 * Whatever else comes is refused, and so is too much of what may: a peer that sends neither bytes
 * nor an end gets an end. */
#include "message.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <stdlib.h>

#define MESSAGE_HEAD_BYTES    4
#define MESSAGE_BODY_MAX      16384
#define MESSAGE_NOT_REQUESTED 0
#define MESSAGE_REQUESTED     1

/* A handshake message that goes on in the next record. */
struct message_part {
	size_t len;
	/* A part is shorter than the longest message, and one record is added at a time. */
	uint8_t bytes[MESSAGE_HEAD_BYTES + MESSAGE_BODY_MAX + RECORD_PLAIN_MAX];
};

/* --- ours --- */

void message_alert(struct tls *t, uint8_t level, uint8_t alert)
{
	uint8_t bytes[] = {level, alert};
	size_t n = record_seal(
		&t->writing, SSL3_RT_ALERT, bytes, sizeof(bytes), buf_tail(t->wire_out));
	buf_wrote(t->wire_out, n);
}

bool message_key_update(struct tls *t)
{
	static const uint8_t bytes[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, MESSAGE_NOT_REQUESTED};
	if (t->writing.form != RECORD_13)
		return false;
	size_t n = record_seal(
		&t->writing, SSL3_RT_HANDSHAKE, bytes, sizeof(bytes), buf_tail(t->wire_out));
	buf_wrote(t->wire_out, n);
	t->update_owed = false;
	t->records_left = TLS_RECORDS_PER_KEY;
	return record_key_update(&t->writing);
}

enum tls_result message_refuse(struct tls *t, enum tls_failure failure, uint8_t alert)
{
	tls_fail(t, failure);
	if (!t->close_sent && handshake_send_ticket(t) &&
		buf_space(t->wire_out) >= MESSAGE_ALERT_BYTES)
		message_alert(t, SSL3_AL_FATAL, alert);
	ERR_clear_error();
	tls_move(t, TLS_STATE_FAILED);
	return TLS_FAILED;
}

static enum tls_result message_wrong(struct tls *t, uint8_t alert)
{
	return message_refuse(t, TLS_FAILURE_PROTOCOL, alert);
}

/* --- theirs --- */

static enum tls_result message_take_alert(struct tls *t, const struct record_content *c)
{
	if (c->len != 2)
		return message_wrong(t, SSL_AD_DECODE_ERROR);
	uint8_t level = c->at[0], alert = c->at[1];
	if (level == SSL3_AL_WARNING && alert == SSL_AD_CLOSE_NOTIFY) {
		tls_move(t, TLS_STATE_CLOSED);
		return TLS_CLOSED;
	}
	/* only TLS 1.2 has others */
	if (level == SSL3_AL_WARNING &&
		(alert == SSL_AD_USER_CANCELLED || t->reading.form != RECORD_13))
		return TLS_MORE;
	if (level != SSL3_AL_FATAL)
		return message_wrong(t, SSL_AD_DECODE_ERROR);
	t->peer_alert = alert;
	tls_fail(t, TLS_FAILURE_ALERT);
	tls_move(t, TLS_STATE_FAILED);
	return TLS_FAILED;
}

/* RFC 8446, 4.6.1. Judged before it comes to the library, which would answer a fault itself. */
static bool message_ticket_sound(const uint8_t *body, size_t len)
{
	CBS cbs, nonce, ticket, extensions;
	uint32_t life_s, age;
	CBS_init(&cbs, body, len);
	return CBS_get_u32(&cbs, &life_s) && CBS_get_u32(&cbs, &age) &&
	       CBS_get_u8_length_prefixed(&cbs, &nonce) &&
	       CBS_get_u16_length_prefixed(&cbs, &ticket) && CBS_len(&ticket) > 0 &&
	       CBS_get_u16_length_prefixed(&cbs, &extensions) && CBS_len(&cbs) == 0;
}

/* Tickets are taken until the first bytes come: then the handshake's remains are given up. */
static enum tls_result message_take_ticket(struct tls *t, const uint8_t *message, size_t len)
{
	if (t->server)
		return message_wrong(t, SSL_AD_UNEXPECTED_MESSAGE);
	if (!message_ticket_sound(message + MESSAGE_HEAD_BYTES, len - MESSAGE_HEAD_BYTES))
		return message_wrong(t, SSL_AD_DECODE_ERROR);
	if (!t->ssl)
		return TLS_MORE;
	SSL_SESSION *session = SSL_process_tls13_new_session_ticket(t->ssl, message, len);
	if (!session)
		return message_wrong(t, SSL_AD_DECODE_ERROR);
	handshake_keep_ticket(t, session);
	return TLS_MORE;
}

/* The key changes with the next record, so nothing may stand behind it in this one. */
static enum tls_result message_take_key_update(
	struct tls *t, const uint8_t *message, size_t len, bool last)
{
	if (len != MESSAGE_HEAD_BYTES + 1)
		return message_wrong(t, SSL_AD_DECODE_ERROR);
	if (!last)
		return message_wrong(t, SSL_AD_UNEXPECTED_MESSAGE);
	uint8_t request = message[MESSAGE_HEAD_BYTES];
	if (request != MESSAGE_NOT_REQUESTED && request != MESSAGE_REQUESTED)
		return message_wrong(t, SSL_AD_ILLEGAL_PARAMETER);
	if (!record_key_update(&t->reading))
		return message_refuse(t, TLS_FAILURE_MEMORY, SSL_AD_INTERNAL_ERROR);
	/* However often they ask before we write: one answer. */
	t->update_owed |= request == MESSAGE_REQUESTED;
	return TLS_MORE;
}

/* TLS 1.2: another handshake is asked for, which a client need not answer (RFC 5246, 7.4.1.1). */
static enum tls_result message_take_old(struct tls *t, const uint8_t *message, size_t len)
{
	if (message[0] == SSL3_MT_HELLO_REQUEST && len == MESSAGE_HEAD_BYTES)
		return TLS_MORE;
	return message_wrong(t, SSL_AD_UNEXPECTED_MESSAGE);
}

static enum tls_result message_take_one(
	struct tls *t, const uint8_t *message, size_t len, bool last)
{
	if (t->reading.form != RECORD_13)
		return message_take_old(t, message, len);
	switch (message[0]) {
	case SSL3_MT_NEW_SESSION_TICKET:
		return message_take_ticket(t, message, len);
	case SSL3_MT_KEY_UPDATE:
		return message_take_key_update(t, message, len, last);
	default:
		return message_wrong(t, SSL_AD_UNEXPECTED_MESSAGE);
	}
}

static size_t message_len(const uint8_t *head)
{
	return MESSAGE_HEAD_BYTES + ((size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]);
}

/* Begins or goes on with a message that is longer than its record. */
static enum tls_result message_keep(struct tls *t, const uint8_t *bytes, size_t len)
{
	if (!t->part)
		t->part = malloc(sizeof(*t->part));
	if (!t->part)
		return message_refuse(t, TLS_FAILURE_MEMORY, SSL_AD_INTERNAL_ERROR);
	t->part->len = len;
	memmove(t->part->bytes, bytes, len);
	return TLS_MORE;
}

/* The messages that are whole; what is left of the last one is kept. */
static enum tls_result message_take_all(struct tls *t, const uint8_t *bytes, size_t len)
{
	while (len >= MESSAGE_HEAD_BYTES) {
		size_t whole = message_len(bytes);
		if (whole > MESSAGE_HEAD_BYTES + MESSAGE_BODY_MAX)
			return message_wrong(t, SSL_AD_ILLEGAL_PARAMETER);
		if (whole > len)
			break;
		enum tls_result result = message_take_one(t, bytes, whole, whole == len);
		if (result != TLS_MORE)
			return result;
		bytes += whole;
		len -= whole;
	}
	if (len > 0)
		return message_keep(t, bytes, len);
	message_free(t);
	return TLS_MORE;
}

static enum tls_result message_take_handshake(struct tls *t, const struct record_content *c)
{
	if (c->len == 0)
		return message_wrong(t, SSL_AD_UNEXPECTED_MESSAGE);
	struct message_part *part = t->part;
	if (!part)
		return message_take_all(t, c->at, c->len);
	ASSERT(part->len + c->len <= sizeof(part->bytes));
	memcpy(part->bytes + part->len, c->at, c->len);
	part->len += c->len;
	return message_take_all(t, part->bytes, part->len);
}

enum tls_result message_take(struct tls *t, const struct record_content *content)
{
	if (content->type == SSL3_RT_HANDSHAKE)
		return message_take_handshake(t, content);
	/* Nothing else may come between the parts of a message. */
	if (content->type != SSL3_RT_ALERT || t->part)
		return message_wrong(t, SSL_AD_UNEXPECTED_MESSAGE);
	return message_take_alert(t, content);
}

void message_free(struct tls *t)
{
	if (t->part)
		OPENSSL_cleanse(t->part, sizeof(*t->part));
	free(t->part);
	t->part = NULL;
}
