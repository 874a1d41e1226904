/* SPDX-License-Identifier: Apache-2.0 */
#include "realm.h"

#include "../../../src/ca/token.h"
#include "base/assert.h"
#include "base/clock.h"
#include "ca/ca.h"
#include "keys/cert.h"
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void realm_init(struct realm *r, const char *settings)
{
	struct err err;
	char text[4096];
	place_init(&r->place);
	snprintf(r->dir, sizeof(r->dir), "%s/ca", r->place.dir);
	r->now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	ASSERT(ca_init(r->dir, STR(REALM_TD), 3650ll * 86400, &err) == 0);
	snprintf(text, sizeof(text),
		"authority: { trust_domain = \"" REALM_TD
		"\"; listen = \"127.0.0.1:8443\"; names = \"ca.example\"; };\n%s",
		settings);
	realm_write(r, "ca.conf", text);
	realm_write(r, "registration.conf",
		"nodes: ( { name = \"vm-a\"; identities = [ \"orders\", \"service/web\" ]; },\n"
		"{ name = \"vm-b\"; } );\n");
	ASSERT(authority_open(r->dir, &r->authority, &err) == 0);
}

void realm_done(struct realm *r)
{
	authority_close(r->authority);
	place_done(&r->place);
}

int realm_run(struct realm *r, const char *line)
{
	char text[1024];
	char *argv[32] = {"ringmain ca"};
	int argc = 1;
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word && argc < 31; word = strtok(NULL, " "))
		argv[argc++] = strcmp(word, "DIR") == 0 ? r->dir : word;
	return ca_main(argc, argv);
}

int realm_run_text(struct realm *r, const char *line, char *text, size_t size)
{
	FILE *out = tmpfile();
	ASSERT(out);
	fflush(stdout);
	int saved = dup(STDOUT_FILENO);
	ASSERT(saved >= 0 && dup2(fileno(out), STDOUT_FILENO) >= 0);
	int status = realm_run(r, line);
	fflush(stdout);
	ASSERT(dup2(saved, STDOUT_FILENO) >= 0);
	close(saved);
	rewind(out);
	size_t len = fread(text, 1, size - 1, out);
	text[len] = '\0';
	fclose(out);
	return status;
}

char *realm_read(struct realm *r, const char *name)
{
	char inner[200];
	snprintf(inner, sizeof(inner), "ca/%s", name);
	return place_read(&r->place, inner);
}

void realm_write(struct realm *r, const char *name, const char *text)
{
	char inner[200];
	snprintf(inner, sizeof(inner), "ca/%s", name);
	place_write(&r->place, inner, str_of(text), 0600);
}

EVP_PKEY *realm_key(void)
{
	EVP_PKEY *key = cert_key_new();
	ASSERT(key);
	return key;
}

struct str realm_request(EVP_PKEY *key, const char *id)
{
	X509_REQ *request = X509_REQ_new();
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
	ASSERT(request && names && name && uri);
	ASSERT(ASN1_STRING_set(uri, id, (int)strlen(id)));
	GENERAL_NAME_set0_value(name, GEN_URI, uri);
	ASSERT(sk_GENERAL_NAME_push(names, name));
	STACK_OF(X509_EXTENSION) *list = NULL;
	ASSERT(X509V3_add1_i2d(&list, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1);
	ASSERT(X509_REQ_set_version(request, 0) && X509_REQ_set_pubkey(request, key) &&
		X509_REQ_add_extensions(request, list) &&
		X509_REQ_sign(request, key, EVP_sha256()));
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	uint8_t *der = NULL;
	int len = i2d_X509_REQ(request, &der);
	ASSERT(len > 0);
	X509_REQ_free(request);
	char *copy = malloc((size_t)len);
	ASSERT(copy);
	memcpy(copy, der, (size_t)len);
	OPENSSL_free(der);
	return (struct str){copy, (size_t)len};
}

struct realm_answer realm_enroll(
	struct realm *r, const struct authority_client *client, EVP_PKEY *key, const char *id)
{
	struct realm_answer a = {0};
	struct str request = realm_request(key, id), chain;
	a.result = authority_enroll(
		r->authority, client, request, r->now_s, &chain, &a.retry_s, &a.err);
	free((char *)(uintptr_t)request.at);
	if (a.result == 0) {
		a.chain = cert_list_from_pem(chain);
		ASSERT(a.chain);
		free((char *)(uintptr_t)chain.at);
	}
	return a;
}

void realm_answer_done(struct realm_answer *a)
{
	sk_X509_pop_free(a->chain, X509_free);
	a->chain = NULL;
}

struct authority_client realm_client(X509 *leaf, int64_t now_s)
{
	static char id[CERT_ID_MAX], serial[CERT_SERIAL_TEXT];
	ASSERT(cert_uri(leaf, id, sizeof(id)) == 0 && cert_serial_text(leaf, serial));
	return (struct authority_client){.id = str_of(id),
		.serial = str_of(serial),
		.expired = cert_not_after(leaf) < now_s,
		.address = STR("10.0.0.7:4711")};
}

X509 *realm_join(struct realm *r, const char *node)
{
	char token[TOKEN_TEXT], id[200];
	struct folder f;
	struct err err;
	ASSERT(node && folder_open(r->dir, &f, &err) == 0);
	ASSERT(token_new(&f, str_of(node), r->now_s + 600, token, &err) == 0);
	folder_close(&f);
	snprintf(id, sizeof(id), "spiffe://" REALM_TD "/node/%.64s", node);
	struct authority_client client = {.user = str_of(node), .password = str_of(token)};
	EVP_PKEY *key = realm_key();
	struct realm_answer a = realm_enroll(r, &client, key, id);
	ASSERT(a.result == 0);
	X509 *leaf = sk_X509_shift(a.chain);
	realm_answer_done(&a);
	EVP_PKEY_free(key);
	return leaf;
}
