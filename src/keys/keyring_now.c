/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate that is in force, and the one that is to follow it. */
#include "certs.h"
#include "keyring_private.h"

#include "base/clock.h"
#include "keys/cert.h"
#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const struct bundle_item *keyring_key_before(
	const struct keyring_load *l, const struct directory_entry *e, uint32_t *ret_i)
{
	const struct bundle_item *item = NULL;
	char number[16] = "";
	for (uint32_t i = 0; l->before && i < l->before->count; i++) {
		const char *source = l->before->sources[i];
		if (!source || strcmp(source, e->name) != 0)
			continue;
		snprintf(number, sizeof(number), "%u", l->before->numbers[i]);
		*ret_i = i;
	}
	while (number[0] && (item = bundle_next(l->in_force, "key", item))) {
		if (str_eq(item->text, str_of(number)))
			return item;
	}
	return NULL;
}

/* When it may be used, for people. */
static void keyring_date_text(int64_t at_s, char text[32])
{
	struct tm tm;
	time_t at = (time_t)at_s;
	if (!gmtime_r(&at, &tm) || strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(text, 32, "%lld", (long long)at_s);
}

static bool keyring_is_good_now(struct str chain, const char *id, int64_t wall_s)
{
	unsigned count;
	char old_id[KEYRING_ID_MAX];
	X509 *leaf = cert_from_pem(chain, &count);
	bool good = leaf && certs_dates(leaf, wall_s) == CERTS_VALID &&
		    cert_uri(leaf, old_id, sizeof(old_id)) == 0 && strcmp(old_id, id) == 0;
	X509_free(leaf);
	return good;
}

int keyring_check_now(struct keyring_load *l, const struct directory_entry *e,
	const struct keyring_new_leaf *leaf, struct err *err)
{
	uint32_t i;
	char date[32];
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S),
		from_s = cert_not_before(leaf->certificate);
	enum certs_dates dates = certs_dates(leaf->certificate, now_s);
	const struct bundle_item *key = keyring_key_before(l, e, &i), *old = NULL;
	if (dates != CERTS_VALID && key && str_eq(key->name, leaf->path))
		old = bundle_find(l->in_force, "chain", leaf->path);
	if (!old || !keyring_is_good_now(old->text, leaf->id, now_s))
		return 0;
	int64_t good_s = from_s - CERTS_SKEW_S;
	if (dates == CERTS_EARLY && (l->faults->again_s == 0 || good_s < l->faults->again_s))
		l->faults->again_s = good_s;
	keyring_date_text(dates == CERTS_EARLY ? from_s : cert_not_after(leaf->certificate), date);
	err_set(err, ETIME, "%s: %s %s", e->chain,
		dates == CERTS_EARLY ? "not valid before" : "has expired on", date);
	return KEYRING_NOT_NOW;
}
