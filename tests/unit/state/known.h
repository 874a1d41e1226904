/* SPDX-License-Identifier: Apache-2.0 */
/* Two objects and their head, signed by OpenSSL with the key of RFC 8032 section 7.1, test 1; the
 * digests were made by another program too. */
#pragma once

#include "base/bundle.h"
#include "state/object.h"

#define KNOWN_PRIVATE                                                        \
	"-----BEGIN PRIVATE KEY-----\n"                                      \
	"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n" \
	"-----END PRIVATE KEY-----\n"
#define KNOWN_PUBLIC                                                     \
	"-----BEGIN PUBLIC KEY-----\n"                                   \
	"MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n" \
	"-----END PUBLIC KEY-----\n"
#define KNOWN_KEY_ID "21fe31dfa154a261"

#define KNOWN_ORDERS                                                                               \
	"revision 41\nwho alice\ntime 1764236129\nsource orders.conf:12\n\nservices = ( { name = " \
	"\"orders\"; } );\n"
#define KNOWN_WEB                                                                    \
	"revision 40\nwho bob\ntime 1764236100\n\npolicies = ( { name = \"web\"; } " \
	");\n"
#define KNOWN_HEAD                                                                                \
	"ringmain-head 1\nmesh prod.example\nrevision 41\ntime 1764236129\nwho alice\nwhy raise " \
	"the limit of orders\ncount 2\n"                                                          \
	"digest a6e29b0b6444261356b17c57c7b7a2016b8bc9a00ef04448840af22a1a81ec8d\n"               \
	"key " KNOWN_KEY_ID "\n"
#define KNOWN_SIGNED                                                       \
	KNOWN_HEAD "signature P8KmZWAmKD0rJ6uo9C/G026gdcF2/wpKRIANIIaTgRn" \
		   "jltUsxkj8SDX93gI8G1JA/g2rTVaf37Xa4aZMnyaIAg==\n"

/* The two objects. */
void known_set(struct object_set *set);
/* Those who believe the known key. */
struct operator_keys *known_keys(void);
/* From a file of its own, which is gone again. */
struct operator_key *known_key(void);
