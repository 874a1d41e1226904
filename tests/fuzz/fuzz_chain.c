/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from the authority by way of the state process, as the keeper reads it: PEM of a
 * chain, of anchors, of lists; the first byte says which. What is accepted is written anew, and
 * reads as the same again: nothing stands in it that was not understood, no key above all. */
#include "fuzz/fuzz.h"
#include "keys/accept.h"
#include "keys/chain.h"
#include "keys/file.h"

#include <openssl/x509.h>

static int fuzz_read(uint8_t kind, struct str text, struct str *ret_pem)
{
	struct err err = {.text = ""};
	X509 *first = NULL;
	int r;
	if (kind == 0)
		r = chain_pem(text, CHAIN_CERTIFICATES_MAX, ret_pem, &first, &err);
	else
		r = kind == 1 ? chain_roots(text, ret_pem, &err) : chain_crls(text, ret_pem, &err);
	ASSERT((r == 0) == (err.text[0] == '\0'));
	X509_free(first);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str pem, again;
	struct err err;
	if (len == 0)
		return 0;
	uint8_t kind = bytes[0] % 3;
	if (fuzz_read(kind, (struct str){(const char *)bytes + 1, len - 1}, &pem) < 0)
		return 0;
	ASSERT(!strstr(pem.at, "PRIVATE KEY"));
	ASSERT(fuzz_read(kind, pem, &again) == 0 && str_eq(pem, again));
	if (kind > 0 && pem.len > 0)
		(void)!accept_trust(
			kind == 1 ? ACCEPT_ROOTS : ACCEPT_CRLS, STR("prod.example"), pem, &err);
	else if (kind == 0)
		(void)!accept_chain(STR("prod.example"), STR("service/web"), pem, pem, &err);
	file_text_free(again);
	file_text_free(pem);
	return 0;
}
