/* SPDX-License-Identifier: Apache-2.0 */
#include "far.h"

#include "base/assert.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static int far_fd = -1;

void far_init(void)
{
	far_fd = -1;
}

void far_done(void)
{
	if (far_fd >= 0)
		close(far_fd);
}

static int far_listener(struct sockaddr_in *ret_address)
{
	socklen_t len = sizeof(*ret_address);
	*ret_address = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT(bind(fd, (struct sockaddr *)ret_address, len) == 0);
	ASSERT(listen(fd, 1) == 0);
	ASSERT(getsockname(fd, (struct sockaddr *)ret_address, &len) == 0);
	return fd;
}

int far_tcp(void)
{
	struct sockaddr_in address;
	int listener = far_listener(&address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	far_fd = accept(listener, NULL, NULL);
	ASSERT(far_fd >= 0);
	close(listener);
	return fd;
}

int far_packets(void)
{
	int pair[2];
	ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	far_fd = pair[1];
	return pair[0];
}

void far_nobody(struct sockaddr_storage *ret_address)
{
	struct sockaddr_in address;
	close(far_listener(&address));
	memset(ret_address, 0, sizeof(*ret_address));
	memcpy(ret_address, &address, sizeof(address));
}

void far_send(const void *bytes, size_t len)
{
	ASSERT(send(far_fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}

void far_shutdown(void)
{
	shutdown(far_fd, SHUT_WR);
}

void far_close(void)
{
	close(far_fd);
	far_fd = -1;
}

void far_reset(void)
{
	struct linger linger = {.l_onoff = 1};
	setsockopt(far_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	far_close();
}

void far_stop_reading(void)
{
}

void far_read_all(void)
{
	char bytes[65536];
	while (recv(far_fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
	}
}

bool far_is_patient(unsigned turn)
{
	usleep(2000);
	return turn < 10;
}
