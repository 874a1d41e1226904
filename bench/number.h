/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the command line. Each is false when the text is no such number or out of range, and
 * then leaves its result alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

bool number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number);
/* "10", "0.25"; at most a day. */
bool number_parse_seconds(const char *text, uint64_t *ret_ns);
