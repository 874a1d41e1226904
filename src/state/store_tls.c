/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards the server: who it must be, who signs for us, and what to tell an operator when it
 * fails. hiredis has TLS of its own, which is not used: no release of it checks the name that a
 * certificate is for, so that every holder of one of the same authority could play the store. */
#include "store_private.h"

#define STORE_ALERT_HANDSHAKE_FAILURE	 40
#define STORE_ALERT_PROTOCOL_VERSION	 70
#define STORE_ALERT_CERTIFICATE_REQUIRED 116

bool store_secure(struct store *s)
{
	char text[ADDRESS_TEXT_MAX];
	struct str host = s->settings.tls_name;
	if (host.len == 0)
		host = str_of(address_ip_text(&s->address, text));
	struct tls *tls = tls_client_new_pki(s->settings.tls, host, &s->conn.wire);
	if (tls)
		conn_secure(&s->conn, tls);
	return tls;
}

/* --- our own key --- */

void store_need_signature(struct store *s)
{
	if (s->sign_asked)
		return;
	s->sign_asked = true;
	s->sign_number++;
	if (s->settings.tls_key) {
		uint8_t signature[TLS_SIGNATURE_MAX];
		size_t len =
			tls_key_sign(s->settings.tls_key, tls_sign_request(s->conn.tls), signature);
		store_sign_done(s, s->sign_number, signature, len);
	} else {
		s->sign_news = true;
		store_news(s);
	}
}

bool store_sign(struct store *s, struct store_sign *ret_sign)
{
	if (!s->up || !s->sign_news)
		return false;
	s->sign_news = false;
	*ret_sign = (struct store_sign){s->sign_number, tls_sign_request(s->conn.tls)};
	return true;
}

void store_sign_done(struct store *s, uint64_t number, const uint8_t *signature, size_t len)
{
	if (!s->up || !s->sign_asked || number != s->sign_number ||
		s->conn.need != CONN_NEED_SIGNATURE)
		return;
	s->sign_news = false;
	tls_sign_done(s->conn.tls, signature, len);
	conn_resume(&s->conn);
}

/* --- failures --- */

static void store_fail_as_alert(struct store *s)
{
	uint8_t alert = tls_peer_alert(s->conn.tls);
	if (alert == STORE_ALERT_PROTOCOL_VERSION || alert == STORE_ALERT_HANDSHAKE_FAILURE)
		store_fail(s, "TLS: the server offers no TLS 1.3");
	else if (alert == STORE_ALERT_CERTIFICATE_REQUIRED)
		store_fail(s, "TLS: the server wants a certificate of ours: set "
			      "state.tls_certificate and state.tls_key");
	else
		store_fail(s, "TLS: the server refuses our certificate (alert %u)", alert);
}

void store_fail_as_tls(struct store *s)
{
	const struct tls *tls = s->conn.tls;
	struct str names = tls_refused_names(tls);
	enum tls_failure failure = tls_failure(tls);
	if (failure == TLS_FAILURE_ALERT)
		store_fail_as_alert(s);
	else if (failure == TLS_FAILURE_NAME)
		store_fail(s,
			"TLS: the server's certificate is for another name (" STR_FMT
			"): see state.tls_name",
			STR_ARG(names));
	else if (failure == TLS_FAILURE_CHAIN)
		store_fail(s, "TLS: the server's certificate is not of an authority of "
			      "state.tls_ca");
	else if (failure == TLS_FAILURE_EXTENDED_KEY_USAGE)
		store_fail(s, "TLS: the certificate is not one for servers");
	else if (failure == TLS_FAILURE_PROTOCOL)
		store_fail(s, "TLS: the server does not speak TLS 1.3 on this port");
	else if (failure == TLS_FAILURE_CLOSED)
		store_fail(s, "TLS: the server closed the connection: does it speak TLS 1.3 on "
			      "this port?");
	else
		store_fail(s, "TLS: %s", tls_failure_text(failure));
}
