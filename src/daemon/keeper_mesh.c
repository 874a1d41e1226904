/* SPDX-License-Identifier: Apache-2.0 */
/* The state process, as the keeper sees it: a child that may come, die and go without anybody else
 * noticing, and whose newest picture of the mesh is kept for the proxy process, the next one too.
 *
 * What is in a picture comes from the network, so the keeper does not look: it sees to it that the
 * memory cannot change any more and is not too large, and passes it on. One picture at a time is
 * with the proxy process; when that has taken it, the newest follows. */
#include "keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPER_MESH_SILENCE_NS (15 * CLOCK_S) /* it may wait for a disk, but not for ever */
#define KEEPER_LEAVE_NS	       (2 * CLOCK_S)  /* to take this node's record out of the store */

/* --- its life --- */

static const char *const keeper_mesh_names[] = {
#define X(name) #name,
	KEEPER_MESH_LIST(X)
#undef X
};

static bool keeper_mesh_may_move(enum keeper_mesh_state from, enum keeper_mesh_state to)
{
	static const unsigned allowed[] = {
		[KEEPER_MESH_OFF] = 1u << KEEPER_MESH_WAITING,
		[KEEPER_MESH_WAITING] = 1u << KEEPER_MESH_WAITING | 1u << KEEPER_MESH_RUNNING |
					1u << KEEPER_MESH_OFF,
		[KEEPER_MESH_RUNNING] = 1u << KEEPER_MESH_WAITING | 1u << KEEPER_MESH_LEAVING,
		[KEEPER_MESH_LEAVING] = 1u << KEEPER_MESH_LEAVING | 1u << KEEPER_MESH_OFF,
	};
	return allowed[from] & 1u << to;
}

/* The only writer of `state`. */
static void keeper_mesh_move(
	struct keeper_mesh *m, enum keeper_mesh_state state, uint64_t deadline_ns)
{
	ASSERT(keeper_mesh_may_move(m->state, state));
	if (m->state != state)
		log_info("keeper", "state process: %s -> %s", keeper_mesh_names[m->state],
			keeper_mesh_names[state]);
	m->state = state;
	m->deadline_ns = deadline_ns;
}

int keeper_mesh_init(struct keeper *k, struct err *err)
{
	k->mesh.state = KEEPER_MESH_OFF;
	k->mesh.picture_fd = -1;
	return keeper_child_init(&k->mesh.child, "state process", "state", KEEPER_MESH_SILENCE_NS,
		KEEPER_KEYS_MESH, 1, err);
}

static void keeper_mesh_forget(struct keeper_mesh *m)
{
	if (m->picture_fd >= 0)
		close(m->picture_fd);
	m->picture_fd = -1;
	m->picture_unsaid = false;
	m->view_known = m->view_unsaid = false;
}

void keeper_mesh_done(struct keeper *k)
{
	keeper_child_done(&k->mesh.child);
	keeper_mesh_forget(&k->mesh);
}

static bool keeper_mesh_has_store(const struct keeper *k)
{
	return k->current->conf->state.redis_count > 0;
}

static bool keeper_mesh_wanted(const struct keeper *k)
{
	bool serving = k->state == KEEPER_STATE_WAITING || k->state == KEEPER_STATE_STARTING ||
		       k->state == KEEPER_STATE_RUNNING;
	return serving &&
	       (keeper_mesh_has_store(k) || k->current->conf->authority.server_count > 0 ||
		       keeper_outside_wanted(k));
}

/* The process that runs cannot become what is wanted now. */
static bool keeper_mesh_is_other(const struct keeper *k)
{
	const struct keeper_mesh *m = &k->mesh;
	return m->has_store != keeper_mesh_has_store(k) ||
	       (m->has_authority && k->current->conf->authority.server_count == 0);
}

static void keeper_mesh_start(struct keeper *k, uint64_t now_ns)
{
	struct err err;
	k->mesh.has_store = keeper_mesh_has_store(k);
	k->mesh.has_authority = false;
	keeper_identity_forget(k, KEEPER_ROWS_STAY);
	k->mesh.said_generation = k->mesh.taken_generation = 0;
	k->mesh.nonsense_told = false;
	keeper_outside_begin_state(k);
	if (keeper_child_start(k, &k->mesh.child, now_ns, &err) < 0)
		keeper_mesh_move(&k->mesh, KEEPER_MESH_WAITING, now_ns + CLOCK_S);
	else
		keeper_mesh_move(&k->mesh, KEEPER_MESH_RUNNING, 0);
}

static void keeper_mesh_died(struct keeper *k, uint64_t now_ns)
{
	struct keeper_mesh *m = &k->mesh;
	if (m->state == KEEPER_MESH_LEAVING)
		keeper_mesh_move(m, KEEPER_MESH_OFF, 0);
	else
		keeper_mesh_move(m, KEEPER_MESH_WAITING,
			now_ns + keeper_child_backoff_ns(&m->child, now_ns));
}

static void keeper_mesh_leave(struct keeper *k, uint64_t now_ns)
{
	k->mesh.child.drain_unsaid = true;
	keeper_mesh_move(&k->mesh, KEEPER_MESH_LEAVING, now_ns + KEEPER_LEAVE_NS);
	keeper_mesh_forget(&k->mesh);
	keeper_identity_forget(k, KEEPER_ROWS_GO);
}

void keeper_mesh_step(struct keeper *k, uint64_t now_ns)
{
	struct keeper_mesh *m = &k->mesh;
	bool wanted = keeper_mesh_wanted(k);
	if (k->child_died && keeper_child_ended(&m->child, m->state == KEEPER_MESH_LEAVING))
		keeper_mesh_died(k, now_ns);
	switch (m->state) {
	case KEEPER_MESH_OFF:
		if (wanted)
			keeper_mesh_move(m, KEEPER_MESH_WAITING, now_ns);
		break;
	case KEEPER_MESH_WAITING:
		if (!wanted)
			keeper_mesh_move(m, KEEPER_MESH_OFF, 0);
		else if (now_ns >= m->deadline_ns)
			keeper_mesh_start(k, now_ns);
		break;
	case KEEPER_MESH_RUNNING:
		if (!wanted || keeper_mesh_is_other(k))
			keeper_mesh_leave(k, now_ns);
		break;
	case KEEPER_MESH_LEAVING:
		if (now_ns < m->deadline_ns)
			break;
		kill(m->child.pid, SIGKILL);
		keeper_mesh_move(m, KEEPER_MESH_LEAVING, now_ns + KEEPER_LEAVE_NS);
		break;
	}
}

uint64_t keeper_mesh_until_ns(const struct keeper *k)
{
	const struct keeper_mesh *m = &k->mesh;
	switch (m->state) {
	case KEEPER_MESH_OFF:
		return keeper_mesh_wanted(k) ? 0 : UINT64_MAX;
	case KEEPER_MESH_WAITING:
		return keeper_mesh_wanted(k) ? m->deadline_ns : 0;
	case KEEPER_MESH_RUNNING:
		return keeper_mesh_wanted(k) && !keeper_mesh_is_other(k) ? UINT64_MAX : 0;
	case KEEPER_MESH_LEAVING:
		return m->deadline_ns;
	}
	return UINT64_MAX;
}

void keeper_mesh_ping(struct keeper *k, uint64_t now_ns)
{
	if (k->mesh.state == KEEPER_MESH_RUNNING)
		keeper_child_ping(&k->mesh.child, now_ns);
}

void keeper_mesh_hurry(struct keeper *k)
{
	if (k->mesh.child.pid > 0)
		kill(k->mesh.child.pid, SIGKILL);
}

bool keeper_mesh_gone(const struct keeper *k)
{
	return k->mesh.child.pid == 0;
}

/* --- saying --- */

/* The opening: start, ledger, signer, with a store the directory. The plan follows as any later one
 * does.
 */
static uint32_t keeper_mesh_opening_count(const struct keeper *k)
{
	return k->mesh.has_store ? 4 : 3;
}

static int keeper_mesh_say_directory(struct keeper *k)
{
	struct wire_head m = keeper_head(WIRE_DIRECTORY);
	struct err err;
	int fd = keeper_directory_open(k->current->conf->state.dir.at, &k->user, &err);
	if (fd < 0) {
		log_error("keeper", "%s", err.text);
		return fd;
	}
	int r = keeper_child_say(&k->mesh.child, &m, sizeof(m), fd);
	close(fd);
	return r;
}

static int keeper_mesh_say_opening(struct keeper *k)
{
	struct keeper_child *c = &k->mesh.child;
	switch (c->said) {
	case 0:
		return keeper_child_say_start(c, 1, 0);
	case 1:
		return keeper_child_say_ledger(c, k->ledger_fd);
	case 2:
		return keeper_child_say_signer(c, 0);
	default:
		return keeper_mesh_say_directory(k);
	}
}

static bool keeper_mesh_has_plan(const struct keeper *k)
{
	return k->mesh.state == KEEPER_MESH_RUNNING && k->current->mesh_memfd >= 0 &&
	       k->mesh.said_generation != k->current->generation;
}

static bool keeper_mesh_has_want(const struct keeper *k)
{
	return k->mesh.state == KEEPER_MESH_RUNNING && keeper_outside_wants_saying(k);
}

bool keeper_mesh_wants_write(const struct keeper *k)
{
	const struct keeper_child *c = &k->mesh.child;
	return c->channel_fd >= 0 &&
	       (c->said < keeper_mesh_opening_count(k) || keeper_mesh_has_plan(k) ||
		       keeper_mesh_has_want(k) || keeper_identity_wants_write(k) ||
		       c->drain_unsaid || c->ping_unsaid);
}

/* Says one thing; the order is the order of the cases. */
static int keeper_mesh_say(struct keeper *k)
{
	struct keeper_child *c = &k->mesh.child;
	int r;
	if (c->said < keeper_mesh_opening_count(k)) {
		r = keeper_mesh_say_opening(k);
		c->said += r == 0;
	} else if (keeper_mesh_has_plan(k)) {
		r = keeper_child_say_plan(c, k->current->generation, k->current->mesh_memfd);
		if (r == 0) {
			k->mesh.said_generation = k->current->generation;
			k->mesh.has_authority = k->current->conf->authority.server_count > 0;
		}
	} else if (keeper_mesh_has_want(k)) {
		r = keeper_outside_say(k);
	} else if (keeper_identity_wants_write(k)) {
		r = keeper_identity_say(k);
	} else if (c->drain_unsaid) {
		r = keeper_child_say_drain(c);
	} else {
		r = keeper_child_say_ping(c);
	}
	return r;
}

void keeper_mesh_write(struct keeper *k)
{
	while (keeper_mesh_wants_write(k)) {
		int r = keeper_mesh_say(k);
		if (r == -EAGAIN)
			return;
		/* Without its directory, for one, it cannot be: it sees the end, and is started
		 * again with the pause that deaths cost. */
		if (r < 0)
			keeper_child_hang_up(&k->mesh.child);
	}
}

/* --- hearing --- */

bool keeper_sealed(int fd, size_t bytes_max)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && (seals & wanted) == wanted && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_size <= (off_t)bytes_max;
}

static void keeper_hear_picture(struct keeper *k, uint64_t number, int fd, uint64_t now_ns)
{
	struct keeper_mesh *m = &k->mesh;
	bool sound = fd >= 0 && keeper_sealed(fd, WIRE_STATE_BYTES_MAX);
	if (!sound && !m->nonsense_told)
		log_error("keeper", "the state process passed on what is no picture");
	m->nonsense_told = m->nonsense_told || !sound;
	if (!sound || m->state != KEEPER_MESH_RUNNING) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (m->picture_fd >= 0)
		close(m->picture_fd);
	m->picture_fd = fd;
	m->picture_number = number;
	m->picture_unsaid = true;
	/* What the first start of a proxy process waits for. */
	if (k->state == KEEPER_STATE_WAITING && k->proxy.start_count == 0)
		keeper_move(k, KEEPER_STATE_WAITING, now_ns);
}

static void keeper_hear_view(struct keeper *k, const struct wire_state_view *view)
{
	if (k->mesh.state != KEEPER_MESH_RUNNING)
		return;
	k->mesh.view = *view;
	k->mesh.view_known = k->mesh.view_unsaid = true;
}

static void keeper_mesh_refused(struct keeper *k, const struct wire_note *note)
{
	char text[sizeof(note->text)];
	memcpy(text, note->text, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	/* One that is started again and again refuses it again and again; and one that was taken
	 * over what it was never told of. */
	if (k->mesh.refused_generation == note->generation ||
		k->mesh.said_generation != note->generation)
		return;
	k->mesh.refused_generation = note->generation;
	log_error("keeper", "the state process does not take generation %" PRIu64 ":",
		note->generation);
	keeper_log_text(LOG_LEVEL_ERROR, text);
	keeper_note(k, note->generation, text);
}

static void keeper_mesh_ready(struct keeper *k, uint64_t generation)
{
	if (generation != k->mesh.said_generation || generation == k->mesh.taken_generation)
		return;
	k->mesh.taken_generation = generation;
	log_info("keeper", "the state process has taken generation %" PRIu64, generation);
}

static void keeper_mesh_hear(struct keeper *k, const union channel_message *m, size_t len,
	int passed_fd, uint64_t now_ns)
{
	/* Whatever it says is a sign of life; one that was stopped before its first answer, too,
	 * is found out. */
	k->mesh.child.pong_ns = now_ns;
	if (m->head.kind == WIRE_STATE && len == sizeof(m->state)) {
		keeper_hear_picture(k, m->state.number, passed_fd, now_ns);
		return; /* the descriptor is its */
	}
	if (keeper_identity_hear(k, m, len, passed_fd))
		return;
	if (m->head.kind == WIRE_FACTS && keeper_outside_hear(k, m, len, passed_fd))
		return;
	if (passed_fd >= 0)
		close(passed_fd);
	if (m->head.kind == WIRE_STATE_VIEW && len == sizeof(m->view)) {
		keeper_hear_view(k, &m->view);
	} else if (m->head.kind == WIRE_PONG && len == sizeof(m->ping)) {
		return;
	} else if (m->head.kind == WIRE_READY && len == sizeof(m->ready)) {
		keeper_mesh_ready(k, m->ready.generation);
	} else if (m->head.kind == WIRE_REFUSED && len == sizeof(m->note)) {
		keeper_mesh_refused(k, &m->note);
	} else if (!k->mesh.heard_unknown) {
		k->mesh.heard_unknown = true;
		log_warning("keeper", "the state process said something unknown (%u, %zu bytes)",
			m->head.kind, len);
	}
}

void keeper_mesh_read(struct keeper *k, uint64_t now_ns)
{
	union channel_message m;
	size_t len;
	int passed_fd;
	for (int i = 0; i < KEEPER_HEAR_BATCH; i++) {
		if (!keeper_child_hear(&k->mesh.child, &m, &len, &passed_fd))
			return;
		keeper_mesh_hear(k, &m, len, passed_fd, now_ns);
	}
}

/* --- between the two --- */

static bool keeper_picture_due(const struct keeper_mesh *m)
{
	return m->picture_unsaid && !m->picture_away;
}

bool keeper_mesh_wants_telling(const struct keeper *k)
{
	return keeper_picture_due(&k->mesh) || k->mesh.view_unsaid || k->identity.rows_unsaid ||
	       k->outside.facts.unsaid;
}

int keeper_mesh_tell_picture(struct keeper *k)
{
	struct keeper_mesh *m = &k->mesh;
	struct wire_state state = {.head = keeper_head(WIRE_STATE), .number = m->picture_number};
	if (m->picture_fd < 0)
		return 0;
	int r = keeper_child_say(&k->proxy, &state, sizeof(state), m->picture_fd);
	if (r == 0) {
		m->picture_unsaid = false;
		m->picture_away = true;
	}
	return r;
}

int keeper_mesh_tell(struct keeper *k)
{
	struct keeper_mesh *m = &k->mesh;
	if (keeper_picture_due(m))
		return keeper_mesh_tell_picture(k);
	if (k->identity.rows_unsaid)
		return keeper_identity_tell(k);
	if (k->outside.facts.unsaid)
		return keeper_outside_tell_facts(k);
	struct wire_state_view view = m->view;
	view.head = keeper_head(WIRE_STATE_VIEW);
	int r = keeper_child_say(&k->proxy, &view, sizeof(view), -1);
	m->view_unsaid = r < 0;
	return r;
}

void keeper_mesh_taken(struct keeper *k, uint64_t number)
{
	k->mesh.picture_away = false;
}

/* Not kept: who asked looks whether it was done, and asks again. */
void keeper_mesh_take_out(struct keeper *k, const struct wire_take_out *m)
{
	struct keeper_child *c = &k->mesh.child;
	bool open = c->channel_fd >= 0 && k->mesh.said_generation != 0;
	if (!open || keeper_child_say(c, m, sizeof(*m), -1) < 0)
		log_warning("keeper", "the state process cannot be told what to take out of the "
				      "mesh now");
}
