/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the order of rules, every kind of match, and above all that what is missing or
 * unclear denies. */
#include "mesh/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ORDERS	"spiffe://td/service/orders"
#define WEB	"spiffe://td/service/web"
#define OLD	"spiffe://td/service/web-old"
#define OTHER	"spiffe://td/service/other"
#define SHOP	"spiffe://td/shop/web"
#define PARTNER "spiffe://p.x/shop/web"

#define LIST_MAX 3

/* A rule as a table row; lists end at the first NULL. */
struct policy_rule {
	enum policy_action action;
	const char *from[LIST_MAX], *methods[LIST_MAX], *paths[LIST_MAX];
	const char *hosts[LIST_MAX], *not_from[LIST_MAX], *not_methods[LIST_MAX];
	const char *not_paths[LIST_MAX], *not_hosts[LIST_MAX];
	uint16_t ports[LIST_MAX], not_ports[LIST_MAX]; /* up to the first 0 */
	const char *header, *claim;		       /* "name=value", "!name=value" */
	bool is_on_trial;
};

struct policy_row {
	const char *name;
	struct policy_rule rules[3];
	uint32_t rule_count;
	bool default_allow;
	const char *source, *method, *path; /* NULL: none */
	bool is_allowed;
	int decided_by; /* rule, or -1 for the default */
	const char *host, *client, *headers[LIST_MAX], *claims[LIST_MAX]; /* "name=value" */
	uint16_t port;
	enum policy_default own_default;
	bool is_audited, would_deny;
	int audited, noted; /* rule and 1, or 0 for none */
};

#define ALLOW(...)                        \
	{                                 \
		POLICY_ALLOW, __VA_ARGS__ \
	}
#define DENY(...)                        \
	{                                \
		POLICY_DENY, __VA_ARGS__ \
	}
#define FROM(...)    .from = {__VA_ARGS__}
#define METHODS(...) .methods = {__VA_ARGS__}
#define PATHS(...)   .paths = {__VA_ARGS__}

#define NOT_FROM(...)	 .not_from = {__VA_ARGS__}
#define NOT_METHODS(...) .not_methods = {__VA_ARGS__}
#define NOT_PATHS(...)	 .not_paths = {__VA_ARGS__}
#define HOSTS(...)	 .hosts = {__VA_ARGS__}
#define NOT_HOSTS(...)	 .not_hosts = {__VA_ARGS__}
#define PORTS(...)	 .ports = {__VA_ARGS__}
#define NOT_PORTS(...)	 .not_ports = {__VA_ARGS__}
#define AUDIT(...)                        \
	{                                 \
		POLICY_AUDIT, __VA_ARGS__ \
	}

static const struct policy_row policy_rows[] = {
	/* the default */
	{"no rule", .source = WEB, .decided_by = -1},
	{"no rule, authenticated", .default_allow = true, .source = WEB, .is_allowed = true,
		.decided_by = -1},
	{"no rule, authenticated, no identity", .default_allow = true, .decided_by = -1},
	{"no rule, authenticated, of another trust domain", .default_allow = true,
		.source = "spiffe://partner/service/web", .decided_by = -1},
	{"no rule, authenticated, of one that begins as ours", .default_allow = true,
		.source = "spiffe://td.evil/service/web", .decided_by = -1},
	{"star is of any trust domain", {ALLOW(FROM("*"))}, 1, false,
		"spiffe://partner/service/web", NULL, NULL, true, 0},
	{"another trust domain, named", {ALLOW(FROM("spiffe://partner/*"))}, 1, false,
		"spiffe://partner/shop/web", NULL, NULL, true, 0},
	{"an allow rule closes the default", {ALLOW(FROM("web"))}, 1, true, OTHER, NULL, NULL,
		false, -1},
	{"a deny rule leaves the default", {DENY(FROM("web"))}, 1, true, OTHER, NULL, NULL, true,
		-1},
	/* from */
	{"service", {ALLOW(FROM("web"))}, 1, false, WEB, NULL, NULL, true, 0},
	{"any id of the service", {ALLOW(FROM("web"))}, 1, false, OLD, NULL, NULL, true, 0},
	{"another service", {ALLOW(FROM("web"))}, 1, false, OTHER, NULL, NULL, false, -1},
	{"service is no prefix", {ALLOW(FROM("web"))}, 1, false, WEB "x", NULL, NULL, false, -1},
	{"id", {ALLOW(FROM(OTHER))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"id is compared whole", {ALLOW(FROM(OTHER))}, 1, false, OTHER "/x", NULL, NULL, false, -1},
	{"second of the list", {ALLOW(FROM("web", OTHER))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"star is any identity", {ALLOW(FROM("*"))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"star is not nobody", {ALLOW(FROM("*"))}, 1, false, NULL, NULL, NULL, false, -1},
	{"no from is any identity", {ALLOW(FROM(NULL))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"no from is not nobody", {ALLOW(FROM(NULL))}, 1, false, NULL, NULL, NULL, false, -1},
	{"anonymous", {ALLOW(FROM("anonymous"))}, 1, false, NULL, NULL, NULL, true, 0},
	{"anonymous is not everybody", {ALLOW(FROM("anonymous"))}, 1, false, WEB, NULL, NULL, false,
		-1},
	{"undeclared service has the identity of its name", {ALLOW(FROM("other"))}, 1, false, OTHER,
		NULL, NULL, true, 0},
	{"undeclared service, whole name", {ALLOW(FROM("othe"))}, 1, false, OTHER, NULL, NULL,
		false, -1},
	{"undeclared service, denied", {DENY(FROM("other"))}, 1, true, OTHER, NULL, NULL, false, 0},
	{"undeclared service, other trust domain", {ALLOW(FROM("other"))}, 1, false,
		"spiffe://tda/service/other", NULL, NULL, false, -1},
	{"undeclared service cannot allow another", {ALLOW(FROM("gone"))}, 1, false, WEB, NULL,
		NULL, false, -1},
	{"undeclared service is no declared one", {DENY(FROM("gone"))}, 1, true, WEB, NULL, NULL,
		true, -1},
	{"undeclared service may be any other", {DENY(FROM("gone"))}, 1, true, OTHER, NULL, NULL,
		false, 0},
	{"undeclared service may be the more exact", {ALLOW(FROM("shop/x")), DENY(FROM("gone"))}, 2,
		true, "spiffe://td/shop/x", NULL, NULL, false, 1},
	/* deny before allow, whatever the order */
	{"deny wins", {ALLOW(FROM("*")), DENY(FROM("web"))}, 2, false, WEB, NULL, NULL, false, 1},
	{"deny misses", {ALLOW(FROM("*")), DENY(FROM("web"))}, 2, false, OTHER, NULL, NULL, true,
		0},
	{"deny without from is for all", {DENY(FROM(NULL)), ALLOW(FROM("*"))}, 2, false, WEB, NULL,
		NULL, false, 0},
	{"deny without from is for nobody too", {DENY(FROM(NULL)), ALLOW(FROM("anonymous"))}, 2,
		false, NULL, NULL, NULL, false, 0},
	{"no identity may be the denied one", {DENY(FROM("web")), ALLOW(FROM("anonymous"))}, 2,
		false, NULL, NULL, NULL, false, 0},
	{"deny anonymous", {DENY(FROM("anonymous")), ALLOW(FROM("*"))}, 2, false, WEB, NULL, NULL,
		true, 1},
	/* methods */
	{"method", {ALLOW(METHODS("GET", "HEAD"))}, 1, false, WEB, "HEAD", "/", true, 0},
	{"another method", {ALLOW(METHODS("GET"))}, 1, false, WEB, "POST", "/", false, -1},
	{"method in its own case", {ALLOW(METHODS("GET"))}, 1, false, WEB, "get", "/", false, -1},
	{"method is no prefix", {ALLOW(METHODS("GET"))}, 1, false, WEB, "GETX", "/", false, -1},
	/* opaque TCP */
	{"methods cannot allow tcp", {ALLOW(METHODS("GET"))}, 1, false, WEB, NULL, NULL, false, -1},
	{"paths cannot allow tcp", {ALLOW(PATHS("*"))}, 1, false, WEB, NULL, NULL, false, -1},
	{"methods deny tcp", {DENY(METHODS("POST")), ALLOW(FROM("*"))}, 2, false, WEB, NULL, NULL,
		false, 0},
	{"paths deny tcp", {DENY(PATHS("/a")), ALLOW(FROM("*"))}, 2, false, WEB, NULL, NULL, false,
		0},
	{"of other callers not", {DENY(FROM(OTHER), PATHS("/a")), ALLOW(FROM("*"))}, 2, false, WEB,
		NULL, NULL, true, 1},
	/* paths */
	{"exact", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/a", true, 0},
	{"exact is whole", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/a/", false, -1},
	{"exact has a case", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/A", false, -1},
	{"prefix", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/a/b/c", true, 0},
	{"prefix, empty rest", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/a/", true, 0},
	{"prefix is the segment itself too", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/a",
		true, 0},
	{"prefix is of segments", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/ab", false, -1},
	{"star", {ALLOW(PATHS("*"))}, 1, false, WEB, "GET", "/", true, 0},
	{"no path at all", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "", false, -1},
	{"every list must match", {ALLOW(FROM("web"), METHODS("GET"), PATHS("/a"))}, 1, false, WEB,
		"GET", "/b", false, -1},
	{"second rule", {ALLOW(PATHS("/a")), ALLOW(PATHS("/b"))}, 2, false, WEB, "GET", "/b", true,
		1},
	/* deny as a lenient server would read the path; allow only to the letter */
	{"deny, parameter", {DENY(PATHS("/admin/*")), ALLOW(FROM("*"))}, 2, false, WEB, "GET",
		"/admin;x=1/a", false, 0},
	{"deny, empty parameter segment", {DENY(PATHS("/admin/*")), ALLOW(FROM("*"))}, 2, false,
		WEB, "GET", "/;x/admin/a", false, 0},
	{"deny, parameter at the end", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, false, WEB,
		"GET", "/admin;x", false, 0},
	{"deny, escape", {DENY(PATHS("/a:b")), ALLOW(FROM("*"))}, 2, false, WEB, "GET", "/a%3Ab",
		false, 0},
	{"deny, parameter as written", {DENY(PATHS("/a;b")), ALLOW(FROM("*"))}, 2, false, WEB,
		"GET", "/a;b", false, 0},
	{"deny, another path", {DENY(PATHS("/admin/*")), ALLOW(FROM("*"))}, 2, false, WEB, "GET",
		"/x;/admin", true, 1},
	{"allow, parameter", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/a;x", false, -1},
	{"allow, escape", {ALLOW(PATHS("/a:b"))}, 1, false, WEB, "GET", "/a%3Ab", false, -1},
	/* callers: whole domains, beginnings, addresses */
	{"below a path", {ALLOW(FROM("shop/*"))}, 1, .source = SHOP, .is_allowed = true},
	{"below a path is not the path", {ALLOW(FROM("shop/*"))}, 1, .source = "spiffe://td/shop",
		.decided_by = -1},
	{"below a path is of segments", {ALLOW(FROM("shop/*"))}, 1,
		.source = "spiffe://td/shopping/web", .decided_by = -1},
	{"below a path is of the own domain", {ALLOW(FROM("shop/*"))}, 1,
		.source = "spiffe://tdx/shop/web", .decided_by = -1},
	{"whole domain", {ALLOW(FROM("spiffe://p.x/*"))}, 1, .source = PARTNER, .is_allowed = true},
	{"whole domain is no beginning", {ALLOW(FROM("spiffe://p.x/*"))}, 1,
		.source = "spiffe://p.xy/shop/web", .decided_by = -1},
	{"range", {ALLOW(FROM("10.0.0.0/8"))}, 1, .is_allowed = true, .client = "10.1.2.3"},
	{"another range", {ALLOW(FROM("10.0.0.0/8"))}, 1, .decided_by = -1, .client = "11.1.2.3"},
	{"range says nothing of who has an identity", {ALLOW(FROM("10.0.0.0/8"))}, 1, .source = WEB,
		.decided_by = -1, .client = "10.1.2.3"},
	{"range, address not known", {ALLOW(FROM("10.0.0.0/8"))}, 1, .decided_by = -1},
	{"denied range, address not known", {DENY(FROM("10.0.0.0/8")), ALLOW(FROM("anonymous"))},
		2},
	{"range, IPv4 in IPv6", {ALLOW(FROM("10.0.0.0/8"))}, 1, .is_allowed = true,
		.client = "::ffff:10.1.2.3"},
	{"range written as IPv4 in IPv6", {ALLOW(FROM("::ffff:10.0.0.0/104"))}, 1,
		.is_allowed = true, .client = "10.1.2.3"},
	/* the more exact caller decides, whatever the order */
	{"id before what is above it", {DENY(FROM("shop/*")), ALLOW(FROM("shop/web"))}, 2,
		.source = SHOP, .is_allowed = true, .decided_by = 1},
	{"denied id before what is above it", {ALLOW(FROM("shop/*")), DENY(FROM("shop/web"))}, 2,
		.source = SHOP, .decided_by = 1},
	{"longer beginning", {DENY(FROM("*")), ALLOW(FROM("shop/*")), DENY(FROM("spiffe://td/*"))},
		3, .source = SHOP, .is_allowed = true, .decided_by = 1},
	{"longer range", {DENY(FROM("10.0.0.0/8")), ALLOW(FROM("10.1.0.0/16"))}, 2,
		.is_allowed = true, .decided_by = 1, .client = "10.1.2.3"},
	{"deny of equal exactness", {ALLOW(FROM("shop/web")), DENY(FROM("shop/web"))}, 2,
		.source = SHOP, .decided_by = 1},
	{"guard before an id", {ALLOW(FROM("shop/web")), DENY(PATHS("/admin/*"))}, 2,
		.source = SHOP, .method = "GET", .path = "/admin/a", .decided_by = 1},
	{"guard misses", {ALLOW(FROM("shop/web")), DENY(PATHS("/admin/*"))}, 2, .source = SHOP,
		.method = "GET", .path = "/a", .is_allowed = true},
	{"first of equal allow rules", {ALLOW(FROM("*")), ALLOW(FROM("web")), ALLOW(FROM("web"))},
		3, .source = WEB, .is_allowed = true, .decided_by = 1},
	{"first of equal deny rules", {DENY(FROM("web")), DENY(FROM("web")), ALLOW(FROM("web"))}, 3,
		.source = WEB},
	{"the most exact entry of a rule counts",
		{ALLOW(FROM("*", "shop/web")), DENY(FROM("shop/*"))}, 2, .source = SHOP,
		.is_allowed = true},
	{"an entry of others does not count", {ALLOW(FROM("*", "web")), DENY(FROM("shop/*"))}, 2,
		.source = SHOP, .decided_by = 1},
	/* who has no identity may be anyone */
	{"denied beginning before an address", {DENY(FROM("shop/*")), ALLOW(FROM("10.1.2.3"))}, 2,
		.client = "10.1.2.3"},
	{"denied identities before an address", {DENY(FROM("*")), ALLOW(FROM("10.1.2.3"))}, 2,
		.client = "10.1.2.3"},
	{"denied path of somebody", {DENY(FROM("web"), PATHS("/a")), ALLOW(FROM("anonymous"))}, 2,
		.method = "GET", .path = "/a"},
	{"another path than that", {DENY(FROM("web"), PATHS("/a")), ALLOW(FROM("anonymous"))}, 2,
		.method = "GET", .path = "/b", .is_allowed = true, .decided_by = 1},
	{"who may be meant is no exact entry of an allow rule",
		{ALLOW(FROM("anonymous", "web")), DENY(FROM("10.0.0.0/8"))}, 2, .decided_by = 1,
		.client = "10.1.2.3"},
	{"not from, no identity", {ALLOW(FROM("anonymous"), NOT_FROM("web"))}, 1, .decided_by = -1},
	{"denied but not from, no identity", {DENY(NOT_FROM("web")), ALLOW(FROM("anonymous"))}, 2},
	/* negations */
	{"not from", {ALLOW(FROM("shop/*"), NOT_FROM("shop/web"))}, 1, .source = SHOP,
		.decided_by = -1},
	{"not from, another", {ALLOW(FROM("*"), NOT_FROM("shop/web"))}, 1, .source = WEB,
		.is_allowed = true},
	{"denied but not from", {DENY(NOT_FROM("web")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.is_allowed = true, .decided_by = 1},
	{"not method", {ALLOW(NOT_METHODS("DELETE"))}, 1, .source = WEB, .method = "DELETE",
		.path = "/", .decided_by = -1},
	{"not method, another", {ALLOW(NOT_METHODS("DELETE"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .is_allowed = true},
	{"not method, of bytes", {ALLOW(NOT_METHODS("DELETE"))}, 1, .source = WEB,
		.decided_by = -1},
	{"not method, in another letter case", {ALLOW(NOT_METHODS("DELETE"))}, 1, .source = WEB,
		.method = "delete", .path = "/", .decided_by = -1},
	{"denied but not methods, of bytes", {DENY(NOT_METHODS("GET")), ALLOW(FROM("*"))}, 2,
		.source = WEB},
	{"not path", {ALLOW(NOT_PATHS("/a/*"))}, 1, .source = WEB, .method = "GET", .path = "/a/b",
		.decided_by = -1},
	{"not path, as some read it", {ALLOW(NOT_PATHS("/a/*"))}, 1, .source = WEB, .method = "GET",
		.path = "/A;x/b", .decided_by = -1},
	{"not path, another", {ALLOW(NOT_PATHS("/a/*"))}, 1, .source = WEB, .method = "GET",
		.path = "/b", .is_allowed = true},
	{"denied but not path", {DENY(NOT_PATHS("/a/*")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/a/b", .is_allowed = true, .decided_by = 1},
	{"denied but not path, as some read it", {DENY(NOT_PATHS("/a/*")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/A/b"},
	{"each of the lists", {ALLOW(NOT_METHODS("DELETE"), NOT_PATHS("/a"))}, 1, .source = WEB,
		.method = "DELETE", .path = "/b", .decided_by = -1},
	{"paths and not paths", {ALLOW(PATHS("/a/*"), NOT_PATHS("/a/b"))}, 1, .source = WEB,
		.method = "GET", .path = "/a/b", .decided_by = -1},
	{"paths and not paths, another", {ALLOW(PATHS("/a/*"), NOT_PATHS("/a/b"))}, 1,
		.source = WEB, .method = "GET", .path = "/a/c", .is_allowed = true},
	/* ports */
	{"port", {ALLOW(PORTS(80, 81))}, 1, .source = WEB, .is_allowed = true, .port = 81},
	{"another port", {ALLOW(PORTS(80))}, 1, .source = WEB, .decided_by = -1, .port = 81},
	{"port not known", {ALLOW(PORTS(80))}, 1, .source = WEB, .decided_by = -1},
	{"denied port not known", {DENY(PORTS(80)), ALLOW(FROM("*"))}, 2, .source = WEB},
	{"not port", {ALLOW(NOT_PORTS(80))}, 1, .source = WEB, .decided_by = -1, .port = 80},
	{"not port, another", {ALLOW(NOT_PORTS(80))}, 1, .source = WEB, .is_allowed = true,
		.port = 81},
	{"not port, not known", {ALLOW(NOT_PORTS(80))}, 1, .source = WEB, .decided_by = -1},
	/* hosts */
	{"host orders", {ALLOW(HOSTS("orders"))}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .host = "orders"},
	{"host orders:80", {ALLOW(HOSTS("orders"))}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .host = "orders:80"},
	{"host orders.", {ALLOW(HOSTS("orders"))}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .host = "orders."},
	{"host orders.:80", {ALLOW(HOSTS("orders"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .is_allowed = true, .host = "orders.:80"},
	{"host orders:", {ALLOW(HOSTS("orders"))}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .host = "orders:"},
	{"host no one can be sure of, ", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = ""},
	{"denied host, ", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = ""},
	{"host no one can be sure of, orders..", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = "orders.."},
	{"denied host, orders..", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = "orders.."},
	{"host no one can be sure of, u@orders", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = "u@orders"},
	{"denied host, u@orders", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = "u@orders"},
	{"host no one can be sure of, orders:80:80", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = "orders:80:80"},
	{"denied host, orders:80:80", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = "orders:80:80"},
	{"host no one can be sure of, orders:x", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = "orders:x"},
	{"denied host, orders:x", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = "orders:x"},
	{"host no one can be sure of, ORDERS.x", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = "ORDERS.x"},
	{"denied host, ORDERS.x", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = "ORDERS.x"},
	{"host no one can be sure of, .", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = "."},
	{"denied host, .", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = "."},
	{"host no one can be sure of, orders%2e", {ALLOW(HOSTS("orders"))}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .host = "orders%2e"},
	{"denied host, orders%2e", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .host = "orders%2e"},
	{"another host", {DENY(HOSTS("orders")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .is_allowed = true, .decided_by = 1,
		.host = "orders2"},
	{"host below", {ALLOW(HOSTS("*.x.org"))}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .host = "a.b.x.org:1"},
	{"host below is not itself", {ALLOW(HOSTS("*.x.org"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .host = "x.org"},
	{"host below is not beside", {ALLOW(HOSTS("*.x.org"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .host = "ax.org"},
	{"host, IPv6", {ALLOW(HOSTS("[::1]"))}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .host = "[::1]:80"},
	{"host, IPv6 written otherwise", {ALLOW(HOSTS("[::1]"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .host = "[0:0::1]:80"},
	{"denied host, IPv6 written otherwise", {DENY(HOSTS("[::1]")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/", .host = "[0:0::1]:80"},
	{"denied host, address written as [::ffff:10.0.0.1]",
		{DENY(HOSTS("10.0.0.1")), ALLOW(FROM("*"))}, 2, .source = WEB, .method = "GET",
		.path = "/", .host = "[::ffff:10.0.0.1]"},
	{"denied host, address written as 10.1", {DENY(HOSTS("10.0.0.1")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/", .host = "10.1"},
	{"denied host, address written as 167772161", {DENY(HOSTS("10.0.0.1")), ALLOW(FROM("*"))},
		2, .source = WEB, .method = "GET", .path = "/", .host = "167772161"},
	{"denied host, address written as 0x0a000001", {DENY(HOSTS("10.0.0.1")), ALLOW(FROM("*"))},
		2, .source = WEB, .method = "GET", .path = "/", .host = "0x0a000001"},
	{"denied host, address written as 10.0.0.01", {DENY(HOSTS("10.0.0.1")), ALLOW(FROM("*"))},
		2, .source = WEB, .method = "GET", .path = "/", .host = "10.0.0.01"},
	{"a name with a digit first", {ALLOW(HOSTS("2fa"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .is_allowed = true, .host = "2fa"},
	{"not host", {ALLOW(NOT_HOSTS("orders"))}, 1, .source = WEB, .method = "GET", .path = "/",
		.decided_by = -1, .host = "orders:80"},
	{"not host, another", {ALLOW(NOT_HOSTS("orders"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .is_allowed = true, .host = "web"},
	{"not host, none", {ALLOW(NOT_HOSTS("orders"))}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .host = ""},
	/* headers */
	{"header", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .headers = {"X-R=a"}},
	{"header, another value", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .headers = {"x-r=b"}},
	{"header, none", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .method = "GET", .path = "/",
		.decided_by = -1},
	{"header twice alike", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .is_allowed = true, .headers = {"x-r=a", "X-R=a"}},
	{"header twice otherwise", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .headers = {"x-r=a", "x-r=b"}},
	{"header in a list", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .headers = {"x-r=b, a"}},
	{"header under another name", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .headers = {"x_r=a"}},
	{"header and another name for it", {ALLOW(.header = "x-r=a")}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .headers = {"x-r=a", "x_r=b"}},
	{"denied header, one of two", {DENY(.header = "x-r=a"), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .headers = {"x-r=b", "x-r=a"}},
	{"denied header in a list", {DENY(.header = "x-r=a"), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .headers = {"x-r=b,a ,c"}},
	{"denied header under another name", {DENY(.header = "x-r=a"), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/", .headers = {"x_R=a"}},
	{"denied header, another", {DENY(.header = "x-r=a"), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .is_allowed = true, .decided_by = 1,
		.headers = {"x-r=ab", "y=a"}},
	{"denied header that may be put together", {DENY(.header = "x-r=a,b"), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/", .headers = {"x-r=a", "x-r=b"}},
	{"header inverted", {ALLOW(.header = "!x-r=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .headers = {"x-r=a"}},
	{"header inverted, none", {ALLOW(.header = "!x-r=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .is_allowed = true},
	{"header inverted, one of two", {ALLOW(.header = "!x-r=a")}, 1, .source = WEB,
		.method = "GET", .path = "/", .decided_by = -1, .headers = {"x-r=a", "x-r=b"}},
	{"denied header inverted, one of two", {DENY(.header = "!x-r=a"), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/", .headers = {"x-r=a", "x-r=b"}},
	{"header, of bytes", {ALLOW(.header = "x-r=a")}, 1, .source = WEB, .decided_by = -1},
	{"denied header, of bytes", {DENY(.header = "x-r=a"), ALLOW(FROM("*"))}, 2, .source = WEB},
	/* methods as some servers have them */
	{"denied method in another letter case", {DENY(METHODS("DELETE")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "Delete", .path = "/"},
	{"denied method, none", {DENY(METHODS("DELETE")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "", .path = "/"},
	/* tokens */
	{"claim", {ALLOW(.claim = "groups=a")}, 1, .source = WEB, .method = "GET", .path = "/",
		.is_allowed = true, .claims = {"groups=b", "groups=a"}},
	{"claim, another", {ALLOW(.claim = "groups=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1, .claims = {"groups=b"}},
	{"claim, no token", {ALLOW(.claim = "groups=a")}, 1, .source = WEB, .method = "GET",
		.path = "/", .decided_by = -1},
	{"denied claim, another", {DENY(.claim = "groups=a"), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/", .is_allowed = true, .decided_by = 1,
		.claims = {"groups=b"}},
	{"denied claim, no token", {DENY(.claim = "groups=a"), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/"},
	/* paths as some servers read them */
	{"denied path, /ADMIN", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/ADMIN"},
	{"allowed path, /ADMIN", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/ADMIN", .decided_by = -1},
	{"denied path, /admin/", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin/"},
	{"allowed path, /admin/", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin/", .decided_by = -1},
	{"denied path, /admin;x", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin;x"},
	{"allowed path, /admin;x", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin;x", .decided_by = -1},
	{"denied path, /admin%3Bx", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin%3Bx"},
	{"allowed path, /admin%3Bx", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin%3Bx", .decided_by = -1},
	{"denied path, /;x/admin", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/;x/admin"},
	{"allowed path, /;x/admin", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/;x/admin", .decided_by = -1},
	{"denied path, /%2561dmin", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/%2561dmin"},
	{"allowed path, /%2561dmin", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/%2561dmin", .decided_by = -1},
	{"denied path, /admin.", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin."},
	{"allowed path, /admin.", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin.", .decided_by = -1},
	{"denied path, /admin%20", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin%20"},
	{"allowed path, /admin%20", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin%20", .decided_by = -1},
	{"denied path, /admin%3Fx", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin%3Fx"},
	{"allowed path, /admin%3Fx", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin%3Fx", .decided_by = -1},
	{"denied path, /admin%23", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin%23"},
	{"allowed path, /admin%23", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin%23", .decided_by = -1},
	{"denied path, /admin%253Fx", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin%253Fx"},
	{"allowed path, /admin%253Fx", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/admin%253Fx", .decided_by = -1},
	{"denied path, /adm%2569n", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/adm%2569n"},
	{"allowed path, /adm%2569n", {ALLOW(PATHS("/admin"))}, 1, .source = WEB, .method = "GET",
		.path = "/adm%2569n", .decided_by = -1},
	{"denied path, not /admin/a", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admin/a", .is_allowed = true, .decided_by = 1},
	{"denied path, not /admins", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/admins", .is_allowed = true, .decided_by = 1},
	{"denied path, not /a/admin", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/a/admin", .is_allowed = true, .decided_by = 1},
	{"denied path, not /adm;x/in", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/adm;x/in", .is_allowed = true, .decided_by = 1},
	{"denied path, not *", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "*", .is_allowed = true, .decided_by = 1},
	{"denied template, /a/1/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/a/1/b"},
	{"denied template, /A/1/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/A/1/b"},
	{"denied template, /a/;x/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/a/;x/b"},
	{"denied template, /A/;x/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/A/;x/b"},
	{"denied template, /A/1%3F/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/A/1%3F/b"},
	{"denied template, /A/x%252Fy/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/A/x%252Fy/b"},
	{"denied template, /a/1/b/", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "GET", .path = "/a/1/b/"},
	{"denied template, /a/1;y/b;z", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a/1;y/b;z"},
	{"denied template, /a;z/1/%62", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a;z/1/%62"},
	{"denied template, not /a/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a/b", .is_allowed = true,
		.decided_by = 1},
	{"denied template, not /a/1/2/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a/1/2/b", .is_allowed = true,
		.decided_by = 1},
	{"denied template, not /a/1/c", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a/1/c", .is_allowed = true,
		.decided_by = 1},
	{"denied template, not /a/1/b/c", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a/1/b/c", .is_allowed = true,
		.decided_by = 1},
	{"denied template, not /b/;x/b", {DENY(PATHS("/a/{id}/b")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/b/;x/b", .is_allowed = true,
		.decided_by = 1},
	{"denied template with any rest, /a/1/", {DENY(PATHS("/a/{id}/*")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a/1/"},
	{"denied template with any rest, /a/1", {DENY(PATHS("/a/{id}/*")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a/1"},
	{"denied template with any rest, /A/1/2", {DENY(PATHS("/a/{id}/*")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/A/1/2"},
	{"denied template with any rest, not", {DENY(PATHS("/a/{id}/*")), ALLOW(FROM("*"))}, 2,
		.source = WEB, .method = "GET", .path = "/a", .is_allowed = true, .decided_by = 1},
	{"template", {ALLOW(PATHS("/a/{id}/b"))}, 1, .source = WEB, .method = "GET",
		.path = "/a/1/b", .is_allowed = true},
	{"template to the letter", {ALLOW(PATHS("/a/{id}/b"))}, 1, .source = WEB, .method = "GET",
		.path = "/a/1/B", .decided_by = -1},
	{"denied: all paths, and none", {DENY(PATHS("*")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.method = "OPTIONS", .path = "*"},
	{"allowed: all paths, and none", {ALLOW(PATHS("*"))}, 1, .source = WEB, .method = "CONNECT",
		.path = "", .decided_by = -1},
	/* rules on trial, and notes */
	{"denied on trial", {DENY(FROM("web"), .is_on_trial = true), ALLOW(FROM("*"))}, 2,
		.source = WEB, .is_allowed = true, .decided_by = 1, .would_deny = true,
		.audited = 1},
	{"allowed on trial", {ALLOW(FROM("web"), .is_on_trial = true)}, 1, .source = WEB,
		.decided_by = -1},
	{"allowed on trial leaves the default", {ALLOW(FROM("shop/web"), .is_on_trial = true)}, 1,
		.default_allow = true, .source = WEB, .is_allowed = true, .decided_by = -1,
		.would_deny = true},
	{"denied on trial and otherwise",
		{DENY(FROM("web"), .is_on_trial = true), DENY(FROM("web")), ALLOW(FROM("*"))}, 3,
		.source = WEB, .decided_by = 1},
	{"allowed on trial, denied otherwise",
		{DENY(FROM("*")), ALLOW(FROM("web"), .is_on_trial = true)}, 2, .source = WEB},
	{"all on trial: denied by a rule", {DENY(FROM("web")), ALLOW(FROM("*"))}, 2, .source = WEB,
		.is_allowed = true, .is_audited = true, .would_deny = true, .audited = 1},
	{"all on trial: denied by default", .rule_count = 0, .source = WEB, .is_allowed = true,
		.decided_by = -1, .is_audited = true, .would_deny = true},
	{"all on trial: allowed", {ALLOW(FROM("*"))}, 1, .source = WEB, .is_allowed = true,
		.is_audited = true},
	{"noted", {ALLOW(FROM("*")), AUDIT(PATHS("/a")), AUDIT(PATHS("/a/*"))}, 3, .source = WEB,
		.method = "GET", .path = "/a", .is_allowed = true, .noted = 2},
	{"noted, the second", {ALLOW(FROM("*")), AUDIT(PATHS("/a")), AUDIT(PATHS("/b"))}, 3,
		.source = WEB, .method = "GET", .path = "/B", .is_allowed = true, .noted = 3},
	{"a note decides nothing", {AUDIT(FROM("*"))}, 1, .source = WEB, .decided_by = -1,
		.noted = 1},
	{"a note leaves the default", {AUDIT(FROM("*"))}, 1, .default_allow = true, .source = WEB,
		.is_allowed = true, .decided_by = -1, .noted = 1},
	{"noted: who has no identity", {ALLOW(FROM("anonymous")), AUDIT(FROM("web"))}, 2,
		.is_allowed = true, .noted = 2},
	/* the service's own default */
	{"own default: authenticated", .rule_count = 0, .source = WEB, .is_allowed = true,
		.decided_by = -1, .own_default = POLICY_DEFAULT_AUTHENTICATED},
	{"own default: authenticated, beside allow rules", {ALLOW(FROM("shop/web"))}, 1,
		.source = WEB, .is_allowed = true, .decided_by = -1,
		.own_default = POLICY_DEFAULT_AUTHENTICATED},
	{"own default: authenticated, no identity", .rule_count = 0, .decided_by = -1,
		.own_default = POLICY_DEFAULT_AUTHENTICATED},
	{"own default: authenticated, denied", {DENY(FROM("web"))}, 1, .source = WEB,
		.own_default = POLICY_DEFAULT_AUTHENTICATED},
	{"own default: deny", .rule_count = 0, .default_allow = true, .source = WEB,
		.decided_by = -1, .own_default = POLICY_DEFAULT_DENY},
	{"own default: deny, allowed", {ALLOW(FROM("*"))}, 1, .source = WEB, .is_allowed = true,
		.own_default = POLICY_DEFAULT_DENY},
};

static uint32_t policy_list(const char *const *texts, struct str *ret_list)
{
	uint32_t count = 0;
	while (count < LIST_MAX && texts[count]) {
		ret_list[count] = str_of(texts[count]);
		count++;
	}
	return count;
}

/* As the configuration reads it. */
static struct route_path policy_path_of(const char *text)
{
	size_t len = strlen(text);
	if (strchr(text, '{'))
		return (struct route_path){ROUTE_PATH_TEMPLATE, {text, len}};
	if (strcmp(text, "*") == 0)
		return (struct route_path){ROUTE_PATH_PREFIX, STR("")};
	if (text[len - 1] == '*')
		return (struct route_path){ROUTE_PATH_PREFIX, {text, len - 2}};
	return (struct route_path){ROUTE_PATH_EXACT, {text, len}};
}

struct policy_words {
	struct str methods[LIST_MAX], hosts[LIST_MAX];
	struct route_path paths[LIST_MAX];
	uint16_t ports[LIST_MAX];
};
struct policy_lists {
	struct source from[2 * LIST_MAX], not_from[2 * LIST_MAX];
	struct policy_words to, not_to;
	struct route_field header, claim;
};

static uint32_t policy_sources(
	struct snapshot *s, const char *const *texts, struct source *ret_sources)
{
	uint32_t count = 0;
	for (size_t i = 0; i < LIST_MAX && texts[i]; i++) {
		struct str entry = str_of(texts[i]);
		assert_true(source_count(s, entry) > 0);
		assert_true(source_read(s, entry, &s->arena, &ret_sources[count]));
		count += source_count(s, entry);
	}
	return count;
}

/* "name=value" */
static struct route_header policy_pair(const char *text)
{
	const char *mark = strchr(text, '=');
	assert_non_null(mark);
	return (struct route_header){{text, (size_t)(mark - text)}, str_of(mark + 1)};
}

static struct route_fields policy_field(const char *text, struct route_field *field)
{
	if (!text)
		return (struct route_fields){NULL, 0};
	struct route_header pair = policy_pair(text + (*text == '!'));
	*field = (struct route_field){pair.name, ROUTE_TEXT_EXACT, pair.value, *text == '!'};
	return (struct route_fields){field, 1};
}

static void policy_operations_of(struct policy_operations *o, struct policy_words *words,
	const char *const *methods, const char *const *paths, const char *const *hosts,
	const uint16_t *ports)
{
	*o = (struct policy_operations){.methods = words->methods,
		.hosts = words->hosts,
		.paths = words->paths,
		.ports = words->ports};
	o->method_count = policy_list(methods, words->methods);
	o->host_count = policy_list(hosts, words->hosts);
	for (size_t i = 0; i < LIST_MAX && paths[i]; i++)
		words->paths[o->path_count++] = policy_path_of(paths[i]);
	for (size_t i = 0; i < LIST_MAX && ports[i]; i++)
		words->ports[o->port_count++] = ports[i];
}

static void policy_make(struct snapshot *s, const struct policy_rule *rule,
	struct policy_lists *lists, struct policy *policy)
{
	*policy = (struct policy){.action = rule->action,
		.mode = rule->is_on_trial ? POLICY_AUDITED : POLICY_ENFORCED,
		.from = lists->from,
		.not_from = lists->not_from};
	policy->from_count = policy_sources(s, rule->from, lists->from);
	policy->not_from_count = policy_sources(s, rule->not_from, lists->not_from);
	policy_operations_of(
		&policy->to, &lists->to, rule->methods, rule->paths, rule->hosts, rule->ports);
	policy_operations_of(&policy->not_to, &lists->not_to, rule->not_methods, rule->not_paths,
		rule->not_hosts, rule->not_ports);
	policy->headers = policy_field(rule->header, &lists->header);
	policy->token.is_wanted = rule->claim != NULL;
	policy->token.claims = policy_field(rule->claim, &lists->claim);
}

/* As many rules as an index needs, which have to do with nobody, come after the row's own. */
#define OTHERS 8

struct policy_mesh {
	struct snapshot s;
	struct str ids[3];
	struct service services[2];
	struct policy_lists lists[3], nobody;
	struct policy policies[3 + OTHERS], *pointers[3 + OTHERS];
};

static void policy_mesh_init(struct policy_mesh *m, const struct policy_row *row, bool with_index)
{
	static const struct policy_rule nobody = AUDIT(FROM("anonymous"), NOT_FROM("anonymous"));
	*m = (struct policy_mesh){.ids = {STR(ORDERS), STR(WEB), STR(OLD)},
		.s = {.trust_domain = STR("td"),
			.default_allow = row->default_allow,
			.is_audited = row->is_audited,
			.services = m->services,
			.service_count = 2}};
	m->services[0] = (struct service){.name = STR("orders"),
		.ids = m->ids,
		.id_count = 1,
		.policies = m->pointers,
		.policy_count = row->rule_count + (with_index ? OTHERS : 0),
		.policy_default = row->own_default};
	m->services[1] = (struct service){.name = STR("web"), .ids = m->ids + 1, .id_count = 2};
	arena_init(&m->s.arena, 1u << 16);
	for (uint32_t i = 0; i < m->s.service_count; i++)
		assert_true(snapshot_add_service(&m->s, &m->services[i]) &&
			    snapshot_add_service_id(&m->s, &m->services[i]));
	for (uint32_t i = 0; i < row->rule_count + OTHERS; i++) {
		bool is_own = i < row->rule_count;
		policy_make(&m->s, is_own ? &row->rules[i] : &nobody,
			is_own ? &m->lists[i] : &m->nobody, &m->policies[i]);
		m->pointers[i] = &m->policies[i];
	}
	assert_true(policy_index_build(&m->s, &m->services[0]));
	assert_true(!m->services[0].policy_index == !with_index);
}

struct policy_asked {
	struct route_request http;
	struct route_header headers[LIST_MAX];
	struct policy_claim claims[LIST_MAX];
	struct policy_token token;
	struct policy_request request;
};

static void policy_ask(struct policy_asked *a, const struct policy_row *row)
{
	*a = (struct policy_asked){.http = {.is_http = true,
					   .method = str_of(row->method),
					   .path = str_of(row->path),
					   .authority = str_of(row->host),
					   .headers = a->headers,
					   .header_bytes = sizeof(a->headers[0])},
		.token = {.claims = a->claims}};
	for (size_t i = 0; i < LIST_MAX && row->headers[i]; i++)
		a->headers[a->http.header_count++] = policy_pair(row->headers[i]);
	for (size_t i = 0; i < LIST_MAX && row->claims[i]; i++) {
		struct route_header pair = policy_pair(row->claims[i]);
		a->claims[a->token.claim_count++] = (struct policy_claim){pair.name, pair.value};
	}
	a->request = (struct policy_request){.source_id = str_of(row->source),
		.port = row->port,
		.http = row->method ? &a->http : NULL,
		.token = row->claims[0] ? &a->token : NULL};
	if (row->client)
		assert_true(address_parse(str_of(row->client), &a->request.client));
}

static void policy_run(const struct policy_row *row, bool with_index)
{
	static struct policy_mesh m;
	struct policy_asked asked;
	policy_mesh_init(&m, row, with_index);
	policy_ask(&asked, row);
	struct policy_verdict v = policy_check(&m.s, &m.services[0], &asked.request);
	if (v.allowed != row->is_allowed)
		fail_msg("%s: %s", row->name, v.allowed ? "allowed" : "denied");
	if (v.policy != (row->decided_by >= 0 ? &m.policies[row->decided_by] : NULL))
		fail_msg("%s: decided by another rule", row->name);
	if (v.by != row->own_default)
		fail_msg("%s: by another default", row->name);
	if (v.would_deny != row->would_deny ||
		v.audited != (row->audited ? &m.policies[row->audited - 1] : NULL))
		fail_msg("%s: on trial otherwise", row->name);
	if (v.noted != (row->noted ? &m.policies[row->noted - 1] : NULL))
		fail_msg("%s: noted otherwise", row->name);
	snapshot_done(&m.s);
}

static void test_policy_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(policy_rows); i++)
		policy_run(&policy_rows[i], false);
}

static void test_policy_rows_by_index(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(policy_rows); i++)
		policy_run(&policy_rows[i], true);
}

/* Services with the very same rules have one index; without memory there is none. */
static void test_index_is_shared_or_refused(void **state)
{
	static struct policy_mesh m;
	const struct policy_row row = {"", .rule_count = 0};
	policy_mesh_init(&m, &row, true);
	size_t used = m.s.arena.used_bytes;
	m.services[1].policies = m.services[0].policies;
	m.services[1].policy_count = m.services[0].policy_count;
	assert_true(policy_index_build(&m.s, &m.services[1]));
	assert_ptr_equal(m.services[1].policy_index, m.services[0].policy_index);
	assert_int_equal(m.s.arena.used_bytes, used);
	m.services[0].policy_index = NULL;
	m.s.arena.max_bytes = used;
	assert_false(policy_index_build(&m.s, &m.services[1]));
	snapshot_done(&m.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy_rows),
		cmocka_unit_test(test_policy_rows_by_index),
		cmocka_unit_test(test_index_is_shared_or_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
