/* SPDX-License-Identifier: Apache-2.0 */
/* From the authority's directory to a server: what it shows and believes, and where it listens. */
#include "serve.h"

#include "conf/authority.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Five seconds in all, for an address that is taken. */
#define SERVE_BIND_LOOKS   100
#define SERVE_BIND_LOOK_NS 50000000

static struct str serve_place_domain(const struct serve_place *p)
{
	return str_of(p->trust_domain);
}

int serve_place_open(struct serve_place *p, const char *dir, int64_t now_s, struct err *err)
{
	int r = authority_open(dir, &p->authority, err);
	if (r < 0)
		return r;
	const struct conf_ca *settings = authority_settings(p->authority);
	snprintf(
		p->trust_domain, sizeof(p->trust_domain), STR_FMT, STR_ARG(settings->trust_domain));
	if (p->listen_count == 0 && settings->listen_count == 0)
		r = err_set(err, EINVAL,
			"%s/ca.conf: authority.listen: nothing to listen on; such as "
			"\"10.77.0.5:8443\"",
			dir);
	if (r == 0)
		r = serve_material_load(
			p->authority, serve_place_domain(p), now_s, &p->material, err);
	if (r < 0)
		serve_place_done(p);
	return r;
}

void serve_place_done(struct serve_place *p)
{
	serve_material_unref(p->material);
	p->material = NULL;
	authority_close(p->authority);
	p->authority = NULL;
}

int serve_place_refresh(struct serve_place *p, struct serve *s, int64_t now_s, struct err *err)
{
	int r = serve_material_load(p->authority, serve_place_domain(p), now_s, &p->material, err);
	if (s->material != p->material) {
		serve_material_unref(s->material);
		s->material = serve_material_ref(p->material);
	}
	s->authority = p->authority;
	s->trust_domain = serve_place_domain(p);
	return r;
}

/* --- listening --- */

static int serve_bind(int fd, const struct address *a)
{
	const int one = 1;
	struct sockaddr_storage s;
	address_to_sockaddr(a, &s);
	socklen_t len = sizeof(struct sockaddr_in);
	if (a->family == AF_INET6)
		len = sizeof(struct sockaddr_in6);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	if (a->family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&s, len) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	return 0;
}

/* The kernel lets go of the ring of a process that was killed, and of the sockets that it waited
 * for, some time after the process is gone. */
static int serve_bind_after(int fd, const struct address *a, int look_count)
{
	int r = serve_bind(fd, a);
	for (int look = 0; r == -EADDRINUSE && look < look_count; look++) {
		nanosleep(&(struct timespec){.tv_nsec = SERVE_BIND_LOOK_NS}, NULL);
		r = serve_bind(fd, a);
	}
	return r;
}

/* The listening socket, or -errno. */
static int serve_socket(const struct address *a, int look_count, struct err *err)
{
	char text[ADDRESS_TEXT_MAX];
	int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : serve_bind_after(fd, a, look_count);
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return err_set(err, -r,
		"%s: %s; where to listen is said by authority.listen of ca.conf, or --listen",
		address_text(a, text), strerror(-r));
}

/* Where to listen. */
struct serve_wanted {
	const struct address *list;
	uint32_t count;
};

static struct serve_wanted serve_place_wanted(const struct serve_place *p)
{
	const struct conf_ca *settings = authority_settings(p->authority);
	if (p->listen_count > 0)
		return (struct serve_wanted){p->listen, p->listen_count};
	return (struct serve_wanted){settings->listen, settings->listen_count};
}

struct serve_fresh {
	const struct address *address;
	int fd;
};

/* Opens those that are not there yet; none when one fails. At a start nobody is kept waiting by
 * looking again. */
static int serve_open_fresh(struct serve_wanted wanted, const struct serve *s,
	struct serve_fresh *fresh, uint32_t *ret_count, struct err *err)
{
	struct address at[SERVE_LISTENERS_MAX];
	bool is_start = serve_listening(s, at, SERVE_LISTENERS_MAX) == 0;
	uint32_t count = 0;
	int fd = 0;
	if (wanted.count > SERVE_LISTENERS_MAX)
		return err_set(err, EINVAL, "ca.conf: authority.listen: more than %d addresses",
			SERVE_LISTENERS_MAX);
	for (uint32_t i = 0; fd >= 0 && i < wanted.count; i++) {
		const struct address *a = &wanted.list[i];
		if (serve_listens(s, a))
			continue;
		fd = serve_socket(a, is_start ? SERVE_BIND_LOOKS : 0, err);
		if (fd >= 0)
			fresh[count++] = (struct serve_fresh){a, fd};
	}
	while (fd < 0 && count > 0)
		close(fresh[--count].fd);
	*ret_count = count;
	return fd < 0 ? fd : 0;
}

static bool serve_is_wanted(struct serve_wanted wanted, const struct address *address)
{
	for (uint32_t i = 0; i < wanted.count; i++) {
		if (address_equal(&wanted.list[i], address))
			return true;
	}
	return false;
}

int serve_place_listen(struct serve_place *p, struct serve *s, struct err *err)
{
	struct serve_wanted wanted = serve_place_wanted(p);
	struct serve_fresh fresh[SERVE_LISTENERS_MAX];
	uint32_t count = 0;
	int r = serve_open_fresh(wanted, s, fresh, &count, err);
	for (uint32_t i = 0; i < count; i++) {
		if (r == 0)
			r = serve_listen(s, fresh[i].fd, fresh[i].address, err);
		if (r < 0)
			close(fresh[i].fd);
	}
	struct address at[SERVE_LISTENERS_MAX];
	uint32_t at_count = r == 0 ? serve_listening(s, at, SERVE_LISTENERS_MAX) : 0;
	for (uint32_t i = 0; i < at_count; i++) {
		if (!serve_is_wanted(wanted, &at[i]))
			serve_deafen(s, &at[i]);
	}
	return r;
}
