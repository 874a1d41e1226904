/* SPDX-License-Identifier: Apache-2.0 */
/* The admin API's pages as a function: request in, response out. No I/O and no clock of its own, so
 * that tests ask it directly. */
#pragma once

#include "base/json.h"
#include "base/str.h"
#include "proxy/proxy.h"
#include "reports.h"
#include "telemetry/exposition.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct page_request {
	struct str method;
	struct str path; /* with or without a query */
	struct str host; /* host[:port] as sent */
	struct str accept;
	bool is_unix; /* came over the unix socket: may change things */
};

struct page_response {
	uint16_t status;
	const char *type;  /* Content-Type */
	const char *allow; /* methods, with 405; else NULL */
	char *body;	   /* owned; NULL only when `status` says that memory is exhausted */
	size_t body_len;
	bool await_reload; /* ask page_reloaded() again until it has a better answer */
	/* ask the workers, about these services (the plan's texts; none: what is ejected), and then
	 * this page once more, with their answers as source.reports */
	bool await_reports;
	struct str asked[REPORT_SERVICES_MAX];
	uint32_t asked_count;
	bool asks_seen;			/* and what they have let in */
	char asked_id[DECISION_ID_MAX]; /* or about what they have decided of this request */
	uint8_t asked_id_len;
};

/* What pages are made of. */
struct route_request;

struct page_source {
	struct proxy *proxy;
	struct process_watch *process;
	uint64_t wall_ns;	       /* now */
	const struct reports *reports; /* NULL: nobody was asked, or can be */
};

void page_answer(const struct page_source *source, const struct page_request *request,
	struct page_response *ret_response);
/* After an answer with await_reload: true when the reload that was asked for at `asked_wall_ns` has
 * ended, with its outcome as the response. `timed_out` makes an answer of it anyway. */
bool page_reloaded(const struct page_source *source, uint64_t asked_wall_ns, bool timed_out,
	struct page_response *ret_response);
void page_response_done(struct page_response *response);

/* --- inside --- */

/* Text for people, one or more lines. */
void page_text(struct page_response *response, uint16_t status, const char *format, ...)
	PRINTF_LIKE(3, 4);
/* Takes the text over; answers 500 when it was cut. */
void page_json(struct page_response *response, struct json *j);

void page_status(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_config(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_certs(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_listeners(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_routes(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_explain(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_limits(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_externals(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_authz_check(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_authz_seen(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_authz_list(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_authz_why(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_metrics(const struct page_source *source, const struct page_request *request,
	struct page_response *response);

void page_drain_endpoints(const struct page_source *source, const struct page_request *request,
	struct page_response *response);
void page_undrain_endpoints(const struct page_source *source, const struct page_request *request,
	struct page_response *response);

/* Whether this machine shares its mesh's state with others. */
bool page_has_store(const struct proxy *p);

/* --- page_loads.c: what workers know of endpoints --- */

/* The page is to be asked again with their answers, and nothing else is in the response. Each
 * service that is asked about is in response.asked then. */
bool page_asks_workers(const struct page_source *source, struct page_response *response);
void page_asks_about(struct page_response *response, const struct service *service);
void page_put_ejected(const struct page_source *source, struct json *j);
/* How a service, or one version of it (empty: any), is balanced; its endpoints, what workers know
 * of them, and what each is to get of the next calls. `request` as its proxy sees it. */
void page_put_balance(const struct page_source *source, struct json *j,
	const struct service *service, struct str version, const struct route_request *request);

/* Parts of more than one page, as a member of the open object. */
void page_put_identities(const struct page_source *source, struct json *j);
void page_put_certificates(const struct page_source *source, struct json *j);
void page_write_certificates(const struct page_source *source, struct metric_text *out);
void page_write_limits(const struct page_source *source, struct metric_text *out);
void page_put_state(const struct page_source *source, struct json *j);
void page_write_state(const struct page_source *source, struct metric_text *out);
void page_put_rollouts(const struct page_source *source, struct json *j);
void page_write_rollouts(const struct page_source *source, struct metric_text *out);
/* Keys that tokens are checked with. */
void page_put_issuers(const struct page_source *source, struct json *j);
void page_put_listeners(const struct page_source *source, struct json *j);
void page_put_str(struct json *j, const char *key, struct str value);
void page_put_u64(struct json *j, const char *key, uint64_t value);
void page_put_bool(struct json *j, const char *key, bool value);
void page_put_time(struct json *j, const char *key, uint64_t wall_ns);
void page_put_address(struct json *j, const char *key, const struct address *a);

/* Why the proxy is not ready, one reason a line; empty when it is. Whether Redis or another machine
 * can be reached plays no part: this machine's traffic must not depend on a probe of theirs. But
 * one that knows nothing of its mesh yet can carry nothing. */
void page_readiness(const struct page_source *source, char *text, size_t size);

/* The part of it that is about certificates: workloads that have none, or an expired one. */
void page_without_identity(const struct page_source *source, char *text, size_t size);
/* What is well still, and will not be: certificates that are not renewed; and workloads that are
 * refused for their identity. One a line; empty when there are none. */
void page_not_renewable(const struct page_source *source, char *text, size_t size);

/* True when the Accept header likes OpenMetrics better than the plain text format. */
bool page_wants_openmetrics(struct str accept);
/* The Host header names this machine's loopback: what a web page on another site, which had its
 * name resolved to 127.0.0.1, cannot send. */
bool page_host_is_loopback(struct str host);
