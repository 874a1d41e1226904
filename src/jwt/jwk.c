/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of keys. A key that is not wholly as it should be is left out; a set of which none is left
 * is none. */
#include "inside.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define JWK_NUMBER_BYTES_MAX (JWT_RSA_BITS_MAX / 8 + 1) /* a zero in front is somebody's habit */

static const struct {
	const char *name;
	enum jwk_type type;
} jwt_algorithms[] = {
#define X(name, text, type, bits) {text, type},
	JWT_ALGORITHM_LIST(X)
#undef X
};

enum jwt_algorithm jwt_algorithm_of(struct str name)
{
	size_t i = 0;
	while (i < ARRAY_LEN(jwt_algorithms) && !str_eq(name, str_of(jwt_algorithms[i].name)))
		i++;
	return (enum jwt_algorithm)i;
}

bool jwk_fits(const struct jwk *key, enum jwt_algorithm algorithm)
{
	return algorithm < JWT_ALGORITHMS && key->type == jwt_algorithms[algorithm].type &&
	       (key->algorithm == JWT_ALGORITHMS || key->algorithm == algorithm);
}

/* --- numbers --- */

static bool jwk_bytes(const json_t *object, const char *name, uint8_t *ret, size_t *ret_len)
{
	struct str text = strict_text(object, name);
	return text.len > 0 && text.len <= (JWK_NUMBER_BYTES_MAX * 4 + 2) / 3 &&
	       base64url_read(text, ret, ret_len) && *ret_len <= JWK_NUMBER_BYTES_MAX;
}

static BIGNUM *jwk_number(const json_t *object, const char *name)
{
	uint8_t bytes[JWK_NUMBER_BYTES_MAX + 4];
	size_t len;
	return jwk_bytes(object, name, bytes, &len) ? BN_bin2bn(bytes, len, NULL) : NULL;
}

/* Exactly as long as the curve has it. */
static BIGNUM *jwk_coordinate(const json_t *object, const char *name, size_t bytes_wanted)
{
	uint8_t bytes[JWK_NUMBER_BYTES_MAX + 4];
	size_t len;
	if (!jwk_bytes(object, name, bytes, &len) || len != bytes_wanted)
		return NULL;
	return BN_bin2bn(bytes, len, NULL);
}

/* --- one key --- */

static bool jwk_read_rsa(const json_t *object, struct jwk *key)
{
	BIGNUM *n = jwk_number(object, "n"), *e = jwk_number(object, "e");
	RSA *rsa = RSA_new();
	bool ok = n && e && rsa && BN_num_bits(n) >= JWT_RSA_BITS_MIN &&
		  BN_num_bits(n) <= JWT_RSA_BITS_MAX && BN_is_odd(n) && BN_num_bits(e) >= 2 &&
		  BN_num_bits(e) <= 32 && BN_is_odd(e) && RSA_set0_key(rsa, n, e, NULL);
	if (ok) {
		key->type = JWK_RSA;
		key->rsa = rsa;
		return true;
	}
	BN_free(n);
	BN_free(e);
	RSA_free(rsa);
	return false;
}

static bool jwk_read_curve(const json_t *object, struct jwk *key)
{
	struct str curve = strict_text(object, "crv");
	bool is_256 = str_eq(curve, STR("P-256")), is_384 = str_eq(curve, STR("P-384"));
	if (!is_256 && !is_384)
		return false;
	BIGNUM *x = jwk_coordinate(object, "x", is_256 ? 32 : 48);
	BIGNUM *y = jwk_coordinate(object, "y", is_256 ? 32 : 48);
	EC_KEY *ec = EC_KEY_new_by_curve_name(is_256 ? NID_X9_62_prime256v1 : NID_secp384r1);
	bool ok = x && y && ec && EC_KEY_set_public_key_affine_coordinates(ec, x, y);
	BN_free(x);
	BN_free(y);
	if (ok) {
		key->type = is_256 ? JWK_P256 : JWK_P384;
		key->ec = ec;
	} else {
		EC_KEY_free(ec);
	}
	return ok;
}

static bool jwk_read_okp(const json_t *object, struct jwk *key)
{
	uint8_t bytes[JWK_NUMBER_BYTES_MAX + 4];
	size_t len;
	if (!str_eq(strict_text(object, "crv"), STR("Ed25519")) ||
		!jwk_bytes(object, "x", bytes, &len) || len != sizeof(key->ed25519))
		return false;
	key->type = JWK_ED25519;
	memcpy(key->ed25519, bytes, sizeof(key->ed25519));
	return true;
}

/* "use" and "key_ops", where they are given, say that it is for verifying. */
static bool jwk_may_verify(const json_t *object)
{
	const json_t *use = json_object_get(object, "use");
	const json_t *operations = json_object_get(object, "key_ops");
	if (use && !str_eq(strict_text(object, "use"), STR("sig")))
		return false;
	if (!operations)
		return true;
	for (size_t i = 0; i < json_array_size(operations); i++) {
		const json_t *one = json_array_get(operations, i);
		if (json_is_string(one) && strcmp(json_string_value(one), "verify") == 0)
			return true;
	}
	return false;
}

static bool jwk_read_algorithm(const json_t *object, struct jwk *key)
{
	key->algorithm = JWT_ALGORITHMS;
	if (!json_object_get(object, "alg"))
		return true;
	key->algorithm = jwt_algorithm_of(strict_text(object, "alg"));
	return key->algorithm != JWT_ALGORITHMS && jwk_fits(key, key->algorithm);
}

static bool jwk_read_id(const json_t *object, struct jwk *key)
{
	struct str id = strict_text(object, "kid");
	if (!json_object_get(object, "kid"))
		return true;
	if (id.len == 0 || id.len > JWT_KEY_ID_MAX)
		return false;
	char *copy = malloc(id.len);
	if (!copy)
		return false;
	memcpy(copy, id.at, id.len);
	key->id = (struct str){copy, id.len};
	return true;
}

static void jwk_done(struct jwk *key)
{
	free((char *)(uintptr_t)key->id.at);
	RSA_free(key->rsa);
	EC_KEY_free(key->ec);
	*key = (struct jwk){0};
}

static bool jwk_read(const json_t *object, struct jwk *key)
{
	struct str type = strict_text(object, "kty");
	bool ok = json_is_object(object) && jwk_may_verify(object) &&
		  !json_object_get(object, "d") &&
		  (str_eq(type, STR("RSA"))	     ? jwk_read_rsa(object, key)
			  : str_eq(type, STR("EC"))  ? jwk_read_curve(object, key)
			  : str_eq(type, STR("OKP")) ? jwk_read_okp(object, key)
						     : false) &&
		  jwk_read_algorithm(object, key) && jwk_read_id(object, key);
	ERR_clear_error();
	if (!ok)
		jwk_done(key);
	return ok;
}

/* --- sets --- */

static int jwk_set_read(struct jwk_set *set, const json_t *keys, struct err *err)
{
	size_t count = json_array_size(keys);
	if (!json_is_array(keys))
		return err_set(err, EINVAL, "no JWK Set: \"keys\" is no list");
	if (count > JWK_SET_KEYS_MAX)
		return err_set(err, EINVAL, "a JWK Set of more than %d keys", JWK_SET_KEYS_MAX);
	set->keys = calloc(count + 1, sizeof(*set->keys));
	if (!set->keys)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		set->count += jwk_read(json_array_get(keys, i), &set->keys[set->count]);
	return set->count > 0 ? 0
			      : err_set(err, EINVAL,
					"a JWK Set of %zu keys, of which none can verify a "
					"signature here",
					count);
}

int jwk_set_new(struct str text, struct jwk_set **ret_set, struct err *err)
{
	if (text.len > JWK_SET_BYTES_MAX)
		return err_set(
			err, EINVAL, "a JWK Set of more than %u KiB", JWK_SET_BYTES_MAX >> 10);
	json_t *root = strict_object(text);
	if (!root)
		return err_set(err, EINVAL, "no JWK Set: not an object in JSON");
	struct jwk_set *set = calloc(1, sizeof(*set));
	int r = set ? jwk_set_read(set, json_object_get(root, "keys"), err)
		    : err_set(err, ENOMEM, "out of memory");
	json_decref(root);
	if (r < 0) {
		jwk_set_free(set);
		return r;
	}
	*ret_set = set;
	return 0;
}

void jwk_set_free(struct jwk_set *set)
{
	if (!set)
		return;
	for (uint32_t i = 0; i < set->count; i++)
		jwk_done(&set->keys[i]);
	free(set->keys);
	free(set);
}

uint32_t jwk_set_count(const struct jwk_set *set)
{
	return set->count;
}
