/* SPDX-License-Identifier: Apache-2.0 */
/* An authority within the fake state process: it gives certificates of a root of its own for what
 * the keeper asks. */
#include "base/assert.h"
#include "base/bundle.h"
#include "base/clock.h"
#include "daemon/channel.h"
#include "fake_proxy.h"
#include "keys/cert.h"
#include "keys/file.h"
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int fake_memfd(const void *bytes, size_t len, bool sealed)
{
	int fd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT(write(fd, bytes, len) == (ssize_t)len);
	ASSERT(!sealed || fcntl(fd, F_ADD_SEALS,
				  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0);
	return fd;
}

static void fake_say(enum wire_kind kind, const char *identity, int fd)
{
	struct wire_identity m = {.head = {WIRE_MAGIC, (uint32_t)kind}};
	snprintf(m.identity, sizeof(m.identity), "%s", identity);
	fake_tell_fd(&m, sizeof(m), fd);
	if (fd >= 0)
		close(fd);
}

/* Waits for the answer, and says what it was; its descriptor. */
static int fake_answer(const struct fake *f, enum wire_kind kind)
{
	union channel_message m;
	size_t len;
	int fd;
	do {
		ASSERT(channel_receive(WIRE_CHANNEL_FD, CHANNEL_WAIT, &m, &len, &fd) == 0);
	} while (m.head.kind == WIRE_PING);
	ASSERT(m.head.kind == (uint32_t)kind && len == sizeof(m.identity));
	fake_write(f, "state: answer %u %s fd=%d why=%s\n", (unsigned)kind - WIRE_REQUEST,
		m.identity.identity, fd >= 0, m.identity.why);
	return fd;
}

/* The chain for a request, as an authority makes it. */
static struct str fake_issue(int fd, const char *identity)
{
	static EVP_PKEY *root_key;
	static X509 *root;
	uint8_t der[4096];
	char id[300];
	struct err err;
	X509 *leaf;
	struct str pem;
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	if (!root) {
		root_key = cert_key_new();
		ASSERT(cert_root_new(root_key, STR("prod.example"),
			       (struct cert_life){now_s, 86400, 60}, &root, &err) == 0);
	}
	const uint8_t *at = der;
	X509_REQ *request = d2i_X509_REQ(NULL, &at, pread(fd, der, sizeof(der), 0));
	ASSERT(request);
	EVP_PKEY *key = X509_REQ_get_pubkey(request);
	snprintf(id, sizeof(id), "spiffe://prod.example/%s", identity);
	ASSERT(cert_leaf_new(key, str_of(id), &(struct cert_issuer){root, root_key},
		       (struct cert_life){now_s, 3600, 60}, &leaf, &err) == 0);
	ASSERT(cert_pem(leaf, &pem) == 0);
	X509_free(leaf);
	EVP_PKEY_free(key);
	X509_REQ_free(request);
	close(fd);
	return pem;
}

static void fake_renew(const struct fake *f, const char *identity)
{
	fake_say(WIRE_REQUEST, identity, -1);
	struct str pem = fake_issue(fake_answer(f, WIRE_REQUEST), identity);
	fake_say(WIRE_CERTIFICATE, identity, fake_memfd(pem.at, pem.len, true));
	fake_answer(f, WIRE_CERTIFICATE);
	file_text_free(pem);
}

static void fake_give_trust(
	const struct fake *f, const struct bundle *b, const char *trust_domain, const char *name)
{
	struct bundle given;
	struct err err;
	bundle_init(&given);
	ASSERT(bundle_add(&given, STR("roots"), str_of(name),
		       bundle_find(b, "est", STR("roots"))->text, &err) == 0);
	fake_say(WIRE_TRUST, trust_domain, bundle_to_memfd(&given, &err));
	fake_answer(f, WIRE_TRUST);
	bundle_done(&given);
}

static void fake_say_rows(uint32_t count, size_t bytes, bool sealed)
{
	struct wire_identities m = {
		.head = {WIRE_MAGIC, WIRE_IDENTITIES}, .count = count, .skew_s = 7};
	struct wire_certificate row = {.identity = "service/orders", .state = 2};
	int fd = fake_memfd(&row, bytes, sealed);
	fake_tell_fd(&m, sizeof(m), fd);
	close(fd);
}

/* None of it is to be had. */
static void fake_ask_for_others(const struct fake *f)
{
	static const char *const others[] = {
		"service/other", "node/vm-b", "service/../node", "", "prod.example"};
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		fake_say(WIRE_REQUEST, others[i], -1);
		ASSERT(fake_answer(f, WIRE_REQUEST) < 0);
	}
	struct wire_identity endless = {.head = {WIRE_MAGIC, WIRE_REQUEST}};
	memset(endless.identity, 'x', sizeof(endless.identity));
	fake_tell(&endless, sizeof(endless));
	ASSERT(fake_answer(f, WIRE_REQUEST) < 0);
}

static void fake_give_nonsense(const struct fake *f)
{
	static char large[65 << 10];
	fake_say(WIRE_CERTIFICATE, "service/orders", -1);
	fake_answer(f, WIRE_CERTIFICATE);
	fake_say(WIRE_CERTIFICATE, "service/orders", fake_memfd("x", 1, false));
	fake_answer(f, WIRE_CERTIFICATE);
	fake_say(WIRE_CERTIFICATE, "service/orders", fake_memfd(large, sizeof(large), true));
	fake_answer(f, WIRE_CERTIFICATE);
	fake_say(WIRE_CERTIFICATE, "service/orders", fake_memfd("words", 5, true));
	fake_answer(f, WIRE_CERTIFICATE);
	fake_say(WIRE_TRUST, "prod.example", fake_memfd("words", 5, true));
	fake_answer(f, WIRE_TRUST);
	fake_say(WIRE_TRUST, "evil.example", fake_memfd("words", 5, true));
	fake_answer(f, WIRE_TRUST);
	fake_say_rows(1, 10, true);
	fake_say_rows(1, sizeof(struct wire_certificate), false);
	fake_say_rows(WIRE_CERTIFICATES_MAX + 1, sizeof(struct wire_certificate), true);
	fake_write(f, "state: gave nonsense\n");
}

/* Once a life; what comes of it is another plan. */
void fake_enroll(const struct fake *f, const char *word, const struct bundle *b)
{
	static bool done;
	if (done)
		return;
	done = true;
	if (strcmp(word, "caother") == 0) {
		fake_ask_for_others(f);
		fake_give_nonsense(f);
		return;
	}
	fake_renew(f, "service/orders");
	if (strcmp(word, "camany") == 0) {
		fake_renew(f, "service/web");
		return;
	}
	fake_give_trust(f, b, "far.example", "far.example");
	fake_give_trust(f, b, "prod.example", "other.example");
	fake_say_rows(1, sizeof(struct wire_certificate), true);
}
