// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves that rig/tap.c fails a test whose output violates the protocol, and no other.
 */
#include <stdio.h>
#include <string.h>

#include "rig/tap.h"
#include "tests/lib/tap.h"

static void feed(struct tap *t, const char *output)
{
	char text[512], *line;

	tap_start(t);
	snprintf(text, sizeof(text), "%s", output);
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		tap_line(t, line, strlen(line));
	tap_end(t);
}

static void passes(void)
{
	static const char *const good[] = {
		"1..1\nok 1 - a",
		"ok 1 - a\nok 2 - b\n1..2",
		"noise\n1..1\n# remark\nok 1\nnoise",
		"1..2\nok 1 # SKIP why\nok 2 - b",
		"1..0 # SKIP why",
	};
	struct tap t;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		feed(&t, good[i]);
		tap_is(t.failures.n, 0, "passes: %s", good[i]);
		tap_free(&t);
	}
	feed(&t, good[3]);
	tap_ok(t.checks == 2 && t.passed == 1 && t.skipped == 1 && t.skips.n == 1 &&
		       !strcmp(t.skips.line[0], "why"),
	       "a skip is counted and has its reason");
	tap_free(&t);
}

static void fails(void)
{
	static const struct {
		const char *output, *why;
	} bad[] = {
		{ "", "no plan" },
		{ "ok 1 - a", "no plan" },
		{ "1..1\nnot ok 1 - a", "not ok 1 - a" },
		{ "1..2\nok 1 - a", "2 checks planned, 1 made" },
		{ "1..1\nok 1 - a\nok 2 - b", "1 checks planned, 2 made" },
		{ "1..2\nok 1 - a\nok 3 - b", "check 2 is missing" },
		{ "1..2\nok 1 - a\nok 1 - a", "check 2 is missing" },
		{ "1..2\nok 1 - a\nok", "2 checks planned, 1 made" },
		{ "1..1\n1..1\nok 1 - a", "a second plan" },
		{ "1..0", "an empty plan without a reason" },
		{ "ok 1 - a\n1..0 # SKIP why", "an empty plan after checks" },
		{ "1..1\nok 1 # SKIP", "a skip without a reason" },
		{ "1..1\nBail out! enough", "Bail out! enough" },
		{ "1..99999\nok 1 - a", "checks planned, 1 made" },
	};
	struct tap t;
	bool found;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		feed(&t, bad[i].output);
		found = false;
		for (int j = 0; j < t.failures.n; j++)
			found |= !!strstr(t.failures.line[j], bad[i].why);
		tap_ok(found, "fails, because of %s: %s", bad[i].why, bad[i].output);
		tap_free(&t);
	}
}

/* Endless output, and long lines. */
static void floods(void)
{
	static char line[10000];
	struct notes last = { 0 };
	struct tap t;
	int i;

	memset(line, 'x', sizeof(line) - 1);
	tap_start(&t);
	for (i = 0; i < 1000; i++)
		tap_line(&t, "not ok 0", 8);
	tap_line(&t, line, sizeof(line) - 1);
	tap_line(&t, "", 0);
	tap_end(&t);
	tap_ok(t.checks == 1000 && strstr(t.failures.line[t.failures.n - 1], "and more"),
	       "notes that do not fit are replaced by a reference to the log");
	tap_last_lines(&t, &last);
	tap_is(last.n, 8, "the last lines");
	tap_ok(!strcmp(last.line[7], "    > ") && !strcmp(last.line[5], "    > not ok 0") &&
		       strlen(last.line[6]) < 300,
	       "are in order, and long ones are cut");
	notes_free(&last);
	tap_free(&t);
}

int main(void)
{
	passes();
	fails();
	floods();
	return tap_done();
}
