/* SPDX-License-Identifier: Apache-2.0 */
/* A page about a configuration that no proxy has. */
#include "admin/admin.h"
#include "page.h"
#include <stdlib.h>

char *admin_answer_of(
	struct conf *conf, struct snapshot *snapshot, struct str path, int *ret_status)
{
	struct plan plan = {.generation = snapshot->generation, .conf = conf, .snapshot = snapshot};
	struct proxy *proxy = calloc(1, sizeof(*proxy));
	const struct page_source source = {.proxy = proxy};
	const struct page_request request = {.method = STR("GET"),
		.path = path,
		.host = STR(""),
		.accept = STR(""),
		.is_unix = true};
	struct page_response response;
	if (!proxy)
		return NULL;
	proxy->plan = &plan;
	page_answer(&source, &request, &response);
	free(proxy);
	*ret_status = response.status;
	char *text = realloc(response.body, response.body_len + 1);
	if (!text) {
		page_response_done(&response);
		return NULL;
	}
	text[response.body_len] = '\0';
	return text;
}
