/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the keyring, shared by its files:
 *
 *   keyring.c        memory, single keys, signatures
 *   keyring_load.c   a directory that somebody else writes, into a keyring and a bundle
 *   keyring_now.c    what of it is in force, while what follows is not valid yet
 *   keyring_keep.c   the keeper's own directory */
#pragma once

#include "base/bundle.h"
#include "base/error.h"
#include "directory.h"
#include "keys/keyring.h"
#include <dirent.h>
#include <limits.h>
#include <openssl/base.h>

#define KEYRING_SCALAR_BYTES 32

struct keyring {
	uint32_t count, size;
	uint32_t *numbers;
	size_t scalars_size; /* of the mapping */
	uint8_t (*scalars)[KEYRING_SCALAR_BYTES];
	char **sources; /* the directory entry of key i; NULL: none */
};

enum keyring_load_kind {
	KEYRING_START,	/* nothing is in force: any fault is an error */
	KEYRING_RELOAD, /* somebody asked and gets the error, but for dates */
	KEYRING_RENEWAL,
};

/* One load under way. */
struct keyring_load {
	enum keyring_load_kind kind;
	const char *dir;
	struct str trust_domain;
	struct keyring *k;
	struct keyring_numbers numbers; /* the caller's get this when all went well */
	struct bundle staged;
	/* of a directory that somebody else writes */
	struct directory entries;
	/* what is in force; NULL at a start */
	const struct keyring *before;
	const struct bundle *in_force;
	struct keyring_faults *faults;
	struct str own_roots; /* anchors of our own trust domain, as staged; may be empty */
};

/* Room for `size` keys. */
int keyring_new(uint32_t size, struct keyring **ret_keyring, struct err *err) MUST_CHECK;
int keyring_path(char path[PATH_MAX], const char *dir, struct str name, const char *ending,
	struct err *err) MUST_CHECK;
int keyring_is_pem(const struct dirent *entry);
/* The name without its four-letter ending. */
struct str keyring_stem(const struct dirent *entry);
void keyring_entries_free(struct dirent **entries, int count);
/* Checks that the key is what a TLS 1.3 peer will accept from this leaf, and keeps its scalar in
 * the next place; `count` is the caller's to raise. */
int keyring_keep_key(struct keyring *k, const char *file, X509 *leaf, struct str text,
	struct err *err) MUST_CHECK;
/* The number of the key in the next place, as text: the one that it has had, or a new one. */
#define KEYRING_NUMBER_TEXT 16
struct str keyring_number(
	struct keyring *k, struct keyring_numbers *numbers, char text[KEYRING_NUMBER_TEXT]);
/* Hands everything on, or (r: of the load) nothing. */
int keyring_end(struct keyring_load *l, int r, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err) MUST_CHECK;

/* --- what is in force --- */

#define KEYRING_ID_MAX 2049 /* SPIFFE-ID 2.3: 2048 bytes; and the NUL */

/* The key that an entry gave; NULL: none. *ret_i is its place. */
const struct bundle_item *keyring_key_before(
	const struct keyring_load *l, const struct directory_entry *e, uint32_t *ret_i);
struct keyring_new_leaf {
	const X509 *certificate;
	const char *id;
	struct str path; /* of the id */
};
/* Not valid yet, or no longer, while the one in force is. */
#define KEYRING_NOT_NOW (-ETIME)
/* What is good now, and came from the same files, goes on until the new one is good, too: then
 * KEYRING_NOT_NOW, and the faults know when to look again. */
int keyring_check_now(struct keyring_load *l, const struct directory_entry *e,
	const struct keyring_new_leaf *leaf, struct err *err) MUST_CHECK;
