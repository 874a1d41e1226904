/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"

#include "base/assert.h"
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define URI 0x86
#define DNS 0x82
#define WEB                                                   \
	{                                                     \
		URI, STR("spiffe://prod.example/service/web") \
	}
#define ID(text)               \
	{                      \
		URI, STR(text) \
	}
#define NAMED(...) .names = {__VA_ARGS__}
#define BAD	   SSL_AD_BAD_CERTIFICATE

#define GOOD(name, ...)                                                          \
	{                                                                        \
		name, MATRIX_LEAF, {__VA_ARGS__}, {0}, TLS_FAILURE_NONE, 0, 0, 0 \
	}
#define LEAF(name, failure, alert, ...)                                                   \
	{                                                                                 \
		name, MATRIX_LEAF, {__VA_ARGS__}, {0}, TLS_FAILURE_##failure, alert, 0, 0 \
	}
#define RULE(name, failure, ...)                                                    \
	{                                                                           \
		name, MATRIX_LEAF, {__VA_ARGS__}, {0}, TLS_FAILURE_##failure, 0, 0, \
			MATRIX_RULES_ONLY                                           \
	}
#define WIRE(name, failure, alert, ...)                                                 \
	{                                                                               \
		name, MATRIX_LEAF, {__VA_ARGS__}, {0}, TLS_FAILURE_##failure, alert, 0, \
			MATRIX_WIRE_ONLY                                                \
	}
#define UNDER(name, failure, alert, ...)                                                          \
	{                                                                                         \
		name, MATRIX_UNDER, {NAMED(WEB)}, {__VA_ARGS__}, TLS_FAILURE_##failure, alert, 0, \
			0                                                                         \
	}
#define PATH(name, shape, failure, alert)                                                          \
	{                                                                                          \
		name, MATRIX_##shape, {NAMED(WEB)}, {.ca = true}, TLS_FAILURE_##failure, alert, 0, \
			0                                                                          \
	}
#define LIST(name, list, failure, alert)                                                           \
	{                                                                                          \
		name, MATRIX_LEAF, {NAMED(WEB)}, {0}, TLS_FAILURE_##failure, alert, MATRIX_##list, \
			0                                                                          \
	}

const struct matrix_row matrix_rows[] = {
	GOOD("good", NAMED(WEB)),
	GOOD("good with DNS name", NAMED({DNS, STR("web.example")}, WEB)),
	GOOD("good with subject, SAN not critical", .subject = "web", .san_plain = true,
		NAMED(WEB)),
	GOOD("good without extended key usage", .extended = "-", NAMED(WEB)),
	GOOD("good with more extended key usages", .extended = "sco", NAMED(WEB)),
	GOOD("P-384", .curve = NID_secp384r1, NAMED(WEB)),
	GOOD("RSA 2048", .rsa_bits = 2048, NAMED(WEB)),

	/* Time: the last second counts no more, and before the first there are ten. */
	GOOD("for one second more", .until_s = CERTS_NOW + 1, NAMED(WEB)),
	LEAF("expired this second", EXPIRED, SSL_AD_CERTIFICATE_EXPIRED, .until_s = CERTS_NOW,
		NAMED(WEB)),
	LEAF("expired for a second", EXPIRED, SSL_AD_CERTIFICATE_EXPIRED, .until_s = CERTS_NOW - 1,
		NAMED(WEB)),
	GOOD("from this second", .from_s = CERTS_NOW, NAMED(WEB)),
	GOOD("in one second", .from_s = CERTS_NOW + 1, NAMED(WEB)),
	GOOD("in nine seconds", .from_s = CERTS_NOW + 9, NAMED(WEB)),
	GOOD("in ten seconds", .from_s = CERTS_NOW + 10, NAMED(WEB)),
	LEAF("in eleven seconds", NOT_YET_VALID, BAD, .from_s = CERTS_NOW + 11, NAMED(WEB)),
	UNDER("issuer expired this second", EXPIRED, SSL_AD_CERTIFICATE_EXPIRED, .ca = true,
		.until_s = CERTS_NOW),
	UNDER("issuer for one second more", NONE, 0, .ca = true, .until_s = CERTS_NOW + 1),
	UNDER("issuer in ten seconds", NONE, 0, .ca = true, .from_s = CERTS_NOW + 10),
	UNDER("issuer in eleven seconds", NOT_YET_VALID, BAD, .ca = true, .from_s = CERTS_NOW + 11),

	/* Names. */
	LEAF("no SAN, only a common name", SAN_COUNT, BAD,
		.subject = "spiffe://prod.example/service/web"),
	LEAF("only a DNS name", SAN_COUNT, BAD,
		NAMED({DNS, STR("spiffe://prod.example/service/web")})),
	LEAF("two URIs", SAN_COUNT, BAD, NAMED(WEB, ID("spiffe://prod.example/service/orders"))),
	LEAF("two URIs, one not SPIFFE", SAN_COUNT, BAD, NAMED(WEB, ID("https://web.example/"))),
	LEAF("the same URI twice", SAN_COUNT, BAD, NAMED(WEB, WEB)),
	LEAF("two SAN extensions", SAN_COUNT, BAD, .san_twice = true, NAMED(WEB)),
	LEAF("an otherName", SAN_COUNT, BAD,
		NAMED({0xa0, STR("\x06\x03\x2a\x03\x04\xa0\x23\x0c\x21spiffe://prod.example/"
				 "service/web")})),
	LEAF("other scheme", SAN_ID, BAD, NAMED(ID("http://prod.example/service/web"))),
	LEAF("upper-case scheme", SAN_ID, BAD, NAMED(ID("SPIFFE://prod.example/service/web"))),
	LEAF("upper-case domain", SAN_ID, BAD, NAMED(ID("spiffe://Prod.example/service/web"))),
	LEAF("port", SAN_ID, BAD, NAMED(ID("spiffe://prod.example:443/service/web"))),
	LEAF("userinfo", SAN_ID, BAD, NAMED(ID("spiffe://u@prod.example/service/web"))),
	LEAF("query", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service/web?x"))),
	LEAF("fragment", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service/web#x"))),
	LEAF("percent-encoding", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service%2fweb"))),
	LEAF("encoded dot", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service/%2e/web"))),
	LEAF("dot segments", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service/../web"))),
	LEAF("empty segment", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service//web"))),
	LEAF("trailing slash", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service/web/"))),
	LEAF("no path", SAN_ID, BAD, NAMED(ID("spiffe://prod.example"))),
	LEAF("root path", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/"))),
	LEAF("embedded NUL", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service/web\0.evil"))),
	LEAF("not ASCII", SAN_ID, BAD, NAMED(ID("spiffe://prod.example/service/w\xc3\xa9"))),
	LEAF("id of 2049 bytes", SAN_ID, BAD, .name_bytes = 2049),
	LEAF("trust domain of 256 bytes", SAN_ID, BAD, .domain_bytes = 256),
	LEAF("a trust domain's own machine", MACHINE, BAD,
		NAMED(ID("spiffe://prod.example/node/vm-a"))),
	LEAF("below a machine", MACHINE, BAD, NAMED(ID("spiffe://prod.example/node/vm-a/x"))),
	LEAF("all machines", MACHINE, BAD, NAMED(ID("spiffe://prod.example/node"))),
	LEAF("the authority", MACHINE, BAD, NAMED(ID("spiffe://prod.example/ca"))),
	LEAF("a machine of another trust domain", MACHINE, BAD,
		NAMED(ID("spiffe://other.example/node/vm-a"))),
	LEAF("empty subject, SAN not critical", SUBJECT, BAD, .san_plain = true, NAMED(WEB)),

	/* Trust domains. */
	LEAF("foreign trust domain, our CA", CHAIN, SSL_AD_UNKNOWN_CA,
		NAMED(ID("spiffe://other.example/service/web"))),
	LEAF("unknown trust domain", TRUST_DOMAIN, SSL_AD_UNKNOWN_CA,
		NAMED(ID("spiffe://unknown.example/service/web"))),
	LEAF("trust domain with an empty set", TRUST_DOMAIN, SSL_AD_UNKNOWN_CA,
		NAMED(ID("spiffe://empty.example/service/web"))),

	/* Usages. */
	LEAF("CA leaf", CA_LEAF, BAD, .ca = true, .usage = KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN,
		NAMED(WEB)),
	LEAF("keyCertSign on a leaf", KEY_USAGE, BAD,
		.usage = KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN, NAMED(WEB)),
	LEAF("cRLSign on a leaf", KEY_USAGE, BAD, .usage = KU_DIGITAL_SIGNATURE | KU_CRL_SIGN,
		NAMED(WEB)),
	LEAF("no key usage", KEY_USAGE, BAD, .no_usage = true, NAMED(WEB)),
	LEAF("key usage not critical", KEY_USAGE, BAD, .usage_plain = true, NAMED(WEB)),
	LEAF("key usage twice", KEY_USAGE, BAD, .usage_twice = true, NAMED(WEB)),
	RULE("no digitalSignature", KEY_USAGE, .usage = KU_KEY_AGREEMENT, NAMED(WEB)),
	WIRE("no digitalSignature, RSA", KEY_USAGE, SSL_AD_ILLEGAL_PARAMETER, .rsa_bits = 2048,
		.usage = KU_KEY_ENCIPHERMENT, NAMED(WEB)),
	LEAF("server only", EXTENDED_KEY_USAGE, BAD, .extended = "s", NAMED(WEB)),
	LEAF("client only", EXTENDED_KEY_USAGE, BAD, .extended = "c", NAMED(WEB)),
	LEAF("empty extended key usage", EXTENDED_KEY_USAGE, BAD, .extended = "", NAMED(WEB)),
	LEAF("unknown critical extension", CHAIN, SSL_AD_UNKNOWN_CA, .unknown_critical = true,
		NAMED(WEB)),
	LEAF("unknown extension twice", CHAIN, SSL_AD_UNKNOWN_CA, .unknown_twice = true,
		NAMED(WEB)),
	LEAF("version 1", SAN_COUNT, BAD, .version_1 = true, .subject = "web"),

	/* Keys and signatures. */
	LEAF("SHA-1", WEAK, SSL_AD_UNSUPPORTED_CERTIFICATE, .sha1 = true, NAMED(WEB)),
	LEAF("RSA 1024", WEAK, SSL_AD_UNSUPPORTED_CERTIFICATE, .rsa_bits = 1024, NAMED(WEB)),
	RULE("P-521", WEAK, .curve = NID_secp521r1, NAMED(WEB)),
	RULE("P-224", WEAK, .curve = NID_secp224r1, NAMED(WEB)),
	RULE("P-192", WEAK, .curve_p192 = true, NAMED(WEB)),
	LEAF("two signature algorithms", CHAIN, SSL_AD_UNKNOWN_CA, .outer_sha384 = true,
		NAMED(WEB)),

	/* Issuers. */
	UNDER("good issuer", NONE, 0, .ca = true),
	UNDER("issuer of path length 0", NONE, 0, .ca = true, .path_len_plus_1 = 1),
	UNDER("issuer is no CA", CHAIN, SSL_AD_UNKNOWN_CA, .ca = false),
	UNDER("issuer without basic constraints", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true,
		.no_constraints = true),
	UNDER("issuer without keyCertSign", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true,
		.usage = KU_CRL_SIGN),
	UNDER("issuer without key usage", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true, .no_usage = true),
	UNDER("issuer's key usage not critical", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true,
		.usage_plain = true),
	UNDER("issuer with a trust domain's id", NONE, 0, .ca = true,
		NAMED(ID("spiffe://prod.example"))),
	UNDER("issuer with a workload's id", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true,
		NAMED(ID("spiffe://prod.example/ca"))),
	UNDER("issuer of version 1", CHAIN, SSL_AD_UNKNOWN_CA, .version_1 = true),
	UNDER("issuer with SHA-1", WEAK, SSL_AD_UNSUPPORTED_CERTIFICATE, .ca = true, .sha1 = true),
	UNDER("issuer with RSA 1024", WEAK, SSL_AD_UNSUPPORTED_CERTIFICATE, .ca = true,
		.rsa_bits = 1024),
	UNDER("issuer with P-224", WEAK, SSL_AD_UNSUPPORTED_CERTIFICATE, .ca = true,
		.curve = NID_secp224r1),
	{"signed with MD5", MATRIX_UNDER, {.md5 = true, NAMED(WEB)}, {.ca = true, .rsa_bits = 2048},
		TLS_FAILURE_WEAK, SSL_AD_UNSUPPORTED_CERTIFICATE, 0, 0},
	UNDER("issuer with an unknown critical extension", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true,
		.unknown_critical = true),
	UNDER("URI permitted", NONE, 0, .ca = true, .permitted_uri = "prod.example"),
	UNDER("URI not permitted", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true,
		.permitted_uri = "other.example"),
	UNDER("URI excluded", CHAIN, SSL_AD_UNKNOWN_CA, .ca = true, .excluded_uri = "prod.example"),
	UNDER("URI not excluded", NONE, 0, .ca = true, .excluded_uri = "other.example"),
	{"DNS name not permitted", MATRIX_UNDER, {NAMED({DNS, STR("web.example")}, WEB)},
		{.ca = true, .permitted_dns = "other.example"}, TLS_FAILURE_CHAIN,
		SSL_AD_UNKNOWN_CA, 0, 0},
	{"DNS name permitted", MATRIX_UNDER, {NAMED({DNS, STR("web.example")}, WEB)},
		{.ca = true, .permitted_dns = "web.example"}, TLS_FAILURE_NONE, 0, 0, 0},
	/* A constraint on registeredID, which the library does not know, and a name of that kind.
	 */
	{"unknown name constraint", MATRIX_UNDER, {NAMED({0x88, STR("\x2a\x03\x04")}, WEB)},
		{.ca = true, .permitted_id = true}, TLS_FAILURE_CHAIN, SSL_AD_UNKNOWN_CA, 0, 0},

	/* Paths. */
	PATH("missing intermediate", ALONE, CHAIN, SSL_AD_UNKNOWN_CA),
	PATH("self-signed leaf", SELF, CHAIN, SSL_AD_UNKNOWN_CA),
	PATH("wrong root of the same name", FOREIGN, CHAIN, SSL_AD_UNKNOWN_CA),
	PATH("intermediate's name by another key", STRANGER, CHAIN, SSL_AD_UNKNOWN_CA),
	PATH("three intermediates", SEVERAL, NONE, 0),
	PATH("three intermediates, shuffled", SHUFFLED, NONE, 0),
	PATH("path length exceeded", PATH_LENGTH, CHAIN, SSL_AD_UNKNOWN_CA),
	PATH("cross-signed intermediate", CROSSED, NONE, 0),
	PATH("authorities in a circle", CYCLE, CHAIN, SSL_AD_UNKNOWN_CA),

	/* Too much. The library reads no more of a message than we let it. */
	PATH("nine certificates", NINE, CHAIN_LENGTH, BAD),
	{"a hundred certificates", MATRIX_HUNDRED, {NAMED(WEB)}, {.ca = true},
		TLS_FAILURE_CHAIN_LENGTH, SSL_AD_ILLEGAL_PARAMETER, 0, MATRIX_WIRE_ONLY},
	{"a mebibyte", MATRIX_MEBIBYTE, {NAMED(WEB)}, {.ca = true}, TLS_FAILURE_CHAIN_LENGTH,
		SSL_AD_ILLEGAL_PARAMETER, 0, MATRIX_WIRE_ONLY},
	WIRE("a leaf of 40 KB", CHAIN_LENGTH, SSL_AD_ILLEGAL_PARAMETER, .padding = 40000,
		NAMED(WEB)),
	LEAF("16 KiB of names", CHAIN_LENGTH, BAD, .san_count = 1500, NAMED(WEB)),

	/* Revoked. */
	LIST("others are revoked", OTHERS, NONE, 0),
	LIST("revoked", LISTS_LEAF, REVOKED, SSL_AD_CERTIFICATE_REVOKED),
	LIST("issuer revoked", LISTS_ISSUER, REVOKED, SSL_AD_CERTIFICATE_REVOKED),
	LIST("the list is old", OLD_HOLDS_ON, NONE, 0),
	LIST("revoked by an old list", OLD_LISTS_LEAF, REVOKED, SSL_AD_CERTIFICATE_REVOKED),
	LIST("the list is old, which is refused", OLD_REFUSED, REVOCATION_UNKNOWN,
		SSL_AD_CERTIFICATE_UNKNOWN),
};

const size_t matrix_row_count = ARRAY_LEN(matrix_rows);
