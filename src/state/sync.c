/* SPDX-License-Identifier: Apache-2.0 */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "state/layout.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SYNC_ARENA_BYTES_MAX (4u << 20)
#define SYNC_REPLY_BYTES_MAX (96u << 20)
#define SYNC_HAND_ON_NS	     (200 * CLOCK_MS)
#define SYNC_HAND_ON_BAD_NS  (5 * CLOCK_S) /* after one that could not be made */
#define SYNC_LEAVE_NS	     CLOCK_S
#define SYNC_PATIENCE_NS     (2 * CLOCK_S)
/* After a reconnect not all look at once: a look is as long as there are nodes. */
#define SYNC_SPREAD_NS	    (2 * CLOCK_S)
#define SYNC_SPREAD_NODE_NS (5 * CLOCK_MS)

static const char *const sync_life_names[] = {"RUNNING", "LEAVING", "CLOSING", "CLOSED"};

static void sync_move(struct sync *s, enum sync_life life)
{
	static const unsigned allowed[] = {
		[SYNC_RUNNING] = 1u << SYNC_LEAVING,
		[SYNC_LEAVING] = 1u << SYNC_CLOSING,
		[SYNC_CLOSING] = 1u << SYNC_CLOSED,
		[SYNC_CLOSED] = 0,
	};
	ASSERT(sync_life_names[life] && allowed[s->life] & 1u << life);
	s->life = life;
}

/* --- for all files --- */

bool sync_is_ready(const struct sync *s)
{
	return s->asks && store_state(s->asks) == STORE_READY;
}

struct str sync_key(const struct sync *s, char text[], const char *kind, struct str name)
{
	return layout_key(text, s->mesh, kind, name);
}

bool sync_ask(struct sync *s, enum sync_tag tag, const struct str *words, size_t count)
{
	return sync_ask_of(s, tag, 0, words, count);
}

bool sync_ask_of(
	struct sync *s, enum sync_tag tag, uint64_t number, const struct str *words, size_t count)
{
	return sync_is_ready(s) &&
	       store_send(s->asks, number << SYNC_TAG_BITS | (uint64_t)tag, words, count);
}

uint64_t sync_jitter(struct sync *s, uint64_t ns, uint32_t part)
{
	uint64_t spread = ns / part;
	return ns - spread + loop_random(s->loop) % (2 * spread + 1);
}

void sync_soon(struct sync *s, struct timer *t, uint64_t ns)
{
	uint64_t deadline_ns = s->loop->now_ns + ns;
	if (t->fired || (t->deadline_ns != 0 && t->deadline_ns <= deadline_ns))
		return;
	timer_set(s->loop, t, deadline_ns);
}

void sync_refuse(struct sync *s, char *why, size_t size, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	s->refused_count++;
	if (strncmp(text, why, size - 1) == 0)
		return;
	snprintf(why, size, "%.*s", (int)size - 1, text);
	log_error("state", "%s", text);
}

/* --- what is handed on --- */

static void sync_offer(struct sync *s)
{
	s->is_loaded = s->is_loaded || (s->objects.is_known && s->nodes.is_known);
	if (!s->is_loaded || s->handed_change == s->mirror.change_count)
		return;
	if (!s->own.text && s->patience.deadline_ns != 0)
		return; /* waits for: this node's own endpoints */
	sync_soon(s, &s->save, s->save_wait_ns ? s->save_wait_ns : KEEP_NS);
	if (s->hand_on.deadline_ns != 0)
		return; /* waits for: the time of the next one */
	s->picture_due = true;
	loop_ready(s->loop, s->owner);
}

int sync_picture(struct sync *s, uint64_t *ret_number)
{
	struct bundle b;
	struct err err;
	if (!s->picture_due)
		return -1;
	bundle_init(&b);
	int r = mirror_picture(&s->mirror, &b, &err);
	if (r == 0)
		r = bundle_to_memfd(&b, &err);
	bundle_done(&b);
	s->picture_due = false;
	timer_set(s->loop, &s->hand_on,
		s->loop->now_ns + (r < 0 ? SYNC_HAND_ON_BAD_NS : SYNC_HAND_ON_NS));
	if (r < 0) {
		sync_refuse(s, s->picture_why, sizeof(s->picture_why),
			"the picture of the mesh, the one before stays in force: %s", err.text);
		return -1;
	}
	s->picture_why[0] = '\0';
	s->handed_change = s->mirror.change_count;
	*ret_number = ++s->picture_number;
	return r;
}

static const char *sync_why(const struct sync *s)
{
	if (!sync_is_ready(s))
		return s->asks ? store_why(s->asks) : "not connected";
	if (s->objects.why[0])
		return s->objects.why;
	const char *const whys[] = {s->own.record_why, s->own.why, s->picture_why, s->nodes.why,
		s->rollouts.why, s->figures.why, rollouts_why(s),
		s->tokens.is_away ? s->tokens.why : "", s->save_why};
	size_t i = 0;
	while (i + 1 < ARRAY_LEN(whys) && whys[i][0] == '\0')
		i++;
	return whys[i];
}

void sync_view(const struct sync *s, struct state_view *ret_view)
{
	const struct store *stores[] = {s->asks, s->hears, s->tokens.store};
	*ret_view = (struct state_view){
		.connected = sync_is_ready(s),
		.told = own_is_told(s),
		.loaded = s->is_loaded,
		.revision = mirror_revision(&s->mirror),
		.store_revision = s->objects.store_revision,
		.agreed_wall_ns = s->agreed_wall_ns,
		.node_count = s->mirror.node_count,
		.endpoint_count = s->mirror.endpoint_count,
		.object_count = s->mirror.objects.count,
		.held_count = s->nodes.held_count,
		.refused_total = s->refused_count,
		.reconnects_total = s->reconnect_count,
		.resyncs_total = s->resync_count,
		.bytes_in = s->bytes_before[0],
		.bytes_out = s->bytes_before[1],
	};
	for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
		ret_view->bytes_in += stores[i] ? store_bytes_in(stores[i]) : 0;
		ret_view->bytes_out += stores[i] ? store_bytes_out(stores[i]) : 0;
	}
	sync_tokens_view(s, ret_view);
	if (s->asks)
		address_text(store_address(s->asks), ret_view->store);
	snprintf(ret_view->why, sizeof(ret_view->why), "%s", sync_why(s));
}

/* --- answers --- */

static void sync_answer(struct sync *s, const struct store_answer *answer)
{
	enum sync_tag tag = (enum sync_tag)(answer->tag & ((1u << SYNC_TAG_BITS) - 1));
	switch (tag) {
	case SYNC_TAG_HEAD:
	case SYNC_TAG_CHANGES:
	case SYNC_TAG_OBJECTS:
		objects_answer(s, tag, answer);
		break;
	case SYNC_TAG_SCAN:
	case SYNC_TAG_LEASES:
	case SYNC_TAG_RECORDS:
		nodes_answer(s, tag, answer);
		break;
	case SYNC_TAG_OWN_BEFORE:
	case SYNC_TAG_OWN_RECORD:
	case SYNC_TAG_OWN_LEASE:
	case SYNC_TAG_OWN_LEFT:
	case SYNC_TAG_OWN_KEPT:
	case SYNC_TAG_NEIGHBOURS:
	case SYNC_TAG_NEWS:
		own_answer(s, tag, answer);
		break;
	case SYNC_TAG_TIME:
	case SYNC_TAG_ROLLOUT:
	case SYNC_TAG_ROLLOUT_WRITE:
		rollouts_answer(s, tag, answer->tag >> SYNC_TAG_BITS, answer);
		break;
	case SYNC_TAG_FIGURES:
	case SYNC_TAG_OWN_FIGURES:
		figures_answer(s, tag, answer);
		break;
	}
}

static void sync_lost(struct sync *s)
{
	objects_lost(s);
	nodes_lost(s);
	own_lost(s);
	rollouts_lost(s);
	figures_lost(s);
}

static void sync_take_answers(struct sync *s)
{
	struct store_answer answer;
	bool is_lost = false;
	while (store_answer(s->asks, &answer)) {
		if (answer.failure == STORE_LOST && answer.is_unreadable)
			rollouts_unreadable(s, answer.tag);
		if (answer.failure == STORE_LOST)
			is_lost = true;
		else if (!is_lost)
			sync_answer(s, &answer);
		store_answer_done(s->asks, &answer);
	}
	if (is_lost)
		sync_lost(s);
}

/* [ "message", channel, text ] */
static void sync_take_push(struct sync *s, const redisReply *push)
{
	if (push->type != REDIS_REPLY_ARRAY || push->elements != 3 ||
		push->element[2]->type != REDIS_REPLY_STRING)
		return;
	struct str text = {push->element[2]->str, push->element[2]->len};
	if (str_starts(text, STR("node ")))
		nodes_hint(s, (struct str){text.at + 5, text.len - 5});
	else if (str_starts(text, STR("objects ")))
		objects_look(s);
	else if (str_starts(text, STR("rollout ")))
		rollouts_hint(s, (struct str){text.at + 8, text.len - 8});
}

static void sync_take_pushes(struct sync *s)
{
	redisReply *push;
	while ((push = store_push(s->hears))) {
		sync_take_push(s, push);
		freeReplyObject(push);
	}
}

/* --- connections --- */

/* Another server, or the same after a while: everything is asked anew. */
static void sync_connected(struct sync *s)
{
	uint64_t spread_ns = SYNC_SPREAD_NS + s->mirror.node_count * SYNC_SPREAD_NODE_NS;
	spread_ns = s->is_loaded ? loop_random(s->loop) % spread_ns : 0;
	s->reconnect_count += s->asks_life > 1;
	sync_lost(s);
	objects_look(s);
	own_beat(s);
	s->nodes.all_ns = s->loop->now_ns + spread_ns;
	timer_clear(s->loop, &s->look);
	nodes_hint_all(s);
	rollouts_look(s);
}

/* Once when the store is gone, with the reason, and once when it is back. */
static void sync_log_store(struct sync *s)
{
	char where[ADDRESS_TEXT_MAX];
	bool is_gone = !sync_is_ready(s);
	const char *why = store_why(s->asks);
	if (s->life != SYNC_RUNNING || s->is_reopening || is_gone == s->is_store_gone ||
		(is_gone && why[0] == '\0'))
		return;
	s->is_store_gone = is_gone;
	address_text(store_address(s->asks), where);
	if (is_gone)
		log_error("state", "the store is gone, what is known stays in force: %s", why);
	else
		log_info("state", "the store is there again: %s", where);
}

static void sync_look_at_stores(struct sync *s)
{
	sync_take_answers(s);
	sync_log_store(s);
	if (sync_is_ready(s) && store_life(s->asks) != s->asks_life) {
		s->asks_life = store_life(s->asks);
		sync_connected(s);
	}
	sync_take_pushes(s);
	if (store_state(s->hears) == STORE_READY && store_life(s->hears) != s->hears_life) {
		/* What was said meanwhile was not heard. */
		s->hears_life = store_life(s->hears);
		objects_look(s);
		nodes_hint_all(s);
		rollouts_look(s);
	}
}

static int sync_open(struct sync *s, struct err *err)
{
	char channel[LAYOUT_KEY_MAX];
	struct store_settings settings = s->settings;
	s->asks =
		store_new(s->loop, (uint16_t)(s->kind_first + SYNC_KIND_ASKS), &s->task, &settings);
	settings.channel = sync_key(s, channel, "news", STR_NONE);
	s->hears = store_new(
		s->loop, (uint16_t)(s->kind_first + SYNC_KIND_HEARS), &s->task, &settings);
	s->asks_life = s->hears_life = 0;
	return s->asks && s->hears ? 0 : err_set(err, ENOMEM, "out of memory");
}

/* True: it has ended and is no more. */
static bool sync_drop(struct sync *s, struct store **store)
{
	if (!*store)
		return true;
	if (store_state(*store) != STORE_CLOSED)
		return false;
	s->bytes_before[0] += store_bytes_in(*store);
	s->bytes_before[1] += store_bytes_out(*store);
	store_free(*store);
	*store = NULL;
	return true;
}

static void sync_close_stores(struct sync *s)
{
	s->is_reopening = true;
	sync_lost(s);
	if (s->asks)
		store_close(s->asks);
	if (s->hears)
		store_close(s->hears);
	if (s->tokens.store)
		store_close(s->tokens.store);
	sync_tokens_lost(s);
}

/* The old connections end before new ones begin. */
static void sync_reopen(struct sync *s)
{
	struct err err;
	bool asks_gone = sync_drop(s, &s->asks), hears_gone = sync_drop(s, &s->hears);
	if (!sync_drop(s, &s->tokens.store) || !asks_gone || !hears_gone)
		return; /* waits for: the connections to end */
	s->is_reopening = false;
	if (s->life == SYNC_CLOSING)
		sync_move(s, SYNC_CLOSED);
	else if (sync_open(s, &err) < 0)
		log_error("state", "the connection to the store: %s", err.text);
}

/* --- the step --- */

static void sync_beat(struct sync *s)
{
	timer_set(s->loop, &s->beat, s->loop->now_ns + sync_jitter(s, s->lease_ns / 3, 10));
	own_beat(s);
	objects_look(s);
}

static void sync_time(struct sync *s)
{
	if (s->beat.fired)
		sync_beat(s);
	if (s->resync.fired) {
		timer_set(s->loop, &s->resync, s->loop->now_ns + sync_jitter(s, s->resync_ns, 4));
		nodes_hint_all(s);
	}
	if (s->hand_on.fired)
		timer_clear(s->loop, &s->hand_on);
	if (s->save.fired)
		sync_save(s);
	if (s->patience.fired) {
		timer_clear(s->loop, &s->patience);
		own_tell(s);
	}
}

static void sync_run(struct sync *s)
{
	if (s->is_reopening)
		sync_reopen(s);
	if (s->asks && s->hears && !s->is_reopening)
		sync_look_at_stores(s);
	if (s->life == SYNC_RUNNING) {
		sync_time(s);
		nodes_step(s);
		rollouts_step(s);
		figures_step(s);
		if (!s->is_reopening)
			sync_tokens_step(s);
		sync_offer(s);
	} else if (s->life == SYNC_LEAVING &&
		   (s->leave.fired || !sync_is_ready(s) || s->own.has_left)) {
		sync_move(s, SYNC_CLOSING);
		sync_close_stores(s);
	}
	if (s->life == SYNC_CLOSED)
		loop_ready(s->loop, s->owner);
}

void sync_step(struct task *t)
{
	if (t->kind % SYNC_KINDS == SYNC_KIND_SYNC)
		sync_run(CONTAINER_OF(t, struct sync, task));
	else
		store_step(store_of(t));
}

/* --- configuration --- */

static struct str sync_secret(struct sync *s, const struct bundle *b, const char *name)
{
	const struct bundle_item *item = bundle_find(b, "secret", str_of(name));
	return item ? arena_str(&s->arena, item->text) : STR_NONE;
}

static struct address *sync_copy_addresses(
	struct sync *s, const struct address *from, uint32_t count)
{
	struct address *copy = arena_take(&s->arena, (count + 1) * sizeof(*copy));
	if (copy && count > 0)
		memcpy(copy, from, count * sizeof(*copy));
	return copy;
}

static bool sync_take_workloads(struct sync *s, const struct conf *conf)
{
	s->workloads = arena_take(&s->arena, (conf->workload_count + 1) * sizeof(*s->workloads));
	for (uint32_t i = 0; s->workloads && i < conf->workload_count; i++) {
		const struct conf_workload *from = &conf->workloads[i];
		struct sync_workload *w = &s->workloads[i];
		*w = (struct sync_workload){.port = from->port, .weight = from->weight};
		snprintf(w->service, sizeof(w->service), STR_FMT, STR_ARG(from->service));
		snprintf(w->version, sizeof(w->version), STR_FMT, STR_ARG(from->version));
	}
	s->workload_count = s->workloads ? conf->workload_count : 0;
	return s->workloads != NULL;
}

static bool sync_take_settings(struct sync *s, const struct conf *conf, const struct bundle *b)
{
	const struct conf_state *c = &conf->state;
	s->settings = (struct store_settings){
		.addresses = sync_copy_addresses(s, c->redis, c->redis_count),
		.address_count = c->redis_count,
		.sentinel = arena_str(&s->arena, c->sentinel),
		.username = arena_str(&s->arena, c->username),
		.password = sync_secret(s, b, "password"),
		.sentinel_username = arena_str(&s->arena, c->sentinel_username),
		.sentinel_password = sync_secret(s, b, "sentinel-password"),
		.tls_name = arena_str(&s->arena, c->tls_name),
		.timeout_ms = c->timeout_ms,
		.reply_bytes_max = SYNC_REPLY_BYTES_MAX,
		.client_name =
			arena_printf(&s->arena, "ringmain-" STR_FMT, STR_ARG(conf->node_name)),
	};
	return s->settings.addresses && s->settings.client_name.at;
}

static int sync_take_tls(
	struct sync *s, const struct conf *conf, const struct bundle *b, struct err *err)
{
	if (conf->state.tls_ca.len == 0)
		return 0;
	return tls_store_new_pki(b, &s->settings.tls, err);
}

/* Fills the fields that a configuration gives, in the sync's arena, which is fresh. */
static int sync_take_conf(
	struct sync *s, const struct conf *conf, const struct bundle *b, struct err *err)
{
	int r = operator_keys_new(b, &s->operators, err);
	if (r == 0)
		r = sync_take_tls(s, conf, b, err);
	if (r < 0)
		return r;
	struct store_settings with_tls = s->settings;
	s->mesh = arena_str(&s->arena, conf->trust_domain);
	s->node = arena_str(&s->arena, conf->node_name);
	s->zone = arena_str(&s->arena, conf->node_zone);
	s->addresses = sync_copy_addresses(s, conf->node_addresses, conf->node_address_count);
	s->address_count = conf->node_address_count;
	s->lease_ns = conf->state.lease_ms * CLOCK_MS;
	s->resync_ns = conf->state.resync_ms * CLOCK_MS;
	s->hold_ns = conf->state.hold_ms * CLOCK_MS;
	s->hold_percent = conf->state.hold_percent;
	if (!sync_take_settings(s, conf, b) || !sync_take_workloads(s, conf) || !s->mesh.at ||
		!s->node.at || !s->addresses)
		return err_set(err, ENOMEM, "out of memory");
	s->settings.tls = with_tls.tls;
	return 0;
}

static void sync_drop_conf(struct sync *s)
{
	operator_keys_free(s->operators);
	if (s->settings.tls)
		tls_store_unref(s->settings.tls);
	arena_done(&s->arena);
}

static bool sync_same_addresses(const struct store_settings *a, const struct store_settings *b)
{
	for (uint32_t i = 0; i < a->address_count && i < b->address_count; i++) {
		if (!address_equal(&a->addresses[i], &b->addresses[i]))
			return false;
	}
	return a->address_count == b->address_count;
}

/* With TLS: never, as certificates may be new. */
static bool sync_same_store(const struct store_settings *a, const struct store_settings *b)
{
	return !a->tls && !b->tls && sync_same_addresses(a, b) &&
	       str_eq(a->sentinel, b->sentinel) && str_eq(a->username, b->username) &&
	       str_eq(a->password, b->password) &&
	       str_eq(a->sentinel_username, b->sentinel_username) &&
	       str_eq(a->sentinel_password, b->sentinel_password) && a->timeout_ms == b->timeout_ms;
}

/* What the checks had said of workloads that stay. */
static void sync_keep_health(const struct sync *before, struct sync *now)
{
	for (uint32_t i = 0; i < now->workload_count; i++) {
		for (uint32_t j = 0; j < before->workload_count; j++) {
			const struct sync_workload *w = &before->workloads[j];
			if (w->port == now->workloads[i].port &&
				strcmp(w->service, now->workloads[i].service) == 0) {
				now->workloads[i].is_up = w->is_up;
				now->workloads[i].is_told = w->is_told;
			}
		}
	}
}

int sync_configure(struct sync *s, const struct conf *conf, const struct bundle *b, struct err *err)
{
	struct sync fresh = {.loop = s->loop};
	arena_init(&fresh.arena, SYNC_ARENA_BYTES_MAX);
	int r = sync_take_conf(&fresh, conf, b, err);
	if (r < 0) {
		sync_drop_conf(&fresh);
		return r;
	}
	bool is_same = sync_same_store(&s->settings, &fresh.settings);
	sync_keep_health(s, &fresh);
	sync_drop_conf(s);
	s->arena = fresh.arena;
	s->operators = fresh.operators;
	s->settings = fresh.settings;
	s->mesh = fresh.mesh;
	s->node = fresh.node;
	s->zone = fresh.zone;
	s->addresses = fresh.addresses;
	s->address_count = fresh.address_count;
	s->workloads = fresh.workloads;
	s->workload_count = fresh.workload_count;
	s->lease_ns = fresh.lease_ns;
	s->resync_ns = fresh.resync_ns;
	s->hold_ns = fresh.hold_ns;
	s->hold_percent = fresh.hold_percent;
	if (!is_same)
		sync_close_stores(s);
	own_tell(s);
	objects_look(s);
	loop_ready(s->loop, &s->task);
	return 0;
}

void sync_tell_health(struct sync *s, uint32_t index, bool up)
{
	if (index >= s->workload_count)
		return;
	struct sync_workload *w = &s->workloads[index];
	if (w->is_told && w->is_up == up)
		return;
	w->is_up = up;
	w->is_told = true;
	own_tell(s);
	loop_ready(s->loop, &s->task);
}

/* --- life --- */

static void sync_init_timers(struct sync *s)
{
	struct timer *const timers[] = {&s->beat, &s->look, &s->resync, &s->hand_on, &s->save,
		&s->leave, &s->patience, &s->rollouts.beat, &s->figures.tell, &s->tokens.turn};
	for (size_t i = 0; i < ARRAY_LEN(timers); i++)
		timer_init(timers[i], &s->task);
}

static int sync_start(
	struct sync *s, const struct conf *conf, const struct bundle *b, struct err *err)
{
	int r = sync_take_conf(s, conf, b, err);
	if (r == 0)
		r = own_init(s, err);
	if (r == 0)
		r = sync_tokens_init(s, err);
	if (r < 0)
		return r;
	sync_load(s);
	s->saved_change = s->mirror.change_count;
	timer_set(s->loop, &s->patience, s->loop->now_ns + SYNC_PATIENCE_NS);
	own_tell(s);
	r = sync_open(s, err);
	if (r < 0)
		return r;
	timer_set(s->loop, &s->beat, s->loop->now_ns + sync_jitter(s, s->lease_ns / 3, 10));
	timer_set(s->loop, &s->resync, s->loop->now_ns + sync_jitter(s, s->resync_ns, 4));
	loop_ready(s->loop, &s->task);
	return 0;
}

int sync_new(struct loop *loop, uint16_t kind_first, struct task *owner, const struct conf *conf,
	const struct bundle *b, int dir_fd, struct ledger *ledger, struct sync **ret_sync,
	struct err *err)
{
	struct sync *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	s->loop = loop;
	s->kind_first = kind_first;
	s->owner = owner;
	s->dir_fd = dir_fd;
	s->ledger = ledger;
	task_init(&s->task, kind_first);
	sync_init_timers(s);
	arena_init(&s->arena, SYNC_ARENA_BYTES_MAX);
	mirror_init(&s->mirror);
	rollouts_init(s);
	int r = sync_start(s, conf, b, err);
	if (r < 0) {
		/* Nothing is armed yet: a store that was made has not taken a step. */
		s->life = SYNC_CLOSED;
		sync_free(s);
		return r;
	}
	*ret_sync = s;
	return 0;
}

void sync_close(struct sync *s)
{
	if (s->life != SYNC_RUNNING)
		return;
	sync_save(s);
	sync_move(s, SYNC_LEAVING);
	own_leave(s);
	timer_set(s->loop, &s->leave, s->loop->now_ns + SYNC_LEAVE_NS);
	loop_ready(s->loop, &s->task);
}

bool sync_idle(const struct sync *s)
{
	return s->life == SYNC_CLOSED;
}

void sync_free(struct sync *s)
{
	struct timer *const timers[] = {&s->beat, &s->look, &s->resync, &s->hand_on, &s->save,
		&s->leave, &s->patience, &s->rollouts.beat, &s->figures.tell, &s->tokens.turn};
	ASSERT(s->life == SYNC_CLOSED);
	for (size_t i = 0; i < ARRAY_LEN(timers); i++)
		timer_clear(s->loop, timers[i]);
	list_remove(&s->task.node);
	list_remove(&s->task.hungry);
	rollouts_done(s);
	figures_done(s);
	mirror_done(&s->mirror);
	objects_done(s);
	nodes_done(s);
	own_done(s);
	sync_tokens_done(s);
	sync_drop_conf(s);
	free(s);
}
