/* SPDX-License-Identifier: Apache-2.0 */
/* Which plans the control thread makes of configurations and pictures, and what it says of them.
 * The proxy room is played by this file: a plan is what it was made of, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/control_private.h"
#include "proxy/facts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the proxy room --- */

struct fake_plan {
	struct plan plan;
	struct conf conf;
	char made_of[64]; /* "conf+picture" */
};

static char refused_pair[64]; /* "conf+picture" that does not go together; "": all do */
static unsigned plan_count;   /* that live */
static char told[1024];	      /* kinds of messages to the keeper */
static bool is_keeper_behind; /* and takes none now */
static const char *warnings;  /* of the next plan; NULL: none */
static char logged[1024];     /* warnings */

static const char *text_of(const struct bundle *b)
{
	return b ? bundle_next(b, "conf", NULL)->text.at : "none";
}

int plan_build(const struct bundle *b, const struct bundle *picture, uint64_t generation,
	const struct plan *before, struct plan **ret_plan, char *text, size_t size)
{
	struct fake_plan *p = calloc(1, sizeof(*p));
	assert_non_null(p);
	snprintf(p->made_of, sizeof(p->made_of), "%s+%s", text_of(b), text_of(picture));
	if (strcmp(p->made_of, refused_pair) == 0) {
		snprintf(text, size, "%s do not go together", p->made_of);
		free(p);
		return -EINVAL;
	}
	p->plan.generation = generation;
	p->plan.warnings = warnings ? strdup(warnings) : NULL;
	p->plan.conf = &p->conf;
	p->conf.state.redis_count = strncmp(text_of(b), "alone", 5) != 0;
	plan_count++;
	*ret_plan = &p->plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	plan_count--;
	free(plan->warnings);
	free(CONTAINER_OF(plan, struct fake_plan, plan));
}

/* A worker lets go of the plan before at once, when the test says so. */
struct plan *worker_hand_plan(struct worker *w, struct plan *plan)
{
	return NULL;
}

struct facts *control_facts(struct control *c, const struct bundle *b, char *text, size_t size)
{
	static char known;
	return (struct facts *)&known;
}

void facts_unref(struct facts *f)
{
}

void control_look_at_trust(struct control *c)
{
}

bool control_tell(struct control *c, const void *message, size_t len)
{
	if (is_keeper_behind)
		return false;
	const struct wire_head *head = message;
	size_t at = strlen(told);
	if (head->kind == WIRE_STATE_TAKEN)
		snprintf(told + at, sizeof(told) - at, "taken %u\n",
			(unsigned)((const struct wire_state *)message)->number);
	else if (head->kind == WIRE_REFUSED)
		snprintf(told + at, sizeof(told) - at, "refused %u: %.200s\n",
			(unsigned)((const struct wire_note *)message)->generation,
			((const struct wire_note *)message)->text);
	return true;
}

void log_line(enum log_level level, const char *who, const char *format, ...)
{
	size_t at = strlen(logged);
	va_list args;
	if (level != LOG_LEVEL_WARNING)
		return;
	va_start(args, format);
	vsnprintf(logged + at, sizeof(logged) - at, format, args);
	va_end(args);
	snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "\n");
}

struct wire_head control_head(enum wire_kind kind)
{
	return (struct wire_head){.magic = WIRE_MAGIC, .kind = (uint32_t)kind};
}

/* --- the stage --- */

static struct control c;

static int memfd_of(const char *text)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("conf"), STR(""), str_of(text), &err), 0);
	int fd = bundle_to_memfd(&b, &err);
	assert_true(fd >= 0);
	bundle_done(&b);
	return fd;
}

static void picture_comes(uint64_t number, const char *text)
{
	const struct wire_state m = {.number = number};
	control_keep_picture(&c, &m, memfd_of(text));
}

static void conf_comes(uint64_t generation, const char *text)
{
	const struct wire_plan m = {.generation = generation};
	int fd = memfd_of(text);
	control_take_plan(&c, &m, fd);
	close(fd);
}

static int begin(const char *text)
{
	struct err err;
	int fd = memfd_of(text);
	int r = control_first_plan(&c, 1, fd, &err);
	close(fd);
	return r;
}

/* A tick after the pause; nobody holds old plans. */
static void step(void)
{
	c.loop.now_ns += 20 * CLOCK_S;
	control_step_picture(&c);
	LIST_EACH (&c.retired, it)
		atomic_store(&CONTAINER_OF(it, struct plan, node)->holder_count, 0);
	control_free_retired(&c);
}

static void in_force(const char *made_of)
{
	assert_string_equal(CONTAINER_OF(c.proxy.plan, struct fake_plan, plan)->made_of, made_of);
}

static void assert_told(const char *text)
{
	assert_string_equal(told, text);
	told[0] = 0;
}

static int setup(void **state)
{
	c = (struct control){.waiting_fd = -1};
	list_init(&c.retired);
	refused_pair[0] = told[0] = logged[0] = 0;
	is_keeper_behind = false;
	warnings = NULL;
	plan_count = 0;
	return 0;
}

static int teardown(void **state)
{
	step();
	control_plans_done(&c);
	if (c.proxy.plan)
		plan_free(c.proxy.plan);
	assert_int_equal(plan_count, 0);
	return 0;
}

/* --- tests --- */

static void the_first_plan_has_the_picture_that_came_before_it(void **state)
{
	picture_comes(7, "mesh");
	assert_int_equal(begin("conf"), 0);
	in_force("conf+mesh");
	assert_told("taken 7\n");
	assert_true(c.proxy.mesh.has_picture);
}

static void without_one_it_begins_all_the_same(void **state)
{
	assert_int_equal(begin("conf"), 0);
	in_force("conf+none");
	assert_false(c.proxy.mesh.has_picture);
	picture_comes(1, "mesh");
	step();
	in_force("conf+mesh");
	assert_int_equal(c.proxy.plan->generation, 1);
	assert_told("taken 1\n");
}

static void one_that_does_not_fit_does_not_keep_it_from_beginning(void **state)
{
	strcpy(refused_pair, "conf+mesh");
	picture_comes(7, "mesh");
	assert_int_equal(begin("conf"), 0);
	in_force("conf+none");
	assert_string_equal(c.proxy.mesh.refused_text, "conf+mesh do not go together");
	assert_told("taken 7\n");
}

static void a_new_picture_builds_the_same_generation_anew(void **state)
{
	assert_int_equal(begin("conf"), 0);
	picture_comes(1, "one");
	step();
	picture_comes(2, "two");
	step();
	in_force("conf+two");
	assert_int_equal(plan_count, 1);
	assert_told("taken 1\ntaken 2\n");
	conf_comes(2, "new");
	in_force("new+two");
	assert_int_equal(c.proxy.plan->generation, 2);
}

static void a_picture_that_is_refused_stays_out(void **state)
{
	assert_int_equal(begin("conf"), 0);
	picture_comes(1, "one");
	step();
	strcpy(refused_pair, "conf+two");
	picture_comes(2, "two");
	step();
	in_force("conf+one");
	assert_string_equal(c.proxy.mesh.refused_text, "conf+two do not go together");
	assert_int_equal(c.proxy.mesh.refused_total, 1);
	assert_true(c.proxy.mesh.has_picture);
	assert_told("taken 1\ntaken 2\n"); /* so that the next one comes */

	/* With a configuration that it goes with, it is in force. */
	conf_comes(2, "new");
	in_force("new+two");
	assert_string_equal(c.proxy.mesh.refused_text, "");
	picture_comes(3, "three");
	step();
	in_force("new+three");
}

static void what_is_no_bundle_is_refused(void **state)
{
	assert_int_equal(begin("conf"), 0);
	const struct wire_state m = {.number = 1};
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	close(fds[1]);
	control_keep_picture(&c, &m, fds[0]);
	step();
	in_force("conf+none");
	assert_true(c.proxy.mesh.refused_text[0] != 0);
	assert_told("taken 1\n");
}

static void a_configuration_that_does_not_go_with_the_picture_is_refused(void **state)
{
	assert_int_equal(begin("conf"), 0);
	picture_comes(1, "one");
	step();
	told[0] = 0;
	strcpy(refused_pair, "new+one");
	conf_comes(2, "new");
	in_force("conf+one");
	assert_false(c.proxy.reload_ok);
	assert_told("refused 2: new+one do not go together\n");

	/* The next picture goes with the configuration in force. */
	picture_comes(2, "two");
	step();
	in_force("conf+two");
}

static void only_the_newest_of_many_is_built(void **state)
{
	assert_int_equal(begin("conf"), 0);
	picture_comes(1, "one");
	picture_comes(2, "two");
	picture_comes(3, "three");
	step();
	in_force("conf+three");
	assert_told("taken 3\n");
	control_step_picture(&c);
	assert_told("");
}

/* The more plans are held, the longer the pause. */
static void pictures_wait_while_old_plans_are_held(void **state)
{
	char text[20];
	uint64_t before_ns = 0;
	assert_int_equal(begin("conf"), 0);
	for (unsigned i = 1; i < 30; i++) {
		snprintf(text, sizeof(text), "picture%u", i);
		picture_comes(i, text);
		c.loop.now_ns += 20 * CLOCK_S;
		c.proxy.worker_count = 0;
		control_step_picture(&c);
		LIST_EACH (&c.retired, it)
			atomic_store(&CONTAINER_OF(it, struct plan, node)->holder_count, 1);
		control_free_retired(&c);
		before_ns = c.loop.now_ns;
	}
	assert_int_equal(plan_count, 30);
	uint64_t pause_ns = c.picture_next_ns - before_ns;
	assert_true(pause_ns >= 29 * 100 * CLOCK_MS);
	picture_comes(30, "late");
	c.loop.now_ns = c.picture_next_ns - 1;
	control_step_picture(&c);
	in_force("conf+picture29");
	c.loop.now_ns = c.picture_next_ns;
	control_step_picture(&c);
	in_force("conf+late");
}

/* Counts are those of the picture in force, whatever is known elsewhere; all else is as told. */
static void the_view_is_of_what_is_in_force(void **state)
{
	struct wire_state_view view = {.picture = 1, .view = {.connected = true, .revision = 41}};
	assert_int_equal(begin("conf"), 0);
	control_take_view(&c, &view);
	assert_true(c.proxy.mesh.view.view.connected);
	assert_int_equal(c.proxy.mesh.view.view.revision, 0);
	picture_comes(1, "one");
	step();
	assert_int_equal(c.proxy.mesh.view.view.revision, 41);

	strcpy(refused_pair, "conf+two");
	picture_comes(2, "two");
	step();
	view = (struct wire_state_view){.picture = 2, .view = {.revision = 42}};
	control_take_view(&c, &view);
	assert_false(c.proxy.mesh.view.view.connected);
	assert_int_equal(c.proxy.mesh.view.view.revision, 41);
}

static void what_a_keeper_that_is_behind_does_not_take_is_told_again(void **state)
{
	assert_int_equal(begin("conf"), 0);
	is_keeper_behind = true;
	picture_comes(1, "one");
	step();
	strcpy(refused_pair, "new+one");
	conf_comes(2, "new");
	control_tell_unsaid(&c);
	assert_told("");
	is_keeper_behind = false;
	control_tell_unsaid(&c);
	assert_told("refused 2: new+one do not go together\ntaken 1\n");
	control_tell_unsaid(&c);
	assert_told("");
}

static void assert_logged(const char *text)
{
	assert_string_equal(logged, text);
	logged[0] = 0;
}

static void a_warning_is_logged_when_it_is_new(void **state)
{
	warnings = "mesh.conf:3: of the configuration\n";
	assert_int_equal(begin("conf"), 0);
	assert_logged("mesh.conf:3: of the configuration\n");
	warnings = "policy/a@4:1: never allows\npolicy/b@4:1: decides nothing\n";
	picture_comes(1, "one");
	step();
	assert_logged("policy/a@4:1: never allows\npolicy/b@4:1: decides nothing\n");
	picture_comes(2, "two");
	step();
	assert_logged("");
	warnings = "policy/b@4:1: decides nothing\npolicy/b@4:1: decides\n";
	picture_comes(3, "three");
	step();
	assert_logged("policy/b@4:1: decides\n");
}

static void of_very_many_warnings_some_are_logged(void **state)
{
	char text[2000] = "";
	for (int i = 0; i < 100; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "line %d\n", i);
	warnings = text;
	assert_int_equal(begin("conf"), 0);
	assert_non_null(strstr(logged, "line 19\nthere are more warnings"));
	assert_null(strstr(logged, "line 20\n"));
}

static void a_standalone_machine_has_no_picture(void **state)
{
	struct wire_state_view view = {.view = {.connected = true}};
	assert_int_equal(begin("conf"), 0);
	picture_comes(1, "one");
	step();
	control_take_view(&c, &view);
	assert_true(c.proxy.mesh.view.view.connected);
	conf_comes(2, "alone");
	assert_false(c.proxy.mesh.has_picture);
	assert_false(c.proxy.mesh.view.view.connected);
	control_take_view(&c, &view); /* on its way when the configuration changed */
	assert_false(c.proxy.mesh.view.view.connected);
	picture_comes(2, "two");
	step();
	conf_comes(3, "aloneagain");
	in_force("aloneagain+none");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_plan_has_the_picture_that_came_before_it),
		TEST(without_one_it_begins_all_the_same),
		TEST(one_that_does_not_fit_does_not_keep_it_from_beginning),
		TEST(a_new_picture_builds_the_same_generation_anew),
		TEST(a_picture_that_is_refused_stays_out),
		TEST(what_is_no_bundle_is_refused),
		TEST(a_configuration_that_does_not_go_with_the_picture_is_refused),
		TEST(only_the_newest_of_many_is_built),
		TEST(pictures_wait_while_old_plans_are_held),
		TEST(the_view_is_of_what_is_in_force),
		TEST(what_a_keeper_that_is_behind_does_not_take_is_told_again),
		TEST(a_warning_is_logged_when_it_is_new),
		TEST(of_very_many_warnings_some_are_logged),
		TEST(a_standalone_machine_has_no_picture),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
