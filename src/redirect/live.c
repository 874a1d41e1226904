/* SPDX-License-Identifier: Apache-2.0 */
#include "live.h"

#include "rules.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const table_names[TABLE_COUNT] = {
	[TABLE_MANGLE] = "mangle",
	[TABLE_NAT] = "nat",
	[TABLE_FILTER] = "filter",
};

const char *table_name(enum table table)
{
	return table_names[table];
}

static bool live_contains(struct str text, const char *part)
{
	return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

/* The word at the start; *rest is what follows its space. */
static struct str live_word(struct str text, struct str *rest)
{
	size_t len = 0;
	while (len < text.len && text.at[len] != ' ')
		len++;
	size_t taken = len < text.len ? len + 1 : len;
	*rest = (struct str){text.at + taken, text.len - taken};
	return (struct str){text.at, len};
}

/* The number behind `option` ("--uid-owner "), or false. */
static bool live_option(struct str text, const char *option, uint64_t *ret_number)
{
	const char *found = memmem(text.at, text.len, option, strlen(option));
	if (!found)
		return false;
	found += strlen(option);
	struct str rest, tail = {found, text.len - (size_t)(found - text.at)};
	struct str word = live_word(tail, &rest);
	return str_to_u64(word, ret_number);
}

static bool live_grow(void **all, uint32_t count, uint32_t *size, size_t item_bytes)
{
	if (count < *size)
		return true;
	uint32_t grown = *size ? *size * 2 : 32;
	void *moved = realloc(*all, grown * item_bytes);
	if (!moved)
		return false;
	*all = moved;
	*size = grown;
	return true;
}

static bool live_add_chain(struct live *l, enum table table, struct str line)
{
	struct str rest;
	struct str name = live_word((struct str){line.at + 1, line.len - 1}, &rest);
	if (!str_starts(name, STR(RULES_PREFIX)))
		return true;
	if (!live_grow((void **)&l->chains, l->chain_count, &l->chain_size, sizeof(*l->chains)))
		return false;
	l->chains[l->chain_count++] = (struct live_chain){table, name};
	return true;
}

/* "[packets:bytes] " off the front of a line. */
static uint64_t live_take_counters(struct str *line)
{
	uint64_t packets = 0;
	struct str rest;
	if (line->len == 0 || line->at[0] != '[')
		return 0;
	struct str word = live_word(*line, &rest);
	const char *colon = memchr(word.at, ':', word.len);
	if (colon)
		str_to_u64((struct str){word.at + 1, (size_t)(colon - word.at) - 1}, &packets);
	*line = rest;
	return packets;
}

/* Counts positions while the rules of a chain stand together, as iptables-save writes them. */
struct live_place {
	struct str chain;
	uint32_t position;
};

static bool live_add_rule(
	struct live *l, enum table table, struct str line, struct live_place *place)
{
	uint64_t packets = live_take_counters(&line);
	struct str rest, after;
	if (!str_eq(live_word(line, &rest), STR("-A")))
		return true;
	struct str chain = live_word(rest, &after);
	place->position = str_eq(place->chain, chain) ? place->position + 1 : 1;
	place->chain = chain;

	bool ours = str_starts(chain, STR(RULES_PREFIX));
	bool hook = !ours && (live_contains(line, " -j " RULES_PREFIX) ||
				     live_contains(line, " -g " RULES_PREFIX));
	if (!ours && !hook) {
		l->foreign_rule_count++;
		return true;
	}
	if (!live_grow((void **)&l->rules, l->rule_count, &l->rule_size, sizeof(*l->rules)))
		return false;
	l->rules[l->rule_count++] = (struct live_rule){.table = table,
		.chain = chain,
		.text = line,
		.position = place->position,
		.packets = packets,
		.hook = hook};
	return true;
}

/* TABLE_COUNT: a table that is none of ours. */
static enum table live_table(struct str name)
{
	for (enum table t = 0; t < TABLE_COUNT; t++)
		if (str_eq(name, str_of(table_names[t])))
			return t;
	return TABLE_COUNT;
}

static bool live_parse(struct live *l, struct str text)
{
	enum table table = TABLE_COUNT;
	struct live_place place = {0};
	bool ok = true;
	while (ok && text.len > 0) {
		const char *end = memchr(text.at, '\n', text.len);
		struct str line = {text.at, end ? (size_t)(end - text.at) : text.len};
		size_t taken = line.len + (end != NULL);
		text = (struct str){text.at + taken, text.len - taken};
		if (line.len == 0 || line.at[0] == '#')
			continue;
		if (line.at[0] == '*') {
			table = live_table((struct str){line.at + 1, line.len - 1});
			place = (struct live_place){0};
		} else if (table == TABLE_COUNT) {
			l->foreign_rule_count += line.at[0] == '[' || line.at[0] == '-';
		} else if (line.at[0] == ':') {
			ok = live_add_chain(l, table, line);
		} else {
			ok = live_add_rule(l, table, line, &place);
		}
	}
	return ok;
}

int live_init(struct live *l, struct str save, struct err *err)
{
	*l = (struct live){.save = malloc(save.len + 1)};
	if (l->save) {
		memcpy(l->save, save.at, save.len);
		if (live_parse(l, (struct str){l->save, save.len}))
			return 0;
	}
	live_done(l);
	return err_set(err, ENOMEM, "no memory for the rules in place");
}

void live_done(struct live *l)
{
	free(l->save);
	free(l->chains);
	free(l->rules);
	*l = (struct live){0};
}

bool live_absent(const struct live *l)
{
	return l->chain_count == 0 && l->rule_count == 0;
}

bool live_has_chain(const struct live *l, enum table table, const char *name)
{
	for (uint32_t i = 0; i < l->chain_count; i++)
		if (l->chains[i].table == table && str_eq(l->chains[i].name, str_of(name)))
			return true;
	return false;
}

bool live_guards(const struct live *l, uint32_t uid)
{
	for (uint32_t i = 0; i < l->rule_count; i++) {
		const struct live_rule *rule = &l->rules[i];
		uint64_t number;
		if (str_eq(rule->chain, STR(RULES_GUARD)) &&
			live_option(rule->text, "--uid-owner ", &number) && number == uid)
			return true;
	}
	return false;
}

bool live_excludes(const struct live *l, const struct address *destination)
{
	static const char start[] = "-A " RULES_GUARD " -d ";
	for (uint32_t i = 0; i < l->rule_count; i++) {
		struct str text = l->rules[i].text, rest;
		struct address_range range;
		if (!str_starts(text, STR(start)) || !live_contains(text, " -j RETURN"))
			continue;
		size_t skip = sizeof(start) - 1;
		struct str word = live_word((struct str){text.at + skip, text.len - skip}, &rest);
		if (address_range_parse(word, &range) && address_in(destination, &range))
			return true;
	}
	return false;
}

/* "--to-ports 15001-15016" or "--to-ports 15001". */
static bool live_ports(struct str text, struct port_range *ret_range)
{
	static const char option[] = "--to-ports ";
	const char *found = memmem(text.at, text.len, option, sizeof(option) - 1);
	if (!found)
		return false;
	unsigned first = 0, last = 0;
	char digits[32] = "";
	size_t len = text.len - (size_t)(found + sizeof(option) - 1 - text.at);
	memcpy(digits, found + sizeof(option) - 1, len < sizeof(digits) ? len : sizeof(digits) - 1);
	int got = sscanf(digits, "%u-%u", &first, &last);
	if (got < 1)
		return false;
	*ret_range = (struct port_range){(uint16_t)first, (uint16_t)(got == 2 ? last : first)};
	return true;
}

bool live_redirects_to(const struct live *l, uint16_t port)
{
	for (uint32_t i = 0; i < l->rule_count; i++) {
		struct port_range range;
		if (l->rules[i].table == TABLE_NAT && live_ports(l->rules[i].text, &range) &&
			port >= range.first && port <= range.last)
			return true;
	}
	return false;
}

bool live_is_earlier(const struct live_rule *rule)
{
	return str_eq(rule->chain, STR(RULES_LEAVE)) && live_contains(rule->text, " --sport ") &&
	       live_contains(rule->text, " --dport ") && live_contains(rule->text, " -j RETURN");
}

bool live_has_earlier(const struct live *l, const struct tuple *t)
{
	char line[RULES_EARLIER_MAX];
	rules_earlier_line(t, line);
	for (uint32_t i = 0; i < l->rule_count; i++)
		if (live_is_earlier(&l->rules[i]) && str_eq(l->rules[i].text, str_of(line)))
			return true;
	return false;
}
