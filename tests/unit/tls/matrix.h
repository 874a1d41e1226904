/* SPDX-License-Identifier: Apache-2.0 */
/* The table of bad certificates, with good ones between them, so that a row which refuses
 * everything would be seen. */
#pragma once

#include "certs.h"
#include "tls/tls.h"

enum matrix_shape {
	MATRIX_LEAF,	    /* `leaf` under the mesh's intermediate */
	MATRIX_UNDER,	    /* `leaf` under `issuer` under the root */
	MATRIX_ALONE,	    /* a good leaf, its issuer not sent */
	MATRIX_SELF,	    /* `leaf`, signed by itself */
	MATRIX_FOREIGN,	    /* another root with the name of ours */
	MATRIX_STRANGER,    /* a leaf of the intermediate's name, by another key */
	MATRIX_SEVERAL,	    /* three intermediates, in order */
	MATRIX_SHUFFLED,    /* the same, out of order */
	MATRIX_PATH_LENGTH, /* one intermediate more than path length 0 allows */
	MATRIX_CROSSED,	    /* an intermediate certified by a foreign root, and by ours */
	MATRIX_CYCLE,	    /* two authorities that certify each other */
	MATRIX_NINE,	    /* one certificate too many */
	MATRIX_HUNDRED,	    /* a whole path of a hundred */
	MATRIX_MEBIBYTE,    /* a good leaf and a mebibyte behind it */
};

/* What the judging end has in its list of revoked certificates. */
enum matrix_list {
	MATRIX_NO_LIST,
	MATRIX_OTHERS, /* a list that names others */
	MATRIX_LISTS_LEAF,
	MATRIX_LISTS_ISSUER, /* that of the root names the intermediate */
	MATRIX_OLD_HOLDS_ON, /* over its time, and nothing is said about that */
	MATRIX_OLD_LISTS_LEAF,
	MATRIX_OLD_REFUSED,
};

/* How a row can be presented. Whatever a key other than P-256, P-384 or RSA would have to sign
 * cannot be: the library has no such handshake. */
enum matrix_way { MATRIX_EVERY_WAY, MATRIX_RULES_ONLY, MATRIX_WIRE_ONLY };

struct matrix_row {
	const char *name;
	enum matrix_shape shape;
	struct certs_spec leaf, issuer;
	enum tls_failure failure;
	uint8_t alert; /* what the other end is sent */
	enum matrix_list list;
	enum matrix_way way;
};

extern const struct matrix_row matrix_rows[];
extern const size_t matrix_row_count;
