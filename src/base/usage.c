/* SPDX-License-Identifier: Apache-2.0 */
#include "base/usage.h"

#include <stdarg.h>
#include <stdio.h>

int usage_wrong(const char *command, const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s: ", command);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return usage_more(command);
}

int usage_more(const char *command)
{
	fprintf(stderr, "Try \"%s --help\".\n", command);
	return USAGE_WRONG;
}
