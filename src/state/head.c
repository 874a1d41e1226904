/* SPDX-License-Identifier: Apache-2.0 */
/* The head's lines stand in one order, each once, so that there is one way to write and one to read
 * it. The signature is over the very bytes before its own line: nothing is written anew to be
 * verified. */
#include "operator_keys.h"

#include <errno.h>
#include <openssl/base64.h>
#include <stdio.h>

#define HEAD_SIGNATURE_BASE64 88 /* of 64 bytes */

/* The value of the line `name` that `*rest` begins with, cut off it; at == NULL: it does not. */
static struct str head_cut(struct str *rest, struct str name)
{
	if (!str_starts(*rest, name) || rest->len == name.len || rest->at[name.len] != ' ')
		return STR_NONE;
	const char *value = rest->at + name.len + 1;
	const char *end = memchr(value, '\n', rest->len - name.len - 1);
	if (!end)
		return STR_NONE;
	*rest = (struct str){end + 1, rest->len - (size_t)(end + 1 - rest->at)};
	return (struct str){value, (size_t)(end - value)};
}

static bool head_number(struct str text, uint64_t *ret_number)
{
	return text.len > 0 && (text.at[0] != '0' || text.len == 1) && str_to_u64(text, ret_number);
}

/* Lower case only: one way to write it. */
static bool head_hex(struct str text, uint8_t *bytes, size_t len)
{
	if (text.len != 2 * len)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		int digit = text.at[i] >= 'A' && text.at[i] <= 'F' ? -1 : str_hex(text.at[i]);
		if (digit < 0)
			return false;
		bytes[i / 2] = (uint8_t)(i % 2 ? bytes[i / 2] << 4 | digit : digit);
	}
	return true;
}

static bool head_key_id(struct str text, char ret_id[HEAD_KEY_ID + 1])
{
	uint8_t bytes[HEAD_KEY_ID / 2];
	if (!head_hex(text, bytes, sizeof(bytes)))
		return false;
	memcpy(ret_id, text.at, HEAD_KEY_ID);
	ret_id[HEAD_KEY_ID] = '\0';
	return true;
}

/* The lines up to the signature's, and that one's value. False: malformed. */
static bool head_read(
	struct str text, struct head *ret_head, struct str *ret_signed, struct str *ret_signature)
{
	struct head h = {0};
	struct str rest = text;
	uint64_t count;
	if (text.len > HEAD_TEXT_MAX || !str_eq(head_cut(&rest, STR("ringmain-head")), STR("1")))
		return false;
	h.mesh = head_cut(&rest, STR("mesh"));
	if (h.mesh.len == 0 || !object_line_valid(h.mesh) ||
		!head_number(head_cut(&rest, STR("revision")), &h.revision) || h.revision == 0 ||
		!head_number(head_cut(&rest, STR("time")), &h.time_s))
		return false;
	h.who = head_cut(&rest, STR("who"));
	h.why = head_cut(&rest, STR("why"));
	if (!object_who_valid(h.who) || (h.why.at && h.why.len == 0) || !object_line_valid(h.why) ||
		!head_number(head_cut(&rest, STR("count")), &count) || count > OBJECT_COUNT_MAX ||
		!head_hex(head_cut(&rest, STR("digest")), h.digest, sizeof(h.digest)) ||
		!head_key_id(head_cut(&rest, STR("key")), h.key_id))
		return false;
	h.count = (uint32_t)count;
	*ret_signed = (struct str){text.at, text.len - rest.len};
	*ret_signature = head_cut(&rest, STR("signature"));
	*ret_head = h;
	return rest.len == 0;
}

static int head_malformed(struct err *err)
{
	return err_set(err, EBADMSG, "the head of the mesh's objects is malformed");
}

int head_parse(struct str text, struct head *ret_head, struct err *err)
{
	struct str signed_text, signature;
	return head_read(text, ret_head, &signed_text, &signature) ? 0 : head_malformed(err);
}

/* Encoded again, because a decoder passes over the bits that the last letter has too many. */
static bool head_signature(struct str text, uint8_t ret_bytes[ED25519_SIGNATURE_LEN])
{
	uint8_t bytes[HEAD_SIGNATURE_BASE64 / 4 * 3], again[HEAD_SIGNATURE_BASE64 + 1];
	size_t len;
	if (text.len != HEAD_SIGNATURE_BASE64 ||
		!EVP_DecodeBase64(bytes, &len, sizeof(bytes), (const uint8_t *)text.at, text.len) ||
		len != ED25519_SIGNATURE_LEN)
		return false;
	EVP_EncodeBlock(again, bytes, len);
	memcpy(ret_bytes, bytes, ED25519_SIGNATURE_LEN);
	return memcmp(again, text.at, text.len) == 0;
}

int head_verify(struct str text, struct str mesh, const struct operator_keys *keys,
	struct head *ret_head, struct err *err)
{
	struct head h;
	struct str signed_text, signature;
	uint8_t bytes[ED25519_SIGNATURE_LEN];
	if (!head_read(text, &h, &signed_text, &signature))
		return head_malformed(err);
	if (!signature.at)
		return err_set(
			err, EACCES, "revision %llu is not signed", (unsigned long long)h.revision);
	const struct operator_public *key = operator_keys_find(keys, h.key_id);
	if (!key)
		return err_set(err, EACCES,
			"revision %llu, by " STR_FMT ", is signed with the key %s, which is none "
			"of the %u known operators' keys",
			(unsigned long long)h.revision, STR_ARG(h.who), h.key_id, keys->count);
	if (!head_signature(signature, bytes) || !ED25519_verify((const uint8_t *)signed_text.at,
							 signed_text.len, bytes, key->bytes))
		return err_set(err, EACCES,
			"revision %llu, by " STR_FMT ": its signature is not that of the key %s",
			(unsigned long long)h.revision, STR_ARG(h.who), h.key_id);
	if (!str_eq(h.mesh, mesh))
		return err_set(err, EACCES,
			"revision %llu is of the mesh \"" STR_FMT "\", not of \"" STR_FMT "\"",
			(unsigned long long)h.revision, STR_ARG(h.mesh), STR_ARG(mesh));
	*ret_head = h;
	return 0;
}

bool head_fits(const struct head *head, const struct object_set *set)
{
	struct head other;
	head_set(&other, set);
	return head->count == other.count &&
	       memcmp(head->digest, other.digest, sizeof(other.digest)) == 0;
}

void head_set(struct head *head, const struct object_set *set)
{
	head->count = set->count;
	object_set_digest(set, head->digest);
}

static struct str head_text(struct arena *arena, const struct head *h, const char *key_id)
{
	char digest[2 * OBJECT_DIGEST + 1];
	for (size_t i = 0; i < OBJECT_DIGEST; i++)
		snprintf(digest + 2 * i, 3, "%02x", h->digest[i]);
	return arena_printf(arena,
		"ringmain-head 1\nmesh " STR_FMT "\nrevision %llu\ntime %llu\nwho " STR_FMT
		"\n%s" STR_FMT "%scount %u\ndigest %s\nkey %s\n",
		STR_ARG(h->mesh), (unsigned long long)h->revision, (unsigned long long)h->time_s,
		STR_ARG(h->who), h->why.len ? "why " : "", STR_ARG(h->why), h->why.len ? "\n" : "",
		h->count, digest, key_id);
}

struct str head_sign(struct arena *arena, const struct head *head, const struct operator_key *key)
{
	uint8_t bytes[ED25519_SIGNATURE_LEN], base64[HEAD_SIGNATURE_BASE64 + 1];
	struct str text = head_text(arena, head, key->public.id);
	if (!text.at || !ED25519_sign(bytes, (const uint8_t *)text.at, text.len, key->bytes))
		return STR_NONE;
	EVP_EncodeBlock(base64, bytes, sizeof(bytes));
	const struct str parts[] = {
		text, STR("signature "), {(char *)base64, HEAD_SIGNATURE_BASE64}, STR("\n")};
	return arena_join(arena, parts, ARRAY_LEN(parts));
}
