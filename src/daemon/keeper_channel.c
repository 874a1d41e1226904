/* SPDX-License-Identifier: Apache-2.0 */
/* There is no queue of messages: what is still to be said follows from what has been said (the
 * opening: start, ledger, listeners, signers, the mesh's state, what is known of
 * the world outside, plan, in this order) and from the
 * `_unsaid` marks. So a proxy process that does not read costs no memory, and a new one hears
 * everything again. */
#include "keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- saying --- */

void keeper_channel_begin(struct keeper *k)
{
	k->next_unsaid = k->log_unsaid = false;
	k->mesh.picture_away = false;
	k->mesh.view_unsaid = k->mesh.view_known;
	k->identity.rows_unsaid = k->identity.rows_fd >= 0;
	keeper_outside_begin_proxy(k);
}

static int keeper_say_listener(struct keeper *k, const struct keeper_listener *l)
{
	struct wire_listener m = {.head = keeper_head(WIRE_LISTENER),
		.listener_kind = (uint32_t)l->kind,
		.worker = l->worker,
		.address = l->address};
	return keeper_child_say(&k->proxy, &m, sizeof(m), l->fd);
}

static int keeper_say_log(struct keeper *k)
{
	for (uint32_t i = 0; i < k->listeners.count; i++) {
		if (k->listeners.list[i].kind == WIRE_LISTENER_ACCESS_LOG)
			return keeper_say_listener(k, &k->listeners.list[i]);
	}
	return 0;
}

static uint32_t keeper_opening_count(const struct keeper *k)
{
	return 2 + k->listeners.count + k->proxy.signer_count + 3;
}

static int keeper_say_opening(struct keeper *k)
{
	uint32_t i = k->proxy.said;
	if (i == 0)
		return keeper_child_say_start(&k->proxy, k->worker_count, k->listeners.count);
	if (i == 1)
		return keeper_child_say_ledger(&k->proxy, k->ledger_fd);
	i -= 2;
	if (i < k->listeners.count)
		return keeper_say_listener(k, &k->listeners.list[i]);
	i -= k->listeners.count;
	if (i < k->proxy.signer_count)
		return keeper_child_say_signer(&k->proxy, i);
	i -= k->proxy.signer_count;
	if (i == 0)
		return keeper_mesh_tell_picture(k);
	if (i == 1)
		return keeper_outside_tell_facts(k);
	return keeper_child_say_plan(&k->proxy, k->current->generation, k->current->memfd);
}

bool keeper_channel_wants_write(const struct keeper *k)
{
	const struct keeper_child *p = &k->proxy;
	return p->channel_fd >= 0 && (p->said < keeper_opening_count(k) || k->log_unsaid ||
					     k->next_unsaid || k->note_unsaid || p->drain_unsaid ||
					     p->ping_unsaid || keeper_mesh_wants_telling(k));
}

/* Says one thing; the order is the order of the cases. */
static int keeper_say(struct keeper *k)
{
	struct keeper_child *p = &k->proxy;
	int r;
	if (p->said < keeper_opening_count(k)) {
		r = keeper_say_opening(k);
		p->said += r == 0;
	} else if (k->log_unsaid) {
		r = keeper_say_log(k);
		k->log_unsaid = r < 0;
	} else if (k->next_unsaid) {
		r = keeper_child_say_plan(p, k->next->generation, k->next->memfd);
		k->next_unsaid = r < 0;
	} else if (k->note_unsaid) {
		r = keeper_child_say(p, &k->note, sizeof(k->note), -1);
		k->note_unsaid = r < 0;
	} else if (p->drain_unsaid) {
		r = keeper_child_say_drain(p);
	} else if (p->ping_unsaid) {
		r = keeper_child_say_ping(p);
	} else {
		r = keeper_mesh_tell(k);
	}
	return r;
}

void keeper_channel_write(struct keeper *k)
{
	while (keeper_channel_wants_write(k)) {
		int r = keeper_say(k);
		if (r == -EAGAIN)
			return;
		if (r < 0)
			keeper_child_hang_up(&k->proxy);
	}
}

void keeper_note(struct keeper *k, uint64_t generation, const char *text)
{
	k->note = (struct wire_note){.head = keeper_head(WIRE_NOTE),
		.wall_ns = clock_wall_ns(),
		.generation = generation,
		.ok = 0};
	snprintf(k->note.text, sizeof(k->note.text), "%s", text);
	k->note_unsaid = true;
}

/* --- hearing --- */

static void keeper_hear_ready(struct keeper *k, uint64_t generation, uint64_t now_ns)
{
	if (k->state == KEEPER_STATE_STARTING && generation == k->current->generation) {
		keeper_move(k, KEEPER_STATE_RUNNING, 0);
		k->ready_once = true;
	} else if (k->next && generation == k->next->generation) {
		keeper_plan_retire(k, k->current, now_ns);
		k->current = k->next;
		k->next = NULL;
	} else {
		return;
	}
	/* In force, but not all of it is new: that has to be seen. */
	if (k->current->faults.count > 0)
		keeper_note(k, generation, k->current->faults.text);
	log_info("keeper", "generation %" PRIu64 " is in force", generation);
	notify_send(&k->notify, "READY=1\nSTATUS=serving, generation %" PRIu64, generation);
}

static void keeper_hear_refused(struct keeper *k, const struct wire_note *note)
{
	char text[sizeof(note->text)];
	memcpy(text, note->text, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_error("keeper", "the proxy process refuses generation %" PRIu64 ":", note->generation);
	keeper_log_text(LOG_LEVEL_ERROR, text);
	if (k->next && note->generation == k->next->generation) {
		keeper_plan_free(k->next);
		k->next = NULL;
		keeper_note(k, note->generation, text);
		notify_send(&k->notify,
			"READY=1\nSTATUS=reload refused, generation %" PRIu64 " stays",
			k->current->generation);
	} else if (!k->ready_once && note->generation == k->current->generation) {
		/* It would refuse the same again. */
		k->exit_status = 1;
		k->stop_asked = true;
	}
}

static void keeper_hear(
	struct keeper *k, const union channel_message *m, size_t len, uint64_t now_ns)
{
	if (m->head.kind == WIRE_READY && len == sizeof(m->ready)) {
		keeper_hear_ready(k, m->ready.generation, now_ns);
	} else if (m->head.kind == WIRE_REFUSED && len == sizeof(m->note)) {
		keeper_hear_refused(k, &m->note);
	} else if (m->head.kind == WIRE_RELOAD) {
		log_info("keeper", "reload asked for through the admin socket");
		k->reload_asked = true;
	} else if (m->head.kind == WIRE_STOP) {
		log_info("keeper", "stop asked for through the admin socket");
		k->stop_asked = true;
	} else if (m->head.kind == WIRE_PONG && len == sizeof(m->ping)) {
		k->proxy.pong_ns = now_ns;
	} else if (m->head.kind == WIRE_STATE_TAKEN && len == sizeof(m->state)) {
		keeper_mesh_taken(k, m->state.number);
	} else if (m->head.kind == WIRE_TAKE_OUT && len == sizeof(m->take_out)) {
		keeper_mesh_take_out(k, &m->take_out);
	} else {
		log_warning("keeper", "the proxy process said something unknown (%u, %zu bytes)",
			m->head.kind, len);
	}
}

void keeper_channel_read(struct keeper *k, uint64_t now_ns)
{
	union channel_message m;
	size_t len;
	int passed_fd;
	for (int i = 0; i < KEEPER_HEAR_BATCH; i++) {
		if (!keeper_child_hear(&k->proxy, &m, &len, &passed_fd))
			return;
		if (m.head.kind == WIRE_WANT && keeper_outside_hear(k, &m, len, passed_fd))
			continue;
		if (passed_fd >= 0)
			close(passed_fd);
		keeper_hear(k, &m, len, now_ns);
	}
}
