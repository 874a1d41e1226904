/* SPDX-License-Identifier: Apache-2.0 */
/* Words are parted by one space, lines end in a line feed, the last one too: what was cut off on
 * its way is no record. */
#include "mesh/record.h"

#include "mesh/identity.h"
#include <errno.h>
#include <stdio.h>

#define RECORD_FORMAT	  "ringmain 1"
#define RECORD_WEIGHT_MAX 1000
#define RECORD_LINE_SHOWN 80 /* bytes of a wrong line that the error shows */

/* Each of these stands once. */
enum record_fact {
	RECORD_NODE,
	RECORD_START,
	RECORD_NUMBER,
	RECORD_ZONE,
	RECORD_VERSION,
	RECORD_REVISION,
	RECORD_FACT_COUNT
};
static const char *const record_facts[RECORD_FACT_COUNT] = {
	"node", "start", "number", "zone", "version", "revision"};
#define RECORD_REQUIRED (1u << RECORD_NODE | 1u << RECORD_START | 1u << RECORD_NUMBER)

struct record_reader {
	struct arena *arena;
	struct record record;
	struct str line, words; /* the line in hand, and what is left of it */
	unsigned line_number;
	unsigned facts;	 /* bits of those that came */
	const char *why; /* the line is wrong, NULL: it is not */
	bool is_out_of_memory;
};

static bool record_is_printable(char c)
{
	return c > ' ' && c < 0x7f;
}

bool record_node_valid(struct str name)
{
	if (name.len == 0 || name.len > RECORD_NODE_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}

bool record_word_valid(struct str word)
{
	if (word.len == 0 || word.len > RECORD_WORD_MAX || str_eq(word, STR("-")))
		return false;
	for (size_t i = 0; i < word.len; i++) {
		if (!record_is_printable(word.at[i]))
			return false;
	}
	return true;
}

bool record_newer(const struct record *a, const struct record *b)
{
	return a->start != b->start ? a->start > b->start : a->number > b->number;
}

/* --- from text --- */

/* What stands before the next `end`, which is passed over; all of it when there is none. */
static struct str record_cut(struct str *from, char end)
{
	const char *at = from->len ? memchr(from->at, end, from->len) : NULL;
	struct str part = {from->at, at ? (size_t)(at - from->at) : from->len};
	size_t used = part.len + (at ? 1 : 0);
	*from = (struct str){from->at + used, from->len - used};
	return part;
}

static bool record_fail(struct record_reader *r, const char *why)
{
	r->why = why;
	return false;
}

static bool record_keep(struct record_reader *r, struct str text, struct str *ret_text)
{
	*ret_text = arena_str(r->arena, text);
	r->is_out_of_memory = r->is_out_of_memory || !ret_text->at;
	return ret_text->at;
}

static bool record_read_fact(struct record_reader *r, enum record_fact fact)
{
	uint64_t number = 0;
	struct str word = r->words;
	if (r->facts & 1u << fact)
		return record_fail(r, "stands there twice");
	r->facts |= 1u << fact;
	switch (fact) {
	case RECORD_NODE:
		return record_node_valid(word) ? record_keep(r, word, &r->record.node)
					       : record_fail(r, "not a node's name");
	case RECORD_ZONE:
		return record_word_valid(word) ? record_keep(r, word, &r->record.zone)
					       : record_fail(r, "not a zone");
	case RECORD_VERSION:
		return record_word_valid(word) ? record_keep(r, word, &r->record.version)
					       : record_fail(r, "not a version");
	case RECORD_START:
	case RECORD_NUMBER:
	case RECORD_REVISION:
		if (!str_to_u64(word, &number))
			return record_fail(r, "not a number");
		*(fact == RECORD_START		? &r->record.start
			: fact == RECORD_NUMBER ? &r->record.number
						: &r->record.revision) = number;
		return true;
	case RECORD_FACT_COUNT:
		break;
	}
	return true;
}

static bool record_read_health(struct str word, enum endpoint_health *ret_health)
{
	static const enum endpoint_health healths[] = {
		ENDPOINT_UP, ENDPOINT_DOWN, ENDPOINT_DRAINED};
	for (size_t i = 0; i < ARRAY_LEN(healths); i++) {
		if (str_eq(word, str_of(endpoint_health_name(healths[i])))) {
			*ret_health = healths[i];
			return true;
		}
	}
	return false;
}

static bool record_read_addresses(struct record_reader *r, struct record_endpoint *e)
{
	struct address found[RECORD_ADDRESSES_MAX];
	while (r->words.len > 0) {
		struct address a;
		if (!address_port_parse(record_cut(&r->words, ' '), &a) || a.port == 0)
			return record_fail(r, "not an address with port");
		if (e->address_count == RECORD_ADDRESSES_MAX)
			return record_fail(r, "too many addresses");
		found[e->address_count++] = a;
	}
	if (e->address_count == 0)
		return record_fail(r, "no address");
	size_t bytes = e->address_count * sizeof(*found);
	e->addresses = arena_take(r->arena, bytes);
	if (e->addresses)
		memcpy(e->addresses, found, bytes);
	r->is_out_of_memory = r->is_out_of_memory || !e->addresses;
	return e->addresses;
}

static bool record_read_endpoint(struct record_reader *r)
{
	if (r->record.endpoint_count == RECORD_ENDPOINTS_MAX)
		return record_fail(r, "too many endpoints");
	struct record_endpoint *e = &r->record.endpoints[r->record.endpoint_count++];
	struct str service = record_cut(&r->words, ' '), version = record_cut(&r->words, ' ');
	uint64_t weight;
	if (!identity_service_valid(service))
		return record_fail(r, "not a service's name");
	if (!str_eq(version, STR("-")) && !record_word_valid(version))
		return record_fail(r, "not a version");
	if (!record_read_health(record_cut(&r->words, ' '), &e->health))
		return record_fail(r, "not a health");
	if (!str_to_u64(record_cut(&r->words, ' '), &weight) || weight == 0 ||
		weight > RECORD_WEIGHT_MAX)
		return record_fail(r, "not a weight");
	e->weight = (uint32_t)weight;
	return record_keep(r, service, &e->service) &&
	       (str_eq(version, STR("-")) || record_keep(r, version, &e->version)) &&
	       record_read_addresses(r, e);
}

static bool record_read_line(struct record_reader *r)
{
	struct str word = record_cut(&r->words, ' ');
	if (str_eq(word, STR("endpoint")))
		return record_read_endpoint(r);
	for (enum record_fact fact = 0; fact < RECORD_FACT_COUNT; fact++) {
		if (str_eq(word, str_of(record_facts[fact])))
			return record_read_fact(r, fact);
	}
	return true;
}

static bool record_read(struct record_reader *r, struct str text)
{
	bool is_first = true;
	while (text.len > 0) {
		r->line_number++;
		r->line = r->words = record_cut(&text, '\n');
		if (is_first && !str_eq(r->line, STR(RECORD_FORMAT)))
			return record_fail(r, "not the format \"" RECORD_FORMAT "\"");
		if (!is_first && !record_read_line(r))
			return false;
		is_first = false;
	}
	return true;
}

static size_t record_count_endpoints(struct str text)
{
	size_t count = 0;
	while (text.len > 0 && count < RECORD_ENDPOINTS_MAX)
		count += str_starts(record_cut(&text, '\n'), STR("endpoint "));
	return count;
}

/* Others' bytes go into logs: only what prints. */
static const char *record_line_shown(struct str line, char text[RECORD_LINE_SHOWN + 1])
{
	size_t len = line.len < RECORD_LINE_SHOWN ? line.len : RECORD_LINE_SHOWN;
	for (size_t i = 0; i < len; i++)
		text[i] = record_is_printable(line.at[i]) || line.at[i] == ' ' ? line.at[i] : '?';
	text[len] = '\0';
	return text;
}

int record_parse(struct str text, struct arena *arena, struct record *ret_record, struct err *err)
{
	struct record_reader r = {.arena = arena};
	char shown[RECORD_LINE_SHOWN + 1];
	if (text.len == 0 || text.len > RECORD_BYTES_MAX || text.at[text.len - 1] != '\n')
		return err_set(err, EINVAL, "%s",
			text.len == 0		      ? "empty record"
			: text.len > RECORD_BYTES_MAX ? "longer than a record may be"
						      : "cut off in the middle of a line");
	r.record.endpoints =
		arena_take(arena, (record_count_endpoints(text) + 1) * sizeof(*r.record.endpoints));
	if (!r.record.endpoints || (!record_read(&r, text) && r.is_out_of_memory))
		return err_set(err, ENOMEM, "out of memory");
	if (r.why)
		return err_set(err, EINVAL, "line %u, \"%s\": %s", r.line_number,
			record_line_shown(r.line, shown), r.why);
	for (enum record_fact fact = 0; fact < RECORD_FACT_COUNT; fact++) {
		if (RECORD_REQUIRED & ~r.facts & 1u << fact)
			return err_set(err, EINVAL, "no line \"%s\"", record_facts[fact]);
	}
	*ret_record = r.record;
	return 0;
}

/* --- to text --- */

struct record_writer {
	char *text; /* NULL: only counted */
	size_t len;
};

static void record_put(struct record_writer *w, struct str s)
{
	if (w->text && s.len > 0)
		memcpy(w->text + w->len, s.at, s.len);
	w->len += s.len;
}

static void record_put_number(struct record_writer *w, const char *before, uint64_t number)
{
	char text[48];
	snprintf(text, sizeof(text), "%s %llu", before, (unsigned long long)number);
	record_put(w, str_of(text));
}

static void record_put_word(struct record_writer *w, const char *before, struct str word)
{
	record_put(w, str_of(before));
	record_put(w, STR(" "));
	record_put(w, word);
}

static void record_put_endpoint(struct record_writer *w, const struct record_endpoint *e)
{
	char text[ADDRESS_TEXT_MAX];
	record_put_word(w, "endpoint", e->service);
	record_put_word(w, "", e->version.len > 0 ? e->version : STR("-"));
	record_put_word(w, "", str_of(endpoint_health_name(e->health)));
	record_put_number(w, "", e->weight);
	for (uint32_t i = 0; i < e->address_count; i++)
		record_put_word(w, "", str_of(address_text(&e->addresses[i], text)));
	record_put(w, STR("\n"));
}

static void record_put_all(struct record_writer *w, const struct record *record)
{
	record_put(w, STR(RECORD_FORMAT "\n"));
	record_put_word(w, "node", record->node);
	record_put_number(w, "\nstart", record->start);
	record_put_number(w, "\nnumber", record->number);
	if (record->zone.len > 0)
		record_put_word(w, "\nzone", record->zone);
	if (record->version.len > 0)
		record_put_word(w, "\nversion", record->version);
	record_put_number(w, "\nrevision", record->revision);
	record_put(w, STR("\n"));
	for (uint32_t i = 0; i < record->endpoint_count; i++)
		record_put_endpoint(w, &record->endpoints[i]);
}

struct str record_text(struct arena *arena, const struct record *record)
{
	struct record_writer w = {0};
	record_put_all(&w, record);
	char *text = w.len <= RECORD_BYTES_MAX ? arena_take(arena, w.len + 1) : NULL;
	if (!text)
		return STR_NONE;
	w = (struct record_writer){.text = text};
	record_put_all(&w, record);
	return (struct str){w.text, w.len};
}
