/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the room:
 *
 *   fetch.c     what is wanted and what is known, whose turn it is, time
 *   errand.c    one host, or one document: its states
 *   document.c  how curl is called, and what its end means
 *   program.c   a child with pipes
 *   may.c       where nobody is sent
 *   places.c    where a host was lately found
 *   lookup.c    a host's addresses */
#pragma once

#include "base/list.h"
#include "fetch/fetch.h"
#include "fetch/lookup.h"
#include "places.h"
#include "program.h"

#define FETCH_LOOKUPS_MAX  16 /* at once */
#define FETCH_PROGRAMS_MAX 4
#define FETCH_HOST_MAX	   253	 /* of its name */
#define FETCH_LOOKUP_MS	   10000 /* for an answer */
#define FETCH_PROGRAM_MS   15000 /* and then it is killed */

/* IDLE waits for: time, and a turn. LOOKING for: the resolver's thread. RUNNING for: the program's
 * end. */
#define FETCH_STATE_LIST(X) X(IDLE) X(LOOKING) X(RUNNING)
enum fetch_state {
#define X(name) FETCH_##name,
	FETCH_STATE_LIST(X)
#undef X
};

struct fetch_errand {
	struct list node; /* in fetch.errands, or fetch.ending: unwanted, with a program left */
	struct fetch *fetch;
	enum fetch_state state;
	bool is_document;
	struct str name, url; /* of it; a host has no URL */
	struct lookup *lookup;
	struct fetch_program program;
	uint64_t began_ns, next_ns;
	uint32_t failure_count; /* in a row */
	/* what is known */
	bool is_known;
	struct str known;	    /* addresses, one to a line; or the document */
	struct fetch_places places; /* a host's */
	uint64_t fetched_s, failing_s;
	char why[300]; /* "": it does not fail */
};

struct fetch {
	struct loop *loop;
	struct task task, *owner;
	struct timer timer;
	struct list errands, ending;
	uint32_t lookup_count, program_count; /* under way */
	bool is_news, is_closing;
	struct bundle remembered; /* of another process; until something is wanted */
	/* the rules, ours */
	char *program, *ca;
	struct address_range *allowed;
	uint32_t allowed_count, refresh_ms, host_refresh_ms;
	bool (*is_good)(struct str text, struct err *why);
};

/* --- errand.c --- */

/* NULL: out of memory. */
struct fetch_errand *fetch_errand_new(
	struct fetch *f, bool is_document, struct str name, struct str url);
/* What another process knew of it: the document or the addresses, and "fetched failing why". False:
 * out of memory. */
bool fetch_errand_recall(struct fetch_errand *e, struct str known, struct str state);
/* One that is running nothing. */
void fetch_errand_free(struct fetch_errand *e);
void fetch_errand_step(struct fetch_errand *e);
/* Drops what is under way; a program is killed, and true says that it is still to be reaped. */
bool fetch_errand_end(struct fetch_errand *e);

/* --- document.c --- */

/* Starts the program, with those of these that may be asked. False: `why` says why not. */
bool fetch_document_start(
	struct fetch_errand *e, const struct lookup_found *found, char *why, size_t size);
/* The program has ended. False: that was nothing, `why` says why. */
bool fetch_document_ended(
	struct fetch_errand *e, int status, struct str *ret_text, char *why, size_t size);
