/* SPDX-License-Identifier: Apache-2.0 */
#include "nodes.h"

#include <errno.h>
#include <stdio.h>

#define NODES_REFRESH_S 60

static void nodes_name(struct str node, char name[80])
{
	snprintf(name, 80, "nodes/%.*s", node.len < 64 ? (int)node.len : 64, node.at);
}

static void nodes_parse(struct str line, struct nodes_row *row)
{
	struct str words[4];
	uint64_t since, seen;
	if (folder_words(line, words, 4) != 4 || words[1].len >= NODES_ETAG_MAX ||
		!str_to_u64(words[2], &since) || !str_to_u64(words[3], &seen) ||
		since > INT64_MAX || seen > INT64_MAX)
		return;
	struct nodes_shown *shown = str_eq(words[0], STR("crls")) ? &row->crls : &row->anchors;
	*shown = (struct nodes_shown){.since_s = (int64_t)since, .seen_s = (int64_t)seen};
	memcpy(shown->etag, words[1].at, words[1].len);
}

void nodes_read(const struct folder *f, struct str node, struct nodes_row *ret_row)
{
	char name[80];
	struct str text, rest, line;
	struct err ignored;
	*ret_row = (struct nodes_row){0};
	nodes_name(node, name);
	if (folder_read(f, name, FILE_PUBLIC, &text, &ignored) < 0)
		return;
	rest = text;
	while (folder_line(&rest, &line))
		nodes_parse(line, ret_row);
	file_text_free(text);
}

static bool nodes_etag_valid(struct str etag)
{
	bool is_valid = etag.len > 0 && etag.len < NODES_ETAG_MAX;
	for (size_t i = 0; is_valid && i < etag.len; i++)
		is_valid = etag.at[i] > ' ' && etag.at[i] < 0x7f;
	return is_valid;
}

static int nodes_write(
	const struct folder *f, struct str node, const struct nodes_row *row, struct err *err)
{
	char name[80], text[512];
	int len = 0;
	if (row->anchors.etag[0])
		len = snprintf(text, sizeof(text), "anchors %s %lld %lld\n", row->anchors.etag,
			(long long)row->anchors.since_s, (long long)row->anchors.seen_s);
	if (row->crls.etag[0])
		len += snprintf(text + len, sizeof(text) - (size_t)len, "crls %s %lld %lld\n",
			row->crls.etag, (long long)row->crls.since_s, (long long)row->crls.seen_s);
	nodes_name(node, name);
	int r = folder_subdirectory(f, "nodes", err);
	return r < 0 ? r : folder_write(f, name, FILE_SECRET, (struct str){text, (size_t)len}, err);
}

int nodes_show(const struct folder *f, struct str node, bool is_crls, struct str etag,
	int64_t now_s, struct err *err)
{
	struct nodes_row row;
	if (!nodes_etag_valid(etag))
		return 0; /* of nobody's making that we know */
	nodes_read(f, node, &row);
	struct nodes_shown *shown = is_crls ? &row.crls : &row.anchors;
	bool is_same = str_eq(str_of(shown->etag), etag);
	if (is_same && now_s - shown->seen_s < NODES_REFRESH_S && now_s >= shown->seen_s)
		return 0;
	if (!is_same) {
		*shown = (struct nodes_shown){.since_s = now_s};
		memcpy(shown->etag, etag.at, etag.len);
	}
	shown->seen_s = now_s;
	return nodes_write(f, node, &row, err);
}

int nodes_forget(const struct folder *f, struct str node, struct err *err)
{
	char name[80];
	nodes_name(node, name);
	return folder_remove(f, name, err);
}
