/* SPDX-License-Identifier: Apache-2.0 */
/* From what stands in a file to what a struct holds. One judge for values in files and for the
 * table's own defaults. */
#include "parser.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct conf_unit {
	const char *name;
	uint64_t factor;
};

static const struct conf_unit conf_byte_units[] = {
	{"K", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20}, {"G", UINT64_C(1) << 30}, {NULL, 0}};
static const struct conf_unit conf_time_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000},
	{"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {NULL, 0}};

struct conf_value conf_value_default(const struct conf_key *key)
{
	struct str text = str_of(key->fallback);
	if (key->type == CONF_NUMBER)
		return (struct conf_value){
			.kind = CONF_VALUE_NUMBER, .number = strtoull(key->fallback, NULL, 0)};
	if (key->type == CONF_BOOL)
		return (struct conf_value){
			.kind = CONF_VALUE_BOOL, .number = str_eq(text, STR("true"))};
	return (struct conf_value){.kind = CONF_VALUE_TEXT, .text = text};
}

/* "64K", "200ms": digits and one of the units, nothing between. */
static bool conf_value_units(struct str text, const struct conf_unit *units, uint64_t *ret_number)
{
	size_t digits = 0;
	while (digits < text.len && text.at[digits] >= '0' && text.at[digits] <= '9')
		digits++;
	uint64_t number;
	if (!str_to_u64((struct str){text.at, digits}, &number))
		return false;
	struct str unit = {text.at + digits, text.len - digits};
	for (; units->name; units++) {
		if (str_eq(unit, str_of(units->name)))
			return !__builtin_mul_overflow(number, units->factor, ret_number);
	}
	return false;
}

/* "99", "99.5", with or without a "%" behind. */
static bool conf_value_percent(struct str text, uint64_t *ret_tenths)
{
	uint64_t whole, tenth = 0;
	if (text.len > 0 && text.at[text.len - 1] == '%')
		text = str_trim((struct str){text.at, text.len - 1});
	const char *point = text.len ? memchr(text.at, '.', text.len) : NULL;
	struct str digits = {text.at, point ? (size_t)(point - text.at) : text.len};
	struct str rest = {text.at + digits.len + 1, text.len - digits.len - 1};
	if (!str_to_u64(digits, &whole) || whole > 1000 ||
		(point && (rest.len != 1 || !str_to_u64(rest, &tenth))))
		return false;
	*ret_tenths = whole * 10 + tenth;
	return true;
}

/* In the unit that makes it short. */
static const char *conf_value_units_text(
	uint64_t number, const struct conf_unit *units, char *text, size_t size)
{
	const struct conf_unit *best = NULL;
	for (; units->name; units++) {
		if (units->factor <= number && number % units->factor == 0)
			best = units;
	}
	snprintf(text, size, "%llu%s", (unsigned long long)(best ? number / best->factor : number),
		best ? best->name : "");
	return text;
}

const char *conf_value_number_text(
	const struct conf_key *key, uint64_t number, char *text, size_t size)
{
	if (key->type == CONF_BYTES)
		return conf_value_units_text(number, conf_byte_units, text, size);
	if (key->type == CONF_DURATION && number > 0)
		return conf_value_units_text(number, conf_time_units, text, size);
	if (key->type == CONF_PERCENT && number % 10)
		snprintf(text, size, "%llu.%llu", (unsigned long long)number / 10,
			(unsigned long long)number % 10);
	else
		snprintf(text, size, "%llu%s",
			(unsigned long long)(key->type == CONF_PERCENT ? number / 10 : number),
			key->type == CONF_DURATION ? "s" : "");
	return text;
}

static bool conf_value_refuse_type(const struct conf_key *key, struct err *why)
{
	err_set(why, EINVAL, "expected %s", conf_type_text(key->type));
	return false;
}

static bool conf_value_number(
	const struct conf_key *key, struct conf_value value, uint64_t *ret_number, struct err *why)
{
	bool is_number = value.kind == CONF_VALUE_NUMBER;
	bool is_text = value.kind == CONF_VALUE_TEXT;
	if (is_number && key->type != CONF_DURATION)
		*ret_number = key->type == CONF_PERCENT && value.number < 100000 ? value.number * 10
										 : value.number;
	else if (!(is_text && key->type == CONF_PERCENT &&
			 conf_value_percent(value.text, ret_number)) &&
		 !(is_text && key->type == CONF_BYTES &&
			 conf_value_units(value.text, conf_byte_units, ret_number)) &&
		 !(is_text && key->type == CONF_DURATION &&
			 conf_value_units(value.text, conf_time_units, ret_number)))
		return conf_value_refuse_type(key, why);
	if (*ret_number >= key->min && *ret_number <= key->max)
		return true;
	char given[32], min[32], max[32];
	err_set(why, EINVAL, "%s is out of range, %s to %s",
		conf_value_number_text(key, *ret_number, given, sizeof(given)),
		conf_value_number_text(key, key->min, min, sizeof(min)),
		conf_value_number_text(key, key->max, max, sizeof(max)));
	return false;
}

static void conf_value_put(void *at, size_t size, uint64_t number)
{
	switch (size) {
	case 1:
		*(uint8_t *)at = (uint8_t)number;
		return;
	case 2:
		*(uint16_t *)at = (uint16_t)number;
		return;
	case 4:
		*(uint32_t *)at = (uint32_t)number;
		return;
	case 8:
		*(uint64_t *)at = number;
		return;
	}
	ASSERT(!"a number's field has 1, 2, 4 or 8 bytes");
}

static bool conf_value_enum(const struct conf_key *key, struct str text, void *at, struct err *why)
{
	struct conf_guess guess = conf_guess(text);
	char names[128] = "", mean[96];
	for (size_t i = 0; key->names[i]; i++) {
		if (str_eq(text, str_of(key->names[i]))) {
			conf_value_put(at, key->size, i);
			return true;
		}
		conf_guess_offer(&guess, str_of(key->names[i]));
		size_t len = strlen(names);
		snprintf(
			names + len, sizeof(names) - len, "%s\"%s\"", i ? ", " : "", key->names[i]);
	}
	err_set(why, EINVAL, "\"%.*s\" is none of %s%s", STR_ARG(text), names,
		conf_guess_text(&guess, mean, sizeof(mean)));
	return false;
}

static bool conf_value_text(
	struct arena *arena, const struct conf_key *key, struct str text, void *at, struct err *why)
{
	struct address address;
	struct address_range range;
	if (key->type == CONF_TEXT) {
		struct str copy = arena_str(arena, text);
		if (text.len == 0)
			err_set(why, EINVAL, "empty text");
		else if (!copy.at)
			err_set(why, ENOMEM, "out of memory");
		else
			*(struct str *)at = copy;
		return text.len > 0 && copy.at;
	}
	if (key->type == CONF_ENUM)
		return conf_value_enum(key, text, at, why);
	if (key->type == CONF_RANGE && address_range_parse(text, &range)) {
		*(struct address_range *)at = range;
		return true;
	}
	if ((key->type == CONF_ADDRESS && address_parse(text, &address)) ||
		(key->type == CONF_ADDRESS_PORT && address_port_parse(text, &address))) {
		*(struct address *)at = address;
		return true;
	}
	err_set(why, EINVAL, "\"%.*s\" is not %s", STR_ARG(text), conf_type_text(key->type));
	return false;
}

bool conf_value_store(struct arena *arena, const struct conf_key *key, struct conf_value value,
	void *at, struct err *why)
{
	uint64_t number;
	switch (key->type) {
	case CONF_NUMBER:
	case CONF_BYTES:
	case CONF_DURATION:
	case CONF_PERCENT:
		if (!conf_value_number(key, value, &number, why))
			return false;
		conf_value_put(at, key->size, number);
		return true;
	case CONF_BOOL:
		if (value.kind != CONF_VALUE_BOOL)
			return conf_value_refuse_type(key, why);
		conf_value_put(at, key->size, value.number);
		return true;
	case CONF_TEXT:
	case CONF_ADDRESS:
	case CONF_ADDRESS_PORT:
	case CONF_RANGE:
	case CONF_ENUM:
		if (value.kind != CONF_VALUE_TEXT)
			return conf_value_refuse_type(key, why);
		return conf_value_text(arena, key, value.text, at, why);
	case CONF_GROUP:
	case CONF_ROWS:
		break;
	}
	return conf_value_refuse_type(key, why);
}
