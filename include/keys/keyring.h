/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's private keys: loaded from the certificate directory, used for TLS signatures and
 * nothing else, never given out.
 *
 * Directory: one pair of key and chain (PEM, leaf first) per identity, in any of the layouts that
 * step-ca, Vault agent, cert-manager and spiffe-helper write (src/keys/directory.h); the identity
 * is the leaf's SPIFFE id. roots.pem: trust anchors of our own trust domain; without it, those that
 * came with the identities, if they are all the same. roots/<trust domain>.pem: those of others.
 * crl.pem and crls/<trust domain>.pem, where there are any: lists of revoked certificates.
 *
 * Or the keeper's own directory (keys/keep.h), with certificates that an authority has given. */
#pragma once

#include "base/bundle.h"
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct keyring;

/* What keys are called: the keyring's caller and whoever asks for signatures know them by number. A
 * key that is the same as before keeps its number, so what was made with it stays as good as it
 * was; no number is ever given to another key. */
struct keyring_numbers {
	uint32_t next;		      /* the first that nobody has had yet */
	const struct keyring *before; /* may be NULL: all keys are new ones */
};

/* Reads the directory; adds `chain`, `key`, `roots` and `crl` items to the bundle. A key that does
 * not fit its certificate, a second certificate for an identity, a key file others can read: an
 * error that names the file and the cure, and nothing changes (but out of memory or room in the
 * bundle, it may hold a part: throw it away), `numbers` included. Blocks on disk. */
int keyring_load(const char *dir, struct str trust_domain, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err) MUST_CHECK;
/* What is in force while the directory is read again. */
struct keyring_in_force {
	const struct keyring *keyring; /* may be NULL */
	const struct bundle *bundle;   /* its items among others */
};
/* What could not be used, a line each: which file, why, and what happens instead. */
struct keyring_faults {
	unsigned count;
	int64_t again_s; /* wall time when one of them is mended by itself; 0: never */
	size_t len;
	char text[1800]; /* cut off at the end */
};
/* The same when somebody asks for it on a running machine: a certificate that is not valid now does
 * not take the place of one that is; `faults` says so, and that one stays. */
int keyring_reload(const char *dir, struct str trust_domain,
	const struct keyring_in_force *in_force, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct keyring_faults *faults,
	struct err *err) MUST_CHECK;
/* And when its files have changed: an identity or anchors whose files cannot be used, or cannot
 * yet, stay as they are in force, or out; the others are as on the disk. An error only when there
 * is nothing to go by at all. */
int keyring_renew(const char *dir, struct str trust_domain, const struct keyring_in_force *in_force,
	struct keyring_numbers *numbers, struct keyring **ret_keyring, struct bundle *b,
	struct keyring_faults *faults, struct err *err) MUST_CHECK;
/* The keeper's own directory, and what of it is to be loaded. */
struct keyring_keep {
	const char *dir;
	struct str trust_domain;
	const struct str *identities; /* paths, "service/orders" */
	uint32_t identity_count;
	const struct str *federates; /* other trust domains */
	uint32_t federate_count;
	const struct bundle *in_force; /* what of it is; may be NULL. Need not be judged again */
	struct str roots;	       /* for the machine's own pair: anchors; may be empty */
};
/* The same from there, where not all of it need exist yet. What cannot be used, or would
 * not be by our own TLS, is not: the log says so, and a new one will be asked for. Anchors and
 * lists that are in force stay then. */
int keyring_load_keep(const struct keyring_keep *from, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err) MUST_CHECK;
/* The machine's own pair ("node/<name>") from there: `est` "chain" and `est-key` "node". -ENOENT:
 * there is none that can be used, and `err` says why and what to do. */
int keyring_load_node(const struct keyring_keep *from, struct str identity,
	struct keyring_numbers *numbers, struct keyring **ret_keyring, struct bundle *b,
	struct err *err) MUST_CHECK;
/* One pair that is nobody's SPIFFE identity: our own at the store of the mesh's state. Adds `pki`
 * "chain" and `pki-key` "store" items. Otherwise as above. */
int keyring_load_pki(const char *cert_file, const char *key_file, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err) MUST_CHECK;
void keyring_free(struct keyring *k);
uint32_t keyring_key_count(const struct keyring *k);

#define KEYRING_SIGNATURE_MAX 128
/* Signs for TLS 1.3 only: refuses (-EPERM) whatever is not a CertificateVerify input (RFC 8446
 * 4.4.3), a key number it does not know (-ENOENT), an algorithm that is not the key's (-ENOTSUP).
 * The bytes are judged before the key is looked for, so the refusal does not depend on the key. */
int keyring_sign(const struct keyring *k, uint32_t key_number, uint16_t algorithm,
	const uint8_t *bytes, size_t len, uint8_t ret_signature[KEYRING_SIGNATURE_MAX],
	size_t *ret_len) MUST_CHECK;
