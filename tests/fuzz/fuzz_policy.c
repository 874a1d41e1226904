/* SPDX-License-Identifier: Apache-2.0 */
/* Rules and requests from text: what is found by the index is what is found rule by rule. Lines
 * are rules up to an empty one, and then requests:
 *
 *     a|d|n[!] f:FROM F:NOT-FROM p:PATH P:NOT-PATH m:METHOD h:HOST o:PORT H:NAME=VALUE ...
 *     METHOD PATH HOST ID CLIENT NAME=VALUE ...        ("-": none) */
#include "base/assert.h"
#include "mesh/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define FUZZ_RULES_MAX 24
#define FUZZ_LIST_MAX  4
/* As many rules as have an index. */
#define FUZZ_RULES_MIN 8

struct fuzz_rule {
	struct policy policy;
	struct source from[FUZZ_LIST_MAX], not_from[FUZZ_LIST_MAX];
	struct route_path paths[FUZZ_LIST_MAX], not_paths[FUZZ_LIST_MAX];
	struct str methods[FUZZ_LIST_MAX], hosts[FUZZ_LIST_MAX];
	uint16_t ports[FUZZ_LIST_MAX];
	struct route_field headers[FUZZ_LIST_MAX];
};

struct fuzz_mesh {
	struct snapshot s;
	struct service service;
	struct fuzz_rule rules[FUZZ_RULES_MAX];
	struct policy *pointers[FUZZ_RULES_MAX + FUZZ_RULES_MIN];
};

static struct str fuzz_cut(struct str *rest, char end)
{
	const char *at = rest->len ? memchr(rest->at, end, rest->len) : NULL;
	struct str part = {rest->at, at ? (size_t)(at - rest->at) : rest->len};
	size_t used = part.len + (at ? 1 : 0);
	*rest = (struct str){rest->at + used, rest->len - used};
	return part;
}

static void fuzz_source(
	struct snapshot *s, struct str entry, struct source *sources, uint32_t *count)
{
	if (*count < FUZZ_LIST_MAX && source_count(s, entry) == 1 &&
		source_read(s, entry, &s->arena, &sources[*count]))
		(*count)++;
}

/* Whole segments in braces, as the configuration wants them. */
static bool fuzz_is_template(struct str text)
{
	bool has_brace = false;
	while (text.len > 0) {
		struct str part = fuzz_cut(&text, '/');
		bool is_brace = part.len > 2 && part.at[0] == '{' &&
				memchr(part.at, '}', part.len) == part.at + part.len - 1 &&
				!memchr(part.at + 1, '{', part.len - 1);
		bool is_rest = text.len == 0 && str_eq(part, STR("*"));
		has_brace = has_brace || is_brace;
		if (!is_brace && !is_rest &&
			(memchr(part.at, '{', part.len) || memchr(part.at, '*', part.len)))
			return false;
	}
	return has_brace;
}

static void fuzz_path(struct str text, struct route_path *paths, uint32_t *count)
{
	struct route_path p = {ROUTE_PATH_EXACT, text, NULL};
	bool is_below = text.len >= 2 && memcmp(text.at + text.len - 2, "/*", 2) == 0;
	if (fuzz_is_template(text)) {
		p.kind = ROUTE_PATH_TEMPLATE;
	} else if (is_below) {
		p.kind = ROUTE_PATH_PREFIX;
		p.text.len -= 2;
	}
	if (*count < FUZZ_LIST_MAX && text.len > 0 && text.at[0] == '/')
		paths[(*count)++] = p;
}

static void fuzz_word(struct str word, struct str *list, uint32_t *count)
{
	if (*count < FUZZ_LIST_MAX && word.len > 0)
		list[(*count)++] = word;
}

static void fuzz_field(struct fuzz_rule *r, struct str value)
{
	struct route_fields *fields = &r->policy.headers;
	bool is_inverted = value.len > 0 && value.at[0] == '!';
	struct str rest = {value.at + is_inverted, value.len - is_inverted};
	struct str name = fuzz_cut(&rest, '=');
	if (fields->count < FUZZ_LIST_MAX)
		fields->at[fields->count++] = (struct route_field){
			name, rest.len ? ROUTE_TEXT_EXACT : ROUTE_TEXT_PRESENT, rest, is_inverted};
}

static void fuzz_condition(struct snapshot *s, struct fuzz_rule *r, char kind, struct str value)
{
	struct policy *p = &r->policy;
	uint64_t port;
	switch (kind) {
	case 'f':
		fuzz_source(s, value, r->from, &p->from_count);
		break;
	case 'F':
		fuzz_source(s, value, r->not_from, &p->not_from_count);
		break;
	case 'p':
		fuzz_path(value, r->paths, &p->to.path_count);
		break;
	case 'P':
		fuzz_path(value, r->not_paths, &p->not_to.path_count);
		break;
	case 'm':
		fuzz_word(value, r->methods, &p->to.method_count);
		break;
	case 'h':
		fuzz_word(value, r->hosts, &p->to.host_count);
		break;
	case 'o':
		if (p->to.port_count < FUZZ_LIST_MAX && str_to_u64(value, &port))
			r->ports[p->to.port_count++] = (uint16_t)port;
		break;
	case 'H':
		fuzz_field(r, value);
		break;
	}
}

static void fuzz_rule(struct snapshot *s, struct fuzz_rule *r, struct str line)
{
	struct str head = fuzz_cut(&line, ' ');
	r->policy = (struct policy){
		.action = head.at[0] == 'a'   ? POLICY_ALLOW
			  : head.at[0] == 'd' ? POLICY_DENY
					      : POLICY_AUDIT,
		.mode = head.len > 1 ? POLICY_AUDITED : POLICY_ENFORCED,
		.from = r->from,
		.not_from = r->not_from,
		.to = {.paths = r->paths,
			.methods = r->methods,
			.hosts = r->hosts,
			.ports = r->ports},
		.not_to = {.paths = r->not_paths},
		.headers = {.at = r->headers},
	};
	while (line.len > 0) {
		struct str word = fuzz_cut(&line, ' ');
		if (word.len > 2)
			fuzz_condition(s, r, word.at[0], (struct str){word.at + 2, word.len - 2});
	}
}

static struct str fuzz_optional(struct str *line)
{
	struct str word = fuzz_cut(line, ' ');
	return str_eq(word, STR("-")) ? STR("") : word;
}

static void fuzz_request(const struct fuzz_mesh *m, struct str line)
{
	struct route_header headers[FUZZ_LIST_MAX];
	struct route_request http = {
		.is_http = true, .headers = headers, .header_bytes = sizeof(headers[0])};
	http.method = fuzz_optional(&line);
	http.path = fuzz_optional(&line);
	http.authority = fuzz_optional(&line);
	struct policy_request r = {.port = 80, .http = http.method.len ? &http : NULL};
	r.source_id = fuzz_optional(&line);
	if (!address_parse(fuzz_optional(&line), &r.client))
		r.client = (struct address){0};
	while (line.len > 0 && http.header_count < FUZZ_LIST_MAX) {
		struct str value = fuzz_cut(&line, ' ');
		struct str name = fuzz_cut(&value, '=');
		headers[http.header_count++] = (struct route_header){name, value};
	}
	struct policy_verdict a = policy_check(&m->s, &m->service, &r);
	struct policy_verdict b = policy_check_each(&m->s, &m->service, &r);
	ASSERT(a.allowed == b.allowed && a.policy == b.policy && a.by == b.by);
	ASSERT(a.would_deny == b.would_deny && a.audited == b.audited && a.noted == b.noted);
	struct service plain = m->service;
	plain.policy_index = NULL;
	bool might = policy_might_allow(&m->s, &m->service, &r);
	ASSERT(might == policy_might_allow(&m->s, &plain, &r) && (might || !a.allowed));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct fuzz_mesh m;
	struct str rest = {(const char *)bytes, len};
	m = (struct fuzz_mesh){
		.s = {.trust_domain = STR("td"), .services = &m.service, .service_count = 1},
		.service = {.name = STR("orders"), .policies = m.pointers}};
	arena_init(&m.s.arena, 1u << 20);
	uint32_t count = 0;
	for (struct str line; rest.len > 0 && (line = fuzz_cut(&rest, '\n')).len > 0;) {
		if (count == FUZZ_RULES_MAX)
			continue;
		fuzz_rule(&m.s, &m.rules[count], line);
		m.pointers[count] = &m.rules[count].policy;
		count++;
	}
	for (uint32_t i = count; count > 0 && i < FUZZ_RULES_MIN; i++)
		m.pointers[i] = m.pointers[i % count];
	m.service.policy_count = count > 0 && count < FUZZ_RULES_MIN ? FUZZ_RULES_MIN : count;
	bool has_index = policy_index_build(&m.s, &m.service);
	ASSERT(has_index);
	while (rest.len > 0)
		fuzz_request(&m, fuzz_cut(&rest, '\n'));
	snapshot_done(&m.s);
	return 0;
}
