/* SPDX-License-Identifier: Apache-2.0 */
/* A store, or a client, at the command line, for tests against a real server:
 *
 *     store_talk [--client] [--timeout MS] [--sentinel NAME] [--user NAME] [--password FILE]
 *         [--ca FILE] [--name NAME] [--certificate FILE --key FILE] [--channel NAME]
 * ADDRESS:PORT...
 *
 * Lines on standard input are commands. A store tells "state", "answer" and "push" whenever there
 * is one; a client asks one after the other and tells "reply" or "error". */
#include "base/clock.h"
#include "state/client.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { TALK_STORE = 1, TALK_OWNER };

struct talk {
	struct loop loop;
	struct task owner;
	struct op read;
	struct store *store;
	char in[65536];
	size_t in_len;
	char told[600];
	uint64_t tag;
	bool end;
};

struct options {
	struct conf_state conf;
	struct address addresses[16];
	const char *channel;
	bool client;
};

static const struct option talk_options[] = {{"client", 0, NULL, 'C'}, {"timeout", 1, NULL, 't'},
	{"sentinel", 1, NULL, 's'}, {"user", 1, NULL, 'u'}, {"password", 1, NULL, 'p'},
	{"ca", 1, NULL, 'a'}, {"name", 1, NULL, 'n'}, {"certificate", 1, NULL, 'c'},
	{"key", 1, NULL, 'k'}, {"channel", 1, NULL, 'h'}, {0}};

static bool talk_address(const char *text, struct address *ret_address)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;
	if (!colon || !address_parse((struct str){text, (size_t)(colon - text)}, ret_address) ||
		!str_to_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
		return false;
	ret_address->port = (uint16_t)port;
	return true;
}

static void talk_option(struct options *o, int letter, const char *value)
{
	struct conf_state *c = &o->conf;
	switch (letter) {
	case 'C':
		o->client = true;
		break;
	case 't':
		c->timeout_ms = (uint32_t)strtoul(value, NULL, 10);
		break;
	case 's':
		c->sentinel = str_of(value);
		break;
	case 'u':
		c->username = str_of(value);
		break;
	case 'p':
		c->password_file = str_of(value);
		break;
	case 'a':
		c->tls_ca = str_of(value);
		break;
	case 'n':
		c->tls_name = str_of(value);
		break;
	case 'c':
		c->tls_certificate = str_of(value);
		break;
	case 'k':
		c->tls_key = str_of(value);
		break;
	case 'h':
		o->channel = value;
		break;
	default:
		exit(2);
	}
}

static void talk_reply(const redisReply *r)
{
	if (r->type == REDIS_REPLY_INTEGER)
		printf(" %lld", r->integer);
	else if (r->type == REDIS_REPLY_NIL)
		printf(" nil");
	else if (r->type != REDIS_REPLY_ARRAY)
		printf(" %.*s", (int)(r->len < 200 ? r->len : 200), r->str);
	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements; i++)
		talk_reply(r->element[i]);
}

static size_t talk_words(char *line, struct str *words, size_t max)
{
	size_t count = 0;
	char *rest = line, *word;
	while ((word = strsep(&rest, " ")) && count < max) {
		if (*word)
			words[count++] = str_of(word);
	}
	return count;
}

/* --- a client --- */

static int talk_client(const struct options *o)
{
	struct client *c;
	struct err err;
	char line[4096], text[ADDRESS_TEXT_MAX];
	if (client_open_conf(&o->conf, &c, &err) < 0) {
		printf("error %s\n", err.text);
		return 0;
	}
	printf("open %s\n", address_text(client_address(c), text));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		struct str words[64];
		redisReply *reply;
		line[strcspn(line, "\n")] = '\0';
		int r = client_ask(
			c, words, talk_words(line, words, ARRAY_LEN(words)), &reply, &err);
		if (r < 0) {
			printf("error %s", err.text);
		} else {
			printf("reply");
			talk_reply(reply);
			freeReplyObject(reply);
		}
		printf("\n");
		fflush(stdout);
	}
	client_close(c);
	return 0;
}

/* --- a store --- */

static void talk_state(struct talk *t)
{
	char text[600], address[ADDRESS_TEXT_MAX];
	struct str id = store_replication_id(t->store);
	if (store_state(t->store) == STORE_READY)
		snprintf(text, sizeof(text), "state ready %s %llu " STR_FMT,
			address_text(store_address(t->store), address),
			(unsigned long long)store_life(t->store), STR_ARG(id));
	else if (store_state(t->store) == STORE_DOWN && store_why(t->store)[0])
		snprintf(text, sizeof(text), "state down %s", store_why(t->store));
	else
		return;
	if (strcmp(text, t->told) != 0)
		printf("%s\n", text);
	memcpy(t->told, text, sizeof(text));
}

static void talk_news(struct talk *t)
{
	struct store_answer answer;
	redisReply *push;
	while (store_answer(t->store, &answer)) {
		printf("answer %llu %s", (unsigned long long)answer.tag,
			store_failure_name(answer.failure));
		if (answer.reply)
			talk_reply(answer.reply);
		printf("\n");
		store_answer_done(t->store, &answer);
	}
	while ((push = store_push(t->store))) {
		printf("push");
		talk_reply(push->element[2]);
		printf("\n");
		freeReplyObject(push);
	}
	talk_state(t);
	fflush(stdout);
}

static void talk_line(struct talk *t, char *line)
{
	struct str words[64];
	size_t count = talk_words(line, words, ARRAY_LEN(words));
	if (count == 0 || store_send(t->store, ++t->tag, words, count))
		return;
	printf("answer %llu unsent\n", (unsigned long long)t->tag);
	fflush(stdout);
}

static void talk_input(struct talk *t)
{
	if (!t->read.fresh)
		return;
	t->read.fresh = false;
	if (t->read.result <= 0) {
		t->end = true;
		return;
	}
	t->in_len += (size_t)t->read.result;
	char *newline, *at = t->in;
	while ((newline = memchr(at, '\n', t->in_len - (size_t)(at - t->in)))) {
		*newline = '\0';
		talk_line(t, at);
		at = newline + 1;
	}
	t->in_len -= (size_t)(at - t->in);
	memmove(t->in, at, t->in_len);
	ring_read(&t->loop.ring, &t->read, 0, t->in + t->in_len, sizeof(t->in) - t->in_len);
}

static struct str talk_password(struct str path)
{
	static char text[256];
	char name[256];
	if (path.len == 0)
		return STR_NONE;
	snprintf(name, sizeof(name), STR_FMT, STR_ARG(path));
	FILE *file = fopen(name, "r");
	if (!file || !fgets(text, sizeof(text), file))
		exit(2);
	fclose(file);
	text[strcspn(text, "\n")] = '\0';
	return str_of(text);
}

static struct tls_store *talk_tls(const struct conf_state *c)
{
	struct bundle b;
	struct err err;
	struct tls_store *tls = NULL;
	char path[256];
	if (c->tls_ca.len == 0)
		return NULL;
	bundle_init(&b);
	snprintf(path, sizeof(path), STR_FMT, STR_ARG(c->tls_ca));
	if (bundle_add_file(&b, STR("file"), path, &err) < 0 ||
		bundle_add(&b, STR("pki"), STR("roots"), bundle_next(&b, "file", NULL)->text,
			&err) < 0 ||
		tls_store_new_pki(&b, &tls, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(2);
	}
	bundle_done(&b);
	return tls;
}

static void talk_step(struct talk *t)
{
	struct task *task;
	loop_wait(&t->loop);
	while ((task = loop_next(&t->loop))) {
		if (task->kind == TALK_STORE) {
			store_step(store_of(task));
		} else {
			talk_input(t);
			talk_news(t);
		}
	}
}

static int talk_store(const struct options *o)
{
	static struct talk t;
	struct err err;
	const struct conf_state *c = &o->conf;
	struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 16384, .block_count = 16};
	struct store_settings settings = {.addresses = c->redis,
		.address_count = c->redis_count,
		.sentinel = c->sentinel,
		.username = c->username,
		.password = talk_password(c->password_file),
		.tls = talk_tls(c),
		.tls_name = c->tls_name,
		.timeout_ms = c->timeout_ms,
		.reply_bytes_max = 16 << 20,
		.channel = str_of(o->channel),
		.client_name = STR("store-talk")};
	if (loop_init(&t.loop, &limits, clock_monotonic_ns(), &err) < 0 ||
		ring_enable(&t.loop.ring, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	task_init(&t.owner, TALK_OWNER);
	op_init(&t.read, &t.owner);
	t.store = store_new(&t.loop, TALK_STORE, &t.owner, &settings);
	ring_read(&t.loop.ring, &t.read, 0, t.in, sizeof(t.in));
	while (!t.end)
		talk_step(&t);
	store_close(t.store);
	while (store_state(t.store) != STORE_CLOSED)
		talk_step(&t);
	store_free(t.store);
	tls_store_unref(settings.tls);
	loop_done(&t.loop);
	return 0;
}

int main(int argc, char **argv)
{
	static struct options o = {.conf.timeout_ms = 1000};
	int letter;
	while ((letter = getopt_long(argc, argv, "", talk_options, NULL)) >= 0)
		talk_option(&o, letter, optarg);
	o.conf.redis = o.addresses;
	for (int i = optind; i < argc && o.conf.redis_count < ARRAY_LEN(o.addresses); i++) {
		if (!talk_address(argv[i], &o.addresses[o.conf.redis_count++]))
			return 2;
	}
	return o.client ? talk_client(&o) : talk_store(&o);
}
