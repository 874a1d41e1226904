/* SPDX-License-Identifier: Apache-2.0 */
/* What this node knows of the mesh: the objects of one verified revision, and the newest record of
 * each node. Pure: no I/O, no clock of its own. */
#pragma once

#include "base/bundle.h"
#include "base/list.h"
#include "base/map.h"
#include "mesh/record.h"
#include "rollout/rollout.h"
#include "state/object.h"

#define MIRROR_NODES_MAX    20000
#define MIRROR_ROLLOUTS_MAX ROLLOUT_TOLD_MAX

/* Whether a node still speaks up. */
enum mirror_presence {
	MIRROR_PRESENT,
	MIRROR_SILENT, /* its lease has ended */
};

struct mirror_node {
	struct map_node by_name; /* in mirror.nodes */
	struct list order;	 /* in mirror.order: by the bytes of their names */
	struct arena arena;	 /* all of the record */
	struct record record;
	struct str text;
	enum mirror_presence presence;
	uint64_t silent_ns; /* since when; monotonic */
	bool is_outlived;   /* its lease is of a life that began earlier, by its own clock */
	uint64_t look;	    /* the number of the last look in which it was seen */
};

/* Where in a rollout's stream something stands: entry by entry within a term, and each who carries
 * the rollout on begins a higher term. All zero: nowhere. */
struct mirror_place {
	uint64_t term, entry;
};

/* How far a rollout is. */
struct mirror_rollout {
	struct list node; /* in mirror.rollouts */
	char service[ROLLOUT_WORD_MAX + 1];
	struct mirror_place place;
	struct rollout_progress progress; /* spans into text */
	size_t text_len;
	char text[ROLLOUT_TEXT_MAX + 1];
};

struct mirror {
	struct map nodes;
	struct list order;    /* of struct mirror_node */
	struct list rollouts; /* of struct mirror_rollout: what the stream of each told last */
	uint32_t rollout_count;
	uint32_t node_count, endpoint_count;
	struct object_set objects;
	struct head head; /* spans into head_text */
	char *head_text;  /* NULL: no revision yet */
	size_t head_len;
	uint64_t object_count; /* counts up with every set of objects that is taken */
	uint64_t change_count; /* counts up with every change of the picture */
};

void mirror_init(struct mirror *m);
void mirror_done(struct mirror *m);

/* By their bytes: the order of names. */
int mirror_compare(struct str a, struct str b);
struct mirror_node *mirror_find(const struct mirror *m, struct str name);
/* The one after `name` in the order of names, the first after the last; NULL: there is none. The
 * name itself need not be there. */
struct mirror_node *mirror_after(const struct mirror *m, struct str name);

enum mirror_result {
	MIRROR_SAME,  /* known already, or older than what is known */
	MIRROR_TAKEN, /* the picture has changed */
};
/* A record of that node. Its `look` and presence are left to the caller. -EINVAL: not a record, or
 * another node's; -ENOMEM, -E2BIG. */
int mirror_take_record(
	struct mirror *m, struct str name, struct str text, struct err *err) MUST_CHECK;
void mirror_remove(struct mirror *m, struct mirror_node *node);

/* Takes over a set that fits its verified head, and leaves an empty one. -ENOMEM: nothing has
 * changed. */
int mirror_take_objects(struct mirror *m, struct str head_text, const struct head *head,
	struct object_set *set, struct err *err) MUST_CHECK;
static inline uint64_t mirror_revision(const struct mirror *m)
{
	return m->head_text ? m->head.revision : 0;
}

/* "7-12", as an id of the stream. */
bool mirror_place_parse(struct str text, struct mirror_place *ret_place) MUST_CHECK;
bool mirror_place_is_after(struct mirror_place a, struct mirror_place b);
struct mirror_rollout *mirror_find_rollout(const struct mirror *m, struct str service);
/* What stands at that place of its stream. The same text as before, further on, is no change of the
 * picture. -EINVAL: not a rollout's progress; -ENOMEM, -E2BIG. */
int mirror_take_rollout(struct mirror *m, struct str service, struct mirror_place place,
	struct str text, struct err *err) MUST_CHECK;
/* Its stream has begun anew: what is known stays, and anything that stands there now is newer. */
void mirror_unplace_rollout(struct mirror *m, struct mirror_rollout *r);
void mirror_remove_rollout(struct mirror *m, struct mirror_rollout *r);
/* As mirror_keep() has it. */
int mirror_load_rollout(
	struct mirror *m, const struct bundle_item *item, struct err *err) MUST_CHECK;

/* The picture for the proxy process: kinds mesh, node, rollout, revision. */
int mirror_picture(const struct mirror *m, struct bundle *b, struct err *err) MUST_CHECK;
/* All of it, to be kept on disk: kinds head, object, node, and rollout, "orders@7-12", which is the
 * place in its stream. `without`: this node's own name. */
int mirror_keep(
	const struct mirror *m, struct str without, struct bundle *b, struct err *err) MUST_CHECK;
