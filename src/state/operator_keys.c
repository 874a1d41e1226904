/* SPDX-License-Identifier: Apache-2.0 */
#include "operator_keys.h"

#include "base/bundle.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPERATOR_KEYS_MAX 1024
#define OPERATOR_FILE_MAX 16384

/* --- public ones --- */

static void operator_public_name(struct operator_public *key)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256(key->bytes, sizeof(key->bytes), digest);
	for (size_t i = 0; i < HEAD_KEY_ID / 2; i++)
		snprintf(key->id + 2 * i, 3, "%02x", digest[i]);
}

static bool operator_keys_append(struct operator_keys *keys, const struct operator_public *key)
{
	struct operator_public *grown =
		realloc(keys->keys, (keys->count + 1) * sizeof(*keys->keys));
	if (!grown)
		return false;
	grown[keys->count++] = *key;
	keys->keys = grown;
	return true;
}

static int operator_keys_take(
	struct operator_keys *keys, EVP_PKEY *pkey, struct str path, struct err *err)
{
	struct operator_public key;
	size_t len = sizeof(key.bytes);
	if (EVP_PKEY_id(pkey) != EVP_PKEY_ED25519 ||
		!EVP_PKEY_get_raw_public_key(pkey, key.bytes, &len))
		return err_set(err, EINVAL, STR_FMT ": not an Ed25519 key", STR_ARG(path));
	operator_public_name(&key);
	if (operator_keys_find(keys, key.id))
		return 0;
	if (keys->count >= OPERATOR_KEYS_MAX)
		return err_set(err, E2BIG, STR_FMT ": more than %d operators' keys", STR_ARG(path),
			OPERATOR_KEYS_MAX);
	return operator_keys_append(keys, &key) ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int operator_keys_none(struct str path, struct str text, struct err *err)
{
	if (memmem(text.at, text.len, "PRIVATE KEY", 11))
		return err_set(err, EINVAL,
			STR_FMT ": a private key; nodes get the public one, the .pub beside it, "
				"and nothing else",
			STR_ARG(path));
	return err_set(err, EINVAL,
		STR_FMT ": no public key in PEM; \"ringmain operator new\" makes a pair",
		STR_ARG(path));
}

static int operator_keys_read(
	struct operator_keys *keys, const struct bundle_item *item, struct err *err)
{
	BIO *bio = BIO_new_mem_buf(item->text.at, (int)item->text.len);
	EVP_PKEY *pkey;
	uint32_t count = 0;
	int r = bio ? 0 : err_set(err, ENOMEM, "out of memory");
	while (r == 0 && (pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL))) {
		r = operator_keys_take(keys, pkey, item->name, err);
		EVP_PKEY_free(pkey);
		count++;
	}
	if (r == 0 && count == 0)
		r = operator_keys_none(item->name, item->text, err);
	BIO_free(bio);
	ERR_clear_error();
	return r;
}

int operator_keys_new(const struct bundle *b, struct operator_keys **ret_keys, struct err *err)
{
	struct operator_keys *keys = calloc(1, sizeof(*keys));
	const struct bundle_item *item = NULL;
	int r = keys ? 0 : err_set(err, ENOMEM, "out of memory");
	while (r == 0 && (item = bundle_next(b, "operator", item)))
		r = operator_keys_read(keys, item, err);
	if (r < 0)
		operator_keys_free(keys);
	else
		*ret_keys = keys;
	return r;
}

bool operator_keys_add(struct operator_keys *keys, const struct operator_key *key)
{
	return operator_keys_find(keys, key->public.id) || operator_keys_append(keys, &key->public);
}

void operator_keys_free(struct operator_keys *keys)
{
	if (!keys)
		return;
	free(keys->keys);
	free(keys);
}

uint32_t operator_keys_count(const struct operator_keys *keys)
{
	return keys->count;
}

const struct operator_public *operator_keys_find(const struct operator_keys *keys, const char *id)
{
	for (uint32_t i = 0; i < keys->count; i++) {
		if (strcmp(keys->keys[i].id, id) == 0)
			return &keys->keys[i];
	}
	return NULL;
}

/* --- the private one --- */

/* For a PEM that wants one: it is refused, and nobody is asked at a terminal. */
static int operator_key_no_password(char *text, int size, int is_writing, void *opaque)
{
	return -1;
}

static int operator_key_parse(
	const char *path, const char *text, int len, struct operator_key **ret_key, struct err *err)
{
	uint8_t seed[32];
	size_t seed_len = sizeof(seed);
	BIO *bio = BIO_new_mem_buf(text, len);
	EVP_PKEY *pkey =
		bio ? PEM_read_bio_PrivateKey(bio, NULL, operator_key_no_password, NULL) : NULL;
	struct operator_key *key = calloc(1, sizeof(*key));
	int r = 0;
	if (!bio || !key)
		r = err_set(err, ENOMEM, "out of memory");
	else if (!pkey)
		r = err_set(err, EINVAL, "%s: no private key in PEM without a password", path);
	else if (EVP_PKEY_id(pkey) != EVP_PKEY_ED25519 ||
		 !EVP_PKEY_get_raw_private_key(pkey, seed, &seed_len))
		r = err_set(err, EINVAL,
			"%s: not an Ed25519 key; \"ringmain operator new\" makes one", path);
	if (r == 0) {
		ED25519_keypair_from_seed(key->public.bytes, key->bytes, seed);
		operator_public_name(&key->public);
		*ret_key = key;
	} else {
		free(key);
	}
	OPENSSL_cleanse(seed, sizeof(seed));
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	ERR_clear_error();
	return r;
}

static int operator_key_read(
	const char *path, int fd, struct operator_key **ret_key, struct err *err)
{
	char text[OPERATOR_FILE_MAX];
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: not a regular file", path);
	if (st.st_mode & 077)
		return err_set(err, EACCES,
			"%s: others than its owner may use it (mode %04o); run: chmod 600 %s", path,
			(unsigned)st.st_mode & 07777, path);
	ssize_t len = read(fd, text, sizeof(text));
	int r = len < 0 ? err_set(err, errno, "%s: %m", path)
			: operator_key_parse(path, text, (int)len, ret_key, err);
	explicit_bzero(text, sizeof(text));
	return r;
}

int operator_key_load(const char *path, struct operator_key **ret_key, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", path);
	int r = operator_key_read(path, fd, ret_key, err);
	close(fd);
	return r;
}

void operator_key_free(struct operator_key *key)
{
	if (!key)
		return;
	explicit_bzero(key, sizeof(*key));
	free(key);
}

const char *operator_key_id(const struct operator_key *key)
{
	return key->public.id;
}

/* --- a new pair --- */

static int operator_key_fill(int fd, BIO *bio)
{
	const uint8_t *bytes;
	size_t len, done = 0;
	if (!BIO_mem_contents(bio, &bytes, &len))
		return -ENOMEM;
	while (done < len) {
		ssize_t n = write(fd, bytes + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Takes its own half-written file away again. */
static int operator_key_write(const char *path, mode_t mode, BIO *bio, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", path);
	int r = operator_key_fill(fd, bio);
	close(fd);
	if (r < 0)
		unlink(path);
	return r < 0 ? err_set(err, -r, "%s: %s", path, strerror(-r)) : 0;
}

static int operator_key_write_pair(const char *path, EVP_PKEY *pkey, struct err *err)
{
	char public_path[PATH_MAX];
	int n = snprintf(public_path, sizeof(public_path), "%s.pub", path);
	if (n < 0 || (size_t)n >= sizeof(public_path))
		return err_set(err, ENAMETOOLONG, "%s: name too long", path);
	BIO *private_bio = BIO_new(BIO_s_mem()), *public_bio = BIO_new(BIO_s_mem());
	int r = -ENOMEM;
	if (!private_bio || !public_bio ||
		!PEM_write_bio_PKCS8PrivateKey(private_bio, pkey, NULL, NULL, 0, NULL, NULL) ||
		!PEM_write_bio_PUBKEY(public_bio, pkey))
		err_set(err, ENOMEM, "out of memory");
	else if (access(path, F_OK) == 0)
		r = err_set(err, EEXIST, "%s: exists already, and is not overwritten", path);
	else
		r = operator_key_write(public_path, 0644, public_bio, err);
	if (r == 0) {
		r = operator_key_write(path, 0600, private_bio, err);
		if (r < 0)
			unlink(public_path);
	}
	const uint8_t *bytes;
	size_t len;
	if (private_bio && BIO_mem_contents(private_bio, &bytes, &len))
		OPENSSL_cleanse((uint8_t *)(uintptr_t)bytes, len);
	BIO_free(private_bio);
	BIO_free(public_bio);
	return r;
}

int operator_key_new(const char *path, struct err *err)
{
	uint8_t public_bytes[ED25519_PUBLIC_KEY_LEN], bytes[ED25519_PRIVATE_KEY_LEN];
	ED25519_keypair(public_bytes, bytes);
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, 32);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	int r = pkey ? operator_key_write_pair(path, pkey, err)
		     : err_set(err, ENOMEM, "out of memory");
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return r;
}
