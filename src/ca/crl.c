/* SPDX-License-Identifier: Apache-2.0 */
#include "crl.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* An entry stays for a while after its certificate's end: clocks differ. */
#define CRL_AFTER_END_S 3600

/* --- reading --- */

static X509_CRL *crl_from_pem(struct str text)
{
	BIO *bio = text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
	X509_CRL *crl = bio ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	ERR_clear_error();
	return crl;
}

static ASN1_INTEGER *crl_serial(struct str hex)
{
	char text[CERT_SERIAL_TEXT];
	BIGNUM *n = NULL;
	if (hex.len == 0 || hex.len >= sizeof(text))
		return NULL;
	memcpy(text, hex.at, hex.len);
	text[hex.len] = '\0';
	ASN1_INTEGER *serial = BN_hex2bn(&n, text) > 0 ? BN_to_ASN1_INTEGER(n, NULL) : NULL;
	BN_free(n);
	return serial;
}

static bool crl_wants(
	const struct crl_order *o, const struct issuer *issuer, const struct ledger_row *row)
{
	return str_eq(row->issuer, str_of(issuer->key_id)) &&
	       row->end_s + CRL_AFTER_END_S > o->now_s;
}

static bool crl_has(X509_CRL *crl, struct str hex)
{
	X509_REVOKED *found;
	ASN1_INTEGER *serial = crl_serial(hex);
	/* A serial number that cannot be read cannot be listed either. */
	bool has = !serial || X509_CRL_get0_by_serial(crl, &found, serial) != 0;
	ASN1_INTEGER_free(serial);
	return has;
}

static int64_t crl_seconds_until(const ASN1_TIME *time, int64_t now_s)
{
	int days = 0, seconds = 0;
	ASN1_TIME *now = ASN1_TIME_adj(NULL, (time_t)now_s, 0, 0);
	bool ok = now && time && ASN1_TIME_diff(&days, &seconds, now, time);
	ASN1_TIME_free(now);
	ERR_clear_error();
	return ok ? (int64_t)days * 86400 + seconds : 0;
}

static bool crl_is_due(const struct crl_order *o, const struct issuer *issuer, X509_CRL *crl)
{
	int64_t left_s = crl_seconds_until(X509_CRL_get0_nextUpdate(crl), o->now_s);
	int64_t begun_s = -crl_seconds_until(X509_CRL_get0_lastUpdate(crl), o->now_s);
	/* A quarter is over; or it is of other settings, or of a clock that was wrong. */
	if (left_s * 4 <= o->lifetime_s * 3 || left_s > o->lifetime_s || begun_s < 0)
		return true;
	for (uint32_t i = 0; i < o->revoked->count; i++) {
		const struct ledger_row *row = &o->revoked->rows[i];
		if (crl_wants(o, issuer, row) && !crl_has(crl, row->serial))
			return true;
	}
	return X509_CRL_verify(crl, issuer->signer.key) != 1;
}

/* --- making --- */

static bool crl_add(X509_CRL *crl, const struct ledger_row *row)
{
	ASN1_INTEGER *serial = crl_serial(row->serial);
	if (!serial)
		return true; /* not of our making; nothing to list */
	ASN1_TIME *when = ASN1_TIME_adj(NULL, (time_t)row->when_s, 0, 0);
	X509_REVOKED *entry = X509_REVOKED_new();
	bool ok = when && entry && X509_REVOKED_set_serialNumber(entry, serial) &&
		  X509_REVOKED_set_revocationDate(entry, when) && X509_CRL_add0_revoked(crl, entry);
	if (!ok)
		X509_REVOKED_free(entry);
	ASN1_TIME_free(when);
	ASN1_INTEGER_free(serial);
	return ok;
}

static bool crl_set_dates(X509_CRL *crl, const struct crl_order *o)
{
	ASN1_TIME *from = ASN1_TIME_adj(NULL, (time_t)(o->now_s - o->backdate_s), 0, 0);
	ASN1_TIME *until = ASN1_TIME_adj(NULL, (time_t)(o->now_s + o->lifetime_s), 0, 0);
	bool ok = from && until && X509_CRL_set1_lastUpdate(crl, from) &&
		  X509_CRL_set1_nextUpdate(crl, until);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
	return ok;
}

static bool crl_add_number(X509_CRL *crl, uint64_t number)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	bool ok = n && ASN1_INTEGER_set_uint64(n, number) &&
		  X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, X509V3_ADD_DEFAULT);
	ASN1_INTEGER_free(n);
	return ok;
}

static bool crl_add_key_id(X509_CRL *crl, X509 *issuer)
{
	AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
	if (!authority)
		return false;
	authority->keyid = X509_get_ext_d2i(issuer, NID_subject_key_identifier, NULL, NULL);
	/* An issuer without the extension: its lists have none either. */
	bool ok = !authority->keyid || X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier,
					       authority, 0, X509V3_ADD_DEFAULT);
	AUTHORITY_KEYID_free(authority);
	return ok;
}

static X509_CRL *crl_make(const struct crl_order *o, const struct issuer *issuer, uint64_t number)
{
	X509_CRL *crl = X509_CRL_new();
	bool ok = crl && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
		  X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->signer.cert)) &&
		  crl_set_dates(crl, o);
	for (uint32_t i = 0; ok && i < o->revoked->count; i++) {
		if (crl_wants(o, issuer, &o->revoked->rows[i]))
			ok = crl_add(crl, &o->revoked->rows[i]);
	}
	ok = ok && crl_add_key_id(crl, issuer->signer.cert) && crl_add_number(crl, number) &&
	     X509_CRL_sort(crl) && X509_CRL_sign(crl, issuer->signer.key, EVP_sha256());
	ERR_clear_error();
	if (ok)
		return crl;
	X509_CRL_free(crl);
	return NULL;
}

/* Higher than any before; and than any of a copy of this directory that was in use till lately. */
static int crl_next_number(
	const struct folder *f, int64_t now_s, uint64_t *ret_number, struct err *err)
{
	struct str text, line, rest;
	uint64_t last = 0;
	int r = folder_read_long(f, "crls/number", &text, err);
	if (r < 0)
		return r;
	rest = text;
	if (!folder_line(&rest, &line) || !str_to_u64(line, &last))
		last = 0;
	free((char *)(uintptr_t)text.at);
	*ret_number = last + 1 > (uint64_t)now_s ? last + 1 : (uint64_t)now_s;
	char number[32];
	int len = snprintf(number, sizeof(number), "%llu\n", (unsigned long long)*ret_number);
	return folder_write(f, "crls/number", FILE_SECRET, (struct str){number, (size_t)len}, err);
}

static int crl_write(const struct folder *f, const char *name, X509_CRL *crl, struct err *err)
{
	BIO *bio = BIO_new(BIO_s_mem());
	const uint8_t *bytes;
	size_t len;
	int r;
	if (bio && PEM_write_bio_X509_CRL(bio, crl) && BIO_mem_contents(bio, &bytes, &len))
		r = folder_write(f, name, FILE_PUBLIC, (struct str){(const char *)bytes, len}, err);
	else
		r = err_set(err, ENOMEM, "out of memory");
	BIO_free(bio);
	return r;
}

static int crl_renew(const struct folder *f, const struct crl_order *o, const struct issuer *issuer,
	const char *name, struct err *err)
{
	uint64_t number = 0;
	int r = folder_subdirectory(f, "crls", err);
	if (r == 0)
		r = crl_next_number(f, o->now_s, &number, err);
	if (r < 0)
		return r;
	X509_CRL *crl = crl_make(o, issuer, number);
	r = crl ? crl_write(f, name, crl, err)
		: err_set(err, ENOMEM, "the revocation list could not be made");
	X509_CRL_free(crl);
	return r;
}

/* --- all of them --- */

static int crl_append(FILE *out, const struct folder *f, const struct crl_order *o,
	const char *issuer_name, struct err *err)
{
	struct issuer issuer;
	struct str text = STR_NONE;
	char name[80];
	int r = issuer_load(f, issuer_name, &issuer, err);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "crls/%s.pem", issuer.key_id);
	if (issuer.not_after_s <= o->now_s) {
		issuer_done(&issuer);
		return 0;
	}
	struct err ignored;
	X509_CRL *crl = NULL;
	if (folder_read(f, name, FILE_PUBLIC, &text, &ignored) == 0)
		crl = crl_from_pem(text);
	if (!crl || crl_is_due(o, &issuer, crl)) {
		file_text_free(text);
		text = STR_NONE;
		r = crl_renew(f, o, &issuer, name, err);
		if (r == 0)
			r = folder_read(f, name, FILE_PUBLIC, &text, err);
	}
	if (r == 0)
		fwrite(text.at, 1, text.len, out);
	file_text_free(text);
	X509_CRL_free(crl);
	issuer_done(&issuer);
	return r;
}

static int crl_append_old(
	FILE *out, const struct folder *f, const struct crl_order *o, struct err *err)
{
	struct dirent **entries = NULL;
	char path[PATH_MAX], name[300];
	folder_path(f, path, "old");
	/* In order of their names: the text, and so its ETag, is the same each time. */
	int count = scandir(path, &entries, NULL, alphasort), r = 0;
	for (int i = 0; i < count; i++) {
		size_t len = strlen(entries[i]->d_name);
		if (r == 0 && len > 4 && strcmp(entries[i]->d_name + len - 4, ".crt") == 0) {
			snprintf(name, sizeof(name), "old/%.*s", (int)len - 4, entries[i]->d_name);
			r = crl_append(out, f, o, name, err);
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

int crl_collect(
	const struct folder *f, const struct crl_order *o, struct str *ret_pem, struct err *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return err_set(err, ENOMEM, "out of memory");
	int r = crl_append(out, f, o, "issuer", err);
	/* Before it signs: who insists on a list has it when the first certificate comes. */
	if (r == 0 && folder_has(f, "next-issuer.crt"))
		r = crl_append(out, f, o, "next-issuer", err);
	if (r == 0)
		r = crl_append_old(out, f, o, err);
	if (fclose(out) != 0 && r == 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r < 0)
		free(text);
	else
		*ret_pem = (struct str){text, size};
	return r;
}
