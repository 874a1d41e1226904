/* SPDX-License-Identifier: Apache-2.0 */
/* Whether objects make a mesh. They go through the very build that a node makes of them, as on a
 * node without workloads of its own; what is added here is what only the whole mesh can tell: names
 * against what nodes tell of, addresses against each other, rules against each other. */
#include "conf/objects.h"

#include "base/map.h"
#include "mesh/record.h"
#include "parser.h"
#include <errno.h>
#include <stdlib.h>

#define CONF_CHECK_BYTES_MAX (512u << 20)

struct conf_version {
	struct conf_version *before;
	struct str version;
};

/* A service that nodes tell of. */
struct conf_known {
	struct map_node node;
	struct str service;
	struct conf_version *versions;
};

/* An endpoint that a node tells of. */
struct conf_told {
	struct map_node node;
	struct address address;
	struct str service, node_name;
};

struct conf_published {
	struct arena arena;
	const struct bundle *bundle;
	struct map known, told;
	uint32_t record_count;
};

/* --- what nodes tell --- */

static struct conf_known *conf_known_find(const struct conf_published *c, struct str service)
{
	uint64_t hash = hash_bytes((uintptr_t)c, service.at, service.len);
	for (struct map_node *node = map_first(&c->known, hash); node; node = map_next(node)) {
		struct conf_known *k = CONTAINER_OF(node, struct conf_known, node);
		if (str_eq(k->service, service))
			return k;
	}
	return NULL;
}

static bool conf_known_add(struct conf_published *c, struct str service)
{
	struct conf_known *k = arena_take(&c->arena, sizeof(*k));
	if (!k)
		return false;
	k->service = service;
	return map_add(&c->known, &k->node, hash_bytes((uintptr_t)c, service.at, service.len));
}

static bool conf_known_version(const struct conf_known *k, struct str version)
{
	for (const struct conf_version *v = k ? k->versions : NULL; v; v = v->before) {
		if (str_eq(v->version, version))
			return true;
	}
	return false;
}

static bool conf_known_add_version(
	struct conf_published *c, struct conf_known *k, struct str version)
{
	if (version.len == 0 || conf_known_version(k, version))
		return true;
	struct conf_version *v = arena_take(&c->arena, sizeof(*v));
	if (!v)
		return false;
	*v = (struct conf_version){.before = k->versions, .version = version};
	k->versions = v;
	return true;
}

static uint64_t conf_told_hash(const struct conf_published *c, const struct address *a)
{
	return hash_bytes((uintptr_t)c + a->port, a->ip, sizeof(a->ip));
}

static const struct conf_told *conf_told_find(
	const struct conf_published *c, const struct address *a)
{
	struct map_node *node = map_first(&c->told, conf_told_hash(c, a));
	for (; node; node = map_next(node)) {
		const struct conf_told *t = CONTAINER_OF(node, struct conf_told, node);
		if (address_equal(&t->address, a))
			return t;
	}
	return NULL;
}

static bool conf_told_add(struct conf_published *c, struct conf_told told)
{
	struct conf_told *t = arena_take(&c->arena, sizeof(*t));
	if (!t)
		return false;
	*t = told;
	return map_add(&c->told, &t->node, conf_told_hash(c, &t->address));
}

static bool conf_published_add_endpoint(
	struct conf_published *c, const struct record *record, const struct record_endpoint *e)
{
	if (!conf_known_find(c, e->service) && !conf_known_add(c, e->service))
		return false;
	if (!conf_known_add_version(c, conf_known_find(c, e->service), e->version))
		return false;
	for (uint32_t i = 0; i < e->address_count; i++) {
		struct conf_told told = {.address = e->addresses[i],
			.service = e->service,
			.node_name = record->node};
		if (!conf_told_find(c, &told.address) && !conf_told_add(c, told))
			return false;
	}
	return true;
}

/* A record that cannot be read tells nothing: what one node writes must not keep operators from
 * publishing. */
static bool conf_published_add_records(struct conf_published *c)
{
	const struct bundle_item *item = NULL;
	while ((item = bundle_next(c->bundle, "node", item))) {
		struct record record;
		struct err err;
		if (record_parse(item->text, &c->arena, &record, &err) < 0)
			continue;
		c->record_count++;
		for (uint32_t i = 0; i < record.endpoint_count; i++) {
			if (!conf_published_add_endpoint(c, &record, &record.endpoints[i]))
				return false;
		}
	}
	return true;
}

static bool conf_published_is_gone(const struct conf_published *c, struct str service)
{
	const struct bundle_item *item = NULL;
	while ((item = bundle_next(c->bundle, "gone", item))) {
		struct str kind = STR("service/");
		if (str_starts(item->name, kind) &&
			str_eq((struct str){item->name.at + kind.len, item->name.len - kind.len},
				service))
			return true;
	}
	return false;
}

bool conf_published_knows(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str service)
{
	if (conf_published_is_gone(p->published, service)) {
		conf_error(p, setting, key,
			"names the service \"%.*s\", which is to be taken away; change or take "
			"away this rule first, or in the same go",
			STR_ARG(service));
		return true;
	}
	return conf_known_find(p->published, service) != NULL;
}

void conf_published_guess(const struct conf_parser *p, struct conf_guess *guess)
{
	const struct map *known = &p->published->known;
	for (size_t i = 0; i < known->slot_count; i++) {
		for (struct map_node *node = known->slots[i]; node; node = node->next)
			conf_guess_offer(
				guess, CONTAINER_OF(node, struct conf_known, node)->service);
	}
}

bool conf_published_has_version(const struct conf_parser *p, struct str service, struct str version)
{
	return conf_known_version(conf_known_find(p->published, service), version);
}

void conf_published_versions(
	const struct conf_parser *p, struct str service, struct conf_words *words)
{
	const struct conf_known *k = conf_known_find(p->published, service);
	for (const struct conf_version *v = k ? k->versions : NULL; v; v = v->before)
		conf_words_add(words, v->version);
}

/* --- addresses --- */

/* What objects say of each other is the build's to find. */
static void conf_check_own_addresses(struct conf_parser *p, const struct conf_service_row *row)
{
	char text[ADDRESS_TEXT_MAX];
	for (uint32_t i = 0; i < row->address_count; i++) {
		struct address own = row->addresses[i];
		own.port = row->port;
		const struct conf_told *by = conf_told_find(p->published, &own);
		if (by)
			conf_error(p, row->setting, "address",
				"%s is an endpoint of \"%.*s\" on the node %.*s; take an address "
				"that no machine has",
				address_text(&own, text), STR_ARG(by->service),
				STR_ARG(by->node_name));
	}
}

static void conf_check_endpoint(struct conf_parser *p, const struct conf_service_row *service,
	const struct conf_endpoint_row *row)
{
	char text[ADDRESS_TEXT_MAX];
	for (uint32_t i = 0; i < row->address_count; i++) {
		struct address a = row->addresses[i];
		a.port = row->port ? row->port : service->port;
		const struct conf_told *by = conf_told_find(p->published, &a);
		if (address_is_loopback(&a))
			conf_error(p, row->setting, "address",
				"a loopback address is another machine on each machine");
		else if (by && !str_eq(by->service, service->name))
			conf_error(p, row->setting, "address",
				"%s is an endpoint of \"%.*s\" on the node %.*s",
				address_text(&a, text), STR_ARG(by->service),
				STR_ARG(by->node_name));
	}
}

static void conf_check_addresses(struct conf_parser *p)
{
	for (uint32_t f = 0; f < p->mesh_count; f++) {
		const struct conf_mesh *mesh = &p->mesh[f].mesh;
		for (uint32_t s = 0; s < mesh->service_count; s++) {
			const struct conf_service_row *row = &mesh->services[s];
			for (uint32_t e = 0; e < row->endpoint_count; e++)
				conf_check_endpoint(p, row, &row->endpoints[e]);
			conf_check_own_addresses(p, row);
		}
	}
}

/* --- callers --- */

/* A caller that serves nothing is in no node's record, so only one that says how it is called can
 * be missed. */
static void conf_check_callers(struct conf_parser *p, const struct conf_policy_row *row)
{
	for (uint32_t i = 0; i < row->from_count; i++) {
		const struct service *service = snapshot_service(p->snapshot, row->from[i]);
		if (!service || service->endpoint_count > 0 ||
			conf_known_find(p->published, service->name))
			continue;
		const config_setting_t *setting = p->service_rows[service->index]->setting;
		if (conf_member(setting, "port") || conf_member(setting, "protocol"))
			conf_warning(p, row->setting, "from",
				"\"%.*s\" is no workload anywhere: no node tells of it",
				STR_ARG(service->name));
	}
}

/* Rules that are wrong by themselves are not compared with others: what they mean is not known. */
static void conf_check_rules(struct conf_parser *p, bool is_good)
{
	for (uint32_t f = 0; p->published->record_count > 0 && f < p->mesh_count; f++) {
		const struct conf_mesh *mesh = &p->mesh[f].mesh;
		for (uint32_t i = 0; i < mesh->policy_count; i++)
			conf_check_callers(p, &mesh->policies[i]);
	}
	if (is_good)
		conf_cover_check(p);
}

/* --- the whole --- */

static void conf_check_name(struct conf_parser *p, const struct conf_file *file)
{
	const char *space = memchr(file->path.at, ' ', file->path.len);
	struct str key = {file->path.at, space ? (size_t)(space - file->path.at) : file->path.len};
	if (!conf_object_is(file, key))
		conf_error(p, conf_file_root(file), NULL, CONF_OBJECT_OTHER);
}

static bool conf_check_open(struct conf_parser *p, const struct bundle_item *item, bool is_object)
{
	struct conf_file *file = &p->mesh[p->mesh_count++];
	if (!conf_file_open(file, item, p->report))
		return false;
	file->is_object = is_object;
	conf_read_root(p, &conf_mesh_root, conf_file_root(file), &file->mesh);
	if (is_object)
		conf_check_name(p, file);
	return true;
}

/* What stands and cannot be read keeps nobody from what else there is to check: it was said. */
static bool conf_check_open_all(struct conf_parser *p)
{
	const struct bundle_item *item = NULL;
	size_t count = 0;
	bool is_whole = true;
	LIST_EACH (&p->bundle->items, it)
		count++;
	p->mesh = calloc(count ? count : 1, sizeof(*p->mesh));
	p->is_exhausted = !p->mesh;
	while (p->mesh && (item = bundle_next(p->bundle, "mesh", item)))
		is_whole = conf_check_open(p, item, false) && is_whole;
	while (p->mesh && (item = bundle_next(p->bundle, "object", item)))
		(void)conf_check_open(p, item, true);
	return is_whole && !p->is_exhausted;
}

static void conf_check_all(struct conf_parser *p)
{
	uint32_t errors_before = p->report->error_count;
	if (!conf_check_open_all(p))
		return;
	conf_build(p);
	if (!p->is_exhausted)
		conf_check_addresses(p);
	if (!p->is_exhausted)
		conf_check_rules(p, p->report->error_count == errors_before);
}

int conf_objects_check(const struct bundle *b, struct str trust_domain, struct conf_report *report)
{
	struct conf conf = {.trust_domain = trust_domain};
	struct snapshot snapshot = {0};
	struct conf_published published = {.bundle = b};
	struct conf_parser p = {.bundle = b,
		.report = report,
		.arena = &snapshot.arena,
		.conf = &conf,
		.snapshot = &snapshot,
		.with_store = true,
		.published = &published};
	uint32_t errors_before = report->error_count;
	arena_init(&conf.arena, CONF_CHECK_BYTES_MAX);
	arena_init(&snapshot.arena, CONF_CHECK_BYTES_MAX);
	arena_init(&published.arena, CONF_CHECK_BYTES_MAX);
	map_init(&published.known);
	map_init(&published.told);
	if (conf_published_add_records(&published))
		conf_check_all(&p);
	else
		p.is_exhausted = true;
	for (uint32_t i = 0; i < p.mesh_count; i++)
		conf_file_close(&p.mesh[i]);
	free(p.mesh);
	map_done(&published.known);
	map_done(&published.told);
	arena_done(&published.arena);
	snapshot_done(&snapshot);
	arena_done(&conf.arena);
	if (p.is_exhausted)
		conf_report_line(report, CONF_ERROR, STR_NONE, 0, "out of memory");
	return p.is_exhausted ? -ENOMEM : report->error_count > errors_before ? -EINVAL : 0;
}
