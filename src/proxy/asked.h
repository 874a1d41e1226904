/* SPDX-License-Identifier: Apache-2.0 */
/* What was asked last on a keep-alive session, kept while it is idle: a policy that would refuse it
 * now ends the session. */
#pragma once

#include "mesh/route.h"

/* A longer request is not kept: the session is left alone until its next one. */
#define ASKED_BYTES_MAX 4096

struct asked; /* one block of memory, used again and again */

/* In place of what was kept before; *a may be NULL at first. */
void asked_keep(struct asked **a, const struct route_request *request);
/* NULL: nothing was asked, or it is not kept. Valid until the next one is. */
const struct route_request *asked_last(const struct asked *a);
void asked_free(struct asked *a);
