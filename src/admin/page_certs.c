/* SPDX-License-Identifier: Apache-2.0 */
/* Identities and certificates: what is in force, when the next one comes and why not, whom this
 * machine trusts and whom no longer. With an authority the state process says most of it; what
 * other programs write into a directory can only be looked at. */
#include "page.h"

#include "base/clock.h"
#include <stdarg.h>
#include <stdio.h>

#define PAGE_JSON_MAX	    (16u << 20)
#define PAGE_ENDING_PERCENT 20 /* of its life left: renewal, at half of it, has failed for long */

static bool page_identity_of(
	const struct plan *plan, struct str path, struct tls_identity_view *ret_view)
{
	for (size_t i = 0; plan->tls && tls_store_identity(plan->tls, i, ret_view); i++)
		if (str_eq(ret_view->path, path))
			return true;
	return false;
}

static uint64_t page_seconds_ns(int64_t seconds)
{
	return seconds > 0 ? (uint64_t)seconds * CLOCK_S : 0;
}

static void page_put_identity(
	const struct page_source *source, const struct tls_identity_view *view, struct json *j)
{
	int64_t left = view->not_after_s - (int64_t)(source->wall_ns / CLOCK_S);
	json_open(j, '{');
	page_put_str(j, "identity", view->path);
	page_put_str(j, "id", view->id);
	page_put_str(j, "serial", str_of(view->serial));
	page_put_time(j, "not_before", page_seconds_ns(view->not_before_s));
	page_put_time(j, "not_after", page_seconds_ns(view->not_after_s));
	json_key(j, "lifetime_s");
	json_i64(j, view->not_after_s - view->not_before_s);
	json_key(j, "expires_in_s");
	json_i64(j, left);
	json_close(j, '}');
}

void page_put_identities(const struct page_source *source, struct json *j)
{
	const struct plan *plan = source->proxy->plan;
	struct tls_identity_view view;
	json_key(j, "identities");
	json_open(j, '[');
	for (size_t i = 0; plan && plan->tls && tls_store_identity(plan->tls, i, &view); i++)
		page_put_identity(source, &view, j);
	json_close(j, ']');
	/* workloads that should have one */
	json_key(j, "identities_missing");
	json_open(j, '[');
	for (uint32_t i = 0; plan && i < plan->snapshot->workload_count; i++) {
		struct str path = plan->snapshot->workloads[i].identity;
		if (!page_identity_of(plan, path, &view))
			json_str(j, path);
	}
	json_close(j, ']');
}

/* --- one certificate, wherever it is from --- */

static int64_t page_now_s(const struct page_source *source)
{
	return (int64_t)(source->wall_ns / CLOCK_S);
}

static bool page_has_authority(const struct proxy *p)
{
	return p->plan && p->plan->conf->authority.server_count > 0;
}

static const char *page_state_name(uint32_t state)
{
	static const char *const names[] = {
		[WIRE_CERTIFICATE_MISSING] = "missing",
		[WIRE_CERTIFICATE_FRESH] = "fresh",
		[WIRE_CERTIFICATE_DUE] = "due",
		[WIRE_CERTIFICATE_FAILING] = "failing",
		[WIRE_CERTIFICATE_ENDING] = "ending",
		[WIRE_CERTIFICATE_EXPIRED] = "expired",
		[WIRE_CERTIFICATE_REVOKED] = "revoked",
	};
	return state < ARRAY_LEN(names) ? names[state] : "missing";
}

static uint32_t page_file_state(const struct page_source *source, const struct tls_identity_view *v)
{
	int64_t left_s = v->not_after_s - page_now_s(source);
	if (left_s <= 0)
		return WIRE_CERTIFICATE_EXPIRED;
	return left_s < (v->not_after_s - v->not_before_s) / 100 * PAGE_ENDING_PERCENT
		       ? WIRE_CERTIFICATE_ENDING
		       : WIRE_CERTIFICATE_FRESH;
}

static void page_row_of_view(const struct page_source *source, const struct tls_identity_view *v,
	struct wire_certificate *row)
{
	*row = (struct wire_certificate){.state = page_file_state(source, v),
		.not_before_s = v->not_before_s,
		.not_after_s = v->not_after_s};
	snprintf(row->identity, sizeof(row->identity), STR_FMT, STR_ARG(v->path));
	snprintf(row->serial, sizeof(row->serial), "%s", v->serial);
	if (row->state == WIRE_CERTIFICATE_ENDING)
		snprintf(row->why, sizeof(row->why), "the directory has no newer one");
}

/* With an authority the rows of the state process; without, those of the certificates in force,
 * and then of the workloads that have none. False at the end. */
static bool page_certificate(
	const struct page_source *source, uint32_t index, struct wire_certificate *row)
{
	const struct proxy *p = source->proxy;
	const struct plan *plan = p->plan;
	struct tls_identity_view view;
	uint32_t held = 0;
	if (page_has_authority(p)) {
		if (index >= p->identities.row_count)
			return false;
		*row = p->identities.rows[index];
		return true;
	}
	for (; plan && plan->tls && tls_store_identity(plan->tls, held, &view); held++) {
		if (held != index)
			continue;
		page_row_of_view(source, &view, row);
		return true;
	}
	for (uint32_t i = 0; plan && i < plan->snapshot->workload_count; i++) {
		struct str path = plan->snapshot->workloads[i].identity;
		if (page_identity_of(plan, path, &view) || held++ != index)
			continue;
		*row = (struct wire_certificate){.why = "the directory has none"};
		snprintf(row->identity, sizeof(row->identity), STR_FMT, STR_ARG(path));
		return true;
	}
	return false;
}

static const struct wire_certificate *page_trust_row(
	const struct proxy *p, const char *trust_domain)
{
	for (uint32_t i = 0; i < p->identities.row_count; i++) {
		const struct wire_certificate *row = &p->identities.rows[i];
		if (row->is_trust && strcmp(row->identity, trust_domain) == 0)
			return row;
	}
	return NULL;
}

/* --- JSON --- */

static void page_put_i64(struct json *j, const char *key, int64_t value)
{
	json_key(j, key);
	json_i64(j, value);
}

/* Seconds until then; null when there is no such time. */
static void page_put_until(
	const struct page_source *source, const char *key, int64_t then_s, struct json *j)
{
	if (then_s)
		page_put_i64(j, key, then_s - page_now_s(source));
	else
		page_put_str(j, key, STR_NONE);
}

static void page_put_certificate(
	const struct page_source *source, const struct wire_certificate *row, struct json *j)
{
	json_open(j, '{');
	page_put_str(j, "identity", str_of(row->identity));
	page_put_str(j, "state", str_of(page_state_name(row->state)));
	page_put_str(j, "source", page_has_authority(source->proxy) ? STR("ca") : STR("files"));
	page_put_str(j, "serial", str_of(row->serial));
	page_put_str(j, "served_serial", str_of(row->served_serial));
	page_put_time(j, "not_before", page_seconds_ns(row->not_before_s));
	page_put_time(j, "not_after", page_seconds_ns(row->not_after_s));
	page_put_until(source, "expires_in_s", row->not_after_s, j);
	page_put_until(source, "renews_in_s", row->next_s, j);
	page_put_u64(j, "renewed", row->renewed_count);
	page_put_u64(j, "failed", row->failed_count);
	page_put_str(j, "why", str_of(row->why));
	json_close(j, '}');
}

static void page_put_trust(
	const struct page_source *source, const struct proxy_trust *t, struct json *j)
{
	const struct wire_certificate *row = page_trust_row(source->proxy, t->trust_domain);
	int64_t this_s = t->view.crl_this_update_s;
	json_open(j, '{');
	page_put_str(j, "trust_domain", str_of(t->trust_domain));
	page_put_u64(j, "anchors", t->view.anchor_count);
	page_put_until(source, "expires_in_s", t->view.anchor_not_after_s, j);
	page_put_u64(j, "crls", t->view.crl_count);
	page_put_u64(j, "revoked", t->view.revoked_count);
	page_put_until(source, "crl_next_update_in_s", t->view.crl_next_update_s, j);
	if (this_s)
		page_put_i64(j, "crl_age_s", page_now_s(source) - this_s);
	else
		page_put_str(j, "crl_age_s", STR_NONE);
	page_put_until(source, "asks_in_s", row ? row->next_s : 0, j);
	page_put_u64(j, "failed", row ? row->failed_count : 0);
	page_put_str(j, "why", str_of(row ? row->why : ""));
	json_close(j, '}');
}

void page_put_certificates(const struct page_source *source, struct json *j)
{
	const struct proxy_identities *i = &source->proxy->identities;
	struct wire_certificate row;
	json_key(j, "certificates");
	json_open(j, '[');
	for (uint32_t k = 0; page_certificate(source, k, &row); k++) {
		if (!row.is_trust)
			page_put_certificate(source, &row, j);
	}
	json_close(j, ']');
	json_key(j, "trust");
	json_open(j, '[');
	for (uint32_t k = 0; k < i->trust_count; k++)
		page_put_trust(source, &i->trusts[k], j);
	json_close(j, ']');
	page_put_i64(j, "clock_skew_s", i->skew_s);
}

void page_certs(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	struct json j;
	json_init(&j, PAGE_JSON_MAX);
	json_open(&j, '{');
	page_put_identities(source, &j);
	page_put_certificates(source, &j);
	json_close(&j, '}');
	page_json(response, &j);
}

/* --- readiness --- */

static size_t PRINTF_LIKE(4, 5)
	page_line(char *text, size_t len, size_t size, const char *format, ...)
{
	va_list args;
	if (len >= size)
		return len;
	va_start(args, format);
	len += (size_t)vsnprintf(text + len, size - len, format, args);
	va_end(args);
	return len;
}

void page_without_identity(const struct page_source *source, char *text, size_t size)
{
	const struct plan *plan = source->proxy->plan;
	struct tls_identity_view view;
	size_t len = 0;
	text[0] = '\0';
	for (uint32_t i = 0; i < plan->snapshot->workload_count; i++) {
		struct str path = plan->snapshot->workloads[i].identity;
		if (!page_identity_of(plan, path, &view))
			len = page_line(
				text, len, size, "no certificate for " STR_FMT "\n", STR_ARG(path));
		else if (view.not_after_s <= page_now_s(source))
			len = page_line(text, len, size,
				"the certificate of " STR_FMT " has expired\n", STR_ARG(path));
	}
}

void page_not_renewable(const struct page_source *source, char *text, size_t size)
{
	const struct plan *plan = source->proxy->plan;
	struct wire_certificate row;
	size_t len = 0;
	text[0] = '\0';
	for (uint32_t i = 0; plan && i < plan->snapshot->workload_count; i++) {
		const struct workload *w = &plan->snapshot->workloads[i];
		if (w->is_refused)
			len = page_line(text, len, size,
				"degraded: the identity " STR_FMT
				" is none that the service " STR_FMT
				" may have, so nobody is led to it\n",
				STR_ARG(w->identity), STR_ARG(w->service->name));
	}
	for (uint32_t i = 0; page_certificate(source, i, &row); i++) {
		bool is_own = strncmp(row.identity, "node/", 5) == 0;
		bool is_over = row.state == WIRE_CERTIFICATE_EXPIRED ||
			       row.state == WIRE_CERTIFICATE_MISSING;
		if (!row.is_trust && row.state == WIRE_CERTIFICATE_REVOKED)
			len = page_line(text, len, size,
				"degraded: the certificate of %s has been revoked: %s\n",
				row.identity, row.why[0] ? row.why : "others refuse it");
		else if (!row.is_trust &&
			 (row.state == WIRE_CERTIFICATE_ENDING || (is_own && is_over)))
			len = page_line(text, len, size,
				"degraded: the certificate of %s is not renewed: %s\n",
				row.identity, row.why[0] ? row.why : page_state_name(row.state));
		if (row.served_serial[0])
			len = page_line(text, len, size,
				"degraded: the mesh port serves another certificate of %s than "
				"the one in force\n",
				row.identity);
	}
}

/* --- metrics --- */

enum page_count { PAGE_RENEWED, PAGE_FAILED, PAGE_NOT_AFTER, PAGE_SERVED_OTHER };

static uint64_t page_count_of(const struct wire_certificate *row, enum page_count which)
{
	switch (which) {
	case PAGE_RENEWED:
		return row->renewed_count;
	case PAGE_FAILED:
		return row->failed_count;
	case PAGE_NOT_AFTER:
		return row->not_after_s > 0 ? (uint64_t)row->not_after_s : 0;
	case PAGE_SERVED_OTHER:
		return row->served_serial[0] != '\0';
	}
	return 0;
}

static void page_write_rows(const struct page_source *source, struct metric_text *out,
	enum page_count which, const char *name, const char *type, const char *help)
{
	struct wire_certificate row;
	metric_text_family(out, name, type, help);
	for (uint32_t i = 0; page_certificate(source, i, &row); i++) {
		char labels[600] = "";
		if (!row.is_trust &&
			metric_label_add(labels, sizeof(labels), "identity", str_of(row.identity)))
			metric_text_u64(out, name, labels, page_count_of(&row, which));
	}
}

enum page_trust_value { PAGE_ANCHOR_END, PAGE_CRL_AGE, PAGE_CRL_ENTRIES };

/* -1: there is no such thing. */
static int64_t page_trust_value_of(const struct page_source *source,
	const struct tls_trust_view *view, enum page_trust_value which)
{
	int64_t age_s = page_now_s(source) - view->crl_this_update_s;
	switch (which) {
	case PAGE_ANCHOR_END:
		return view->anchor_not_after_s > 0 ? view->anchor_not_after_s : -1;
	case PAGE_CRL_AGE:
		if (view->crl_this_update_s == 0)
			return -1;
		return age_s > 0 ? age_s : 0;
	case PAGE_CRL_ENTRIES:
		return view->crl_count > 0 ? (int64_t)view->revoked_count : -1;
	}
	return -1;
}

static void page_write_trust(const struct page_source *source, struct metric_text *out,
	enum page_trust_value which, const char *name, const char *help)
{
	const struct proxy_identities *i = &source->proxy->identities;
	metric_text_family(out, name, "gauge", help);
	for (uint32_t k = 0; k < i->trust_count; k++) {
		const struct proxy_trust *t = &i->trusts[k];
		char labels[600] = "";
		int64_t value = page_trust_value_of(source, &t->view, which);
		if (value >= 0 && metric_label_add(labels, sizeof(labels), "trust_domain",
					  str_of(t->trust_domain)))
			metric_text_u64(out, name, labels, (uint64_t)value);
	}
}

void page_write_certificates(const struct page_source *source, struct metric_text *out)
{
	page_write_rows(source, out, PAGE_NOT_AFTER,
		"ringmain_certificate_expiry_timestamp_seconds", "gauge",
		"When a certificate of this machine expires, its own included; 0: there is none");
	page_write_trust(source, out, PAGE_ANCHOR_END,
		"ringmain_trust_anchor_expiry_timestamp_seconds",
		"When the first trust anchor of a trust domain expires");
	page_write_trust(source, out, PAGE_CRL_AGE, "ringmain_crl_age_seconds",
		"Since the oldest list of revoked certificates was made");
	page_write_trust(source, out, PAGE_CRL_ENTRIES, "ringmain_crl_entries",
		"Revoked certificates that are known");
	if (!page_has_authority(source->proxy))
		return;
	page_write_rows(source, out, PAGE_RENEWED, "ringmain_certificate_renewals_total", "counter",
		"New certificates since the state process began");
	page_write_rows(source, out, PAGE_FAILED, "ringmain_certificate_failures", "gauge",
		"Failures in a row to get the next certificate");
	page_write_rows(source, out, PAGE_SERVED_OTHER, "ringmain_certificate_served_other",
		"gauge", "1: the mesh port serves another certificate than the one in force");
	metric_text_family(out, "ringmain_clock_skew_seconds", "gauge",
		"This machine's clock minus the authority's");
	metric_text_real(
		out, "ringmain_clock_skew_seconds", NULL, (double)source->proxy->identities.skew_s);
}
