/* SPDX-License-Identifier: Apache-2.0 */
/* When one thing is asked for: a certificate before the one in force ends, or anchors again and
 * again. Pure: the time and randomness come in.
 *
 * When a certificate is due is a matter of the wall clock, since its dates are; how long to wait
 * after a failure is one of the monotonic clock, so that a step of the wall clock neither ends a
 * wait nor makes a new one. Whoever sleeps looks again after SCHEDULE_LOOK_NS at the latest, and
 * finds a wall clock that was set.
 *
 * A wall clock that is set back would make a renewal late by as much, while the clocks of those who
 * judge the certificate go on: so it is due, too, when as much time has passed as was left at
 * first. (A machine that sleeps has a monotonic clock that stands still, and a wall clock that does
 * not.)
 *
 * Due: at half of its life, give or take a tenth of that half, which is drawn once for each
 * certificate. Life begins when it came, if that was seen, and not at its notBefore, which an
 * authority sets back for the sake of clocks that differ.
 *
 * After a failure: full jitter in a window that doubles, from SCHEDULE_BASE_MS (a twentieth of the
 * life when that is shorter) to SCHEDULE_WINDOW_MAX_MS, or SCHEDULE_WINDOW_SHORT_MS where there is
 * no certificate that holds. While one does, the window is at most a fifth of what is left of it,
 * so that five more tries fit in. Never less than a quarter of the base, which bounds the rate.
 *
 * The authority's silence is one failure of many things, each of which waits by itself: once it
 * answers any of them, the others wait no longer than after a first failure. */
#pragma once

#include "enroll/enroll.h"

#define SCHEDULE_BASE_MS	 1000
#define SCHEDULE_WINDOW_MAX_MS	 (5 * 60 * 1000)
#define SCHEDULE_WINDOW_SHORT_MS (60 * 1000)
/* An authority that says "not before" is obeyed so far. */
#define SCHEDULE_RETRY_AFTER_MAX_S 3600
#define SCHEDULE_LOOK_NS	   (60ull * 1000000000)
/* How often something that stays bad is said again. */
#define SCHEDULE_REPEAT_NS (3600ull * 1000000000)

struct schedule_now {
	int64_t wall_ms;
	uint64_t ns; /* monotonic */
};

struct schedule {
	int64_t from_ms, until_ms; /* wall: life of the one in force; 0, 0: none */
	int64_t due_ms;		   /* wall */
	uint64_t due_ns;  /* the same, as it was when the certificate came; 0: as due_ms says */
	uint64_t hold_ns; /* no try before */
	bool asking;
	bool is_unanswered;    /* the last failure was: the authority did not answer */
	uint32_t failed_count; /* in a row */
	uint32_t vain_count;   /* new ones in a row that gained nothing */
	uint32_t spoken;       /* urgency of what was said last; 0: nothing since it was well */
	uint64_t spoken_ns;
};

/* Nothing in force, due at once. */
void schedule_init(struct schedule *s);

/* What a certificate's coming means. */
enum schedule_gain {
	SCHEDULE_GOOD,
	SCHEDULE_VAIN, /* due the moment it came, or it ends no later than the one before: the next
			  is asked for after a wait that grows */
};
/* A certificate is in force. `is_new`: it has come now, and was not found at the start. */
enum schedule_gain schedule_certificate(struct schedule *s, const struct schedule_now *now,
	int64_t from_s, int64_t until_s, bool is_new, uint64_t random);
/* The one in force is gone. */
void schedule_missing(struct schedule *s);

bool schedule_due(const struct schedule *s, const struct schedule_now *now);
/* It is being asked for: not due until one of the next two. */
void schedule_asked(struct schedule *s);
/* `retry_after_s`: what the authority wants; 0: nothing. */
void schedule_failed(struct schedule *s, const struct schedule_now *now, uint32_t retry_after_s,
	uint64_t random);
/* If it has failed, that was because there was no answer. */
void schedule_unanswered(struct schedule *s);
/* There is one, to a question of somebody else. */
void schedule_reached(struct schedule *s, const struct schedule_now *now, uint64_t random);
/* For what has no end of its own: again after the interval, give or take a tenth. */
void schedule_again(
	struct schedule *s, const struct schedule_now *now, uint64_t interval_ms, uint64_t random);
/* At once, unless a wait after a failure is under way. */
void schedule_hurry(struct schedule *s, const struct schedule_now *now);

/* When to look again, monotonic. */
uint64_t schedule_wake_ns(const struct schedule *s, const struct schedule_now *now);
/* When it is tried next, wall time in seconds. */
int64_t schedule_next_s(const struct schedule *s, const struct schedule_now *now);
/* ENDING: less than a quarter of the life is left. */
enum enroll_state schedule_state(const struct schedule *s, const struct schedule_now *now);

/* How loud a failure is to be told: a warning at the first one; an error in the last quarter of the
 * life, and again at an eighth, a sixteenth, a thirty-second; an error at the end. While it stays
 * at one of these, once an hour. */
enum schedule_voice { SCHEDULE_SILENT, SCHEDULE_WARNING, SCHEDULE_ERROR };
enum schedule_voice schedule_speak(struct schedule *s, const struct schedule_now *now);
