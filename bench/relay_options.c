/* SPDX-License-Identifier: Apache-2.0 */
#include "relay_options.h"

#include "base/usage.h"
#include "tcp.h"
#include <getopt.h>
#include <stdio.h>

static const char relay_help[] =
	"usage: %s --listen ADDR:PORT --to ADDR:PORT\n"
	"\n"
	"Moves bytes between every connection it accepts and one that it dials for it, and does\n"
	"nothing else: what a relay costs at least. Port 0: any that is free. Prints\n"
	"{\"listening\": \"ADDR:PORT\"}.\n";

enum relay_option_letter { RELAY_LISTEN = 'l', RELAY_TO = 't', RELAY_HELP = 'h' };

static const struct option relay_option_table[] = {
	{"listen", required_argument, NULL, RELAY_LISTEN},
	{"to", required_argument, NULL, RELAY_TO},
	{"help", no_argument, NULL, RELAY_HELP},
	{0},
};

static int relay_options_check(
	const char *command, const char *listen, const char *to, struct relay_options *ret_options)
{
	if (!listen || !to)
		return usage_wrong(command, "--listen and --to are needed") + 1;
	if (!tcp_parse(listen, &ret_options->listen))
		return usage_wrong(command, "--listen: an address with a port: 127.0.0.1:80") + 1;
	if (!tcp_parse(to, &ret_options->to) || ret_options->to.port == 0)
		return usage_wrong(command, "--to: an address with a port: 127.0.0.1:80") + 1;
	return 0;
}

int relay_options_read(int argc, char **argv, struct relay_options *ret_options)
{
	const char *listen = NULL, *to = NULL;
	int letter;
	while ((letter = getopt_long(argc, argv, "", relay_option_table, NULL)) != -1) {
		switch (letter) {
		case RELAY_LISTEN:
			listen = optarg;
			break;
		case RELAY_TO:
			to = optarg;
			break;
		case RELAY_HELP:
			printf(relay_help, argv[0]);
			return 1;
		default:
			return usage_more(argv[0]) + 1;
		}
	}
	if (optind < argc)
		return usage_wrong(argv[0], "\"%s\" is an argument too many", argv[optind]) + 1;
	return relay_options_check(argv[0], listen, to, ret_options);
}
