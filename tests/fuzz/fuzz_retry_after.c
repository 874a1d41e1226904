/* SPDX-License-Identifier: Apache-2.0 */
/* What a server says of when to ask again: seconds, a date, gRPC's milliseconds, its messages. */
#include "codec/grpc.h"
#include "codec/retry_after.h"
#include "fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str value = {(const char *)bytes, len};
	enum grpc_status status;
	uint64_t seconds, again, ms;
	if (retry_after_read(value, 1700000000, &seconds)) {
		ASSERT(seconds <= RETRY_AFTER_S_MAX);
		/* later there is less left to wait, or as much */
		ASSERT(retry_after_read(value, 1700000001, &again) && again <= seconds);
	}
	if (grpc_status_read(value, &status))
		ASSERT(str_eq(grpc_status_text(status), value));
	(void)!grpc_pushback_read(value, &ms);
	(void)grpc_is_type(value);
	char *message = malloc(GRPC_MESSAGE_BYTES(len) + 1);
	if (message) {
		size_t written = grpc_message_write(value, message);
		ASSERT(written >= len && written <= GRPC_MESSAGE_BYTES(len));
		ASSERT(!memchr(message, '\n', written));
	}
	free(message);
	return 0;
}
