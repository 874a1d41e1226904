/* SPDX-License-Identifier: Apache-2.0 */
/* The node's configuration and the mesh objects, from libconfig text to immutable, validated
 * structs. One table (src/conf/keys.c) drives keys, types, defaults, ranges, reloadability and the
 * reference in conf/README.md. All errors are found at once, each with file, line, key and the
 * nearest valid name; nothing is half applied. */
#pragma once

#include "base/address.h"
#include "base/arena.h"
#include "base/bundle.h"
#include "base/error.h"
#include "mesh/snapshot.h"
#include <stdbool.h>
#include <stdint.h>

#define CONF_PATH_DEFAULT "/etc/ringmain/ringmain.conf"

/* What to do when the redirect rules were changed by somebody else. */
enum conf_drift { CONF_DRIFT_MEND, CONF_DRIFT_REPORT };

/* How the node asks a workload whether it is well. At most one of the three kinds is given. */
struct conf_health {
	struct str http;      /* a path: GET, well when the status is 200 to 399 */
	bool tcp;	      /* well when it accepts a connection */
	struct str *command;  /* a program and its arguments: well when it ends with status 0 */
	uint32_t command_len; /* 0: none */
	uint32_t interval_ms, timeout_ms;
	uint32_t unhealthy_count, healthy_count; /* results in a row that turn it over */
};

enum conf_unknown {
	CONF_UNKNOWN_NODE,   /* the node's */
	CONF_UNKNOWN_REFUSE, /* and from here on as enum unknown_mode */
	CONF_UNKNOWN_AUDIT,
	CONF_UNKNOWN_ALLOW,
};

struct conf_workload {
	struct str service, version, user;
	struct str identity; /* path: "service/<service>" unless the file says another */
	uint32_t uid;	     /* looked up from the bundle's `user` items */
	uint16_t port;
	enum protocol protocol;
	struct address deliver;
	uint32_t connections_max;
	uint32_t weight; /* against other endpoints of the service, 1 to 1000 */
	struct conf_health health;
	enum conf_unknown unknown;
	int line; /* of the node file */
};

/* The store of the mesh's state. */
struct conf_state {
	struct address *redis; /* with ports: servers, or Sentinels when `sentinel` is given */
	uint32_t redis_count;  /* 0: standalone, mesh objects come from files */
	struct str sentinel;   /* the name that the Sentinels know the primary by; empty = none */
	struct str username, password_file;
	struct str sentinel_username, sentinel_password_file;
	struct str tls_ca; /* PEM of the authorities that the server's certificate may be of; empty
			      = no TLS */
	struct str tls_name; /* what the certificate must name; empty = the address dialled */
	struct str tls_certificate, tls_key; /* our own, or empty */
	struct str *operators; /* public keys (PEM, Ed25519) of those who may publish */
	uint32_t operator_count;
	struct str dir; /* where the last known state and what was drained are kept */
	uint32_t lease_ms, resync_ms, timeout_ms, hold_ms;
	uint32_t hold_percent;
};

/* Where certificates are asked for; without one they are files in certificate_dir. */
struct conf_authority {
	struct str *servers; /* host:port, of one authority; tried in order from a random one on */
	uint32_t server_count; /* 0: none */
	struct str label;      /* EST label; "": none */
	struct str
		roots; /* file of PEM anchors for the servers' certificates; "": the mesh's own */
	struct str keep_dir;   /* keys and certificates, the keeper's */
	struct str *federates; /* other trust domains whose anchors the authority is asked for */
	uint32_t federate_count;
	uint32_t refresh_ms; /* anchors and CRLs */
};

/* Where the keys come from that tokens of end users are checked with. */
struct conf_tokens {
	struct str dir;		       /* <issuer>.json, of issuers without a URL */
	struct str ca;		       /* PEM, of the servers of URLs; empty: the system's */
	uint32_t refresh_ms;	       /* of what is fetched */
	struct address_range *allowed; /* may be asked although they are this machine's or link's */
	uint32_t allowed_count;
};

struct conf {
	struct arena arena;
	/* node */
	struct str node_name, node_zone;
	struct address *node_addresses;
	uint32_t node_address_count;
	struct str user;       /* the proxy process runs as; must not be a workload's */
	uint32_t uid;	       /* of that user */
	uint32_t worker_count; /* 0 in the file = one per CPU; resolved here */
	struct str admin_socket, run_dir;
	struct address admin_tcp; /* loopback only; family 0 = none */
	struct str access_log;	  /* path, "stderr" or "off" */
	/* mesh */
	struct str trust_domain;
	bool default_allow;
	bool is_audited;	/* what policy would refuse passes, and is told */
	bool channels;		/* requests share connections between proxies */
	struct str *mesh_files; /* files or directories of *.conf, in order */
	uint32_t mesh_file_count;
	/* state */
	struct conf_state state;
	/* identity */
	struct str certificate_dir;
	struct conf_authority authority;
	bool refuse_stale_crls;
	bool resumption; /* of TLS sessions with other machines */
	struct conf_tokens tokens;
	/* listeners */
	uint16_t outbound_port, inbound_port; /* first of each range */
	uint16_t port_range;		      /* how many ports in each */
	uint16_t mesh_port;		      /* mTLS between machines */
	/* redirect */
	uint32_t mark_mask; /* contiguous bits */
	enum conf_drift drift;
	struct address_range *excluded; /* destinations never captured */
	uint32_t excluded_count;
	struct address_range
		*passthrough; /* unknown destinations that may be dialled in the plain */
	uint32_t passthrough_count;
	enum unknown_mode unknown;
	/* outside */
	struct str outside_roots, outside_dir;
	/* limits */
	uint32_t connections_max;	   /* all together, this process */
	uint32_t workload_connections_max; /* default per workload */
	uint32_t buffer_bytes;		   /* of one buffer */
	uint64_t buffers_bytes_max;	   /* all buffers of the process */
	uint32_t head_bytes_max, header_count_max;
	uint32_t mirrors_max, mirror_body_max;
	uint32_t pool_idle_max;	 /* idle upstream connections per (identity, endpoint) and worker */
	uint32_t handshakes_max; /* in progress per worker; more wait unread */
	/* timeouts, milliseconds */
	uint32_t connect_timeout_ms, handshake_timeout_ms, header_timeout_ms, idle_timeout_ms,
		stream_idle_timeout_ms, pool_idle_timeout_ms, detect_timeout_ms,
		half_close_timeout_ms, drain_timeout_ms, request_timeout_ms, expired_timeout_ms,
		mirror_timeout_ms;
	struct conf_workload *workloads;
	uint32_t workload_count;
};

/* Errors and warnings of one parse, each one line "file:line: key: what; cure". */
struct conf_report {
	char *text; /* lines; NULL when there are none */
	size_t text_len;
	uint32_t error_count, warning_count;
	/* Lines that are not said again, when given: those of another report. How many those were.
	 */
	const struct conf_report *known;
	uint32_t known_count;
};
void conf_report_init(struct conf_report *r);
void conf_report_done(struct conf_report *r);

/* Reads the node file, the mesh files it names, the users' ids and this machine's addresses into an
 * initialised bundle (kinds conf, mesh, user, mark, address). Blocks on disk and on the user
 * database; for the keeper and the commands. A missing marks file is no error. */
int conf_gather(const char *path, struct bundle *b, struct conf_report *report) MUST_CHECK;
/* Only the marks, where a configuration that was parsed has them: the node file is not read. */
int conf_gather_marks_of(
	const struct conf *conf, struct bundle *b, struct conf_report *report) MUST_CHECK;

/* Parses and validates a bundle: the same result in the keeper and in the proxy process. With a
 * store (conf.state.redis) the mesh is what `picture` says of it, objects and nodes' records; NULL:
 * nothing is known of it yet. Without one the picture is not looked at. On any error -EINVAL, with
 * *report filled and *ret_conf and *ret_snapshot untouched; a bad record is a warning. Pure. */
int conf_parse(const struct bundle *b, const struct bundle *picture, uint64_t generation,
	struct conf **ret_conf, struct snapshot **ret_snapshot,
	struct conf_report *report) MUST_CHECK;
void conf_free(struct conf *c);
void conf_snapshot_free(struct snapshot *s);

/* Names what differs between two configurations but needs a restart to take effect ("node.workers,
 * listeners.mesh_port"); empty when everything can be reloaded. */
void conf_restart_needed(
	const struct conf *before, const struct conf *after, char *text, size_t size);

/* The reference for conf/README.md: every key with type, default, range, reloadable, help. */
void conf_print_reference(int fd);
