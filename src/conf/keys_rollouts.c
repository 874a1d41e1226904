/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the table that rollouts are read by. */
#include "key_words.h"

#define ROLLOUT(field) FIELD(struct conf_rollout_row, field)

/* In the order of enum rollout_order. */
static const char *const conf_order_names[] = {"run", "pause", "promote", "abort", NULL};

static const struct conf_key conf_preview_keys[] = {
	KEY("headers",
		ROWS(struct conf_rollout_row, preview.headers, preview.header_count,
			&conf_field_group),
		.help = "As in a route's match: all of them must match."),
	KEY("cookies",
		ROWS(struct conf_rollout_row, preview.cookies, preview.cookie_count,
			&conf_field_group),
		.help = "The same for cookies."),
};
static const struct conf_group conf_preview_group = {GROUP_OF(conf_preview_keys)};

static const struct conf_key conf_rollout_keys[] = {
	KEY("service", ROLLOUT(service), .required = true,
		.help = "Whose calls are moved: those to its own address."),
	KEY("from", ROLLOUT(from), .required = true, .help = "The version that they leave."),
	KEY("to", ROLLOUT(to), .required = true, .help = "The version that they come to."),
	KEY("attempt", .type = CONF_NUMBER, ROLLOUT(attempt), .fallback = "1", .min = 1,
		.max = INT32_MAX,
		.help = "Another number begins it anew, from the first step on. `ringmain rollout "
			"start` counts it up by itself."),
	KEY("steps", .type = CONF_NUMBER, LIST(struct conf_rollout_row, steps, step_count),
		.min = 1, .max = 100, .required = true,
		.help = "Percent of the calls that `to` gets, one after the other; rising, the "
			"last 100."),
	KEY("every", .type = CONF_DURATION, ROLLOUT(every_ms), .fallback = "60s", .min = SECOND,
		.max = 7 * 24 * HOUR,
		.help = "A step takes so long at least, with fresh figures all the while."),
	KEY("success", .type = CONF_PERCENT, ROLLOUT(success_tenths), .fallback = "99", .max = 1000,
		.help = "So many percent of the calls must be served. 0: not asked."),
	KEY("p99", .type = CONF_DURATION, ROLLOUT(p99_ms), .fallback = "0s", .max = 5 * SECOND,
		.help = "Of a hundred calls one may take longer. 0s: not asked."),
	KEY("calls_min", .type = CONF_NUMBER, ROLLOUT(calls_min), .fallback = "50", .min = 1,
		.max = 1000000, .help = "No step goes on before `to` has had so many calls in it."),
	KEY("preview", .type = CONF_GROUP, .group = &conf_preview_group,
		.help = "Requests that get `to` in any case, before the first step, too: the "
			"testers'."),
	KEY("order", .type = CONF_ENUM, ROLLOUT(order), .fallback = "run",
		.names = conf_order_names,
		.help = "The operator's word: go on, stay as it is, all calls to `to`, all calls "
			"to `from`."),
};
const struct conf_group conf_rollout_group = {GROUP_OF(conf_rollout_keys),
	.row_size = sizeof(struct conf_rollout_row), .keeps_setting = true};
