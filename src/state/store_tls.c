/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards the server, on the connection's own terms: who it must be, and who signs for us. */
#include "store_private.h"

bool store_secure(struct store *s)
{
	return !s->settings.tls;
}

void store_fail_as_tls(struct store *s)
{
	store_fail(s, "TLS: %s", tls_failure_text(tls_failure(s->conn.tls)));
}

void store_need_signature(struct store *s)
{
	store_fail(s, "TLS: no key");
}
