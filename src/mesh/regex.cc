/* SPDX-License-Identifier: Apache-2.0 */
/* In C++, because RE2 is. */
#include <cstdio>
#include <new>
#include <re2/re2.h>
#include <string>

extern "C" {
#include "mesh/regex.h"
}

struct regex {
	RE2 re2;

	regex(const re2::StringPiece &pattern, const RE2::Options &options) : re2(pattern, options)
	{
	}
};

static RE2::Options regex_options()
{
	RE2::Options options;
	options.set_encoding(RE2::Options::EncodingLatin1); /* a path is bytes */
	options.set_max_mem(REGEX_MEMORY_BYTES);
	options.set_log_errors(false);
	options.set_never_capture(true);
	return options;
}

struct regex *regex_new(struct str pattern, char *ret_why, size_t why_bytes)
{
	if (pattern.len > REGEX_PATTERN_BYTES_MAX) {
		snprintf(ret_why, why_bytes, "longer than %d bytes", REGEX_PATTERN_BYTES_MAX);
		return nullptr;
	}
	auto *r = new (std::nothrow)
		struct regex(re2::StringPiece(pattern.at, pattern.len), regex_options());
	if (!r) {
		snprintf(ret_why, why_bytes, "out of memory");
		return nullptr;
	}
	if (!r->re2.ok()) {
		snprintf(ret_why, why_bytes, "%s", r->re2.error().c_str());
	} else if (r->re2.ProgramSize() > REGEX_SIZE_MAX) {
		snprintf(ret_why, why_bytes, "too large: %d, of at most %d, with its repetitions",
			r->re2.ProgramSize(), REGEX_SIZE_MAX);
	} else {
		return r;
	}
	delete r;
	return nullptr;
}

void regex_free(struct regex *r)
{
	delete r;
}

bool regex_matches(const struct regex *r, struct str text)
{
	return r->re2.Match(re2::StringPiece(text.at, text.len), 0, text.len, RE2::ANCHOR_BOTH,
		nullptr, 0);
}

bool regex_may_begin(const struct regex *r, char first, char last)
{
	std::string min, max;
	if (!r->re2.PossibleMatchRange(&min, &max, 8))
		return true;
	auto low = static_cast<unsigned char>(min.empty() ? '\0' : min[0]);
	auto high = static_cast<unsigned char>(max.empty() ? '\0' : max[0]);
	return low <= static_cast<unsigned char>(last) && high >= static_cast<unsigned char>(first);
}
