/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEDGER_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

_Static_assert(sizeof(struct ledger_slot) == 128, "two cache lines");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words that two processes share have no lock");

/* Nothing of it is mapped here: the maker's memory stays out of the others' reach. All pages are
 * there from the beginning, so that none can be missing later. */
static int ledger_fill(int fd, struct err *err)
{
	struct {
		uint32_t magic, version;
		uint64_t seed;
	} head = {.magic = LEDGER_MAGIC, .version = LEDGER_VERSION};
	if (getrandom(&head.seed, sizeof(head.seed), 0) != sizeof(head.seed))
		return err_set(err, errno, "getrandom: %m");
	if (fallocate(fd, 0, 0, (off_t)sizeof(struct ledger)) < 0)
		return err_set(err, errno, "memory for limits and figures: %m");
	if (pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return err_set(err, EIO, "memory for limits and figures cannot be written");
	if (fcntl(fd, F_ADD_SEALS, LEDGER_SEALS) < 0)
		return err_set(err, errno, "sealing the memory for limits and figures: %m");
	return 0;
}

int ledger_create(struct err *err)
{
	int fd = memfd_create("ringmain-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_set(err, errno, "memfd_create: %m");
	int r = ledger_fill(fd, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Memory that could shrink would be a signal at the next look. */
static bool ledger_sound(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && (seals & LEDGER_SEALS) == LEDGER_SEALS && fstat(fd, &st) == 0 &&
	       st.st_size == (off_t)sizeof(struct ledger);
}

int ledger_map(int fd, struct ledger **ret_ledger, struct err *err)
{
	if (!ledger_sound(fd))
		return err_set(err, EINVAL, "the memory for limits and figures is another's");
	struct ledger *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (l == MAP_FAILED)
		return err_set(err, errno, "mapping the memory for limits and figures: %m");
	if (l->magic != LEDGER_MAGIC || l->version != LEDGER_VERSION) {
		ledger_unmap(l);
		return err_set(err, EINVAL, "the memory for limits and figures has another form");
	}
	*ret_ledger = l;
	return 0;
}

void ledger_unmap(struct ledger *l)
{
	if (l)
		munmap(l, sizeof(*l));
}

struct ledger_table ledger_limits(struct ledger *l)
{
	return (struct ledger_table){.at = (char *)l->limits,
		.bytes = sizeof(l->limits[0]),
		.count = LEDGER_LIMITS,
		.probes = LEDGER_PROBES,
		.idle_ns = LEDGER_IDLE_NS,
		.seed = l->seed};
}

struct ledger_table ledger_figures(struct ledger *l)
{
	return (struct ledger_table){.at = (char *)l->figures,
		.bytes = sizeof(l->figures[0]),
		.count = LEDGER_FIGURES,
		.probes = LEDGER_FIGURES,
		.idle_ns = LEDGER_FIGURE_IDLE_NS,
		.seed = l->seed};
}
