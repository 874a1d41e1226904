/* SPDX-License-Identifier: Apache-2.0 */
#include "base/notify.h"

#include "base/clock.h"
#include "base/str.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t notify_watchdog_ns(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t number, wanted_pid;
	if (!str_to_u64(str_of(usec), &number) || number > UINT64_MAX / 1000)
		return 0;
	if (pid && (!str_to_u64(str_of(pid), &wanted_pid) || wanted_pid != (uint64_t)getpid()))
		return 0;
	return number * 1000;
}

void notify_init(struct notify *n)
{
	*n = (struct notify){.fd = -1, .address = {.sun_family = AF_UNIX}};
	struct str path = str_of(getenv("NOTIFY_SOCKET"));
	/* '@' stands for the zero byte of an abstract address. */
	if (path.len > 1 && path.len < sizeof(n->address.sun_path) &&
		(path.at[0] == '/' || path.at[0] == '@')) {
		memcpy(n->address.sun_path, path.at, path.len);
		if (path.at[0] == '@')
			n->address.sun_path[0] = '\0';
		n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len);
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	}
	n->watchdog_ns = n->fd >= 0 ? notify_watchdog_ns() : 0;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_done(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

void notify_send(const struct notify *n, const char *format, ...)
{
	char text[1024];
	if (n->fd < 0)
		return;
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0)
		return;
	size_t size = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
	(void)sendto(n->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL,
		(const struct sockaddr *)&n->address, n->address_len);
}

void notify_reloading(const struct notify *n)
{
	notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic_ns() / 1000);
}
