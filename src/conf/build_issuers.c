/* SPDX-License-Identifier: Apache-2.0 */
/* Issuers of tokens from rows. What would let a token of one pass for a token of another, or have
 * this machine ask whom it should not, is an error here. */
#include "base/url.h"
#include "build_routes.h"
#include "mesh/identity.h"
#include "mesh/issuer.h"
#include "mesh/policy.h"

static void conf_issuer_check_url(struct conf_parser *p, const struct conf_issuer_row *row)
{
	struct url url;
	const char *why = row->url.len > 0 ? url_https(row->url, &url) : NULL;
	if (why)
		conf_error(p, row->setting, "jwks_url", "\"%.*s\": %s", STR_ARG(row->url), why);
}

/* Against those before it. */
static void conf_issuer_check_others(
	struct conf_parser *p, const struct conf_issuer_row *row, const struct issuer *issuer)
{
	const struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; i < s->issuer_count; i++) {
		const struct issuer *other = &s->issuers[i];
		if (str_eq(other->name, issuer->name))
			conf_error(p, row->setting, "name", "\"%.*s\" is an issuer's name already",
				STR_ARG(issuer->name));
		if (str_eq(other->issuer, issuer->issuer))
			conf_error(p, row->setting, "issuer",
				"is that of \"%.*s\", too: of a token nobody could tell whose it "
				"is",
				STR_ARG(other->name));
		if (str_eq_nocase(other->header, issuer->header) &&
			other->is_forwarded != issuer->is_forwarded)
			conf_error(p, row->setting, "forward",
				"is otherwise for \"%.*s\", which has the same header",
				STR_ARG(other->name));
	}
}

static void conf_issuer_build(struct conf_parser *p, const struct conf_issuer_row *row)
{
	struct snapshot *s = p->snapshot;
	struct issuer *issuer = &s->issuers[s->issuer_count];
	*issuer = (struct issuer){.name = row->name,
		.issuer = row->issuer,
		.audiences = row->audiences,
		.audience_count = row->audience_count,
		.url = row->url,
		.header = row->header,
		.leeway_s = row->leeway_ms / 1000,
		.is_forwarded = row->is_forwarded};
	if (row->name.len > 0 && !identity_service_valid(row->name))
		conf_error(p, row->setting, "name",
			"\"%.*s\" is no issuer's name: lower-case letters, digits and '-' inside, "
			"at most %d",
			STR_ARG(row->name), IDENTITY_SERVICE_MAX);
	conf_issuer_check_url(p, row);
	conf_check_header_name(p, row->setting, "header", row->header);
	if (row->name.len > 0 && row->issuer.len > 0)
		conf_issuer_check_others(p, row, issuer);
	if (s->issuer_count == ISSUERS_MAX)
		conf_error(p, row->setting, NULL, "more than %d issuers", ISSUERS_MAX);
	s->issuer_count++;
}

void conf_build_issuers(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t count = 0;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.issuer_count;
	s->issuers = conf_build_array(p, count, sizeof(*s->issuers));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.issuer_count; i++)
			conf_issuer_build(p, &p->mesh[f].mesh.issuers[i]);
	}
}

/* --- who names them --- */

static bool conf_issuer_is_known(const struct snapshot *s, struct str name)
{
	for (uint32_t i = 0; i < s->issuer_count; i++) {
		if (str_eq(s->issuers[i].name, name))
			return true;
	}
	return false;
}

/* A node that has not heard of it yet, or not any more, knows no token of it. */
void conf_check_issuer_names(struct conf_parser *p, const config_setting_t *setting,
	const struct str *names, uint32_t count)
{
	char mean[128];
	for (uint32_t i = 0; i < count; i++) {
		if (names[i].len == 0 || conf_issuer_is_known(p->snapshot, names[i]))
			continue;
		struct conf_guess guess = conf_guess(names[i]);
		for (uint32_t k = 0; k < p->snapshot->issuer_count; k++)
			conf_guess_offer(&guess, p->snapshot->issuers[k].name);
		conf_guess_text(&guess, mean, sizeof(mean));
		if (p->with_store && !p->published)
			conf_warning(p, setting, "issuers",
				"there is no issuer \"%.*s\" in the mesh%s", STR_ARG(names[i]),
				mean);
		else
			conf_error(p, setting, "issuers",
				"there is no issuer \"%.*s\" in the mesh%s", STR_ARG(names[i]),
				mean);
	}
}
