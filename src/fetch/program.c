/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include "base/program.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int fetch_program_start(struct fetch_program *p, char *const argv[], size_t out_max)
{
	int out[2] = {-1, -1}, why[2] = {-1, -1};
	*p = (struct fetch_program){.out_fd = -1, .err_fd = -1, .out_max = out_max};
	p->out = malloc(out_max);
	if (!p->out)
		return -ENOMEM;
	int r = pipe2(out, O_CLOEXEC) < 0 || pipe2(why, O_CLOEXEC) < 0 ? -errno : 0;
	p->out_fd = out[0];
	p->err_fd = why[0];
	/* Ours only: the program's ends wait for room. */
	if (r == 0 &&
		(fcntl(out[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(why[0], F_SETFL, O_NONBLOCK) < 0))
		r = -errno;
	if (r == 0)
		r = program_start(argv, out[1], why[1], &p->pid);
	if (out[1] >= 0)
		close(out[1]);
	if (why[1] >= 0)
		close(why[1]);
	if (r < 0)
		fetch_program_done(p);
	return r;
}

static void fetch_program_read_out(struct fetch_program *p)
{
	while (!p->out_over) {
		char more;
		bool is_full = p->out_len == p->out_max;
		ssize_t n = is_full ? read(p->out_fd, &more, 1)
				    : read(p->out_fd, p->out + p->out_len, p->out_max - p->out_len);
		if (n <= 0)
			return;
		if (is_full)
			p->out_over = true;
		else
			p->out_len += (size_t)n;
	}
	fetch_program_kill(p);
}

/* Its first line, in printable characters. */
static void fetch_program_read_why(struct fetch_program *p)
{
	char text[512];
	ssize_t n;
	while ((n = read(p->err_fd, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < n && p->why_len + 1 < sizeof(p->why); i++)
			p->why[p->why_len++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ';
	}
	while (p->why_len > 0 && p->why[p->why_len - 1] == ' ')
		p->why_len--;
	p->why[p->why_len] = '\0';
}

bool fetch_program_look(struct fetch_program *p, int *ret_status)
{
	if (program_ended(p->pid, ret_status))
		p->pid = 0;
	fetch_program_read_out(p);
	fetch_program_read_why(p);
	return p->pid == 0;
}

void fetch_program_kill(struct fetch_program *p)
{
	if (p->pid > 0)
		program_kill(p->pid);
}

void fetch_program_done(struct fetch_program *p)
{
	ASSERT(p->pid == 0);
	if (p->out_fd >= 0)
		close(p->out_fd);
	if (p->err_fd >= 0)
		close(p->err_fd);
	free(p->out);
	*p = (struct fetch_program){.out_fd = -1, .err_fd = -1};
}
