/* SPDX-License-Identifier: Apache-2.0 */
/* The calls by which the authority's files come to be, counted: each can be the one at which the
 * process ends or the disk is full. Linked in, these take the place of libc's; nothing waits for
 * the disk. */
#pragma once

#include <stddef.h>

enum fault {
	FAULT_NONE,
	FAULT_CRASH, /* the process ends before the call */
	FAULT_TORN,  /* like that, but half of what it writes is written */
	FAULT_FULL,  /* ENOSPC; and from then on, for whatever needs room */
};
#define FAULT_EXIT 77

/* At the call of that number, from 1 on; counts anew. */
void faults_arm(enum fault fault, unsigned step);
unsigned faults_count(void);
/* What was called since: "write index\nsync index\nsync .\nrename x\n"; names without their
 * directories, "." for a directory itself. */
const char *faults_log(void);
/* Run once, as soon as the authority's lock is free again; `arg` is handed to it. */
void faults_when_unlocked(void (*run)(void *arg), void *arg);
