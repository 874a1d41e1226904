/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates without an authority, for the state process alone: after each configuration it wants
 * a request for service/orders, gives a chain and then anchors, and wants one signature. How far it
 * has come stands in its row: the serial is the signature, the reason what the keeper said. */
#include "enroll/enroll.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum enroll_fake_step { FAKE_REQUEST, FAKE_CERTIFICATE, FAKE_TRUST, FAKE_DONE };

struct enroll {
	struct task task;
	struct loop *loop;
	struct task *owner;
	enum enroll_fake_step step;
	bool away; /* with the keeper */
	bool asked, closed;
	uint32_t key_number, count;
	char chain[64], signature[64], why[160];
};

int enroll_new(struct loop *loop, uint16_t kind_first, struct task *owner, const struct conf *conf,
	const struct bundle *b, struct enroll **ret_enroll, struct err *err)
{
	struct enroll *e = calloc(1, sizeof(*e));
	ASSERT(e && kind_first % ENROLL_KINDS == 0);
	*e = (struct enroll){.loop = loop, .owner = owner};
	task_init(&e->task, kind_first);
	int r = enroll_configure(e, conf, b, err);
	if (r < 0)
		free(e);
	else
		*ret_enroll = e;
	return r;
}

void enroll_step(struct task *t)
{
}

int enroll_configure(
	struct enroll *e, const struct conf *conf, const struct bundle *b, struct err *err)
{
	const struct bundle_item *key = bundle_find(b, "est-key", STR("node"));
	const struct bundle_item *roots = bundle_find(b, "est", STR("roots"));
	if (roots && str_eq(roots->text, STR("wrong")))
		return err_set(err, EINVAL, "the fake does not like these anchors");
	e->key_number = key ? (uint32_t)strtoul(key->text.at, NULL, 10) : 0;
	e->step = FAKE_REQUEST;
	e->away = e->asked = false;
	e->count++;
	loop_ready(e->loop, &e->task);
	return 0;
}

bool enroll_ask(struct enroll *e, struct enroll_ask *ret_ask)
{
	if (e->away || e->step == FAKE_DONE)
		return false;
	e->away = true;
	switch (e->step) {
	case FAKE_REQUEST:
		*ret_ask = (struct enroll_ask){
			.kind = ENROLL_ASK_REQUEST, .identity = STR("service/orders")};
		break;
	case FAKE_CERTIFICATE:
		*ret_ask = (struct enroll_ask){.kind = ENROLL_ASK_CERTIFICATE,
			.identity = STR("service/orders"),
			.text = str_of(e->chain)};
		break;
	case FAKE_TRUST:
		*ret_ask = (struct enroll_ask){.kind = ENROLL_ASK_TRUST,
			.identity = STR("prod.example"),
			.text = STR("anchors"),
			.crls = STR("lists")};
		break;
	case FAKE_DONE:
		break;
	}
	return true;
}

static void enroll_fake_next(struct enroll *e, const char *why)
{
	e->away = false;
	snprintf(e->why, sizeof(e->why), "%s", why);
	e->step = why[0] ? FAKE_DONE : e->step + 1;
	loop_ready(e->loop, e->owner);
}

void enroll_request(struct enroll *e, struct str identity, struct str der, const char *why)
{
	ASSERT(e->step == FAKE_REQUEST && str_eq(identity, STR("service/orders")));
	snprintf(e->chain, sizeof(e->chain), "chain of " STR_FMT, STR_ARG(der));
	enroll_fake_next(e, why);
}

void enroll_kept(struct enroll *e, struct str identity, const char *why)
{
	ASSERT(e->step == FAKE_CERTIFICATE || e->step == FAKE_TRUST);
	enroll_fake_next(e, why);
}

bool enroll_sign(struct enroll *e, struct enroll_sign *ret_sign)
{
	if (e->asked || e->key_number == 0)
		return false;
	e->asked = true;
	*ret_sign = (struct enroll_sign){.number = 77,
		.key_number = e->key_number,
		.algorithm = 0x0403,
		.bytes = (const uint8_t *)"of the authority",
		.len = 16};
	return true;
}

void enroll_sign_done(struct enroll *e, uint64_t number, const uint8_t *signature, size_t len)
{
	if (number == 77)
		snprintf(e->signature, sizeof(e->signature), "%.*s", (int)len,
			(const char *)signature);
}

bool enroll_row(const struct enroll *e, uint32_t index, struct enroll_row *ret_row)
{
	if (index > 0)
		return false;
	*ret_row = (struct enroll_row){.identity = STR("service/orders"),
		.state = e->step == FAKE_DONE ? ENROLL_FRESH : ENROLL_MISSING,
		.renewed_count = e->count};
	snprintf(ret_row->serial, sizeof(ret_row->serial), "%s", e->signature);
	snprintf(ret_row->why, sizeof(ret_row->why), "%s", e->why);
	return true;
}

int64_t enroll_skew_s(const struct enroll *e)
{
	return 3;
}

void enroll_close(struct enroll *e)
{
	e->closed = true;
}

bool enroll_idle(const struct enroll *e)
{
	return e->closed;
}

void enroll_free(struct enroll *e)
{
	free(e);
}
