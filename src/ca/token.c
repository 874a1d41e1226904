/* SPDX-License-Identifier: Apache-2.0 */
#include "token.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/base64.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#define TOKEN_BYTES    32
#define TOKEN_NAME_MAX 80

static void token_hash(struct str text, char hash[65])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256((const uint8_t *)text.at, text.len, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(hash + 2 * i, 3, "%02x", digest[i]);
}

static int token_write(const struct folder *f, const struct token *t, struct err *err)
{
	char name[TOKEN_NAME_MAX], text[256];
	snprintf(name, sizeof(name), "tokens/%s", t->hash);
	int len = snprintf(text, sizeof(text), "%s %lld %s\n", t->node, (long long)t->until_s,
		t->key_hash[0] ? t->key_hash : "-");
	return folder_write(f, name, FILE_SECRET, (struct str){text, (size_t)len}, err);
}

/* base64url without the padding (RFC 4648 section 5): goes through shells and URLs as it is. */
static void token_text(const uint8_t bytes[TOKEN_BYTES], char text[TOKEN_TEXT])
{
	uint8_t base64[TOKEN_TEXT + 1];
	EVP_EncodeBlock(base64, bytes, TOKEN_BYTES);
	for (size_t i = 0; i < TOKEN_TEXT - 1; i++)
		text[i] = base64[i] == '+' ? '-' : base64[i] == '/' ? '_' : (char)base64[i];
	text[TOKEN_TEXT - 1] = '\0';
	OPENSSL_cleanse(base64, sizeof(base64));
}

int token_new(const struct folder *f, struct str node, int64_t until_s, char ret_text[TOKEN_TEXT],
	struct err *err)
{
	uint8_t bytes[TOKEN_BYTES];
	struct token t = {.until_s = until_s};
	int r = folder_subdirectory(f, "tokens", err);
	if (r < 0)
		return r;
	RAND_bytes(bytes, sizeof(bytes));
	token_text(bytes, ret_text);
	/* One that begins with '-' would be taken for an option. */
	if (ret_text[0] == '-')
		ret_text[0] = 'A';
	OPENSSL_cleanse(bytes, sizeof(bytes));
	token_hash(str_of(ret_text), t.hash);
	snprintf(t.node, sizeof(t.node), STR_FMT, STR_ARG(node));
	return token_write(f, &t, err);
}

static bool token_parse(struct str text, struct token *t)
{
	struct str line, words[3];
	uint64_t until;
	if (!folder_line(&text, &line) || folder_words(line, words, 3) != 3 ||
		!str_to_u64(words[1], &until) || until > INT64_MAX ||
		words[0].len >= sizeof(t->node) || words[2].len >= sizeof(t->key_hash))
		return false;
	t->until_s = (int64_t)until;
	snprintf(t->node, sizeof(t->node), STR_FMT, STR_ARG(words[0]));
	if (str_eq(words[2], STR("-")))
		words[2].len = 0;
	snprintf(t->key_hash, sizeof(t->key_hash), STR_FMT, STR_ARG(words[2]));
	return true;
}

/* By the hash in t->hash. */
static int token_read(const struct folder *f, struct token *t, struct err *err)
{
	char name[TOKEN_NAME_MAX];
	struct str text;
	snprintf(name, sizeof(name), "tokens/%s", t->hash);
	int r = folder_read(f, name, FILE_SECRET, &text, err);
	if (r < 0)
		return r;
	if (!token_parse(text, t))
		r = err_set(err, ENOENT, "%s/%s: unreadable", f->dir, name);
	file_text_free(text);
	return r;
}

int token_find(const struct folder *f, struct str node, struct str text, int64_t now_s,
	struct token *ret_token, struct err *err)
{
	*ret_token = (struct token){0};
	if (text.len == 0 || text.len > 4 * TOKEN_TEXT)
		return err_set(err, ENOENT, "no such token");
	token_hash(text, ret_token->hash);
	int r = token_read(f, ret_token, err);
	if (r == 0 && (!str_eq(str_of(ret_token->node), node) || ret_token->until_s <= now_s))
		r = err_set(err, ENOENT, "no such token");
	return r;
}

int token_use(
	const struct folder *f, const struct token *token, const char *key_hash, struct err *err)
{
	struct token t = *token;
	/* Again, under the lock: another process may have bound it in between. */
	int r = token_read(f, &t, err);
	if (r < 0)
		return r;
	if (t.key_hash[0])
		return strcmp(t.key_hash, key_hash) == 0
			       ? 0
			       : err_set(err, EBUSY, "the token was used by another key");
	snprintf(t.key_hash, sizeof(t.key_hash), "%s", key_hash);
	return token_write(f, &t, err);
}

static bool token_is_name(const char *name)
{
	size_t len = 0;
	while (str_hex(name[len]) >= 0)
		len++;
	return len == 64 && name[len] == '\0';
}

static DIR *token_directory(const struct folder *f, struct err *err)
{
	char path[PATH_MAX];
	folder_path(f, path, "tokens");
	DIR *directory = opendir(path);
	if (!directory)
		err_set(err, errno, "%s: %m", path);
	return directory;
}

static int token_list_more(struct token **tokens, uint32_t count, uint32_t *size)
{
	if (count < *size)
		return 0;
	*size = *size ? 2 * *size : 16;
	struct token *more = realloc(*tokens, *size * sizeof(**tokens));
	if (!more)
		return -ENOMEM;
	*tokens = more;
	return 0;
}

int token_list(
	const struct folder *f, struct token **ret_tokens, uint32_t *ret_count, struct err *err)
{
	struct token *tokens = NULL;
	uint32_t count = 0, size = 0;
	int r = folder_subdirectory(f, "tokens", err);
	DIR *directory = r == 0 ? token_directory(f, err) : NULL;
	if (!directory)
		return r < 0 ? r : -errno;
	struct dirent *entry;
	while (r == 0 && (entry = readdir(directory))) {
		struct err ignored;
		if (!token_is_name(entry->d_name))
			continue;
		if (token_list_more(&tokens, count, &size) < 0) {
			r = err_set(err, ENOMEM, "out of memory");
			break;
		}
		tokens[count] = (struct token){0};
		memcpy(tokens[count].hash, entry->d_name, 65);
		if (token_read(f, &tokens[count], &ignored) == 0)
			count++;
	}
	closedir(directory);
	if (r < 0) {
		free(tokens);
		return r;
	}
	*ret_tokens = tokens;
	*ret_count = count;
	return 0;
}

int token_sweep(const struct folder *f, int64_t now_s, struct str node, struct err *err)
{
	struct token *tokens = NULL;
	uint32_t count = 0;
	int r = token_list(f, &tokens, &count, err);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		char name[TOKEN_NAME_MAX];
		bool is_nodes = node.len > 0 && str_eq(str_of(tokens[i].node), node);
		snprintf(name, sizeof(name), "tokens/%s", tokens[i].hash);
		if (is_nodes || tokens[i].until_s <= now_s)
			r = folder_remove(f, name, err);
	}
	free(tokens);
	return r;
}
