/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an answer. */
#include "serve.h"

#include "base/clock.h"
#include "codec/http.h"
#include <stdio.h>
#include <time.h>

/* RFC 9110 5.6.7; nodes compare their clocks with it. */
static const char *serve_date(uint64_t wall_ns, char text[40])
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	const time_t now = (time_t)(wall_ns / CLOCK_S);
	struct tm tm;
	gmtime_r(&now, &tm);
	snprintf(text, 40, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
		months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return text;
}

static bool serve_head_add(struct http_head *head, const char *name, const char *value)
{
	return http_header_add(head, str_of(name), str_of(value));
}

bool serve_head_write(const struct serve_answer *a, uint64_t wall_ns, struct http *http,
	uint32_t stream, struct buf *out)
{
	char date[40], retry[16];
	struct http_head head = {
		.status = a->status,
		.version = HTTP_1_1,
		.framing = a->status == 304 ? HTTP_FRAMING_NONE : HTTP_FRAMING_LENGTH,
		.body_bytes = a->body.len,
	};
	snprintf(retry, sizeof(retry), "%u", a->retry_s);
	bool ok = serve_head_add(&head, "Date", serve_date(wall_ns, date));
	if (a->type)
		ok = ok && serve_head_add(&head, "Content-Type", a->type);
	if (a->type && a->status == 200) /* RFC 7030 4.1.3; of no meaning since RFC 8951 */
		ok = ok && serve_head_add(&head, "Content-Transfer-Encoding", "base64");
	if (a->etag[0])
		ok = ok && serve_head_add(&head, "ETag", a->etag);
	if (a->allow)
		ok = ok && serve_head_add(&head, "Allow", a->allow);
	if (a->retry_s)
		ok = ok && serve_head_add(&head, "Retry-After", retry);
	if (a->status == 401)
		ok = ok && serve_head_add(&head, "WWW-Authenticate", "Basic realm=\"ringmain ca\"");
	ok = ok && serve_head_add(&head, "Cache-Control", "no-cache");
	return ok && http_write_head(http, stream, &head, out);
}
