/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 7030 3.2.2: "/.well-known/est/", a label perhaps, an operation. */
#include "est/est.h"

#include <errno.h>
#include <stdio.h>

static const struct str path_prefix = {"/.well-known/est/", 17};

static const struct str path_segments[] = {
#define X(name, method, segment, type) [EST_##name] = {segment, sizeof(segment) - 1},
	EST_OPERATION_LIST(X)
#undef X
};

static bool path_operation(struct str segment, enum est_operation *ret_operation)
{
	for (size_t i = 0; i < ARRAY_LEN(path_segments); i++) {
		if (str_eq(segment, path_segments[i])) {
			*ret_operation = (enum est_operation)i;
			return true;
		}
	}
	return false;
}

/* Ours and those of RFC 7030 that we do not have: none may be a label. */
static bool path_reserved(struct str label)
{
	static const struct str others[] = {
		{"fullcmc", 7}, {"serverkeygen", 12}, {"csrattrs", 8}, {".", 1}, {"..", 2}};
	enum est_operation operation;
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (str_eq(label, others[i]))
			return true;
	}
	return path_operation(label, &operation);
}

static bool path_label_valid(struct str label)
{
	static const char unreserved[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789-._~";
	for (size_t i = 0; i < label.len; i++) {
		if (!label.at[i] || !strchr(unreserved, label.at[i]))
			return false;
	}
	return label.len > 0 && label.len <= EST_LABEL_MAX && !path_reserved(label);
}

bool est_path(enum est_operation operation, struct str label, char *path, size_t size)
{
	if (label.len && !path_label_valid(label))
		return false;
	int n = snprintf(path, size, STR_FMT STR_FMT "%s" STR_FMT, STR_ARG(path_prefix),
		STR_ARG(label), label.len ? "/" : "", STR_ARG(path_segments[operation]));
	return n >= 0 && (size_t)n < size;
}

int est_path_parse(struct str path, enum est_operation *ret_operation, struct str *ret_label)
{
	enum est_operation operation;
	if (!str_starts(path, path_prefix))
		return -ENOENT;
	struct str rest = {path.at + path_prefix.len, path.len - path_prefix.len};
	struct str label = {rest.at, 0};
	const char *slash = memchr(rest.at, '/', rest.len);
	if (slash) {
		label.len = (size_t)(slash - rest.at);
		if (!path_label_valid(label))
			return -ENOENT;
		rest = (struct str){slash + 1, rest.len - label.len - 1};
	}
	if (!path_operation(rest, &operation))
		return -ENOENT;
	*ret_operation = operation;
	*ret_label = label;
	return 0;
}
