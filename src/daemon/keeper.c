/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's loop. What happens outside (signals, messages, time) is recorded; keeper_step()
 * decides. The states and their picture are in keeper.h. */
#include "daemon/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/usage.h"
#include "daemon/sandbox.h"
#include "keeper.h"
#include "ledger/ledger.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define KEEPER_TICK_NS	   (1 * CLOCK_S)
#define KEEPER_SILENCE_NS  (30 * CLOCK_S) /* no answer of the proxy process for so long */
#define KEEPER_ENDING_NS   (2 * CLOCK_S)  /* between TERM and KILL */
#define KEEPER_WORKERS_MAX 1024u
#define KEEPER_PICTURE_NS  (3 * CLOCK_S) /* how long the first start waits for the mesh's state */

/* --- states --- */

static const char *const keeper_state_names[] = {
#define X(name) #name,
	KEEPER_STATE_LIST(X)
#undef X
};

static bool keeper_may_move(enum keeper_state from, enum keeper_state to)
{
	static const unsigned allowed[] = {
		[KEEPER_STATE_WAITING] = 1u << KEEPER_STATE_STARTING | 1u << KEEPER_STATE_WAITING |
					 1u << KEEPER_STATE_DEAD,
		[KEEPER_STATE_STARTING] = 1u << KEEPER_STATE_RUNNING | 1u << KEEPER_STATE_WAITING |
					  1u << KEEPER_STATE_DRAINING,
		[KEEPER_STATE_RUNNING] = 1u << KEEPER_STATE_WAITING | 1u << KEEPER_STATE_DRAINING,
		[KEEPER_STATE_DRAINING] = 1u << KEEPER_STATE_ENDING | 1u << KEEPER_STATE_DEAD,
		[KEEPER_STATE_ENDING] = 1u << KEEPER_STATE_ENDING | 1u << KEEPER_STATE_DEAD,
		[KEEPER_STATE_DEAD] = 0,
	};
	return allowed[from] & 1u << to;
}

void keeper_move(struct keeper *k, enum keeper_state state, uint64_t deadline_ns)
{
	ASSERT(keeper_may_move(k->state, state));
	if (k->state != state)
		log_info("keeper", "%s -> %s", keeper_state_names[k->state],
			keeper_state_names[state]);
	k->state = state;
	k->deadline_ns = deadline_ns;
}

void keeper_log_text(enum log_level level, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		if (len > 0)
			log_line(level, "keeper", "%.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

/* --- the proxy process comes and goes --- */

static void keeper_start_proxy(struct keeper *k, uint64_t now_ns)
{
	struct err err;
	keeper_channel_begin(k);
	if (keeper_child_start(k, &k->proxy, now_ns, &err) < 0)
		keeper_move(k, KEEPER_STATE_WAITING, now_ns + CLOCK_S);
	else
		keeper_move(k, KEEPER_STATE_STARTING, 0);
}

/* A plan that the dead one had not answered to may be what it died of: the old one stays. */
static void keeper_drop_next(struct keeper *k)
{
	static const char text[] =
		"the proxy process died before it had taken the new configuration "
		"over; the one before stays, reload to try again";
	if (!k->next)
		return;
	log_error("keeper", "%s", text);
	keeper_note(k, k->next->generation, text);
	keeper_plan_free(k->next);
	k->next = NULL;
	notify_send(&k->notify, "READY=1");
}

static void keeper_proxy_died(struct keeper *k, uint64_t now_ns)
{
	keeper_drop_next(k);
	/* Handshakes that could ask for old keys died with it. */
	keeper_plan_reap(k, UINT64_MAX);
	if (k->state == KEEPER_STATE_DRAINING || k->state == KEEPER_STATE_ENDING) {
		keeper_move(k, KEEPER_STATE_DEAD, 0);
		return;
	}
	uint64_t wait_ns = keeper_child_backoff_ns(&k->proxy, now_ns);
	notify_send(&k->notify, "STATUS=the proxy process died, starting it again");
	keeper_move(k, KEEPER_STATE_WAITING, now_ns + wait_ns);
}

static void keeper_wait_child(struct keeper *k, uint64_t now_ns)
{
	bool wanted = k->state == KEEPER_STATE_DRAINING || k->state == KEEPER_STATE_ENDING;
	if (keeper_child_ended(&k->proxy, wanted))
		keeper_proxy_died(k, now_ns);
}

/* --- stopping --- */

static void keeper_terminate(struct keeper *k, uint64_t now_ns)
{
	kill(k->proxy.pid, SIGTERM);
	keeper_mesh_hurry(k);
	keeper_move(k, KEEPER_STATE_ENDING, now_ns + KEEPER_ENDING_NS);
}

/* The first time drains, the second time hurries. */
static void keeper_stop(struct keeper *k, uint64_t now_ns)
{
	k->stop_asked = false;
	switch (k->state) {
	case KEEPER_STATE_WAITING:
		keeper_move(k, KEEPER_STATE_DEAD, 0);
		break;
	case KEEPER_STATE_STARTING:
	case KEEPER_STATE_RUNNING:
		notify_send(&k->notify, "STOPPING=1\nSTATUS=draining");
		k->proxy.drain_unsaid = true;
		keeper_listen_stop(k);
		keeper_move(k, KEEPER_STATE_DRAINING,
			now_ns + k->current->conf->drain_timeout_ms * CLOCK_MS);
		break;
	case KEEPER_STATE_DRAINING:
		keeper_terminate(k, now_ns);
		break;
	case KEEPER_STATE_ENDING:
	case KEEPER_STATE_DEAD:
		break;
	}
}

/* --- time --- */

static bool keeper_may_reload(const struct keeper *k)
{
	return !k->next && k->identity.work.state == KEEPER_WORK_IDLE;
}

static void keeper_tick(struct keeper *k, uint64_t now_ns)
{
	k->tick_ns = now_ns + KEEPER_TICK_NS;
	keeper_plan_reap(k, now_ns);
	if (k->state == KEEPER_STATE_RUNNING)
		keeper_child_ping(&k->proxy, now_ns);
	keeper_mesh_ping(k, now_ns);
	if (k->refused_count > 1)
		log_warning("keeper", "%u signatures refused", k->refused_count);
	k->refused_count = 0;
	k->identity.asked_count = k->identity.refused_count = 0;
	k->mesh.heard_unknown = false;
	bool idle = k->state == KEEPER_STATE_RUNNING || k->state == KEEPER_STATE_WAITING;
	if (idle && keeper_may_reload(k) && keeper_watch_look(k)) {
		log_info("keeper", "certificates, marks or secrets have changed");
		keeper_reload(k, KEEPER_SCOPE_WATCHED, now_ns);
	}
	/* The keeper replaces a hanging proxy process by itself; the service manager's watchdog is
	 * for the keeper, and for a proxy process that stays silent all the same. */
	if (k->notify.watchdog_ns > 0 &&
		!(k->state == KEEPER_STATE_RUNNING &&
			keeper_child_silent(&k->proxy, now_ns, KEEPER_SILENCE_NS + 10 * CLOCK_S)))
		notify_send(&k->notify, "WATCHDOG=1");
}

static void keeper_deadline(struct keeper *k, uint64_t now_ns)
{
	switch (k->state) {
	case KEEPER_STATE_WAITING:
		keeper_start_proxy(k, now_ns);
		break;
	case KEEPER_STATE_DRAINING:
		log_warning("keeper", "connections are left after the drain timeout: ended");
		keeper_terminate(k, now_ns);
		break;
	case KEEPER_STATE_ENDING:
		kill(k->proxy.pid, SIGKILL);
		keeper_move(k, KEEPER_STATE_ENDING, now_ns + KEEPER_ENDING_NS);
		break;
	case KEEPER_STATE_STARTING:
	case KEEPER_STATE_RUNNING:
	case KEEPER_STATE_DEAD:
		break;
	}
}

static bool keeper_has_deadline(const struct keeper *k)
{
	return k->state == KEEPER_STATE_WAITING || k->state == KEEPER_STATE_DRAINING ||
	       k->state == KEEPER_STATE_ENDING;
}

/* --- the loop --- */

static void keeper_step(struct keeper *k, uint64_t now_ns)
{
	if (k->child_died)
		keeper_wait_child(k, now_ns);
	keeper_mesh_step(k, now_ns);
	k->child_died = false;
	if (k->stop_asked)
		keeper_stop(k, now_ns);
	bool idle = k->state == KEEPER_STATE_RUNNING || k->state == KEEPER_STATE_WAITING;
	if (k->reload_asked && idle && keeper_may_reload(k)) {
		k->reload_asked = false;
		keeper_reload(k, KEEPER_SCOPE_ALL, now_ns);
	}
	if (keeper_has_deadline(k) && now_ns >= k->deadline_ns)
		keeper_deadline(k, now_ns);
	if (now_ns >= k->tick_ns)
		keeper_tick(k, now_ns);
	keeper_identity_step(k, now_ns);
	keeper_mesh_write(k);
	keeper_channel_write(k);
}

static void keeper_read_signals(struct keeper *k)
{
	struct signalfd_siginfo signal_read;
	while (read(k->signal_fd, &signal_read, sizeof(signal_read)) == sizeof(signal_read)) {
		switch (signal_read.ssi_signo) {
		case SIGHUP:
			k->reload_asked = true;
			break;
		case SIGTERM:
		case SIGINT:
			k->stop_asked = true;
			break;
		case SIGCHLD:
			k->child_died = true;
			break;
		}
	}
}

static int keeper_wait_ms(const struct keeper *k, uint64_t now_ns)
{
	uint64_t until_ns = k->tick_ns;
	if (keeper_has_deadline(k) && k->deadline_ns < until_ns)
		until_ns = k->deadline_ns;
	if (keeper_mesh_until_ns(k) < until_ns)
		until_ns = keeper_mesh_until_ns(k);
	if (keeper_identity_until_ns(k) < until_ns)
		until_ns = keeper_identity_until_ns(k);
	/* Rounded up, or the last millisecond would be spent turning. */
	return until_ns <= now_ns ? 0 : (int)((until_ns - now_ns + CLOCK_MS - 1) / CLOCK_MS);
}

static struct pollfd keeper_poll_channel(const struct keeper_child *c, bool wants_write)
{
	return (struct pollfd){
		.fd = c->channel_fd, .events = (short)(POLLIN | (wants_write ? POLLOUT : 0))};
}

/* The signature sockets' places in `polls`. */
static void keeper_poll_signers(const struct keeper_child *c, struct pollfd *polls)
{
	for (uint32_t i = 0; i < c->signer_count; i++)
		polls[i] = (struct pollfd){.fd = c->signers[i].fd,
			.events = c->signers[i].answer_count > 0 ? POLLOUT : POLLIN};
}

static void keeper_sign_polled(struct keeper *k, struct keeper_child *c, const struct pollfd *polls)
{
	for (uint32_t i = 0; i < c->signer_count; i++) {
		if (polls[i].revents && c->signers[i].fd >= 0)
			keeper_sign(k, &c->signers[i]);
	}
}

static uint32_t keeper_poll_count(const struct keeper *k)
{
	return 4 + k->mesh.child.signer_count + k->proxy.signer_count;
}

/* polls[0]: signals, [1]: the proxy process, [2]: the state process, [3]: the disk's errand, then
 * the signature sockets of the one and the other; poll() skips what is -1. */
static void keeper_poll(struct keeper *k, struct pollfd *polls)
{
	struct pollfd *signers = polls + 4, *mesh_signers = signers + k->proxy.signer_count;
	uint64_t now_ns = clock_monotonic_ns();
	polls[0] = (struct pollfd){.fd = k->signal_fd, .events = POLLIN};
	polls[1] = keeper_poll_channel(&k->proxy, keeper_channel_wants_write(k));
	polls[2] = keeper_poll_channel(&k->mesh.child, keeper_mesh_wants_write(k));
	polls[3] = (struct pollfd){.fd = k->identity.work.done_fd, .events = POLLIN};
	keeper_poll_signers(&k->proxy, signers);
	keeper_poll_signers(&k->mesh.child, mesh_signers);
	if (poll(polls, keeper_poll_count(k), keeper_wait_ms(k, now_ns)) <= 0)
		return;
	now_ns = clock_monotonic_ns();
	if (polls[0].revents)
		keeper_read_signals(k);
	if (polls[1].revents & (POLLIN | POLLHUP | POLLERR))
		keeper_channel_read(k, now_ns);
	if (polls[2].revents & (POLLIN | POLLHUP | POLLERR))
		keeper_mesh_read(k, now_ns);
	if (polls[3].revents)
		keeper_identity_worked(k, now_ns);
	keeper_sign_polled(k, &k->proxy, signers);
	keeper_sign_polled(k, &k->mesh.child, mesh_signers);
}

static void keeper_run(struct keeper *k)
{
	struct pollfd *polls = calloc(keeper_poll_count(k), sizeof(*polls));
	if (!polls)
		return;
	/* A node that has its last known state on disk starts with it. */
	if (k->current->conf->state.redis_count > 0)
		keeper_move(k, KEEPER_STATE_WAITING, clock_monotonic_ns() + KEEPER_PICTURE_NS);
	while (k->state != KEEPER_STATE_DEAD || !keeper_mesh_gone(k)) {
		keeper_step(k, clock_monotonic_ns());
		if (k->state != KEEPER_STATE_DEAD || !keeper_mesh_gone(k))
			keeper_poll(k, polls);
	}
	free(polls);
}

/* --- start and end --- */

static int keeper_signals(struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_set(err, errno, "signalfd: %m") : fd;
}

static int keeper_first_plan(struct keeper *k, struct err *err)
{
	char text[sizeof(k->note.text)];
	int r = keeper_plan_new(k, KEEPER_SCOPE_ALL, NULL, &k->current, text, sizeof(text));
	keeper_log_text(r < 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, text);
	return r < 0 ? err_set(err, -r, "%s: not a configuration to start with", k->conf_path) : 0;
}

static int keeper_init_children(struct keeper *k, struct err *err)
{
	uint32_t count = k->current->conf->worker_count;
	if (count == 0 || count > KEEPER_WORKERS_MAX)
		return err_set(err, ERANGE, "%u workers: 1 to %u", count, KEEPER_WORKERS_MAX);
	k->worker_count = count;
	int r = keeper_child_init(&k->proxy, "proxy process", "proxy", KEEPER_SILENCE_NS,
		KEEPER_KEYS_IDENTITIES, count, err);
	return r < 0 ? r : keeper_mesh_init(k, err);
}

/* keeper_done() is called in any case. */
static int keeper_init(struct keeper *k, struct err *err)
{
	notify_init(&k->notify);
	notify_send(&k->notify, "STATUS=starting");
	k->signal_fd = keeper_signals(err);
	if (k->signal_fd < 0)
		return k->signal_fd;
	int r = keeper_first_plan(k, err);
	if (r < 0)
		return r;
	const struct conf *conf = k->current->conf;
	r = keeper_user_find(conf, &k->user, err);
	if (r == 0)
		r = keeper_init_children(k, err);
	if (r == 0)
		r = k->ledger_fd = ledger_create(err);
	if (r < 0)
		return r;
	/* Both sides of every connection, the listeners, and some for the rest. */
	keeper_limits(2ull * conf->connections_max + 1024);
	return keeper_listen(k, conf, err);
}

static void keeper_done(struct keeper *k)
{
	keeper_child_done(&k->proxy);
	keeper_mesh_done(k);
	keeper_identity_done(k);
	keeper_outside_done(k);
	keeper_listen_done(k);
	keeper_plan_free(k->next);
	keeper_plan_free(k->current);
	keeper_plan_reap(k, UINT64_MAX);
	if (k->ledger_fd >= 0)
		close(k->ledger_fd);
	if (k->signal_fd >= 0)
		close(k->signal_fd);
	notify_done(&k->notify);
}

static int keeper_start(const char *conf_path)
{
	struct keeper k = {.state = KEEPER_STATE_WAITING,
		.conf_path = conf_path,
		.signal_fd = -1,
		.ledger_fd = -1,
		.proxy = {.channel_fd = -1},
		.mesh = {.child = {.channel_fd = -1}, .picture_fd = -1},
		.outside = {.want = {.fd = -1}, .facts = {.fd = -1}},
		.next_key_number = 1,
		.notify = {.fd = -1}};
	struct err err;
	list_init(&k.retired);
	int r = keeper_identity_init(&k, &err);
	sandbox_hide();
	if (r == 0)
		r = keeper_init(&k, &err);
	if (r < 0) {
		log_error("keeper", "%s", err.text);
		notify_send(&k.notify, "STATUS=%s", err.text);
		k.exit_status = 1;
	} else {
		log_info("keeper", "ringmain " RINGMAIN_VERSION ": %u workers, %u sockets",
			k.worker_count, k.listeners.count);
		keeper_run(&k);
	}
	keeper_done(&k);
	return k.exit_status;
}

int keeper_main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
	static const char usage[] =
		"Runs this machine's proxy: the keeper, which starts the processes that work, and "
		"looks\nafter them.\n\nusage: ringmain run [-c FILE]\n\n  -c, --config "
		"FILE  the configuration "
		"(" CONF_PATH_DEFAULT
		")\n\nSignals: HUP reads the configuration again, TERM drains and "
		"ends, TERM twice ends at once.\n";
	const char *conf_path = CONF_PATH_DEFAULT;
	int letter;
	optind = 1;
	while ((letter = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (letter == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (letter != 'c')
			return usage_more(argv[0]);
		conf_path = optarg;
	}
	if (optind < argc)
		return usage_wrong(argv[0], "an argument too many");
	return keeper_start(conf_path);
}
