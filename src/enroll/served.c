/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificates the mesh port should serve: those in force, of workloads that serve a port. */
#include "inside.h"

#include <stdio.h>

/* Any workload of the identity will do: they are all served with the one certificate. NULL: none
 * serves a port. */
static const struct conf_workload *served_by(const struct conf *conf, struct str identity)
{
	for (uint32_t i = 0; i < conf->workload_count; i++) {
		const struct conf_workload *w = &conf->workloads[i];
		if (w->port != 0 && str_eq(w->identity, identity))
			return w;
	}
	return NULL;
}

static void served_watch(struct enroll *e, const struct conf *conf, struct identity *i)
{
	char name[SERVER_NAME_MAX] = "";
	const struct conf_workload *w = i->is_node ? NULL : served_by(conf, str_of(i->path));
	if (w)
		(void)server_name_of(conf->trust_domain, w->service, w->port, name);
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
