/* SPDX-License-Identifier: Apache-2.0 */
/* A program (base/program.h) whose output is wanted. */
#pragma once

#include "base/assert.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fetch_program {
	pid_t pid; /* 0: none */
	int out_fd, err_fd;
	char *out; /* out_max bytes, ours */
	size_t out_len, out_max;
	bool out_over; /* it wrote more than that */
	char why[256]; /* what it wrote to standard error, as one line */
	size_t why_len;
};

/* 0 or -errno. */
int fetch_program_start(struct fetch_program *p, char *const argv[], size_t out_max) MUST_CHECK;
/* Takes what it has written. True: it has ended, and *ret_status is that of program_ended(). `out`
 * and `why` are there until fetch_program_done(). */
bool fetch_program_look(struct fetch_program *p, int *ret_status) MUST_CHECK;
void fetch_program_kill(struct fetch_program *p);
/* Once it has ended, or never was. */
void fetch_program_done(struct fetch_program *p);
