/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoints get no calls for a while, because calls to them fail. Pure.
 *
 * An endpoint is ejected after so many gateway errors in a row, after so many connections in a row
 * that could not be made, or when too small a share of the calls of the last ten seconds was
 * served. The first ejection is as long as the rules say, the second twice, the third three times,
 * up to a maximum; each such time without trouble afterwards takes one off. When it is over one
 * call, a real one, is the probe: served, the endpoint is back; failed, it is ejected again. A
 * probe that tells nothing for as long as a first ejection is followed by another one.
 *
 * Never more than the rules' share of the endpoints is out, rounded down but at least one, and
 * never the last one. */
#pragma once

#include "mesh/snapshot.h"

#define OUTLIER_BUCKETS 10 /* of a second each */

/* Why it was ejected. */
enum outlier_cause {
	OUTLIER_BY_ERRORS,
	OUTLIER_BY_CONNECT_ERRORS,
	OUTLIER_BY_SHARE, /* too few calls were served */
	OUTLIER_BY_PROBE, /* that failed */
};

enum outlier_state {
	OUTLIER_IN,
	OUTLIER_OUT,	/* until its time is over, and then until a call comes */
	OUTLIER_PROBED, /* one call is under way that decides */
};

struct outlier {
	enum outlier_state state;
	uint32_t errors, connect_errors; /* in a row */
	uint32_t times;			 /* of ejection */
	uint64_t until_ns;		 /* OUT; PROBED: then another probe may come */
	uint32_t probe_number;		 /* of the last one; PROBED */
	enum outlier_cause cause;	 /* of the last ejection */
	uint64_t back_ns;
	uint64_t second; /* of the newest bucket */
	struct {
		uint32_t served, failed;
	} buckets[OUTLIER_BUCKETS];
};

/* Those that calls may go to: instances that are up. */
struct outlier_crowd {
	uint32_t count, out;
};

/* What became of a call to it. */
enum outlier_verdict {
	OUTLIER_SERVED,	     /* any response but these: */
	OUTLIER_ERROR,	     /* 502, 503, 504, no response in time, or the connection broke */
	OUTLIER_CONNECTED,   /* of opaque bytes nothing more is known */
	OUTLIER_UNREACHABLE, /* no connection to it, or not to what it should be */
};

enum outlier_change { OUTLIER_STAYS, OUTLIER_EJECTED, OUTLIER_BACK };

/* It may have a call now. */
bool outlier_takes(const struct outlier *o, uint64_t now_ns);
/* It gets one; not 0: the number of the probe that it is. */
uint32_t outlier_begin(struct outlier *o, const struct outlier_rules *rules, uint64_t now_ns);
/* The call ends, or has gone as far as tells. What is not the probe does not count for one that is
 * out: it may have begun long ago. `crowd` NULL: it is not one of those, and is never ejected. */
enum outlier_change outlier_judge(struct outlier *o, const struct outlier_rules *rules,
	struct outlier_crowd *crowd, bool is_probe, enum outlier_verdict verdict, uint64_t now_ns);
/* The probe ended before it told anything: the next call is one. */
void outlier_abandon(struct outlier *o, uint32_t probe_number);
/* Taken back without a probe. */
void outlier_release(struct outlier *o, struct outlier_crowd *crowd, uint64_t now_ns);
/* How many of them may be out. */
uint32_t outlier_out_max(const struct outlier_rules *rules, uint32_t count);
