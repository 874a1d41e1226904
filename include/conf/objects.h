/* SPDX-License-Identifier: Apache-2.0 */
/* Mesh files as objects that are published one by one: a row of a list is an object. From files to
 * rows in their canonical text, and whether a set of them makes a mesh. Pure, but for gathering.
 *
 * A bundle that is checked holds
 *   mesh    files as they are given; name = path
 *   object  an object that stands already; name = its key, then maybe a space and words for people:
 *           "service/orders (revision 12)"; text = its row
 *   node    what a node tells of itself (mesh/record.h)
 *   gone    name = key of an object that is taken away */
#pragma once

#include "base/arena.h"
#include "base/bundle.h"
#include "conf/conf.h"

#define CONF_OBJECT_NAME_MAX 128

/* To add a kind: its line in the table in objects.c, and its list in keys.c. */
struct conf_kind {
	const char *name; /* "service" */
	const char *list; /* "services", in a mesh file */
	const char *key;  /* "name": which key of a row names it */
};
/* Each of them; NULL behind the last. */
const struct conf_kind *conf_kind_at(size_t index);
/* By either name, "service" or "services"; NULL: there is none. */
const struct conf_kind *conf_kind_find(struct str word);
/* "service, policy". */
const char *conf_kind_names(char *text, size_t size);

struct conf_object {
	struct str key;	   /* "service/orders" */
	struct str text;   /* one row in its list; the same for a row of the same content */
	struct str source; /* "orders.conf:12" */
};

/* A file, or the *.conf of a directory in order of their names, as kind mesh. Blocks on disk. */
int conf_objects_gather(const char *path, struct bundle *b, struct conf_report *report) MUST_CHECK;
/* The rows of all items of kind mesh. -EINVAL with the report; -ENOMEM. Everything in the arena. */
int conf_objects_read(const struct bundle *b, struct arena *arena, struct conf_object **ret_objects,
	uint32_t *ret_count, struct conf_report *report) MUST_CHECK;
/* Texts of rows as one mesh file. at == NULL: one is malformed, or out of memory. */
struct str conf_objects_join(struct arena *arena, const struct str *texts, uint32_t count);

/* Whether they make a mesh together: what a node would refuse, and what only the whole mesh can
 * tell. -EINVAL when there are errors. */
int conf_objects_check(
	const struct bundle *b, struct str trust_domain, struct conf_report *report) MUST_CHECK;
