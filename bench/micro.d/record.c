/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing and opening records, between two sessions of a mesh. */
#include "micro.h"
#include "unit/proxy/lab.h"

#include <stdlib.h>

#define RECORD_BLOCK_BYTES 32768

struct record {
	struct pair pair;
	struct tls_store *store;
	uint8_t plain[16384];
	size_t len;
};

static void *record_start(size_t len)
{
	struct record *r = calloc(1, sizeof(*r));
	ASSERT(r);
	struct tls_client_want want = pair_want();
	r->len = len;
	r->store = pair_mesh_store(lab_mesh_certs(), 1);
	pair_init(&r->pair, lab_mesh_certs(), RECORD_BLOCK_BYTES);
	pair_start(&r->pair, r->store, r->store, NULL, &want);
	bool ok = pair_handshake(&r->pair);
	ASSERT(ok);
	while (pair_carry(&r->pair, PAIR_SERVER))
		pair_drain(&r->pair, PAIR_CLIENT); /* tickets */
	return r;
}

static void *record_start_small(void)
{
	return record_start(1024);
}

static void *record_start_large(void)
{
	return record_start(16384);
}

static void record_stop(void *state)
{
	struct record *r = state;
	pair_stop(&r->pair);
	pair_done(&r->pair);
	tls_store_unref(r->store);
	free(r);
}

static void record_seal(void *state)
{
	struct record *r = state;
	size_t used;
	enum tls_result result = tls_write(r->pair.ends[PAIR_CLIENT].tls, r->plain, r->len, &used);
	ASSERT(result == TLS_DONE && used == r->len);
}

static void record_open(void *state)
{
	struct record *r = state;
	struct pair_end *end = &r->pair.ends[PAIR_SERVER];
	enum tls_result result = tls_read(end->tls, &end->plain);
	ASSERT(result == TLS_DONE);
}

static void record_round(struct record *r, bool seals)
{
	struct pair_end *client = &r->pair.ends[PAIR_CLIENT], *server = &r->pair.ends[PAIR_SERVER];
	if (seals)
		micro_measure(record_seal, r);
	else
		record_seal(r);
	/* as the proxy: straight from where the kernel would have put it */
	size_t len = buf_len(&client->wire);
	memcpy(server->input, buf_at(&client->wire), len);
	tls_input(server->tls, server->input, len);
	if (seals)
		record_open(r);
	else
		micro_measure(record_open, r);
	ASSERT(buf_len(&server->plain) == r->len);
	buf_clear(&client->wire);
	buf_clear(&server->plain);
}

static void record_run_seal(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		record_round(state, true);
}

static void record_run_open(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		record_round(state, false);
}

const struct micro_case micro_record_cases[] = {
	{"tls: seal 1 KiB", 64, record_start_small, record_run_seal, record_stop, NULL},
	{"tls: open 1 KiB", 64, record_start_small, record_run_open, record_stop, NULL},
	{"tls: seal 16 KiB", 64, record_start_large, record_run_seal, record_stop, NULL},
	{"tls: open 16 KiB", 64, record_start_large, record_run_open, record_stop, NULL},
	{0},
};
