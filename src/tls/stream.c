/* SPDX-License-Identifier: Apache-2.0 */
/* A session after its handshake, and what it tells about itself. */
#include "handshake.h"

#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>

#define STREAM_RECORD_MAX 16384
/* Header, content type and tag of a record, and the KeyUpdate that may go before it. */
#define STREAM_OVERHEAD (5 + 1 + 16 + 32)
/* With less room than this beside waiting bytes it is better to flush than to cut a small record.
 */
#define STREAM_RECORD_MIN 4096

void tls_input(struct tls *t, const uint8_t *bytes, size_t len)
{
	t->input = bytes;
	t->input_len = len;
}

size_t tls_input_left(const struct tls *t)
{
	return t->input_len;
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

enum tls_result tls_read(struct tls *t, struct buf *out)
{
	enum tls_result ready = stream_ready(t);
	if (ready != TLS_DONE)
		return ready;
	size_t got = 0;
	for (;;) {
		size_t space = buf_space(out);
		if (space == 0)
			return got > 0 ? TLS_DONE : TLS_FULL;
		ERR_clear_error();
		int n = SSL_read(t->ssl, buf_tail(out), space < INT_MAX ? (int)space : INT_MAX);
		if (n > 0) {
			buf_wrote(out, (size_t)n);
			got += (size_t)n;
			continue;
		}
		enum tls_result result = tls_result_of(t, n);
		return result == TLS_MORE && got > 0 ? TLS_DONE : result;
	}
}

/* The rest of a record that is sealed but did not fit. The library reads only the length. */
static enum tls_result stream_flush(struct tls *t)
{
	static const uint8_t nothing[STREAM_RECORD_MAX];
	if (t->write_pending == 0)
		return TLS_DONE;
	ERR_clear_error();
	int n = SSL_write(t->ssl, nothing, (int)t->write_pending);
	if (n <= 0)
		return tls_result_of(t, n);
	t->write_pending = 0;
	return TLS_DONE;
}

/* How many of the bytes go into one record; 0: flush first. */
static size_t stream_record_len(const struct tls *t, size_t len)
{
	size_t space = buf_space(t->wire_out);
	size_t room = space > STREAM_OVERHEAD ? space - STREAM_OVERHEAD : 0;
	size_t record = len < STREAM_RECORD_MAX ? len : STREAM_RECORD_MAX;
	if (record <= room)
		return record;
	return buf_len(t->wire_out) > 0 && room < STREAM_RECORD_MIN ? 0 : room;
}

static enum tls_result stream_seal(struct tls *t, const uint8_t *bytes, size_t len)
{
	if (t->records_left-- == 0) {
		/* Cannot fail on an open session but for memory; then the old key goes on. */
		SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		t->records_left = TLS_RECORDS_PER_KEY;
	}
	ERR_clear_error();
	int n = SSL_write(t->ssl, bytes, (int)len);
	if (n > 0)
		return TLS_DONE;
	enum tls_result result = tls_result_of(t, n);
	if (result == TLS_FULL)
		t->write_pending = len;
	return result;
}

enum tls_result tls_write(struct tls *t, const uint8_t *bytes, size_t len, size_t *ret_used)
{
	size_t used = t->write_pending;
	*ret_used = 0;
	enum tls_result result = stream_ready(t);
	if (result == TLS_FAILED)
		return result;
	ASSERT(len >= t->write_pending && !t->close_sent);
	result = stream_flush(t);
	if (result != TLS_DONE)
		return result;
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
	enum tls_result result = stream_flush(t);
	if (result != TLS_DONE)
		return result;
	ERR_clear_error();
	int r = SSL_shutdown(t->ssl);
	if (r < 0)
		return tls_result_of(t, r);
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

struct str tls_server_name(const struct tls *t)
{
	return str_of(t->server_name);
}

enum tls_alpn tls_alpn(const struct tls *t)
{
	return t->alpn;
}

int64_t tls_peer_not_after_s(const struct tls *t)
{
	return t->peer.valid_until_s;
}

enum tls_failure tls_peer_again(const struct tls *t, const struct tls_store *now, int64_t wall_s)
{
	struct verify_peer peer = {0};
	if (store_same_anchors(t->store, now))
		return TLS_FAILURE_NONE;
	if (wall_s >= t->peer.valid_until_s)
		wall_s = t->peer.valid_until_s - 1;
	enum tls_failure failure =
		verify_chain(now, SSL_get0_peer_certificates(t->ssl), wall_s, &peer);
	free(peer.id);
	ERR_clear_error();
	return failure;
}

bool tls_resumed(const struct tls *t)
{
	return SSL_session_reused(t->ssl);
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
