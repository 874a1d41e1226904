/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <libconfig.h>
#include <stdio.h>

#define PLACE_SOCKET_DEFAULT "/run/ringmain/admin.sock"

void place_admin_socket(const char *conf_path, char *ret_path, size_t size)
{
	config_t file;
	const char *path = PLACE_SOCKET_DEFAULT;
	config_init(&file);
	if (config_read_file(&file, conf_path))
		config_lookup_string(&file, "node.admin_socket", &path);
	snprintf(ret_path, size, "%s", path);
	config_destroy(&file);
}
