/* SPDX-License-Identifier: Apache-2.0 */
/* What the two children have in common. Neither knows of the other's death: each has its own
 * channel, its own back-off, its own pings. */
#include "keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPER_SETTLED_NS     (10 * CLOCK_S) /* a child that lived so long had no bad start */
#define KEEPER_BACKOFF_MS_MAX 5000u

/* --- life --- */

int keeper_child_init(struct keeper_child *c, const char *name, const char *command,
	uint64_t silence_ns, enum keeper_keys keys, uint32_t signer_count, struct err *err)
{
	*c = (struct keeper_child){
		.name = name, .command = command, .silence_ns = silence_ns, .channel_fd = -1};
	c->signers = calloc(signer_count, sizeof(*c->signers));
	if (!c->signers)
		return err_set(err, ENOMEM, "out of memory");
	c->signer_count = signer_count;
	for (uint32_t i = 0; i < signer_count; i++)
		keeper_signer_init(&c->signers[i], keys);
	return 0;
}

static void keeper_child_close(struct keeper_child *c)
{
	keeper_child_hang_up(c);
	for (uint32_t i = 0; i < c->signer_count; i++)
		keeper_signer_close(&c->signers[i]);
}

void keeper_child_done(struct keeper_child *c)
{
	keeper_child_close(c);
	free(c->signers);
	c->signers = NULL;
	c->signer_count = 0;
}

static int keeper_child_open(struct keeper_child *c, int *ret_theirs, struct err *err)
{
	int fds[2], r = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_set(err, errno, "socketpair: %m");
	for (uint32_t i = 0; i < c->signer_count && r == 0; i++)
		r = keeper_signer_open(&c->signers[i]);
	c->channel_fd = fds[0];
	if (r < 0) {
		close(fds[1]);
		return err_set(err, -r, "socketpair: %s", strerror(-r));
	}
	*ret_theirs = fds[1];
	return 0;
}

int keeper_child_start(struct keeper *k, struct keeper_child *c, uint64_t now_ns, struct err *err)
{
	int theirs = -1;
	c->start_count++;
	c->start_ns = now_ns;
	c->said = 0;
	c->drain_unsaid = c->ping_unsaid = false;
	c->pong_ns = 0;
	int r = keeper_child_open(c, &theirs, err);
	if (r == 0)
		r = keeper_spawn(c, &k->user, theirs, err);
	if (r < 0) {
		log_error("keeper", "starting the %s: %s", c->name, err->text);
		keeper_child_close(c);
		return r;
	}
	log_info("keeper", "%s %d started (start %u)", c->name, (int)c->pid, c->start_count);
	return 0;
}

static void keeper_child_log_end(const struct keeper_child *c, int status, bool wanted)
{
	if (WIFSIGNALED(status))
		log_line(wanted ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "keeper",
			"%s %d was killed by signal %d (%s)", c->name, (int)c->pid,
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_line(wanted ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "keeper",
			"%s %d ended with status %d", c->name, (int)c->pid, WEXITSTATUS(status));
}

bool keeper_child_ended(struct keeper_child *c, bool wanted)
{
	int status;
	if (c->pid <= 0 || waitpid(c->pid, &status, WNOHANG) != c->pid)
		return false;
	keeper_child_log_end(c, status, wanted);
	c->pid = 0;
	keeper_child_close(c);
	return true;
}

/* At once after a good life; 0, 100 ms, 200 ms, … 5 s when one after the other dies early. */
uint64_t keeper_child_backoff_ns(struct keeper_child *c, uint64_t now_ns)
{
	if (now_ns - c->start_ns >= KEEPER_SETTLED_NS)
		c->death_count = 0;
	uint32_t n = c->death_count++;
	if (n == 0)
		return 0;
	uint32_t ms = n > 6 ? KEEPER_BACKOFF_MS_MAX : 100u << (n - 1);
	return (ms < KEEPER_BACKOFF_MS_MAX ? ms : KEEPER_BACKOFF_MS_MAX) * CLOCK_MS;
}

bool keeper_child_silent(const struct keeper_child *c, uint64_t now_ns, uint64_t silence_ns)
{
	return c->pid > 0 && c->pong_ns != 0 && now_ns - c->pong_ns > silence_ns;
}

void keeper_child_ping(struct keeper_child *c, uint64_t now_ns)
{
	if (keeper_child_silent(c, now_ns, c->silence_ns)) {
		log_error("keeper", "the %s has not answered for %llu s: killed", c->name,
			(unsigned long long)(c->silence_ns / CLOCK_S));
		kill(c->pid, SIGKILL);
	}
	/* One at a time: the old number goes on counting until it is said. */
	if (!c->ping_unsaid)
		c->ping_number++;
	c->ping_unsaid = true;
}

/* --- the channel --- */

void keeper_child_hang_up(struct keeper_child *c)
{
	if (c->channel_fd >= 0)
		close(c->channel_fd);
	c->channel_fd = -1;
}

bool keeper_child_hear(
	struct keeper_child *c, union channel_message *ret_m, size_t *ret_len, int *ret_fd)
{
	if (c->channel_fd < 0)
		return false;
	int r = channel_receive(c->channel_fd, CHANNEL_NO_WAIT, ret_m, ret_len, ret_fd);
	/* Closed or broken: no more to hear; SIGCHLD says the rest. */
	if (r != 0 && r != -EAGAIN)
		keeper_child_hang_up(c);
	return r == 0;
}

struct wire_head keeper_head(enum wire_kind kind)
{
	return (struct wire_head){.magic = WIRE_MAGIC, .kind = (uint32_t)kind};
}

int keeper_child_say(struct keeper_child *c, const void *m, size_t len, int pass_fd)
{
	return channel_send(c->channel_fd, m, len, pass_fd);
}

int keeper_child_say_start(struct keeper_child *c, uint32_t worker_count, uint32_t listener_count)
{
	struct wire_start m = {.head = keeper_head(WIRE_START),
		.worker_count = worker_count,
		.listener_count = listener_count,
		.restart_count = c->start_count - 1};
	if (getrandom(&m.seed, sizeof(m.seed), 0) != sizeof(m.seed))
		m.seed = clock_monotonic_ns();
	return keeper_child_say(c, &m, sizeof(m), -1);
}

int keeper_child_say_signer(struct keeper_child *c, uint32_t index)
{
	struct keeper_signer *s = &c->signers[index];
	struct wire_signer m = {.head = keeper_head(WIRE_SIGNER), .worker = index};
	int r = keeper_child_say(c, &m, sizeof(m), s->passed_fd);
	if (r == 0) {
		close(s->passed_fd);
		s->passed_fd = -1;
	}
	return r;
}

int keeper_child_say_ledger(struct keeper_child *c, int ledger_fd)
{
	struct wire_head m = keeper_head(WIRE_LEDGER);
	return keeper_child_say(c, &m, sizeof(m), ledger_fd);
}

int keeper_child_say_plan(struct keeper_child *c, uint64_t generation, int memfd)
{
	struct wire_plan m = {.head = keeper_head(WIRE_PLAN), .generation = generation};
	return keeper_child_say(c, &m, sizeof(m), memfd);
}

int keeper_child_say_drain(struct keeper_child *c)
{
	struct wire_head m = keeper_head(WIRE_DRAIN);
	int r = keeper_child_say(c, &m, sizeof(m), -1);
	c->drain_unsaid = r < 0;
	return r;
}

int keeper_child_say_ping(struct keeper_child *c)
{
	struct wire_ping m = {.head = keeper_head(WIRE_PING), .number = c->ping_number};
	int r = keeper_child_say(c, &m, sizeof(m), -1);
	c->ping_unsaid = r < 0;
	return r;
}
