/* SPDX-License-Identifier: Apache-2.0 */
/* The redirect command alone, for the scenarios of this room: they need no proxy. */
#include "redirect/redirect.h"

int main(int argc, char **argv)
{
	return redirect_main(argc, argv);
}
