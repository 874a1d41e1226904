/* SPDX-License-Identifier: Apache-2.0 */
/* Checks on the simulated kernel, in virtual time.
 *
 *     ward_start();
 *     struct conf_workload *w = ward_add("http");     -- or "tcp", or a command's words
 *     ward_configure();
 *     ward_run(CLOCK_S);                              -- the first check comes at once
 *     ... ward_last(), fake_peer_send_text(), ward_view(0) ...
 *     ward_finish();                                  -- fails on anything left behind */
#pragma once

#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "health/inside.h"

#define WARD_WORKLOADS_MAX 300

struct ward {
	struct loop loop;
	struct task owner;
	uint32_t news; /* times that the owner was made ready */
	struct health *health;
	struct conf_workload workloads[WARD_WORKLOADS_MAX];
	uint32_t workload_count;
	const char *answer; /* what every connection gets once it has asked, NULL: nothing */
	uint32_t answered_count;
};

extern struct ward ward;

void ward_start(void);
/* Closes, whatever is under way. */
void ward_finish(void);
/* 127.0.0.1:8000 and up; every 5 s, patience of 2 s, down after 3, up after 2. */
struct conf_workload *ward_add(const char *what);
/* A command and one argument, or NULL. */
struct conf_workload *ward_add_command(const char *path, const char *argument);
void ward_configure(void);
/* Turns until nothing moves; then lets time pass. */
void ward_pump(void);
void ward_run(uint64_t ns);

struct health_view ward_view(uint32_t index);
struct check *ward_check(uint32_t index);
/* The socket opened last. */
int ward_last(void);
/* Fails unless the first workload is (or is not) up, after so many failures, for this reason. */
void ward_expect(bool up, uint32_t failure_count, const char *why);

/* The nth allocation of so many bytes or more fails; 0: none does. */
void ward_starve(uint32_t nth, size_t bytes);
