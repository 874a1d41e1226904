/* SPDX-License-Identifier: Apache-2.0 */
/* PKCS#10 in a body. Whether it is well formed is looked at here, what it asks for is not. */
#include "est/est.h"

#include "base64.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>

static int request_check(struct str der, struct err *err)
{
	const uint8_t *start = (const uint8_t *)der.at, *end = start;
	X509_REQ *request = d2i_X509_REQ(NULL, &end, (long)der.len);
	bool whole = request && end == start + der.len;
	X509_REQ_free(request);
	ERR_clear_error();
	return whole ? 0 : err_set(err, EBADMSG, "no PKCS#10 request, or bytes behind it");
}

int est_request(struct str der, struct str *ret_body, struct err *err)
{
	struct str body;
	if (der.len > EST_REQUEST_BYTES_MAX)
		return err_set(
			err, EMSGSIZE, "a request longer than %d bytes", EST_REQUEST_BYTES_MAX);
	int r = request_check(der, err);
	if (r == 0)
		r = base64_write((const uint8_t *)der.at, der.len, BASE64_LINES, &body, err);
	if (r < 0)
		return r;
	if (body.len > EST_REQUEST_BYTES_MAX) {
		base64_free(body);
		return err_set(err, EMSGSIZE, "a request longer than %d bytes in base64",
			EST_REQUEST_BYTES_MAX);
	}
	*ret_body = body;
	return 0;
}

int est_request_read(struct str body, struct str *ret_der, struct err *err)
{
	struct str der;
	if (body.len > EST_REQUEST_BYTES_MAX)
		return err_set(
			err, EBADMSG, "a request longer than %d bytes", EST_REQUEST_BYTES_MAX);
	int r = base64_read(body, BASE64_LINES, &der, err);
	if (r == 0 && (r = request_check(der, err)) < 0)
		base64_free(der);
	if (r == 0)
		*ret_der = der;
	return r;
}
