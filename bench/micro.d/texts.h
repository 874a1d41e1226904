/* SPDX-License-Identifier: Apache-2.0 */
/* The messages that are measured: a request of a browser behind an application, and what a JSON
 * service answers. */
#pragma once

#define TEXT_REQUEST                                                                             \
	"GET /api/orders/1042/items?limit=20&after=8812 HTTP/1.1\r\n"                            \
	"Host: orders.internal:8080\r\n"                                                         \
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" \
	"Accept: application/json, text/plain;q=0.9\r\n"                                         \
	"Accept-Language: en-GB,en;q=0.7\r\n"                                                    \
	"Accept-Encoding: gzip, deflate, br\r\n"                                                 \
	"Connection: keep-alive\r\n"                                                             \
	"Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark\r\n"                       \
	"Referer: http://orders.internal:8080/orders?page=3&sort=date\r\n"                       \
	"\r\n"

#define TEXT_BODY_BYTES 1024
#define TEXT_RESPONSE_HEAD                        \
	"HTTP/1.1 200 OK\r\n"                     \
	"Server: orders/2.1\r\n"                  \
	"Date: Mon, 23 Nov 2026 20:26:01 GMT\r\n" \
	"Content-Type: application/json\r\n"      \
	"Content-Length: 1024\r\n"                \
	"Cache-Control: private, max-age=0\r\n"   \
	"Vary: Accept-Encoding\r\n"               \
	"\r\n"

/* Head and body. */
struct text_response {
	char bytes[sizeof(TEXT_RESPONSE_HEAD) - 1 + TEXT_BODY_BYTES];
};
struct text_response text_response(void);
