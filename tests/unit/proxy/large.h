/* SPDX-License-Identifier: Apache-2.0 */
/* Mesh objects in large numbers, beside those of the lab: what is configured must not make a
 * request dearer. */
#pragma once

#include "lab.h"

/* Policies about the lab's orders that are alike in what an index could not tell apart. */
enum large_crowd {
	LARGE_NO_CROWD,
	LARGE_TEMPLATES,       /* that begin with braces */
	LARGE_TEMPLATE_DENIES, /* the same, and deny a method */
	LARGE_GUARDS,	       /* the same, and deny all but somebody */
	LARGE_DENIES,	       /* each of one identity */
	LARGE_HOSTS,	       /* all of one path */
	LARGE_PATHS,	       /* of one policy; `policies` says how many */
	LARGE_PRODUCT,	       /* of one policy, with a tenth as many callers and as many paths */
	LARGE_NOTS,	       /* 32 each of what else a policy asks for, of one */
};

struct large_size {
	uint32_t services, endpoints, policies; /* endpoints: of each service */
	bool of_orders; /* all policies are about the lab's orders; else each about a service */
	bool by_path;	/* and differ in callers and paths, as those of a large shop */
	enum large_crowd crowd;
};

/* The text of a mesh file, for lab_options.objects; to be freed. */
char *large_mesh(const struct large_size *size);
