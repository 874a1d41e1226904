/* SPDX-License-Identifier: Apache-2.0 */
/* Files of trust anchors: PEM certificates one after the other. */
#pragma once

#include "folder.h"
#include <openssl/base.h>

/* roots.pem with a certificate more, or one less; nothing is written when it is so already. A file
 * without any anchor is never written. */
int anchors_add(const struct folder *f, const char *name, X509 *root, struct err *err) MUST_CHECK;
int anchors_remove(
	const struct folder *f, const char *name, X509 *root, struct err *err) MUST_CHECK;
/* Whether a text is made of certificates of authorities, at least one. */
int anchors_check(struct str text, const char *place, struct err *err) MUST_CHECK;
/* The first certificate of a file; NULL when there is none to be read. */
X509 *anchors_first(const struct folder *f, const char *name);
