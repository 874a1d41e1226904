/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include "base/clock.h"
#include "base/json.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LEDGER_LINE_MAX 4096
#define LEDGER_WHY_MAX	500

void ledger_issuer_text(const X509 *cert, char text[LEDGER_ISSUER_TEXT])
{
	uint8_t id[CERT_KEY_ID_BYTES] = {0};
	if (!cert_key_id(cert, id))
		memset(id, 0, sizeof(id));
	for (size_t i = 0; i < sizeof(id); i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static bool ledger_time(struct str word, int64_t *ret_s)
{
	uint64_t number;
	if (!str_to_u64(word, &number) || number > INT64_MAX)
		return false;
	*ret_s = (int64_t)number;
	return true;
}

/* False: no line of ours; a crash leaves such a one. */
static bool ledger_row_read(struct str line, unsigned words_min, struct ledger_row *row)
{
	struct str words[7] = {0};
	unsigned count = folder_words(line, words, words_min == 5 ? 5 : 7);
	*row = (struct ledger_row){.serial = words[0],
		.issuer = words[2],
		.node = words[3],
		.identity = words[4],
		.why = words[6]};
	return count >= words_min && words[0].len > 0 && ledger_time(words[1], &row->end_s) &&
	       (words_min == 5 || ledger_time(words[5], &row->when_s));
}

static int ledger_read(const struct folder *f, const char *name, unsigned words_min,
	struct ledger *ret_ledger, struct err *err)
{
	struct ledger l = {0};
	int r = folder_read_long(f, name, &l.text, err);
	if (r < 0)
		return r;
	size_t lines = 0;
	for (size_t i = 0; i < l.text.len; i++)
		lines += l.text.at[i] == '\n';
	l.rows = calloc(lines + 1, sizeof(*l.rows));
	if (!l.rows) {
		ledger_done(&l);
		return err_set(err, ENOMEM, "out of memory");
	}
	struct str rest = l.text, line;
	while (folder_line(&rest, &line)) {
		if (ledger_row_read(line, words_min, &l.rows[l.count]))
			l.count++;
	}
	*ret_ledger = l;
	return 0;
}

int ledger_read_index(const struct folder *f, struct ledger *ret_ledger, struct err *err)
{
	return ledger_read(f, "index", 5, ret_ledger, err);
}

int ledger_read_revoked(const struct folder *f, struct ledger *ret_ledger, struct err *err)
{
	return ledger_read(f, "revoked", 6, ret_ledger, err);
}

void ledger_done(struct ledger *l)
{
	free((char *)(uintptr_t)l->text.at);
	free(l->rows);
	*l = (struct ledger){0};
}

const struct ledger_row *ledger_find(const struct ledger *l, struct str serial)
{
	/* From the end: what was issued last is asked for most. */
	for (uint32_t i = l->count; i > 0; i--) {
		if (str_eq(l->rows[i - 1].serial, serial))
			return &l->rows[i - 1];
	}
	return NULL;
}

/* A reason is somebody's text, of any length. */
static struct str ledger_why(struct str why)
{
	return why.len < LEDGER_WHY_MAX ? why : (struct str){why.at, LEDGER_WHY_MAX};
}

static int ledger_line(const struct ledger_row *row, bool is_revoked, char text[LEDGER_LINE_MAX])
{
	int len = snprintf(text, LEDGER_LINE_MAX, STR_FMT " %lld " STR_FMT " " STR_FMT " " STR_FMT,
		STR_ARG(row->serial), (long long)row->end_s, STR_ARG(row->issuer),
		STR_ARG(row->node), STR_ARG(row->identity));
	if (is_revoked)
		len += snprintf(text + len, (size_t)(LEDGER_LINE_MAX - len), " %lld " STR_FMT,
			(long long)row->when_s, STR_ARG(ledger_why(row->why)));
	for (int i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ')
			text[i] = '?'; /* somebody's reason for revoking stays on its line */
	}
	text[len] = '\n';
	return len + 1;
}

static int ledger_add(const struct folder *f, const char *name, bool is_revoked,
	const struct ledger_row *row, struct err *err)
{
	char text[LEDGER_LINE_MAX];
	int len = ledger_line(row, is_revoked, text);
	return folder_append(f, name, (struct str){text, (size_t)len}, true, err);
}

int ledger_add_issued(const struct folder *f, const struct ledger_row *row, struct err *err)
{
	return ledger_add(f, "index", false, row, err);
}

int ledger_add_revoked(const struct folder *f, const struct ledger_row *row, struct err *err)
{
	return ledger_add(f, "revoked", true, row, err);
}

/* --- what is over --- */

/* How long what is over stays, for clocks that are wrong. A revocation stays for longer: forgotten
 * by a clock that was ahead, it would not come back when the clock is set right. */
#define LEDGER_INDEX_MORE_S   3600
#define LEDGER_REVOKED_MORE_S (30 * 86400)

static bool ledger_is_over(
	const struct ledger_row *row, bool is_revoked, int64_t now_s, int64_t comeback_s)
{
	/* A machine's certificate counts for as long as it could renew itself. */
	int64_t more_s = str_starts(row->identity, STR("node/")) ? comeback_s : 0;
	more_s += is_revoked ? LEDGER_REVOKED_MORE_S : LEDGER_INDEX_MORE_S;
	return row->end_s + more_s < now_s;
}

static int ledger_rewrite(const struct folder *f, const char *name, bool is_revoked,
	const struct ledger *l, int64_t now_s, int64_t comeback_s, struct err *err)
{
	uint32_t over_count = 0;
	for (uint32_t i = 0; i < l->count; i++)
		over_count += ledger_is_over(&l->rows[i], is_revoked, now_s, comeback_s);
	if (over_count == 0)
		return 0;
	char *text = NULL, line[LEDGER_LINE_MAX];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < l->count; i++) {
		if (!ledger_is_over(&l->rows[i], is_revoked, now_s, comeback_s))
			fwrite(line, 1, (size_t)ledger_line(&l->rows[i], is_revoked, line), out);
	}
	int r = fclose(out) == 0 ? 0 : err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = folder_write(f, name, FILE_SECRET, (struct str){text, size}, err);
	free(text);
	return r;
}

int ledger_compact(const struct folder *f, int64_t now_s, int64_t comeback_s, struct err *err)
{
	struct ledger l;
	int r = ledger_read_index(f, &l, err);
	if (r < 0)
		return r;
	r = ledger_rewrite(f, "index", false, &l, now_s, comeback_s, err);
	ledger_done(&l);
	if (r == 0)
		r = ledger_read_revoked(f, &l, err);
	if (r < 0)
		return r;
	r = ledger_rewrite(f, "revoked", true, &l, now_s, comeback_s, err);
	ledger_done(&l);
	return r;
}

/* --- audit --- */

static void ledger_member(struct json *j, const char *key, struct str value)
{
	if (value.len == 0)
		return;
	json_key(j, key);
	json_str(j, value);
}

static void ledger_member_time(struct json *j, const char *key, int64_t time_s)
{
	char text[25];
	clock_format((uint64_t)time_s * CLOCK_S, text);
	json_key(j, key);
	json_str(j, str_of(text));
}

int ledger_audit(
	const struct folder *f, int64_t now_s, const struct ledger_event *e, struct err *err)
{
	struct json j;
	json_init(&j, LEDGER_LINE_MAX);
	json_open(&j, '{');
	ledger_member_time(&j, "time", now_s);
	ledger_member(&j, "event", str_of(e->event));
	ledger_member(&j, "node", e->node);
	ledger_member(&j, "identity", e->identity);
	ledger_member(&j, "serial", e->serial);
	ledger_member(&j, "issuer", e->issuer);
	if (e->until_s > 0)
		ledger_member_time(&j, "until", e->until_s);
	ledger_member(&j, "address", e->address);
	if (e->status > 0) {
		json_key(&j, "status");
		json_i64(&j, e->status);
	}
	ledger_member(&j, "why", ledger_why(e->why));
	json_close(&j, '}');
	json_newline(&j);
	int r = j.cut ? err_set(err, ENOMEM, "out of memory")
		      : folder_append(f, "issued.log", (struct str){j.text, j.len}, false, err);
	json_done(&j);
	return r;
}
