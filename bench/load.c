/* SPDX-License-Identifier: Apache-2.0 */
/* bench/load: puts load on a server and measures its answers. One thread; this file is its command
 * line, generator.h says how it works. */
#include "generator.h"
#include "hold.h"
#include "number.h"
#include "report.h"
#include "tcp.h"

#include "base/clock.h"
#include "base/usage.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char load_help[] =
	"usage: load --to ADDR:PORT --protocol http|echo|sink|source [options]\n"
	"\n"
	"Puts load on a server and measures its answers. Without --rate every connection makes "
	"one\n"
	"exchange after the other, as fast as the answers come (closed loop). With --rate "
	"exchanges\n"
	"fall due at that rate whatever the answers do, and count from when they were due.\n"
	"\n"
	"  --to ADDR:PORT        127.0.0.1:80, [::1]:80\n"
	"  --protocol http       requests over kept-alive HTTP/1.1; anything but 200 is an error\n"
	"             echo       sends bytes and wants the same back\n"
	"             sink       streams towards the server\n"
	"             source     streams from the server\n"
	"  --connections N       (1)\n"
	"  --rate R              exchanges per second, over all connections\n"
	"  --duration S          seconds that are measured (10)\n"
	"  --warmup S            seconds before that, which are not (1)\n"
	"  --host NAME           http: the Host header (the address)\n"
	"  --path P              http: (/)\n"
	"  --request-bytes N     echo: of an exchange (200); http: of a POST's body (0: GET);\n"
	"                        sink: of one write (131072)\n"
	"  --response-bytes N    http: what the body of an answer must have, else it is an error\n"
	"  --per-connection N    closes a connection after N exchanges and opens another; in the\n"
	"                        closed loop the first of them counts from the dial\n"
	"  --hold                makes one exchange on each connection, prints {\"holding\": N},\n"
	"                        keeps them until standard input ends, and makes one more on each\n"
	"\n"
	"Prints {\"measuring\": true} after the warm-up, and in the end one line of JSON.\n"
	"\n"
	"example, 64 connections at 20000 requests per second:\n"
	"  load --to 127.0.0.1:8080 --protocol http --connections 64 --rate 20000\n";

struct load_options {
	const char *command, *to, *protocol, *host, *path;
	uint64_t connections, rate, warmup_ns, duration_ns;
	uint64_t request_bytes, response_bytes, per_connection;
	bool has_request_bytes, has_response_bytes, hold;
};

enum load_option_letter {
	LOAD_TO = 't',
	LOAD_PROTOCOL,
	LOAD_HOST,
	LOAD_PATH,
	LOAD_CONNECTIONS,
	LOAD_RATE,
	LOAD_DURATION,
	LOAD_WARMUP,
	LOAD_REQUEST_BYTES,
	LOAD_RESPONSE_BYTES,
	LOAD_PER_CONNECTION,
	LOAD_HOLD,
	LOAD_HELP,
};

static const struct option load_option_table[] = {
	{"to", required_argument, NULL, LOAD_TO},
	{"protocol", required_argument, NULL, LOAD_PROTOCOL},
	{"host", required_argument, NULL, LOAD_HOST},
	{"path", required_argument, NULL, LOAD_PATH},
	{"connections", required_argument, NULL, LOAD_CONNECTIONS},
	{"rate", required_argument, NULL, LOAD_RATE},
	{"duration", required_argument, NULL, LOAD_DURATION},
	{"warmup", required_argument, NULL, LOAD_WARMUP},
	{"request-bytes", required_argument, NULL, LOAD_REQUEST_BYTES},
	{"response-bytes", required_argument, NULL, LOAD_RESPONSE_BYTES},
	{"per-connection", required_argument, NULL, LOAD_PER_CONNECTION},
	{"hold", no_argument, NULL, LOAD_HOLD},
	{"help", no_argument, NULL, LOAD_HELP},
	{0},
};

#define LOAD_BYTES_MAX	     (256ull << 20)
#define LOAD_CONNECTIONS_MAX 1000000
#define LOAD_RATE_MAX	     10000000

/* False: not a number in its range. */
static bool load_option_take(struct load_options *o, int letter)
{
	switch (letter) {
	case LOAD_TO:
		o->to = optarg;
		return true;
	case LOAD_PROTOCOL:
		o->protocol = optarg;
		return true;
	case LOAD_HOST:
		o->host = optarg;
		return true;
	case LOAD_PATH:
		o->path = optarg;
		return true;
	case LOAD_CONNECTIONS:
		return number_parse(optarg, 1, LOAD_CONNECTIONS_MAX, &o->connections);
	case LOAD_RATE:
		return number_parse(optarg, 1, LOAD_RATE_MAX, &o->rate);
	case LOAD_DURATION:
		return number_parse_seconds(optarg, &o->duration_ns) && o->duration_ns > 0;
	case LOAD_WARMUP:
		return number_parse_seconds(optarg, &o->warmup_ns);
	case LOAD_REQUEST_BYTES:
		o->has_request_bytes = true;
		return number_parse(optarg, 0, LOAD_BYTES_MAX, &o->request_bytes);
	case LOAD_RESPONSE_BYTES:
		o->has_response_bytes = true;
		return number_parse(optarg, 0, UINT64_MAX, &o->response_bytes);
	case LOAD_PER_CONNECTION:
		return number_parse(optarg, 1, UINT32_MAX, &o->per_connection);
	case LOAD_HOLD:
		o->hold = true;
		return true;
	default:
		return false;
	}
}

/* 0, or the exit status + 1 to leave with. */
static int load_options_read(int argc, char **argv, struct load_options *o)
{
	for (;;) {
		int index = 0, letter = getopt_long(argc, argv, "", load_option_table, &index);
		if (letter == -1)
			break;
		if (letter == '?')
			return usage_more(o->command) + 1;
		if (letter == LOAD_HELP) {
			fputs(load_help, stdout);
			return 1;
		}
		if (!load_option_take(o, letter))
			return usage_wrong(o->command, "--%s: \"%s\" is no number, or out of range",
				       load_option_table[index].name, optarg) +
			       1;
	}
	if (optind < argc)
		return usage_wrong(o->command, "\"%s\" is an argument too many", argv[optind]) + 1;
	return 0;
}

static bool load_protocol(const char *name, enum protocol *ret_protocol)
{
	static const struct {
		const char *name;
		enum protocol protocol;
	} rows[] = {
		{"http", PROTOCOL_HTTP},
		{"echo", PROTOCOL_ECHO},
		{"sink", PROTOCOL_SINK},
		{"source", PROTOCOL_SOURCE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(name, rows[i].name) != 0)
			continue;
		*ret_protocol = rows[i].protocol;
		return true;
	}
	return false;
}

/* 0, or the exit status after saying what does not go together. */
static int load_options_check(struct load_options *o, struct errand *e)
{
	if (!o->to || !o->protocol)
		return usage_wrong(o->command, "--to and --protocol are needed");
	if (!tcp_parse(o->to, &e->to) || e->to.port == 0)
		return usage_wrong(
			o->command, "--to: an address with a port, such as 127.0.0.1:80");
	if (!load_protocol(o->protocol, &e->protocol))
		return usage_wrong(o->command, "--protocol: http, echo, sink or source");
	bool http = e->protocol == PROTOCOL_HTTP;
	if (!http && (o->host || o->path || o->has_response_bytes))
		return usage_wrong(o->command, "--host, --path, --response-bytes are for http");
	if (!http && e->protocol != PROTOCOL_ECHO && (o->rate || o->per_connection || o->hold))
		return usage_wrong(o->command,
			"--rate, --per-connection and --hold are for exchanges: http, echo");
	if (o->hold && (o->rate || o->per_connection))
		return usage_wrong(o->command, "--hold goes with no --rate or --per-connection");
	if (!http && o->has_request_bytes && o->request_bytes == 0)
		return usage_wrong(o->command, "--request-bytes: at least 1, but for http");
	return 0;
}

/* The body of a request, or what is echoed or streamed: bytes of which no part looks like another
 * part near it, so that misplaced ones are noticed. */
static void load_fill(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)('A' + (i * 7 + i / 251) % 58);
}

/* The head of a request into `text`, or its length if that is NULL. */
static int load_head(const struct load_options *o, char *text, size_t size)
{
	const char *host = o->host ? o->host : o->to, *path = o->path ? o->path : "/";
	if (o->request_bytes == 0)
		return snprintf(text, size, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
	return snprintf(text, size, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %llu\r\n\r\n",
		path, host, (unsigned long long)o->request_bytes);
}

/* What an exchange sends; NULL without memory. To be freed. */
static uint8_t *load_request(const struct load_options *o, struct errand *e)
{
	size_t head_len = e->protocol == PROTOCOL_HTTP ? (size_t)load_head(o, NULL, 0) : 0;
	size_t body_len = o->request_bytes;
	if (!o->has_request_bytes && e->protocol != PROTOCOL_HTTP)
		body_len = e->protocol == PROTOCOL_ECHO ? 200 : 131072;
	uint8_t *bytes = malloc(head_len + body_len + 1);
	if (!bytes)
		return NULL;
	if (head_len > 0)
		load_head(o, (char *)bytes, head_len + 1);
	load_fill(bytes + head_len, body_len);
	e->request = bytes;
	e->request_len = head_len + body_len;
	e->checks_body = o->has_response_bytes;
	e->body_bytes = o->response_bytes;
	return bytes;
}

static void load_hold(struct crowd *w, struct report *ret_report)
{
	uint64_t start_ns = clock_monotonic_ns();
	hold_run(w);
	*ret_report = (struct report){.crowd = w, .seconds_ns = clock_monotonic_ns() - start_ns};
}

static void load_generate(struct crowd *w, const struct load_options *o, struct report *ret_report)
{
	struct generator g = {.crowd = w,
		.rate = o->rate,
		.warmup_ns = o->warmup_ns,
		.duration_ns = o->duration_ns};
	w->exchanges_max = (uint32_t)o->per_connection;
	generator_run(&g);
	*ret_report = (struct report){.crowd = w,
		.seconds_ns = g.duration_ns,
		.cpu_ns = g.cpu_ns,
		.unanswered = g.unanswered};
}

static int load_run(const struct load_options *o, struct errand *errand)
{
	struct crowd crowd;
	struct report report;
	struct err err;
	int result = crowd_init(&crowd, errand, (uint32_t)o->connections, &err);
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", o->command, err.text);
	} else {
		if (o->hold)
			load_hold(&crowd, &report);
		else
			load_generate(&crowd, o, &report);
		report_print(&report);
	}
	crowd_done(&crowd);
	return result < 0;
}

int main(int argc, char **argv)
{
	struct errand errand = {0};
	struct load_options options = {
		.command = argv[0],
		.connections = 1,
		.warmup_ns = CLOCK_S,
		.duration_ns = 10 * CLOCK_S,
	};
	int leave = load_options_read(argc, argv, &options);
	if (leave)
		return leave - 1;
	leave = load_options_check(&options, &errand);
	if (leave)
		return leave;
	uint8_t *request = load_request(&options, &errand);
	if (!request) {
		fprintf(stderr, "%s: no memory for the request\n", argv[0]);
		return 1;
	}
	tcp_raise_file_limit();
	leave = load_run(&options, &errand);
	free(request);
	return leave;
}
