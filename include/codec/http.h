/* SPDX-License-Identifier: Apache-2.0 */
/* The one HTTP vocabulary: bytes become events, heads and bodies become bytes, whatever the version
 * on the wire. A codec does no I/O and knows no mesh. HTTP/1.1 (RFC 9112) is h1.c; further versions
 * are further `struct http_ops`.
 *
 * One struct http is one connection's codec. A message is named by a stream number: HTTP/1 has one
 * stream at a time, numbered 1, 2, 3… per message, and never opens the next before both halves of
 * the current one have ended. */
#pragma once

#include "base/assert.h"
#include "base/buf.h"
#include "base/pool.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define HTTP_HEADERS_MAX 128

enum http_side { HTTP_SERVER, HTTP_CLIENT }; /* who we are on this connection */

enum http_version { HTTP_1_0, HTTP_1_1, HTTP_2 };

/* How a message body's end is known. */
enum http_framing {
	HTTP_FRAMING_NONE,   /* no body at all */
	HTTP_FRAMING_LENGTH, /* body_bytes */
	HTTP_FRAMING_STREAM, /* chunked, or HTTP/2 DATA until the end flag */
	HTTP_FRAMING_CLOSE,  /* response only: until the connection ends */
	HTTP_FRAMING_TUNNEL, /* 101, or 2xx to CONNECT: raw bytes from here on */
};

/* The names that somebody here acts on. Those from CONNECTION on are of this hop or of the framing:
 * they are taken off when reading and written anew. */
enum http_name {
	HTTP_NAME_OTHER,
	HTTP_NAME_CLIENT_CERT, /* X-Forwarded-Client-Cert */
	HTTP_NAME_MIRROR,      /* X-Ringmain-Mirror */
	HTTP_NAME_REQUEST_ID,  /* X-Request-Id */
	HTTP_NAME_ROUTE,       /* X-Ringmain-Route */
	HTTP_NAME_USER_AGENT,
	HTTP_NAME_CONNECTION,
	HTTP_NAME_CONTENT_LENGTH,
	HTTP_NAME_EXPECT,
	HTTP_NAME_HOST,
	HTTP_NAME_HTTP2_SETTINGS,
	HTTP_NAME_KEEP_ALIVE,
	HTTP_NAME_PROXY_CONNECTION,
	HTTP_NAME_TE,
	HTTP_NAME_TRAILER,
	HTTP_NAME_TRANSFER_ENCODING,
	HTTP_NAME_UPGRADE,
};
enum http_name http_name_of(struct str name);
static inline bool http_name_is_hop(enum http_name id)
{
	return id >= HTTP_NAME_CONNECTION;
}

struct http_header {
	struct str name; /* as received; compare without case */
	struct str value;
	enum http_name id; /* always that of `name` */
	bool is_line;	   /* the two stand in one text, as "name: value CRLF" */
};

/* A request's or response's start line and headers, without hop-by-hop and framing fields: those
 * are taken off when reading (RFC 9110 7.6.1) and written anew when writing. Content-Length stays
 * in the response to HEAD and in 304, where it frames nothing. */
struct http_head {
	struct str method; /* request */
	struct str path;   /* request: origin form ("/a?b"), "*" for OPTIONS, empty for CONNECT */
	struct str authority; /* request: host[:port], lower case and without a dot at the end of
			       * the name, from the target or Host; empty only in HTTP/1.0 */
	struct str upgrade;   /* "websocket" when asked for, or switched to with 101; else empty: no
			       * other protocol is let through */
	uint16_t status;      /* response */
	enum http_version version; /* as received */
	enum http_framing framing;
	uint64_t body_bytes;  /* HTTP_FRAMING_LENGTH */
	bool expect_continue; /* and there is a body to come */
	bool te_trailers;     /* the request said TE: trailers */
	uint16_t header_count;
	struct http_header headers[HTTP_HEADERS_MAX];
};

/* Gives an authority, in writable memory, the form that it has in a head that was read. False: no
 * request is taken with it. */
bool http_authority_normalise(struct str *authority) MUST_CHECK;
/* Whether requests of this method are passed on, and read with a header of this name. */
bool http_method_passes(struct str method);
bool http_request_name_valid(struct str name);

/* Why a message was refused. One list for status, log detail and tests: name, status to answer
 * with, text. */
#define HTTP_BAD_LIST(X)                                                              \
	X(NONE, 0, "")                                                                \
	X(SYNTAX, 400, "malformed request or response")                               \
	X(METHOD, 501, "method not known")                                            \
	X(METHOD_REFUSED, 405, "method not allowed here")                             \
	X(VERSION, 505, "HTTP version not supported")                                 \
	X(HOST, 400, "missing, repeated or invalid Host")                             \
	X(TARGET, 400, "invalid request target")                                      \
	X(TARGET_TOO_LONG, 414, "request target too long")                            \
	X(HEADERS_TOO_LARGE, 431, "header section too large")                         \
	X(HEADER_NAME, 400, "header name not allowed")                                \
	X(LINE_FOLDING, 400, "folded header line")                                    \
	X(LINE_END, 400, "line not ended by CRLF")                                    \
	X(LENGTH, 400, "invalid or repeated Content-Length")                          \
	X(LENGTH_AND_ENCODING, 400, "Content-Length together with Transfer-Encoding") \
	X(ENCODING, 400, "invalid Transfer-Encoding")                                 \
	X(ENCODING_UNKNOWN, 501, "Transfer-Encoding not supported")                   \
	X(CHUNK, 400, "malformed chunk")                                              \
	X(CHUNK_TOO_LARGE, 413, "chunk or chunk extension too large")                 \
	X(EXPECTATION, 417, "unknown Expect")                                         \
	X(TRAILER, 400, "trailer field not allowed")                                  \
	X(TRUNCATED, 400, "message ended early")                                      \
	X(UNEXPECTED, 400, "bytes where no message was expected")                     \
	X(NOT_HTTP, 400, "not HTTP: TLS or another protocol on a plain port")         \
	X(NO_MEMORY, 503, "out of memory")

enum http_bad {
#define X(name, status, text) HTTP_BAD_##name,
	HTTP_BAD_LIST(X)
#undef X
};

uint16_t http_bad_status(enum http_bad bad);
const char *http_bad_text(enum http_bad bad);
const char *http_bad_name(enum http_bad bad); /* "LENGTH_AND_ENCODING" */

enum http_event_kind {
	HTTP_EVENT_MORE,     /* nothing to tell, and nothing more to be read from this input */
	HTTP_EVENT_WAIT,     /* server: the input begins the next message, which is not read before
			      * the current response has been written to its end. Nothing of it
			      * was used: keep it and feed it again after http_write_end() */
	HTTP_EVENT_HEAD,     /* head; for a server this opens a stream */
	HTTP_EVENT_INTERIM,  /* client side: a 1xx head other than 101 */
	HTTP_EVENT_BODY,     /* bytes, pointing into the input */
	HTTP_EVENT_TRAILERS, /* head->headers only */
	HTTP_EVENT_END,	     /* the message is complete */
	HTTP_EVENT_BAD,	     /* the connection can't be read any further; `bad` says why */
};

/* `head` is the codec's; the caller may change it. It is valid until the next head, interim or not,
 * is read on the same connection, or http_rest() is called. `body` points into the input. */
struct http_event {
	enum http_event_kind kind;
	enum http_bad bad;
	uint32_t stream;
	struct http_head *head;
	struct str body;
};

/* A head that was accepted can always be written into an empty buffer of HTTP_HEAD_SPACE() bytes,
 * with all that the codec adds; what the caller adds to it comes on top. */
#define HTTP_HEAD_SPACE(head_bytes_max) ((head_bytes_max) + 1024u)

struct http_limits {
	uint32_t head_bytes_max; /* start line and headers together; trailers as much again */
	uint32_t target_bytes_max;
	uint32_t header_count_max;    /* at most HTTP_HEADERS_MAX */
	uint32_t chunk_ext_bytes_max; /* per message */
	uint64_t chunk_bytes_max;
	/* Where memory for heads comes from, of objects of http_head_bytes(), so that a worker's
	 * connections need no malloc for them; a longer head needs one. NULL: malloc. */
	struct pool *heads;
};
size_t http_head_bytes(void);
extern const struct http_limits http_limits_default;

struct http;
struct http_ops; /* private to the codec room: one table per version */

/* NULL when memory is exhausted. `limits` is copied. */
struct http *http_new(
	enum http_version version, enum http_side side, const struct http_limits *limits);
void http_free(struct http *h);

/* --- reading --- */

/* Reads from `bytes` until the first event and returns how much it used. Call again with the rest,
 * even when that is nothing, until the event is MORE, WAIT or BAD. Body events are never larger
 * than `len`: a caller that can take n more body bytes passes at most n. MORE has used all of the
 * input, except in a tunnel. After BAD nothing is read any more: the answer is BAD again. After the
 * last message of a connection (Connection: close) the input is dropped.
 *
 * A client must have fed all it has received before it asks http_reusable(): bytes after the end of
 * a response are BAD (UNEXPECTED). */
size_t http_feed(struct http *h, const uint8_t *bytes, size_t len, struct http_event *ret_event);
/* The peer has finished sending: END for a body that lasts until close, BAD for a truncated
 * message or a request that got no response, MORE when nothing was open. */
void http_feed_eof(struct http *h, struct http_event *ret_event);
/* After a 101 or a CONNECT 2xx, read or written, http_tunnelled() is true and http_feed() uses
 * nothing: the rest is raw bytes, which the caller passes on by itself. Such a stream has no END,
 * and needs no http_write_end(). */

/* --- writing: all of them append to `out`, all or nothing; false when it does not fit --- */

/* Client: opens a stream; 0 when none can be opened now. */
uint32_t http_open(struct http *h);
/* A whole head. Framing fields, Connection, Host (client), Upgrade, TE and Expect are written from
 * the struct, the other fields in order; fields of those names in head->headers are passed over.
 * Names and values must be valid: those of a head that was read are. STREAM and CLOSE become
 * chunked for a 1.1 peer, and until-close for a 1.0 client. A server's NONE is written as length 0
 * where a body could be. A server writes 1xx interim heads with this too (a 1.0 client gets none),
 * and 101 only to a request that came with `upgrade`. */
bool http_write_head(
	struct http *h, uint32_t stream, const struct http_head *head, struct buf *out) MUST_CHECK;
/* Body bytes; returns how many were taken (framing overhead considered). What a message without a
 * body is offered (the response to HEAD) is taken and dropped; what exceeds the declared length is
 * not taken. */
size_t http_write_body(struct http *h, uint32_t stream, struct str body, struct buf *out);
/* How many body bytes http_write_body() would take now; SIZE_MAX where they are dropped. */
size_t http_body_space(const struct http *h, uint32_t stream, struct buf *out);
/* Ends the message; `trailers` may be NULL, and are dropped where they can't be sent. Ended before
 * its declared length, a message leaves the connection not reusable: close it, so that the peer
 * sees what happened. */
bool http_write_end(struct http *h, uint32_t stream, const struct http_head *trailers,
	struct buf *out) MUST_CHECK;
/* Server: a complete response with a short plain-text body, saying that the connection is closed
 * afterwards if `close`. Usable after HTTP_EVENT_BAD (stream 0 = the one being read). When a
 * response has been begun already nothing is written, and the connection is not reusable. */
bool http_write_error(struct http *h, uint32_t stream, uint16_t status, const char *text,
	bool close, struct buf *out) MUST_CHECK;
/* The same with headers of the caller's. */
struct http_refusal {
	uint16_t status;
	const struct http_header *headers; /* none of the framing */
	uint16_t header_count;
	const char *text; /* NULL: no body, and no Content-Type of ours */
	bool close;
};
bool http_write_refusal(struct http *h, uint32_t stream, const struct http_refusal *refusal,
	struct buf *out) MUST_CHECK;

/* --- state of the connection --- */

/* Say `Connection: close` in the next head and take no message after that one (drain). On an idle
 * connection that is still to come, as it may be on its way. */
void http_close_after(struct http *h);
/* Both halves of the last message have ended and the connection may carry another. */
bool http_reusable(const struct http *h);
/* Raw bytes from here on in both directions. */
bool http_tunnelled(const struct http *h);
/* The last message's heads are of no more use: an idle codec holds none after this. No effect in
 * the middle of a message. */
void http_rest(struct http *h);

/* --- heads --- */

/* First value of a header, or STR_NONE. */
struct str http_header_get(const struct http_head *head, const char *name);
struct str http_header_of(const struct http_head *head, enum http_name id);
/* False when the head is full. The strings must live as long as the head. */
bool http_header_add(struct http_head *head, struct str name, struct str value) MUST_CHECK;
/* All of that name, which is not OTHER. */
void http_header_remove(struct http_head *head, enum http_name id);
