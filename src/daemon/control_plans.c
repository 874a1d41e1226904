/* SPDX-License-Identifier: Apache-2.0 */
/* A plan is made of two halves: the keeper's bundle (configuration, certificates) and the state
 * process's picture of the mesh. Either may be replaced; a plan is then built of the new half and
 * the other one as it is, beside the plan in force, and swapped by pointer when it is whole. What
 * cannot be built is refused, and the plan in force stays:
 *
 *   a configuration   the keeper is told, and takes it back
 *   a picture         status and log say so; it is tried again with the next configuration
 *
 * A picture costs the control thread work in proportion to the mesh, and memory as long as somebody
 * holds the plan before. So there is a pause behind each, in proportion to what it cost and to how
 * many plans are still held; the keeper sends the next one only when this one has been answered,
 * and then the newest. */
#include "control_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "proxy/facts.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONTROL_PAUSE_MIN_NS  (100 * CLOCK_MS)
#define CONTROL_PAUSE_MAX_NS  (10 * CLOCK_S)
#define CONTROL_PAUSE_COST    4		       /* times what the last picture took */
#define CONTROL_WARNINGS_MAX  20	       /* lines of the log at a time */
#define CONTROL_PAUSE_PLAN_NS (100 * CLOCK_MS) /* for each plan that is still held */

/* --- bundles --- */

static void control_bundle_free(struct bundle *b)
{
	if (b)
		bundle_done(b);
	free(b);
}

static struct bundle *control_bundle_read(int fd, char *text, size_t size)
{
	struct bundle *b = malloc(sizeof(*b));
	struct err err = {.text = "out of memory"};
	if (b) {
		bundle_init(b);
		if (bundle_from_memfd(b, fd, &err) == 0)
			return b;
	}
	snprintf(text, size, "%s", err.text);
	free(b);
	return NULL;
}

static void control_replace(struct bundle **place, struct bundle *b)
{
	if (*place != b)
		control_bundle_free(*place);
	*place = b;
}

/* --- plans --- */

void control_free_retired(struct control *c)
{
	struct list *it = c->retired.next;
	while (it != &c->retired) {
		struct plan *plan = CONTAINER_OF(it, struct plan, node);
		it = it->next;
		if (atomic_load_explicit(&plan->holder_count, memory_order_acquire) > 0)
			continue;
		list_remove(&plan->node);
		plan_free(plan);
	}
}

static bool control_has_line(const char *text, const char *line, size_t len)
{
	for (size_t have; *text; text += have + (text[have] == '\n')) {
		have = strcspn(text, "\n");
		if (have == len && memcmp(text, line, len) == 0)
			return true;
	}
	return false;
}

/* What is allowed and looks like a mistake: each line when it is new, however many plans are made
 * of the same objects. Status shows those of the plan in force. */
static void control_log_warnings(const struct plan *before, const struct plan *plan)
{
	const char *known = before && before->warnings ? before->warnings : "";
	uint32_t left = CONTROL_WARNINGS_MAX;
	size_t len = 0;
	for (const char *at = plan->warnings ? plan->warnings : ""; *at;
		at += len + (at[len] == '\n')) {
		len = strcspn(at, "\n");
		if (len == 0 || control_has_line(known, at, len))
			continue;
		if (left-- == 0) {
			log_warning("proxy", "there are more warnings: `ringmain check` has all");
			return;
		}
		log_warning("proxy", "%.*s", (int)len, at);
	}
}

/* With what is known of the world outside. */
static int control_build(struct control *c, const struct bundle *b, const struct bundle *picture,
	uint64_t generation, struct plan **ret_plan, char *text, size_t size)
{
	struct facts *facts = control_facts(c, b, text, size);
	if (!facts)
		return -ENOMEM;
	int r = plan_build(b, picture, generation, c->proxy.plan, ret_plan, text, size);
	if (r == 0) {
		(*ret_plan)->facts = facts;
	} else {
		facts_unref(facts);
		c->facts_of = NULL; /* that configuration goes */
	}
	return r;
}

static void control_swap(struct control *c, struct plan *plan)
{
	struct proxy *p = &c->proxy;
	atomic_store(&plan->holder_count, p->worker_count);
	for (uint32_t i = 0; i < p->worker_count; i++) {
		struct plan *untaken = worker_hand_plan(p->workers[i], plan);
		if (untaken)
			atomic_fetch_sub(&untaken->holder_count, 1);
	}
	list_add_last(&c->retired, &p->plan->node);
	control_log_warnings(p->plan, plan);
	p->plan = plan;
}

void control_note(struct control *c, uint64_t wall_ns, bool ok)
{
	c->proxy.reload_wall_ns = wall_ns;
	c->proxy.reload_ok = ok;
	if (ok)
		c->proxy.reload_text[0] = '\0';
}

static void control_tell_refused(struct control *c, uint64_t generation)
{
	struct wire_note note = {
		.head = control_head(WIRE_REFUSED),
		.wall_ns = clock_wall_ns(),
		.generation = generation,
	};
	snprintf(note.text, sizeof(note.text), "%s", c->proxy.reload_text);
	c->refused_unsaid = control_tell(c, &note, sizeof(note)) ? 0 : generation;
}

/* A standalone machine has no picture, whatever it had before. */
static void control_forget_mesh(struct control *c)
{
	control_replace(&c->picture, NULL);
	control_replace(&c->refused, NULL);
	c->proxy.mesh = (struct proxy_mesh){0};
	c->view = (struct wire_state_view){0};
	c->picture_number = 0;
}

/* --- pictures --- */

static void control_picture_refused(struct control *c, struct bundle *picture, const char *text)
{
	struct proxy_mesh *m = &c->proxy.mesh;
	bool said = strcmp(m->refused_text, text) == 0;
	control_replace(&c->refused, picture);
	m->refused_total++;
	snprintf(m->refused_text, sizeof(m->refused_text), "%s", text);
	if (!said)
		log_error("proxy", "mesh state not taken, the one before stays: %s", text);
}

/* How it stands, but revision and counts as they are in force here: those of a picture that waits,
 * or is refused, are not. */
static void control_show_view(struct control *c)
{
	struct state_view *shown = &c->proxy.mesh.view.view;
	const struct state_view before = *shown;
	c->proxy.mesh.view = c->view;
	if (c->view.picture == c->picture_number)
		return;
	shown->revision = before.revision;
	shown->node_count = before.node_count;
	shown->endpoint_count = before.endpoint_count;
	shown->object_count = before.object_count;
}

static void control_picture_taken(struct control *c, struct bundle *picture, uint64_t number)
{
	struct proxy_mesh *m = &c->proxy.mesh;
	control_replace(&c->picture, picture);
	control_replace(&c->refused, NULL);
	if (m->refused_text[0])
		log_info("proxy", "mesh state taken again");
	if (!m->has_picture)
		log_info("proxy", "the mesh's state is there");
	m->has_picture = true;
	m->refused_text[0] = '\0';
	c->picture_number = number;
	control_show_view(c);
}

/* Takes the picture over in either case. */
static void control_try_picture(struct control *c, struct bundle *picture)
{
	char text[sizeof(c->proxy.mesh.refused_text)] = "";
	struct plan *plan;
	if (c->proxy.plan->conf->state.redis_count == 0) {
		control_bundle_free(picture);
		return;
	}
	if (control_build(c, c->bundle, picture, c->proxy.plan->generation, &plan, text,
		    sizeof(text)) < 0) {
		control_picture_refused(c, picture, text);
		return;
	}
	control_swap(c, plan);
	control_picture_taken(c, picture, c->waiting_number);
}

void control_keep_picture(struct control *c, const struct wire_state *message, int fd)
{
	if (c->waiting_fd >= 0)
		close(c->waiting_fd);
	c->waiting_fd = fd;
	c->waiting_number = message->number;
}

/* NULL: none waits, or it is none. */
static struct bundle *control_waiting_picture(struct control *c)
{
	char text[sizeof(c->proxy.mesh.refused_text)];
	if (c->waiting_fd < 0)
		return NULL;
	struct bundle *picture = control_bundle_read(c->waiting_fd, text, sizeof(text));
	close(c->waiting_fd);
	c->waiting_fd = -1;
	if (!picture)
		control_picture_refused(c, NULL, text);
	return picture;
}

static void control_tell_taken(struct control *c, uint64_t number)
{
	struct wire_state taken = {.head = control_head(WIRE_STATE_TAKEN), .number = number};
	c->taken_unsaid = control_tell(c, &taken, sizeof(taken)) ? 0 : number;
}

void control_tell_unsaid(struct control *c)
{
	if (c->refused_unsaid)
		control_tell_refused(c, c->refused_unsaid);
	if (c->taken_unsaid)
		control_tell_taken(c, c->taken_unsaid);
}

static uint64_t control_pause_ns(struct control *c, uint64_t cost_ns)
{
	uint64_t pause_ns = CONTROL_PAUSE_MIN_NS + CONTROL_PAUSE_COST * cost_ns;
	LIST_EACH (&c->retired, it)
		pause_ns += CONTROL_PAUSE_PLAN_NS;
	return pause_ns < CONTROL_PAUSE_MAX_NS ? pause_ns : CONTROL_PAUSE_MAX_NS;
}

void control_step_picture(struct control *c)
{
	if (c->waiting_fd < 0 || c->loop.now_ns < c->picture_next_ns)
		return;
	uint64_t start_ns = clock_monotonic_ns();
	struct bundle *picture = control_waiting_picture(c);
	if (picture)
		control_try_picture(c, picture);
	control_tell_taken(c, c->waiting_number);
	c->picture_next_ns = c->loop.now_ns + control_pause_ns(c, clock_monotonic_ns() - start_ns);
}

void control_plan_again(struct control *c)
{
	char text[sizeof(c->proxy.mesh.refused_text)] = "";
	struct plan *plan;
	uint64_t start_ns = clock_monotonic_ns();
	if (control_build(c, c->bundle, c->picture, c->proxy.plan->generation, &plan, text,
		    sizeof(text)) < 0)
		log_error("proxy", "what is new of the world outside is not taken: %s", text);
	else
		control_swap(c, plan);
	c->picture_next_ns = c->loop.now_ns + control_pause_ns(c, clock_monotonic_ns() - start_ns);
}

void control_take_view(struct control *c, const struct wire_state_view *view)
{
	struct proxy_mesh *m = &c->proxy.mesh;
	if (c->proxy.plan->conf->state.redis_count == 0)
		return;
	c->view = *view;
	control_show_view(c);
	m->view_wall_ns = c->loop.wall_ns;
}

/* --- configurations --- */

void control_take_plan(struct control *c, const struct wire_plan *message, int fd)
{
	struct proxy *p = &c->proxy;
	struct plan *plan;
	if (fd < 0)
		return;
	struct bundle *b = control_bundle_read(fd, p->reload_text, sizeof(p->reload_text));
	int r = b ? control_build(c, b, c->picture, message->generation, &plan, p->reload_text,
			    sizeof(p->reload_text))
		  : -1;
	control_note(c, clock_wall_ns(), r == 0);
	if (r < 0) {
		control_bundle_free(b);
		log_error("proxy", "generation %" PRIu64 " is refused, the one before stays: %s",
			message->generation, p->reload_text);
		control_tell_refused(c, message->generation);
		return;
	}
	control_replace(&c->bundle, b);
	control_swap(c, plan);
	control_look_at_trust(c);
	log_info("proxy", "generation %" PRIu64 " is in force", message->generation);
	struct bundle *again = c->refused;
	c->refused = NULL;
	if (p->plan->conf->state.redis_count == 0)
		control_forget_mesh(c);
	if (again)
		control_try_picture(c, again);
}

int control_first_plan(struct control *c, uint64_t generation, int fd, struct err *err)
{
	struct proxy *p = &c->proxy;
	char text[sizeof(p->mesh.refused_text)] = "";
	bool waited = c->waiting_fd >= 0;
	c->bundle = control_bundle_read(fd, err->text, sizeof(err->text));
	if (!c->bundle)
		return -EINVAL;
	struct bundle *picture = control_waiting_picture(c);
	int r = -EINVAL;
	if (picture) {
		r = control_build(c, c->bundle, picture, generation, &p->plan, text, sizeof(text));
		if (r == 0)
			control_picture_taken(c, picture, c->waiting_number);
		else
			control_picture_refused(c, picture, text);
	}
	if (r < 0)
		r = control_build(
			c, c->bundle, NULL, generation, &p->plan, err->text, sizeof(err->text));
	if (r == 0)
		control_log_warnings(NULL, p->plan);
	if (r == 0 && p->plan->conf->state.redis_count == 0)
		control_forget_mesh(c);
	if (r == 0)
		control_look_at_trust(c);
	if (waited)
		control_tell_taken(c, c->waiting_number);
	return r;
}

void control_plans_done(struct control *c)
{
	control_replace(&c->bundle, NULL);
	control_replace(&c->picture, NULL);
	control_replace(&c->refused, NULL);
	if (c->waiting_fd >= 0)
		close(c->waiting_fd);
}
