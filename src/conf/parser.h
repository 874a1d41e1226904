/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of one parse, inside the conf room: files as libconfig trees, the reader that fills
 * structs from them by the key table, the checks, and the report that they all write to. */
#pragma once

#include "conf/conf.h"
#include "keys.h"

/* One file's tree. The trees live until the parse is over: later checks look up lines in them. */
struct conf_file {
	config_t tree;
	struct str path;
	bool is_open;	      /* the tree is whole, and must be destroyed */
	bool is_object;	      /* a published object, one row: has no lines, and a name for a path */
	struct str fault;     /* of a published object that cannot be read: why; else empty */
	uint32_t error_count; /* that name a setting of it */
	struct conf_mesh mesh; /* of a mesh file */
};

struct conf_published; /* what nodes and others tell: objects_check.c */

struct conf_parser {
	const struct bundle *bundle;
	const struct bundle *picture; /* of the mesh, from the store; NULL: none */
	bool with_store;	      /* mesh objects come from there, not from files */
	struct conf_report *report;
	struct arena *arena; /* where values go */
	struct conf *conf;
	struct snapshot *snapshot;
	struct conf_file node;
	struct conf_file *mesh; /* mesh_count */
	uint32_t mesh_count;
	/* beside snapshot.services; NULL: implicit, of a workload */
	const struct conf_service_row **service_rows;
	struct record *records; /* record_count; of nodes, in the snapshot's arena */
	uint32_t record_count;
	const struct conf_published *published; /* where a set of objects is checked; else NULL */
	uint32_t guess_count;	/* unknown services of which it was guessed what was meant */
	struct conf_left *left; /* beside mesh, once there are some; or NULL */
	bool is_again;		/* the parse has to be made again, without those */
	bool is_exhausted;	/* out of memory: the parse ends with -ENOMEM */
};

/* --- conf.c --- */
/* What each file that is there has wrong by itself, when others could not be read. */
void conf_parse_partial(const struct bundle *b, struct conf_report *report);

/* --- report.c --- */
enum conf_severity { CONF_ERROR, CONF_WARNING };
/* `file` STR_NONE and `line` 0 leave the place out. */
void conf_report_line(struct conf_report *r, enum conf_severity severity, struct str file, int line,
	const char *format, ...) PRINTF_LIKE(5, 6);
/* "file:line: path: text", at `key` inside the setting (where it stands, if it does), or at the
 * setting itself (key NULL). */
void conf_error(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const char *format, ...) PRINTF_LIKE(4, 5);
void conf_warning(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const char *format, ...) PRINTF_LIKE(4, 5);

/* About a key of the node file by its names, whether or not the file gives it. */
void conf_node_error(struct conf_parser *p, const char *group, const char *key, const char *format,
	...) PRINTF_LIKE(4, 5);
/* "file:line" of a setting. Returns text. */
const char *conf_place_text(
	const struct conf_parser *p, const config_setting_t *setting, char *text, size_t size);

/* The best guess at what was meant, or NULL: offer each candidate, then ask. */
struct conf_guess {
	struct str wanted;
	struct str best;
	unsigned distance;
};
struct conf_guess conf_guess(struct str wanted);
void conf_guess_offer(struct conf_guess *g, struct str candidate);
/* "; did you mean \"x\"?" or "". */
const char *conf_guess_text(const struct conf_guess *g, char *text, size_t size);

/* `"v1", "v2"`: a few different words; what is too much is left out. */
struct conf_words {
	char text[256];
	size_t len;
	struct str words[16];
	uint32_t count;
};
void conf_words_add(struct conf_words *words, struct str word);

/* --- objects.c --- */
/* One row in all, and the one of this key; else: */
#define CONF_OBJECT_OTHER "its text is that of something else"
bool conf_object_is(const struct conf_file *file, struct str key);
/* As libconfig writes it. at == NULL: out of memory. */
struct str conf_write_tree(struct arena *arena, const config_t *tree);

/* --- objects_check.c --- */
/* A name that no object has: true when a node tells of it, or the error is said already. */
bool conf_published_knows(struct conf_parser *p, const config_setting_t *setting, const char *key,
	struct str service);
void conf_published_guess(const struct conf_parser *p, struct conf_guess *guess);
/* Versions that nodes tell of. */
bool conf_published_has_version(
	const struct conf_parser *p, struct str service, struct str version);
void conf_published_versions(
	const struct conf_parser *p, struct str service, struct conf_words *words);

/* --- objects_left.c --- */
/* Whether it is left out when it cannot be read: an object, on a node. */
bool conf_is_closable(const struct conf_parser *p, const struct conf_file *file);
/* Whether it is such a one of one policy. */
bool conf_is_policy(const struct conf_parser *p, const struct conf_file *file);
/* "policy/web" of "policy/web@12". */
struct str conf_object_key(const struct conf_file *file);
/* What is said of such a file between the two is no error of the whole. False: there was one.
 * It is taken back, and is in file->fault. */
struct conf_trial {
	uint32_t error_count, warning_count;
	size_t text_len;
};
struct conf_trial conf_trial_begin(const struct conf_parser *p);
bool conf_trial_end(
	struct conf_parser *p, const struct conf_trial *t, struct conf_file *file) MUST_CHECK;
/* A guard on what it protects, if anything, in place of what it says. */
void conf_close(struct conf_parser *p, struct conf_file *file);
/* One that an earlier parse of the same picture has left out: its fault is set. `index`: in
 * p->mesh. */
void conf_left_recall(struct conf_parser *p, uint32_t index);
/* After a parse: when all errors since the trial name objects, those will be left out, and
 * p->is_again is set; their errors are taken back. */
void conf_left_collect(struct conf_parser *p, const struct conf_trial *t);
void conf_left_free(struct conf_parser *p);

/* --- objects_cover.c --- */
/* Warns of rules that others leave nothing to decide. */
void conf_cover_check(struct conf_parser *p);

/* --- tree.c --- */
/* What libconfig would take silently and wrongly: includes, NUL bytes, numbers that do not fit.
 * False: refused, with line and reason. Pure. */
bool conf_scan(struct str text, int *ret_line, struct err *why);
/* Text to tree. False: the report says why. `file->path` is set either way. */
bool conf_file_open(struct conf_file *file, const struct bundle_item *item, struct conf_report *r);
void conf_file_close(struct conf_file *file);
static inline const config_setting_t *conf_file_root(const struct conf_file *file)
{
	return config_root_setting(&file->tree);
}

/* --- value.c --- */
/* A single value as it stands in a file, before it is judged. */
struct conf_value {
	enum { CONF_VALUE_TEXT, CONF_VALUE_NUMBER, CONF_VALUE_BOOL } kind;
	struct str text;
	uint64_t number; /* or the bool */
};
/* A default, as the table writes it. */
struct conf_value conf_value_default(const struct conf_key *key);
/* Judges and stores at `at` (of key->size, or of one array element). False: refused, with reason.
 */
bool conf_value_store(struct arena *arena, const struct conf_key *key, struct conf_value value,
	void *at, struct err *why);

/* "64K", "5s", "15001": as the file would have it. Returns text. */
const char *conf_value_number_text(
	const struct conf_key *key, uint64_t number, char *text, size_t size);

/* --- read.c --- */
/* Fills `row` from the root setting by the table; every key that is missing gets its default. */
void conf_read_root(struct conf_parser *p, const struct conf_group *root,
	const config_setting_t *setting, void *row);
const config_setting_t *conf_member(const config_setting_t *group, const char *name);

/* --- check.c --- */
/* Rules of the node file that one key alone cannot tell. Looks up uids. */
void conf_check_node(struct conf_parser *p);
/* The setting of a workload by its index. */
const config_setting_t *conf_workload_setting(const struct conf_parser *p, uint32_t index);

/* --- check_store.c --- */
/* What the store and the checks of workloads need. */
void conf_check_store(struct conf_parser *p);

/* --- check_identity.c --- */
void conf_check_identity(struct conf_parser *p);

/* --- build.c, build_identities.c, build_balance.c, build_endpoints.c, build_records.c,
 * build_issuers.c, build_policies.c, build_routes.c, build_limits.c --- */
/* Mesh rows, nodes' records and workloads to a snapshot, with all checks that need them together.
 */
void conf_build(struct conf_parser *p);
/* Who services are, when all of them are there: their identities, and what their servers may be. */
void conf_build_identities(struct conf_parser *p);
/* Who a workload of this machine is, and whether its service may be that. */
void conf_build_workload_identity(struct conf_parser *p, struct workload *w);
/* Whether a service of this name may have the identity path; the error, at `identity`, is said. */
bool conf_identity_check(struct conf_parser *p, const config_setting_t *setting, struct str service,
	struct str path);
/* How its calls are balanced. */
void conf_build_balance(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row);
/* What each service has, all services and workloads being there. */
void conf_build_endpoints(struct conf_parser *p);
/* Before policies, which name them. */
void conf_build_issuers(struct conf_parser *p);
void conf_check_issuer_names(struct conf_parser *p, const config_setting_t *setting,
	const struct str *names, uint32_t count);
void conf_build_externals(struct conf_parser *p);
void conf_build_policies(struct conf_parser *p);
void conf_build_routes(struct conf_parser *p);
/* Once endpoints and subsets are complete. */
void conf_build_zones(struct conf_parser *p);
/* Whose zone nobody tells is this machine's only when it is of this machine. */
bool conf_zone_is_near(const struct snapshot *s, const struct endpoint *e);
void conf_build_limits(struct conf_parser *p);
/* Names of callers: services, SPIFFE ids, "*", "anonymous". */
void conf_build_check_from(struct conf_parser *p, const config_setting_t *setting,
	const struct str *names, uint32_t count);
/* The addresses of one instance: the first that this machine has a family for is called, the others
 * are alternates. `key`: what it is known by on all machines. */
void conf_build_instance(
	const struct conf_parser *p, struct endpoint *addresses, uint32_t count, uint64_t key);
/* Those of the picture that can be read; the others get a warning. */
void conf_build_records(struct conf_parser *p);
/* Adds to counts[service.index] what is told of a service. */
void conf_build_count_told(struct conf_parser *p, uint32_t *counts);
/* Endpoints that nodes tell of, behind those of the objects. */
void conf_build_told(struct conf_parser *p);
/* From the snapshot's arena, zeroed; NULL sets is_exhausted. A count of 0 is no exhaustion. */
void *conf_build_array(struct conf_parser *p, size_t count, size_t size);
/* Says that no service has this name, with the nearest one: an error; a warning where it may be
 * another node's, with a store. */
void conf_build_unknown_service(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name);
