/* SPDX-License-Identifier: Apache-2.0 */
/* Lines and words of the room's two texts. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* What stands before the next `end`, which is passed over; all of it when there is none. */
struct str words_cut(struct str *from, char end);
/* The next word is a number of at most `max`. */
bool words_number(struct str *from, uint64_t max, uint64_t *ret_number);
/* 1 to ROLLOUT_WORD_MAX printable bytes without space. */
bool words_valid(struct str word);
/* What prints, spaces too, at most ROLLOUT_WHY_MAX. */
bool words_printable(struct str text);
/* The same for any text: what does not print becomes '?', what is too long is cut off. Returns the
 * length. */
size_t words_print(struct str text, char *ret_text, size_t max);
/* -EINVAL with the line, as far as it prints. */
int words_fail(struct err *err, unsigned line_number, struct str line, const char *why);
