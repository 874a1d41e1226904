/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_proxy.h"

#include "base/assert.h"
#include "base/bundle.h"
#include "base/clock.h"
#include "daemon/channel.h"
#include "ledger/ledger.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct fake_proxy {
	struct fake fake;
	struct wire_start start;
	unsigned seen[5]; /* by enum wire_listener_kind */
	unsigned signer_count;
	int signer, outbound[8];
	unsigned outbound_count;
	uint32_t key_before; /* 0: none */
	uint64_t picture;    /* the newest */
	bool has_view;
	char word[40];
};

void fake_write(const struct fake *f, const char *format, ...)
{
	char text[2200];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (int i = 0; i < len - 1; i++)
		text[i] = text[i] == '\n' ? '|' : text[i];
	ssize_t n = write(f->journal, text, (size_t)len);
	(void)n;
}

static unsigned fake_open_files(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 3; /* ".", "..", and the directory's own */
}

static void fake_privileges(const struct fake *f, unsigned files)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	struct rlimit core;
	int death_signal = 0;
	syscall(SYS_capget, &head, caps);
	getrlimit(RLIMIT_CORE, &core);
	prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0);
	fake_write(f,
		"%spid=%d uid=%d groups=%d capabilities=%u no_new_privs=%d core=%d files=%u "
		"death_signal=%d notify_socket=%d\n",
		f->who, (int)getpid(), (int)getuid(), getuid() == 65534 ? getgroups(0, NULL) : 0,
		caps[0].effective | caps[0].permitted | caps[1].effective | caps[1].permitted,
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), (int)core.rlim_cur, files, death_signal,
		getenv("NOTIFY_SOCKET") != NULL);
}

void fake_tell_fd(const void *message, size_t len, int fd)
{
	ASSERT(channel_send(WIRE_CHANNEL_FD, message, len, fd) == 0);
}

void fake_tell(const void *message, size_t len)
{
	fake_tell_fd(message, len, -1);
}

static void fake_pass(const void *message, size_t len, int fd)
{
	while (channel_send(WIRE_CHANNEL_FD, message, len, fd) != 0)
		usleep(1000);
	if (fd >= 0)
		close(fd);
}

void fake_tell_nonsense(const void *message, size_t len, size_t bytes_max)
{
	int fds[2];
	fake_pass(message, len, -1);
	int open_to_change = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT(write(open_to_change, "x", 1) == 1);
	fake_pass(message, len, open_to_change);
	ASSERT(pipe(fds) == 0);
	fake_pass(message, len, fds[0]);
	int large = memfd_create("large", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT(ftruncate(large, (off_t)bytes_max + 1) == 0);
	ASSERT(fcntl(large, F_ADD_SEALS,
		       F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0);
	fake_pass(message, len, large);
}

void fake_tell_outside(uint32_t kind, uint32_t count)
{
	struct wire_outside m = {{WIRE_MAGIC, kind}, 1};
	struct bundle b;
	struct err err;
	fake_tell_nonsense(&m, sizeof(m), WIRE_OUTSIDE_BYTES_MAX);
	bundle_init(&b);
	ASSERT(bundle_add(&b, STR("host"), STR("h.example"), STR("10.0.0.1\n"), &err) == 0);
	m.count = count;
	fake_pass(&m, sizeof(m), bundle_to_memfd(&b, &err));
	bundle_done(&b);
}

static void fake_tell_kind(enum wire_kind kind)
{
	struct wire_head m = {WIRE_MAGIC, (uint32_t)kind};
	fake_tell(&m, sizeof(m));
}

uint32_t fake_ask(int signer, uint32_t key, const char *text)
{
	struct wire_sign m = {.head = {WIRE_MAGIC, WIRE_SIGN},
		.request = 77,
		.key_number = key,
		.algorithm = 0x0403,
		.len = (uint16_t)(64 + strlen(text) + 1 + 32)};
	memset(m.bytes, ' ', 64);
	memcpy(m.bytes + 64, text, strlen(text) + 1);
	ASSERT(channel_send(signer, &m, sizeof(m), -1) == 0);
	union channel_message answer;
	size_t len;
	int fd;
	ASSERT(channel_receive(signer, CHANNEL_WAIT, &answer, &len, &fd) == 0);
	ASSERT(answer.head.kind == WIRE_SIGNED && answer.signature[0].request == 77);
	return answer.signature[0].len;
}

/* As many as a message holds, every second one not to be signed. */
static void fake_ask_batch(struct fake_proxy *f, uint32_t key)
{
	static const char text[] = "TLS 1.3, client CertificateVerify";
	struct wire_sign m[WIRE_SIGN_BATCH] = {0};
	for (uint32_t i = 0; i < WIRE_SIGN_BATCH; i++) {
		m[i] = (struct wire_sign){.head = {WIRE_MAGIC, WIRE_SIGN},
			.request = 100 + i,
			.key_number = key,
			.algorithm = i % 2 == 0 ? 0x0403 : 0x0804,
			.len = 64 + sizeof(text) + 32};
		memset(m[i].bytes, ' ', 64);
		memcpy(m[i].bytes + 64, text, sizeof(text));
	}
	ASSERT(channel_send(f->signer, m, sizeof(m), -1) == 0);
	union channel_message answer;
	size_t len;
	int fd;
	ASSERT(channel_receive(f->signer, CHANNEL_WAIT, &answer, &len, &fd) == 0);
	ASSERT(len == WIRE_SIGN_BATCH * sizeof(answer.signature[0]));
	uint32_t signed_count = 0;
	for (uint32_t i = 0; i < WIRE_SIGN_BATCH; i++) {
		ASSERT(answer.signature[i].request == 100 + i);
		signed_count += answer.signature[i].len > 0;
	}
	fake_write(&f->fake, "signed %u of a batch\n", signed_count);
}

static bool fake_is_own(const struct bundle *b, uint32_t key)
{
	const struct bundle_item *item = NULL;
	while ((item = bundle_next(b, "key", item))) {
		if (strtoul(item->text.at, NULL, 10) == key)
			return true;
	}
	return false;
}

/* Numbers of keys that are not the proxy process's: the machine's own, the store's, none at all. */
static void fake_ask_others(struct fake_proxy *f, const struct bundle *b)
{
	const struct bundle_item *first = bundle_next(b, "key", NULL);
	uint32_t around = first ? (uint32_t)strtoul(first->text.at, NULL, 10) : 0, others = 0;
	for (uint32_t key = around; key < around + 8; key++)
		others += !fake_is_own(b, key) &&
			  fake_ask(f->signer, key, "TLS 1.3, client CertificateVerify") > 0;
	if (first)
		fake_write(&f->fake, "signed with others %u\n", others);
}

static void fake_ask_all(struct fake_proxy *f, const struct bundle *b)
{
	fake_ask_others(f, b);
	const struct bundle_item *item = NULL;
	while ((item = bundle_next(b, "key", item))) {
		uint32_t key = (uint32_t)strtoul(item->text.at, NULL, 10);
		if (fake_ask(f->signer, key, "TLS 1.3, client CertificateVerify") > 0)
			fake_write(&f->fake, "signed %s\n", item->name.at);
		if (fake_ask(f->signer, key, "TLS 1.3, client CertificateVerifY") == 0)
			fake_write(&f->fake, "not signed: other input\n");
		if (f->key_before && f->key_before != key &&
			fake_ask(f->signer, f->key_before, "TLS 1.3, client CertificateVerify") > 0)
			fake_write(&f->fake, "signed %s with the key before\n", item->name.at);
		fake_ask_batch(f, key);
		f->key_before = key;
	}
	static const char *const others[] = {
		"operator", "secret", "pki", "pki-key", "est", "est-key"};
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (bundle_next(b, others[i], NULL))
			fake_write(&f->fake, "sees %s\n", others[i]);
	}
	while ((item = bundle_next(b, "jwks", item)))
		fake_write(&f->fake, "keys of %s\n", item->name.at);
	if ((item = bundle_next(b, "mark", NULL)))
		fake_write(&f->fake, "marks %s %s\n", item->name.at, item->text.at);
}

static void fake_plan(struct fake_proxy *f, uint64_t generation, int fd)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	ASSERT(bundle_from_memfd(&b, fd, &err) == 0);
	ASSERT(sscanf(bundle_next(&b, "conf", NULL)->text.at, "%39s", f->word) == 1);
	if (generation == 1 || f->seen[WIRE_LISTENER_OUTBOUND] > 0)
		fake_write(&f->fake, "outbound=%u inbound=%u mesh=%u admin=%u log=%u signers=%u\n",
			f->seen[WIRE_LISTENER_OUTBOUND], f->seen[WIRE_LISTENER_INBOUND],
			f->seen[WIRE_LISTENER_MESH], f->seen[WIRE_LISTENER_ADMIN],
			f->seen[WIRE_LISTENER_ACCESS_LOG], f->signer_count);
	if (strcmp(f->word, "die") == 0)
		_exit(3);
	if (strcmp(f->word, "meshoutside") == 0)
		fake_tell_outside(WIRE_WANT, 3);
	if (strcmp(f->word, "refuse") == 0) {
		struct wire_note note = {.head = {WIRE_MAGIC, WIRE_REFUSED},
			.generation = generation,
			.text = "not this one"};
		fake_tell(&note, sizeof(note));
	} else {
		fake_ask_all(f, &b);
		struct wire_ready ready = {
			.head = {WIRE_MAGIC, WIRE_READY}, .generation = generation};
		fake_tell(&ready, sizeof(ready));
		fake_write(&f->fake, "plan %u %s\n", (unsigned)generation, f->word);
		if (strcmp(f->word, "asks") == 0)
			fake_tell_kind(generation == 1 ? WIRE_RELOAD : WIRE_STOP);
	}
	bundle_done(&b);
}

static void fake_listener(struct fake_proxy *f, const struct wire_listener *l, int fd)
{
	f->seen[l->listener_kind]++;
	if (l->listener_kind == WIRE_LISTENER_OUTBOUND && f->outbound_count < 8) {
		f->outbound[f->outbound_count++] = fd;
	} else if (l->listener_kind == WIRE_LISTENER_ACCESS_LOG) {
		if (f->seen[WIRE_LISTENER_ACCESS_LOG] == 2) {
			ASSERT(write(fd, "hello\n", 6) == 6);
			fake_write(&f->fake, "new access log\n");
		}
	}
}

static void fake_taken(const struct fake_proxy *f)
{
	struct wire_state taken = {{WIRE_MAGIC, WIRE_STATE_TAKEN}, f->picture};
	fake_tell(&taken, sizeof(taken));
}

/* Slow: the first is taken when the first view has come, which the state process sends behind its
 * pictures. */
static void fake_picture(struct fake_proxy *f, const struct wire_state *m, int fd)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	ASSERT(bundle_from_memfd(&b, fd, &err) == 0);
	if (bundle_next(&b, "mesh", NULL))
		fake_write(&f->fake, "picture %u %s\n", (unsigned)m->number,
			bundle_next(&b, "mesh", NULL)->text.at);
	bundle_done(&b);
	close(fd);
	f->picture = m->number;
	if (f->has_view)
		fake_taken(f);
}

static void fake_view(struct fake_proxy *f, const struct wire_state_view *m)
{
	struct wire_take_out out = {{WIRE_MAGIC, WIRE_TAKE_OUT}, 0, "orders"};
	fake_write(&f->fake, "view connected=%d revision=%u\n", m->view.connected,
		(unsigned)m->view.revision);
	fake_tell(&out, sizeof(out));
	if (!f->has_view && f->picture > 0)
		fake_taken(f);
	f->has_view = true;
}

static void fake_identities(struct fake_proxy *f, const struct wire_identities *m, int fd)
{
	struct wire_certificate row;
	for (uint32_t i = 0; i < m->count; i++) {
		ASSERT(pread(fd, &row, sizeof(row), (off_t)(i * sizeof(row))) == sizeof(row));
		fake_write(&f->fake, "row %s state=%u skew=%d\n", row.identity, row.state,
			(int)m->skew_s);
	}
	close(fd);
}

/* What the lives of the proxy process before have counted, and this one. */
static void fake_ledger(const struct fake_proxy *f, int fd)
{
	static const struct ledger_id id = {{1, 2}};
	struct ledger_sums sums;
	struct ledger *l;
	struct err err;
	ASSERT(ledger_map(fd, &l, &err) == 0);
	close(fd);
	ASSERT(ledger_figure_add(l, &id, false, 1, clock_monotonic_ns()));
	ASSERT(ledger_figure_read(l, &id, &sums));
	fake_write(&f->fake, "ledger calls=%u\n", (unsigned)sums.calls);
	ledger_unmap(l);
}

static void fake_hear(struct fake_proxy *f, const union channel_message *m, int fd)
{
	switch (m->head.kind) {
	case WIRE_START:
		f->start = m->start;
		fake_write(&f->fake, "start workers=%u restarts=%u\n", m->start.worker_count,
			m->start.restart_count);
		break;
	case WIRE_LEDGER:
		fake_ledger(f, fd);
		break;
	case WIRE_LISTENER:
		fake_listener(f, &m->listener, fd);
		break;
	case WIRE_SIGNER:
		f->signer_count++;
		f->signer = fd;
		break;
	case WIRE_PLAN:
		fake_plan(f, m->plan.generation, fd);
		close(fd);
		break;
	case WIRE_NOTE:
		fake_write(&f->fake, "note %s\n", m->note.text);
		break;
	case WIRE_STATE:
		fake_picture(f, &m->state, fd);
		break;
	case WIRE_STATE_VIEW:
		fake_view(f, &m->view);
		break;
	case WIRE_IDENTITIES:
		fake_identities(f, &m->identities, fd);
		break;
	case WIRE_FACTS:
		fake_write(&f->fake, "facts %u\n", m->outside.count);
		close(fd);
		break;
	case WIRE_DRAIN:
		fake_write(&f->fake, "drain\n");
		if (strcmp(f->word, "stubborn") != 0 && strcmp(f->word, "impatient") != 0)
			_exit(0);
		break;
	case WIRE_PING:
		fake_tell(&(struct wire_ping){{WIRE_MAGIC, WIRE_PONG}, m->ping.number},
			sizeof(struct wire_ping));
		break;
	}
}

static void fake_answer(struct fake_proxy *f, int listener)
{
	char c = (char)('0' + f->start.restart_count);
	int fd = accept(listener, NULL, NULL);
	if (fd < 0)
		return;
	ssize_t n = send(fd, &c, 1, MSG_NOSIGNAL);
	(void)n;
	close(fd);
}

void fake_begin(struct fake *f, const char *who)
{
	unsigned files = fake_open_files();
	f->who = who;
	f->journal = open(getenv(FAKE_PROXY_JOURNAL), O_WRONLY | O_APPEND);
	fake_privileges(f, files);
}

int fake_proxy_main(void)
{
	struct fake_proxy f = {.signer = -1};
	fake_begin(&f.fake, "");
	for (;;) {
		struct pollfd polls[9] = {{.fd = WIRE_CHANNEL_FD, .events = POLLIN}};
		for (unsigned i = 0; i < f.outbound_count; i++)
			polls[1 + i] = (struct pollfd){.fd = f.outbound[i], .events = POLLIN};
		if (poll(polls, 1 + f.outbound_count, -1) < 0)
			_exit(4);
		for (unsigned i = 0; i < f.outbound_count; i++) {
			if (polls[1 + i].revents)
				fake_answer(&f, f.outbound[i]);
		}
		if (!polls[0].revents)
			continue;
		union channel_message m;
		size_t len;
		int fd;
		if (channel_receive(WIRE_CHANNEL_FD, CHANNEL_WAIT, &m, &len, &fd) != 0)
			_exit(5);
		fake_hear(&f, &m, fd);
	}
}
