/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread of the proxy process: what the keeper's child does from its first line on. */
#pragma once

/* The proxy process: takes over the control socket given by the keeper, returns the exit status. */
int control_main(int channel_fd);
