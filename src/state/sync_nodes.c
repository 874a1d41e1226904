/* SPDX-License-Identifier: Apache-2.0 */
/* What other nodes tell of themselves. A look asks for the leases of some nodes, or of all that
 * there are, and for the records of those that have a newer one.
 *
 * Who has no lease is silent, and silent for a while is gone, unless the fault is more likely the
 * store's: nobody is judged while the store does not take our own lease (it is full, or read-only,
 * or it has just come back: then the others cannot have renewed theirs either), and when very many
 * are silent at once they are held for a time. */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "state/layout.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NODES_LOOK_NS	   (30 * CLOCK_MS) /* news come in crowds */
#define NODES_AGAIN_NS	   CLOCK_S
#define NODES_LEASE_BATCH  256
#define NODES_RECORD_BATCH 32
#define NODES_SCANS_MAX	   10000	  /* of 1000 keys each: a server's cursor ends before */
#define NODES_RETURN_NS	   (12 * CLOCK_S) /* the longest wait of a store, and a look */
#define NODES_HOLD_MIN	   3		  /* fewer silent nodes than that are believed */
/* What one node writes all others read: of a value no more than shows that it is too long. */
#define NODES_LEASE_END	 "79"
#define NODES_RECORD_END "65536"

static const char *const nodes_state_names[] = {"REST", "SCAN", "LEASES", "RECORDS"};

static void nodes_move(struct sync *s, enum nodes_state state)
{
	static const unsigned allowed[] = {
		[NODES_REST] = 1u << NODES_SCAN | 1u << NODES_LEASES,
		[NODES_SCAN] = 1u << NODES_SCAN | 1u << NODES_LEASES | 1u << NODES_REST,
		[NODES_LEASES] = 1u << NODES_LEASES | 1u << NODES_RECORDS | 1u << NODES_REST,
		[NODES_RECORDS] = 1u << NODES_RECORDS | 1u << NODES_REST,
	};
	ASSERT(nodes_state_names[state] && allowed[s->nodes.state] & 1u << state);
	s->nodes.state = state;
}

/* --- names --- */

/* False: out of memory, or too many. */
static bool names_add(struct names *n, struct str name)
{
	if (n->count >= MIRROR_NODES_MAX)
		return false;
	if (n->count == n->size) {
		uint32_t size = n->size ? 2 * n->size : 64;
		void *at = realloc(n->at, size * sizeof(*n->at));
		if (!at)
			return false;
		n->at = at;
		n->size = size;
	}
	memcpy(n->at[n->count], name.at, name.len);
	n->at[n->count++][name.len] = '\0';
	return true;
}

static bool names_have(const struct names *n, struct str name)
{
	for (uint32_t i = 0; i < n->count; i++) {
		if (str_eq(str_of(n->at[i]), name))
			return true;
	}
	return false;
}

void nodes_hint(struct sync *s, struct str name)
{
	struct nodes *n = &s->nodes;
	if (!record_node_valid(name) || str_eq(name, s->node))
		return;
	/* Many at once, or one who cries wolf: then it is one look at all of them. */
	if (n->wanted.count >= NODES_LEASE_BATCH ||
		(!names_have(&n->wanted, name) && !names_add(&n->wanted, name)))
		n->all_wanted = true;
	sync_soon(s, &s->look, NODES_LOOK_NS);
}

/* Until the time of the next look at all nodes. */
static void nodes_wait_all(struct sync *s)
{
	uint64_t due_ns = s->loop->now_ns + NODES_LOOK_NS;
	if (s->nodes.all_ns > due_ns)
		due_ns = s->nodes.all_ns;
	sync_soon(s, &s->look, due_ns - s->loop->now_ns);
}

static bool nodes_is_all_due(const struct sync *s)
{
	return s->nodes.all_wanted && s->loop->now_ns >= s->nodes.all_ns;
}

void nodes_hint_all(struct sync *s)
{
	s->nodes.all_wanted = true;
	nodes_wait_all(s);
}

/* --- asking --- */

/* Another one later. */
static void nodes_give_up(struct sync *s)
{
	s->nodes.all_wanted = true;
	if (s->nodes.state != NODES_REST)
		nodes_move(s, NODES_REST);
	sync_soon(s, &s->look, NODES_AGAIN_NS);
}

/* A value for each name of a batch, which is as long as there is room for on the way; false: none.
 * One by one, not with MGET, which takes no bound. */
static bool nodes_ask_batch(
	struct sync *s, enum sync_tag tag, const char *kind, const char *last, uint32_t end)
{
	struct nodes *n = &s->nodes;
	char key[LAYOUT_KEY_MAX];
	uint32_t max = tag == SYNC_TAG_LEASES ? NODES_LEASE_BATCH : NODES_RECORD_BATCH;
	n->batch = n->answered = n->refused = 0;
	while (n->batch < max && n->at + n->batch < end) {
		struct str name = str_of(n->names.at[n->at + n->batch]);
		struct str words[] = {
			STR("GETRANGE"), sync_key(s, key, kind, name), STR("0"), str_of(last)};
		if (!sync_ask(s, tag, words, ARRAY_LEN(words)))
			break;
		n->batch++;
	}
	return n->batch > 0;
}

/* No server of ours has so many keys: it is given time to be mended. */
static void nodes_end_scans(struct sync *s)
{
	sync_refuse(s, s->nodes.why, sizeof(s->nodes.why),
		"the store's list of nodes does not end: given up after %d parts of it",
		NODES_SCANS_MAX);
	nodes_give_up(s);
	s->nodes.all_ns = s->loop->now_ns + s->resync_ns;
}

static void nodes_ask_scan(struct sync *s)
{
	char pattern[LAYOUT_KEY_MAX];
	struct nodes *n = &s->nodes;
	struct str words[] = {STR("SCAN"), str_of(n->cursor), STR("MATCH"),
		sync_key(s, pattern, "lease", STR("*")), STR("COUNT"), STR("1000")};
	nodes_move(s, NODES_SCAN);
	if (++n->scans > NODES_SCANS_MAX)
		nodes_end_scans(s);
	else if (!sync_ask(s, SYNC_TAG_SCAN, words, ARRAY_LEN(words)))
		nodes_give_up(s);
}

static void nodes_end(struct sync *s);

static void nodes_ask_records(struct sync *s)
{
	struct nodes *n = &s->nodes;
	if (n->at >= n->fresh) {
		nodes_end(s);
		return;
	}
	nodes_move(s, NODES_RECORDS);
	if (!nodes_ask_batch(s, SYNC_TAG_RECORDS, "node", NODES_RECORD_END, n->fresh))
		nodes_give_up(s);
}

static void nodes_ask_leases(struct sync *s)
{
	struct nodes *n = &s->nodes;
	nodes_move(s, NODES_LEASES);
	if (n->at >= n->names.count) {
		n->at = 0;
		nodes_ask_records(s);
	} else if (!nodes_ask_batch(s, SYNC_TAG_LEASES, "lease", NODES_LEASE_END, n->names.count)) {
		nodes_give_up(s);
	}
}

static void nodes_begin(struct sync *s)
{
	struct nodes *n = &s->nodes;
	struct names names = n->names;
	n->is_all = nodes_is_all_due(s);
	n->all_wanted = n->all_wanted && !n->is_all;
	n->names = n->wanted;
	n->wanted = names;
	n->wanted.count = 0;
	n->at = n->fresh = 0;
	n->look_number++;
	if (!n->is_all) {
		nodes_ask_leases(s);
		return;
	}
	n->names.count = n->scans = 0;
	snprintf(n->cursor, sizeof(n->cursor), "0");
	s->resync_count++;
	nodes_ask_scan(s);
}

/* --- who is silent --- */

static void nodes_speaks(struct sync *s, struct mirror_node *node)
{
	node->presence = MIRROR_PRESENT;
	node->look = s->nodes.look_number;
}

/* Of nodes that die together the last lease ends a third of its time after the first, and is missed
 * a third later still: so long nobody is judged, or the first ones would pass for single cases. */
static uint64_t nodes_settle_time_ns(const struct sync *s)
{
	return 2 * (s->lease_ns / 3);
}

static void nodes_falls_silent(struct sync *s, struct mirror_node *node)
{
	uint64_t settle_ns = s->loop->now_ns + nodes_settle_time_ns(s);
	if (node->presence == MIRROR_SILENT || str_eq(node->record.node, s->node))
		return;
	node->presence = MIRROR_SILENT;
	node->silent_ns = s->loop->now_ns;
	if (s->nodes.settle_ns == 0 || settle_ns < s->nodes.settle_ns)
		s->nodes.settle_ns = settle_ns;
	sync_soon(s, &s->look, nodes_settle_time_ns(s));
}

/* Our own lease has been taken, again and again, for as long as a lease lasts and as long as others
 * may wait before they look for a store that has come back: so they have had their time to renew
 * theirs. And whoever has not looked at all yet does not know whether few or many are silent. */
static bool nodes_may_judge(const struct sync *s)
{
	uint64_t now_ns = s->loop->now_ns;
	uint64_t time_ns = s->lease_ns > NODES_RETURN_NS ? s->lease_ns : NODES_RETURN_NS;
	return now_ns >= s->nodes.all_ns && s->own.granted_ns != 0 &&
	       now_ns - s->own.granted_ns < s->lease_ns &&
	       now_ns - s->own.granted_since_ns >= time_ns;
}

static bool nodes_is_due(const struct sync *s, const struct mirror_node *node)
{
	return node->presence == MIRROR_SILENT &&
	       s->loop->now_ns - node->silent_ns >= nodes_settle_time_ns(s);
}

/* So many are silent that it is more likely the store that is at fault. */
static bool nodes_holds(const struct sync *s)
{
	uint64_t silent_count = 0, others = 0;
	LIST_EACH (&s->mirror.order, it) {
		const struct mirror_node *node = CONTAINER_OF(it, struct mirror_node, order);
		bool is_silent = node->presence == MIRROR_SILENT &&
				 s->loop->now_ns - node->silent_ns < s->hold_ns &&
				 node->record.endpoint_count > 0;
		silent_count += is_silent;
		others += !str_eq(node->record.node, s->node);
	}
	return s->hold_percent < 100 && silent_count >= NODES_HOLD_MIN &&
	       silent_count * 100 > others * s->hold_percent;
}

static void nodes_judge_one(struct sync *s, struct mirror_node *node, bool holds)
{
	bool is_over = s->loop->now_ns - node->silent_ns >= s->hold_ns;
	if (holds && !is_over && node->record.endpoint_count > 0) {
		s->nodes.held_count++;
		return;
	}
	log_info("state", "node " STR_FMT " is gone: %u endpoints", STR_ARG(node->record.node),
		node->record.endpoint_count);
	if (node->is_outlived)
		nodes_hint(s, node->record.node);
	mirror_remove(&s->mirror, node);
}

/* When to judge next. Those who are held are looked at less often: their return is told. */
static uint64_t nodes_next_ns(const struct sync *s, bool is_any_left)
{
	if (is_any_left)
		return s->loop->now_ns + s->lease_ns / 3;
	return s->nodes.held_count > 0 ? s->loop->now_ns + 2 * s->lease_ns : 0;
}

static void nodes_judge(struct sync *s)
{
	uint32_t held_before = s->nodes.held_count;
	bool holds = nodes_holds(s), is_any_left = false;
	s->nodes.held_count = 0;
	struct list *it = s->mirror.order.next;
	while (it != &s->mirror.order) {
		struct mirror_node *node = CONTAINER_OF(it, struct mirror_node, order);
		it = it->next;
		if (nodes_is_due(s, node))
			nodes_judge_one(s, node, holds);
		else
			is_any_left = is_any_left || node->presence == MIRROR_SILENT;
	}
	s->nodes.settle_ns = nodes_next_ns(s, is_any_left);
	if (s->nodes.held_count > 0 && held_before == 0)
		log_warning("state",
			"%u nodes fell silent at once: more likely the store's fault than theirs, "
			"they are kept for %llu s",
			s->nodes.held_count, s->hold_ns / CLOCK_S);
}

static void nodes_settle(struct sync *s)
{
	if (nodes_may_judge(s))
		nodes_judge(s);
	else
		s->nodes.settle_ns = s->loop->now_ns + s->lease_ns / 3;
}

/* Until the next look that is wanted already. */
static void nodes_wait(struct sync *s)
{
	const struct nodes *n = &s->nodes;
	uint64_t now_ns = s->loop->now_ns;
	if (n->wanted.count > 0)
		sync_soon(s, &s->look, NODES_LOOK_NS);
	if (n->all_wanted)
		nodes_wait_all(s);
	if (n->settle_ns != 0)
		sync_soon(s, &s->look, n->settle_ns > now_ns ? n->settle_ns - now_ns : 1);
}

/* --- a look ends --- */

static void nodes_end(struct sync *s)
{
	struct nodes *n = &s->nodes;
	for (struct list *it = s->mirror.order.next; n->is_all && it != &s->mirror.order;
		it = it->next) {
		struct mirror_node *node = CONTAINER_OF(it, struct mirror_node, order);
		if (node->look != n->look_number)
			nodes_falls_silent(s, node);
	}
	n->is_known = n->is_known || n->is_all;
	if (n->is_all)
		n->why[0] = '\0';
	nodes_move(s, NODES_REST);
	/* What was silent has been looked at once more just now. */
	if (n->settle_ns != 0 && s->loop->now_ns >= n->settle_ns)
		nodes_settle(s);
	nodes_wait(s);
}

/* --- answers --- */

/* "ringmain:{mesh}:lease:NAME" */
static bool nodes_name_of(const struct sync *s, struct str key, struct str *ret_name)
{
	char prefix[LAYOUT_KEY_MAX];
	struct str all = sync_key(s, prefix, "lease", STR("*"));
	all.len--;
	if (!str_starts(key, all))
		return false;
	*ret_name = (struct str){key.at + all.len, key.len - all.len};
	return record_node_valid(*ret_name) && !str_eq(*ret_name, s->node);
}

static void nodes_refused(struct sync *s, const char *text)
{
	sync_refuse(s, s->nodes.why, sizeof(s->nodes.why), "the store does not tell its nodes: %s",
		text);
}

static void nodes_take_scan(struct sync *s, const redisReply *reply)
{
	struct nodes *n = &s->nodes;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
		reply->element[0]->type != REDIS_REPLY_STRING ||
		reply->element[0]->len >= sizeof(n->cursor) ||
		reply->element[1]->type != REDIS_REPLY_ARRAY) {
		nodes_give_up(s);
		return;
	}
	const redisReply *keys = reply->element[1];
	for (size_t i = 0; i < keys->elements; i++) {
		struct str name;
		const redisReply *key = keys->element[i];
		if (key->type == REDIS_REPLY_STRING &&
			nodes_name_of(s, (struct str){key->str, key->len}, &name) &&
			!names_add(&n->names, name))
			break;
	}
	snprintf(n->cursor, sizeof(n->cursor), "%s", reply->element[0]->str);
	if (strcmp(n->cursor, "0") == 0)
		nodes_ask_leases(s);
	else
		nodes_ask_scan(s);
}

/* "<start> <number> <revision>" */
static bool nodes_lease_parse(struct str rest, struct record *ret_record)
{
	uint64_t *const values[] = {&ret_record->start, &ret_record->number};
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		const char *space = memchr(rest.at, ' ', rest.len);
		size_t len = space ? (size_t)(space - rest.at) : rest.len;
		if (!str_to_u64((struct str){rest.at, len}, values[i]))
			return false;
		len += space != NULL;
		rest = (struct str){rest.at + len, rest.len - len};
	}
	return true;
}

/* One name's lease: those with a newer record move to the front. */
static void nodes_take_lease(struct sync *s, uint32_t index, struct str text)
{
	struct nodes *n = &s->nodes;
	struct record lease = {0};
	struct mirror_node *node = mirror_find(&s->mirror, str_of(n->names.at[index]));
	if (!nodes_lease_parse(text, &lease)) {
		if (node)
			nodes_falls_silent(s, node);
		return;
	}
	if (node)
		node->is_outlived = lease.start < node->record.start;
	/* Its clock went back, or somebody with its password wrote what nothing can be newer than.
	 * The record has no lease; when it is gone, the node's own is taken. */
	if (node && node->is_outlived)
		nodes_falls_silent(s, node);
	else if (node)
		nodes_speaks(s, node);
	if (node && !record_newer(&lease, &node->record))
		return;
	if (n->fresh != index)
		memcpy(n->names.at[n->fresh], n->names.at[index], sizeof(n->names.at[0]));
	n->fresh++;
}

static void nodes_take_record(struct sync *s, struct str name, struct str text)
{
	struct err err;
	if (text.len == 0)
		return; /* not written yet, or gone again: its lease will tell */
	int r = mirror_take_record(&s->mirror, name, text, &err);
	if (r < 0) {
		sync_refuse(s, s->nodes.record_why, sizeof(s->nodes.record_why),
			"the record of node " STR_FMT " is refused: %s", STR_ARG(name), err.text);
		return;
	}
	struct mirror_node *node = mirror_find(&s->mirror, name);
	if (node)
		nodes_speaks(s, node);
}

/* What the key of one node holds; empty: nothing, or something that is no text. */
static struct str nodes_text(struct sync *s, const struct store_answer *answer)
{
	const redisReply *reply = answer->reply;
	if (answer->failure == STORE_OK && reply->type == REDIS_REPLY_STRING)
		return (struct str){reply->str, reply->len};
	if (answer->failure == STORE_REFUSED &&
		!str_starts((struct str){reply->str, reply->len}, STR("WRONGTYPE"))) {
		if (s->nodes.refused++ == 0)
			nodes_refused(s, reply->str);
	}
	return STR_NONE;
}

/* The next one of the batch; then the next batch. */
static void nodes_take_one(struct sync *s, enum sync_tag tag, const struct store_answer *answer)
{
	struct nodes *n = &s->nodes;
	struct str text = nodes_text(s, answer);
	uint32_t index = n->at + n->answered++;
	if (tag == SYNC_TAG_LEASES && n->refused == 0)
		nodes_take_lease(s, index, text);
	else if (n->refused == 0)
		nodes_take_record(s, str_of(n->names.at[index]), text);
	if (n->answered < n->batch)
		return; /* waits for: the others */
	n->at += n->batch;
	if (n->refused > 0)
		nodes_give_up(s);
	else if (tag == SYNC_TAG_LEASES)
		nodes_ask_leases(s);
	else
		nodes_ask_records(s);
}

void nodes_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer)
{
	enum nodes_state state = s->nodes.state;
	if (tag == SYNC_TAG_SCAN && state == NODES_SCAN && answer->failure == STORE_REFUSED) {
		nodes_refused(s, answer->reply->str);
		nodes_give_up(s);
	} else if (tag == SYNC_TAG_SCAN && state == NODES_SCAN) {
		nodes_take_scan(s, answer->reply);
	} else if ((tag == SYNC_TAG_LEASES && state == NODES_LEASES) ||
		   (tag == SYNC_TAG_RECORDS && state == NODES_RECORDS)) {
		nodes_take_one(s, tag, answer);
	}
}

void nodes_lost(struct sync *s)
{
	nodes_give_up(s);
}

/* --- the step --- */

/* Those that are silent are looked at once more, before they are judged. */
static void nodes_want_silent(struct sync *s)
{
	uint32_t fresh_count = 0;
	s->nodes.settle_ns = 0;
	LIST_EACH (&s->mirror.order, it) {
		const struct mirror_node *node = CONTAINER_OF(it, struct mirror_node, order);
		if (node->presence != MIRROR_SILENT)
			continue;
		nodes_hint(s, node->record.node);
		s->nodes.settle_ns = s->loop->now_ns;
		fresh_count += s->loop->now_ns - node->silent_ns < s->lease_ns;
	}
	/* Their neighbours notice a few of many at a time: who judged those alone would never see
	 * that it is very many. */
	if (fresh_count >= NODES_HOLD_MIN)
		s->nodes.all_wanted = true;
}

void nodes_step(struct sync *s)
{
	struct nodes *n = &s->nodes;
	if (!s->look.fired || n->state != NODES_REST || !sync_is_ready(s))
		return;
	timer_clear(s->loop, &s->look);
	if (n->settle_ns != 0 && s->loop->now_ns >= n->settle_ns)
		nodes_want_silent(s);
	if (nodes_is_all_due(s) || n->wanted.count > 0)
		nodes_begin(s);
	else
		nodes_wait(s);
}

void nodes_done(struct sync *s)
{
	free(s->nodes.names.at);
	free(s->nodes.wanted.at);
}
