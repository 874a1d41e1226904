/* SPDX-License-Identifier: Apache-2.0 */
/* What an authority answers, on its way to a verdict. Sections, a line "====" between them: the id,
 * the request in base64, anchors, issuers, the answer, CRLs that come, CRLs in force. What is good
 * is so by other ways of looking at it, too. */
#include "enroll/judge.h"
#include "est/est.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define SECTIONS   7
#define SEPARATOR  "====\n"
#define FUZZ_NOW_S 1800000000

enum { ID, REQUEST, ANCHORS, BETWEEN, ANSWER, CAME, HELD };

static void fuzz_split(struct str text, struct str parts[SECTIONS])
{
	for (size_t i = 0; i < SECTIONS; i++) {
		const char *end = text.len == 0
					  ? NULL
					  : memmem(text.at, text.len, SEPARATOR, strlen(SEPARATOR));
		size_t len = end ? (size_t)(end - text.at) : text.len;
		parts[i] = (struct str){text.at, len};
		size_t used = end ? len + strlen(SEPARATOR) : len;
		text = (struct str){text.at + used, text.len - used};
	}
}

static void fuzz_drop(struct str *text)
{
	free((void *)(uintptr_t)text->at);
	*text = STR_NONE;
}

static void fuzz_answer(const struct str parts[SECTIONS])
{
	struct str request = STR_NONE, chain = STR_NONE;
	struct judge_view view, again;
	struct err err;
	if (est_request_read(parts[REQUEST], &request, &err) < 0)
		return;
	const struct judge_want want = {.id = str_trim((struct str){parts[ID].at,
						parts[ID].len > 0 ? parts[ID].len - 1 : 0}),
		.request = request,
		.anchors = parts[ANCHORS],
		.intermediates = parts[BETWEEN],
		.now_s = FUZZ_NOW_S};
	if (judge_answer(&want, parts[ANSWER], &chain, &view, &err) == JUDGE_GOOD) {
		ASSERT(view.from_s <= FUZZ_NOW_S && view.until_s > FUZZ_NOW_S);
		ASSERT(judge_view(chain, &again) && strcmp(view.serial, again.serial) == 0);
		ASSERT(judge_leads(chain, parts[ANCHORS], parts[BETWEEN]));
		ASSERT(!memmem(chain.at, chain.len, "PRIVATE KEY", 11));
	}
	fuzz_drop(&chain);
	fuzz_drop(&request);
}

static void fuzz_anchors(struct str pem)
{
	struct str anchors, others, again, none;
	struct judge_view view;
	struct err err;
	if (judge_anchors(pem, STR("prod.example"), &anchors, &others, &err) < 0)
		return;
	ASSERT(judge_anchors_view(anchors, &view));
	ASSERT(judge_anchors(anchors, STR("prod.example"), &again, &none, &err) == 0);
	ASSERT(judge_same(anchors, again) && none.len == 0);
	fuzz_drop(&anchors);
	fuzz_drop(&others);
	fuzz_drop(&again);
	fuzz_drop(&none);
}

static void fuzz_crls(struct str came, struct str held, struct str authorities)
{
	struct str merged, again;
	struct judge_lists lists;
	struct err err;
	if (judge_crls(came, held, authorities, FUZZ_NOW_S, &merged, &lists, &err) < 0)
		return;
	/* What was taken is taken again. */
	ASSERT(judge_crls(merged, merged, authorities, FUZZ_NOW_S, &again, &lists, &err) == 0);
	fuzz_drop(&merged);
	fuzz_drop(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str parts[SECTIONS], anchor = STR_NONE;
	struct err err;
	fuzz_split((struct str){(const char *)bytes, len}, parts);
	fuzz_answer(parts);
	fuzz_anchors(parts[ANCHORS]);
	fuzz_crls(parts[CAME], parts[HELD], parts[BETWEEN]);
	if (judge_fingerprint(parts[ANCHORS], parts[ID], &anchor, &err) == 0)
		ASSERT(anchor.len > 0);
	fuzz_drop(&anchor);
	(void)judge_same(parts[ANSWER], parts[ANCHORS]);
	return 0;
}
