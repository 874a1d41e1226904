/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ASK_TIMEOUT_S 5
#define ASK_BYTES_MAX (256u << 20)

static int ask_explain(int number, const char *path, struct err *err)
{
	switch (number) {
	case ENOENT:
		return err_set(err, number,
			"there is no admin socket at %s: ringmain is not running, or listens "
			"elsewhere (see `systemctl status ringmain`, or name the socket with "
			"--socket)",
			path);
	case ECONNREFUSED:
		return err_set(err, number,
			"nobody listens on %s: ringmain has ended, or is starting (see "
			"`systemctl status ringmain`)",
			path);
	case EACCES:
	case EPERM:
		return err_set(err, number,
			"you may not use %s: become a member of its group (`usermod -aG ringmain "
			"$USER`, then log in again), or be root",
			path);
	case ETIMEDOUT:
		return err_set(err, number,
			"the proxy process behind %s does not answer within %d s; the keeper "
			"replaces one that hangs",
			path, ASK_TIMEOUT_S);
	default:
		return err_set(err, number, "cannot ask %s: %s", path, strerror(number));
	}
}

static int ask_connect(const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, ENAMETOOLONG, "%s is too long for a socket's path", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ask_explain(errno, path, err);
	struct timeval limit = {.tv_sec = ASK_TIMEOUT_S};
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int number = errno;
		close(fd);
		return ask_explain(number, path, err);
	}
	return fd;
}

/* Until the far end closes. Returns the length or -errno. */
static ssize_t ask_read_all(int fd, char **ret_bytes)
{
	size_t len = 0, size = 0;
	char *bytes = NULL;
	for (;;) {
		if (len == size) {
			size = size ? 2 * size : 65536;
			char *more = size <= ASK_BYTES_MAX ? realloc(bytes, size) : NULL;
			if (!more) {
				free(bytes);
				return -ENOMEM;
			}
			bytes = more;
		}
		ssize_t n = recv(fd, bytes + len, size - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int number = errno == EAGAIN ? ETIMEDOUT : errno;
			free(bytes);
			return -number;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_bytes = bytes;
	return (ssize_t)len;
}

/* "Content-Length: n" in the head, or -1. */
static long long ask_body_len(struct str head)
{
	const struct str name = STR("content-length:");
	for (size_t i = 0; i + name.len < head.len; i++) {
		struct str rest = {head.at + i, head.len - i};
		uint64_t value;
		if ((i > 0 && head.at[i - 1] != '\n') ||
			!str_eq_nocase((struct str){rest.at, name.len}, name))
			continue;
		const char *end = memchr(rest.at, '\r', rest.len);
		size_t line = end ? (size_t)(end - rest.at) : rest.len;
		if (str_to_u64(str_trim((struct str){rest.at + name.len, line - name.len}), &value))
			return (long long)value;
	}
	return -1;
}

static bool ask_split(struct answer *answer, size_t len)
{
	static const char start[] = "HTTP/1.1 ";
	const char *end = len ? memmem(answer->bytes, len, "\r\n\r\n", 4) : NULL;
	uint64_t status;
	if (!end || len < sizeof(start) + 3 || memcmp(answer->bytes, start, sizeof(start) - 1) != 0)
		return false;
	if (!str_to_u64((struct str){answer->bytes + sizeof(start) - 1, 3}, &status))
		return false;
	answer->status = (int)status;
	size_t head_len = (size_t)(end - answer->bytes) + 2;
	answer->body = (struct str){end + 4, len - head_len - 2};
	long long want = ask_body_len((struct str){answer->bytes, head_len});
	return want < 0 || (size_t)want == answer->body.len;
}

static int ask_on(int fd, const char *socket_path, const char *method, const char *path,
	struct answer *ret_answer, struct err *err)
{
	char request[ASK_PATH_MAX + 256];
	int len = snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", method, path,
		strcmp(method, "GET") == 0 ? "" : "Content-Length: 0\r\n");
	ASSERT(len > 0 && (size_t)len < sizeof(request));
	if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		return ask_explain(errno, socket_path, err);
	struct answer answer = {0};
	ssize_t received = ask_read_all(fd, &answer.bytes);
	if (received < 0)
		return ask_explain((int)-received, socket_path, err);
	if (!ask_split(&answer, (size_t)received)) {
		answer_done(&answer);
		return err_set(err, EPROTO,
			"%s gave no whole answer: too many connections to it at once, or ringmain "
			"is ending",
			socket_path);
	}
	*ret_answer = answer;
	return 0;
}

static int ask_by(const char *socket_path, const char *method, const char *path,
	struct answer *ret_answer, struct err *err)
{
	int fd = ask_connect(socket_path, err);
	if (fd < 0)
		return fd;
	int r = ask_on(fd, socket_path, method, path, ret_answer, err);
	close(fd);
	return r;
}

int ask(const char *socket_path, const char *path, struct answer *ret_answer, struct err *err)
{
	return ask_by(socket_path, "GET", path, ret_answer, err);
}

int ask_for(const char *socket_path, const char *path, struct answer *ret_answer, struct err *err)
{
	return ask_by(socket_path, "POST", path, ret_answer, err);
}

void answer_done(struct answer *answer)
{
	free(answer->bytes);
	*answer = (struct answer){0};
}
