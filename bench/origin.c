/* SPDX-License-Identifier: Apache-2.0 */
/* bench/origin: the server behind everything that is measured, as light as can be, so that it is
 * never what is measured. One thread on epoll; this file is its command line and its loop,
 * visitor.h the connections. */
#include "number.h"
#include "tcp.h"
#include "visitor.h"

#include "base/clock.h"
#include "base/pool.h"
#include "base/usage.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

static const char origin_help[] =
	"usage: origin --listen ADDR:PORT --protocol http|echo|sink|source|discard [options]\n"
	"\n"
	"The server behind what is measured.\n"
	"\n"
	"  --listen ADDR:PORT    port 0: any that is free\n"
	"  --protocol http       answers every HTTP/1.1 request with 200 and a body\n"
	"             echo       sends back what comes\n"
	"             sink       reads and drops; discard is another word for it\n"
	"             source     sends until the visitor goes\n"
	"  --response-bytes N    http: of a body (1024)\n"
	"  --stall-ms M          does nothing at all for M ms, again and again: to see whether\n"
	"  --stall-every-ms N    what measures it notices; N ms from one to the next\n"
	"\n"
	"Prints {\"listening\": \"ADDR:PORT\"}, and when SIGTERM or SIGINT ends it one line of "
	"JSON\n"
	"with what it has seen.\n";

struct origin_options {
	const char *command, *listen, *protocol;
	uint64_t response_bytes, stall_ms, stall_every_ms;
};

enum origin_option_letter {
	ORIGIN_LISTEN = 'l',
	ORIGIN_PROTOCOL,
	ORIGIN_RESPONSE_BYTES,
	ORIGIN_STALL_MS,
	ORIGIN_STALL_EVERY_MS,
	ORIGIN_HELP,
};

static const struct option origin_option_table[] = {
	{"listen", required_argument, NULL, ORIGIN_LISTEN},
	{"protocol", required_argument, NULL, ORIGIN_PROTOCOL},
	{"response-bytes", required_argument, NULL, ORIGIN_RESPONSE_BYTES},
	{"stall-ms", required_argument, NULL, ORIGIN_STALL_MS},
	{"stall-every-ms", required_argument, NULL, ORIGIN_STALL_EVERY_MS},
	{"help", no_argument, NULL, ORIGIN_HELP},
	{0},
};

#define ORIGIN_RESPONSE_MAX (256ull << 20)
#define ORIGIN_STALL_MS_MAX 3600000
/* Answers are prepared this far ahead, so that those to pipelined requests leave together. */
#define ORIGIN_TEXT_BYTES   (128 * 1024)
#define ORIGIN_SCRATCH	    (128 * 1024)
#define ORIGIN_VISITORS_MAX 1000000
#define ORIGIN_EVENTS_MAX   64
#define ORIGIN_ACCEPTS_MAX  64

struct origin {
	struct offer offer;
	struct pool visitors;
	struct list present; /* visitors */
	int epoll, listener, signals;
	uint64_t stall_ns, stall_every_ns, stall_due_ns;
};

/* False: not a number in its range. */
static bool origin_option_take(struct origin_options *o, int letter)
{
	switch (letter) {
	case ORIGIN_LISTEN:
		o->listen = optarg;
		return true;
	case ORIGIN_PROTOCOL:
		o->protocol = optarg;
		return true;
	case ORIGIN_RESPONSE_BYTES:
		return number_parse(optarg, 0, ORIGIN_RESPONSE_MAX, &o->response_bytes);
	case ORIGIN_STALL_MS:
		return number_parse(optarg, 1, ORIGIN_STALL_MS_MAX, &o->stall_ms);
	case ORIGIN_STALL_EVERY_MS:
		return number_parse(optarg, 1, ORIGIN_STALL_MS_MAX, &o->stall_every_ms);
	default:
		return false;
	}
}

/* 0, or the exit status + 1 to leave with. */
static int origin_options_read(int argc, char **argv, struct origin_options *o)
{
	for (;;) {
		int index = 0, letter = getopt_long(argc, argv, "", origin_option_table, &index);
		if (letter == -1)
			break;
		if (letter == '?')
			return usage_more(o->command) + 1;
		if (letter == ORIGIN_HELP) {
			fputs(origin_help, stdout);
			return 1;
		}
		if (!origin_option_take(o, letter))
			return usage_wrong(o->command, "--%s: \"%s\" is no number, or out of range",
				       origin_option_table[index].name, optarg) +
			       1;
	}
	if (optind < argc)
		return usage_wrong(o->command, "\"%s\" is an argument too many", argv[optind]) + 1;
	return 0;
}

static bool origin_protocol(const char *name, enum offer_protocol *ret_protocol)
{
	static const struct {
		const char *name;
		enum offer_protocol protocol;
	} rows[] = {
		{"http", OFFER_HTTP},
		{"echo", OFFER_ECHO},
		{"sink", OFFER_SINK},
		{"discard", OFFER_SINK},
		{"source", OFFER_SOURCE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(name, rows[i].name) != 0)
			continue;
		*ret_protocol = rows[i].protocol;
		return true;
	}
	return false;
}

/* One answer to `at`, or its length if that is NULL. */
static size_t origin_write_answer(char *at, size_t size, uint64_t body_bytes)
{
	int head_len = snprintf(at, size,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %" PRIu64
		"\r\n\r\n",
		body_bytes);
	if (at)
		memset(at + head_len, 'x', body_bytes);
	return (size_t)head_len + body_bytes;
}

static int origin_prepare_text(struct offer *offer, uint64_t body_bytes)
{
	size_t answer_len = origin_write_answer(NULL, 0, body_bytes), count = 1;
	if (answer_len < ORIGIN_TEXT_BYTES)
		count = ORIGIN_TEXT_BYTES / answer_len;
	offer->answer_len = answer_len;
	offer->text_len = count * answer_len;
	offer->text = malloc(offer->text_len + 1);
	offer->scratch_len = ORIGIN_SCRATCH;
	offer->scratch = malloc(ORIGIN_SCRATCH);
	if (!offer->text || !offer->scratch)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		origin_write_answer(
			(char *)offer->text + i * answer_len, answer_len + 1, body_bytes);
	return 0;
}

/* The signals that end us, as a file. */
static int origin_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* `what` comes back with the events: the address of the fd itself, or a visitor. */
static int origin_watch(struct origin *o, int fd, void *what, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = what};
	return epoll_ctl(o->epoll, EPOLL_CTL_ADD, fd, &event);
}

static int origin_init(struct origin *o, const struct address *a, struct err *err)
{
	int fd = tcp_listen(a, SOCK_NONBLOCK, err);
	if (fd < 0)
		return fd;
	o->listener = fd;
	o->signals = origin_signals();
	o->epoll = epoll_create1(EPOLL_CLOEXEC);
	list_init(&o->present);
	pool_init(&o->visitors, sizeof(struct visitor), ORIGIN_VISITORS_MAX);
	if (o->signals < 0 || o->epoll < 0 ||
		origin_watch(o, o->listener, &o->listener, EPOLLIN) < 0 ||
		origin_watch(o, o->signals, &o->signals, EPOLLIN) < 0)
		return err_set(err, errno, "cannot set up: %s", strerror(errno));
	return 0;
}

static void origin_dismiss(struct origin *o, struct visitor *v)
{
	list_remove(&v->node);
	visitor_done(v);
	pool_put(&o->visitors, v);
}

static void origin_welcome(struct origin *o, int fd)
{
	struct visitor *v = pool_take(&o->visitors);
	if (!v) {
		close(fd);
		return;
	}
	visitor_init(v, &o->offer, fd);
	list_add_last(&o->present, &v->node);
	tcp_prepare(fd);
	if (origin_watch(o, fd, v, visitor_events(v)) < 0)
		origin_dismiss(o, v);
}

static void origin_accept(struct origin *o)
{
	for (int i = 0; i < ORIGIN_ACCEPTS_MAX; i++) {
		int fd = accept4(o->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		origin_welcome(o, fd);
	}
}

static void origin_stall(struct origin *o)
{
	uint64_t now_ns = clock_monotonic_ns();
	if (o->stall_ns == 0 || now_ns < o->stall_due_ns)
		return;
	struct timespec pause = {(time_t)(o->stall_ns / CLOCK_S), (long)(o->stall_ns % CLOCK_S)};
	nanosleep(&pause, NULL);
	o->stall_due_ns = now_ns + o->stall_every_ns;
}

/* False: a signal told us to end. */
static bool origin_turn(struct origin *o)
{
	struct epoll_event events[ORIGIN_EVENTS_MAX];
	int count = epoll_wait(o->epoll, events, ORIGIN_EVENTS_MAX, -1);
	origin_stall(o);
	for (int i = 0; i < count; i++) {
		void *what = events[i].data.ptr;
		if (what == &o->signals)
			return false;
		if (what == &o->listener)
			origin_accept(o);
		else if (!visitor_step(what, events[i].events))
			origin_dismiss(o, what);
	}
	return true;
}

static void origin_done(struct origin *o)
{
	while (!list_empty(&o->present))
		origin_dismiss(o, CONTAINER_OF(o->present.next, struct visitor, node));
	pool_done(&o->visitors);
	close(o->epoll);
	close(o->signals);
	close(o->listener);
	free(o->offer.text);
	free(o->offer.scratch);
}

static int origin_run(struct origin *o, const struct origin_options *options)
{
	struct address a;
	struct err err;
	if (!tcp_parse(options->listen, &a))
		return usage_wrong(options->command,
			"--listen: an address with a port, such as 127.0.0.1:8080");
	if (origin_prepare_text(&o->offer, options->response_bytes) < 0)
		return usage_wrong(options->command, "--response-bytes: not so much memory");
	if (origin_init(o, &a, &err) < 0) {
		fprintf(stderr, "%s: %s\n", options->command, err.text);
		return 1;
	}
	tcp_announce(o->listener);
	while (origin_turn(o))
		continue;
	printf("{\"connections\": %" PRIu64 ", \"requests\": %" PRIu64 ", \"bytes_in\": %" PRIu64
	       ", \"bytes_out\": %" PRIu64 "}\n",
		o->offer.connections, o->offer.requests, o->offer.bytes_in, o->offer.bytes_out);
	origin_done(o);
	return 0;
}

int main(int argc, char **argv)
{
	struct origin_options options = {.command = argv[0], .response_bytes = 1024};
	int leave = origin_options_read(argc, argv, &options);
	if (leave)
		return leave - 1;
	if (!options.listen || !options.protocol)
		return usage_wrong(argv[0], "--listen and --protocol are needed");
	if (!options.stall_ms != !options.stall_every_ms)
		return usage_wrong(argv[0], "--stall-ms and --stall-every-ms go together");
	struct origin origin = {
		.stall_ns = options.stall_ms * CLOCK_MS,
		.stall_every_ns = options.stall_every_ms * CLOCK_MS,
	};
	origin.stall_due_ns = clock_monotonic_ns() + origin.stall_every_ns;
	if (!origin_protocol(options.protocol, &origin.offer.protocol))
		return usage_wrong(argv[0], "--protocol: http, echo, sink, source or discard");
	tcp_raise_file_limit();
	return origin_run(&origin, &options);
}
