/* SPDX-License-Identifier: Apache-2.0 */
/* curl, with everything said that it would otherwise decide by itself: one address, one protocol,
 * one answer. Its configuration file and its environment are nobody's. */
#include "inside.h"

#include "base/url.h"
#include <stdio.h>
#include <sys/wait.h>

#define FETCH_STRINGIFY(x) #x
#define FETCH_TEXT_OF(x)   FETCH_STRINGIFY(x)
#define FETCH_BYTES_TEXT   FETCH_TEXT_OF(262144)
#define FETCH_STATUS_LEN   4 /* "\n200", behind the document */

/* A name, a port, and all addresses in brackets with a comma. */
#define FETCH_RESOLVE_BYTES (FETCH_HOST_MAX + 8 + LOOKUP_ADDRESSES_MAX * (ADDRESS_TEXT_MAX + 3))

_Static_assert(FETCH_DOCUMENT_BYTES_MAX == 262144, "as curl is told");

/* Those that may be asked. */
static void fetch_choose(
	const struct fetch *f, const struct lookup_found *found, struct lookup_found *ret)
{
	*ret = (struct lookup_found){0};
	for (uint32_t i = 0; i < found->count; i++) {
		if (fetch_may_ask(&found->at[i], f->allowed, f->allowed_count))
			ret->at[ret->count++] = found->at[i];
	}
}

/* "host:443:10.0.0.1,[fd00::1]", so that curl asks nobody for an address, and the next one when one
 * does not answer. */
static void fetch_resolve_text(
	const struct url *url, const struct lookup_found *chosen, char *text, size_t size)
{
	char ip[ADDRESS_TEXT_MAX];
	int len = snprintf(text, size, STR_FMT ":%u:", STR_ARG(url->host), url->port);
	for (uint32_t i = 0; i < chosen->count; i++) {
		bool is_v6 = chosen->at[i].family == AF_INET6;
		len += snprintf(text + len, size - (size_t)len, "%s%s%s%s", i ? "," : "",
			is_v6 ? "[" : "", address_ip_text(&chosen->at[i], ip), is_v6 ? "]" : "");
		ASSERT(len > 0 && (size_t)len < size);
	}
}

/* posix_spawn() wants its words writable, and writes to none. */
static char *fetch_word(const char *word)
{
	return (char *)(uintptr_t)word;
}

static int fetch_run(struct fetch_errand *e, const char *resolve)
{
	const struct fetch *f = e->fetch;
	const char *words[] = {f->program, "--disable", "--silent", "--show-error", "--globoff",
		"--proto", "=https", "--tlsv1.2", "--noproxy", "*", "--max-redirs", "0",
		"--connect-timeout", "5", "--max-time", "10", "--max-filesize", FETCH_BYTES_TEXT,
		"--user-agent", "ringmain/" RINGMAIN_VERSION, "--header",
		"Accept: application/jwk-set+json, application/json", "--write-out",
		"\n%{http_code}", "--output", "-"};
	char *argv[ARRAY_LEN(words) + 8];
	size_t count = 0;
	for (; count < ARRAY_LEN(words); count++)
		argv[count] = fetch_word(words[count]);
	if (resolve[0]) {
		argv[count++] = fetch_word("--resolve");
		argv[count++] = fetch_word(resolve);
	}
	if (f->ca) {
		argv[count++] = fetch_word("--cacert");
		argv[count++] = fetch_word(f->ca);
	}
	argv[count++] = fetch_word("--url");
	argv[count++] = fetch_word(e->url.at);
	argv[count] = NULL;
	return fetch_program_start(&e->program, argv, FETCH_DOCUMENT_BYTES_MAX + FETCH_STATUS_LEN);
}

bool fetch_document_start(
	struct fetch_errand *e, const struct lookup_found *found, char *why, size_t size)
{
	char resolve[FETCH_RESOLVE_BYTES] = "", text[ADDRESS_TEXT_MAX];
	struct lookup_found chosen;
	struct url url;
	const char *bad = url_https(e->url, &url);
	ASSERT(!bad && url.host.len <= FETCH_HOST_MAX);
	fetch_choose(e->fetch, found, &chosen);
	if (chosen.count == 0) {
		snprintf(why, size,
			"%s may not be asked: loopback, link-local, multicast or metadata (see "
			"tokens.allow_addresses)",
			address_ip_text(&found->at[0], text));
		return false;
	}
	if (!url.is_address)
		fetch_resolve_text(&url, &chosen, resolve, sizeof(resolve));
	int r = fetch_run(e, resolve);
	if (r < 0)
		snprintf(why, size, "%s: %s", e->fetch->program, strerror(-r));
	return r == 0;
}

/* The document without the status behind it; false: the program did not say it. */
static bool fetch_split_status(const struct fetch_program *p, struct str *ret_text, int *ret_status)
{
	uint64_t number;
	if (p->out_len < FETCH_STATUS_LEN)
		return false;
	*ret_text = (struct str){p->out, p->out_len - FETCH_STATUS_LEN};
	const char *end = p->out + ret_text->len;
	if (end[0] != '\n' || !str_to_u64((struct str){end + 1, FETCH_STATUS_LEN - 1}, &number))
		return false;
	*ret_status = (int)number;
	return true;
}

bool fetch_document_ended(
	struct fetch_errand *e, int status, struct str *ret_text, char *why, size_t size)
{
	const struct fetch_program *p = &e->program;
	struct err err;
	int http_status = 0;
	if (p->out_over) {
		snprintf(why, size, "more than %u KiB", FETCH_DOCUMENT_BYTES_MAX >> 10);
	} else if (status == -1 || !WIFEXITED(status)) {
		snprintf(why, size, "no end within %u s", FETCH_PROGRAM_MS / 1000);
	} else if (WEXITSTATUS(status) != 0) {
		snprintf(why, size, "%s", p->why[0] ? p->why : "curl failed and does not say why");
	} else if (!fetch_split_status(p, ret_text, &http_status)) {
		snprintf(why, size, "curl does not say how it went");
	} else if (http_status != 200) {
		snprintf(why, size, "answered %d instead of 200", http_status);
	} else if (e->fetch->is_good && !e->fetch->is_good(*ret_text, &err)) {
		snprintf(why, size, "%.200s", err.text);
	} else {
		return true;
	}
	return false;
}
