/* SPDX-License-Identifier: Apache-2.0 */
/* Every socket that the proxy process accepts on is opened here, once, and stays open while proxy
 * processes come and go: connections wait in the kernel's queue meanwhile. */
#include "keeper.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define KEEPER_LISTENERS_MAX 16384u
#define KEEPER_ADMIN_LOOKS   20
#define KEEPER_ADMIN_LOOK_NS 50000000

static int keeper_listen_add(struct keeper_listeners *l, enum wire_listener_kind kind,
	uint32_t worker, const struct address *address, int fd, struct err *err)
{
	if (l->count == l->size) {
		uint32_t size = l->size ? l->size * 2 : 64;
		struct keeper_listener *list = NULL;
		if (size <= KEEPER_LISTENERS_MAX)
			list = reallocarray(l->list, size, sizeof(*list));
		if (!list) {
			close(fd);
			return err_set(
				err, ENOMEM, "too many listening sockets: fewer workers or ports");
		}
		l->list = list;
		l->size = size;
	}
	l->list[l->count++] = (struct keeper_listener){
		.kind = kind, .worker = worker, .address = *address, .fd = fd};
	return 0;
}

/* --- TCP --- */

static bool keeper_is_no_ipv6(const struct address *a, int r)
{
	return a->family == AF_INET6 && (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL);
}

static int keeper_bind(int fd, const struct address *a)
{
	const int one = 1;
	struct sockaddr_storage s;
	address_to_sockaddr(a, &s);
	socklen_t len =
		a->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
		return -errno;
	if (a->family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&s, len) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	return 0;
}

/* The listening socket, or -errno. */
static int keeper_socket(const struct address *a)
{
	int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int r = keeper_bind(fd, a);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/* One socket per worker: the kernel spreads connections over them, and workers share nothing. */
static int keeper_listen_tcp(struct keeper *k, enum wire_listener_kind kind,
	const struct address *a, uint32_t worker_count, struct err *err)
{
	char text[ADDRESS_TEXT_MAX];
	for (uint32_t worker = 0; worker < worker_count; worker++) {
		int fd = keeper_socket(a);
		if (keeper_is_no_ipv6(a, fd)) {
			if (!k->listeners.no_ipv6_told)
				log_warning("keeper",
					"no IPv6 on this machine: listening on IPv4 only");
			k->listeners.no_ipv6_told = true;
			return 0;
		}
		if (fd < 0)
			return err_set(err, -fd, "listening on %s: %s", address_text(a, text),
				strerror(-fd));
		int r = keeper_listen_add(&k->listeners, kind, worker, a, fd, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* `count` ports from `first`, on both families' addresses. */
static int keeper_listen_ports(struct keeper *k, enum wire_listener_kind kind,
	const char *const ips[2], uint16_t first, uint16_t count, struct err *err)
{
	for (uint32_t i = 0; i < count; i++) {
		if (first + i > UINT16_MAX)
			return err_set(
				err, ERANGE, "listening on port %u: ports end at 65535", first + i);
		for (size_t family = 0; family < 2; family++) {
			struct address a;
			bool parsed = address_parse(str_of(ips[family]), &a);
			ASSERT(parsed);
			a.port = (uint16_t)(first + i);
			int r = keeper_listen_tcp(k, kind, &a, k->worker_count, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* --- the admin socket --- */

static int keeper_unix_address(const char *path, struct sockaddr_un *ret_address, struct err *err)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return err_set(err, ENAMETOOLONG, "%s: too long for a socket's name", path);
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s", path);
	return 0;
}

static bool keeper_admin_answers(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return true; /* not known: better to say so than to take somebody's place */
	bool answers = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
		       errno == EAGAIN;
	close(fd);
	return answers;
}

/* What stands at the path may only be a socket that nobody listens on any more. */
static int keeper_admin_check(const char *path, const struct sockaddr_un *address, struct err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(err, errno, "%s: %m", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EEXIST, "%s: exists and is no socket; remove it", path);
	/* The proxy process of a keeper that was killed just now ends with it, but not before it.
	 */
	for (int look = 0; look < KEEPER_ADMIN_LOOKS; look++) {
		if (!keeper_admin_answers(address))
			return 0;
		nanosleep(&(struct timespec){.tv_nsec = KEEPER_ADMIN_LOOK_NS}, NULL);
	}
	return err_set(err, EADDRINUSE, "%s: another ringmain is running there", path);
}

/* Bound under another name, given owner and mode, and then renamed: nobody ever meets a socket with
 * the wrong owner at the path, and there is no moment without one. */
static int keeper_admin_place(const struct keeper *k, int fd, const char *path, struct err *err)
{
	char temporary[sizeof(k->listeners.admin_path) + 8];
	struct sockaddr_un address;
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	int r = keeper_unix_address(temporary, &address, err);
	if (r < 0)
		return r;
	unlink(temporary);
	mode_t mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(mask);
	/* Without root the group is ours already. */
	if (r == 0 && !k->user.is_self && chown(temporary, (uid_t)-1, k->user.gid) < 0)
		r = -errno;
	if (r == 0 && (chmod(temporary, 0660) < 0 || listen(fd, SOMAXCONN) < 0 ||
			      rename(temporary, path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return err_set(err, -r, "%s: %s", path, strerror(-r));
	}
	return 0;
}

static int keeper_listen_admin(struct keeper *k, const char *path, struct err *err)
{
	struct sockaddr_un address;
	const struct address none = {0};
	int r = keeper_unix_address(path, &address, err);
	if (r == 0)
		r = keeper_admin_check(path, &address, err);
	if (r < 0)
		return r;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", path);
	r = keeper_admin_place(k, fd, path, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	struct stat st;
	if (lstat(path, &st) == 0) {
		snprintf(k->listeners.admin_path, sizeof(k->listeners.admin_path), "%s", path);
		k->listeners.admin_dev = st.st_dev;
		k->listeners.admin_ino = st.st_ino;
	}
	return keeper_listen_add(&k->listeners, WIRE_LISTENER_ADMIN, 0, &none, fd, err);
}

/* --- the access log --- */

/* The file, -ENOENT for "off", or -errno. */
static int keeper_log_open(struct str path)
{
	int fd;
	if (path.len == 0 || str_eq(path, STR("off")))
		return -ENOENT;
	if (str_eq(path, STR("stderr")))
		fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	else
		fd = open(path.at,
			O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	return fd < 0 ? -errno : fd;
}

static int keeper_listen_log_first(struct keeper *k, struct str path, struct err *err)
{
	const struct address none = {0};
	int fd = keeper_log_open(path);
	if (fd == -ENOENT && (path.len == 0 || str_eq(path, STR("off"))))
		return 0;
	if (fd < 0)
		return err_set(
			err, -fd, "access log " STR_FMT ": %s", STR_ARG(path), strerror(-fd));
	return keeper_listen_add(&k->listeners, WIRE_LISTENER_ACCESS_LOG, 0, &none, fd, err);
}

bool keeper_listen_log(struct keeper *k, const struct conf *conf)
{
	struct stat before, after;
	for (uint32_t i = 0; i < k->listeners.count; i++) {
		struct keeper_listener *l = &k->listeners.list[i];
		if (l->kind != WIRE_LISTENER_ACCESS_LOG)
			continue;
		int fd = keeper_log_open(conf->access_log);
		if (fd < 0) {
			log_warning("keeper", "access log " STR_FMT ": not opened again (%s)",
				STR_ARG(conf->access_log), strerror(-fd));
			return false;
		}
		bool same = fstat(l->fd, &before) == 0 && fstat(fd, &after) == 0 &&
			    before.st_dev == after.st_dev && before.st_ino == after.st_ino;
		close(same ? fd : l->fd);
		if (!same)
			l->fd = fd;
		return !same;
	}
	return false;
}

/* --- all --- */

static int keeper_listen_traffic(struct keeper *k, const struct conf *conf, struct err *err)
{
	static const char *const loopback[2] = {"127.0.0.1", "::1"};
	static const char *const wildcard[2] = {"0.0.0.0", "::"};
	int r = keeper_listen_ports(
		k, WIRE_LISTENER_OUTBOUND, loopback, conf->outbound_port, conf->port_range, err);
	if (r == 0)
		r = keeper_listen_ports(k, WIRE_LISTENER_INBOUND, wildcard, conf->inbound_port,
			conf->port_range, err);
	if (r == 0)
		r = keeper_listen_ports(k, WIRE_LISTENER_MESH, wildcard, conf->mesh_port, 1, err);
	return r;
}

int keeper_listen(struct keeper *k, const struct conf *conf, struct err *err)
{
	int r = 0;
	if (mkdir(conf->run_dir.at, 0755) < 0 && errno != EEXIST)
		return err_set(err, errno, STR_FMT ": %m", STR_ARG(conf->run_dir));
	/* First, because it tells whether another one is running. */
	if (conf->admin_socket.len > 0)
		r = keeper_listen_admin(k, conf->admin_socket.at, err);
	if (r == 0)
		r = keeper_listen_traffic(k, conf, err);
	if (r == 0 && conf->admin_tcp.family != 0)
		r = keeper_listen_tcp(k, WIRE_LISTENER_ADMIN, &conf->admin_tcp, 1, err);
	if (r == 0)
		r = keeper_listen_log_first(k, conf->access_log, err);
	return r;
}

static void keeper_listen_close(struct keeper_listeners *l, bool with_others)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < l->count; i++) {
		enum wire_listener_kind kind = l->list[i].kind;
		if (with_others ||
			(kind != WIRE_LISTENER_ADMIN && kind != WIRE_LISTENER_ACCESS_LOG))
			close(l->list[i].fd);
		else
			l->list[kept++] = l->list[i];
	}
	l->count = kept;
}

void keeper_listen_stop(struct keeper *k)
{
	keeper_listen_close(&k->listeners, false);
}

void keeper_listen_done(struct keeper *k)
{
	struct keeper_listeners *l = &k->listeners;
	struct stat st;
	/* Somebody else's by now, perhaps: only ours goes. */
	if (l->admin_path[0] && lstat(l->admin_path, &st) == 0 && st.st_dev == l->admin_dev &&
		st.st_ino == l->admin_ino)
		unlink(l->admin_path);
	keeper_listen_close(l, true);
	free(l->list);
	*l = (struct keeper_listeners){0};
}
