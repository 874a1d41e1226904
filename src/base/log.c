/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_LINE_MAX 2048

static const char *log_level_word(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_INFO:
		return "info";
	}
	return "info";
}

/* Copies `in` so that one event stays one line, whatever stands in it. */
static size_t log_escape(const char *in, char *out, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;
	for (; *in && n + 5 < size; in++) {
		unsigned char c = (unsigned char)*in;
		if (c >= 0x20 && c != 0x7f) {
			out[n++] = (char)c;
		} else {
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	return n;
}

void log_line(enum log_level level, const char *who, const char *format, ...)
{
	char text[LOG_LINE_MAX / 2], line[LOG_LINE_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	int prefix = getenv("JOURNAL_STREAM")
			     ? snprintf(line, sizeof(line), "<%d>%s: ", (int)level, who)
			     : snprintf(line, sizeof(line), "%s: %s: ", log_level_word(level), who);
	size_t len = (size_t)prefix;
	len += log_escape(text, line + len, sizeof(line) - len - 1);
	line[len++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, len);
	(void)written; /* nowhere to tell that the log is gone */
}
