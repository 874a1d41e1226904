/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain ca`: the command line of the authority. */
#include "ca/ca.h"

#include "base/usage.h"
#include "mesh/identity.h"
#include <getopt.h>
#include <limits.h>
#include <stdio.h>

#define CA_ROOT_DAYS	3650
#define CA_LEAF_TTL_S	(24 * 3600)
#define CA_LIFETIME_MAX (100ll * 365 * 86400)

static const char ca_usage[] =
	"A certificate authority in a directory: one root, and a certificate with its key for "
	"each\n"
	"service. Enough for a few machines and for trying out; a larger mesh points ringmain at "
	"the\n"
	"files of an authority it already has.\n"
	"\n"
	"usage: ringmain ca init  --dir DIR --trust-domain TD [--days N]\n"
	"       ringmain ca issue --dir DIR --service NAME [--ttl TTL] --out DIR\n"
	"\n"
	"init   makes DIR/root.key (keep it off the machines of the mesh), DIR/root.crt, "
	"DIR/issuer.* and "
	"DIR/roots.pem;\n"
	"       never overwrites an authority\n"
	"issue  makes OUT/NAME.key, OUT/NAME.crt for spiffe://TD/service/NAME, and OUT/roots.pem; "
	"each\n"
	"       is replaced as a whole, so a running ringmain that watches OUT picks it up\n"
	"\n"
	"  --dir DIR          the authority's directory\n"
	"  --trust-domain TD  such as prod.example\n"
	"  --days N           lifetime of the root (3650)\n"
	"  --service NAME     the service as the configuration calls it\n"
	"  --ttl TTL          lifetime of the certificate: 90m, 24h, 30d (24h); it ends with the "
	"root\n"
	"                     at the latest\n"
	"  --out DIR          where the machine expects it: identity.directory in "
	"ringmain.conf\n"
	"\n"
	"example, two services of one machine:\n"
	"  ringmain ca init --dir /root/mesh-ca --trust-domain prod.example\n"
	"  ringmain ca issue --dir /root/mesh-ca --service web    --out vm-a\n"
	"  ringmain ca issue --dir /root/mesh-ca --service orders --out vm-a\n";

struct ca_options {
	const char *command; /* argv[0] */
	const char *dir, *trust_domain, *service, *out;
	const char *days, *ttl; /* NULL: the default */
};

enum ca_option_letter {
	CA_DIR = 'd',
	CA_TRUST_DOMAIN,
	CA_DAYS,
	CA_SERVICE,
	CA_TTL,
	CA_OUT,
	CA_HELP
};

static const struct option ca_option_table[] = {
	{"dir", required_argument, NULL, CA_DIR},
	{"trust-domain", required_argument, NULL, CA_TRUST_DOMAIN},
	{"days", required_argument, NULL, CA_DAYS},
	{"service", required_argument, NULL, CA_SERVICE},
	{"ttl", required_argument, NULL, CA_TTL},
	{"out", required_argument, NULL, CA_OUT},
	{"help", no_argument, NULL, CA_HELP},
	{0},
};

/* 0, or the exit status + 1 to leave with: --help, or a usage error already told. */
static int ca_options_read(int argc, char **argv, struct ca_options *o)
{
	optind = 1;
	argv[0] = (char *)(uintptr_t)o->command;
	for (;;) {
		switch (getopt_long(argc, argv, "", ca_option_table, NULL)) {
		case CA_DIR:
			o->dir = optarg;
			break;
		case CA_TRUST_DOMAIN:
			o->trust_domain = optarg;
			break;
		case CA_DAYS:
			o->days = optarg;
			break;
		case CA_SERVICE:
			o->service = optarg;
			break;
		case CA_TTL:
			o->ttl = optarg;
			break;
		case CA_OUT:
			o->out = optarg;
			break;
		case CA_HELP:
			fputs(ca_usage, stdout);
			return 1;
		case -1:
			if (optind == argc)
				return 0;
			return usage_wrong(o->command, "an argument too many") + 1;
		default:
			return usage_more(o->command) + 1;
		}
	}
}

/* "90m", "24h", "30d", "3600s"; false: not that, or nothing, or centuries. */
static bool ca_lifetime(struct str text, uint64_t unit_s, int64_t *ret_s)
{
	uint64_t n;
	if (unit_s == 0) {
		static const struct {
			char letter;
			uint32_t seconds;
		} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
		for (size_t i = 0; text.len > 0 && i < ARRAY_LEN(units); i++) {
			if (text.at[text.len - 1] == units[i].letter)
				unit_s = units[i].seconds;
		}
		if (unit_s == 0)
			return false;
		text.len--;
	}
	if (!str_to_u64(text, &n) || n == 0 || n > CA_LIFETIME_MAX / unit_s)
		return false;
	*ret_s = (int64_t)(n * unit_s);
	return true;
}

static int ca_run_init(const struct ca_options *o)
{
	int64_t lifetime_s = CA_ROOT_DAYS * 86400ll;
	struct err err;
	if (!o->dir || !o->trust_domain)
		return usage_wrong(o->command, "init needs --dir and --trust-domain");
	if (o->service || o->ttl || o->out)
		return usage_wrong(o->command, "--service, --ttl and --out are for issue");
	if (o->days && !ca_lifetime(str_of(o->days), 86400, &lifetime_s))
		return usage_wrong(o->command, "--days: a number of days");
	if (ca_init(o->dir, str_of(o->trust_domain), lifetime_s, &err) < 0) {
		fprintf(stderr, "ringmain ca init: %s\n", err.text);
		return 1;
	}
	printf("made the authority of %s in %s; keep %s/root.key safe\n", o->trust_domain, o->dir,
		o->dir);
	return 0;
}

static int ca_run_issue(const struct ca_options *o)
{
	int64_t lifetime_s = CA_LEAF_TTL_S;
	struct err err;
	char path[sizeof("service/") + IDENTITY_SERVICE_MAX];
	if (!o->dir || !o->service || !o->out)
		return usage_wrong(o->command, "issue needs --dir, --service and --out");
	if (o->days || o->trust_domain)
		return usage_wrong(o->command, "--trust-domain and --days are for init");
	if (o->ttl && !ca_lifetime(str_of(o->ttl), 0, &lifetime_s))
		return usage_wrong(o->command, "--ttl: a number and s, m, h or d, such as 24h");
	if (!identity_service_valid(str_of(o->service)))
		return usage_wrong(o->command,
			"--service: lower-case letters, digits and '-', at most %d",
			IDENTITY_SERVICE_MAX);
	snprintf(path, sizeof(path), "service/%s", o->service);
	if (ca_issue(o->dir, str_of(path), lifetime_s, o->out, &err) < 0) {
		fprintf(stderr, "ringmain ca issue: %s\n", err.text);
		return 1;
	}
	printf("issued %s/%s.crt\n", o->out, o->service);
	return 0;
}

int ca_main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct ca_options *o);
	} verbs[] = {{"init", ca_run_init}, {"issue", ca_run_issue}};
	if (argc < 2)
		return usage_wrong(argv[0], "init or issue?");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		fputs(ca_usage, stdout);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(argv[1], verbs[i].name) != 0)
			continue;
		struct ca_options options = {.command = argv[0]};
		int leave = ca_options_read(argc - 1, argv + 1, &options);
		return leave ? leave - 1 : verbs[i].run(&options);
	}
	return usage_wrong(argv[0], "init or issue, not \"%s\"", argv[1]);
}
