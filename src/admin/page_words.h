/* SPDX-License-Identifier: Apache-2.0 */
/* Routes in words, as `ringmain routes` shows them: with the names of the configuration's keys. */
#pragma once

#include "base/json.h"
#include "mesh/route.h"

/* What does not fit is cut, and ends with " ...". */
struct page_words {
	char text[2048];
	size_t len;
	bool is_cut;
};

static inline struct str page_words_str(const struct page_words *w)
{
	return (struct str){w->text, w->len};
}

void page_say(struct page_words *w, const char *format, ...) PRINTF_LIKE(2, 3);
/* "from web or guest" */
void page_say_list(struct page_words *w, const char *key, const struct str *list, uint32_t count);
/* "header x-team exact "blue"", "no header x" */
void page_say_field(struct page_words *w, const char *place, const struct route_field *f);

/* One condition of a rule, "method PUT or DELETE"; HEADER, QUERY and COOKIE have several. Empty: it
 * asks nothing of the kind. */
void page_say_condition(
	struct page_words *w, const struct route_when *when, enum route_miss what, uint32_t index);
/* All of them, as the member "match" of the open object. */
void page_put_conditions(struct json *j, const struct route_when *when);
/* What the request has in that place. Empty: nothing. */
void page_say_fact(struct page_words *w, const struct route_request *request,
	const struct route_when *when, enum route_miss what, uint32_t index);
/* How many conditions of this kind it has. */
uint32_t page_condition_count(const struct route_when *when, enum route_miss what);
const char *page_miss_name(enum route_miss what); /* "header" */
/* "2 more tries on connect-failure or reset"; empty: none. */
void page_say_retry(struct page_words *w, const struct route_retry *retry);
/* "delay 200ms for 10 %, abort with 503 for 5 %"; empty: none. */
void page_say_fault(struct page_words *w, const struct route_fault *fault);
/* "10 % to orders v2, 100 % to stock"; empty: none. */
void page_say_mirrors(struct page_words *w, const struct route_leg *mirrors, uint32_t count);
/* "header x-user"; empty: none. */
void page_say_sticky(struct page_words *w, const struct route_sticky *sticky);
