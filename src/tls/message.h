/* SPDX-License-Identifier: Apache-2.0 */
/* What a session's records hold beside bytes: alerts, tickets, changes of key. */
#pragma once

#include "handshake.h"

/* Takes the content of a record that is no application data. TLS_MORE: nothing for the caller;
 * otherwise how the session has ended, with its alert in wire_out where one is due. */
enum tls_result message_take(struct tls *t, const struct record_content *content);
/* Our own; the room for each is a record's head and its few bytes. */
#define MESSAGE_ALERT_BYTES	 (RECORD_OVERHEAD_MAX + 2)
#define MESSAGE_KEY_UPDATE_BYTES (RECORD_OVERHEAD + 5)
/* False: out of memory, or TLS 1.2, which has none. */
bool message_key_update(struct tls *t) MUST_CHECK;
void message_alert(struct tls *t, uint8_t level, uint8_t alert);
/* Ends the session with an alert; TLS_FAILED. */
enum tls_result message_refuse(struct tls *t, enum tls_failure failure, uint8_t alert);
void message_free(struct tls *t);
