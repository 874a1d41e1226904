/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificates the mesh port should serve: those in force, of the services that somebody here
 * serves. */
#include "inside.h"

#include <stdio.h>

/* Any port of the service will do: they are all served with the one certificate. */
static uint16_t served_port(const struct conf *conf, struct str service)
{
	for (uint32_t i = 0; i < conf->workload_count; i++) {
		if (conf->workloads[i].port != 0 && str_eq(conf->workloads[i].service, service))
			return conf->workloads[i].port;
	}
	return 0;
}

static void served_watch(struct enroll *e, const struct conf *conf, struct identity *i)
{
	static const struct str prefix = {"service/", 8};
	char name[SERVER_NAME_MAX] = "";
	struct str path = str_of(i->path);
	uint16_t port = 0;
	if (!i->is_node && str_starts(path, prefix)) {
		struct str service = {path.at + prefix.len, path.len - prefix.len};
		port = served_port(conf, service);
		if (port != 0)
			(void)server_name_of(conf->trust_domain, service, port, name);
	}
	probe_watch(e->probe, &i->target, name, i->view.serial,
		i->view.until_s - enroll_now(e).wall_ms / 1000);
}

void enroll_watch_served(struct enroll *e, const struct conf *conf)
{
	const struct probe_settings settings = {.port = conf->mesh_port,
		.worker_count = conf->worker_count,
		.interval_ms = conf->authority.refresh_ms};
	probe_configure(e->probe, &settings);
	for (struct list *n = e->identities.next; n != &e->identities; n = n->next)
		served_watch(e, conf, CONTAINER_OF(n, struct identity, node));
}
