/* SPDX-License-Identifier: Apache-2.0 */
/* One or two whole machines on the simulated kernel: real workers with real plans, real TLS and a
 * signer that answers, in one process and in virtual time.
 *
 *     lab_start(&lab, &(struct lab_options){.machine_count = 2});
 *     int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);   -- a workload's captured connection
 *     fake_peer_send_text(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
 *     lab_pump(&lab);
 *     int server = lab_served(&lab, LAB_ORDERS, 0);       -- what the workload there got
 *     ... fake_peer_received(server), fake_peer_send_text(server, ...) ...
 *     lab_finish(&lab);                                   -- drains; fails on anything left behind
 *
 * Machine 0 (10.77.0.1) runs web, billing and nocert, who call, and shop, cache, any, mail and
 * loose, who serve; machine 1 (10.77.0.2) runs orders and ledger. */
#pragma once

#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "proxy/carrier.h"
#include "proxy/exchange.h"
#include "proxy/session.h"
#include "proxy/trunk.h"
#include "proxy/tunnel.h"
#include "proxy/upstream.h"
#include "proxy/worker_private.h"
#include "unit/tls/pair.h"

/* Workloads, in the order of their uids and marks. */
enum lab_workload {
	LAB_NOBODY, /* no mark */
	LAB_WEB,
	LAB_BILLING,
	LAB_NOCERT,
	LAB_SHOP,   /* http, 10.77.0.1:8081 */
	LAB_CACHE,  /* tcp, 10.77.0.1:6379; billing may not */
	LAB_ANY,    /* to be detected, 10.77.0.1:9000 */
	LAB_MAIL,   /* tcp, the server speaks first, 10.77.0.1:2525 */
	LAB_LOOSE,  /* tcp, permissive, 10.77.0.1:7100 */
	LAB_ORDERS, /* http, 10.77.0.2:8080 */
	LAB_LEDGER, /* tcp, identity billing's, 10.77.0.2:7000 */
	LAB_PLAIN,  /* tcp, mtls disabled, 10.77.0.3:7200: of no machine of ours */
	LAB_WORKLOAD_COUNT,
};

struct lab_entry { /* of the access log */
	enum access_kind kind;
	bool outbound;
	uint16_t code;
	char details[48], flags[16], policy[32], path[64], source[64], workload[32];
	char where[48], would_deny[32], noted[32];
	char route[48], service[32], version[16], outside[16], security[16];
	uint64_t received, sent;
	uint32_t attempts;
	bool is_mirror;
};

struct access_queue { /* the lab's own: the log stays in memory */
	struct lab_entry *entries;
	uint32_t count;
	bool full;
};

enum lab_signing { LAB_SIGNS, LAB_SILENT, LAB_REFUSES, LAB_WRONG };

#define LAB_PLANS_MAX 32

struct lab_machine {
	struct worker *worker;
	struct plan *plans[LAB_PLANS_MAX]; /* the last is in force */
	uint32_t plan_count;
	struct metrics *metrics;
	struct ledger *ledger; /* its state process is the test, see ledger/lease.h */
	struct access_queue log;
	struct proxy_listener listeners[3]; /* by enum wire_listener_kind */
	int signer;
	enum lab_signing signing;
	uint32_t signed_count;
};

/* What the workloads that are dialled do by themselves, see lab_serve. */
enum lab_serving { LAB_BY_HAND, LAB_ECHO, LAB_HTTP };

#define LAB_SERVERS_MAX 1024

/* In the node's and the mesh's configuration, of the generations made from then on. */
struct lab_edit {
	const char *from, *to;
};
#define LAB_EDITS_MAX 5
/* Orders has two versions at an address of its own: v1 is what else is shop, v2 on machine 1. */
#define LAB_OWN_ORDERS "10.96.0.1"
extern const struct lab_edit lab_two_versions[LAB_EDITS_MAX];

/* This machine's certificates, of the generations made from then on. */
enum lab_identities {
	LAB_IDENTITIES,
	LAB_IDENTITIES_RENEWED, /* keys with other numbers */
	LAB_IDENTITIES_GONE
};

struct lab_server {
	int fd;
	size_t used; /* bytes of what it received that it has acted upon */
	bool ended;
	bool is_left; /* it serves itself no more */
};

struct lab {
	struct lab_machine machines[2];
	uint32_t machine_count;
	const char *node;	  /* appended to the node files */
	const char *objects;	  /* one more mesh file, NULL: none */
	const char *outside;	  /* PEM of the authorities of servers outside; NULL: none */
	const char *const *hosts; /* looked up: name, addresses one to a line, ..., NULL */
	const char *const *keys;  /* of issuers, as in files: name, JWK Set, ..., NULL */
	bool with_store;	  /* the mesh files are what the picture of the mesh holds */
	struct lab_edit edits[LAB_EDITS_MAX];
	const char *list;	       /* of revoked certificates, PEM */
	const struct certs_pair *root; /* instead of the mesh's own */
	const struct certs_pair *web;  /* NULL: the certificate of web that it has at first */
	enum lab_identities identities;
	unsigned marks[LAB_WORKLOAD_COUNT]; /* as the keeper tells them */
	enum lab_serving serving;
	struct lab_server servers[LAB_SERVERS_MAX];
	uint32_t server_count;
};

struct lab_options {
	uint32_t machine_count;	      /* 0: one */
	const char *node;	      /* more groups for the node files: limits, timeouts */
	const char *objects;	      /* one more mesh file */
	const char *outside;	      /* authorities of servers outside */
	const char *const *hosts;     /* looked up */
	const char *const *keys;      /* of issuers */
	bool with_store;	      /* `node` names one */
	const struct lab_edit *edits; /* LAB_EDITS_MAX, from the first generation on */
	enum lab_serving serving;
	uint64_t seed;
	uint64_t chaos; /* 0: none */
	bool no_log;
};

/* Certificates cost most of the time: made once for all tests of a program. */
int lab_group_setup(void **state);
int lab_group_teardown(void **state);
const struct pair_mesh *lab_mesh_certs(void);

void lab_start(struct lab *l, const struct lab_options *options);
/* Drains, cuts, and looks for anything left behind. */
void lab_finish(struct lab *l);

/* Turns all machines and what belongs to them until nothing moves any more. */
void lab_pump(struct lab *l);
/* At most so many turns; false when there was nothing more to do. */
bool lab_turns(struct lab *l, uint32_t count);
/* The same as lab_pump(), then lets time pass, stopping at every timer. */
void lab_run(struct lab *l, uint64_t ns);

/* A connection of `from` to the address of `to`, captured on machine 0. */
int lab_dial(struct lab *l, enum lab_workload from, enum lab_workload to);
int lab_dial_address(struct lab *l, enum lab_workload from, const struct address *to);
/* A plain connection from another machine to a workload's port on machine 0. */
int lab_dial_plain(struct lab *l, enum lab_workload to);
/* A connection to the mesh port of a machine. */
int lab_dial_mesh(struct lab *l, uint32_t machine);
/* Where a service is dialled, and where its workload listens. */
struct address lab_address(enum lab_workload workload);
struct address lab_deliver(enum lab_workload workload);
struct address lab_mesh_address(uint32_t machine);
struct address lab_address_of(const char *text);
const char *lab_name(enum lab_workload workload);
/* The nth socket (from 0) that was connected to the workload, or to the address; -1: none. */
int lab_served(const struct lab *l, enum lab_workload workload, uint32_t index);
/* The same, and it must be there. */
int lab_got(const struct lab *l, enum lab_workload workload, uint32_t index);
/* Sends that from the far end of a socket; or on a connection of its own, which is returned. */
void lab_say(struct lab *l, int fd, const char *text);
int lab_ask(struct lab *l, enum lab_workload from, enum lab_workload to, const char *text);
/* This one of them does nothing by itself any more. */
void lab_leave_server(struct lab *l, int fd);
int lab_connected(const struct address *to, uint32_t index);

/* A new generation; `node` replaces the one given at the start, NULL: the same. */
void lab_replan(struct lab *l, uint32_t machine, const char *node);
void lab_drain(struct lab *l, uint32_t machine);

struct worker *lab_worker(struct lab *l, uint32_t machine);
const struct metric_values *lab_values(struct lab *l, uint32_t machine);
/* Connections counted against a workload now. */
uint32_t lab_use(const struct lab *l, uint32_t machine, enum lab_workload workload);
/* What is in progress at it. */
uint32_t lab_serving_count(const struct lab *l, uint32_t machine, enum lab_workload workload);
/* Objects of a kind alive now. */
uint32_t lab_alive(struct lab *l, uint32_t machine, enum worker_task kind);
/* The last line of the access log, which must be there. */
const struct lab_entry *lab_last(const struct lab *l, uint32_t machine);
/* The last line's reason must be this; fails with what it is instead. */
void lab_expect_reason(const struct lab *l, uint32_t machine, const char *reason);
bool lab_holds_text(struct str haystack, const char *needle);
/* All it received must be, or begin with, or hold the text. */
void lab_expect_received(int fd, const char *text);
void lab_expect_holds(int fd, const char *text);
void lab_expect_lacks(int fd, const char *text);
