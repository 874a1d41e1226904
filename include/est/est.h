/* SPDX-License-Identifier: Apache-2.0 */
/* The words of EST (RFC 7030; base64 as RFC 8951 says; the CRLs as RFC 8295 has them), for the
 * client and the server: paths, media types and bodies, bytes ⇄ texts in PEM. Pure: no I/O, no
 * clock, no trust: nothing here verifies a signature. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdint.h>

#define EST_BODY_BYTES_MAX    (1u << 20) /* of a response's body, in base64 */
#define EST_REQUEST_BYTES_MAX 16384	 /* of a request's body, in base64 */
#define EST_CERTIFICATES_MAX  64	 /* in one answer */
#define EST_LABEL_MAX	      255

/* What can be asked for: name, method, path's last segment, media type of the answer. */
#define EST_OPERATION_LIST(X)                                                                  \
	X(CACERTS, "GET", "cacerts", "application/pkcs7-mime; smime-type=certs-only")          \
	X(ENROLL, "POST", "simpleenroll", "application/pkcs7-mime; smime-type=certs-only")     \
	X(REENROLL, "POST", "simplereenroll", "application/pkcs7-mime; smime-type=certs-only") \
	X(CRLS, "GET", "crls", "application/pkcs7-mime; smime-type=crls-only")

enum est_operation {
#define X(name, method, segment, type) EST_##name,
	EST_OPERATION_LIST(X)
#undef X
};
#define EST_REQUEST_TYPE "application/pkcs10"

/* "/.well-known/est/[<label>/]<operation>"; false: too long for the buffer, or no valid label (RFC
 * 3986 unreserved characters; not the name of an operation). */
bool est_path(enum est_operation operation, struct str label, char *path, size_t size) MUST_CHECK;
/* The other way round, without query; 0, -ENOENT. The label points into `path`; "": none. */
int est_path_parse(
	struct str path, enum est_operation *ret_operation, struct str *ret_label) MUST_CHECK;

/* Texts made here are the caller's: free(at). All of these set `err` and touch nothing else when
 * they fail. */

/* PEM certificates → the body of CACERTS, ENROLL and REENROLL, in base64 with line ends. The order
 * is kept. */
int est_certificates(struct str pem, struct str *ret_body, struct err *err) MUST_CHECK;
/* PEM CRLs → the body of CRLS. */
int est_crls(struct str pem, struct str *ret_body, struct err *err) MUST_CHECK;
/* The other way round. Base64 with or without line ends; anything else, nothing at all, more than
 * EST_CERTIFICATES_MAX, or bytes behind it are -EBADMSG. The order is kept, but it means nothing:
 * another server's may be any, so a leaf is found by its key. */
int est_certificates_read(struct str body, struct str *ret_pem, struct err *err) MUST_CHECK;
int est_crls_read(struct str body, struct str *ret_pem, struct err *err) MUST_CHECK;
/* DER of a PKCS#10 request ⇄ a request's body. */
int est_request(struct str der, struct str *ret_body, struct err *err) MUST_CHECK;
int est_request_read(struct str body, struct str *ret_der, struct err *err) MUST_CHECK;

/* RFC 7617: the value of Authorization for a name and a password; and back, -EBADMSG. */
int est_basic(
	struct str name, struct str password, struct str *ret_value, struct err *err) MUST_CHECK;
int est_basic_read(struct str value, struct str *ret_name, struct str *ret_password,
	struct str *ret_memory, struct err *err) MUST_CHECK;
