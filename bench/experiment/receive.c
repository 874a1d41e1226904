/* SPDX-License-Identifier: Apache-2.0 */
/* What a relay of bytes costs, one way of using io_uring against another: an echo server and a
 * client in closed loop on CPU 0, a relay between them on CPU 1, all of this program, on loopback.
 * Prints CPU time of the relay's thread per exchange, and enters and completions per exchange.
 *
 *     receive [-r oneshot|pollfirst|multishot|budget|own] [-s plain|inline|call] [-c connections]
 *           [-b bytes] [-t seconds] [-n blocks] [-B block bytes] [-x] [-f] [-1] [-g name]
 *
 * -s inline: MSG_DONTWAIT, no completion on success; -s call: send(2). -x: through a copy in memory
 * of the connection's own; -f: no DEFER_TASKRUN; -1: all on CPU 0; -g: congestion control. */
#include "../number.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                                    \
	do {                                                                        \
		if (!(x)) {                                                         \
			fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #x); \
			exit(1);                                                    \
		}                                                                   \
	} while (0)

enum receive { ONESHOT, POLLFIRST, MULTISHOT, BUDGET, OWN };
enum send { PLAIN, INLINE, CALL };
static const char *const receive_names[] = {"oneshot", "pollfirst", "multishot", "budget", "own"};
static const char *const send_names[] = {"plain", "inline", "call"};

struct side {
	struct side *other;
	int fd;
	bool sending;
	uint16_t block; /* being sent from, towards `other` */
	uint8_t *own;
};

static struct {
	enum receive receive;
	enum send send;
	int connections, bytes, blocks, block_bytes;
	double seconds;
	bool copy, cooperative, one_cpu;
	const char *congestion;
} how = {.connections = 64, .bytes = 1024, .blocks = 512, .block_bytes = 16640, .seconds = 2};

static struct io_uring ring;
static struct io_uring_buf_ring *block_ring;
static uint8_t *blocks;
static struct side *sides;
static uint16_t origin_port, relay_port;
static volatile bool stop;
static volatile uint64_t exchanges;
static uint64_t enters, completions, starved;

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(how.one_cpu ? 0u : (size_t)cpu, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static int listen_on(uint16_t *ret_port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	CHECK(bind(fd, (struct sockaddr *)&in, len) == 0 && listen(fd, 4096) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&in, &len) == 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

static int prepared(int fd, bool ours)
{
	int one = 1;
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
	if (ours && how.congestion)
		CHECK(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, how.congestion,
			      (socklen_t)strlen(how.congestion)) == 0);
	return fd;
}

static int dial(uint16_t port, bool ours)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(port)};
	CHECK(connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
	return prepared(fd, ours);
}

/* --- both ends --- */

static void *origin_main(void *listener)
{
	int epoll = epoll_create1(0), fd = *(int *)listener;
	static uint8_t bytes[1 << 18];
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd}, events[64];
	pin(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
	while (!stop) {
		int n = epoll_wait(epoll, events, 64, 100);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == fd) {
				e.data.fd = prepared(accept(fd, NULL, NULL), false);
				epoll_ctl(epoll, EPOLL_CTL_ADD, e.data.fd, &e);
				continue;
			}
			ssize_t len = recv(events[i].data.fd, bytes, sizeof(bytes), 0);
			if (len <= 0)
				close(events[i].data.fd);
			else
				CHECK(send(events[i].data.fd, bytes, (size_t)len, MSG_NOSIGNAL) ==
					len);
		}
	}
	return NULL;
}

static void *client_main(void *unused)
{
	int epoll = epoll_create1(0);
	uint8_t *bytes = calloc(1, 1 << 20);
	int *missing = calloc(65536, sizeof(int));
	struct epoll_event events[64];
	pin(0);
	for (int i = 0; i < how.connections; i++) {
		int fd = dial(relay_port, false);
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
		missing[fd] = how.bytes;
		CHECK(send(fd, bytes, (size_t)how.bytes, 0) == how.bytes);
	}
	while (!stop) {
		int n = epoll_wait(epoll, events, 64, 100);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t len = recv(fd, bytes, 1 << 20, 0);
			if (len <= 0)
				return NULL;
			missing[fd] -= (int)len;
			if (missing[fd] > 0)
				continue;
			missing[fd] = how.bytes;
			exchanges++;
			CHECK(send(fd, bytes, (size_t)how.bytes, 0) == how.bytes);
		}
	}
	return NULL;
}

/* --- the relay --- */

static void offer(uint16_t block)
{
	io_uring_buf_ring_add(block_ring, blocks + (size_t)block * (size_t)how.block_bytes,
		(unsigned)how.block_bytes, block, io_uring_buf_ring_mask((unsigned)how.blocks), 0);
	io_uring_buf_ring_advance(block_ring, 1);
}

static void relay_init(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
			 (how.cooperative ? 0 : IORING_SETUP_DEFER_TASKRUN),
		.cq_entries = 16384};
	CHECK(io_uring_queue_init_params(1024, &ring, &params) == 0);
	io_uring_register_ring_fd(&ring);
	size_t size = (size_t)how.blocks * (size_t)how.block_bytes;
	blocks = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	block_ring = mmap(NULL, (size_t)how.blocks * sizeof(struct io_uring_buf),
		PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_buf_reg registration = {
		.ring_addr = (uintptr_t)block_ring, .ring_entries = (unsigned)how.blocks};
	CHECK(io_uring_register_buf_ring(&ring, &registration, 0) == 0);
	io_uring_buf_ring_init(block_ring);
	for (int i = 0; i < how.blocks; i++)
		offer((uint16_t)i);
}

static struct io_uring_sqe *next_sqe(void)
{
	struct io_uring_sqe *sqe;
	while (!(sqe = io_uring_get_sqe(&ring)))
		io_uring_submit(&ring);
	return sqe;
}

static void arm_receive(struct side *s)
{
	struct io_uring_sqe *sqe = next_sqe();
	if (how.receive == OWN) {
		io_uring_prep_recv(sqe, s->fd, s->own, (size_t)how.block_bytes, 0);
	} else {
		bool many = how.receive == MULTISHOT || how.receive == BUDGET;
		io_uring_prep_recv(sqe, s->fd, NULL, many ? 0 : (size_t)how.block_bytes, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		if (many)
			sqe->ioprio |= IORING_RECV_MULTISHOT;
		if (how.receive == BUDGET)
			sqe->splice_fd_in = 65536; /* optlen */
	}
	if (how.receive == POLLFIRST)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	sqe->user_data = (uintptr_t)s;
}

static void arm_send(struct side *s, const uint8_t *bytes, size_t len)
{
	if (how.send == CALL) {
		CHECK(send(s->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
		return;
	}
	struct io_uring_sqe *sqe = next_sqe();
	io_uring_prep_send(sqe, s->fd, bytes, len, MSG_WAITALL | MSG_NOSIGNAL);
	if (how.send == INLINE) {
		sqe->msg_flags |= MSG_DONTWAIT;
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	}
	sqe->user_data = (uintptr_t)s | 1;
	s->sending = true;
}

/* Blocks that an inline send was made from are free once they were submitted. */
static uint16_t lent[65536];
static int lent_count;

static void received(struct side *s, const struct io_uring_cqe *cqe)
{
	uint8_t *at = s->own;
	bool provided = cqe->flags & IORING_CQE_F_BUFFER;
	uint16_t block = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	if (cqe->res == -ENOBUFS) {
		starved++;
		arm_receive(s);
		return;
	}
	if (cqe->res <= 0)
		return;
	if (provided)
		at = blocks + (size_t)block * (size_t)how.block_bytes;
	if (how.copy && provided) {
		memcpy(s->own, at, (size_t)cqe->res);
		offer(block);
		at = s->own;
		provided = false;
	}
	arm_send(s->other, at, (size_t)cqe->res);
	if (provided && how.send == CALL)
		offer(block);
	else if (provided && how.send == INLINE)
		lent[lent_count++] = block;
	else if (provided)
		s->other->block = block;
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_receive(s);
}

static void sent(struct side *s, const struct io_uring_cqe *cqe)
{
	CHECK(cqe->res > 0);
	s->sending = false;
	if (!how.copy && how.receive != OWN)
		offer(s->block);
}

static void turn(void)
{
	unsigned head, count = 0;
	struct io_uring_cqe *cqe;
	struct __kernel_timespec ts = {.tv_nsec = 100000000};
	enters++;
	io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &ts, NULL);
	while (lent_count > 0)
		offer(lent[--lent_count]);
	io_uring_for_each_cqe(&ring, head, cqe)
	{
		struct side *s = (struct side *)(uintptr_t)(cqe->user_data & ~1ull);
		if (cqe->user_data & 1)
			sent(s, cqe);
		else
			received(s, cqe);
		count++;
	}
	io_uring_cq_advance(&ring, count);
	completions += count;
}

static uint64_t thread_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void turn_for(double seconds)
{
	for (uint64_t end = now_ns() + (uint64_t)(seconds * 1e9); now_ns() < end;)
		turn();
}

static void join_connections(int listener)
{
	sides = calloc(2 * (size_t)how.connections, sizeof(*sides));
	for (int i = 0; i < how.connections; i++) {
		struct side *down = &sides[2 * i], *up = down + 1;
		down->fd = prepared(accept(listener, NULL, NULL), true);
		up->fd = dial(origin_port, true);
		down->other = up;
		up->other = down;
		down->own = malloc((size_t)how.block_bytes);
		up->own = malloc((size_t)how.block_bytes);
		arm_receive(down);
		arm_receive(up);
	}
}

static int index_of(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return i;
	}
	fprintf(stderr, "no such mode: %s\n", name);
	exit(2);
}

static int count_of(const char *text)
{
	uint64_t number;
	if (number_parse(text, 1, 1u << 20, &number))
		return (int)number;
	fprintf(stderr, "no such number: %s\n", text);
	exit(2);
}

static void parse(int argc, char **argv)
{
	int option;
	while ((option = getopt(argc, argv, "r:s:c:b:t:n:B:xfg:1")) != -1) {
		switch (option) {
		case 'r':
			how.receive = (enum receive)index_of(receive_names, 5, optarg);
			break;
		case 's':
			how.send = (enum send)index_of(send_names, 3, optarg);
			break;
		case 'c':
			how.connections = count_of(optarg);
			break;
		case 'b':
			how.bytes = count_of(optarg);
			break;
		case 't':
			how.seconds = atof(optarg);
			break;
		case 'n':
			how.blocks = count_of(optarg);
			break;
		case 'B':
			how.block_bytes = count_of(optarg);
			break;
		case 'x':
			how.copy = true;
			break;
		case 'f':
			how.cooperative = true;
			break;
		case '1':
			how.one_cpu = true;
			break;
		case 'g':
			how.congestion = optarg;
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	pthread_t origin, client;
	parse(argc, argv);
	int relay_listener = listen_on(&relay_port), origin_listener = listen_on(&origin_port);
	pthread_create(&origin, NULL, origin_main, &origin_listener);
	pthread_create(&client, NULL, client_main, NULL);
	pin(1);
	relay_init();
	join_connections(relay_listener);
	turn_for(0.3);
	uint64_t cpu = thread_ns(), done = exchanges, begin = now_ns();
	enters = completions = starved = 0;
	turn_for(how.seconds);
	cpu = thread_ns() - cpu;
	double n = (double)(exchanges - done), seconds = (double)(now_ns() - begin) / 1e9;
	printf("%-9s %-6s c=%-4d b=%-6d n=%-4d%s%s%s%s: %6.2f us/exchange %7.0f/s enters %.2f "
	       "completions %.2f starved %.3f\n",
		receive_names[how.receive], send_names[how.send], how.connections, how.bytes,
		how.blocks, how.copy ? " copy" : "", how.cooperative ? " coop" : "",
		how.congestion ? " " : "", how.congestion ? how.congestion : "",
		(double)cpu / 1e3 / n, n / seconds, (double)enters / n, (double)completions / n,
		(double)starved / n);
	fflush(stdout);
	_exit(0);
}
