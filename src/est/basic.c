/* SPDX-License-Identifier: Apache-2.0 */
/* Basic credentials (RFC 7617). What is taken from a peer has no control characters, so that a name
 * may stand in a log line. */
#include "est/est.h"

#include "base64.h"
#include <errno.h>
#include <stdlib.h>

#define BASIC_BYTES_MAX 1024 /* name and password */

static const struct str basic_scheme = {"Basic", 5};

static bool basic_has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.at[i] < 0x20 || s.at[i] == 0x7f)
			return true;
	}
	return false;
}

int est_basic(struct str name, struct str password, struct str *ret_value, struct err *err)
{
	char text[BASIC_BYTES_MAX + 1];
	if (basic_has_control(name) || basic_has_control(password))
		return err_set(err, EINVAL, "a control character in a name or a token");
	if (name.len && memchr(name.at, ':', name.len))
		return err_set(err, EINVAL, "a colon in a name");
	if (name.len > BASIC_BYTES_MAX || password.len > BASIC_BYTES_MAX - name.len)
		return err_set(err, EINVAL, "name and token longer than %d bytes", BASIC_BYTES_MAX);
	struct str code, all = {text, name.len + 1 + password.len};
	if (name.len)
		memcpy(text, name.at, name.len);
	text[name.len] = ':';
	if (password.len)
		memcpy(text + name.len + 1, password.at, password.len);
	int r = base64_write((const uint8_t *)text, all.len, BASE64_ONE_LINE, &code, err);
	explicit_bzero(text, sizeof(text));
	if (r < 0)
		return r;
	size_t len = basic_scheme.len + 1 + code.len;
	char *value = malloc(len + 1);
	if (value) {
		memcpy(value, basic_scheme.at, basic_scheme.len);
		value[basic_scheme.len] = ' ';
		memcpy(value + basic_scheme.len + 1, code.at, code.len + 1);
	}
	base64_free(code);
	if (!value)
		return err_set(err, ENOMEM, "out of memory");
	*ret_value = (struct str){value, len};
	return 0;
}

/* Behind the scheme and its spaces; STR_NONE: another scheme. */
static struct str basic_code(struct str value)
{
	value = str_trim(value);
	struct str scheme = {value.at, basic_scheme.len};
	if (value.len <= basic_scheme.len || !str_eq_nocase(scheme, basic_scheme) ||
		value.at[basic_scheme.len] != ' ')
		return STR_NONE;
	return str_trim((struct str){value.at + basic_scheme.len, value.len - basic_scheme.len});
}

int est_basic_read(struct str value, struct str *ret_name, struct str *ret_password,
	struct str *ret_memory, struct err *err)
{
	struct str code = basic_code(value), all;
	if (!code.at)
		return err_set(err, EBADMSG, "Authorization: not of the scheme Basic");
	if (code.len > 2 * BASIC_BYTES_MAX)
		return err_set(err, EBADMSG, "Authorization: too long");
	struct err why;
	int r = base64_read(code, BASE64_ONE_LINE, &all, &why);
	if (r < 0)
		return err_set(err, -r, "Authorization: %s", why.text);
	const char *colon = memchr(all.at, ':', all.len);
	if (!colon || all.len > BASIC_BYTES_MAX + 1 || basic_has_control(all)) {
		base64_free(all);
		return err_set(err, EBADMSG, "Authorization: no name and password");
	}
	*ret_name = (struct str){all.at, (size_t)(colon - all.at)};
	*ret_password = (struct str){colon + 1, all.len - ret_name->len - 1};
	*ret_memory = all;
	return 0;
}
