/* SPDX-License-Identifier: Apache-2.0 */
/* A session after its handshake, and what it tells about itself. */
#include "message.h"

#include <openssl/err.h>
#include <stdlib.h>

/* A record, and the KeyUpdate that may go before it. */
#define STREAM_OVERHEAD (RECORD_OVERHEAD + MESSAGE_KEY_UPDATE_BYTES)
/* With less room than this beside waiting bytes it is better to flush than to cut a small record.
 */
#define STREAM_RECORD_MIN 4096
/* More than so many in a row that bring nothing are no conversation but an attack. */
#define STREAM_SILENT_MAX 32

/* --- input --- */

void tls_input(struct tls *t, uint8_t *bytes, size_t len)
{
	/* What is left lies elsewhere now. */
	size_t left = tls_input_left(t), behind = left - t->input_len;
	ASSERT(left == 0 || len == left);
	if (behind > 0)
		t->plain = bytes;
	t->input = bytes + behind;
	t->input_len = len - behind;
}

/* Plaintext in the input stands before what is still sealed; in `carry` it is out of the way. */
size_t tls_input_left(const struct tls *t)
{
	bool in_input = t->plain_len > 0 && buf_len(&t->carry) == 0;
	return in_input ? (size_t)(t->input + t->input_len - t->plain) : t->input_len;
}

void tls_input_eof(struct tls *t)
{
	t->input_eof = true;
}

/* TLS_DONE, or how the session's incoming half ended. Writing goes on after TLS_CLOSED. */
static enum tls_result stream_ready(const struct tls *t)
{
	if (t->state == TLS_STATE_FAILED)
		return TLS_FAILED;
	/* Bytes before the end of the handshake are the caller's mistake. */
	ASSERT(t->state == TLS_STATE_OPEN || t->state == TLS_STATE_CLOSED);
	return t->state == TLS_STATE_OPEN ? TLS_DONE : TLS_CLOSED;
}

static enum tls_result stream_more(struct tls *t)
{
	if (!t->input_eof || t->input_len > 0)
		return TLS_MORE;
	tls_fail(t, TLS_FAILURE_CLOSED);
	tls_move(t, TLS_STATE_FAILED);
	return TLS_FAILED;
}

/* --- reading --- */

/* A whole record, in the input or in `carry`. */
struct stream_record {
	uint8_t *at;
	size_t len;
};

/* Moves input behind what is carried, until that is `len` long. */
static bool stream_carry(struct tls *t, size_t len)
{
	size_t n = len - buf_len(&t->carry);
	if (n > t->input_len)
		n = t->input_len;
	if (!buf_put(&t->carry, t->input, n))
		return false;
	t->input += n;
	t->input_len -= n;
	return true;
}

/* A record that began in an input before this one. */
static enum tls_result stream_next_carried(struct tls *t, struct stream_record *ret)
{
	struct buf *carry = &t->carry;
	if (buf_len(carry) < RECORD_HEAD_BYTES && !stream_carry(t, RECORD_HEAD_BYTES))
		return TLS_FULL;
	if (buf_len(carry) < RECORD_HEAD_BYTES)
		return stream_more(t);
	int alert = record_measure(&t->reading, buf_at(carry), &ret->len);
	if (alert)
		return message_refuse(t, TLS_FAILURE_PROTOCOL, (uint8_t)alert);
	if (buf_len(carry) < ret->len && !stream_carry(t, ret->len))
		return TLS_FULL;
	ret->at = buf_at(carry);
	return buf_len(carry) < ret->len ? stream_more(t) : TLS_DONE;
}

static enum tls_result stream_next(struct tls *t, struct stream_record *ret)
{
	if (buf_len(&t->carry) > 0)
		return stream_next_carried(t, ret);
	if (t->input_len >= RECORD_HEAD_BYTES) {
		int alert = record_measure(&t->reading, t->input, &ret->len);
		if (alert)
			return message_refuse(t, TLS_FAILURE_PROTOCOL, (uint8_t)alert);
		ret->at = t->input;
		if (t->input_len >= ret->len)
			return TLS_DONE;
	}
	if (t->input_len > 0 && !stream_carry(t, t->input_len))
		return TLS_FULL;
	return stream_more(t);
}

/* A record is dealt with: its bytes are not needed any more. */
static void stream_drop(struct tls *t, const struct stream_record *record)
{
	if (buf_len(&t->carry) > 0) {
		buf_clear(&t->carry);
	} else {
		t->input = record->at + record->len;
		t->input_len -= record->len;
	}
}

static enum tls_result stream_silent(struct tls *t)
{
	if (++t->silent_count <= STREAM_SILENT_MAX)
		return TLS_MORE;
	return message_refuse(t, TLS_FAILURE_PROTOCOL, SSL_AD_UNEXPECTED_MESSAGE);
}

/* A content that is no byte for the caller. */
static enum tls_result stream_take_other(struct tls *t, const struct record_content *content)
{
	enum tls_result result = TLS_MORE;
	if (content->type != SSL3_RT_APPLICATION_DATA)
		result = message_take(t, content);
	else if (t->part)
		result = message_refuse(t, TLS_FAILURE_PROTOCOL, SSL_AD_UNEXPECTED_MESSAGE);
	return result == TLS_MORE ? stream_silent(t) : result;
}

/* Opens the next record, into `out` when it has the room, else where it stands. TLS_DONE: there is
 * plaintext; TLS_MORE: no whole record, or *ret_again. */
static enum tls_result stream_open(struct tls *t, struct buf *out, bool *ret_again)
{
	struct stream_record record;
	struct record_content content;
	enum tls_result result = stream_next(t, &record);
	*ret_again = false;
	if (result != TLS_DONE)
		return result;
	bool apart = out && buf_space(out) >= record_inner_len(record.len);
	uint8_t *place = apart ? buf_tail(out) : record.at + RECORD_HEAD_BYTES;
	int alert = record_open(&t->reading, record.at, record.len, place, &content);
	if (alert)
		return message_refuse(t, TLS_FAILURE_PROTOCOL, (uint8_t)alert);
	if (content.type != SSL3_RT_APPLICATION_DATA || content.len == 0 || t->part) {
		result = stream_take_other(t, &content);
		stream_drop(t, &record);
		*ret_again = result == TLS_MORE;
		return result;
	}
	t->silent_count = 0;
	if (!t->server && t->ssl)
		handshake_let_go(t);
	if (apart) {
		buf_wrote(out, content.len);
		stream_drop(t, &record);
		return TLS_DONE;
	}
	t->plain = content.at;
	t->plain_len = content.len;
	if (buf_len(&t->carry) == 0)
		stream_drop(t, &record);
	return TLS_DONE;
}

static enum tls_result stream_open_some(struct tls *t, struct buf *out)
{
	enum tls_result result = stream_ready(t);
	bool again = result == TLS_DONE;
	while (again)
		result = stream_open(t, out, &again);
	return result;
}

size_t tls_plain(const struct tls *t, const uint8_t **ret_bytes)
{
	*ret_bytes = t->plain;
	return t->plain_len;
}

void tls_plain_take(struct tls *t, size_t len)
{
	ASSERT(len <= t->plain_len);
	t->plain += len;
	t->plain_len -= len;
	if (t->plain_len > 0)
		return;
	t->plain = NULL;
	/* It may have stood in `carry`, which then held nothing else. */
	buf_clear(&t->carry);
}

/* The length of the whole record at `bytes`; 0: there is none. */
static size_t stream_look(const struct tls *t, const uint8_t *bytes, size_t len)
{
	size_t record_len;
	if (len < RECORD_HEAD_BYTES || record_measure(&t->reading, bytes, &record_len) != 0)
		return 0;
	return record_len <= len ? record_len : 0;
}

bool tls_input_several(const struct tls *t)
{
	if (t->plain_len > 0 || buf_len(&t->carry) > 0)
		return false;
	size_t len = stream_look(t, t->input, t->input_len);
	return len > 0 && stream_look(t, t->input + len, t->input_len - len) > 0;
}

enum tls_result tls_open(struct tls *t)
{
	return t->plain_len > 0 ? TLS_DONE : stream_open_some(t, NULL);
}

enum tls_result tls_read(struct tls *t, struct buf *out)
{
	size_t got = 0;
	for (;;) {
		size_t before = buf_len(out), space = buf_space(out);
		if (space == 0 && stream_ready(t) == TLS_DONE)
			return got > 0 ? TLS_DONE : TLS_FULL;
		if (t->plain_len == 0) {
			enum tls_result result = stream_open_some(t, out);
			if (result != TLS_DONE)
				return result == TLS_MORE && got > 0 ? TLS_DONE : result;
		}
		if (t->plain_len > 0)
			tls_plain_take(t, buf_fill(out, t->plain, t->plain_len));
		got += buf_len(out) - before;
	}
}

size_t tls_input_wanted(const struct tls *t)
{
	size_t len, have = buf_len(&t->carry);
	if (t->state != TLS_STATE_OPEN || have < RECORD_HEAD_BYTES || t->plain_len > 0)
		return RECORD_PLAIN_MAX +
		       (t->reading.form == RECORD_13 ? RECORD_OVERHEAD : RECORD_OVERHEAD_MAX);
	return record_measure(&t->reading, buf_at(&t->carry), &len) == 0 && len > have ? len - have
										       : 1;
}

/* --- writing --- */

/* How many of the bytes go into one record; 0: flush first. */
static size_t stream_record_len(const struct tls *t, size_t len)
{
	size_t space = buf_space(t->wire_out);
	size_t room = space > STREAM_OVERHEAD ? space - STREAM_OVERHEAD : 0;
	size_t record = len < RECORD_PLAIN_MAX ? len : RECORD_PLAIN_MAX;
	if (record <= room)
		return record;
	return buf_len(t->wire_out) > 0 && room < STREAM_RECORD_MIN ? 0 : room;
}

static enum tls_result stream_seal(struct tls *t, const uint8_t *bytes, size_t len)
{
	if ((t->update_owed || t->records_left == 0) && !message_key_update(t)) {
		tls_fail(t, TLS_FAILURE_MEMORY);
		tls_move(t, TLS_STATE_FAILED);
		return TLS_FAILED;
	}
	t->records_left--;
	size_t n = record_seal(
		&t->writing, SSL3_RT_APPLICATION_DATA, bytes, len, buf_tail(t->wire_out));
	buf_wrote(t->wire_out, n);
	return TLS_DONE;
}

enum tls_result tls_write(struct tls *t, const uint8_t *bytes, size_t len, size_t *ret_used)
{
	size_t used = 0;
	*ret_used = 0;
	if (stream_ready(t) == TLS_FAILED)
		return TLS_FAILED;
	ASSERT(!t->close_sent);
	enum tls_result result = handshake_send_ticket(t) ? TLS_DONE : TLS_FULL;
	while (used < len && result == TLS_DONE) {
		size_t record = stream_record_len(t, len - used);
		result = record > 0 ? stream_seal(t, bytes + used, record) : TLS_FULL;
		if (result == TLS_DONE)
			used += record;
	}
	*ret_used = used;
	return used > 0 && result == TLS_FULL ? TLS_DONE : result;
}

enum tls_result tls_close_notify(struct tls *t)
{
	if (t->close_sent)
		return TLS_DONE;
	if (t->state != TLS_STATE_OPEN && t->state != TLS_STATE_CLOSED)
		return TLS_FAILED;
	if (!handshake_send_ticket(t) || buf_space(t->wire_out) < MESSAGE_ALERT_BYTES)
		return TLS_FULL;
	message_alert(t, SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY);
	t->close_sent = true;
	return TLS_DONE;
}

/* --- what is known --- */

enum tls_failure tls_failure(const struct tls *t)
{
	return t->failure;
}

uint8_t tls_peer_alert(const struct tls *t)
{
	return t->peer_alert;
}

struct str tls_peer_id(const struct tls *t)
{
	return str_of(t->peer.id);
}

struct str tls_own_identity(const struct tls *t)
{
	return str_of(t->identity ? t->identity->path : "");
}

struct str tls_server_name(const struct tls *t)
{
	return str_of(t->server_name);
}

enum tls_alpn tls_alpn(const struct tls *t)
{
	return t->alpn;
}

enum tls_shown tls_peer_shown(const struct tls *t)
{
	return t->shown;
}

struct str tls_peer_serial(const struct tls *t)
{
	return str_of(t->peer_serial ? t->peer_serial : "");
}

int64_t tls_peer_not_after_s(const struct tls *t)
{
	return t->peer.valid_until_s;
}

enum tls_failure tls_peer_again(const struct tls *t, const struct tls_store *now, int64_t wall_s)
{
	struct verify_peer peer = {0};
	if (t->store->kind == STORE_PKI || store_same_trust(t->store, now))
		return TLS_FAILURE_NONE;
	if (wall_s >= t->peer.valid_until_s)
		wall_s = t->peer.valid_until_s - 1;
	enum tls_failure failure = verify_chain(now, t->chain, wall_s, &peer);
	free(peer.id);
	ERR_clear_error();
	/* Nobody else is let in while a list is too old; who is in already stays. */
	return failure == TLS_FAILURE_REVOCATION_UNKNOWN ? TLS_FAILURE_NONE : failure;
}

bool tls_resumed(const struct tls *t)
{
	return t->resumed;
}

static const struct {
	const char *name, *text;
} stream_failures[] = {
#define X(name, text) {#name, text},
	TLS_FAILURE_LIST(X)
#undef X
};

const char *tls_failure_text(enum tls_failure failure)
{
	return stream_failures[failure].text;
}

const char *tls_failure_name(enum tls_failure failure)
{
	return stream_failures[failure].name;
}
