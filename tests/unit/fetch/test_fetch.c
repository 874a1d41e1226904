/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the world outside, with a real loop and, in curl's place, a script that the test
 * writes: what it is called with, what it may say, and what is known when it fails. */
#include "fetch/fetch.h"

#include "base/clock.h"
#include "fetch/inside.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define URL "https://10.0.0.1:9443/keys"

struct fixture {
	struct loop loop;
	struct task owner;
	struct fetch *fetch;
	struct bundle wanted, known;
	char dir[64], program[96], asked[96];
};

static bool is_good(struct str text, struct err *why)
{
	if (text.len > 0 && text.at[0] == 'K')
		return true;
	err_set(why, EINVAL, "no key set");
	return false;
}

static void configure(struct fixture *f, const char *allowed)
{
	struct address_range range;
	struct fetch_rules rules = {.program = f->program,
		.ca = STR("/ca.pem"),
		.refresh_ms = 200,
		.host_refresh_ms = 200,
		.is_good = is_good};
	if (allowed) {
		assert_true(address_range_parse(str_of(allowed), &range));
		rules.allowed = &range;
		rules.allowed_count = 1;
	}
	assert_true(fetch_configure(f->fetch, &rules));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct ring_limits limits = {.entries = 64, .completions = 256};
	struct err err;
	assert_non_null(f);
	assert_int_equal(loop_init(&f->loop, &limits, 7, &err), 0);
	assert_int_equal(ring_enable(&f->loop.ring, &err), 0);
	task_init(&f->owner, 1);
	f->fetch = fetch_new(&f->loop, 2, &f->owner);
	assert_non_null(f->fetch);
	snprintf(f->dir, sizeof(f->dir), "/tmp/ringmain-fetch-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->program, sizeof(f->program), "%s/program", f->dir);
	snprintf(f->asked, sizeof(f->asked), "%s/asked", f->dir);
	bundle_init(&f->wanted);
	bundle_init(&f->known);
	configure(f, NULL);
	*state = f;
	return 0;
}

static void turn(struct fixture *f)
{
	struct task *t;
	loop_wait(&f->loop);
	while ((t = loop_next(&f->loop))) {
		if (t != &f->owner) {
			fetch_step(t);
			continue;
		}
		struct bundle b;
		bundle_init(&b);
		if (fetch_facts(f->fetch, &b)) {
			bundle_done(&f->known);
			bundle_init(&f->known);
			list_move_all(&b.items, &f->known.items);
		}
		bundle_done(&b);
	}
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	fetch_close(f->fetch);
	do
		turn(f); /* closing is a step, too */
	while (!fetch_idle(f->fetch));
	fetch_free(f->fetch);
	bundle_done(&f->wanted);
	bundle_done(&f->known);
	loop_done(&f->loop);
	unlink(f->program);
	unlink(f->asked);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* Takes the place of what stands there at once: it may be running. */
static void script(const struct fixture *f, const char *lines)
{
	char next[112];
	snprintf(next, sizeof(next), "%s.new", f->program);
	FILE *file = fopen(next, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho \"$@\" >>%s\n%s\n", f->asked, lines);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(next, 0755), 0);
	assert_int_equal(rename(next, f->program), 0);
}

static void want(struct fixture *f, const char *kind, const char *name, const char *text)
{
	struct err err;
	assert_int_equal(bundle_add(&f->wanted, str_of(kind), str_of(name), str_of(text), &err), 0);
	assert_true(fetch_want(f->fetch, &f->wanted));
}

static const char *known(const struct fixture *f, const char *kind, const char *name)
{
	const struct bundle_item *item = bundle_find(&f->known, kind, str_of(name));
	return item ? item->text.at : "";
}

/* Until what is known contains this. */
static void wait_for(struct fixture *f, const char *kind, const char *name, const char *text)
{
	uint64_t until_ns = clock_monotonic_ns() + 20 * CLOCK_S;
	while (!strstr(known(f, kind, name), text)) {
		if (clock_monotonic_ns() > until_ns)
			fail_msg("%s %s: \"%s\", never \"%s\"", kind, name, known(f, kind, name),
				text);
		turn(f);
	}
}

static void fetches_a_document_again_and_again(void **state)
{
	struct fixture *f = *state;
	script(f, "printf 'K1\\n200'");
	want(f, "jwks", "staff", URL);
	wait_for(f, "jwks", "staff", "K1");
	assert_string_equal(known(f, "jwks-of", "staff"), URL);
	script(f, "printf 'K2\\n200'");
	wait_for(f, "jwks", "staff", "K2");
	assert_string_equal(known(f, "jwks", "staff"), "K2");
}

/* What the program wrote to its list so far. */
static const char *asked(const struct fixture *f)
{
	static char text[32000];
	FILE *file = fopen(f->asked, "r");
	size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	text[len] = '\0';
	if (file)
		fclose(file);
	return text;
}

static unsigned times(const char *text, const char *part)
{
	unsigned count = 0;
	while ((text = strstr(text, part))) {
		count++;
		text += strlen(part);
	}
	return count;
}

/* With a name, curl is told where that is, and nothing but what may be asked. */
static void tells_curl_the_address_of_a_name(void **state)
{
	struct fixture *f = *state;
	script(f, "printf 'K1\\n200'");
	configure(f, "127.0.0.0/8");
	want(f, "jwks", "staff", "https://localhost:9443/keys");
	wait_for(f, "jwks", "staff", "K1");
	assert_int_equal(times(asked(f), "--resolve localhost:9443:127.0.0.1 "), 1);
	assert_int_equal(times(asked(f), "--resolve"), 1);
}

static struct lookup_found found_at(const char *const *texts, uint32_t count)
{
	struct lookup_found found = {.count = count};
	for (uint32_t i = 0; i < count; i++)
		assert_true(address_parse(str_of(texts[i]), &found.at[i]));
	return found;
}

static void tells_curl_all_that_may_be_asked(void **state)
{
	static const char *const texts[] = {"10.0.0.1", "127.0.0.1", "fd00::1", "169.254.169.254",
		"::1", "10.0.0.3", "fd00:1111:2222:3333:4444:5555:6666:7777", "10.0.0.4"};
	struct fixture *f = *state;
	struct fetch_errand *e =
		fetch_errand_new(f->fetch, true, STR("staff"), STR("https://id.example/keys"));
	struct lookup_found found = found_at(texts, ARRAY_LEN(texts));
	char why[300];
	int status;
	script(f, "");
	assert_true(fetch_document_start(e, &found, why, sizeof(why)));
	while (!fetch_program_look(&e->program, &status))
		usleep(1000);
	fetch_program_done(&e->program);
	fetch_errand_free(e);
	assert_int_equal(times(asked(f), "--resolve id.example:443:10.0.0.1,[fd00::1],10.0.0.3,"
					 "[fd00:1111:2222:3333:4444:5555:6666:7777],10.0.0.4 "),
		1);
}

/* It gets nothing of ours: no environment but where programs are, no descriptor. */
static void gives_the_program_nothing_else(void **state)
{
	struct fixture *f = *state;
	char lines[600], text[32000];
	int fd = open(f->dir, O_RDONLY | O_DIRECTORY); /* as a library may leave one */
	assert_true(fd > 2);
	assert_int_equal(setenv("RINGMAIN_TEST_SECRET", "1", 1), 0);
	snprintf(lines, sizeof(lines),
		"{ tr '\\0' '\\n' </proc/$$/environ | sed 's/^/env /'\n"
		"for i in /proc/$$/fd/*; do echo fd $(readlink $i); done; } >>%s\n"
		"printf 'K1\\n200'",
		f->asked);
	script(f, lines);
	want(f, "jwks", "staff", URL);
	wait_for(f, "jwks", "staff", "K1");
	close(fd);
	unsetenv("RINGMAIN_TEST_SECRET");
	snprintf(text, sizeof(text), "%s", asked(f));
	assert_true(times(text, "\nenv PATH=/usr/local/sbin:") > 0);
	assert_int_equal(times(text, "\nenv "), times(text, "\nenv PATH="));
	assert_true(times(text, "\nfd ") >= 3);
	/* its own: two pipes, the script that the shell reads, and the list above */
	assert_int_equal(
		times(text, "\nfd "), times(text, "\nfd /dev/null") + times(text, "\nfd pipe:") +
					      times(text, f->program) + times(text, f->asked));
}

/* However many are found at once. */
static void runs_few_programs_at_once(void **state)
{
	struct fixture *f = *state;
	char lines[600], place[80], remove[100], name[32];
	snprintf(place, sizeof(place), "%s/running", f->dir);
	assert_int_equal(mkdir(place, 0755), 0);
	snprintf(lines, sizeof(lines),
		"touch %s/$$\necho running=$(ls %s | wc -l) >>%s\nsleep 0.5\nrm %s/$$\n"
		"printf 'K1\\n200'",
		place, place, f->asked, place);
	script(f, lines);
	for (int i = 0; i < 8; i++) {
		struct err err;
		snprintf(name, sizeof(name), "i%d", i);
		assert_int_equal(
			bundle_add(&f->wanted, STR("jwks"), str_of(name), STR(URL), &err), 0);
	}
	assert_true(fetch_want(f->fetch, &f->wanted));
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "i%d", i);
		wait_for(f, "jwks", name, "K1");
	}
	bundle_done(&f->wanted);
	bundle_init(&f->wanted);
	assert_true(fetch_want(f->fetch, &f->wanted));
	/* those that had begun once more have been killed, and left their marks */
	snprintf(remove, sizeof(remove), "rm -rf %s", place);
	assert_int_equal(system(remove), 0);
	for (int i = FETCH_PROGRAMS_MAX + 1; i <= 8; i++) {
		snprintf(name, sizeof(name), "running=%d\n", i);
		assert_int_equal(times(asked(f), name), 0);
	}
}

/* Each time it took curl other milliseconds. */
static void says_a_failure_once(void **state)
{
	struct fixture *f = *state;
	char lines[300];
	snprintf(lines, sizeof(lines),
		"echo \"curl: (7) Failed after $(grep -c -e --url %s) ms: refused\" >&2; exit 7",
		f->asked);
	script(f, lines);
	want(f, "jwks", "staff", URL);
	wait_for(f, "jwks-state", "staff", "curl: (7) Failed after 1 ms: refused");
	while (times(asked(f), "--url") < 4)
		turn(f);
	assert_non_null(strstr(known(f, "jwks-state", "staff"), "after 1 ms"));
	script(f, "echo 'curl: (28) Failed after 1 ms: refused' >&2; exit 28");
	wait_for(f, "jwks-state", "staff", "(28)");
	script(f, "echo 'curl: (28) Failed after 1 ms: timed out' >&2; exit 28");
	wait_for(f, "jwks-state", "staff", "timed out");
}

static void says_all_to_curl(void **state)
{
	struct fixture *f = *state;
	char line[2000] = "";
	script(f, "printf 'K1\\n200'");
	want(f, "jwks", "staff", URL);
	wait_for(f, "jwks", "staff", "K1");
	FILE *file = fopen(f->asked, "r");
	assert_non_null(file);
	assert_true(fread(line, 1, sizeof(line) - 1, file) > 0);
	fclose(file);
	static const char *const words[] = {"--proto =https", "--tlsv1.2", "--max-time 10",
		"--max-filesize 262144", "--max-redirs 0", "--noproxy *", "--cacert /ca.pem",
		"--globoff", "--url " URL};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (!strstr(line, words[i]))
			fail_msg("%s is missing: %s", words[i], line);
	}
	assert_int_equal(strncmp(line, "--disable ", 10), 0); /* only as the first one */
	assert_null(strstr(line, "--resolve"));
	assert_null(strstr(line, "--location"));
}

static void keeps_what_was_known(void **state)
{
	static const struct {
		const char *lines, *why;
	} rows[] = {{"echo 'could not connect' >&2; exit 7", "could not connect"},
		{"exit 9", "does not say why"}, {"printf 'K9\\n404'", "answered 404"},
		{"printf '\\n302'", "answered 302"}, {"printf 'X\\n200'", "no key set"},
		{"printf 'K9'", "does not say how"}, {"printf '\\n200'", "no key set"},
		{"kill -9 $$", "no end"},
		{"head -c 300000 /dev/zero; printf '\\n200'", "more than 256 KiB"}};
	struct fixture *f = *state;
	script(f, "printf 'K1\\n200'");
	want(f, "jwks", "staff", URL);
	wait_for(f, "jwks", "staff", "K1");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		script(f, rows[i].lines);
		wait_for(f, "jwks-state", "staff", rows[i].why);
		assert_string_equal(known(f, "jwks", "staff"), "K1");
	}
	script(f, "printf 'K2\\n200'");
	wait_for(f, "jwks", "staff", "K2");
	wait_for(f, "jwks-state", "staff", " 0 ");
}

static void asks_neither_this_machine_nor_its_link(void **state)
{
	static const char *const urls[] = {"https://127.0.0.1/", "https://localhost/",
		"https://[::1]/", "https://169.254.169.254/latest", "https://[fe80::1]/",
		"https://[::ffff:127.0.0.1]/", "https://0.0.0.0/", "https://224.0.0.1/"};
	struct fixture *f = *state;
	script(f, "printf 'K1\\n200'");
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		bundle_done(&f->wanted);
		bundle_init(&f->wanted);
		want(f, "jwks", "staff", urls[i]);
		wait_for(f, "jwks-of", "staff", urls[i]);
		wait_for(f, "jwks-state", "staff", "may not be asked");
	}
	assert_int_not_equal(access(f->asked, F_OK), 0);
	/* unless it is allowed */
	bundle_done(&f->wanted);
	bundle_init(&f->wanted);
	configure(f, "127.0.0.0/8");
	want(f, "jwks", "staff", "https://127.0.0.1/");
	wait_for(f, "jwks", "staff", "K1");
}

static void knows_where_nobody_is_sent(void **state)
{
	static const char *const forbidden[] = {"0.0.0.0", "0.1.2.3", "127.0.0.1",
		"127.255.255.255", "169.254.169.254", "169.254.0.1", "100.100.100.200",
		"168.63.129.16", "192.0.0.192", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "fd00:ec2::254",
		"::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
		"2002:7f00:1::", "::ffff:169.254.169.254", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
		"fd00:42::42", "64:ff9b:1::7f00:1", "64:ff9b:1::a9fe:a9fe"};
	static const char *const fine[] = {"10.0.0.1", "192.168.1.1", "172.16.0.1", "8.8.8.8",
		"100.64.0.1", "fd00::1", "2001:db8::1", "64:ff9b::a00:1"};
	struct address a;
	for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
		assert_true(address_parse(str_of(forbidden[i]), &a));
		if (fetch_may_ask(&a, NULL, 0))
			fail_msg("asked: %s", forbidden[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
		assert_true(address_parse(str_of(fine[i]), &a));
		if (!fetch_may_ask(&a, NULL, 0))
			fail_msg("not asked: %s", fine[i]);
	}
}

static void looks_up_hosts(void **state)
{
	struct fixture *f = *state;
	want(f, "host", "10.1.2.3", "");
	wait_for(f, "host", "10.1.2.3", "10.1.2.3\n");
	want(f, "host", "localhost", "");
	wait_for(f, "host", "localhost", "127.0.0.1\n");
	assert_string_equal(known(f, "host", "10.1.2.3"), "10.1.2.3\n");
}

static void forgets_what_nobody_wants(void **state)
{
	struct fixture *f = *state;
	script(f, "printf 'K1\\n200'");
	want(f, "jwks", "staff", URL);
	wait_for(f, "jwks", "staff", "K1");
	/* the same name and another place: not the keys of that one */
	script(f, "exit 7");
	bundle_done(&f->wanted);
	bundle_init(&f->wanted);
	want(f, "jwks", "staff", URL "2");
	wait_for(f, "jwks-of", "staff", URL "2");
	assert_string_equal(known(f, "jwks", "staff"), "");
}

static void kills_what_hangs_at_the_end(void **state)
{
	struct fixture *f = *state;
	script(f, "sleep 60");
	want(f, "jwks", "staff", URL);
	uint64_t until_ns = clock_monotonic_ns() + 20 * CLOCK_S;
	while (access(f->asked, F_OK) != 0 && clock_monotonic_ns() < until_ns)
		turn(f);
	assert_int_equal(access(f->asked, F_OK), 0);
	/* the teardown waits for its end */
}

static void goes_on_with_what_another_process_knew(void **state)
{
	struct fixture *f = *state;
	struct bundle b;
	struct err err;
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("jwks"), STR("staff"), STR("K0"), &err), 0);
	assert_int_equal(bundle_add(&b, STR("jwks-of"), STR("staff"), STR(URL), &err), 0);
	assert_int_equal(bundle_add(&b, STR("jwks-state"), STR("staff"), STR("5 0 "), &err), 0);
	assert_int_equal(bundle_add(&b, STR("jwks"), STR("other"), STR("K0"), &err), 0);
	assert_int_equal(bundle_add(&b, STR("jwks-of"), STR("other"), STR("https://x/"), &err), 0);
	assert_int_equal(bundle_add(&b, STR("host"), STR("10.1.2.3"), STR("10.9.9.9\n"), &err), 0);
	assert_true(fetch_remember(f->fetch, &b));
	bundle_done(&b);
	script(f, "exit 7");
	assert_int_equal(bundle_add(&f->wanted, STR("host"), STR("10.1.2.3"), STR(""), &err), 0);
	assert_int_equal(bundle_add(&f->wanted, STR("jwks"), STR("other"), STR(URL), &err), 0);
	want(f, "jwks", "staff", URL);
	wait_for(f, "jwks-state", "other", "does not say");
	assert_string_equal(known(f, "jwks", "staff"), "K0");
	assert_string_equal(known(f, "jwks", "other"), "");
	wait_for(f, "host", "10.1.2.3", "10.1.2.3\n10.9.9.9\n"); /* and it is found there now */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			fetches_a_document_again_and_again, setup, teardown),
		cmocka_unit_test_setup_teardown(says_all_to_curl, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_curl_the_address_of_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_curl_all_that_may_be_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(gives_the_program_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(runs_few_programs_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(says_a_failure_once, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_what_was_known, setup, teardown),
		cmocka_unit_test_setup_teardown(
			asks_neither_this_machine_nor_its_link, setup, teardown),
		cmocka_unit_test(knows_where_nobody_is_sent),
		cmocka_unit_test_setup_teardown(looks_up_hosts, setup, teardown),
		cmocka_unit_test_setup_teardown(forgets_what_nobody_wants, setup, teardown),
		cmocka_unit_test_setup_teardown(kills_what_hangs_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(
			goes_on_with_what_another_process_knew, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
