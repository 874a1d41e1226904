/* SPDX-License-Identifier: Apache-2.0 */
/* Asks for pages as ringmain's own commands do. */
#pragma once

#include "admin/page.h"

struct page_response page_ask(const struct page_source *source, const char *path);
/* Fails unless it is answered with this status and this part; JSON has to be good. */
void page_ask_expect(
	const struct page_source *source, const char *path, uint16_t status, const char *part);
