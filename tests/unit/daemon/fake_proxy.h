/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy process for the keeper's tests: writes a line for everything it is told or finds out into
 * the file that the environment names, and does what the configuration's word says:
 *   refuse     refuses the plan
 *   die        ends at once
 *   asks       asks for a reload, then for an end
 *   stubborn, impatient   does not end when told to drain
 *   else       takes the plan, asks for signatures, answers connections with its restart count */
#pragma once

#define FAKE_PROXY_JOURNAL "RINGMAIN_TEST_JOURNAL"

int fake_proxy_main(void);
