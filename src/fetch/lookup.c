/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct lookup {
	atomic_uint users; /* the thread, and who asked */
	atomic_bool over;
	struct lookup_found found;
	uint16_t port;
	char host[256];
};

bool lookup_split(struct str server, struct str *ret_host, uint16_t *ret_port)
{
	const char *colon = server.len > 0 ? memrchr(server.at, ':', server.len) : NULL;
	uint64_t port;
	if (!colon)
		return false;
	struct str host = {server.at, (size_t)(colon - server.at)};
	struct str digits = {colon + 1, server.len - host.len - 1};
	if (!str_to_u64(digits, &port) || port == 0 || port > UINT16_MAX)
		return false;
	if (host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
		host = (struct str){host.at + 1, host.len - 2};
	else if (memchr(host.at, ':', host.len))
		return false;
	if (host.len == 0 || host.len > 253)
		return false;
	*ret_host = host;
	*ret_port = (uint16_t)port;
	return true;
}

static void lookup_release(struct lookup *l)
{
	if (atomic_fetch_sub_explicit(&l->users, 1, memory_order_acq_rel) == 1)
		free(l);
}

static void lookup_take(struct lookup *l, const struct addrinfo *list)
{
	struct sockaddr_storage storage;
	for (; list && l->found.count < LOOKUP_ADDRESSES_MAX; list = list->ai_next) {
		if (list->ai_addrlen > sizeof(storage))
			continue;
		memcpy(&storage, list->ai_addr, list->ai_addrlen);
		struct address address = address_of(&storage);
		if (address.family == 0)
			continue;
		address.port = l->port;
		l->found.at[l->found.count++] = address;
	}
}

static void *lookup_thread(void *argument)
{
	struct lookup *l = argument;
	struct addrinfo *list = NULL;
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	int r = getaddrinfo(l->host, NULL, &hints, &list);
	if (r == 0) {
		lookup_take(l, list);
		freeaddrinfo(list);
	}
	l->found.why = r == 0 ? "no address" : gai_strerror(r);
	atomic_store_explicit(&l->over, true, memory_order_release);
	lookup_release(l);
	return NULL;
}

static bool lookup_begin(struct lookup *l)
{
	pthread_t thread;
	atomic_fetch_add(&l->users, 1);
	if (pthread_create(&thread, NULL, lookup_thread, l) == 0) {
		pthread_detach(thread);
		return true;
	}
	atomic_fetch_sub(&l->users, 1);
	return false;
}

struct lookup *lookup_start(struct str host, uint16_t port)
{
	struct lookup *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	ASSERT(host.len < sizeof(l->host));
	memcpy(l->host, host.at, host.len);
	l->port = port;
	atomic_store(&l->users, 1);
	if (address_parse(host, &l->found.at[0])) {
		l->found.at[0].port = port;
		l->found.count = 1;
		atomic_store(&l->over, true);
	} else if (!lookup_begin(l)) {
		free(l);
		return NULL;
	}
	return l;
}

bool lookup_look(struct lookup *l, struct lookup_found *ret_found)
{
	if (!atomic_load_explicit(&l->over, memory_order_acquire))
		return false;
	*ret_found = l->found;
	return true;
}

void lookup_drop(struct lookup *l)
{
	if (l)
		lookup_release(l);
}
