/* SPDX-License-Identifier: Apache-2.0 */
/* A regular expression that is asked about whole texts, of any bytes. Its syntax is RE2's: the time
 * that an answer takes grows with the text's length and no faster, whatever the pattern, and memory
 * is limited. Any number of threads may ask one at the same time. */
#pragma once

#include "base/str.h"

#define REGEX_PATTERN_BYTES_MAX 256
/* What repetitions are written out to, in RE2's own instructions: the worst pattern that fits takes
 * about a microsecond for each byte of a text that was made against it. */
#define REGEX_SIZE_MAX 256
/* For one, with what it has learnt of texts. */
#define REGEX_MEMORY_BYTES (128u << 10)

struct regex;

/* NULL: *ret_why says why, as far as there is room. */
struct regex *regex_new(struct str pattern, char *ret_why, size_t why_bytes);
/* NULL is none. */
void regex_free(struct regex *r);
bool regex_matches(const struct regex *r, struct str text);
/* False: surely no text that begins with one of these characters is matched; `first` is not above
 * `last`. */
bool regex_may_begin(const struct regex *r, char first, char last);
