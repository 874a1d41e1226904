/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on standard input, one a line; answers on standard output, one line of JSON each:
 *
 *     wait SECONDS [nodes=N] [endpoints=N] [revision=N] [down=N] [held=N] [agreed=WALL_NS]
 *                      until all nodes are so; answers at once, and once more when it is over:
 *                      {"event": "waited", "at_ns": [when each was so, monotonic; 0: was not]}
 *     extra N on|off   gives node N (of this process, from 0) an endpoint more, takes it again
 *     health N up|down what is said of node N's first endpoint
 *     view             how they stand
 *     quit             they leave the mesh, and the program ends; so does the end of input
 *
 * Other answers are {"event": "done", "at_ns": when it was begun} and {"event": "error", ...}. */
#pragma once

#include "swarm.h"

struct console {
	struct task task;
	struct op read;
	struct swarm *swarm;
	char held[4096];
	size_t held_len;
	char input[1024];
};

void console_init(struct console *c, struct swarm *swarm);
void console_step(struct console *c);
/* Tells the end of a wait. Call every turn. */
void console_look(struct console *c);
