/* SPDX-License-Identifier: Apache-2.0 */
/* Where certificates come from: a directory of files that somebody else writes, or the keeper's own
 * with what an authority has given. Of the latter the workloads' are for the proxy process, the
 * machine's own for the state process; neither sees the other's. */
#include "keeper.h"

#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

static bool keeper_keys_kept(const struct conf *conf)
{
	return conf->authority.server_count > 0;
}

/* Each once: several workloads may be of one service. In memory of the configuration's. */
static int keeper_keys_identities(struct conf *conf, struct keyring_keep *from, struct err *err)
{
	struct str *list = arena_take(&conf->arena, (conf->workload_count + 1) * sizeof(*list));
	uint32_t count = 0;
	if (!list)
		return err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < conf->workload_count; i++) {
		struct str path = conf->workloads[i].identity;
		bool is_again = false;
		for (uint32_t j = 0; j < count; j++)
			is_again = is_again || str_eq(list[j], path);
		if (path.len > 0 && !is_again)
			list[count++] = path;
	}
	from->identities = list;
	from->identity_count = count;
	return 0;
}

static struct keyring_keep keeper_keys_from(const struct conf *conf)
{
	return (struct keyring_keep){.dir = conf->authority.keep_dir.at,
		.trust_domain = conf->trust_domain,
		.federates = conf->authority.federates,
		.federate_count = conf->authority.federate_count};
}

int keeper_keys_load_kept(struct conf *conf, const struct bundle *in_force,
	struct keyring_numbers *numbers, struct keyring **ret_keyring, struct bundle *b,
	struct err *err)
{
	struct keyring_keep from = keeper_keys_from(conf);
	from.in_force = in_force;
	int r = keeper_keys_identities(conf, &from, err);
	return r < 0 ? r : keyring_load_keep(&from, numbers, ret_keyring, b, err);
}

static int keeper_keys_load_from(enum keeper_scope scope, const struct keeper_plan *before,
	struct keeper_plan *plan, struct keyring_numbers *numbers, struct err *err)
{
	struct conf *conf = plan->conf;
	if (keeper_keys_kept(conf))
		return keeper_keys_load_kept(conf, before ? &before->bundle : NULL, numbers,
			&plan->keyring, &plan->bundle, err);
	if (conf->certificate_dir.len == 0)
		return 0;
	if (before)
		return (scope == KEEPER_SCOPE_WATCHED ? keyring_renew : keyring_reload)(
			conf->certificate_dir.at, conf->trust_domain,
			&(struct keyring_in_force){before->keyring, &before->bundle}, numbers,
			&plan->keyring, &plan->bundle, &plan->faults, err);
	return keyring_load(conf->certificate_dir.at, conf->trust_domain, numbers, &plan->keyring,
		&plan->bundle, err);
}

int keeper_keys_load(struct keeper *k, enum keeper_scope scope, const struct keeper_plan *before,
	struct keeper_plan *plan, struct err *err)
{
	struct keyring_numbers numbers = {k->next_key_number, before ? before->keyring : NULL};
	int r = keeper_keys_load_from(scope, before, plan, &numbers, err);
	k->next_key_number = numbers.next;
	return r;
}

/* --- for the state process --- */

/* What is in force in the proxy process, to know when the next is due. */
static int keeper_keys_copy(const struct bundle *from, struct bundle *b, struct err *err)
{
	static const char *const kinds[] = {"chain", "roots", "crl"};
	const struct bundle_item *item = NULL;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		while ((item = bundle_next(from, kinds[i], item))) {
			int r = bundle_add(b, item->kind, item->name, item->text, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* For the authority's server: the anchors of a file, or the mesh's own. */
static int keeper_keys_add_roots(const struct keeper_plan *plan, struct bundle *b, struct err *err)
{
	const struct conf *conf = plan->conf;
	const struct bundle_item *own = bundle_find(&plan->bundle, "roots", conf->trust_domain);
	if (conf->authority.roots.len > 0)
		return keeper_files_add_public(b, "est", STR("roots"), conf->authority.roots, err);
	if (own)
		return bundle_add(b, STR("est"), STR("roots"), own->text, err);
	return err_set(err, ENOENT,
		"there are no trust anchors in " STR_FMT "; run `ringmain join` as root",
		STR_ARG(conf->authority.keep_dir));
}

static int keeper_keys_add_node(struct keeper *k, const struct keeper_plan *before,
	struct keeper_plan *plan, struct bundle *b, struct err *err)
{
	struct keyring_keep from = keeper_keys_from(plan->conf);
	struct str identity =
		arena_printf(&plan->conf->arena, "node/" STR_FMT, STR_ARG(plan->conf->node_name));
	const struct bundle_item *roots =
		bundle_find(&plan->bundle, "roots", plan->conf->trust_domain);
	from.roots = roots ? roots->text : STR_NONE;
	int r = keeper_keys_add_roots(plan, b, err);
	struct keyring_numbers numbers = {k->next_key_number, before ? before->node_keyring : NULL};
	if (r == 0)
		r = keyring_load_node(&from, identity, &numbers, &plan->node_keyring, b, err);
	k->next_key_number = numbers.next;
	return r;
}

int keeper_keys_load_node(struct keeper *k, const struct keeper_plan *before,
	struct keeper_plan *plan, struct bundle *b, struct err *err)
{
	if (!keeper_keys_kept(plan->conf))
		return 0;
	int r = keeper_keys_add_node(k, before, plan, b, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT)
		log_error("keeper",
			"certificates are not asked for, and those in force, if any, will end: %s "
			"(no restart is needed then)",
			err->text);
	err->text[0] = '\0';
	return keeper_keys_copy(&plan->bundle, b, err);
}

/* --- what changes on its own --- */

uint64_t keeper_keys_mark(const struct conf *conf, uint64_t mark)
{
	struct str dir = keeper_keys_kept(conf) ? conf->authority.keep_dir : conf->certificate_dir;
	if (dir.len == 0)
		return mark;
	mark = keeper_mark_directory(mark, AT_FDCWD, dir.at, 1);
	if (keeper_keys_kept(conf) && conf->authority.roots.len > 0)
		mark = keeper_mark_file(mark, AT_FDCWD, conf->authority.roots.at);
	return mark;
}
