// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sums up the results of test runs by kernel, host, paging and variant of KVM.
 *
 * The first line of a file of results is "run MILLISECONDS RELEASE HOST". Each test has a line
 * "VERDICT KVM PAGING MILLISECONDS TEST REASON", where VERDICT is passed, failed or skipped. HOST
 * and REASON may contain blanks.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig/matrix.h"
#include "rig/report.h"

#define MAX_CELLS 256
#define COLUMNS	  8
#define MAX_MS	  1000000000L

/* One line of the table. */
struct cell {
	char release[80], host[80], kvm[16], paging[16];
	int count[NR_VERDICTS];
	long ms; /* of the tests alone */
};

struct matrix {
	struct cell cells[MAX_CELLS];
	int n;
	char *remarks; /* a line for each run, failure and skip */
	size_t size;
	FILE *remark;
};

static struct cell *find_cell(struct matrix *m, const struct cell *like)
{
	int i;

	for (i = 0; i < m->n; i++) {
		struct cell *c = &m->cells[i];

		if (!strcmp(c->release, like->release) && !strcmp(c->host, like->host) &&
		    !strcmp(c->kvm, like->kvm) && !strcmp(c->paging, like->paging))
			return c;
	}
	if (m->n == MAX_CELLS)
		return NULL;
	m->cells[m->n] = *like;
	return &m->cells[m->n++];
}

/* Add the line of a test. Returns false when it is malformed. */
static bool add_line(struct matrix *m, struct cell *like, const char *line)
{
	char word[16], test[80];
	enum verdict verdict;
	struct cell *c;
	int end = 0;
	long ms;

	if (sscanf(line, "%15s %15s %15s %ld %79s %n", word, like->kvm, like->paging, &ms, test,
		   &end) < 5 ||
	    ms < 0 || ms > MAX_MS)
		return false;
	for (verdict = 0; verdict < NR_VERDICTS; verdict++)
		if (!strcmp(word, verdict_names[verdict]))
			break;
	c = verdict < NR_VERDICTS ? find_cell(m, like) : NULL;
	if (!c)
		return false;
	c->count[verdict]++;
	c->ms += ms;
	if (verdict != PASSED)
		fprintf(m->remark, "- %s: %s on %s, %s, %s KVM, %s: %s\n", word, test,
			like->release, like->host, like->kvm, like->paging,
			line[end] ? line + end : "no reason");
	return true;
}

static int read_results(struct matrix *m, const char *path)
{
	struct cell like = { 0 };
	const char *error = NULL;
	char *line = NULL;
	size_t room = 0;
	FILE *f;
	long ms;

	f = fopen(path, "re");
	if (!f || getline(&line, &room, f) < 0)
		error = f ? "empty" : strerror(errno);
	else if (sscanf(line, "run %ld %79s %79[^\n]", &ms, like.release, like.host) != 3)
		error = "not a file of results";
	else
		fprintf(m->remark, "- %s, %s: %.0f s in total, including boots\n", like.release,
			like.host, ms / 1000.0);
	while (f && !error && getline(&line, &room, f) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!add_line(m, &like, line))
			error = "a line is malformed, or there are too many kinds of host";
	}
	if (f)
		fclose(f);
	free(line);
	if (error)
		fprintf(stderr, "rig: %s: %s\n", path, error);
	return error ? -1 : 0;
}

/* The module parameter for it on this host. */
static const char *paging_words(const struct cell *c)
{
	bool intel = strstr(c->host, "VT-x");

	if (!strcmp(c->paging, "tdp"))
		return intel ? "ept=1" : "npt=1";
	if (!strcmp(c->paging, "shadow"))
		return intel ? "ept=0" : "npt=0";
	return !strcmp(c->paging, "tdp_mmu0") ? "tdp_mmu=0" : "-";
}

/* A line of Markdown whose columns also line up in a terminal. */
static void print_row(FILE *f, const char *const *words)
{
	static const int widths[COLUMNS] = { 20, 12, 9, 7, 6, 6, 7, 5 };
	int i;

	for (i = 0; i < COLUMNS; i++)
		fprintf(f, i < 4 ? "| %-*s " : "| %*s ", widths[i], words[i]);
	fprintf(f, "|\n");
}

static void print_table(const struct matrix *m, FILE *f)
{
	static const char *const head[COLUMNS] = { "kernel", "host",   "paging",  "KVM",
						   "passed", "failed", "skipped", "s" };
	static const char *const rule[COLUMNS] = { "---", "---", "---", "---",
						   "--:", "--:", "--:", "--:" };
	char number[NR_VERDICTS + 1][16];
	int i, j;

	print_row(f, head);
	print_row(f, rule);
	for (i = 0; i < m->n; i++) {
		const struct cell *c = &m->cells[i];

		for (j = 0; j < NR_VERDICTS; j++)
			snprintf(number[j], sizeof(number[j]), "%d", c->count[j]);
		snprintf(number[j], sizeof(number[j]), "%.0f", c->ms / 1000.0);
		print_row(f, (const char *const[COLUMNS]){ c->release, c->host, paging_words(c),
							   c->kvm, number[0], number[1], number[2],
							   number[3] });
	}
	fprintf(f, "\n%s", m->remarks ? m->remarks : "");
}

int print_matrix(const char *out, char **results)
{
	static struct matrix m;
	int ret = 0;
	FILE *f;

	m.n = 0;
	m.remark = open_memstream(&m.remarks, &m.size);
	for (; m.remark && !ret && *results; results++)
		ret = read_results(&m, *results);
	if (m.remark)
		fclose(m.remark);
	f = m.remark && !ret ? fopen(out, "we") : NULL;
	if (f) {
		print_table(&m, f);
		print_table(&m, stdout);
	}
	if (!ret && (!f || ferror(f) | fclose(f))) {
		fprintf(stderr, "rig: %s: %s\n", out, strerror(errno));
		ret = -1;
	}
	free(m.remarks);
	return ret ? 2 : 0;
}
