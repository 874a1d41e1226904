/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of the admin API about a configuration that is in force nowhere: what would it say? */
#pragma once

/* Reads it as `ringmain check` does, but no certificates and no store. The text, which is the
 * caller's to free, and the page's HTTP status; NULL: the configuration would not be taken, and
 * all that is wrong with it was said on stderr. */
char *offline_ask(const char *conf_path, const char *path, int *ret_status);
