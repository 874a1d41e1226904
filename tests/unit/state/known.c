/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void known_must(int result, const struct err *err)
{
	if (result < 0) {
		fprintf(stderr, "%s\n", err->text);
		abort();
	}
}

void known_set(struct object_set *set)
{
	struct err err;
	object_set_init(set);
	known_must(object_set_put(set, STR("service/orders"), STR(KNOWN_ORDERS), &err), &err);
	known_must(object_set_put(set, STR("policy/web"), STR(KNOWN_WEB), &err), &err);
}

struct operator_keys *known_keys(void)
{
	struct operator_keys *keys = NULL;
	struct bundle b;
	struct err err;
	bundle_init(&b);
	known_must(
		bundle_add(&b, STR("operator"), STR("alice.pub"), STR(KNOWN_PUBLIC), &err), &err);
	known_must(operator_keys_new(&b, &keys, &err), &err);
	bundle_done(&b);
	return keys;
}

struct operator_key *known_key(void)
{
	char path[] = "/tmp/ringmain-key-XXXXXX";
	struct operator_key *key = NULL;
	struct err err;
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, KNOWN_PRIVATE, sizeof(KNOWN_PRIVATE) - 1) < 0)
		abort();
	close(fd);
	int r = operator_key_load(path, &key, &err);
	unlink(path);
	known_must(r, &err);
	return key;
}
