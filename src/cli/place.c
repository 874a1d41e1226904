/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include "conf/conf.h"
#include <errno.h>
#include <libconfig.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PLACE_SOCKET_DEFAULT "/run/ringmain/admin.sock"

int place_admin_socket(const char *conf_path, char *ret_path, size_t size, struct err *err)
{
	config_t file;
	const char *path = PLACE_SOCKET_DEFAULT;
	if (conf_path && access(conf_path, R_OK) < 0)
		return err_set(err, errno, "%s: %s", conf_path, strerror(errno));
	config_init(&file);
	(void)config_read_file(&file, conf_path ? conf_path : CONF_PATH_DEFAULT);
	config_lookup_string(&file, "node.admin_socket", &path);
	snprintf(ret_path, size, "%s", path);
	config_destroy(&file);
	return 0;
}
