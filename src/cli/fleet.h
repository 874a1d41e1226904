/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain status --mesh`: every node as the store tells of it. */
#pragma once

#include "published.h"
#include <stdio.h>

/* The exit status: 1 when a node lags, is silent or tells nonsense, or the objects are not to be
 * believed. */
int fleet_main(const char *command, const char *conf_path, bool json);

/* Pure; both return how many problems there are. */
uint32_t fleet_print(FILE *out, const struct published *s, struct str mesh);
uint32_t fleet_print_json(FILE *out, const struct published *s, struct str mesh);
