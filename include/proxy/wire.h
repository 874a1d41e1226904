/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper and its two children, the proxy process and the state process, say to each other,
 * over SOCK_SEQPACKET socketpairs: one for control with each, one per worker of the proxy process
 * and one of the state process for signatures. Fixed structs, all ends the same binary. The keeper
 * passes on what the two have for each other, and looks at nothing of it but the head. It has the
 * newest only: a picture goes to the proxy process when that has taken the one before, and those
 * that came in between are forgotten. */
#pragma once

#include "base/address.h"
#include "mesh/state_view.h"
#include <stdint.h>

/* Where a child finds its control socket. */
#define WIRE_CHANNEL_FD 3

enum wire_kind {
	/* keeper → proxy, control */
	WIRE_START = 1, /* struct wire_start; then WIRE_LEDGER, the listeners, then WIRE_PLAN */
	WIRE_LISTENER,	/* struct wire_listener with one fd */
	WIRE_SIGNER,	/* struct wire_signer with one fd: a worker's signature socket */
	WIRE_PLAN,	/* struct wire_plan with one fd: the bundle's memfd */
	WIRE_NOTE,	/* struct wire_note: outcome of a reload that changed nothing, for status */
	WIRE_DRAIN,	/* take nothing new, end when idle or after the drain timeout */
	WIRE_PING,	/* struct wire_ping: to be answered when all workers turn over */
	/* keeper → state process: WIRE_START, WIRE_LEDGER, WIRE_SIGNER, WIRE_DIRECTORY, then
	 * WIRE_PLAN, which is answered with READY or REFUSED as by the proxy process; WIRE_DRAIN
	 * leaves the mesh */
	WIRE_DIRECTORY, /* struct wire_head with one fd: where the last known state is kept */
	/* proxy → keeper, control */
	WIRE_READY,   /* struct wire_ready: the plan of that generation is in force */
	WIRE_REFUSED, /* struct wire_note: that plan is not taken, the one before stays */
	WIRE_RELOAD,  /* somebody asked for a reload through the admin socket */
	WIRE_STOP,    /* somebody asked through the admin socket to drain and stop */
	WIRE_PONG,    /* struct wire_ping: the number of the ping */
	/* state process → keeper → proxy process: the newest of each is kept for the next one */
	WIRE_STATE,	 /* struct wire_state with one fd: a picture of the mesh, a sealed memfd */
	WIRE_STATE_VIEW, /* struct wire_state_view: how it stands with the store; every second */
	/* proxy process → keeper */
	WIRE_STATE_TAKEN, /* struct wire_state: looked at, in force or not; the next may come */
	/* proxy process → keeper → state process */
	WIRE_TAKE_OUT, /* struct wire_take_out: an operator wants endpoints out of the mesh */
	/* The world outside. Of each the newest is kept for the other child, and for the next one.
	 * proxy process → keeper → state process */
	WIRE_WANT, /* struct wire_outside with one fd: a bundle of what is to be asked for */
	/* state process → keeper → proxy process, and → the next state process, before WANT */
	WIRE_FACTS, /* struct wire_outside with one fd: a bundle of what is known of it */
	/* state process → keeper, each answered with the same kind and identity */
	WIRE_REQUEST,	  /* struct wire_identity; the answer has one fd: a PKCS#10 request, DER */
	WIRE_CERTIFICATE, /* struct wire_identity with one fd: a chain to be kept, PEM */
	WIRE_TRUST, /* struct wire_identity with one fd: a bundle (`roots` and `crl`) to be kept */
	/* state process → keeper → proxy process */
	WIRE_IDENTITIES, /* struct wire_identities with one fd: how it stands with certificates */
	/* signature sockets */
	WIRE_SIGN,   /* struct wire_sign: child → keeper */
	WIRE_SIGNED, /* struct wire_signed: keeper → child */
	/* keeper → both children, control */
	WIRE_LEDGER, /* struct wire_head with one fd: the memory that the two share, see ledger.h */
};

enum wire_listener_kind {
	WIRE_LISTENER_OUTBOUND, /* captured connections of local workloads */
	WIRE_LISTENER_INBOUND,	/* captured plain connections from other machines */
	WIRE_LISTENER_MESH,	/* mutual TLS from other proxies */
	WIRE_LISTENER_ADMIN,	/* unix or loopback TCP */
	/* Not a listener: the access log's file. Comes again after a reload when the path leads to
	 * another file now (log rotation), and replaces the one before. */
	WIRE_LISTENER_ACCESS_LOG,
};

#define WIRE_MAGIC 0x71a3d001u

struct wire_head {
	uint32_t magic;
	uint32_t kind; /* enum wire_kind */
};

struct wire_start {
	struct wire_head head;
	uint32_t worker_count;
	uint32_t listener_count; /* WIRE_LISTENER messages that follow */
	uint32_t restart_count;	 /* how often the keeper has started a proxy before */
	uint64_t seed;
};

struct wire_listener {
	struct wire_head head;
	uint32_t listener_kind;
	uint32_t worker; /* which worker accepts on it */
	struct address address;
};

struct wire_signer {
	struct wire_head head;
	uint32_t worker;
};

struct wire_plan {
	struct wire_head head;
	uint64_t generation;
};

struct wire_note {
	struct wire_head head;
	uint64_t wall_ns;
	uint64_t generation; /* of the refused plan; 0: none was made */
	uint32_t ok;
	char text[2000]; /* why the reload was refused, for `ringmain status` */
};

/* Sent about every second, to either child. One that has answered once and then falls silent is
 * killed and started anew; one that never answers is left alone. */
struct wire_ping {
	struct wire_head head;
	uint64_t number;
};

struct wire_ready {
	struct wire_head head;
	uint64_t generation;
};

struct wire_state {
	struct wire_head head;
	uint64_t number; /* of the picture: counts up within a life of the state process */
};

/* A picture's memfd has at most so many bytes: the texts of a full bundle, and their lengths. */
#define WIRE_STATE_BYTES_MAX (128u << 20)

/* Bundles of kinds `host` and `jwks` (base/bundle.h), sealed. As long as something is wanted there
 * is a state process, whether there is a store or not. */
struct wire_outside {
	struct wire_head head;
	uint32_t count; /* items in it */
};
#define WIRE_OUTSIDE_BYTES_MAX (16u << 20)

#define WIRE_OWN_MAX 64
struct wire_own {
	char service[64];
	uint32_t health; /* enum endpoint_health */
	uint32_t drained;
	char why[96]; /* of its check's last failure, while it is down; "" */
};

struct wire_state_view {
	struct wire_head head;
	struct state_view view;
	uint64_t picture;	/* the one that revision and counts are of */
	char take_out_why[128]; /* why the last WIRE_TAKE_OUT was not done; "": it was */
	uint32_t own_count;	/* endpoints of this node; more are not told */
	struct wire_own own[WIRE_OWN_MAX];
};

struct wire_take_out {
	struct wire_head head;
	uint32_t back;	  /* 1: put them back */
	char service[64]; /* "": all of this node */
};

/* A certificate or a request for one, or a trust domain's anchors. */
struct wire_identity {
	struct wire_head head;
	char identity[256]; /* an identity's path, or for WIRE_TRUST a trust domain */
	char why[200];	    /* in an answer: why not; "": done */
};

/* The memfd holds `count` struct wire_certificate, sealed. */
#define WIRE_CERTIFICATES_MAX 4096
struct wire_identities {
	struct wire_head head;
	uint32_t count;
	int64_t skew_s; /* our clock minus the authority's */
};
/* How it stands with one, in the order of enum enroll_state. */
enum wire_certificate_state {
	WIRE_CERTIFICATE_MISSING, /* never had one */
	WIRE_CERTIFICATE_FRESH,
	WIRE_CERTIFICATE_DUE,	  /* the next is being asked for */
	WIRE_CERTIFICATE_FAILING, /* the last try to get the next failed */
	WIRE_CERTIFICATE_ENDING,  /* the same, and little time is left */
	WIRE_CERTIFICATE_EXPIRED,
	WIRE_CERTIFICATE_REVOKED, /* peers refuse it */
	WIRE_CERTIFICATE_STATES
};
struct wire_certificate {
	char identity[256];
	uint32_t is_trust;
	uint32_t state; /* enum wire_certificate_state */
	int64_t not_before_s, not_after_s, next_s;
	uint32_t renewed_count, failed_count;
	char serial[64], served_serial[64];
	char why[160];
};

#define WIRE_SIGN_BYTES_MAX 256
/* So many questions, or answers, may be one message on a signature socket, one behind the other. */
#define WIRE_SIGN_BATCH 8

struct wire_sign {
	struct wire_head head;
	uint64_t request; /* the worker's own number, given back */
	uint32_t key_number;
	uint16_t algorithm;
	uint16_t len;
	uint8_t bytes[WIRE_SIGN_BYTES_MAX];
};

struct wire_signed {
	struct wire_head head;
	uint64_t request;
	uint32_t len; /* 0: refused */
	uint8_t bytes[128];
};
