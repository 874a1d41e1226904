/* SPDX-License-Identifier: Apache-2.0 */
/* How it stands with the keys of the issuers of tokens: no key of theirs means that no token of
 * theirs is good. */
#include "page.h"

#include "jwt/jwt.h"
#include "mesh/issuer.h"
#include "proxy/facts.h"

/* What is known of its keys, from where they come now. */
static struct facts_issuer page_issuer_facts(const struct facts *f, const struct issuer *issuer)
{
	struct facts_issuer is;
	for (uint32_t i = 0; facts_issuer_at(f, i, &is); i++) {
		if (str_eq(is.name, issuer->name) && str_eq(is.url, issuer->url))
			return is;
	}
	return (struct facts_issuer){
		.why = issuer->url.len > 0 ? STR_NONE : STR("no file in tokens.dir")};
}

static void page_put_text(struct json *j, const char *key, struct str value)
{
	json_key(j, key);
	json_str(j, value.len > 0 ? value : STR(""));
}

static void page_put_issuer(struct json *j, const struct issuer *issuer, const struct facts *f)
{
	struct facts_issuer is = page_issuer_facts(f, issuer);
	if (!is.keys && is.why.len == 0)
		is.why = STR("not fetched yet");
	json_open(j, '{');
	page_put_str(j, "name", issuer->name);
	page_put_str(j, "issuer", issuer->issuer);
	page_put_text(j, "url", issuer->url);
	page_put_u64(j, "keys", is.keys ? jwk_set_count(is.keys) : 0);
	page_put_u64(j, "fetched", is.fetched_s);
	page_put_u64(j, "failing_since", is.failing_s);
	page_put_text(j, "error", is.why);
	json_close(j, '}');
}

void page_put_issuers(const struct page_source *source, struct json *j)
{
	const struct proxy *p = source->proxy;
	json_key(j, "issuers");
	json_open(j, '[');
	for (uint32_t i = 0; p->plan && i < p->plan->snapshot->issuer_count; i++)
		page_put_issuer(j, &p->plan->snapshot->issuers[i], p->facts);
	json_close(j, ']');
}
