/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * json.h - writes one JSON document, value by value, to a stream.
 *
 * The key is NULL in an array and for the document itself. Any string becomes valid JSON: bytes
 * that are not UTF-8 become U+FFFD. A NULL string becomes null.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdio.h>

struct json {
	FILE *out;
	int depth;
	bool first; /* the innermost object or array is still empty */
};

void json_start(struct json *j, FILE *out);
/* End the last line. Everything must be closed. */
void json_finish(struct json *j);

void json_open(struct json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);		       /* '}' or ']' */

void json_string(struct json *j, const char *key, const char *value);
void json_int(struct json *j, const char *key, long long value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* A number, or null if it is negative (unknown). */
void json_count(struct json *j, const char *key, long long value);

#endif
