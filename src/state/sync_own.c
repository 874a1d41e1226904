/* SPDX-License-Identifier: Apache-2.0 */
/* What this node tells of itself: a record when something about it has changed, and a lease, which
 * is renewed three times in its time. With each renewal the store says what stood there before,
 * which shows whether the store has lost it, and whether another machine goes by our name. */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "state/layout.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OWN_RECORD_MS	   "86400000" /* outlives its lease, so that a look may still read it */
#define OWN_NEIGHBOURS	   ARRAY_LEN(((struct own *)0)->neighbours)
#define OWN_DRAINED_FILE   "drained"
#define OWN_DRAINED_COUNT  ARRAY_LEN(((struct own *)0)->drained)
#define OWN_DRAINED_BYTES  8192
#define OWN_LEASE_TEXT_MAX 80
#define OWN_PTTL_NONE	   (-2) /* there is no such key */

static const char *const own_state_names[] = {"NEW", "ASKED", "UNWRITTEN", "WRITTEN"};

static void own_move(struct own *o, enum own_state state)
{
	static const unsigned allowed[] = {
		[OWN_NEW] = 1u << OWN_NEW | 1u << OWN_ASKED,
		[OWN_ASKED] = 1u << OWN_NEW | 1u << OWN_UNWRITTEN,
		[OWN_UNWRITTEN] = 1u << OWN_UNWRITTEN | 1u << OWN_WRITTEN,
		[OWN_WRITTEN] = 1u << OWN_UNWRITTEN | 1u << OWN_WRITTEN,
	};
	ASSERT(own_state_names[state] && allowed[o->state] & 1u << state);
	o->state = state;
}

static bool own_knows_before(const struct own *o)
{
	return o->state == OWN_UNWRITTEN || o->state == OWN_WRITTEN;
}

/* What the store has of us is not what it was told. */
static void own_unwrite(struct own *o)
{
	if (o->state == OWN_WRITTEN)
		own_move(o, OWN_UNWRITTEN);
}

/* --- what is drained --- */

/* Lines of service names; an empty one means all. */
static void own_read_drained(struct own *o, const char *text)
{
	while (*text && o->drained_count < OWN_DRAINED_COUNT) {
		size_t len = strcspn(text, "\n");
		if (len < sizeof(o->drained[0]))
			snprintf(o->drained[o->drained_count++], sizeof(o->drained[0]), "%.*s",
				(int)len, text);
		text += len + (text[len] == '\n');
	}
}

static int own_save_drained(const struct sync *s, struct err *err)
{
	char text[OWN_DRAINED_BYTES];
	size_t len = 0;
	for (uint32_t i = 0; i < s->own.drained_count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", s->own.drained[i]);
	return disk_save_text(s->dir_fd, OWN_DRAINED_FILE, (struct str){text, len}, err);
}

bool own_is_drained(const struct sync *s, const char *service)
{
	for (uint32_t i = 0; i < s->own.drained_count; i++) {
		if (s->own.drained[i][0] == '\0' || strcmp(s->own.drained[i], service) == 0)
			return true;
	}
	return false;
}

static void own_drained_remove(struct own *o, const char *service)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < o->drained_count; i++) {
		if (service[0] == '\0' || strcmp(o->drained[i], service) == 0)
			continue;
		if (kept != i)
			memcpy(o->drained[kept], o->drained[i], sizeof(o->drained[0]));
		kept++;
	}
	o->drained_count = kept;
}

static bool own_serves(const struct sync *s, struct str service)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (s->workloads[i].port != 0 &&
			(service.len == 0 || str_eq(str_of(s->workloads[i].service), service)))
			return true;
	}
	return false;
}

int sync_drain(struct sync *s, struct str service, bool back, struct err *err)
{
	struct own *o = &s->own;
	char name[64];
	if (service.len >= sizeof(name) || !own_serves(s, service))
		return err_set(
			err, ENOENT, "no workload here serves \"" STR_FMT "\"", STR_ARG(service));
	snprintf(name, sizeof(name), STR_FMT, STR_ARG(service));
	own_drained_remove(o, name);
	if (!back && o->drained_count == OWN_DRAINED_COUNT)
		return err_set(err, ENOSPC, "too many services are drained already: drain all");
	if (!back)
		memcpy(o->drained[o->drained_count++], name, sizeof(name));
	own_tell(s);
	return own_save_drained(s, err);
}

/* --- the record --- */

static struct str own_lease_text(const struct sync *s, char text[OWN_LEASE_TEXT_MAX])
{
	int len = snprintf(text, OWN_LEASE_TEXT_MAX, "%" PRIu64 " %" PRIu64 " %" PRIu64,
		s->own.start, s->own.number, mirror_revision(&s->mirror));
	return (struct str){text, (size_t)len};
}

static struct record_endpoint own_endpoint(
	const struct sync *s, const struct sync_workload *w, struct arena *arena)
{
	struct record_endpoint e = {.service = str_of(w->service),
		.version = str_of(w->version),
		.health = own_is_drained(s, w->service) ? ENDPOINT_DRAINED
			  : w->is_up			? ENDPOINT_UP
							: ENDPOINT_DOWN,
		.weight = w->weight,
		.address_count = s->address_count < RECORD_ADDRESSES_MAX ? s->address_count
									 : RECORD_ADDRESSES_MAX};
	e.addresses = arena_take(arena, e.address_count * sizeof(*e.addresses));
	for (uint32_t i = 0; e.addresses && i < e.address_count; i++) {
		e.addresses[i] = s->addresses[i];
		e.addresses[i].port = w->port;
	}
	return e;
}

/* Its text in the arena; at == NULL: out of memory, or longer than a record may be. Number 0 is the
 * same for the same content. */
static struct str own_record(const struct sync *s, uint64_t number, struct arena *arena)
{
	struct record record = {.node = s->node,
		.start = s->own.start,
		.number = number,
		.zone = s->zone,
		.version = STR(RINGMAIN_VERSION),
		.revision = number ? mirror_revision(&s->mirror) : 0};
	record.endpoints = arena_take(arena, (s->workload_count + 1) * sizeof(*record.endpoints));
	if (!record.endpoints)
		return STR_NONE;
	for (uint32_t i = 0; s->life == SYNC_RUNNING && i < s->workload_count; i++) {
		if (s->workloads[i].port == 0)
			continue;
		if (record.endpoint_count == RECORD_ENDPOINTS_MAX)
			return STR_NONE;
		struct record_endpoint e = own_endpoint(s, &s->workloads[i], arena);
		if (!e.addresses)
			return STR_NONE;
		record.endpoints[record.endpoint_count++] = e;
	}
	return record_text(arena, &record);
}

/* --- telling --- */

static bool own_write_lease(struct sync *s)
{
	char key[LAYOUT_KEY_MAX], value[OWN_LEASE_TEXT_MAX], ms[24];
	int len = snprintf(ms, sizeof(ms), "%llu", s->lease_ns / CLOCK_MS);
	struct str words[] = {STR("SET"), sync_key(s, key, "lease", s->node),
		own_lease_text(s, value), STR("PX"), {ms, (size_t)len}, STR("GET")};
	return sync_ask(s, SYNC_TAG_OWN_LEASE, words, ARRAY_LEN(words));
}

static bool own_write_record(struct sync *s)
{
	char key[LAYOUT_KEY_MAX];
	struct str words[] = {STR("SET"), sync_key(s, key, "node", s->node), str_of(s->own.text),
		STR("PX"), STR(OWN_RECORD_MS)};
	bool is_asked = sync_ask(s, SYNC_TAG_OWN_RECORD, words, ARRAY_LEN(words));
	s->own.unanswered += is_asked;
	return is_asked;
}

static bool own_publish(struct sync *s, struct str name)
{
	char channel[LAYOUT_KEY_MAX], message[RECORD_NODE_MAX + 8];
	int len = snprintf(message, sizeof(message), "node " STR_FMT, STR_ARG(name));
	struct str words[] = {
		STR("PUBLISH"), sync_key(s, channel, "news", STR_NONE), {message, (size_t)len}};
	return sync_ask(s, SYNC_TAG_NEWS, words, ARRAY_LEN(words));
}

/* The record first, so that whoever sees the lease finds it. */
static void own_write(struct sync *s)
{
	struct own *o = &s->own;
	if (!own_knows_before(o) || !o->text || !sync_is_ready(s))
		return;
	bool is_asked = own_write_record(s) && own_write_lease(s) && own_publish(s, s->node);
	own_move(o, is_asked ? OWN_WRITTEN : OWN_UNWRITTEN);
}

/* A copy of the caller's, NULL: out of memory. */
static char *own_record_copy(const struct sync *s, uint64_t number)
{
	struct arena arena;
	arena_init(&arena, 4u * RECORD_BYTES_MAX);
	struct str text = own_record(s, number, &arena);
	char *copy = text.at ? strndup(text.at, text.len) : NULL;
	arena_done(&arena);
	return copy;
}

/* Whether it is too early for the first record of this life. */
static bool own_waits(const struct sync *s)
{
	bool is_all_told = true;
	for (uint32_t i = 0; i < s->workload_count; i++)
		is_all_told = is_all_told && (s->workloads[i].port == 0 || s->workloads[i].is_told);
	return s->life == SYNC_RUNNING && !s->own.text && !is_all_told &&
	       s->patience.deadline_ns != 0;
}

static uint32_t own_endpoint_count(const struct sync *s)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < s->workload_count; i++)
		count += s->workloads[i].port != 0;
	return count;
}

static void own_cannot_tell(struct sync *s)
{
	sync_refuse(s, s->own.record_why, sizeof(s->own.record_why),
		"the mesh is not told of this node's %u endpoints with %u addresses each: a record "
		"has room for %d endpoints and %d bytes; give it fewer workloads",
		own_endpoint_count(s), s->address_count, RECORD_ENDPOINTS_MAX, RECORD_BYTES_MAX);
}

void own_tell(struct sync *s)
{
	struct own *o = &s->own;
	struct err err;
	if (own_waits(s))
		return;
	char *content = own_record_copy(s, 0), *text = NULL;
	bool is_news = content && (!o->content || strcmp(content, o->content) != 0);
	if (is_news)
		text = own_record_copy(s, o->number + 1);
	if (!content || (is_news && !text))
		own_cannot_tell(s);
	else
		o->record_why[0] = '\0';
	if (!text) {
		free(content);
		return;
	}
	free(o->content);
	free(o->text);
	o->content = content;
	o->text = text;
	o->number++;
	int r = mirror_take_record(&s->mirror, s->node, str_of(o->text), &err);
	if (r < 0)
		sync_refuse(s, o->record_why, sizeof(o->record_why), "this node's own record: %s",
			err.text);
	own_write(s);
}

/* --- renewing --- */

/* What an earlier life of this node left there: ours must be newer, whatever the clock says. */
static void own_ask_before(struct sync *s)
{
	char key[LAYOUT_KEY_MAX];
	struct str words[] = {STR("GET"), sync_key(s, key, "lease", s->node)};
	if (sync_ask(s, SYNC_TAG_OWN_BEFORE, words, ARRAY_LEN(words)))
		own_move(&s->own, OWN_ASKED);
}

/* The next few in the order of names that are not known to be silent: so everybody is looked after
 * by a few others. Only whether their leases are there: not what is in them, which may be long. */
static void own_ask_neighbours(struct sync *s)
{
	struct own *o = &s->own;
	char key[LAYOUT_KEY_MAX];
	const struct mirror_node *next = mirror_after(&s->mirror, s->node);
	uint32_t looked = 0;
	if (o->neighbours_answered < o->neighbour_count)
		return; /* waits for: the answers to the last beat's questions */
	o->neighbour_count = o->neighbours_answered = 0;
	while (next && looked++ < s->mirror.node_count && !str_eq(next->record.node, s->node) &&
		o->neighbour_count < OWN_NEIGHBOURS) {
		struct str name = next->record.node;
		struct str words[] = {STR("PTTL"), sync_key(s, key, "lease", name)};
		if (next->presence == MIRROR_PRESENT) {
			if (!sync_ask(s, SYNC_TAG_NEIGHBOURS, words, ARRAY_LEN(words)))
				return;
			snprintf(o->neighbours[o->neighbour_count++], sizeof(o->neighbours[0]),
				STR_FMT, STR_ARG(name));
		}
		next = mirror_after(&s->mirror, name);
	}
}

static void own_ask_kept(struct sync *s)
{
	char key[LAYOUT_KEY_MAX];
	struct str words[] = {
		STR("PEXPIRE"), sync_key(s, key, "node", s->node), STR(OWN_RECORD_MS)};
	(void)sync_ask(s, SYNC_TAG_OWN_KEPT, words, ARRAY_LEN(words));
}

void own_beat(struct sync *s)
{
	struct own *o = &s->own;
	if (!sync_is_ready(s))
		return;
	switch (o->state) {
	case OWN_NEW:
		own_ask_before(s);
		break;
	case OWN_ASKED:
		break; /* waits for: what an earlier life left */
	case OWN_UNWRITTEN:
		own_write(s);
		break;
	case OWN_WRITTEN:
		if (!own_write_lease(s))
			break;
		own_ask_kept(s);
		own_ask_neighbours(s);
		break;
	}
}

/* --- answers --- */

static uint64_t own_start_of(const redisReply *reply)
{
	uint64_t start = 0;
	if (reply->type != REDIS_REPLY_STRING)
		return 0;
	const char *space = memchr(reply->str, ' ', reply->len);
	size_t len = space ? (size_t)(space - reply->str) : reply->len;
	return str_to_u64((struct str){reply->str, len}, &start) ? start : 0;
}

static void own_take_before(struct sync *s, const redisReply *reply)
{
	uint64_t start = own_start_of(reply);
	if (s->own.state != OWN_ASKED)
		return;
	own_move(&s->own, OWN_UNWRITTEN);
	if (start >= s->own.start && start < UINT64_MAX) {
		s->own.start = start + 1;
		free(s->own.content);
		s->own.content = NULL;
		own_tell(s); /* which writes it */
	} else {
		own_write(s);
	}
}

static void own_take_lease(struct sync *s, const struct store_answer *answer)
{
	struct own *o = &s->own;
	if (answer->failure == STORE_REFUSED) {
		o->granted_ns = 0;
		own_unwrite(o);
		sync_refuse(s, o->why, sizeof(o->why),
			"the store does not take what this node tells of itself: %s",
			answer->reply->str);
		return;
	}
	uint64_t now_ns = s->loop->now_ns, start = own_start_of(answer->reply);
	/* It had ended, for this machine stood still or so: whoever took us for gone is to look. */
	if (o->granted_ns != 0 && answer->reply->type == REDIS_REPLY_NIL)
		(void)own_publish(s, s->node);
	if (o->granted_ns == 0 || now_ns - o->granted_ns >= s->lease_ns)
		o->granted_since_ns = now_ns;
	o->granted_ns = now_ns;
	if (start != 0 && start > s->own.start)
		sync_refuse(s, o->why, sizeof(o->why),
			"another machine calls itself " STR_FMT " too: node.name must be its own",
			STR_ARG(s->node));
	else
		o->why[0] = '\0';
}

static void own_take_neighbour(struct sync *s, const redisReply *reply)
{
	struct own *o = &s->own;
	if (o->neighbours_answered >= o->neighbour_count)
		return;
	struct str name = str_of(o->neighbours[o->neighbours_answered++]);
	if (reply->type != REDIS_REPLY_INTEGER || reply->integer != OWN_PTTL_NONE)
		return;
	/* Whoever notices it first lets the others know. */
	nodes_hint(s, name);
	(void)own_publish(s, name);
}

void own_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer)
{
	const redisReply *reply = answer->reply;
	bool is_refused = answer->failure == STORE_REFUSED;
	switch (tag) {
	case SYNC_TAG_OWN_BEFORE:
		if (!is_refused)
			own_take_before(s, reply);
		else if (s->own.state == OWN_ASKED)
			own_move(&s->own, OWN_NEW);
		break;
	case SYNC_TAG_OWN_LEASE:
		own_take_lease(s, answer);
		break;
	case SYNC_TAG_OWN_RECORD:
		s->own.unanswered -= s->own.unanswered > 0;
		if (is_refused)
			own_unwrite(&s->own);
		break;
	case SYNC_TAG_OWN_LEFT:
		s->own.has_left = true;
		break;
	case SYNC_TAG_OWN_KEPT:
		/* 0: the store has lost it. */
		if (!is_refused && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0)
			own_write(s);
		break;
	case SYNC_TAG_NEIGHBOURS:
		own_take_neighbour(s, reply);
		break;
	case SYNC_TAG_HEAD:
	case SYNC_TAG_CHANGES:
	case SYNC_TAG_OBJECTS:
	case SYNC_TAG_SCAN:
	case SYNC_TAG_LEASES:
	case SYNC_TAG_RECORDS:
	case SYNC_TAG_NEWS:
	case SYNC_TAG_TIME:
	case SYNC_TAG_ROLLOUT:
	case SYNC_TAG_ROLLOUT_WRITE:
	case SYNC_TAG_FIGURES:
	case SYNC_TAG_OWN_FIGURES:
		break;
	}
}

void own_lost(struct sync *s)
{
	struct own *o = &s->own;
	own_unwrite(o);
	if (o->state == OWN_ASKED)
		own_move(o, OWN_NEW);
	o->unanswered = o->neighbour_count = o->neighbours_answered = 0;
	o->granted_ns = 0;
}

bool own_is_told(const struct sync *s)
{
	return sync_is_ready(s) && s->own.state == OWN_WRITTEN && s->own.unanswered == 0;
}

void own_leave(struct sync *s)
{
	char key[LAYOUT_KEY_MAX];
	struct str words[] = {STR("GET"), sync_key(s, key, "lease", s->node)};
	ASSERT(s->life == SYNC_LEAVING);
	own_tell(s);
	s->own.has_left = !sync_ask(s, SYNC_TAG_OWN_LEFT, words, ARRAY_LEN(words));
}

/* --- its life --- */

bool sync_own(const struct sync *s, uint32_t index, struct sync_own *ret_own)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		const struct sync_workload *w = &s->workloads[i];
		if (w->port == 0 || index-- > 0)
			continue;
		bool is_drained = own_is_drained(s, w->service);
		*ret_own = (struct sync_own){.service = str_of(w->service),
			.drained = is_drained,
			.checked_up = w->is_up,
			.health = is_drained ? ENDPOINT_DRAINED
				  : w->is_up ? ENDPOINT_UP
					     : ENDPOINT_DOWN};
		return true;
	}
	return false;
}

int own_init(struct sync *s, struct err *err)
{
	char text[OWN_DRAINED_BYTES];
	s->own.start = s->loop->wall_ns;
	int r = disk_load_text(s->dir_fd, OWN_DRAINED_FILE, text, sizeof(text), err);
	if (r == 0)
		own_read_drained(&s->own, text);
	return r;
}

void own_done(struct sync *s)
{
	free(s->own.text);
	free(s->own.content);
}
