/* SPDX-License-Identifier: Apache-2.0 */
#include "page_ask.h"

#include "json_check.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct page_response page_ask(const struct page_source *source, const char *path)
{
	struct page_response r;
	const struct page_request request = {.method = STR("GET"),
		.path = str_of(path),
		.host = STR("localhost"),
		.accept = STR("*/*"),
		.is_unix = true};
	page_answer(source, &request, &r);
	return r;
}

void page_ask_expect(
	const struct page_source *source, const char *path, uint16_t status, const char *part)
{
	struct page_response r = page_ask(source, path);
	bool has = memmem(r.body, r.body_len, part, strlen(part));
	if (r.status != status || !has)
		fail_msg("%s: %u, missing %s in:\n%.*s", path, r.status, part, (int)r.body_len,
			r.body);
	if (status == 200 && strstr(r.type, "json"))
		assert_true(json_valid(r.body, r.body_len));
	page_response_done(&r);
}
