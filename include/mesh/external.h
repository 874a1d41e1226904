/* SPDX-License-Identifier: Apache-2.0 */
/* Services outside of the mesh that its workloads may reach: known by the name that a connection
 * asks for, or by address where nothing is asked for. A name is no more than what the workload
 * says: where a connection goes is for whoever asks here to say, from what the operators have
 * declared. Pure. */
#pragma once

#include "base/address.h"
#include "base/map.h"
#include "base/str.h"
#include "mesh/source.h"
#include <stdbool.h>
#include <stdint.h>

enum external_tls {
	EXTERNAL_PASSTHROUGH, /* the workload's own TLS goes on untouched, by its server name */
	EXTERNAL_ORIGINATE,   /* the workload speaks in the plain, TLS begins at its proxy */
	EXTERNAL_NONE,	      /* in the plain all the way */
};
const char *external_tls_name(enum external_tls tls); /* "passthrough" */

/* What a connection shows of itself. */
enum external_speech {
	EXTERNAL_TLS,	/* a ClientHello: the name is its server name */
	EXTERNAL_HTTP,	/* a request: the name is its host */
	EXTERNAL_BYTES, /* neither: there is no name */
};

struct external {
	uint32_t index;	   /* 0..external_count-1, dense */
	struct str name;   /* as a service's */
	struct str where;  /* "outside.conf:12" */
	struct str *hosts; /* external_host()'s form; "*.example.com" is any name below it */
	uint32_t host_count;
	uint32_t *ports; /* as workloads dial them; at least one */
	uint32_t port_count;
	struct source *from; /* who may; 0: any workload of the mesh */
	uint32_t from_count;
	enum external_tls tls;
	struct address_range *addresses; /* where it is */
	uint32_t address_count;
	struct str ca;	   /* ORIGINATE: name of a file of authorities; empty: the system's */
	struct str sni;	   /* ORIGINATE: what the server must be called; empty: the host */
	uint16_t port_tls; /* ORIGINATE: which port is dialled; 0: the same */
};

/* A host name as it is compared: lower case, without port and final dot. at == NULL: it is none; an
 * address is none, however it is written. `with_port`: one may follow. */
#define EXTERNAL_HOST_MAX 253
/* Whose addresses are looked up, in all. */
#define EXTERNAL_HOSTS_MAX 256
/* Of one of them, all that it was lately found at. */
#define EXTERNAL_HOST_ADDRESSES_MAX 32
struct str external_host(struct str text, bool with_port, char ret_text[EXTERNAL_HOST_MAX + 1]);
/* The same of a declared one, which may begin with "*.". */
bool external_host_valid(struct str host);

struct snapshot;
/* One of its hosts, which no other external has for the same port. */
bool external_add_host(struct snapshot *s, const struct external *e, struct str host) MUST_CHECK;
/* The external that has exactly this (declared) host for a port, or NULL. */
const struct external *external_of_host(const struct snapshot *s, struct str host, uint16_t port);
/* The one that a connection to this port means by a name; the longest host wins. NULL: none, or one
 * that does not take such speech. `host`: external_host()'s. */
const struct external *external_by_host(
	const struct snapshot *s, struct str host, uint16_t port, enum external_speech speech);
/* The one with this address that has no hosts; the longest prefix wins. */
const struct external *external_by_address(const struct snapshot *s, const struct address *a);
/* Some external would be known by a name on this port: its bytes are worth waiting for. */
bool external_wants_name(const struct snapshot *s, uint16_t port);

bool external_allows(const struct external *e, struct str source_id);
bool external_has_port(const struct external *e, uint16_t port);
/* Declared as one of its addresses; the port does not matter. */
bool external_declares(const struct external *e, const struct address *a);
/* Declared by itself, not as one of many: it may be dialled for another one. */
bool external_is_single(const struct address_range *range);

/* Whether an address may lie outside of the mesh at all: a single machine's, not this one's, of no
 * service, none that is only good on this machine's own link, as are those that clouds tell
 * machines their secrets at. */
bool snapshot_may_be_outside(const struct snapshot *s, const struct address *a);
