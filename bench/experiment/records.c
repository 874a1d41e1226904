/* SPDX-License-Identifier: Apache-2.0 */
/* What one TLS 1.3 record costs, written and read, in three ways:
 *
 *   memory   SSL_write() and SSL_read() over BIO_s_mem()
 *   own      the same over a BIO of one's own: a cursor to read from, a buffer to append to
 *   direct   EVP_AEAD from the plaintext into the wire, and open where the bytes lie
 *
 *     records [way [record bytes [records]]]
 *
 * Without arguments: a table of nanoseconds of CPU time and of mallocs per record. With them: that
 * many records and nothing else, for callgrind. */
#include "base/assert.h"

#include <openssl/aead.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORDS_BATCH_BYTES (64u << 10) /* plaintext on its way before the other end reads */
#define RECORDS_WIRE_BYTES  (512u << 10)

static uint64_t records_mallocs;

void *__libc_malloc(size_t len);

/* The library's own calls come here, too. */
void *malloc(size_t len)
{
	records_mallocs++;
	return __libc_malloc(len);
}

/* Sealed bytes from the writer to the reader. */
struct records_wire {
	uint8_t *bytes;
	size_t start, end;
};

struct records_way {
	const char *name;
	BIO *(*bio)(struct records_wire *wire);
};

/* --- the own BIO --- */

static int records_bio_read(BIO *bio, char *out, int len)
{
	struct records_wire *wire = BIO_get_data(bio);
	size_t left = wire->end - wire->start, n = (size_t)len < left ? (size_t)len : left;
	BIO_clear_retry_flags(bio);
	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(out, wire->bytes + wire->start, n);
	wire->start += n;
	return (int)n;
}

static int records_bio_write(BIO *bio, const char *bytes, int len)
{
	struct records_wire *wire = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (wire->start == wire->end)
		wire->start = wire->end = 0;
	ASSERT(wire->end + (size_t)len <= RECORDS_WIRE_BYTES);
	memcpy(wire->bytes + wire->end, bytes, (size_t)len);
	wire->end += (size_t)len;
	return len;
}

static long records_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	return command == BIO_CTRL_FLUSH;
}

static BIO *records_own(struct records_wire *wire)
{
	BIO_METHOD *method = BIO_meth_new(0, "wire");
	ASSERT(method && BIO_meth_set_read(method, records_bio_read) &&
		BIO_meth_set_write(method, records_bio_write) &&
		BIO_meth_set_ctrl(method, records_bio_ctrl));
	BIO *bio = BIO_new(method);
	ASSERT(bio);
	BIO_set_data(bio, wire);
	BIO_set_init(bio, 1);
	return bio;
}

static BIO *records_memory(struct records_wire *wire)
{
	return BIO_new(BIO_s_mem());
}

/* --- through SSL --- */

static SSL_CTX *records_side(void)
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	EVP_PKEY *key = EVP_PKEY_new();
	X509 *leaf = X509_new();
	SSL_CTX *side = SSL_CTX_new(TLS_method());
	ASSERT(ec && key && leaf && side && EC_KEY_generate_key(ec) &&
		EVP_PKEY_assign_EC_KEY(key, ec));
	ASN1_TIME_set(X509_getm_notBefore(leaf), 0);
	ASN1_TIME_set(X509_getm_notAfter(leaf), 4000000000);
	ASSERT(X509_set_pubkey(leaf, key) && X509_sign(leaf, key, EVP_sha256()));
	ASSERT(SSL_CTX_use_certificate(side, leaf) && SSL_CTX_use_PrivateKey(side, key));
	ASSERT(SSL_CTX_set_min_proto_version(side, TLS1_3_VERSION));
	X509_free(leaf);
	EVP_PKEY_free(key);
	return side;
}

static void records_pair(const struct records_way *way, SSL_CTX *side, SSL *ends[2])
{
	struct records_wire *wires = calloc(2, sizeof(*wires));
	BIO *bios[2];
	ASSERT(wires);
	for (int i = 0; i < 2; i++) {
		wires[i].bytes = malloc(RECORDS_WIRE_BYTES);
		ASSERT(wires[i].bytes);
		bios[i] = way->bio(&wires[i]);
		ends[i] = SSL_new(side);
		ASSERT(bios[i] && ends[i]);
		BIO_up_ref(bios[i]);
	}
	SSL_set_bio(ends[0], bios[0], bios[1]);
	SSL_set_bio(ends[1], bios[1], bios[0]);
	SSL_set_connect_state(ends[0]);
	SSL_set_accept_state(ends[1]);
	for (int i = 0; i < 10; i++) {
		(void)SSL_do_handshake(ends[0]);
		(void)SSL_do_handshake(ends[1]);
	}
	ASSERT(!SSL_in_init(ends[0]) && !SSL_in_init(ends[1]));
	uint8_t byte;
	ASSERT(SSL_write(ends[1], "x", 1) == 1 && SSL_read(ends[0], &byte, 1) == 1);
}

/* --- a run --- */

struct records_run {
	const struct records_way *way; /* bio NULL: direct */
	size_t record_bytes;
	SSL *ends[2];
	EVP_AEAD_CTX *keys[2];
	uint64_t sealed, opened; /* sequence numbers */
	struct records_wire wire;
	uint8_t plain[16384], read[16384];
};

static void records_nonce(uint8_t nonce[static 12], uint64_t number)
{
	memset(nonce, 0, 12);
	for (int i = 0; i < 8; i++)
		nonce[11 - i] = (uint8_t)(number >> (8 * i));
}

static void records_seal(struct records_run *r)
{
	static const uint8_t type = SSL3_RT_APPLICATION_DATA;
	size_t len = r->record_bytes, tag_len;
	uint8_t *out = r->wire.bytes + r->wire.end, nonce[12];
	uint8_t head[5] = {23, 3, 3, (uint8_t)((len + 17) >> 8), (uint8_t)(len + 17)};
	memcpy(out, head, sizeof(head));
	records_nonce(nonce, r->sealed++);
	ASSERT(EVP_AEAD_CTX_seal_scatter(r->keys[0], out + 5, out + 5 + len, &tag_len, 17, nonce,
		12, r->plain, len, &type, 1, head, sizeof(head)));
	r->wire.end += 5 + len + tag_len;
}

static void records_open(struct records_run *r)
{
	uint8_t *in = r->wire.bytes + r->wire.start, nonce[12];
	size_t len = (size_t)in[3] << 8 | in[4];
	records_nonce(nonce, r->opened++);
	ASSERT(EVP_AEAD_CTX_open_gather(
		r->keys[1], in + 5, nonce, 12, in + 5, len - 16, in + 5 + len - 16, 16, in, 5));
	r->wire.start += 5 + len;
	if (r->wire.start == r->wire.end)
		r->wire.start = r->wire.end = 0;
}

static void records_write(struct records_run *r)
{
	int len = (int)r->record_bytes;
	if (r->way->bio)
		ASSERT(SSL_write(r->ends[0], r->plain, len) == len);
	else
		records_seal(r);
}

static void records_read(struct records_run *r)
{
	int len = (int)r->record_bytes;
	if (r->way->bio)
		ASSERT(SSL_read(r->ends[1], r->read, len) == len);
	else
		records_open(r);
}

static void records_begin(struct records_run *r, const struct records_way *way, size_t record_bytes)
{
	static const uint8_t key[16] = {1, 2, 3};
	*r = (struct records_run){.way = way, .record_bytes = record_bytes};
	r->wire.bytes = malloc(RECORDS_WIRE_BYTES);
	ASSERT(r->wire.bytes);
	if (way->bio)
		records_pair(way, records_side(), r->ends);
	for (int i = 0; i < 2 && !way->bio; i++)
		ASSERT(r->keys[i] = EVP_AEAD_CTX_new(EVP_aead_aes_128_gcm(), key, 16, 16));
}

static uint64_t records_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Batches of writes, then of reads, as a turn of a loop does them. */
static void records_go(struct records_run *r, uint64_t count, uint64_t ret_ns[2])
{
	uint64_t batch = RECORDS_BATCH_BYTES / r->record_bytes;
	for (uint64_t done = 0; done < count; done += batch) {
		uint64_t start = records_now();
		for (uint64_t i = 0; i < batch; i++)
			records_write(r);
		uint64_t middle = records_now();
		for (uint64_t i = 0; i < batch; i++)
			records_read(r);
		ret_ns[0] += middle - start;
		ret_ns[1] += records_now() - middle;
	}
}

static const struct records_way records_ways[] = {
	{"memory", records_memory}, {"own", records_own}, {"direct", NULL}};

static void records_table(void)
{
	static const size_t sizes[] = {200, 1024, 4096, 16384};
	static struct records_run run;
	printf("%-8s %8s %12s %12s %10s\n", "way", "bytes", "seal ns", "open ns", "mallocs");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		for (size_t w = 0; w < ARRAY_LEN(records_ways); w++) {
			uint64_t ns[2] = {0}, count = (256u << 20) / (sizes[i] + 2000);
			uint64_t batch = RECORDS_BATCH_BYTES / sizes[i];
			count -= count % batch;
			records_begin(&run, &records_ways[w], sizes[i]);
			records_go(&run, batch * 20, (uint64_t[2]){0});
			uint64_t before = records_mallocs;
			records_go(&run, count, ns);
			double per = 1.0 / (double)count;
			printf("%-8s %8zu %12.0f %12.0f %10.1f\n", records_ways[w].name, sizes[i],
				(double)ns[0] * per, (double)ns[1] * per,
				(double)(records_mallocs - before) * per);
		}
	}
}

int main(int count, char **texts)
{
	static struct records_run run;
	if (count == 1) {
		records_table();
		return 0;
	}
	for (size_t w = 0; w < ARRAY_LEN(records_ways); w++) {
		if (strcmp(texts[1], records_ways[w].name) != 0)
			continue;
		uint64_t ns[2] = {0};
		records_begin(
			&run, &records_ways[w], count > 2 ? strtoul(texts[2], NULL, 10) : 1024);
		records_go(&run, count > 3 ? strtoul(texts[3], NULL, 10) : 1000, ns);
		return 0;
	}
	fprintf(stderr, "usage: records [memory|own|direct [record bytes [records]]]\n");
	return 2;
}
