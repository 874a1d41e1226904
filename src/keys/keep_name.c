/* SPDX-License-Identifier: Apache-2.0 */
#include "keep_name.h"

#include "tls/spiffe.h"
#include <stdio.h>

#define KEEP_FOLDER "identity/"

/* "orders" of "service/orders"; empty: of another form. */
static struct str keep_name_of_service(struct str identity)
{
	struct str prefix = STR("service/");
	struct str name = {identity.at + prefix.len, identity.len - prefix.len};
	bool is_plain = str_starts(identity, prefix) && name.at[0] != '.' &&
			!memchr(name.at, '/', name.len);
	return is_plain ? name : STR_NONE;
}

/* The first byte of a file's name is that of a path, which is no '.': none is hidden. */
bool keep_name(struct str identity, char name[KEEP_NAME_MAX])
{
	struct str node = STR("node/");
	if (!spiffe_path_valid(identity) || identity.at[0] == '.')
		return false;
	if (str_starts(identity, node)) {
		snprintf(name, KEEP_NAME_MAX, "node");
		return !memchr(identity.at + node.len, '/', identity.len - node.len);
	}
	if (spiffe_path_reserved(identity) || !memchr(identity.at, '/', identity.len))
		return false;
	bool is_service = keep_name_of_service(identity).len > 0;
	size_t before = is_service ? 0 : strlen(KEEP_FOLDER);
	if (before + identity.len >= KEEP_NAME_MAX)
		return false;
	memcpy(name, KEEP_FOLDER, before);
	for (size_t i = 0; i < identity.len; i++)
		name[before + i] = !is_service && identity.at[i] == '/' ? '+' : identity.at[i];
	name[before + identity.len] = '\0';
	return true;
}
