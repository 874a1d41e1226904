/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, good and bad: each is fed whole, byte by byte and cut at every place, and must lead to
 * the same events. */
#include "h1_trace.h"

#include "codec/h1_section.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define GET   "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST  "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNK POST "Transfer-Encoding: chunked\r\n\r\n"
#define HEAD  "HEAD GET / a 1.1 none"

struct h1_case {
	const char *name;
	struct str input;
	const char *expected;
};

#define CASE(name, input, expected)                        \
	{                                                  \
		name, {input, sizeof(input) - 1}, expected \
	}

static const struct h1_case h1_good[] = {
	CASE("simple", GET "\r\n", HEAD "|END"),
	CASE("fields", GET "A: 1\r\nB:2 \t\r\nC:\r\nD: x y\r\n\r\n",
		HEAD " {A:1} {B:2} {C:} {D:x y}|END"),
	CASE("eight-bit value", GET "A: \xe4\x80\r\n\r\n", HEAD " {A:\xe4\x80}|END"),
	CASE("empty line before", "\r\n\r\n" GET "\r\n", HEAD "|END"),
	CASE("host is lowered", "GET / HTTP/1.1\r\nHost: ExAmple.COM:80\r\n\r\n",
		"HEAD GET / example.com:80 1.1 none|END"),
	CASE("host without its last dot", "GET / HTTP/1.1\r\nHost: Example.COM.\r\n\r\n",
		"HEAD GET / example.com 1.1 none|END"),
	CASE("host without its last dot, with a port",
		"GET / HTTP/1.1\r\nHost: example.com.:80\r\n\r\n",
		"HEAD GET / example.com:80 1.1 none|END"),
	CASE("absolute form without its last dot", "GET http://x.?q HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD GET /?q x 1.1 none|END"),
	CASE("host IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"HEAD GET / [::1]:80 1.1 none|END"),
	CASE("absolute form wins over Host", "GET http://X/p?q HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD GET /p?q x 1.1 none|END"),
	CASE("absolute form without path", "GET http://x HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD GET / x 1.1 none|END"),
	CASE("absolute form with query only", "GET HTTP://x:1?q HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD GET /?q x:1 1.1 none|END"),
	CASE("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD OPTIONS * a 1.1 none|END"),
	CASE("OPTIONS absolute", "OPTIONS http://a HTTP/1.1\r\nHost: b\r\n\r\n",
		"HEAD OPTIONS * a 1.1 none|END"),
	CASE("CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\nraw\r\n",
		"HEAD CONNECT  b:443 1.1 none|END|RAW raw\r\n"),
	CASE("length", POST "Content-Length: 3\r\n\r\nabc",
		"HEAD POST / a 1.1 length:3|BODY abc|END"),
	CASE("length 0", POST "Content-Length: 0\r\n\r\n", "HEAD POST / a 1.1 length:0|END"),
	CASE("length with a leading zero is decimal", POST "Content-Length: 010\r\n\r\n0123456789",
		"HEAD POST / a 1.1 length:10|BODY 0123456789|END"),
	CASE("length maximum", POST "Content-Length: 9223372036854775807\r\n\r\n",
		"HEAD POST / a 1.1 length:9223372036854775807"),
	CASE("GET with body", GET "Content-Length: 1\r\n\r\nx",
		"HEAD GET / a 1.1 length:1|BODY x|END"),
	CASE("chunked", CHUNK "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n",
		"HEAD POST / a 1.1 stream|BODY abc0123456789|END"),
	CASE("chunked, any case", POST "transfer-ENCODING:CHUNKED \r\n\r\n0\r\n\r\n",
		"HEAD POST / a 1.1 stream|END"),
	CASE("chunk extensions", CHUNK "1;a;b=c;d=\"x;\\\"\ty\"\r\nz\r\n0;e\r\n\r\n",
		"HEAD POST / a 1.1 stream|BODY z|END"),
	CASE("trailers", CHUNK "1\r\nz\r\n0\r\nA: 1\r\nChecksum:2\r\n\r\n" GET "\r\n",
		"HEAD POST / a 1.1 stream|BODY z|TRAILERS {A:1} {Checksum:2}|END|" HEAD "|END"),
	CASE("16 digits", CHUNK "0000000000000001\r\nz\r\n0000000000000000\r\n\r\n",
		"HEAD POST / a 1.1 stream|BODY z|END"),
	CASE("pipelined", GET "\r\n" POST "Content-Length: 1\r\n\r\nx\r\n" GET "\r\n",
		HEAD "|END|HEAD POST / a 1.1 length:1|BODY x|END|" HEAD "|END"),
	CASE("bytes after close are dropped", GET "Connection: close\r\n\r\n" GET "\r\n\x16",
		HEAD "|END"),
	CASE("1.0 closes", "GET / HTTP/1.0\r\n\r\n" GET "\r\n", "HEAD GET /  1.0 none|END"),
	CASE("1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" GET "\r\n",
		"HEAD GET /  1.0 none|END|" HEAD "|END"),
	CASE("1.0 has no expectations", "GET / HTTP/1.0\r\nExpect: foo\r\n\r\n",
		"HEAD GET /  1.0 none|END"),
	CASE("expect", POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
		"HEAD POST / a 1.1 length:1 expect|BODY x|END"),
	CASE("expect without body", GET "Expect: 100-continue\r\n\r\n", HEAD "|END"),
	CASE("TE: trailers", GET "TE: deflate, trailers\r\nConnection: TE\r\n\r\n", HEAD " te|END"),
	CASE("hop-by-hop",
		GET
		"Keep-Alive: 1\r\nProxy-Connection: x\r\nTrailer: y\r\nTE: gzip\r\nA: 1\r\n\r\n",
		HEAD " {A:1}|END"),
	CASE("nominated",
		GET "Connection: X-Forwarded-For, authorization ,,keep-alive\r\n"
		    "X-Forwarded-For: 1\r\nAuthorization: b\r\nC: d\r\n\r\n",
		HEAD " {C:d}|END"),
	CASE("Connection can't drop Host or framing",
		POST "Connection: host, content-length\r\nContent-Length: 1\r\n\r\nx",
		"HEAD POST / a 1.1 length:1|BODY x|END"),
	CASE("Connection can't drop encoding",
		POST "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HEAD POST / a 1.1 stream|END"),
	CASE("websocket",
		GET "Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\nraw",
		HEAD " upgrade WebSocket {Sec-WebSocket-Key:k}|END|RAW raw"),
	CASE("websocket with length 0",
		GET "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
		HEAD " upgrade websocket|END"),
	CASE("upgrade not in Connection", GET "Upgrade: websocket\r\n\r\n", HEAD "|END"),
	CASE("h2c is taken off",
		GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
		    "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" GET "\r\n",
		HEAD "|END|" HEAD "|END"),
	CASE("upgrade with body is taken off",
		POST "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
		"HEAD POST / a 1.1 length:1|BODY x|END"),
	CASE("WebDAV", "M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD M-SEARCH /x a 1.1 none|END"),
};

/* The bad-request catalogue; the last word is the reason. */
static const struct h1_case h1_bad[] = {
	CASE("1 length and encoding",
		POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"BAD LENGTH_AND_ENCODING"),
	CASE("1 encoding and length",
		POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		"BAD LENGTH_AND_ENCODING"),
	CASE("2 two lengths", POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "BAD LENGTH"),
	CASE("3 equal lengths", POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"BAD LENGTH"),
	CASE("3 length list", POST "Content-Length: 1, 1\r\n\r\n", "BAD LENGTH"),
	CASE("4 +", POST "Content-Length: +1\r\n\r\n", "BAD LENGTH"),
	CASE("5 -", POST "Content-Length: -1\r\n\r\n", "BAD LENGTH"),
	CASE("6 0x", POST "Content-Length: 0x1\r\n\r\n", "BAD LENGTH"),
	CASE("7 _", POST "Content-Length: 1_0\r\n\r\n", "BAD LENGTH"),
	CASE("8 Z", POST "Content-Length: 1Z\r\n\r\n", "BAD LENGTH"),
	CASE("9 empty", POST "Content-Length:\r\n\r\n", "BAD LENGTH"),
	CASE("9 empty before valid", POST "Content-Length:\r\nContent-Length: 1\r\n\r\n",
		"BAD LENGTH"),
	CASE("10 2^63", POST "Content-Length: 9223372036854775808\r\n\r\n", "BAD LENGTH"),
	CASE("10 2^64", POST "Content-Length: 18446744073709551616\r\n\r\n", "BAD LENGTH"),
	CASE("10 2^64+1", POST "Content-Length: 18446744073709551617\r\n\r\n", "BAD LENGTH"),
	CASE("11 space before colon", POST "Content-Length : 1\r\n\r\n", "BAD HEADER_NAME"),
	CASE("11 tab before colon", POST "Content-Length\t: 1\r\n\r\n", "BAD HEADER_NAME"),
	CASE("12 space before first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
		"BAD LINE_FOLDING"),
	CASE("13 chunked not last", POST "Transfer-Encoding: chunked, gzip\r\n\r\n",
		"BAD ENCODING"),
	CASE("14 unknown", POST "Transfer-Encoding: foo\r\n\r\n", "BAD ENCODING_UNKNOWN"),
	CASE("14 gzip", POST "Transfer-Encoding: gzip\r\n\r\n", "BAD ENCODING_UNKNOWN"),
	CASE("14 gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"BAD ENCODING_UNKNOWN"),
	CASE("15 twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", "BAD ENCODING"),
	CASE("15 two lines",
		POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"BAD ENCODING"),
	CASE("15 two lines, second unknown",
		POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", "BAD ENCODING"),
	CASE("16 identity", POST "Transfer-Encoding: identity\r\n\r\n", "BAD ENCODING"),
	CASE("17 VT",
		POST "Transfer-Encoding: \x0b"
		     "chunked\r\n\r\n",
		"BAD SYNTAX"),
	CASE("17 NBSP",
		POST "Transfer-Encoding: \xa0"
		     "chunked\r\n\r\n",
		"BAD ENCODING"),
	CASE("17 xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", "BAD ENCODING"),
	CASE("17 quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", "BAD ENCODING"),
	CASE("17 parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n", "BAD ENCODING"),
	CASE("18 over 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"BAD ENCODING"),
	CASE("19 empty", POST "Transfer-Encoding:\r\n\r\n", "BAD ENCODING"),
	CASE("19 ,chunked", POST "Transfer-Encoding: ,chunked\r\n\r\n", "BAD ENCODING"),
	CASE("19 chunked,", POST "Transfer-Encoding: chunked,\r\n\r\n", "BAD ENCODING"),
	CASE("19 empty and length", POST "Transfer-Encoding:\r\nContent-Length: 1\r\n\r\n",
		"BAD LENGTH_AND_ENCODING"),
	CASE("20 folded", GET "A: 1\r\n b\r\n\r\n", "BAD LINE_FOLDING"),
	CASE("20 folded length", POST "Content-Length:\r\n 1\r\n\r\n", "BAD LINE_FOLDING"),
	CASE("20 folded with tab", GET "A:\r\n\tb\r\n\r\n", "BAD LINE_FOLDING"),
	CASE("20 blank line with a space", GET " \r\n\r\n", "BAD LINE_FOLDING"),
	CASE("21 LF ends start line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "BAD LINE_END"),
	CASE("21 LF ends field", GET "A: 1\n\r\n", "BAD LINE_END"),
	CASE("21 LF in name", GET "A\n\r\n", "BAD LINE_END"),
	CASE("21 LF ends head", GET "\n", "BAD LINE_END"),
	CASE("21 LF after target", "GET /\n", "BAD LINE_END"),
	CASE("21 LF in version", "GET / HT\n", "BAD LINE_END"),
	CASE("21 LF before the request", "\n" GET "\r\n", "BAD SYNTAX"),
	CASE("21 empty line ended by CR", "\rG", "BAD LINE_END"),
	CASE("21 three empty lines", "\r\n\r\n\r\n" GET "\r\n", "BAD SYNTAX"),
	CASE("22 CR in value", GET "A: 1\rB: 2\r\n\r\n", "BAD LINE_END"),
	CASE("22 CR in name", GET "A\r: 1\r\n\r\n", "BAD SYNTAX"),
	CASE("22 CR CR LF", GET "A: 1\r\r\n\r\n", "BAD LINE_END"),
	CASE("22 CR in method", "GE\rT / HTTP/1.1\r\n", "BAD SYNTAX"),
	CASE("22 CR in version", "GET / HTTP\r/1.1\r\n", "BAD SYNTAX"),
	CASE("23 CR X ends head", GET "\rX", "BAD LINE_END"),
	CASE("24 NUL in value", GET "A: \0\r\n\r\n", "BAD SYNTAX"),
	CASE("25 BEL in value", GET "A: \a\r\n\r\n", "BAD SYNTAX"),
	CASE("25 DEL in value", GET "A: \x7f\r\n\r\n", "BAD SYNTAX"),
	CASE("26 name not a token", GET "A(: 1\r\n\r\n", "BAD HEADER_NAME"),
	CASE("26 eight-bit name", GET "A\xe4: 1\r\n\r\n", "BAD HEADER_NAME"),
	CASE("26 NUL in name", GET "A\0: 1\r\n\r\n", "BAD HEADER_NAME"),
	CASE("26 empty name", GET ": 1\r\n\r\n", "BAD HEADER_NAME"),
	CASE("26 no colon", GET "A\r\n\r\n", "BAD SYNTAX"),
	CASE("27 no Host", "GET / HTTP/1.1\r\n\r\n", "BAD HOST"),
	CASE("27 two Hosts", GET "Host: a\r\n\r\n", "BAD HOST"),
	CASE("27 empty Host", "GET / HTTP/1.1\r\nHost:\r\nA: 1\r\n\r\n", "BAD HOST"),
	CASE("27 invalid Host", "GET / HTTP/1.1\r\nHost: a b@c/d\r\n\r\n", "BAD HOST"),
	CASE("27 Host list", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "BAD HOST"),
	CASE("27 Host port 0", "GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", "BAD HOST"),
	CASE("27 Host port 65536", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "BAD HOST"),
	CASE("27 Host port empty", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "BAD HOST"),
	CASE("27 Host scope", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", "BAD HOST"),
	CASE("27 Host IPv6 open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "BAD HOST"),
	CASE("27 Host IPv6 empty", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", "BAD HOST"),
	CASE("27 Host IPv6 and more", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "BAD HOST"),
	CASE("27 no Host beside absolute form", "GET http://a/ HTTP/1.1\r\n\r\n", "BAD HOST"),
	CASE("27 Host two dots", "GET / HTTP/1.1\r\nHost: a..\r\n\r\n", "BAD HOST"),
	CASE("27 Host dots within", "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", "BAD HOST"),
	CASE("27 Host dot first", "GET / HTTP/1.1\r\nHost: .a\r\n\r\n", "BAD HOST"),
	CASE("27 Host dot only", "GET / HTTP/1.1\r\nHost: .\r\n\r\n", "BAD HOST"),
	CASE("27 Host dot and port", "GET / HTTP/1.1\r\nHost: .:80\r\n\r\n", "BAD HOST"),
	CASE("29 userinfo", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("29 no authority", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("29 other scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("29 not a path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("29 GET *", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("30 fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("31 CTL in target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("31 NUL in target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("31 SP in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "BAD SYNTAX"),
	CASE("31 two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "BAD SYNTAX"),
	CASE("31 eight-bit target", "GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("34 unknown method", "FOO / HTTP/1.1\r\nHost: a\r\n\r\n", "BAD METHOD"),
	CASE("34 lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "BAD SYNTAX"),
	CASE("34 endless method", "AAAAAAAAAAAAAAAAAAAAAAAAAA", "BAD METHOD"),
	CASE("34 no method", " / HTTP/1.1\r\n", "BAD SYNTAX"),
	CASE("35 0.9", "GET /\r\n", "BAD VERSION"),
	CASE("35 2.0", "GET / HTTP/2.0\r\n", "BAD VERSION"),
	CASE("35 1.2", "GET / HTTP/1.2\r\n", "BAD VERSION"),
	CASE("35 1.32", "GET / HTTP/1.32\r\n", "BAD VERSION"),
	CASE("35 1.10", "GET / HTTP/1.10\r\n", "BAD SYNTAX"),
	CASE("35 lower case", "GET / http/1.1\r\n", "BAD SYNTAX"),
	CASE("35 RTSP", "OPTIONS * RTSP/1.0\r\n", "BAD SYNTAX"),
	CASE("35 ICE", "SOURCE /x ICE/1.0\r\n", "BAD SYNTAX"),
	CASE("35 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "BAD VERSION"),
	CASE("35 space after version", "GET / HTTP/1.1 \r\n", "BAD SYNTAX"),
	CASE("36 tab after method", "GET\t/ HTTP/1.1\r\n", "BAD SYNTAX"),
	CASE("36 tab after target", "GET /\tHTTP/1.1\r\n", "BAD TARGET"),
	CASE("36 FF after method", "GET\f/ HTTP/1.1\r\n", "BAD SYNTAX"),
	CASE("49 unknown Expect", POST "Expect: foo\r\n\r\n", "BAD EXPECTATION"),
	CASE("50 TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "BAD METHOD_REFUSED"),
	CASE("50 CONNECT without port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("50 CONNECT with path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET"),
	CASE("50 CONNECT with length",
		"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "BAD LENGTH"),
	CASE("50 CONNECT chunked",
		"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
		"BAD ENCODING"),
	CASE("54 underscore", GET "X_Forwarded_For: 1\r\n\r\n", "BAD HEADER_NAME"),
	CASE("54 Content_Length", POST "Content_Length: 5\r\n\r\n", "BAD HEADER_NAME"),
	CASE("63 TLS", "\x16\x03\x01\x02\x00\x01", "BAD NOT_HTTP"),
	CASE("63 PROXY v2", "\r\n\r\n\0\r\nQUIT\n", "BAD NOT_HTTP"),
	CASE("63 PROXY v1", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "BAD SYNTAX"),
	CASE("after a good one", GET "\r\n" GET "A : 1\r\n\r\n" GET "\r\n",
		HEAD "|END|BAD HEADER_NAME"),
};

#define C "HEAD POST / a 1.1 stream|"

static const struct h1_case h1_bad_chunk[] = {
	CASE("37 0x1", CHUNK "0x1\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("37 +1", CHUNK "+1\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("37 -1", CHUNK "-1\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("37 0_1", CHUNK "0_1\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("37 space before", CHUNK " 1\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("37 space after", CHUNK "1 \r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("37 empty", CHUNK "\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("37 g", CHUNK "g\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("38 2^64", CHUNK "10000000000000000\r\nz", C "BAD CHUNK_TOO_LARGE"),
	CASE("38 2^64-1", CHUNK "ffffffffffffffff\r\nz", C "BAD CHUNK_TOO_LARGE"),
	CASE("38 over the limit", CHUNK "40000001\r\nz", C "BAD CHUNK_TOO_LARGE"),
	CASE("38 17 digits", CHUNK "00000000000000001\r\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("39 LF after size", CHUNK "1\nz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("39 CR X after size", CHUNK "1\rXz\r\n0\r\n\r\n", C "BAD CHUNK"),
	CASE("39 LF after bytes", CHUNK "1\r\nz\n0\r\n\r\n", C "BODY z|BAD CHUNK"),
	CASE("39 CR X after bytes", CHUNK "1\r\nz\rX0\r\n\r\n", C "BODY z|BAD CHUNK"),
	CASE("40 no CRLF after bytes", CHUNK "1\r\nzz\r\n0\r\n\r\n", C "BODY z|BAD CHUNK"),
	CASE("40 ended by XX", CHUNK "0\r\nXX", C),
	CASE("41 CR in extension", CHUNK "1\r\r;a\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 LF in extension", CHUNK "1;a\nb\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 LF in quotes", CHUNK "1;a=\"\n\"\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 quotes left open", CHUNK "1;a=\"b\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 escape left open", CHUNK "1;a=\"b\\\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 bytes after quotes", CHUNK "1;a=\"b\"c\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 empty extension", CHUNK "1;\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 empty name", CHUNK "1;=a\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 empty value", CHUNK "1;a=\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 two values", CHUNK "1;a=b=c\r\nz\r\n", C "BAD CHUNK"),
	CASE("41 blank", CHUNK "1 ;a\r\nz\r\n", C "BAD CHUNK"),
	CASE("43 length in trailer", CHUNK "0\r\nContent-Length: 1\r\n\r\n", C "BAD TRAILER"),
	CASE("43 encoding in trailer", CHUNK "0\r\nTransfer-Encoding: chunked\r\n\r\n",
		C "BAD TRAILER"),
	CASE("43 Host in trailer", CHUNK "0\r\nHost: a\r\n\r\n", C "BAD TRAILER"),
	CASE("43 Authorization in trailer", CHUNK "0\r\nAuthorization: a\r\n\r\n", C "BAD TRAILER"),
	CASE("43 X-Forwarded in trailer", CHUNK "0\r\nX-Forwarded-For: a\r\n\r\n", C "BAD TRAILER"),
	CASE("43 underscore in trailer", CHUNK "0\r\nA_B: a\r\n\r\n", C "BAD HEADER_NAME"),
	CASE("43 folded trailer", CHUNK "0\r\nA: a\r\n b\r\n\r\n", C "BAD LINE_FOLDING"),
	CASE("43 LF in trailer", CHUNK "0\r\nA: a\n\r\n", C "BAD LINE_END"),
	CASE("43 CR X in trailer", CHUNK "0\r\nA: a\r\n\rX", C "BAD LINE_END"),
};

static const struct h1_case h1_truncated[] = {
	CASE("44 nothing", "", ""),
	CASE("44 in the head", "GET / HT", "BAD TRUNCATED"),
	CASE("44 in the length", POST "Content-Length: 3\r\n\r\nab",
		"HEAD POST / a 1.1 length:3|BODY ab|BAD TRUNCATED"),
	CASE("44 in a chunk", CHUNK "3\r\nab", C "BODY ab|BAD TRUNCATED"),
	CASE("44 between chunks", CHUNK "2\r\nab\r\n", C "BODY ab|BAD TRUNCATED"),
	CASE("44 in the trailers", CHUNK "0\r\nA: b\r\n", C "BAD TRUNCATED"),
	CASE("44 after a message", GET "\r\n", HEAD "|END"),
};

static struct h1_trace h1_trace_memory;

static void check_one(struct h1_trace *t, const struct h1_case *c)
{
	h1_trace_run(t, (const uint8_t *)c->input.at, c->input.len);
	/* A chunked body refused at its first line: the trace has no bar after the head then. */
	size_t len = strlen(c->expected);
	if (len > 0 && c->expected[len - 1] == '|')
		len--;
	if (t->len != len || memcmp(t->text, c->expected, len) != 0)
		fail_msg("%s (cut %zu, step %zu):\n got      %s\n expected %s", c->name, t->cut,
			t->step, t->text, c->expected);
}

static void check_table(const struct h1_case *cases, size_t count, bool eof)
{
	struct h1_trace *t = &h1_trace_memory;
	for (size_t i = 0; i < count; i++) {
		const struct h1_case *c = &cases[i];
		t->side = HTTP_SERVER;
		t->limits = &http_limits_default;
		t->eof = eof;
		for (t->step = 0, t->cut = 0; t->cut <= c->input.len; t->cut++)
			check_one(t, c);
		for (t->cut = 0, t->step = 1; t->step <= 3; t->step++)
			check_one(t, c);
	}
}

static void test_good_requests(void **state)
{
	check_table(h1_good, ARRAY_LEN(h1_good), false);
}

static void test_bad_requests(void **state)
{
	check_table(h1_bad, ARRAY_LEN(h1_bad), false);
}

static void test_bad_chunks(void **state)
{
	check_table(h1_bad_chunk, ARRAY_LEN(h1_bad_chunk), false);
}

static void test_truncated_requests(void **state)
{
	check_table(h1_truncated, ARRAY_LEN(h1_truncated), true);
}

/* --- limits: the same input with one byte or field more or less --- */

static const struct http_limits h1_small = {
	.head_bytes_max = 64,
	.target_bytes_max = 8,
	.header_count_max = 3,
	.chunk_ext_bytes_max = 6,
	.chunk_bytes_max = 16,
};

static void check_small(const char *input, const char *expected)
{
	struct h1_trace *t = &h1_trace_memory;
	struct h1_case c = {input, str_of(input), expected};
	t->side = HTTP_SERVER;
	t->limits = &h1_small;
	t->eof = false;
	for (t->step = 0, t->cut = 0; t->cut <= c.input.len; t->cut++)
		check_one(t, &c);
	t->cut = 0;
	t->step = 1;
	check_one(t, &c);
}

static void test_limits(void **state)
{
	check_small("GET /1234567 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD GET /1234567 a 1.1 none|END");
	check_small("GET /12345678 HTTP/1.1\r\nHost: a\r\n\r\n", "BAD TARGET_TOO_LONG");
	check_small(GET "B: 1\r\nC: 2\r\n\r\n", HEAD " {B:1} {C:2}|END");
	check_small(GET "B: 1\r\nC: 2\r\nD: 3\r\n\r\n", "BAD HEADERS_TOO_LARGE");
	/* GET is 25 bytes, the end 2: 37 are left. */
	check_small(GET "B: 34567890123456789012345678901234\r\n\r\n",
		HEAD " {B:34567890123456789012345678901234}|END");
	check_small(GET "B: 345678901234567890123456789012345\r\n\r\n", "BAD HEADERS_TOO_LARGE");
	check_small(CHUNK "10", "HEAD POST / a 1.1 stream");
	check_small(CHUNK "11", "HEAD POST / a 1.1 stream|BAD CHUNK_TOO_LARGE");
	check_small(CHUNK "1;abc\r\nz\r\n1;\"", "HEAD POST / a 1.1 stream|BODY z|BAD CHUNK");
	check_small(CHUNK "1;abcdefg", "HEAD POST / a 1.1 stream|BAD CHUNK_TOO_LARGE");
	/* Per message, not per chunk. */
	check_small(CHUNK "1;ab\r\nz\r\n1;abc\r\nz\r\n",
		"HEAD POST / a 1.1 stream|BODY z|BAD CHUNK_TOO_LARGE");
	check_small(CHUNK "0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n",
		"HEAD POST / a 1.1 stream|BAD HEADERS_TOO_LARGE");
}

static void test_default_limits(void **state)
{
	struct h1_trace *t = &h1_trace_memory;
	static char input[40 * 1024];
	t->side = HTTP_SERVER;
	t->limits = &http_limits_default;
	t->eof = false;
	t->cut = t->step = 0;

	/* 40 KiB of field, then 101 fields, then a target of 8 KiB. */
	int n = snprintf(input, sizeof(input), GET "A: ");
	memset(input + n, 'x', sizeof(input) - (size_t)n);
	h1_trace_run(t, (uint8_t *)input, sizeof(input));
	assert_string_equal(t->text, "BAD HEADERS_TOO_LARGE");

	n = snprintf(input, sizeof(input), GET);
	for (int i = 0; i < 100; i++)
		n += snprintf(input + n, sizeof(input) - (size_t)n, "A: %d\r\n", i);
	h1_trace_run(t, (uint8_t *)input, (size_t)n);
	assert_string_equal(t->text, "BAD HEADERS_TOO_LARGE");

	n = snprintf(input, sizeof(input), "GET /");
	memset(input + n, 'x', 8192);
	h1_trace_run(t, (uint8_t *)input, 8200);
	assert_string_equal(t->text, "BAD TARGET_TOO_LONG");
}

/* A Connection field that names everything is a way to burn our time. */
static void test_nominations_are_bounded(void **state)
{
	struct h1_trace *t = &h1_trace_memory;
	char input[1024];
	int n = snprintf(input, sizeof(input), GET "Connection: ");
	for (int i = 0; i < 40; i++)
		n += snprintf(input + n, sizeof(input) - (size_t)n, "x%d,", i);
	n += snprintf(input + n, sizeof(input) - (size_t)n, "\r\n\r\n");
	t->side = HTTP_SERVER;
	t->limits = &http_limits_default;
	h1_trace_run(t, (uint8_t *)input, (size_t)n);
	assert_string_equal(t->text, "BAD HEADERS_TOO_LARGE");
}

/* Every byte at every place of a value, as values are not read byte by byte. */
static void test_bytes_of_a_value(void **state)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		bool good = byte == '\t' || (byte >= ' ' && byte != 0x7f);
		enum http_bad bad =
			byte == '\n' || byte == '\r' ? HTTP_BAD_LINE_END : HTTP_BAD_SYNTAX;
		for (size_t at = 0; at < 20; at++) {
			uint8_t text[] = "A:01234567890123456789\r\n\r\n";
			struct h1_scan s;
			text[2 + at] = (uint8_t)byte;
			h1_scan_init(&s, H1_SCAN_RESPONSE_TRAILER);
			h1_scan_read(&s, &http_limits_default, text, sizeof(text) - 1);
			assert_int_equal(s.state, good ? H1_SCAN_DONE : H1_SCAN_BAD);
			assert_int_equal(s.bad, good ? HTTP_BAD_NONE : bad);
		}
	}
}

static void test_llhttp_is_never_lenient(void **state)
{
	llhttp_t parser;
	h1_section_parser_init(&parser, HTTP_REQUEST, NULL);
	assert_int_equal(parser.lenient_flags, 0);
	llhttp_reset(&parser);
	assert_int_equal(parser.lenient_flags, 0);
	h1_section_parser_init(&parser, HTTP_RESPONSE, NULL);
	assert_int_equal(parser.lenient_flags, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_requests),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_bad_chunks),
		cmocka_unit_test(test_truncated_requests),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_default_limits),
		cmocka_unit_test(test_nominations_are_bounded),
		cmocka_unit_test(test_bytes_of_a_value),
		cmocka_unit_test(test_llhttp_is_never_lenient),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
