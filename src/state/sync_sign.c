/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of the connections, told apart by the lowest bits of the number. */
#include "sync_private.h"

bool sync_sign(struct sync *s, struct sync_sign *ret_sign)
{
	struct store *const stores[] = {s->asks, s->hears, s->tokens.store};
	struct store_sign question;
	for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
		if (!stores[i] || !store_sign(stores[i], &question))
			continue;
		*ret_sign = (struct sync_sign){
			.number = question.number * 4 + i,
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
	struct store *const stores[] = {s->asks, s->hears, s->tokens.store, NULL};
	struct store *store = stores[number % 4];
	if (store)
		store_sign_done(store, number / 4, signature, len);
}
