/* SPDX-License-Identifier: Apache-2.0 */
/* PEM texts → a PKCS#7 SignedData that is signed by nobody (RFC 5272 4.1, "certs-only").
 *
 * The certificates stand in the order of the text, as OpenSSL writes them: they are a SET, and
 * BoringSSL's own PKCS7_bundle_certificates() sorts it, but many clients take the first one for the
 * leaf. */
#include "est/est.h"

#include "base64.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

enum pack_kind { PACK_CERTIFICATES, PACK_CRLS };

struct pack {
	enum pack_kind kind;
	unsigned count;
	CBB out, sets; /* `sets`: where the members go, one after the other */
};

static const uint8_t pack_signed_type[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02};
static const uint8_t pack_plain_type[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};

static bool pack_well_formed(enum pack_kind kind, const uint8_t *der, long len)
{
	const uint8_t *end = der;
	bool ok = false;
	switch (kind) {
	case PACK_CERTIFICATES: {
		X509 *x = d2i_X509(NULL, &end, len);
		ok = x != NULL;
		X509_free(x);
		break;
	}
	case PACK_CRLS: {
		X509_CRL *crl = d2i_X509_CRL(NULL, &end, len);
		ok = crl != NULL;
		X509_CRL_free(crl);
		break;
	}
	}
	return ok && end == der + len;
}

static int pack_block(
	struct pack *p, const char *name, const uint8_t *der, long len, struct err *err)
{
	const char *wanted = p->kind == PACK_CRLS ? PEM_STRING_X509_CRL : PEM_STRING_X509;
	if (strcmp(name, wanted) != 0)
		return err_set(
			err, EBADMSG, "a PEM block \"%s\" where only \"%s\" may be", name, wanted);
	if (!pack_well_formed(p->kind, der, len))
		return err_set(err, EBADMSG, "\"%s\" number %u is malformed", wanted, p->count + 1);
	if (++p->count > EST_CERTIFICATES_MAX)
		return err_set(err, EMSGSIZE, "more than %d in one answer", EST_CERTIFICATES_MAX);
	if (!CBB_add_bytes(&p->sets, der, (size_t)len))
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}

static int pack_blocks(struct pack *p, struct str pem, struct err *err)
{
	if (pem.len > EST_BODY_BYTES_MAX)
		return err_set(err, EMSGSIZE, "more than %u bytes of PEM", EST_BODY_BYTES_MAX);
	BIO *text = BIO_new_mem_buf(pem.at ? pem.at : "", (int)pem.len);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	int r = 0;
	char *name, *header;
	uint8_t *der;
	long len;
	while (r == 0 && PEM_read_bio(text, &name, &header, &der, &len)) {
		r = pack_block(p, name, der, len, err);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	BIO_free(text);
	if (r == 0 && (!at_end || p->count == 0))
		return err_set(err, EBADMSG, "no PEM, or broken after number %u", p->count);
	return r;
}

/* ContentInfo and SignedData around the members (RFC 2315 7, 9.1). */
static int pack_signed(struct pack *p, struct str pem, struct err *err)
{
	CBB whole, type, wrap, body, digests, content, content_type, signers;
	unsigned tag = CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED;
	bool ok = CBB_add_asn1(&p->out, &whole, CBS_ASN1_SEQUENCE) &&
		  CBB_add_asn1(&whole, &type, CBS_ASN1_OBJECT) &&
		  CBB_add_bytes(&type, pack_signed_type, sizeof(pack_signed_type)) &&
		  CBB_add_asn1(&whole, &wrap, tag | 0) &&
		  CBB_add_asn1(&wrap, &body, CBS_ASN1_SEQUENCE) && CBB_add_asn1_uint64(&body, 1) &&
		  CBB_add_asn1(&body, &digests, CBS_ASN1_SET) &&
		  CBB_add_asn1(&body, &content, CBS_ASN1_SEQUENCE) &&
		  CBB_add_asn1(&content, &content_type, CBS_ASN1_OBJECT) &&
		  CBB_add_bytes(&content_type, pack_plain_type, sizeof(pack_plain_type)) &&
		  CBB_add_asn1(&body, &p->sets, tag | (p->kind == PACK_CRLS ? 1 : 0));
	int r = ok ? pack_blocks(p, pem, err) : -ENOMEM;
	if (r == 0 && (!CBB_add_asn1(&body, &signers, CBS_ASN1_SET) || !CBB_flush(&p->out)))
		r = -ENOMEM;
	return r == -ENOMEM ? err_set(err, ENOMEM, "out of memory") : r;
}

static int pack_body(enum pack_kind kind, struct str pem, struct str *ret_body, struct err *err)
{
	struct pack p = {.kind = kind};
	struct str body = STR_NONE;
	if (!CBB_init(&p.out, 4096))
		return err_set(err, ENOMEM, "out of memory");
	int r = pack_signed(&p, pem, err);
	if (r == 0)
		r = base64_write(CBB_data(&p.out), CBB_len(&p.out), BASE64_LINES, &body, err);
	CBB_cleanup(&p.out);
	if (r < 0)
		return r;
	if (body.len > EST_BODY_BYTES_MAX) {
		base64_free(body);
		return err_set(
			err, EMSGSIZE, "an answer of more than %u bytes", EST_BODY_BYTES_MAX);
	}
	*ret_body = body;
	return 0;
}

int est_certificates(struct str pem, struct str *ret_body, struct err *err)
{
	return pack_body(PACK_CERTIFICATES, pem, ret_body, err);
}

int est_crls(struct str pem, struct str *ret_body, struct err *err)
{
	return pack_body(PACK_CRLS, pem, ret_body, err);
}
