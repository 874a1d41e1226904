/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of revoked certificates, from bundle to verdict. The first byte says how, the rest is a
 * list in DER, or a whole text:
 *
 *     1    a list that is over its time is refused
 *     2    a text, not DER
 *     4    behind a good list of the same authority, which names web
 *
 * A chain that is good but for what the list says of it is verified against the store that comes of
 * it: twice, for the second time it may be known. The keys were thrown away, so an altered list is
 * nobody's; what one that is somebody's does, the seeds show. */
#include "fuzz/fuzz.h"
#include "tls/verify.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdlib.h>

#define FUZZ_NOW    1800000000
#define FUZZ_STRICT 1
#define FUZZ_TEXT   2
#define FUZZ_BEHIND 4

static const char fuzz_root[] = "-----BEGIN CERTIFICATE-----\n"
				"MIIBLzCB16ADAgECAgID6TAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARyb290MB4X\n"
				"DTI3MDExNTA3NDMyMFoXDTI3MDExNjExNDY0MFowDzENMAsGA1UEAwwEcm9vdDBZ\n"
				"MBMGByqGSM49AgEGCCqGSM49AwEHA0IABFNg//aQA4BGtpdSGndtOo4fIl5mTUrf\n"
				"e0cUpDZEKJq/6LeNyiwvxSUfK6gleaetz5C3+7hd8awn7cn6RfQAkCCjIzAhMA8G\n"
				"A1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMAoGCCqGSM49BAMCA0cAMEQC\n"
				"IHhRbBWtLjTMZE1DxR4CGVz588v08CVCNkhCLQ7LaqrFAiBGyKCq4XsCyb6sUsME\n"
				"IpzAIj/x5fxE/ADbUiOsVCN9rA==\n"
				"-----END CERTIFICATE-----\n";

static const char fuzz_middle[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBMzCB2aADAgECAgID6jAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARyb290MB4X\n"
	"DTI3MDExNTA3NDMyMFoXDTI3MDExNTIxNTMyMFowETEPMA0GA1UEAwwGbWlkZGxl\n"
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAED4cFttzaKUt7GTVo3ej2L6s/jvpQ\n"
	"Z6akuVa+8+sjaaFj9HN0BWY0MLJrAyxblGZs0302O0jfYuo7qMNiRtfvUKMjMCEw\n"
	"DwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwIDSQAw\n"
	"RgIhALFsvb3N3/IQwstgkCXM59yxZ9RlU788vygGYxHgUll8AiEAnyj/JCcnZ/cq\n"
	"7+yoboQRdiAYN511509WU6ZRV2BdD7w=\n"
	"-----END CERTIFICATE-----\n";

static const char fuzz_web[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBcTCCARegAwIBAgICA+swCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGbWlkZGxl\n"
			       "MB4XDTI3MDExNTA3NDMyMFoXDTI3MDExNTA5MDAwMFowADBZMBMGByqGSM49AgEG\n"
			       "CCqGSM49AwEHA0IABND9mxjeUMq/4/8wm0DRVr6A5QfHJGxBLcXxX0za5fqVVcWl\n"
			       "SwuR/gr1p/DTFKVHWS6NGO9fKSGxg7wKQ/vOC02jcDBuMC8GA1UdEQEB/wQlMCOG\n"
			       "IXNwaWZmZTovL3Byb2QuZXhhbXBsZS9zZXJ2aWNlL3dlYjAMBgNVHRMBAf8EAjAA\n"
			       "MA4GA1UdDwEB/wQEAwIHgDAdBgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIw\n"
			       "CgYIKoZIzj0EAwIDSAAwRQIgIvF7kvpypxNddWYm3gJJ6b30ONyynYke2MBJ29eH\n"
			       "hHACIQDf/z+U0N7+punCpJzVDErTm6qDYFuJVhxwLSCoPUmTIw==\n"
			       "-----END CERTIFICATE-----\n";

static const char fuzz_list[] = "-----BEGIN X509 CRL-----\n"
				"MIG/MGcCAQEwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGbWlkZGxlFw0yNzAxMTUw\n"
				"NzU4MjBaFw0yNzAxMTUwOTAwMDBaMBUwEwICA+sXDTI3MDExNTA3NTgyMFqgDjAM\n"
				"MAoGA1UdFAQDAgEBMAoGCCqGSM49BAMCA0gAMEUCIEsFGMAIS+ZCEndQghyKqcpt\n"
				"xHQErvcBCjsOksEkDTWQAiEAghVEWDqy2PROPRCPuBp1Estdm/yto+e8qZIQbEVb\n"
				"Br4=\n"
				"-----END X509 CRL-----\n";

static void fuzz_add(struct bundle *b, const char *kind, struct str text)
{
	struct err err;
	if (bundle_add(b, str_of(kind), STR("prod.example"), text, &err) < 0)
		abort();
}

/* The text of the item: the good list, perhaps, and what is tried. */
static void fuzz_write(BIO *text, uint8_t how, const uint8_t *bytes, size_t len)
{
	if (how & FUZZ_BEHIND)
		ASSERT(BIO_write(text, fuzz_list, (int)strlen(fuzz_list)) > 0);
	if (how & FUZZ_TEXT)
		ASSERT(len == 0 || BIO_write(text, bytes, (int)len) == (int)len);
	else
		ASSERT(PEM_write_bio(
			text, PEM_STRING_X509_CRL, "", (uint8_t *)(uintptr_t)bytes, (long)len));
}

static int fuzz_build(struct str list, uint8_t how, struct tls_store **ret_store)
{
	struct bundle b;
	struct err err = {""};
	bundle_init(&b);
	fuzz_add(&b, "roots", str_of(fuzz_root));
	fuzz_add(&b, "crl", list);
	int r = tls_store_new(&b, STR("prod.example"), 1, ret_store, &err);
	ASSERT(r == 0 || strstr(err.text, "crl of prod.example"));
	ASSERT((r == 0) == (*ret_store != NULL));
	if (r == 0) {
		tls_store_refuse_stale_crls(*ret_store, how & FUZZ_STRICT);
		ASSERT(tls_store_made_of(*ret_store, &b, STR("prod.example")));
	}
	bundle_done(&b);
	return r;
}

static CRYPTO_BUFFER *fuzz_certificate(const char *pem)
{
	BIO *text = BIO_new_mem_buf(pem, (int)strlen(pem));
	char *kind, *header;
	uint8_t *der;
	long len;
	ASSERT(text && PEM_read_bio(text, &kind, &header, &der, &len));
	CRYPTO_BUFFER *certificate = CRYPTO_BUFFER_new(der, (size_t)len, NULL);
	OPENSSL_free(kind);
	OPENSSL_free(header);
	OPENSSL_free(der);
	BIO_free(text);
	ASSERT(certificate);
	return certificate;
}

static void fuzz_judge(const struct tls_store *s, uint8_t how)
{
	STACK_OF(CRYPTO_BUFFER) *chain = sk_CRYPTO_BUFFER_new_null();
	enum tls_failure failures[2];
	ASSERT(chain && sk_CRYPTO_BUFFER_push(chain, fuzz_certificate(fuzz_web)) &&
		sk_CRYPTO_BUFFER_push(chain, fuzz_certificate(fuzz_middle)));
	for (int i = 0; i < 2; i++) {
		struct verify_peer peer = {0};
		failures[i] = verify_chain(s, chain, FUZZ_NOW, &peer);
		free(peer.id);
	}
	ASSERT(failures[0] == failures[1]);
	ASSERT(failures[0] == TLS_FAILURE_NONE || failures[0] == TLS_FAILURE_REVOKED ||
		(failures[0] == TLS_FAILURE_REVOCATION_UNKNOWN && (how & FUZZ_STRICT)));
	sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 2)
		return 0;
	const uint8_t *text_bytes;
	size_t text_len;
	struct tls_store *one = NULL, *two = NULL;
	BIO *text = BIO_new(BIO_s_mem());
	uint8_t how = bytes[0];
	ASSERT(text);
	fuzz_write(text, how, bytes + 1, len - 1);
	ASSERT(BIO_mem_contents(text, &text_bytes, &text_len));
	struct str list = {(const char *)text_bytes, text_len};
	int r = fuzz_build(list, how, &one);
	ASSERT(fuzz_build(list, how, &two) == r);
	if (r == 0)
		fuzz_judge(one, how);
	tls_store_unref(one);
	tls_store_unref(two);
	BIO_free(text);
	return 0;
}
