/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/frame.h"

#include <stdbool.h>

static bool frame_good(const struct frame *f)
{
	switch (f->kind) {
	case FRAME_DATA:
		return f->channel != 0 && f->count > 0 && f->count <= FRAME_DATA_MAX;
	case FRAME_CREDIT:
		return f->channel != 0 && f->count > 0 && f->count <= FRAME_WINDOW;
	case FRAME_END:
	case FRAME_RESET:
		return f->channel != 0 && f->count == 0;
	case FRAME_GOAWAY:
		return f->channel == 0 && f->count == 0;
	}
	return false;
}

enum frame_result frame_read(const uint8_t *bytes, size_t len, struct frame *ret_frame)
{
	if (len < FRAME_BYTES)
		return FRAME_MORE;
	*ret_frame = (struct frame){
		.channel = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
			   (uint32_t)bytes[2] << 8 | bytes[3],
		.kind = (enum frame_kind)bytes[4],
		.count = (uint32_t)bytes[5] << 16 | (uint32_t)bytes[6] << 8 | bytes[7],
	};
	return frame_good(ret_frame) ? FRAME_DONE : FRAME_BAD;
}

void frame_write(const struct frame *f, uint8_t ret_bytes[FRAME_BYTES])
{
	ASSERT(frame_good(f));
	for (int i = 0; i < 4; i++)
		ret_bytes[i] = (uint8_t)(f->channel >> (24 - 8 * i));
	ret_bytes[4] = (uint8_t)f->kind;
	for (int i = 0; i < 3; i++)
		ret_bytes[5 + i] = (uint8_t)(f->count >> (16 - 8 * i));
}
