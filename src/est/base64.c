/* SPDX-License-Identifier: Apache-2.0 */
#include "base64.h"

#include <errno.h>
#include <openssl/base64.h>
#include <openssl/mem.h>
#include <stdlib.h>

#define BASE64_LINE 64

void base64_free(struct str bytes)
{
	if (bytes.at)
		OPENSSL_cleanse((void *)(uintptr_t)bytes.at, bytes.len);
	free((void *)(uintptr_t)bytes.at);
}

/* --- writing --- */

static size_t base64_break(const char *line, size_t len, char *text)
{
	size_t used = 0;
	for (size_t i = 0; i < len; i += BASE64_LINE) {
		size_t n = len - i < BASE64_LINE ? len - i : BASE64_LINE;
		memcpy(text + used, line + i, n);
		used += n;
		text[used++] = '\n';
	}
	return used;
}

int base64_write(const uint8_t *bytes, size_t len, enum base64_space space, struct str *ret_text,
	struct err *err)
{
	size_t size; /* with the NUL */
	if (!EVP_EncodedLength(&size, len))
		return err_set(err, EMSGSIZE, "too long for base64");
	char *line = malloc(size);
	char *text = malloc(size + size / BASE64_LINE + 2);
	if (!line || !text) {
		free(line);
		free(text);
		return err_set(err, ENOMEM, "out of memory");
	}
	size_t used = EVP_EncodeBlock((uint8_t *)line, bytes, len);
	if (space == BASE64_LINES) {
		used = base64_break(line, used, text);
		text[used] = '\0';
		free(line);
	} else {
		free(text);
		text = line;
	}
	*ret_text = (struct str){text, used};
	return 0;
}

/* --- reading --- */

/* What is left without white space, into `line`. */
static size_t base64_join(struct str text, char *line)
{
	size_t used = 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
			line[used++] = c;
	}
	return used;
}

static int base64_decode(const char *line, size_t len, struct str *ret_bytes, struct err *err)
{
	size_t size, used;
	if (len == 0)
		return err_set(err, EBADMSG, "empty where base64 was expected");
	if (line[0] == '-')
		return err_set(err, EBADMSG, "PEM where bare base64 was expected (RFC 8951 3.2)");
	if (!EVP_DecodedLength(&size, len))
		return err_set(err, EBADMSG, "no base64: its length is no multiple of four");
	uint8_t *bytes = malloc(size + 1);
	if (!bytes)
		return err_set(err, ENOMEM, "out of memory");
	if (!EVP_DecodeBase64(bytes, &used, size, (const uint8_t *)line, len)) {
		base64_free((struct str){(char *)bytes, 0});
		return err_set(
			err, EBADMSG, "no base64: characters or padding that are none of it");
	}
	bytes[used] = '\0';
	*ret_bytes = (struct str){(char *)bytes, used};
	return 0;
}

int base64_read(struct str text, enum base64_space space, struct str *ret_bytes, struct err *err)
{
	if (space == BASE64_ONE_LINE)
		return base64_decode(text.at, text.len, ret_bytes, err);
	char *line = malloc(text.len + 1);
	if (!line)
		return err_set(err, ENOMEM, "out of memory");
	int r = base64_decode(line, base64_join(text, line), ret_bytes, err);
	base64_free((struct str){line, text.len});
	return r;
}
