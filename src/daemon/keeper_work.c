/* SPDX-License-Identifier: Apache-2.0 */
/* What the state process asks of the kept keys waits for the disk several times, some ten
 * milliseconds each on a slow one, while handshakes of the whole machine wait for signatures. So a
 * thread does it, one errand at a time, that knows of the keeper what it was handed and nothing
 * else.
 *
 * While it is under way no plan is made: files are being replaced that a plan would read, and the
 * old ones overwritten. */
#include "keeper.h"

#include "base/clock.h"
#include "keys/keep.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPER_CHAIN_BYTES_MAX (64u << 10)
#define KEEPER_TRUST_BYTES_MAX (1u << 20)

static int keeper_memfd_of(struct str bytes, struct err *err)
{
	int fd = memfd_create("request", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool ok = fd >= 0 && write(fd, bytes.at, bytes.len) == (ssize_t)bytes.len &&
		  fcntl(fd, F_ADD_SEALS,
			  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
	if (ok)
		return fd;
	int r = err_set(err, errno, "memfd: %m");
	if (fd >= 0)
		close(fd);
	return r;
}

/* The request's descriptor, or -errno. */
static int keeper_make_request(struct keep *keep, struct str identity, struct err *err)
{
	struct str der;
	int r = keep_request(keep, identity, &der, err);
	if (r < 0)
		return r;
	r = keeper_memfd_of(der, err);
	free((char *)(uintptr_t)der.at);
	return r;
}

static int keeper_read_memfd(int fd, size_t bytes_max, struct str *ret_text, struct err *err)
{
	struct stat st;
	if (fd < 0 || !keeper_sealed(fd, bytes_max) || fstat(fd, &st) < 0)
		return err_set(
			err, EINVAL, "not a sealed text of at most %zu KiB", bytes_max >> 10);
	char *text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	ssize_t n = pread(fd, text, (size_t)st.st_size, 0);
	*ret_text = (struct str){text, n < 0 ? 0 : (size_t)n};
	return 0;
}

static int keeper_keep_certificate(struct keep *keep, struct str identity, int fd, struct err *err)
{
	struct str chain;
	int r = keeper_read_memfd(fd, KEEPER_CHAIN_BYTES_MAX, &chain, err);
	if (r < 0)
		return r;
	r = keep_certificate(keep, identity, chain, (int64_t)(clock_wall_ns() / CLOCK_S), err);
	free((char *)(uintptr_t)chain.at);
	return r;
}

static int keeper_keep_trust(struct keep *keep, struct str trust_domain, int fd, struct err *err)
{
	struct bundle b;
	if (fd < 0 || !keeper_sealed(fd, KEEPER_TRUST_BYTES_MAX))
		return err_set(err, EINVAL, "not a sealed bundle of at most %u KiB",
			KEEPER_TRUST_BYTES_MAX >> 10);
	bundle_init(&b);
	int r = bundle_from_memfd(&b, fd, err);
	if (r == 0) {
		const struct bundle_item *roots = bundle_find(&b, "roots", trust_domain);
		const struct bundle_item *crl = bundle_find(&b, "crl", trust_domain);
		r = keep_trust(keep, trust_domain, roots ? roots->text : STR_NONE,
			crl ? crl->text : STR_NONE, err);
	}
	bundle_done(&b);
	return r;
}

/* The request's descriptor, 0, or -errno. The directory is opened for each errand: so it is what
 * the configuration says now, with permissions as they are. */
static int keeper_work_do(struct keeper_work *w, struct err *err)
{
	struct str identity = str_of(w->m.identity);
	struct keep *keep;
	int r = keep_open(w->dir, str_of(w->trust_domain), &keep, err);
	if (r < 0)
		return r;
	switch (w->m.head.kind) {
	case WIRE_REQUEST:
		r = keeper_make_request(keep, identity, err);
		break;
	case WIRE_CERTIFICATE:
		r = keeper_keep_certificate(keep, identity, w->fd, err);
		break;
	default:
		r = keeper_keep_trust(keep, identity, w->fd, err);
		break;
	}
	keep_close(keep);
	return r;
}

static void *keeper_work_main(void *of)
{
	struct keeper_work *w = of;
	w->result = keeper_work_do(w, &w->err);
	/* Cannot fail: there is room in it. */
	(void)eventfd_write(w->done_fd, 1);
	return NULL;
}

int keeper_work_init(struct keeper_work *w, struct err *err)
{
	*w = (struct keeper_work){.state = KEEPER_WORK_IDLE, .fd = -1};
	w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return w->done_fd < 0 ? err_set(err, errno, "eventfd: %m") : 0;
}

void keeper_work_start(
	struct keeper_work *w, const struct conf *conf, const struct wire_identity *m, int fd)
{
	ASSERT(w->state == KEEPER_WORK_IDLE);
	w->m = *m;
	w->fd = fd;
	w->err.text[0] = '\0';
	w->wanted = true;
	snprintf(w->dir, sizeof(w->dir), STR_FMT, STR_ARG(conf->authority.keep_dir));
	snprintf(w->trust_domain, sizeof(w->trust_domain), STR_FMT, STR_ARG(conf->trust_domain));
	w->state = KEEPER_WORK_THREAD;
	if (pthread_create(&w->thread, NULL, keeper_work_main, w) == 0)
		return;
	w->state = KEEPER_WORK_HERE; /* better late than never */
	(void)keeper_work_main(w);
}

int keeper_work_end(struct keeper_work *w)
{
	eventfd_t count;
	ASSERT(w->state != KEEPER_WORK_IDLE);
	if (w->state == KEEPER_WORK_THREAD)
		(void)pthread_join(w->thread, NULL);
	(void)eventfd_read(w->done_fd, &count);
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	w->state = KEEPER_WORK_IDLE;
	return w->result;
}

void keeper_work_done(struct keeper_work *w)
{
	if (w->state != KEEPER_WORK_IDLE) {
		int r = keeper_work_end(w);
		if (r > 0)
			close(r);
	}
	if (w->done_fd >= 0)
		close(w->done_fd);
	w->done_fd = -1;
}
