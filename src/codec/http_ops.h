/* SPDX-License-Identifier: Apache-2.0 */
/* What a version of HTTP has to offer to stand behind include/codec/http.h: one table per version,
 * with the contracts of the functions of the same name there. A codec embeds struct http first. */
#pragma once

#include "codec/http.h"

struct http_ops {
	void (*free)(struct http *h);
	size_t (*feed)(
		struct http *h, const uint8_t *bytes, size_t len, struct http_event *ret_event);
	void (*feed_eof)(struct http *h, struct http_event *ret_event);
	uint32_t (*open)(struct http *h);
	bool (*write_head)(
		struct http *h, uint32_t stream, const struct http_head *head, struct buf *out);
	size_t (*write_body)(struct http *h, uint32_t stream, struct str body, struct buf *out);
	size_t (*body_space)(const struct http *h, uint32_t stream, struct buf *out);
	bool (*write_end)(
		struct http *h, uint32_t stream, const struct http_head *trailers, struct buf *out);
	bool (*write_refusal)(struct http *h, uint32_t stream, const struct http_refusal *refusal,
		struct buf *out);
	void (*close_after)(struct http *h);
	bool (*reusable)(const struct http *h);
	bool (*tunnelled)(const struct http *h);
	void (*rest)(struct http *h);
};

struct http {
	const struct http_ops *ops;
};

/* NULL when memory is exhausted. */
struct http *h1_new(enum http_side side, const struct http_limits *limits);
size_t h1_head_bytes(void);
