/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles from texts, for the tests of the conf room. */
#pragma once

#include "conf/conf.h"

/* A node file that is complete; workloads and further groups are appended to it. */
#define FIXTURE_NODE                                             \
	"node: { name = \"vm-a\"; address = \"10.77.0.1\"; };\n" \
	"mesh: { trust_domain = \"prod.example\"; };\n"

/* Such a one of a machine that has a store. */
#define FIXTURE_STORE                                                             \
	"node: { name = \"vm-a\"; address = [ \"10.77.0.1\", \"fd00::1\" ]; };\n" \
	"mesh: { trust_domain = \"prod.example\"; };\n"                           \
	"state: { redis = \"10.77.0.10:6379\"; operators = \"/etc/ringmain/alice.pub\"; };\n"

struct fixture {
	struct bundle bundle, picture;
	bool with_picture;
	struct conf_report report;
	struct conf *conf;
	struct snapshot *snapshot;
	int result;
};

void fixture_init(struct fixture *f);
void fixture_done(struct fixture *f);
void fixture_add(struct fixture *f, const char *kind, const char *name, const char *text);
/* An item of the picture of the mesh. */
void fixture_tell(struct fixture *f, const char *kind, const char *name, const char *text);
/* Adds the two files (mesh may be NULL) as node.conf and mesh.conf, and parses. */
void fixture_parse(struct fixture *f, const char *node, const char *mesh);
/* Parses, fails the test with the report unless it succeeds. */
void fixture_parse_good(struct fixture *f, const char *node, const char *mesh);
