/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sends to the authority's server inside of TLS, in pieces: a 0xff byte ends a piece
 * and takes the next byte as tenths of a second that pass. Whatever it is, nothing is left behind.
 */
#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "fuzz/fuzz.h"
#include "unit/ca/serve_fake.h"

static void fuzz_pieces(struct loop *loop, int fd, const uint8_t *bytes, size_t len)
{
	while (len > 0 && fake_is_open(fd) && !fake_peer_saw_end(fd)) {
		const uint8_t *end = memchr(bytes, 0xff, len);
		size_t n = end ? (size_t)(end - bytes) : len;
		fake_peer_send(fd, bytes, n);
		fake_pump(loop, serve_step, serve_reap);
		bool waits = end && n + 1 < len;
		if (waits)
			fake_run(loop, serve_step, serve_reap, end[1] * (CLOCK_S / 10));
		n += end ? 1 + waits : 0;
		bytes += n;
		len -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 4096, .block_count = 16};
	const struct address address = {.family = AF_INET, .port = 8443};
	struct authority authority = {.outcome = AUTHORITY_FORBIDDEN, .failure = -5};
	struct loop loop;
	struct serve serve;
	struct err err;
	fake_init();
	fake_set_wall(1800000000 * CLOCK_S);
	ASSERT(loop_init(&loop, &limits, 1, &err) == 0 && ring_enable(&loop.ring, &err) == 0);
	serve_init(&serve, &loop);
	serve.authority = &authority;
	serve.trust_domain = STR("prod.example");
	int listener = fake_listener();
	ASSERT(serve_listen(&serve, listener, &address, &err) == 0);
	int fd = fake_dial(listener);
	fake_pump(&loop, serve_step, serve_reap);
	fuzz_pieces(&loop, fd, bytes, len);
	serve_close(&serve);
	fake_run(&loop, serve_step, serve_reap, 100 * CLOCK_S);
	ASSERT(serve_idle(&serve));
	serve_done(&serve);
	loop_done(&loop);
	fake_done();
	return 0;
}
