/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain join`: what is on the command line and in the files, then a loop of its own until it
 * has ended. */
#include "enroll/enroll.h"

#include "base/clock.h"
#include "base/usage.h"
#include "fetch/lookup.h"
#include "join.h"
#include "judge.h"
#include "keys/cert.h"
#include "keys/file.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define JOIN_KIND     (10 * JOIN_KINDS)
#define JOIN_ID_BYTES 2049

struct join_options {
	const char *config, *servers, *fingerprint, *token_file, *label;
	bool again;
};

static void join_help(void)
{
	puts("ringmain join: the first certificate of this machine\n\n"
	     "usage: ringmain join --ca HOST:PORT[,HOST:PORT] --ca-fingerprint SHA256\n"
	     "                     --token-file FILE [-c FILE] [--label LABEL] [--again]\n\n"
	     "  --ca              the authority's servers; unless given, those of identity.ca\n"
	     "  --ca-fingerprint  SHA-256 of the authority's root: \"ringmain ca init\" says it\n"
	     "  --token-file      the join token (\"ringmain ca token NAME\"), in a file of mode "
	     "0600\n"
	     "  -c, --config      the node configuration (" CONF_PATH_DEFAULT ")\n"
	     "  --label           EST label; unless given, identity.ca_label\n"
	     "  --again           even if this machine has a good certificate\n\n"
	     "Can be repeated when it was cut short: it goes on with the same key and token.");
}

/* --- what it is to do --- */

static int join_parse(int argc, char **argv, struct join_options *o)
{
	static const struct option options[] = {
		{"ca", required_argument, NULL, 'a'},
		{"ca-fingerprint", required_argument, NULL, 'f'},
		{"token-file", required_argument, NULL, 't'},
		{"config", required_argument, NULL, 'c'},
		{"label", required_argument, NULL, 'l'},
		{"again", no_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;
	*o = (struct join_options){.config = CONF_PATH_DEFAULT};
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) >= 0) {
		switch (option) {
		case 'a':
			o->servers = optarg;
			break;
		case 'f':
			o->fingerprint = optarg;
			break;
		case 't':
			o->token_file = optarg;
			break;
		case 'c':
			o->config = optarg;
			break;
		case 'l':
			o->label = optarg;
			break;
		case 'n':
			o->again = true;
			break;
		case 'h':
			join_help();
			return -1;
		default:
			return usage_more(argv[0]);
		}
	}
	if (optind < argc)
		return usage_wrong(argv[0], "\"%s\" is no option", argv[optind]);
	if (!o->fingerprint)
		return usage_wrong(argv[0], "--ca-fingerprint is missing: without it, nobody knows "
					    "whose authority it is");
	if (!o->token_file)
		return usage_wrong(argv[0], "--token-file is missing");
	return 0;
}

static int join_fault(const char *text)
{
	fprintf(stderr, "ringmain join: %s\n", text);
	return 1;
}

/* A comma between them; false: too many, or one of them is none. */
static bool join_split(const char *text, struct str servers[LINK_SERVERS_MAX], uint32_t *ret_count)
{
	uint32_t count = 0;
	for (struct str rest = str_of(text); rest.len > 0;) {
		const char *comma = memchr(rest.at, ',', rest.len);
		size_t len = comma ? (size_t)(comma - rest.at) : rest.len;
		struct str host;
		uint16_t port;
		if (count == LINK_SERVERS_MAX ||
			!lookup_split(str_trim((struct str){rest.at, len}), &host, &port))
			return false;
		servers[count++] = str_trim((struct str){rest.at, len});
		size_t used = comma ? len + 1 : len;
		rest = (struct str){rest.at + used, rest.len - used};
	}
	*ret_count = count;
	return count > 0;
}

/* --- doing it --- */

static int join_run(const struct join_settings *settings)
{
	static const struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 16384, .block_count = 16};
	struct loop loop;
	struct join *j = NULL;
	struct task *t;
	struct err err;
	if (loop_init(&loop, &limits, clock_monotonic_ns(), &err) < 0)
		return join_fault(err.text);
	int r = ring_enable(&loop.ring, &err);
	if (r == 0)
		r = join_new(&loop, JOIN_KIND, settings, &j, &err);
	while (r == 0 && join_state(j) != JOIN_DONE && join_state(j) != JOIN_FAILED) {
		loop_wait(&loop);
		while ((t = loop_next(&loop)))
			join_step(t);
	}
	int status = 0;
	if (r < 0)
		status = join_fault(err.text);
	else if (join_state(j) == JOIN_FAILED)
		status = join_fault(join_why(j));
	join_free(j);
	loop_done(&loop);
	return status;
}

/* A certificate of ours that holds: nothing is to be done. */
static bool join_done_already(const struct conf *conf)
{
	char path[PATH_MAX], id[JOIN_ID_BYTES], wanted[JOIN_ID_BYTES], until[25];
	struct judge_view view;
	struct str text;
	struct err err;
	unsigned count;
	snprintf(path, sizeof(path), STR_FMT "/node.pem", STR_ARG(conf->authority.keep_dir));
	if (file_read(path, FILE_SECRET, &text, &err) < 0)
		return false;
	X509 *leaf = cert_from_pem(text, &count);
	bool good = leaf && cert_uri(leaf, id, sizeof(id)) == 0 && judge_view(text, &view);
	X509_free(leaf);
	file_text_free(text);
	snprintf(wanted, sizeof(wanted), "spiffe://" STR_FMT "/node/" STR_FMT,
		STR_ARG(conf->trust_domain), STR_ARG(conf->node_name));
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	if (!good || strcmp(id, wanted) != 0 || view.from_s > now_s || view.until_s <= now_s)
		return false;
	clock_format((uint64_t)view.until_s * CLOCK_S, until);
	printf("this machine has joined already: %s, until %s; --again for another certificate\n",
		id, until);
	return true;
}

static int join_with_token(
	const struct conf *conf, const struct join_options *o, struct join_settings *settings)
{
	struct str token;
	struct err err;
	if (file_read(o->token_file, FILE_SECRET, &token, &err) < 0)
		return join_fault(err.text);
	settings->token = token;
	while (settings->token.len > 0 && strchr("\r\n", token.at[settings->token.len - 1]))
		settings->token.len--;
	int status = 1;
	if (settings->token.len == 0)
		join_fault("the token file is empty");
	else if (keep_open((const char *)conf->authority.keep_dir.at, conf->trust_domain,
			 &settings->keep, &err) < 0)
		join_fault(err.text);
	else {
		status = join_run(settings);
		keep_close(settings->keep);
	}
	file_text_free(token);
	return status;
}

static int join_configured(const struct conf *conf, const struct join_options *o, const char *name)
{
	struct str servers[LINK_SERVERS_MAX];
	struct join_settings settings = {
		.servers = servers,
		.label = o->label ? str_of(o->label) : conf->authority.label,
		.fingerprint = str_of(o->fingerprint),
		.node = conf->node_name,
		.trust_domain = conf->trust_domain,
		.out = stdout,
	};
	if (o->servers) {
		if (!join_split(o->servers, servers, &settings.server_count))
			return usage_wrong(name, "--ca is not of the form HOST:PORT[,HOST:PORT]");
	} else if (conf->authority.server_count > 0) {
		settings.servers = conf->authority.servers;
		settings.server_count = conf->authority.server_count;
	} else {
		return usage_wrong(
			name, "--ca is missing, and there is no identity.ca in %s", o->config);
	}
	if (!o->again && join_done_already(conf))
		return 0;
	return join_with_token(conf, o, &settings);
}

static int join_read_conf(const char *path, struct bundle *b, struct conf **ret_conf)
{
	struct conf_report report;
	struct snapshot *snapshot;
	conf_report_init(&report);
	int r = conf_gather(path, b, &report);
	if (r == 0)
		r = conf_parse(b, NULL, 1, ret_conf, &snapshot, &report);
	if (r == 0)
		conf_snapshot_free(snapshot);
	else
		fprintf(stderr, "%.*s\n", (int)report.text_len, report.text ? report.text : "");
	conf_report_done(&report);
	return r;
}

int enroll_join_main(int argc, char **argv)
{
	struct join_options o;
	struct bundle b;
	struct conf *conf;
	int status = join_parse(argc, argv, &o);
	if (status != 0)
		return status < 0 ? 0 : status;
	bundle_init(&b);
	if (join_read_conf(o.config, &b, &conf) < 0) {
		status = 1;
	} else {
		status = join_configured(conf, &o, argv[0]);
		conf_free(conf);
	}
	bundle_done(&b);
	return status;
}
