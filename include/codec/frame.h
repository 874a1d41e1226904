/* SPDX-License-Identifier: Apache-2.0 */
/* The frames in which channels travel on a shared connection between two proxies
 * ("ringmain-channels/1"). All are eight bytes, big-endian:
 *
 *      channel u32 | kind u8 | count u24
 *
 * DATA is followed by `count` bytes; CREDIT lets the other side send `count` bytes more; END says
 * that no more bytes come, RESET that the channel is over both ways, GOAWAY (channel 0) that no new
 * channel is taken any more: their count is 0. */
#pragma once

#include "base/assert.h"
#include <stddef.h>
#include <stdint.h>

#define FRAME_BYTES    8
#define FRAME_DATA_MAX 16384 /* bytes after one DATA */

/* The rules of the protocol's version, the same on both sides. */
#define FRAME_WINDOW   (128u << 10) /* bytes that may be on their way before any CREDIT */
#define FRAME_CHANNELS 256	    /* open at once on one connection */

enum frame_kind { FRAME_DATA, FRAME_CREDIT, FRAME_END, FRAME_RESET, FRAME_GOAWAY };

struct frame {
	uint32_t channel;
	enum frame_kind kind;
	uint32_t count;
};

enum frame_result { FRAME_MORE, FRAME_DONE, FRAME_BAD };

/* The head of one frame; FRAME_DONE means that FRAME_BYTES were read. */
enum frame_result frame_read(const uint8_t *bytes, size_t len, struct frame *ret_frame) MUST_CHECK;
void frame_write(const struct frame *f, uint8_t ret_bytes[FRAME_BYTES]);
