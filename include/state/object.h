/* SPDX-License-Identifier: Apache-2.0 */
/* Mesh objects as they are published: a set of them with a signed head. Pure.
 *
 * The store is not trusted with the rules of access. A head names a revision, who made it and when,
 * and the digest of the whole set; it is signed by an operator (Ed25519, RFC 8032). So a store, or
 * whoever broke into it, can neither change, nor add, nor take away, nor bring back an object
 * without every node noticing: the digest of the set does not fit, or the revision is older than
 * the one that the node has seen. It can only withhold, which shows as age. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define OBJECT_KEY_MAX	 192	     /* bytes of "<kind>/<name>" */
#define OBJECT_TEXT_MAX	 (256 << 10) /* bytes of one envelope */
#define OBJECT_COUNT_MAX 100000
#define OBJECT_WHO_MAX	 63  /* bytes of an operator's name */
#define OBJECT_LINE_MAX	 500 /* bytes of the reason for a change, of a source */
#define OBJECT_DIGEST	 32
#define OBJECT_LEVELS	 9

/* One object, as stored: an envelope of "name value" lines, an empty line, the libconfig text of
 * one row in its list ("services: ( { name = ... } );").
 *
 *     revision 41
 *     who alice
 *     time 1764236129
 *     source orders.conf:12           may be missing
 *
 *     services: ( ... );
 *
 * Lines of unknown names are of newer versions: they are passed over. */
struct object {
	struct object *ahead[OBJECT_LEVELS]; /* in the set: a skip list, by the bytes of the keys */
	struct str key;			     /* "service/orders", "policy/web-uses-orders" */
	struct str envelope;		     /* the whole text */
	struct str text; /* behind the empty line: spans into the envelope from here on */
	struct str who, source;
	uint64_t revision, time_s;
	uint8_t digest[OBJECT_DIGEST]; /* SHA-256 of key, NUL, envelope */
};

/* May be moved by assignment. */
struct object_set {
	struct object *ahead[OBJECT_LEVELS];
	uint64_t seed; /* of the heights: nobody outside can choose keys that make it slow */
	uint32_t count;
	size_t bytes; /* of all envelopes */
};

/* In the order of their keys. */
#define OBJECT_EACH(set, it) for (const struct object *it = (set)->ahead[0]; it; it = it->ahead[0])

/* "<kind>/<name>": lower-case letters for the kind; for the name, printable bytes without space,
 * '/' and '@'. */
bool object_key_valid(struct str key);
/* "service" of "service/orders"; "orders". */
struct str object_key_kind(struct str key);
struct str object_key_name(struct str key);
/* An operator's name: 1 to OBJECT_WHO_MAX printable bytes without space. */
bool object_who_valid(struct str who);
/* One line without control characters, at most OBJECT_LINE_MAX bytes; may be empty. */
bool object_line_valid(struct str line);

void object_set_init(struct object_set *set);
void object_set_done(struct object_set *set);
/* Copies; replaces one of the same key. -EINVAL when the key or the envelope is malformed, -E2BIG
 * beyond the limits, -ENOMEM; the set is then as it was. */
int object_set_put(
	struct object_set *set, struct str key, struct str envelope, struct err *err) MUST_CHECK;
/* False: there was none. */
bool object_set_remove(struct object_set *set, struct str key);
const struct object *object_set_find(const struct object_set *set, struct str key);
/* Into a set that is made by it. -ENOMEM. */
int object_set_copy(
	const struct object_set *from, struct object_set *ret_set, struct err *err) MUST_CHECK;
/* SHA-256 of the objects' digests, in order. */
void object_set_digest(const struct object_set *set, uint8_t ret_digest[OBJECT_DIGEST]);
/* An envelope's text from its parts (text, who, source, revision, time_s), in the arena; at == NULL
 * when that is exhausted. */
struct str object_envelope(struct arena *arena, const struct object *parts);

/* The head of a revision: "ringmain-head 1" and "name value" lines, the last of them "signature",
 * base64, over all the bytes before it.
 *
 *     ringmain-head 1
 *     mesh prod.example
 *     revision 41
 *     time 1764236129
 *     who alice
 *     why raise the limit of orders              one line, may be missing
 *     count 120
 *     digest <64 hexadecimal digits>
 *     key <16 hexadecimal digits: the operator's key>
 *     signature <base64>                                                                        */
#define HEAD_TEXT_MAX 4096
#define HEAD_KEY_ID   16 /* the first bytes of the hexadecimal SHA-256 of the public key */

struct head {
	struct str mesh;	       /* trust domain */
	uint64_t revision, time_s;     /* at least 1 */
	struct str who, why;	       /* why: empty if there is none */
	uint32_t count;		       /* of objects */
	uint8_t digest[OBJECT_DIGEST]; /* of the set */
	char key_id[HEAD_KEY_ID + 1];
};

struct operator_keys; /* those that one believes */
struct operator_key;  /* a private one: in an operator's hands, never on a node */

/* From PEM public keys (bundle items of kind `operator`), any number of them in a file. An unusable
 * one is an error that names its file. None at all is no error: then nothing verifies. */
struct bundle;
int operator_keys_new(
	const struct bundle *b, struct operator_keys **ret_keys, struct err *err) MUST_CHECK;
/* The operator's own one too. False: out of memory. */
bool operator_keys_add(struct operator_keys *keys, const struct operator_key *key) MUST_CHECK;
void operator_keys_free(struct operator_keys *keys);
uint32_t operator_keys_count(const struct operator_keys *keys);

/* Parses and verifies: the signature is of one of the keys, and the mesh is ours. -EBADMSG for a
 * malformed one, -EACCES for an unsigned or wrongly signed one or one of another mesh; err says
 * which. The spans point into `text`. */
int head_verify(struct str text, struct str mesh, const struct operator_keys *keys,
	struct head *ret_head, struct err *err) MUST_CHECK;
/* Without verifying, for one who has no keys. */
int head_parse(struct str text, struct head *ret_head, struct err *err) MUST_CHECK;
/* The set is what the head says. */
bool head_fits(const struct head *head, const struct object_set *set) MUST_CHECK;
/* Count and digest of a set. */
void head_set(struct head *head, const struct object_set *set);
/* The signed text, in the arena; key_id is the key's. at == NULL: exhausted. What goes into it must
 * be valid (object_who_valid, object_line_valid, a trust domain). */
struct str head_sign(struct arena *arena, const struct head *head, const struct operator_key *key);

/* PEM, PKCS#8 (`openssl genpkey -algorithm ed25519`, `ringmain operator new`). A file that others
 * can read is refused. Blocks on disk. */
int operator_key_load(const char *path, struct operator_key **ret_key, struct err *err) MUST_CHECK;
/* NULL: nothing is done. */
void operator_key_free(struct operator_key *key);
/* A new pair: the private one 0600 to `path`, the public one to `path`.pub; nothing is overwritten.
 */
int operator_key_new(const char *path, struct err *err) MUST_CHECK;
const char *operator_key_id(const struct operator_key *key);

/* A revision's change, the `change` field of its stream entry: what was put and what was taken
 * away, with what stood there before, so that it can be undone. Length-prefixed:
 *
 *     put <key> <bytes of the envelope> <bytes of the one before, 0 if none>\n<envelope><before>\n
 *     take <key> 0 <bytes of the one before>\n<before>\n
 *
 * No key stands in it twice. */
struct change {
	struct str key;
	struct str envelope; /* at == NULL: taken away */
	struct str before;   /* at == NULL: there was none */
};
/* What makes `to` of `from`, in the order of the keys; spans of the sets. The array is in the
 * arena; NULL with a count above 0: exhausted. */
struct change *change_between(struct arena *arena, const struct object_set *from,
	const struct object_set *to, uint32_t *ret_count);
/* In the arena; at == NULL: exhausted. */
struct str change_text(struct arena *arena, const struct change *changes, uint32_t count);
/* The next one of a text that `*rest` begins with; 0 with *ret filled, 1 at the end, -EBADMSG. */
int change_next(struct str *rest, struct change *ret_change) MUST_CHECK;
/* Puts and takes; on an error the set may hold a part of it. */
int change_apply(struct str text, struct object_set *set, struct err *err) MUST_CHECK;
/* Takes back: -EBADMSG also when the set is not as this change left it. On an error the set may
 * hold a part of it. */
int change_undo(struct str text, struct object_set *set, struct err *err) MUST_CHECK;
