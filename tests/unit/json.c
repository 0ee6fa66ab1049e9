// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests that tool/json.c writes the expected bytes, and valid JSON for any input.
 *
 * With a file as its argument, the program exits with 0 if the file is one JSON object, and with
 * another status if it is not.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/json.h"
#include "tests/lib/tap.h"

/* ---- a reader, as strict as RFC 8259 ---- */

#define MAX_DEPTH 32
#define MAX_KEYS  128

struct reader {
	const char *p, *end;
	int depth;
};

static bool value(struct reader *r);

static void blanks(struct reader *r)
{
	while (r->p < r->end && *r->p && strchr(" \t\r\n", *r->p))
		r->p++;
}

static bool byte(struct reader *r, char c)
{
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static bool word(struct reader *r, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(r->end - r->p) < len || memcmp(r->p, text, len))
		return false;
	r->p += len;
	return true;
}

static bool digits(struct reader *r)
{
	const char *start = r->p;

	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		r->p++;
	return r->p > start;
}

/* Integers only: the tool writes no fractions. */
static bool number(struct reader *r)
{
	byte(r, '-');
	return byte(r, '0') || digits(r);
}

/* A character of more than one byte: decode it, then check it against the range of its length. */
static bool utf8(struct reader *r)
{
	static const struct {
		unsigned char mask, lead;
		unsigned int least;
	} forms[] = {
		{ 0xe0, 0xc0, 0x80 },
		{ 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 },
	};
	const unsigned char *s = (const unsigned char *)r->p;

	for (int i = 0; i < 3; i++) {
		unsigned int code = s[0] & (unsigned char)~forms[i].mask;

		if ((s[0] & forms[i].mask) != forms[i].lead)
			continue;
		if (r->end - r->p < i + 2)
			return false;
		for (int k = 1; k < i + 2; k++) {
			if ((s[k] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (s[k] & 0x3f);
		}
		r->p += i + 2;
		return code >= forms[i].least && code <= 0x10ffff &&
		       (code < 0xd800 || code > 0xdfff);
	}
	return false;
}

static bool escape(struct reader *r)
{
	if (r->p < r->end && *r->p && strchr("\"\\/bfnrt", *r->p)) {
		r->p++;
		return true;
	}
	if (!byte(r, 'u') || r->end - r->p < 4)
		return false;
	for (int i = 0; i < 4; i++, r->p++)
		if (!*r->p || !strchr("0123456789abcdefABCDEF", *r->p))
			return false;
	return true;
}

static bool string(struct reader *r)
{
	if (!byte(r, '"'))
		return false;
	while (r->p < r->end && *r->p != '"') {
		unsigned char c = *r->p;

		if (c == '\\') {
			r->p++;
			if (!escape(r))
				return false;
		} else if (c >= 0x80) {
			if (!utf8(r))
				return false;
		} else if (c < 0x20) {
			return false;
		} else {
			r->p++;
		}
	}
	return byte(r, '"');
}

/* The members of an object, whose keys must differ, or of an array. */
static bool members(struct reader *r, bool object)
{
	const char *keys[MAX_KEYS];
	size_t lens[MAX_KEYS], n = 0;

	do {
		blanks(r);
		if (object) {
			if (n == MAX_KEYS)
				return false;
			keys[n] = r->p;
			if (!string(r))
				return false;
			lens[n] = r->p - keys[n];
			for (size_t i = 0; i < n; i++)
				if (lens[i] == lens[n] && !memcmp(keys[i], keys[n], lens[n]))
					return false;
			n++;
			blanks(r);
			if (!byte(r, ':'))
				return false;
		}
		if (!value(r))
			return false;
		blanks(r);
	} while (byte(r, ','));
	return byte(r, object ? '}' : ']');
}

static bool value(struct reader *r)
{
	bool ok;

	blanks(r);
	if (r->p == r->end)
		return false;
	if (*r->p == '"')
		return string(r);
	if (*r->p != '{' && *r->p != '[')
		return word(r, "null") || word(r, "true") || word(r, "false") || number(r);
	if (r->depth == MAX_DEPTH)
		return false;
	r->depth++;
	ok = *r->p == '{';
	r->p++;
	blanks(r);
	ok = byte(r, ok ? '}' : ']') || members(r, ok);
	r->depth--;
	return ok;
}

/* The tool's document ends with a newline, and nothing follows. */
static bool is_json(const char *text, size_t len)
{
	struct reader r = { .p = text, .end = text + len };

	return value(&r) && byte(&r, '\n') && r.p == r.end;
}

/* Make text printable, for the name of a check. */
static const char *ascii(const char *text)
{
	static char copy[64];

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = copy; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return copy;
}

static void reader(void)
{
	static const char *const good[] = {
		"null\n",
		"true\n",
		"false\n",
		"0\n",
		"-17\n",
		"\"\"\n",
		"\"\\u00e4\\n\"\n",
		"\"\xc3\xa4\"\n",
		"[]\n",
		"{}\n",
		"[[], {}, 1]\n",
		"{\"a\": [1, 2]}\n",
		" { \"a\":1}\n",
		"\"\xf0\x90\x80\x80\"\n",
	};
	static const char *const bad[] = {
		"",
		"\n",
		"null",
		"null \n",
		"null\n\n",
		"1 2\n",
		"nul\n",
		"01\n",
		"-\n",
		"+1\n",
		"1.5\n",
		"\"\n",
		"\"a\nb\"\n",
		"\"\\x\"\n",
		"\"\\u12g4\"\n",
		"\"\\\n",
		"\"\xc3\"\n",
		"\"\x80\"\n",
		"\"\xc0\x80\"\n",
		"\"\xed\xa0\x80\"\n",
		"\"\xe0\x80\x80\"\n",
		"\"\xf0\x80\x80\x80\"\n",
		"\"\xf4\x90\x80\x80\"\n",
		"\"\xff\"\n",
		"[\n",
		"[1,]\n",
		"[,1]\n",
		"[1 2]\n",
		"[1}\n",
		"{\"a\"}\n",
		"{\"a\": }\n",
		"{a: 1}\n",
		"{\"a\": 1,}\n",
		"{\"a\": 1 \"b\": 2}\n",
		"{\"a\": 1, \"a\": 2}\n",
		"{\"a\": 1\n",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		tap_ok(is_json(good[i], strlen(good[i])), "is JSON: %s", ascii(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		tap_ok(!is_json(bad[i], strlen(bad[i])), "is none: %s", ascii(bad[i]));
}

static int check_file(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = fopen(path, "re");
	ssize_t len = f ? getdelim(&text, &size, '\0', f) : -1;
	bool ok = len > 0 && text[0] == '{' && is_json(text, len);

	if (f)
		fclose(f);
	free(text);
	return !ok;
}

/* ---- the writer ---- */

static char *text;
static size_t text_len;
static struct json json;

static struct json *start(void)
{
	FILE *f = open_memstream(&text, &text_len);

	if (!f)
		tap_bail("no memory");
	json_start(&json, f);
	return &json;
}

/* Check that the document has these bytes and is JSON. */
static void finish(const char *want, const char *what)
{
	json_finish(&json);
	fclose(json.out);
	if (!tap_ok(text_len == strlen(want) && !memcmp(text, want, text_len), "%s: the bytes",
		    what))
		tap_diag("got %s", text);
	tap_ok(is_json(text, text_len), "%s: it is JSON", what);
	free(text);
}

static void documents(void)
{
	struct json *j = start();

	json_null(j, NULL);
	finish("null\n", "null alone");

	j = start();
	json_open(j, NULL, '{');
	json_close(j, '}');
	finish("{}\n", "an empty object");

	j = start();
	json_open(j, NULL, '[');
	json_close(j, ']');
	finish("[]\n", "an empty array");

	j = start();
	json_open(j, NULL, '{');
	json_string(j, "s", "text");
	json_string(j, "none", NULL);
	json_null(j, "null");
	json_bool(j, "yes", true);
	json_bool(j, "no", false);
	json_int(j, "zero", 0);
	json_int(j, "least", LLONG_MIN);
	json_int(j, "most", LLONG_MAX);
	json_count(j, "none counted", 0);
	json_count(j, "not counted", -1);
	json_string(j, "", "");
	json_close(j, '}');
	finish("{\n"
	       "  \"s\": \"text\",\n"
	       "  \"none\": null,\n"
	       "  \"null\": null,\n"
	       "  \"yes\": true,\n"
	       "  \"no\": false,\n"
	       "  \"zero\": 0,\n"
	       "  \"least\": -9223372036854775808,\n"
	       "  \"most\": 9223372036854775807,\n"
	       "  \"none counted\": 0,\n"
	       "  \"not counted\": null,\n"
	       "  \"\": \"\"\n"
	       "}\n",
	       "an object of each kind of value");

	j = start();
	json_open(j, NULL, '[');
	json_int(j, NULL, 1);
	json_open(j, NULL, '[');
	json_close(j, ']');
	json_open(j, NULL, '{');
	json_open(j, "a", '{');
	json_close(j, '}');
	json_open(j, "b", '[');
	json_string(j, NULL, "x");
	json_null(j, NULL);
	json_bool(j, NULL, true);
	json_close(j, ']');
	json_int(j, "c", -1);
	json_close(j, '}');
	json_int(j, NULL, 2);
	json_close(j, ']');
	finish("[\n"
	       "  1,\n"
	       "  [],\n"
	       "  {\n"
	       "    \"a\": {},\n"
	       "    \"b\": [\n"
	       "      \"x\",\n"
	       "      null,\n"
	       "      true\n"
	       "    ],\n"
	       "    \"c\": -1\n"
	       "  },\n"
	       "  2\n"
	       "]\n",
	       "nested");

	j = start();
	for (int i = 0; i < 20; i++)
		json_open(j, NULL, '[');
	for (int i = 0; i < 20; i++)
		json_close(j, ']');
	json_finish(j);
	fclose(j->out);
	tap_ok(is_json(text, text_len), "20 nested arrays are JSON");
	free(text);
}

#define BAD "\\ufffd"

static void strings(void)
{
	static const struct {
		const char *what, *string, *want;
	} table[] = {
		{ "quotes and backslashes", "a\"b\\c\\\"", "a\\\"b\\\\c\\\\\\\"" },
		{ "a slash is left alone", "/dev/kvm", "/dev/kvm" },
		{ "line breaks and tabs", "a\nb\tc\r", "a\\u000ab\\u0009c\\u000d" },
		{ "other control characters", "\x01\x1b\x1f \x7f",
		  "\\u0001\\u001b\\u001f \\u007f" },
		{ "two bytes", "\xc2\x80 \xc3\xa4 \xdf\xbf", "\xc2\x80 \xc3\xa4 \xdf\xbf" },
		{ "three bytes", "\xe0\xa0\x80\xe2\x82\xac\xef\xbf\xbf",
		  "\xe0\xa0\x80\xe2\x82\xac\xef\xbf\xbf" },
		{ "beside the surrogates", "\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80" },
		{ "four bytes", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
		  "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
		{ "a byte that only follows", "a\x80z\xbf", "a" BAD "z" BAD },
		{ "bytes that are in no character", "\xfe\xff\xf5\xf8", BAD BAD BAD BAD },
		{ "Latin 1", "f\xfcr", "f" BAD "r" },
		{ "cut after the first of two", "a\xc3", "a" BAD },
		{ "cut after the first of three", "a\xe2", "a" BAD },
		{ "cut after the second of three", "a\xe2\x82", "a" BAD BAD },
		{ "cut after the third of four", "\xf0\x90\x80", BAD BAD BAD },
		{ "cut by another character", "\xe2\x82z\xc3\"", BAD BAD "z" BAD "\\\"" },
		{ "too long for NUL", "\xc0\x80", BAD BAD },
		{ "too long for a slash", "\xc1\xaf", BAD BAD },
		{ "too long with three bytes", "\xe0\x9f\xbf", BAD BAD BAD },
		{ "too long with four bytes", "\xf0\x8f\xbf\xbf", BAD BAD BAD BAD },
		{ "the first surrogate", "\xed\xa0\x80", BAD BAD BAD },
		{ "the last surrogate", "\xed\xbf\xbf", BAD BAD BAD },
		{ "beyond the last character", "\xf4\x90\x80\x80", BAD BAD BAD BAD },
	};
	char want[256];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct json *j = start();

		json_open(j, NULL, '{');
		json_string(j, table[i].string, table[i].string);
		json_close(j, '}');
		snprintf(want, sizeof(want), "{\n  \"%s\": \"%s\"\n}\n", table[i].want,
			 table[i].want);
		finish(want, table[i].what);
	}
}

/* Any bytes result in JSON. Each string is allocated separately, so that ASan guards its end. */
static void any_bytes(void)
{
	static const unsigned char bytes[] = { 0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
					       0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0,
					       0xf1, 0xf4, 0xf5, 0xff, '"',  '\\', 1 };
	const size_t n = sizeof(bytes);
	unsigned int wrong = 0;

	for (size_t i = 0; i < n * n * n * n; i++) {
		unsigned char raw[5] = { bytes[i % n], bytes[i / n % n], bytes[i / n / n % n],
					 bytes[i / n / n / n] };
		char *copy = strdup((const char *)raw);
		struct json *j = start();

		json_string(j, NULL, copy);
		json_finish(j);
		fclose(j->out);
		wrong += !is_json(text, text_len);
		free(text);
		free(copy);
	}
	tap_is(wrong, 0, "all strings of 4 bytes at the borders of UTF-8 come out as JSON");
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return check_file(argv[1]);
	reader();
	documents();
	strings();
	any_bytes();
	return tap_done();
}
