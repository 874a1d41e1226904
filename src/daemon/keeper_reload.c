/* SPDX-License-Identifier: Apache-2.0 */
/* A plan is made whole or not at all: files are read and parsed, keys loaded, the bundle sealed;
 * only then does anything change.
 *
 * What changes on its own (certificates and secrets being renewed, marks after `ringmain redirect
 * up`) is picked up on its own, without reading the configuration again: that is taken up when
 * somebody asks, not half-way through being edited because a certificate was renewed at that
 * moment. */
#include "keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "conf/run_dir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longer than any handshake may take. */
#define KEEPER_RETIRE_NS	(60 * CLOCK_S)
#define KEEPER_RETIRED_MAX	16
#define KEEPER_TICKET_SECRET_NS (3600 * CLOCK_S)

/* --- a fingerprint of what changes on its own --- */

/* The change time covers content, owner and mode alike, and nobody can set it back. */
uint64_t keeper_mark_file(uint64_t mark, int dir_fd, const char *name)
{
	struct stat st;
	/* Of a directory only what is in it counts. */
	if (fstatat(dir_fd, name, &st, 0) < 0 || S_ISDIR(st.st_mode))
		return mark;
	const uint64_t facts[] = {st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_ctim.tv_sec,
		(uint64_t)st.st_ctim.tv_nsec};
	/* A sum, because a directory is listed in any order. */
	return mark + hash_bytes(hash_bytes(0, name, strlen(name)), facts, sizeof(facts));
}

/* Half written, or a key that has no certificate yet. */
static bool keeper_is_passing(const char *name)
{
	size_t len = strlen(name);
	return strstr(name, ".new-") || (len > 5 && strcmp(name + len - 5, ".next") == 0);
}

/* The files of a directory and, as there is one for each identity in some layouts, of those right
 * below it; what symbolic links lead to. */
uint64_t keeper_mark_directory(uint64_t mark, int parent_fd, const char *path, int depth)
{
	int fd = openat(parent_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return mark;
	}
	const struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || keeper_is_passing(entry->d_name))
			continue;
		mark = keeper_mark_file(mark, fd, entry->d_name);
		if (depth > 0 && entry->d_type != DT_REG)
			mark = keeper_mark_directory(mark, fd, entry->d_name, depth - 1);
	}
	closedir(dir);
	return mark;
}

static uint64_t keeper_fingerprint(const struct conf *conf)
{
	char path[PATH_MAX];
	uint64_t mark = 1;
	snprintf(path, sizeof(path), STR_FMT "/" RUN_DIR_MARKS, STR_ARG(conf->run_dir));
	mark = keeper_mark_file(mark, AT_FDCWD, path);
	mark = keeper_files_mark(&conf->state, mark);
	return keeper_keys_mark(conf, mark);
}

/* --- making --- */

static bool keeper_is_watched_kind(const struct bundle_item *item)
{
	static const char *const kinds[] = {"mark", "chain", "key", "roots", "crl", "tickets"};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (str_eq(item->kind, str_of(kinds[i])))
			return true;
	}
	return false;
}

/* Items of `from` that are not watched, into `b`. */
static int keeper_copy_items(struct bundle *b, const struct bundle *from, struct err *err)
{
	LIST_EACH (&from->items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		if (keeper_is_watched_kind(item))
			continue;
		int r = bundle_add(b, item->kind, item->name, item->text, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The configuration as it is in force, the marks as they stand on disk. The node file is not read:
 * it may be half edited, or gone. */
static int keeper_gather_watched(struct bundle *b, const struct keeper_plan *before,
	struct conf_report *report, struct err *err)
{
	int r = keeper_copy_items(b, &before->bundle, err);
	return r < 0 ? r : conf_gather_marks_of(before->conf, b, report);
}

/* The same for about an hour of plans: who has learned one cannot make tickets for ever. */
static int keeper_add_ticket_secret(struct keeper *k, struct bundle *b, struct err *err)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct str text = {(const char *)k->ticket_secret, sizeof(k->ticket_secret)};
	if (k->ticket_secret_ns == 0 || now_ns - k->ticket_secret_ns >= KEEPER_TICKET_SECRET_NS) {
		if (getrandom(k->ticket_secret, text.len, 0) != (ssize_t)text.len)
			return err_set(err, errno, "getrandom: %m");
		k->ticket_secret_ns = now_ns;
	}
	return bundle_add(b, STR("tickets"), STR("secret"), text, err);
}

static bool keeper_is_for_both(const struct bundle_item *item)
{
	static const char *const kinds[] = {"conf", "mesh", "user", "mark", "address"};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (str_eq(item->kind, str_of(kinds[i])))
			return true;
	}
	return false;
}

/* The state process's bundle: the configuration and what only it may see. */
static int keeper_mesh_gather(struct keeper *k, const struct keeper_plan *before,
	struct keeper_plan *plan, struct bundle *b, struct err *err)
{
	const struct conf_state *s = &plan->conf->state;
	struct keyring_numbers numbers = {k->next_key_number, before ? before->mesh_keyring : NULL};
	int r = 0;
	LIST_EACH (&plan->bundle.items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		if (r == 0 && keeper_is_for_both(item))
			r = bundle_add(b, item->kind, item->name, item->text, err);
	}
	if (r == 0)
		r = keeper_files_add(s, b, err);
	if (r == 0 && s->tls_certificate.len > 0 && s->tls_key.len == 0)
		r = err_set(err, EINVAL, "state.tls_certificate without state.tls_key");
	else if (r == 0 && s->tls_certificate.len > 0)
		r = keyring_load_pki(s->tls_certificate.at, s->tls_key.at, &numbers,
			&plan->mesh_keyring, b, err);
	k->next_key_number = numbers.next;
	return r;
}

static int keeper_mesh_fill(struct keeper *k, const struct keeper_plan *before,
	struct keeper_plan *plan, struct err *err)
{
	struct bundle b;
	bundle_init(&b);
	int r = keeper_mesh_gather(k, before, plan, &b, err);
	if (r == 0)
		r = keeper_keys_load_node(k, before, plan, &b, err);
	if (r == 0)
		r = plan->mesh_memfd = bundle_to_memfd(&b, err);
	bundle_done(&b);
	return r < 0 ? r : 0;
}

static int keeper_plan_fill(struct keeper *k, enum keeper_scope scope,
	const struct keeper_plan *before, struct keeper_plan *plan, struct conf_report *report,
	struct err *err)
{
	struct snapshot *snapshot = NULL;
	int r = scope == KEEPER_SCOPE_WATCHED
			? keeper_gather_watched(&plan->bundle, before, report, err)
			: conf_gather(k->conf_path, &plan->bundle, report);
	if (r == 0)
		r = conf_parse(
			&plan->bundle, NULL, plan->generation, &plan->conf, &snapshot, report);
	if (r < 0)
		return r;
	/* Parsed to know that it can be; the proxy process makes its own. */
	conf_snapshot_free(snapshot);
	if (scope == KEEPER_SCOPE_ALL)
		r = keeper_files_add_issuers(plan->conf->tokens.dir, &plan->bundle, err);
	if (r < 0)
		return r;
	/* Before the keys are read: a change that comes after that is seen as one. */
	k->watch.loaded = keeper_fingerprint(plan->conf);
	if (scope != KEEPER_SCOPE_WATCHED)
		r = keeper_external_add(plan->conf, &plan->bundle, err);
	if (r == 0)
		r = keeper_keys_load(k, scope, before, plan, err);
	if (r == 0)
		r = keeper_add_ticket_secret(k, &plan->bundle, err);
	if (r == 0)
		r = plan->memfd = bundle_to_memfd(&plan->bundle, err);
	return r < 0 ? r : keeper_mesh_fill(k, before, plan, err);
}

static void keeper_plan_explain(
	char *text, size_t size, const struct conf_report *report, const struct err *err)
{
	const char *lines = report->text ? report->text : "";
	bool ended = report->text_len == 0 || report->text[report->text_len - 1] == '\n';
	snprintf(text, size, "%s%s%s", lines, ended ? "" : "\n", err->text);
}

int keeper_plan_new(struct keeper *k, enum keeper_scope scope, const struct keeper_plan *before,
	struct keeper_plan **ret_plan, char *text, size_t size)
{
	struct conf_report report;
	struct err err = {.text = ""};
	struct keeper_plan *plan = calloc(1, sizeof(*plan));
	if (!plan) {
		snprintf(text, size, "out of memory");
		return -ENOMEM;
	}
	plan->memfd = plan->mesh_memfd = -1;
	plan->generation = k->generation + 1;
	bundle_init(&plan->bundle);
	conf_report_init(&report);
	int r = keeper_plan_fill(k, scope, before, plan, &report, &err);
	if (r == 0)
		err.text[0] = '\0'; /* of something that may be missing */
	keeper_plan_explain(text, size, &report, &err);
	conf_report_done(&report);
	if (r < 0) {
		keeper_plan_free(plan);
		return r;
	}
	k->generation = plan->generation;
	*ret_plan = plan;
	return 0;
}

static void keeper_plan_strip(struct keeper_plan *plan)
{
	if (plan->conf)
		conf_free(plan->conf);
	plan->conf = NULL;
	bundle_done(&plan->bundle);
	if (plan->memfd >= 0)
		close(plan->memfd);
	if (plan->mesh_memfd >= 0)
		close(plan->mesh_memfd);
	plan->memfd = plan->mesh_memfd = -1;
}

void keeper_plan_free(struct keeper_plan *plan)
{
	if (!plan)
		return;
	keeper_plan_strip(plan);
	keyring_free(plan->keyring);
	keyring_free(plan->mesh_keyring);
	keyring_free(plan->node_keyring);
	free(plan);
}

void keeper_plan_retire(struct keeper *k, struct keeper_plan *plan, uint64_t now_ns)
{
	if (!plan->keyring && !plan->mesh_keyring && !plan->node_keyring) {
		keeper_plan_free(plan);
		return;
	}
	keeper_plan_strip(plan);
	plan->retire_ns = now_ns + KEEPER_RETIRE_NS;
	list_add_last(&k->retired, &plan->node);
	/* Somebody reloads every second or so: the oldest go early. */
	uint32_t count = 0;
	LIST_EACH (&k->retired, it)
		count++;
	if (count > KEEPER_RETIRED_MAX)
		keeper_plan_free(CONTAINER_OF(list_pop(&k->retired), struct keeper_plan, node));
}

void keeper_plan_reap(struct keeper *k, uint64_t now_ns)
{
	while (!list_empty(&k->retired)) {
		struct keeper_plan *plan = CONTAINER_OF(k->retired.next, struct keeper_plan, node);
		if (plan->retire_ns > now_ns)
			return;
		list_remove(&plan->node);
		keeper_plan_free(plan);
	}
}

/* --- taking over --- */

static void keeper_reload_refuse(struct keeper *k, enum keeper_scope scope, const char *text)
{
	log_error("keeper", "%s refused, generation %" PRIu64 " stays:",
		scope == KEEPER_SCOPE_ALL ? "reload" : "changed certificates, marks or secrets",
		k->current->generation);
	keeper_log_text(LOG_LEVEL_ERROR, text);
	keeper_note(k, 0, text);
	notify_send(&k->notify, "%sSTATUS=reload refused, generation %" PRIu64 " stays",
		k->ready_once ? "READY=1\n" : "", k->current->generation);
}

void keeper_reload(struct keeper *k, enum keeper_scope scope, uint64_t now_ns)
{
	char text[sizeof(k->note.text)];
	struct keeper_plan *plan;
	ASSERT(!k->next);
	if (scope == KEEPER_SCOPE_ALL)
		notify_reloading(&k->notify);
	if (keeper_plan_new(k, scope, k->current, &plan, text, sizeof(text)) < 0) {
		keeper_reload_refuse(k, scope, text);
		return;
	}
	keeper_log_text(LOG_LEVEL_WARNING, text);
	keeper_log_text(LOG_LEVEL_ERROR, plan->faults.text);
	conf_restart_needed(k->current->conf, plan->conf, text, sizeof(text));
	if (text[0])
		log_warning("keeper", "takes effect with the next restart only: %s", text);
	if (scope == KEEPER_SCOPE_ALL)
		k->log_unsaid = keeper_listen_log(k, plan->conf);
	if (k->state == KEEPER_STATE_RUNNING) {
		k->next = plan;
		k->next_unsaid = true;
		return;
	}
	/* No proxy process there: the next one begins with it. */
	ASSERT(k->state == KEEPER_STATE_WAITING);
	keeper_plan_retire(k, k->current, now_ns);
	k->current = plan;
	if (k->ready_once)
		notify_send(&k->notify, "READY=1");
}

/* --- watching --- */

/* A certificate that was not valid yet is now. Like a change it is tried once. */
static bool keeper_watch_is_due(struct keeper *k)
{
	int64_t *again_s = &k->current->faults.again_s;
	if (*again_s == 0 || (int64_t)(clock_wall_ns() / CLOCK_S) < *again_s)
		return false;
	*again_s = 0;
	return true;
}

bool keeper_watch_look(struct keeper *k)
{
	if (keeper_watch_is_due(k))
		return true;
	uint64_t now = keeper_fingerprint(k->current->conf);
	bool at_rest = now == k->watch.seen;
	k->watch.seen = now;
	if (!at_rest || now == k->watch.loaded)
		return false;
	k->watch.loaded = now;
	return true;
}
