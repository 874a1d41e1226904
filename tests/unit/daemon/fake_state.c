/* SPDX-License-Identifier: Apache-2.0 */
/* A state process that writes down what it is told and passes on small pictures. */
#include "base/assert.h"
#include "base/bundle.h"
#include "daemon/channel.h"
#include "fake_proxy.h"
#include "ledger/ledger.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_state {
	struct fake fake;
	int signer;
	char word[40];
	uint64_t picture;
};

static void fake_pass(uint64_t number, int fd)
{
	struct wire_state m = {{WIRE_MAGIC, WIRE_STATE}, number};
	while (channel_send(WIRE_CHANNEL_FD, &m, sizeof(m), fd) != 0)
		usleep(1000);
	if (fd >= 0)
		close(fd);
}

static void fake_pass_picture(struct fake_state *f)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	ASSERT(bundle_add(&b, STR("mesh"), STR("service/orders@1"), STR("hello"), &err) == 0);
	fake_pass(++f->picture, bundle_to_memfd(&b, &err));
	bundle_done(&b);
}

/* None of which is a picture. */
static void fake_pass_nonsense(void)
{
	struct wire_state m = {{WIRE_MAGIC, WIRE_STATE}, 1};
	fake_tell_nonsense(&m, sizeof(m), WIRE_STATE_BYTES_MAX);
}

static const char *fake_text(const struct bundle *b, const char *kind)
{
	const struct bundle_item *item = bundle_next(b, kind, NULL);
	return item ? item->text.at : "-";
}

static void fake_sign(struct fake_state *f, const struct bundle *b)
{
	uint32_t key = (uint32_t)strtoul(fake_text(b, "pki-key"), NULL, 10), others = 0;
	uint32_t node = (uint32_t)strtoul(fake_text(b, "est-key"), NULL, 10);
	for (uint32_t i = 0; i < key + 4; i++)
		others += i != key && i != node &&
			  fake_ask(f->signer, i, "TLS 1.3, client CertificateVerify") > 0;
	uint32_t len = fake_ask(f->signer, key, "TLS 1.3, client CertificateVerify");
	fake_write(&f->fake, "state: signed %s, with others %u\n", len > 0 ? "store" : "nothing",
		others);
}

static void fake_sign_node(struct fake_state *f, const struct bundle *b)
{
	uint32_t key = (uint32_t)strtoul(fake_text(b, "est-key"), NULL, 10);
	if (key == 0) {
		fake_write(&f->fake, "state: no node orders=%d trust=%d\n",
			bundle_find(b, "chain", STR("service/orders")) != NULL,
			bundle_next(b, "roots", NULL) != NULL);
		return;
	}
	bool has_roots = bundle_find(b, "est", STR("roots")) != NULL;
	bool has_chain = bundle_find(b, "est", STR("chain")) != NULL;
	fake_write(&f->fake, "state: node signed=%d roots=%d chain=%d orders=%d trust=%d\n",
		fake_ask(f->signer, key, "TLS 1.3, client CertificateVerify") > 0, has_roots,
		has_chain, bundle_find(b, "chain", STR("service/orders")) != NULL,
		bundle_next(b, "roots", NULL) != NULL);
}

static void fake_send_view(void)
{
	struct wire_state_view view = {
		.head = {WIRE_MAGIC, WIRE_STATE_VIEW}, .view = {.connected = true, .revision = 41}};
	fake_tell(&view, sizeof(view));
}

static void fake_plan(struct fake_state *f, uint64_t generation, int fd)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	ASSERT(bundle_from_memfd(&b, fd, &err) == 0);
	close(fd);
	ASSERT(sscanf(fake_text(&b, "conf"), "%39s", f->word) == 1);
	fake_write(&f->fake, "state: plan %u %s secret=%s operator=%s roots=%.27s key=%s\n",
		(unsigned)generation, f->word, fake_text(&b, "secret"), fake_text(&b, "operator"),
		bundle_find(&b, "pki", STR("roots")) ? bundle_find(&b, "pki", STR("roots"))->text.at
						     : "-",
		bundle_next(&b, "key", NULL) ? "identity" : "-");
	if (strcmp(f->word, "meshdie") == 0)
		_exit(3);
	if (strcmp(f->word, "meshrefuse") == 0) {
		struct wire_note note = {.head = {WIRE_MAGIC, WIRE_REFUSED},
			.generation = generation,
			.text = "no such operator"};
		fake_tell(&note, sizeof(note));
		return;
	}
	fake_sign(f, &b);
	fake_sign_node(f, &b);
	struct wire_ready ready = {{WIRE_MAGIC, WIRE_READY}, generation};
	fake_tell(&ready, sizeof(ready));
	if (bundle_next(&b, "est-key", NULL))
		fake_enroll(&f->fake, f->word, &b);
	bundle_done(&b);
	if (strncmp(f->word, "ca", 2) == 0)
		return;
	if (strcmp(f->word, "meshbad") == 0)
		fake_pass_nonsense();
	else if (strcmp(f->word, "meshnone") != 0)
		fake_pass_picture(f);
	if (strcmp(f->word, "meshoutside") == 0)
		fake_tell_outside(WIRE_FACTS, 5);
	for (int i = 0; i < 100 && strcmp(f->word, "meshburst") == 0; i++)
		fake_pass_picture(f);
	fake_send_view();
}

static void fake_directory(struct fake_state *f, int fd)
{
	struct stat st;
	int file = openat(fd, "snapshot", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ASSERT(fstat(fd, &st) == 0);
	fake_write(&f->fake, "state: directory mode=%o own=%d file=%d\n",
		(unsigned)st.st_mode & 07777, st.st_uid == getuid(), file >= 0);
	close(file);
	close(fd);
}

static void fake_ledger(const struct fake_state *f, int fd)
{
	struct ledger *l;
	struct err err;
	ASSERT(ledger_map(fd, &l, &err) == 0);
	close(fd);
	fake_write(&f->fake, "state: ledger\n");
	ledger_unmap(l);
}

static void fake_hear(struct fake_state *f, const union channel_message *m, int fd)
{
	switch (m->head.kind) {
	case WIRE_START:
		fake_write(&f->fake, "state: start restarts=%u\n", m->start.restart_count);
		fake_enroll_begin(m->start.restart_count);
		break;
	case WIRE_LEDGER:
		fake_ledger(f, fd);
		break;
	case WIRE_DIRECTORY:
		fake_directory(f, fd);
		break;
	case WIRE_SIGNER:
		f->signer = fd;
		break;
	case WIRE_PLAN:
		fake_plan(f, m->plan.generation, fd);
		break;
	case WIRE_TAKE_OUT:
		fake_write(&f->fake, "state: take out %s\n", m->take_out.service);
		break;
	case WIRE_WANT:
		fake_write(&f->fake, "state: want %u\n", m->outside.count);
		close(fd);
		break;
	case WIRE_DRAIN:
		fake_write(&f->fake, "state: leave\n");
		if (strcmp(f->word, "meshstubborn") != 0)
			_exit(0);
		break;
	case WIRE_PING:
		if (strcmp(f->word, "meshmute") == 0)
			break;
		fake_write(&f->fake, "state: ping\n");
		fake_tell(&(struct wire_ping){{WIRE_MAGIC, WIRE_PONG}, m->ping.number},
			sizeof(struct wire_ping));
		break;
	}
}

int fake_state_main(void)
{
	struct fake_state f = {.signer = -1};
	fake_begin(&f.fake, "state: ");
	for (;;) {
		union channel_message m;
		size_t len;
		int fd;
		if (channel_receive(WIRE_CHANNEL_FD, CHANNEL_WAIT, &m, &len, &fd) != 0)
			_exit(5);
		fake_hear(&f, &m, fd);
	}
}
