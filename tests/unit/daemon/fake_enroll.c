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
#include <errno.h>
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

/* --- whatever a state process that was taken over may say --- */

static uint32_t fake_random(uint32_t below)
{
	static uint64_t seed = 88172645463325252ull;
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % below;
}

static void fake_random_bytes(void *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = (uint8_t)fake_random(256);
}

/* None, not a memfd, not sealed, empty, a hole of 4 GiB, random, a PEM that is none, a bundle with
 * lengths that lead nowhere. */
static int fake_wild_fd(void)
{
	static char bytes[3000];
	fake_random_bytes(bytes, sizeof(bytes));
	int fd;
	switch (fake_random(8)) {
	case 0:
		return open("/dev/zero", O_RDONLY | O_CLOEXEC);
	case 1:
		return fake_memfd(bytes, fake_random(sizeof(bytes)), false);
	case 2:
		return fake_memfd("", 0, true);
	case 3:
		fd = memfd_create("hole", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ASSERT(ftruncate(fd, 1ll << 32) == 0 &&
			fcntl(fd, F_ADD_SEALS,
				F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0);
		return fd;
	case 4:
		return fake_memfd(bytes, fake_random(sizeof(bytes)), true);
	case 5:
		memcpy(bytes, "-----BEGIN CERTIFICATE-----\nMIIB", 32);
		return fake_memfd(bytes, sizeof(bytes), true);
	case 6:
		memcpy(bytes, (const uint32_t[]){0x72696e67u, 0x7fffffffu}, 8);
		memset(bytes + 8, fake_random(2) ? 0xff : 0, 32);
		return fake_memfd(bytes, sizeof(bytes), true);
	}
	return -1;
}

static void fake_wild_name(char name[256])
{
	static const char *const names[] = {"service/orders", "service/../../etc/passwd",
		"node/vm-a", "node/../x", "prod.example", "far.example", "../far.example",
		"service/orders/", "service/%s%n%s", "\n\nerror: forged", ""};
	memset(name, fake_random(2) ? 0 : 'x', 256);
	if (fake_random(8) == 0)
		fake_random_bytes(name, 256);
	else
		strcpy(name, names[fake_random(ARRAY_LEN(names))]);
}

static void fake_wild_message(void)
{
	static const enum wire_kind kinds[] = {WIRE_REQUEST, WIRE_CERTIFICATE, WIRE_TRUST,
		WIRE_IDENTITIES, WIRE_STATE, WIRE_READY, WIRE_REFUSED, WIRE_SIGN, 4711};
	union channel_message m;
	static const size_t sizes[] = {sizeof(m.identity), sizeof(m.identity), sizeof(m.identity),
		sizeof(m.identities), sizeof(m.state), sizeof(m.ready), sizeof(m.note),
		sizeof(m.sign[0]), sizeof(m.head)};
	fake_random_bytes(&m, sizeof(m));
	size_t i = fake_random(ARRAY_LEN(kinds)), len = sizes[i];
	m.head = (struct wire_head){WIRE_MAGIC, (uint32_t)kinds[i]};
	if (i < 3)
		fake_wild_name(m.identity.identity);
	if (i == 3 && fake_random(2))
		m.identities.count = fake_random(3);
	int fd = fake_wild_fd();
	/* A sealed picture is the proxy process's to judge. */
	if (i == 4 && fd >= 0) {
		close(fd);
		fd = fake_memfd("x", 1, false);
	}
	if (fake_random(10) == 0)
		len = sizeof(m.head) + fake_random(sizeof(m) - sizeof(m.head));
	while (channel_send(WIRE_CHANNEL_FD, &m, len, fd) == -EAGAIN)
		usleep(1000);
	if (fd >= 0)
		close(fd);
}

static void fake_be_wild(const struct fake *f)
{
	for (int i = 0; i < 10000; i++) {
		union channel_message m;
		size_t len;
		int fd;
		fake_wild_message();
		while (channel_receive(WIRE_CHANNEL_FD, CHANNEL_NO_WAIT, &m, &len, &fd) == 0) {
			if (fd >= 0)
				close(fd);
		}
	}
	fake_write(f, "state: was wild\n");
}

static uint32_t fake_lives;

void fake_enroll_begin(uint32_t restart_count)
{
	fake_lives = restart_count;
}

/* Ends where it hurts: before the answer to the request, and to the certificate. */
static void fake_die_early(const struct fake *f)
{
	if (fake_lives > 1)
		return;
	fake_say(WIRE_REQUEST, "service/orders", -1);
	if (fake_lives == 1) {
		struct str pem = fake_issue(fake_answer(f, WIRE_REQUEST), "service/orders");
		fake_say(WIRE_CERTIFICATE, "service/orders", fake_memfd(pem.at, pem.len, true));
	}
	fake_write(f, "state: died early\n");
	_exit(3);
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
	if (strcmp(word, "cawild") == 0) {
		fake_be_wild(f);
		return;
	}
	if (strcmp(word, "cadie") == 0)
		fake_die_early(f);
	fake_renew(f, "service/orders");
	if (strcmp(word, "camany") == 0) {
		fake_renew(f, "service/web");
		return;
	}
	fake_give_trust(f, b, "far.example", "far.example");
	fake_give_trust(f, b, "prod.example", "other.example");
	fake_say_rows(1, sizeof(struct wire_certificate), true);
}
