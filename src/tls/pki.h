/* SPDX-License-Identifier: Apache-2.0 */
/* Servers outside of the mesh, such as the store of its state: their certificates are judged as the
 * web's are, by authorities that an operator has named and by DNS name or address (RFC 5280, RFC
 * 9525), and not as SPIFFE wants it. */
#pragma once

#include "store.h"

/* An address in text form, and so no DNS name. */
bool pki_is_address(struct str host);
/* A chain off the wire at wall time `wall_s`. With TLS_FAILURE_NAME the names that it has, as text
 * to be freed, if there is memory for it. */
enum tls_failure pki_verify(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	struct str host, int64_t wall_s, char **ret_names);
