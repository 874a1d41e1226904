/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of kept keys, as its files share it: keep_files.c opens it, keeps it tidy, writes
 * and removes; keep.c knows what is in the files. */
#pragma once

#include "base/error.h"
#include "keys/file.h"
#include "keys/keep.h"
#include <limits.h>

#define KEEP_TRUST_DOMAIN_MAX 255

struct keep {
	char dir[PATH_MAX];
	char trust_domain[KEEP_TRUST_DOMAIN_MAX + 1];
	int fd; /* of the directory: for its lock */
};

/* "<dir>/<name><ending>" */
int keep_join(char path[PATH_MAX], const char *dir, const char *name, const char *ending,
	struct err *err) MUST_CHECK;
/* Replaces a file; the bytes of a secret one that it takes the place of are overwritten. */
int keep_write(const struct keep *k, const char *path, enum file_secrecy secrecy, struct str text,
	struct err *err) MUST_CHECK;
/* Overwrites it and removes it. 0 also when there is none. */
int keep_remove(const char *path, struct err *err) MUST_CHECK;
