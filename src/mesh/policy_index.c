/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a service's rules may match a request, out of many: by caller first, then by what is
 * asked for.
 *
 * Each way in which a rule can name a caller (exact id, beginning of an id, range of addresses, any
 * identity, nobody, everybody) is a place; in it rules lie by one of their conditions: paths
 * (exact, beginning, template), hosts, ports or methods, whichever fewest share; or by none. A
 * request visits the few places that its caller has, and in each looks under what it asks for. All
 * paths are taken as a lenient server reads them, in rules and requests alike, so that one look-up
 * is enough for rules that deny, which ask for no more, and for those that allow, which ask for the
 * letter besides.
 *
 * What is found is judged as ever (policy_judge()), by the one source and path for which it was
 * found: here nothing is decided, and a rule too many does no harm. Therefore keys are hashes and
 * nothing else, and what is too deep for the index is looked for where it is deepest.
 *
 * A template lies by the segments that it spells out, and where they stand: few such shapes are in
 * use. To the letter any path has such segments, so that rules that allow need no more. Those that
 * deny have to do with each odd path that begins as they do: they lie once more, by that, in a
 * place of their own within the first. So do they for requests that do not say what they lie by,
 * and so does each rule behind a list in which very many would lie. In such places they lie by
 * another condition, or by none.
 *
 * What is left are rules of one list, found together. They lie sorted by what they say and how
 * exactly they name the caller, and no more of them are judged once those that are left could not
 * change anything: of rules that all match the first is enough.
 *
 *   places   hash of the caller -> struct policy_place
 *   lists    hash of place and what is asked for -> rules */
#include "policy_index.h"

struct policy_search {
	struct policy_weighed *weighed;
	const struct service *service;
	struct policy_asked asked;
	/* Of a rule with a place of its own: the source for which it was found. */
	const struct source *source;
	uint32_t rank;
	bool of_caller; /* what he may at best */
	uint32_t known; /* bit by POLICY_BY */
	struct policy_key_path path;
	uint64_t shaped[POLICY_SHAPES_MAX], spelt[POLICY_SHAPES_MAX];
	uint32_t has_shaped, has_spelt; /* bit by shape: that the path has so many segments */
	struct policy_key_host host;
};

/* `left`: bit by POLICY_BY, of what rules may lie by there. */
static void policy_ask_place(struct policy_search *search, uint64_t hash, uint32_t left);

/* --- lists --- */

/* Whether it could still change what it comes to; and so those that say the same after it. */
static bool policy_hit_matters(const struct policy_search *search, const struct policy_hit *hit)
{
	const struct policy *p = search->service->policies[hit->rule];
	uint32_t rank = search->source ? search->rank : hit->rank;
	if (search->of_caller)
		return policy_outweighs(&search->weighed->enforced, p, hit->rule, rank);
	return policy_matters(search->weighed, p, hit->rule, rank);
}

/* Another that asks for a token has said as much; one beside it that asks for none has not. */
static bool policy_hit_is_said(const struct policy_search *search, const struct policy_hit *hit)
{
	const struct policy *p = search->service->policies[hit->rule];
	const struct policy_weighed *of = policy_weighed_for(search->weighed, &search->asked, p);
	uint32_t rank = search->source ? search->rank : hit->rank;
	return of != search->weighed && !policy_matters(of, p, hit->rule, rank);
}

/* The next one that has to be judged; NULL: none. */
static const struct policy_hit *policy_hit_next(
	const struct policy_search *search, struct policy_hits list, uint32_t *at)
{
	while (*at < list.first + list.count) {
		const struct policy_hit *hit = &search->service->policy_index->hits[(*at)++];
		if (!policy_hit_matters(search, hit))
			*at = hit->next;
		else if (!policy_hit_is_said(search, hit))
			return hit;
	}
	return NULL;
}

static void policy_ask_list(struct policy_search *search, struct policy_hits list)
{
	uint32_t at = list.first;
	for (const struct policy_hit *hit; (hit = policy_hit_next(search, list, &at));) {
		search->asked.source = hit->source ? hit->source : search->source;
		search->asked.path = hit->path;
		if (search->of_caller)
			policy_judge_caller(
				search->weighed, search->service, hit->rule, &search->asked);
		else
			policy_judge(search->weighed, search->service, hit->rule, &search->asked);
	}
}

/* Of rules that have places of their own. */
static void policy_ask_many(struct policy_search *search, struct policy_hits list)
{
	uint32_t at = list.first;
	for (const struct policy_hit *hit; (hit = policy_hit_next(search, list, &at));) {
		search->source = hit->source;
		search->rank = hit->rank;
		policy_ask_place(search, policy_key(hit->rule, PLACE_RULE, 0), POLICY_BY_ALL);
		search->source = NULL;
	}
}

static void policy_ask_key(
	struct policy_search *search, uint64_t place, uint64_t key, uint32_t left)
{
	const struct policy_index *x = search->service->policy_index;
	search->weighed->steps++;
	if (!policy_list_may_be(x, place, key))
		return;
	const struct policy_list *list = policy_list_at(x, place, key);
	policy_ask_list(search, list->hits);
	if (list->is_door)
		policy_ask_place(search, policy_key_behind(place, key), left);
}

/* --- places --- */

/* Those that lie under what the path begins with. */
static void policy_ask_below(
	struct policy_search *search, const struct policy_place *place, uint32_t left)
{
	uint32_t odd = search->asked.is_odd ? place->odd : 0;
	for (uint32_t depth = 0; (place->below | odd) >> depth && depth <= search->path.depth;
		depth++) {
		uint64_t start = search->path.below[depth];
		if (place->below >> depth & 1)
			policy_ask_key(
				search, place->hash, policy_key(start, LIST_BELOW, depth), left);
		if (odd >> depth & 1)
			policy_ask_place(search, policy_key_odd(place->hash, start, depth), left);
	}
}

static void policy_ask_path(
	struct policy_search *search, const struct policy_place *place, uint32_t left)
{
	if (place->has_exact)
		policy_ask_key(
			search, place->hash, policy_key(search->path.whole, LIST_EXACT, 0), left);
	policy_ask_below(search, place, left);
	uint32_t shaped = search->asked.is_odd ? 0 : place->shaped & search->has_shaped;
	uint32_t spelt = place->spelt & search->has_spelt;
	for (uint32_t i = 0; (shaped | spelt) >> i; i++) {
		if (shaped >> i & 1)
			policy_ask_key(search, place->hash, search->shaped[i], left);
		if (spelt >> i & 1)
			policy_ask_key(search, place->hash, search->spelt[i], left);
	}
}

static void policy_ask_host(
	struct policy_search *search, const struct policy_place *place, uint32_t left)
{
	const struct policy_host *host = &search->asked.host;
	policy_ask_key(search, place->hash, search->host.whole, left);
	if (host->kind == POLICY_HOST_ADDRESS)
		policy_ask_key(search, place->hash, policy_key_address(&host->address), left);
	for (uint32_t i = 0; i < search->host.depth; i++)
		policy_ask_key(search, place->hash, search->host.domains[i], left);
}

static void policy_ask_by(struct policy_search *search, const struct policy_place *place,
	enum policy_by by, uint32_t left)
{
	const struct policy_request *request = search->asked.request;
	if (!(search->known >> by & 1)) {
		policy_ask_place(search, policy_key(place->hash, PLACE_UNKNOWN, by), left);
		return;
	}
	switch (by) {
	case POLICY_BY_PATH:
		policy_ask_path(search, place, left);
		break;
	case POLICY_BY_HOST:
		policy_ask_host(search, place, left);
		break;
	case POLICY_BY_PORT:
		policy_ask_key(search, place->hash, policy_key_port(request->port), left);
		break;
	case POLICY_BY_METHOD:
		policy_ask_key(search, place->hash, policy_key_method(request->http->method), left);
		break;
	case POLICY_BYS:
		break;
	}
}

static void policy_ask_place(struct policy_search *search, uint64_t hash, uint32_t left)
{
	const struct policy_place *place = policy_place_at(search->service->policy_index, hash);
	search->weighed->steps++;
	if (place->hash == 0)
		return;
	policy_ask_list(search, place->always);
	if (!search->source)
		policy_ask_many(search, place->many);
	for (uint32_t by = 0; (place->by & left) >> by; by++) {
		if ((place->by & left) >> by & 1)
			policy_ask_by(search, place, (enum policy_by)by, left & ~(1u << by));
	}
}

/* --- callers --- */

static void policy_ask_caller(struct policy_search *search, uint64_t place)
{
	if (search->of_caller)
		policy_ask_place(search, policy_key(place, PLACE_CALLER, 0), 1u << POLICY_BY_PORT);
	else
		policy_ask_place(search, place, POLICY_BY_ALL);
}

static void policy_ask_identified(struct policy_search *search, struct str id)
{
	const struct policy_index *x = search->service->policy_index;
	struct policy_key_path key;
	policy_key_id(&key, id);
	policy_ask_caller(search, policy_key(0, PLACE_IDENTIFIED, 0));
	policy_ask_caller(search, policy_key(key.whole, PLACE_ID, 0));
	for (uint32_t depth = 0; x->under >> depth && depth <= key.depth; depth++) {
		if (x->under >> depth & 1)
			policy_ask_caller(search, policy_key(key.below[depth], PLACE_UNDER, depth));
	}
}

static void policy_ask_anonymous(struct policy_search *search, const struct address *client)
{
	const struct policy_index *x = search->service->policy_index;
	policy_ask_caller(search, policy_key(0, PLACE_NOBODY, 0));
	policy_ask_caller(search, policy_key(0, PLACE_UNNAMED, 0));
	if (client->family == 0)
		policy_ask_caller(search, policy_key(0, PLACE_UNPLACED, 0));
	for (uint32_t i = 0; i < x->range_count; i++) {
		if (x->ranges[i].base.family == client->family)
			policy_ask_caller(
				search, policy_key_range(client, x->ranges[i].prefix_len));
	}
}

static void policy_ask_callers(struct policy_search *search)
{
	const struct policy_request *request = search->asked.request;
	*search->weighed = search->service->policy_index->empty;
	policy_ask_caller(search, policy_key(0, PLACE_EVERYBODY, 0));
	if (request->source_id.len > 0)
		policy_ask_identified(search, request->source_id);
	else
		policy_ask_anonymous(search, &request->client);
}

/* --- requests --- */

static void policy_search_path(struct policy_search *search, struct str path)
{
	const struct policy_index *x = search->service->policy_index;
	struct policy_spelt letters = {.depth = 0};
	policy_key_path(&search->path, path);
	search->asked.is_odd = search->path.is_odd;
	if (x->shape_count > 0)
		policy_spell_path(&letters, path);
	for (uint32_t i = 0; i < x->shape_count; i++) {
		uint32_t shape = x->shapes[i];
		if (!(shape >> letters.depth)) {
			search->spelt[i] = policy_key_shape(letters.segments, shape, LIST_SPELT);
			search->has_spelt |= 1u << i;
		}
		if (!search->asked.is_odd && !(shape >> search->path.depth)) {
			search->shaped[i] =
				policy_key_shape(search->path.segments, shape, LIST_SHAPED);
			search->has_shaped |= 1u << i;
		}
	}
}

static void policy_search_http(struct policy_search *search, const struct route_request *http)
{
	search->asked.host = policy_host_of(http->authority);
	if (http->path.len > 0) {
		policy_search_path(search, http->path);
		search->known |= 1u << POLICY_BY_PATH;
	}
	if (search->asked.host.kind != POLICY_HOST_UNKNOWN) {
		policy_key_host(&search->host, search->asked.host.text);
		search->known |= 1u << POLICY_BY_HOST;
	}
	if (http->method.len > 0)
		search->known |= 1u << POLICY_BY_METHOD;
}

static void policy_search_init(struct policy_search *search, struct policy_weighed *weighed,
	const struct service *service, const struct policy_request *request)
{
	search->weighed = weighed;
	search->service = service;
	search->asked = (struct policy_asked){.request = request};
	search->source = NULL;
	search->rank = 0;
	search->of_caller = false;
	search->known = request->port ? 1u << POLICY_BY_PORT : 0;
	search->has_shaped = search->has_spelt = 0;
}

void policy_index_ask(struct policy_weighed *weighed, struct policy_open *open,
	const struct service *service, const struct policy_request *request)
{
	struct policy_search search; /* the keys are filled as far as they are known */
	policy_search_init(&search, weighed, service, request);
	search.asked.open = open;
	if (request->http)
		policy_search_http(&search, request->http);
	policy_ask_callers(&search);
}

void policy_index_ask_caller(struct policy_weighed *weighed, const struct service *service,
	const struct policy_request *request)
{
	struct policy_search search;
	policy_search_init(&search, weighed, service, request);
	search.of_caller = true;
	policy_ask_callers(&search);
}

/* --- what is wanted of a request --- */

struct policy_wants policy_wants(const struct service *service)
{
	return service->policy_index ? service->policy_index->wants : policy_wants_of(service);
}

bool policy_index_asks_header(const struct policy_index *x, struct str name)
{
	return *policy_header_at(x, policy_key_header(name)) != 0;
}
