/* SPDX-License-Identifier: Apache-2.0 */
/* No chance: keys, and so signatures and all sizes and addresses that follow from them, are the
 * same in each run, which makes the instructions the same. The library draws its randomness through
 * syscall(3), and finds this one first. */
#include "micro.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long number, ...)
{
	static uint64_t state = 1;
	va_list arguments;
	va_start(arguments, number);
	uint8_t *bytes = va_arg(arguments, uint8_t *);
	size_t len = va_arg(arguments, size_t);
	va_end(arguments);
	if (number != SYS_getrandom) {
		errno = ENOSYS;
		return -1;
	}
	for (size_t i = 0; i < len; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (uint8_t)(state >> 56);
	}
	return (long)len;
}
