/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the machine: enroll.c has what is in force and the door, errand.c what is under
 * way, errand_trust.c that for anchors and CRLs, served.c what the mesh port should show, row.c how
 * it is told. */
#pragma once

#include "base/clock.h"
#include "base/list.h"
#include "judge.h"
#include "keys/keep.h"
#include "link.h"
#include "probe.h"
#include "schedule.h"

#define ENROLL_WHY_MAX	      160
#define ENROLL_DOMAIN_MAX     255
#define ENROLL_KEEPER_MS      10000 /* for an answer of the keeper's */
#define ENROLL_IN_FORCE_MS    30000 /* from the keeper's yes to the certificate in force */
#define ENROLL_SKEW_WARNING_S 10

/* An identity of this machine. */
struct identity {
	struct list node;
	char path[KEEP_IDENTITY_MAX + 1];
	bool is_node;
	bool wanted; /* by the configuration that is being taken */
	struct schedule schedule;
	struct judge_view view; /* of the one in force; serial "": none */
	bool is_revoked;	/* that one */
	/* Given to the keeper, and to be in force by then; 0: nothing. */
	uint64_t settle_ns;
	/* The request that waits for approval, to be sent again as it was; NULL: none. */
	char *request;
	size_t request_len;
	uint32_t renewed_count;
	char why[ENROLL_WHY_MAX];
	struct probe_target target; /* what the mesh port serves */
};

/* A published text: what is in force, and what an ETag of the authority's stands for. */
struct published {
	struct str in_force; /* PEM; ours */
	struct str told;     /* what came with `etag`; ours */
	char etag[160];
};

/* A trust domain's anchors and CRLs. */
struct trust {
	struct list node;
	char domain[ENROLL_DOMAIN_MAX + 1];
	bool is_own;
	bool wanted;
	struct schedule schedule;
	struct published roots, crls;
	struct str others; /* PEM: issuers that were published beside the anchors; ours */
	uint32_t renewed_count;
	int64_t crls_until_s; /* the earliest end of a list that came; 0: not known */
	char why[ENROLL_WHY_MAX];
};

/* One thing at a time. Those that end in _KEEPER wait for the keeper, the others for the link. */
enum errand_state {
	ERRAND_NONE,
	ERRAND_REQUEST_KEEPER,	   /* a request for an identity */
	ERRAND_ENROLL,		   /* its certificate */
	ERRAND_CERTIFICATE_KEEPER, /* to be kept */
	ERRAND_ANCHORS,		   /* of a trust domain */
	ERRAND_CRLS,
	ERRAND_TRUST_KEEPER, /* to be kept */
	ERRAND_STATE_COUNT
};

struct errand {
	enum errand_state state;
	bool untold; /* the keeper has not been asked yet */
	uint64_t deadline_ns;
	struct identity *identity;
	struct trust *trust;
	struct str request;	  /* DER */
	struct str chain;	  /* for the keeper */
	struct str roots, crls;	  /* for the keeper */
	char why[ENROLL_WHY_MAX]; /* what was wrong on the way, though the rest went well */
};

struct enroll {
	uint32_t magic;
	struct loop *loop;
	uint16_t kind_first;
	struct task *owner;
	struct task task;
	struct timer timer;
	struct probe *probe;
	struct link *link;     /* NULL: this machine has not joined */
	struct tls_store *tls; /* of these, which are ours */
	struct str est_roots, est_key;
	struct str own_chain; /* this machine's, in force, PEM */
	/* configuration; texts are ours */
	char node[ENROLL_DOMAIN_MAX + 1], domain[ENROLL_DOMAIN_MAX + 1];
	char label[EST_LABEL_MAX + 1];
	uint32_t refresh_ms;
	struct list identities; /* of struct identity */
	struct list trusts;	/* of struct trust */
	struct errand errand;
	char asked_identity[KEEP_IDENTITY_MAX + 1]; /* what enroll_ask() has shown */
	bool skew_told;
	bool closing;
};

struct schedule_now enroll_now(const struct enroll *e);
/* A copy of ours in the place of what was there; false: out of memory, and nothing has changed. */
bool enroll_keep_text(struct str *at, struct str text) MUST_CHECK;
void enroll_drop_text(struct str *at);
/* Puts a failure down, for a row, and into the log when it is time. */
void enroll_fail_identity(
	struct enroll *e, struct identity *i, uint32_t retry_after_s, const char *why);
void enroll_fail_trust(struct enroll *e, struct trust *t, uint32_t retry_after_s, const char *why);
struct trust *enroll_own_trust(struct enroll *e);

/* --- errand.c --- */

/* Goes on with what is under way, or begins what is due. */
void errand_run(struct enroll *e);
/* Gives up what is under way; nothing is told to anybody. */
void errand_drop(struct enroll *e);
void errand_move(struct enroll *e, enum errand_state state);
/* Of what went wrong, with what our clock has to do with it. */
void errand_explain_dates(
	const struct enroll *e, enum judge_verdict verdict, char *why, size_t size);
void errand_wait_for_keeper(struct enroll *e, enum errand_state state);

/* --- errand_trust.c --- */

void errand_trust_begin(struct enroll *e, struct trust *t);
void errand_take_anchors(struct enroll *e, const struct link_answer *a);
void errand_take_crls(struct enroll *e, const struct link_answer *a);
void errand_trust_kept(struct enroll *e, const char *why);

/* --- served.c --- */

/* After what is in force, or where it is served, has changed. */
void enroll_watch_served(struct enroll *e, const struct conf *conf);
