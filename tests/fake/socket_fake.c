/* SPDX-License-Identifier: Apache-2.0 */
/* The table of simulated sockets: our end (net/socket.h) and the far end. */
#include "fake/fake_table.h"
#include "net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

struct fake_socket *fake_find(int fd)
{
	LIST_EACH (&fake.sockets, node) {
		struct fake_socket *s = CONTAINER_OF(node, struct fake_socket, node);
		if (s->fd == fd)
			return s;
	}
	return NULL;
}

/* For the test's own calls: a wrong fd is a mistake in the test. */
static struct fake_socket *fake_get(int fd)
{
	struct fake_socket *s = fake_find(fd);
	ASSERT(s);
	return s;
}

/* For calls of the code under test: NULL after a complaint. */
static struct fake_socket *fake_use(int fd, const char *what)
{
	struct fake_socket *s = fake_find(fd);
	if (s && s->open)
		return s;
	fake_complain("%s of fd %d, which is %s", what, fd, s ? "closed" : "unknown");
	return NULL;
}

/* --- making sockets --- */

static struct address fake_address(uint8_t last, uint16_t port)
{
	return (struct address){.family = AF_INET, .ip = {192, 0, 2, last}, .port = port};
}

static struct fake_socket *fake_socket_new(bool connected)
{
	ASSERT(fake.on);
	struct fake_socket *s = fake_alloc(sizeof(*s));
	s->fd = fake.next_fd++;
	s->open = true;
	s->connected = connected;
	s->window = SIZE_MAX;
	s->local = fake_address(2, 80);
	s->peer = connected ? fake_address(1, 40000) : (struct address){0};
	s->original_dst = s->local;
	s->has_original_dst = true;
	list_init(&s->chunks);
	list_add_last(&fake.sockets, &s->node);
	return s;
}

int fake_socket(void)
{
	return fake_socket_new(true)->fd;
}

int fake_listener(void)
{
	struct fake_socket *s = fake_socket_new(false);
	s->listener = true;
	return s->fd;
}

int fake_dial(int listener)
{
	struct fake_socket *l = fake_get(listener);
	ASSERT(l->listener && l->queue_len < ARRAY_LEN(l->queue));
	int fd = fake_socket();
	l->queue[l->queue_len++] = fd;
	return fd;
}

void fake_link(int fd, int other)
{
	struct fake_socket *s = fake_get(fd), *o = fake_get(other);
	ASSERT(!s->other && !o->other);
	s->other = o;
	o->other = s;
}

void fake_socket_script(int fd)
{
	fake_get(fd)->script = true;
}

void fake_socket_packets(int fd)
{
	fake_get(fd)->packets = true;
}

void fake_set_mark(int fd, uint32_t mark)
{
	fake_get(fd)->mark = mark;
}

void fake_set_original_dst(int fd, const struct address *address)
{
	struct fake_socket *s = fake_get(fd);
	s->has_original_dst = address;
	if (address)
		s->original_dst = *address;
}

void fake_set_local(int fd, const struct address *address)
{
	fake_get(fd)->local = *address;
}

void fake_set_peer(int fd, const struct address *address)
{
	fake_get(fd)->peer = *address;
}

void fake_sockets_free(void)
{
	struct list *node, *chunk;
	while ((node = list_pop(&fake.sockets))) {
		struct fake_socket *s = CONTAINER_OF(node, struct fake_socket, node);
		while ((chunk = list_pop(&s->chunks)))
			free(CONTAINER_OF(chunk, struct fake_chunk, node));
		free(s->sent);
		free(s);
	}
}

/* --- bytes, for the model and for the test --- */

/* More bytes for us to receive. */
static void fake_deliver(struct fake_socket *s, const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return;
	struct fake_chunk *c = fake_alloc(sizeof(*c) + len);
	memcpy(c->bytes, bytes, len);
	c->len = len;
	list_add_last(&s->chunks, &c->node);
	s->unread += len;
}

size_t fake_receive(struct fake_socket *s, uint8_t *into, size_t len)
{
	size_t got = 0;
	while (got < len && s->unread) {
		struct fake_chunk *c = CONTAINER_OF(s->chunks.next, struct fake_chunk, node);
		size_t part = c->len - c->start < len - got ? c->len - c->start : len - got;
		memcpy(into + got, c->bytes + c->start, part);
		got += part;
		c->start += part;
		s->unread -= part;
		bool over = c->start == c->len;
		if (s->packets)
			s->unread -= c->len - c->start; /* the rest of a message is lost */
		if (over || s->packets) {
			list_remove(&c->node);
			free(c);
		}
		if (s->packets)
			break;
	}
	return got;
}

static void fake_keep_sent(struct fake_socket *s, const uint8_t *bytes, size_t len)
{
	if (s->sent_len + len > s->sent_size) {
		s->sent_size = 2 * (s->sent_len + len);
		s->sent = realloc(s->sent, s->sent_size);
		fake.memory_count++;
		ASSERT(s->sent);
	}
	if (len)
		memcpy(s->sent + s->sent_len, bytes, len);
	s->sent_len += len;
}

static size_t fake_room(const struct fake_socket *s)
{
	if (!s->other)
		return s->window;
	size_t room = s->other->unread < FAKE_LINK_BYTES ? FAKE_LINK_BYTES - s->other->unread : 0;
	return room < s->window ? room : s->window;
}

size_t fake_transmit(struct fake_socket *s, const uint8_t *bytes, size_t len)
{
	if (s->peer_closed) { /* bytes into the void, and the answer to them */
		fake_reset(s);
		return len;
	}
	size_t room = fake_room(s), part = len < room ? len : room;
	if (s->window != SIZE_MAX)
		s->window -= part;
	fake_keep_sent(s, bytes, part);
	if (s->other)
		fake_deliver(s->other, bytes, part);
	return part;
}

/* Behind an end of stream a reset is no news for receives, and -EPIPE for sends. */
static void fake_reset_one(struct fake_socket *s)
{
	s->reset_told = s->reset_told || s->read_end;
	s->reset = true;
}

void fake_reset(struct fake_socket *s)
{
	fake_reset_one(s);
	if (s->other)
		fake_reset_one(s->other);
}

/* --- the far end --- */

void fake_peer_send(int fd, const void *bytes, size_t len)
{
	struct fake_socket *s = fake_get(fd);
	ASSERT(!s->read_end); /* the far end has closed */
	fake_deliver(s, bytes, len);
}

void fake_peer_send_text(int fd, const char *text)
{
	fake_peer_send(fd, text, strlen(text));
}

void fake_peer_shutdown(int fd)
{
	fake_get(fd)->read_end = true;
}

void fake_peer_close(int fd)
{
	struct fake_socket *s = fake_get(fd);
	s->read_end = true;
	s->peer_closed = true;
}

void fake_peer_reset(int fd)
{
	fake_reset(fake_get(fd));
}

void fake_peer_window(int fd, size_t bytes)
{
	fake_get(fd)->window = bytes;
}

struct str fake_peer_received(int fd)
{
	const struct fake_socket *s = fake_get(fd);
	return (struct str){(const char *)s->sent, s->sent_len};
}

void fake_peer_forget(int fd)
{
	fake_get(fd)->sent_len = 0;
}

bool fake_peer_saw_end(int fd)
{
	return fake_get(fd)->sent_end;
}

bool fake_peer_saw_reset(int fd)
{
	return fake_get(fd)->sent_reset;
}

size_t fake_unread(int fd)
{
	return fake_get(fd)->unread;
}

/* --- connects and socket_open() --- */

static struct fake_rule *fake_rule_new(const struct address *address, int result)
{
	struct fake_rule *rule = fake_alloc(sizeof(*rule));
	if (address)
		rule->address = *address;
	rule->result = result;
	rule->listener = -1;
	list_add_first(&fake.rules, &rule->node);
	return rule;
}

void fake_connect_rule(const struct address *address, int result)
{
	ASSERT(result <= 0 || result == FAKE_PENDING);
	fake_rule_new(address, result);
}

void fake_connect_listener(const struct address *address, int listener)
{
	fake_rule_new(address, 0)->listener = listener;
}

/* The latest rule for the very address, else the latest for everywhere, else NULL. */
static const struct fake_rule *fake_rule_for(const struct address *to)
{
	const struct fake_rule *everywhere = NULL;
	LIST_EACH (&fake.rules, node) {
		const struct fake_rule *rule = CONTAINER_OF(node, struct fake_rule, node);
		if (rule->address.family && address_equal(&rule->address, to))
			return rule;
		if (!rule->address.family && !everywhere)
			everywhere = rule;
	}
	return everywhere;
}

int fake_connect(struct fake_socket *s, const struct address *to)
{
	const struct fake_rule *rule = fake_rule_for(to);
	s->peer = *to;
	if (rule && rule->result)
		return rule->result;
	s->connected = true;
	if (rule && rule->listener >= 0) {
		int accepted = fake_dial(rule->listener);
		fake_set_local(accepted, to);
		fake_set_original_dst(accepted, to);
		fake_link(s->fd, accepted);
	}
	return 0;
}

void fake_open_fails(uint32_t count, int result)
{
	ASSERT(result < 0);
	fake.open_fail_count = count;
	fake.open_fail_result = result;
}

int fake_opened(uint32_t index)
{
	return index < fake.opened_count ? fake.opened[index] : -1;
}

uint32_t fake_opened_count(void)
{
	return fake.opened_count;
}

struct address fake_connected_to(int fd)
{
	return fake_get(fd)->peer;
}

bool fake_is_open(int fd)
{
	return fake_get(fd)->open;
}

uint32_t fake_open_count(void)
{
	uint32_t count = 0;
	LIST_EACH (&fake.sockets, node)
		count += CONTAINER_OF(node, struct fake_socket, node)->open;
	return count;
}

/* --- net/socket.h --- */

int socket_open(uint8_t family)
{
	if (fake.open_fail_count) {
		fake.open_fail_count--;
		return fake.open_fail_result;
	}
	int fd = fake_socket_new(false)->fd;
	fake.opened = realloc(fake.opened, (fake.opened_count + 1) * sizeof(int));
	ASSERT(fake.opened);
	fake.opened[fake.opened_count++] = fd;
	return fd;
}

void socket_prepare(int fd)
{
	fake_use(fd, "socket_prepare()");
}

uint32_t socket_mark(int fd)
{
	struct fake_socket *s = fake_use(fd, "socket_mark()");
	return s ? s->mark : 0;
}

int socket_original_dst(int fd, uint8_t family, struct address *ret_address)
{
	struct fake_socket *s = fake_use(fd, "socket_original_dst()");
	if (!s)
		return -EBADF;
	if (!s->has_original_dst || s->original_dst.family != family)
		return -ENOENT;
	*ret_address = s->original_dst;
	return 0;
}

int socket_local(int fd, struct address *ret_address)
{
	struct fake_socket *s = fake_use(fd, "socket_local()");
	if (!s)
		return -EBADF;
	*ret_address = s->local;
	return 0;
}

int socket_peer(int fd, struct address *ret_address)
{
	struct fake_socket *s = fake_use(fd, "socket_peer()");
	if (!s)
		return -EBADF;
	if (!s->connected)
		return -ENOTCONN;
	*ret_address = s->peer;
	return 0;
}

/* A descriptor of the kernel's: its owner closes it as such. */
int socket_routes(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

bool socket_leads_back(int fd, int routes)
{
	struct fake_socket *s = fake_use(fd, "socket_leads_back()");
	return s && s->connected && s->peer.family != 0 && address_same_ip(&s->local, &s->peer);
}

static void fake_send_end(struct fake_socket *s)
{
	s->write_end = true;
	s->sent_end = s->sent_end || !s->sent_reset;
	if (s->other)
		s->other->read_end = true;
}

void socket_send_now(int fd, const void *bytes, size_t len)
{
	struct fake_socket *s = fake_use(fd, "socket_send_now()");
	if (s)
		fake_transmit(s, bytes, len);
}

void socket_shutdown_write(int fd)
{
	struct fake_socket *s = fake_use(fd, "socket_shutdown_write()");
	if (s)
		fake_send_end(s);
}

void socket_shutdown(int fd)
{
	struct fake_socket *s = fake_use(fd, "socket_shutdown()");
	if (!s)
		return;
	fake_send_end(s);
	s->read_end = true;
}

void socket_linger_reset(int fd)
{
	struct fake_socket *s = fake_use(fd, "socket_linger_reset()");
	if (s)
		s->linger_reset = true;
}

static bool fake_has_armed(int fd)
{
	LIST_EACH (&fake.armed, node) {
		if (CONTAINER_OF(node, struct fake_op, node)->fd == fd)
			return true;
	}
	LIST_EACH (&fake.completions, node) {
		if (CONTAINER_OF(node, struct fake_completion, node)->fd == fd)
			return true;
	}
	return false;
}

/* What nobody accepted is reset. */
static void fake_listener_close(struct fake_socket *s)
{
	for (uint32_t i = 0; i < s->queue_len; i++) {
		socket_linger_reset(s->queue[i]);
		socket_close(s->queue[i]);
	}
	s->queue_len = 0;
}

void socket_close(int fd)
{
	struct fake_socket *s = fake_use(fd, "socket_close()");
	if (!s)
		return;
	if (fake_has_armed(fd))
		fake_complain("socket_close() of fd %d with an operation armed", fd);
	s->open = false;
	fake_listener_close(s);
	s->sent_reset = s->linger_reset || s->unread;
	if (s->other && s->sent_reset)
		fake_reset_one(s->other);
	fake_send_end(s);
	if (s->other)
		s->other->peer_closed = true;
}
