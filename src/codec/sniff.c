/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/sniff.h"

#include "method.h"

static const struct str sniff_preface = {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24};

static enum sniff sniff_tls(const uint8_t *bytes, size_t len)
{
	if (len < 2)
		return SNIFF_MORE;
	/* The record's major version has been 3 since SSL 3.0 and stays 3. */
	return bytes[1] == 3 ? SNIFF_TLS : SNIFF_OTHER;
}

enum sniff sniff_bytes(const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return SNIFF_MORE;
	if (bytes[0] == 0x16)
		return sniff_tls(bytes, len);

	size_t n = len < sniff_preface.len ? len : sniff_preface.len;
	if (memcmp(bytes, sniff_preface.at, n) == 0)
		return len >= sniff_preface.len ? SNIFF_HTTP2 : SNIFF_MORE;

	switch (method_match(bytes, len)) {
	case METHOD_MATCH_YES:
		return SNIFF_HTTP1;
	case METHOD_MATCH_MORE:
		return SNIFF_MORE;
	case METHOD_MATCH_NO:
		break;
	}
	return SNIFF_OTHER;
}
