/* SPDX-License-Identifier: Apache-2.0 */
/* What the mesh is: services, their endpoints, this machine's workloads, policies, routes, limits.
 * An immutable picture, built once by the control thread and then only read. Pure: no I/O, no
 * clock.
 *
 * All text and structs live in the snapshot's arena and are valid as long as the snapshot. */
#pragma once

#include "base/address.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum protocol { PROTOCOL_DETECT, PROTOCOL_HTTP, PROTOCOL_TCP };
const char *protocol_name(enum protocol p);

/* What to do with plain text at a service's port. */
enum mtls_mode { MTLS_STRICT, MTLS_PERMISSIVE, MTLS_DISABLED };
const char *mtls_mode_name(enum mtls_mode m);
/* Of a port of the service's workloads that has a mode of its own. */
struct mtls_port {
	uint16_t port;
	enum mtls_mode mode;
};
#define MTLS_PORTS_MAX 64 /* of a service */

/* Which of the endpoints that are well gets the next call. */
enum balance {
	BALANCE_LEAST_REQUEST, /* of two drawn by weight: the one with less under way */
	BALANCE_PEAK_EWMA,     /* of two drawn by weight: the one that should answer sooner */
	BALANCE_ROUND_ROBIN,   /* in turn, by weight */
	BALANCE_RANDOM,	       /* drawn by weight */
	/* the one that a value of the call has, on every machine: */
	BALANCE_RING_HASH, /* by points on a circle */
	BALANCE_MAGLEV,	   /* by a table of fixed size */
};
static inline bool balance_is_by_value(enum balance b)
{
	return b == BALANCE_RING_HASH || b == BALANCE_MAGLEV;
}

/* Whose value that is. */
enum balance_by_kind {
	BALANCE_BY_NONE,
	BALANCE_BY_SOURCE, /* the caller's identity */
	BALANCE_BY_CLIENT, /* the caller's address */
	BALANCE_BY_HEADER,
	BALANCE_BY_COOKIE,
	BALANCE_BY_QUERY,
};
struct balance_by {
	enum balance_by_kind kind;
	struct str name; /* HEADER, COOKIE, QUERY */
};

/* What it means that an endpoint is in the zone of the caller's machine. */
enum zone_rule {
	ZONE_IGNORE, /* nothing */
	ZONE_PREFER, /* as long as they are well and not overloaded, those get the calls */
	ZONE_STRICT, /* no other gets any */
};
const char *zone_rule_name(enum zone_rule rule);

/* When an endpoint gets no calls for a while because calls to it fail. */
struct outlier_rules {
	uint32_t errors, connect_errors;	 /* in a row; 0: however many */
	uint32_t success_percent, success_calls; /* in ten seconds; 0: whatever the share */
	uint32_t ejection_ms, ejection_max_ms;
	uint32_t ejected_percent; /* of the endpoints, at most */
};

/* Some endpoints of a service, and sums as the service's. */
struct zone_part {
	struct endpoint **endpoints;
	uint32_t endpoint_count;
	uint64_t *up_sums;
};
/* Those of this machine's zone, and all others. Both empty where the service ignores zones. */
struct zone_parts {
	struct zone_part near, far;
};

/* What this machine may have of a service at once, all its workers together. */
enum breaker_limit {
	BREAKER_CONNECTIONS, /* to its endpoints, opaque ones and those that carry requests */
	BREAKER_PENDING,     /* requests, and opaque connections, that wait for one */
	BREAKER_REQUESTS,
	BREAKER_RETRIES, /* requests that are sent again by a rule, from the decision on */
	BREAKER_LIMITS,
};

/* Of a service's requests, how many may be sent again. */
struct retry_budget {
	uint32_t percent, per_second;
};

/* What holds where no rule of a service's policies matches (mesh/policy.h). */
enum policy_default {
	POLICY_DEFAULT_MESH, /* whatever the mesh says */
	POLICY_DEFAULT_DENY,
	POLICY_DEFAULT_AUTHENTICATED, /* any verified identity of our own trust domain may */
};

struct service {
	struct map_node node;	 /* in snapshot.services_by_name */
	struct map_node id_node; /* in snapshot.services_by_id */
	uint32_t index;		 /* 0..service_count-1, dense: for tables beside the snapshot */
	struct str name;	 /* [a-z0-9-], at most 63 */
	bool is_implicit;	 /* nobody has declared it: workloads of this machine are of it */
	struct str identity;	 /* identity path: "service/<name>" unless it says another */
	struct str *ids; /* SPIFFE ids a server of it may have; the first is that of `identity` */
	uint32_t id_count;
	enum protocol protocol;
	bool server_first;   /* the server speaks first: never wait for the client's bytes */
	enum mtls_mode mtls; /* of all ports but those: service_mtls() */
	const struct mtls_port *mtls_ports; /* mtls_port_count, no port twice */
	uint32_t mtls_port_count;
	enum balance balance;
	uint32_t breaker[BREAKER_LIMITS]; /* at most; 0: any number */
	struct retry_budget retry_budget;
	uint32_t slow_start_ms;	      /* for an endpoint that is new, or up again; 0: none */
	struct balance_by balance_by; /* with a balance that is by value */
	enum zone_rule zones;
	uint32_t zone_calls;	/* under way at each endpoint of the own zone before others help */
	uint32_t panic_percent; /* when fewer endpoints are well, all get calls; 0: never */
	struct outlier_rules outlier; /* all 0: no endpoint is an outlier */
	struct address *addresses;    /* its own, with port; none but those of its endpoints if 0 */
	uint32_t address_count;
	struct endpoint *endpoints;
	uint32_t endpoint_count;
	uint64_t *up_sums; /* per endpoint: the weights so far of instances that are up; or NULL */
	struct zone_parts parts;
	/* Of all that matters to who gets its calls: as long as it is the same, endpoints and
	 * subsets are the same, in the same order. */
	uint64_t fingerprint;
	struct policy **policies; /* mesh/policy.h; those that name this service, in file order */
	uint32_t policy_count;
	struct policy_index *policy_index; /* of these; NULL: none was made */
	enum policy_default policy_default;
	struct limit **limits; /* mesh/limit.h: of what is asked of it, in file order */
	uint32_t limit_count;
	const struct route *route;     /* mesh/route.h; NULL: none */
	const struct rollout *rollout; /* mesh/rollout.h; NULL: none */
	struct subset *subsets;	       /* of the versions that routes name */
	uint32_t subset_count;
};

/* The endpoints of a service that have one version. */
struct subset {
	struct str version;
	struct endpoint **endpoints;
	uint32_t endpoint_count;
	uint64_t *up_sums; /* as the service's */
	struct zone_parts parts;
};

/* Whether an endpoint gets new calls to its service's own address. Those to its own address it gets
 * in any case. */
enum endpoint_health {
	ENDPOINT_UP,
	ENDPOINT_DOWN,	  /* fails the checks of its node */
	ENDPOINT_DRAINED, /* taken out by an operator */
};
const char *endpoint_health_name(enum endpoint_health h); /* "up" */

/* What becomes of a workload's connection to a destination that the mesh knows nothing of. */
enum unknown_mode { UNKNOWN_REFUSE, UNKNOWN_AUDIT, UNKNOWN_ALLOW };
const char *unknown_mode_name(enum unknown_mode m); /* "refuse" */

/* Where an instance of a service listens, anywhere in the mesh. */
struct endpoint {
	struct map_node node; /* in snapshot.endpoints_by_address */
	struct service *service;
	struct address address;	    /* with port, as clients dial it */
	struct str version;	    /* empty if none */
	struct str node_name, zone; /* of the node that told of it; empty: of a file */
	uint32_t weight;	    /* 1 to 1000 */
	uint64_t key;	/* of its instance: the same on every machine, whatever the order */
	bool alternate; /* another address of an instance: its weight is counted there */
	bool is_near;	/* in the zone of this machine */
	enum endpoint_health health;
	struct workload *local; /* this machine's workload behind it, or NULL when remote */
};

/* A process on this machine that is in the mesh: an identity, and maybe a port it serves. */
struct workload {
	uint32_t index; /* 0..workload_count-1, dense */
	struct service *service;
	struct str identity; /* path: what it has a certificate for */
	struct str id;	     /* the SPIFFE id of that */
	/* The id is none of its service's: no caller would take it for a server of that. So nobody
	 * is led to it; what it does itself is the id's doing. */
	bool is_refused;
	struct str user;
	uint32_t uid;
	uint32_t mark; /* number in the SYN mark, 0 = none known yet: unattributable */
	struct str version;
	uint16_t port;		/* 0: serves nothing */
	struct address deliver; /* where the proxy hands bytes to it; 127.0.0.1:port by default */
	enum protocol protocol;
	uint32_t connections_max; /* inbound and outbound together; 0 = the node's default */
	enum unknown_mode unknown;
};

struct snapshot {
	uint64_t generation;
	struct arena arena;
	struct str trust_domain;
	struct str zone;    /* of this machine; empty: none */
	bool default_allow; /* mesh.default_policy = "authenticated": any identity of our own */
	bool is_audited;    /* mesh.policy_mode = "audit": what policy would refuse passes */
	struct service *services;
	uint32_t service_count;
	struct workload *workloads;
	uint32_t workload_count;
	struct policy *policies;
	uint32_t policy_count;
	struct issuer *issuers; /* mesh/issuer.h: of tokens of end users */
	uint32_t issuer_count;
	struct route *routes;
	uint32_t route_count;
	struct limit *limits;
	uint32_t limit_count;
	struct rollout *rollouts;
	uint32_t rollout_count;
	struct external *externals; /* mesh/external.h */
	uint32_t external_count;
	uint32_t regex_count;		 /* of all of them */
	struct address *local_addresses; /* of this machine, ports 0 */
	uint32_t local_address_count;
	struct address_range
		*passthrough; /* unknown destinations that may be dialled in the plain */
	uint32_t passthrough_count;
	/* of nodes' records: whose are in it, and endpoints that are not */
	uint32_t node_count, unknown_endpoint_count, refused_endpoint_count;
	struct map services_by_name;
	struct map services_by_id;
	struct map endpoints_by_address;
	struct map services_by_address;	    /* their own addresses */
	struct map externals_by_host;	    /* external.c's */
	struct workload **workload_by_mark; /* mark_count slots, NULL where free */
	uint32_t mark_count;
};

/* Add to the look-up tables, one by one, what is in the arrays, which do not move any more. No
 * other may have the name, the address. False: out of memory. */
bool snapshot_add_service(struct snapshot *s, struct service *service) MUST_CHECK;
/* By the first of its ids. */
bool snapshot_add_service_id(struct snapshot *s, struct service *service) MUST_CHECK;
bool snapshot_add_endpoint(struct snapshot *s, struct endpoint *e) MUST_CHECK;
bool snapshot_add_address(
	struct snapshot *s, struct service *service, const struct address *a) MUST_CHECK;
/* Once that array is final. */
bool snapshot_index_workloads(struct snapshot *s) MUST_CHECK;
/* Frees the tables and the arena, not the struct. */
void snapshot_done(struct snapshot *s);

const struct service *snapshot_service(const struct snapshot *s, struct str name);
/* The service whose identity this SPIFFE id is, or NULL. */
const struct service *snapshot_service_by_id(const struct snapshot *s, struct str id);
/* Whether a server of it may have this SPIFFE id. */
bool service_has_id(const struct service *service, struct str id);
const struct endpoint *snapshot_endpoint(const struct snapshot *s, const struct address *a);
/* What to do with plain text at a port of its workloads and endpoints, as they listen; 0: no
 * certain one, which has the service's own mode. */
enum mtls_mode service_mtls(const struct service *service, uint16_t port);
/* Whether all of its ports have this mode. */
bool service_is_mtls(const struct service *service, enum mtls_mode mode);
/* NULL: no route names this version of it. */
const struct subset *service_subset(const struct service *service, struct str version);
/* The key of an instance that has this as its first address. */
uint64_t endpoint_key_of(const struct address *first);
/* The service whose own address it is, or NULL. */
const struct service *snapshot_service_by_address(
	const struct snapshot *s, const struct address *a);
/* The workload that a mark number stands for, or NULL: unattributed. */
const struct workload *snapshot_workload_by_mark(const struct snapshot *s, uint32_t mark);
/* This machine's workload that runs as this user, or NULL. */
const struct workload *snapshot_workload_by_uid(const struct snapshot *s, uint32_t uid);
/* This machine's workload that serves a port, or NULL. */
const struct workload *snapshot_workload_by_port(const struct snapshot *s, uint16_t port);
/* Loopback, or one of this machine's addresses; the port does not matter. */
bool snapshot_is_local(const struct snapshot *s, const struct address *a);
bool snapshot_may_pass_through(const struct snapshot *s, const struct address *a);

/* Where a captured destination leads. Local addresses with a local workload's port come first, then
 * endpoints, then services' own addresses. */
enum destination_kind {
	DESTINATION_LOCAL,
	DESTINATION_REMOTE,
	DESTINATION_SERVICE, /* one of its endpoints is still to be picked */
	DESTINATION_UNKNOWN
};
struct destination {
	enum destination_kind kind;
	const struct service *service;	 /* all but UNKNOWN */
	const struct workload *workload; /* LOCAL */
	const struct endpoint *endpoint; /* REMOTE; LOCAL when one is declared, else NULL */
};
struct destination snapshot_destination(const struct snapshot *s, const struct address *a);

/* The name asked for in SNI between proxies: "<port>.<service>.<trust domain>", in lower case.
 * Returns its length; 0 when it does not fit, which the configuration's checks rule out. */
#define SERVER_NAME_MAX 256
size_t server_name_write(const struct snapshot *s, const struct service *service, uint16_t port,
	char ret_text[SERVER_NAME_MAX]);
/* The same without a snapshot. */
size_t server_name_of(
	struct str trust_domain, struct str service, uint16_t port, char ret_text[SERVER_NAME_MAX]);
/* The local workload that a server name means, or NULL: none, or one that is refused. Only the name
 * that server_name_write() gives for a workload with a port, letter case aside: no wildcard, no
 * trailing dot. */
const struct workload *snapshot_workload_by_server_name(const struct snapshot *s, struct str name);
