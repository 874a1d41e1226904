/* SPDX-License-Identifier: Apache-2.0 */
/* The entry of a fuzz target: one per file fuzz_<name>.c. Returns 0; a finding is an ASSERT or a
 * sanitizer's report. */
#pragma once

#include "base/assert.h"
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
