/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions that stay on in production, for our own invariants only: nothing that a peer, a
 * workload, Redis or a file sends may ever reach one. */
#pragma once

/* Prints the expression with its place to stderr and aborts; the keeper restarts the process. */
_Noreturn void assert_failed(const char *expression, const char *file, int line);

#define ASSERT(e) ((e) ? (void)0 : assert_failed(#e, __FILE__, __LINE__))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))

#define MUST_CHECK	  __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
