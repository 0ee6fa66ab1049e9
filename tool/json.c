// SPDX-License-Identifier: GPL-2.0-only
/* Writes JSON; see json.h. */
#include <string.h>

#include "tool/json.h"

/* Length of the UTF-8 character at s, 0 if it is invalid. */
static int utf8_length(const unsigned char *s)
{
	int n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] > 0xf4)
		return 0;
	for (int i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong encodings, surrogates, and code points beyond the last one. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void quote(struct json *j, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	fputc('"', j->out);
	while (*s) {
		int n = utf8_length(s);

		if (*s == '"' || *s == '\\')
			fprintf(j->out, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			fprintf(j->out, "\\u%04x", *s);
		else if (n)
			fwrite(s, 1, n, j->out);
		else
			fputs("\\ufffd", j->out);
		s += n ? n : 1;
	}
	fputc('"', j->out);
}

static void line(struct json *j)
{
	fputc('\n', j->out);
	for (int i = 0; i < j->depth; i++)
		fputs("  ", j->out);
}

/* Write what precedes a value: comma, line break, key. */
static void begin(struct json *j, const char *key)
{
	if (j->depth) {
		if (!j->first)
			fputc(',', j->out);
		line(j);
	}
	j->first = false;
	if (key) {
		quote(j, key);
		fputs(": ", j->out);
	}
}

void json_start(struct json *j, FILE *out)
{
	*j = (struct json){ .out = out, .first = true };
}

void json_finish(struct json *j)
{
	fputc('\n', j->out);
}

void json_open(struct json *j, const char *key, char bracket)
{
	begin(j, key);
	fputc(bracket, j->out);
	j->depth++;
	j->first = true;
}

void json_close(struct json *j, char bracket)
{
	j->depth--;
	if (!j->first)
		line(j);
	fputc(bracket, j->out);
	j->first = false;
}

void json_string(struct json *j, const char *key, const char *value)
{
	begin(j, key);
	if (value)
		quote(j, value);
	else
		fputs("null", j->out);
}

void json_int(struct json *j, const char *key, long long value)
{
	begin(j, key);
	fprintf(j->out, "%lld", value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin(j, key);
	fputs(value ? "true" : "false", j->out);
}

void json_null(struct json *j, const char *key)
{
	json_string(j, key, NULL);
}

void json_count(struct json *j, const char *key, long long value)
{
	if (value < 0)
		json_null(j, key);
	else
		json_int(j, key, value);
}
