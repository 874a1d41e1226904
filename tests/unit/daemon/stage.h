/* SPDX-License-Identifier: Apache-2.0 */
/* The real keeper on a stage of its own: a directory with a configuration of one word, certificates
 * and a journal; children that only write down what they are told (the keeper starts
 * /proc/self/exe, which is the test itself). */
#pragma once

#include "unit/ca/place.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WAIT_TURNS 1000 /* of 10 ms */

struct stage {
	struct place p;
	pid_t keeper;
	uint16_t port; /* outbound; inbound and mesh follow */
	int notify_fd;
};

/* Writes the configuration. */
void say(struct stage *s, const char *word);
/* The files only; the keeper is started with run_keeper(). */
void stage_set(struct stage *s, const char *word);
void stage_begin(struct stage *s, const char *word);
pid_t run_keeper(struct stage *s);
/* Ends the keeper, which has to succeed. */
void stage_end(struct stage *s);
void stage_clear(struct stage *s);

/* The text stands in the file so many times. */
bool has_line(struct stage *s, const char *file, const char *text, unsigned times);
/* Waits for it. */
void expect(struct stage *s, const char *file, const char *text, unsigned times);
void expect_notified(struct stage *s, const char *text);
int keeper_status(struct stage *s);
/* The number behind the last "name=" in the journal. */
long journal_number(struct stage *s, const char *name);
