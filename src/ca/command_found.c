/* SPDX-License-Identifier: Apache-2.0 */
#include "ca/ca.h"

#include "base/usage.h"
#include "book.h"
#include "commands.h"
#include "found.h"
#include "mesh/identity.h"
#include <errno.h>
#include <stdio.h>

#define COMMAND_ROOT_S	 (3650ll * 86400)
#define COMMAND_ISSUER_S (365ll * 86400)
#define COMMAND_LEAF_S	 (24 * 3600)

/* --- init --- */

static const char command_init_usage[] =
	"Makes an authority: a root and an issuer below it (P-256), its settings DIR/ca.conf and "
	"an "
	"empty\n"
	"registration DIR/registration.conf. Never overwrites one.\n"
	"\n"
	"usage: ringmain ca init --dir DIR --trust-domain TD [--root-dir ROOTDIR] [--days N]\n"
	"                        [--listen ADDRESS:PORT]... [--name NAME]...\n"
	"       ringmain ca init --dir DIR --trust-domain TD --request\n"
	"       ringmain ca init --dir DIR --install CHAIN.pem --root ROOT.pem\n"
	"\n"
	"  --dir DIR          a directory of the authority's user, 0700; made if need be\n"
	"  --trust-domain TD  such as prod.example\n"
	"  --root-dir DIR     where the root's key goes: a medium that is kept offline. Only "
	"`ringmain ca\n"
	"                     rotate` needs it again. DIR itself unless given\n"
	"  --days N           lifetime of the root (3650); the issuer's is a year\n"
	"  --listen A:P       where `ringmain ca serve` will be asked; may be repeated\n"
	"  --name NAME        a DNS name or further address that machines call it by; may be "
	"repeated\n"
	"  --request          for a root that you have already: makes DIR/issuer.csr, to be signed "
	"there\n"
	"                     as an authority (CA:TRUE, pathlen 0, with the URI that it asks for)\n"
	"  --install FILE     what came of it, PEM: the issuer, then whatever stands between it "
	"and "
	"the root\n"
	"  --root FILE        that root\n"
	"\n"
	"example:\n"
	"  ringmain ca init --dir /var/lib/ringmain-ca --trust-domain prod.example \\\n"
	"      --root-dir /media/offline --listen 10.77.0.5:8443\n";

/* How a machine calls the server: by a name where it has one, as it may listen at every address. */
static void command_init_at(const struct conf_ca *settings, char *text, size_t size)
{
	char address[ADDRESS_TEXT_MAX];
	if (!settings || settings->listen_count == 0) {
		snprintf(text, size, "ADDRESS:PORT");
	} else if (settings->name_count == 0) {
		snprintf(text, size, "%s", address_text(&settings->listen[0], address));
	} else {
		struct str name = settings->names[0];
		bool is_ipv6 = memchr(name.at, ':', name.len) != NULL;
		snprintf(text, size, is_ipv6 ? "[" STR_FMT "]:%u" : STR_FMT ":%u", STR_ARG(name),
			settings->listen[0].port);
	}
}

/* NULL: unreadable, which the next command will say. */
static struct conf_ca *command_init_settings(const char *dir)
{
	struct conf_ca *settings = NULL;
	struct folder f;
	struct err ignored;
	if (folder_open(dir, &f, &ignored) < 0)
		return NULL;
	if (book_settings(&f, &settings, &ignored) < 0)
		settings = NULL;
	folder_close(&f);
	return settings;
}

/* In an order in which the lines may be pasted: `serve` does not return. */
static void command_init_next(const struct options *o, const char *fingerprint)
{
	const char *dir = options_dir(o);
	char at[300];
	struct conf_ca *settings = command_init_settings(dir);
	command_init_at(settings, at, sizeof(at));
	printf("\nnext, for a machine vm-a with the services web and orders:\n");
	if (!settings || settings->listen_count == 0)
		printf("  set authority.listen in %s/ca.conf, and then\n", dir);
	printf("  ringmain ca allow --dir %s vm-a web orders\n"
	       "  (umask 077; ringmain ca token --dir %s vm-a > vm-a.token)\n"
	       "  ringmain ca serve --dir %s    # or: systemctl enable --now ringmain-ca\n"
	       "and on vm-a, with that file, within ten minutes:\n"
	       "  ringmain join --ca %s --ca-fingerprint %s --token-file vm-a.token\n",
		dir, dir, dir, at, fingerprint);
	conf_ca_free(settings);
}

static void command_init_tell(const struct options *o, const char *fingerprint)
{
	const char *dir = options_dir(o), *root_dir = options_value(o, OPTIONS_ROOT_DIR);
	printf("made the authority of %s in %s\n", options_value(o, OPTIONS_TRUST_DOMAIN), dir);
	printf("  root         %s/root.crt\n", dir);
	printf("  SHA-256      %s\n", fingerprint);
	if (root_dir)
		printf("  its key      %s/root.key: keep it offline, only `ringmain ca rotate` "
		       "needs "
		       "it again\n",
			root_dir);
	else
		printf("  its key      %s/root.key: move it to where nobody can reach it from "
		       "here; "
		       "only\n"
		       "               `ringmain ca rotate --root-dir` needs it again\n",
			dir);
	printf("  issuer       %s/issuer.crt, for a year\n", dir);
	command_init_next(o, fingerprint);
}

/* What the command line names goes into a file, and must be readable there. */
static int command_init_check(const struct ca_setup *setup, struct err *err)
{
	struct str text;
	int r = found_settings_text(setup, &text, err);
	if (r < 0)
		return r;
	r = book_check_settings(text, "nothing was made: ca.conf", err);
	file_text_free(text);
	return r;
}

static int command_init_request(const struct options *o, const struct ca_setup *setup)
{
	struct err err;
	if (options_value(o, OPTIONS_ROOT_DIR) || options_value(o, OPTIONS_DAYS))
		return usage_wrong(o->command, "--root-dir and --days are for a root of its own");
	if (command_init_check(setup, &err) < 0 || ca_request(setup, &err) < 0)
		return options_failed(o, &err);
	printf("made %s/issuer.csr; have it signed as an authority, and then:\n"
	       "  ringmain ca init --dir %s --install CHAIN.pem --root ROOT.pem\n",
		setup->dir, setup->dir);
	return 0;
}

static int command_init_install(const struct options *o)
{
	char fingerprint[CA_FINGERPRINT_TEXT];
	struct err err;
	if (!options_value(o, OPTIONS_ROOT))
		return usage_wrong(o->command, "--install needs --root, the root's certificate");
	if (options_value(o, OPTIONS_TRUST_DOMAIN) || options_value(o, OPTIONS_ROOT_DIR) ||
		options_value(o, OPTIONS_DAYS) || options_value(o, OPTIONS_REQUEST))
		return usage_wrong(o->command, "--install takes --dir and --root, and no more");
	if (ca_install(options_dir(o), options_value(o, OPTIONS_INSTALL),
		    options_value(o, OPTIONS_ROOT), fingerprint, &err) < 0)
		return options_failed(o, &err);
	printf("the authority in %s is complete\n  SHA-256 of the root  %s\n", options_dir(o),
		fingerprint);
	command_init_next(o, fingerprint);
	return 0;
}

static int command_init_run(const struct options *o)
{
	char fingerprint[CA_FINGERPRINT_TEXT];
	struct err err;
	struct ca_setup setup = {.dir = options_value(o, OPTIONS_DIR),
		.root_dir = options_value(o, OPTIONS_ROOT_DIR),
		.trust_domain = str_of(options_value(o, OPTIONS_TRUST_DOMAIN)),
		.root_lifetime_s = COMMAND_ROOT_S,
		.issuer_lifetime_s = COMMAND_ISSUER_S,
		.listen = o->listen,
		.listen_count = o->listen_count,
		.names = o->names,
		.name_count = o->name_count};
	const char *days = options_value(o, OPTIONS_DAYS);
	if (!setup.dir)
		return usage_wrong(o->command, "--dir is missing");
	if (options_value(o, OPTIONS_INSTALL))
		return command_init_install(o);
	if (!options_value(o, OPTIONS_TRUST_DOMAIN))
		return usage_wrong(o->command, "--trust-domain is missing");
	if (options_value(o, OPTIONS_ROOT))
		return usage_wrong(o->command, "--root belongs to --install");
	if (days && !options_lifetime(days, 86400, &setup.root_lifetime_s))
		return usage_wrong(o->command, "--days: a number of days");
	if (options_value(o, OPTIONS_REQUEST))
		return command_init_request(o, &setup);
	if (command_init_check(&setup, &err) < 0 || ca_found(&setup, fingerprint, &err) < 0)
		return options_failed(o, &err);
	command_init_tell(o, fingerprint);
	return 0;
}

const struct options_command command_init = {.name = "init",
	.usage = command_init_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(TRUST_DOMAIN) | OPTIONS_BIT(ROOT_DIR) |
		 OPTIONS_BIT(DAYS) | OPTIONS_BIT(LISTEN) | OPTIONS_BIT(NAME) |
		 OPTIONS_BIT(REQUEST) | OPTIONS_BIT(INSTALL) | OPTIONS_BIT(ROOT),
	.run = command_init_run};

/* --- issue --- */

static const char command_issue_usage[] =
	"Makes a certificate and its key by hand: OUT/NAME.key, OUT/NAME.crt (the chain) for\n"
	"spiffe://TD/service/NAME, and OUT/roots.pem. Each is replaced as a whole, so a running "
	"ringmain\n"
	"that watches OUT picks it up. Files of another path are called as it, with '+' for '/':\n"
	"OUT/shop+web.crt.\n"
	"\n"
	"usage: ringmain ca issue --dir DIR --service NAME | --identity PATH [--ttl TTL] --out "
	"OUT\n"
	"\n"
	"  --dir DIR       the authority's directory\n"
	"  --service NAME  the service as the configuration calls it\n"
	"  --identity PATH the path of an identity, such as shop/web\n"
	"  --ttl TTL       lifetime of the certificate: 90m, 24h, 30d (24h); it ends with the "
	"issuer at the\n"
	"                  latest\n"
	"  --out OUT       where the machine expects it: identity.directory in ringmain.conf\n"
	"\n"
	"example, two services of one machine:\n"
	"  ringmain ca issue --dir /root/mesh-ca --service web    --out vm-a\n"
	"  ringmain ca issue --dir /root/mesh-ca --service orders --out vm-a\n";

static int command_issue_run(const struct options *o)
{
	int64_t lifetime_s = COMMAND_LEAF_S;
	struct err err;
	char path[CONF_IDENTITY_MAX + 1];
	const char *dir = options_value(o, OPTIONS_DIR), *out = options_value(o, OPTIONS_OUT);
	char name[CA_NAME_MAX];
	const char *service = options_value(o, OPTIONS_SERVICE),
		   *identity = options_value(o, OPTIONS_IDENTITY),
		   *ttl = options_value(o, OPTIONS_TTL);
	if (!dir || !out || !service == !identity)
		return usage_wrong(
			o->command, "--dir, --out and one of --service and --identity are needed");
	if (ttl && !options_lifetime(ttl, 0, &lifetime_s))
		return usage_wrong(o->command, "--ttl: a number and s, m, h or d, such as 24h");
	if (service && !identity_service_valid(str_of(service)))
		return usage_wrong(o->command,
			"--service: lower-case letters, digits and '-', at most %d",
			IDENTITY_SERVICE_MAX);
	if (identity && !identity_workload_valid(str_of(identity)))
		return usage_wrong(o->command,
			"--identity: a path such as shop/web, of letters, digits, '.', '-' and "
			"'_', the first part neither node nor ca, at most %d bytes",
			IDENTITY_PATH_MAX);
	snprintf(path, sizeof(path), "%s%s", service ? "service/" : "",
		service ? service : identity);
	if (ca_issue(dir, str_of(path), lifetime_s, out, &err) < 0)
		return options_failed(o, &err);
	struct str file = ca_issued_name(str_of(path), name);
	printf("issued %s/" STR_FMT ".crt\n", out, STR_ARG(file));
	return 0;
}

const struct options_command command_issue = {.name = "issue",
	.usage = command_issue_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(SERVICE) | OPTIONS_BIT(IDENTITY) |
		 OPTIONS_BIT(TTL) | OPTIONS_BIT(OUT),
	.run = command_issue_run};
