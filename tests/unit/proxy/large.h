/* SPDX-License-Identifier: Apache-2.0 */
/* Mesh objects in large numbers, beside those of the lab: what is configured must not make a
 * request dearer. */
#pragma once

#include "lab.h"

struct large_size {
	uint32_t services, endpoints, policies; /* endpoints: of each service */
	bool of_orders; /* all policies are about the lab's orders; else each about a service */
	bool by_path;	/* and differ in callers and paths, as those of a large shop */
};

/* The text of a mesh file, for lab_options.objects; to be freed. */
char *large_mesh(const struct large_size *size);
