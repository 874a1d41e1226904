/* SPDX-License-Identifier: Apache-2.0 */
/* Join tokens: tokens/<SHA-256 of the token, hexadecimal>, one line "node until key". The token
 * itself is on no disk. It is looked up by its hash, so the time of a look-up tells nothing of how
 * near a guess was. `key` is "-" or the hash of the public key that has used it: that one may ask
 * again as long as the token lives, so that an answer that is lost burns nothing. */
#pragma once

#include "folder.h"

#define TOKEN_TEXT 44 /* 32 bytes in base64url, and the NUL */

struct token {
	char hash[65];
	char node[64];
	int64_t until_s;
	char key_hash[65]; /* "": not used yet */
};

/* Makes one and gives its text. */
int token_new(const struct folder *f, struct str node, int64_t until_s, char ret_text[TOKEN_TEXT],
	struct err *err) MUST_CHECK;
/* 0; -ENOENT: none such (or no readable one), for this node, that still lives. */
int token_find(const struct folder *f, struct str node, struct str text, int64_t now_s,
	struct token *ret_token, struct err *err) MUST_CHECK;
/* Binds it to a key. 0 also for the same key; -EBUSY: another has it. The caller has the lock. */
int token_use(const struct folder *f, const struct token *token, const char *key_hash,
	struct err *err) MUST_CHECK;
/* All that can be read; free(). */
int token_list(const struct folder *f, struct token **ret_tokens, uint32_t *ret_count,
	struct err *err) MUST_CHECK;
/* Removes those that are over, and all of `node` when it is given. */
int token_sweep(const struct folder *f, int64_t now_s, struct str node, struct err *err) MUST_CHECK;
