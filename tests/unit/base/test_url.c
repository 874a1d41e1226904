/* SPDX-License-Identifier: Apache-2.0 */
#include "base/url.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void takes_https(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		bool is_address;
	} rows[] = {{"https://id.example", "id.example", 443, false},
		{"https://id.example/", "id.example", 443, false},
		{"https://id.example:8443/keys?x=1&y=%20", "id.example", 8443, false},
		{"https://id.example?x", "id.example", 443, false},
		{"https://ID-1.example/a@b", "ID-1.example", 443, false},
		{"https://10.0.0.1/k", "10.0.0.1", 443, true},
		{"https://[fd00::1]:9443/k", "fd00::1", 9443, true},
		{"https://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1", 443, true},
		{"https://localhost", "localhost", 443, false}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct url url;
		const char *why = url_https(str_of(rows[i].text), &url);
		if (why)
			fail_msg("%s: %s", rows[i].text, why);
		if (!str_eq(url.host, str_of(rows[i].host)) || url.port != rows[i].port ||
			url.is_address != rows[i].is_address)
			fail_msg("%s", rows[i].text);
	}
}

/* What curl, the resolver and a reader could take for different places, among others. */
static void refuses_the_rest(void **state)
{
	static const char *const rows[] = {"", "https://", "https:///x", "http://id.example/",
		"HTTPS://id.example/", "file:///etc/passwd", "id.example", "//id.example",
		"https://ann@id.example/", "https://ann:x@id.example/", "https://@id.example/",
		"https://id.example/#x", "https://id.example#x",
		"https://id.example\\@evil.example/", "https://id.example:0/",
		"https://id.example:65536/", "https://id.example:/", "https://id.example:8x/",
		"https://id.example:+1/", "https://id.example:000443/", "https://id..example/",
		"https://.example/", "https://id.example./", "https://-id.example/",
		"https://id-.example/", "https://id_x.example/", "https://id.exa%6dple/",
		"https://127.1/", "https://2130706433/", "https://0x7f000001/",
		"https://0177.0.0.1/x", "https://10.0.0.1.5/", "https://id.1x/", "https://fd00::1/",
		"https://[fd00::1/", "https://[fd00::1]x/", "https://[id.example]/",
		"https://[10.0.0.1]/", "https://[fe80::1%25eth0]/", "https://id.example/{a,b}",
		"https://id.example/a b", "https://id.example/\"", "https://id.example/\x01",
		"https://id.example/\xc3\xa9", "https://id.example\n/", " https://id.example/"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct url url;
		if (!url_https(str_of(rows[i]), &url))
			fail_msg("taken: %s", rows[i]);
	}
	char large[URL_BYTES_MAX + 2];
	struct url url;
	memset(large, 'a', sizeof(large));
	memcpy(large, "https://id.example/", 19);
	assert_null(url_https((struct str){large, URL_BYTES_MAX}, &url));
	assert_non_null(url_https((struct str){large, URL_BYTES_MAX + 1}, &url));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_https),
		cmocka_unit_test(refuses_the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
