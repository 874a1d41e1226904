/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "ca/ca.h"
#include "daemon/keeper.h"
#include "fake_proxy.h"
#include "stage.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static uint16_t free_ports(void)
{
	for (uint16_t port = 21000; port < 30000; port = (uint16_t)(port + 3)) {
		bool all = true;
		for (uint16_t i = 0; i < 3; i++) {
			int fd = socket(AF_INET, SOCK_STREAM, 0);
			struct sockaddr_in a = {
				.sin_family = AF_INET, .sin_port = htons((uint16_t)(port + i))};
			all = all && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
			close(fd);
		}
		if (all)
			return port;
	}
	return 0;
}

void say(struct stage *s, const char *word)
{
	char text[600];
	snprintf(text, sizeof(text), "%s %s %u %u", word, s->p.dir, s->port,
		geteuid() == 0 ? 65534 : geteuid());
	/* As a whole: a plan of new certificates may be made at this very moment. */
	char next[100], conf[100];
	snprintf(next, sizeof(next), "%s/conf.next", s->p.dir);
	snprintf(conf, sizeof(conf), "%s/conf", s->p.dir);
	place_write(&s->p, "conf.next", str_of(text), 0644);
	assert_int_equal(rename(next, conf), 0);
}

static void stage_files(struct stage *s)
{
	struct err err;
	char ca[100], out[100];
	place_init(&s->p);
	chmod(s->p.dir, 0755);
	place_write(&s->p, "journal", STR("begin\n"), 0666);
	place_write(&s->p, "log", STR(""), 0644);
	snprintf(ca, sizeof(ca), "%s/ca", s->p.dir);
	snprintf(out, sizeof(out), "%s/certs", s->p.dir);
	assert_int_equal(ca_init(ca, STR("prod.example"), 86400, &err), 0);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	place_write(&s->p, "password", STR("open sesame\n"), 0600);
	place_write(&s->p, "operator.pem", STR("an operator"), 0644);
	s->port = free_ports();
}

static void stage_environment(struct stage *s)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/notify", s->p.dir);
	s->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(s->notify_fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setenv("NOTIFY_SOCKET", a.sun_path, 1);
	setenv(FAKE_PROXY_JOURNAL, place_path(&s->p, "journal"), 1);
}

pid_t run_keeper(struct stage *s)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		/* A failed test leaves nothing running. */
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		char *argv[] = {"run", "-c", (char *)(uintptr_t)place_path(&s->p, "conf"), NULL};
		int log = open(place_path(&s->p, "log"), O_WRONLY | O_CREAT | O_APPEND, 0644);
		dup2(log, STDERR_FILENO);
		exit(keeper_main(3, argv));
	}
	return pid;
}

void stage_set(struct stage *s, const char *word)
{
	stage_files(s);
	stage_environment(s);
	say(s, word);
}

void stage_begin(struct stage *s, const char *word)
{
	stage_set(s, word);
	s->keeper = run_keeper(s);
}

bool has_line(struct stage *s, const char *file, const char *text, unsigned times)
{
	char *all = place_read(&s->p, file);
	unsigned count = 0;
	for (const char *at = all; (at = strstr(at, text)); at++)
		count++;
	free(all);
	return count >= times;
}

static void show(struct stage *s)
{
	char *journal = place_read(&s->p, "journal"), *log = place_read(&s->p, "log");
	fprintf(stderr, "journal:\n%s\nlog:\n%s\n", journal, log);
	free(journal);
	free(log);
}

void expect(struct stage *s, const char *file, const char *text, unsigned times)
{
	for (int i = 0; i < WAIT_TURNS; i++) {
		if (has_line(s, file, text, times))
			return;
		usleep(10000);
	}
	show(s);
	fail_msg("never %u times in %s: %s", times, file, text);
}

void expect_notified(struct stage *s, const char *text)
{
	char line[1100];
	for (int i = 0; i < WAIT_TURNS; i++) {
		ssize_t n = recv(s->notify_fd, line, sizeof(line) - 1, 0);
		if (n > 0) {
			line[n] = '\0';
			if (strstr(line, text))
				return;
			continue;
		}
		usleep(10000);
	}
	show(s);
	fail_msg("never notified: %s", text);
}

int keeper_status(struct stage *s)
{
	int status;
	for (int i = 0; i < WAIT_TURNS; i++) {
		if (waitpid(s->keeper, &status, WNOHANG) == s->keeper)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
		usleep(10000);
	}
	kill(s->keeper, SIGKILL);
	waitpid(s->keeper, &status, 0);
	show(s);
	fail_msg("the keeper does not end");
	return -1;
}

void stage_clear(struct stage *s)
{
	close(s->notify_fd);
	place_done(&s->p);
}

void stage_end(struct stage *s)
{
	kill(s->keeper, SIGTERM);
	int status = keeper_status(s);
	if (status != 0)
		show(s);
	assert_int_equal(status, 0);
	stage_clear(s);
}

long journal_number(struct stage *s, const char *name)
{
	char *all = place_read(&s->p, "journal"), *found = NULL;
	for (char *at = all; (at = strstr(at, name)); at++)
		found = at;
	assert_non_null(found);
	long number = strtol(found + strlen(name), NULL, 10);
	free(all);
	return number;
}
