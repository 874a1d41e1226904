/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include "base/usage.h"
#include "conf/conf.h"
#include "keeper.h"
#include "keys/keyring.h"
#include "mesh/snapshot.h"
#include "state/object.h"
#include "tls/tls.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void check_complain(const char *text)
{
	if (text)
		fputs(text, stderr);
}

static bool check_has_identity(const struct tls_store *store, struct str path)
{
	struct tls_identity_view view;
	for (size_t i = 0; tls_store_identity(store, i, &view); i++) {
		if (str_eq(view.path, path))
			return true;
	}
	return false;
}

/* No error: it may be issued later. */
static void check_warn_identities(
	const struct conf *conf, const struct snapshot *snapshot, const struct tls_store *store)
{
	for (uint32_t i = 0; i < snapshot->workload_count; i++) {
		struct str path = snapshot->workloads[i].identity;
		if (!check_has_identity(store, path))
			fprintf(stderr, STR_FMT ": warning: no certificate for " STR_FMT "\n",
				STR_ARG(conf->authority.server_count > 0 ? conf->authority.keep_dir
									 : conf->certificate_dir),
				STR_ARG(path));
	}
}

static int check_load_keys(
	struct conf *conf, struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	struct keyring_numbers numbers = {.next = 1};
	if (conf->authority.server_count > 0)
		return keeper_keys_load_kept(conf, NULL, &numbers, ret_keyring, b, err);
	return keyring_load(
		conf->certificate_dir.at, conf->trust_domain, &numbers, ret_keyring, b, err);
}

/* As the keeper loads them, then as the proxy process does. They can only be looked at by who may
 * read the keys; the others are told so. */
static int check_certificates(struct conf *conf, const struct snapshot *snapshot, struct bundle *b)
{
	struct keyring *keyring = NULL;
	struct tls_store *store = NULL;
	struct err err;
	if (conf->certificate_dir.len == 0 && conf->authority.server_count == 0)
		return 0;
	int r = check_load_keys(conf, &keyring, b, &err);
	if (r == 0)
		r = tls_store_new(b, conf->trust_domain, 1, &store, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	else
		check_warn_identities(conf, snapshot, store);
	if (store)
		tls_store_unref(store);
	keyring_free(keyring);
	return r;
}

/* Of what the state process is given: passwords, keys, authorities. A credential is there only when
 * the service manager runs us; by hand it is passed over. */
static int check_store_files(const struct conf *conf, struct bundle *b)
{
	struct conf_state s = conf->state;
	struct str *const secrets[] = {&s.password_file, &s.sentinel_password_file};
	struct keyring *keyring = NULL;
	struct err err;
	struct keyring_numbers numbers = {.next = 1};
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		bool is_path = secrets[i]->len > 0 && memchr(secrets[i]->at, '/', secrets[i]->len);
		if (!is_path && !getenv("CREDENTIALS_DIRECTORY"))
			*secrets[i] = STR_NONE;
	}
	int r = keeper_files_add(&s, b, &err);
	if (r == 0 && s.tls_certificate.len > 0)
		r = keyring_load_pki(
			s.tls_certificate.at, s.tls_key.at, &numbers, &keyring, b, &err);
	keyring_free(keyring);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r;
}

static int check_store(const struct conf *conf, struct bundle *b)
{
	struct operator_keys *keys = NULL;
	struct err err;
	if (conf->state.redis_count == 0)
		return 0;
	int r = check_store_files(conf, b);
	if (r < 0)
		return r;
	r = operator_keys_new(b, &keys, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	operator_keys_free(keys);
	return r;
}

static int check_bundle(struct bundle *b, struct conf_report *report)
{
	struct conf *conf;
	struct snapshot *snapshot;
	if (conf_parse(b, NULL, 1, &conf, &snapshot, report) < 0) {
		check_complain(report->text);
		return 1;
	}
	check_complain(report->text); /* warnings */
	bool whole = check_certificates(conf, snapshot, b) == 0;
	whole = check_store(conf, b) == 0 && whole;
	int status = whole ? 0 : 1;
	if (status == 0)
		printf("configuration is valid: workloads %u, services %u, policies %u\n",
			conf->workload_count, snapshot->service_count, snapshot->policy_count);
	conf_snapshot_free(snapshot);
	conf_free(conf);
	return status;
}

static int check_file(const char *path)
{
	struct bundle b;
	struct conf_report report;
	int status = 1;
	bundle_init(&b);
	conf_report_init(&report);
	if (conf_gather(path, &b, &report) == 0)
		status = check_bundle(&b, &report);
	else
		check_complain(report.text);
	if (report.error_count > 1)
		fprintf(stderr, "%u errors\n", report.error_count);
	conf_report_done(&report);
	bundle_done(&b);
	return status;
}

int check_main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
		{"reference", no_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'}, {0}};
	static const char usage[] =
		"Reads the configuration, the mesh objects and the certificates as `ringmain run` "
		"would,\n"
		"and prints everything that is wrong with them.\n\n"
		"usage: ringmain check [-c FILE]\n"
		"       ringmain check --reference\n\n"
		"  -c, --config FILE  the configuration (" CONF_PATH_DEFAULT ")\n"
		"  --reference        print every key with its default and range, and read "
		"nothing\n\n"
		"Exit status: 0 it would be taken, 1 it would not, 2 wrong usage.\n";
	const char *path = CONF_PATH_DEFAULT;
	int letter;
	optind = 1;
	while ((letter = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (letter == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (letter == 'r') {
			conf_print_reference(STDOUT_FILENO);
			return 0;
		}
		if (letter != 'c')
			return usage_more(argv[0]);
		path = optarg;
	}
	if (optind < argc)
		return usage_wrong(argv[0], "an argument too many");
	return check_file(path);
}
