/* SPDX-License-Identifier: Apache-2.0 */
/* What a mutual handshake costs, both ends together, in three ways:
 *
 *   unseen    neither end has seen the other's chain before
 *   seen      both have, in this generation
 *   resumed   by a ticket
 *
 *     handshakes [way [count]]
 *
 * Signatures are made here, in process. */
#include "unit/tls/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum handshakes_way { HANDSHAKES_UNSEEN, HANDSHAKES_SEEN, HANDSHAKES_RESUMED, HANDSHAKES_WAYS };

static const char *const handshakes_names[] = {"unseen", "seen", "resumed"};

static struct pair_mesh mesh;
static struct pair pair;

static uint64_t handshakes_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One, with the bytes that bring the ticket over. */
static void handshakes_one(struct tls_store *store, struct tls_sessions *sessions)
{
	struct tls_client_want want = pair_want();
	size_t used;
	pair_start(&pair, store, store, sessions, &want);
	ASSERT(pair_handshake(&pair));
	ASSERT(tls_write(pair.ends[PAIR_SERVER].tls, (const uint8_t *)"x", 1, &used) == TLS_DONE);
	ASSERT(pair_drain(&pair, PAIR_CLIENT) == TLS_MORE);
	pair_stop(&pair);
}

static double handshakes_us(enum handshakes_way way, unsigned count)
{
	struct tls_store *store = pair_mesh_store(&mesh, 1);
	struct tls_sessions *sessions = way == HANDSHAKES_RESUMED ? tls_sessions_new(10) : NULL;
	uint64_t ns = 0;
	handshakes_one(store, sessions);
	for (unsigned i = 0; i < count; i++) {
		if (way == HANDSHAKES_UNSEEN) {
			tls_store_unref(store);
			store = pair_mesh_store(&mesh, 2 + i);
		}
		uint64_t start = handshakes_now();
		handshakes_one(store, sessions);
		ns += handshakes_now() - start;
	}
	tls_sessions_free(sessions);
	tls_store_unref(store);
	return (double)ns / count / 1000;
}

int main(int argc, char **argv)
{
	unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
	pair_mesh_init(&mesh);
	pair_init(&pair, &mesh, 20 << 10);
	for (int i = 0; i < HANDSHAKES_WAYS; i++) {
		if (argc < 2 || strcmp(argv[1], handshakes_names[i]) == 0)
			printf("%-8s %8.0f us\n", handshakes_names[i], handshakes_us(i, count));
	}
	pair_done(&pair);
	pair_mesh_done(&mesh);
	return 0;
}
