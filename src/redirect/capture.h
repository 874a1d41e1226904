/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be captured, boiled down from a configuration to numbers: from here on no name and no
 * text of the configuration reaches the rules. */
#pragma once

#include "base/address.h"
#include "base/error.h"
#include "conf/conf.h"
#include "marks.h"

struct port_range {
	uint16_t first, last;
};

struct capture_uid {
	uint32_t uid;
	uint32_t number; /* in the mark, before shifting; 0 until capture_give_marks() */
};

struct capture {
	uint32_t proxy_uid;
	uint32_t mark_mask;
	struct port_range outbound, inbound; /* where captured connections are sent */
	struct capture_uid *uids;	     /* workload users, ascending, each once */
	uint32_t uid_count;
	struct port_range *ports; /* of local workloads, ascending, adjacent ones merged */
	uint32_t port_count;
	struct address_range *excluded;
	uint32_t excluded_count;
};

/* Checks every number on the way in; on an error nothing is left to free. */
int capture_init(struct capture *p, const struct conf *c, struct err *err) MUST_CHECK;
void capture_done(struct capture *p);

/* The largest number the mask holds. */
uint32_t capture_number_max(const struct capture *p);
/* Reads the marks file, gives new users their numbers, and (unless it is only a look) writes it
 * back: before any rule sets a new mark, the reader of the file must be able to name it. */
int capture_give_marks(struct capture *p, const char *path, bool write, struct err *err) MUST_CHECK;
/* The bits that stand for a user, in place under the mask. */
uint32_t capture_mark_bits(const struct capture *p, uint32_t number);
