/* SPDX-License-Identifier: Apache-2.0 */
#include "far.h"

#include "fake/ring_fake.h"
#include "fake/socket_fake.h"

#include <errno.h>

static int far_fd;

void far_init(void)
{
	fake_init();
}

void far_done(void)
{
	fake_done();
}

int far_tcp(void)
{
	return far_fd = fake_socket();
}

int far_packets(void)
{
	far_fd = fake_socket();
	fake_socket_packets(far_fd);
	return far_fd;
}

void far_nobody(struct sockaddr_storage *ret_address)
{
	struct address a = {.family = AF_INET, .ip = {127, 0, 0, 1}, .port = 9};
	fake_connect_rule(&a, -ECONNREFUSED);
	address_to_sockaddr(&a, ret_address);
}

void far_send(const void *bytes, size_t len)
{
	fake_peer_send(far_fd, bytes, len);
}

void far_shutdown(void)
{
	fake_peer_shutdown(far_fd);
}

void far_close(void)
{
	fake_peer_close(far_fd);
}

void far_reset(void)
{
	fake_peer_reset(far_fd);
}

void far_stop_reading(void)
{
	fake_peer_window(far_fd, 1000);
}

void far_read_all(void)
{
	fake_peer_window(far_fd, SIZE_MAX);
}

bool far_is_patient(unsigned turn)
{
	return turn < 2;
}
