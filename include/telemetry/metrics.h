/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and histograms: written by one worker without locks, read by the control thread at any
 * time. Names and labels of the request and TCP series are Istio's standard ones; our own start
 * with ringmain_. Records, never sends. */
#pragma once

#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* Plain counters and gauges of one worker: one list for storage, name, type and help.
 * X(member, name, type, help) */
#define METRIC_LIST(X)                                                                             \
	X(connections_active, "ringmain_connections_active", "gauge",                              \
		"Connections open now, accepted and made")                                         \
	X(connections_total, "ringmain_connections_total", "counter", "Connections accepted")      \
	X(unattributed_total, "ringmain_unattributed_total", "counter",                            \
		"Captured connections whose caller is no known workload")                          \
	X(direct_refused_total, "ringmain_direct_dials_refused_total", "counter",                  \
		"Connections made to a proxy port directly, refused")                              \
	X(limit_refused_total, "ringmain_limit_refused_total", "counter",                          \
		"Connections and calls refused because a limit was reached")                       \
	X(policy_denied_total, "ringmain_policy_denied_total", "counter",                          \
		"Requests and opaque connections that policy refused, or ended")                   \
	X(policy_would_deny_total, "ringmain_policy_would_deny_total", "counter",                  \
		"Let in, though a policy on trial would refuse them")                              \
	X(policy_noted_total, "ringmain_policy_noted_total", "counter",                            \
		"Requests and opaque connections that an audit policy matches")                    \
	X(policy_sessions_ended_total, "ringmain_policy_sessions_ended_total", "counter",          \
		"Idle keep-alive sessions that were ended because a new policy refuses what "      \
		"they asked last")                                                                 \
	X(tokens_verified_total, "ringmain_tokens_verified_total", "counter",                      \
		"Tokens of end users that were verified, good or not, and not remembered from "    \
		"before")                                                                          \
	X(unknown_audited_total, "ringmain_unknown_audited_total", "counter",                      \
		"Requests and opaque connections let out to unknown destinations, on trial")       \
	X(detect_http_total, "ringmain_detect_http_total", "counter", "Detected as HTTP")          \
	X(detect_tcp_total, "ringmain_detect_tcp_total", "counter", "Detected as opaque TCP")      \
	X(detect_timeout_total, "ringmain_detect_timeout_total", "counter",                        \
		"Detection that ended by its timeout (taken as opaque TCP)")                       \
	X(handshakes_total, "ringmain_tls_handshakes_total", "counter", "Finished TLS handshakes") \
	X(handshakes_resumed_total, "ringmain_tls_handshakes_resumed_total", "counter",            \
		"Finished TLS handshakes that resumed a session")                                  \
	X(handshake_failures_total, "ringmain_tls_handshake_failures_total", "counter",            \
		"Failed TLS handshakes")                                                           \
	X(handshake_checks_total, "ringmain_tls_checks_total", "counter",                          \
		"Handshakes by which this machine looked at its own certificates")                 \
	X(pool_reused_total, "ringmain_upstream_reused_total", "counter",                          \
		"Requests sent on a pooled upstream connection")                                   \
	X(pool_opened_total, "ringmain_upstream_opened_total", "counter",                          \
		"Upstream connections opened")                                                     \
	X(pool_idle, "ringmain_upstream_idle", "gauge", "Idle pooled upstream connections")        \
	X(channels_active, "ringmain_channels_active", "gauge",                                    \
		"Requests' channels open now on shared connections, both ways")                    \
	X(channels_total, "ringmain_channels_total", "counter",                                    \
		"Channels opened on shared connections, both ways")                                \
	X(breaker_connections, "ringmain_breaker_connections", "gauge",                            \
		"Of local workloads: connections to services, now")                                \
	X(breaker_connections_refused_total, "ringmain_breaker_connections_refused_total",         \
		"counter", "Refused because their service's breaker.connections was reached")      \
	X(breaker_pending, "ringmain_breaker_pending", "gauge",                                    \
		"Of local workloads: requests and opaque connections that wait for a connection, " \
		"now")                                                                             \
	X(breaker_pending_refused_total, "ringmain_breaker_pending_refused_total", "counter",      \
		"Refused because their service's breaker.pending was reached")                     \
	X(breaker_requests, "ringmain_breaker_requests", "gauge",                                  \
		"Of local workloads: HTTP requests to services, now")                              \
	X(breaker_requests_refused_total, "ringmain_breaker_requests_refused_total", "counter",    \
		"Refused because their service's breaker.requests was reached")                    \
	X(breaker_retries, "ringmain_breaker_retries", "gauge",                                    \
		"Of local workloads: requests that are being sent again by a rule, now")           \
	X(breaker_retries_refused_total, "ringmain_breaker_retries_refused_total", "counter",      \
		"Requests that were not sent again: as many retries to their service were under "  \
		"way as may be")                                                                   \
	X(retries_total, "ringmain_retries_total", "counter", "Requests sent again")               \
	X(retries_refused_total, "ringmain_retries_refused_total", "counter",                      \
		"Requests that were not sent again: their service's budget was used up")           \
	X(faults_delayed_total, "ringmain_faults_delayed_total", "counter",                        \
		"Requests that a rule's fault held back")                                          \
	X(mirrors_active, "ringmain_mirrors_active", "gauge",                                      \
		"Copies of requests for mirrors under way now")                                    \
	X(mirrors_total, "ringmain_mirrors_total", "counter",                                      \
		"Requests of which a copy for a mirror was begun")                                 \
	X(mirrors_dropped_total, "ringmain_mirrors_dropped_total", "counter",                      \
		"Copies that were not sent: a limit was reached, or near at the mirror")           \
	X(mirrors_large_total, "ringmain_mirrors_large_total", "counter",                          \
		"Copies that were not sent: the request's body is too long")                       \
	X(mirrors_cut_total, "ringmain_mirrors_cut_total", "counter",                              \
		"Copies that were not sent: the request never came to its end")                    \
	X(faults_aborted_total, "ringmain_faults_aborted_total", "counter",                        \
		"Requests that a rule's fault answered")                                           \
	X(ejections_total, "ringmain_ejections_total", "counter",                                  \
		"Times that an endpoint was ejected, because calls to it failed, by a worker")     \
	X(endpoints_ejected, "ringmain_endpoints_ejected", "gauge",                                \
		"Endpoints that are ejected now, in each worker")                                  \
	X(picks_other_zone_total, "ringmain_picks_other_zone_total", "counter",                    \
		"Calls that left the caller's zone, of a service that prefers it")                 \
	X(picks_panic_total, "ringmain_picks_panic_total", "counter",                              \
		"Calls that went to any endpoint of a service, as too few were well")              \
	X(services_in_panic, "ringmain_services_in_panic", "gauge",                                \
		"Services whose calls go to any endpoint now, in each worker")                     \
	X(signatures_total, "ringmain_signatures_total", "counter",                                \
		"Signatures brought back by the keeper")                                           \
	X(buffers_held, "ringmain_buffers_held", "gauge", "Buffers in use")                        \
	X(receive_starved_total, "ringmain_receive_starved_total", "counter",                      \
		"Receives that had to wait for a free block")                                      \
	X(log_dropped_total, "ringmain_log_dropped_total", "counter", "Access log lines dropped")  \
	X(series_dropped_total, "ringmain_series_dropped_total", "counter",                        \
		"Label sets not recorded because the table was full")                              \
	X(loop_turns_total, "ringmain_loop_turns_total", "counter", "Turns of the worker's loop")  \
	X(loop_slow_turns_total, "ringmain_loop_slow_turns_total", "counter",                      \
		"Turns that took longer than a millisecond, in which nobody else was served")

/* Labels of one request or TCP series. Values come from configuration or fixed lists only, never
 * from a peer's text. Empty = "unknown". Spans must stay valid during the call; they are copied.
 *
 * How they become Istio's labels: namespaces do not exist here ("unknown"); `app` and the canonical
 * service are the workload, the canonical revision its version ("latest" without one); principals
 * are whole SPIFFE ids, spiffe:// included. connection_security_policy is "unknown" at the source,
 * as with Istio; at the destination "mutual_tls" or "none", and "none" too for a pass on the same
 * machine, whose identities are checked but whose bytes are not encrypted. */
struct metric_labels {
	bool at_source; /* reporter="source", else "destination" */
	struct str source_workload, source_principal;
	struct str destination_workload, destination_principal, destination_service;
	struct str source_version, destination_version;
	struct str protocol;	   /* "http", "tcp" */
	uint16_t response_code;	   /* 0 for TCP, and when no response began */
	struct str response_flags; /* "-" or a flag of the reason table */
	bool mutual_tls;
	bool local;	/* same machine: no wire, so no TLS */
	bool is_mirror; /* a copy for a mirror: series of their own */
};

struct metrics; /* one worker's; written by it alone */

/* `series_max`: label sets kept; more are counted as dropped. NULL when memory is exhausted. */
struct metrics *metrics_new(uint32_t series_max);
void metrics_free(struct metrics *m);

struct metric_values { /* atomics written by the owner, relaxed */
#define X(member, name, type, help) _Atomic uint64_t member;
	METRIC_LIST(X)
#undef X
};
struct metric_values *metrics_values(struct metrics *m);
static inline void metric_add(_Atomic uint64_t *value, int64_t n)
{
	/* one writer: a plain read and write is enough */
	__atomic_store_n((uint64_t *)value,
		__atomic_load_n((uint64_t *)value, __ATOMIC_RELAXED) + (uint64_t)n,
		__ATOMIC_RELAXED);
}

/* istio_requests_total, istio_request_duration_milliseconds (the whole duration, until the last
 * byte of the response), istio_request_bytes, istio_response_bytes. A copy for a mirror is in none
 * of these but in ringmain_mirrored_requests_total and
 * ringmain_mirrored_request_duration_milliseconds, with the same labels. */
void metrics_request(struct metrics *m, const struct metric_labels *labels, uint64_t duration_ns,
	uint64_t request_bytes, uint64_t response_bytes);
/* The same in two parts, for one who has many requests of one label set: the series stays where it
 * is as long as `m`. NULL: dropped, and counted as such, each time it is asked for. */
struct metric_series;
struct metric_series *metrics_request_series(struct metrics *m, const struct metric_labels *labels);
void metric_series_request(struct metric_series *s, uint64_t duration_ns, uint64_t request_bytes,
	uint64_t response_bytes);
/* istio_tcp_connections_opened_total / _closed_total, istio_tcp_sent_bytes_total (towards the
 * client) / _received_bytes_total (from the client). Call with opened = 1 at the start, closed = 1
 * at the end, and byte deltas whenever. */
void metrics_tcp(struct metrics *m, const struct metric_labels *labels, uint64_t opened,
	uint64_t closed, uint64_t sent_bytes, uint64_t received_bytes);

/* All workers added up, for a status page. Any thread. */
struct metric_totals {
#define X(member, name, type, help) uint64_t member;
	METRIC_LIST(X)
#undef X
	uint64_t requests_total; /* as both ends count them: a local pass counts at its two
				    reporters */
};
void metrics_totals(
	struct metrics *const *workers, uint32_t worker_count, struct metric_totals *ret_totals);
/* All workers added up, appended to `out`. Any thread. Memory exhaustion shows in out->cut. */
struct metric_text;
void metrics_write(struct metrics *const *workers, uint32_t worker_count, struct metric_text *out);
