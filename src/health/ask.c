/* SPDX-License-Identifier: Apache-2.0 */
/* One question to a workload. Each function takes in what has come and returns the state to go to:
 * the one it was called in when it has to wait. The outcome is told once, by check_good() and its
 * kin; after an HTTP status nothing more can change it, and the body is only read so that the
 * workload does not see its answer refused. */
#include "inside.h"

#include "base/program.h"
#include "net/socket.h"
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#define ASK_ANSWER_MAX (64u << 10) /* bytes of a whole answer; the rest is not waited for */

/* "2 s", "250 ms" */
static const char *ask_patience(const struct check *c, char text[24])
{
	bool whole = c->timeout_ms % 1000 == 0;
	snprintf(text, 24, "%u %s", whole ? c->timeout_ms / 1000 : c->timeout_ms,
		whole ? "s" : "ms");
	return text;
}

static const char *ask_target(const struct check *c, char text[ADDRESS_TEXT_MAX])
{
	return address_text(&c->deliver, text);
}

/* --- beginning --- */

static enum check_state ask_dial(struct check *c)
{
	conn_init(&c->conn, c->health->loop, &c->health->pool, &c->task);
	int r = conn_dial(&c->conn, &c->deliver);
	if (r == 0)
		return CHECK_CONNECTING;
	check_failed(c, "no socket", -r);
	return CHECK_ENDING;
}

static enum check_state ask_run(struct check *c)
{
	int r = program_start(c->argv, -1, -1, &c->pid);
	if (r == 0)
		return CHECK_RUNNING;
	c->pid = 0;
	check_failed(c, "cannot be started", -r);
	return CHECK_ENDING;
}

enum check_state ask_begin(struct check *c)
{
	return c->kind == CHECK_COMMAND ? ask_run(c) : ask_dial(c);
}

/* --- connecting --- */

/* When nobody listens on a port that the kernel also gives to callers, a caller can be given just
 * that one, and then it talks to itself. */
static bool ask_met_itself(const struct check *c)
{
	struct address local;
	return socket_local(c->conn.fd, &local) == 0 && address_equal(&local, &c->deliver);
}

static void ask_refused(struct check *c)
{
	char target[ADDRESS_TEXT_MAX];
	check_bad(c, "connection refused by %s", ask_target(c, target));
}

static enum check_state ask_unconnected(struct check *c)
{
	char target[ADDRESS_TEXT_MAX], text[ADDRESS_TEXT_MAX + 32];
	snprintf(text, sizeof(text), "no connection to %s", ask_target(c, target));
	if (c->conn.error == ECONNREFUSED)
		ask_refused(c);
	else
		check_failed(c, text, c->conn.error);
	return CHECK_ENDING;
}

static bool ask_write(struct check *c)
{
	char target[ADDRESS_TEXT_MAX];
	struct http_head head = {
		.method = STR("GET"),
		.path = c->path,
		.authority = str_of(ask_target(c, target)),
		.version = HTTP_1_1,
		.framing = HTTP_FRAMING_NONE,
	};
	uint32_t stream = http_open(c->http);
	http_close_after(c->http);
	return http_header_add(
		       &head, STR("User-Agent"), STR("ringmain-health/" RINGMAIN_VERSION)) &&
	       http_header_add(&head, STR("Accept"), STR("*/*")) &&
	       http_write_head(c->http, stream, &head, &c->conn.out) &&
	       http_write_end(c->http, stream, NULL, &c->conn.out);
}

static enum check_state ask_connected(struct check *c)
{
	if (ask_met_itself(c)) {
		ask_refused(c);
		return CHECK_ENDING;
	}
	if (c->kind == CHECK_TCP) {
		check_good(c);
		return CHECK_ENDING;
	}
	c->http = http_new(HTTP_1_1, HTTP_CLIENT, &http_limits_default);
	if (!c->http || !ask_write(c)) {
		check_failed(c, "no request", ENOMEM);
		return CHECK_ENDING;
	}
	return CHECK_READING;
}

enum check_state ask_connecting(struct check *c)
{
	char target[ADDRESS_TEXT_MAX], patience[24];
	conn_step(&c->conn);
	if (c->conn.failure != CONN_FAILURE_NONE)
		return ask_unconnected(c);
	if (c->conn.state == CONN_OPEN)
		return ask_connected(c);
	if (c->timer.fired) {
		check_bad(c, "no connection to %s in %s", ask_target(c, target),
			ask_patience(c, patience));
		return CHECK_ENDING;
	}
	return CHECK_CONNECTING; /* waits for: the connect, or the timer */
}

/* --- the answer --- */

static enum check_state ask_bad_answer(struct check *c, const struct http_event *event)
{
	if (event->bad == HTTP_BAD_TRUNCATED)
		check_bad(c, "connection closed without an answer");
	else if (event->bad == HTTP_BAD_NO_MEMORY)
		check_failed(c, "no answer read", ENOMEM);
	else
		check_bad(c, "answer not understood: %s", http_bad_text(event->bad));
	return CHECK_ENDING;
}

static enum check_state ask_take_status(struct check *c, uint16_t status)
{
	if (status >= 200 && status < 400)
		check_good(c);
	else
		check_bad(c, "status %u", status);
	return http_tunnelled(c->http) ? CHECK_ENDING : CHECK_DRAINING;
}

static enum check_state ask_take(struct check *c, const struct http_event *event)
{
	bool reading = c->state == CHECK_READING;
	switch (event->kind) {
	case HTTP_EVENT_HEAD:
		return ask_take_status(c, event->head->status);
	case HTTP_EVENT_BAD:
		return reading ? ask_bad_answer(c, event) : CHECK_ENDING;
	case HTTP_EVENT_END:
		return CHECK_ENDING;
	case HTTP_EVENT_MORE:
	case HTTP_EVENT_WAIT:
	case HTTP_EVENT_INTERIM:
	case HTTP_EVENT_BODY:
	case HTTP_EVENT_TRAILERS:
		break;
	}
	return c->state;
}

/* What was received goes through the codec, until there is an event that changes the state. */
static enum check_state ask_feed(struct check *c)
{
	struct http_event event;
	for (;;) {
		const uint8_t *bytes = NULL;
		size_t len = conn_input(&c->conn, &bytes);
		size_t used = http_feed(c->http, bytes, len, &event);
		conn_consume(&c->conn, used);
		enum check_state state = ask_take(c, &event);
		if (state != c->state)
			return state;
		if (event.kind == HTTP_EVENT_MORE && used == 0)
			break;
	}
	if (!c->conn.eof)
		return c->state;
	http_feed_eof(c->http, &event);
	/* MORE: of a response nothing is open, so that nothing more comes. */
	return event.kind == HTTP_EVENT_MORE ? CHECK_ENDING : ask_take(c, &event);
}

static void ask_cut_short(struct check *c)
{
	if (c->conn.failure == CONN_FAILURE_MEMORY)
		check_failed(c, "no answer read", ENOMEM);
	else
		check_bad(c, "connection reset without an answer");
}

enum check_state ask_reading(struct check *c)
{
	char patience[24];
	conn_step(&c->conn);
	enum check_state state = ask_feed(c);
	if (state != CHECK_READING)
		return state;
	if (c->conn.failure != CONN_FAILURE_NONE)
		ask_cut_short(c);
	else if (c->conn.bytes_in > ASK_ANSWER_MAX)
		check_bad(c, "no status in the first %u KiB", ASK_ANSWER_MAX >> 10);
	else if (c->timer.fired)
		check_bad(c, "no answer in %s", ask_patience(c, patience));
	else {
		conn_flush(&c->conn);
		return CHECK_READING; /* waits for: recv, or the timer */
	}
	return CHECK_ENDING;
}

enum check_state ask_draining(struct check *c)
{
	conn_step(&c->conn);
	enum check_state state = ask_feed(c);
	if (state != CHECK_DRAINING || c->conn.failure != CONN_FAILURE_NONE ||
		c->conn.bytes_in > ASK_ANSWER_MAX || c->timer.fired)
		return CHECK_ENDING;
	conn_flush(&c->conn);
	return CHECK_DRAINING; /* waits for: recv, or the timer */
}

/* --- a program --- */

enum check_state ask_running(struct check *c)
{
	char patience[24];
	int status;
	if (program_ended(c->pid, &status)) {
		c->pid = 0;
		if (status == 0)
			check_good(c);
		else if (status > 0 && WIFSIGNALED(status))
			check_bad(c, "killed by signal %d", WTERMSIG(status));
		else if (status > 0)
			check_bad(c, "ended with status %d", WEXITSTATUS(status));
		else
			check_bad(c, "ended, with a status that is not known");
		return CHECK_ENDING;
	}
	if (c->timer.fired) {
		check_bad(c, "did not end in %s", ask_patience(c, patience));
		return CHECK_ENDING;
	}
	return CHECK_RUNNING; /* waits for: health_child(), or the timer */
}

/* --- the end --- */

void ask_cut(struct check *c)
{
	if (c->pid > 0)
		program_kill(c->pid);
	if (c->conn.magic != 0)
		conn_close(&c->conn, false);
}

bool ask_join(struct check *c)
{
	int status;
	if (c->pid > 0 && program_ended(c->pid, &status))
		c->pid = 0;
	bool joined = c->conn.magic == 0 || conn_join(&c->conn);
	if (c->pid > 0 || !joined)
		return false;
	c->conn.magic = 0;
	http_free(c->http);
	c->http = NULL;
	return true;
}
