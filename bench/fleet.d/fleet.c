/* SPDX-License-Identifier: Apache-2.0 */
/* bench/fleet's program: the nodes of a mesh, as many as the machine can bear, and the operator who
 * publishes for them. This file is its command line; the nodes do what standard input says, see
 * console.h. */
#include "../number.h"
#include "console.h"
#include "publish.h"

#include "base/clock.h"
#include "base/usage.h"
#include "state/object.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char fleet_help[] =
	"usage: fleet run --redis ADDR:PORT --operators FILE [options]\n"
	"       fleet publish --redis ADDR:PORT --key FILE --revision N [options]\n"
	"       fleet operator --key FILE\n"
	"\n"
	"Many nodes of a mesh in one process, each with connections of its own to the store. It "
	"is\n"
	"told what to do on standard input; bench/fleet runs it.\n"
	"\n"
	"  --redis ADDR:PORT     the store\n"
	"  --mesh NAME           trust domain (bench.example)\n"
	"  --services N          that the endpoints are spread over, and that are published "
	"(1000)\n"
	"run:\n"
	"  --operators FILE      public keys of operators\n"
	"  --first N --count N   which nodes (0, 1)\n"
	"  --endpoints N         of each node (20)\n"
	"  --observers N         so many nodes take their pictures as a proxy process does (0)\n"
	"  --pace N              nodes that begin in a second; 0: all at once (0)\n"
	"  --lease S --resync S --timeout S --hold S --hold-percent N\n"
	"                        as state.lease and so on (15, 300, 5, 600, 30)\n"
	"publish:\n"
	"  --key FILE            the operator's private key; `fleet operator` makes a pair\n"
	"  --policies N          (1000)\n"
	"  --revision N          1: all objects; later ones: one service more changed\n";

struct fleet_options {
	struct swarm_options run;
	struct publish_options publish;
};

enum fleet_letter {
	FLEET_REDIS = 'a',
	FLEET_MESH,
	FLEET_SERVICES,
	FLEET_OPERATORS,
	FLEET_FIRST,
	FLEET_COUNT,
	FLEET_ENDPOINTS,
	FLEET_OBSERVERS,
	FLEET_PACE,
	FLEET_LEASE,
	FLEET_RESYNC,
	FLEET_TIMEOUT,
	FLEET_HOLD,
	FLEET_HOLD_PERCENT,
	FLEET_KEY,
	FLEET_POLICIES,
	FLEET_REVISION,
	FLEET_HELP,
};

static const struct option fleet_table[] = {
	{"redis", required_argument, NULL, FLEET_REDIS},
	{"mesh", required_argument, NULL, FLEET_MESH},
	{"services", required_argument, NULL, FLEET_SERVICES},
	{"operators", required_argument, NULL, FLEET_OPERATORS},
	{"first", required_argument, NULL, FLEET_FIRST},
	{"count", required_argument, NULL, FLEET_COUNT},
	{"endpoints", required_argument, NULL, FLEET_ENDPOINTS},
	{"observers", required_argument, NULL, FLEET_OBSERVERS},
	{"pace", required_argument, NULL, FLEET_PACE},
	{"lease", required_argument, NULL, FLEET_LEASE},
	{"resync", required_argument, NULL, FLEET_RESYNC},
	{"timeout", required_argument, NULL, FLEET_TIMEOUT},
	{"hold", required_argument, NULL, FLEET_HOLD},
	{"hold-percent", required_argument, NULL, FLEET_HOLD_PERCENT},
	{"key", required_argument, NULL, FLEET_KEY},
	{"policies", required_argument, NULL, FLEET_POLICIES},
	{"revision", required_argument, NULL, FLEET_REVISION},
	{"help", no_argument, NULL, FLEET_HELP},
	{NULL, 0, NULL, 0},
};

static bool fleet_number(const char *text, uint64_t least, uint64_t most, uint32_t *ret_number)
{
	uint64_t number;
	if (!number_parse(text, least, most, &number))
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

static bool fleet_seconds(const char *text, uint32_t *ret_ms)
{
	uint64_t ns;
	if (!number_parse_seconds(text, &ns))
		return false;
	*ret_ms = (uint32_t)(ns / CLOCK_MS);
	return *ret_ms > 0;
}

static bool fleet_option(struct fleet_options *o, enum fleet_letter letter, const char *text)
{
	struct swarm_options *run = &o->run;
	switch (letter) {
	case FLEET_REDIS:
		return address_port_parse(str_of(text), &run->redis) && run->redis.port > 0;
	case FLEET_MESH:
		run->mesh = text;
		return true;
	case FLEET_SERVICES:
		return fleet_number(text, 1, 9999, &run->services);
	case FLEET_OPERATORS:
		run->operators = text;
		return true;
	case FLEET_FIRST:
		return fleet_number(text, 0, 99999, &run->first);
	case FLEET_COUNT:
		return fleet_number(text, 1, 20000, &run->count);
	case FLEET_ENDPOINTS:
		return fleet_number(text, 0, 255, &run->endpoints);
	case FLEET_OBSERVERS:
		return fleet_number(text, 0, 20000, &run->observers);
	case FLEET_PACE:
		return fleet_number(text, 0, 1000000, &run->pace);
	case FLEET_LEASE:
		return fleet_seconds(text, &run->lease_ms);
	case FLEET_RESYNC:
		return fleet_seconds(text, &run->resync_ms);
	case FLEET_TIMEOUT:
		return fleet_seconds(text, &run->timeout_ms);
	case FLEET_HOLD:
		return fleet_seconds(text, &run->hold_ms);
	case FLEET_HOLD_PERCENT:
		return fleet_number(text, 0, 100, &run->hold_percent);
	case FLEET_KEY:
		o->publish.key = text;
		return true;
	case FLEET_POLICIES:
		return fleet_number(text, 0, 9999, &o->publish.policies);
	case FLEET_REVISION:
		return number_parse(text, 1, INT64_MAX, &o->publish.revision);
	case FLEET_HELP:
		break;
	}
	return false;
}

/* --- the three commands --- */

static int fleet_run_loop(struct swarm *swarm)
{
	struct console console;
	struct loop *l = &swarm->loop;
	console_init(&console, swarm);
	while (!swarm->is_over) {
		struct task *t;
		loop_wait(l);
		while ((t = loop_next(l))) {
			if (t->kind == SWARM_KIND_CONSOLE)
				console_step(&console);
			else
				swarm_step(swarm, t);
		}
		while ((t = loop_dead(l)))
			ASSERT(!t); /* nothing here dies by itself */
		console_look(&console);
	}
	return 0;
}

static int fleet_run(const struct fleet_options *o)
{
	/* It ends with its process: what is armed still, on standard input, is nobody's. */
	static struct swarm swarm;
	struct err err;
	if (swarm_init(&swarm, &o->run, &err) < 0) {
		fprintf(stderr, "fleet: %s\n", err.text);
		return 1;
	}
	printf("{\"event\": \"begun\", \"at_ns\": %" PRIu64 "}\n", clock_monotonic_ns());
	fflush(stdout);
	return fleet_run_loop(&swarm);
}

static int fleet_publish(const struct fleet_options *o)
{
	struct publish_options options = o->publish;
	struct publish_result result;
	struct err err;
	options.redis = o->run.redis;
	options.mesh = o->run.mesh;
	options.services = o->run.services;
	if (publish(&options, &result, &err) < 0) {
		fprintf(stderr, "fleet: %s\n", err.text);
		return 1;
	}
	printf("{\"sent_ns\": %" PRIu64 ", \"done_ns\": %" PRIu64 ", \"object_bytes\": %" PRIu64
	       ", \"change_bytes\": %" PRIu64 ", \"head_bytes\": %" PRIu64 "}\n",
		result.sent_ns, result.done_ns, result.object_bytes, result.change_bytes,
		result.head_bytes);
	return 0;
}

static int fleet_operator(const struct fleet_options *o)
{
	struct err err;
	if (operator_key_new(o->publish.key, &err) == 0)
		return 0;
	fprintf(stderr, "fleet: %s\n", err.text);
	return 1;
}

int main(int argc, char **argv)
{
	struct fleet_options o = {
		.run = {.mesh = "bench.example",
			.count = 1,
			.endpoints = 20,
			.services = 1000,
			.lease_ms = 15000,
			.resync_ms = 300000,
			.timeout_ms = 5000,
			.hold_ms = 600000,
			.hold_percent = 30},
		.publish = {.policies = 1000},
	};
	int letter;
	while ((letter = getopt_long(argc, argv, "", fleet_table, NULL)) != -1) {
		if (letter == FLEET_HELP) {
			fputs(fleet_help, stdout);
			return 0;
		}
		if (letter == '?' || !fleet_option(&o, (enum fleet_letter)letter, optarg))
			return usage_wrong("fleet", "%s: not a value for it", argv[optind - 1]);
	}
	const char *command = optind + 1 == argc ? argv[optind] : "";
	if (strcmp(command, "run") == 0 && o.run.operators && o.run.redis.family)
		return fleet_run(&o);
	if (strcmp(command, "publish") == 0 && o.publish.key && o.publish.revision > 0 &&
		o.run.redis.family)
		return fleet_publish(&o);
	if (strcmp(command, "operator") == 0 && o.publish.key)
		return fleet_operator(&o);
	return usage_wrong("fleet", "run, publish or operator, with what they need");
}
