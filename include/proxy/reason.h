/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of traffic failures: HTTP and gRPC status, response flag (Envoy's words), whether
 * it may be tried again, text for people. Everything else (log, metric label, answer) is made from
 * it. */
#pragma once

#include "codec/grpc.h"
#include <stdbool.h>
#include <stdint.h>

/* X(NAME, status, grpc, flag, retry, text). A status of 0: there is no answer, the connection just
 * closes */
#define REASON_LIST(X)                                                                             \
	X(NONE, 0, GRPC_OK, "-", false, "no failure")                                              \
	X(UNATTRIBUTED, 403, GRPC_PERMISSION_DENIED, "UAEX", false,                                \
		"the caller is no known workload of this machine")                                 \
	X(DIRECT_DIAL, 0, GRPC_OK, "NR", false, "a proxy port was dialled directly")               \
	X(NO_SERVICE, 0, GRPC_OK, "NR", false, "no service of the mesh has this address")          \
	X(UNKNOWN_DESTINATION, 403, GRPC_PERMISSION_DENIED, "NR", false,                           \
		"no external that the caller may reach has this name")                             \
	X(EXTERNAL_DENIED, 403, GRPC_PERMISSION_DENIED, "UAEX", false,                             \
		"the external service is not for this caller")                                     \
	X(EXTERNAL_UNRESOLVED, 503, GRPC_UNAVAILABLE, "DF", false,                                 \
		"no address of the external service is known that may be dialled")                 \
	X(EXTERNAL_NO_ROOTS, 503, GRPC_UNAVAILABLE, "UF", false,                                   \
		"this machine has no authorities to know the external service by")                 \
	X(NO_ENDPOINT, 503, GRPC_UNAVAILABLE, "UH", false, "the service has no endpoint")          \
	X(ROUTE_NO_SERVICE, 503, GRPC_UNAVAILABLE, "NC", false,                                    \
		"the route leads to a service that is not known")                                  \
	X(ROUTE_NO_VERSION, 503, GRPC_UNAVAILABLE, "UH", false,                                    \
		"the route leads to a version without endpoints")                                  \
	X(PLAINTEXT, 0, GRPC_OK, "UAEX", false,                                                    \
		"plain text to a service that takes mutual TLS only")                              \
	X(POLICY_DENIED, 403, GRPC_PERMISSION_DENIED, "UAEX", false, "policy does not allow it")   \
	X(POLICY_NEEDS_HTTP, 0, GRPC_OK, "UAEX", false,                                            \
		"a policy of the service asks for paths, methods, hosts, headers or tokens: it "   \
		"takes only HTTP that can be read")                                                \
	X(RATE_LIMITED, 429, GRPC_RESOURCE_EXHAUSTED, "RL", false,                                 \
		"more is asked of the service than a limit allows")                                \
	X(PATH_INVALID, 400, GRPC_INVALID_ARGUMENT, "DPE", false, "the path cannot be normalised") \
	X(NO_IDENTITY, 503, GRPC_UNAVAILABLE, "UF", false, "the workload has no certificate")      \
	X(CONNECTIONS_MAX, 503, GRPC_UNAVAILABLE, "UO", false, "the connection limit is reached")  \
	X(BREAKER_CONNECTIONS, 503, GRPC_UNAVAILABLE, "UO", false,                                 \
		"the service has as many connections as it may have")                              \
	X(BREAKER_PENDING, 503, GRPC_UNAVAILABLE, "UO", false,                                     \
		"as many requests wait for a connection to the service as may")                    \
	X(BREAKER_REQUESTS, 503, GRPC_UNAVAILABLE, "UO", false,                                    \
		"the service has as many requests under way as it may have")                       \
	X(OVERLOAD, 503, GRPC_UNAVAILABLE, "OM", false, "the buffer limit is reached")             \
	X(BAD_REQUEST, 400, GRPC_INTERNAL, "DPE", false, "the request is not valid HTTP")          \
	X(BAD_RESPONSE, 502, GRPC_INTERNAL, "UPE", false,                                          \
		"the upstream's response is not valid HTTP")                                       \
	X(BAD_PREAMBLE, 0, GRPC_OK, "DPE", false, "the PROXY preamble is not valid")               \
	X(BAD_FRAMES, 0, GRPC_OK, "DPE", false,                                                    \
		"the other proxy broke the rules of a shared connection")                          \
	X(PROTOCOL_MISMATCH, 0, GRPC_OK, "DPE", false,                                             \
		"not the protocol that the service declares")                                      \
	X(HEADER_TIMEOUT, 408, GRPC_DEADLINE_EXCEEDED, "DT", false,                                \
		"the request head did not arrive in time")                                         \
	X(REQUEST_TIMEOUT, 408, GRPC_DEADLINE_EXCEEDED, "DT", false,                               \
		"the whole request did not arrive in time")                                        \
	X(IDLE_TIMEOUT, 408, GRPC_DEADLINE_EXCEEDED, "SI", false, "nothing moved for too long")    \
	X(DETECT_TIMEOUT, 0, GRPC_OK, "DT", false, "the first bytes did not arrive in time")       \
	X(HANDSHAKE_TIMEOUT, 0, GRPC_OK, "DT", false, "the TLS handshake took too long")           \
	X(HANDSHAKE_FAILED, 0, GRPC_OK, "UAEX", false, "the caller's TLS handshake failed")        \
	X(PEER_EXPIRED, 403, GRPC_PERMISSION_DENIED, "UAEX", false,                                \
		"the peer's certificate has expired")                                              \
	X(PEER_UNTRUSTED, 403, GRPC_PERMISSION_DENIED, "UAEX", false,                              \
		"the peer's certificate is no longer trusted")                                     \
	X(PEER_REVOKED, 403, GRPC_PERMISSION_DENIED, "UAEX", false,                                \
		"the peer's certificate has been revoked")                                         \
	X(UPSTREAM_CONNECT_FAILED, 503, GRPC_UNAVAILABLE, "UF", true,                              \
		"the upstream could not be connected")                                             \
	X(UPSTREAM_CONNECT_TIMEOUT, 503, GRPC_UNAVAILABLE, "UF,UT", true,                          \
		"the upstream did not answer the connect")                                         \
	X(UPSTREAM_HANDSHAKE_FAILED, 503, GRPC_UNAVAILABLE, "UF", true,                            \
		"the TLS handshake with the upstream failed")                                      \
	X(UPSTREAM_IDENTITY, 503, GRPC_UNAVAILABLE, "UF", true,                                    \
		"the upstream's identity is not the service's")                                    \
	X(UPSTREAM_TIMEOUT, 504, GRPC_DEADLINE_EXCEEDED, "UT", false,                              \
		"the upstream did not respond in time")                                            \
	X(UPSTREAM_CLOSED, 503, GRPC_UNAVAILABLE, "UC", true,                                      \
		"the upstream closed before it responded")                                         \
	X(UPSTREAM_ABORTED, 0, GRPC_OK, "UC", false,                                               \
		"the upstream ended in the middle of its response")                                \
	X(UPSTREAM_RESET, 0, GRPC_OK, "UR", false, "the upstream reset the connection")            \
	X(DOWNSTREAM_CLOSED, 0, GRPC_OK, "DC", false, "the caller went away")                      \
	X(DELAY_INJECTED, 0, GRPC_OK, "DI", false, "no failure: delayed by its route")             \
	X(FAULT_INJECTED, 503, GRPC_UNAVAILABLE, "FI", false,                                      \
		"refused by its route, to see how that is borne")                                  \
	X(DRAINING, 0, GRPC_OK, "-", false, "closed because the proxy is draining")

enum reason {
#define X(name, status, grpc, flag, retry, text) REASON_##name,
	REASON_LIST(X)
#undef X
		REASON_COUNT
};

struct reason_row {
	const char *name;      /* "POLICY_DENIED" */
	uint16_t status;       /* to answer an HTTP request with; 0 = just close */
	enum grpc_status grpc; /* the same for one that is gRPC */
	const char *flag;      /* access log and response_flags label */
	bool retry;	       /* another connection may help, where it is safe to try again */
	const char *text;
};
const struct reason_row *reason_row(enum reason reason);
