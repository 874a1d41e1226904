/* SPDX-License-Identifier: Apache-2.0 */
/* The exact text for iptables-restore, and the comparison with what iptables-save prints. */
#include "redirect/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct conf_workload workloads[] = {
	{.service = {"web", 3}, .uid = 1235},
	{.service = {"orders", 6}, .uid = 1234, .port = 9001},
	{.service = {"stock", 5}, .uid = 1234, .port = 9000},
	{.service = {"mail", 4}, .uid = 1236, .port = 25},
};

static void rules_capture(struct capture *p)
{
	struct address_range excluded[2];
	struct err err;
	assert_true(address_range_parse(STR("10.9.8.7/8"), &excluded[0]));
	assert_true(address_range_parse(STR("fd00::/8"), &excluded[1]));
	struct conf c = {.uid = 4242,
		.mark_mask = 0x00ff0000,
		.outbound_port = 15001,
		.inbound_port = 15101,
		.port_range = 16,
		.mesh_port = 15008 + 1000,
		.excluded = excluded,
		.excluded_count = 2,
		.workloads = workloads,
		.workload_count = ARRAY_LEN(workloads)};
	assert_int_equal(capture_init(p, &c, &err), 0);
	for (uint32_t i = 0; i < p->uid_count; i++)
		p->uids[i].number = i + 0x12;
}

#define SYN "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"

static const char mangle[] =
	":RINGMAIN_MARK - [0:0]\n"
	"-A RINGMAIN_MARK -m owner --uid-owner 4242 -j RETURN\n"
	"-A RINGMAIN_MARK -j MARK --set-xmark 0x0/0xff0000\n"
	"-A RINGMAIN_MARK -m owner --uid-owner 1234 -j MARK --set-xmark 0x120000/0xff0000\n"
	"-A RINGMAIN_MARK -m owner --uid-owner 1235 -j MARK --set-xmark 0x130000/0xff0000\n"
	"-A RINGMAIN_MARK -m owner --uid-owner 1236 -j MARK --set-xmark 0x140000/0xff0000\n";
static const char mangle_hooks[] = "-I OUTPUT 1 " SYN " -j RINGMAIN_MARK\n";

#define NAT(excluded)                                                                            \
	":RINGMAIN_OUT - [0:0]\n"                                                                \
	":RINGMAIN_LOCAL - [0:0]\n"                                                              \
	":RINGMAIN_IN - [0:0]\n"                                                                 \
	"-A RINGMAIN_OUT -m owner --uid-owner 4242 -j RETURN\n"                                  \
	"-A RINGMAIN_OUT -m addrtype --dst-type LOCAL -g RINGMAIN_LOCAL\n" excluded              \
	"-A RINGMAIN_OUT -m mark --mark 0x0/0xff0000 -j RETURN\n"                                \
	"-A RINGMAIN_OUT -p tcp -j REDIRECT --to-ports 15001-15016\n"                            \
	"-A RINGMAIN_LOCAL -p tcp -m tcp --dport 25 -j REDIRECT --to-ports 15001-15016\n"        \
	"-A RINGMAIN_LOCAL -p tcp -m tcp --dport 9000:9001 -j REDIRECT --to-ports 15001-15016\n" \
	"-A RINGMAIN_IN -p tcp -m tcp --dport 25 -j REDIRECT --to-ports 15101-15116\n"           \
	"-A RINGMAIN_IN -p tcp -m tcp --dport 9000:9001 -j REDIRECT --to-ports 15101-15116\n"
static const char nat4[] = NAT("-A RINGMAIN_OUT -d 169.254.169.254/32 -j RETURN\n"
			       "-A RINGMAIN_OUT -d 10.0.0.0/8 -j RETURN\n");
static const char nat6[] = NAT("-A RINGMAIN_OUT -d fe80::/10 -j RETURN\n"
			       "-A RINGMAIN_OUT -d fd00::/8 -j RETURN\n");
static const char nat_hooks[] = "-I OUTPUT 1 " SYN " -j RINGMAIN_OUT\n"
				"-I PREROUTING 1 " SYN " -j RINGMAIN_IN\n";

#define REJECT "-j REJECT --reject-with tcp-reset\n"
#define GUARD(loopback, excluded)                                                                  \
	"-A RINGMAIN_GUARD -m addrtype --dst-type LOCAL -g RINGMAIN_OWN\n"                         \
	"-A RINGMAIN_GUARD -m conntrack --ctdir REPLY -j RETURN\n"                                 \
	"-A RINGMAIN_GUARD -p tcp -m conntrack --ctstate DNAT --ctreplsrc " loopback               \
	" --ctreplsrcport 15001:15016 " REJECT excluded                                            \
	"-A RINGMAIN_GUARD -m owner --uid-owner 1234 -g RINGMAIN_LEAVE\n"                          \
	"-A RINGMAIN_GUARD -m owner --uid-owner 1235 -g RINGMAIN_LEAVE\n"                          \
	"-A RINGMAIN_GUARD -m owner --uid-owner 1236 -g RINGMAIN_LEAVE\n"                          \
	"-A RINGMAIN_LEAVE -p tcp " REJECT "-A RINGMAIN_OWN -m owner --uid-owner 4242 -j RETURN\n" \
	"-A RINGMAIN_OWN -p tcp -m tcp --dport 25 --tcp-flags FIN,SYN,RST,ACK SYN " REJECT         \
	"-A RINGMAIN_OWN -p tcp -m tcp --dport 9000:9001 --tcp-flags FIN,SYN,RST,ACK SYN " REJECT  \
	"-A RINGMAIN_ENTRY ! -i lo -p tcp -m tcp --dport 25 " REJECT                               \
	"-A RINGMAIN_ENTRY ! -i lo -p tcp -m tcp --dport 9000:9001 " REJECT
#define FILTER_CHAINS                                                               \
	":RINGMAIN_GUARD - [0:0]\n:RINGMAIN_LEAVE - [0:0]\n:RINGMAIN_OWN - [0:0]\n" \
	":RINGMAIN_ENTRY - [0:0]\n"
static const char filter4[] =
	GUARD("127.0.0.1", "-A RINGMAIN_GUARD -d 169.254.169.254/32 -j RETURN\n-A RINGMAIN_GUARD "
			   "-d 10.0.0.0/8 -j RETURN\n");
static const char filter6[] = GUARD("::1",
	"-A RINGMAIN_GUARD -d fe80::/10 -j RETURN\n-A RINGMAIN_GUARD -d fd00::/8 -j RETURN\n");
static const char filter_hooks[] = "-I OUTPUT 1 -p tcp -j RINGMAIN_GUARD\n"
				   "-I INPUT 1 " SYN " -j RINGMAIN_ENTRY\n";

static void assert_install(const struct capture *p, enum ip_version v, enum table table,
	const struct live *live, const char *chains, const char *rules, const char *unhook,
	const char *hooks)
{
	struct text have, want;
	text_init(&have);
	text_init(&want);
	rules_install(&have, p, v, table, live, NULL, 0);
	text_add(&want, "*%s\n%s%s%s%sCOMMIT\n", table_name(table), chains, rules, unhook, hooks);
	assert_string_equal(text_at(&have), text_at(&want));
	text_done(&have);
	text_done(&want);
}

static void test_first_installation(void **state)
{
	const struct live nothing = {0};
	struct capture p;
	rules_capture(&p);
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++) {
		assert_install(&p, v, TABLE_MANGLE, &nothing, "", mangle, "", mangle_hooks);
		assert_install(
			&p, v, TABLE_NAT, &nothing, "", v == IP_V4 ? nat4 : nat6, "", nat_hooks);
		assert_install(&p, v, TABLE_FILTER, &nothing, FILTER_CHAINS,
			v == IP_V4 ? filter4 : filter6, "", filter_hooks);
	}
	capture_done(&p);
}

/* What iptables-save prints once the rules of IPv4 stand, with foreign rules around them. */
static const char save_start[] =
	"# Generated by iptables-nft-save v1.8.9 (nf_tables)\n"
	"*raw\n:OUTPUT ACCEPT [0:0]\n[0:0] -A OUTPUT -p udp -j NOTRACK\nCOMMIT\n"
	"*mangle\n:OUTPUT ACCEPT [9:900]\n";

static char *save_text(const char *nat_output, const char *leave)
{
	struct text t;
	text_init(&t);
	text_add(
		&t, "%s%s[7:420] -A OUTPUT " SYN " -j RINGMAIN_MARK\nCOMMIT\n", save_start, mangle);
	text_add(&t,
		"*nat\n:OUTPUT ACCEPT [0:0]\n%s%s[0:0] -A PREROUTING " SYN
		" -j RINGMAIN_IN\nCOMMIT\n*filter\n" FILTER_CHAINS "%s%s[1:60] -A OUTPUT -p tcp -j "
		"RINGMAIN_GUARD\n[0:0] -A INPUT " SYN " -j RINGMAIN_ENTRY\n"
		"[0:0] -A INPUT -p udp -j ACCEPT\nCOMMIT\n",
		nat4, nat_output, leave, filter4);
	assert_false(t.failed);
	return t.at;
}

static void save_parse(struct live *live, char *text)
{
	struct err err;
	assert_int_equal(live_init(live, str_of(text), &err), 0);
	free(text);
}

#define NAT_HOOK "[5:300] -A OUTPUT " SYN " -j RINGMAIN_OUT\n"
#define EARLIER                                                                       \
	"-A RINGMAIN_LEAVE -s 10.0.0.1/32 -d 10.0.0.2/32 -p tcp -m tcp --sport 4444 " \
	"--dport 80 -j RETURN\n"

static void test_in_place(void **state)
{
	struct err detail;
	struct live live;
	struct capture p;
	rules_capture(&p);
	save_parse(&live, save_text(NAT_HOOK, EARLIER));
	if (!rules_match(&p, IP_V4, &live, &detail))
		fail_msg("%s", detail.text);
	assert_int_equal(live.foreign_rule_count, 2);
	assert_true(live_guards(&live, 1235));
	assert_false(live_guards(&live, 4242));
	assert_true(live_redirects_to(&live, 15016) && live_redirects_to(&live, 15101));
	assert_false(live_redirects_to(&live, 15017) || live_redirects_to(&live, 15000));
	struct tuple t;
	struct address inside, outside;
	assert_true(address_parse(STR("10.0.0.1"), &t.local));
	assert_true(address_parse(STR("10.0.0.2"), &t.remote));
	assert_true(address_parse(STR("10.1.1.1"), &inside));
	assert_true(address_parse(STR("11.1.1.1"), &outside));
	t.local.port = 4444;
	t.remote.port = 80;
	assert_true(live_has_earlier(&live, &t));
	t.local.port = 4445;
	assert_false(live_has_earlier(&live, &t));
	assert_true(live_excludes(&live, &inside));
	assert_false(live_excludes(&live, &outside));
	live_done(&live);
	capture_done(&p);
}

static void test_drifted(void **state)
{
	static const struct {
		const char *nat_output, *extra, *detail;
	} cases[] = {
		{"", "", "nat OUTPUT: no jump to RINGMAIN_OUT"},
		{"[0:0] -A OUTPUT -p udp -j ACCEPT\n" NAT_HOOK, "",
			"nat OUTPUT: the jump to RINGMAIN_OUT is rule 2; others stand before it"},
		{NAT_HOOK NAT_HOOK, "", "6 jumps into our chains instead of 5"},
		{NAT_HOOK "[0:0] -A RINGMAIN_IN -j RETURN\n", "",
			"nat RINGMAIN_IN: unexpected \"-A RINGMAIN_IN -j RETURN\""},
		{NAT_HOOK, "-A RINGMAIN_GUARD -j ACCEPT\n",
			"filter RINGMAIN_GUARD: missing \"-A RINGMAIN_GUARD -m addrtype --dst-type "
			"LOCAL "
			"-g RINGMAIN_OWN\""},
		{NAT_HOOK, "-A RINGMAIN_LEAVE -s 10.0.0.0/8 -j RETURN\n",
			"filter RINGMAIN_LEAVE: missing \"-A RINGMAIN_LEAVE -p tcp -j REJECT "
			"--reject-with tcp-reset\""},
	};
	struct capture p;
	rules_capture(&p);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err detail;
		struct live live;
		save_parse(&live, save_text(cases[i].nat_output, cases[i].extra));
		assert_false(rules_match(&p, IP_V4, &live, &detail));
		assert_string_equal(detail.text, cases[i].detail);
		live_done(&live);
	}
	struct err detail;
	const struct live nothing = {0};
	assert_false(rules_match(&p, IP_V4, &nothing, &detail));
	assert_string_equal(detail.text, "mangle: no chain RINGMAIN_MARK");
	capture_done(&p);
}

static void test_putting_up_again_takes_every_hook_out_first(void **state)
{
	struct live live;
	struct capture p;
	rules_capture(&p);
	save_parse(&live, save_text(NAT_HOOK NAT_HOOK, ""));
	assert_install(&p, IP_V4, TABLE_NAT, &live, "", nat4,
		"-D OUTPUT " SYN " -j RINGMAIN_OUT\n-D OUTPUT " SYN " -j RINGMAIN_OUT\n"
		"-D PREROUTING " SYN " -j RINGMAIN_IN\n",
		nat_hooks);
	live_done(&live);
	capture_done(&p);
}

static void test_earlier_connections_pass_before_the_reject(void **state)
{
	const struct live nothing = {0};
	struct tuple earlier[2];
	struct capture p;
	struct text t;
	rules_capture(&p);
	assert_true(address_parse(STR("10.0.0.1"), &earlier[0].local));
	assert_true(address_parse(STR("10.0.0.2"), &earlier[0].remote));
	assert_true(address_parse(STR("fd00::1"), &earlier[1].local));
	assert_true(address_parse(STR("fd00::2"), &earlier[1].remote));
	earlier[0].local.port = earlier[1].local.port = 4444;
	earlier[0].remote.port = earlier[1].remote.port = 80;
	text_init(&t);
	rules_install(&t, &p, IP_V4, TABLE_FILTER, &nothing, earlier, 2);
	const char *pass = strstr(text_at(&t), EARLIER);
	assert_non_null(pass);
	assert_true(pass < strstr(text_at(&t), "-A RINGMAIN_LEAVE -p tcp -j REJECT"));
	assert_null(strstr(text_at(&t), "fd00::1/128"));
	text_done(&t);
	text_init(&t);
	rules_install(&t, &p, IP_V6, TABLE_FILTER, &nothing, earlier, 2);
	assert_non_null(
		strstr(text_at(&t), "-A RINGMAIN_LEAVE -s fd00::1/128 -d fd00::2/128 -p tcp -m tcp "
				    "--sport 4444 --dport 80 -j RETURN\n"));
	text_done(&t);
	capture_done(&p);
}

static void test_removal(void **state)
{
	static const char old[] = "*filter\n:RINGMAIN_GUARD - [0:0]\n:RINGMAIN_ANCIENT - [0:0]\n"
				  "[0:0] -A DOCKER -p tcp -m tcp --dport 5 -g RINGMAIN_ANCIENT\n"
				  "[3:3] -A RINGMAIN_GUARD -j RINGMAIN_ANCIENT\nCOMMIT\n";
	struct err err;
	struct live live;
	struct text t;
	assert_int_equal(live_init(&live, STR(old), &err), 0);
	text_init(&t);
	rules_remove(&t, TABLE_FILTER, &live);
	assert_string_equal(text_at(&t), "*filter\n"
					 "-D DOCKER -p tcp -m tcp --dport 5 -g RINGMAIN_ANCIENT\n"
					 "-F RINGMAIN_GUARD\n-F RINGMAIN_ANCIENT\n"
					 "-X RINGMAIN_GUARD\n-X RINGMAIN_ANCIENT\nCOMMIT\n");
	text_done(&t);
	text_init(&t);
	rules_remove(&t, TABLE_NAT, &live);
	rules_unhook_nat(&t, &live);
	rules_relax_guard(&t, &live);
	assert_int_equal(t.len, 0);
	live_done(&live);
	text_done(&t);
}

static void test_steps_before_removal(void **state)
{
	struct live live;
	struct text t;
	save_parse(&live, save_text(NAT_HOOK, ""));
	text_init(&t);
	rules_relax_guard(&t, &live);
	rules_unhook_nat(&t, &live);
	assert_string_equal(text_at(&t),
		"*filter\n"
		"-I RINGMAIN_LEAVE 1 -m conntrack --ctstate ESTABLISHED -j RETURN\n"
		"-I RINGMAIN_LEAVE 1 " SYN " -j RETURN\n"
		"-F RINGMAIN_OWN\n-F RINGMAIN_ENTRY\nCOMMIT\n"
		"*nat\n-D OUTPUT " SYN " -j RINGMAIN_OUT\n-D PREROUTING " SYN
		" -j RINGMAIN_IN\nCOMMIT\n");
	live_done(&live);
	text_done(&t);
}

/* Somebody else's rules can hold anything. */
static void test_odd_saves_are_survived(void **state)
{
	static const char *const odd[] = {"", "\n", "*", "*nat", ":", "*nat\n:", "*nat\n[",
		"*nat\n[1:2]", "*nat\n[1:2] ", "*nat\n[x] -A", "*nat\n-A ", "*nat\n-A RINGMAIN_OUT",
		"*nat\n-A X -j RINGMAIN_", "*nat\n-A RINGMAIN_OUT --to-ports",
		"*nat\n-A RINGMAIN_OUT --to-ports ",
		"*nat\n-A RINGMAIN_OUT --to-ports 99999999999999999999999999-5",
		"*filter\n-A RINGMAIN_GUARD -m owner --uid-owner", "*filter\n-A RINGMAIN_GUARD -d ",
		"*filter\n-A RINGMAIN_GUARD -d x/99 -j RETURN"};
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		struct address a;
		struct err err;
		struct live live;
		struct text t;
		assert_true(address_parse(STR("10.0.0.1"), &a));
		assert_int_equal(live_init(&live, str_of(odd[i]), &err), 0);
		live_guards(&live, 5);
		live_redirects_to(&live, 5);
		live_excludes(&live, &a);
		text_init(&t);
		rules_remove(&t, TABLE_NAT, &live);
		text_done(&t);
		live_done(&live);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_installation),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_drifted),
		cmocka_unit_test(test_putting_up_again_takes_every_hook_out_first),
		cmocka_unit_test(test_earlier_connections_pass_before_the_reject),
		cmocka_unit_test(test_removal),
		cmocka_unit_test(test_steps_before_removal),
		cmocka_unit_test(test_odd_saves_are_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
