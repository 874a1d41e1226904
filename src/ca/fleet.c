/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet.h"

#include "authority_inside.h"
#include "issuer.h"
#include <errno.h>
#include <openssl/x509.h>
#include <stdlib.h>

static int fleet_compare_text(struct str a, struct str b)
{
	int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
	return order || a.len == b.len ? order : a.len < b.len ? -1 : 1;
}

static int fleet_compare_node(const void *a, const void *b)
{
	const struct ledger_row *const *x = a, *const *y = b;
	return fleet_compare_text((*x)->node, (*y)->node);
}

static int fleet_compare_serial(const void *a, const void *b)
{
	return fleet_compare_text(
		((const struct ledger_row *)a)->serial, ((const struct ledger_row *)b)->serial);
}

bool fleet_is_revoked(const struct fleet *t, struct str serial)
{
	struct ledger_row wanted = {.serial = serial};
	return t->revoked.count > 0 && bsearch(&wanted, t->revoked.rows, t->revoked.count,
					       sizeof(wanted), fleet_compare_serial) != NULL;
}

static void fleet_count(struct fleet *t, struct fleet_node *node, const struct ledger_row *row)
{
	node->count++;
	if (row->end_s > node->end_s)
		node->end_s = row->end_s;
	if (str_starts(row->identity, STR("node/")) && row->end_s > node->own_end_s)
		node->own_end_s = row->end_s;
	if (str_eq(row->issuer, str_of(t->issuer)))
		return;
	node->old_count++;
	if (row->end_s > node->old_end_s)
		node->old_end_s = row->end_s;
}

static void fleet_group(
	struct fleet *t, const struct folder *f, const struct ledger_row **rows, uint32_t row_count)
{
	for (uint32_t i = 0; i < row_count; i++) {
		if (str_eq(rows[i]->node, STR("-"))) {
			fleet_count(t, &t->by_hand, rows[i]);
			continue;
		}
		bool is_same = t->count > 0 && str_eq(t->nodes[t->count - 1].name, rows[i]->node);
		struct fleet_node *node = &t->nodes[is_same ? t->count - 1 : t->count++];
		if (!is_same) {
			*node = (struct fleet_node){.name = rows[i]->node};
			nodes_read(f, node->name, &node->shown);
			node->is_current = strcmp(node->shown.anchors.etag, t->etag) == 0;
		}
		fleet_count(t, node, rows[i]);
	}
}

static int fleet_sort(struct fleet *t, const struct folder *f, int64_t now_s, struct err *err)
{
	const struct ledger_row **rows =
		calloc(t->index.count + 1, sizeof(const struct ledger_row *));
	uint32_t count = 0;
	t->nodes = calloc(t->index.count + 1, sizeof(*t->nodes));
	if (!rows || !t->nodes) {
		free(rows);
		return err_set(err, ENOMEM, "out of memory");
	}
	qsort(t->revoked.rows, t->revoked.count, sizeof(*t->revoked.rows), fleet_compare_serial);
	for (uint32_t i = 0; i < t->index.count; i++) {
		const struct ledger_row *row = &t->index.rows[i];
		if (row->end_s > now_s && !fleet_is_revoked(t, row->serial))
			rows[count++] = row;
	}
	qsort(rows, count, sizeof(const struct ledger_row *), fleet_compare_node);
	fleet_group(t, f, rows, count);
	free(rows);
	return 0;
}

int fleet_read(const struct folder *f, int64_t now_s, struct fleet *ret_fleet, struct err *err)
{
	struct fleet t = {0};
	struct issuer issuer;
	struct str anchors;
	int r = issuer_load(f, "issuer", &issuer, err);
	if (r < 0)
		return r;
	memcpy(t.issuer, issuer.key_id, sizeof(t.issuer));
	issuer_done(&issuer);
	r = authority_own_anchors(f, &anchors, t.etag, err);
	if (r < 0)
		return r;
	file_text_free(anchors);
	r = ledger_read_index(f, &t.index, err);
	if (r == 0)
		r = ledger_read_revoked(f, &t.revoked, err);
	if (r == 0)
		r = fleet_sort(&t, f, now_s, err);
	if (r < 0)
		fleet_done(&t);
	else
		*ret_fleet = t;
	return r;
}

void fleet_done(struct fleet *t)
{
	ledger_done(&t->index);
	ledger_done(&t->revoked);
	free(t->nodes);
	t->nodes = NULL;
}

const struct fleet_node *fleet_find(const struct fleet *t, struct str name)
{
	for (uint32_t i = 0; i < t->count; i++) {
		if (str_eq(t->nodes[i].name, name))
			return &t->nodes[i];
	}
	return NULL;
}
