/* SPDX-License-Identifier: Apache-2.0 */
/* What was seen is a set of points with four coordinates: caller, port, method, path. A policy
 * allows a box: some of each. Points are put together to boxes by one coordinate after the other,
 * as long as boxes that differ in one only are left; of all orders of the coordinates the one is
 * taken that leaves the fewest boxes. Of these those go that others can do without. Where points
 * are few, all ways to cover them are tried besides. Boxes overlap only where that makes fewer. */
#include "suggest.h"

#include "mesh/policy.h"
#include "suggest_boxes.h"
#include "suggest_few.h"
#include <stdlib.h>

enum suggest_by { BY_FROM, BY_PORT, BY_METHOD, BY_PATH, BY_COUNT };

_Static_assert(BY_COUNT == BOX_BY && BY_COUNT == FEW_BY, "as many coordinates");

/* One service's. Numbers in sets are places in `points` of the first point that has the text. */
struct suggest_work {
	struct arena *arena;
	const struct suggest_seen **points;
	uint32_t count;
	struct box *boxes, *best;
	uint32_t box_count, best_count;
	bool is_exhausted;
};

/* --- what says no more than another --- */

static bool suggest_path_covers(struct str a, struct str b)
{
	const struct str rest = STR("/*");
	if (str_eq(a, b))
		return true;
	if (a.len < rest.len || memcmp(a.at + a.len - rest.len, rest.at, rest.len) != 0)
		return false;
	struct str start = {a.at, a.len - rest.len};
	bool is_template = memchr(a.at, '{', a.len);
	return str_starts(b, start) && (b.len == start.len ? !is_template : b.at[start.len] == '/');
}

static bool suggest_covers(const struct suggest_seen *a, const struct suggest_seen *b)
{
	if (a->port != b->port || !str_eq(a->from, b->from))
		return false;
	if (!a->is_http)
		return true;
	return b->is_http && (a->method.len == 0 || str_eq(a->method, b->method)) &&
	       suggest_path_covers(a->path, b->path);
}

static void suggest_drop_covered(struct suggest_work *w)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		bool is_covered = false;
		for (uint32_t k = 0; k < w->count && !is_covered; k++)
			is_covered = k != i && w->points[k] &&
				     suggest_covers(w->points[k], w->points[i]);
		if (is_covered)
			w->points[i] = NULL;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		if (w->points[i])
			w->points[kept++] = w->points[i];
	}
	w->count = kept;
}

/* --- boxes --- */

static int suggest_compare_sets(const struct box_set *a, const struct box_set *b)
{
	if (a->count != b->count)
		return a->count < b->count ? -1 : 1;
	return memcmp(a->at, b->at, a->count * sizeof(*a->at));
}

/* By all coordinates but `but`; BY_COUNT: by all. */
static int suggest_compare(const struct box *a, const struct box *b, enum suggest_by but)
{
	int order = 0;
	for (int by = 0; by < BY_COUNT && order == 0; by++) {
		if (by != (int)but)
			order = suggest_compare_sets(&a->by[by], &b->by[by]);
	}
	return order;
}

static int suggest_compare_but(const void *a, const void *b, void *but)
{
	const struct box *one = a, *other = b;
	int order = suggest_compare(one, other, *(const enum suggest_by *)but);
	return order ? order : suggest_compare(one, other, BY_COUNT);
}

static int suggest_compare_numbers(const void *a, const void *b)
{
	const uint32_t *one = a, *other = b;
	return (*one > *other) - (*one < *other);
}

/* Those from `first` on become one. */
static void suggest_unite(struct suggest_work *w, struct box *to, const struct box *first,
	uint32_t count, enum suggest_by by)
{
	struct box_set set = {.count = 0};
	uint32_t total = 0;
	for (uint32_t i = 0; i < count; i++)
		total += first[i].by[by].count;
	set.at = arena_take(w->arena, (size_t)total * sizeof(*set.at));
	for (uint32_t i = 0; set.at && i < count; i++) {
		const struct box_set *more = &first[i].by[by];
		memcpy(set.at + set.count, more->at, more->count * sizeof(*set.at));
		set.count += more->count;
	}
	w->is_exhausted = w->is_exhausted || !set.at;
	if (!set.at)
		return;
	qsort(set.at, set.count, sizeof(*set.at), suggest_compare_numbers);
	*to = *first;
	to->by[by] = set;
}

/* Whether there are fewer now. */
static bool suggest_merge(struct suggest_work *w, enum suggest_by by)
{
	uint32_t kept = 0, before = w->box_count;
	qsort_r(w->boxes, w->box_count, sizeof(*w->boxes), suggest_compare_but, &by);
	for (uint32_t i = 0, next; i < before && !w->is_exhausted; i = next) {
		for (next = i + 1; next < before; next++) {
			if (suggest_compare(&w->boxes[i], &w->boxes[next], by) != 0)
				break;
		}
		if (next - i > 1)
			suggest_unite(w, &w->boxes[kept++], &w->boxes[i], next - i, by);
		else
			w->boxes[kept++] = w->boxes[i];
	}
	w->box_count = kept;
	return kept < before;
}

static struct str suggest_text(const struct suggest_seen *p, enum suggest_by by)
{
	switch (by) {
	case BY_FROM:
		return p->from;
	case BY_METHOD:
		return p->method;
	case BY_PATH:
		return p->path;
	case BY_PORT:
	case BY_COUNT:
		break;
	}
	return STR("");
}

static bool suggest_is_same(
	const struct suggest_seen *a, const struct suggest_seen *b, enum suggest_by by)
{
	if (by == BY_PORT)
		return a->port == b->port;
	if ((by == BY_METHOD || by == BY_PATH) && a->is_http != b->is_http)
		return false;
	return str_eq(suggest_text(a, by), suggest_text(b, by));
}

/* One box for each point. */
static void suggest_begin(struct suggest_work *w)
{
	w->box_count = w->count;
	for (uint32_t i = 0; i < w->count; i++) {
		uint32_t *numbers = arena_take(w->arena, BY_COUNT * sizeof(*numbers));
		w->is_exhausted = w->is_exhausted || !numbers;
		if (w->is_exhausted)
			return;
		for (int by = 0; by < BY_COUNT; by++) {
			while (!suggest_is_same(
				w->points[numbers[by]], w->points[i], (enum suggest_by)by))
				numbers[by]++;
			w->boxes[i].by[by] = (struct box_set){&numbers[by], 1};
		}
	}
}

/* The order that the digits of `number` in the factorial system mean. */
static void suggest_order(uint32_t number, enum suggest_by order[BY_COUNT])
{
	enum suggest_by left[BY_COUNT] = {BY_FROM, BY_PORT, BY_METHOD, BY_PATH};
	for (uint32_t n = BY_COUNT; n > 0; n--) {
		uint32_t at = number % n;
		number /= n;
		order[BY_COUNT - n] = left[at];
		memmove(&left[at], &left[at + 1], (n - at - 1) * sizeof(left[0]));
	}
}

static void suggest_try(
	struct suggest_work *w, const struct box *start, uint32_t start_count, uint32_t number)
{
	enum suggest_by order[BY_COUNT];
	suggest_order(number, order);
	memcpy(w->boxes, start, start_count * sizeof(*start));
	w->box_count = start_count;
	for (bool is_fewer = true; is_fewer && !w->is_exhausted;) {
		is_fewer = false;
		for (int i = 0; i < BY_COUNT; i++)
			is_fewer = suggest_merge(w, order[i]) || is_fewer;
	}
	if (number > 0 && w->box_count >= w->best_count)
		return;
	memcpy(w->best, w->boxes, w->box_count * sizeof(*w->boxes));
	w->best_count = w->box_count;
}

static void suggest_reduce(struct suggest_work *w, const struct box *start)
{
	w->is_exhausted = w->is_exhausted ||
			  !boxes_reduce(w->arena, start, w->count, w->best, &w->best_count);
}

/* Of each coordinate the points that values stand for; false: there are too many points. */
static bool suggest_few_points(
	const struct suggest_work *w, struct few *f, uint32_t numbers[BY_COUNT][FEW_POINTS_MAX])
{
	if (w->count > FEW_POINTS_MAX)
		return false;
	*f = (struct few){.count = w->count};
	for (int by = 0; by < BY_COUNT; by++) {
		uint8_t values = 0;
		for (uint32_t i = 0; i < w->count; i++) {
			uint8_t value = 0;
			while (value < values && !suggest_is_same(w->points[numbers[by][value]],
							 w->points[i], (enum suggest_by)by))
				value++;
			if (value == values)
				numbers[by][values++] = i;
			f->points[i][by] = value;
		}
	}
	return true;
}

/* Instead of the best so far, if it needs fewer boxes. */
static void suggest_try_all(struct suggest_work *w, const struct box *start)
{
	struct few f;
	uint32_t numbers[BY_COUNT][FEW_POINTS_MAX];
	if (!suggest_few_points(w, &f, numbers) || !few_cover(&f, w->best_count))
		return;
	uint32_t *at = arena_take(w->arena, sizeof(*at) * f.box_count * BY_COUNT * FEW_POINTS_MAX);
	w->is_exhausted = !at;
	w->best_count = at ? f.box_count : w->best_count;
	for (uint32_t i = 0; at && i < f.box_count; i++) {
		for (int by = 0; by < BY_COUNT; by++, at += FEW_POINTS_MAX) {
			struct box_set *set = &w->best[i].by[by];
			*set = (struct box_set){.at = at};
			for (uint32_t v = 0; v < FEW_POINTS_MAX; v++) {
				if (f.boxes[i].values[by] >> v & 1)
					set->at[set->count++] = numbers[by][v];
			}
		}
	}
	suggest_reduce(w, start);
}

#define SUGGEST_ORDERS 24

static void suggest_boxes(struct suggest_work *w)
{
	size_t bytes = (w->count + 1u) * sizeof(struct box);
	struct box *start = arena_take(w->arena, bytes);
	w->boxes = arena_take(w->arena, bytes);
	w->best = arena_take(w->arena, bytes);
	w->is_exhausted = !start || !w->boxes || !w->best;
	if (w->is_exhausted)
		return;
	suggest_begin(w);
	if (w->is_exhausted)
		return;
	memcpy(start, w->boxes, bytes);
	for (uint32_t i = 0; i < SUGGEST_ORDERS && !w->is_exhausted; i++)
		suggest_try(w, start, w->count, i);
	if (!w->is_exhausted)
		suggest_reduce(w, start);
	if (!w->is_exhausted)
		suggest_try_all(w, start);
	qsort(w->best, w->best_count, sizeof(*w->best), box_compare_sets);
}

/* --- policies --- */

static struct str *suggest_list(
	struct suggest_work *w, const struct box_set *set, enum suggest_by by, uint32_t *ret_count)
{
	struct str *list = arena_take(w->arena, (set->count + 1u) * sizeof(*list));
	w->is_exhausted = w->is_exhausted || !list;
	for (uint32_t i = 0; list && i < set->count; i++) {
		struct str text = suggest_text(w->points[set->at[i]], by);
		if (text.len > 0)
			list[(*ret_count)++] = text;
	}
	return list;
}

static void suggest_policy_of(
	struct suggest_work *w, const struct box *box, struct suggest_policy *p)
{
	const struct box_set *ports = &box->by[BY_PORT], *methods = &box->by[BY_METHOD];
	*p = (struct suggest_policy){.service = w->points[0]->service,
		.is_http = w->points[box->by[BY_PATH].at[0]]->is_http};
	p->from = suggest_list(w, &box->by[BY_FROM], BY_FROM, &p->from_count);
	p->methods = suggest_list(w, methods, BY_METHOD, &p->method_count);
	if (p->method_count < methods->count)
		p->method_count = 0; /* any is one of them */
	p->paths = suggest_list(w, &box->by[BY_PATH], BY_PATH, &p->path_count);
	p->ports = arena_take(w->arena, ports->count * sizeof(*p->ports));
	w->is_exhausted = w->is_exhausted || !p->ports;
	for (uint32_t i = 0; p->ports && i < ports->count; i++)
		p->ports[p->port_count++] = w->points[ports->at[i]]->port;
}

static int suggest_compare_seen(const void *a, const void *b)
{
	const struct suggest_seen *one = *(const struct suggest_seen *const *)a;
	const struct suggest_seen *other = *(const struct suggest_seen *const *)b;
	const struct str texts[][2] = {{one->service, other->service}, {one->from, other->from},
		{one->path, other->path}, {one->method, other->method}};
	int order = 0;
	for (size_t i = 0; i < ARRAY_LEN(texts) && order == 0; i++) {
		struct str x = texts[i][0], y = texts[i][1];
		size_t len = x.len < y.len ? x.len : y.len;
		order = len ? memcmp(x.at, y.at, len) : 0;
		order = order ? order : (x.len > y.len) - (x.len < y.len);
	}
	order = order ? order : one->port - other->port;
	return order ? order : one->is_http - other->is_http;
}

/* False: no memory. */
static bool suggest_service(struct arena *arena, const struct suggest_seen **points, uint32_t count,
	struct suggest_policy *policies, uint32_t *policy_count)
{
	struct suggest_work w = {.arena = arena, .points = points, .count = count};
	suggest_drop_covered(&w);
	suggest_boxes(&w);
	for (uint32_t i = 0; !w.is_exhausted && i < w.best_count; i++)
		suggest_policy_of(&w, &w.best[i], &policies[(*policy_count)++]);
	return !w.is_exhausted;
}

struct suggest_policy *suggest_policies(struct arena *arena, const struct suggest_seen *seen,
	uint32_t seen_count, uint32_t *ret_count)
{
	const struct suggest_seen **points =
		arena_take(arena, (seen_count + 1u) * sizeof(struct suggest_seen *));
	struct suggest_policy *policies =
		arena_take(arena, (seen_count + 1u) * sizeof(struct suggest_policy));
	*ret_count = 0;
	if (!points || !policies)
		return NULL;
	for (uint32_t i = 0; i < seen_count; i++)
		points[i] = &seen[i];
	qsort(points, seen_count, sizeof(struct suggest_seen *), suggest_compare_seen);
	for (uint32_t i = 0, next; i < seen_count; i = next) {
		for (next = i; next < seen_count; next++) {
			if (!str_eq(points[i]->service, points[next]->service))
				break;
		}
		if (!suggest_service(arena, points + i, next - i, policies, ret_count))
			return NULL;
	}
	return policies;
}

/* --- text --- */

#define SUGGEST_COLUMNS	 100
#define SUGGEST_NODE_MAX 48u /* a name that can be published, with the longest of services */

static void suggest_print_list(FILE *out, const char *key, const struct str *list, uint32_t count)
{
	size_t column = (size_t)fprintf(out, "    %s = [", key);
	for (uint32_t i = 0; i < count; i++) {
		const char *gap = i == 0 ? " " : ", ";
		if (column + list[i].len + 6 > SUGGEST_COLUMNS) {
			gap = i == 0 ? "\n      " : ",\n      ";
			column = 6;
		}
		fprintf(out, "%s\"", gap);
		for (size_t c = 0; c < list[i].len; c++) {
			if (list[i].at[c] == '"' || list[i].at[c] == '\\')
				putc('\\', out);
			putc(list[i].at[c], out);
		}
		putc('"', out);
		column += list[i].len + 4;
	}
	if (count > 0)
		fprintf(out, " ];\n");
}

static void suggest_print_policy(
	FILE *out, struct str node, const struct suggest_policy *p, uint32_t number)
{
	node.len = node.len < SUGGEST_NODE_MAX ? node.len : SUGGEST_NODE_MAX;
	fprintf(out, "  { name = \"seen-" STR_FMT "%s" STR_FMT "-%u\";\n", STR_ARG(p->service),
		node.len > 0 ? "-" : "", STR_ARG(node), number);
	fprintf(out, "    service = \"" STR_FMT "\";\n    action = \"allow\";\n",
		STR_ARG(p->service));
	suggest_print_list(out, "from", p->from, p->from_count);
	fprintf(out, "    ports = [");
	for (uint32_t i = 0; i < p->port_count; i++)
		fprintf(out, "%s %u", i ? "," : "", p->ports[i]);
	fprintf(out, " ];\n");
	if (p->method_count > 0)
		suggest_print_list(out, "methods", p->methods, p->method_count);
	if (p->path_count > 0)
		suggest_print_list(out, "paths", p->paths, p->path_count);
	fprintf(out, "  }");
}

/* --- parts --- */

/* Of each list but callers and paths a policy has no more than so many. */
static uint32_t suggest_parts_of(uint32_t count)
{
	return count > 0 ? (count + POLICY_LIST_MAX - 1) / POLICY_LIST_MAX : 1;
}

static uint32_t suggest_part_count(uint32_t count, uint32_t part)
{
	uint32_t left = count - part * POLICY_LIST_MAX;
	return left < POLICY_LIST_MAX ? left : POLICY_LIST_MAX;
}

/* One of those that say it together. */
static struct suggest_policy suggest_part(const struct suggest_policy *p, uint32_t part)
{
	uint32_t of_ports = suggest_parts_of(p->port_count);
	uint32_t port = part % of_ports, method = part / of_ports;
	struct suggest_policy one = *p;
	one.ports += port * POLICY_LIST_MAX;
	one.port_count = suggest_part_count(p->port_count, port);
	one.methods += method * POLICY_LIST_MAX;
	one.method_count = suggest_part_count(p->method_count, method);
	return one;
}

void suggest_print(
	FILE *out, struct str node, const struct suggest_policy *policies, uint32_t count)
{
	uint32_t number = 0;
	fprintf(out, "policies: (\n");
	for (uint32_t i = 0; i < count; i++) {
		const struct suggest_policy *p = &policies[i];
		bool is_next = i > 0 && str_eq(p->service, policies[i - 1].service);
		uint32_t parts =
			suggest_parts_of(p->port_count) * suggest_parts_of(p->method_count);
		number = is_next ? number : 0;
		for (uint32_t k = 0; k < parts; k++) {
			struct suggest_policy part = suggest_part(p, k);
			suggest_print_policy(out, node, &part, ++number);
			fprintf(out, i + 1 < count || k + 1 < parts ? ",\n" : "\n");
		}
	}
	fprintf(out, ");\n");
}
