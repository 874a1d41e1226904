/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include "../number.h"
#include "base/clock.h"
#include <stdio.h>
#include <unistd.h>

#define CONSOLE_LINE_MAX (1u << 20)
#define CONSOLE_WORDS	 16

void console_init(struct console *c, struct swarm *swarm)
{
	*c = (struct console){.swarm = swarm};
	task_init(&c->task, SWARM_KIND_CONSOLE);
	op_init(&c->read, &c->task);
	ring_read(&swarm->loop.ring, &c->read, STDIN_FILENO, c->input, sizeof(c->input));
}

/* --- answers --- */

static void console_begin(struct json *j, const char *event)
{
	json_init(j, CONSOLE_LINE_MAX);
	json_open(j, '{');
	json_key(j, "event");
	json_str(j, str_of(event));
}

static void console_end(struct json *j)
{
	json_close(j, '}');
	json_newline(j);
	fwrite(j->text, 1, j->len, stdout);
	fflush(stdout);
	json_done(j);
}

static void console_error(const char *text)
{
	struct json j;
	console_begin(&j, "error");
	json_key(&j, "why");
	json_str(&j, str_of(text));
	console_end(&j);
}

static void console_done(uint64_t at_ns)
{
	struct json j;
	console_begin(&j, "done");
	json_key(&j, "at_ns");
	json_u64(&j, at_ns);
	console_end(&j);
}

static void console_view(const struct console *c)
{
	struct json j;
	console_begin(&j, "view");
	swarm_view(c->swarm, &j);
	console_end(&j);
}

void console_look(struct console *c)
{
	struct json j;
	if (!swarm_waited(c->swarm))
		return;
	console_begin(&j, "waited");
	json_key(&j, "at_ns");
	json_open(&j, '[');
	for (uint32_t i = 0; i < c->swarm->options.count; i++)
		json_u64(&j, c->swarm->at[i].met_ns);
	json_close(&j, ']');
	console_end(&j);
}

/* --- commands --- */

static bool console_wish(char *const *words, uint32_t count, struct swarm_wish *wish)
{
	const struct {
		const char *name;
		uint64_t *value;
	} fields[] = {{"nodes", &wish->nodes}, {"endpoints", &wish->endpoints},
		{"revision", &wish->revision}, {"down", &wish->down}, {"held", &wish->held},
		{"agreed", &wish->agreed_wall_ns}};
	for (uint32_t i = 0; i < count; i++) {
		char *sign = strchr(words[i], '=');
		bool is_known = false;
		for (size_t k = 0; sign && k < ARRAY_LEN(fields); k++) {
			struct str name = {words[i], (size_t)(sign - words[i])};
			if (str_eq(name, str_of(fields[k].name)))
				is_known =
					number_parse(sign + 1, 0, UINT64_MAX - 1, fields[k].value);
		}
		if (!is_known)
			return false;
	}
	return true;
}

static void console_wait(struct console *c, char *const *words, uint32_t count)
{
	struct swarm_wish wish = {
		UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	uint64_t timeout_ns;
	if (count < 2 || !number_parse_seconds(words[1], &timeout_ns) ||
		!console_wish(words + 2, count - 2, &wish)) {
		console_error("wait SECONDS NAME=NUMBER ...");
		return;
	}
	console_done(clock_monotonic_ns());
	swarm_wait(c->swarm, &wish, timeout_ns);
}

/* The command's node, begun already. */
static bool console_node(
	const struct console *c, char *const *words, uint32_t count, uint64_t *ret_index)
{
	return count == 3 && c->swarm->begun_count > 0 &&
	       number_parse(words[1], 0, c->swarm->begun_count - 1, ret_index);
}

static void console_change(struct console *c, char *const *words, uint32_t count)
{
	uint64_t index, begin_ns = clock_monotonic_ns();
	struct err err;
	if (!console_node(c, words, count, &index)) {
		console_error("extra N on|off, health N up|down");
	} else if (strcmp(words[0], "health") == 0) {
		swarm_tell_health(c->swarm, (uint32_t)index, strcmp(words[2], "up") == 0);
		console_done(begin_ns);
	} else if (swarm_extra(c->swarm, (uint32_t)index, strcmp(words[2], "on") == 0, &err) < 0) {
		console_error(err.text);
	} else {
		console_done(begin_ns);
	}
}

static void console_command(struct console *c, char *line)
{
	char *words[CONSOLE_WORDS], *rest = NULL;
	uint32_t count = 0;
	for (char *word = strtok_r(line, " ", &rest); word && count < CONSOLE_WORDS;
		word = strtok_r(NULL, " ", &rest))
		words[count++] = word;
	if (count == 0)
		return;
	if (strcmp(words[0], "wait") == 0)
		console_wait(c, words, count);
	else if (strcmp(words[0], "extra") == 0 || strcmp(words[0], "health") == 0)
		console_change(c, words, count);
	else if (strcmp(words[0], "view") == 0)
		console_view(c);
	else if (strcmp(words[0], "quit") == 0)
		swarm_close(c->swarm);
	else
		console_error("no such command");
}

/* --- the step --- */

static void console_take(struct console *c, size_t len)
{
	if (len > sizeof(c->held) - c->held_len)
		len = sizeof(c->held) - c->held_len;
	memcpy(c->held + c->held_len, c->input, len);
	c->held_len += len;
	char *end;
	while ((end = memchr(c->held, '\n', c->held_len))) {
		*end = '\0';
		console_command(c, c->held);
		c->held_len -= (size_t)(end + 1 - c->held);
		memmove(c->held, end + 1, c->held_len);
	}
}

void console_step(struct console *c)
{
	if (!c->read.fresh)
		return;
	c->read.fresh = false;
	if (c->read.result <= 0) {
		swarm_close(c->swarm);
		return;
	}
	console_take(c, (size_t)c->read.result);
	ring_read(&c->swarm->loop.ring, &c->read, STDIN_FILENO, c->input, sizeof(c->input));
}
