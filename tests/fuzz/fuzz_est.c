/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from the other end of EST: a path, a credential, bodies. The first byte chooses. What
 * is accepted can be written again, and is then read as the same. */
#include "est/est.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>

static void est_free(struct str s)
{
	free((void *)(uintptr_t)s.at);
}

static void fuzz_path(struct str path)
{
	enum est_operation operation;
	struct str label;
	char again[1024];
	if (est_path_parse(path, &operation, &label) < 0)
		return;
	ASSERT(est_path(operation, label, again, sizeof(again)));
	ASSERT(str_eq(str_of(again), path));
}

static void fuzz_basic(struct str value)
{
	struct str name, password, memory, again, name_again, password_again, memory_again;
	struct err err;
	if (est_basic_read(value, &name, &password, &memory, &err) < 0)
		return;
	ASSERT(est_basic(name, password, &again, &err) == 0);
	ASSERT(est_basic_read(again, &name_again, &password_again, &memory_again, &err) == 0);
	ASSERT(str_eq(name, name_again) && str_eq(password, password_again));
	est_free(memory);
	est_free(again);
	est_free(memory_again);
}

static void fuzz_request(struct str body)
{
	struct str der, again, der_again;
	struct err err;
	if (est_request_read(body, &der, &err) < 0)
		return;
	/* with line ends it may be a little too long to be written */
	if (est_request(der, &again, &err) == 0) {
		ASSERT(est_request_read(again, &der_again, &err) == 0 && str_eq(der, der_again));
		est_free(again);
		est_free(der_again);
	}
	est_free(der);
}

/* BoringSSL may refuse in PEM what it took from PKCS#7, but not the other way round. */
static void fuzz_answer(struct str body, bool is_crls)
{
	struct str pem, again, pem_again;
	struct err err;
	int r = is_crls ? est_crls_read(body, &pem, &err) : est_certificates_read(body, &pem, &err);
	if (r < 0)
		return;
	r = is_crls ? est_crls(pem, &again, &err) : est_certificates(pem, &again, &err);
	if (r == 0) {
		r = is_crls ? est_crls_read(again, &pem_again, &err)
			    : est_certificates_read(again, &pem_again, &err);
		ASSERT(r == 0 && str_eq(pem, pem_again));
		est_free(again);
		est_free(pem_again);
	}
	est_free(pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return 0;
	struct str rest = {(const char *)bytes + 1, len - 1};
	switch (bytes[0]) {
	case 'p':
		fuzz_path(rest);
		break;
	case 'b':
		fuzz_basic(rest);
		break;
	case 'r':
		fuzz_request(rest);
		break;
	case 'c':
		fuzz_answer(rest, false);
		break;
	case 'l':
		fuzz_answer(rest, true);
		break;
	default:
		break;
	}
	return 0;
}
