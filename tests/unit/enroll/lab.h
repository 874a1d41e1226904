/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that keeps its certificates fresh, on the simulated kernel: the keeper and the
 * authority's servers are played here, in virtual time. */
#pragma once

#include "base/clock.h"
#include "conf/conf.h"
#include "enroll/enroll.h"
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "unit/tls/certs.h"
#include <openssl/ssl.h>

#define LAB_DOMAIN	"prod.example"
#define LAB_NODE	"node/vm-a"
#define LAB_MESH_PORT	15008
#define LAB_SOCKETS_MAX 4096
#define LAB_KEYS_MAX	8

/* One connection to a server of the authority. */
struct far {
	SSL *ssl;
	BIO *in, *out;
	size_t taken; /* of what came */
	char got[32768];
	size_t got_len;
	bool over;
};

/* What an authority does with the next questions. */
enum lab_mode {
	LAB_GOOD,
	LAB_SILENT,	/* says nothing */
	LAB_RAW,	/* says `raw`, whatever is asked */
	LAB_RAW_ENROLL, /* that only to requests for certificates */
	LAB_CLOSES,	/* closes after the question */
	LAB_LOSES,	/* gives out a certificate, and closes before it is sent */
};

struct lab_key {
	char identity[64];
	EVP_PKEY *pending, *key;
	char *chain;
	/* what a worker with an old plan shows */
	EVP_PKEY *old_key;
	char *old_chain;
};

/* What the machine's own mesh port does with those who look at it. */
enum lab_port {
	LAB_PORT_NEWEST, /* shows the certificate in force */
	LAB_PORT_OLD,	 /* one in `old_of` connections shows that of lab_port_keeps_old() */
	LAB_PORT_SILENT,
	LAB_PORT_CLOSES,
	LAB_PORT_REFUSES, /* knows no such name */
};

struct lab {
	struct loop loop;
	struct task owner;
	struct enroll *enroll;
	struct conf conf;
	struct conf_workload workloads[4];
	struct str servers[3], federates[1];
	/* the keeper */
	struct lab_key keys[LAB_KEYS_MAX];
	char *roots, *crls, *other_roots;
	bool keeper_silent, keeper_refuses, keeper_forgets;
	uint32_t requests, certificates, trusts;
	/* the authority */
	SSL_CTX *side;
	struct certs_pair root, issuer, next_root, server, other;
	struct certs_pair *signer; /* of what it gives out */
	enum lab_mode mode;
	const char *raw;
	int64_t life_s, backdate_s, clock_s; /* its clock, ahead of ours */
	bool with_issuer;		     /* answers carry it */
	const char *id;			     /* instead of the one asked for */
	bool other_key;			     /* certificates for a key of its own */
	char *anchors, *lists;		     /* published, PEM; lists NULL: none */
	char etag[32], lists_etag[32];
	struct far *fars[LAB_SOCKETS_MAX];
	bool over[LAB_SOCKETS_MAX + 1];
	uint32_t over_count; /* so many in a row */
	uint32_t asked_anchors, asked_lists, asked_enroll, asked_reenroll, unchanged;
	char last_path[256];
	const char *token;    /* base64 of name:token that a first certificate takes; NULL: any */
	uint8_t seen_key[32]; /* digest of the key in the last request */
	uint32_t key_count;   /* how often that was another one */
	/* the mesh port */
	SSL_CTX *port_side;
	enum lab_port port;
	uint32_t old_of;
	uint32_t looked; /* connections there */
	char port_name[256];
	fake_step *step; /* of what is tried */
};

void lab_init(struct lab *lab);
/* Makes it join: the node's own certificate, and the anchors. */
void lab_join(struct lab *lab, int64_t life_s);
void lab_start(struct lab *lab);
void lab_done(struct lab *lab);

/* Until nothing moves; then lets time pass in such steps. */
void lab_turn(struct lab *lab);
/* One step of that; true: something moved. */
bool lab_turn_once(struct lab *lab);
void lab_run_ms(struct lab *lab, uint64_t ms, uint64_t step_ms);

/* The mesh port goes on with the certificates of now. */
void lab_port_keeps_old(struct lab *lab, uint32_t old_of);

/* The server shows this from the next connection on. */
void lab_serve_with(struct lab *lab, const struct certs_pair *pair);

/* What is in force now, as the keeper would say it. */
void lab_configure(struct lab *lab);
struct enroll_row lab_row(const struct lab *lab, const char *identity);
int64_t lab_wall_s(const struct lab *lab);
/* PEM; to be freed. */
char *lab_pem(X509 *certificate);
/* A CRL of that number, with a serial number (hexadecimal) in it, or NULL. */
char *lab_crl(const struct certs_pair *issuer, int64_t number, int64_t from_s, int64_t until_s,
	const char *revoked);
