/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * json.h - writes one JSON document, value by value, to a stream.
 *
 * A key is NULL in an array and for the document itself. Strings of any bytes come out as valid
 * JSON: what is not UTF-8 becomes U+FFFD. A string that is NULL becomes null.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdio.h>

struct json {
	FILE *out;
	int depth;
	bool first; /* nothing stands in the innermost object or array yet */
};

void json_start(struct json *j, FILE *out);
/* Ends the line; everything must be closed. */
void json_finish(struct json *j);

void json_open(struct json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);		       /* '}' or ']' */

void json_string(struct json *j, const char *key, const char *value);
void json_int(struct json *j, const char *key, long long value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* A number that is not known when it is negative: null then. */
void json_count(struct json *j, const char *key, long long value);

#endif
