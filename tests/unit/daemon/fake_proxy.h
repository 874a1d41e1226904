/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's children for its tests: they write a line for everything they are told or find out
 * into the file that the environment names, and do what the configuration's word says:
 *   refuse     the proxy process refuses the plan
 *   die        it ends at once
 *   asks       it asks for a reload, then for an end
 *   stubborn, impatient   it does not end when told to drain
 *   else       it takes the plan, asks for signatures, answers connections with its restart count
 * and with a store:
 *   meshrefuse    the state process refuses the plan
 *   meshdie       it ends at once
 *   meshbad       it passes on what is no picture
 *   meshnone      it has no picture
 *   meshoutside   both pass on what is nothing of the world outside, and then something
 *   meshburst     it passes on 101 pictures at once
 *   meshmute      it answers no pings
 *   meshstubborn  it does not leave when told to
 *   else          it takes the plan, asks for signatures, passes on a picture and a view
 * and with an authority, which it is itself:
 *   ca, meshca    it asks for a request, gives a certificate and anchors, says how it stands
 *   caother       it asks for what is not this machine's, and gives what is none
 *   camany        it gives two certificates, one right behind the other */
#pragma once

#include "base/assert.h"
#include <stddef.h>
#include <stdint.h>

/* Environment: the journal's path. */
#define FAKE_PROXY_JOURNAL "RINGMAIN_TEST_JOURNAL"

struct fake {
	const char *who; /* what some lines begin with */
	int journal;
};

/* Opens the journal and notes what the process may do. */
void fake_begin(struct fake *f, const char *who);
void fake_write(const struct fake *f, const char *format, ...) PRINTF_LIKE(2, 3);
void fake_tell(const void *message, size_t len);
void fake_tell_fd(const void *message, size_t len, int fd);
/* The same message four times: with no descriptor, an unsealed one, a pipe, and one too large. */
void fake_tell_nonsense(const void *message, size_t len, size_t bytes_max);
/* WIRE_WANT or WIRE_FACTS: nonsense that counts 1, and then a good one. */
void fake_tell_outside(uint32_t kind, uint32_t count);
/* For a signature of what a TLS 1.3 peer signs under this text; its length. */
uint32_t fake_ask(int signer, uint32_t key, const char *text);

/* Do not return. */
int fake_proxy_main(void);
int fake_state_main(void);

/* --- fake_enroll.c: what the state process asks of the kept keys --- */

struct bundle;
void fake_enroll_begin(uint32_t restart_count);
void fake_enroll(const struct fake *f, const char *word, const struct bundle *b);
