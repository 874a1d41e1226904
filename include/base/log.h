/* SPDX-License-Identifier: Apache-2.0 */
/* Event lines on standard error, one write each, with the journal's <N> priority prefix when
 * standard error is the journal. Only the room that gives up on something logs it, once. */
#pragma once

#include "base/assert.h"

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6 };

/* `who` is the part of the program that speaks: "keeper", "proxy", "redirect". Control characters
 * in the text are shown as \xNN. */
void log_line(enum log_level level, const char *who, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(who, ...)   log_line(LOG_LEVEL_ERROR, who, __VA_ARGS__)
#define log_warning(who, ...) log_line(LOG_LEVEL_WARNING, who, __VA_ARGS__)
#define log_info(who, ...)    log_line(LOG_LEVEL_INFO, who, __VA_ARGS__)
