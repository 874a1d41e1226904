/* SPDX-License-Identifier: Apache-2.0 */
/* The command lines of `ringmain ca ...`: one table of options, of which each command takes some.
 */
#pragma once

#include "base/str.h"
#include "folder.h"
#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_DIR_DEFAULT "/var/lib/ringmain-ca"
#define OPTIONS_LIST_MAX    64

/* X(bit, "name", whether it has an argument) */
#define OPTIONS_LIST(X)                                                                      \
	X(DIR, "dir", true)                                                                  \
	X(TRUST_DOMAIN, "trust-domain", true)                                                \
	X(DAYS, "days", true)                                                                \
	X(SERVICE, "service", true)                                                          \
	X(TTL, "ttl", true)                                                                  \
	X(OUT, "out", true)                                                                  \
	X(ROOT_DIR, "root-dir", true)                                                        \
	X(LISTEN, "listen", true)                                                            \
	X(NAME, "name", true)                                                                \
	X(REQUEST, "request", false)                                                         \
	X(INSTALL, "install", true)                                                          \
	X(ROOT, "root", true) /* a file; a mere switch where OPTIONS_ROOT_SWITCH is taken */ \
	X(IDENTITIES, "identities", true)                                                    \
	X(REVOKE, "revoke", false)                                                           \
	X(WHY, "why", true)                                                                  \
	X(SERIAL, "serial", true)                                                            \
	X(NODE, "node", true)                                                                \
	X(IDENTITY, "identity", true)                                                        \
	X(REMOVE, "remove", false)                                                           \
	X(FORCE, "force", false)                                                             \
	X(OUTPUT, "output", true)                                                            \
	X(CHECK, "check", false)                                                             \
	X(HELP, "help", false)

enum options_name {
#define X(name, text, has_argument) OPTIONS_##name,
	OPTIONS_LIST(X)
#undef X
		OPTIONS_COUNT,
};
#define OPTIONS_BIT(name)   (1u << OPTIONS_##name)
#define OPTIONS_ROOT_SWITCH (1u << 31)

struct options {
	const char *command;		   /* "ringmain ca token", what its messages begin with */
	const char *values[OPTIONS_COUNT]; /* NULL: not given; "" for a switch that is */
	const char *listen[OPTIONS_LIST_MAX], *names[OPTIONS_LIST_MAX];
	uint32_t listen_count, name_count;
	char **words; /* behind the options */
	uint32_t word_count;
};

/* What a command is. */
struct options_command {
	const char *name, *usage;
	uint32_t takes; /* OPTIONS_BIT()s */
	uint32_t words_min, words_max;
	int (*run)(const struct options *o); /* exit status */
};

/* Reads and runs; exit status. argv[0] is the command's word. */
int options_run(const struct options_command *c, int argc, char **argv);

static inline const char *options_value(const struct options *o, enum options_name name)
{
	return o->values[name];
}
/* The authority's directory, the default unless given. */
const char *options_dir(const struct options *o);
#define OPTIONS_MORE_TEXT (PATH_MAX + 8)
/* " --dir DIR" behind a command that is named as the next; "" where it is the default. */
const char *options_more(const struct options *o, char text[OPTIONS_MORE_TEXT]);
/* "90m", "24h", "30d", "3600s"; a mere number counts `unit_s`s (0: must have a letter). False: not
 * that, or nothing, or centuries. */
bool options_lifetime(const char *text, uint64_t unit_s, int64_t *ret_s);
/* Says on stderr what went wrong, and gives exit status 1. */
int options_failed(const struct options *o, const struct err *err);
int64_t options_now(void);
/* "2026-11-27 14:25:00Z". */
const char *options_time(int64_t time_s, char text[32]);
/* "5s", "3m", "2h", "4d". */
const char *options_age(int64_t seconds, char text[32]);

/* Opens the directory and takes the lock. False: said why. */
bool options_enter(const struct options *o, struct folder *f);
void options_leave(struct folder *f);
