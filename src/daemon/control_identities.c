/* SPDX-License-Identifier: Apache-2.0 */
/* What status and metrics say of certificates, beside what is in the plan: the rows of the state
 * process, and what can be read of anchors and revocation lists. Read once for each plan, as lists
 * may be long. */
#include "control_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The state process speaks to the network; it may have been taken over. */
static void control_end_texts(struct wire_certificate *row)
{
	row->identity[sizeof(row->identity) - 1] = '\0';
	row->serial[sizeof(row->serial) - 1] = '\0';
	row->served_serial[sizeof(row->served_serial) - 1] = '\0';
	row->why[sizeof(row->why) - 1] = '\0';
	if (row->state >= WIRE_CERTIFICATE_STATES)
		row->state = WIRE_CERTIFICATE_MISSING;
}

void control_take_identities(struct control *c, const struct wire_identities *m, int fd)
{
	struct proxy_identities *to = &c->proxy.identities;
	if (fd < 0 || m->count > WIRE_CERTIFICATES_MAX)
		return;
	struct wire_certificate *rows = calloc((size_t)m->count + 1, sizeof(*rows));
	ssize_t wanted = (ssize_t)(m->count * sizeof(*rows));
	if (!rows || pread(fd, rows, (size_t)wanted, 0) != wanted) {
		free(rows);
		return;
	}
	for (uint32_t i = 0; i < m->count; i++)
		control_end_texts(&rows[i]);
	free(to->rows);
	to->rows = rows;
	to->row_count = m->count;
	to->skew_s = m->skew_s;
}

void control_look_at_trust(struct control *c)
{
	struct proxy_identities *to = &c->proxy.identities;
	struct tls_trust_view view;
	const struct bundle_item *item = NULL;
	uint32_t count = 0;
	while ((item = bundle_next(c->bundle, "roots", item)))
		count++;
	struct proxy_trust *trusts = calloc((size_t)count + 1, sizeof(*trusts));
	if (!trusts)
		return;
	for (uint32_t i = 0; i < count && tls_trust_view(c->bundle, i, &view); i++) {
		snprintf(trusts[i].trust_domain, sizeof(trusts[i].trust_domain), STR_FMT,
			STR_ARG(view.trust_domain));
		trusts[i].view = view;
		trusts[i].view.trust_domain = STR_NONE;
	}
	free(to->trusts);
	to->trusts = trusts;
	to->trust_count = count;
	/* Without an authority nobody says anything of certificates any more. */
	if (c->proxy.plan->conf->authority.server_count == 0) {
		free(to->rows);
		to->rows = NULL;
		to->row_count = 0;
		to->skew_s = 0;
	}
}

void control_identities_done(struct control *c)
{
	free(c->proxy.identities.rows);
	free(c->proxy.identities.trusts);
	c->proxy.identities = (struct proxy_identities){0};
}
