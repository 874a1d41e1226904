/* SPDX-License-Identifier: Apache-2.0 */
/* The text of one head or trailer section, and its fields as llhttp cuts them out. One block of
 * memory, which grows while the text is collected; the strings of `head` point into it. */
#pragma once

#include "codec/http.h"
#include "h1_scan.h"
#include <llhttp.h>

struct h1_section {
	struct http_head head;
	uint32_t len, size;
	char text[];
};

/* Appends, making the section when *s is NULL, from `pool` unless that is NULL or the text is long.
 * False: no memory; *s is as it was. Not to be used any more once the fields are cut out, before a
 * reset. */
bool h1_section_put(
	struct h1_section **s, struct pool *pool, const uint8_t *bytes, size_t len) MUST_CHECK;
void h1_section_reset(struct h1_section *s);
void h1_section_free(struct h1_section *s, struct pool *pool);

/* Fills head.headers from text that h1_scan has let through. False: llhttp refuses the text; the
 * fields are there all the same, for saying why in our own words. */
bool h1_section_parse(struct h1_section *s, enum h1_scan_kind kind) MUST_CHECK;

/* For the test that no lenient flag is ever set. */
void h1_section_parser_init(llhttp_t *parser, llhttp_type_t type, struct h1_section *s);
