/* SPDX-License-Identifier: Apache-2.0 */
/* The sync with the store and the checks of local workloads. A picture of the mesh that cannot be
 * told now is told at the next tick; only the newest counts. */
#include "state_private.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define STATE_VIEW_NS (1 * CLOCK_S)
#define STATE_NEWS_NS (50 * CLOCK_MS) /* views with news, at least so far apart */

void state_mesh_init(struct state_process *s)
{
	s->mesh.picture_fd = -1;
	task_init(&s->mesh.sync_news, STATE_TASK_SYNC_NEWS);
	task_init(&s->mesh.health_news, STATE_TASK_HEALTH_NEWS);
}

/* --- to the keeper --- */

/* True: one was told. */
static bool state_tell_picture(struct state_process *s)
{
	uint64_t number;
	int fd = sync_picture(s->mesh.sync, &number);
	if (fd >= 0) {
		if (s->mesh.picture_fd >= 0)
			close(s->mesh.picture_fd);
		s->mesh.picture_fd = fd;
		s->mesh.picture_number = number;
		sync_view(s->mesh.sync, &s->mesh.pictured);
	}
	if (s->mesh.picture_fd < 0)
		return false;
	struct wire_state m = {.head = state_head(WIRE_STATE), .number = s->mesh.picture_number};
	if (!state_tell(s, &m, sizeof(m), s->mesh.picture_fd))
		return false;
	close(s->mesh.picture_fd);
	s->mesh.picture_fd = -1;
	return true;
}

/* Why a service's endpoint here is down: the first of its workloads that is not well. */
static const char *state_why_down(const struct state_process *s, struct str service)
{
	for (uint32_t i = 0; i < s->conf->workload_count; i++) {
		struct health_view view = health_of(s->mesh.health, i);
		if (view.checked && !view.up && str_eq(s->conf->workloads[i].service, service))
			return view.asked ? view.why : "not checked yet";
	}
	return "";
}

static void state_fill_own(const struct state_process *s, struct wire_state_view *m)
{
	struct sync_own own;
	while (m->own_count < WIRE_OWN_MAX && sync_own(s->mesh.sync, m->own_count, &own)) {
		struct wire_own *to = &m->own[m->own_count++];
		*to = (struct wire_own){.health = (uint32_t)own.health, .drained = own.drained};
		snprintf(to->service, sizeof(to->service), STR_FMT, STR_ARG(own.service));
		if (!own.checked_up)
			snprintf(to->why, sizeof(to->why), "%s", state_why_down(s, own.service));
	}
}

static void state_tell_view(struct state_process *s)
{
	struct wire_state_view m = {.head = state_head(WIRE_STATE_VIEW)};
	sync_view(s->mesh.sync, &m.view);
	/* What is in a picture to come is not there for the proxy process yet. */
	m.picture = s->mesh.picture_number;
	m.view.revision = s->mesh.pictured.revision;
	m.view.node_count = s->mesh.pictured.node_count;
	m.view.endpoint_count = s->mesh.pictured.endpoint_count;
	m.view.object_count = s->mesh.pictured.object_count;
	state_fill_own(s, &m);
	snprintf(m.take_out_why, sizeof(m.take_out_why), "%s", s->mesh.take_out_why);
	if (!state_tell(s, &m, sizeof(m), -1))
		return;
	s->mesh.view_due = false;
	s->mesh.viewed_ns = s->loop.now_ns;
}

/* At once, when the last one was not just now; else at the next tick. */
static void state_tell_news(struct state_process *s)
{
	s->mesh.view_due = true;
	if (s->loop.now_ns - s->mesh.viewed_ns >= STATE_NEWS_NS)
		state_tell_view(s);
}

void state_mesh_step_health(struct state_process *s)
{
	if (s->leaving || !s->mesh.sync)
		return;
	for (uint32_t i = 0; i < s->conf->workload_count; i++) {
		struct health_view view = health_of(s->mesh.health, i);
		if (view.asked || !view.checked || view.up)
			sync_tell_health(s->mesh.sync, i, view.up);
	}
	state_tell_news(s);
}

/* What cannot be asked now is not asked: the handshake fails and there will be another. */
void state_mesh_after_step(struct state_process *s)
{
	struct sync_sign question;
	while (sync_sign(s->mesh.sync, &question)) {
		struct wire_sign m = {.request = question.number,
			.key_number = question.key_number,
			.algorithm = question.algorithm};
		if (!state_ask_signature(s, &m, question.bytes, question.len))
			sync_sign_done(s->mesh.sync, question.number, NULL, 0);
	}
}

void state_mesh_step_sync(struct state_process *s)
{
	if (!s->mesh.sync)
		return;
	if (state_tell_picture(s))
		state_tell_view(s); /* what is in it counts from now on */
	else
		state_tell_news(s);
}

/* --- configuration --- */

int state_mesh_configure(
	struct state_process *s, const struct conf *conf, const struct bundle *b, struct err *err)
{
	struct state_mesh *m = &s->mesh;
	bool is_first = !s->conf, has_store = conf->state.redis_count > 0;
	/* The keeper starts another process instead: this one could not leave the mesh otherwise.
	 */
	if (!is_first && has_store != (m->sync != NULL))
		return err_set(err, EINVAL, "a store does not come or go while running");
	if (!has_store)
		return 0;
	if (m->sync)
		return sync_configure(m->sync, conf, b, err);
	if (s->dir_fd < 0)
		return err_set(err, EINVAL, "state.dir: not there");
	return sync_new(&s->loop, STATE_SYNC_KIND, &m->sync_news, conf, b, s->dir_fd, s->ledger,
		&m->sync, err);
}

void state_mesh_configured(struct state_process *s)
{
	if (!s->mesh.sync)
		return;
	if (!health_configure(s->mesh.health, s->conf)) {
		/* The two would not agree on which workload is which: begin anew. */
		log_error("state", "out of memory for the checks");
		_exit(1);
	}
	state_mesh_step_health(s);
}

void state_mesh_take_out(struct state_process *s, const struct wire_take_out *m)
{
	struct err err;
	if (!s->mesh.sync)
		return;
	struct str service = {m->service, strnlen(m->service, sizeof(m->service))};
	int r = sync_drain(s->mesh.sync, service, m->back, &err);
	s->mesh.take_out_why[0] = '\0';
	if (r < 0) {
		log_error("state", "%s", err.text);
		snprintf(s->mesh.take_out_why, sizeof(s->mesh.take_out_why), "%.*s",
			(int)sizeof(s->mesh.take_out_why) - 1, err.text);
	} else {
		log_info("state", "%s " STR_FMT "%s",
			m->back ? "back into the mesh:" : "drained:", STR_ARG(service),
			service.len ? "" : "all endpoints of this node");
	}
	state_tell_view(s);
}

void state_mesh_tick(struct state_process *s)
{
	struct state_mesh *m = &s->mesh;
	if (!m->sync)
		return;
	if (m->picture_fd >= 0 && state_tell_picture(s))
		m->view_due = true;
	if (m->view_due || s->loop.now_ns - m->viewed_ns >= STATE_VIEW_NS)
		state_tell_view(s);
}

/* --- end --- */

void state_mesh_close(struct state_process *s)
{
	if (s->mesh.sync)
		sync_close(s->mesh.sync);
	health_close(s->mesh.health);
}

bool state_mesh_idle(const struct state_process *s)
{
	return (!s->mesh.sync || sync_idle(s->mesh.sync)) && health_idle(s->mesh.health);
}

void state_mesh_free(struct state_process *s)
{
	if (s->mesh.sync)
		sync_free(s->mesh.sync);
	health_free(s->mesh.health);
}
