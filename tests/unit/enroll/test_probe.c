/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that looks at what its own mesh port serves, for hours of virtual time: what is in
 * force, an old certificate of one worker or of all, a port that cannot be looked at. */
#include "lab.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define ORDERS "service/orders"

static struct lab lab; /* large */
static FILE *heard;    /* what is logged goes there */
static int stderr_before;

static int hear(void **state)
{
	heard = tmpfile();
	stderr_before = dup(STDERR_FILENO);
	return heard && dup2(fileno(heard), STDERR_FILENO) >= 0 ? 0 : -1;
}

/* After each test, so that its faults are seen. */
static int hear_no_more(void **state)
{
	int out = dup2(stderr_before, STDERR_FILENO);
	close(stderr_before);
	fclose(heard);
	return out < 0;
}

/* How many lines of what was logged in this test have it. */
static unsigned said(const char *text)
{
	char line[4096];
	unsigned count = 0;
	rewind(heard);
	while (fgets(line, sizeof(line), heard))
		count += strstr(line, text) != NULL;
	return count;
}

static void start(uint32_t workers, int64_t life_s)
{
	assert_int_equal(ftruncate(fileno(heard), 0), 0);
	rewind(heard);
	lab_init(&lab);
	lab.life_s = life_s;
	lab.workloads[0].port = 8080; /* orders serves, web does not */
	lab.conf.worker_count = workers;
	lab_join(&lab, 86400);
	lab_start(&lab);
}

static const char *served(void)
{
	static struct enroll_row row;
	row = lab_row(&lab, ORDERS);
	return row.served_serial;
}

/* Until the certificate in force is another one. */
static void renew(void)
{
	struct enroll_row before = lab_row(&lab, ORDERS), now;
	do {
		lab_run_ms(&lab, 1000, 1000);
		now = lab_row(&lab, ORDERS);
	} while (strcmp(before.serial, now.serial) == 0);
}

static void expect_well(void)
{
	struct enroll_row row = lab_row(&lab, ORDERS);
	assert_string_equal(row.served_serial, "");
	assert_string_equal(row.why, "");
	assert_int_equal(row.state, ENROLL_FRESH);
}

static void test_what_is_in_force_is_served(void **state)
{
	start(1, 3600);
	lab_run_ms(&lab, 3000, 100);
	assert_int_equal(lab.looked, 4);
	assert_string_equal(lab.port_name, "8080.orders." LAB_DOMAIN);
	expect_well();
	lab_run_ms(&lab, 600 * 1000, 1000); /* once a minute */
	assert_true(lab.looked >= 9 * 4 && lab.looked <= 13 * 4);
	uint32_t looked = lab.looked;
	renew();
	lab_run_ms(&lab, 3000, 100); /* and soon after a renewal */
	assert_true(lab.looked > looked);
	expect_well();
	lab_run_ms(&lab, 3600 * 1000, 10000);
	expect_well();
	assert_int_equal(said("the mesh port"), 0);
	lab_done(&lab);
}

static void test_more_workers_are_looked_at_more_often(void **state)
{
	start(4, 3600);
	lab_run_ms(&lab, 3000, 100);
	assert_int_equal(lab.looked, 16);
	lab_done(&lab);
	start(1000, 3600); /* within reason */
	lab_run_ms(&lab, 3000, 100);
	assert_int_equal(lab.looked, 64);
	lab_done(&lab);
}

static void test_who_does_not_serve_is_not_looked_at(void **state)
{
	start(1, 3600);
	lab.workloads[0].port = 0;
	lab_configure(&lab);
	lab_run_ms(&lab, 600 * 1000, 1000);
	assert_int_equal(lab.looked, 0);
	lab.workloads[1].port = 80; /* web does now */
	lab_configure(&lab);
	lab_run_ms(&lab, 3000, 100);
	assert_string_equal(lab.port_name, "80.web." LAB_DOMAIN);
	lab.conf.workload_count = 1; /* and is gone */
	lab_configure(&lab);
	uint32_t looked = lab.looked;
	lab_run_ms(&lab, 600 * 1000, 1000);
	assert_int_equal(lab.looked, looked);
	lab_done(&lab);
}

static void test_an_old_certificate(void **state)
{
	start(1, 1800);
	lab_run_ms(&lab, 3000, 100);
	struct enroll_row old = lab_row(&lab, ORDERS);
	lab_port_keeps_old(&lab, 1);
	renew();
	lab_run_ms(&lab, 20 * 1000, 100);
	assert_string_equal(served(), ""); /* that may be */
	assert_int_equal(said("the mesh port"), 0);
	lab_run_ms(&lab, 20 * 1000, 100);
	assert_string_equal(served(), old.serial);
	assert_int_equal(said("error: identity: " ORDERS ": the mesh port (15008) serves"), 1);
	assert_int_equal(said(old.serial), 2); /* when it came, and now */
	lab_run_ms(&lab, 600 * 1000, 1000);
	assert_int_equal(said("error: "), 1); /* once */
	/* What is served is another question than how the renewal goes. */
	assert_int_equal(lab_row(&lab, ORDERS).state, ENROLL_FRESH);
	lab.port = LAB_PORT_NEWEST;
	lab_run_ms(&lab, 6000, 100);
	expect_well();
	assert_int_equal(said("which is in force, again"), 1);
	assert_int_equal(said("error: "), 1);
	lab_done(&lab);
}

/* A plan takes a moment everywhere. */
static void test_a_moment_is_no_fault(void **state)
{
	start(1, 600);
	for (int i = 0; i < 3; i++) {
		lab_port_keeps_old(&lab, 1);
		renew();
		lab_run_ms(&lab, 15 * 1000, 100);
		lab.port = LAB_PORT_NEWEST;
		lab_run_ms(&lab, 15 * 1000, 100);
		expect_well();
	}
	assert_int_equal(said("the mesh port"), 0);
	lab_done(&lab);
}

static void test_a_short_life_has_less_patience(void **state)
{
	start(1, 40);
	lab_run_ms(&lab, 3000, 100);
	lab_port_keeps_old(&lab, 1);
	renew();
	lab_run_ms(&lab, 5000, 100);
	assert_string_equal(served(), "");
	lab_run_ms(&lab, 10 * 1000, 100);
	assert_string_not_equal(served(), "");
	/* It stays so from one renewal to the next. */
	renew();
	assert_string_not_equal(served(), "");
	renew();
	lab_run_ms(&lab, 10 * 1000, 100);
	assert_string_not_equal(served(), "");
	assert_int_equal(said("error: "), 1);
	lab_done(&lab);
}

/* The other three are well, and are met three times as often. */
static void test_one_worker_of_four(void **state)
{
	start(4, 900);
	lab_run_ms(&lab, 3000, 100);
	lab_port_keeps_old(&lab, 4);
	renew();
	lab_run_ms(&lab, 45 * 1000, 100);
	assert_string_not_equal(served(), "");
	lab_run_ms(&lab, 200 * 1000, 1000);
	assert_string_not_equal(served(), "");
	assert_int_equal(said("error: "), 1);
	assert_int_equal(said("again"), 0);
	lab.port = LAB_PORT_NEWEST;
	lab_run_ms(&lab, 10 * 1000, 100);
	expect_well();
	lab_done(&lab);
}

static void expect_unreached(const char *why)
{
	lab_run_ms(&lab, 15 * 1000, 100);
	assert_string_equal(lab_row(&lab, ORDERS).why, "");
	lab_run_ms(&lab, 90 * 1000, 100);
	struct enroll_row row = lab_row(&lab, ORDERS);
	if (!strstr(row.why, why))
		fail_msg("%s", row.why);
	assert_non_null(strstr(row.why, "127.0.0.1:15008"));
	assert_string_equal(row.served_serial, "");
	assert_int_equal(row.state, ENROLL_FRESH);
	assert_int_equal(said("warning: "), 1);
	assert_int_equal(said("error: "), 0);
	lab_run_ms(&lab, 120 * 1000, 100);
	assert_int_equal(said("warning: "), 1);
}

static void test_a_port_that_cannot_be_looked_at(void **state)
{
	static const struct {
		enum lab_port port;
		const char *why;
	} rows[] = {{LAB_PORT_SILENT, "no handshake within 10 s"},
		{LAB_PORT_CLOSES, "closed the connection"},
		{LAB_PORT_REFUSES, "refuses \"8080.orders.prod.example\" (TLS alert"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		start(1, 86400);
		lab_run_ms(&lab, 3000, 100);
		lab.port = rows[i].port;
		lab_run_ms(&lab, 60 * 1000, 100);
		while (!lab_row(&lab, ORDERS).why[0])
			lab_run_ms(&lab, 1000, 100);
		assert_int_equal(said("warning: "), 1);
		assert_int_equal(said(rows[i].why), 1);
		assert_non_null(strstr(lab_row(&lab, ORDERS).why, rows[i].why));
		lab.port = LAB_PORT_NEWEST;
		lab_run_ms(&lab, 20 * 1000, 100);
		expect_well();
		assert_int_equal(said("which is in force, again"), 1);
		lab_done(&lab);
	}
}

static void test_nobody_listens(void **state)
{
	struct address port;
	start(1, 1200);
	assert_true(address_port_parse(STR("127.0.0.1:15008"), &port));
	fake_connect_rule(&port, -111);
	expect_unreached("Connection refused");
	/* Then somebody does, with an old certificate: that is worse. */
	fake_connect_rule(&port, 0);
	lab_port_keeps_old(&lab, 1);
	struct enroll_row now = lab_row(&lab, ORDERS);
	while (strcmp(lab_row(&lab, ORDERS).serial, now.serial) == 0)
		lab_run_ms(&lab, 600 * 1000, 10000);
	lab_run_ms(&lab, 60 * 1000, 100);
	assert_string_equal(served(), now.serial);
	assert_int_equal(said("error: "), 1);
	lab_done(&lab);
}

/* In the middle of a look. */
static void test_changes_and_ends_meanwhile(void **state)
{
	start(1, 3600);
	lab.port = LAB_PORT_SILENT;
	lab_run_ms(&lab, 3000, 100);
	assert_int_equal(lab.looked, 1);
	lab.workloads[0].port = 8081; /* another name: anew */
	lab.port = LAB_PORT_NEWEST;
	lab_configure(&lab);
	lab_run_ms(&lab, 3000, 100);
	assert_string_equal(lab.port_name, "8081.orders." LAB_DOMAIN);
	expect_well();
	lab.port = LAB_PORT_SILENT;
	uint32_t looked = lab.looked;
	while (lab.looked == looked)
		lab_run_ms(&lab, 1000, 100);
	lab.conf.workload_count = 0; /* nobody any more */
	lab_configure(&lab);
	lab_run_ms(&lab, 30 * 1000, 100);
	assert_int_equal(said("warning: "), 0);
	lab.conf.workload_count = 3;
	lab_configure(&lab);
	looked = lab.looked;
	while (lab.looked == looked)
		lab_run_ms(&lab, 1000, 100);
	lab_done(&lab); /* and the end */
}

static void test_no_sockets(void **state)
{
	start(1, 86400);
	lab_run_ms(&lab, 3000, 100);
	fake_open_fails(100000, -24);
	lab_run_ms(&lab, 110 * 1000, 100);
	assert_int_equal(said("127.0.0.1:15008: no socket: Too many open files"), 1);
	assert_non_null(strstr(lab_row(&lab, ORDERS).why, "no socket"));
	fake_open_fails(0, -24);
	lab_run_ms(&lab, 20 * 1000, 100);
	assert_string_equal(lab_row(&lab, ORDERS).why, "");
	lab_done(&lab);
}

#define HEARD(test) cmocka_unit_test_setup_teardown(test, hear, hear_no_more)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HEARD(test_what_is_in_force_is_served),
		HEARD(test_more_workers_are_looked_at_more_often),
		HEARD(test_who_does_not_serve_is_not_looked_at),
		HEARD(test_an_old_certificate),
		HEARD(test_a_moment_is_no_fault),
		HEARD(test_a_short_life_has_less_patience),
		HEARD(test_one_worker_of_four),
		HEARD(test_a_port_that_cannot_be_looked_at),
		HEARD(test_nobody_listens),
		HEARD(test_changes_and_ends_meanwhile),
		HEARD(test_no_sockets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
