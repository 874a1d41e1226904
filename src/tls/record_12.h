/* SPDX-License-Identifier: Apache-2.0 */
/* Records of TLS 1.2 (RFC 5246, 6.2.3.3; RFC 5288; RFC 7905), which some servers outside of the
 * mesh speak only: the same as record.h says, for keys of these forms. */
#pragma once

#include "record.h"

#define RECORD_12_BLOCK_BYTES_MAX 128

/* Of the handshake's key block; numbers begin at 0. False: not a suite that we want, or out of
 * memory. */
bool record_12_keys(struct record_key *client, struct record_key *server, uint16_t suite,
	const uint8_t *block, size_t len) MUST_CHECK;
size_t record_12_seal(
	struct record_key *k, uint8_t type, const uint8_t *bytes, size_t len, uint8_t *out);
int record_12_measure(const struct record_key *k, const uint8_t head[static RECORD_HEAD_BYTES],
	size_t *ret_record_len);
int record_12_open(struct record_key *k, const uint8_t *record, size_t record_len, uint8_t *out,
	struct record_content *ret_content);
