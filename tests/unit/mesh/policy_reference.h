/* SPDX-License-Identifier: Apache-2.0 */
/* What mesh/policy.h says, once more: written from its text, as plainly as can be, with nothing of
 * what policy itself is made of. */
#pragma once

#include "mesh/policy.h"

struct policy_verdict policy_reference(const struct snapshot *s, const struct service *service,
	const struct policy_request *request);
