/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void conf_report_init(struct conf_report *r)
{
	*r = (struct conf_report){0};
}

void conf_report_done(struct conf_report *r)
{
	free(r->text);
}

static int fake_marks(const char *dir, struct bundle *b)
{
	struct err err;
	char marks[300], uid[20], mark[20];
	int r = 0;
	snprintf(marks, sizeof(marks), "%s/marks", dir);
	FILE *f = fopen(marks, "r");
	if (f && fscanf(f, "%19s %19s", uid, mark) == 2)
		r = bundle_add(b, STR("mark"), str_of(uid), str_of(mark), &err);
	if (f)
		fclose(f);
	return r;
}

int conf_gather(const char *path, struct bundle *b, struct conf_report *report)
{
	struct err err;
	char dir[200], word[40];
	int r = bundle_add_file(b, STR("conf"), path, &err);
	ASSERT(r == 0);
	const char *text = bundle_next(b, "conf", NULL)->text.at;
	/* Like the real one: what cannot be read names no directory. */
	return sscanf(text, "%39s %199s", word, dir) == 2 ? fake_marks(dir, b) : 0;
}

int conf_gather_marks_of(const struct conf *conf, struct bundle *b, struct conf_report *report)
{
	return fake_marks(conf->run_dir.at, b);
}

static struct str fake_path(struct conf *c, const char *dir, const char *name)
{
	return arena_printf(&c->arena, "%s/%s", dir, name);
}

static void fake_workloads(struct conf *c)
{
	c->workload_count = 2;
	c->workloads = arena_take(&c->arena, 2 * sizeof(*c->workloads));
	c->workloads[0] = (struct conf_workload){.service = STR("orders"),
		.identity = STR("service/orders"),
		.port = 8080,
		.health = {.tcp = true}};
	c->workloads[1] =
		(struct conf_workload){.service = STR("web"), .identity = STR("service/web")};
}

static void fake_authority(struct conf *c, const char *dir)
{
	static struct str servers[1] = {{"127.0.0.1:9", 11}};
	static struct str federates[1] = {{"far.example", 11}};
	c->node_name = STR("vm-a");
	c->authority = (struct conf_authority){.servers = servers,
		.server_count = 1,
		.keep_dir = fake_path(c, dir, "keep"),
		.federates = federates,
		.federate_count = 1};
}

/* "mesh…": with a store. */
static void fake_state(struct conf *c, const char *dir)
{
	static struct address address;
	static struct str operators[1];
	operators[0] = fake_path(c, dir, "operator.pem");
	c->state = (struct conf_state){
		.redis = &address,
		.redis_count = 1,
		.password_file = getenv("CREDENTIALS_DIRECTORY") ? STR("store")
								 : fake_path(c, dir, "password"),
		.operators = operators,
		.operator_count = 1,
		.tls_ca = fake_path(c, dir, "ca/root.crt"),
		.tls_certificate = fake_path(c, dir, "certs/web.crt"),
		.tls_key = fake_path(c, dir, "certs/web.key"),
		.dir = fake_path(c, dir, "state"),
	};
}

int conf_parse(const struct bundle *b, const struct bundle *picture, uint64_t generation,
	struct conf **ret_conf, struct snapshot **ret_snapshot, struct conf_report *report)
{
	char word[40], dir[200];
	unsigned port, uid;
	const char *text = bundle_next(b, "conf", NULL)->text.at;
	ASSERT(sscanf(text, "%39s %199s %u %u", word, dir, &port, &uid) == 4);
	if (strcmp(word, "broken") == 0) {
		report->text =
			strdup("conf:1: broken: first reason\nconf:2: broken: second reason\n");
		report->text_len = strlen(report->text);
		report->error_count = 2;
		return -EINVAL;
	}
	struct conf *c = calloc(1, sizeof(*c));
	ASSERT(c);
	arena_init(&c->arena, 1 << 20);
	c->user = STR("somebody");
	c->uid = uid;
	c->worker_count = 2;
	c->run_dir = fake_path(c, dir, "");
	c->admin_socket = fake_path(c, dir, "admin.sock");
	c->access_log = fake_path(c, dir, "access.log");
	c->certificate_dir = fake_path(c, dir, "certs");
	c->tokens.dir = fake_path(c, dir, "jwks");
	c->trust_domain = STR("prod.example");
	c->outbound_port = (uint16_t)port;
	c->inbound_port = (uint16_t)(port + 1);
	c->mesh_port = (uint16_t)(port + 2);
	c->port_range = 1;
	c->connections_max = 100;
	bool with_store = strncmp(word, "mesh", 4) == 0;
	bool with_authority = strncmp(word, "ca", 2) == 0 || strncmp(word, "meshca", 6) == 0;
	if (with_store || with_authority)
		fake_workloads(c);
	if (with_store)
		fake_state(c, dir);
	if (with_authority)
		fake_authority(c, dir);
	c->drain_timeout_ms = strcmp(word, "impatient") == 0 ? 200 : 20000;
	*ret_conf = c;
	*ret_snapshot = NULL;
	return 0;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	arena_done(&c->arena);
	free(c);
}

void conf_snapshot_free(struct snapshot *s)
{
}

void conf_restart_needed(
	const struct conf *before, const struct conf *after, char *text, size_t size)
{
	snprintf(text, size, "workers");
}
