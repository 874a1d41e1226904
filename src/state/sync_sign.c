/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of either connection, told apart by the lowest bit of the number. */
#include "sync_private.h"

bool sync_sign(struct sync *s, struct sync_sign *ret_sign)
{
	struct store *const stores[] = {s->asks, s->hears};
	struct store_sign question;
	for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
		if (!stores[i] || !store_sign(stores[i], &question))
			continue;
		*ret_sign = (struct sync_sign){
			.number = question.number * 2 + i,
			.key_number = question.request->key_number,
			.algorithm = question.request->algorithm,
			.bytes = question.request->bytes,
			.len = question.request->len,
		};
		return true;
	}
	return false;
}

void sync_sign_done(struct sync *s, uint64_t number, const uint8_t *signature, size_t len)
{
	struct store *store = number % 2 == 0 ? s->asks : s->hears;
	if (store)
		store_sign_done(store, number / 2, signature, len);
}
