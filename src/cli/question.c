/* SPDX-License-Identifier: Apache-2.0 */
#include "question.h"

#include "base/usage.h"
#include "conf/conf.h"
#include "place.h"
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define QUESTION_TREE_MAX (64u << 20)

struct question {
	const struct question_kind *kind;
	const char *name; /* "ringmain routes explain" */
	const char *conf_path, *socket_path;
	bool json, help, is_offline, has_subject;
	char given[32]; /* letters */
	char path[ASK_PATH_MAX + 1];
	size_t path_len;
	bool is_cut;
};

static const struct option question_options[] = {
	{"from", required_argument, NULL, QUESTION_FROM},
	{"to", required_argument, NULL, QUESTION_TO},
	{"method", required_argument, NULL, QUESTION_METHOD},
	{"path", required_argument, NULL, QUESTION_PATH},
	{"host", required_argument, NULL, QUESTION_HOST},
	{"header", required_argument, NULL, QUESTION_HEADER},
	{"tcp", no_argument, NULL, QUESTION_TCP},
	{"port", required_argument, NULL, QUESTION_PORT},
	{"client", required_argument, NULL, QUESTION_CLIENT},
	{"claim", required_argument, NULL, QUESTION_CLAIM},
	{"offline", no_argument, NULL, QUESTION_OFFLINE},
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

/* Of an option that must be there. */
static const struct {
	int letter;
	const char *text;
} question_missing[] = {
	{QUESTION_FROM, "--from is missing: who calls?"},
	{QUESTION_TO, "--to is missing: which service?"},
};

/* --- the query --- */

static void question_put(struct question *q, char c)
{
	if (q->path_len + 1 < sizeof(q->path))
		q->path[q->path_len++] = c;
	else
		q->is_cut = true;
	q->path[q->path_len] = '\0';
}

static void question_put_text(struct question *q, const char *text)
{
	for (; *text; text++)
		question_put(q, *text);
}

/* "?key=value" or "&key=value", the value percent-encoded. */
static void question_add(struct question *q, const char *key, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	question_put(q, strchr(q->path, '?') ? '&' : '?');
	question_put_text(q, key);
	question_put(q, '=');
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;
		bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
				(c >= 'A' && c <= 'Z') || strchr("-._~/", c);
		if (is_plain) {
			question_put(q, *value);
			continue;
		}
		question_put(q, '%');
		question_put(q, hex[c >> 4]);
		question_put(q, hex[c & 15]);
	}
}

/* --- the command line --- */

static const char *question_key(int letter)
{
	for (size_t i = 0; question_options[i].name; i++) {
		if (question_options[i].val == letter)
			return question_options[i].name;
	}
	return "";
}

/* 0, or USAGE_WRONG when that has been said; so are the next ones. */
static int question_take_part(struct question *q, int letter)
{
	size_t count = strlen(q->given);
	bool is_first = !strchr(q->given, letter);
	bool has_value = letter != QUESTION_TCP && letter != QUESTION_OFFLINE;
	if (!q->kind->takes || !strchr(q->kind->takes, letter))
		return usage_wrong(q->name, "--%s is not for this command", question_key(letter));
	if (has_value && !*optarg)
		return usage_wrong(q->name, "--%s: nothing stands behind it", question_key(letter));
	if (has_value && !is_first && letter != QUESTION_HEADER && letter != QUESTION_CLAIM)
		return usage_wrong(q->name, "--%s is there twice", question_key(letter));
	if (is_first && count + 1 < sizeof(q->given))
		q->given[count] = (char)letter;
	if (letter == QUESTION_OFFLINE)
		q->is_offline = true;
	else
		question_add(q, question_key(letter), letter == QUESTION_TCP ? "1" : optarg);
	return 0;
}

static int question_take(struct question *q, int letter)
{
	switch (letter) {
	case 'c':
		q->conf_path = optarg;
		return 0;
	case 's':
		q->socket_path = optarg;
		return 0;
	case 'h':
		q->help = true;
		return 0;
	case 'o':
		q->json = strcmp(optarg, "json") == 0;
		if (q->json || strcmp(optarg, "table") == 0)
			return 0;
		return usage_wrong(q->name, "-o: table or json, not \"%s\"", optarg);
	case '?':
		return usage_more(q->name);
	default:
		return question_take_part(q, letter);
	}
}

static int question_check(const struct question *q)
{
	const char *needs = q->kind->needs ? q->kind->needs : "";
	for (size_t i = 0; i < ARRAY_LEN(question_missing); i++) {
		int letter = question_missing[i].letter;
		if (strchr(needs, letter) && !strchr(q->given, letter))
			return usage_wrong(q->name, "%s", question_missing[i].text);
	}
	if (q->kind->subject_missing && !q->has_subject)
		return usage_wrong(q->name, "%s", q->kind->subject_missing);
	if (strchr(q->given, QUESTION_TCP) && strpbrk(q->given, "mpaHk"))
		return usage_wrong(
			q->name, "--tcp: opaque bytes have no method, path, host, header or claim");
	if (q->is_offline && q->socket_path)
		return usage_wrong(q->name, "--offline asks no socket");
	return q->is_cut ? usage_wrong(q->name, "that is more than a request may bring") : 0;
}

static int question_read(struct question *q, int argc, char **argv)
{
	int letter;
	question_put_text(q, q->kind->page);
	optind = 1;
	while ((letter = getopt_long(argc, argv, "H:c:s:o:h", question_options, NULL)) != -1) {
		int wrong = question_take(q, letter);
		if (wrong)
			return wrong;
	}
	if (q->help)
		return 0;
	if (optind < argc && q->kind->subject && !*argv[optind])
		return usage_wrong(q->name, "the %s is empty", q->kind->subject);
	if (optind < argc && q->kind->subject) {
		q->has_subject = true;
		question_add(q, q->kind->subject, argv[optind++]);
	}
	if (optind < argc)
		return usage_wrong(q->name, "an argument too many, \"%s\"", argv[optind]);
	return question_check(q);
}

/* --- the answer --- */

static int question_unanswered(const struct question *q)
{
	return q->kind->exit_unanswered ? q->kind->exit_unanswered : 1;
}

static int question_report(const struct question *q, int status, struct str body)
{
	while (body.len > 0 && body.at[body.len - 1] == '\n')
		body.len--;
	struct arena arena;
	int exit_status = question_unanswered(q);
	if (status != 200 && q->is_offline)
		fprintf(stderr, "%s: " STR_FMT "\n", q->name, STR_ARG(body));
	else if (status != 200)
		fprintf(stderr, "%s: the proxy answers %d: " STR_FMT "\n", q->name, status,
			STR_ARG(body));
	if (status != 200)
		return exit_status;
	arena_init(&arena, QUESTION_TREE_MAX);
	const struct json_tree *tree = json_tree_read(&arena, body);
	if (tree && tree->kind == JSON_OBJECT) {
		exit_status = q->kind->report(q->json ? NULL : stdout, tree);
		if (q->json)
			printf(STR_FMT "\n", STR_ARG(body));
	} else {
		fprintf(stderr, "%s: the answer is no JSON object\n", q->name);
	}
	arena_done(&arena);
	return exit_status;
}

static int question_ask_proxy(const struct question *q)
{
	char place[PATH_MAX];
	struct answer answer;
	struct err err;
	int r = 0;
	if (!q->socket_path)
		r = place_admin_socket(q->conf_path, place, sizeof(place), &err);
	if (r == 0)
		r = ask(q->socket_path ? q->socket_path : place, q->path, &answer, &err);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", q->name, err.text);
		return question_unanswered(q);
	}
	int exit_status = question_report(q, answer.status, answer.body);
	answer_done(&answer);
	return exit_status;
}

static int question_ask(const struct question *q)
{
	int status;
	if (!q->is_offline)
		return question_ask_proxy(q);
	char *body = q->kind->ask_offline(
		q->conf_path ? q->conf_path : CONF_PATH_DEFAULT, q->path, &status);
	int exit_status = body ? question_report(q, status, str_of(body)) : question_unanswered(q);
	free(body);
	return exit_status;
}

static int question_run(int argc, char **argv, const char *usage, const struct question_kind *kind)
{
	struct question q = {.kind = kind, .name = argv[0]};
	if (kind->run)
		return kind->run(argc, argv);
	int wrong = question_read(&q, argc, argv);
	if (wrong)
		return wrong;
	if (q.help) {
		fputs(usage, stdout);
		return 0;
	}
	return question_ask(&q);
}

/* --- which question --- */

/* "check, why or list". */
static void question_words(
	const struct question_kind *kinds, uint32_t count, char *text, size_t size)
{
	size_t len = 0;
	for (uint32_t i = 0; i < count && len < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s",
			i == 0		 ? ""
			: i == count - 1 ? " or "
					 : ", ",
			kinds[i].word);
}

int question_main(int argc, char **argv, const char *usage, const struct question_kind *kinds,
	uint32_t kind_count)
{
	char text[128], name[64];
	const char *word = argc > 1 ? argv[1] : "";
	if (!kinds[0].word)
		return question_run(argc, argv, usage, &kinds[0]);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	for (uint32_t i = 0; i < kind_count; i++) {
		if (strcmp(word, kinds[i].word) != 0)
			continue;
		snprintf(name, sizeof(name), "%s %s", argv[0], word);
		argv[1] = name;
		return question_run(argc - 1, argv + 1, usage, &kinds[i]);
	}
	question_words(kinds, kind_count, text, sizeof(text));
	if (!*word || *word == '-')
		return usage_wrong(argv[0], "%s?", text);
	return usage_wrong(argv[0], "%s, not \"%s\"", text, word);
}
