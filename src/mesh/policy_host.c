/* SPDX-License-Identifier: Apache-2.0 */
/* The host that a request is for, against those of a rule. What is no plain name and no plain
 * address may be any host at all: servers differ about it. */
#include "policy_private.h"

static bool policy_are_all(struct str text, const char *marks, bool with_letters)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		bool is_letter = c >= 'a' && c <= (with_letters ? 'z' : 'f');
		if (!is_letter && !(c >= '0' && c <= '9') && (c == '\0' || !strchr(marks, c)))
			return false;
	}
	return true;
}

/* "2130706433", "0x7f000001" and "127.1" are addresses to some. */
static bool policy_name_ends_in_number(struct str name)
{
	const char *dot = memrchr(name.at, '.', name.len), *last = dot ? dot + 1 : name.at;
	struct str label = {last, (size_t)(name.at + name.len - last)};
	size_t digits = 0;
	bool is_hex = str_starts(label, STR("0x"));
	for (size_t i = is_hex ? 2 : 0; i < label.len; i++)
		digits += is_hex ? str_hex(label.at[i]) >= 0
				 : label.at[i] >= '0' && label.at[i] <= '9';
	return label.len > 0 && digits == label.len - (is_hex ? 2 : 0);
}

static bool policy_host_is_plain(struct str host)
{
	struct address ignored;
	if (host.at[0] == '[')
		return host.len > 2 && host.at[host.len - 1] == ']' &&
		       policy_are_all((struct str){host.at + 1, host.len - 2}, ":.", false);
	if (!policy_are_all(host, "-._", true) || host.at[host.len - 1] == '.')
		return false;
	return !policy_name_ends_in_number(host) || address_parse(host, &ignored);
}

/* What comes behind it: nothing, or ":" and digits. */
static bool policy_port_is_plain(struct str rest)
{
	for (size_t i = 1; i < rest.len; i++) {
		if (rest.at[i] < '0' || rest.at[i] > '9')
			return false;
	}
	return true;
}

static struct str policy_host_inner(struct str host)
{
	bool is_bracketed = host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';
	return is_bracketed ? (struct str){host.at + 1, host.len - 2} : host;
}

bool policy_host_address(struct str host, struct address *ret)
{
	return address_parse(policy_host_inner(host), ret);
}

struct policy_host policy_host_of(struct str authority)
{
	struct policy_host found = {.kind = POLICY_HOST_UNKNOWN};
	if (authority.len == 0)
		return found;
	struct str host = route_host(authority);
	struct str rest = {authority.at + host.len, authority.len - host.len};
	if (host.len > 1 && host.at[host.len - 1] == '.')
		host.len--;
	if (host.len == 0 || !policy_host_is_plain(host) || !policy_port_is_plain(rest))
		return found;
	found.text = host;
	found.kind =
		policy_host_address(host, &found.address) ? POLICY_HOST_ADDRESS : POLICY_HOST_NAME;
	return found;
}

/* One address may be written in two ways. */
static bool policy_host_is_same_address(struct str host, const struct policy_host *asked)
{
	struct address address;
	return asked->kind == POLICY_HOST_ADDRESS && policy_host_address(host, &address) &&
	       address_same_ip(&address, &asked->address);
}

enum policy_truth policy_host_ask(
	const struct str *hosts, uint32_t count, const struct policy_host *host)
{
	enum policy_truth truth = POLICY_FALSE;
	if (host->kind == POLICY_HOST_UNKNOWN)
		return POLICY_UNKNOWN;
	for (uint32_t i = 0; i < count; i++) {
		if (route_host_matches(hosts[i], host->text))
			return POLICY_TRUE;
		if (policy_host_is_same_address(hosts[i], host))
			truth = POLICY_UNKNOWN;
	}
	return truth;
}
