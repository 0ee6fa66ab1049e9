// SPDX-License-Identifier: GPL-2.0-only
/* Parses and judges the output of a test; tap.h describes the functions. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig/tap.h"
#include "rig/util.h"

#define RING (int)(sizeof(((struct tap *)0)->last) / sizeof(((struct tap *)0)->last[0]))

void note(struct notes *notes, const char *fmt, ...)
{
	const int room = sizeof(notes->line) / sizeof(notes->line[0]) - notes->n;
	char text[1024];
	va_list ap;

	if (!room)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	notes->line[notes->n++] = xstrdup(room > 1 ? text : "(and more: see the log)");
}

void notes_free(struct notes *notes)
{
	while (notes->n)
		free(notes->line[--notes->n]);
}

void tap_start(struct tap *t)
{
	*t = (struct tap){ .plan = -1 };
}

const char *tap_text(const char *line)
{
	const char *p = line + (strncmp(line, "not ", 4) ? 0 : 4);

	if (strncmp(p, "ok ", 3))
		return line;
	p += 3 + strspn(p + 3, "0123456789");
	return p + strspn(p, " -");
}

const char *tap_skip_reason(const char *line)
{
	const char *p = strchr(line, '#');

	if (!p || strncasecmp(p + 1 + strspn(p + 1, " "), "skip", 4))
		return NULL;
	p += 1 + strspn(p + 1, " ") + 4;
	return p + strspn(p, " ");
}

static void add_skip(struct tap *t, const char *reason, const char *line)
{
	int i;

	t->skipped++;
	if (!*reason) {
		note(&t->failures, "a skip without a reason: %s", line);
		return;
	}
	for (i = 0; i < t->skips.n; i++)
		if (!strcmp(t->skips.line[i], reason))
			return;
	note(&t->skips, "%s", reason);
}

static enum tap_kind plan_line(struct tap *t, const char *line)
{
	const char *skip = tap_skip_reason(line);

	if (t->plan >= 0)
		note(&t->failures, "a second plan: %s", line);
	t->plan = atoi(line + 3);
	if (t->plan > 0)
		return TAP_OTHER;
	if (!skip)
		note(&t->failures, "an empty plan without a reason");
	else if (t->checks)
		note(&t->failures, "an empty plan after checks");
	else
		add_skip(t, skip, line);
	return TAP_SKIPPED_ALL;
}

static enum tap_kind check_line(struct tap *t, const char *line, bool passed)
{
	const char *skip = tap_skip_reason(line), *p = line + (passed ? 2 : 6);

	t->checks++;
	if (atoi(p) != t->checks)
		note(&t->failures, "check %d is missing before: %s", t->checks, line);
	t->after_failure = !passed;
	if (!passed)
		note(&t->failures, "%s", line);
	else if (skip)
		add_skip(t, skip, line);
	else
		t->passed++;
	return !passed ? TAP_FAILED : skip ? TAP_SKIPPED : TAP_PASSED;
}

enum tap_kind tap_line(struct tap *t, const char *line, size_t len)
{
	snprintf(t->last[t->lines++ % RING], sizeof(t->last[0]), "%.*s", (int)len, line);
	if (!strncmp(line, "1..", 3) && isdigit((unsigned char)line[3]))
		return plan_line(t, line);
	if (!strncmp(line, "ok ", 3))
		return check_line(t, line, true);
	if (!strncmp(line, "not ok ", 7))
		return check_line(t, line, false);
	if (line[0] == '#' && t->after_failure) {
		note(&t->failures, "    %s", line);
		return TAP_REMARK;
	}
	t->after_failure = false;
	if (!strncmp(line, "Bail out!", 9)) {
		t->bailed = true;
		note(&t->failures, "%s", line);
	}
	return TAP_OTHER;
}

void tap_end(struct tap *t)
{
	if (t->bailed)
		return;
	if (t->plan < 0)
		note(&t->failures, "no plan: the test did not end properly (%d checks made)",
		     t->checks);
	else if (t->plan != t->checks)
		note(&t->failures, "%d checks planned, %d made", t->plan, t->checks);
}

void tap_last_lines(const struct tap *t, struct notes *notes)
{
	int i;

	for (i = t->lines > RING ? t->lines - RING : 0; i < t->lines; i++)
		note(notes, "    > %s", t->last[i % RING]);
}

void tap_free(struct tap *t)
{
	notes_free(&t->failures);
	notes_free(&t->skips);
}
