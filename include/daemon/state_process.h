/* SPDX-License-Identifier: Apache-2.0 */
/* The state process: knows the mesh's store and how this machine's workloads are, and tells the
 * proxy process what the mesh looks like. What the keeper's second child does from its first line
 * on. */
#pragma once

/* Takes over the control socket given by the keeper, returns the exit status. */
int state_process_main(int channel_fd);
