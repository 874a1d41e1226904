/* SPDX-License-Identifier: Apache-2.0 */
/* What a command makes of the mesh's objects: from the set that stands, the set that is to stand.
 * Pure. */
#pragma once

#include "conf/objects.h"
#include "state/object.h"

/* One entry of the stream of changes. */
struct edit_entry {
	uint64_t revision;
	struct str head, change;
};

/* What a command wants. */
struct edit_wish {
	enum edit_kind { EDIT_PUT, EDIT_TAKE, EDIT_ROLL_BACK } kind;
	const struct conf_object *rows; /* PUT */
	uint32_t row_count;
	bool prune; /* PUT: what is not among the rows is taken away */
	/* PUT: the rows were made from this text of the first of them, which must stand still;
	 * empty: there was none */
	bool has_was;
	struct str was;
	const struct str *keys; /* TAKE */
	uint32_t key_count;
	uint64_t target; /* ROLL_BACK: to this revision, */
	/* whose head one of these must have signed, for this mesh */
	const struct operator_keys *signers;
	struct str mesh;
};

/* Who does it, and under what number. */
struct edit_stamp {
	struct str who;
	uint64_t revision, time_s;
};

struct edit {
	struct object_set after;
	struct change *changes; /* spans of `before` and `after`; in the arena */
	uint32_t change_count, unchanged_count;
	struct str *rows; /* keys of the wish's rows, sorted; in the arena */
	uint32_t row_count;
};

/* `entries`: for ROLL_BACK, newest first, down to the target's own at least. -EINVAL when it cannot
 * be done, with the reason; -ENOMEM. `before` must outlive the edit. */
int edit_make(const struct edit_wish *wish, const struct edit_stamp *stamp,
	const struct object_set *before, const struct edit_entry *entries, uint32_t entry_count,
	struct arena *arena, struct edit *ret_edit, struct err *err) MUST_CHECK;
void edit_done(struct edit *edit);
/* Whether the wish has a row of this key. */
bool edit_has_row(const struct edit *edit, struct str key);

/* What somebody else has changed meanwhile of that which the wish is about, changed by it or not:
 * `seen` is the set that the edit was made from, `now` the one that stands. at == NULL: nothing. */
struct str edit_conflict(const struct edit_wish *wish, const struct edit *edit,
	const struct object_set *seen, const struct object_set *now);

enum edit_verb { EDIT_CREATE, EDIT_CHANGE, EDIT_REMOVE };
enum edit_verb edit_verb(const struct change *change);
const char *edit_verb_name(enum edit_verb verb); /* "create" */
